"""What a few simulations correct."""

import torch

from microprint.analysis.regression import coverage
from microprint.networks.correction import Correction, most_informative


def sample(count, seed, noise=0.2, middle=80.0):
    """Curves of 10 points, simulated ones that are stiffer by a factor which bends with their height."""
    g = torch.Generator().manual_seed(seed)
    height = middle + 5 * torch.randn(count, 1, generator=g, dtype=torch.float64)
    x = height * (1 - torch.exp(-torch.linspace(0, 4, 10, dtype=torch.float64)))
    y = x * (1.01 + 0.3 * (height / 80 - 1) ** 2) + noise * (x > 0) * torch.randn(count, 10, generator=g, dtype=torch.float64)
    return x, torch.zeros_like(x), y


def test_many_simulations_give_the_bend_and_an_honest_error_bar():
    fitted = Correction.fit(*sample(400, 0))
    x, spread, y = sample(2000, 1)
    mean, std = fitted.apply(x, spread)
    assert (mean - y).square().mean().sqrt() < 0.22 < (x - y).square().mean().sqrt()
    assert 0.87 < coverage(mean[:, 1:], std[:, 1:], y[:, 1:]) < 0.93


def test_it_equals_the_formulas_of_a_gaussian_process():
    """Few enough curves to be centres all: Rasmussen & Williams, equations 2.25 and 2.26."""
    x, spread, y = sample(12, 6)
    fitted, at = Correction.fit(x, spread, y), sample(5, 7)[0]
    shapes = [torch.stack([part.mean(1) for part in c[:, 1:].tensor_split(5, 1)], 1) / x.square().mean().sqrt() for c in (x, at)]
    k = lambda a, b: 1 + torch.exp(-0.5 * ((a[:, None] - b) / fitted.length).square().sum(-1))  # noqa: E731
    scale, a = x.square().mean(0).sqrt(), fitted.amplitude
    gain = k(shapes[1], shapes[0]) @ torch.linalg.inv(k(shapes[0], shapes[0]) + fitted.ratio**2 * torch.eye(12))
    mean = at + scale * (gain @ ((y - x) / scale).nan_to_num())
    variance = (2 - (gain * k(shapes[1], shapes[0])).sum(1))[:, None] * a**2 + fitted.noise**2
    torch.testing.assert_close(fitted.apply(at, torch.zeros_like(at))[0], mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(fitted.apply(at, torch.zeros_like(at))[1], scale * variance.sqrt(), rtol=1e-3, atol=1e-6)


def test_two_simulations_correct_the_factor():
    fitted = Correction.fit(*sample(2, 2))
    x, spread, y = sample(500, 3)
    before, after = (x - y).square().mean(), (fitted.apply(x, spread)[0] - y).square().mean()
    assert after < 0.7 * before


def test_of_other_curves_it_knows_that_it_does_not_know():
    fitted = Correction.fit(*sample(200, 0))
    near, far = (fitted.apply(*sample(300, 8, middle=middle)[:2])[1][:, -1].mean() for middle in (80, 140))
    assert far > 5 * near


def test_no_curve_is_corrected_at_rest():
    mean, std = Correction.fit(*sample(20, 4)).apply(*sample(7, 5)[:2])
    assert mean[:, 0].abs().max() == 0 and std[:, 0].max() == 0


def test_an_unusual_disagreement_of_the_laws_widens_the_error_bar():
    x, spread, y = sample(30, 5)
    fitted = Correction.fit(x, spread + 1, y)
    assert torch.equal(fitted.apply(x, spread + 1)[1], fitted.apply(x, spread)[1])
    assert (fitted.apply(x, spread + 4)[1] > 3.8).all()


def test_the_ends_teach_most_and_nobody_is_chosen_twice():
    x = torch.linspace(60, 120, 31, dtype=torch.float64)[:, None] * torch.linspace(0, 1, 10, dtype=torch.float64)
    chosen = most_informative(x, 31).tolist()
    assert sorted(chosen) == list(range(31)) and {0, 30} <= set(chosen[:3])
    assert len(most_informative(x, 99)) == 31
