"""The law of `phenopowerlaw` in one compiled loop over voxels: the same equations, many times faster on a CPU.

`Law` passes over all voxels once for each operation. Here some voxels at a time come into the cache, where eight of them go
through an iteration as the lanes of a processor's vectors; those that are not done yet form new eights for the next one.
Numba compiles it at its first use (half a minute, kept on disk for later runs).
"""

from __future__ import annotations

from collections import namedtuple
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from microprint.jit import compiled, part
from microprint.lanes import LANES, aligned, holds, in_lanes, lanes, larger, power, put, smaller, take, with_sign
from microprint.machine import Workspaces, in_threads
from microprint.mechanics.compiled.newton import ENTRY, flow, iterate, limit, resolved
from microprint.mechanics.phenopowerlaw import CAUTION, LEAST_SHARE, TANGENT_DTYPE, Law, Response
from microprint.mechanics.tensors import UPPER, VOIGT_PAIRS

# Voxels that are brought into the cache together, and the fewest that a thread is started for.
_TILE, _PIECE = 128, 1024
_ROW, _COLUMN = (np.array(index) for index in zip(*VOIGT_PAIRS))
_HALF = np.sqrt(0.5)

# Arrays of the material; what only slips or only twins have is filled up with zeros to all systems. Matrices to be multiplied
# with lanes are (blocks, columns, 6), see `six`. `drive` (drivers, systems) gives the drivers of the hardening, `by_slip` and
# `by_twin` which of them hardens a system; `families` has the same number for the same saturation; `power` is the exponent of
# all systems less one, nil where they differ; `powers` tells whether c_1 to c_4 have an effect.
Constants = namedtuple(
    "Constants",
    "slips families compliance schmid resolve dyads drive drive_by_stress by_slip by_twin spread exponent power "
    "tenth xi_inf h_0 hardening_exponent f_sat c_1 c_2 share h_0_tw_sl c_3 c_4 powers tolerance max_iterations",
)
# What eight voxels are worked on with: vectors over systems, then small tensors, `sums` (of the shears of twins, over
# gamma_char, and of slip before the step; the last iteration's largest relative change of xi), and Newton's equations.
Work = namedtuple(
    "Work",
    "ratio size sign inverse increment slope rate spread drift damping change step signed highest xi xi_0 "
    "driven F old green flow stress strain dyads tangent sums turned matrix",
)
# Voxels in the cache (rows, voxels): what comes and goes, and what is kept between the iterations.
Tile = namedtuple("Tile", "F old stress expected xi_0 gamma xi P tangent ratio shear green stiffness sums")


class CompiledLaw(Law):
    """`Law` on the CPU, compiled."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        m, slips, n = self.material, self.slips, self.systems
        own = np.stack([x.numpy() for x in (m.xi_inf, m.h_0, m.hardening_exponent, m.f_sat)], 1)
        exponent, resolve = m.exponent.numpy(), self.resolve.numpy()
        by_slip, by_twin = self.by_slip.numpy(), np.zeros((n, n))
        by_twin[:slips, slips:], by_twin[slips:, slips:] = m.h_sl_tw.numpy(), m.h_tw_tw.numpy()
        hardened = by_twin.any(1)  # by twins; what is not may take any driver for it
        rows = np.concatenate([by_slip, np.where(hardened[:, None], by_twin, by_slip)])
        drive, driver = np.unique(rows, axis=0, return_inverse=True)
        driver = driver.reshape(-1)
        self.constants = Constants(
            slips,
            np.unique(own, axis=0, return_inverse=True)[1].reshape(-1),
            self.compliance.numpy(),
            _sixes(self.schmid.T.numpy()),
            _sixes(resolve),
            _sixes(np.stack([resolve[:, i] * resolve[:, j] for i, j in UPPER], 1)),
            drive,
            _sixes((drive[:, :, None] * resolve).transpose(1, 0, 2).reshape(n, -1)),
            driver[:n],
            driver[n:],
            np.concatenate([np.ones(slips), m.h_0_tw_tw.numpy()]) * hardened,
            exponent,
            int(exponent[0]) - 1 if (exponent == int(exponent[0])).all() else 0,
            LEAST_SHARE ** (1.0 / exponent),
            *(np.pad(x.numpy(), (0, n - slips)) for x in (m.xi_inf, m.h_0, m.hardening_exponent, m.f_sat, m.c_1, m.c_2)),
            *(np.pad(x.numpy(), (slips, 0)) for x in (1.0 / m.gamma_char, m.h_0_tw_sl, m.c_3, m.c_4)),
            self.by_twinning or self.by_powers,
            self.tolerance,
            self.max_iterations,
        )
        self.workspaces = Workspaces(partial(_workspace, n, len(drive)))
        self.step = lru_cache(maxsize=16)(self._step)  # of the last time steps

    def respond(
        self, F: Tensor, F_p_inverse: Tensor, xi_0: Tensor, gamma_0: Tensor, dt: float,
        stress: Tensor, xi: Tensor, expected: Tensor | None = None,
    ) -> Response:  # fmt: skip
        F, xi_0, stress = (tensor.contiguous() for tensor in (F, xi_0, stress))  # as the results are made
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
            with self.workspaces.lent() as memory:
                _respond(begin, end, self.constants, *memory, *self.step(dt), *arrays)

        piece = max(_PIECE, -(-voxels // (4 * torch.get_num_threads())))  # for a thread may be kept from working
        in_threads(work, [(begin, min(begin + piece, voxels)) for begin in range(0, voxels, piece)], "cpu")
        return result

    def _step(self, dt: float) -> tuple[np.ndarray, ...]:
        """Speed of the systems over a time step, and the two `ratios`."""
        return dt * self.material.rate_0.numpy(), *(ratios.numpy() for ratios in self.ratios(dt))


def _sixes(matrix: np.ndarray) -> np.ndarray:
    """The transpose of a matrix (systems, R) for `six`: (R / 6, systems, 6), filled up with zeros."""
    filled = np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % 6)))
    return np.ascontiguousarray(filled.reshape(len(matrix), -1, 6).transpose(1, 0, 2))


def _workspace(n: int, drivers: int) -> tuple[Work, Tile, np.ndarray, np.ndarray]:
    """Memory of one thread; the compiled code, which may not allocate any, does not count references either."""
    small = (9,), (9,), (6,), (9,), (6,), (6,), (24,), (36,), (3,), (6, 6)
    shapes = [(n,)] * 16 + [(drivers,), *small, (drivers + 6, drivers + 7)]
    rows = (9, 9, 6, 6, n, n, n, 9, 36, n, n, 6, 21, 3)
    work, tile = Work(*(aligned((*shape, LANES)) for shape in shapes)), Tile(*(aligned((k, _TILE + LANES)) for k in rows))
    return work, tile, np.empty(LANES, np.int64), np.empty(_TILE, np.int64)


@compiled
def _respond(
    begin, end, m, work, t, at, pending, speed, critical, whole,
    F, F_p_inverse, xi_0, gamma_0, stress_guess, xi_guess, expected,
    P, tangent, F_p_inverse_new, stress, xi, gamma, converged,
):  # fmt: skip
    """Voxels begin to end of `Law.respond`, whose arrays come as (components, voxels)."""
    w = in_lanes(work)
    for first in range(begin, end, _TILE):
        n = min(_TILE, end - first)
        _load(F, first, n, t.F)
        _load(F_p_inverse, first, n, t.old)
        _load(stress_guess, first, n, t.stress)
        _load(expected, first, n, t.expected)
        _load(xi_0, first, n, t.xi_0)
        _load(gamma_0, first, n, t.gamma)
        _load(xi_guess, first, n, t.xi)
        for v in range(n):
            pending[v], converged[0, first + v] = v, False
        count, iteration = n, 0
        while count > 0 and iteration < m.max_iterations:
            left = 0
            for group in range(0, count, LANES):
                for lane in range(LANES):
                    at[lane] = pending[min(group + lane, count - 1)]
                if iteration == 0:
                    _start(m, w, t, at, whole)
                else:
                    _resume(m, w, t, at, whole)
                done = iterate(m, w, speed, critical, CAUTION * iteration)
                _pause(w, t, at)
                for lane in range(min(LANES, count - group)):
                    if holds(done, lane):
                        converged[0, first + at[lane]] = True
                    else:
                        pending[left] = at[lane]
                        left += 1
            count, iteration = left, iteration + 1
        for group in range(0, n, LANES):
            for lane in range(LANES):
                at[lane] = group + lane
            _finish(m, w, t, at)
        _save(t.P, first, n, P)
        _save(t.tangent, first, n, tangent)
        _save(t.old, first, n, F_p_inverse_new)
        _save(t.stress, first, n, stress)
        _save(t.xi, first, n, xi)
        _save(t.gamma, first, n, gamma)


@part
def _load(source, first, n, tile):
    for k in range(len(tile)):
        row = source[k, first : first + n]  # an index that might be negative keeps the compiler from vectors
        for v in range(n):
            tile[k, v] = row[v]


@part
def _save(tile, first, n, target):
    for k in range(len(tile)):
        row = target[k, first : first + n]
        for v in range(n):
            row[v] = tile[k, v]


@part
def _row(a, b, c, x):
    """Row a, b, c of a tensor times another."""
    return a * x[0] + b * x[3] + c * x[6], a * x[1] + b * x[4] + c * x[7], a * x[2] + b * x[5] + c * x[8]


@part
def _product(a, b):
    """Product of tensors of nine components."""
    xx, xy, xz = _row(a[0], a[1], a[2], b)
    yx, yy, yz = _row(a[3], a[4], a[5], b)
    zx, zy, zz = _row(a[6], a[7], a[8], b)
    return xx, xy, xz, yx, yy, yz, zx, zy, zz


@part
def _transposed(a):
    return a[0], a[3], a[6], a[1], a[4], a[7], a[2], a[5], a[8]


@part
def _tensor(v):
    """Symmetric tensor of a Mandel vector."""
    yz, xz, xy = _HALF * v[3], _HALF * v[4], _HALF * v[5]
    return v[0], xy, xz, xy, v[1], yz, xz, yz, v[2]


@part
def _start(m, w, t, at, whole):
    """Eight voxels before their first iteration: the expected change of S turned to crystal axes and added, and the ratios."""
    take(t.F, at, w.F)
    take(t.old, at, w.old)
    take(t.expected, at, w.strain)
    take(t.stress, at, w.stress)
    take(t.xi, at, w.xi)
    take(t.xi_0, at, w.xi_0)
    take(t.gamma, at, w.step)
    trial, c, s = _product(w.F, w.old), w.green, w.stress
    green = _product(_transposed(trial), trial)
    c[0], c[1], c[2], c[3], c[4], c[5] = green[0], green[4], green[8], green[5], green[2], green[1]
    e = _product(_transposed(trial), _product(_tensor(w.strain), trial))
    s[0], s[1], s[2], s[3], s[4], s[5] = (
        s[0] + e[0], s[1] + e[4], s[2] + e[8], s[3] + e[5] / _HALF, s[4] + e[2] / _HALF, s[5] + e[1] / _HALF)  # fmt: skip
    limit(m, w, whole)
    resolved(m, w.stress, w.ratio)
    twinned, slipped = lanes(0.0), lanes(0.0)
    for k in range(len(w.xi)):
        least = -w.highest[k] if k < m.slips else lanes(0.0)
        w.ratio[k] = smaller(larger(w.ratio[k] / w.xi[k], least), w.highest[k])
        twinned, slipped = twinned + m.share[k] * w.step[k], slipped + (w.step[k] if k < m.slips else lanes(0.0))
    w.sums[0], w.sums[1], w.sums[2] = twinned, slipped, lanes(0.0)
    put(t.green, at, w.green)


@part
def _resume(m, w, t, at, whole):
    """Eight voxels as an iteration left them."""
    take(t.green, at, w.green)
    take(t.xi, at, w.xi)
    take(t.xi_0, at, w.xi_0)
    take(t.ratio, at, w.ratio)
    take(t.sums, at, w.sums)
    limit(m, w, whole)


@part
def _pause(w, t, at):
    """Keep what an iteration made."""
    for i in range(6):
        for j in range(i, 6):
            w.dyads[ENTRY[i, j]] = 0.5 * (w.tangent[6 * i + j] + w.tangent[6 * j + i])
    put(t.xi, at, w.xi)
    put(t.ratio, at, w.ratio)
    put(t.shear, at, w.signed)
    put(t.stress, at, w.stress)
    put(t.stiffness, at, w.dyads)
    put(t.sums, at, w.sums)


@part
def _finish(m, w, t, at):
    """P, F_p^-1, the shears and the tangent of eight voxels in sample axes, from S, the shears of the step and dS/dE."""
    take(t.F, at, w.F)
    take(t.old, at, w.old)
    take(t.stress, at, w.stress)
    take(t.shear, at, w.signed)
    take(t.ratio, at, w.ratio)
    take(t.gamma, at, w.step)
    take(t.stiffness, at, w.dyads)
    for s in range(len(w.xi)):
        w.step[s] = w.step[s] + with_sign(1.0, w.ratio[s]) * w.signed[s]
    flow(m, w)
    x = w.flow
    det = x[0] * (x[4] * x[8] - x[5] * x[7]) - x[1] * (x[3] * x[8] - x[5] * x[6]) + x[2] * (x[3] * x[7] - x[4] * x[6])
    scale = power(det, -1.0 / 3.0)
    new = _product(w.old, w.flow)
    F_e = _product(w.F, new)
    push = _product(_product(F_e, _tensor(w.stress)), _transposed(new))
    for k in range(9):
        w.old[k], w.flow[k], w.F[k] = scale * new[k], scale * F_e[k], scale * scale * push[k]
    _turn_tangent(m, w)
    put(t.gamma, at, w.step)
    put(t.old, at, w.old)
    put(t.P, at, w.F)
    put(t.tangent, at, w.tangent)


@part
def _turn_tangent(m, w):
    """The tangent pushed forward by F_e: Q T Q^T."""
    q, turned, f = w.matrix, w.turned, w.flow
    for r in range(6):
        i, j = 3 * _ROW[r], 3 * _COLUMN[r]
        for k in range(6):
            a, b = _ROW[k], _COLUMN[k]
            both = f[i + a] * f[j + b] + f[j + a] * f[i + b]
            q[r, k] = both * ((0.5 if r < 3 else _HALF) if k < 3 else (_HALF if r < 3 else 1.0))
    for i in range(6):
        for j in range(6):
            total = lanes(0.0)
            for k in range(6):
                total = total + w.dyads[ENTRY[i, k]] * q[j, k]
            turned[i, j] = total
    for i in range(6):
        for j in range(i, 6):
            total = lanes(0.0)
            for k in range(6):
                total = total + q[i, k] * turned[k, j]
            w.tangent[6 * i + j] = w.tangent[6 * j + i] = total
