"""The measures that notebook 08 tests: their order and senses, and a style loss that forgets places."""

import pytest
import torch
from random_vgg import random_tensors

from microprint.analysis.texture_measures import LEAST_WINDOWED, grey_law, measures, style_loss
from microprint.networks.texture_drawing import TextureDrawing
from microprint.networks.vgg import STYLE_LAYERS, VGG19


@pytest.fixture(scope="module")
def vgg():
    return VGG19(random_tensors())


def test_every_measure_finds_an_image_most_like_itself(vgg):
    rng = torch.Generator().manual_seed(0)
    x = torch.nn.functional.avg_pool2d(torch.rand((3, 1, 128, 128), generator=rng), 2)
    x = (x > 0.5).float() * 0.6 + 0.2
    for measure in measures(vgg, torch.ones(len(STYLE_LAYERS)), 64):
        same, other = measure.function(x, x).mean(), measure.function(x, x.roll(1, 0).flip(2)).mean()
        assert same >= other if measure.larger_is_alike else same <= other, measure.name


def test_windows_need_room(vgg):
    names = [m.name for m in measures(vgg, torch.ones(len(STYLE_LAYERS)), LEAST_WINDOWED - 1)]
    assert "STSIM-2 in windows" not in names and names[0] == "style loss" and names[-1] == "pixels, mean square"


def test_the_style_loss_is_weighted_and_symmetric(vgg):
    x, y = torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32)
    weights = torch.ones(len(STYLE_LAYERS))
    torch.testing.assert_close(style_loss(vgg, 3 * weights, x, y), 3 * style_loss(vgg, weights, y, x))
    assert style_loss(vgg, weights, x, x).abs().max() == 0


def test_drawings_have_the_graphite_that_the_law_of_grey_values_gives_them(vgg):
    """Patches of one texture in exposures that the first number tells."""
    rng = torch.Generator().manual_seed(0)
    base = torch.where(torch.rand((32, 32), generator=rng) < 0.12, 0.2, 0.8) + 0.01 * torch.rand((32, 32), generator=rng)
    z = torch.randn((30, 2), generator=rng)
    patches = base * (1 + 0.05 * z[:, :1, None])
    drawing = TextureDrawing(vgg, latent_dim=2, width=8, drawings=2, tile=32).eval()
    drawing.learn_greys(z, patches)
    aid = grey_law(drawing, z, patches)
    assert aid.r2 > 0.95 and aid.patches == pytest.approx(0.12, abs=0.03) and aid.drawn == pytest.approx(aid.patches, abs=0.03)
    assert aid.unaided < 0.5 * aid.patches
