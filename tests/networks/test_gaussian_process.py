"""Gaussian processes: against scikit-learn's, with inducing points, on curves; exactly as saved."""

import itertools

import pytest
import torch

from microprint.networks.curve_process import CurveProcess
from microprint.networks.gaussian_process import (
    RANGE,
    GaussianProcess,
    condition,
    kernel,
    maximise_likelihood,
    misfit,
    prior_variance,
)


def data(count=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    y = 2 * x[:, 0] + torch.sin(2 * x[:, 1]) + 5
    return x, y + 0.05 * torch.randn(count, generator=generator, dtype=torch.float64), generator


def test_prediction_is_the_textbook_s():
    """Rasmussen & Williams, eqs. (2.25) and (2.26)."""
    x, y, _ = data(20)
    scales = torch.tensor([0.1, -0.2, 0.3, -2.0], dtype=torch.float64)
    at = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    noise = (2 * scales[3]).exp()
    covariance = kernel(x, x, scales) + noise * torch.eye(20)
    cross = kernel(at, x, scales)
    mean = cross @ torch.linalg.solve(covariance, y)
    variance = prior_variance(at, scales) - (cross * torch.linalg.solve(covariance, cross.T).T).sum(1) + noise
    state = {
        "x_mean": torch.zeros(3),
        "x_std": torch.ones(3),
        "y_mean": torch.zeros(()),
        "y_std": torch.ones(()),
        "log_scales": scales,
    }
    state = {key: value.double() for key, value in state.items()} | condition(x, y, x, scales)
    found = GaussianProcess(state).predict(at)
    torch.testing.assert_close(found[0], mean, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found[1], variance.sqrt(), rtol=1e-2, atol=1e-3)


def likelihood(x, y, log_scales):
    """Minus the log of a normal distribution's density and of the prior's, but for constants."""
    covariance = kernel(x, x, log_scales) + ((2 * log_scales[3]).exp() + 1e-6) * torch.eye(len(x))
    return (y @ torch.linalg.solve(covariance, y) + torch.logdet(covariance) + (log_scales / 3).square().sum()) / 2


def pairs(x):
    return x @ x.T / x.shape[1], torch.cdist(x, x).square() / x.shape[1]


def test_misfit_and_its_gradient_are_those_of_the_density():
    x, y, _ = data(20)
    scales = torch.tensor([0.1, -0.2, 0.3, -1.0], dtype=torch.float64, requires_grad=True)
    expected = likelihood(x, y, scales)
    expected.backward()
    value, gradient = misfit(*pairs(x), y, scales.detach())
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(gradient, scales.grad)


def test_no_other_scales_are_likelier():
    x, y, generator = data(60)
    y = (y - y.mean()) / y.std()
    best = maximise_likelihood(x, y)
    others = best + 0.3 * torch.randn(50, 4, generator=generator, dtype=torch.float64)
    assert all(likelihood(x, y, best) < likelihood(x, y, other) for other in others)


@pytest.mark.parametrize("corner", itertools.product(RANGE, repeat=4))
def test_every_scale_in_reach_can_be_judged(corner):
    """Samples in pairs that hardly differ: the covariance is as good as singular."""
    x, y, _ = data(100)
    x = torch.cat([x, x + 1e-9])
    value, gradient = misfit(*pairs(x), torch.cat([y, y]), torch.tensor(corner, dtype=torch.float64))
    assert value.isfinite() and gradient.isfinite().all()


@pytest.mark.parametrize("points", [1000, 80])
def test_learns_a_smooth_function_and_its_noise(points):
    x, y, generator = data(150)
    process = GaussianProcess.fit(x[:100], y[:100], generator, points=points)
    mean, std = process.predict(x[100:])
    assert (mean - y[100:]).abs().mean() < 0.15
    assert 0.8 <= ((mean - y[100:]).abs() < 1.645 * std).double().mean() <= 1.0


def test_constant_features_and_values_do_no_harm():
    process = GaussianProcess.fit(torch.ones(5, 2), torch.full((5,), 3.0), torch.Generator())
    mean, std = process.predict(torch.ones(2, 2))
    torch.testing.assert_close(mean, torch.full((2,), 3.0, dtype=torch.float64))
    assert std.isfinite().all()


def test_curves_with_error_bars():
    x, y, generator = data(120)
    curve = torch.linspace(0, 1, 11, dtype=torch.float64) * y[:, None]
    process = CurveProcess.fit(x[:80], curve[:80], modes=3, generator=generator)
    process.calibrate(x[80:100], curve[80:100])
    mean, std = CurveProcess(process.state).predict(x[100:])
    assert mean.shape == std.shape == (20, 11) and (mean[:, 0] == 0).all() and (std[:, 0] == 0).all()
    assert ((mean - curve[100:]).abs()[:, 1:] < 2.6 * std[:, 1:]).double().mean() > 0.8
