"""Surrogate of the stress-strain curve: training, files, baselines, input that is refused."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from microprint import orientations
from microprint.analysis import regression, stress
from microprint.errors import UserError
from microprint.mechanics.datasets import read_curves
from microprint.mechanics.load import uniaxial_tension
from microprint.mechanics.materials import load_material
from microprint.microstructures.volume_elements import VolumeElements
from microprint.params import validate
from microprint.steps import Job, run_step
from microprint.store import create_hdf5, open_hdf5, save_tensors
from microprint.systems.direct_surrogate import DirectSurrogate, encode_simulated, read_fingerprints, train_direct_surrogate
from microprint.systems.fingerprint import Fingerprint, configuration

PARAMS = validate({"compute": {"device": "cpu"}, "vae": {"ours_width": 8, "ours_rounds": 1},
                   "surrogate": {"paper_epochs": 4, "paper_hidden": 8}})


def volume_elements(count, edge=8, grains=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(grains, (count, edge, edge, edge), generator=generator)
    return ids, orientations.random((count, grains), generator, torch.float32)


def fake_curves(ids, quaternion):
    """Curves that follow the texture."""
    strain = torch.linspace(0, 0.01, 6, dtype=torch.float64)
    height = 8e7 + 4e7 * stress.texture_coefficients(VolumeElements.of(ids, quaternion), 0)[:, 0]
    return strain, height[:, None] * (1 - torch.exp(-strain / 0.002))


@pytest.fixture
def folder(tmp_path):
    with create_hdf5(tmp_path / "polycrystals.h5", "polycrystals", {"key": "a"}) as elements, \
            create_hdf5(tmp_path / "cp.h5", "cp", {"key": "b"}) as cp:
        material = json.dumps(load_material("Mg").source)
        load = json.dumps([asdict(step) for step in uniaxial_tension(strain=0.01, increments=5)])
        cp.attrs.update(material=material, load=load, edge=4)
        for seed, (name, count) in enumerate({"train": 12, "validation": 5, "test": 5}.items()):
            ids, quaternion = volume_elements(count, seed=seed)
            group = elements.create_group(f"hexagonal/{name}")
            group["grain_id"], group["quaternion"], group["grains"] = ids.numpy(), quaternion.numpy(), np.full(count, 5)
            strain, curve = fake_curves(ids, quaternion)
            F, P = (np.zeros((count, 6, 3, 3)) for _ in range(2))
            F[:, :, 0, 0], P[:, :, 0, 0] = 1 + strain, curve
            P[1], F[1] = np.nan, np.nan
            cp[f"{name}/F"], cp[f"{name}/P"], cp[f"{name}/converged"] = F, P, np.arange(count) != 1
    torch.manual_seed(0)
    fingerprint = Fingerprint.build(configuration(PARAMS.vae, "ours", "hexagonal", 8, 5.0))
    save_tensors(tmp_path / "fingerprint_ours.safetensors", fingerprint.network.state_dict(),
                 {"config": fingerprint.config, "provenance": {"key": "c"}})
    run_step(encode_simulated, PARAMS, tmp_path, {"fingerprint": "ours"})
    return tmp_path


def test_fingerprints_are_of_the_volume_elements_that_have_curves(folder):
    fingerprint = Fingerprint.load(folder / "fingerprint_ours.safetensors", symmetry="hexagonal")
    known = read_fingerprints(folder / "fingerprints_ours.h5")
    with open_hdf5(folder / "polycrystals.h5") as elements, open_hdf5(folder / "cp.h5") as cp:
        for name, count in (("train", 11), ("validation", 4), ("test", 4)):
            z = fingerprint.encode_set(read_curves(elements, cp, name).elements)
            assert len(z) == count and torch.equal(known[name], z)


@pytest.mark.parametrize("variant", ["paper", "coded", "ours"])
def test_step_trains_a_model_that_survives_its_file(folder, variant):
    (path,) = run_step(train_direct_surrogate, PARAMS, folder, {"variant": variant, "fingerprint": "ours"})
    surrogate = DirectSurrogate.load(path)
    z = np.random.default_rng(0).normal(size=(3, 281))
    mean, std = surrogate.predict(z)
    assert mean.shape == std.shape == (3, 6) and isinstance(mean, np.ndarray) and (std[:, 1:] > 0).all()
    assert 3e7 < mean[:, -1].mean() < 2e8 and surrogate.config["left_out"] == {"train": 1, "validation": 1}
    for one, other in zip(DirectSurrogate.load(path).predict(torch.from_numpy(z)), (mean, std)):
        np.testing.assert_array_equal(one.numpy(), other)


def test_what_did_not_converge_is_left_out_and_counted(folder):
    with open_hdf5(folder / "polycrystals.h5") as elements, open_hdf5(folder / "cp.h5") as cp:
        curves = read_curves(elements, cp, "train")
        with pytest.raises(UserError, match="no set hexagonal/other"):
            read_curves(elements, cp, "other")
    assert len(curves.stress) == len(curves.elements) == 11 and curves.left_out == 1 and curves.stress.isfinite().all()
    assert curves.strain[-1].item() == pytest.approx(0.01)
    assert curves.elements.edge == 4 and curves.component == (0, 0) and curves.load[0].N == 5 and curves.material.name == "Mg"


@pytest.mark.parametrize("z", [np.zeros((2, 252)), np.zeros(281), np.full((1, 281), np.nan)])
def test_wrong_fingerprints_are_refused(folder, z):
    (path,) = run_step(train_direct_surrogate, PARAMS, folder, {"variant": "ours", "fingerprint": "ours"})
    with pytest.raises(UserError, match="281"):
        DirectSurrogate.load(path).predict(z)


def test_other_files_and_variants_are_refused(folder):
    with pytest.raises(UserError, match="no direct surrogate"):
        DirectSurrogate.load(folder / "fingerprint_ours.safetensors")
    with pytest.raises(UserError, match="theirs"):
        train_direct_surrogate.function(Job(train_direct_surrogate, PARAMS, folder, {"variant": "theirs", "fingerprint": "ours"}, "k"), variant="theirs", fingerprint="ours")


def test_texture_coefficients_of_known_c_axes():
    """c along z has no component along x; c turned to x has all of it."""
    quarter = torch.tensor([[[1.0, 0, 0, 0], [0.5**0.5, 0, 0.5**0.5, 0]]])
    ids = torch.zeros(1, 2, 2, 2, dtype=torch.int64)
    ids[0, 0] = 1
    torch.testing.assert_close(stress.texture_coefficients(VolumeElements.of(ids, quarter), 0), torch.full((1, 2), 0.5, dtype=torch.float64), atol=1e-6, rtol=0)


def test_straight_line_and_coverage():
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    y = torch.stack([1 + 2 * x[:, 0], x[:, 1] - 3], 1).double()
    torch.testing.assert_close(regression.straight_line(x[:10], y[:10], x[10:]), y[10:], atol=1e-5, rtol=0)
    noise = torch.randn(20_000, generator=torch.Generator().manual_seed(1))
    assert regression.coverage(torch.zeros(20_000), torch.ones(20_000), noise) == pytest.approx(0.9, abs=0.01)


def test_ridge_resists_more_features_than_samples():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(90, 40, generator=generator)
    y = x[:, :1].double() + 0.3 * torch.randn(90, 1, generator=generator)
    found = regression.ridge(x[:40], y[:40], x[60:])
    unbounded = regression.straight_line(x[:40], y[:40], x[60:])
    assert (found - y[60:]).square().mean() < min((unbounded - y[60:]).square().mean(), y[60:].square().mean())
