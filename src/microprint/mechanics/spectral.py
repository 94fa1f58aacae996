"""Periodic cells in Fourier space: derivatives, the reference Green operator and conjugate gradients, batched.

A displacement u has the strain e_ij = sym(k_j u_i) in Fourier space. Both discretisations below have wave vectors
k = c t with a scalar c of modulus one and a *real* vector t; so c is absorbed into u, and only t is ever needed.

``fourier``   t = xi, the wave vector itself; a component at its Nyquist frequency is nil (Moulinec & Suquet, Comput.
              Methods Appl. Mech. Eng. 157 (1998) 69-94; also DAMASK's ``continuous`` derivative).
``rotated``   finite differences on the rotated grid (Willot, C. R. Mecanique 343 (2015) 232-245), which does not ring
              at strong contrasts. `RotatedCell` is the same discretisation with its derivatives taken voxel by voxel.

Fields are (components, B, V), V = nx ny nz voxels; spectra are real views (components, B, K) with K = nx ny (nz//2+1) 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, pi, sqrt
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor
from torch.nn.functional import pad

from microprint.errors import UserError
from microprint.mechanics.elasticity import free_strain
from microprint.mechanics.tensors import PLACES, VOIGT_PAIRS

Scheme = Literal["fourier", "rotated"]
Operator = Callable[[Tensor], Tensor]


class Cell(Protocol):
    """What crystal plasticity needs of a cell: `PeriodicCell`, or its form that is compiled for a CPU."""

    shape: tuple[int, ...]
    device: torch.device
    frequencies: int

    def gradient(self, u: Tensor) -> Tensor: ...
    def divergence(self, stress: Tensor) -> Tensor: ...
    def projected_rms(self, force: Tensor) -> Tensor: ...
    def equilibrate(
        self, tangent: Tensor, force: Tensor, gap: Tensor, moduli: tuple[Tensor, Tensor], free: Tensor,
        forcing: float, limit: int,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]: ...  # fmt: skip


class ElasticCell(Protocol):
    """What elasticity needs of a cell: `PeriodicCell`, `RotatedCell`, or its form that is compiled for a CPU."""

    device: torch.device
    dtype: torch.dtype

    def strain(self, u: Tensor) -> Tensor: ...
    def force(self, stress: Tensor) -> Tensor: ...
    def dot(self, a: Tensor, b: Tensor) -> Tensor: ...
    def green(self, force: Tensor, bulk: Tensor, shear: Tensor) -> Tensor: ...

    def relax(
        self, operator: Operator, load: Tensor, moduli: tuple[Tensor, Tensor], tolerance: float, limit: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`conjugate_gradients` of the elastic cell, preconditioned by a medium of bulk and shear `moduli`."""
        return conjugate_gradients(operator, lambda f: self.green(f, *moduli), load, self.dot, tolerance, limit)


class PeriodicCell(ElasticCell):
    """Derivatives on a periodic grid of `shape` voxels; the cell's edge lengths `size` give cubic voxels by default.

    Raises `UserError` for an unknown scheme, and for a size that is not three positive numbers.
    """

    def __init__(
        self,
        shape: Sequence[int],
        scheme: Scheme,
        size: Sequence[float] | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ):
        self.shape, self.dtype, self.device = tuple(shape), dtype, torch.device(device)
        self.scheme, self.size, self._others = scheme, edges(size, self.shape), {dtype: self}
        t = wave_vectors(waves(self.shape, self.size, scheme), half=True)
        self.half_shape = t.shape[1:]
        self.t = t.to(dtype=dtype, device=device).flatten(1).repeat_interleave(2, dim=1)[:, None]
        self.t2 = self.t.square().sum(0)
        self.live = (self.t2 > 0).to(dtype)
        self.direction = self.t / self.t2.clamp(min=1e-30).sqrt()
        # How often each entry of the half spectrum stands in the full one.
        weight = torch.full(self.half_shape, 2.0, dtype=dtype, device=device)
        weight[..., 0] = 1.0
        if self.shape[2] % 2 == 0:
            weight[..., -1] = 1.0
        self.weight = weight.flatten().repeat_interleave(2)

    def to(self, dtype: torch.dtype) -> PeriodicCell:
        """The same cell in another precision."""
        if dtype not in self._others:
            self._others[dtype] = PeriodicCell(self.shape, self.scheme, self.size, dtype, self.device)
        return self._others[dtype]

    @property
    def frequencies(self) -> int:
        """Length K of a spectrum's last axis."""
        return self.weight.numel()

    def to_fourier(self, field: Tensor) -> Tensor:
        """Spectrum (..., K) of a real field (..., V); its zeroth entry is the mean."""
        grid = field.unflatten(-1, self.shape)
        return torch.view_as_real(torch.fft.rfftn(grid, dim=(-3, -2, -1), norm="forward")).flatten(-4)

    def to_real(self, spectrum: Tensor) -> Tensor:
        """Real field (..., V) of a spectrum (..., K)."""
        grid = torch.view_as_complex(spectrum.unflatten(-1, (*self.half_shape, 2)).contiguous())
        return torch.fft.irfftn(grid, s=self.shape, dim=(-3, -2, -1), norm="forward").flatten(-3)

    def gradient(self, u: Tensor) -> Tensor:
        """Displacement gradient (3, 3, B, V) of u (3, B, K): g_ij = t_j u_i."""
        return self.to_real(u[:, None] * self.t)

    def divergence(self, stress: Tensor) -> Tensor:
        """Adjoint of `gradient`: f_i = t_j P_ij (3, B, K) of a field P (3, 3, B, V)."""
        return (self.to_fourier(stress) * self.t).sum(1)

    def strain(self, u: Tensor) -> Tensor:
        """Strain (6, B, V) in Mandel's notation of u (3, B, K)."""
        (x, y, z), (tx, ty, tz) = u, self.t
        shear = [(y * tz).addcmul_(z, ty), (x * tz).addcmul_(z, tx), (x * ty).addcmul_(y, tx)]
        return self.to_real(torch.stack([x * tx, y * ty, z * tz, *(s.mul_(sqrt(0.5)) for s in shear)]))

    def strain_adjoint(self, stress: Tensor) -> tuple[Tensor, Tensor]:
        """Divergence (3, B, K) and mean (6, B) of a Mandel stress (6, B, V)."""
        s, (tx, ty, tz) = self.to_fourier(stress), self.t
        mean = s[:, :, 0].clone()
        yz, xz, xy = s[3:].mul_(sqrt(0.5))
        rows = ((s[0], xy, xz), (xy, s[1], yz), (xz, yz, s[2]))
        return torch.stack([(x * tx).addcmul_(y, ty).addcmul_(z, tz) for x, y, z in rows]), mean

    def force(self, stress: Tensor) -> Tensor:
        """Divergence (3, B, K) of a Mandel stress (6, B, V)."""
        return self.strain_adjoint(stress)[0]

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean (B,) over the cell of the product of two vector fields, given as spectra (3, B, K)."""
        return (a * b * self.weight).sum((0, 2))

    def green(self, force: Tensor, bulk: Tensor, shear: Tensor) -> Tensor:
        """Displacement (3, B, K) of an isotropic reference medium under a force f (3, B, K).

        u = (f - (lambda + mu) / (lambda + 2 mu) n (n . f)) / (mu t.t), with n = t / |t|; bulk and shear moduli (B,).
        """
        along = (self.direction * force).sum(0) * coupling(bulk, shear)[:, None]
        flexibility = self.live / (shear[:, None] * self.t2.clamp(min=1e-30))
        return torch.addcmul(force, self.direction, along[None], value=-1.0).mul_(flexibility)

    def equilibrate(
        self, tangent: Tensor, force: Tensor, gap: Tensor, moduli: tuple[Tensor, Tensor], free: Tensor,
        forcing: float, limit: int,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """Solve the linearised cell by conjugate gradients, in the precision of its tangent (6, 6, B, V).

        Taken away are the divergence `force` (3, B, K) of the stress, and the `gap` (6, B) of the mean stress by the components
        of the mean strain that are `free` (6, 1). The preconditioner is a medium of bulk and shear `moduli` (B,). Returns
        u (3, B, K), the mean strain (6, B), iterations (B,) and the change of the stress (6, B, V).
        """
        cell, dtype = self.to(tangent.dtype), tangent.dtype
        free = free.to(dtype)

        def strain_of(x: Tensor) -> Tensor:
            return cell.strain(x[..., :-2]).add_((_unpack(x[..., -2:]) * free)[..., None])

        def operator(x: Tensor) -> Tensor:
            divergence, mean = cell.strain_adjoint((tangent * strain_of(x)).sum(1))
            return torch.cat([divergence, _pack(mean * free)], -1)

        def precondition(r: Tensor) -> Tensor:
            return torch.cat([cell.green(r[..., :-2], *moduli), _pack(free_strain(_unpack(r[..., -2:]), *moduli, free))], -1)

        weight = torch.cat([cell.weight, cell.weight.new_ones(2)])
        size = force.abs().amax((0, 2)).clamp(min=1.0)
        rhs = torch.cat([-force / size[:, None], _pack(gap / size)], -1).to(dtype)
        x, used, _ = conjugate_gradients(
            operator, precondition, rhs, lambda a, b: (a * b * weight).sum((0, 2)), forcing, limit
        )  # fmt: skip
        change = (tangent * strain_of(x)).sum(1) * size.to(dtype)[:, None]
        x = x.to(force.dtype) * size[:, None]
        return x[..., :-2], _unpack(x[..., -2:]), used, change

    def projected_rms(self, force: Tensor) -> Tensor:
        """Root mean square (B,) of the part of the stress that a divergence f (3, B, K) holds: sum |f|^2 / t.t."""
        return (force.square().sum(0) / self.t2.clamp(min=1e-30) * self.live * self.weight).sum(-1).sqrt()


def coupling(bulk: Tensor, shear: Tensor) -> Tensor:
    """(lambda + mu) / (lambda + 2 mu) of isotropic media, which Green's operator has along the wave vector."""
    return (bulk + shear / 3) / (bulk + 4 * shear / 3)


def _pack(vector: Tensor) -> Tensor:
    """Six components (6, B) as two entries of three rows (3, B, 2), to travel with a spectrum."""
    return vector.unflatten(0, (3, 2)).transpose(1, 2)


def _unpack(packed: Tensor) -> Tensor:
    return packed.transpose(1, 2).flatten(0, 1)


class RotatedCell(ElasticCell):
    """The rotated scheme with displacements and forces (3, B, V) at the voxels' corners.

    Strains are differences of a voxel's eight corners, so that the Green operator alone needs a transform: of three
    components for each application of the stiffness, instead of six. It is the Hartley transform (Bracewell, J. Opt. Soc.
    Am. 73 (1983) 1832-1835), real and its own inverse, with the kernel cos + sin along each axis, but cos - sin along x
    for what points along x, and so on: a derivative swaps sines and cosines, and this undoes it, so that the Green
    operator multiplies by the same real matrices as in Fourier space. Products with its n x n matrices are faster than
    FFTs up to some 60 voxels an edge, and whatever the factors of n.
    """

    def __init__(
        self,
        shape: Sequence[int],
        size: Sequence[float] | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ):
        self.shape, self.dtype, self.device = tuple(shape), dtype, torch.device(device)
        self.size = edges(size, self.shape)
        spacing = _spacing(self.size, self.shape)
        # Each derivative is a difference along its axis and the mean of two pairs along each of the others.
        self.scale = [1 / (4 * h) for h in spacing]
        kernels = [hartley(n)[[int(axis == i) for i in range(3)]] / sqrt(n) for axis, n in enumerate(self.shape)]
        self.kernels = [kernel.to(dtype=dtype, device=device) for kernel in kernels]
        t = wave_vectors(waves(self.shape, self.size, "rotated")).to(dtype=dtype, device=device).flatten(1)[:, None]
        norm = t.square().sum(0)
        self.direction = t / norm.clamp(min=1e-30).sqrt()
        self.flexibility = torch.where(norm > 0, 1 / norm, 0.0)

    def strain(self, u: Tensor) -> Tensor:
        """Strain (6, B, V) in Mandel's notation of u (3, B, V)."""
        corners = pad(u.unflatten(-1, self.shape), (0, 1) * 3, mode="circular")
        slopes = [_slopes(component) for component in corners]
        strain = u.new_empty(6, u.shape[1], *self.shape)
        for part, (i, j) in zip(strain, VOIGT_PAIRS):
            if i == j:
                torch.mul(slopes[i][i], self.scale[i], out=part)
            else:
                torch.add(slopes[j][i], slopes[i][j], alpha=self.scale[j] / self.scale[i], out=part)
                part *= sqrt(0.5) * self.scale[i]
        return strain.flatten(2)

    def force(self, stress: Tensor) -> Tensor:
        """Divergence (3, B, V) of a Mandel stress (6, B, V): the adjoint of `strain`."""
        padded = pad(stress.unflatten(-1, self.shape), (1, 0) * 3, mode="circular")
        padded[3:] *= sqrt(0.5)
        force = stress.new_empty(3, stress.shape[1], *self.shape)
        x, y, z = self.scale
        for part, row in zip(force, PLACES):
            on_x, on_y, on_z = (padded[k] for k in row)
            across = torch.add(_sum(_difference(on_x, 1), 2), _difference(_sum(on_y, 1), 2), alpha=y / x)
            torch.add(_sum(across, 3), _difference(_sum(_sum(on_z, 1), 2), 3), alpha=z / x, out=part)
        return force.mul_(-x).flatten(2)

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean (B,) over the cell of the product of two vector fields (3, B, V)."""
        return (a * b).sum((0, 2)) / a.shape[2]

    def green(self, force: Tensor, bulk: Tensor, shear: Tensor) -> Tensor:
        """Displacement (3, B, V) of an isotropic reference medium under a force f (3, B, V); see `PeriodicCell.green`."""
        f = self._transform(force)
        along = (self.direction * f).sum(0) * coupling(bulk, shear)[:, None]
        u = f.addcmul_(self.direction, along[None], value=-1.0).mul_(self.flexibility).div_(shear[:, None])
        return self._transform(u)

    def _transform(self, field: Tensor) -> Tensor:
        """Hartley transform of a vector field (3, B, V), and its inverse."""
        field = field.unflatten(-1, self.shape)
        for kernel in self.kernels:
            # The first axis is transformed and becomes the last.
            field = (field.flatten(3).mT @ kernel[:, None]).unflatten(2, field.shape[3:])
        return field.flatten(2)


def hartley(n: int) -> Tensor:
    """Kernels cos + sin and cos - sin (2, n, n), symmetric; their squares are n times the identity."""
    index = torch.arange(n, dtype=torch.float64)
    angle = 2 * pi / n * (torch.outer(index, index) % n)
    return torch.stack([angle.cos() + angle.sin(), angle.cos() - angle.sin()])


def _slopes(corners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Four times the differences along x, y and z (B, nx, ny, nz) of values at the corners (B, nx + 1, ny + 1, nz + 1)."""
    x, sums = _sum(_difference(corners, 1), 2), _sum(corners, 1)
    y, sums = _difference(sums, 2), _sum(sums, 2)
    return _sum(x, 3), _sum(y, 3), _difference(sums, 3)


def _sum(values: Tensor, axis: int) -> Tensor:
    """Sums of neighbours along an axis, which is one shorter thereafter."""
    n = values.shape[axis] - 1
    return values.narrow(axis, 1, n) + values.narrow(axis, 0, n)


def _difference(values: Tensor, axis: int) -> Tensor:
    n = values.shape[axis] - 1
    return values.narrow(axis, 1, n) - values.narrow(axis, 0, n)


def edges(size: Sequence[float] | None, shape: Sequence[int]) -> tuple[float, ...]:
    """Edge lengths, if they are three positive numbers."""
    try:
        edges = tuple(float(edge) for edge in (shape if size is None else size))
    except (TypeError, ValueError):
        edges = ()
    if len(edges) != 3 or not all(isfinite(edge) and edge > 0 for edge in edges):
        raise UserError(f"size = {size!r} is no cell", "cell", "Give three positive edge lengths, along x, y and z")
    return edges


def _spacing(size: Sequence[float], shape: Sequence[int]) -> list[float]:
    """Voxel edges in units of the cell's mean edge, which keeps wave numbers near one, whatever the unit of `size`."""
    mean = sum(size) / 3
    return [edge / mean / n for edge, n in zip(size, shape)]


def waves(shape: Sequence[int], size: Sequence[float], scheme: Scheme) -> list[Tensor]:
    """For each axis the factors (3, n) of the components of t (3, nx, ny, nz) that depend on the position along it.

    Raises `UserError` for an unknown scheme.
    """
    if scheme not in get_args(Scheme):
        raise UserError(f"scheme = {scheme!r} is unknown", "cell", f"Use {' or '.join(get_args(Scheme))}")
    axes = []
    for axis, (n, h) in enumerate(zip(shape, _spacing(size, shape))):
        index = torch.fft.fftfreq(n, d=1.0 / n, dtype=torch.float64)
        if scheme == "fourier":
            along, across = torch.where(index.abs() * 2 == n, 0.0, 2 * pi / (n * h) * index), torch.ones_like(index)
        else:
            along, across = 2.0 / h * (pi / n * index).sin(), (pi / n * index).cos()
            across[across.abs() < 1e-12] = 0.0  # cos(pi/2), at the corner frequencies, is not exactly nil in floating point
        axes.append(torch.stack([along if axis == i else across for i in range(3)]))
    return axes


def wave_vectors(axes: Sequence[Tensor], half: bool = False) -> Tensor:
    """t (3, nx, ny, nz) of its factors; `half` leaves out frequencies along z that a real field's spectrum does not need."""
    t = torch.einsum("ix,iy,iz->ixyz", *axes)
    return t[..., : t.shape[3] // 2 + 1] if half else t


def conjugate_gradients(
    operator: Operator,
    precondition: Operator,
    force: Tensor,
    dot: Callable[[Tensor, Tensor], Tensor],
    tolerance: float,
    max_iterations: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Preconditioned conjugate gradients for many systems A x = force at once.

    `operator` (A) and `precondition` (its approximate inverse) act on (3, B, K) vectors; `dot` is an inner product -> (B,).
    The tolerance is of the preconditioned residual's norm, relative to the force's. A system that has met it, or whose
    operator turns out indefinite along a direction, stays as it is.

    Returns the solution, the iterations of each system (B,), and what each iteration (n, B) frees of the energy
    x.A.x - 2 x.force, of which the solution has the least.
    """
    x, residual, freed = torch.zeros_like(force), force.clone(), []
    z = precondition(residual)
    direction, rz = z.clone(), dot(residual, z)
    target = rz * tolerance**2
    running = rz > 0
    used = torch.zeros_like(rz)
    for _ in range(max_iterations):
        image = operator(direction)
        curvature = dot(direction, image)
        running = running & (curvature > 0)
        if not running.any():
            break
        used += running
        step = torch.where(running, rz / curvature, 0.0)
        freed.append(step * rz)
        x.addcmul_(direction, step[:, None])
        residual.addcmul_(image, step[:, None], value=-1.0)
        z = precondition(residual)
        rz, previous = dot(residual, z), rz
        running = running & (rz > target)
        direction = torch.addcmul(z, direction, torch.where(running, rz / previous, 0.0)[:, None])
    return x, used, torch.stack(freed) if freed else rz.new_empty(0, len(rz))
