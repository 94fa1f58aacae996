"""The law of `phenopowerlaw` as one compiled loop over voxels: the same equations, many times faster on a CPU.

`Law` passes over all voxels once for each operation. Here a voxel's step is finished while it is in the cache, no voxel
waits for another, and systems that barely slip are left out of Newton's matrix. Numba compiles it at its first use
(half a minute, kept on disk for later runs).
"""

from __future__ import annotations

from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from microprint.jit import compiled, part
from microprint.mechanics.compiled.linear import solve_six
from microprint.mechanics.compiled.newton import solve
from microprint.mechanics.phenopowerlaw import LEAST_SHARE, TANGENT_DTYPE, Law, Response
from microprint.mechanics.tensors import VOIGT_PAIRS

# Voxels that are brought into the cache together, and that a thread takes at a time.
_TILE, _PIECE = 32, 1024
_ROW, _COLUMN = (np.array(index) for index in zip(*VOIGT_PAIRS))
_HALF = np.sqrt(0.5)

# Arrays of the material. `resolve` (6, systems) holds P in Mandel's notation, `pull` (systems, 6) C : P, `coupling` (systems,
# systems) P : C : P; `interaction` (systems, systems) how a system, the row, hardens the others; `schmid` is (systems, 9);
# `families` (slips,) has the same number for the same saturation; `power` is the exponent of all systems less one, nil
# where they differ; `powers` tells whether c_1 to c_4 have an effect.
Constants = namedtuple(
    "Constants",
    "slips families stiffness schmid resolve pull coupling interaction exponent power rate_0 xi_inf h_0 hardening_exponent "
    "f_sat gamma_char h_0_tw_sl h_0_tw_tw c_1 c_2 c_3 c_4 powers tolerance max_iterations",
)
# What a voxel is worked on with: vectors over systems, then small tensors, Newton's equations, and what stays for all voxels.
Work = namedtuple(
    "Work",
    "ratio size slope increment rate drift damping change step by_slip by_twin highest xi gamma_0 xi_0 "
    "stress strain trial old green flow matrix lower solution turn turned columns order active spread tenth critical unit",
)


class CompiledLaw(Law):
    """`Law` on the CPU, compiled."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        m = self.material
        array = lambda tensor: np.ascontiguousarray(tensor.numpy())  # noqa: E731
        exponent = array(m.exponent)
        own = np.stack([x.numpy() for x in (m.xi_inf, m.h_0, m.hardening_exponent, m.f_sat)], 1)
        self.constants = Constants(
            m.slips,
            np.unique(own, axis=0, return_inverse=True)[1].reshape(-1),
            array(self.stiffness),
            array(self.schmid.T),
            array(self.resolve.T),
            array(self.resolve @ self.stiffness),
            array(self.coupling),
            np.block([[array(m.h_sl_sl), array(m.h_sl_tw)], [array(m.h_tw_sl), array(m.h_tw_tw)]]).T.copy(),
            exponent,
            int(exponent[0]) - 1 if (exponent == int(exponent[0])).all() else 0,
            *(array(x) for x in (m.rate_0, m.xi_inf, m.h_0, m.hardening_exponent, m.f_sat, m.gamma_char)),
            *(array(x) for x in (m.h_0_tw_sl, m.h_0_tw_tw, m.c_1, m.c_2, m.c_3, m.c_4)),
            self.by_twinning or self.by_powers,
            self.tolerance,
            self.max_iterations,
        )

    def respond(
        self, F: Tensor, F_p_inverse: Tensor, xi_0: Tensor, gamma_0: Tensor, dt: float,
        stress: Tensor, xi: Tensor, expected: Tensor | None = None,
    ) -> Response:  # fmt: skip
        voxels = F.shape[-1]
        expected = torch.zeros(6, voxels, dtype=TANGENT_DTYPE) if expected is None else expected
        result = Response(
            P=torch.empty_like(F),
            tangent=F.new_empty(6, 6, voxels, dtype=TANGENT_DTYPE),
            F_p_inverse=torch.empty_like(F),
            stress=torch.empty_like(stress),
            xi=torch.empty_like(xi_0),
            gamma=torch.empty_like(xi_0),
            converged=torch.empty(voxels, dtype=torch.bool),
        )
        tensors = (F, F_p_inverse, xi_0, gamma_0, stress, xi, expected, *vars(result).values())
        arrays = [tensor.contiguous().numpy().reshape(-1, voxels) for tensor in tensors]

        def work(begin: int, end: int) -> None:
            _respond(begin, end, self.constants, *_workspace(self.constants, self.ratios(dt)), dt, *arrays)

        if torch.get_num_threads() == 1:
            work(0, voxels)
            return result
        begins = range(0, voxels, _PIECE)
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(work, begins, [min(begin + _PIECE, voxels) for begin in begins]))
        return result


def _workspace(m: Constants, ratios: tuple[Tensor, Tensor]) -> tuple[Work, tuple[np.ndarray, ...]]:
    """Memory of one thread; the compiled code, which may not allocate any, does not count references either."""
    n = len(m.schmid)
    shapes = [(n,)] * 15 + [(6,)] * 2 + [(3, 3)] * 4 + [(n, n // 4 * 4 + 4), (n, n), (n,), (6, 6), (6, 6), (n, 6)]
    fixed = [np.concatenate([np.ones(m.slips), m.h_0_tw_tw]), LEAST_SHARE ** (1.0 / m.exponent), *(x.numpy() for x in ratios)]
    work = Work(*map(np.empty, shapes), *np.empty((2, n), np.int64), *fixed)
    tiles = tuple(np.empty((rows, _TILE)) for rows in (9, 9, 6, 6, 9, n, n, n, 36))
    return work, tiles


@compiled
def _respond(
    begin, end, m, w, tiles, dt, F, F_p_inverse, xi_0, gamma_0, stress_guess, xi_guess, expected,
    P, tangent, F_p_inverse_new, stress, xi, gamma, converged,
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
            converged[0, first + v], count = solve(m, w, dt)
            for s in range(n_s):
                t_xi[s, v], t_gamma[s, v] = w.xi[s], w.gamma_0[s] + w.increment[s]
            for k in range(6):
                t_stress[k, v] = w.stress[k]
            _push_forward(m, w, v, count, t_P, t_tangent, t_old)
        _save(t_P, first, n, P)
        _save(t_tangent, first, n, tangent)
        _save(t_old, first, n, F_p_inverse_new)
        _save(t_stress, first, n, stress)
        _save(t_xi, first, n, xi)
        _save(t_gamma, first, n, gamma)


@part
def _load(source, first, n, tile):
    for k in range(len(tile)):
        for v in range(n):
            tile[k, v] = source[k, first + v]


@part
def _save(tile, first, n, target):
    for k in range(len(tile)):
        for v in range(n):
            target[k, first + v] = tile[k, v]


@part
def _tensor(vector, tensor):
    """Symmetric tensor of a Mandel vector."""
    for k in range(6):
        i, j = _ROW[k], _COLUMN[k]
        tensor[i, j] = tensor[j, i] = vector[k] * (1.0 if k < 3 else _HALF)


@part
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


@part
def _push_forward(m, w, v, count, P, tangent, F_p_inverse):
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
    _turn_tangent(m, w, F_e, v, count, tangent)


@part
def _turn_tangent(m, w, F_e, v, count, tangent):
    """Symmetric part of dS/dE, pushed forward by F_e: (Q T Q^T), with the rows of Q as right-hand sides."""
    q = w.turn
    for r in range(6):
        for k in range(6):
            i, j, a, b = _ROW[r], _COLUMN[r], _ROW[k], _COLUMN[k]
            both = F_e[i, a] * F_e[j, b] + F_e[j, a] * F_e[i, b]
            q[r, k] = both * ((0.5 if r < 3 else _HALF) if k < 3 else (_HALF if r < 3 else 1.0))
    for i in range(count):
        s = w.active[i]
        sign = 1.0 if w.ratio[s] > 0.0 else -1.0
        for r in range(6):
            total = 0.0
            for k in range(6):
                total += m.pull[s, k] * q[r, k]
            w.columns[i, r] = sign * total
    solve_six(w.matrix, w.lower, w.order, w.columns, count)
    # The columns of C Q^T, less what the shears take from them.
    for r in range(6):
        for k in range(6):
            total = 0.0
            for j in range(6):
                total += m.stiffness[k, j] * q[r, j]
            w.turned[k, r] = total
    for i in range(count):
        s = w.active[i]
        sign = 1.0 if w.ratio[s] > 0.0 else -1.0
        for k in range(6):
            for r in range(6):
                w.turned[k, r] -= sign * m.pull[s, k] * w.columns[i, r]
    for k in range(6):
        for r in range(6):
            total = 0.0
            for i in range(6):
                total += q[k, i] * w.turned[i, r]
            tangent[6 * k + r, v] = total
    for i in range(6):
        for j in range(i):
            mean = 0.5 * (tangent[6 * i + j, v] + tangent[6 * j + i, v])
            tangent[6 * i + j, v] = tangent[6 * j + i, v] = mean
