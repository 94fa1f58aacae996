"""Newton's iterations of one voxel for the shears of its systems; how they are kept from going astray says `phenopowerlaw`.

With r = |tau / xi| of each system where its rate equation is linearised, the elastic stress S* = C : E at the shears of these
r, and the systems that slip enough to matter, all signs of tau understood,

    sum_t ([s = t] / slope_s + P_s : C : P_t + r_s dxi_s/dgamma_t) dgamma_t = P_s : S* - r_s (xi_s - damping_s drift_s),

whose matrix also has the consistent tangent dS/dE = C - C : P (...)^-1 P : C. Loops are short and touch few arrays each: so
the compiler can prove them free of overlap and vectorise them.
"""

import numpy as np

from microprint.jit import part
from microprint.mechanics.compiled.linear import back_substitute, eliminate
from microprint.mechanics.phenopowerlaw import CAUTION, LITTLE, MOST_SHEAR

# A system stays out of the matrix if it is so much stiffer by slip than by elasticity, and out of the flow below this shear.
_STIFF, _NEGLIGIBLE = 3e-3, 1e-14
_HALF = np.sqrt(0.5)


@part
def solve(m, w, dt):
    """Newton's iterations of one voxel from the guesses of S and xi: whether they ended well, and the systems in the matrix."""
    for i in range(3):
        for j in range(3):
            w.green[i, j] = w.trial[0, i] * w.trial[0, j] + w.trial[1, i] * w.trial[1, j] + w.trial[2, i] * w.trial[2, j]
    _start(m, w)
    done, count, held, moved = False, 0, 0.0, 0.0
    for iteration in range(m.max_iterations):
        _shear(m, w, dt)
        error = _hardening(m, w)
        held = CAUTION * iteration * max(error, moved)
        for s in range(len(w.xi)):
            w.damping[s] = 1.0 / (held + w.damping[s])
        _flow(m, w)
        _elastic_stress(m, w)
        count = _assemble(m, w)
        eliminate(w.matrix, w.lower, w.order, count)
        back_substitute(w.matrix, w.lower, w.solution, count)
        done, moved = _advance(m, w, count, held)
        if done:
            break
    _refine(m, w)
    return done, count


@part
def _start(m, w):
    """The highest ratios that make sense, and those of the guess of S."""
    strain, highest = 0.0, 0.0
    for i in range(3):
        for j in range(3):
            strain += (w.green[i, j] - (1.0 if i == j else 0.0)) ** 2
    resolved(m, w.stress, w.ratio)
    for s in range(len(w.xi)):
        if s == 0 or m.exponent[s] != m.exponent[s - 1]:
            highest = (MOST_SHEAR * np.sqrt(strain)) ** (1.0 / m.exponent[s])
        w.highest[s] = highest * w.unit[s]
        ratio = w.ratio[s] / w.xi[s]
        w.ratio[s] = min(max(ratio, -w.highest[s] if s < m.slips else 0.0), w.highest[s])


@part
def _refine(m, w):
    """The last step's own share of the shears, to first order: they are n times as sensitive as S. X with it."""
    for s in range(len(w.xi)):
        w.increment[s] += w.slope[s] * w.xi[s] * (w.change[s] if w.ratio[s] > 0.0 else -w.change[s])
    _flow(m, w)


@part
def resolved(m, stress, tau):
    """tau = P : stress of all systems."""
    p, s0, s1, s2, s3, s4, s5 = m.resolve, stress[0], stress[1], stress[2], stress[3], stress[4], stress[5]
    for s in range(len(tau)):
        tau[s] = p[0, s] * s0 + p[1, s] * s1 + p[2, s] * s2 + p[3, s] * s3 + p[4, s] * s4 + p[5, s] * s5


@part
def _shear(m, w, dt):
    """The shear of the step and its derivative by |tau|."""
    slips, systems = m.slips, len(w.xi)
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
    """Hardening at xi and its linearisation, see `Law._hardening`, but 1 / damping; returns the largest relative drift."""
    slips, systems = m.slips, len(w.xi)
    twinned, slipped = 0.0, 0.0
    for t in range(systems - slips):
        twinned += (w.gamma_0[slips + t] + w.increment[slips + t]) / m.gamma_char[t]
    for s in range(slips):
        slipped += w.gamma_0[s] + w.increment[s]
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
    _weigh(m, w, w.increment)
    for s in range(systems):
        w.drift[s] = w.xi[s] - w.xi_0[s] - w.rate[s] * w.by_slip[s] - w.spread[s] * w.by_twin[s]
    largest = 0.0
    for s in range(systems):
        largest = max(largest, abs(w.drift[s]) / (w.xi[s] + abs(w.drift[s])))
    for s in range(systems):
        w.damping[s] = 1.0 + w.damping[s] * w.by_slip[s]
    return largest


@part
def _weigh(m, w, shear):
    """h . shear of slip and of twins, what barely slips left out."""
    for s in range(len(w.xi)):
        w.by_slip[s] = w.by_twin[s] = 0.0
    for t in range(m.slips):
        if abs(shear[t]) > _NEGLIGIBLE:
            for s in range(len(w.xi)):
                w.by_slip[s] += m.interaction[t, s] * shear[t]
    for t in range(m.slips, len(w.xi)):
        if abs(shear[t]) > _NEGLIGIBLE:
            for s in range(len(w.xi)):
                w.by_twin[s] += m.interaction[t, s] * shear[t]


@part
def _raise_hardening(m, w, twinned, slipped):
    """The hardening where its factors that are mostly 1, or the sum of slip itself, take powers."""
    for s in range(m.slips):
        factor = 1.0 + m.c_1[s] * twinned ** m.c_2[s]
        w.rate[s], w.damping[s] = factor * w.rate[s], factor * w.damping[s]
    for t in range(len(m.c_3)):
        w.rate[m.slips + t] = m.h_0_tw_sl[t] * slipped ** m.c_3[t]
        w.spread[m.slips + t] = m.h_0_tw_tw[t] * twinned ** m.c_4[t]


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
        if w.increment[s] > _NEGLIGIBLE:
            shear = -w.increment[s] if w.ratio[s] > 0.0 else w.increment[s]
            a0, a1, a2 = a0 + shear * p[s, 0], a1 + shear * p[s, 1], a2 + shear * p[s, 2]
            a3, a4, a5 = a3 + shear * p[s, 3], a4 + shear * p[s, 4], a5 + shear * p[s, 5]
            a6, a7, a8 = a6 + shear * p[s, 6], a7 + shear * p[s, 7], a8 + shear * p[s, 8]
    x[0, 0], x[0, 1], x[0, 2], x[1, 0], x[1, 1], x[1, 2], x[2, 0], x[2, 1], x[2, 2] = a0, a1, a2, a3, a4, a5, a6, a7, a8


@part
def _elastic_stress(m, w):
    """C : (X^T F_e^T F_e X - 1) / 2 in Mandel's notation."""
    x, c = w.flow, w.green
    for j in range(3):
        y0 = c[0, 0] * x[0, j] + c[0, 1] * x[1, j] + c[0, 2] * x[2, j]
        y1 = c[1, 0] * x[0, j] + c[1, 1] * x[1, j] + c[1, 2] * x[2, j]
        y2 = c[2, 0] * x[0, j] + c[2, 1] * x[1, j] + c[2, 2] * x[2, j]
        w.strain[j] = 0.5 * (x[0, j] * y0 + x[1, j] * y1 + x[2, j] * y2 - 1.0)
        i = (j + 1) % 3
        w.strain[3 + (j + 2) % 3] = _HALF * (x[0, i] * y0 + x[1, i] * y1 + x[2, i] * y2)
    for i in range(6):
        total = 0.0
        for j in range(6):
            total += m.stiffness[i, j] * w.strain[j]
        w.stress[i] = total


@part
def _assemble(m, w):
    """Newton's matrix and right-hand side (last column) of the systems that slip; their number."""
    a, count = w.matrix, 0
    for s in range(len(w.xi)):
        if w.slope[s] * m.coupling[s, s] > _STIFF:
            w.active[count] = s
            count += 1
    resolved(m, w.stress, w.change)
    for i in range(count):
        s = w.active[i]
        sign = 1.0 if w.ratio[s] > 0.0 else -1.0
        held = w.size[s] * w.damping[s]
        slip, twin = held * w.rate[s], held * w.spread[s]
        for j in range(count):
            t = w.active[j]
            coupling = m.coupling[s, t] if w.ratio[t] > 0.0 else -m.coupling[s, t]
            a[i, j] = sign * coupling + (slip if t < m.slips else twin) * m.interaction[t, s]
        a[i, i] += 1.0 / w.slope[s]
        a[i, count] = sign * w.change[s] - w.size[s] * w.xi[s] + held * w.drift[s]
    return count


@part
def _advance(m, w, count, held):
    """Move S, xi and the ratios; whether that was the last time, and the largest relative change of xi."""
    systems = len(w.xi)
    for s in range(systems):
        w.step[s] = 0.0
    for i in range(count):
        s = w.active[i]
        w.step[s] = w.solution[i]
        shear = w.solution[i] if w.ratio[s] > 0.0 else -w.solution[i]
        for k in range(6):
            w.stress[k] -= m.pull[s, k] * shear
    _weigh(m, w, w.step)
    for s in range(systems):
        w.step[s] = w.damping[s] * (w.rate[s] * w.by_slip[s] + w.spread[s] * w.by_twin[s] - w.drift[s]) / w.xi[s]
    for s in range(systems):
        w.xi[s] *= 1.0 + max(w.step[s], -0.5)
    resolved(m, w.stress, w.change)
    for s in range(systems):
        w.change[s] /= w.xi[s]
    for s in range(m.slips, systems):
        w.change[s] = max(w.change[s], 0.0)
    for s in range(systems):
        w.change[s] -= w.ratio[s]
    done = True
    for s in range(systems):  # nan is below no tolerance
        done = done and abs(w.change[s]) < m.tolerance and (1.0 + held) * abs(w.step[s]) < m.tolerance
    if not done:
        for s in range(systems):
            w.ratio[s] = _tamed(m, w, s)
    largest = 0.0
    for s in range(systems):
        largest = max(largest, abs(w.step[s]))
    return done, min(largest, 1.0)


@part
def _tamed(m, w, s):
    """The next r of a system, whose linear equation wants it to change by `change`: see `Law._tame`."""
    n, size = m.exponent[s], w.size[s]
    sign = 1.0 if w.ratio[s] > 0.0 else -1.0
    target = size + sign * w.change[s]
    least = size * w.tenth[s]
    if least > w.critical[s] and target < least:
        return sign * least
    if target < 0.0:
        sign, target, size = -sign, -target, 0.0
    base = max(size, w.critical[s])
    if n * (target - base) > LITTLE * base:
        target = min(base * (1.0 + n * (target / base - 1.0)) ** (1.0 / n), w.highest[s])
    return sign * target
