"""The data set step: what it writes, how it resumes, how it samples."""

import dataclasses

import h5py
import numpy as np
import pytest
import torch
import yaml

from microprint import orientations, store
from microprint.errors import UserError
from microprint.mechanics import datasets
from microprint.mechanics.load import read_load, standard_load
from microprint.mechanics.materials import material_file
from microprint.microstructures.volume_elements import VolumeElements
from microprint.params.sections import ComputeSettings, CrystalPlasticitySettings, Params
from microprint.steps import run_step

PARAMS = Params(cp=CrystalPlasticitySettings(edge=4, increments=3, strain=1e-3, chunk=2), compute=ComputeSettings(device="cpu", workers=1))


@pytest.fixture
def folder(tmp_path):
    generator = torch.Generator().manual_seed(0)
    with store.create_hdf5(tmp_path / "polycrystals.h5", "polycrystals", {"key": "made-for-this-test"}) as file:
        for name, count in (("train", 3), ("validation", 1), ("test", 1)):
            group = file.create_group(f"hexagonal/{name}")
            group["grain_id"] = torch.randint(0, 5, (count, 8, 8, 8), generator=generator).numpy().astype(np.uint16)
            quaternions = orientations.random((count, 6), generator)
            quaternions[:, 5] = torch.nan
            group["quaternion"], group["grains"] = quaternions.numpy(), np.full(count, 5)
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
    several = dataclasses.replace(PARAMS, compute=ComputeSettings(engine=engine, device="cpu", workers=2))
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
    elements = VolumeElements.of(ids, q)
    coarse = elements.sampled(2)
    assert coarse.grain_id.unique().tolist() == [0, 1] and (coarse.grain_id[0, 1] == 1).all() and coarse.grains.tolist() == [2]
    torch.testing.assert_close(coarse.quaternion[0, :2].float(), q[0, [0, 2]])
    assert coarse.quaternion[0, 2].tolist() == [1, 0, 0, 0]
    assert elements.sampled(8) is elements
    with pytest.raises(UserError, match="does not divide"):
        VolumeElements.of(torch.zeros(1, 8, 8, 8, dtype=torch.int64), q).sampled(3)


def test_a_label_carries_its_grid_axis_and_material(folder):
    """Along z, sampled to 4 voxels: whoever reads the curve gets the stress along z of the elements that were simulated."""
    params = dataclasses.replace(PARAMS, cp=dataclasses.replace(PARAMS.cp, axis="z"))
    [path] = run_step(datasets.simulate_cp_dataset, params, folder, {})
    with store.open_hdf5(path) as cp, store.open_hdf5(folder / "polycrystals.h5") as polycrystals:
        curves = datasets.read_curves(polycrystals, cp, "train")
        torch.testing.assert_close(curves.stress, torch.from_numpy(cp["train/P"][:, :, 2, 2]))
    assert curves.component == (2, 2) and curves.elements.edge == 4 and curves.material.name == "Mg"
    again = datasets.simulate_cp(curves.elements.grain_id, curves.elements.quaternion, curves.material, curves.load)
    torch.testing.assert_close(again.P[:, :, 2, 2], curves.stress, rtol=1e-6, atol=1.0)


@pytest.mark.parametrize("load, component, times", [("shear", (0, 1), 4), ("cyclic", (0, 0), 13), ("unload", (0, 0), 7)])
def test_a_load_with_a_name_is_what_the_labels_are_of(folder, load, component, times):
    params = dataclasses.replace(PARAMS, cp=dataclasses.replace(PARAMS.cp, load=load))
    [path] = run_step(datasets.simulate_cp_dataset, params, folder, {})
    with store.open_hdf5(path) as cp, store.open_hdf5(folder / "polycrystals.h5") as polycrystals:
        curves = datasets.read_curves(polycrystals, cp, "train")
        torch.testing.assert_close(curves.stress, torch.from_numpy(cp["train/P"][(..., *component)]))
    assert curves.component == component and str(curves.load) == str(read_load(standard_load(load, strain=1e-3, increments=3)))
    assert len(curves.strain) == times and curves.strain[curves.peak].abs() == curves.strain.abs().max() and curves.strain[0] == 0


def test_a_load_file_is_read_and_counts_in_the_key(folder, tmp_path):
    steps = [{"boundary_conditions": {"mechanical": {"dot_F": [["x", 0, 0], [0, -1e-3, 0], [0, 0, "x"]],
                                                     "P": [[0, "x", "x"], ["x", "x", "x"], ["x", "x", 0]]}},
              "discretization": {"t": 1.0, "N": 2}}]
    path, keys = tmp_path / "load.yaml", []
    params = dataclasses.replace(PARAMS, cp=dataclasses.replace(PARAMS.cp, load=str(path)))
    for duration in (1.0, 2.0):
        steps[0]["discretization"]["t"] = duration
        path.write_text(yaml.safe_dump({"loadstep": steps}))
        [made] = run_step(datasets.simulate_cp_dataset, params, folder, {})
        keys.append(store.provenance_of(made)["key"])
        with store.open_hdf5(made) as cp, store.open_hdf5(folder / "polycrystals.h5") as polycrystals:
            curves = datasets.read_curves(polycrystals, cp, "test")
        assert curves.component == (1, 1) and curves.strain[-1] == pytest.approx(-1e-3 * duration)
    assert keys[0] != keys[1]
    with pytest.raises(UserError, match="no known load and no file"):
        datasets.load_of(dataclasses.replace(params.cp, load="torsion"))


def test_the_material_file_s_content_is_in_the_key(folder, tmp_path):
    path = tmp_path / "mine.yaml"
    text = material_file("Mg").read_text()
    keys = []
    for content in (text, text.replace("C_11: ", "C_11: 2"), text):
        path.write_text(content)
        params = dataclasses.replace(PARAMS, cp=dataclasses.replace(PARAMS.cp, material=str(path)))
        keys.append(datasets.simulate_cp_dataset.key(params, folder, {}))
    assert keys[0] == keys[2] != keys[1]


def test_a_missing_set_is_named(folder):
    with h5py.File(folder / "polycrystals.h5", "a") as file:
        del file["hexagonal/test"]
    with pytest.raises(UserError, match="hexagonal/test"):
        run_step(datasets.simulate_cp_dataset, PARAMS, folder, {})
