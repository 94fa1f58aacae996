"""Inverse design: labels that resume, a model that survives its file, input that is refused by name."""

import pytest
import torch

from microprint.errors import UserError
from microprint.microstructures.composite import cut
from microprint.networks.vae_regression import VAERegression, log_density
from microprint.params import validate
from microprint.steps import Job, run_step
from microprint.store import create_hdf5, save_json, save_tensors
from microprint.systems.inverse_design import (
    CompositeSamples,
    InverseDesign,
    LogScale,
    move,
    predict_cnn,
    train_forward_cnn,
    train_inverse_design,
    train_vae,
    vae_features,
)
from microprint.systems.stiffness import components, label_stiffness, permute_axes, simulate

PARAMS = validate({"compute": {"device": "cpu"}, "vae_regression": {"width": 2, "hidden": 8, "latent_dim": 3, "epochs": 1, "cnn_epochs": 1, "prior_steps": 2}})


def composites(count=9, edge=6):
    generator = torch.Generator().manual_seed(0)
    return cut(torch.rand(count, edge, edge, edge, generator=generator), torch.linspace(0.3, 0.7, count))


@pytest.fixture
def folder(tmp_path):
    with create_hdf5(tmp_path / "composites.h5", "composites", {"key": "a"}) as file:
        file["phase"] = composites().numpy()
    split = {"train": list(range(5)), "validation": [5, 6], "test": [7, 8]}
    save_json(tmp_path / "splits.json", {"provenance": {"key": "b"}, "composites": split})
    return tmp_path


def design(properties=("C11",), edge=8):
    torch.manual_seed(0)
    sizes = {"edge": edge, "properties": len(properties), "prior": "mixture", "components": 2, "latent_dim": 3, "width": 2, "hidden": 8}
    return InverseDesign(VAERegression(**sizes), {"kind": "inverse_design", "model": sizes, "properties": list(properties),
                                                  "log_mean": [24.0] * len(properties), "log_std": [0.7] * len(properties)})


def test_training_steps_make_models_that_load(folder):
    run_step(label_stiffness, PARAMS, folder, {})
    for prior in ("gaussian", "single", "mixture"):
        (path,) = run_step(train_inverse_design, PARAMS, folder, {"prior": prior})
        assert InverseDesign.load(path).propose(20e9, 3).designs.shape == (3, 6, 6, 6)
    (path,) = run_step(train_forward_cnn, PARAMS, folder, {})
    assert (predict_cnn(path, composites()) > 0).all()
    (path,) = run_step(train_vae, PARAMS, folder, {})
    assert vae_features(path, composites()).shape == (9, 3)
    with pytest.raises(UserError, match="no inverse-design"):
        InverseDesign.load(path)


def test_posteriors_come_with_the_properties():
    model = design(("C11", "C22"), edge=6)
    known = model.posteriors(composites(), torch.full((9, 2), 30e9))
    assert known.mean.shape == known.log_variance.shape == (9, 3)
    torch.testing.assert_close(known.c, model.scale.forward(torch.full((9, 2), 30e9)))
    torch.testing.assert_close(known.mean, model.encode(composites()))


def test_style_loss_trains_where_it_is_asked_for(folder, monkeypatch):
    from microprint.networks.vgg import VGG19
    from microprint.systems import inverse_design
    tensors = {"conv1_1.weight": torch.rand(4, 3, 3, 3) - 0.5, "conv1_1.bias": torch.zeros(4), "mean": torch.zeros(3), "std": torch.ones(3)}
    monkeypatch.setattr(inverse_design.VGG19, "load", classmethod(lambda cls: VGG19(tensors)))
    run_step(label_stiffness, PARAMS, folder, {})
    settings = {"width": 2, "hidden": 8, "latent_dim": 3, "epochs": 1, "prior_steps": 0, "reconstruction": "style"}
    params = validate({"compute": {"device": "cpu"}, "vae_regression": settings | {"style_layers": ["conv1_1"]}})
    (path,) = run_step(train_inverse_design, params, folder, {"prior": "mixture"})
    assert "train_reconstruction" in InverseDesign.load(path).config["history"][0]
    with pytest.raises(UserError, match="conv9_1"):
        validate({"compute": {"device": "cpu"}, "vae_regression": settings | {"style_layers": ["conv9_1"]}})


def test_unknown_prior_is_refused(folder):
    with pytest.raises(UserError, match="uniform"):
        train_inverse_design.function(Job(train_inverse_design, PARAMS, folder, {"prior": "uniform"}, "k"), prior="uniform")


def test_a_saved_model_is_the_same(tmp_path):
    model = design(("C11", "C22"))
    save_tensors(tmp_path / "m.safetensors", model.model.state_dict(), {"config": model.config})
    again = InverseDesign.load(tmp_path / "m.safetensors")
    phase = composites(2, 8)
    for one, other in zip(model.predict(phase), again.predict(phase.numpy())):
        torch.testing.assert_close(one, other)
    first, second = (m.propose([20e9, 30e9], 4) for m in (model, again))
    assert all(torch.equal(a, b) for a, b in zip(first, second))


def test_proposals_begin_with_the_likeliest_mean():
    model = design()
    proposal = model.propose(20e9, 5, torch.Generator().manual_seed(1))
    assert proposal.designs.shape == (5, 8, 8, 8) and proposal.designs.dtype == torch.uint8 and proposal.predicted.shape == (5, 1)
    assert proposal.probability[0] >= proposal.probability[1] and proposal.probability[:2].sum().item() == pytest.approx(1)
    assert torch.equal(model.propose(20e9, 1).designs, proposal.designs[:1])


def test_search_in_latent_space_lowers_its_objective():
    model = design()
    z = model.latents(40e9, 2)[0] + 0.5
    wanted = model.scale.forward(torch.tensor([[40e9]]))

    def objective(z):
        misfit = (model.model.posteriors(model.decode(z)[:, None])[2] - wanted).square().sum(1)
        return misfit - log_density(model.prior(40e9), z) / z.shape[1]

    assert (objective(model.refine(z, 40e9, steps=10)) < objective(z)).all()


@pytest.mark.parametrize(("phase", "message"), [
    (torch.zeros(2, 7, 7, 7), "edge trained on"), (torch.zeros(8, 8, 8), r"phase_ids: is of shape \(8, 8, 8\)"), (torch.full((1, 8, 8, 8), 2), "0 .soft. and 1"),
])
def test_wrong_volumes_are_refused(phase, message):
    with pytest.raises(UserError, match=message):
        design().predict(phase)


@pytest.mark.parametrize("target", [-1.0, float("nan"), [1e9, 2e9]])
def test_wrong_targets_are_refused(target):
    with pytest.raises(UserError, match="target"):
        design().propose(target, 1)


def test_other_files_are_refused(tmp_path):
    save_tensors(tmp_path / "x.safetensors", {"a": torch.ones(1)}, {"config": {}})
    with pytest.raises(UserError, match="no inverse-design"):
        InverseDesign.load(tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="count"):
        design().propose(1e9, 0)


def test_moving_a_volume_moves_its_stiffness():
    numbers = torch.tensor([0.9, 0.1, 0.5, 0.2, 0.8, 0.3, 0.4, 0.7, 0.1])
    phase = composites(1)[0]
    phase[:, 1:3] = 1  # a layer, so that the axes differ
    moved, expected = move(phase, simulate(phase[None])[0], numbers)
    found = simulate(moved[None])[0]
    torch.testing.assert_close(found[:3, :3], expected[:3, :3], rtol=2e-3, atol=1e6)
    assert not torch.allclose(found[0, 0], found[2, 2], rtol=0.05)
    full = torch.arange(36.0).view(6, 6)
    assert permute_axes(full, (1, 0, 2))[3, 0] == full[4, 1]


def test_samples_standardise_logarithms():
    labels = simulate(composites()).float()
    scale = LogScale.of(components(labels, ("C11", "C12")))
    samples = CompositeSamples(composites(), labels, ("C11", "C12"), scale, augment=True)
    batch = samples.batch(torch.arange(9), torch.Generator().manual_seed(0))
    assert batch["phase"].shape == (9, 1, 6, 6, 6) and batch["property"].isfinite().all()
    median, _ = scale.inverse(scale.forward(components(labels, ("C11", "C12"))), torch.zeros(9, 2))
    torch.testing.assert_close(median, components(labels, ("C11", "C12")), rtol=1e-4, atol=0)
