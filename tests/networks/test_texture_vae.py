"""S3's TextureVAE: shapes, the objective with either loss, and that it learns two textures apart."""

import pytest
import torch
from random_vgg import random_tensors

from microprint.networks.texture_vae import PIXEL_VARIANCE, READOUT, TextureVAE, last_maps
from microprint.networks.vgg import STYLE_LAYERS, VGG19, gram, style_loss


@pytest.fixture(scope="module")
def vgg():
    return VGG19(random_tensors())


def build(vgg, **sizes):
    torch.manual_seed(0)
    return TextureVAE(vgg, **{"loss": "style", "edge": 32, "latent_dim": 3, "width": 16, "kl_weight": 0.01, **sizes})


def stripes(count, vertical, edge=32):
    phase = torch.arange(count)[:, None, None]
    rows = (torch.arange(edge)[None, :, None] + phase) // 4 % 2
    images = (0.2 + 0.6 * rows).expand(-1, edge, edge)
    return (images.mT if vertical else images)[:, None].contiguous()


def batch_of(model, images):
    maps = model.vgg(images, (*STYLE_LAYERS, READOUT))
    targets = {name: gram(maps[name]) for name in STYLE_LAYERS} if model.loss == "style" else {"image": images}
    return {"features": last_maps(maps), **targets}


@pytest.mark.parametrize("edge", [32, 64])
def test_shapes(vgg, edge):
    model = build(vgg, edge=edge)
    images = torch.rand(2, 1, edge, edge)
    z = model.encode(images)
    decoded = model.decode(z)
    assert z.shape == (2, 3) and decoded.shape == images.shape and 0 <= decoded.min() <= decoded.max() <= 1


def test_a_feature_stands_for_a_place(vgg):
    """S3's reading of VGG19 sees where things are: an image and its mirror image are two."""
    image = torch.rand(1, 1, 64, 64) * torch.linspace(0, 1, 64)
    a, b = (last_maps(vgg(x, (READOUT,))) for x in (image, image.flip(3)))
    assert a.shape == (1, 512 * 4) and (a - b).norm() > 0.1 * a.norm()


def test_style_is_the_loss_of_gatys(vgg):
    model = build(vgg)
    x, y = torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(model.style(x, batch_of(model, y)), style_loss(vgg(x), vgg(y)))


def certain(model):
    """Without noise in the latent vector."""
    torch.nn.init.constant_(model.log_variance.bias, -60.0)
    return model


@pytest.mark.parametrize("loss", ["style", "pixels"])
def test_the_objective_is_that_of_a_variational_autoencoder(vgg, loss):
    model, images = certain(build(vgg, loss=loss)), torch.rand(4, 1, 32, 32)
    losses = model.losses(batch_of(model, images), torch.Generator().manual_seed(0))
    decoded = model.decode(model.encode(images))
    expected = style_loss(vgg(decoded), vgg(images)).mean() if loss == "style" else (decoded - images).square().mean() / PIXEL_VARIANCE
    torch.testing.assert_close(losses["reconstruction"], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(losses["loss"], losses["reconstruction"] + 0.01 * losses["kl"])


def test_the_divergence_is_that_of_two_normals(vgg):
    model = build(vgg)
    batch = batch_of(model, torch.rand(4, 1, 32, 32))
    mean, log_variance = model.posterior(batch["features"])
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, (log_variance / 2).exp()), normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(model.losses(batch, torch.Generator().manual_seed(0))["kl"], expected)


def test_untrained_it_draws_flat_grey_of_the_right_brightness(vgg):
    model, images = build(vgg), torch.rand(6, 1, 32, 32) * 0.5
    features = batch_of(model, images)["features"]
    model.standardise(features, images.mean().item())
    inputs = (features - model.shift) / model.scale
    torch.testing.assert_close(inputs.mean(0), torch.zeros(512), atol=1e-4, rtol=0)
    assert inputs.square().mean().item() == pytest.approx(1.0, rel=1e-4)
    assert model.decode(torch.zeros(1, 3)).mean().item() == pytest.approx(0.25, abs=0.1)


def test_a_feature_that_is_nil_in_training_weighs_no_more_than_others_where_it_is_seen(vgg):
    model, features = build(vgg), torch.rand(6, 512)
    features[:, :100] = 0.0
    model.standardise(features, 0.5)
    seen = torch.full_like(features[:1], features.max().item())
    assert ((seen - model.shift) / model.scale).abs().max() < 10


def test_vgg_is_no_part_of_what_is_saved_or_trained(vgg):
    model = build(vgg)
    assert not any(name.startswith("vgg") for name in (*model.state_dict(), *dict(model.named_parameters())))


@pytest.mark.parametrize("loss", ["style", "pixels"])
def test_it_learns_a_texture(vgg, loss):
    model = build(vgg, loss=loss, latent_dim=2)
    images = torch.cat([stripes(2, True), stripes(2, False)])
    batch = {name: value.detach() for name, value in batch_of(model, images).items()}
    model.standardise(batch["features"], images.mean().item())
    generator, optimiser = torch.Generator().manual_seed(0), torch.optim.Adam(model.parameters(), 1e-2)
    first = model.losses(batch, generator)["reconstruction"].item()
    for _ in range(20):
        optimiser.zero_grad()
        model.losses(batch, generator)["loss"].backward()
        optimiser.step()
    assert model.losses(batch, generator)["reconstruction"].item() < 0.6 * first
