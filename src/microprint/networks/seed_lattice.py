"""Places at which a fingerprint keeps its seeds: points of the periodic cube that all see the same neighbourhood."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


@cache
def rank_one_lattice(count: int) -> Tensor:
    """Points (count, 3) of the unit cube, point i at the fractional part of i (1, p, q) / count.

    A step along the numbers is a shift of the periodic cube, so the difference of two points depends on the difference
    of their numbers alone. p and q are those with the largest distance between neighbours (Korobov 1959; Sloan & Joe,
    Lattice Methods for Multiple Integration, 1994). Integers throughout: every machine finds the same points.
    """
    number = torch.arange(count, device="cpu")  # values are needed even where a network is only measured
    steps = torch.cartesian_prod(torch.ones_like(number[:1]), number, number)  # (count^2, 3)
    apart = number[1:, None, None] * steps % count
    squares = torch.minimum(apart, count - apart).square().sum(-1)
    least = squares.amin(0) if count > 1 else torch.zeros(len(steps))
    return (number[:, None] * steps[least.argmax()] % count) / count
