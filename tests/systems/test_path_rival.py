"""The recurrent rival along load paths: what it learns from, what it is told, its file."""


import numpy as np
import pytest
import torch

from microprint import orientations, store
from microprint.errors import UserError
from microprint.mechanics import campaign
from microprint.mechanics.campaign import read_campaign, read_paths
from microprint.mechanics.deviators import deviator
from microprint.mechanics.single_crystals import moduli
from microprint.microstructures.volume_elements import VolumeElements
from microprint.params.sections import ComputeSettings, CrystalPlasticitySettings, Params
from microprint.steps import run_step
from microprint.systems import path_rival
from microprint.systems.path_rival import FOLDS, PathRival, train_path_rival

CP = CrystalPlasticitySettings(edge=4, increments=4, strain=4e-3, families_train=3, families_test=1, others=(), paths=8, path_elements=1)
PARAMS = Params(cp=CP, compute=ComputeSettings(device="cpu", workers=1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rival")
    for step in (campaign.generate_textured_polycrystals, campaign.simulate_campaign):
        run_step(step, PARAMS, folder, {})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"MEMORIES": 6, "UNITS": 8, "EPOCHS": 2, "REPEATS": 2}.items():
            patch.setattr(path_rival, name, value)
        run_step(train_path_rival, PARAMS, folder, {})
    return folder


@pytest.fixture(scope="module")
def simulated(folder):
    with store.open_hdf5(folder / "textured.h5") as textured, store.open_hdf5(folder / "campaign.h5") as file:
        return read_paths(textured, file), read_campaign(textured, file, "Mg", "train")


def test_no_network_learns_from_its_own_fold(simulated):
    paths, curves = simulated
    samples = path_rival._samples(paths, curves, torch.device("cpu"))
    assert samples.strain.shape == (3 + 8, 9, 5) and samples.known.sum(1).tolist() == [4] * 3 + [8] * 8
    for fold, pool in enumerate(samples.pools):
        assert pool.unique().tolist() == [0, 1, 2] + [3 + number for number in range(8) if number % FOLDS != fold]
    batch = samples.batch(torch.tensor([0, 5]), torch.Generator())
    assert batch["strain"].shape == (FOLDS, 2, 9, 5) and batch["texture"].shape == (FOLDS, 2, 2, 5, 5)


def test_predictions_survive_their_file_meet_the_load_and_depend_on_the_fold(folder, simulated):
    rival = PathRival.load(folder / "path_rival.safetensors")
    for number, path in enumerate(simulated[0]):
        told = path.load, path.F, path.elements.grain_id, path.elements.quaternion
        P = rival.without(number).predict_path(*told)
        assert P.shape == path.P.shape and P.isfinite().all() and P[:, 0].abs().max() == 0
        if path.kind == "tension":
            assert P[:, :, [1, 2], [1, 2]].abs().max() == 0 < P[:, 1:, 0, 0].abs().min()
        assert (P - rival.without(number + 1).predict_path(*told)).abs().max() > 0


def test_the_true_deviators_give_the_true_stress(simulated):
    for path in simulated[0]:
        true = deviator(path_rival.Cauchy.of(path.F).stress(path.P))
        answer = path_rival.with_pressure(true, path.F, path.load, moduli(path.material)[0])
        assert (answer - path.P).abs().mean() < 0.02 * path.P.abs().mean(), path.kind


def test_the_volume_of_a_free_load_is_not_read(simulated):
    path = simulated[0][0]
    true, swollen = deviator(path_rival.Cauchy.of(path.F).stress(path.P)), path.F.clone()
    swollen[:, :, [1, 2], [1, 2]] *= 1 + 1e-5
    one, other = (path_rival.with_pressure(true, F, path.load, 36e9) for F in (path.F, swollen))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e3)


def test_averages_turn_with_the_sample_and_vanish_without_a_texture():
    ids = torch.arange(1000).reshape(1, 10, 10, 10)
    generator = torch.Generator().manual_seed(0)
    for symmetry in path_rival.PLANES:
        many = path_rival.texture_averages(VolumeElements(ids, orientations.random((1, 1000), generator), torch.tensor([1000]), symmetry))
        assert many.abs().max() < 0.1
        q, turn = orientations.random((1, 1000), generator)[:, :1], orientations.random((), generator)
        single, turned = (path_rival.texture_averages(VolumeElements(ids * 0, x, torch.tensor([1]), symmetry)) for x in (q, orientations.multiply(q, turn)))
        Q = path_rival.rotation(turn)
        torch.testing.assert_close(turned, Q.T @ single @ Q, rtol=1e-4, atol=1e-4)


def test_what_does_not_fit_is_refused(folder, simulated):
    rival, path = PathRival.load(folder / "path_rival.safetensors"), simulated[0][0]
    with pytest.raises(UserError, match="F"):
        rival.predict_path(path.load, np.zeros((1, 3, 3, 3)), path.elements.grain_id, path.elements.quaternion)
    store.save_tensors(folder / "other.safetensors", {"x": torch.zeros(1)}, {"config": {"kind": "surrogate"}, "provenance": {"key": "c"}})
    with pytest.raises(UserError, match="no network for load paths"):
        PathRival.load(folder / "other.safetensors")
