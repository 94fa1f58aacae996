"""Sizes of grains: the distance from a law against scipy's, and what is known of Voronoi cells."""

import numpy as np
import pytest
import torch
from scipy import stats

from microprint.analysis import grain_sizes
from microprint.microstructures import polycrystal


def test_distance_is_that_of_kolmogorov_and_smirnov():
    sizes = np.random.default_rng(0).lognormal(0.1, 0.2, 200)
    expected = stats.kstest(sizes, stats.lognorm(0.15, scale=1.05).cdf).statistic
    assert grain_sizes.distance_from_law(sizes, 1.05, 0.15) == pytest.approx(expected)


def test_volumes_of_random_voronoi_cells_scatter_as_in_three_dimensions():
    """Their coefficient of variation is 0.423 (Tanemura 2003)."""
    cells = grain_sizes.voronoi(20, 32, 100, 0, torch.Generator().manual_seed(1))
    volume = polycrystal.diameters(*cells).double() ** 3
    assert (volume.std() / volume.mean()).item() == pytest.approx(0.423, abs=0.02)


def test_sweeps_make_cells_even():
    spread = [polycrystal.diameters(*grain_sizes.voronoi(4, 16, 40, sweeps, torch.Generator().manual_seed(2))).log().std().item()
              for sweeps in (0, 0.5, 1, 4)]
    assert spread[0] > spread[1] > spread[2] > 1.5 * spread[3] and spread[0] > 1.5 * spread[2]


def test_whole_voxels_alone_keep_small_grains_from_their_law():
    """Of ten voxels a grain, each count is a step: half of the commonest one is the distance."""
    small, large = (grain_sizes.distance_of_whole_voxels(median, 0.1) for median in (2.73, 20.0))
    assert 0.04 < small < 0.09 and large < 0.002


def test_the_standard_error_of_a_distance_is_its_scatter_over_samples():
    rng = np.random.default_rng(3)
    samples = np.exp(0.15 * rng.normal(size=(60, 50, 40)) + 0.03)  # 60 samples of 50 volume elements, off the law
    found = np.mean([grain_sizes.error_of_distance(list(sample), 1.0, 0.15, rng) for sample in samples[:5]])
    assert found == pytest.approx(np.std([grain_sizes.distance_from_law(s.ravel(), 1.0, 0.15) for s in samples]), rel=0.3)
