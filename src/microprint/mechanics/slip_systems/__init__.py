"""Slip and twin systems of hP, cF and cI crystals, in DAMASK's order.

A system is a direction and a plane normal in Miller's indices of the lattice vectors (for hP the four-index
notation is given up for the three-index one of the vectors a1, a2, c). Cartesian crystal frame: cubic axes, or
x || a1 and z || c.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from pathlib import Path

import torch
import yaml
from torch import Tensor

# One text for each family of SYSTEMS[mode][lattice], the mode being "slip" or "twin".
SYSTEMS = yaml.safe_load(Path(__file__).with_name("systems.yaml").read_text())
# Twinning shear of the hP twin families as a function of c/a (Christian & Mahajan, Prog. Mater. Sci. 39 (1995) 1-157).
_HEXAGONAL_TWIN_SHEAR = (
    lambda ca: (3.0 - ca**2) / sqrt(3.0) / ca,
    lambda ca: 1.0 / ca,
    lambda ca: (4.0 * ca**2 - 9.0) / sqrt(48.0) / ca,
    lambda ca: 2.0 * (ca**2 - 2.0) / (3.0 * ca),
)


def directions_and_normals(lattice: str, mode: str, counts: Sequence[int], c_over_a: float = 1.0) -> tuple[Tensor, Tensor]:
    """Unit vectors (S, 3) of directions and plane normals in the crystal frame, for the first `counts` systems of families."""
    families = SYSTEMS[mode][lattice]
    chosen = [system for family, count in zip(families, counts) for system in family.split(", ")[:count]]
    indices = [[[float(i) for i in part.split()] for part in system.split(" / ")] for system in chosen]
    direction, normal = torch.tensor(indices, dtype=torch.float64).reshape(-1, 2, 3).unbind(1)
    vectors = torch.eye(3, dtype=torch.float64)
    if lattice == "hP":
        vectors = torch.tensor([[1.0, 0.0, 0.0], [-0.5, sqrt(0.75), 0.0], [0.0, 0.0, c_over_a]], dtype=torch.float64)
    direction, normal = direction @ vectors, normal @ torch.linalg.inv(vectors).T
    return direction / direction.norm(dim=1, keepdim=True), normal / normal.norm(dim=1, keepdim=True)


def schmid_tensors(lattice: str, mode: str, counts: Sequence[int], c_over_a: float = 1.0) -> Tensor:
    """Schmid tensors d (x) n (S, 3, 3) in the crystal frame; arguments as in `directions_and_normals`."""
    direction, normal = directions_and_normals(lattice, mode, counts, c_over_a)
    return direction[:, :, None] * normal[:, None, :]


def sizes(lattice: str, mode: str) -> list[int]:
    """Number of systems in each family of a lattice."""
    return [family.count("/") for family in SYSTEMS[mode][lattice]]


def families_of(counts: Sequence[int]) -> list[int]:
    """Family of each system."""
    return [family for family, count in enumerate(counts) for _ in range(count)]


def twinning_shear(lattice: str, counts: Sequence[int], c_over_a: float = 1.0) -> Tensor:
    """Characteristic shear (S,) of twin systems, that of hP not positive where the family twins in the other sense."""
    shears = _HEXAGONAL_TWIN_SHEAR if lattice == "hP" else (lambda _: sqrt(0.5),)
    return torch.tensor([shears[family](c_over_a) for family in families_of(counts)], dtype=torch.float64)
