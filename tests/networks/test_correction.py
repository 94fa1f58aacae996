"""What a few simulations correct."""

import torch

from microprint.analysis.regression import coverage
from microprint.networks.correction import Correction, most_informative


def sample(count, seed, noise=0.2):
    g = torch.Generator().manual_seed(seed)
    x = 80 + 5 * torch.randn(count, 1, generator=g, dtype=torch.float64) + torch.tensor([0.0, 3.0])
    y = 1.01 * x + 0.05 * (x - x.mean(0)) + noise * torch.randn(count, 2, generator=g, dtype=torch.float64)
    return x, torch.zeros_like(x), y


def test_many_simulations_give_the_line_and_an_honest_error_bar():
    fitted = Correction.fit(*sample(400, 0))
    x, spread, y = sample(2000, 1)
    mean, std = fitted.apply(x, spread)
    assert (mean - y).square().mean().sqrt() < 0.21
    assert 0.87 < coverage(mean, std, y) < 0.93


def test_two_simulations_correct_the_factor_and_not_much_else():
    x, spread, y = sample(2, 2)
    fitted = Correction.fit(x, spread, y)
    at, spread, truth = sample(500, 3)
    before, after = (at - truth).square().mean(), (fitted.apply(at, spread)[0] - truth).square().mean()
    assert after < 0.4 * before and fitted.slope.abs().max() < 0.1


def test_no_curve_is_corrected_at_rest():
    x, spread, y = (torch.cat([torch.zeros_like(part[:, :1]), part], 1) for part in sample(20, 4))
    mean, std = Correction.fit(x, spread, y).apply(x, spread)
    assert mean[:, 0].abs().max() == 0 and std[:, 0].max() < 1e-6


def test_a_wide_ensemble_widens_the_error_bar():
    x, spread, y = sample(30, 5)
    fitted = Correction.fit(x, spread, y)
    assert (fitted.apply(x, spread + 3)[1] > 3).all()


def test_the_ends_teach_most_and_nobody_is_chosen_twice():
    x = torch.linspace(60, 120, 31, dtype=torch.float64)
    chosen = most_informative(x, 31, noise=0.3).tolist()
    assert sorted(chosen) == list(range(31)) and set(chosen[:2]) == {0, 30}
    assert len(most_informative(x, 99, noise=0.3)) == 31
