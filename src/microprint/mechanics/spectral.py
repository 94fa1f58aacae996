"""Periodic cells in Fourier space: derivatives, the reference Green operator and conjugate gradients, batched.

A displacement u has the strain e_ij = sym(k_j u_i) in Fourier space. Both discretisations below have wave vectors
k = c t with a scalar c of modulus one and a *real* vector t; so c is absorbed into u, and only t is ever needed.

``fourier``   t = xi, the wave vector itself; a component at its Nyquist frequency is nil (Moulinec & Suquet, Comput.
              Methods Appl. Mech. Eng. 157 (1998) 69-94; also DAMASK's ``continuous`` derivative).
``rotated``   finite differences on the rotated grid (Willot, C. R. Mecanique 343 (2015) 232-245), which does not ring
              at strong contrasts.

Fields are (components, B, V), V = nx ny nz voxels; spectra are real views (components, B, K) with K = nx ny (nz//2+1) 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi, sqrt
from typing import Literal

import torch
from torch import Tensor

Scheme = Literal["fourier", "rotated"]


class PeriodicCell:
    """Derivatives on a periodic grid.

    Parameters
    ----------
    shape : voxels along x, y, z.
    scheme : discretisation of the derivative, ``"fourier"`` or ``"rotated"``.
    size : edge lengths of the cell; proportional to `shape` (cubic voxels) by default.
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
        self.scheme, self.size = scheme, tuple(size or shape)
        # Lengths in units of the mean edge keep wave numbers near one, whatever the unit of `size`.
        mean = sum(self.size) / 3
        spacing = [edge / mean / n for edge, n in zip(self.size, self.shape)]
        t = (_fourier if scheme == "fourier" else _rotated)(self.shape, spacing).to(dtype=dtype, device=device)
        self.half_shape = t.shape[1:]
        half = t.flatten(1).repeat_interleave(2, dim=1)[:, None]
        norm = half.square().sum(0)
        self.t, self.t2 = half, norm
        self.live = (norm > 0).to(dtype)
        self.direction = half / norm.clamp(min=1e-30).sqrt()
        self.weight = _multiplicity(self.shape).to(dtype=dtype, device=device).flatten().repeat_interleave(2)

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
        return torch.stack(
            [
                (s[0] * tx).addcmul_(xy, ty).addcmul_(xz, tz),
                (xy * tx).addcmul_(s[1], ty).addcmul_(yz, tz),
                (xz * tx).addcmul_(yz, ty).addcmul_(s[2], tz),
            ]
        ), mean

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


def _fourier(shape: Sequence[int], spacing: Sequence[float]) -> Tensor:
    axes = []
    for axis, (n, h) in enumerate(zip(shape, spacing)):
        index = _indices(n, half=axis == 2)
        index[index.abs() * 2 == n] = 0.0
        axes.append(2 * pi / (n * h) * index)
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def _rotated(shape: Sequence[int], spacing: Sequence[float]) -> Tensor:
    angles = torch.meshgrid(*(pi / n * _indices(n, half=axis == 2) for axis, n in enumerate(shape)), indexing="ij")
    sin, cos = torch.stack(angles).sin(), torch.stack(angles).cos()
    # cos(pi/2) is not exactly nil in floating point; corner frequencies have to be.
    cos = torch.where(cos.abs() < 1e-12, torch.zeros_like(cos), cos)
    others = torch.stack([cos[1] * cos[2], cos[0] * cos[2], cos[0] * cos[1]])
    return sin * others * torch.tensor([2.0 / h for h in spacing], dtype=torch.float64)[:, None, None, None]


def _indices(n: int, half: bool) -> Tensor:
    frequencies = torch.fft.rfftfreq if half else torch.fft.fftfreq
    return frequencies(n, d=1.0 / n, dtype=torch.float64)


def _multiplicity(shape: Sequence[int]) -> Tensor:
    """How often each entry of a half spectrum stands in the full one."""
    count = torch.full((shape[0], shape[1], shape[2] // 2 + 1), 2.0)
    count[..., 0] = 1.0
    if shape[2] % 2 == 0:
        count[..., -1] = 1.0
    return count


def conjugate_gradients(
    operator: Callable[[Tensor], Tensor],
    precondition: Callable[[Tensor], Tensor],
    force: Tensor,
    dot: Callable[[Tensor, Tensor], Tensor],
    tolerance: float | Tensor,
    max_iterations: int,
) -> tuple[Tensor, Tensor]:
    """Preconditioned conjugate gradients for many systems A x = force at once.

    Parameters
    ----------
    operator, precondition : A and the approximate inverse, on (3, B, K) vectors.
    dot : inner product -> (B,).
    tolerance : of the preconditioned residual's norm, relative to the force's; float or (B,).

    Returns
    -------
    solution, iterations used by each system (B,)

    A system that has met its tolerance, or whose operator turns out indefinite along a direction, stays as it is.
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
