"""How surrogates are judged."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from microprint import simulate_cp
from microprint.analysis import regression, surrogates
from microprint.mechanics.load import uniaxial_tension
from microprint.mechanics.materials import load_material
from microprint.microstructures.polycrystal import generate
from microprint.networks.crystal_law import CrystalEnsemble
from microprint.params.sections import SurrogateSettings
from microprint.systems.surrogate import StressSurrogate


def test_a_model_is_asked_where_it_has_labels_enough():
    truth, asked = torch.full((3,), 5e6), []
    fits = {"a": lambda rows: asked.append(len(rows)) or torch.full((3,), 1e6 * len(rows)), "b": lambda rows: truth}
    errors = surrogates.errors_by_labels(fits, {"a": 2}, truth, 6, [0, 2, 6], 2, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(errors["a"], [[np.nan, 3, 1]] * 2)
    np.testing.assert_allclose(errors["b"], 0)
    whole = surrogates.errors_by_labels({"c": lambda rows: torch.zeros(3, 2)}, {}, torch.tensor([[1e6, 2e6]] * 3), 6, [6], 4, torch.Generator())
    np.testing.assert_allclose(whole["c"], [[[1, 2]]] * 4)  # of curves an error at each point
    assert asked == [2, 6, 2, 6] and regression.mae_mpa(torch.tensor([1e6, 3e6]), torch.tensor([0.0, 2e6])) == 1


def test_a_family_is_corrected_by_the_others_alone():
    g = torch.Generator().manual_seed(0)
    x = (80 + 5 * torch.randn(60, 1, generator=g).double()) * torch.linspace(0, 1, 8).double()
    families = ["a", "b"] * 30
    y = x * torch.tensor([1.01, 1.05]).double().repeat(30)[:, None]
    mean, std = surrogates.held_out((x, 0 * x), y, families, (x, 0 * x), families)
    ratio = (mean / x)[:, -1]
    torch.testing.assert_close(ratio, torch.tensor([1.05, 1.01]).double().repeat(30), rtol=0, atol=2e-3)
    rows = surrogates.family_rows(x, mean, std, y, families, 7)
    assert list(rows) == ["a", "b", "all"] and rows["a"][0] == 30 and rows["a"][4] == pytest.approx(100 * (1.05 / 1.01 - 1), abs=0.2)


def test_path_errors_are_means_over_the_volume_elements_of_a_kind():
    step = SimpleNamespace(t=4.0, N=4)
    P = 1e6 * torch.eye(3).double().expand(2, 5, 3, 3)
    paths = [SimpleNamespace(P=P[:n], load=[step], kind=kind) for n, kind in ((1, "a"), (2, "a"), (0, "b"))]
    rows, examples = surrogates.path_errors([lambda number, path: (2 + number) * path.P, lambda _, path: path.P], paths)
    assert list(rows) == list(examples) == ["a"]
    assert rows["a"] == pytest.approx([3, 5 / 9, 0, 5 / 3, 0, 1])  # errors of 1 in one of three, of 2 in two
    np.testing.assert_allclose(examples["a"][0], range(5))
    np.testing.assert_allclose(examples["a"][1], [[1, 1, 1, 0]] * 5)


def test_a_hasty_simulation_is_that_of_longer_steps_and_straight_between():
    elements = generate(1, 8, "hexagonal", torch.Generator().manual_seed(0))
    long, short = (uniaxial_tension("x", 1e-3, 0.01, n) for n in (4, 8))
    P, slow = surrogates.simulated_hastily(elements, load_material("Mg"), short, "cpu"), simulate_cp(elements.grain_id, elements.quaternion, "Mg", long).P
    torch.testing.assert_close(P[:, ::2], slow)
    torch.testing.assert_close(P[:, 1::2], 0.5 * (slow[:, 1:] + slow[:, :-1]))
    odd = surrogates.simulated_hastily(elements, load_material("Mg"), uniaxial_tension("x", 1e-3, 0.01, 7), "cpu")  # in 4
    at = np.linspace(0, 4, 8)
    np.testing.assert_allclose(odd[0, :, 0, 0], np.interp(at, range(5), slow[0, :, 0, 0]), rtol=1e-12)


def test_medians_are_of_the_draws_where_a_model_was_asked():
    errors = {"a": np.array([[np.nan, 3.0, 1.0], [np.nan, 5.0, 2.0]]), "b": np.full((2, 3), np.nan)}
    assert surrogates.medians([0, 4, 8], errors) == {"a": ([4, 8], [4.0, 1.5]), "b": ([], [])}


def test_s1s_network_learns_from_a_few():
    g = torch.Generator().manual_seed(0)
    z, held = torch.randn(40, 3, generator=g), torch.randn(20, 3, generator=g)
    curves = [1e6 * torch.stack([x[:, 0], x[:, 1] + x[:, 2]], 1) for x in (z, held)]
    settings = SurrogateSettings(paper_hidden=32, paper_epochs=200, paper_learning_rate=1e-2)
    answer = surrogates.fit_s1_network(z, curves[0], (held, curves[1]), settings, 0)(held)
    assert answer.shape == (20, 2) and regression.r2(answer, curves[1]) > 0.7
    assert torch.equal(answer, surrogates.fit_s1_network(z, curves[0], (held, curves[1]), settings, 0)(held))


def test_a_line_through_the_other_families_alone():
    x, families = torch.arange(12.0)[:, None], ["a", "b"] * 6
    y = torch.cat([x, x], 1) * torch.tensor([1.0, 3.0]).repeat(6)[:, None]  # a: y = x, b: y = 3 x
    torch.testing.assert_close(surrogates.held_out_line(x, y, families, x, families)[:2, 0], torch.tensor([0.0, 1.0]).double())


def test_what_is_seen_is_corrected_on_what_is_known():
    curve = torch.linspace(0, 80, 6).double()
    known, asked = (torch.rand(n, generator=torch.Generator().manual_seed(n)).double()[:, None] + 1 for n in (30, 8))
    ways = {what: [(share * x * curve + extra, 0 * x * curve) for x in (known, asked)] for what, share, extra in (("nothing", 0, curve), ("all", 1, 0))}
    (_, worst, _, luck), (_, best, error, none) = surrogates.seen_through(ways, 1.02 * known * curve, 1.02 * asked * curve, 5)
    assert best < 1e-3 < 0.9 < worst and error < 1e-6 < luck and none is None


def test_volume_averages_are_not_decoded():
    ours, s1s = SimpleNamespace(size=281, parts={"averages": slice(0, 27)}), SimpleNamespace(size=256, parts={})
    assert [surrogates.numbers_decoded(encoder) for encoder in (ours, s1s)] == [254, 256]


def test_every_law_is_judged_alone_and_corrected():
    curve, shares = torch.linspace(0, 80e6, 6).double(), torch.linspace(0.9, 1.1, 20).double()[:, None]
    sets = SimpleNamespace(elements=SimpleNamespace(grain_id=shares, quaternion=None), stress=shares * curve)
    laws = [SimpleNamespace(predict=lambda x, _, bias=bias: (bias * x * curve, 0 * x * curve)) for bias in (1.0, 1.02)]
    (_, _, exact, *_), (number, r2, error, better, _) = surrogates.law_rows(laws, sets, sets, 5)
    assert exact == 0 and number == 2 and error == pytest.approx(1.6) and better > 0.99 > r2


def test_time_is_of_one_and_of_all():
    asked = []
    times = surrogates.milliseconds(lambda elements: asked.append(len(elements)), list(range(5)))
    assert asked == [1, 1, 5] and len(times) == 2 and min(times) > 0


def test_refinement_has_the_simulation_of_the_same_grid_beside_it():
    torch.manual_seed(0)
    laws = CrystalEnsemble(1, 8)
    laws.scale(2e-3, 8e7, 17e9, 35e9)
    load = uniaxial_tension(strain=1e-4, increments=2)
    elements = generate(1, 16, "hexagonal", torch.Generator().manual_seed(1))
    surrogate = StressSurrogate(laws, load)
    rows = surrogates.refinement(surrogate, load_material("Mg"), elements, (1, 2))
    assert list(rows) == [8, 16] and all(len(values) == 3 for values in rows.values())
    half = elements.sampled(8)
    true = simulate_cp(half.grain_id, half.quaternion, load=load).P[0, -1, 0, 0] / 1e6
    assert rows[8][2] == pytest.approx(float(true)) and rows[8][0] == pytest.approx(
        float(StressSurrogate(laws, load, iterations=1).predict(half.grain_id, half.quaternion)[0][0, -1] / 1e6)
    )


def test_the_worst_is_asked_again_in_many_iterations():
    torch.manual_seed(0)
    laws = CrystalEnsemble(1, 8)
    laws.scale(2e-3, 8e7, 17e9, 35e9)
    surrogate = StressSurrogate(laws, uniaxial_tension(strain=1e-4, increments=2), iterations=1)
    elements = generate(3, 8, "hexagonal", torch.Generator().manual_seed(1))
    predicted, _ = surrogate.predict(elements.grain_id, elements.quaternion)
    patient, _ = StressSurrogate(laws, surrogate.load_path, iterations=16).predict(elements.grain_id[1:2], elements.quaternion[1:2])
    P = torch.zeros(3, 3, 3, 3).double()
    P[:, :, 0, 0] = predicted + 1e6 * torch.tensor([1.0, -3.0, 2.0])[:, None]
    curves = SimpleNamespace(elements=elements, families=["a", "fibre_111", "c"], P=P)
    family, error, left = surrogates.worst(surrogate, predicted, curves, 2)
    assert family == "fibre 111" and error == pytest.approx(3, rel=1e-3)
    assert left == pytest.approx(float((patient[0, 2] - P[1, 2, 0, 0]).abs() / 1e6), rel=1e-3)
