"""DAMASK's input files, read back, and what happens without or with a broken solver."""

import os

import numpy as np
import pytest
import torch
import yaml

from microprint import orientations
from microprint.errors import UserError
from microprint.mechanics import damask_backend, uniaxial_tension
from microprint.mechanics.materials import load_material

damask = pytest.importorskip("damask")


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
    config = damask.ConfigMaterial.load(tmp_path / "material.yaml")
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


def test_without_a_solver(path):
    with pytest.raises(UserError, match="neither damask_grid nor DAMASK_grid"):
        damask_backend.find_solver()


def test_another_version_is_refused(path):
    executable(path, 'echo "Version: 2.0.3"')
    with pytest.raises(UserError, match="2.0"):
        damask_backend.find_solver()


def test_a_failure_is_passed_on_with_the_end_of_the_log(path, tmp_path):
    executable(path, 'if [ "$1" = "--help" ]; then echo "Version: 3.0.2"; else echo "error 838: out of luck"; exit 1; fi')
    ids, q = torch.zeros(1, 2, 2, 2, dtype=torch.int64), torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    result = damask_backend.simulate_with_damask(ids, q, load_material("Mg"), uniaxial_tension(), tmp_path / "work")
    assert not result.converged.any() and "code 1" in result.reason[0] and "out of luck" in result.reason[0]
    assert result.P.shape == (1, 21, 3, 3) and torch.isnan(result.P).all()
