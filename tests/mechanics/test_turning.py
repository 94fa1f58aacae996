"""Crystals that turn, against rotations composed exactly."""

import torch

from microprint import orientations
from microprint.mechanics.deviators import deviator, rotation, tensor
from microprint.mechanics.turning import GENERATORS, to_crystal, to_sample, turned


def fields(count=50):
    g = torch.Generator().manual_seed(0)
    q = orientations.random((count,), g)
    return q, rotation(q).permute(1, 2, 0), 0.005 * torch.randn(3, count, generator=g, dtype=torch.float64)


def test_generators_turn_deviators_about_the_axes():
    """By the right hand: each axis takes the next one towards the one after it."""
    angle, x = 1e-4, torch.randn(5, dtype=torch.float64)
    for axis in range(3):
        following, last = (axis + 1) % 3, (axis + 2) % 3
        R = torch.eye(3, dtype=torch.float64)
        R[last, following], R[following, last] = angle, -angle
        change = deviator(R @ tensor(x) @ R.T) - x
        torch.testing.assert_close(GENERATORS[axis] @ x, change / angle, rtol=0, atol=1e-3)


def test_turned_crystals_see_what_rotations_in_a_row_make_of_it():
    q, rotations, vector = fields()
    turn = orientations.from_rotation_vector(vector.T)
    exact = min(
        (rotation(orientations.multiply(t, q)).permute(1, 2, 0) for t in (turn, turn * torch.tensor([1.0, -1, -1, -1]))),
        key=lambda other: (other - turned(rotations, vector)).abs().max(),
    )
    torch.testing.assert_close(turned(rotations, vector), exact, rtol=0, atol=1e-4)


def test_a_crystal_that_turns_about_z_takes_its_axes_along():
    """By a quarter of a degree a hundred times: x of the crystal comes to where 25 degrees are."""
    rotations, angle = torch.eye(5, dtype=torch.float64)[..., None], torch.deg2rad(torch.tensor(0.25, dtype=torch.float64))
    for _ in range(100):
        rotations = turned(rotations, torch.tensor([[0.0], [0.0], [angle]], dtype=torch.float64))
    axis = torch.tensor([torch.cos(100 * angle), torch.sin(100 * angle), 0.0], dtype=torch.float64)
    along = deviator(torch.outer(axis, axis) - torch.eye(3, dtype=torch.float64) / 3)[:, None]
    own = deviator(torch.diag(torch.tensor([2.0, -1.0, -1.0], dtype=torch.float64)) / 3)[:, None]
    torch.testing.assert_close(to_crystal(rotations, along), own, rtol=0, atol=1e-4)
    torch.testing.assert_close(to_sample(rotations, own), along, rtol=0, atol=1e-4)


def test_the_rotations_stay_orthogonal():
    _, rotations, vector = fields()
    R = turned(rotations, vector).permute(2, 0, 1)
    torch.testing.assert_close(R @ R.mT, torch.eye(5, dtype=torch.float64).expand_as(R), rtol=0, atol=1e-5)
