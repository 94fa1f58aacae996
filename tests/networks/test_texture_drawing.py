"""Drawings of a texture: the loss that has no bias, noise that sets the place alone, and that they learn."""

import pytest
import torch
from random_vgg import random_tensors

from microprint.networks.texture_drawing import QUANTILES, TextureDrawing, moved, quantiles, unbiased
from microprint.networks.vgg import STYLE_LAYERS, VGG19, gram


@pytest.fixture(scope="module")
def vgg():
    return VGG19(random_tensors())


def build(vgg, **sizes):
    torch.manual_seed(0)
    return TextureDrawing(vgg, **{"latent_dim": 3, "width": 16, "drawings": 2, "tile": 32, **sizes})


def test_the_loss_is_the_mean_over_pairs():
    away = torch.randn(3, 4, 5, 5)
    pairs = [(away[:, k] * away[:, m]).mean() for k in range(4) for m in range(4) if k != m]
    torch.testing.assert_close(unbiased(away), torch.stack(pairs).mean())


def test_the_loss_does_not_see_scatter():
    """E |A|^2 = |E A|^2 + variance: the loss estimates the first term, S3's has both."""
    rng = torch.Generator().manual_seed(0)
    away = 0.5 + 2.0 * torch.randn(20000, 3, 2, 2, generator=rng)
    assert unbiased(away) == pytest.approx(0.25, abs=0.05) and away.square().mean() == pytest.approx(4.25, rel=0.02)


def test_noise_alone_tells_drawings_apart(vgg):
    model = build(vgg)
    z = torch.randn(1, 3).expand(2, 3)
    one = model(z, 32, torch.Generator().manual_seed(1))
    torch.testing.assert_close(model(z, 32, torch.Generator().manual_seed(1)), one)
    assert (model(z, 32, torch.Generator().manual_seed(2)) - one).abs().max() > 1e-3
    assert (one[0] - one[1]).abs().max() > 1e-3 and 0 <= one.min() <= one.max() <= 1


@pytest.mark.parametrize("edge", [32, 48, 80])
def test_drawings_have_any_size(vgg, edge):
    assert build(vgg)(torch.zeros(2, 3), edge, torch.Generator()).shape == (2, 1, edge, edge)


def targets(vgg, images):
    return {name: gram(maps) for name, maps in vgg(images, STYLE_LAYERS).items()}


def test_weighed_the_mean_texture_costs_one(vgg):
    model, known = build(vgg), targets(vgg, torch.rand(6, 1, 32, 32) * torch.linspace(0.3, 1, 6)[:, None, None, None])
    model.weigh_layers(known)
    variance = torch.stack([(known[name] - known[name].mean(0)).square().mean() for name in STYLE_LAYERS])
    assert (variance @ model.layer_weights).item() == pytest.approx(1, rel=1e-4)


def test_vgg_is_no_part_of_what_is_saved_or_trained(vgg):
    model = build(vgg)
    assert not any(name.startswith("vgg") for name in (*model.state_dict(), *dict(model.named_parameters())))


def test_a_drawing_has_the_grey_values_of_its_vector(vgg):
    """Patches whose grey values are linear in z: those of drawings follow, before any training."""
    model = build(vgg, latent_dim=1)
    z = torch.linspace(-1, 1, 200)[:, None]
    rng = torch.Generator().manual_seed(0)
    model.learn_greys(z, 0.5 + 0.2 * z[:, :, None] + 0.1 * torch.rand(200, 32, 32, generator=rng))
    images = model.draw(torch.tensor([[-1.0], [1.0]]), 64, rng)
    for image, low in zip(images, (0.3, 0.7)):
        torch.testing.assert_close(quantiles(image.reshape(1, -1))[0], torch.linspace(low, low + 0.1, QUANTILES), atol=5e-3, rtol=0)


def test_values_are_moved_in_their_order_and_together():
    values, wanted = torch.randn(2, 1000), torch.rand(2, QUANTILES).sort(1).values
    after = moved(values, wanted)
    assert torch.equal(after.argsort(1), values.argsort(1))
    torch.testing.assert_close(quantiles(after), wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(moved(wanted, wanted), wanted)


def test_it_learns_two_textures(vgg):
    """Stripes along one axis or the other, of the same grey values: only the network can tell them apart."""
    model = build(vgg, latent_dim=1)
    rng = torch.Generator().manual_seed(0)
    stripes = (torch.arange(32) // 4 % 2).float().expand(32, 32)
    images = torch.stack([stripes, stripes.T])[:, None]
    known = targets(vgg, images)
    model.weigh_layers(known)
    batch = {"z": torch.tensor([[-1.0], [1.0]]), **known}
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    first = model.losses(batch, rng)["loss"].item()
    for _ in range(60):
        optimiser.zero_grad()
        model.losses(batch, rng)["loss"].backward()
        optimiser.step()
    assert model.losses(batch, rng)["loss"].item() < 0.5 * first
    drawn = model(batch["z"], 32, rng)[:, 0]
    across, along = ((drawn[:, 1:] - drawn[:, :-1]).square().mean((1, 2)), (drawn[:, :, 1:] - drawn[:, :, :-1]).square().mean((1, 2)))
    assert (along / across)[0] > 1.05 * (along / across)[1]
