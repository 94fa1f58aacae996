"""What designs are worth: errors by hand, of all designs or the best, and how far the surrogate and the simulation see them off."""

import pytest
import torch

from microprint.analysis import polycrystal_designs as analysis
from microprint.plots import polycrystal_design as plot
from microprint.systems.polycrystal_targets import DesignStudy, Made


@pytest.fixture
def study():
    """Two targets, two designs each; standard deviations of the training elements are 1 and 2 MPa."""
    known = 1e6 * torch.tensor([[0.0, 0.0], [2**0.5, 8**0.5]], dtype=torch.float64)
    targets = 1e6 * torch.tensor([[10.0, 20.0], [30.0, 40.0]], dtype=torch.float64)
    simulated = 1e6 * torch.tensor([[10.1, 20.0], [10.3, 23.0], [30.0, 40.4], [float("nan")] * 2], dtype=torch.float64)
    predicted = 1e6 * torch.tensor([[10.0, 20.0], [10.0, 20.0], [30.0, 38.0], [30.0, 40.0]], dtype=torch.float64)
    return DesignStudy(["a", "b"], targets, ["inside", "beyond"], known, {"ours": Made(None, predicted, simulated, None)})


def test_errors_of_all_and_of_the_first(study):
    assert analysis.errors_mpa(study, "ours")["inside"] == pytest.approx([0.2, 1.5])
    assert analysis.errors_mpa(study, "ours", first=1)["inside"] == pytest.approx([0.1, 0.0])
    assert analysis.errors_mpa(study, "ours", first=1)["all"] == pytest.approx([0.05, 0.2])


def test_misses_are_the_worse_property_in_standard_deviations(study):
    torch.testing.assert_close(analysis.misses(study, "ours"), torch.tensor([[0.1, 1.5], [0.2, float("nan")]]).double(), equal_nan=True)
    torch.testing.assert_close(analysis.misses(study, "ours", "predicted"), torch.tensor([[0.0, 0.0], [1.0, 0.0]]).double())


def test_comparison_has_the_strongest_rival_and_the_standard_error_over_targets():
    off = {"ours": torch.tensor([[0.1, 0.3], [0.6, float("nan")]]), "corrected": torch.tensor([[0.0, 0.0], [0.1, 0.1]]),
           "looked up": torch.tensor([[0.5], [0.5]]), "drawn": torch.tensor([[1.0, 3.0], [2.0, 2.0]])}
    compared = analysis.compare(off, ("drawn", "looked up"))
    assert compared.rival == "looked up" and compared.off["ours"] == pytest.approx(0.4)
    assert compared.chance["ours"] == pytest.approx(0.4)  # of -0.3 and 0.1: their distance
    single = analysis.compare({method: values[:1] for method, values in off.items()}, ("looked up",))
    assert single.chance["ours"] == pytest.approx(0.2) and single.chance["corrected"] == 0  # over the designs


def test_what_did_not_converge_is_not_met(study):
    assert analysis.within_half_spread(study, "ours", ("inside", "beyond")) == 0.5
    assert analysis.within_half_spread(study, "ours", ("beyond",)) == 0.5


def test_picture_of_what_the_surrogate_told_has_a_mark_a_kind_and_stands_gaps(study):
    off = [analysis.misses(study, "ours", by).flatten().numpy() for by in ("predicted", "simulated")]
    figure = plot.told(*off, ["inside"] * 2 + ["beyond"] * 2, analysis.HALF)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["inside", "beyond", "surrogate is right"]
