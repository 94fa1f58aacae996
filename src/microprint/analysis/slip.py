"""Families of slip and twin systems by their names, and the shear that each of them carries."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from microprint.mechanics.materials import Material

# In DAMASK's order, as the counts N_sl and N_tw of a material file go through them. Angle brackets that HTML leaves alone.
NAMES = {
    ("hP", "sl"): ("basal", "prismatic", "pyramidal ⟨a⟩", "pyramidal ⟨c+a⟩, 1st order", "pyramidal ⟨c+a⟩, 2nd order"),
    ("hP", "tw"): ("tension twins", "tension twins {11-21}", "compression twins", "compression twins {11-22}"),
    ("cF", "sl"): ("{111}⟨110⟩", "{110}⟨110⟩"),
    ("cF", "tw"): ("twins {111}⟨112⟩",),
    ("cI", "sl"): ("{110}⟨111⟩", "{112}⟨111⟩", "{123}⟨111⟩"),
    ("cI", "tw"): ("twins {112}⟨111⟩",),
}


def families(material: Material) -> dict[str, slice]:
    """Where each family lies in a material's arrays of systems, slip before twins; those without a system are left out."""
    return {name: slice(start, start + count) for name, start, count in _families(material)}


def _families(material: Material) -> Iterator[tuple[str, int, int]]:
    plastic, start = next(iter(material.source.values()))["mechanical"]["plastic"], 0
    for mode in ("sl", "tw"):
        counts = torch.as_tensor(plastic.get(f"N_{mode}", [])).flatten().tolist()
        for name, count in zip(NAMES[material.lattice, mode], counts):
            if count:
                yield name, start, count
            start += count


def shear_by_family(material: Material, slip: Tensor, twinning: Tensor) -> dict[str, Tensor]:
    """Shear (...) of each family, the sum over its systems, from that of slip (..., slips) and twin systems (..., twins)."""
    shear = torch.cat([slip, twinning], -1)
    return {name: shear[..., rows].sum(-1) for name, rows in families(material).items()}
