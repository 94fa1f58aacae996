"""How continuous a representation of orientations is: what pairs a small angle apart look like in its channels."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from microprint import orientations

REPRESENTATIONS: dict[str, Callable[[Tensor, str], Tensor]] = {
    "euler": lambda q, symmetry: orientations.euler_channels(orientations.reduce(q, symmetry)),
    "quaternion": orientations.reduce,
    "embedding": orientations.embed,
}


def near_pairs(count: int, angle_deg: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Uniform random rotations (count, 4), and each turned by `angle_deg` about a random axis, in double precision."""
    q = orientations.random(count, generator, torch.float64)
    axis = torch.nn.functional.normalize(torch.randn((count, 3), generator=generator, dtype=torch.float64), dim=-1)
    return q, orientations.multiply(orientations.from_rotation_vector(math.radians(angle_deg) * axis), q)


def largest_change(pairs: tuple[Tensor, Tensor], representation: str, symmetry: str) -> Tensor:
    """Largest change of any channel between the two of every pair, (count,).

    Representations: ``euler``, Bunge angles over (2 pi, pi, 2 pi) in the fundamental zone (White et al. 2025);
    ``quaternion``, in the fundamental zone with w >= 0; ``embedding``, the symmetric embedding.
    """
    first, second = (REPRESENTATIONS[representation](q, symmetry) for q in pairs)
    return (first - second).abs().amax(-1)


def constant_baseline(symmetry: str, count: int, generator: torch.Generator) -> tuple[float, float]:
    """Error of always saying 'identity': mean 1 - |q . q| in the fundamental zone, and mean disorientation in degrees."""
    q = orientations.reduce(orientations.random(count, generator, torch.float64), symmetry)
    identity = q.new_tensor([1.0, 0.0, 0.0, 0.0])
    error = orientations.one_minus_abs_dot(q, identity).mean()
    return error.item(), torch.rad2deg(orientations.disorientation(q, identity, symmetry)).mean().item()
