"""What a learnt law has found of a crystal's slip and twin systems, of which it was told nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from microprint.analysis.slip import families
from microprint.mechanics.deviators import deviator
from microprint.mechanics.materials import Material
from microprint.networks.crystal_law import RATE, CrystalLaw, Weights

NEAR_DEG = 5.0  # from a system to the direction that has found it
DRAWS = 50  # of random directions


class Family(NamedTuple):
    """The systems of a family, and what a law knows of them."""

    systems: int
    near: int  # systems with a learnt direction near them
    angle_deg: float  # median of the systems' angles to the nearest learnt direction, between deviators
    random_deg: float  # the same of as many random directions
    resistance: float  # Pa, mean of the material's
    learnt: float  # Pa, mean of the directions that found a system, at the material's reference rate; nan where none did


@torch.no_grad()
def found_systems(material: Material, law: CrystalLaw, dt: float, directions: int) -> dict[str, Family]:
    """Families of a material by their names, as its law knows them, whose increments take `dt` seconds.

    So many random `directions` it had at first.
    """
    w = Weights(*(x.cpu().double() for x in law.weights()))
    systems, slips = deviator(material.schmid.cpu()), torch.arange(len(material.schmid)) < material.slips
    # The same law has a direction and its opposite, with the resistances exchanged: here each goes its easy way.
    P = torch.where(w.backwards < 1, -w.P, w.P)
    angle, nearest, easy = _nearest(systems, slips, P)
    drawn = torch.randn((DRAWS, directions, 5), generator=torch.Generator().manual_seed(0), dtype=P.dtype)
    by_chance = torch.stack([_nearest(systems, slips, some)[0] for some in drawn])
    xi = w.xi_0[nearest, 0] * torch.where(easy, w.backwards.clamp_max(1)[nearest, 0], w.backwards.clamp_min(1)[nearest, 0])
    # A system shears by g where its deviator flows by g / sqrt(2); the power law carries the stress to another rate.
    size = 2**0.5 * P.norm(dim=1)[nearest]
    rate = material.rate_0.cpu() * dt / (size * RATE * float(law.strain_unit))
    learnt = float(law.stress_unit) * xi / size * rate.pow(1 / float(w.n))
    rows = {}
    for name, family in families(material).items():
        close, mean = angle[family] < NEAR_DEG, material.xi_0[family].mean().item()
        middle, chance = angle[family].median().item(), by_chance[:, family].median().item()
        rows[name] = Family(len(close), int(close.sum()), middle, chance, mean, learnt[family][close].mean().item())
    return rows


def tabled(families_of: Mapping[str, Mapping[str, Family]]) -> tuple[list[list], list[str]]:
    """Rows and headers of a table of materials and their families, stresses in MPa."""
    rows = [
        [name, family, f.systems, f.near, f.angle_deg, f.random_deg, f.resistance / 1e6, f.learnt / 1e6 if f.near else None]
        for name, its in families_of.items()
        for family, f in its.items()
    ]
    angles = ["nearest direction (°)", "of random directions (°)"]
    header = ["material", "family", "systems", f"found (within {NEAR_DEG:g}°)", *angles, "resistance (MPa)", "as learnt (MPa)"]
    return rows, header


def _nearest(systems: Tensor, slips: Tensor, P: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Angles (S,) in degrees from systems (S, 5) to the nearest of directions (K, 5), which, and whether in its sense.

    Slip goes either way, so that of a direction it may be the opposite; twins go one way.
    """
    cosine = normalize(systems, dim=1) @ normalize(P, dim=1).T
    best = torch.where(slips[:, None], cosine.abs(), cosine).max(1)
    return torch.rad2deg(best.values.clamp(-1, 1).acos()), best.indices, cosine.gather(1, best.indices[:, None])[:, 0] > 0
