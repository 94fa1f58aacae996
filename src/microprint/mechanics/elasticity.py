"""Stiffness tensors: crystal symmetries, rotation, averages and bounds.

At the package's doors a stiffness is a 6 x 6 matrix in Voigt's notation (order xx, yy, zz, yz, xz, xy; engineering
shear strains; Pa); inside the solvers it is a Mandel matrix (see `tensors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt

import torch
from torch import Tensor

from microprint.errors import UserError
from microprint.mechanics.tensors import mandel_rotation, quadratic

_MANDEL_FACTOR = torch.tensor([1.0, 1.0, 1.0, sqrt(2.0), sqrt(2.0), sqrt(2.0)], dtype=torch.float64)
# Projectors of Mandel matrices on the spherical and the deviatoric part.
SPHERICAL = torch.zeros(6, 6, dtype=torch.float64)
SPHERICAL[:3, :3] = 1.0 / 3.0
DEVIATORIC = torch.eye(6, dtype=torch.float64) - SPHERICAL


def isotropic(youngs_modulus: float, poissons_ratio: float) -> Tensor:
    """Isotropic stiffness (6, 6), Voigt, in the unit of Young's modulus; `UserError` for constants of no stable solid."""
    if not (0 < youngs_modulus < inf and -1 < poissons_ratio < 0.5):
        fault = f"Young's modulus {youngs_modulus} and Poisson's ratio {poissons_ratio} belong to no stable solid"
        raise UserError(fault, "elasticity", "Give a positive modulus and a ratio between -1 and 0.5")
    return from_moduli(youngs_modulus / (3 * (1 - 2 * poissons_ratio)), youngs_modulus / (2 * (1 + poissons_ratio)))


def from_moduli(bulk: float, shear: float) -> Tensor:
    """Isotropic stiffness (6, 6), Voigt, of bulk and shear modulus."""
    return voigt_from_mandel(3 * bulk * SPHERICAL + 2 * shear * DEVIATORIC)


def cubic(c11: float, c12: float, c44: float) -> Tensor:
    """Cubic stiffness (6, 6), Voigt, in the crystal's axes."""
    return hexagonal(c11, c12, c12, c11, c44, c66=c44)


def hexagonal(c11: float, c12: float, c13: float, c33: float, c44: float, c66: float | None = None) -> Tensor:
    """Hexagonal stiffness (6, 6), Voigt, c axis along z; C66 = (C11 - C12) / 2 unless given."""
    c66 = (c11 - c12) / 2 if c66 is None else c66
    stiffness = torch.diag(torch.tensor([c11, c11, c33, c44, c44, c66], dtype=torch.float64))
    for i, j, value in ((0, 1, c12), (0, 2, c13), (1, 2, c13)):
        stiffness[i, j] = stiffness[j, i] = value
    return stiffness


def mandel_from_voigt(stiffness: Tensor) -> Tensor:
    """Mandel matrices (..., 6, 6) of Voigt stiffnesses."""
    factor = _MANDEL_FACTOR.to(stiffness)
    return stiffness * factor[:, None] * factor


def voigt_from_mandel(matrix: Tensor) -> Tensor:
    """Voigt stiffnesses (..., 6, 6) of Mandel matrices."""
    factor = _MANDEL_FACTOR.to(matrix)
    return matrix / (factor[:, None] * factor)


def rotate(stiffness: Tensor, rotation: Tensor) -> Tensor:
    """Voigt stiffness (..., 6, 6) in other axes, of one (6, 6) in the old axes (a crystal's).

    Rotations (..., 3, 3) mean v_new = R v_old; for sample axes, the transpose of `orientations.to_matrix`.
    """
    turn = mandel_rotation(torch.movedim(rotation, (-2, -1), (0, 1)))
    matrix = mandel_from_voigt(stiffness.to(rotation))
    turned = quadratic(turn, matrix.reshape(6, 6, *[1] * (rotation.ndim - 2)))
    return voigt_from_mandel(torch.movedim(turned, (0, 1), (-2, -1)))


def isotropic_part(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Bulk and shear modulus of the isotropic matrix nearest to Mandel matrices (6, 6, ...)."""
    trace = matrix.diagonal().sum(-1)
    spherical = matrix[:3, :3].sum((0, 1)) / 3
    return spherical / 3, (trace - spherical) / 10


def free_strain(stress: Tensor, bulk: Tensor, shear: Tensor, free: Tensor) -> Tensor:
    """Strain (6, B) of an isotropic medium of moduli (B,) in the components that are `free` (6, 1), all others held.

    Mandel's notation. It is the inverse of the free components' matrix, 2 shear and a dyad, by Sherman and Morrison.
    """
    lame, strain, normal = bulk - 2 * shear / 3, free * stress, free[:3]
    strain[:3] -= normal * (lame / (2 * shear + normal.sum() * lame) * strain[:3].sum(0))
    return strain / (2 * shear)


def voigt_average(stiffnesses: Tensor, fractions: Tensor) -> Tensor:
    """Upper bound (..., 6, 6): mean stiffness of phases (P, 6, 6) with volume fractions (..., P)."""
    return torch.einsum("...p,pij->...ij", fractions, stiffnesses)


def reuss_average(stiffnesses: Tensor, fractions: Tensor) -> Tensor:
    """Lower bound (..., 6, 6): inverse of the mean compliance."""
    return torch.linalg.inv(voigt_average(torch.linalg.inv(stiffnesses), fractions))


def hashin_shtrikman(
    bulk: Sequence[float], shear: Sequence[float], fraction: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """(lower, upper) bulk modulus, (lower, upper) shear modulus of an isotropic mixture of two isotropic phases.

    `fraction` is that of the second phase's volume. Hashin & Shtrikman, J. Mech. Phys. Solids 11 (1963) 127-140.
    """

    def estimate(host: int) -> tuple[float, float]:
        guest, share = 1 - host, fraction if host == 0 else 1 - fraction
        k, g = bulk[host], shear[host]
        dk, dg = bulk[guest] - k, shear[guest] - g
        stiff = k + share * dk / (1 + dk * 3 * (1 - share) / (3 * k + 4 * g))
        rigid = g + share * dg / (1 + dg * 6 * (1 - share) * (k + 2 * g) / (5 * g * (3 * k + 4 * g)))
        return stiff, rigid

    (k0, g0), (k1, g1) = estimate(0), estimate(1)
    return (min(k0, k1), max(k0, k1)), (min(g0, g1), max(g0, g1))
