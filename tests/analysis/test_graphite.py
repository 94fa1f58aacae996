"""Graphite in drawn images, whose particles and statistics are known."""

import itertools

import numpy as np
import pytest
import torch

from microprint.analysis import graphite as gr
from microprint.microstructures import cast_iron

FERRITE, DARK = 0.74, 0.16


def draw(shape, particles, seed=0, noise=0.01):
    """Image (h, w) with capsules (row, column, diameter, length of the straight part, angle); a disc has length 0."""
    rows, columns = np.indices(shape)
    dark = np.zeros(shape, bool)
    for row, column, diameter, length, angle in particles:
        y, x = rows - row, columns - column
        along = np.clip(y * np.sin(angle) + x * np.cos(angle), -length / 2, length / 2)
        dark |= np.hypot(y - along * np.sin(angle), x - along * np.cos(angle)) < diameter / 2
    return np.where(dark, DARK, FERRITE) + noise * np.random.default_rng(seed).standard_normal(shape), dark


def discs(diameter, seed=0, pitch=32, across=4):
    """A grid of discs off the pixels' centres."""
    jitter = np.random.default_rng(seed).uniform(-1, 1, (across * across, 2))
    return [(pitch * (i + 0.5) + a, pitch * (j + 0.5) + b, diameter, 0, 0)
            for (i, j), (a, b) in zip(itertools.product(range(across), repeat=2), jitter)]


def measured(*images):
    return gr.measured_descriptors(np.array(images))


@pytest.mark.parametrize("exposure", [0.3, 1.0, 1.2])
def test_graphite_is_found_in_any_exposure(exposure):
    image, dark = draw((128, 128), discs(9))
    np.testing.assert_array_equal(gr.graphite(exposure * image), dark)


def test_a_speck_of_graphite_is_found_and_images_are_judged_one_by_one():
    image, dark = draw((64, 64), [(30, 30, 5, 0, 0)])
    both = gr.graphite(np.stack([image, np.full((64, 64), FERRITE)]))
    np.testing.assert_array_equal(both, [dark, np.zeros_like(dark)])


def test_noise_and_grain_boundaries_are_no_graphite():
    rng = np.random.default_rng(0)
    noise = [FERRITE + size * rng.standard_normal((64, 64)) for size in (0.01, 0.1, 0.25)]
    lines = np.full((64, 64), FERRITE)
    lines[::10], lines[:, ::10] = 0.62, 0.62
    assert not gr.graphite(np.stack([*noise, lines + 0.01 * rng.standard_normal((64, 64)), np.zeros((64, 64))])).any()


@pytest.mark.parametrize("casting", [(24.0, 0.0), (24.0, 0.045)])
def test_graphite_of_a_casting_is_found_at_half_its_magnification_too(casting):
    """Where half of the pixels, of flakes, are edges: by the median of the dark pixels some 5 % of the graphite was lost."""
    made = cast_iron.generate(cast_iron.CASTINGS[casting], (256, 256), np.random.default_rng(0))
    image, share = (x.reshape(128, 2, 128, 2).mean((1, 3)) for x in (made.image, made.phase == cast_iron.GRAPHITE))
    found, true = gr.graphite(image), share >= 0.5
    assert (found & true).sum() > 0.975 * (found | true).sum()
    assert found.mean() == pytest.approx(true.mean(), rel=0.02)


def test_two_point_counts_the_pairs_inside_the_image():
    phase = np.random.default_rng(0).random((2, 12, 8)) < 0.4
    at = list(itertools.product(range(12), range(8)))
    hits, pairs = np.zeros((2, 3)), np.zeros(3)
    for (i, j), (k, m) in itertools.product(at, repeat=2):
        if (r := round(np.hypot(i - k, j - m))) <= 2:
            hits[:, r] += phase[:, i, j] & phase[:, k, m]
            pairs[r] += 1
    np.testing.assert_allclose(gr.two_point(phase), hits / pairs, atol=1e-12)


def test_two_point_distance_knows_size_and_not_places():
    small, moved, large = (draw((128, 128), particles)[0] for particles in (discs(8), discs(8, seed=1), discs(16, pitch=64, across=2)))
    x, same, other = (torch.tensor(image)[None, None] for image in (small, moved, large))
    assert gr.two_point_distance(x, x).item() == 0
    assert gr.two_point_distance(x, same) < 0.3 * gr.two_point_distance(x, other)
    nothing = gr.two_point(gr.graphite(small)[None])
    assert gr.two_point_distance(x, torch.full_like(x, 0.5)).item() == pytest.approx(np.sqrt(np.square(nothing).mean()))


def test_chords_of_a_row():
    phase = np.array([[1, 1, 0, 1], [0, 0, 0, 1]], bool)
    assert sorted(gr.chords(phase)) == [1, 1, 1, 1, 2, 2]
    assert gr.chords(np.zeros((3, 3), bool)).tolist() == [0]


def test_chord_distance_of_stripes():
    """Stripes across rows: chords of the stripe's width, and of the image's edge along them."""
    def stripes(width):
        return torch.tensor(np.where(np.arange(32) // width % 2, DARK, FERRITE))[:, None].expand(32, 32)[None, None]

    # Stripes of 4 (4 of each phase) and of 8 (2 of each): 32 columns of chords along, 16 rows of chords across.
    fine, coarse = np.r_[np.full(128, 4), np.full(16, 32)], np.r_[np.full(64, 8), np.full(16, 32)]
    levels = (np.arange(57600) + 0.5) / 57600
    apart = np.abs(np.quantile(fine, levels, method="inverted_cdf") - np.quantile(coarse, levels, method="inverted_cdf")).mean()
    assert gr.chord_distance(stripes(4), stripes(8)).item() == pytest.approx(2 * apart / (fine.mean() + coarse.mean()), rel=1e-6)
    assert gr.chord_distance(stripes(4), stripes(4)).item() == 0


def test_chords_of_graphite_and_of_none_are_twice_the_mean_apart():
    x = torch.tensor(draw((64, 64), [(32, 32, 9, 0, 0)])[0])[None, None]
    flat = torch.full_like(x, FERRITE)
    assert gr.chord_distance(flat, flat).item() == 0 and gr.chord_distance(x, flat).item() > 1


@pytest.mark.parametrize("diameter", [6, 10, 15])
def test_discs(diameter):
    image, dark = draw((128, 128), discs(diameter))
    found = measured(image)
    assert found["graphite_share"][0] == dark.mean() == pytest.approx(16 * np.pi / 4 * diameter**2 / 128**2, rel=0.03)
    assert found["particles_per_px2"][0] == 16 / 128**2
    assert found["nodularity"][0] == 1
    assert found["diameter_px"][0] == pytest.approx(diameter, abs=0.2)
    assert found["thickness_px"][0] == pytest.approx(diameter - 0.7, abs=0.4)
    # A disc is met by its diameter's worth of lines, once in and once out, in both directions.
    crossings = 16 * 2 * diameter / 128**2
    assert found["ferrite_path_px"][0] == pytest.approx(2 * (1 - dark.mean()) / crossings, rel=0.05)


@pytest.mark.parametrize("diameter", [3, 5, 9])
def test_capsules(diameter):
    capsules = [(r, c, diameter, 28, a) for (r, c, *_), a in zip(discs(0, pitch=48, across=4), np.linspace(0, 3, 16))]
    found = measured(draw((192, 192), capsules)[0])
    assert found["nodularity"][0] == 0 and found["particles_per_px2"][0] == 16 / 192**2
    assert found["thickness_px"][0] == pytest.approx(diameter, abs=0.5)
    assert found["diameter_px"][0] == pytest.approx(np.sqrt(diameter**2 + 4 / np.pi * 28 * diameter), rel=0.03)


def test_nodularity_is_a_share_of_area_and_a_net_of_flakes_has_none():
    disc, capsule = (40, 40, 20, 0, 0), (100, 64, 6, 60, 0.3)
    areas = [draw((128, 128), [particle])[1].sum() for particle in (disc, capsule)]
    cross = [(64, 64, 4, 60, angle) for angle in (0.2, 0.2 + np.pi / 2)]
    found = measured(draw((128, 128), [disc, capsule])[0], draw((128, 128), cross)[0])
    np.testing.assert_allclose(found["nodularity"], [areas[0] / sum(areas), 0])


def test_the_limit_of_a_nodule_is_an_axis_ratio_of_1_67():
    rows, columns = np.indices((128, 128)) - 64
    ellipses = [np.where((rows / 15) ** 2 + (columns / (15 * ratio)) ** 2 < 1, DARK, FERRITE) for ratio in (1.6, 1.75)]
    assert measured(*ellipses)["nodularity"].tolist() == [1, 0]


def test_a_particle_at_the_edge_counts_half_and_has_no_shape():
    whole, cut = (64, 64, 12, 0, 0), (64, 127, 12, 0, 0)
    found = measured(draw((128, 128), [whole, cut])[0], draw((128, 128), [cut])[0])
    np.testing.assert_allclose(found["particles_per_px2"] * 128**2, [1.5, 0.5])
    assert found["nodularity"].tolist() == [1, 0]  # a half disc is longer than wide, but known only where there is no other


def test_exposure_noise_and_boundaries_are_those_of_ferrite():
    image, _ = draw((128, 128), discs(10), noise=0.02)
    lines = np.tile(np.where(np.arange(128) % 16 == 8, 0.1, 0), (128, 1))  # a sixteenth of the pixels
    found = measured(image, 0.5 * image, draw((128, 128), [], noise=0.002)[0] - lines)
    np.testing.assert_allclose(found["ferrite_grey"], [FERRITE, FERRITE / 2, FERRITE], atol=0.005)
    np.testing.assert_allclose(found["noise"][:2], [0.02, 0.01], rtol=0.05)
    np.testing.assert_allclose(found["boundary_shade"], [0, 0, 0.1 / FERRITE * 8 / 126], atol=5e-4)


def test_an_image_without_graphite_has_no_particles():
    found = measured(np.full((64, 64), 0.5))
    assert found["graphite_share"][0] == found["particles_per_px2"][0] == found["noise"][0] == 0
    assert all(np.isnan(found[name][0]) for name in ("nodularity", "thickness_px", "diameter_px", "ferrite_path_px"))
