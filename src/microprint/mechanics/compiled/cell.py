"""A periodic cell's derivatives and linearised equilibrium as compiled loops over volume elements, for a CPU.

What one element needs for conjugate gradients, its tangent above all, stays in the cache, where `PeriodicCell` passes over all
elements once for each operation. The transform is Hartley's (Bracewell, J. Opt. Soc. Am. 73 (1983) 1832-1835), real and, but
for a factor, its own inverse, with the kernel cas = cos + sin along each axis. A derivative makes cas to cos - sin along its
axis; so u has sin - cos along its own axis, a tensor's component the kernel of both of its, and a derivative multiplies
by the real numbers t of `spectral`. Products with its n x n matrices are as fast as a core can multiply.

Spectra are (components, B, V), as fields are. Inside, pencils of voxels along z are filled up to whole vectors by zeros.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from microprint.jit import compiled, part
from microprint.lanes import LANES, aligned, in_blocks, in_lanes, lanes, multiply, read, summed, where, widened
from microprint.machine import Workspaces, in_threads
from microprint.mechanics.spectral import Scheme, edges, hartley, wave_vectors, waves
from microprint.mechanics.tensors import SYMMETRIC, UPPER, VOIGT_PAIRS

_HALF = np.sqrt(0.5)
_ROW, _COLUMN = (np.array(index) for index in zip(*VOIGT_PAIRS))
_ENTRY, _UPPER = np.array(SYMMETRIC), np.array([6 * i + j for i, j in UPPER])

# Kernels (2, n, n) along x and y, cas and cos - sin, and the factors of t_i (3, n) along these axes.
Plan = namedtuple("Plan", "x y t_x t_y")
# In lanes: kernels and factors along z; six components and two more fields (8, ...), by x, by x and y, and by pencils; some
# lanes of all planes; the vectors of conjugate gradients, three components each of solution, residual, direction and image.
Fields = namedtuple("Fields", "kernel t_z x y z slab vectors")
# Lanes of a slab: all planes' lie so far apart that a cache would keep few of them.
_SLAB = 4


class CompiledCell:
    """What `PeriodicCell` does for crystal plasticity, on the CPU, compiled; u and forces are spectra (3, B, V)."""

    device = torch.device("cpu")

    def __init__(self, shape: Sequence[int], scheme: Scheme, size: Sequence[float] | None = None):
        self.shape = nx, ny, nz = tuple(shape)
        self.frequencies = nx * ny * nz
        axes = waves(self.shape, edges(size, self.shape), scheme)
        t2 = wave_vectors(axes).square().sum(0).flatten()
        self.flexibility = torch.where(t2 > 0, 1 / t2, 0.0)
        (x, y, z), (t_x, t_y, t_z) = (hartley(n).numpy() for n in self.shape), (axis.numpy() for axis in axes)
        self.plan = Plan(x, y, t_x, t_y)
        self.along_z, self.workspaces = [in_blocks(a) for a in (z, t_z)], Workspaces(self._workspace)

    def gradient(self, u: Tensor) -> Tensor:
        """Displacement gradient (3, 3, B, V): g_ij = t_j u_i."""
        result = u.new_empty(3, *u.shape)
        self._each(_gradient, u, result.flatten(0, 1))
        return result

    def divergence(self, stress: Tensor) -> Tensor:
        """Adjoint of `gradient`: f_i = t_j P_ij of a field P (3, 3, B, V)."""
        result = stress.new_empty(stress.shape[1:])
        self._each(_divergence, stress.flatten(0, 1), result)
        return result

    def projected_rms(self, force: Tensor) -> Tensor:
        """Root mean square (B,) of the part of the stress that a divergence holds: sum |f|^2 / t.t."""
        return (force.square().sum(0) @ self.flexibility).sqrt()

    def equilibrate(
        self, tangent: Tensor, force: Tensor, gap: Tensor, moduli: tuple[Tensor, Tensor], free: Tensor,
        forcing: float, limit: int,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """As `PeriodicCell.equilibrate`, in float64 but for the tangent."""
        u, mean, used = force.new_empty(force.shape), gap.new_empty(gap.shape), torch.zeros(gap.shape[1])
        change = tangent.new_empty(6, *tangent.shape[2:])
        small = (*(modulus.double() for modulus in moduli), free.double())
        self._each(_equilibrate, tangent.flatten(0, 1), force, gap, *small, u, mean, used, change, forcing, limit)
        return u, mean, used, change

    def _each(self, work: Callable[..., None], *arguments: Tensor | float) -> None:
        """Have each thread's share of the volume elements worked on."""
        arrays = [a.contiguous().numpy() if isinstance(a, Tensor) else a for a in arguments]
        elements, threads = arrays[0].shape[1], torch.get_num_threads()

        def share(begin: int, end: int) -> None:
            with self.workspaces.lent() as memory:
                work(begin, end, self.plan, *memory, *arrays)

        ends = sorted({elements * k // threads for k in range(threads + 1)})
        in_threads(share, list(pairwise(ends)), self.device)

    def _workspace(self) -> tuple[Fields, np.ndarray, np.ndarray, np.ndarray]:
        """Fields, the same as numbers (8, pencils, z), the tangent (21, pencils, z) and mean strains."""
        (nx, ny, _), block = self.shape, self.along_z[1].shape[1:]
        fields, vectors = (aligned((count, nx * ny, *block)) for count in (8, 12))
        views = fields.reshape(8, nx, -1, LANES), fields.reshape(8, nx, ny, *block), fields
        numbers, slab = fields.reshape(8, nx * ny, -1), aligned((nx, min(_SLAB, views[0].shape[2]), LANES))
        tangent, means = np.zeros((21, *numbers[0].shape), np.float32), np.zeros((4, 6))
        return Fields(*self.along_z, *views, slab, vectors), numbers, tangent, means


@part
def _transform(m, w, numbers, k, i, j):
    """Transform field k, the component ij of a tensor, in its place."""
    turned_x, turned_y, turned_z = int((i == 0) != (j == 0)), int((i == 1) != (j == 1)), int((i == 2) != (j == 2))
    width = w.slab.shape[1]
    for group in range(0, w.x.shape[2], width):
        first = min(group, w.x.shape[2] - width)
        for x in range(len(m.x[0])):
            for lane in range(width):
                w.slab[x, lane] = w.x[k, x, first + lane]
        multiply(m.x[turned_x], w.slab, w.x[6, :, first : first + width], len(m.x[0]))
    for x in range(len(m.x[0])):
        multiply(m.y[turned_y], w.y[6, x], w.y[7, x], len(m.y[0]))
    multiply(numbers[7], w.kernel[turned_z], w.z[k], len(numbers[7]))


@part
def _load(source, numbers, depth):
    for p in range(len(numbers)):
        for z in range(depth):
            numbers[p, z] = source[p * depth + z]
        for z in range(depth, numbers.shape[1]):  # where a NaN may be left
            numbers[p, z] = 0.0


@part
def _save(numbers, target, depth):
    for p in range(len(numbers)):
        for z in range(depth):
            target[p * depth + z] = numbers[p, z]


@part
def _wave(m, w, p, z):
    """The wave vectors of lanes z of pencil p."""
    x, y = p // m.t_y.shape[1], p % m.t_y.shape[1]
    return (
        m.t_x[0, x] * m.t_y[0, y] * w.t_z[0, z],
        m.t_x[1, x] * m.t_y[1, y] * w.t_z[1, z],
        m.t_x[2, x] * m.t_y[2, y] * w.t_z[2, z],
    )


@compiled
def _gradient(begin, end, m, fields, numbers, _tangent, _means, u, result):
    """t_j u_i, as fields (9, B, V), of spectra (3, B, V)."""
    w, depth = in_lanes(fields), fields.kernel.shape[1]
    for e in range(begin, end):
        for i in range(3):
            _load(u[i, e], numbers[1], depth)
            for j in range(3):
                for p in range(w.z.shape[1]):
                    for z in range(w.z.shape[2]):
                        t = _wave(m, w, p, z)[j]
                        w.z[0, p, z] = (t if i == j else -t) * w.z[1, p, z]  # a derivative of cos - sin is -cas
                _transform(m, w, numbers, 0, i, j)
                _save(numbers[0], result[3 * i + j, e], depth)


@compiled
def _divergence(begin, end, m, fields, numbers, _tangent, _means, stress, result):
    """t_j P_ij, as spectra (3, B, V), of fields (9, B, V)."""
    w, depth, share = in_lanes(fields), fields.kernel.shape[1], 1.0 / result.shape[2]
    for e in range(begin, end):
        for i in range(3):
            for j in range(3):
                _load(stress[3 * i + j, e], numbers[j], depth)
                _transform(m, w, numbers, j, i, j)
            for p in range(w.z.shape[1]):
                for z in range(w.z.shape[2]):
                    t0, t1, t2 = _wave(m, w, p, z)
                    s0 = w.z[0, p, z] if i == 0 else -w.z[0, p, z]
                    s1 = w.z[1, p, z] if i == 1 else -w.z[1, p, z]
                    s2 = w.z[2, p, z] if i == 2 else -w.z[2, p, z]
                    w.z[0, p, z] = share * (t0 * s0 + t1 * s1 + t2 * s2)
            _save(numbers[0], result[i, e], depth)


@part
def _entry(tangent, i, j, p, z):
    return widened(read(tangent[_ENTRY[i, j]], p, LANES * z))


@part
def _stress(m, w, numbers, tangent, first, mean):
    """The six fields become the stress of the strain of a vector, its components `first` and on, and of a mean strain."""
    v, shear = w.vectors, -_HALF
    for p in range(w.z.shape[1]):
        for z in range(w.z.shape[2]):
            t0, t1, t2 = _wave(m, w, p, z)
            u0, u1, u2 = v[first, p, z], v[first + 1, p, z], v[first + 2, p, z]
            w.z[0, p, z], w.z[1, p, z], w.z[2, p, z] = t0 * u0, t1 * u1, t2 * u2
            w.z[3, p, z], w.z[4, p, z] = shear * (t2 * u1 + t1 * u2), shear * (t2 * u0 + t0 * u2)
            w.z[5, p, z] = shear * (t1 * u0 + t0 * u1)
    for k in range(6):
        _transform(m, w, numbers, k, _ROW[k], _COLUMN[k])
    for p in range(w.z.shape[1]):
        for z in range(w.z.shape[2]):
            e0, e1, e2 = w.z[0, p, z] + mean[0], w.z[1, p, z] + mean[1], w.z[2, p, z] + mean[2]
            e3, e4, e5 = w.z[3, p, z] + mean[3], w.z[4, p, z] + mean[4], w.z[5, p, z] + mean[5]
            for k in range(6):
                w.z[k, p, z] = (
                    _entry(tangent, k, 0, p, z) * e0 + _entry(tangent, k, 1, p, z) * e1 + _entry(tangent, k, 2, p, z) * e2
                    + _entry(tangent, k, 3, p, z) * e3 + _entry(tangent, k, 4, p, z) * e4 + _entry(tangent, k, 5, p, z) * e5
                )  # fmt: skip


@part
def _image(m, w, numbers, tangent, means, free, share):
    """Apply the linearised cell to the direction and to its mean strain; returns their product with the result."""
    v, shear, curvature = w.vectors, -_HALF, lanes(0.0)
    _stress(m, w, numbers, tangent, 6, means[2])
    for k in range(6):
        total = lanes(0.0)
        for p in range(w.z.shape[1]):
            for z in range(w.z.shape[2]):
                total = total + w.z[k, p, z]
        means[3, k] = free[k, 0] * share * summed(total)
    for k in range(6):
        _transform(m, w, numbers, k, _ROW[k], _COLUMN[k])
    for p in range(w.z.shape[1]):
        for z in range(w.z.shape[2]):
            t0, t1, t2 = _wave(m, w, p, z)
            yz, xz, xy = shear * w.z[3, p, z], shear * w.z[4, p, z], shear * w.z[5, p, z]
            f0 = share * (t0 * w.z[0, p, z] + t1 * xy + t2 * xz)
            f1 = share * (t0 * xy + t1 * w.z[1, p, z] + t2 * yz)
            f2 = share * (t0 * xz + t1 * yz + t2 * w.z[2, p, z])
            curvature = curvature + v[6, p, z] * f0 + v[7, p, z] * f1 + v[8, p, z] * f2
            v[9, p, z], v[10, p, z], v[11, p, z] = f0, f1, f2
    return summed(curvature) + _dot(means[2], means[3])


@part
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3] + a[4] * b[4] + a[5] * b[5]


@part
def _precondition(m, w, means, bulk, shear, free):
    """The image becomes the displacement of an isotropic medium under the residual; returns their product."""
    v, product, ratio = w.vectors, lanes(0.0), (bulk + shear / 3.0) / (bulk + 4.0 * shear / 3.0)
    for p in range(w.z.shape[1]):
        for z in range(w.z.shape[2]):
            t0, t1, t2 = _wave(m, w, p, z)
            r0, r1, r2, square = v[3, p, z], v[4, p, z], v[5, p, z], t0 * t0 + t1 * t1 + t2 * t2
            inverse = where(square > 0.0, 1.0 / square, 0.0)
            along, flexibility = ratio * inverse * (t0 * r0 + t1 * r1 + t2 * r2), (1.0 / shear) * inverse
            z0, z1, z2 = flexibility * (r0 - along * t0), flexibility * (r1 - along * t1), flexibility * (r2 - along * t2)
            product = product + r0 * z0 + r1 * z1 + r2 * z2
            v[9, p, z], v[10, p, z], v[11, p, z] = z0, z1, z2
    lame, r = bulk - 2.0 * shear / 3.0, means[1]  # nil where a component is not free; see `elasticity.free_strain`
    held = lame / (2.0 * shear + (free[0, 0] + free[1, 0] + free[2, 0]) * lame) * (r[0] + r[1] + r[2])
    for k in range(6):
        means[3, k] = (r[k] - (free[k, 0] * held if k < 3 else 0.0)) / (2.0 * shear)
    return summed(product) + _dot(means[1], means[3])


@part
def _add(w, means, target, source, factor, keep):
    """Vectors target = keep target + factor source, and their mean strains."""
    v = w.vectors
    for i in range(3):
        for p in range(w.z.shape[1]):
            for z in range(w.z.shape[2]):
                v[3 * target + i, p, z] = keep * v[3 * target + i, p, z] + factor * v[3 * source + i, p, z]
    for k in range(6):
        means[target, k] = keep * means[target, k] + factor * means[source, k]


@compiled
def _equilibrate(
    begin, end, m, fields, numbers, tangent, means,
    T, force, gap, bulk, shear, free, u, mean, used, change, forcing, limit,
):  # fmt: skip
    """`spectral.conjugate_gradients` for the linearised cell, one element after another."""
    w, depth, share = in_lanes(fields), fields.kernel.shape[1], 1.0 / force.shape[2]
    for e in range(begin, end):
        for k in range(21):
            _load(T[_UPPER[k], e], tangent[k], depth)
        for i in range(3):
            _load(force[i, e], numbers[0], depth)
            for p in range(w.z.shape[1]):
                for z in range(w.z.shape[2]):
                    # The direction is begun anew, too: a NaN that an element left would stay.
                    w.vectors[i, p, z], w.vectors[3 + i, p, z], w.vectors[6 + i, p, z] = lanes(0.0), -w.z[0, p, z], lanes(0.0)
        for k in range(6):
            means[0, k], means[1, k], means[2, k] = 0.0, gap[k, e], 0.0
        rz = _precondition(m, w, means, bulk[e], shear[e], free)
        _add(w, means, 2, 3, 1.0, 0.0)
        target = rz * forcing * forcing
        while rz > target and used[e] < limit:
            curvature = _image(m, w, numbers, tangent, means, free, share)
            if not curvature > 0.0:
                break
            used[e] += 1.0
            _add(w, means, 0, 2, rz / curvature, 1.0)
            _add(w, means, 1, 3, -rz / curvature, 1.0)
            before, rz = rz, _precondition(m, w, means, bulk[e], shear[e], free)
            _add(w, means, 2, 3, 1.0, rz / before)
        for k in range(6):
            mean[k, e] = means[0, k]
        _stress(m, w, numbers, tangent, 0, means[0])
        for k in range(6):
            _save(numbers[k], change[k, e], depth)
        for i in range(3):
            for p in range(w.z.shape[1]):
                for z in range(w.z.shape[2]):
                    w.z[0, p, z] = w.vectors[i, p, z]
            _save(numbers[0], u[i, e], depth)
