"""What a few simulations correct in the answers of a model that is nearly right without any."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TRUST = (0.03, 0.05)  # standard deviations, before any simulation, of a common factor and of an error in how curves spread
ROUNDS = 20  # of the estimate of the noise that is left


@dataclass(frozen=True)
class Correction:
    """y = x + factor x + slope (x - centre), at each of T points of a curve, with what is left as noise."""

    factor: Tensor  # (T,)
    slope: Tensor  # (T,)
    centre: Tensor  # (T,) mean of the curves
    deviation: Tensor  # (T,) standard deviation of what is left

    @staticmethod
    def fit(x: Tensor, spread: Tensor, y: Tensor) -> Correction:
        """From curves x (N, T) of a model, their standard deviations, and simulated ones y; N may be as small as 1.

        Factor and slope have normal priors of standard deviations `TRUST`, so that few simulations change little (Bayesian
        linear regression; the noise by its expected square, and at least the model's own spread).
        """
        x, spread, y = (values.double() for values in (x, spread, y))
        centre, gap = x.mean(0), y - x
        features = torch.stack([x, x - centre], -1).transpose(0, 1)  # (T, N, 2)
        prior = torch.diag(torch.tensor(TRUST, dtype=torch.float64) ** -2)
        square, target = features.transpose(1, 2) @ features, (features.transpose(1, 2) @ gap.T[..., None])[..., 0]
        floor = spread.square().mean(0) + 1e-12 * centre.square() + 1e-300
        noise = gap.square().mean(0) + floor
        for _ in range(ROUNDS):
            covariance = torch.linalg.inv(square / noise[:, None, None] + prior)
            weights = (covariance @ (target / noise[:, None])[..., None])[..., 0]
            left = gap.T - (features @ weights[..., None])[..., 0]
            unsure = torch.einsum("tna,tab,tnb->tn", features, covariance, features)
            noise = (left.square() + unsure).mean(1).maximum(floor)
        return Correction(weights[:, 0], weights[:, 1], centre, noise.sqrt())

    def apply(self, x: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """Corrected curves (B, T) and their standard deviations."""
        return x + self.factor * x + self.slope * (x - self.centre), (spread.square() + self.deviation.square()).sqrt()


def most_informative(x: Tensor, count: int, noise: float) -> Tensor:
    """Indices (count,) of the volume elements whose simulation would teach a `Correction` most, one after the other.

    Their stresses by the model, (N,), suffice: the next to be simulated is where the corrected stress is least certain, given
    those before it and a standard deviation `noise` of what no correction explains (Bayesian experimental design). No label is
    looked at.
    """
    features = torch.stack([x, x - x.mean()], 1).double()
    covariance = torch.diag(torch.tensor(TRUST, dtype=torch.float64) ** 2)
    chosen: list[int] = []
    for _ in range(min(count, len(x))):
        variance = torch.einsum("na,ab,nb->n", features, covariance, features)
        variance[chosen] = -1.0
        best = int(variance.argmax())
        gain = covariance @ features[best]
        covariance = covariance - gain[:, None] * gain / (noise**2 + features[best] @ gain)
        chosen.append(best)
    return torch.tensor(chosen)
