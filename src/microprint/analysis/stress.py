"""Stress-strain curves without fingerprints: texture coefficients, linear comparison cells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from microprint import orientations
from microprint.mechanics.effective import effective_stiffness
from microprint.mechanics.elasticity import isotropic_part, mandel_from_voigt, voigt_from_mandel
from microprint.mechanics.materials import Material
from microprint.mechanics.tensors import mandel, mandel_rotation
from microprint.microstructures.volume_elements import VolumeElements

SOFTENING = (3.0, 30.0)  # of a family's shears, in linear cells


def texture_coefficients(elements: VolumeElements, axis: int) -> Tensor:
    """Volume averages (N, 2) of c^2 and c^4, with c the cosine between c-axis and load axis (0, 1 or 2 for x, y or z).

    The slip systems of a hexagonal crystal see the load mostly through c; its even powers are the leading terms of the
    texture that a mean stress depends on.
    """
    c = orientations.to_matrix(elements.quaternion.double())[..., 2, axis]
    powers = torch.stack([c**2, c**4], -1)
    return torch.stack([power[ids.flatten().long()].mean(0) for power, ids in zip(powers, elements.grain_id)])


def linear_cells(elements: VolumeElements, material: Material, axis: int, softening: Sequence[float] = SOFTENING) -> Tensor:
    """Effective moduli (N, systems' families times softenings) in Pa of linear cells under a tension along an axis.

    In each cell one family of slip or twin systems, those of one initial resistance, adds its shears to the elastic compliance,
    `softening` times over what elasticity itself gives a shear: linear comparison composites, each a hint at who has to yield.
    The mean conditions are the tension's: no lateral stress, no mean shear.
    """
    compliance = torch.linalg.inv(mandel_from_voigt(material.stiffness))
    shears = mandel(material.schmid.permute(1, 2, 0))  # (6, systems)
    scale = 2 * isotropic_part(torch.linalg.inv(compliance)[:, :, None])[1]
    families = [shears[:, material.xi_0 == xi] for xi in material.xi_0.unique()]
    turn = mandel_rotation(orientations.to_matrix(elements.quaternion.double()).permute(2, 3, 0, 1).transpose(0, 1))
    moduli = []
    for family in families:
        for factor in softening:
            soft = torch.linalg.inv(compliance + factor / scale * family @ family.T)
            turned = voigt_from_mandel(torch.einsum("abng,bc,dcng->ngad", turn, soft, turn))
            C = effective_stiffness(elements.grain_id[:], turned, cases=(0, 1, 2), dtype=torch.float32)[:, :3, :3]
            moduli.append(1 / torch.linalg.inv(C)[:, axis, axis])
    return torch.stack(moduli, 1)
