"""What conjugate gradients need of `RotatedCell`, compiled for a CPU: the stiffness of a cell, and Green's operator.

The stiffness passes once over the voxels, plane by plane. A plane of corners is wrapped round, so that a voxel's corners lie at
fixed distances from it, whatever its row; what falls on the column beyond the last voxel meets no stiffness.

Green's operator multiplies coefficients of products of cosines and sines. A line of values is first folded: the sums of values
equally far from its beginning have cosines alone, their differences sines, which halves the work of the products with matrices.
A derivative makes sines of cosines. So where t multiplies the other components' cosines along an axis, it multiplies
the sines of the component along that axis, and the other way round; coefficients of sin 0 are nil.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from math import pi

import numpy as np
import torch
from torch import Tensor

from microprint.jit import called, compiled, part
from microprint.lanes import LANES, aligned, in_blocks, in_lanes, multiply, read, where, write
from microprint.machine import Workspaces
from microprint.mechanics.elasticity import voigt_from_mandel
from microprint.mechanics.spectral import RotatedCell, waves
from microprint.mechanics.tensors import SYMMETRIC, UPPER

_ENTRY, (_ROWS, _COLUMNS) = np.array(SYMMETRIC), zip(*UPPER)
# What Lame's constants multiply in a Voigt matrix.
_VOLUME, _SHEAR = torch.zeros(6, 6), torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0, 1.0, 1.0]))
_VOLUME[:3, :3] = 1.0

# Of each axis: products for cosines and sines (2, m, m) with m = n // 2 + 1, there and back; factors of t (2, m) for the
# component along it, by whether it is the others' cosine or sine, and (m,) for the others. Along z they are in lanes.
Axes = namedtuple("Axes", "x x_back y y_back t_x c_x t_y c_y")
# In lanes: the same along z; a folded line of values in each plane, its coefficients, and all coefficients.
Fields = namedtuple("Fields", "z z_back t_z c_z lines plane folded waves spectrum")


class CompiledRotatedCell(RotatedCell):
    """`RotatedCell` on the CPU, with Green's operator compiled, and the stiffness of all voxels as one operator."""

    def __init__(self, shape: Sequence[int], size: Sequence[float] | None = None, dtype: torch.dtype = torch.float64):
        super().__init__(shape, size, dtype)
        self.kind = torch.empty(0, dtype=dtype).numpy().dtype
        x, y, z = (_products(n, self.kind) for n in self.shape)
        axes = enumerate(waves(self.shape, self.size, "rotated"))
        (t_x, c_x), (t_y, c_y), (t_z, c_z) = (_factors(axis.numpy(), i, self.kind) for i, axis in axes)
        self.axes = Axes(*x, *y, t_x, c_x, t_y, c_y)
        self.along_z = [in_blocks(a) for a in (*(a.swapaxes(1, 2) for a in z), t_z, c_z)]
        self.workspaces = Workspaces(self._workspace)

    def green(self, force: Tensor, bulk: Tensor, shear: Tensor) -> Tensor:
        u, batch = torch.empty_like(force), force.shape[1]
        ratio = ((bulk + shear / 3) / (bulk + 4 * shear / 3)).expand(batch)
        moduli = [x.contiguous().numpy() for x in (ratio, (1 / shear).expand(batch))]
        fields = [x.view(3, batch, *self.shape).numpy() for x in (force.contiguous(), u)]
        with self.workspaces.lent() as memory:
            _green(self.axes, *memory, *moduli, *fields)
        return u

    def _workspace(self) -> tuple[Fields, np.ndarray, np.ndarray]:
        """Fields, and the first two of them as numbers (2, ny, z)."""
        (nx, ny, _), (mx, my, mz) = self.shape, (n // 2 + 1 for n in self.shape)
        shapes = (2, ny), (2, ny), (2, max(mx, my)), (3, 2, 2, 2, mx), (3, nx, 2, 2, my)
        memory = [aligned((*shape, -(-mz // LANES), LANES), self.kind) for shape in shapes]
        return Fields(*self.along_z, *memory), *(a.reshape(2, ny, -1) for a in memory[:2])

    def stiffness(self, matrices: Tensor, phases: Tensor) -> Callable[[Tensor], Tensor]:
        """Operator from displacements (3, N, V) to the `force` of the stress of their `strain`.

        Stiffnesses are (B, phases, 6, 6), Mandel, the phase of each voxel (B, V); N is a multiple of B.
        """
        (nx, ny, nz), count = self.shape, len(phases)
        entries = _entries(voigt_from_mandel(matrices))
        # Each plane is a row, with a column of no stiffness beyond the last voxels, filled up to whole vectors.
        planes = np.zeros((entries.shape[2], count, nx, -(-ny * (nz + 1) // LANES) * LANES), self.kind)
        inside = planes[..., : ny * (nz + 1)].reshape(-1, count, nx, ny, nz + 1)[..., :nz]
        for e, p, target in zip(entries, phases, torch.from_numpy(inside).unbind(1)):
            target.copy_(e.T.contiguous().index_select(1, p).unflatten(1, self.shape))
        planes = planes.reshape(len(planes) * count * nx, -1)
        width, scale = (ny + 2) * (nz + 1) + 2 * LANES, np.array(self.scale, self.kind)

        def operate(u: Tensor) -> Tensor:
            force = torch.zeros_like(u)
            fields = [x.view(*x.shape[:2], *self.shape).numpy() for x in (u.contiguous(), force)]
            corners, stress, sums = (np.zeros((6, size), self.kind) for size in (width, width + nz + 2, width))
            _operate(u.shape[1] // count, scale, planes, corners, stress, sums, *fields)
            return force

        return operate


def _entries(voigt: Tensor) -> Tensor:
    """Of stiffnesses (B, phases, 6, 6): Lame's constants (B, phases, 2) if all are isotropic, else upper triangles (.., 21)."""
    lame = voigt[:, :, (0, 3), (1, 3)]
    isotropic = lame[..., :1, None] * _VOLUME + lame[..., 1:, None] * _SHEAR
    if (voigt - isotropic).abs().max() <= 8 * torch.finfo(voigt.dtype).eps * voigt.abs().max():
        return lame
    return voigt[:, :, _ROWS, _COLUMNS]


def _products(n: int, kind: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Matrices (2, m, m) that make coefficients of cosines and sines of a folded line of n values, and back."""
    index = np.arange(n // 2 + 1)
    angle, once = 2 * pi / n * (np.outer(index, index) % n), np.where(index * 2 % n == 0, 0.5, 1.0)
    kernels = np.stack([np.cos(angle), np.sin(angle)])
    return (kernels * once).astype(kind), (kernels * 2 * once / n).astype(kind)


def _factors(axis: np.ndarray, i: int, kind: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Factors of `waves` (3, n) along axis i for frequencies that are not negative: (2, m) of component i, (m,) of others."""
    half = axis[:, : axis.shape[1] // 2 + 1].astype(kind)
    along = abs(half[i])
    return np.stack([-along, along]), half[i - 1]


# ---------------------------------------------------------------------------------------------- Green's operator


@part
def _fold(lines, folded, n):
    """Sums and differences of lanes (n, N) equally far from the beginning."""
    for j in range(n // 2 + 1):
        mirror = n - j if j > 0 else 0
        for k in range(lines.shape[1]):
            folded[0, j, k], folded[1, j, k] = lines[j, k] + lines[mirror, k], lines[j, k] - lines[mirror, k]


@part
def _unfold(folded, lines, n):
    for j in range(n // 2 + 1):
        mirror = n - j if j > 0 else 0
        for k in range(lines.shape[1]):
            lines[j, k], lines[mirror, k] = folded[0, j, k] + folded[1, j, k], folded[0, j, k] - folded[1, j, k]


@compiled
def _green(m, fields, line, plane, ratio, compliance, force, u):
    """Displacements of an isotropic medium, (3, N, nx, ny, nz) as are the forces; its `ratio` and 1 / shear modulus (N,)."""
    w, (nx, ny) = in_lanes(fields), force.shape[2:4]
    for n in range(force.shape[1]):
        for i in range(3):
            for x in range(nx):
                _to_waves(m, w, line, force[i, n, x], w.spectrum[i, x])
        for ky in range(ny // 2 + 1):
            _along_x(m, w, ky, ratio[n], compliance[n])
        for i in range(3):
            for x in range(nx):
                _from_waves(m, w, line, plane, w.spectrum[i, x], u[i, n, x])


@called
def _to_waves(m, w, line, values, spectrum):
    """Coefficients (2, 2, my, N), by z and by y, of a plane (ny, nz)."""
    ny, nz = values.shape
    for y in range(ny):
        row, even, odd = values[y], line[0, y], line[1, y]
        even[0], odd[0] = row[0] + row[0], 0.0
        for j in range(1, nz // 2 + 1):
            even[j], odd[j] = row[j] + row[nz - j], row[j] - row[nz - j]
    for turn in range(2):
        multiply(line[turn], w.z[turn], w.plane[turn], ny)
        _fold(w.plane[turn], w.folded, ny)
        for other in range(2):
            multiply(m.y[other], w.folded[other, : ny // 2 + 1], spectrum[turn, other], ny // 2 + 1)


@called
def _from_waves(m, w, line, plane, spectrum, values):
    ny, nz = values.shape
    for turn in range(2):
        for other in range(2):
            multiply(m.y_back[other], spectrum[turn, other], w.folded[other], ny // 2 + 1)
        _unfold(w.folded, w.plane[turn], ny)
        multiply(plane[turn], w.z_back[turn], w.lines[turn], ny)
    for y in range(ny):
        row, even, odd = values[y], line[0, y], line[1, y]
        row[0] = even[0]
        for j in range(1, nz // 2 + 1):
            row[j] = even[j] + odd[j]
        for j in range(1, nz // 2 + 1):
            row[nz - j] = even[j] - odd[j]


@called
def _along_x(m, w, ky, ratio, compliance):
    """Transform along x, multiply, and transform back, all of one frequency along y."""
    nx = w.spectrum.shape[1]
    mx = nx // 2 + 1
    for i, a, b in np.ndindex(3, 2, 2):
        _fold(w.spectrum[i, :, a, b, ky], w.folded, nx)
        for c in range(2):
            multiply(m.x[c], w.folded[c, :mx], w.waves[i, a, b, c], mx)
    for a, b, c, kx in np.ndindex(2, 2, 2, mx):
        _respond(m, w, ky, kx, a, b, c, ratio, compliance)
    for i, a, b in np.ndindex(3, 2, 2):
        for c in range(2):
            multiply(m.x_back[c], w.waves[i, a, b, c], w.folded[c], mx)
        _unfold(w.folded, w.spectrum[i, :, a, b, ky], nx)


@part
def _respond(m, w, ky, kx, a, b, c, ratio, compliance):
    """Displacements of coefficients that are cosines or sines along z, y and x as a, b and c say, the component along an axis
    being the other."""
    f = w.waves
    for z in range(f.shape[5]):
        x, y, s = f[0, a, b, 1 - c, kx, z], f[1, a, 1 - b, c, kx, z], f[2, 1 - a, b, c, kx, z]
        t_x, t_y = (m.t_x[c, kx] * m.c_y[ky]) * w.c_z[z], (m.c_x[kx] * m.t_y[b, ky]) * w.c_z[z]
        t_z = (m.c_x[kx] * m.c_y[ky]) * w.t_z[a, z]
        square = t_x * t_x + t_y * t_y + t_z * t_z
        inverse = where(square > 0.0, 1.0 / square, 0.0)
        along, flexibility = ratio * inverse * (t_x * x + t_y * y + t_z * s), compliance * inverse
        f[0, a, b, 1 - c, kx, z], f[1, a, 1 - b, c, kx, z] = flexibility * (x - along * t_x), flexibility * (y - along * t_y)
        f[2, 1 - a, b, c, kx, z] = flexibility * (s - along * t_z)


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
def _row(planes, at, step, v, i, e):
    """Component i of the stress of strains e."""
    total = read(planes, i * step + at, v) * e[0]
    for j in range(1, 6):
        total = total + read(planes, _ENTRY[i, j] * step + at, v) * e[j]
    return total


@part
def _isotropic(planes, at, step, v, e, stress, w):
    """Write the stress of strains e with Lame's constants, which are a tenth of the bytes of a whole stiffness."""
    volume, shear = read(planes, at, v) * (e[0] + e[1] + e[2]), read(planes, step + at, v)
    for i in range(3):
        write(stress, i, w, volume + (shear + shear) * e[i])
        write(stress, 3 + i, w, shear * e[3 + i])


@part
def _around(stress, k, v, width):
    """The stress k of the four voxels of a plane round eight corners: the sum, and four times its differences along y and z."""
    a, b, c, d = read(stress, k, v + width + 1), read(stress, k, v + width), read(stress, k, v + 1), read(stress, k, v)
    return (a + b) + (c + d), (c + d) - (a + b), (b + d) - (a + c)


@compiled
def _operate(cases, scale, planes, corners, stress, sums, u, force):
    """Force of u, (3, N, nx, ny, nz); `_entries` (21 B nx, ...) or (2 B nx, ...), B elements of `cases` fields each."""
    nx, ny, nz = u.shape[2:]
    width, step, sx, sy, sz = nz + 1, u.shape[1] // cases * nx, scale[0], scale[1], scale[2]
    isotropic = len(planes) == 2 * step
    for n in range(u.shape[1]):
        near, far = 0, 3
        _wrap(u[:, n, 0], corners, far)
        for k in range(far, far + 3):
            for v in range(sums.shape[1]):
                sums[k, v] = 0.0
        for x in range(nx):
            near, far = far, near
            _wrap(u[:, n, (x + 1) % nx], corners, far)
            for v in range(0, planes.shape[1], LANES):
                xx, xy, xz = _slopes(corners, near, far, v, width)
                yx, yy, yz = _slopes(corners, near + 1, far + 1, v, width)
                zx, zy, zz = _slopes(corners, near + 2, far + 2, v, width)
                e = sx * xx, sy * yy, sz * zz, sz * yz + sy * zy, sz * xz + sx * zx, sy * xy + sx * yx
                if isotropic:
                    _isotropic(planes, n // cases * nx + x, step, v, e, stress, v + width + 1)
                else:
                    for i in range(6):
                        write(stress, i, v + width + 1, _row(planes, n // cases * nx + x, step, v, i, e))
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
            _unwrap(sums, near, force[:, n, x])
        _unwrap(sums, far, force[:, n, 0])
