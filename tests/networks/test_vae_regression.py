"""VAE-regression: the divergence's bound, shapes at any edge, losses that can be minimised."""

import math

import pytest
import torch
from torch.nn import functional as F

from microprint.networks.losses import kl_divergence, sample_posterior
from microprint.networks.vae_regression import (
    CNN3D,
    PRIORS,
    UNCONDITIONED,
    Mixture,
    Objective,
    Posteriors,
    SliceStyle,
    TwoPointLoss,
    VAERegression,
    Weights,
    draw_slices,
    fit_generator,
    generator_of,
    kl_to_mixture,
    log_density,
    take_slices,
)
from microprint.networks.vgg import VGG19


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_mixture(batch, components, dim, spread=1.0):
    g = generator(1)
    weight = torch.log_softmax(torch.randn(batch, components, generator=g), 1)
    return Mixture(weight, spread * torch.randn(batch, components, dim, generator=g),
                   0.3 * torch.randn(batch, components, dim, generator=g))


def monte_carlo(mean, log_variance, mixture, count=40_000):
    q = Mixture(torch.zeros(1, 1), mean[:, None], log_variance[:, None])
    z = sample_posterior(mean.expand(count, -1), log_variance.expand(count, -1), generator(2))
    return (log_density(q, z) - log_density(mixture, z)).mean().item()


def test_one_component_gives_the_exact_divergence():
    mixture = random_mixture(5, 1, 4)
    mean, log_variance = torch.randn(5, 4, generator=generator()), torch.randn(5, 4, generator=generator(3))
    exact = torch.distributions.kl_divergence(
        torch.distributions.Independent(torch.distributions.Normal(mean, (log_variance / 2).exp()), 1),
        torch.distributions.Independent(torch.distributions.Normal(mixture.mean[:, 0], (mixture.log_variance[:, 0] / 2).exp()), 1))
    torch.testing.assert_close(kl_to_mixture(mean, log_variance, mixture), exact)
    torch.testing.assert_close(kl_divergence(mean, log_variance, (mixture.mean[:, 0], mixture.log_variance[:, 0])).sum(-1), exact)


@pytest.mark.parametrize("spread", [0.2, 1.0, 5.0])
def test_mixture_bound_lies_above_the_divergence(spread):
    mixture = random_mixture(1, 3, 2, spread)
    mean, log_variance = torch.zeros(1, 2), torch.zeros(1, 2)
    truth, bound = monte_carlo(mean, log_variance, mixture), kl_to_mixture(mean, log_variance, mixture).item()
    assert bound >= truth - 0.03
    nearest = kl_divergence(mean[:, None], log_variance[:, None], (mixture.mean, mixture.log_variance)).sum(-1) - mixture.log_weight
    assert bound <= nearest.min().item() + 1e-5


def test_far_apart_components_make_the_bound_tight():
    mixture = Mixture(torch.tensor([[0.25, 0.75]]).log(), torch.tensor([[[0.0, 0.0], [50.0, 0.0]]]), torch.zeros(1, 2, 2))
    assert kl_to_mixture(torch.zeros(1, 2), torch.zeros(1, 2), mixture).item() == pytest.approx(math.log(4), rel=1e-5)


@pytest.mark.parametrize("edge", [8, 9, 12, 27])
@pytest.mark.parametrize("prior", ["gaussian", "single", "mixture", "standard"])
def test_volumes_of_any_edge_go_in_and_come_out(edge, prior):
    model = VAERegression(edge=edge, properties=2, prior=prior, components=3, latent_dim=4, width=2, hidden=8)
    x = torch.rand(2, 1, edge, edge, edge)
    z, _, c, _ = model.posteriors(x)
    assert model.decoder(z).shape == x.shape and c.shape == (2, 2)
    assert model.generator(c).mean.shape == (2, 3 if prior == "mixture" else 1, 4)


def layer_by_layer(decoder, z):
    """What S2's table 3 has: convolution and upsampling in turn, and a transposed convolution at the end."""
    for layer in decoder.dense:
        z = F.leaky_relu(layer(z), 0.2)
    maps = z.unflatten(1, decoder.shape)
    for layer in decoder.convolutions:
        maps = F.interpolate(F.leaky_relu(layer(maps), 0.2), scale_factor=2)
    return torch.sigmoid(decoder.last(maps))


def test_sizes_of_the_paper():
    """S2, tables 2 to 5, output sizes layer by layer."""
    model = VAERegression(edge=51, properties=6, prior="mixture", components=2, latent_dim=16, width=16, hidden=2048)
    sizes, x = [], torch.zeros(1, 1, 51, 51, 51)
    layers = [*model.trunk.convolutions, *model.decoder.dense, *model.decoder.convolutions, model.decoder.last]
    for layer in layers:
        layer.register_forward_hook(lambda layer, inputs, output: sizes.append((tuple(inputs[0].shape[1:]), tuple(output.shape[1:]))))
    with torch.no_grad():
        z = model.posteriors(x)[0]
        decoded = layer_by_layer(model.decoder, z)
    trunk, dense, upward = sizes[:5], sizes[5:8], sizes[8:]
    assert [out[0] for _, out in trunk] == [16, 32, 64, 128, 256] and [i[1] for i, _ in trunk] == [51, 25, 12, 6, 3]
    assert model.trunk.dense.in_features == 256 and model.trunk.dense.out_features == 2048
    for head, outputs in ((model.encoder, 16), (model.regressor, 6)):
        for branch in (head.mean, head.log_variance):
            assert (branch[0].in_features, branch[0].out_features, branch[2].out_features) == (2048, 1024, outputs)
    assert [out for _, out in dense] == [(32,), (64,), (13824,)]
    assert [i for i, _ in upward] == [(64, 6, 6, 6), (64, 12, 12, 12), (32, 24, 24, 24), (16, 48, 48, 48)]
    assert decoded.shape == x.shape and model.decoder.last.kernel_size == (4, 4, 4)
    assert model.generator.dense.in_features == 6 and model.generator.dense.out_features == 8
    assert (model.generator.weight.out_features, model.generator.mean.out_features, model.generator.log_variance.out_features) == (2, 32, 32)


@pytest.mark.parametrize("edge", [8, 9, 27, 29, 51])
def test_the_decoder_is_that_of_the_paper(edge):
    decoder = VAERegression(edge=edge, properties=1, prior="single", components=1, latent_dim=3, width=2, hidden=8).decoder.double()
    z = torch.randn(2, 3, dtype=torch.float64)
    torch.testing.assert_close(decoder(z), layer_by_layer(decoder, z))


def test_one_gaussian_on_the_mixture_s_generator():
    """Besides the outputs that one component does not need, `single` is the mixture's network: tanh of eight."""
    single, mixture, linear = (generator_of(prior, 1, 16, 2) for prior in PRIORS[1:] + PRIORS[:1])
    assert single.dense.out_features == mixture.dense.out_features == 8
    assert mixture.mean.out_features == 2 * single.mean.out_features == 32
    assert linear.log_variance.out_features == 1  # S2 table 4
    c = torch.tensor([[-1.0], [0.0], [1.0]])
    bend = [(m[0] - 2 * m[1] + m[2]).abs().max() for m in (prior(c).mean for prior in (single, linear))]
    assert bend[0] > 1e-4 > bend[1]


def test_a_plain_vae_s_prior_is_standard_normal():
    prior = generator_of(UNCONDITIONED, 1, 4, 1)(torch.randn(3, 1))
    mean, log_variance = torch.randn(3, 4, generator=generator()), torch.randn(3, 4, generator=generator(1))
    torch.testing.assert_close(kl_to_mixture(mean, log_variance, prior), kl_divergence(mean, log_variance).sum(1))


def test_slices_of_one_axis():
    x = torch.rand(2, 1, 5, 5, 5)
    chosen = draw_slices(5, 2, generator())
    torch.testing.assert_close(take_slices(x, chosen, (1,)).unflatten(0, (2, 2)), take_slices(x, chosen).unflatten(0, (2, 6))[:, 2:4])


def test_slices_are_the_planes_of_the_volume():
    x = torch.rand(2, 1, 5, 5, 5)
    chosen = draw_slices(5, 2, generator())
    slices = take_slices(x, chosen).unflatten(0, (2, 6))
    torch.testing.assert_close(slices[1, 0, 0], x[1, 0, chosen[0, 0]])
    torch.testing.assert_close(slices[0, 3, 0], x[0, 0, :, chosen[1, 1]])
    torch.testing.assert_close(slices[1, 4, 0], x[1, 0, :, :, chosen[2, 0]])
    assert len(chosen[0].unique()) == 2 and draw_slices(5, 51, generator()).shape == (3, 5)


def test_two_point_loss_forgives_shifts_but_not_grey():
    x = (torch.rand(1, 1, 6, 6, 6, generator=generator()) > 0.5).float()
    loss = TwoPointLoss()
    assert loss(x, x.roll((1, 2, 3), (2, 3, 4)), generator()).item() < 1e-10
    assert loss(x, torch.full_like(x, x.mean()), generator()).item() > 1e-3


def small_vgg():
    g = generator()
    tensors = {"conv1_1.weight": torch.randn(4, 3, 3, 3, generator=g) / 5, "conv1_1.bias": torch.zeros(4),
               "mean": torch.zeros(3), "std": torch.ones(3)}
    return VGG19(tensors)


@pytest.mark.parametrize("reconstruction", [SliceStyle(small_vgg(), ("conv1_1",), 1), TwoPointLoss()])
def test_objective_decreases(reconstruction):
    torch.manual_seed(0)
    model = VAERegression(edge=8, properties=1, prior="mixture", components=2, latent_dim=3, width=2, hidden=16)
    objective = Objective(model, reconstruction, Weights(1.0, 1.0, 0.01))
    batch = {"phase": (torch.rand(8, 1, 8, 8, 8) > 0.5).float(), "property": torch.randn(8, 1)}
    optimiser = torch.optim.Adam(objective.parameters(), lr=3e-3)
    first = objective.losses(batch, generator())["loss"].item()
    for _ in range(25):
        optimiser.zero_grad()
        losses = objective.losses(batch, generator())
        losses["loss"].backward()
        optimiser.step()
    assert losses["loss"].item() < first and set(losses) == {"loss", "regression", "reconstruction", "kl"}
    assert not any(key.startswith("reconstruction") for key in objective.state_dict())


def test_refitted_prior_follows_the_property():
    torch.manual_seed(0)
    model = VAERegression(edge=8, properties=1, prior="mixture", components=2, latent_dim=2, width=2, hidden=8)
    c = torch.linspace(-1, 1, 64)[:, None]
    z = torch.cat([2 * c, -c], 1)
    history = fit_generator(model.generator, Posteriors(z, torch.full_like(z, -4.0), c), steps=400)
    assert history[-1] < 0.2 * history[0]
    prior = model.generator(torch.tensor([[0.5]]))
    likeliest = prior.mean[0, prior.log_weight[0].argmax()]
    torch.testing.assert_close(likeliest, torch.tensor([1.0, -0.5]), atol=0.3, rtol=0)


def test_cnn_predicts_and_learns():
    torch.manual_seed(0)
    model = CNN3D(edge=9, properties=1, width=2, hidden=8)
    x = torch.rand(3, 1, 9, 9, 9)
    assert model(x).shape == (3, 1) and model.losses({"phase": x, "property": model(x).detach()}, generator())["loss"] == 0
