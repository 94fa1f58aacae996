"""S2's forward rivals: one and six components, all better than the mean where the property is simple."""

import pytest
import torch

from microprint.analysis import forward_rivals
from microprint.analysis.composites import volume_fraction
from microprint.microstructures.composite import cut

SIX = ("C11", "C22", "C33", "C12", "C13", "C23")


def composites(count=60, edge=8, seed=0):
    g = torch.Generator().manual_seed(seed)
    return cut(torch.rand(count, edge, edge, edge, generator=g), torch.rand(count, generator=g) * 0.5 + 0.25)


def properties(phase, count):
    """Made up: rise with the volume fraction, and with pairs along one axis."""
    pairs = (phase.double() * phase.roll(1, 1)).mean((1, 2, 3))
    first = 1e10 * (2 * volume_fraction(phase) + 4 * pairs).exp()
    return torch.stack([first * (i + 1) for i in range(count)], 1)


def test_all_vectors_of_half_of_space():
    phase = composites(3, 6)
    found = forward_rivals.full_two_point(phase).unflatten(1, (6, 6, 4))
    torch.testing.assert_close(found[:, 0, 0, 0].double(), volume_fraction(phase), atol=1e-6, rtol=0)
    expected = (phase.double() * phase.roll((-1, -2, -3), (1, 2, 3))).mean((1, 2, 3))
    torch.testing.assert_close(found[:, 1, 2, 3].double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["polynomial", "gaussian"])
@pytest.mark.parametrize("count", [1, 6])
def test_principal_components_of_two_point_statistics(kind, count):
    parts = [composites(60, seed=0), composites(20, seed=1), composites(20, seed=2)]
    features = [forward_rivals.full_two_point(part) for part in parts]
    y = [properties(part, count) for part in parts]
    predicted, chosen = forward_rivals.principal_regression((features[0], y[0]), (features[1], y[1]), features[2], kind, (1, 3))
    assert predicted.shape == (20, count) and len(chosen) == count and set(chosen) <= {1, 3}
    measured = forward_rivals.errors(predicted, y[2], SIX[:count])
    assert all(error["r2"] > 0.9 and 0 < error["mape_mean"] < 10 for error in measured.values())


@pytest.mark.parametrize("kind", forward_rivals.RIVALS)
def test_codes_are_read_by_every_regression(kind):
    g = torch.Generator().manual_seed(0)
    codes, at = torch.randn(200, 3, generator=g), torch.randn(40, 3, generator=g)
    y = [(1e10 * torch.stack([0.5 * z[:, 0], z[:, 1]], 1).exp()).double() for z in (codes, at)]
    predicted = forward_rivals.code_regression(codes, y[0], at, kind)
    assert predicted.shape == (40, 2)
    assert all(e["r2"] > 0.8 for e in forward_rivals.errors(predicted, y[1], SIX[:2]).values())


def test_bounds_for_all_components():
    predicted = forward_rivals.voigt_reuss_hill(composites(5), SIX)
    assert predicted.shape == (5, 6) and (predicted[:, 0] > predicted[:, 3]).all() and (predicted > 0).all()


def test_products_of_two():
    assert forward_rivals.second_order(torch.tensor([[2.0, 3.0]])).tolist() == [[2.0, 3.0, 4.0, 6.0, 9.0]]


@pytest.mark.parametrize("kind", forward_rivals.RIVALS)
def test_a_few_codes_are_enough(kind):
    g = torch.Generator().manual_seed(0)
    codes, y = torch.randn(9, 3, generator=g), 1e10 * torch.rand(9, 1, generator=g).add(0.5).double()
    predicted = forward_rivals.code_regression(codes, y, codes, kind)
    assert predicted.shape == (9, 1) and predicted.isfinite().all() and (predicted > 0).all()


def test_iterations_that_fall_as_a_geometric_series_are_seen_to_their_end():
    log_end, first = torch.randn(6, 3).double(), torch.rand(6, 3).double() + 0.5
    ratio = 0.3 + 0.4 * torch.rand(6, 3).double()
    history = torch.stack([(log_end + first * ratio**n).exp() for n in range(5)], 1)
    torch.testing.assert_close(forward_rivals.extrapolated(history), log_end.exp())
    assert torch.equal(forward_rivals.extrapolated(history[:, :2]), history[:, 1])
    properties = (0.7 * history[:, 4].log() + 0.2 * history[:, 3].log() + 0.1).exp()
    torch.testing.assert_close(forward_rivals.line_of_iterations(history[:4], properties[:4], history[4:]), properties[4:])


def test_models_without_physics_answer_for_the_test_set():
    phase = composites(60)
    split = dict(zip(("train", "validation", "test"), torch.arange(60).split([40, 10, 10])))
    predicted = forward_rivals.without_physics(phase, properties(phase, 2), split, SIX[:2])
    errors = {name: forward_rivals.errors(y, properties(phase, 2)[50:], SIX[:2])["C11"]["mape_mean"] for name, y in predicted.items()}
    assert len(errors) == 4 and errors["Gaussian process on 13 numbers"] < 0.3 * errors["mean of the training set"]


def test_one_process_serves_three_axes():
    """What depends on the numbers along the own axis, and is asked for with the axes in another order."""
    statistics = torch.rand(40, 4, generator=torch.Generator().manual_seed(0)).double()
    properties = (statistics[:, :1] + 2 * statistics[:, 1:]).exp()
    at, order = statistics[:10], [0, 2, 3, 1]
    predicted = forward_rivals.process_on_axes(statistics[10:], properties[10:], at[:, order])
    torch.testing.assert_close(predicted, properties[:10][:, [1, 2, 0]], rtol=0.01, atol=0)
