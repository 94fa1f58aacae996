"""Newton's iterations of one voxel for S and the drivers q_k = (V dgamma)_k of the hardening (see `Law._couplings`).

Both stand in one matrix,

    [ C^-1 + sum w P(x)P   -G    ] [dS]      [ residual ]
    [ -B                   1 + L ] [ q] = -  [ lag      ]

whose inverse has the consistent tangent dS/dE as its upper left block. Loops are short and touch few arrays each: so the
compiler can prove them free of overlap and vectorise them.
"""

import numpy as np

from microprint.jit import part
from microprint.mechanics.compiled.linear import back_substitute, eliminate
from microprint.mechanics.phenopowerlaw import COUPLE_BELOW, FIXED_POINT, RATIO_CAP, SECOND_ATTEMPT, SETTLED

# A system whose shear in the step is below this enters neither Newton's matrix nor the flow.
_NEGLIGIBLE_IN_MATRIX, _NEGLIGIBLE_IN_FLOW = 1e-8, 1e-14
_HALF = np.sqrt(0.5)


@part
def solve(m, w, dt, coupled):
    """Newton's iterations of one voxel, from the guess and, should that lead nowhere, from the step's beginning."""
    for i in range(3):
        for j in range(3):
            w.green[i, j] = w.trial[0, i] * w.trial[0, j] + w.trial[1, i] * w.trial[1, j] + w.trial[2, i] * w.trial[2, j]
    _make_admissible(m, w)
    done, relaxation = False, 1.0
    for s in range(len(w.xi)):
        w.last[s] = 0.0
    for iteration in range((1 + SECOND_ATTEMPT) * m.max_iterations):
        if iteration == m.max_iterations:
            relaxation = 1.0
            for k in range(6):
                w.stress[k] = 0.0
            for s in range(len(w.xi)):
                w.xi[s], w.last[s] = w.xi_0[s], 0.0
        coupled = coupled and iteration < m.max_iterations
        _shear(m, w, dt)
        _hardening(m, w)
        _flow(m, w)
        _strain(w)
        _assemble(m, w, coupled)
        eliminate(w.matrix, w.lower, w.order)
        back_substitute(w.matrix, w.lower, w.solution)
        done, coupled, relaxation = _advance(m, w, coupled, relaxation)
        if done:
            break
    _refine(m, w)
    return done, coupled


@part
def _refine(m, w):
    """The last step's own share of the shears, to first order: they are n times as sensitive as S. X with it."""
    for s in range(len(w.xi)):
        w.increment[s] += w.slope[s] * w.xi[s] * (w.change[s] if w.ratio[s] > 0.0 else -w.change[s])
    _flow(m, w)


@part
def _make_admissible(m, w):
    """Shorten a guess of S that would make a system run away."""
    resolved(m, w.stress, w.xi, w.ratio)
    largest = RATIO_CAP
    for s in range(len(w.xi)):
        largest = max(largest, abs(w.ratio[s]) if s < m.slips else w.ratio[s])
    for k in range(6):
        w.stress[k] *= RATIO_CAP / largest


@part
def resolved(m, stress, xi, ratio):
    """ratio = P : stress / xi of all systems."""
    p, s0, s1, s2, s3, s4, s5 = m.resolve, stress[0], stress[1], stress[2], stress[3], stress[4], stress[5]
    for s in range(len(xi)):
        ratio[s] = (p[0, s] * s0 + p[1, s] * s1 + p[2, s] * s2 + p[3, s] * s3 + p[4, s] * s4 + p[5, s] * s5) / xi[s]


@part
def _shear(m, w, dt):
    """tau / xi, the shear of the step and its derivative by |tau|."""
    slips, systems = m.slips, len(w.xi)
    resolved(m, w.stress, w.xi, w.ratio)
    for s in range(slips, systems):
        w.ratio[s] = max(w.ratio[s], 0.0)
    for s in range(systems):
        w.size[s] = abs(w.ratio[s])
    _raise(m, w.size, w.slope)
    for s in range(systems):
        w.slope[s] *= dt * m.rate_0[s]
    for s in range(systems):
        w.increment[s] = w.slope[s] * w.size[s]
    for s in range(systems):
        w.slope[s] *= m.exponent[s] / w.xi[s]
    if slips < systems:
        before, during = 0.0, 0.0
        for t in range(systems - slips):
            before += w.gamma_0[slips + t] / m.gamma_char[t]
        for t in range(systems - slips):
            during += w.increment[slips + t] / m.gamma_char[t]
        # f at the end of the step, on which the twins' rates depend linearly, is known in closed form.
        untwinned = (1.0 - before) / (1.0 + during)
        for s in range(slips, systems):
            w.increment[s] *= untwinned
        for s in range(slips, systems):
            w.slope[s] *= untwinned


@part
def _raise(m, base, result):
    """result = base^(n - 1)."""
    if m.power == 19:
        for s in range(len(base)):
            square = base[s] * base[s]
            fourth = square * square
            eighth = fourth * fourth
            result[s] = eighth * eighth * square * base[s]
    else:
        for s in range(len(base)):
            result[s] = base[s] ** (m.exponent[s] - 1.0)


@part
def _hardening(m, w):
    """Hardening at xi and its linearisation; see `Law._hardening`."""
    slips, systems = m.slips, len(w.xi)
    twinned, slipped = 0.0, 0.0
    for t in range(systems - slips):
        twinned += (w.gamma_0[slips + t] + w.increment[slips + t]) / m.gamma_char[t]
    for s in range(slips):
        slipped += w.gamma_0[s] + w.increment[s]
    for k in range(len(w.q)):
        total = 0.0
        for s in range(systems):
            total += m.drivers[k, s] * w.increment[s]
        w.q[k] = total
    root, hardness, softening = np.sqrt(max(twinned, 0.0)), 0.0, 0.0
    for s in range(slips):
        # The systems of a family mostly stay alike, and a power is dear.
        if s == 0 or m.families[s] != m.families[s - 1] or w.xi[s] != w.xi[s - 1]:
            saturation = m.xi_inf[s] + m.f_sat[s] * root
            y = 1.0 - w.xi[s] / saturation
            hardness = m.h_0[s] * np.sign(y) * _hardening_power(m, abs(y), s)
            softening = m.hardening_exponent[s] * hardness / (y * saturation) if y != 0.0 else 0.0
        w.rate[s], w.damping[s] = hardness, softening
    for t in range(systems - slips):
        w.rate[slips + t], w.damping[slips + t] = m.h_0_tw_sl[t] * slipped, 0.0
    if m.powers:
        _raise_hardening(m, w, max(twinned, 0.0), max(slipped, 0.0))
    for s in range(systems):
        w.change[s] = w.q[m.first_driver[s]]
    for s in range(systems):
        w.damping[s] = 1.0 / (1.0 + w.damping[s] * w.change[s])
    for s in range(systems):
        w.drift[s] = w.xi[s] - w.xi_0[s] - w.rate[s] * w.change[s]
    for t in range(systems - slips):
        if m.twin_driver[slips + t] >= 0:
            w.drift[slips + t] -= w.by_twin[t] * w.q[m.twin_driver[slips + t]]
    for t in range(systems - slips):
        twinning = w.increment[slips + t]
        if twinning > _NEGLIGIBLE_IN_FLOW:
            for s in range(slips):
                w.drift[s] -= m.h_tw_on_slip[t, s] * twinning


@part
def _raise_hardening(m, w, twinned, slipped):
    """The hardening where its factors that are mostly 1, or the sum of slip itself, take powers."""
    for s in range(m.slips):
        factor = 1.0 + m.c_1[s] * twinned ** m.c_2[s]
        w.rate[s], w.damping[s] = factor * w.rate[s], factor * w.damping[s]
    for t in range(len(w.by_twin)):
        w.rate[m.slips + t] = m.h_0_tw_sl[t] * slipped ** m.c_3[t]
        w.by_twin[t] = m.h_0_tw_tw[t] * twinned ** m.c_4[t]


@part
def _hardening_power(m, base, s):
    """base^a, by square roots for the usual a = 2.25 of magnesium."""
    if m.hardening_exponent[s] == 2.25:
        return base * base * np.sqrt(np.sqrt(base))
    return base ** m.hardening_exponent[s]


@part
def _flow(m, w):
    """X of the shears."""
    x, p = w.flow, m.schmid
    a0 = a4 = a8 = 1.0
    a1 = a2 = a3 = a5 = a6 = a7 = 0.0
    for s in range(len(w.xi)):
        if w.increment[s] > _NEGLIGIBLE_IN_FLOW:
            shear = -w.increment[s] if w.ratio[s] > 0.0 else w.increment[s]
            a0, a1, a2 = a0 + shear * p[s, 0], a1 + shear * p[s, 1], a2 + shear * p[s, 2]
            a3, a4, a5 = a3 + shear * p[s, 3], a4 + shear * p[s, 4], a5 + shear * p[s, 5]
            a6, a7, a8 = a6 + shear * p[s, 6], a7 + shear * p[s, 7], a8 + shear * p[s, 8]
    x[0, 0], x[0, 1], x[0, 2], x[1, 0], x[1, 1], x[1, 2], x[2, 0], x[2, 1], x[2, 2] = a0, a1, a2, a3, a4, a5, a6, a7, a8


@part
def _strain(w):
    """(X^T C X - 1) / 2 in Mandel's notation."""
    x, c = w.flow, w.green
    for j in range(3):
        y0 = c[0, 0] * x[0, j] + c[0, 1] * x[1, j] + c[0, 2] * x[2, j]
        y1 = c[1, 0] * x[0, j] + c[1, 1] * x[1, j] + c[1, 2] * x[2, j]
        y2 = c[2, 0] * x[0, j] + c[2, 1] * x[1, j] + c[2, 2] * x[2, j]
        w.strain[j] = 0.5 * (x[0, j] * y0 + x[1, j] * y1 + x[2, j] * y2 - 1.0)
        i = (j + 1) % 3
        w.strain[3 + (j + 2) % 3] = _HALF * (x[0, i] * y0 + x[1, i] * y1 + x[2, i] * y2)


@part
def _assemble(m, w, coupled):
    """Newton's matrix and right-hand side (last column), in terms of S / unit so that its pivots are of order one."""
    a, count = w.matrix, len(w.q)
    last = 6 + count
    for i in range(last):
        for j in range(a.shape[1]):
            a[i, j] = 0.0
    for k in range(6, 6 + count):
        a[k, k] = 1.0
    for entry in range(len(w.jacobian)):
        w.jacobian[entry] = 0.0
    for i in range(6):
        a[i, last] = w.strain[i]
        for j in range(6):
            a[i, last] -= m.compliance[i, j] * w.stress[j]
    for s in range(len(w.xi)):
        if w.increment[s] > _NEGLIGIBLE_IN_MATRIX:
            slope = w.slope[s] * m.unit
            for entry in range(len(w.jacobian)):
                w.jacobian[entry] += slope * m.dyads[s, entry]
            signed = slope if w.ratio[s] > 0.0 else -slope
            for k in range(count):
                if m.drivers[k, s] != 0.0:
                    pull = m.drivers[k, s] * signed
                    for i in range(6):
                        a[6 + k, i] -= pull * m.pairs[s, i]
            if coupled:
                _couple(m, w, s)
    entry = 0
    for i in range(6):
        for j in range(i, 6):
            a[i, j] = a[j, i] = m.compliance[i, j] * m.unit + w.jacobian[entry]
            entry += 1


@part
def _couple(m, w, s):
    """How the hardening of a system slows it down."""
    a, last = w.matrix, 6 + len(w.q)
    leak = w.slope[s] * w.size[s] * w.damping[s]
    first, second = 6 + m.first_driver[s], 6 + m.twin_driver[s]
    by_twin = w.by_twin[s - m.slips] if second >= 6 else 0.0
    signed = leak if w.ratio[s] > 0.0 else -leak
    lag, by_first, by_second = signed * w.drift[s], signed * w.rate[s], signed * by_twin
    for i in range(6):
        a[i, last] -= lag * m.pairs[s, i]
        a[i, first] -= by_first * m.pairs[s, i]
        if second >= 6:
            a[i, second] -= by_second * m.pairs[s, i]
    for k in range(len(w.q)):
        if m.drivers[k, s] != 0.0:
            pull = m.drivers[k, s] * leak
            a[6 + k, last] += pull * w.drift[s]
            a[6 + k, first] += pull * w.rate[s]
            if second >= 6:
                a[6 + k, second] += pull * by_twin


@part
def _advance(m, w, coupled, relaxation):
    """Move S and xi by the capped step; whether that was the last, and whether xi may be coupled from here on."""
    systems = len(w.xi)
    for k in range(6):
        w.step[k] = m.unit * w.solution[k]
    resolved(m, w.step, w.xi, w.change)
    settled = _largest(w.change) < SETTLED
    for s in range(systems):
        w.xi_step[s] = w.rate[s] * w.solution[6 + m.first_driver[s]] - w.drift[s]
    for s in range(m.slips, systems):
        if m.twin_driver[s] >= 0:
            w.xi_step[s] += w.by_twin[s - m.slips] * w.solution[6 + m.twin_driver[s]]
    if coupled:
        for s in range(systems):
            w.xi_step[s] *= w.damping[s]
    elif settled:
        # A fixed-point step that turns back would go to and fro for ever.
        turn = 0.0
        for s in range(systems):
            turn += w.xi_step[s] * w.last[s]
        relaxation *= 0.5 if turn < 0.0 else 1.0
        for s in range(systems):
            w.last[s] = w.xi_step[s]
        for s in range(systems):
            w.xi_step[s] *= relaxation
    else:
        for s in range(systems):
            w.xi_step[s] = 0.0
    for s in range(systems):
        w.size[s] = w.xi_step[s] / w.xi[s]
    for s in range(systems):
        w.change[s] -= w.ratio[s] * w.size[s]
    error, largest, scale = _largest(w.size), _largest(w.change), 1.0
    if largest > RATIO_CAP - 1.0:
        for s in range(systems):
            room = RATIO_CAP * max(abs(w.ratio[s]), 1.0) - w.ratio[s] * np.sign(w.change[s])
            if room < scale * abs(w.change[s]):
                scale = room / abs(w.change[s])
    for k in range(6):
        w.stress[k] += scale * w.step[k]
    for s in range(systems):
        w.xi[s] += scale * w.xi_step[s]
    total = w.stress[0] + w.stress[1] + w.stress[2] + w.stress[3] + w.stress[4] + w.stress[5]
    tolerance = m.tolerance if coupled else FIXED_POINT * m.tolerance
    done = (coupled or settled) and scale == 1.0 and max(largest, error) < tolerance and abs(total) < np.inf
    return done, settled and error < COUPLE_BELOW * relaxation, relaxation


@part
def _largest(values):
    result = 0.0
    for s in range(len(values)):
        result = max(result, abs(values[s]))
    return result
