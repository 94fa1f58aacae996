"""The law of a texture against the formulas of probabilistic principal components, and what it is fitted to."""

import pytest
import torch
from random_vgg import random_tensors

from microprint.networks.texture_law import FEATURES, TextureLaw, channel_means, halved, mean_grams, tile_edge, tiles
from microprint.networks.vgg import CHANNELS, STYLE_LAYERS, VGG19, gram


@pytest.fixture(scope="module")
def vgg():
    return VGG19(random_tensors())


def means(count, seed=0, causes=3):
    """Channel means whose roots are linear in a few causes, with a little noise."""
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(causes, FEATURES, generator=torch.Generator().manual_seed(9)) * torch.tensor([1.0, 0.6, 0.3])[:, None]
    return (8 + torch.randn(count, causes, generator=rng) @ mixing + 0.05 * torch.randn(count, FEATURES, generator=rng)).square()


def test_directions_and_variances_are_those_of_the_covariance():
    x = means(40)
    law = TextureLaw.fit(x, 3)
    logs = law.scaled(x).double()
    values, vectors = torch.linalg.eigh(logs @ logs.T / len(x))  # the same eigenvalues, in 40 dimensions
    torch.testing.assert_close(law.variances.double(), values.flip(0)[:3], rtol=1e-4, atol=0)
    torch.testing.assert_close(law.residual.double(), values.flip(0)[3:].sum() / (FEATURES - 3), rtol=1e-3, atol=0)
    torch.testing.assert_close(law.directions.T @ law.directions, torch.eye(3), atol=1e-4, rtol=0)


def test_the_posterior_is_bayes_rule():
    x = means(30)
    law = TextureLaw.fit(x, 2)
    loading = law.directions * (law.variances - law.residual).sqrt()  # W
    precision = loading.T @ loading / law.residual + torch.eye(2)  # of z given x, Tipping & Bishop eq. 12
    expected = torch.linalg.solve(precision, loading.T @ law.scaled(x).T / law.residual).T
    mean, log_variance = law.posterior(x)
    torch.testing.assert_close(mean, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(log_variance.exp()[0], torch.linalg.inv(precision).diagonal(), rtol=1e-3, atol=0)


def log_likelihood(law, x, loading, residual):
    covariance = loading @ loading.T + residual * torch.eye(FEATURES)
    factor = torch.linalg.cholesky(covariance.double())
    away = torch.linalg.solve_triangular(factor, law.scaled(x).double().T, upper=False)
    return float(-away.square().sum() / 2 - len(x) * factor.diagonal().log().sum())


def test_no_other_loading_makes_the_data_more_likely():
    """For a linear autoencoder with its exact posterior the evidence lower bound is the likelihood."""
    x = means(60)
    law = TextureLaw.fit(x, 3)
    loading, residual = law.directions * (law.variances - law.residual).sqrt(), law.residual
    best = log_likelihood(law, x, loading, residual)
    rng = torch.Generator().manual_seed(3)
    for _ in range(3):
        assert log_likelihood(law, x, loading + 1e-3 * torch.randn(loading.shape, generator=rng), residual) < best
    assert log_likelihood(law, x, loading, 1.1 * residual) < best and log_likelihood(law, x, loading, 0.9 * residual) < best


def test_latent_vectors_are_standard_and_decode_to_their_means():
    x = means(80)
    law = TextureLaw.fit(x, 3)
    z = law.posterior(x)[0]
    assert z.mean(0).abs().max() < 1e-3 and (z.var(0, correction=0) - 1).abs().max() < 0.01
    unseen = means(20, seed=5)
    decoded = law.decode(law.posterior(unseen)[0])
    assert (decoded.sqrt() - unseen.sqrt()).std() < 0.07
    assert law.explained() > 0.99


def test_more_numbers_than_patches_are_not_used():
    law = TextureLaw.fit(means(5), 8)
    z = law.posterior(means(5, seed=1))[0]
    assert torch.isfinite(z).all() and (z[:, 5:].abs() < 1e-3).all()


def test_features_are_means_at_two_magnifications(vgg):
    patches = torch.rand(2, 1, 64, 64)
    expected = [vgg(view)[name].mean((2, 3)) for view in (patches, torch.nn.functional.avg_pool2d(patches, 2)) for name in STYLE_LAYERS]
    torch.testing.assert_close(channel_means(vgg, patches), torch.cat(expected, 1))
    assert FEATURES == 2 * sum(CHANNELS[name] for name in STYLE_LAYERS)


@pytest.mark.parametrize("coarse, edge, count", [(128, 64, 4), (32, 32, 1), (64, 32, 4), (96, 48, 4), (80, 32, 4)])
def test_tiles_cover_a_patch(coarse, edge, count):
    patch = torch.arange(coarse**2, dtype=torch.float32).reshape(1, 1, coarse, coarse)
    cut = tiles(patch)
    assert tile_edge(coarse) == edge and cut.shape == (1, count, 1, edge, edge)
    torch.testing.assert_close(cut[0, 0, 0], patch[0, 0, :edge, :edge])
    if count == 4:
        torch.testing.assert_close(cut[0, 3, 0], patch[0, 0, edge : 2 * edge, edge : 2 * edge])


def test_gram_matrices_are_means_over_tiles(vgg):
    patches = torch.rand(2, 1, 128, 128)
    found, cut = mean_grams(vgg, patches), tiles(halved(patches))
    for name in STYLE_LAYERS:
        expected = torch.stack([gram(vgg(some, (name,))[name]).mean(0) for some in cut])
        torch.testing.assert_close(found[name].float(), expected, rtol=2e-3, atol=1e-3)
