"""Families of textures of varied sharpness, and their place against the load along x.

An orientation of a family is M = M(scatter) M(turn about c) M(tilt) M(turn about x): a place for the crystal, two turns
that are free or not, and a scatter about all of it. The sharpness of the family, and all else that a family leaves open,
is drawn anew for every volume element, so that a set covers a range of textures, not a few points.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from microprint import orientations
from microprint.errors import UserError

SCATTER_DEG = (5.0, 30.0)  # bounds of the standard deviation about each axis; uniform between them
SPLIT_DEG = (15.0, 40.0)  # of the tilt of a split basal texture
_TURN_111 = math.degrees(math.acos(3**-0.5)) / 2**0.5  # brings (1, 1, 1) to x, about (0, -1, 1)
SHARE = (0.3, 0.7)  # of the random grains in a mixed texture


class Family(NamedTuple):
    """A place of the crystal: a tilt about a sample axis, and which turns are free."""

    tilt: tuple[float, float, float]  # rotation vector in degrees
    about_c: bool = False
    about_x: bool = False


HEXAGONAL = {
    "basal": Family((0, 0, 0), about_c=True),  # c along z, across the load: a rolled sheet
    "split": Family((0, 1, 0), about_c=True),  # c tilted from z towards x and -x, by an angle that is drawn
    "extruded": Family((90, 0, 0), about_x=True),  # an a axis along x, c anywhere across it
    "axial": Family((0, 90, 0), about_c=True),  # c along the load
    "prismatic": Family((90, 0, 0)),  # c along y, an a axis along x
}
CUBIC = {
    "cube": Family((0, 0, 0)),
    "goss": Family((45, 0, 0)),
    "fibre_100": Family((0, 0, 0), about_x=True),  # as grown from a melt
    "fibre_111": Family((0, -_TURN_111, _TURN_111), about_x=True),  # as drawn to a wire
}
FAMILIES = {"hexagonal": ("random", *HEXAGONAL, "mixed"), "cubic": ("random", *CUBIC, "mixed")}


def draw_texture(family: str, grains: int, symmetry: str, generator: torch.Generator) -> Tensor:
    """Orientations (grains, 4) in the fundamental zone of one volume element of a family of `FAMILIES`.

    ``random`` is uniform on SO(3), ``mixed`` a share of random grains among those of another family.
    """
    known = HEXAGONAL if symmetry == "hexagonal" else CUBIC
    if family not in FAMILIES[symmetry]:
        raise UserError(f"unknown family of textures {family!r}", remedy=f"Use one of {', '.join(FAMILIES[symmetry])}")
    random = orientations.random((grains,), generator)
    if family == "random":
        return orientations.reduce(random, symmetry)
    share = _between(SHARE, generator) if family == "mixed" else 0.0
    if family == "mixed":
        family = list(known)[int(torch.randint(len(known), (), generator=generator))]
    scatter = math.radians(_between(SCATTER_DEG, generator)) * torch.randn((grains, 3), generator=generator)
    about_c, about_x = 2 * math.pi * torch.rand((2, grains), generator=generator)
    tilt = torch.tensor(known[family].tilt, dtype=torch.float32).expand(grains, 3)
    if family == "split":
        sides = 1 - 2 * torch.randint(2, (grains, 1), generator=generator)
        tilt = sides * _between(SPLIT_DEG, generator) * tilt
    parts = [
        scatter,
        known[family].about_c * about_c[:, None] * torch.tensor([0.0, 0.0, 1.0]),
        torch.deg2rad(tilt),
        known[family].about_x * about_x[:, None] * torch.tensor([1.0, 0.0, 0.0]),
    ]
    q = orientations.from_rotation_vector(parts[0])
    for part in parts[1:]:
        q = orientations.multiply(q, orientations.from_rotation_vector(part))
    replaced = torch.rand((grains, 1), generator=generator) < share
    return orientations.reduce(torch.where(replaced, random, q), symmetry)


def _between(bounds: tuple[float, float], generator: torch.Generator) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * float(torch.rand((), generator=generator))
