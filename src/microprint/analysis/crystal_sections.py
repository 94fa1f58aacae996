"""Stresses of a crystal that is strained in all directions of a plane, and of the law that was learnt from it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from microprint.mechanics.materials import Material
from microprint.mechanics.single_crystals import strained
from microprint.networks.crystal_law import CrystalLaw

STRAIN, INCREMENTS = 0.01, 20  # Frobenius norm at the end of a straight path
ANGLES = 72
# Pairs of the basis of `mechanics.deviators`, in crystal axes.
PLANES = {("stretch x", "stretch y − z"): (0, 1), ("shear xz", "shear yz"): (3, 2)}


def sections(material: Material, law: CrystalLaw, dt: float) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """Stresses (ANGLES, 2) in MPa, the crystal's and the law's, by the names of the plane's axes; what leaves it is dropped."""
    angle = torch.arange(ANGLES) * 2 * torch.pi / ANGLES
    size = torch.linspace(0, STRAIN, INCREMENTS + 1)
    both = {}
    for name, (first, second) in PLANES.items():
        strain = torch.zeros(ANGLES, INCREMENTS + 1, 5)
        strain[..., first], strain[..., second] = angle.cos()[:, None] * size, angle.sin()[:, None] * size
        crystals = strained(material, strain, dt)
        pair = [crystals.stress[:, -1], _learnt(law, crystals.strain)]
        both[name] = tuple(stress[:, [first, second]].numpy() / 1e6 for stress in pair)
    return both


@torch.no_grad()
def _learnt(law: CrystalLaw, strain: Tensor) -> Tensor:
    """Stress (N, 5) in Pa at the end of paths (N, T + 1, 5)."""
    inside = (strain / law.strain_unit.cpu()).permute(1, 2, 0).to(law.P.device)
    return (law.responses(inside)[-1].T * law.stress_unit).cpu()
