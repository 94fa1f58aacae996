"""Cast-iron-like images: what is drawn, its descriptors and the signs of the strength formula."""

import math

import numpy as np
import pytest

from microprint.microstructures import cast_iron as iron


def nodule(place, radius):
    return iron.Particle(np.array([place], float), radius, np.zeros(2), np.zeros(2))


def test_twelve_castings_of_which_six_were_tested():
    assert len(set(iron.CASTINGS)) == 12 and sum(c.tested for c in iron.CASTINGS) == 6
    rates = [iron.Casting(radius, 0.0).cooling_rate for radius in iron.RADII_MM]
    np.testing.assert_allclose(rates, [10, 2.5, 10 / 9, 0.625])


def test_a_nodule_and_a_worm_cover_their_area():
    disc, worm = nodule((50, 50), 20), iron.Particle(np.array([[20.0, 20.0], [80.0, 60.0]]), 5, np.zeros(2), np.zeros(2))
    assert iron.render([disc], (100, 100)).sum() == pytest.approx(disc.area, rel=0.01)
    assert iron.render([worm], (100, 100)).sum() == pytest.approx(worm.area, rel=0.02)
    assert worm.length == pytest.approx(math.hypot(60, 40) + 10)


def test_a_particle_outside_the_image_draws_nothing():
    assert not iron.render([nodule((-50, 20), 10)], (40, 40)).any()


def test_images_are_reproducible_and_differ_by_seed():
    first, same, other = (iron.generate(iron.CASTINGS[0], (96, 128), np.random.default_rng(seed)).image for seed in (1, 1, 2))
    assert first.shape == (96, 128) and first.dtype == np.float32 and 0 <= first.min() <= first.max() <= 1
    assert (first == same).all() and (first != other).any()


@pytest.mark.parametrize("casting", iron.CASTINGS, ids=str)
def test_descriptors_follow_cooling_and_magnesium(casting):
    descriptors = iron.generate(casting, (512, 512), np.random.default_rng(5)).descriptors
    assert descriptors["graphite_share"] == pytest.approx(iron.GRAPHITE_SHARE, abs=0.05)
    low, high = {0.0: (0, 0), 0.025: (0.1, 0.8), 0.045: (1, 1)}[casting.magnesium_pct]
    assert low <= descriptors["nodularity"] <= high
    assert all(math.isfinite(value) and value >= 0 for value in descriptors.values())


def test_slow_cooling_makes_few_and_large_particles():
    fast, slow = (iron.generate(iron.Casting(radius, 0.045), (768, 768), np.random.default_rng(6)).descriptors for radius in (12.0, 48.0))
    assert fast["particles_per_mm2"] > 2.5 * slow["particles_per_mm2"]
    assert fast["length_m"] < 0.7 * slow["length_m"]


def test_ferrite_path_of_stripes_is_known():
    """Stripes 4 wide every 16 pixels: straight lines across see 12 pixels of ferrite; along them there is no crossing."""
    stripes = np.zeros((160, 1600), bool)
    stripes[:, np.arange(1600) % 16 < 4] = True
    path = iron.describe([nodule((10, 10), 2)], stripes)["ferrite_path_m"]
    assert path == pytest.approx(2 * 0.75 / (0.5 * 2 / 16) * iron.PIXEL_M, rel=0.01)


def test_strength_has_the_known_signs():
    base = {"graphite_share": 0.1, "nodularity": 0.5, "length_m": 5e-5, "ferrite_path_m": 1e-4}
    at = lambda **change: iron.strengths(base | change)  # noqa: E731
    for key in ("yield_strength", "ultimate_strength"):
        assert at(nodularity=1.0)[key] > at()[key] > at(nodularity=0.0)[key]
        assert at(graphite_share=0.05)[key] > at()[key]
        assert at(ferrite_path_m=5e-5)[key] > at()[key]
        assert at(length_m=1e-5)[key] > at()[key]
    round_graphite = at(nodularity=1.0)
    assert round_graphite["yield_strength"] == pytest.approx(0.9 * (230e6 + 0.35e6 / 1e-2))
    ratio = {n: at(nodularity=n)["ultimate_strength"] / at(nodularity=n)["yield_strength"] for n in (0.0, 1.0)}
    assert ratio[0.0] < ratio[1.0] == pytest.approx(1.55)


def test_patches_of_the_paper_s_images_are_as_many_as_it_had():
    assert 12 * len(iron.patch_corners((1532, 2048), 128, 50)) == 13_572
    assert len(iron.patch_corners((100, 100), 128, 50)) == 0
