"""Kinds of load path: their parts, their durations, and that the solver follows them."""

import math

import pytest
import torch

from microprint import orientations
from microprint.errors import UserError
from microprint.mechanics.load import read_load
from microprint.mechanics.load_paths import KINDS, PARTS, SHEAR, draw_path
from microprint.mechanics.simulate import simulate_cp

STRAIN, DT = 5e-4, 0.5


def path(kind, increments=40, seed=0):
    return draw_path(kind, increments, STRAIN, DT, torch.Generator().manual_seed(seed))


def strains(steps, axis):
    """Strain of an increment along an axis, of each step; nan where the stress decides."""
    return [pytest.approx(step.dot_F[axis][axis] * step.t / step.N / STRAIN) for step in steps]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("increments", [2, 6, 40])
def test_a_path_has_its_increments_and_can_be_read(kind, increments):
    for seed in range(5 if kind == "walk" else 1):
        steps = read_load(path(kind, increments, seed))
        assert sum(step.N for step in steps) == increments
        assert [step.t for step in steps] == [step.N * DT for step in steps]


@pytest.mark.parametrize("kind, lengths, expected", [
    ("tension", [40], [1]), ("unload", [30, 10], [1, -0.2]), ("reversal", [15, 25], [1, -1]), ("cyclic", [10, 20, 10], [1, -1, 1]),
])
def test_paths_along_x(kind, lengths, expected):
    steps = path(kind)
    assert [step.N for step in steps] == lengths and strains(steps, 0) == expected
    assert all(step.P[1][1] == step.P[2][2] == 0 and step.dot_F[0][1] == 0 for step in steps)


def test_the_other_fixed_paths():
    [down] = path("compression")
    assert strains([down], 1) == [-1] and down.P[0][0] == down.P[2][2] == 0
    first, second = path("turn")
    assert first.N == second.N == 20 and strains([first], 0) == strains([second], 1) == [1] and second.P[0][0] == 0
    [shear] = path("shear")
    assert shear.dot_F[0][1] * DT == pytest.approx(SHEAR * STRAIN) and sum(map(abs, sum(shear.dot_F, []))) == shear.dot_F[0][1]


def test_walks_are_random_and_a_seed_gives_the_same():
    assert str(path("walk")) == str(path("walk")) != str(path("walk", seed=1))
    walks = [path("walk", seed=seed) for seed in range(60)]
    assert {len(walk) for walk in walks} == set(range(PARTS[0], PARTS[1] + 1))
    parts = [part for walk in walks for part in walk]
    whole = [torch.tensor(part.dot_F) for part in parts if not any(map(any, part.free))]
    assert 0.35 < len(whole) / len(parts) < 0.65
    for rate in whole:
        assert abs(rate.trace()) < 1e-9 and torch.equal(rate, rate.T)
    logarithms = torch.tensor([math.log(float(rate.norm()) * DT / STRAIN) for rate in whole])
    assert abs(logarithms.mean()) < 0.2 and logarithms.std() == pytest.approx(0.5, abs=0.15)
    uniaxial = {(axis, part.dot_F[axis][axis] > 0) for part in parts for axis in range(3)
                if part.free[axis - 1][axis - 1] and part.free[axis - 2][axis - 2]}  # fmt: skip
    assert uniaxial == {(axis, sense) for axis in range(3) for sense in (True, False)}


def test_only_a_walk_draws():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    for kind in KINDS[:-1]:
        draw_path(kind, 8, STRAIN, DT, generator)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("kind", ["unload", "turn", "walk"])
def test_the_solver_follows_a_path(kind):
    generator = torch.Generator().manual_seed(0)
    ids = torch.arange(8).reshape(1, 2, 2, 2).repeat_interleave(2, 1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    result = simulate_cp(ids, orientations.random((1, 8), generator), "Mg", path(kind, 16))
    assert result.converged.all() and result.F.shape == (1, 17, 3, 3) and result.time[-1] == pytest.approx(16 * DT)


def test_an_unknown_kind_is_refused():
    with pytest.raises(UserError, match="unknown kind of load path 'torsion'"):
        path("torsion")
