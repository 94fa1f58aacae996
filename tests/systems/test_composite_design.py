"""Composite designs on a tiny study: what is encoded, proposed and refined, and what is refused."""

import numpy as np
import pytest
import torch

from microprint.errors import UserError
from microprint.microstructures.composite import filters, generate
from microprint.networks.random_medium import arc_of, level_of
from microprint.params import validate
from microprint.steps import run_step
from microprint.store import create_hdf5, save_json, save_tensors
from microprint.systems.composite_design import CompositeDesign, Drawings
from microprint.systems.composite_laws import ASKED, MediumSamples, statistics_of, train_composite_design, two_morphologies
from microprint.systems.inverse_design import LogScale
from microprint.systems.stiffness import components, label_stiffness, simulate
from microprint.systems.stiffness_surrogate import COMPONENTS, estimate_composites, fit_stiffness_surrogate

EDGE, FILES = 8, ("composite_design.safetensors", "stiffness_surrogate.safetensors")
SIZES = {"latent_dim": 3, "hidden": 32, "epochs": 30, "batch_size": 32, "learning_rate": 2e-3, "components": [2], "prior_hidden": 8, "prior_steps": 100}
ONE, THREE = {"C11": 30e9}, {"C11": 25e9, "C22": 15e9, "C33": 20e9}


def params(**sizes):
    return validate({"compute": {"device": "cpu", "workers": 1}, "composite_design": SIZES | sizes})


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def media():
    return generate(filters((0.6, 1.2)).repeat(8, 1), EDGE, generator())


def write_study(folder, known_filters=True):
    """64 composites, of which two are real, their labels and estimates."""
    phase, widths, _ = media()
    widths[-2 if known_filters else 0 :] = torch.nan
    with create_hdf5(folder / "composites.h5", "composites", {"key": "a"}) as file:
        file["phase"], file["widths"] = phase.numpy(), widths.numpy()
    order = torch.randperm(len(phase), generator=generator(1)).tolist()
    split = {"train": order[:44], "validation": order[44:54], "test": order[54:]}
    save_json(folder / "splits.json", {"provenance": {"key": "b"}, "composites": split})
    for step in (label_stiffness, estimate_composites, fit_stiffness_surrogate):
        run_step(step, params(), folder, {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    run_step(train_composite_design, params(), folder, {})
    return folder


@pytest.fixture(scope="module")
def design(folder):
    return CompositeDesign.load(*(folder / name for name in FILES))


# --- laws --------------------------------------------------------------------------------------------------------------


def test_statistics_are_probabilities_and_their_arcs():
    phase = media().phase[:5]
    seen, probabilities = statistics_of(phase)
    torch.testing.assert_close(probabilities[:, -1].double(), phase.double().mean((1, 2, 3)), rtol=1e-6, atol=0)
    neighbours = (phase.double() * phase.double().roll(-1, 3)).mean((1, 2, 3))  # (0, 0, 1) is the first of the lags
    torch.testing.assert_close(probabilities[:, 0].double(), neighbours, rtol=1e-6, atol=0)
    level = level_of(phase.double().mean((1, 2, 3)))
    torch.testing.assert_close(seen[:, 0].double(), arc_of(level, neighbours[:, None])[:, 0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(seen[:, -1].double(), level, rtol=1e-5, atol=1e-5)
    shifted = statistics_of(phase.roll((1, 2, 3), (1, 2, 3)))
    torch.testing.assert_close((seen, probabilities), shifted, rtol=0, atol=1e-4)


def test_samples_are_turned_with_their_properties():
    """Each of six orders of the axes, against statistics and simulations of the turned volumes."""
    phase, widths, _ = media()
    phase, widths = phase[[1, 3]], widths[[1, 3]]
    scale = LogScale([23.0] * 6, [0.5] * 6)
    samples = MediumSamples(phase, simulate(phase), widths, scale, torch.device("cpu"))
    assert len(samples) == 12
    turned = phase.permute(0, 3, 1, 2)  # the fifth of the orders
    place = slice(8, 10)
    torch.testing.assert_close(samples.statistics[place], statistics_of(turned)[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(samples.property[place], scale.forward(components(simulate(turned), COMPONENTS)), rtol=0, atol=1e-2)
    assert torch.equal(samples.widths[place], widths[:, [2, 0, 1]])
    batch = samples.batch(torch.tensor([8]), generator())
    assert {name: tuple(x.shape) for name, x in batch.items()} == {
        name: (1, samples.statistics.shape[1]) for name in ("statistics", "probabilities")} | {"property": (1, 6)}


def test_two_morphologies_are_fibres_and_plates():
    widths = torch.tensor([[2.0, 1, 1], [1, 2, 2], [2, 2, 2], [1, 1, 1], [1, 2, 1], [torch.nan] * 3, [1.5, 1, 1]])
    assert two_morphologies(widths).tolist() == [True, True, False, False, False, False, False]
    assert not two_morphologies(torch.full((3, 3), torch.nan)).any()


def test_training_learns_and_has_a_prior_for_each_question(design):
    history = design.config["history"]
    assert history[-1]["validation_loss"] < history[0]["validation_loss"] / 2
    kinds = [f"{kind} {' '.join(names)}" for names in ASKED for kind in ("gaussian", "mixture")]
    assert list(design.priors) == [*kinds, "two gaussian C11", "two mixture C11"]
    assert set(design.config["likelihood"]) == {*(" ".join(names) for names in ASKED), "two C11"}


def test_steps_are_deterministic_and_unknown_filters_have_no_two_morphologies(tmp_path):
    state = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_study(tmp_path / name, known_filters=False)
        run_step(train_composite_design, params(epochs=1, prior_steps=2), tmp_path / name, {})
        made = CompositeDesign.load(*(tmp_path / name / file for file in FILES))
        assert not [prior for prior in made.priors if prior.startswith("two")]
        state.append([*made.model.state_dict().values(), *made.priors["mixture C11"].state_dict().values(), *made.surrogate.state().values()])
    assert all(torch.equal(a, b) for a, b in zip(*state))


# --- forward and backward ----------------------------------------------------------------------------------------------


def test_encoding_sees_statistics_alone(design):
    phase = media().phase[:4]
    mean, log_variance = design.encode(phase)
    assert mean.shape == log_variance.shape == (4, 3)
    moved = design.encode(phase.flip((1, 2, 3)).roll(3, 2).numpy())
    torch.testing.assert_close((mean, log_variance), moved, rtol=0, atol=1e-3)


def test_a_law_s_drawing_resembles_what_was_encoded(design):
    """Volume fraction and stiffness of composites, encoded and drawn anew, follow those of the originals."""
    phase = media().phase[:40]
    again = design.draw(design.encode(phase)[0], generator())
    fractions = torch.stack([x.double().mean((1, 2, 3)) for x in (phase, again.phase_ids)])
    assert torch.corrcoef(fractions)[0, 1] > 0.95 and (fractions[0] - fractions[1]).abs().mean() < 0.05
    torch.testing.assert_close(again.expected, design.surrogate.predict(again.phase_ids)[0])


def test_drawings_have_any_edge_and_are_determined(design):
    z = torch.zeros(2, 3)
    large = design.draw(z, generator(3), edge=11)
    assert large.phase_ids.shape == large.noise.shape == (2, 11, 11, 11) and large.expected.shape == (2, 6)
    assert torch.equal(large.phase_ids, design.draw(z, generator(3), edge=11).phase_ids)
    assert not torch.equal(large.phase_ids[0], large.phase_ids[1])


def test_means_are_those_of_the_prior_s_components(design):
    prior, drawn = design.prior(ONE), design.means(ONE, "mixture", generator())
    assert drawn.phase_ids.shape == (len(prior.log_weight[0]), EDGE, EDGE, EDGE)
    assert torch.equal(drawn.z[0], prior.mean[0, prior.log_weight[0].argmax()])
    assert design.means(THREE, "gaussian", generator()).z.shape == (1, 3)
    assert design.means(ONE, "two gaussian", generator()).z.shape == (1, 3)
    assert torch.equal(design.means(ONE, "mixture", generator()).phase_ids, drawn.phase_ids)


def test_proposals_are_determined_and_the_best_of_more_is_nearer(design):
    gaps = []
    for drawings in (1, 4, 16):
        offered = design.propose(ONE, 12, drawings=drawings, generator=generator(1))
        assert offered.phase_ids.shape == (12, EDGE, EDGE, EDGE)
        gaps.append((offered.expected[:, 0] / 30e9).log().abs().mean())
    assert gaps[0] > 1.3 * gaps[1] > 1.69 * gaps[2]
    again = design.propose(ONE, 12, drawings=16, generator=generator(1))
    assert all(torch.equal(a, b) for a, b in zip(vars(offered).values(), vars(again).values()))
    assert torch.equal(design.propose(ONE, 2).phase_ids, design.propose(ONE, 2).phase_ids)
    assert (simulate(offered.phase_ids)[:, 0, 0] / 30e9 - 1).abs().mean() < 0.15


def test_stiffer_targets_get_stiffer_designs(design):
    means = [design.propose({"C11": t}, 6, drawings=1).expected[:, 0].mean() for t in (15e9, 35e9, 55e9)]
    assert means[0] < means[1] < means[2]


def test_a_saved_design_model_proposes_the_same(folder, design):
    again = CompositeDesign.load(*(str(folder / name) for name in FILES))
    assert torch.equal(again.propose(THREE, 2).phase_ids, design.propose(THREE, 2).phase_ids)


# --- refinement --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target, evaluations", [(ONE, 6), (THREE, 8)])
def test_refinement_never_gets_worse_and_gets_far(design, target, evaluations):
    offered = design.propose(target, 4, drawings=1)
    best, errors = design.refine(offered, target, evaluations)
    assert errors.shape == (evaluations, 4) and (errors.diff(dim=0) <= 0).all()
    assert errors[-1].mean() < 0.3 * errors[0].mean() and errors[-1].mean() < 0.1
    # What comes back is what a new simulation gives.
    values = components(simulate(best.phase_ids), COMPONENTS)
    torch.testing.assert_close(best.expected, values, rtol=1e-3, atol=0)
    places = [COMPONENTS.index(name) for name in target]
    wanted = torch.tensor(list(target.values()), dtype=torch.float64)
    torch.testing.assert_close((values[:, places] / wanted).log().abs().amax(1).expm1(), errors[-1], rtol=0, atol=2e-3)
    assert torch.equal(best.phase_ids, design.refine(offered, target, evaluations)[0].phase_ids)


def test_one_evaluation_changes_nothing(design):
    offered = design.propose(ONE, 2, drawings=1)
    best, errors = design.refine(offered, ONE, 1)
    assert torch.equal(best.phase_ids, offered.phase_ids) and errors.shape == (1, 2) and (best.deviation == 0).all()


def test_the_soft_cut_keeps_the_law_s_volume_fraction(design):
    """The gradient of its sum to z is that of the law's volume fraction, of noise nothing."""
    drawn = design.draw(torch.randn(3, 3, generator=generator(2)), generator(3), edge=9)
    z, noise = drawn.z.clone().requires_grad_(), drawn.noise.clone().requires_grad_()
    of_z, of_noise = torch.autograd.grad(design._soft(z, noise, drawn.phase_ids).sum(), (z, noise))
    fraction = torch.special.ndtr(design.model.law(z, 9)[0])
    expected = torch.autograd.grad(fraction.sum(), z)[0] * 9**3
    torch.testing.assert_close(of_z, expected, rtol=1e-3, atol=1e-2)
    assert of_noise.abs().max() < 1e-3 * of_z.abs().max()


@pytest.mark.parametrize("moved", ["law", "noise"])
def test_voxels_change_as_the_soft_cut_s_gradient_says(design, moved):
    """A step in z or noise: what really changes phase, projected on what the gradient promises, and in number."""
    drawn = design.draw(torch.randn(6, 3, generator=generator(2)), generator(3), edge=14)
    step = 0.2 * torch.nn.functional.normalize(torch.randn(6, 3, generator=generator(4))) if moved == "law" else torch.zeros(6, 3)
    shift = 0.05 * torch.randn(drawn.noise.shape, generator=generator(5)) if moved == "noise" else torch.zeros_like(drawn.noise)
    with torch.no_grad():
        _, promised = torch.func.jvp(lambda z, noise: design._soft(z, noise, drawn.phase_ids), (drawn.z, drawn.noise), (step, shift))
        after = design._drawn(drawn.z + step, drawn.noise + shift, forward=False).phase_ids
    change = after.double() - drawn.phase_ids.double()
    ratio = (promised * change).sum((1, 2, 3)) / promised.square().sum((1, 2, 3))
    assert (ratio > 0.5).all() and 0.7 < ratio.mean() < 2
    torch.testing.assert_close(change.sum((1, 2, 3)), promised.sum((1, 2, 3)).double(), rtol=0.1, atol=2.0)


# --- what is stated and refused ----------------------------------------------------------------------------------------


def test_probability_is_the_share_of_normal_draws():
    expected = torch.tensor([[30e9, 20e9, 10e9, 5e9, 5e9, 5e9], [33e9, 20e9, 10e9, 5e9, 5e9, 5e9]], dtype=torch.float64)
    deviation = 0.05 * expected
    drawn = Drawings(torch.zeros(2, 1), torch.zeros(2, 1, 1, 1), torch.zeros(2, 1, 1, 1), expected, deviation)
    samples = expected + deviation * torch.randn(40_000, 2, 6, generator=generator(), dtype=torch.float64)
    for target in ({"C11": 30e9}, {"C11": 31e9, "C22": 19e9, "C33": 10.2e9}):
        wanted = torch.tensor(list(target.values()), dtype=torch.float64)
        share = ((samples[..., : len(wanted)] / wanted - 1).abs() <= 0.04).all(2).double().mean(0)
        torch.testing.assert_close(drawn.probability(target, 0.04), share, rtol=0, atol=0.01)
    certain = Drawings(*list(vars(drawn).values())[:4], torch.zeros_like(deviation))
    assert certain.probability({"C11": 30e9}, 0.04).tolist() == [1, 0]


@pytest.mark.parametrize("target, message", [
    ({"C22": 20e9}, "no prior was trained for C22.*Ask for one of: C11; C11, C22, C33"),
    ({}, "no prior was trained for nothing"),
    ({"C11": 1e9}, "C11 = 1e.09 Pa lies outside of the pure phases' 3.23e.09 to 1.62e.11"),
    ({"C11": 200e9}, "lies outside of the pure phases"),
    ({"C11": float("nan")}, "lies outside of the pure phases"),
    (dict(zip(COMPONENTS, [20e9] * 3 + [80e9] * 3)), "C12 = 8e.10 Pa lies outside"),
])  # fmt: skip
def test_wrong_targets_are_refused(design, target, message):
    for ask in (lambda: design.propose(target, 1), lambda: design.refine(design.draw(torch.zeros(1, 3), generator()), target, 1),
                lambda: design.means(target, "mixture", generator())):
        with pytest.raises(UserError, match=message):
            ask()


def test_wrong_numbers_and_names_are_refused(design):
    with pytest.raises(UserError, match="no prior is called uniform C11.*mixture C11"):
        design.propose(ONE, 1, modes="uniform")
    with pytest.raises(UserError, match="no prior is called two mixture C11 C22 C33"):
        design.prior(THREE, "two mixture")
    drawn = design.draw(torch.zeros(1, 3), generator())
    for ask, name in ((lambda: design.propose(ONE, 0), "count"), (lambda: design.propose(ONE, 1, drawings=0), "drawings"),
                      (lambda: design.refine(drawn, ONE, 0), "evaluations"), (lambda: design.draw(drawn.z, generator(), edge=0), "edge")):
        with pytest.raises(UserError, match=name):
            ask()


@pytest.mark.parametrize("phase, message", [
    (torch.zeros(2, 7, 7, 7), "volumes of edge 7 .* on 8 voxels an edge"),
    (torch.full((1, 8, 8, 8), 2), "ids from 2 to 2"),
    (np.zeros((8, 8, 8), int), r"phase_ids: is of shape \(8, 8, 8\)"),
])  # fmt: skip
def test_wrong_volumes_are_refused(design, phase, message):
    with pytest.raises(UserError, match=message):
        design.encode(phase)


def test_other_files_are_refused(folder, tmp_path):
    save_tensors(tmp_path / "x.safetensors", {"a": torch.ones(1)}, {"config": {}})
    with pytest.raises(UserError, match="no composite-design model"):
        CompositeDesign.load(tmp_path / "x.safetensors", folder / FILES[1])
    with pytest.raises(UserError, match="no stiffness surrogate"):
        CompositeDesign.load(folder / FILES[0], folder / FILES[0])
    with pytest.raises(UserError, match="is missing"):
        CompositeDesign.load(tmp_path / "y.safetensors", folder / FILES[1])
    with pytest.raises(UserError, match="device = 'gpu0'"):
        CompositeDesign.load(*(folder / name for name in FILES), device="gpu0")
