"""The law of `phenopowerlaw` as one compiled loop over voxels: the same equations, many times faster on a CPU.

`Law` passes over all voxels once for each operation. Here a voxel's step is finished while it is in the cache, no voxel
waits for another, and systems that barely slip are left out of Newton's matrix. Numba compiles it at its first use
(half a minute, kept on disk for later runs).

Newton's unknowns are S and the drivers q_k = (V dgamma)_k of the hardening (see `Law._couplings`), in one matrix:

    [ C^-1 + sum w P(x)P   -G    ] [dS]      [ residual ]
    [ -B                   1 + L ] [ q] = -  [ lag      ]

whose inverse has the consistent tangent dS/dE as its upper left block.
"""

from __future__ import annotations

from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch
from torch import Tensor

from microprint.mechanics.phenopowerlaw import (
    COUPLE_BELOW,
    FIXED_POINT,
    RATIO_CAP,
    SECOND_ATTEMPT,
    SETTLED,
    TANGENT_DTYPE,
    Law,
    Response,
)
from microprint.mechanics.tensors import VOIGT_PAIRS

# A system whose shear in the step is below this enters neither Newton's matrix nor the flow.
_NEGLIGIBLE_IN_MATRIX, _NEGLIGIBLE_IN_FLOW = 1e-8, 1e-14
# A system of up to three drivers stays near enough to a positive definite one to need no pivots.
_DEFINITE = 9
# Voxels that are brought into the cache together, and that a thread takes at a time.
_TILE, _PIECE = 32, 1024
_ROW, _COLUMN = (np.array(index) for index in zip(*VOIGT_PAIRS))
_UPPER_ROW, _UPPER_COLUMN = np.triu_indices(6)
_HALF = np.sqrt(0.5)

# NaN must be seen, so the compiler may assume anything about numbers but that they are finite.
_FAST = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "arcp", "nsz"}}
_part = numba.njit(inline="always", _nrt=False, **_FAST)

# Arrays of the material. `resolve` (6, systems) and `pairs` (systems, 8) hold P in Mandel's notation; `dyads` (systems,
# 24) the upper triangle of P (x) P, both padded; `schmid` is (systems, 9); `families` (slips,) has the same number for
# the same saturation; `power` is the exponent of all systems less one, nil where they differ.
Constants = namedtuple(
    "Constants",
    "slips families compliance unit schmid dyads pairs resolve exponent power rate_0 xi_inf h_0 hardening_exponent f_sat "
    "gamma_char h_0_tw_sl h_0_tw_tw h_tw_on_slip drivers first_driver twin_driver tolerance max_iterations",
)
# What a voxel is worked on with: vectors over systems, then small tensors.
Work = namedtuple(
    "Work",
    "ratio size slope increment rate drift damping change xi_step last xi gamma_0 xi_0 "
    "stress step strain jacobian trial old green flow matrix lower order solution q turn columns",
)


class FusedLaw(Law):
    """`Law` on the CPU, compiled; the constructor's parameters are its own."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.constants = self._constants()

    def _constants(self) -> Constants:
        m = self.material
        array = lambda tensor: np.ascontiguousarray(tensor.numpy())  # noqa: E731
        resolve, exponent = array(self.resolve), array(m.exponent)
        power = int(exponent[0]) - 1 if (exponent == int(exponent[0])).all() else 0
        driver = lambda hardens: np.where(hardens.any(1), hardens.argmax(1), -1)  # noqa: E731
        own = np.stack([x.numpy() for x in (m.xi_inf, m.h_0, m.hardening_exponent, m.f_sat)], 1)
        return Constants(
            m.slips,
            np.unique(own, axis=0, return_inverse=True)[1].reshape(-1),
            array(self.compliance),
            1.0 / float(self.compliance[0, 0]),
            array(self.schmid.T),
            np.pad(resolve[:, _UPPER_ROW] * resolve[:, _UPPER_COLUMN], ((0, 0), (0, 3))),
            np.pad(resolve, ((0, 0), (0, 2))),
            array(self.resolve.T),
            exponent,
            power,
            *(array(x) for x in (m.rate_0, m.xi_inf, m.h_0, m.hardening_exponent, m.f_sat, m.gamma_char)),
            *(array(x) for x in (m.h_0_tw_sl, m.h_0_tw_tw, m.h_sl_tw.T, self.drivers)),
            driver(array(self.slip_first) > 0),
            np.append(np.full(m.slips, -1), driver(array(self.twin_first) > 0)),
            self.tolerance,
            self.max_iterations,
        )

    def respond(
        self,
        F: Tensor,
        F_p_inverse: Tensor,
        xi_0: Tensor,
        gamma_0: Tensor,
        dt: float,
        stress: Tensor,
        xi: Tensor,
        coupled: Tensor | None = None,
        expected: Tensor | None = None,
    ) -> Response:
        voxels = F.shape[-1]
        coupled = torch.zeros(voxels, dtype=torch.bool) if coupled is None else coupled
        expected = torch.zeros(6, voxels, dtype=TANGENT_DTYPE) if expected is None else expected
        result = Response(
            P=torch.empty_like(F),
            tangent=F.new_empty(6, 6, voxels, dtype=TANGENT_DTYPE),
            F_p_inverse=torch.empty_like(F),
            stress=torch.empty_like(stress),
            xi=torch.empty_like(xi_0),
            gamma=torch.empty_like(xi_0),
            coupled=torch.empty_like(coupled),
            converged=torch.empty_like(coupled),
        )
        tensors = (F, F_p_inverse, xi_0, gamma_0, stress, xi, coupled, expected, *vars(result).values())
        arrays = [tensor.contiguous().numpy().reshape(-1, voxels) for tensor in tensors]

        def work(begin: int, end: int) -> None:
            _respond(begin, end, self.constants, *_workspace(*self.drivers.shape[::-1]), dt, *arrays)

        if torch.get_num_threads() == 1:
            work(0, voxels)
        else:
            begins = range(0, voxels, _PIECE)
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                list(pool.map(work, begins, [min(begin + _PIECE, voxels) for begin in begins]))
        return result


def _workspace(systems: int, drivers: int) -> tuple[Work, tuple[np.ndarray, ...]]:
    """Memory of one thread; the compiled code, which may not allocate any, does not count references either."""
    n = 6 + drivers
    vectors, tensors = [(systems,)] * 13 + [(6,)] * 3 + [(24,)], [(3, 3)] * 4
    newton = [(n, (n + 4) // 4 * 4), (n, n), (n,), (n,), (drivers,), (6, 6), (n, 6)]
    arrays = [np.empty(shape) for shape in vectors + tensors + newton]
    work = Work(*arrays)._replace(order=np.empty(n, np.int64))
    tiles = tuple(np.empty((rows, _TILE)) for rows in (9, 9, 6, 6, 9, systems, systems, systems, 36))
    return work, tiles


@numba.njit(nogil=True, cache=True, _nrt=False, **_FAST)
def _respond(
    begin, end, m, w, tiles, dt, F, F_p_inverse, xi_0, gamma_0, stress_guess, xi_guess, coupled_guess, expected,
    P, tangent, F_p_inverse_new, stress, xi, gamma, coupled, converged,
):  # fmt: skip
    """Voxels begin to end of `Law.respond`, whose arrays come as (components, voxels)."""
    t_F, t_old, t_stress, t_expected, t_P, t_xi_0, t_gamma, t_xi, t_tangent = tiles
    n_s = len(w.xi)
    for first in range(begin, end, _TILE):
        n = min(_TILE, end - first)
        _load(F, first, n, t_F)
        _load(F_p_inverse, first, n, t_old)
        _load(stress_guess, first, n, t_stress)
        _load(expected, first, n, t_expected)
        _load(xi_0, first, n, t_xi_0)
        _load(gamma_0, first, n, t_gamma)
        _load(xi_guess, first, n, t_xi)
        for v in range(n):
            for i in range(3):
                for j in range(3):
                    w.old[i, j] = t_old[3 * i + j, v]
            for i in range(3):
                f0, f1, f2 = t_F[3 * i, v], t_F[3 * i + 1, v], t_F[3 * i + 2, v]
                for j in range(3):
                    w.trial[i, j] = f0 * w.old[0, j] + f1 * w.old[1, j] + f2 * w.old[2, j]
            for s in range(n_s):
                w.gamma_0[s], w.xi_0[s], w.xi[s] = t_gamma[s, v], t_xi_0[s, v], t_xi[s, v]
            for k in range(6):
                w.stress[k], w.strain[k] = t_stress[k, v], t_expected[k, v]
            _add_expected(w)
            converged[0, first + v], coupled[0, first + v] = _solve(m, w, dt, coupled_guess[0, first + v])
            for s in range(n_s):
                t_xi[s, v], t_gamma[s, v] = w.xi[s], w.gamma_0[s] + w.increment[s]
            for k in range(6):
                t_stress[k, v] = w.stress[k]
            _push_forward(m, w, v, t_P, t_tangent, t_old)
        _save(t_P, first, n, P)
        _save(t_tangent, first, n, tangent)
        _save(t_old, first, n, F_p_inverse_new)
        _save(t_stress, first, n, stress)
        _save(t_xi, first, n, xi)
        _save(t_gamma, first, n, gamma)


@_part
def _load(source, first, n, tile):
    for k in range(len(tile)):
        for v in range(n):
            tile[k, v] = source[k, first + v]


@_part
def _save(tile, first, n, target):
    for k in range(len(tile)):
        for v in range(n):
            target[k, first + v] = tile[k, v]


@_part
def _tensor(vector, tensor):
    """Symmetric tensor of a Mandel vector."""
    for k in range(6):
        i, j = _ROW[k], _COLUMN[k]
        tensor[i, j] = tensor[j, i] = vector[k] * (1.0 if k < 3 else _HALF)


@_part
def _add_expected(w):
    """Turn an expected change of S, which stands in `strain`, to crystal axes and add it to the guess."""
    r, e, half = w.trial, w.strain, w.green
    _tensor(e, w.flow)
    for i in range(3):
        for j in range(3):
            half[i, j] = w.flow[i, 0] * r[0, j] + w.flow[i, 1] * r[1, j] + w.flow[i, 2] * r[2, j]
    for k in range(6):
        i, j = _ROW[k], _COLUMN[k]
        total = r[0, i] * half[0, j] + r[1, i] * half[1, j] + r[2, i] * half[2, j]
        w.stress[k] += total if k < 3 else total / _HALF


@_part
def _solve(m, w, dt, coupled):
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
        _eliminate(w.matrix, w.lower, w.order)
        _back_substitute(w.matrix, w.lower, w.solution)
        done, coupled, relaxation = _advance(m, w, coupled, relaxation)
        if done:
            break
    _refine(m, w)
    return done, coupled


@_part
def _refine(m, w):
    """The last step's own share of the shears, to first order: they are n times as sensitive as S. X with it."""
    for s in range(len(w.xi)):
        w.increment[s] += w.slope[s] * w.xi[s] * (w.change[s] if w.ratio[s] > 0.0 else -w.change[s])
    _flow(m, w)


@_part
def _resolved(m, stress, xi, ratio):
    """ratio = P : stress / xi of all systems."""
    p, s0, s1, s2, s3, s4, s5 = m.resolve, stress[0], stress[1], stress[2], stress[3], stress[4], stress[5]
    for s in range(len(xi)):
        ratio[s] = (p[0, s] * s0 + p[1, s] * s1 + p[2, s] * s2 + p[3, s] * s3 + p[4, s] * s4 + p[5, s] * s5) / xi[s]


@_part
def _make_admissible(m, w):
    """Shorten a guess of S that would make a system run away."""
    _resolved(m, w.stress, w.xi, w.ratio)
    largest = RATIO_CAP
    for s in range(len(w.xi)):
        largest = max(largest, abs(w.ratio[s]) if s < m.slips else w.ratio[s])
    for k in range(6):
        w.stress[k] *= RATIO_CAP / largest


# The loops below are short and touch few arrays each: so the compiler can prove them free of overlap and vectorise them.

@_part
def _shear(m, w, dt):
    """tau / xi, the shear of the step and its derivative by |tau|."""
    slips, systems = m.slips, len(w.xi)
    _resolved(m, w.stress, w.xi, w.ratio)
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
        rest = (1.0 - before) / (1.0 + during)
        for s in range(slips, systems):
            w.increment[s] *= rest
        for s in range(slips, systems):
            w.slope[s] *= rest


@_part
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


@_part
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
            softening = m.hardening_exponent[s] * hardness / (y * saturation)
        w.rate[s], w.damping[s] = hardness, softening
    for t in range(systems - slips):
        w.rate[slips + t], w.damping[slips + t] = m.h_0_tw_sl[t] * slipped, 0.0
    for s in range(systems):
        w.change[s] = w.q[m.first_driver[s]]
    for s in range(systems):
        w.damping[s] = 1.0 / (1.0 + w.damping[s] * w.change[s])
    for s in range(systems):
        w.drift[s] = w.xi[s] - w.xi_0[s] - w.rate[s] * w.change[s]
    for t in range(systems - slips):
        if m.twin_driver[slips + t] >= 0:
            w.drift[slips + t] -= m.h_0_tw_tw[t] * w.q[m.twin_driver[slips + t]]
    for t in range(systems - slips):
        twinning = w.increment[slips + t]
        if twinning > _NEGLIGIBLE_IN_FLOW:
            for s in range(slips):
                w.drift[s] -= m.h_tw_on_slip[t, s] * twinning


@_part
def _hardening_power(m, base, s):
    """base^a, by square roots for the usual a = 2.25 of magnesium."""
    if m.hardening_exponent[s] == 2.25:
        return base * base * np.sqrt(np.sqrt(base))
    return base ** m.hardening_exponent[s]


@_part
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


@_part
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


@_part
def _assemble(m, w, coupled):
    """Newton's matrix and right-hand side (last column), in terms of S / unit so that its pivots are of order one."""
    a, count = w.matrix, len(w.q)
    last = 6 + count
    for i in range(last):
        for j in range(a.shape[1]):
            a[i, j] = 0.0
    for k in range(6, 6 + count):
        a[k, k] = 1.0
    for place in range(len(w.jacobian)):
        w.jacobian[place] = 0.0
    for i in range(6):
        a[i, last] = w.strain[i]
        for j in range(6):
            a[i, last] -= m.compliance[i, j] * w.stress[j]
    for s in range(len(w.xi)):
        if w.increment[s] > _NEGLIGIBLE_IN_MATRIX:
            slope = w.slope[s] * m.unit
            for place in range(len(w.jacobian)):
                w.jacobian[place] += slope * m.dyads[s, place]
            signed = slope if w.ratio[s] > 0.0 else -slope
            for k in range(count):
                if m.drivers[k, s] != 0.0:
                    pull = m.drivers[k, s] * signed
                    for i in range(6):
                        a[6 + k, i] -= pull * m.pairs[s, i]
            if coupled:
                _couple(m, w, s)
    place = 0
    for i in range(6):
        for j in range(i, 6):
            a[i, j] = a[j, i] = m.compliance[i, j] * m.unit + w.jacobian[place]
            place += 1


@_part
def _couple(m, w, s):
    """How the hardening of a system slows it down."""
    a, last = w.matrix, 6 + len(w.q)
    leak = w.slope[s] * w.size[s] * w.damping[s]
    first, second = 6 + m.first_driver[s], 6 + m.twin_driver[s]
    by_twin = m.h_0_tw_tw[s - m.slips] if second >= 6 else 0.0
    signed = leak if w.ratio[s] > 0.0 else -leak
    lag, one, other = signed * w.drift[s], signed * w.rate[s], signed * by_twin
    for i in range(6):
        a[i, last] -= lag * m.pairs[s, i]
        a[i, first] -= one * m.pairs[s, i]
        if second >= 6:
            a[i, second] -= other * m.pairs[s, i]
    for k in range(len(w.q)):
        if m.drivers[k, s] != 0.0:
            pull = m.drivers[k, s] * leak
            a[6 + k, last] += pull * w.drift[s]
            a[6 + k, first] += pull * w.rate[s]
            if second >= 6:
                a[6 + k, second] += pull * by_twin


@_part
def _eliminate(a, lower, order):
    """Gauss elimination with partial pivoting of the rows of a, right-hand side included, four columns at a time.

    Row k was exchanged with row order[k]; the factors of the others and inverse pivots go to `lower`.
    """
    n = len(a)
    for k in range(n):
        best = k
        if n > _DEFINITE:
            for i in range(k + 1, n):
                if abs(a[i, k]) > abs(a[best, k]):
                    best = i
        order[k] = best
        if best != k:
            for j in range(a.shape[1]):
                a[k, j], a[best, j] = a[best, j], a[k, j]
            for j in range(k):
                lower[k, j], lower[best, j] = lower[best, j], lower[k, j]
        inverse = 1.0 / a[k, k]
        lower[k, k] = inverse
        for i in range(k + 1, n):
            factor = a[i, k] * inverse
            lower[i, k] = factor
            for j in range(k // 4 * 4, a.shape[1], 4):
                a0, a1 = a[i, j] - factor * a[k, j], a[i, j + 1] - factor * a[k, j + 1]
                a2, a3 = a[i, j + 2] - factor * a[k, j + 2], a[i, j + 3] - factor * a[k, j + 3]
                a[i, j], a[i, j + 1], a[i, j + 2], a[i, j + 3] = a0, a1, a2, a3


@_part
def _back_substitute(a, lower, x):
    """Solution of the eliminated system."""
    n = len(a)
    for k in range(n - 1, -1, -1):
        total = a[k, n]
        for j in range(k + 1, n):
            total -= a[k, j] * x[j]
        x[k] = total * lower[k, k]


@_part
def _solve_six(a, lower, order, x):
    """Solve in place for six right-hand sides, the columns of x, with the factors of `_eliminate`."""
    n = len(a)
    for k in range(n):
        if order[k] != k:
            for c in range(6):
                x[k, c], x[order[k], c] = x[order[k], c], x[k, c]
    for k in range(n):
        x0, x1, x2, x3, x4, x5 = x[k, 0], x[k, 1], x[k, 2], x[k, 3], x[k, 4], x[k, 5]
        for i in range(k + 1, n):
            _subtract(x, i, lower[i, k], x0, x1, x2, x3, x4, x5)
    for k in range(n - 1, -1, -1):
        f = lower[k, k]
        x0, x1, x2, x3, x4, x5 = f * x[k, 0], f * x[k, 1], f * x[k, 2], f * x[k, 3], f * x[k, 4], f * x[k, 5]
        x[k, 0], x[k, 1], x[k, 2], x[k, 3], x[k, 4], x[k, 5] = x0, x1, x2, x3, x4, x5
        for i in range(k):
            _subtract(x, i, a[i, k], x0, x1, x2, x3, x4, x5)


@_part
def _subtract(x, i, f, x0, x1, x2, x3, x4, x5):
    """Row i of x less f times another."""
    y0, y1, y2 = x[i, 0] - f * x0, x[i, 1] - f * x1, x[i, 2] - f * x2
    y3, y4, y5 = x[i, 3] - f * x3, x[i, 4] - f * x4, x[i, 5] - f * x5
    x[i, 0], x[i, 1], x[i, 2], x[i, 3], x[i, 4], x[i, 5] = y0, y1, y2, y3, y4, y5


@_part
def _advance(m, w, coupled, relaxation):
    """Move S and xi by the capped step; whether that was the last, and whether xi may be coupled from here on."""
    systems = len(w.xi)
    for k in range(6):
        w.step[k] = m.unit * w.solution[k]
    _resolved(m, w.step, w.xi, w.change)
    settled = _largest(w.change) < SETTLED
    for s in range(systems):
        w.xi_step[s] = w.rate[s] * w.solution[6 + m.first_driver[s]] - w.drift[s]
    for s in range(m.slips, systems):
        if m.twin_driver[s] >= 0:
            w.xi_step[s] += m.h_0_tw_tw[s - m.slips] * w.solution[6 + m.twin_driver[s]]
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


@_part
def _largest(values):
    result = 0.0
    for s in range(len(values)):
        result = max(result, abs(values[s]))
    return result


@_part
def _push_forward(m, w, v, P, tangent, F_p_inverse):
    """P, F_p^-1 and the tangent of one voxel in sample axes, from S, X and the factors of Newton's matrix."""
    x, F_e, new, first = w.flow, w.trial, w.old, w.green
    scale = (
        x[0, 0] * (x[1, 1] * x[2, 2] - x[1, 2] * x[2, 1])
        - x[0, 1] * (x[1, 0] * x[2, 2] - x[1, 2] * x[2, 0])
        + x[0, 2] * (x[1, 0] * x[2, 1] - x[1, 1] * x[2, 0])
    ) ** (-1.0 / 3.0)
    for tensor in (F_e, new):
        for i in range(3):
            r0, r1, r2 = scale * tensor[i, 0], scale * tensor[i, 1], scale * tensor[i, 2]
            for j in range(3):
                tensor[i, j] = r0 * x[0, j] + r1 * x[1, j] + r2 * x[2, j]
    _tensor(w.stress, x)
    for i in range(3):
        for j in range(3):
            first[i, j] = F_e[i, 0] * x[0, j] + F_e[i, 1] * x[1, j] + F_e[i, 2] * x[2, j]
    for i in range(3):
        for j in range(3):
            P[3 * i + j, v] = first[i, 0] * new[j, 0] + first[i, 1] * new[j, 1] + first[i, 2] * new[j, 2]
            F_p_inverse[3 * i + j, v] = new[i, j]
    _turn_tangent(m, w, F_e, v, tangent)


@_part
def _turn_tangent(m, w, F_e, v, tangent):
    """Symmetric part of dS/dE, pushed forward by F_e: (Q T Q^T), with the rows of Q as right-hand sides."""
    q = w.turn
    for r in range(6):
        for k in range(6):
            i, j, a, b = _ROW[r], _COLUMN[r], _ROW[k], _COLUMN[k]
            both = F_e[i, a] * F_e[j, b] + F_e[j, a] * F_e[i, b]
            q[r, k] = both * ((0.5 if r < 3 else _HALF) if k < 3 else (_HALF if r < 3 else 1.0))
    for k in range(len(w.columns)):
        for r in range(6):
            w.columns[k, r] = m.unit * q[r, k] if k < 6 else 0.0
    _solve_six(w.matrix, w.lower, w.order, w.columns)
    for k in range(6):
        for r in range(6):
            total = 0.0
            for i in range(6):
                total += q[k, i] * w.columns[i, r]
            tangent[6 * k + r, v] = total
    for i in range(6):
        for j in range(i):
            mean = 0.5 * (tangent[6 * i + j, v] + tangent[6 * j + i, v])
            tangent[6 * i + j, v] = tangent[6 * j + i, v] = mean
