"""What a voxel does for the effective stiffness of a two-phase composite: the solver's own gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from microprint.mechanics.effective import Fields
from microprint.mechanics.elasticity import mandel_from_voigt

NEIGHBOURHOOD = 1.0  # voxels: width of the Gaussian with which the strain of neighbours is averaged


def stiffness_derivative(fields: Fields, stiffnesses: Tensor) -> Tensor:
    """Derivative (B, cases, cases, nx, ny, nz) of C_kl to the share of phase 1 in each voxel, Pa; normal cases.

    Equilibrium makes the energy stationary, so that dC_kl / dt(v) = e_k(v) : (C_1 - C_0) : e_l(v) / V: the adjoint method,
    whose adjoint problem is the problem itself. `stiffnesses` are those of the two phases, (2, 6, 6), Voigt.
    """
    return _products(fields.strain, fields.strain, stiffnesses)


def change_of_phase(fields: Fields, stiffnesses: Tensor, phase_ids: Tensor) -> Tensor:
    """What C_kl would gain, (B, cases, cases, nx, ny, nz) in Pa, for each voxel if it were of phase 1 and not of phase 0.

    By the polarisation identity C'_kl - C_kl = sum over changed voxels of e_k : (C_1 - C_0) : e'_l / V, exactly, with the
    strain e' after the change (Kroener; Castaneda & Willis 1999). A voxel that joins the other phase strains about as its
    new neighbours do, so e' is the mean strain of those neighbours. At a contrast of 50 the infinitesimal derivative, with
    e' = e, is wrong by a factor of 8 in the soft phase and 4 in the hard one.
    """
    hard = phase_ids[:, None, None].to(fields.strain)
    in_hard, in_soft = (_blurred(fields.strain * share) / _blurred(share).clamp_min(1e-3) for share in (hard, 1 - hard))
    after = torch.where(hard > 0.5, in_soft, in_hard)
    product = _products(fields.strain, after, stiffnesses)
    return (product + product.transpose(1, 2)) / 2


def _products(before: Tensor, after: Tensor, stiffnesses: Tensor) -> Tensor:
    change = mandel_from_voigt(stiffnesses[1] - stiffnesses[0]).to(before)
    return torch.einsum("bkaxyz,ac,blcxyz->bklxyz", before, change, after) / before[0, 0, 0].numel()


def _blurred(field: Tensor) -> Tensor:
    """Periodic convolution of fields (..., nx, ny, nz) with a Gaussian of width `NEIGHBOURHOOD`."""
    *_, nx, ny, nz = field.shape
    along = [torch.fft.fftfreq(nx), torch.fft.fftfreq(ny), torch.fft.rfftfreq(nz)]
    x, y, z = ((-2 * (math.pi * NEIGHBOURHOOD * k) ** 2).exp().to(field) for k in along)
    waves = torch.fft.rfftn(field, dim=(-3, -2, -1)) * (x[:, None, None] * y[:, None] * z)
    return torch.fft.irfftn(waves, s=(nx, ny, nz), dim=(-3, -2, -1))
