"""Effective stiffness of periodic composites and polycrystals by the spectral method.

For each mean strain E the cell's equilibrium div (C : (E + sym grad u)) = 0 is solved by conjugate gradients with an
isotropic Green operator (Zeman et al., J. Comput. Phys. 229 (2010) 8065-8071). The stiffness follows from energies,
C_kl = < e_k : C : e_l >, whose error is of second order in that of the strain fields.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from microprint.errors import UserError
from microprint.mechanics.elasticity import isotropic_part, mandel_from_voigt, voigt_from_mandel
from microprint.mechanics.spectral import PeriodicCell, Scheme, conjugate_gradients

ALL_CASES = (0, 1, 2, 3, 4, 5)
# Up to this number of phases, the stress is cheaper phase by phase than with a stiffness for each voxel.
_FEW_PHASES = 4


def effective_stiffness(
    phase_ids: Tensor | np.ndarray,
    stiffnesses: Tensor | np.ndarray,
    *,
    cases: Sequence[int] = ALL_CASES,
    scheme: Scheme = "rotated",
    size: Sequence[float] | None = None,
    tolerance: float = 1e-3,
    max_iterations: int = 500,
    dtype: torch.dtype = torch.float64,
    chunk_voxels: int | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Effective stiffness of volume elements.

    Parameters
    ----------
    phase_ids : (B, nx, ny, nz) or (nx, ny, nz) phase of each voxel (grain, for polycrystals).
    stiffnesses : (phases, 6, 6), or (B, phases, 6, 6) where each element has its own; Pa, Voigt, sample axes.
    cases : mean strains to apply, as indices of Voigt's order; rows and columns of the others are nan.
    scheme : ``"rotated"`` (does not ring at strong contrast) or ``"fourier"``.
    tolerance : of the out-of-balance forces, relative to the uniform strain's; the stiffness is much better than that.
    dtype : of the whole calculation; float32 is about twice as fast and good to 1e-5.
    chunk_voxels : voxels solved at once, which bounds the memory (about 600 B each and case).

    Returns
    -------
    (B, 6, 6) Pa, Voigt, float64

    Raises
    ------
    UserError
        For phases without stiffness, stiffnesses that are not symmetric positive definite, and no convergence.
    """
    phases, matrices = _checked(phase_ids, stiffnesses)
    chunk_voxels = chunk_voxels or (2**17 if torch.device(device).type == "cpu" else 2**24)
    chunk = max(1, chunk_voxels // (phases[0].numel() * len(cases)))
    cell = PeriodicCell(phases.shape[1:], scheme, size, dtype, device)
    parts = [
        _solve(
            cell,
            phases[i : i + chunk].to(device),
            matrices[i : i + chunk].to(device),
            tuple(cases),
            tolerance,
            max_iterations,
            i,
        )
        for i in range(0, len(phases), chunk)
    ]
    return torch.cat(parts)


def _solve(
    cell: PeriodicCell,
    phases: Tensor,
    matrices: Tensor,
    cases: tuple[int, ...],
    tolerance: float,
    max_iterations: int,
    first: int,
) -> Tensor:
    """Effective stiffness (B, 6, 6), float64, of one chunk; matrices are Mandel's (B, phases, 6, 6)."""
    batch, count = len(phases), len(cases)
    scale = matrices.abs().amax((1, 2, 3))
    stress_of = _stress((matrices / scale[:, None, None, None]).to(cell.dtype), phases.flatten(1), count)
    mean = torch.eye(6, dtype=cell.dtype, device=cell.device)[:, list(cases)].repeat(1, batch)  # (6, B cases)
    bulk, shear = _reference(matrices / scale[:, None, None, None], phases.flatten(1))
    bulk, shear = (m.to(cell.dtype).repeat_interleave(count) for m in (bulk, shear))
    force, _ = cell.strain_adjoint(stress_of(mean[:, :, None].expand(-1, -1, phases[0].numel())))
    u, used = conjugate_gradients(
        lambda x: cell.strain_adjoint(stress_of(cell.strain(x)))[0],
        lambda f: cell.green(f, bulk, shear),
        -force,
        lambda a, b: (a * b * cell.weight).sum((0, 2)),
        tolerance,
        max_iterations,
    )
    if (used >= max_iterations).any():
        raise UserError(
            f"no equilibrium after {max_iterations} iterations",
            f"volume element {first + int(used.argmax()) // count}",
            "Raise tolerance or max_iterations, or use the rotated scheme",
        )
    strain = (cell.strain(u) + mean[:, :, None]).unflatten(1, (batch, count))
    stress = stress_of(strain.flatten(1, 2)).unflatten(1, (batch, count))
    energy = torch.einsum("ibkv,iblv->bkl", strain, stress).to(torch.float64) / phases[0].numel()
    full = torch.full((batch, 6, 6), torch.nan, dtype=torch.float64, device=cell.device)
    index = torch.tensor(cases, device=cell.device)
    full[:, index[:, None], index] = 0.5 * (energy + energy.transpose(1, 2)) * scale[:, None, None]
    return voigt_from_mandel(full).cpu()


def _stress(matrices: Tensor, phases: Tensor, cases: int) -> Callable[[Tensor], Tensor]:
    """Function from strains (6, B cases, V) to stresses, with the stiffness of each voxel."""
    batch, count = matrices.shape[:2]
    same = bool((matrices == matrices[:1]).all())
    if same and count <= _FEW_PHASES:
        shares = [(phases == p).to(matrices).repeat_interleave(cases, 0) for p in range(1, count)]

        def by_phase(strain: Tensor) -> Tensor:
            stress = (matrices[0, 0] @ strain.flatten(1)).view_as(strain)
            for share, matrix in zip(shares, matrices[0, 1:] - matrices[0, 0]):
                stress.addcmul_((matrix @ strain.flatten(1)).view_as(strain), share)
            return stress

        return by_phase
    field = torch.stack([m[p] for m, p in zip(matrices, phases)]).permute(2, 3, 0, 1)  # (6, 6, B, V)

    def by_voxel(strain: Tensor) -> Tensor:
        parts = strain.unflatten(1, (batch, cases))
        return (field[:, :, :, None] * parts).sum(1).flatten(1, 2)

    return by_voxel


def _reference(matrices: Tensor, phases: Tensor) -> tuple[Tensor, Tensor]:
    """Bulk and shear modulus (B,) of the reference medium: means over the voxels."""
    fractions = torch.stack([torch.bincount(p, minlength=matrices.shape[1]) for p in phases]).to(matrices) / phases.shape[1]
    return isotropic_part(torch.einsum("bp,bpij->ijb", fractions, matrices))


def _checked(phase_ids: Tensor | np.ndarray, stiffnesses: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
    ids = torch.as_tensor(phase_ids if isinstance(phase_ids, Tensor) else np.asarray(phase_ids).astype(np.int64)).to(
        torch.int64
    )
    voigt = torch.as_tensor(stiffnesses, dtype=torch.float64)
    if ids.ndim not in (3, 4) or voigt.ndim not in (3, 4) or voigt.shape[-2:] != (6, 6) or ids.numel() == 0:
        raise UserError(
            f"phase ids of shape {tuple(ids.shape)} and stiffnesses of shape {tuple(voigt.shape)} do not fit",
            "effective_stiffness",
            "Give (B, nx, ny, nz) and (phases, 6, 6)",
        )
    ids = ids.reshape(-1, *ids.shape[-3:])
    voigt = voigt.expand(len(ids), *voigt.shape[-3:])
    if ids.min() < 0 or ids.max() >= voigt.shape[1]:
        raise UserError(
            f"phase {int(ids.max() if ids.max() >= voigt.shape[1] else ids.min())} has no stiffness",
            "effective_stiffness",
            f"Number the phases 0 to {voigt.shape[1] - 1}",
        )
    matrices = mandel_from_voigt(voigt)
    if (
        not torch.isfinite(matrices).all()
        or (matrices - matrices.transpose(-1, -2)).abs().max() > 1e-6 * matrices.abs().max()
        or torch.linalg.eigvalsh(matrices).amin() <= 0
    ):
        raise UserError("a stiffness is not symmetric positive definite", "effective_stiffness", "Check the elastic constants")
    return ids, matrices
