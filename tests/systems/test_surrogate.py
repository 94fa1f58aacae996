"""The surrogate that takes volume elements, fields and load paths."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from microprint import orientations, store
from microprint.errors import UserError
from microprint.mechanics.load import standard_load, uniaxial_tension
from microprint.microstructures.volume_elements import VolumeElements
from microprint.networks.correction import Correction
from microprint.networks.crystal_law import CrystalEnsemble
from microprint.systems.surrogate import StressSurrogate, answering

LOAD = uniaxial_tension(strain=0.004, increments=8)
IDS = torch.arange(2 * 4**3).reshape(2, 4, 4, 4) // 5 % 6
Q = orientations.random((2, 6), torch.Generator().manual_seed(0))


def laws(members=2):
    torch.manual_seed(4)
    ensemble = CrystalEnsemble(members, 12)
    ensemble.scale(2e-3, 8e7, 17e9, 35e9)
    return ensemble


def test_volume_elements_and_their_fields_give_the_same():
    surrogate = StressSurrogate(laws(), LOAD)
    mean, std = surrogate.predict(IDS, Q)
    again, spread = surrogate.predict_field(VolumeElements.of(IDS, Q).orientations().numpy())
    assert isinstance(again, np.ndarray) and mean.shape == std.shape == (2, 9)
    np.testing.assert_allclose(again, mean.numpy(), rtol=1e-5)
    np.testing.assert_allclose(spread, std.numpy(), rtol=1e-3, atol=1e3)
    assert mean[:, 0].abs().max() == 0 and (mean[:, 1:] > 0).all() and (std[:, 1:] > 0).all()


def test_a_batch_is_its_elements():
    surrogate = StressSurrogate(laws(), LOAD)
    mean = surrogate.predict(IDS, Q)[0]
    alone = torch.cat([surrogate.predict(IDS[i : i + 1], Q[i : i + 1])[0] for i in (0, 1)])
    torch.testing.assert_close(mean, alone, rtol=1e-5, atol=1e2)


def test_a_law_alone_has_no_spread():
    assert StressSurrogate(laws(1), LOAD).predict(IDS, Q)[1].abs().max() == 0


def test_the_mean_of_an_ensemble_is_that_of_its_members():
    ensemble = laws(2)
    members = [StressSurrogate(ensemble.member(number), LOAD).predict(IDS, Q)[0] for number in range(2)]
    mean, std = StressSurrogate(ensemble, LOAD).predict(IDS, Q)
    torch.testing.assert_close(torch.stack(members).mean(0), mean)
    torch.testing.assert_close(torch.stack(members).std(0), std)
    assert len(answering(laws(3)).laws) == 2 and answering(ensemble).laws[1] is ensemble.laws[1]


def test_a_path_is_followed_and_its_mean_conditions_hold():
    load = standard_load("cyclic", "x", 1e-3, 0.002, 4)
    response = StressSurrogate(laws(), LOAD).predict_path(load, IDS, Q)
    assert response.F.shape == response.P.shape == response.spread.shape == (2, 17, 3, 3)
    strain = response.F[:, :, 0, 0] - 1
    torch.testing.assert_close(strain[:, [4, 12, 16]], torch.tensor([[0.002, -0.002, 0.0]]).double().expand(2, 3), rtol=0, atol=1e-8)
    assert response.P[:, 4, 0, 0].min() > 0 > response.P[:, 12, 0, 0].max()
    assert response.P[..., 1, 1].abs().max() < 0.05 * response.P[..., 0, 0].abs().max()


def test_saved_and_loaded_it_predicts_the_same(tmp_path):
    first = StressSurrogate(laws(), LOAD)
    correction = Correction.fit(*first.predict(IDS, Q), 1.01 * first.predict(IDS, Q)[0])
    first.correction = correction
    tensors = laws().state_dict() | {f"correction.{name}": value for name, value in asdict(correction).items()}
    config = {
        "kind": "surrogate", "iterations": 1, "load": json.dumps([asdict(step) for step in LOAD]),
        "network": {"members": 2, "directions": 12},
    }  # fmt: skip
    store.save_tensors(tmp_path / "surrogate_Mg.safetensors", tensors, {"config": config})
    for one, other in zip(first.predict(IDS, Q), StressSurrogate.load(tmp_path / "surrogate_Mg.safetensors").predict(IDS, Q)):
        torch.testing.assert_close(one, other)


def test_what_cannot_be_marched_is_told(tmp_path):
    surrogate = StressSurrogate(laws(), LOAD)
    with pytest.raises(UserError, match="cubes"):
        surrogate.predict(IDS[:, :2], Q)
    with pytest.raises(UserError, match="orientations"):
        surrogate.predict_field(IDS)
    with pytest.raises(UserError, match="no load|no step"):
        surrogate.predict_path([], IDS, Q)
    broken = laws(1)
    broken.laws[0].P.data.fill_(torch.nan)
    with pytest.raises(UserError, match="diverged"):
        StressSurrogate(broken, LOAD).predict(IDS, Q)
    older = {"kind": "surrogate", "network": {"members": 1, "units": 4}, "load": "[]", "iterations": 1}
    store.save_tensors(tmp_path / "older.safetensors", {"x": torch.zeros(1)}, {"config": older})
    with pytest.raises(UserError, match="older version"):
        StressSurrogate.load(tmp_path / "older.safetensors")
    store.save_tensors(tmp_path / "other.safetensors", {"x": torch.zeros(1)}, {"config": {"kind": "fingerprint"}})
    with pytest.raises(UserError, match="is no surrogate"):
        StressSurrogate.load(tmp_path / "other.safetensors")
