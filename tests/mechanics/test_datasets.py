"""The data set step: what it writes, how it resumes, how it samples."""

import dataclasses

import h5py
import numpy as np
import pytest
import torch

from microprint import orientations, store
from microprint.compute import run_step
from microprint.errors import UserError
from microprint.mechanics import datasets
from microprint.params import Compute, CrystalPlasticity, Params

PARAMS = Params(cp=CrystalPlasticity(edge=4, increments=3, strain=1e-3, chunk=2), compute=Compute(device="cpu", workers=1))


@pytest.fixture
def folder(tmp_path):
    generator = torch.Generator().manual_seed(0)
    with store.create_hdf5(tmp_path / "polycrystals.h5", "polycrystals", {"key": "made-for-this-test"}) as file:
        for name, count in (("train", 3), ("validation", 1), ("test", 1)):
            group = file.create_group(f"hexagonal/{name}")
            group["grain_id"] = torch.randint(0, 5, (count, 8, 8, 8), generator=generator).numpy().astype(np.uint16)
            quaternions = orientations.random((count, 6), generator)
            quaternions[:, 5] = torch.nan
            group["quaternion"] = quaternions.numpy()
    return tmp_path


def content(path):
    with h5py.File(path) as file:
        return {name: file[name][:] for name in ("train/P", "train/F", "train/gamma_sl", "test/P", "validation/converged")}


def test_writes_every_set_with_units(folder):
    [path] = run_step(datasets.simulate_cp_dataset, PARAMS, folder, {})
    with store.open_hdf5(path, "cp") as file:
        assert file["train/P"].shape == (3, 4, 3, 3) and file["train/P"].attrs["unit"] == "Pa"
        assert file["train/gamma_sl"].shape == (3, 4, 18) and file["test/gamma_tw"].shape == (1, 4, 12)
        assert file["train/converged"][:].all() and file["train/reason"][0] == b""
        assert np.allclose(file["train/F"][:, -1, 0, 0], 1.001) and file["train/P"][:, -1, 0, 0].min() > 1e7


def test_a_broken_step_resumes_to_the_same_result(folder, monkeypatch, capsys):
    [path] = run_step(datasets.simulate_cp_dataset, PARAMS, folder, {})
    whole = content(path)
    path.unlink()
    simulate, calls = datasets.simulate_cp, []

    def breaks(*arguments, **keywords):
        calls.append(len(arguments[0]))
        if len(calls) >= 3:
            raise RuntimeError
        return simulate(*arguments, **keywords)

    monkeypatch.setattr(datasets, "simulate_cp", breaks)
    with pytest.raises(RuntimeError):
        run_step(datasets.simulate_cp_dataset, PARAMS, folder, {})
    assert not path.exists()
    monkeypatch.undo()
    run_step(datasets.simulate_cp_dataset, PARAMS, folder, {})
    assert "3 of 5 VEs are there already" in capsys.readouterr().out
    for name, values in content(path).items():
        np.testing.assert_array_equal(values, whole[name])


@pytest.mark.parametrize("engine", ["local", "dask"])
def test_every_engine_gives_the_same_bits(folder, engine):
    [path] = run_step(datasets.simulate_cp_dataset, PARAMS, folder, {})
    expected = content(path)
    path.unlink()
    several = dataclasses.replace(PARAMS, compute=Compute(engine=engine, device="cpu", workers=2))
    run_step(datasets.simulate_cp_dataset, several, folder, {})
    for name, values in content(path).items():
        np.testing.assert_array_equal(values, expected[name])


def test_what_does_not_converge_is_kept_with_its_reason(folder, monkeypatch):
    simulate = datasets.simulate_cp

    def fails(ids, *arguments, **keywords):
        result = simulate(ids, *arguments, **keywords)
        return dataclasses.replace(
            result,
            P=torch.full_like(result.P, torch.nan),
            converged=torch.zeros(len(ids), dtype=bool),
            reason=("no equilibrium",) * len(ids),
        )

    monkeypatch.setattr(datasets, "simulate_cp", fails)
    [path] = run_step(datasets.simulate_cp_dataset, PARAMS, folder, {})
    with store.open_hdf5(path, "cp") as file:
        assert not file["train/converged"][:].any() and np.isnan(file["train/P"][:]).all()
        assert file["train/reason"].asstr()[:].tolist() == ["no equilibrium"] * 3


def test_sampling_numbers_the_grains_anew():
    ids = torch.zeros(1, 4, 4, 4, dtype=torch.int64)
    ids[0, 1, 1, 1], ids[0, 2] = 1, 2  # grain 1 lies between the sampled voxels
    q = orientations.random((1, 3), torch.Generator().manual_seed(0))
    coarse, quats = datasets.sample(ids, q, 2)
    assert coarse.unique().tolist() == [0, 1] and (coarse[0, 1] == 1).all()
    torch.testing.assert_close(quats[0, :2], q[0, [0, 2]])
    assert torch.isnan(quats[0, 2]).all()
    same, _ = datasets.sample(ids, q, 8)
    assert same.shape == ids.shape
    with pytest.raises(UserError, match="does not divide"):
        datasets.sample(torch.zeros(1, 8, 8, 8, dtype=torch.int64), q, 3)


def test_a_missing_set_is_named(folder):
    with h5py.File(folder / "polycrystals.h5", "a") as file:
        del file["hexagonal/test"]
    with pytest.raises(UserError, match="hexagonal/test"):
        run_step(datasets.simulate_cp_dataset, PARAMS, folder, {})
