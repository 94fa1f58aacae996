"""Texture similarities and what is read from latent vectors, held to what defines them."""

import numpy as np
import pytest
import torch
from random_vgg import random_tensors

from microprint import UserError
from microprint.analysis import texture
from microprint.networks.vgg import VGG19


@pytest.fixture(scope="module")
def vgg():
    return VGG19(random_tensors())


def noise(count=2, edge=32, smooth=1, seed=0):
    """Random textures of a given grain."""
    images = torch.rand((count, 1, edge // smooth, edge // smooth), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(images, scale_factor=smooth, mode="nearest")


def similarity(name, vgg, x, y):
    return texture.dists(vgg, x, y) if name == "dists" else texture.stsim2(x, y)


@pytest.mark.parametrize("name", ["dists", "stsim2"])
def test_an_image_is_like_itself_and_less_like_others(vgg, name):
    x = noise(2, smooth=4)
    own, other = similarity(name, vgg, x, x), similarity(name, vgg, x, noise(2, seed=1))
    torch.testing.assert_close(own, torch.ones(2), rtol=0, atol=1e-5)
    assert other.shape == (2,) and (other < own - 0.02).all()
    torch.testing.assert_close(other, similarity(name, vgg, noise(2, seed=1), x))


@pytest.mark.parametrize("name", ["dists", "stsim2"])
def test_flat_grey_is_like_nothing(vgg, name):
    x = noise(2, smooth=2)
    flat = x.mean((2, 3), keepdim=True).expand_as(x)
    assert (similarity(name, vgg, x, flat) < 0.7).all()
    torch.testing.assert_close(similarity(name, vgg, flat, flat), torch.ones(2))


def test_pixels_prefer_flat_grey_and_stsim_the_shifted_copy():
    x = noise(2, smooth=4)
    flat, shifted = x.mean((2, 3), keepdim=True).expand_as(x), x.roll((8, 8), (2, 3))
    assert (texture.mean_squared(x, flat) < texture.mean_squared(x, shifted)).all()
    # Pairs of neighbours across the edge are none, so a shift changes a row of them.
    torch.testing.assert_close(texture.stsim2(x, shifted), torch.ones(2), rtol=0, atol=0.01)
    assert (texture.stsim2(x, flat) < 0.7).all()


def test_stsim_knows_direction():
    stripes = (torch.arange(32) // 2 % 2).float().expand(32, 32)[None, None]
    torch.testing.assert_close(texture.stsim2(stripes, stripes.roll(1, 3)), torch.ones(1))
    assert texture.stsim2(stripes, stripes.mT).item() < 0.95


def test_stsim_refuses_sizes_it_cannot_halve():
    with pytest.raises(UserError, match="divisible by 8"):
        texture.stsim2(torch.rand(1, 1, 20, 20), torch.rand(1, 1, 20, 20))
    with pytest.raises(UserError, match="cannot be compared"):
        texture.stsim2(torch.rand(1, 1, 32, 32), torch.rand(1, 1, 16, 16))


def by_window(x, y, window):
    """STSIM-2 of two images (h, w), window by window and term by term as the paper defines them."""
    c = texture.NOTHING

    def corners(m):
        return [(i, j) for i in range(m.shape[0] - window + 1) for j in range(m.shape[1] - window + 1)]

    def cut(m, i, j):
        return m[i : i + window, j : j + window]

    def halved(m):
        return m.reshape(m.shape[0] // 2, 2, -1, 2).mean((1, 3))

    def rho(a, b):
        a, b = a - a.mean(), b - b.mean()
        return ((a * b.conj()).mean() + c) / (((abs(a) ** 2).mean() * (abs(b) ** 2).mean()) ** 0.5 + c)

    def band(a, b):
        mean, deviation = [abs(m.mean()) for m in (a, b)], [m.std() for m in (a, b)]
        ratios = [(2 * p * q + c) / (p**2 + q**2 + c) for p, q in (mean, deviation)]
        c01 = 1 - abs(rho(a[:, :-1], a[:, 1:]) - rho(b[:, :-1], b[:, 1:])) / 2
        c10 = 1 - abs(rho(a[:-1], a[1:]) - rho(b[:-1], b[1:])) / 2
        return (ratios[0] * ratios[1] * c01 * c10) ** 0.25

    pyramids = [texture.steerable_pyramid(torch.as_tensor(m)[None]) for m in (x, y)]
    bands = [[m[0].numpy() for m in texture._bands(p)] for p in pyramids]
    terms = [np.mean([band(cut(a, *at), cut(b, *at)) for at in corners(a)]) for a, b in zip(*bands)]
    sizes = [[[abs(m[0].numpy()) for m in scale] for scale in p[1]] for p in pyramids]
    pairs = [(lambda m, s=s, i=i, j=j: (m[s][i], m[s][j])) for s in range(3) for i in range(4) for j in range(i)]
    pairs += [(lambda m, s=s, k=k: (halved(m[s][k]), m[s + 1][k])) for s in range(2) for k in range(4)]
    for pair in pairs:
        (a, b), (d, e) = pair(sizes[0]), pair(sizes[1])
        terms.append(np.mean([1 - abs(rho(cut(a, *at), cut(b, *at)) - rho(cut(d, *at), cut(e, *at))) / 2 for at in corners(a)]))
    assert len(terms) == 14 + 26
    return np.mean(terms)


def test_stsim_is_the_mean_of_its_windows():
    x, y = noise(2, 32, smooth=2).double()
    assert texture.stsim2(x[None], y[None], window=3).item() == pytest.approx(by_window(x[0].numpy(), y[0].numpy(), 3), abs=1e-9)


def test_windows_meet_place_by_place():
    """For the whole image a shifted copy is the same; for windows it is another one, hardly nearer than any."""
    x, other = noise(1, 64, smooth=4), noise(1, 64, smooth=4, seed=1)
    shifted = x.roll((10, 10), (2, 3))
    own, moved, strange = (texture.stsim2(x, y, texture.WINDOW).item() for y in (x, shifted, other))
    assert own == pytest.approx(1) and moved < 0.95 and abs(moved - strange) < 0.02
    assert texture.stsim2(x, shifted).item() > 0.99


def test_a_window_must_fit_into_the_lowest_band():
    with pytest.raises(UserError, match="56 pixels or more"):
        texture.stsim2(torch.rand(1, 1, 48, 48), torch.rand(1, 1, 48, 48), texture.WINDOW)


def test_the_pyramid_keeps_the_energy():
    """Its bands tile the Fourier plane (a tight frame); a complex band holds its energy twice."""
    images = noise(3, 64)[:, 0].double()
    highpass, bands, lowpass = texture.steerable_pyramid(images)
    power = [highpass.square().mean((1, 2)), lowpass.square().mean((1, 2))]
    power += [band.abs().square().mean((1, 2)) / 2 for scale in bands for band in scale]
    torch.testing.assert_close(sum(power), images.square().mean((1, 2)), rtol=0.02, atol=0)


def test_the_pyramid_sees_frequency_and_direction():
    """A wave of a quarter of the Nyquist frequency along x lies in the second scale, first orientation."""
    wave = torch.cos(2 * torch.pi * torch.arange(64) / 8).expand(64, 64)[None].double()
    _, bands, _ = texture.steerable_pyramid(wave)
    power = torch.tensor([[band.abs().square().mean() for band in scale] for scale in bands])
    assert divmod(int(power.argmax()), 4) == (1, 0) and power[1, 2] < 1e-10


def test_structure_weighs_half_in_dists(vgg):
    """Anticorrelated images of equal means and variances in one channel: l = 1, s = -1."""
    x = noise(1)
    terms = texture._structure_and_texture(x, 2 * x.mean() - x)
    assert terms.item() == pytest.approx(0, abs=1e-4)


def test_l2_pooling_of_a_constant_keeps_it():
    pooled = texture.l2_pool(torch.full((1, 3, 8, 8), 2.0))
    torch.testing.assert_close(pooled[..., 1:, 1:], torch.full((1, 3, 3, 3), 2.0))


def test_a_traversal_changes_one_component():
    z = torch.tensor([1.0, 2.0, 3.0])
    rows = texture.traverse(z, 1, (-4, 0, 4))
    assert rows.tolist() == [[1, -4, 3], [1, 0, 3], [1, 4, 3]] and z.tolist() == [1, 2, 3]


def test_correlations_are_pearson_s():
    generator = np.random.default_rng(0)
    z, size = generator.normal(size=(50, 3)), generator.normal(size=50)
    found = texture.correlations(z, {"size": size, "constant": np.ones(50)})
    np.testing.assert_allclose(found[0], [np.corrcoef(size, z[:, k])[0, 1] for k in range(3)])
    np.testing.assert_array_equal(found[1], 0)


def test_what_is_not_known_does_not_count():
    generator = np.random.default_rng(0)
    z, size = generator.normal(size=(30, 2)), generator.normal(size=30)
    holed = np.where(np.arange(30) < 20, size, np.nan)
    np.testing.assert_allclose(texture.correlations(z, {"size": holed}), texture.correlations(z[:20], {"size": size[:20]}))


def test_partners_come_from_the_right_images():
    groups, index = np.repeat([0, 1, 2], 4), np.arange(12)
    same, other = (texture.partners(groups, index, same, np.random.default_rng(0)) for same in (True, False))
    assert (groups[same] == groups).all() and (same != index).all() and (groups[other] != groups).all()
    assert groups[texture.partners(groups, [], True, np.random.default_rng(0))].size == 0
