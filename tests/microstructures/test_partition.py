"""Cells of a volume element: as many as are asked for, parts of grains or several grains each."""

import numpy as np
import pytest
import torch

from microprint.microstructures.partition import divided, merged, partition, seats
from microprint.microstructures.polycrystal import generate
from microprint.orientations import embed


def element(morphology):
    made = generate(1, 16, "cubic", torch.Generator().manual_seed(4), morphology=morphology)
    return made.grain_id[0].numpy(), embed(made.quaternion[0], "cubic").double().numpy()


@pytest.mark.parametrize("morphology", ["large", "equiaxed", "small"])
def test_every_voxel_is_in_a_cell_that_has_its_grain(morphology):
    ids, embedding = element(morphology)
    cell, member = partition(ids, embedding, 40, np.ones(3))
    assert member.shape == (40, len(embedding)) and set(np.unique(cell)) == set(range(40))
    assert member[cell, ids].all()
    assert (member.sum(1) == 1).all() if len(embedding) <= 40 else (member.sum(0) == 1).all()


def test_seats_go_where_a_cell_is_largest():
    assert seats(np.array([10.0, 31.0, 19.0]), 6).tolist() == [1, 3, 2]
    assert seats(np.array([1.0, 1.0]), 2).tolist() == [1, 1]


def test_a_bar_across_the_boundary_is_cut_across():
    """A bar of 8 x 2 x 2 voxels, which leaves the cube at one side and comes in at the other, falls into two halves."""
    bar = np.argwhere(np.ones((8, 2, 2)))
    position = (bar + [12, 3, 3]) % 16 / 16
    part = divided(position, 2, np.ones(3))
    assert sorted(np.bincount(part)) == [16, 16]
    assert len(np.unique(part[bar[:, 0] < 4])) == len(np.unique(part[bar[:, 0] >= 4])) == 1
    across = divided(position, 2, np.array([0.1, 1.0, 1.0]))  # so short in this metric that it is cut along
    assert len(np.unique(across[bar[:, 0] < 4])) == 2


def test_neighbours_of_like_orientation_are_merged_across_the_boundary_too():
    ids = np.broadcast_to(np.array([0, 1, 2, 3]).repeat(2)[:, None, None], (8, 8, 8))
    embedding = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.9, 0.1]])
    label = merged(ids, np.full(4, 0.25), embedding, 3)
    assert label[0] == label[3] and len(set(label)) == 3


def test_grains_that_do_not_touch_are_not_merged():
    ids = np.broadcast_to(np.array([0, 1, 2, 3]).repeat(2)[:, None, None], (8, 8, 8))
    embedding = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])  # 0 and 2 are alike, and apart
    label = merged(ids, np.full(4, 0.25), embedding, 3)
    assert label[0] != label[2]
