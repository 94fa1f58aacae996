"""How well numbers stand for orientations: what near crystals look like in them, and what noise on them costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from microprint import orientations


class Representation(NamedTuple):
    """A way to write an orientation in numbers, its channels."""

    title: str
    encode: Callable[[Tensor, str], Tensor]  # channels (..., k) of orientations (..., 4) of a crystal symmetry
    decode: Callable[[Tensor, str], Tensor]  # nearest orientations (..., 4) of channels (..., k), which may have errors


def _two_axes(q: Tensor, symmetry: str) -> Tensor:
    return orientations.to_matrix(orientations.reduce(q, symmetry))[..., :2, :].flatten(-2)


def _from_two_axes(channels: Tensor, symmetry: str) -> Tensor:
    """Rotations (..., 4) whose first two axes have the largest scalar product with `channels` (..., 6), after Davenport."""
    form = torch.einsum("...k,abk->...ab", channels, _axes_form().to(channels))
    return orientations.standardize(torch.linalg.eigh(form).eigenvectors[..., -1])


@cache
def _axes_form() -> Tensor:
    """Symmetric forms T (4, 4, 6) with q T q the first two axes of a rotation q."""
    unit = torch.eye(4, dtype=torch.float64)
    single, double = (orientations.to_matrix(q)[..., :2, :].flatten(-2) for q in (unit, unit[:, None] + unit))
    return 0.5 * (double - single[:, None] - single)


# All but the last have one of the equivalent rotations, that in the fundamental zone. Two axes: Zhou et al. 2019,
# arXiv:1812.07035. Euler angles: White et al. 2025.
REPRESENTATIONS = {
    "euler": Representation(
        "Euler channels (S1)",
        lambda q, symmetry: orientations.euler_channels(orientations.reduce(q, symmetry)),
        lambda channels, symmetry: orientations.from_euler_channels(channels),
    ),
    "quaternion": Representation(
        "FZ quaternion",
        orientations.reduce,
        lambda channels, symmetry: orientations.standardize(torch.nn.functional.normalize(channels, dim=-1)),
    ),
    "axes": Representation("two axes in the FZ", _two_axes, _from_two_axes),
    "embedding": Representation("symmetric embedding", orientations.embed, orientations.project),
}


def near_pairs(count: int, angle_deg: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Uniform random rotations (count, 4), and each turned by `angle_deg` about a random axis, in double precision."""
    q = orientations.random(count, generator, torch.float64)
    axis = torch.nn.functional.normalize(torch.randn((count, 3), generator=generator, dtype=torch.float64), dim=-1)
    return q, orientations.multiply(orientations.from_rotation_vector(math.radians(angle_deg) * axis), q)


def largest_change(pairs: tuple[Tensor, Tensor], representation: str, symmetry: str) -> Tensor:
    """Largest change of any channel between the two of every pair, (count,), in one of the `REPRESENTATIONS`."""
    first, second = (REPRESENTATIONS[representation].encode(q, symmetry) for q in pairs)
    return (first - second).abs().amax(-1)


def noise_error(representation: str, symmetry: str, noise: float, count: int, generator: torch.Generator) -> Tensor:
    """Disorientation in degrees, (count,), between random orientations and those read from their channels with noise.

    The noise is normal, in each channel `noise` times as wide as the channel itself over all orientations, so that the share
    1 - noise^2 of its variance is explained.
    """
    encode, decode = REPRESENTATIONS[representation][1:]
    q = orientations.random(count, generator, torch.float64)
    channels = encode(q, symmetry)
    disturbed = channels + noise * channels.std(0) * torch.randn(channels.shape, generator=generator, dtype=channels.dtype)
    return torch.rad2deg(orientations.disorientation(decode(disturbed, symmetry), q, symmetry))


def constant_baseline(symmetry: str, count: int, generator: torch.Generator) -> tuple[float, float]:
    """Error of always saying 'identity': mean 1 - |q . q| in the fundamental zone, and mean disorientation in degrees."""
    q = orientations.reduce(orientations.random(count, generator, torch.float64), symmetry)
    identity = q.new_tensor([1.0, 0.0, 0.0, 0.0])
    error = orientations.one_minus_abs_dot(q, identity).mean()
    return error.item(), torch.rad2deg(orientations.disorientation(q, identity, symmetry)).mean().item()
