"""Targets and plain rivals of composite designs, against new simulations of turned volumes."""

from itertools import permutations

import numpy as np
import pytest
import torch

from microprint.errors import UserError
from microprint.microstructures.composite import cut, filters, generate, smooth
from microprint.store import create_hdf5
from microprint.systems import design_targets
from microprint.systems.stiffness import simulate
from microprint.systems.stiffness_surrogate import COMPONENTS


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def known():
    """Phases of six composites and their stiffnesses; and the components (36, 6) of all that their axes' orders give."""
    phase = generate(torch.tensor([[0.5, 1.0, 1.5]] * 6), 8, generator()).phase
    turned = torch.cat([phase.permute(0, *(a + 1 for a in order)) for order in permutations(range(3))])
    return phase, simulate(phase), design_targets.simulated(turned)


def test_simulated_components_and_their_errors(known):
    _, stiffness, values = known
    by_hand = torch.stack([stiffness[:, int(n[1]) - 1, int(n[2]) - 1] for n in COMPONENTS], 1)
    torch.testing.assert_close(values[:6], by_hand)
    errors = design_targets.errors(values[:2], {"C22": 20e9, "C13": 5e9})
    expected = torch.stack([values[:2, 1] / 20e9 - 1, values[:2, 4] / 5e9 - 1], 1).abs()
    torch.testing.assert_close(errors, expected)


def test_first_property_takes_the_others_of_the_nearest(known):
    values = known[2][:6]  # of the turned ones, some have the same C11
    found = design_targets.first_property(float(values[3, 0]) * 1.0001, values, ("C11", "C12", "C33"))
    torch.testing.assert_close(found, values[3, [0, 3, 2]], rtol=2e-4, atol=0)


def test_nearest_composite_by_brute_force(known):
    _, stiffness, values = known
    for target in ({"C11": 20e9, "C22": 10e9, "C33": 30e9}, {"C11": 25e9}, dict(zip(COMPONENTS, (values[17] * 1.02).tolist()))):
        found = design_targets.nearest(stiffness, target)
        gaps = design_targets.errors(values, target).amax(1)
        assert found.shape == (1, 6)
        torch.testing.assert_close(design_targets.errors(found, target).amax(1)[0], gaps.min(), rtol=0, atol=2e-3)


def test_no_composite_meets_targets_beyond(known):
    _, stiffness, values = known
    found = design_targets.beyond(8, [0.5, 1.5], stiffness, 2, generator(1))
    assert found.shape == (2, 3)
    for target in found:
        gaps = (values[:, :3] / target - 1).abs().amax(1)
        assert gaps.min() > 0.98 * design_targets.MISSED
    assert torch.equal(found, design_targets.beyond(8, [0.5, 1.5], stiffness, 2, generator(1)))


def test_what_the_data_have_is_not_beyond(known, monkeypatch):
    """Media that are the training composites themselves are left out."""
    phase, stiffness, _ = known
    media = type("Media", (), {"phase": phase[:5].transpose(1, 2)})
    monkeypatch.setattr(design_targets, "generate", lambda *arguments, **keywords: media)
    assert design_targets.beyond(8, [0.5, 1.5], stiffness, 3, generator()).shape == (0, 3)


@pytest.mark.parametrize("target", [10e9, 30e9, 80e9])
def test_bisection_meets_its_target(target):
    found = design_targets.bisected(target, 8, widths=(0.5, 1.0), edge=8, count=3, generator=generator(2))
    assert found.shape == (3, 8, 8, 8) and found.dtype == torch.uint8
    assert (design_targets.simulated(found)[:, 0] / target - 1).abs().max() < 0.04
    again = design_targets.bisected(target, 8, widths=(0.5, 1.0), edge=8, count=3, generator=generator(2))
    assert torch.equal(found, again)


def test_impossible_targets_are_refused():
    with pytest.raises(UserError, match="outside of the pure phases"):
        design_targets.bisected(1e12, 2, widths=(0.5,), edge=4, count=1, generator=generator())


def test_composites_drawn_again(tmp_path):
    """Composite 2 did not converge, and is not counted; 5 is real, and its filter is not known."""
    phase, widths, fraction = generate(filters((0.5, 1.5)), 8, generator())
    widths[5] = torch.nan
    converged = np.arange(8) != 2
    with create_hdf5(tmp_path / "composites.h5", "composites", {"key": "a"}) as file:
        file["phase"], file["widths"] = phase.numpy(), widths.numpy()
    with create_hdf5(tmp_path / "stiffness.h5", "stiffness", {"key": "b"}) as file:
        file["converged"] = converged
    index = [6, 1, 4, 2]  # of those that converged: composites 7, 1, 5, 3
    again = design_targets.drawn_again(tmp_path / "composites.h5", tmp_path / "stiffness.h5", index, generator(3))
    kept = [7, 1, 5, 3]
    torch.testing.assert_close(again.double().mean((1, 2, 3)), phase[kept].double().mean((1, 2, 3)))
    assert [torch.equal(a, b) for a, b in zip(again, phase[kept])] == [False, False, True, False]
    noise = torch.rand(4, 8, 8, 8, generator=generator(3))
    for i in (0, 1, 3):  # the same filter
        expected = cut(smooth(noise[i : i + 1], widths[kept[i]][None]), fraction[kept[i]][None].double())
        assert (expected[0] != again[i]).double().mean() < 0.01
