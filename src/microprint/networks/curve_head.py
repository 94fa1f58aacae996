"""The last layers of a network that answers with a stress-strain curve."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PENALTIES = torch.logspace(-6, 2, 17, dtype=torch.float64)  # over the largest square of a singular value


class CurveHead(nn.Module):
    """Curve of T points from volume averages: the mean of the training curves and a few principal components of deviations.

    The amplitudes are linear in the averages of what describes an orientation, which alone explain most of the deviations,
    and any function of the averages of what a network makes of them. At every point deviations count by their own spread.

    Parameters
    ----------
    features, width : numbers of averages of the two kinds.
    points, modes : T, and the number of principal components.
    """

    def __init__(self, features: int, width: int, points: int, modes: int):
        super().__init__()
        self.linear = nn.Linear(features, modes)
        self.standard = nn.BatchNorm1d(width, affine=False)  # averages scatter little about a mean that is large
        self.hidden, self.out = nn.Linear(width, width), nn.Linear(width, modes, bias=False)
        nn.init.zeros_(self.out.weight)  # so that a training begins with the linear part
        self.register_buffer("mean", torch.zeros(points))
        self.register_buffer("spread", torch.ones(points))
        self.register_buffer("modes", torch.zeros(modes, points))

    def start(self, averages: Tensor, curves: Tensor) -> None:
        """Set mean, spread and principal components from the training curves (N, T), and the linear part by ridge regression.

        The penalty is the one of the smallest error of each curve left out of the regression, in closed form.
        """
        averages, curves = averages.double(), curves.double()
        mean, spread = curves.mean(0), curves.std(0, correction=0)
        used = spread > 1e-6 * spread.max()
        left, singular, right = torch.linalg.svd((curves - mean)[:, used] / spread[used], full_matrices=False)
        count = min(len(self.modes), len(singular))
        modes = torch.zeros(count, len(used), dtype=torch.float64)
        size = singular[:count] / len(curves) ** 0.5
        modes[:, used] = right[:count] * size[:, None]
        weight, bias = _ridge(averages, left[:, :count] * singular[:count])  # a mode counts by its variance
        with torch.no_grad():
            self.mean.copy_(mean)
            self.spread.copy_(spread * used)
            self.modes.zero_()[:count] = modes.float()
            self.linear.weight[:count], self.linear.bias[:count] = (weight.T / size[:, None]).float(), (bias / size).float()

    def forward(self, averages: Tensor, hidden: Tensor) -> Tensor:
        """Curves (B, T), in the unit of those that set the scale, from averages (B, features) and (B, width)."""
        self.standard.train(self.training and len(hidden) > 1)  # a volume element alone has no spread
        amplitudes = self.linear(averages) + self.out(F.silu(self.hidden(self.standard(hidden))))
        return self.mean + self.spread * (amplitudes @ self.modes)

    def losses(self, answer: Tensor, curves: Tensor) -> dict[str, Tensor]:
        """``loss``: mean square of the error (B, T) over the spread, the share of the variance that is missed."""
        used = self.spread > 0
        return {"loss": ((answer - curves)[:, used] / self.spread[used]).square().mean()}


def _ridge(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (k, m) and constants (m,) of a ridge regression of y (N, m) on x (N, k)."""
    left, singular, right = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    inside, best = left.T @ y, (math.inf, x.new_zeros(x.shape[1], y.shape[1]))
    for penalty in PENALTIES * singular[0].square().clamp_min(1e-12):
        shrunk = (singular.square() / (singular.square() + penalty))[:, None]
        lever = 1 / len(x) + left.square() @ shrunk
        error = float(((y - y.mean(0) - left @ (shrunk * inside)) / (1 - lever).clamp_min(1e-6)).square().sum())
        if error < best[0]:
            best = error, right.T @ (shrunk / singular[:, None].clamp_min(1e-12) * inside)
    return best[1], y.mean(0) - x.mean(0) @ best[1]
