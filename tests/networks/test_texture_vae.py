"""TextureVAE: shapes, the objective, and that it learns two textures apart."""

import pytest
import torch
from random_vgg import random_tensors

from microprint.networks.texture_vae import READOUT_LAYERS, TextureVAE, read_out, readout_size
from microprint.networks.vgg import STYLE_LAYERS, VGG19, gram, style_loss

LAYERS = ("conv1_1", "pool1", "pool2")


@pytest.fixture(scope="module")
def vgg():
    return VGG19(random_tensors())


def build(vgg, **sizes):
    torch.manual_seed(0)
    return TextureVAE(vgg, **{"layers": LAYERS, "readout": "channel_means", "edge": 16, "latent_dim": 3, "width": 16,
                              "kl_weight": 0.01, **sizes})


def stripes(count, vertical, edge=16):
    phase = torch.arange(count)[:, None, None]
    rows = (torch.arange(edge)[None, :, None] + phase) // 4 % 2
    images = (0.2 + 0.6 * rows).expand(-1, edge, edge)
    return (images.mT if vertical else images)[:, None].contiguous()


def batch_of(model, images):
    maps = model.vgg(images, {*model.layers, *READOUT_LAYERS[model.readout]})
    return {"features": read_out(maps, model.readout), **{name: gram(maps[name]) for name in model.layers}}


@pytest.mark.parametrize("readout, edge", [("channel_means", 16), ("last_maps", 32), ("last_maps", 48)])
def test_shapes(vgg, readout, edge):
    model = build(vgg, readout=readout, edge=edge)
    images = torch.rand(2, 1, edge, edge)
    assert read_out(vgg(images, READOUT_LAYERS[readout]), readout).shape == (2, readout_size(readout, edge))
    z = model.encode(images)
    decoded = model.decode(z)
    assert z.shape == (2, 3) and decoded.shape == images.shape and 0 <= decoded.min() <= decoded.max() <= 1


def test_channel_means_do_not_see_places(vgg):
    """A periodic texture moved by whole periods of every pooling keeps its features, borders aside."""
    image = stripes(1, True, 64)
    a, b = (read_out(vgg(x, STYLE_LAYERS), "channel_means") for x in (image, image.roll(16, 3)))
    assert (a - b).norm() < 1e-3 * a.norm()


def test_style_is_the_loss_of_gatys(vgg):
    model = build(vgg)
    x, y = torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(model.style(x, batch_of(model, y)), style_loss(vgg(x, LAYERS), vgg(y, LAYERS)))


def test_weighed_by_variance_the_mean_texture_costs_one(vgg):
    model, images = build(vgg), torch.cat([stripes(4, True), stripes(4, False)])
    targets = {name: gram(maps) for name, maps in vgg(images, LAYERS).items()}
    model.weigh_layers(targets)
    terms = torch.stack([(g - g.mean(0)).square().mean() / 4 for g in targets.values()])
    assert (terms @ model.layer_weights).item() == pytest.approx(1, rel=1e-4)


def test_the_divergence_is_that_of_two_normals(vgg):
    model = build(vgg)
    batch = batch_of(model, torch.rand(4, 1, 16, 16))
    mean, log_variance = model.posterior(batch["features"])
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, (log_variance / 2).exp()), normal(0.0, 1.0)).sum(1).mean()
    losses = model.losses(batch, torch.Generator().manual_seed(0))
    torch.testing.assert_close(losses["kl"], expected)
    torch.testing.assert_close(losses["loss"], losses["style"] + 0.01 * losses["kl"])


def test_vgg_is_no_part_of_what_is_saved_or_trained(vgg):
    model = build(vgg)
    assert not any(name.startswith("vgg") for name in model.state_dict())
    assert not any(name.startswith("vgg") for name, _ in model.named_parameters())


def test_it_learns_a_texture(vgg):
    model = build(vgg, latent_dim=2, edge=32, width=32)
    images = torch.cat([stripes(4, True, 32), stripes(4, False, 32)])
    batch = {name: value.detach() for name, value in batch_of(model, images).items()}
    model.standardise(batch["features"], images.mean().item())
    model.weigh_layers({name: batch[name] for name in LAYERS})
    generator, optimiser = torch.Generator().manual_seed(0), torch.optim.Adam(model.parameters(), 3e-3)
    first = model.losses(batch, generator)["style"].item()
    for _ in range(40):
        optimiser.zero_grad()
        model.losses(batch, generator)["loss"].backward()
        optimiser.step()
    assert model.losses(batch, generator)["style"].item() < 0.5 * first
