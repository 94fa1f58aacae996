"""Every loss term against its definition, written out."""

import math

import pytest
import torch

from microprint.networks.losses import kl_divergence, sample_posterior, spectral_loss


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(1)


def test_spectral_loss_is_the_summed_square_error(generator):
    x, y = torch.rand(2, 4, 3, 6, 6, 6, generator=generator).unbind(0)
    summed = (x - y).square().sum((-3, -2, -1)).mean()  # Parseval
    assert float(spectral_loss(x, y)) == pytest.approx(float(summed), rel=1e-5)


def test_kl_divergence_by_integration():
    mean, deviation = 0.7, 0.4
    z = torch.linspace(-6, 6, 200_001, dtype=torch.float64)
    log_q = -0.5 * ((z - mean) / deviation) ** 2 - math.log(deviation)
    density = torch.exp(log_q) / math.sqrt(2 * math.pi)
    expected = torch.trapezoid(density * (log_q + 0.5 * z**2), z)
    found = kl_divergence(torch.tensor(mean), torch.tensor(2 * math.log(deviation)))
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_posterior_samples_have_the_posterior_moments(generator):
    mean, log_variance = torch.full((20_000, 2), 3.0), torch.full((20_000, 2), -2.0)
    z = sample_posterior(mean, log_variance, generator)
    assert torch.allclose(z.mean(0), torch.tensor(3.0), atol=0.02)
    assert torch.allclose(z.std(0), torch.tensor(math.exp(-1.0)), atol=0.01)
    shared = sample_posterior(mean, log_variance, generator, shared=True)
    assert torch.equal(shared[0], shared[-1])
