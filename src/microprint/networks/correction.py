"""What simulations correct in the answers of a model that is nearly right without any."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

TRUST, TRUSTED_AS = 0.01, 4.0  # relative standard deviation of the model's error before any simulation; as if seen so often
PARTS = 5  # of a curve: their mean stresses say which curves are alike, and their errors are about independent
CENTRES = 96  # curves, at most, that the correction is spanned by
# The likeliest length and noise are taken; before any simulation they are the default, within a factor of e.
LENGTHS, NOISES, DEFAULT = (0.1, 0.2, 0.4), (0.003, 0.01, 0.03, 0.1, 0.3, 1.0), (0.4, 0.1)
JITTER = 1e-8


@dataclass(frozen=True)
class Correction:
    """y = x + scale g(x), g a Gaussian process over the shape of the model's own curve x, at each of T points.

    Of curves like those that were simulated it knows what to add; of others it knows that it does not.
    """

    scale: Tensor  # (T,) root mean square of the curves, Pa
    usual: Tensor  # (T,) root mean square of the curves' own standard deviations, Pa
    centres: Tensor  # (M, PARTS) shapes
    weights: Tensor  # (M, T)
    cholesky: Tensor  # (M, M) of the centres' covariance
    posterior: Tensor  # (M, M) Cholesky factor of the weights' precision
    amplitude: Tensor  # (T,) standard deviation of g
    noise: Tensor  # (T,) standard deviation of what no curve's shape explains
    length: Tensor  # ()
    ratio: Tensor  # () of noise to amplitude, of all points alike, by which the weights are

    @staticmethod
    def fit(x: Tensor, spread: Tensor, y: Tensor) -> Correction:
        """From curves x (N, T) of a model, their own standard deviations, and simulated ones y, Pa; N may be as small as 1.

        Rasmussen & Williams, "Gaussian processes for machine learning", 2006, section 8.3.4 (projected process); length and
        noise by the marginal likelihood, in which the amplitude has an inverse gamma prior about `TRUST`.
        """
        x, y = x.double(), y.double()
        scale = x.square().mean(0).sqrt()
        error = torch.where(scale > 0, (y - x) / scale, 0.0)
        shapes = _shapes(x, scale)
        fits = [_fit(shapes, error, *pair) for pair in product(LENGTHS, NOISES)]
        _, best = max(fits, key=lambda pair: pair[0])
        return Correction(scale, spread.double().square().mean(0).sqrt(), *best)

    def apply(self, x: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """Corrected curves (B, T) and their standard deviations, from curves x and their own standard deviations, Pa.

        An own standard deviation counts where it is more than usual: what is usual has shown in the errors already.
        """
        known = _solved(self.cholesky, _covariance(self.centres, _shapes(x, self.scale), self.length))
        error = self.amplitude * (known.T @ self.weights)
        unsure = 2 - known.square().sum(0) + self.ratio**2 * _solved(self.posterior, known).square().sum(0)
        variance = unsure[:, None] * self.amplitude**2 + self.noise**2
        unusual = (spread.square() - self.usual**2).clamp_min(0)
        return x + self.scale * error, (unusual + self.scale**2 * variance).sqrt()


def most_informative(x: Tensor, count: int) -> Tensor:
    """Indices (count,) of the curves (N, T) of a model whose simulation would teach a `Correction` most, in that order.

    The next is where the corrected curve is least certain, given those before it. No label is looked at.
    """
    x = x.double()
    return _least_certain(_shapes(x, x.square().mean(0).sqrt()), count, *DEFAULT)


def _shapes(x: Tensor, scale: Tensor) -> Tensor:
    """Mean stresses (N, PARTS) of the parts of curves (N, T), over the root mean square of all stresses."""
    parts = x.double()[:, 1:].tensor_split(PARTS, 1)
    return torch.stack([part.mean(1) for part in parts], 1) / scale.square().mean().sqrt()


def _covariance(a: Tensor, b: Tensor, length: Tensor | float) -> Tensor:
    """Of g at shapes (N, PARTS) and (M, PARTS): an error common to all, and one that only curves alike share."""
    return 1 + torch.exp(-0.5 * (torch.cdist(a, b) / length).square())


def _least_certain(shapes: Tensor, count: int, length: float, ratio: float) -> Tensor:
    """The least certain shape, the least certain then, and so on (Cholesky decomposition with pivots)."""
    variance, columns, chosen = torch.full((len(shapes),), 2.0, dtype=torch.float64), [], []
    for _ in range(min(count, len(shapes))):
        best = int(variance.index_fill(0, torch.tensor(chosen, dtype=torch.long), -1.0).argmax())
        column = _covariance(shapes, shapes[best : best + 1], length)[:, 0]
        for earlier in columns:
            column = column - earlier * earlier[best]
        columns.append(column / (variance[best] + ratio**2).sqrt())
        variance = variance - columns[-1].square()
        chosen.append(best)
    return torch.tensor(chosen, dtype=torch.long)


def _solved(lower: Tensor, values: Tensor) -> Tensor:
    return torch.linalg.solve_triangular(lower, values, upper=False)


def _fit(shapes: Tensor, error: Tensor, length: float, ratio: float) -> tuple[float, tuple[Tensor, ...]]:
    """Log marginal likelihood and further fields of a `Correction`, for errors (N, T) at shapes (N, PARTS)."""
    count, eye = len(shapes), torch.eye(min(len(shapes), CENTRES), dtype=torch.float64)
    centres = shapes[_least_certain(shapes, CENTRES, length, ratio)]
    cholesky = torch.linalg.cholesky(_covariance(centres, centres, length) + JITTER * eye)
    known = _solved(cholesky, _covariance(centres, shapes, length))  # (M, N)
    posterior = torch.linalg.cholesky(known @ known.T + ratio**2 * eye)
    half = _solved(posterior, known @ error)
    weights = torch.linalg.solve_triangular(posterior.T, half, upper=True)
    evidence = TRUSTED_AS * TRUST**2 + (error.square().sum(0) - half.square().sum(0)) / ratio**2
    volume = 2 * posterior.diagonal().log().sum() + 2 * (count - len(eye)) * math.log(ratio)
    likelihood = -0.5 * PARTS * (volume + (TRUSTED_AS + count) * evidence.log().mean())
    prior = -0.5 * sum(math.log(value / default) ** 2 for value, default in zip((length, ratio), DEFAULT))
    amplitude = (evidence / (TRUSTED_AS + count)).sqrt()
    left = (error - known.T @ weights).square().sum(0) + TRUSTED_AS * (ratio * amplitude) ** 2
    free = count - len(eye) + ratio**2 * _solved(posterior, eye).square().sum()
    noise = (left / (TRUSTED_AS + free)).sqrt()
    fixed = (torch.tensor(value, dtype=torch.float64) for value in (length, ratio))
    return float(likelihood) + prior, (centres, weights / amplitude, cholesky, posterior, amplitude, noise, *fixed)
