"""Newton's iterations of `phenopowerlaw` on eight voxels at a time; what they solve and how they are tamed is said there.

A product with a constant matrix keeps six of its rows in registers; the hardening's drivers are eliminated before the stress.
"""

import numpy as np

from microprint.jit import called, part
from microprint.lanes import lanes, larger, power, smaller, some, sqrt, where, with_sign
from microprint.mechanics.phenopowerlaw import LITTLE, MOST_SHEAR
from microprint.mechanics.tensors import SYMMETRIC

_HALF = 0.5**0.5
ENTRY = np.array(SYMMETRIC)


@part
def iterate(m, w, speed, critical, held):
    """One iteration on S, xi and the ratios of eight voxels; `held` grows with the iterations. Returns which are done."""
    twinned, slipped = _shear(m, w, speed)
    error = _hardening(m, w, twinned, slipped)
    held = held * larger(error / (1.0 + error), w.sums[2])
    for s in range(len(w.xi)):
        w.damping[s] = 1.0 / (held + w.damping[s])
    flow(m, w)
    _strain(w)
    _assemble(m, w)
    _solve(w)
    done = _advance(m, w, held)
    if some(~done):
        for s in range(len(w.xi)):
            w.ratio[s] = where(done, w.ratio[s], _tamed(m, w, s, critical[s]))
    return done


@called
def six(matrix, block, x):
    """Six rows of a constant matrix, kept as (blocks, columns, 6), times a vector of lanes."""
    a = b = c = d = e = f = lanes(0.0)
    for s in range(len(x)):
        y = x[s]
        a, b, c = a + matrix[block, s, 0] * y, b + matrix[block, s, 1] * y, c + matrix[block, s, 2] * y
        d, e, f = d + matrix[block, s, 3] * y, e + matrix[block, s, 4] * y, f + matrix[block, s, 5] * y
    return a, b, c, d, e, f


@part
def resolved(m, stress, tau):
    """tau = P : stress of all systems."""
    p, s0, s1, s2, s3, s4, s5 = m.resolve, stress[0], stress[1], stress[2], stress[3], stress[4], stress[5]
    for s in range(len(tau)):
        tau[s] = p[0, s, 0] * s0 + p[0, s, 1] * s1 + p[0, s, 2] * s2 + p[0, s, 3] * s3 + p[0, s, 4] * s4 + p[0, s, 5] * s5


@part
def limit(m, w, whole):
    """The highest ratios that make sense: no system shears much more than the trial strain."""
    strain, highest = lanes(0.0), lanes(0.0)
    for k in range(6):
        less = w.green[k] - (1.0 if k < 3 else 0.0)
        strain = strain + (1.0 if k < 3 else 2.0) * (less * less)
    for s in range(len(w.xi)):
        if s == 0 or m.exponent[s] != m.exponent[s - 1]:
            highest = power(MOST_SHEAR * sqrt(strain), 1.0 / m.exponent[s])
        w.highest[s] = highest * whole[s]


@part
def _shear(m, w, speed):
    """The shear of the step and its derivative by |tau|; returns the sums of the shears."""
    twinned, slipped, during = w.sums[0], w.sums[1], lanes(0.0)
    for s in range(len(w.xi)):
        size = abs(w.ratio[s])
        rate = speed[s] * _raised(m, size, s)
        w.size[s], w.sign[s], w.inverse[s] = size, with_sign(1.0, w.ratio[s]), 1.0 / w.xi[s]
        w.increment[s], w.slope[s] = rate * size, m.exponent[s] * rate * w.inverse[s]
    for s in range(m.slips):
        slipped = slipped + w.increment[s]
    for s in range(m.slips, len(w.xi)):
        during = during + m.share[s] * w.increment[s]
    # f at the end of the step, on which the twins' rates depend linearly, is known in closed form.
    untwinned = (1.0 - twinned) / (1.0 + during)
    for s in range(m.slips, len(w.xi)):
        w.increment[s], w.slope[s] = untwinned * w.increment[s], untwinned * w.slope[s]
    for s in range(len(w.xi)):
        w.signed[s] = w.sign[s] * w.increment[s]
    return twinned + untwinned * during, slipped


@part
def _raised(m, x, s):
    """x^(n - 1)."""
    if m.power == 19:
        square = x * x
        fourth = square * square
        eighth = fourth * fourth
        return eighth * eighth * square * x
    return power(x, m.exponent[s] - 1.0)


@part
def _hardening(m, w, twinned, slipped):
    """Hardening at xi and its linearisation, see `Law._hardening`, but 1 / damping; returns the largest relative drift."""
    twinned, slipped = larger(twinned, 0.0), larger(slipped, 0.0)
    root, hardness, softening, error = sqrt(twinned), lanes(0.0), lanes(0.0), lanes(0.0)
    for k in range(len(w.driven)):
        total = lanes(0.0)
        for s in range(len(w.xi)):
            total = total + m.drive[k, s] * w.increment[s]
        w.driven[k] = total
    for s in range(len(w.xi)):
        if s >= m.slips:
            hardness, softening = m.h_0_tw_sl[s] * slipped, lanes(0.0)
        # The systems of a family mostly stay alike, and a power is dear.
        elif s == 0 or m.families[s] != m.families[s - 1] or some(~(w.xi[s] == w.xi[s - 1])):
            saturation = m.xi_inf[s] + m.f_sat[s] * root
            y = 1.0 - w.xi[s] / saturation
            modulus = m.h_0[s] * _hardening_power(m, abs(y), s)
            hardness, softening = modulus * y, m.hardening_exponent[s] * modulus / saturation
        w.rate[s], w.spread[s], w.damping[s] = hardness, lanes(m.spread[s]), softening
    if m.powers:
        for s in range(len(w.xi)):
            factor = 1.0 + m.c_1[s] * power(twinned, m.c_2[s])
            w.damping[s] = factor * w.damping[s]
            w.rate[s] = factor * w.rate[s] if s < m.slips else m.h_0_tw_sl[s] * power(slipped, m.c_3[s])
            w.spread[s] = m.spread[s] * power(twinned, m.c_4[s])
    for s in range(len(w.xi)):
        by_slip, by_twin = w.driven[m.by_slip[s]], w.driven[m.by_twin[s]]
        w.damping[s] = 1.0 + w.damping[s] * by_slip
        w.drift[s] = w.xi[s] - w.xi_0[s] - w.rate[s] * by_slip - w.spread[s] * by_twin
        error = larger(abs(w.drift[s]) * w.inverse[s], error)
    return error


@part
def _hardening_power(m, y, s):
    """y^(a - 1), nil at saturation; by square roots for the usual a = 2.25 of magnesium."""
    if m.hardening_exponent[s] == 2.25:
        return y * sqrt(sqrt(y))
    return where(y > 0.0, power(y, m.hardening_exponent[s] - 1.0), 0.0)


@part
def flow(m, w):
    """X of the signed shears."""
    x0, x1, x2, x3, x4, x5 = six(m.schmid, 0, w.signed)
    x6, x7, x8, _, _, _ = six(m.schmid, 1, w.signed)
    x, w.flow[0], w.flow[1], w.flow[2], w.flow[3] = w.flow, 1.0 - x0, -x1, -x2, -x3
    x[4], x[5], x[6], x[7], x[8] = 1.0 - x4, -x5, -x6, -x7, 1.0 - x8


@part
def _strain(w):
    """(X^T F_e^T F_e X - 1) / 2 in Mandel's notation."""
    x, c = w.flow, w.green
    for j in range(3):
        y0 = c[0] * x[j] + c[5] * x[3 + j] + c[4] * x[6 + j]
        y1 = c[5] * x[j] + c[1] * x[3 + j] + c[3] * x[6 + j]
        y2 = c[4] * x[j] + c[3] * x[3 + j] + c[2] * x[6 + j]
        i = (j + 1) % 3
        w.strain[j] = 0.5 * (x[j] * y0 + x[3 + j] * y1 + x[6 + j] * y2 - 1.0)
        w.strain[3 + (j + 2) % 3] = _HALF * (x[i] * y0 + x[3 + i] * y1 + x[6 + i] * y2)


@part
def _assemble(m, w):
    """Newton's equations: rows of the drivers and of the stress, columns likewise, and the right-hand side."""
    a, n, drivers = w.matrix, len(w.xi), len(w.driven)
    for i in range(drivers + 6):
        for k in range(drivers):
            a[i, k] = lanes(1.0 if i == k else 0.0)
    for s in range(n):
        leak = w.slope[s] * w.size[s] * w.damping[s]
        w.signed[s] = w.sign[s] * w.slope[s]
        w.change[s] = w.slope[s] * w.size[s] * w.xi[s] - leak * w.drift[s]  # the shear that the resistances keep off
        w.step[s] = w.sign[s] * w.change[s]
        _leak(m, w, s, m.by_slip[s], leak * w.rate[s])
        if m.spread[s] != 0.0:
            _leak(m, w, s, m.by_twin[s], leak * w.spread[s])
    for k in range(drivers):
        c0, c1, c2, c3, c4, c5 = six(m.drive_by_stress, k, w.signed)
        total, j = lanes(0.0), drivers
        a[k, j], a[k, j + 1], a[k, j + 2], a[k, j + 3], a[k, j + 4], a[k, j + 5] = -c0, -c1, -c2, -c3, -c4, -c5
        for s in range(n):
            total = total + m.drive[k, s] * w.change[s]
        a[k, j + 6] = -total
    b, d = six(m.resolve, 0, w.step), w.dyads
    for i in range(0, 24, 6):
        d[i], d[i + 1], d[i + 2], d[i + 3], d[i + 4], d[i + 5] = six(m.dyads, i // 6, w.slope)
    for i in range(6):
        a[drivers + i, drivers + 6] = w.strain[i] + b[i]
        for j in range(6):
            a[drivers + i, drivers + j] = m.compliance[i, j] + d[ENTRY[i, j]]


@part
def _leak(m, w, s, driver, leak):
    """What a driver takes from the shear of a system."""
    signed, drivers = w.sign[s] * leak, len(w.driven)
    for k in range(drivers):
        w.matrix[k, driver] = w.matrix[k, driver] + m.drive[k, s] * leak
    for i in range(6):
        w.matrix[drivers + i, driver] = w.matrix[drivers + i, driver] - m.resolve[0, s, i] * signed


@part
def _solve(w):
    """Eliminate the drivers, invert what is left, dE/dS; then S and the drivers."""
    a, t, drivers = w.matrix, w.tangent, len(w.driven)
    for k in range(drivers):
        a[k, k] = 1.0 / a[k, k]
        for i in range(k + 1, drivers + 6):
            factor = a[i, k] * a[k, k]
            for j in range(k + 1, drivers + 7):
                a[i, j] = a[i, j] - factor * a[k, j]
    for i in range(6):
        for j in range(6):
            t[6 * i + j] = a[drivers + i, drivers + j]
    for k in range(6):
        pivot, t[7 * k] = 1.0 / t[7 * k], lanes(1.0)
        for j in range(6):
            t[6 * k + j] = pivot * t[6 * k + j]
        for i in range(6):
            if i != k:
                factor, t[6 * i + k] = t[6 * i + k], lanes(0.0)
                for j in range(6):
                    t[6 * i + j] = t[6 * i + j] - factor * t[6 * k + j]
    for i in range(6):
        total = lanes(0.0)
        for j in range(6):
            total = total + t[6 * i + j] * a[drivers + j, drivers + 6]
        w.stress[i] = total
    for k in range(drivers - 1, -1, -1):
        total = a[k, drivers + 6]
        for j in range(6):
            total = total - a[k, drivers + j] * w.stress[j]
        for j in range(k + 1, drivers):
            total = total - a[k, j] * w.driven[j]
        w.driven[k] = total * a[k, k]


@part
def _advance(m, w, held):
    """Move xi, and the shears to first order; which voxels that ends."""
    done, largest = held == held, lanes(0.0)
    resolved(m, w.stress, w.change)
    for s in range(len(w.xi)):
        by_slip, by_twin = w.driven[m.by_slip[s]], w.driven[m.by_twin[s]]
        step = w.damping[s] * (w.rate[s] * by_slip + w.spread[s] * by_twin - w.drift[s]) * w.inverse[s]
        new = w.xi[s] * (1.0 + larger(step, -0.5))
        target = w.change[s] / new
        change = (target if s < m.slips else larger(target, 0.0)) - w.ratio[s]
        # The last step's own share of the shears: they are n times as sensitive as S.
        w.signed[s] = w.sign[s] * w.increment[s] + w.slope[s] * w.xi[s] * change
        w.xi[s], w.change[s], largest = new, change, larger(abs(step), largest)
        done = done & (abs(change) < m.tolerance) & ((1.0 + held) * abs(step) < m.tolerance)  # nan is below no tolerance
    w.sums[2] = smaller(largest, 1.0)
    return done


@part
def _tamed(m, w, s, critical):
    """The next r of a system, whose linear equation wants it to change by `change`: see `Law._tame`."""
    n, size, sign = m.exponent[s], w.size[s], w.sign[s]
    target, least = size + sign * w.change[s], m.tenth[s] * size
    falls = (least > critical) & (target < least)
    base = larger(where(target < 0.0, 0.0, size), critical)
    sign, target = where(falls, sign, with_sign(1.0, sign * target)), where(falls, least, abs(target))
    grows = n * (target - base) > LITTLE * base
    if some(grows):
        grown = base * power(where(grows, 1.0 + n * (target / base - 1.0), 1.0), 1.0 / n)
        target = where(grows, smaller(grown, w.highest[s]), target)
    return sign * target
