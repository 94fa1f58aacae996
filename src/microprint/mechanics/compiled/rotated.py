"""Conjugate gradients in a `RotatedCell`, compiled for a CPU, with the stiffness of all voxels as one operator.

The stiffness passes once over the voxels, plane by plane. A plane of corners is wrapped round, so that a voxel's corners lie at
fixed distances from it, whatever its row; what falls on the column beyond the last voxel meets no stiffness.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from microprint.jit import called, compiled, part
from microprint.lanes import LANES, in_lanes, read, write
from microprint.machine import Workspaces
from microprint.mechanics.compiled.green import Fields, displace, fields, medium, plan
from microprint.mechanics.elasticity import voigt_from_mandel
from microprint.mechanics.spectral import RotatedCell
from microprint.mechanics.tensors import SYMMETRIC, UPPER

_ENTRY, (_ROWS, _COLUMNS) = np.array(SYMMETRIC), zip(*UPPER)
# What Lame's constants multiply in a Voigt matrix.
_VOLUME, _SHEAR = torch.zeros(6, 6), torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0, 1.0, 1.0]))
_VOLUME[:3, :3] = 1.0

# Two fields of Green's operator as numbers (2, ny, z); vectors of conjugate gradients (3, nx, ny, nz); a plane's two layers of
# corners (6, ...), its stress, and sums for its corners.
Memory = namedtuple("Memory", "line plane residual direction image corners stress sums")


class CompiledRotatedCell(RotatedCell):
    """`RotatedCell` on the CPU. One field after another goes through its iterations, so its vectors stay in the cache."""

    def __init__(self, shape: Sequence[int], size: Sequence[float] | None = None, dtype: torch.dtype = torch.float64):
        super().__init__(shape, size, dtype)
        self.kind = torch.empty(0, dtype=dtype).numpy().dtype
        self.axes, self.along_z = plan(self.shape, self.size, self.kind)
        self.workspaces = Workspaces(self._workspace)

    def green(self, force: Tensor, bulk: Tensor, shear: Tensor) -> Tensor:
        u = torch.empty_like(force)
        with self.workspaces.lent() as (waves, memory):
            _green(self.axes, waves, memory, *medium(bulk, shear, force.shape[1]), *self._grids(force, u))
        return u

    def stiffness(self, matrices: Tensor, phases: Tensor) -> Stiffness:
        """Operator of stiffnesses (B, phases, 6, 6), Mandel, and the phase of each voxel (B, V)."""
        (nx, ny, nz), count = self.shape, len(phases)
        entries = _entries(voigt_from_mandel(matrices))
        # Each plane is a row, with a column of no stiffness beyond the last voxels, filled up to whole vectors.
        planes = np.zeros((entries.shape[2], count, nx, -(-ny * (nz + 1) // LANES) * LANES), self.kind)
        inside = planes[..., : ny * (nz + 1)].reshape(-1, count, nx, ny, nz + 1)[..., :nz]
        for e, p, target in zip(entries, phases, torch.from_numpy(inside).unbind(1)):
            target.copy_(e.T.contiguous().index_select(1, p).unflatten(1, self.shape))
        return Stiffness(self, planes.reshape(len(planes), count * nx, -1))

    def relax(
        self, operator: Stiffness, load: Tensor, moduli: tuple[Tensor, Tensor], tolerance: float, limit: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`conjugate_gradients` of a `stiffness` of this cell."""
        u, used, freed = torch.zeros_like(load), torch.zeros(load.shape[1]), load.new_zeros(limit, load.shape[1])
        with self.workspaces.lent() as (waves, memory):
            _relax(
                self.axes, waves, memory, *medium(*moduli, load.shape[1]), operator.scale, operator.planes,
                *self._grids(load, u), used.numpy(), freed.numpy(), tolerance, limit,
            )  # fmt: skip
        return u, used, freed[: int(used.max())]

    def _grids(self, *vectors: Tensor) -> list[np.ndarray]:
        """Vectors (3, N, V) as arrays (3, N, nx, ny, nz)."""
        return [x.contiguous().view(*x.shape[:2], *self.shape).numpy() for x in vectors]

    def _workspace(self) -> tuple[Fields, Memory]:
        _, ny, nz = self.shape
        waves, *lines = fields(self.shape, self.along_z, self.kind)
        vectors = [np.empty((3, *self.shape), self.kind) for _ in range(3)]
        width = (ny + 2) * (nz + 1) + 2 * LANES
        rows = [np.zeros((6, size), self.kind) for size in (width, width + nz + 2, width)]
        return waves, Memory(*lines, *vectors, *rows)


@dataclass(frozen=True)
class Stiffness:
    """Operator from displacements (3, N, V) to the `force` of the stress of their `strain`, N a multiple of B elements."""

    cell: CompiledRotatedCell
    planes: np.ndarray  # `_entries` of each voxel (21 or 2, B nx, ...)

    @property
    def scale(self) -> np.ndarray:
        return np.array(self.cell.scale, self.cell.kind)

    def __call__(self, u: Tensor) -> Tensor:
        force = torch.empty_like(u)
        with self.cell.workspaces.lent() as (_, memory):
            _operate(memory, self.scale, self.planes, *self.cell._grids(u, force))
        return force


def _entries(voigt: Tensor) -> Tensor:
    """Of stiffnesses (B, phases, 6, 6): Lame's constants (B, phases, 2) if all are isotropic, else upper triangles (.., 21)."""
    lame = voigt[:, :, (0, 3), (1, 3)]
    isotropic = lame[..., :1, None] * _VOLUME + lame[..., 1:, None] * _SHEAR
    if (voigt - isotropic).abs().max() <= 8 * torch.finfo(voigt.dtype).eps * voigt.abs().max():
        return lame
    return voigt[:, :, _ROWS, _COLUMNS]


# ---------------------------------------------------------------------------------------------- stiffness


@part
def _wrap(field, plane, first):
    """Three components of a plane (3, ny, nz) to rows `first` and on, wrapped round along y and z."""
    ny, nz = field.shape[1:]
    for c in range(3):
        for y in range(ny + 1):
            row, target = field[c, y % ny], plane[first + c, y * (nz + 1) : (y + 1) * (nz + 1)]
            for z in range(nz):
                target[z] = row[z]
            target[nz] = row[0]


@part
def _unwrap(plane, first, field):
    """Add to a field what the adjoint of `_wrap` makes of a plane: what lies beyond the last row and column is the first's."""
    ny, nz = field.shape[1:]
    for c in range(3):
        rows = plane[first + c]
        for y in range(ny + 1):
            row, target = rows[y * (nz + 1) : (y + 1) * (nz + 1)], field[c, y % ny]
            row[0] += row[nz]
            for z in range(nz):
                target[z] += row[z]


@part
def _slopes(corners, near, far, v, width):
    """Four times the differences along x, y and z of one component at eight voxels."""
    a0, a1, b0, b1 = read(corners, near, v), read(corners, near, v + 1), read(corners, far, v), read(corners, far, v + 1)
    v = v + width
    a2, a3, b2, b3 = read(corners, near, v), read(corners, near, v + 1), read(corners, far, v), read(corners, far, v + 1)
    a, b, c, d = a0 + b0, a1 + b1, a2 + b2, a3 + b3
    return (b0 + b1 + b2 + b3) - (a0 + a1 + a2 + a3), (c + d) - (a + b), (b + d) - (a + c)


@part
def _row(planes, at, v, i, e):
    """Component i of the stress of strains e."""
    total = read(planes[i], at, v) * e[0]
    for j in range(1, 6):
        total = total + read(planes[_ENTRY[i, j]], at, v) * e[j]
    return total


@part
def _isotropic(planes, at, v, e, stress, w):
    """Write the stress of strains e with Lame's constants, which are a tenth of the bytes of a whole stiffness."""
    volume, shear = read(planes[0], at, v) * (e[0] + e[1] + e[2]), read(planes[1], at, v)
    for i in range(3):
        write(stress, i, w, volume + (shear + shear) * e[i])
        write(stress, 3 + i, w, shear * e[3 + i])


@part
def _around(stress, k, v, width):
    """The stress k of the four voxels of a plane round eight corners: the sum, and four times its differences along y and z."""
    a, b, c, d = read(stress, k, v + width + 1), read(stress, k, v + width), read(stress, k, v + 1), read(stress, k, v)
    return (a + b) + (c + d), (c + d) - (a + b), (b + d) - (a + c)


@compiled
def _operate(memory, scale, planes, u, force):
    """Forces of displacements u, (3, N, nx, ny, nz)."""
    cases = u.shape[1] * u.shape[2] // planes.shape[1]
    for n in range(u.shape[1]):
        _pull(memory, scale, planes, n // cases * u.shape[2], u[:, n], force[:, n])


@called
def _pull(memory, scale, planes, first, u, force):
    """Force of a displacement u, (3, nx, ny, nz), of the element whose planes are `first` and on."""
    (nx, ny, nz), corners, stress, sums = u.shape[1:], memory.corners, memory.stress, memory.sums
    width, sx, sy, sz = nz + 1, scale[0], scale[1], scale[2]
    near, far = 0, 3
    _wrap(u[:, 0], corners, far)
    for k in range(far, far + 3):
        for v in range(sums.shape[1]):
            sums[k, v] = 0.0
    for c, x, y in np.ndindex(3, nx, ny):
        for z in range(nz):
            force[c, x, y, z] = 0.0
    for x in range(nx):
        near, far = far, near
        _wrap(u[:, (x + 1) % nx], corners, far)
        for v in range(0, planes.shape[2], LANES):
            xx, xy, xz = _slopes(corners, near, far, v, width)
            yx, yy, yz = _slopes(corners, near + 1, far + 1, v, width)
            zx, zy, zz = _slopes(corners, near + 2, far + 2, v, width)
            e = sx * xx, sy * yy, sz * zz, sz * yz + sy * zy, sz * xz + sx * zx, sy * xy + sx * yx
            if len(planes) == 2:
                _isotropic(planes, first + x, v, e, stress, v + width + 1)
            else:
                for i in range(6):
                    write(stress, i, v + width + 1, _row(planes, first + x, v, i, e))
        for v in range(0, (ny + 1) * width, LANES):
            s0, _, _ = _around(stress, 0, v, width)
            _, y1, _ = _around(stress, 1, v, width)
            _, _, z2 = _around(stress, 2, v, width)
            _, y3, z3 = _around(stress, 3, v, width)
            s4, _, z4 = _around(stress, 4, v, width)
            s5, y5, _ = _around(stress, 5, v, width)
            for c, s, across in ((0, s0, sy * y5 + sz * z4), (1, s5, sy * y1 + sz * z3), (2, s4, sy * y3 + sz * z2)):
                write(sums, near + c, v, read(sums, near + c, v) + across - sx * s)
                write(sums, far + c, v, across + sx * s)
        _unwrap(sums, near, force[:, x])
    _unwrap(sums, far, force[:, 0])


@compiled
def _green(m, waves, memory, ratio, compliance, force, u):
    """Displacements of isotropic media (3, N, nx, ny, nz), as are the forces."""
    w = in_lanes(waves)
    for n in range(force.shape[1]):
        displace(m, w, memory.line, memory.plane, ratio[n], compliance[n], force[:, n], u[:, n])


# ---------------------------------------------------------------------------------------------- conjugate gradients


@called
def _dot(a, b):
    """Sum of the products of two fields (3, nx, ny, nz), of each row in their precision."""
    total = 0.0
    for c, x, y in np.ndindex(a.shape[:3]):
        row, other = a[c, x, y], b[c, x, y]
        part = row[0] * other[0]
        for z in range(1, len(row)):
            part += row[z] * other[z]
        total += part
    return total


@called
def _add(target, source, factor, keep):
    """target = keep target + factor source, of fields (3, nx, ny, nz)."""
    keep, factor = target.dtype.type(keep), target.dtype.type(factor)
    for c, x, y in np.ndindex(target.shape[:3]):
        row, other = target[c, x, y], source[c, x, y]
        for z in range(len(row)):
            row[z] = keep * row[z] + factor * other[z]


@compiled
def _relax(m, waves, memory, ratio, compliance, scale, planes, load, u, used, freed, tolerance, limit):
    """`spectral.conjugate_gradients` for displacements u, nil at first, under loads (3, N, nx, ny, nz), one after another."""
    w, residual, direction, image = in_lanes(waves), memory.residual, memory.direction, memory.image
    cases, share = load.shape[1] * load.shape[2] // planes.shape[1], 1.0 / load[0, 0].size
    for n in range(load.shape[1]):
        for c, x, y, z in np.ndindex(residual.shape):
            residual[c, x, y, z] = load[c, n, x, y, z]
        displace(m, w, memory.line, memory.plane, ratio[n], compliance[n], residual, direction)
        rz = share * _dot(residual, direction)
        target = rz * tolerance * tolerance
        while rz > target and used[n] < limit:
            _pull(memory, scale, planes, n // cases * load.shape[2], direction, image)
            curvature = share * _dot(direction, image)
            if not curvature > 0.0:
                break
            freed[int(used[n]), n] = rz / curvature * rz
            used[n] += 1.0
            _add(u[:, n], direction, rz / curvature, 1.0)
            _add(residual, image, -rz / curvature, 1.0)
            displace(m, w, memory.line, memory.plane, ratio[n], compliance[n], residual, image)
            before, rz = rz, share * _dot(residual, image)
            _add(direction, image, 1.0, rz / before)
