"""The forward model by a few iterations: error, bounds, error bars, files."""

import pytest
import torch

from microprint.analysis import composites
from microprint.errors import UserError
from microprint.mechanics.effective import estimate_stiffness
from microprint.microstructures.composite import filters, generate
from microprint.store import save_tensors
from microprint.systems.stiffness import components, phase_stiffnesses, simulate
from microprint.systems.stiffness_surrogate import COMPONENTS, StiffnessSurrogate, features, take

ITERATIONS, TRAIN, HELD, TEST = 4, list(range(40)), list(range(40, 60)), list(range(60, 80))
AXES = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


@pytest.fixture(scope="module")
def data():
    """Phases (N, n, n, n) of 80 composites, their estimates, volume fractions and simulated stiffnesses."""
    generator = torch.Generator().manual_seed(0)
    phase = generate(filters((0.6, 1.2)).repeat(10, 1), 8, generator).phase
    estimate = estimate_stiffness(phase, phase_stiffnesses(), ITERATIONS)
    return phase, estimate, composites.volume_fraction(phase), simulate(phase)


def fitted(data):
    _, estimate, fraction, stiffness = data
    generator = torch.Generator().manual_seed(1)
    return StiffnessSurrogate.fit(take(estimate, TRAIN), fraction[TRAIN], stiffness[TRAIN], generator, ITERATIONS)


@pytest.fixture(scope="module")
def surrogate(data):
    return fitted(data)


def test_errors_are_far_below_the_bounds_mean(data, surrogate):
    phase, _, fraction, stiffness = data
    median, deviation = surrogate.predict(phase[TEST])
    truth = components(stiffness[TEST], COMPONENTS)
    assert median.shape == deviation.shape == (20, 6) and (deviation > 0).all()
    for place, entry in enumerate(AXES):
        hill = composites.bounds(fraction[TEST], phase_stiffnesses(), entry)["hill"]
        ours, theirs = ((value / truth[:, place] - 1).abs().mean() for value in (median[:, place], hill))
        assert ours < 0.1 * theirs and ours < 0.06


def test_nothing_lies_outside_of_reuss_and_the_last_iteration(data, surrogate):
    """Whatever the processes say: also where their answer is far off."""
    _, estimate, fraction, _ = data
    last, reuss = components(estimate.stiffness, COMPONENTS)[:, :3], composites.bounds(fraction, phase_stiffnesses())["reuss"]
    median = surrogate.complete(estimate, fraction)[0][:, :3]
    assert (median <= last * (1 + 1e-6)).all() and (median >= reuss[:, None] * (1 - 1e-6)).all()
    for shift in (-20.0, 20.0):
        moved = StiffnessSurrogate(surrogate.processes, surrogate.widening, ITERATIONS)
        moved.processes = {kind: type(p)(p.state | {"y_mean": p.state["y_mean"] + shift}) for kind, p in surrogate.processes.items()}
        median = moved.complete(estimate, fraction)[0][:, :3]
        torch.testing.assert_close(median, reuss[:, None].expand(-1, 3) if shift < 0 else last, rtol=1e-6, atol=0)


def test_predictions_are_those_of_estimates_that_are_there(data, surrogate):
    phase, estimate, fraction, _ = data
    torch.testing.assert_close(surrogate.predict(phase[:5].numpy()), surrogate.complete(take(estimate, range(5)), fraction[:5]), rtol=1e-4, atol=0)


def test_features_by_hand(data):
    _, estimate, fraction, _ = data
    (x, last), (y, cross) = features(estimate, fraction)[2], features(estimate, fraction)[4]  # C33, C13
    history = estimate.history[7].log()
    torch.testing.assert_close(x[7], torch.cat([fraction[7:8], history[-1:, 2], history[1:, 2] - history[:-1, 2]]))
    torch.testing.assert_close(last[7], estimate.stiffness[7, 2, 2].log())
    fall = history[1:] - history[:-1]
    expected = torch.cat([fraction[7:8], cross[7:8], (cross[7] - (history[-1, 0] + history[-1, 2]) / 2)[None], fall[:, 0] + fall[:, 2], (fall[:, 0] - fall[:, 2]).abs()])
    torch.testing.assert_close(y[7], expected)


def test_axes_are_alike(data, surrogate):
    """A composite with its axes in another order has its components in another order."""
    phase = data[0][TEST]
    median, turned = surrogate.predict(phase)[0], surrogate.predict(phase.permute(0, 2, 3, 1))[0]
    torch.testing.assert_close(turned, median[:, [1, 2, 0, 5, 3, 4]], rtol=1e-3, atol=0)


def test_error_bars_are_set_by_composites_not_seen(data):
    """After `widen`, nine of ten lie within 1.645 standard deviations, of each kind."""
    _, estimate, fraction, stiffness = data
    surrogate = fitted(data)
    before = surrogate.complete(take(estimate, HELD), fraction[HELD])
    surrogate.widen(take(estimate, HELD), fraction[HELD], stiffness[HELD])
    median, deviation = surrogate.complete(take(estimate, HELD), fraction[HELD])
    inside = ((components(stiffness[HELD], COMPONENTS) - median).abs() <= 1.645 * deviation).double()
    assert inside[:, :3].mean() == pytest.approx(0.9, abs=0.02) and inside[:, 3:].mean() == pytest.approx(0.9, abs=0.02)
    torch.testing.assert_close(median, before[0])
    torch.testing.assert_close(deviation[:, :3], before[1][:, :3] * surrogate.widening["diagonal"])


def test_a_saved_surrogate_is_the_same(data, surrogate, tmp_path):
    config = {"kind": "stiffness_surrogate", "widening": {"diagonal": 1.5, "coupling": 2.0}, "iterations": ITERATIONS}
    save_tensors(tmp_path / "s.safetensors", surrogate.state(), {"config": config})
    again = StiffnessSurrogate.load(tmp_path / "s.safetensors")
    (median, deviation), (same, wider) = (s.predict(data[0][TEST]) for s in (surrogate, again))
    torch.testing.assert_close(median, same, rtol=1e-9, atol=0)
    torch.testing.assert_close(wider, deviation * torch.tensor([1.5] * 3 + [2.0] * 3, dtype=torch.float64))


def test_the_same_fit_twice(data, surrogate):
    assert all(torch.equal(x, y) for x, y in zip(surrogate.state().values(), fitted(data).state().values()))


def test_what_is_no_surrogate_or_no_composite_is_refused(data, surrogate, tmp_path):
    save_tensors(tmp_path / "x.safetensors", {"a": torch.ones(1)}, {"config": {}})
    with pytest.raises(UserError, match="is no stiffness surrogate"):
        StiffnessSurrogate.load(tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="is missing"):
        StiffnessSurrogate.load(tmp_path / "y.safetensors")
    with pytest.raises(UserError, match="phase 2 has no stiffness"):
        surrogate.predict(torch.full((1, 8, 8, 8), 2))
    with pytest.raises(UserError, match=r"phase_ids: is of shape \(8, 8, 8\)"):
        surrogate.predict(data[0][0])
