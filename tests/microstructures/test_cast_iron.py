"""Cast-iron-like images: what is drawn follows from its causes."""

import math
from dataclasses import replace

import numpy as np
import pytest

from microprint.microstructures import cast_iron as iron


def nodule(place, radius):
    return iron.Particle(np.array([place], float), radius, np.zeros(2), np.zeros(2))


def picture(casting, edge=512, seed=0):
    return iron.generate(casting, (edge, edge), np.random.default_rng(seed))


def covered(particle, edge):
    canvas = np.zeros((edge, edge), bool)
    assert iron.add_particle(canvas, particle) == canvas.sum()
    assert iron.add_particle(canvas, particle) == 0
    return canvas.sum()


def test_twelve_castings_have_the_causes_of_their_radius_and_magnesium():
    assert len(iron.CASTINGS) == 12 and sum(radius in iron.TESTED_RADII_MM for radius, _ in iron.CASTINGS) == 6
    for (radius, magnesium), casting in iron.CASTINGS.items():
        assert casting.cooling_rate == pytest.approx(10 * (12 / radius) ** 2)
        assert casting.magnesium_pct == pytest.approx(magnesium)
        assert casting.density_per_mm2 == pytest.approx(300 * 12 / radius)
        assert casting.slenderness == pytest.approx(16 if magnesium == 0 else 5)
    assert [iron.CASTINGS[12.0, magnesium].nodularity for magnesium in iron.MAGNESIUM_PCT] == [0, 0.35, 1]


def test_drawn_castings_fill_their_ranges_each_by_itself():
    rng = np.random.default_rng(0)
    castings = [iron.drawn(rng) for _ in range(2000)]
    values = {name: np.array([getattr(casting, name) for casting in castings]) for name in iron.CONTROLS}
    assert tuple(iron.RANGES) == iron.CONTROLS
    for name, (low, high) in iron.RANGES.items():
        assert low <= values[name].min() and values[name].max() <= high
        middle = math.sqrt(low * high) if name in iron.LOGARITHMIC else (low + high) / 2
        assert (values[name] < middle).mean() == pytest.approx(0.5, abs=0.05)
    assert min(casting.slenderness for casting in castings) == pytest.approx(3)
    off = np.abs(np.corrcoef(list(values.values())) - np.eye(len(values)))
    size, thickness = iron.CONTROLS.index("diameter_um"), iron.CONTROLS.index("thickness_um")
    assert off[size, thickness] < 0.25  # small particles are never thick
    off[size, thickness] = off[thickness, size] = 0
    assert off.max() < 0.08
    assert iron.drawn(np.random.default_rng(7)) == iron.drawn(np.random.default_rng(7))


def test_magnesium_and_cooling_grow_with_nodularity_and_density():
    base = iron.drawn(np.random.default_rng(1))
    magnesium = [replace(base, nodularity=n).magnesium_pct for n in (0, 0.175, 0.35, 0.675, 1)]
    np.testing.assert_allclose(magnesium, [0, 0.0125, 0.025, 0.035, 0.045])
    fine = replace(base, diameter_um=base.diameter_um / 2)
    assert fine.density_per_mm2 == pytest.approx(4 * base.density_per_mm2)
    assert fine.cooling_rate == pytest.approx(16 * base.cooling_rate)


def test_a_nodule_and_a_worm_cover_their_area():
    disc, worm = nodule((50, 50), 20), iron.Particle(np.array([[20.0, 20.0], [80.0, 60.0]]), 5, np.zeros(2), np.zeros(2))
    assert covered(disc, 100) == pytest.approx(disc.area, rel=0.01)
    assert covered(worm, 100) == pytest.approx(worm.area, rel=0.02)
    assert worm.length == pytest.approx(math.hypot(60, 40) + 10)


def test_a_particle_outside_the_image_draws_nothing():
    assert covered(nodule((-50, 20), 10), 40) == 0


def test_images_are_reproducible_and_differ_by_seed():
    first, same, other = (picture(iron.CASTINGS[12.0, 0.0], 96, seed).image for seed in (1, 1, 2))
    assert first.shape == (96, 96) and first.dtype == np.float32 and 0 <= first.min() <= first.max() <= 1
    assert (first == same).all() and (first != other).any()


@pytest.mark.parametrize("casting", [iron.CASTINGS[24.0, magnesium] for magnesium in iron.MAGNESIUM_PCT])
def test_descriptors_are_what_the_causes_ask_for(casting):
    """Means over four images: particles have the size, the share, the width and the shape that they should have."""
    made = [picture(casting, 384, seed).descriptors for seed in range(4)]
    mean = {name: np.mean([descriptors[name] for descriptors in made]) for name in made[0]}
    assert mean["measured_graphite_share"] == pytest.approx(casting.graphite_share, rel=0.1)
    assert mean["measured_nodularity"] == pytest.approx(casting.nodularity, abs=0.12)
    assert mean["particles_per_mm2"] == pytest.approx(casting.density_per_mm2, rel=0.2)
    assert mean["boundary_m_per_m2"] == pytest.approx(2e6 / casting.grain_um * (1 - casting.graphite_share), rel=0.15)
    if casting.nodularity == 0:
        # Weights by area: E[d^3] / E[d^2] of a log-normal law.
        assert mean["width_m"] == pytest.approx(1e-6 * casting.thickness_um * math.exp(1.5 * 0.25**2), rel=0.1)
        assert mean["length_m"] / mean["width_m"] == pytest.approx(casting.slenderness + 1 - math.pi / 4, rel=0.05)
    assert all(math.isfinite(value) and value >= 0 for value in mean.values())


def test_each_cause_of_the_picture_does_what_it_says():
    base = replace(iron.CASTINGS[48.0, 0.045], noise=0.01, grain_um=40.0)
    made = picture(base)
    ferrite, graphite, boundary = (made.image[made.phase == kind] for kind in range(3))
    assert made.phase.dtype == np.uint8 and np.median(ferrite) > np.median(boundary) > np.median(graphite)
    dark = picture(replace(base, exposure=0.85)).image
    assert np.median(dark) == pytest.approx(0.85 * np.median(made.image), rel=0.01)
    assert (picture(replace(base, noise=0.06)).image - made.image).std() == pytest.approx(0.05, rel=0.03)
    deep = picture(replace(base, boundary_contrast=0.2))
    assert (deep.phase == made.phase).all() and np.median(deep.image[made.phase == 2]) < np.median(boundary) - 0.05


def test_ferrite_path_of_stripes_is_known():
    """Stripes 4 wide every 16 pixels: straight lines across see 12 pixels of ferrite; along them there is no crossing."""
    stripes = np.zeros((160, 1600), np.uint8)
    stripes[:, np.arange(1600) % 16 < 4] = iron.GRAPHITE
    path = iron.describe([nodule((10, 10), 2)], stripes)["ferrite_path_m"]
    assert path == pytest.approx(2 * 0.75 / (0.5 * 2 / 16) * iron.PIXEL_M, rel=0.01)


def test_patches_of_the_paper_s_images_are_as_many_as_it_had():
    assert 12 * len(iron.patch_corners((1532, 2048), 128, 50)) == 13_572
    assert len(iron.patch_corners((100, 100), 128, 50)) == 0
