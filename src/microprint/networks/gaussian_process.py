"""Gaussian-process regression: the right tool where a hundred samples have to do.

Rasmussen & Williams, "Gaussian processes for machine learning", 2006; with more samples than `points` the
deterministic training conditional (projected process) of its section 8.3.4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

JITTER = 1e-6  # of the kernel's diagonal, relative
LIKELIHOOD_POINTS = 1000  # samples on which the kernel's parameters are fitted
RANGE = (math.log(1e-3), math.log(1e2))  # of the logarithms of a, b, l, s


class GaussianProcess:
    """Scalar regression on k standardised features, with kernel

    ``a^2 x.y / k + b^2 exp(-|x - y|^2 / (2 l^2 k))`` and noise s^2: a straight line and a smooth rest.

    `state` holds the tensors that define a fitted process, for saving.
    """

    def __init__(self, state: Mapping[str, Tensor]):
        self.state = dict(state)

    @classmethod
    def fit(cls, x: Tensor, y: Tensor, generator: torch.Generator, points: int = 1000) -> GaussianProcess:
        """Fit kernel parameters by the marginal likelihood, then condition on all values (N,) at features (N, k).

        There are `points` inducing points at most, which the generator chooses; with N or more the process is exact.
        """
        x, y = x.double(), y.double()
        scales = {"x_mean": x.mean(0), "x_std": spread(x), "y_mean": y.mean(), "y_std": spread(y[:, None])[0]}
        u, v = (x - scales["x_mean"]) / scales["x_std"], (y - scales["y_mean"]) / scales["y_std"]
        order = torch.randperm(len(u), generator=generator).to(u.device)
        chosen = order[:LIKELIHOOD_POINTS]
        log_scales = maximise_likelihood(u[chosen], v[chosen])
        return cls({**scales, "log_scales": log_scales, **condition(u, v, u[order[:points]], log_scales)})

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, noise included, (B,) each, at features (B, k)."""
        s = self.state
        u = (x.to(s["x_mean"]) - s["x_mean"]) / s["x_std"]
        near = solve(s["cholesky"], kernel(s["points"], u, s["log_scales"]))
        far = solve(s["posterior_cholesky"], near)
        noise = (2 * s["log_scales"][3]).exp()
        variance = prior_variance(u, s["log_scales"]) - near.square().sum(0) + noise * (1 + far.square().sum(0))
        return s["y_mean"] + s["y_std"] * (far.T @ s["weights"]), s["y_std"] * variance.clamp_min(noise).sqrt()


def spread(x: Tensor) -> Tensor:
    """Standard deviation (k,) of columns (N, k), one for constant columns."""
    deviation = x.std(0, correction=0)
    return torch.where(deviation > 1e-12, deviation, torch.ones_like(deviation))


def kernel(x: Tensor, y: Tensor, log_scales: Tensor) -> Tensor:
    """Covariance (N, M) of features (N, k) and (M, k); log of a, b, l, s."""
    linear, smooth, length, _ = (2 * log_scales).exp()
    size = x.shape[1]
    distance = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
    return linear * x @ y.T / size + smooth * (-distance.clamp_min(0) / (2 * length * size)).exp()


def prior_variance(x: Tensor, log_scales: Tensor) -> Tensor:
    """Diagonal (N,) of `kernel(x, x)`."""
    linear, smooth = (2 * log_scales[:2]).exp()
    return linear * x.square().mean(1) + smooth


def maximise_likelihood(x: Tensor, y: Tensor) -> Tensor:
    """Log of a, b, l, s with the largest marginal likelihood of values (N,) at features (N, k)."""
    log_scales = torch.tensor([0.0, 0.0, 0.0, -1.5], dtype=x.dtype, device=x.device)
    settings = {"max_iter": 50, "tolerance_grad": 1e-3, "tolerance_change": 1e-5, "line_search_fn": "strong_wolfe"}
    optimiser = torch.optim.LBFGS([log_scales], **settings)
    products = x @ x.T / x.shape[1]
    distance = (products.diagonal()[:, None] + products.diagonal() - 2 * products).clamp_min(0)

    def closure() -> Tensor:
        value, log_scales.grad = misfit(products, distance, y, log_scales)
        return value

    optimiser.step(closure)
    return log_scales.clamp(*RANGE)


def misfit(products: Tensor, distance: Tensor, y: Tensor, log_scales: Tensor) -> tuple[Tensor, Tensor]:
    """Negative log of likelihood and prior (), and its gradient (4,), at log of a, b, l, s; eqs. (5.8) and (5.9).

    The prior is log-normal, and so broad that it keeps scales within reach only where few samples say little.

    Parameters
    ----------
    products, distance : x.y / k and |x - y|^2 / k of all pairs of samples, (N, N).
    y : values (N,).
    """
    inside = log_scales.clamp(*RANGE)
    linear, smooth, length, noise = (2 * inside).exp()
    correlated = (distance / (-2 * length)).exp_().mul_(smooth)
    covariance = torch.add(correlated, products, alpha=float(linear))
    covariance.diagonal().add_(noise + JITTER)
    factor = torch.linalg.cholesky(covariance)
    inverse = torch.cholesky_inverse(factor)
    weights = inverse @ y
    value = y @ weights / 2 + factor.diagonal().log().sum() + (log_scales / 3).square().sum() / 2
    change = inverse.addr_(weights, weights, alpha=-1)
    part = correlated.mul_(change)
    along_length = torch.tensordot(part, distance) / (2 * length)
    slopes = torch.stack([linear * torch.tensordot(change, products), part.sum(), along_length, noise * change.trace()])
    return value, slopes * (inside == log_scales) + log_scales / 9


def condition(x: Tensor, y: Tensor, points: Tensor, log_scales: Tensor) -> dict[str, Tensor]:
    """Factors that predict at new features from all samples, through inducing points (M, k)."""
    noise = (2 * log_scales[3]).exp()
    identity = torch.eye(len(points), dtype=x.dtype, device=x.device)
    scale = prior_variance(points, log_scales).mean()
    factor = torch.linalg.cholesky(kernel(points, points, log_scales) + JITTER * scale * identity)
    projected = solve(factor, kernel(points, x, log_scales))
    posterior = torch.linalg.cholesky(noise * identity + projected @ projected.T)
    weights = solve(posterior, (projected @ y)[:, None])[:, 0]
    return {"points": points, "cholesky": factor, "posterior_cholesky": posterior, "weights": weights}


def solve(factor: Tensor, right: Tensor) -> Tensor:
    """Solution of L X = R for a lower triangular L."""
    return torch.linalg.solve_triangular(factor, right, upper=False)
