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


JUMPS = {"cubic": {"euler": 2.2, "quaternion": 1.5, "axes": 1.5, "embedding": 0.0}, "hexagonal": {"euler": 1.74}}


@pytest.mark.parametrize("symmetry, name, expected", [(s, *item) for s, shares in JUMPS.items() for item in shares.items()])
def test_share_of_pairs_that_jump(symmetry, name, expected):
    pairs = representation.near_pairs(50_000, 1.0, generator(1))
    share = 100 * (representation.largest_change(pairs, name, symmetry) > 0.1).double().mean().item()
    assert share == pytest.approx(expected, abs=0.2)


def test_the_embedding_changes_by_no_more_than_its_metric_says():
    pairs = representation.near_pairs(5000, 1.0, generator(2))
    assert representation.largest_change(pairs, "embedding", "cubic").max() <= math.sqrt(20 / 3) * math.radians(1.0)


def test_constant_baseline():
    one_minus, angle = representation.constant_baseline("cubic", 50_000, generator(3))
    assert one_minus == pytest.approx(0.067, abs=1e-3) and angle == pytest.approx(40.8, abs=0.3)


@pytest.mark.parametrize("symmetry", orientations.SYMMETRIES)
@pytest.mark.parametrize("name", representation.REPRESENTATIONS)
def test_what_is_encoded_comes_back(name, symmetry):
    assert representation.noise_error(name, symmetry, 0.0, 500, generator(4)).max() < 1e-10


def test_two_axes_are_read_as_the_rotation_that_fits_them_best():
    axes = representation.REPRESENTATIONS["axes"]
    target = torch.randn((20, 6), generator=generator(5), dtype=torch.float64)
    best = orientations.to_matrix(axes.decode(target, "cubic"))[..., :2, :].flatten(-2)
    others = orientations.to_matrix(orientations.random(20_000, generator(6), torch.float64))[..., :2, :].flatten(-2)
    assert ((target * best).sum(-1) >= (target @ others.T).amax(-1)).all()


def test_noise_on_a_quaternion_turns_by_twice_its_part_across():
    """The noise is 3 % of each channel's own spread, of which that of w is the least."""
    q = orientations.reduce(orientations.random(100_000, generator(7), torch.float64), "cubic")
    noise = 0.03 * q.std(0) * torch.randn(q.shape, generator=generator(9), dtype=q.dtype)
    across = noise - (noise * q).sum(-1, keepdim=True) * q
    error = representation.noise_error("quaternion", "cubic", 0.03, 20_000, generator(8)).mean().item()
    assert error == pytest.approx(math.degrees(2 * across.norm(dim=-1).mean().item()), rel=0.02)
