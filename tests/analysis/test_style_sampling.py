"""The style loss on a sample of slices: unbiased, exact on all of them, and blind along one axis alone."""

import pytest
import torch
from random_vgg import random_tensors

from microprint.analysis.style_sampling import elongation, sampling
from microprint.networks.vae_regression import SliceStyle, draw_slices
from microprint.networks.vgg import VGG19

LAYERS = ("conv1_1", "pool1")


@pytest.fixture(scope="module")
def vgg():
    return VGG19(random_tensors())


def volumes(count=4, edge=9):
    return (torch.rand(count, 1, edge, edge, edge, generator=torch.Generator().manual_seed(1)) > torch.linspace(0.2, 0.8, count).view(-1, 1, 1, 1, 1)).float()


def test_a_sample_of_slices_is_unbiased(vgg):
    x = volumes()
    y, g = x.roll(1, 0), torch.Generator().manual_seed(0)
    full = SliceStyle(vgg, LAYERS, 9)(x, y, g)
    style = SliceStyle(vgg, LAYERS, 2)
    draws = torch.stack([style(x, y, g) for _ in range(150)])
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - full).abs() < 4 * error).all() and (draws.std(0) > 1e-3 * full).all()


def test_every_slice_is_as_likely_as_any_other():
    g = torch.Generator().manual_seed(0)
    counts = torch.stack([torch.bincount(row, minlength=5) for _ in range(2000) for row in draw_slices(5, 2, g)])
    assert counts.max() == 1  # without repetition
    share = counts.double().mean(0)
    torch.testing.assert_close(share, torch.full((5,), 0.4, dtype=torch.float64), atol=4 * (0.24 / 6000) ** 0.5, rtol=0)


def test_more_slices_scatter_less_and_all_do_not_scatter(vgg):
    x = volumes()
    rows = sampling(x, x.roll(1, 0), vgg, LAYERS, (1, 4, 9), 20, torch.Generator().manual_seed(0))
    assert [row.slices for row in rows] == [1, 4, 9]
    assert rows[0].deviation > rows[1].deviation > 100 * rows[2].deviation
    assert all(abs(row.bias) < 4 * row.bias_error + 1e-6 and row.seconds > 0 for row in rows)


def test_slices_normal_to_an_axis_do_not_see_the_length_along_it(vgg):
    rows = elongation(vgg, LAYERS, torch.Generator().manual_seed(0), edge=16, widths=(1.0, 1.0, 1.0), stretched=(4.0,), pairs=8)
    assert rows[0].one_axis < 1.2 and rows[0].three_axes > 1.6
