"""The program that holds the solver to DAMASK's results, on two volume elements kept with the tests."""

import importlib.util
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def verify():
    path = Path(__file__).parents[2] / "benchmarks" / "verify_mechanics.py"
    spec = importlib.util.spec_from_file_location("verify_mechanics", path)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_elements_and_fields_are_damasks(verify, capsys):
    """Mean P_xx within 5e-4 at every increment, 8^3 and 16^3; the field of P within 0.5 % rms."""
    assert verify.main([str(DATA / "damask_mg_8.h5"), str(DATA / "damask_mg_16.h5"), "--fields"]) == 0
    printed = capsys.readouterr().out
    assert "2 of 2 cases within tolerance" in printed and "P_Pa" in printed


def test_a_case_out_of_tolerance_ends_with_one(verify, tmp_path, capsys):
    path = shutil.copy(DATA / "damask_mg_8.h5", tmp_path)
    with h5py.File(path, "r+") as file:
        file["series/P"][:] *= np.linspace(1.0, 1.01, 21)[:, None, None]
    assert verify.main([str(path)]) == 1
    assert "FAILED: P_xx 9.9e-03 > 5e-04" in capsys.readouterr().out


def test_a_run_that_fails_is_out_of_tolerance(verify, monkeypatch, capsys):
    monkeypatch.setitem(verify.NUMERICS, "element", verify.Numerics(newton_iterations=2, cutbacks=0))
    assert verify.main([str(DATA / "damask_mg_8.h5")]) == 1
    assert "did not converge: equilibrium" in capsys.readouterr().out


def test_cut_back_increments_are_taken_in_the_same_halves(verify, tmp_path):
    path = shutil.copy(DATA / "damask_mg_8.h5", tmp_path)
    with h5py.File(path, "r+") as file:
        times = file["series/solver_step_time"][:]
        del file["series/solver_step_time"]
        file["series/solver_step_time"] = np.sort(np.append(times, 0.75))
    [case] = verify.read_cases(Path(path))
    assert [(step.t, step.N) for step in case.load] == [(0.5, 1), (0.5, 2), (9.0, 18)]
    assert case.stored.tolist() == [0, 1, *range(3, 22)]


@pytest.mark.parametrize(
    "spoil, text",
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:30000]), "truncated"),
        (lambda path: path.write_text("P: 1"), "signature"),
        (lambda path: _edit(path, lambda file: file.pop("series")), "no group with the datasets F and P"),
        (lambda path: _edit(path, lambda file: file.pop("grain_id")), "cannot be used"),
        (lambda path: _edit(path, lambda file: file.attrs.pop("material_json")), "no material_json"),
        (
            lambda path: _edit(path, lambda file: file["series/P"].write_direct(np.full((21, 3, 3), np.nan))),
            "no series of tensors",
        ),
    ],
)
def test_an_unusable_file_ends_with_two(verify, spoil, text, tmp_path, capsys):
    path = Path(shutil.copy(DATA / "damask_mg_8.h5", tmp_path))
    spoil(path)
    assert verify.main([str(path)]) == 2
    error = capsys.readouterr().err
    assert text in error and path.name in error and error.count("\n") == 1


def _edit(path, change):
    with h5py.File(path, "r+") as file:
        change(file)
