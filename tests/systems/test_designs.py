"""Baselines against closed forms and brute force; refinement that always closes in."""

import pytest
import torch

from microprint.analysis import composites, regression
from microprint.errors import UserError
from microprint.mechanics.elasticity import isotropic
from microprint.systems import designs
from microprint.systems.stiffness import phase_stiffnesses, simulate


def volumes(count=3, edge=6, share=0.5):
    return (torch.rand(count, edge, edge, edge, generator=torch.Generator().manual_seed(0)) < share).to(torch.uint8)


def test_two_point_statistics_by_counting():
    phase = volumes(2, 5)
    found = composites.two_point(phase, lags=(1, 3)).unflatten(1, (3, 2))
    for axis in range(3):
        for number, lag in enumerate((1, 3)):
            pairs = 0
            for place in torch.cartesian_prod(*[torch.arange(5)] * 3):
                other = place.clone()
                other[axis] = (other[axis] + lag) % 5
                pairs += int(phase[1][tuple(place)]) * int(phase[1][tuple(other)])
            assert found[1, axis, number].item() == pytest.approx(pairs / 125)


def test_statistics_begin_with_the_volume_fraction():
    phase = volumes()
    assert composites.statistics(phase).shape == (3, 13)
    torch.testing.assert_close(composites.statistics(phase)[:, 0], phase.double().mean((1, 2, 3)))


def test_bounds_in_closed_form():
    soft, hard = isotropic(2.4e9, 0.3), isotropic(120e9, 0.3)
    share = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    found = composites.bounds(share, torch.stack([soft, hard]))
    # Equal Poisson's ratios: the phases' stiffnesses are proportional, and so are the averages.
    torch.testing.assert_close(found["voigt"], (1 - share) * soft[0, 0] + share * hard[0, 0])
    torch.testing.assert_close(found["reuss"], 1 / ((1 - share) / soft[0, 0] + share / hard[0, 0]))
    torch.testing.assert_close(found["hill"], (found["voigt"] + found["reuss"]) / 2)
    for name in ("hs_lower", "hs_upper"):
        torch.testing.assert_close(found[name][[0, 2]], found["voigt"][[0, 2]], rtol=1e-6, atol=0)
    assert found["reuss"][1] < found["hs_lower"][1] < found["hs_upper"][1] < found["voigt"][1]
    off = composites.bounds(share, torch.stack([soft, hard]), (0, 1))
    assert off["hs_lower"][1] < off["hs_upper"][1]


def test_simulated_stiffness_lies_between_the_rigorous_bounds():
    phase = volumes(4)
    c11 = simulate(phase)[:, 0, 0]
    found = composites.bounds(composites.volume_fraction(phase), phase_stiffnesses())
    assert (found["reuss"] < c11).all() and (c11 < found["voigt"]).all()


def test_errors_by_hand():
    predicted, observed = torch.tensor([1.0, 4.0]), torch.tensor([2.0, 4.0])
    assert regression.mape(predicted, observed) == pytest.approx(25)
    assert regression.mean_normalised_mape(predicted, observed) == pytest.approx(100 * 0.5 / 3)
    assert regression.r2(observed, observed) == 1 and regression.r2(observed.mean().expand(2), observed) == pytest.approx(0)


def test_binarise_keeps_the_mean_and_nests():
    field = torch.rand(2, 6, 6, 6, generator=torch.Generator().manual_seed(1))
    assert (composites.volume_fraction(designs.binarise(field)) - field.double().mean((1, 2, 3))).abs().max() < 1 / 216
    less, more = (designs.binarise(field, torch.full((2,), share)) for share in (0.3, 0.6))
    assert (less <= more).all()


@pytest.mark.parametrize("target", [5e9, 20e9, 100e9])
def test_refinement_meets_any_target(target):
    field = torch.rand(2, 6, 6, 6, generator=torch.Generator().manual_seed(1))
    ends = phase_stiffnesses()[:, 0, 0].tolist()
    phase, value = designs.refine_fraction(field, target, lambda ids: simulate(ids)[:, 0, 0], ends, evaluations=8)
    assert ((value - target).abs() < 0.04 * target).all()
    torch.testing.assert_close(simulate(phase)[:, 0, 0], value)


def test_impossible_target_is_refused():
    with pytest.raises(UserError, match="pure phases"):
        designs.refine_fraction(torch.rand(1, 4, 4, 4), 1e12, lambda ids: ids, (1e9, 1e11), 2)


def test_latent_search_keeps_the_best():
    found = designs.refine_latent(torch.tensor([[2.0], [0.1]]), lambda z: (z[:, 0] - 1).square(), steps=80, learning_rate=0.05)
    torch.testing.assert_close(found, torch.ones(2, 1), atol=0.05, rtol=0)


def annealed(start, steps, seed=0, width=0.3):
    calls = []

    def parabola(z):
        calls.append(len(z))
        return (z - torch.tensor([1.0, -0.5])).square().sum(1)

    best, history = designs.anneal(start, parabola, steps, torch.Generator().manual_seed(seed), width)
    assert len(calls) == steps + 1
    return best, history, parabola


def test_annealing_never_loses_what_it_has():
    start = torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
    best, history, objective = annealed(start, 12)
    assert history.shape == (13, 5) and (history.diff(dim=0) <= 0).all()
    torch.testing.assert_close(history[0], objective(start))
    torch.testing.assert_close(history[-1], objective(best))


def test_annealing_finds_a_minimum_and_twice_the_same():
    start = torch.randn(5, 2, generator=torch.Generator().manual_seed(1)) + 3
    best, _, _ = annealed(start, 300)
    torch.testing.assert_close(best, torch.tensor([[1.0, -0.5]]).expand(5, 2), rtol=0, atol=0.3)
    assert torch.equal(best, annealed(start, 300)[0]) and not torch.equal(best, annealed(start, 300, seed=2)[0])


def test_annealing_leaves_local_minima():
    """From a hollow at 0 into the deeper one at 1.5, to which mere descent of short steps does not come."""

    def two_hollows(z):
        return torch.minimum(z[:, 0].square() + 0.5, 2 * (z[:, 0] - 1.5).square())

    best, _ = designs.anneal(torch.zeros(8, 1), two_hollows, 150, torch.Generator().manual_seed(0))
    assert (best[:, 0] > 1).sum() >= 3


def test_annealing_stays_at_a_perfect_start():
    start = torch.tensor([[1.0, -0.5]])
    best, history, _ = annealed(start, 5)
    assert torch.equal(best, start) and (history == 0).all()
