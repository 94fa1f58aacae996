"""S1's network from fingerprint to stress-strain curve."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class StressMLP(nn.Module):
    """Fully connected network with one hidden layer (S1, White et al. 2025, section 2.4).

    As its output is a sigmoid, the curves are scaled to [0, 1] by the smallest and largest stress. Where those are of the
    training curves, a test curve beyond them cannot be met. S1's code has a LeakyReLU before the sigmoid, too, which leaves
    next to nothing of outputs below a half.

    Parameters
    ----------
    inputs : numbers in a fingerprint; S1: 256.
    points : of a curve; S1: 21.
    hidden : S1: 512.
    coded : as S1's code has it, not its text.
    """

    def __init__(self, inputs: int, points: int, hidden: int, coded: bool = False):
        super().__init__()
        last = (nn.LeakyReLU(), nn.Sigmoid()) if coded else (nn.Sigmoid(),)
        self.layers = nn.Sequential(nn.Linear(inputs, hidden), nn.LeakyReLU(), nn.Linear(hidden, points), *last)
        self.register_buffer("low", torch.zeros(1))
        self.register_buffer("high", torch.ones(1))

    def scale(self, curves: Tensor) -> None:
        """Set the scaling from curves (N, points)."""
        self.low.fill_(curves.min().item())
        self.high.fill_(curves.max().item())

    def forward(self, z: Tensor) -> Tensor:
        """Curves (B, points), in the unit of those that set the scale, of fingerprints (B, inputs)."""
        return self.low + (self.high - self.low) * self.layers(z)

    def losses(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Mean squared error of the scaled curves, as ``loss``; `batch` holds ``z`` and ``curve``."""
        error = (self(batch["z"]) - batch["curve"]) / (self.high - self.low)
        return {"loss": error.square().mean()}
