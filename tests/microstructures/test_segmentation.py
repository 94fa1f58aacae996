"""Grains of orientation maps: averages among equivalents, segments of scattered maps, and grains of clean ones."""

import math

import numpy as np
import pytest
import torch

from microprint import orientations
from microprint.errors import UserError
from microprint.microstructures import segmentation

SYMMETRIES = orientations.SYMMETRIES


def layers(symmetry, scatter_deg=0.0, seed=0):
    """Three grains (6, 4, 4), the first cut by the border along x; their voxels scatter, each by any equivalent orientation."""
    generator = torch.Generator().manual_seed(seed)
    ids = np.array([0, 1, 1, 2, 2, 0])[:, None, None] + np.zeros((6, 4, 4), int)
    true = orientations.random(3, generator, torch.float64)
    turn = torch.randn(6, 4, 4, 3, generator=generator, dtype=torch.float64) * math.radians(scatter_deg)
    field = orientations.multiply(orientations.from_rotation_vector(turn), true[ids])
    operators = orientations.symmetry_operators(symmetry)
    chosen = operators[torch.randint(len(operators), (6, 4, 4), generator=generator)]
    return ids, true, orientations.multiply(chosen, field)


def same_partition(a, b):
    return len(np.unique(a)) == len(np.unique(b)) == len(np.unique(np.stack([a.ravel(), b.ravel()]), axis=1).T)


def error_deg(quaternion, grain_id, true, ids, symmetry):
    return math.degrees(orientations.disorientation(torch.from_numpy(quaternion[grain_id]), true[ids], symmetry).max())


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_average_is_that_of_the_nearest_equivalents(symmetry):
    """32 voxels of 1 degree about each axis have an average within three standard errors."""
    ids, true, field = layers(symmetry, 1.0)
    mean = segmentation.average(field, ids, symmetry)
    assert error_deg(mean, ids, true, ids, symmetry) < 3 * math.sqrt(3 / 32)
    scatter = segmentation.scatter_deg(field, ids, mean, symmetry)
    assert ((1.0 < scatter) & (scatter < 2.2)).all()  # the mean length of three normal numbers is 1.6


def test_average_does_not_depend_on_the_first_voxel():
    """An outlier 40 degrees away in front of 31 voxels of one orientation."""
    q = torch.eye(4, dtype=torch.float64)[:1].repeat(32, 1)
    q[0] = orientations.from_rotation_vector(torch.tensor([0.0, 0.0, math.radians(40)], dtype=torch.float64))
    mean = segmentation.average(q, np.zeros(32, int), "cubic")
    angle = orientations.disorientation(torch.from_numpy(mean[0]), q[1], "cubic")
    assert math.degrees(angle) < 40 / 31


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_a_scattered_map_is_segmented_through_the_border(symmetry):
    ids, true, field = layers(symmetry, 0.7)
    grain_id, quaternion = segmentation.segment(field, symmetry, 5.0)
    assert same_partition(grain_id, ids)
    assert error_deg(quaternion, grain_id, true, ids, symmetry) < 0.6
    grains = segmentation.grains_of_field(field, symmetry, 5.0, "map")
    assert len(grains.quaternion) == 3 and "within 5 degrees" in grains.note


def test_tolerance_is_a_bound_and_equal_orientations_are_one_grain():
    """Two grains 4 degrees apart; the second lies in two parts that do not touch."""
    turn = torch.zeros(8, 1, 1, 3, dtype=torch.float64)
    turn[[2, 5], :, :, 2] = math.radians(4.0)
    field = orientations.from_rotation_vector(turn)
    for tolerance, grains in ((3.9, 2), (4.1, 1), (0.0, 2)):
        assert len(segmentation.segment(field, "cubic", tolerance)[1]) == grains


def test_a_clean_map_keeps_close_orientations_apart():
    """Grains 1 degree apart are grains, as no voxel has an orientation of its own; q and -q are the same."""
    turn = torch.zeros(8, 4, 4, 3, dtype=torch.float64)
    turn[4:, :, :, 2] = math.radians(1.0)
    field = orientations.from_rotation_vector(turn)
    field[::2] *= -1
    grains = segmentation.grains_of_field(field, "cubic", 5.0, "map")
    assert len(grains.quaternion) == 2 and grains.note == ""


def test_without_symmetry_equivalents_are_different():
    field = orientations.symmetry_operators("cubic")[:2].reshape(2, 1, 1, 4)
    assert len(segmentation.segment(field, "", 5.0)[1]) == 2
    assert len(segmentation.segment(field, "cubic", 5.0)[1]) == 1


def test_a_chain_of_small_steps_is_no_grain():
    """A lattice that turns by 3 degrees from voxel to voxel, up to 90."""
    turn = torch.zeros(60, 1, 1, 3, dtype=torch.float64)
    turn[:, 0, 0, 0] = torch.deg2rad(torch.cat([torch.arange(30), torch.arange(30, 0, -1) - 0.5]) * 3.0)
    with pytest.raises(UserError, match=r"map: voxels of one grain scatter by \d\d degrees.*segmentation_deg"):
        segmentation.grains_of_field(orientations.from_rotation_vector(turn), "hexagonal", 5.0, "map")
