"""What a patch holds of its casting, against closed forms and random numbers of known variances."""

import numpy as np
import pytest
import torch

from microprint.analysis.field_of_view import (
    Share,
    View,
    between_share,
    draw_patches,
    extremes,
    field_of_view,
    reliability,
    share,
)
from microprint.errors import UserError
from microprint.networks.vgg import VGG19
from tests.random_vgg import random_tensors

RNG = np.random.default_rng


def effects(rng, groups, patches, between, within):
    """Values (G, P) with given variances between and within groups."""
    return rng.normal(0, between**0.5, (groups, 1)) + rng.normal(0, within**0.5, (groups, patches))


def test_share_in_closed_form():
    # Means 1 and 5 have the variance 8; in the groups it is 2, of which two patches leave 1: 7 between, 2 within.
    assert between_share([[0, 2], [4, 6]]) == pytest.approx(7 / 9)
    # A component that varies within groups only: 2 more within, and 1 less of means that have none.
    assert between_share([[[0, 0], [2, 2]], [[4, 0], [6, 2]]]) == pytest.approx(6 / 10)
    assert between_share([[1, 1], [3, 3]]) == 1
    assert between_share([[0, 2], [0, 2]]) == 0  # means closer than chance lets them be
    assert np.isnan(between_share(np.ones((3, 2))))


@pytest.mark.parametrize("between", [0.0, 0.5, 2.0])
def test_share_has_no_bias_however_few_patches(between):
    values = effects(RNG(0), 20000, 2, between, 3.0)
    assert between_share(values) == pytest.approx(between / (between + 3), abs=0.02)


def test_share_sums_over_components():
    rng = RNG(1)
    values = np.stack([effects(rng, 20000, 3, 2.0, 1.0), effects(rng, 20000, 3, 1.0, 4.0)], -1)
    assert between_share(values) == pytest.approx(3 / 8, abs=0.02)


def test_error_is_the_scatter_of_repeated_draws():
    rng = RNG(2)
    shares = [share(effects(rng, 24, 4, 1.0, 1.0)) for _ in range(400)]
    assert np.mean([s.error for s in shares]) == pytest.approx(np.std([s.value for s in shares]), rel=0.15)


@pytest.mark.parametrize("n", [1, 2, 9])
def test_reliability_is_the_share_of_means_of_n_patches(n):
    values = effects(RNG(3), 20000, 2 * n, 1.0, 2.0)
    halves = values.reshape(len(values), 2, n).mean(2)
    assert reliability(1 / 3, n) == pytest.approx(np.corrcoef(halves.T)[0, 1], abs=0.02)
    assert reliability(reliability(1 / 3, n), 1 / n) == pytest.approx(1 / 3)


def test_patches_do_not_overlap():
    images = torch.arange(2.0 * 70 * 64).reshape(2, 70, 64)  # every pixel has its own grey
    patches = draw_patches(images, 16, 9, RNG(0))
    assert patches.shape == (2, 9, 16, 16)
    assert patches.unique().numel() == patches.numel()
    assert patches[0].max() < 70 * 64 <= patches[1].min()


def periodic(edge, repeats, greys=(0.2, 0.7)):
    """Images whose patches of `edge` pixels are all alike: a disc, of another size in each image."""
    distance = np.hypot(*(np.indices((edge, edge)) - (edge - 1) / 2))
    return torch.tensor(np.stack([np.tile(np.where(distance < r, *greys), (repeats, repeats)) for r in (4, 6, 8, 11)]), dtype=torch.float32)


@pytest.fixture(scope="module")
def vgg():
    return VGG19(random_tensors())


def test_patches_that_are_alike_hold_all_of_the_casting(vgg):
    views = field_of_view(vgg, periodic(32, 4), 2e-6, (64e-6, 128e-6), (32, 64), ("conv1_1", "pool1"), 9, generator=RNG(0))
    # 64 um are 32 pixels and are not enlarged; of 128 um an image has room for four.
    assert [(view.field_m, view.pixels, view.patches) for view in views] == [(64e-6, 32, 4), (128e-6, 32, 4), (128e-6, 64, 4)]
    for view in views:
        assert list(view.shares) == ["conv1_1", "pool1", "graphite share", "1 / free path", "two-point statistics"]
        assert all(s.value == pytest.approx(1, abs=1e-3) for s in view.shares.values())


def test_patches_of_one_noise_hold_nothing(vgg):
    noise = torch.from_numpy(RNG(1).random((12, 64, 64), np.float32))
    (view,) = field_of_view(vgg, noise, 1e-6, (32e-6,), (32,), ("conv1_1", "pool1"), 4, generator=RNG(0))
    assert all(view.shares[layer].value < 0.2 for layer in ("conv1_1", "pool1"))


def test_a_patch_without_graphite_has_an_infinite_free_path(vgg):
    images = periodic(32, 2)
    images[0] = 0.7
    (view,) = field_of_view(vgg, images, 1e-6, (32e-6,), (32,), ("conv1_1",), 2, generator=RNG(0))
    assert view.shares["1 / free path"].value == pytest.approx(1)


def test_layers_lose_nothing_by_their_coordinates(vgg):
    from microprint.networks.vgg import gram

    images = torch.from_numpy(RNG(4).random((5, 64, 64), np.float32)) * torch.linspace(0.5, 1, 5)[:, None, None]
    (view,) = field_of_view(vgg, images, 1e-6, (32e-6,), (32,), ("pool1",), 3, generator=RNG(0))
    patches = draw_patches(images, 32, 3, RNG(0))
    matrices = gram(vgg(patches.flatten(0, 1)[:, None], ("pool1",))["pool1"]).reshape(5, 3, -1)
    assert view.shares["pool1"].value == pytest.approx(between_share(matrices), abs=1e-4)


def test_the_average_over_areas_is_what_is_seen(vgg):
    # A chequerboard of single pixels, flat when halved, of another contrast in each image: nothing is left of it.
    board = torch.from_numpy(np.indices((64, 64)).sum(0) % 2).float() - 0.5
    images = 0.5 + board * torch.linspace(0.1, 1, 4)[:, None, None]
    full, half = field_of_view(vgg, images, 1e-6, (32e-6,), (32, 16), ("conv1_1",), 4, generator=RNG(0))
    assert full.shares["conv1_1"].value == pytest.approx(1)
    assert np.isnan(half.shares["conv1_1"].value)


def test_same_seed_same_shares(vgg):
    noise = torch.from_numpy(RNG(1).random((4, 96, 96), np.float32))
    a, b = (field_of_view(vgg, noise, 1e-6, (32e-6,), (32,), ("conv1_1",), 3, generator=RNG(5)) for _ in range(2))
    assert a[0].shares["conv1_1"] == b[0].shares["conv1_1"]


@pytest.mark.parametrize("count, field_um, hint", [(4, 48, "room for 1 patches of 48 um"), (4, 65, "room for 0"), (2, 16, "2 images")])
def test_too_little_to_compare(vgg, count, field_um, hint):
    with pytest.raises(UserError, match=hint):
        field_of_view(vgg, torch.zeros(count, 64, 64), 1e-6, (field_um * 1e-6,), (16,), generator=RNG(0))


def test_extremes_are_those_of_the_view_asked_for():
    shares = {"conv1_1": Share(0.4, 0.1), "pool1": Share(0.6, 0.1), "graphite share": Share(0.1, 0.1)}
    views = [View(64e-6, 32, 4, dict.fromkeys(shares, Share(0.9, 0.1))), View(64e-6, 64, 4, shares)]
    assert extremes(views, 64.0000001e-6, 64, ("conv1_1", "pool1")) == (0.4, 0.6)
    assert extremes(views, 32e-6, 64) is None
