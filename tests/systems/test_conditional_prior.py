"""Components of the conditional prior: held-out likelihood finds as many as there are."""

import math

import pytest
import torch

from microprint.networks.vae_regression import GaussianPrior, MixturePrior, Posteriors, kl_to_mixture
from microprint.systems.conditional_prior import LINEAR, best_count, held_out_likelihoods, likelihood


def posteriors(count, branches, seed):
    """Narrow posteriors of which a half lies on each of two branches, or all on a curved one."""
    g = torch.Generator().manual_seed(seed)
    c = 2 * torch.rand(count, 1, generator=g) - 1
    side = torch.where(torch.rand(count, 1, generator=g) < 0.5, -1.0, 1.0) if branches == 2 else torch.zeros(count, 1)
    mean = torch.cat([2 * side + 0.3 * c, 3 * (c.square() if branches == 1 else c)], 1) + 0.1 * torch.randn(count, 2, generator=g)
    return Posteriors(mean, torch.full_like(mean, -4.0), c)


def test_two_branches_ask_for_two_components_and_a_bend_for_none():
    two = held_out_likelihoods(posteriors(300, 2, 0), posteriors(200, 2, 1), (LINEAR, 1, 2), steps=250, restarts=2)
    assert set(two) == {LINEAR, 1, 2} and two[2].shape == (200,)
    assert two[2].mean() > two[1].mean() + 0.5 and best_count(two) == 2
    bent = held_out_likelihoods(posteriors(300, 1, 0), posteriors(200, 1, 1), (LINEAR, 1, 2), steps=250, restarts=1)
    assert bent[1].mean() > bent[LINEAR].mean() + 0.5
    assert abs(bent[2].mean() - bent[1].mean()) < 0.3


def test_fewer_components_win_a_tie():
    values = torch.randn(50, generator=torch.Generator().manual_seed(0))
    assert best_count({LINEAR: values + 9, 1: values, 2: values + 0.05, 3: values - 1}) == 1
    assert best_count({1: values, 2: values + 0.05}, least=0.01) == 2
    noisy = values + 0.2 + 3 * torch.randn(50, generator=torch.Generator().manual_seed(1))
    assert best_count({1: values, 2: values + (noisy - values - (noisy - values).mean()) + 0.2}) == 1


def test_likelihood_is_the_expected_logarithm_of_the_density():
    torch.manual_seed(0)
    prior, known = GaussianPrior(1, 2), posteriors(20, 2, 3)
    mixture = prior(known.c)
    # E_q ln p = -KL(q || p) - H(q), in closed form for one Gaussian.
    entropy = ((1 + math.log(2 * math.pi)) + known.log_variance).sum(1) / 2
    exact = -kl_to_mixture(known.mean, known.log_variance, mixture) - entropy
    torch.testing.assert_close(likelihood(prior, known, draws=4000), exact.detach(), atol=0.05, rtol=0.02)


@pytest.mark.parametrize("count", [1, 2])
def test_a_likelihood_repeats_itself(count):
    prior = MixturePrior(1, 2, count)
    assert torch.equal(likelihood(prior, posteriors(5, 2, 0)), likelihood(prior, posteriors(5, 2, 0)))
