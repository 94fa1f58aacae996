"""DAMASK's input files, read back, and what happens without or with a broken solver."""

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from microprint import orientations
from microprint.errors import UserError
from microprint.mechanics import LoadStep, damask_backend, uniaxial_tension
from microprint.mechanics.materials import load_material
from microprint.microstructures.volume_elements import VolumeElements

damask = pytest.importorskip("damask")
DATA = Path(__file__).parents[1] / "data"


def executable(folder, text):
    path = folder / "DAMASK_grid"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A PATH on which only the test's own solver can be found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return folder


def test_input_files_hold_the_reference_case(reference, tmp_path):
    case = reference["volume_elements/Mg random 101"]
    ids, q = torch.from_numpy(case["grain_id"][:].astype(int)), torch.from_numpy(case["quaternion"][:])
    damask_backend.write_inputs(tmp_path, ids, q, load_material("Mg"), uniaxial_tension())
    grid = damask.GeomGrid.load(tmp_path / "grid.vti")
    np.testing.assert_array_equal(grid.material, ids)
    np.testing.assert_allclose(grid.size, 2.77e-5)
    config = damask.ConfigMaterial.load(tmp_path / "grid.yaml")
    assert config.is_complete and config.is_valid
    written = np.array([entry["constituents"][0]["O"] for entry in config["material"]])
    assert orientations.one_minus_abs_dot(torch.from_numpy(written), q).abs().max() < 1e-12
    plastic = config["phase"]["Mg"]["mechanical"]["plastic"]
    assert plastic["xi_0_sl"] == [10e6, 55e6, 60e6, 0.0, 60e6] and plastic["N_tw"] == [6, 0, 6]
    load = yaml.safe_load((tmp_path / "load.yaml").read_text())
    mechanical = load["loadstep"][0]["boundary_conditions"]["mechanical"]
    assert mechanical["dot_F"] == [[0.001, 0, 0], [0, "x", 0], [0, 0, "x"]] and mechanical["P"] == [
        ["x"] * 3,
        ["x", 0, "x"],
        ["x", "x", 0],
    ]
    assert load["loadstep"][0]["discretization"] == {"t": 10.0, "N": 20} and load["solver"] == {"mechanical": "spectral_basic"}


def test_voxels_lie_in_damasks_order(tmp_path):
    """In grid.vti x runs fastest; steps of a load path and prescribed stresses are written one by one."""
    ids = torch.arange(24).reshape(2, 3, 4)
    nan = float("nan")
    pull = LoadStep([[1e-3, 0, 0], [0, nan, 0], [0, 0, nan]], [[nan] * 3, [nan, 2e6, nan], [nan, nan, 0.0]], t=2.0, N=3)
    damask_backend.write_inputs(
        tmp_path,
        ids,
        orientations.random(24, torch.Generator().manual_seed(0)),
        load_material("Cu"),
        [pull, *uniaxial_tension("z")],
    )
    grid = damask.VTK.load(tmp_path / "grid.vti")
    np.testing.assert_array_equal(grid.get("material").ravel(), ids.permute(2, 1, 0).flatten())
    np.testing.assert_allclose(damask.GeomGrid.load(tmp_path / "grid.vti").size, np.array([2, 3, 4]) / 2 * 2.77e-5)
    first, second = yaml.safe_load((tmp_path / "load.yaml").read_text())["loadstep"]
    assert first["boundary_conditions"]["mechanical"]["P"][1] == ["x", 2e6, "x"]
    assert first["discretization"] == {"t": 2.0, "N": 3} and first["f_out"] == 1
    assert second["boundary_conditions"]["mechanical"]["dot_F"] == [["x", 0, 0], [0, "x", 0], [0, 0, 0.001]]


@pytest.mark.parametrize("case", ["Mg random 101", "Mg basal 5000", "Cu random 102"])
def test_phases_are_those_of_the_reference(reference, case, tmp_path):
    group = reference[f"volume_elements/{case}"]
    name = group.attrs["material"]
    ids, q = torch.from_numpy(group["grain_id"][:].astype(int)), torch.from_numpy(group["quaternion"][:])
    damask_backend.write_inputs(tmp_path, ids, q, load_material(name), uniaxial_tension())
    phase = damask.ConfigMaterial.load(tmp_path / "grid.yaml")["phase"][name]
    source = load_material(name).source[name]
    assert phase["lattice"] == source["lattice"] and phase["mechanical"]["elastic"] == source["mechanical"]["elastic"]
    given, written = (dict(p["mechanical"]["plastic"]) for p in (source, phase))
    assert set(written.pop("output")) == set(given.pop("output")) and written == given
    with h5py.File(DATA / "damask_mg_8.h5") as file:
        kept = json.loads(file.attrs["material_json"])["Mg"]["mechanical"]["plastic"]
    if name == "Mg":
        assert {key: kept[key] for key in given} == given


def write_result(path, series, label="Cu"):
    """A result file in DAMASK's layout: one phase; series of name -> (T, voxels, ...)."""
    voxels = series["F"].shape[1]
    with h5py.File(path, "w") as file:
        file.attrs.update(DADF5_version_major=1, DADF5_version_minor=0)
        file.create_group("geometry").attrs.update(cells=np.array([voxels, 1, 1]), size=np.ones(3), origin=np.zeros(3))
        cells = np.zeros(voxels, dtype=[("label", "S8"), ("entry", "i4")])
        cells["entry"] = np.arange(voxels)
        for kind, name, shape in (("phase", label, (voxels, 1)), ("homogenization", "SX", (voxels,))):
            cells["label"] = name
            file[f"cell_to/{kind}"] = cells.reshape(shape)
        for increment in range(len(series["F"])):
            group = file.create_group(f"increment_{increment}")
            group.attrs["t/s"] = 0.5 * increment
            group.create_group("geometry"), group.create_group("homogenization/SX/mechanical")
            for name, values in series.items():
                dataset = group.create_dataset(f"phase/{label}/mechanical/{name}", data=values[increment])
                dataset.attrs.update(unit=b"Pa", description=b"made for this test")


def test_results_are_read_and_averaged(path, tmp_path):
    generator = np.random.default_rng(0)
    series = {"F": np.eye(3) + 0.01 * generator.normal(size=(3, 8, 3, 3)), "P": generator.normal(size=(3, 8, 3, 3))}
    series |= {name: generator.random((3, 8, 12)) for name in ("gamma_sl", "xi_sl")}
    write_result(tmp_path / "made.hdf5", series)
    executable(
        path,
        f'if [ "$1" = "--help" ]; then echo "DAMASK Version: 3.0.2"; exit; fi; '
        f"echo $@ > {tmp_path}/arguments; ls > {tmp_path}/inputs; cp {tmp_path}/made.hdf5 grid_load_material.hdf5",
    )
    ids, q = torch.zeros(2, 2, 2, 2, dtype=torch.int64), torch.tensor([[[1.0, 0.0, 0.0, 0.0]]] * 2)
    result = damask_backend.simulate_with_damask(
        VolumeElements.of(ids, q), load_material("Cu"), uniaxial_tension(increments=2, strain=1e-3), tmp_path / "work"
    )
    assert result.converged.all() and result.time.tolist() == [0.0, 0.5, 1.0] and not (tmp_path / "work").exists()
    for name, values in series.items():
        np.testing.assert_allclose(getattr(result, name)[1], values.mean(1))
    expected = np.einsum("tvij,tvkj->tvik", series["P"], series["F"]) / np.linalg.det(series["F"])[..., None, None]
    np.testing.assert_allclose(result.cauchy[0], expected.mean(1))
    assert result.gamma_tw.shape == (2, 3, 0)
    arguments = (tmp_path / "arguments").read_text().split()
    assert arguments[1::2] == ["grid.vti", "load.yaml", "grid.yaml"] and arguments[::2] == [
        "--geom",
        "--load",
        "--material",
    ]
    assert (tmp_path / "inputs").read_text().split() == ["grid.vti", "grid.yaml", "load.yaml"]


def test_a_run_that_ends_early_is_a_failure(path, tmp_path):
    series = {"F": np.tile(np.eye(3), (2, 8, 1, 1)), "P": np.zeros((2, 8, 3, 3))}
    series |= {name: np.zeros((2, 8, 12)) for name in ("gamma_sl", "xi_sl")}
    write_result(tmp_path / "made.hdf5", series)
    executable(path, f'[ "$1" = "--help" ] && echo "Version: 3.0.2" || cp {tmp_path}/made.hdf5 grid_load_material.hdf5')
    ids, q = torch.zeros(1, 2, 2, 2, dtype=torch.int64), torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    result = damask_backend.simulate_with_damask(VolumeElements.of(ids, q), load_material("Cu"), uniaxial_tension(increments=2), tmp_path / "work")
    assert result.reason == ("DAMASK wrote 2 of 3 states",) and torch.isnan(result.P).all() and not result.converged.any()


def test_without_a_solver(path):
    with pytest.raises(UserError, match="neither damask_grid nor DAMASK_grid"):
        damask_backend.find_solver()


@pytest.mark.parametrize(
    "banner, accepted",
    [
        ("Version: 3.0.2", True),
        ("DAMASK_grid version: v3.1.0-beta", True),
        ("Version: 2.0.3", False),
        ("Version: 30.1", False),
        ("", False),
    ],
)
def test_version_of_the_solver_is_checked(path, banner, accepted):
    executable(path, f'echo "{banner}"')
    if accepted:
        assert damask_backend.find_solver() == str(path / "DAMASK_grid")
    else:
        with pytest.raises(UserError, match=f"reports {banner.rpartition('.')[0] or 'no version'}"):
            damask_backend.find_solver()


def test_a_failure_is_passed_on_with_the_end_of_the_log(path, tmp_path):
    """And the element after it is simulated all the same."""
    series = {"F": np.tile(np.eye(3), (2, 8, 1, 1)), "P": np.zeros((2, 8, 3, 3))}
    series |= {name: np.zeros((2, 8, 12)) for name in ("gamma_sl", "xi_sl")}
    write_result(tmp_path / "made.hdf5", series)
    executable(
        path,
        'if [ "$1" = "--help" ]; then echo "Version: 3.0.2"; exit; fi\n'
        f"if [ -e {tmp_path}/ran ]; then cp {tmp_path}/made.hdf5 grid_load_material.hdf5; exit; fi\n"
        f"touch {tmp_path}/ran; seq 1 100; echo error 838: out of luck; exit 1",
    )
    ids, q = torch.zeros(2, 2, 2, 2, dtype=torch.int64), torch.tensor([[[1.0, 0.0, 0.0, 0.0]]] * 2)
    result = damask_backend.simulate_with_damask(VolumeElements.of(ids, q), load_material("Cu"), uniaxial_tension(increments=1), tmp_path / "work")
    assert result.converged.tolist() == [False, True]
    assert "code 1" in result.reason[0] and result.reason[0].endswith("98 | 99 | 100 | error 838: out of luck")
    assert "50" not in result.reason[0] and result.reason[1] == ""
    assert torch.isnan(result.P[0]).all() and result.P.shape == (2, 2, 3, 3) and result.time.tolist() == [0.0, 0.5]
