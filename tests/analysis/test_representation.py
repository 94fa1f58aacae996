"""Continuity of representations, against figures known from an independent calculation."""

import math

import pytest
import torch

from microprint import orientations
from microprint.analysis import representation


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("symmetry", orientations.SYMMETRIES)
def test_pairs_are_the_angle_apart(symmetry):
    angle = torch.rad2deg(orientations.disorientation(*representation.near_pairs(1000, 1.0, generator()), symmetry))
    torch.testing.assert_close(angle, torch.ones_like(angle))


@pytest.mark.parametrize("name, expected", [("euler", 2.0), ("quaternion", 1.5), ("embedding", 0.0)])
def test_share_of_cubic_pairs_that_jump(name, expected):
    pairs = representation.near_pairs(50_000, 1.0, generator(1))
    share = 100 * (representation.largest_change(pairs, name, "cubic") > 0.25).double().mean().item()
    assert share == pytest.approx(expected, abs=0.2)


def test_the_embedding_changes_by_no_more_than_its_metric_says():
    pairs = representation.near_pairs(5000, 1.0, generator(2))
    assert representation.largest_change(pairs, "embedding", "cubic").max() <= math.sqrt(20 / 3) * math.radians(1.0)


def test_constant_baseline():
    one_minus, angle = representation.constant_baseline("cubic", 50_000, generator(3))
    assert one_minus == pytest.approx(0.067, abs=1e-3) and angle == pytest.approx(40.8, abs=0.3)
