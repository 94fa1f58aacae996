"""Green's operator of the rotated scheme for an isotropic medium, compiled for a CPU; see `RotatedCell.green`.

It multiplies coefficients of products of cosines and sines. A line of values is first folded: the sums of values
equally far from its beginning have cosines alone, their differences sines, which halves the work of the products with matrices.
A derivative makes sines of cosines. So where t multiplies the other components' cosines along an axis, it multiplies
the sines of the component along that axis, and the other way round; coefficients of sin 0 are nil.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from math import pi

import numpy as np
from torch import Tensor

from microprint.jit import called, part
from microprint.lanes import LANES, aligned, in_blocks, multiply, where
from microprint.mechanics.spectral import coupling, waves

# Of each axis: products for cosines and sines (2, m, m) with m = n // 2 + 1, there and back; factors of t (2, m) for the
# component along it, by whether it is the others' cosine or sine, and (m,) for the others. Along z they are in lanes.
Axes = namedtuple("Axes", "x x_back y y_back t_x c_x t_y c_y")
# In lanes: the same along z; a folded line of values in each plane, its coefficients, and all coefficients.
Fields = namedtuple("Fields", "z z_back t_z c_z lines plane folded waves spectrum")


def plan(shape: Sequence[int], size: Sequence[float], kind: np.dtype) -> tuple[Axes, list[np.ndarray]]:
    """What `displace` needs of a cell: of its axes, and along z, the first of the `Fields`."""
    x, y, z = (_products(n, kind) for n in shape)
    axes = enumerate(waves(shape, size, "rotated"))
    (t_x, c_x), (t_y, c_y), (t_z, c_z) = (_factors(axis.numpy(), i, kind) for i, axis in axes)
    return Axes(*x, *y, t_x, c_x, t_y, c_y), [in_blocks(a) for a in (*(a.swapaxes(1, 2) for a in z), t_z, c_z)]


def fields(shape: Sequence[int], along_z: Sequence[np.ndarray], kind: np.dtype) -> tuple[Fields, np.ndarray, np.ndarray]:
    """Working memory, and the first two of its fields as numbers (2, ny, z)."""
    (nx, ny, _), (mx, my, mz) = shape, (n // 2 + 1 for n in shape)
    shapes = (2, ny), (2, ny), (2, max(mx, my)), (3, 2, 2, 2, mx), (3, nx, 2, 2, my)
    memory = [aligned((*shape, -(-mz // LANES), LANES), kind) for shape in shapes]
    return Fields(*along_z, *memory), *(a.reshape(2, ny, -1) for a in memory[:2])


def medium(bulk: Tensor, shear: Tensor, count: int) -> list[np.ndarray]:
    """What `displace` needs of isotropic media, (count,) each: their `coupling`, and the shear compliance."""
    return [x.expand(count).contiguous().numpy() for x in (coupling(bulk, shear), 1 / shear)]


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


@called
def displace(m, w, line, plane, ratio, compliance, force, u):
    """Displacement u (3, nx, ny, nz) of a `medium` under a force; m and w are a `plan` and `fields` in lanes."""
    nx, ny = force.shape[1:3]
    for i in range(3):
        for x in range(nx):
            _to_waves(m, w, line, force[i, x], w.spectrum[i, x])
    for ky in range(ny // 2 + 1):
        _along_x(m, w, ky, ratio, compliance)
    for i in range(3):
        for x in range(nx):
            _from_waves(m, w, line, plane, w.spectrum[i, x], u[i, x])


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
