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
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import pad

from microprint.errors import UserError
from microprint.mechanics.tensors import PLACES, VOIGT_PAIRS

Scheme = Literal["fourier", "rotated"]


class PeriodicCell:
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
        if scheme not in get_args(Scheme):
            raise UserError(f"scheme = {scheme!r} is unknown", "cell", f"Use {' or '.join(get_args(Scheme))}")
        self.shape, self.dtype, self.device = tuple(shape), dtype, torch.device(device)
        self.scheme, self.size = scheme, _edges(size, self.shape)
        t = (_fourier if scheme == "fourier" else _rotated)(self.shape, _spacing(self.size, self.shape))
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
        return PeriodicCell(self.shape, self.scheme, self.size, dtype, self.device)

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
        ratio = (bulk + shear / 3) / (bulk + 4 * shear / 3)
        along = (self.direction * force).sum(0) * ratio[:, None]
        flexibility = self.live / (shear[:, None] * self.t2.clamp(min=1e-30))
        return torch.addcmul(force, self.direction, along[None], value=-1.0).mul_(flexibility)

    def projected_rms(self, force: Tensor) -> Tensor:
        """Root mean square (B,) of the part of the stress that a divergence f (3, B, K) holds: sum |f|^2 / t.t."""
        return (force.square().sum(0) / self.t2.clamp(min=1e-30) * self.live * self.weight).sum(-1).sqrt()


class RotatedCell:
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
        self.size = _edges(size, self.shape)
        spacing = _spacing(self.size, self.shape)
        # Each derivative is a difference along its axis and the mean of two pairs along each of the others.
        self.scale = [1 / (4 * h) for h in spacing]
        self.kernels = [kernel.to(dtype=dtype, device=device) for kernel in _hartley(self.shape)]
        t = _rotated(self.shape, spacing, half=False).to(dtype=dtype, device=device).flatten(1)[:, None]
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
        ratio = (bulk + shear / 3) / (bulk + 4 * shear / 3)
        f = self._transform(force)
        along = (self.direction * f).sum(0) * ratio[:, None]
        u = f.addcmul_(self.direction, along[None], value=-1.0).mul_(self.flexibility).div_(shear[:, None])
        return self._transform(u)

    def _transform(self, field: Tensor) -> Tensor:
        """Hartley transform of a vector field (3, B, V), and its inverse."""
        field = field.unflatten(-1, self.shape)
        for kernel in self.kernels:
            # The first axis is transformed and becomes the last.
            field = (field.flatten(3).mT @ kernel[:, None]).unflatten(2, field.shape[3:])
        return field.flatten(2)


def _hartley(shape: Sequence[int]) -> list[Tensor]:
    """For each axis the kernels (3, n, n) of the components of a vector field, orthogonal and symmetric."""
    kernels = []
    for axis, n in enumerate(shape):
        index = torch.arange(n, dtype=torch.float64)
        angle = 2 * pi / n * (torch.outer(index, index) % n)
        kernel = (angle.cos() + angle.sin())[None].repeat(3, 1, 1)
        kernel[axis] = angle.cos() - angle.sin()
        kernels.append(kernel / sqrt(n))
    return kernels


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


def _edges(size: Sequence[float] | None, shape: Sequence[int]) -> tuple[float, ...]:
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


def _fourier(shape: Sequence[int], spacing: Sequence[float]) -> Tensor:
    axes = []
    for axis, (n, h) in enumerate(zip(shape, spacing)):
        index = _indices(n, half=axis == 2)
        index[index.abs() * 2 == n] = 0.0
        axes.append(2 * pi / (n * h) * index)
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def _rotated(shape: Sequence[int], spacing: Sequence[float], half: bool = True) -> Tensor:
    """t (3, nx, ny, nz) of the rotated scheme; along z, the half that a real field's spectrum needs, or all."""
    angles = [pi / n * _indices(n, half and axis == 2) for axis, n in enumerate(shape)]
    sin, cos = (torch.meshgrid(*waves, indexing="ij") for waves in zip(*((a.sin(), a.cos()) for a in angles)))
    # cos(pi/2) is not exactly nil in floating point; corner frequencies have to be.
    x, y, z = (torch.where(wave.abs() < 1e-12, 0.0, wave) for wave in cos)
    others = (y * z, x * z, x * y)
    return torch.stack([2.0 / h * wave * other for h, wave, other in zip(spacing, sin, others)])


def _indices(n: int, half: bool) -> Tensor:
    frequencies = torch.fft.rfftfreq if half else torch.fft.fftfreq
    return frequencies(n, d=1.0 / n, dtype=torch.float64)


def conjugate_gradients(
    operator: Callable[[Tensor], Tensor],
    precondition: Callable[[Tensor], Tensor],
    force: Tensor,
    dot: Callable[[Tensor, Tensor], Tensor],
    tolerance: float,
    max_iterations: int,
) -> tuple[Tensor, Tensor]:
    """Preconditioned conjugate gradients for many systems A x = force at once: solution, iterations of each system (B,).

    `operator` (A) and `precondition` (its approximate inverse) act on (3, B, K) vectors; `dot` is an inner product -> (B,).
    The tolerance is of the preconditioned residual's norm, relative to the force's. A system that has met it, or whose
    operator turns out indefinite along a direction, stays as it is.
    """
    x, residual = torch.zeros_like(force), force.clone()
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
        step = torch.where(running, rz / curvature, 0.0)[:, None]
        x.addcmul_(direction, step)
        residual.addcmul_(image, step, value=-1.0)
        z = precondition(residual)
        rz, previous = dot(residual, z), rz
        running = running & (rz > target)
        direction = torch.addcmul(z, direction, torch.where(running, rz / previous, 0.0)[:, None])
    return x, used
