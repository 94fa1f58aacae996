"""Load paths: against DAMASK, in every way of writing them, at rest, and refused by name."""

import json
import math
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from microprint.errors import UserError
from microprint.mechanics import LoadStep, simulate_cp, uniaxial_tension
from microprint.mechanics.load import FREE, read_load, standard_load
from microprint.mechanics.time_step import Numerics

NAN = math.nan
IDS = np.arange(27).reshape(3, 3, 3) % 5
QUATERNIONS = np.random.default_rng(3).normal(size=(5, 4))
QUATERNIONS /= np.linalg.norm(QUATERNIONS, axis=1, keepdims=True)
DIAGONAL_FREE = [[NAN, 0.0, 0.0], [0.0, NAN, 0.0], [0.0, 0.0, NAN]]
NO_STRESS = [[0.0, NAN, NAN], [NAN, 0.0, NAN], [NAN, NAN, 0.0]]


def simulate(load, **options):
    result = simulate_cp(IDS, QUATERNIONS, "Mg", load, **options)
    assert result.converged.all(), result.reason
    return result


@pytest.mark.parametrize("name", ["unload_P", "reverse_x", "shear_xy", "biaxial"])
def test_paths_are_damasks(name):
    """A prescribed stress is reached linearly: 5e-4 of the largest stress in every component at every increment."""
    with h5py.File(Path(__file__).parents[1] / "data" / "damask_loads.h5") as file:
        expected, load, material = file[name]["P"][:], json.loads(file[name].attrs["load"]), json.loads(file.attrs["material"])
        result = simulate_cp(file["grain_id"][:].astype(int), file["quaternion"][:], material, load)
    assert np.abs(result.P[0].numpy() - expected).max() < 5e-4 * np.abs(expected).max()


X = [[1e-3, 0, 0], [0, "x", 0], [0, 0, "x"]], [["x", "x", "x"], ["x", 0, "x"], ["x", "x", 0]]
NONE = [[[None if value == "x" else value for value in row] for row in matrix] for matrix in X]
DAMASK = {"boundary_conditions": {"mechanical": {"dot_F": X[0], "P": X[1]}}, "discretization": {"t": 4, "N": 2}, "f_out": 1}
WAYS = {
    "uniaxial_tension": uniaxial_tension("x", 1e-3, 4e-3, 2),
    "one step": uniaxial_tension("x", 1e-3, 4e-3, 2)[0],
    "x as in DAMASK": [LoadStep(*X, 4.0, 2)],
    "None": [LoadStep(*NONE, 4, 2.0)],
    "numpy": [LoadStep(*(np.array(matrix, float) for matrix in NONE), np.float32(4), np.int64(2))],
    "torch": (LoadStep(*(torch.tensor(np.array(matrix, float)) for matrix in NONE), 4.0, 2),),
    "dictionary": DAMASK,
    "list of dictionaries": [DAMASK],
    "content of a file": {"solver": {"mechanical": "spectral_basic"}, "loadstep": [DAMASK]},
    "F at the end": [LoadStep(F=[[1.004, NAN, NAN], [NAN] * 3, [NAN] * 3], dot_F=[[NAN, 0, 0], [0, NAN, 0], [0, 0, NAN]], P=NONE[1], t=4.0, N=2)],
    "rate of P": [LoadStep(NONE[0], dot_P=NONE[1], t=4.0, N=2)],
}


@pytest.mark.parametrize("way", WAYS)
def test_a_path_may_be_written_in_many_ways(way):
    torch.testing.assert_close(simulate(WAYS[way]).P, simulate(WAYS["uniaxial_tension"]).P, rtol=1e-4, atol=1e4)


def test_a_load_file_of_damasks_is_read(tmp_path):
    path = tmp_path / "load.yaml"
    path.write_text(yaml.safe_dump({"solver": {"mechanical": "spectral_basic"}, "loadstep": [DAMASK, DAMASK]}))
    assert read_load(path) == read_load(str(path)) == 2 * read_load(DAMASK)


@pytest.mark.parametrize(
    "step", [LoadStep([[0.0] * 3] * 3, t=1.0, N=2), LoadStep(DIAGONAL_FREE, NO_STRESS, 1.0, 2), LoadStep(DIAGONAL_FREE, dot_P=NO_STRESS, t=1.0, N=2)]
)
def test_a_cell_at_rest_stays_there(step):
    result = simulate([step])
    assert result.P.abs().max() < 1.0
    torch.testing.assert_close(result.F[0, -1], torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-10)


def test_a_hold_relaxes_and_a_crystal_unloads_to_nothing():
    pull = uniaxial_tension("x", 1e-3, 6e-3, 6)[0]
    hold = LoadStep([[0.0] * 3] * 3, t=100.0, N=3)
    stress = simulate([pull, hold]).P[0, 6:, 0, 0]
    assert (stress.diff() < 0).all()
    single = simulate_cp(np.zeros((2, 2, 2), int), QUATERNIONS[:1], "Mg", [pull, LoadStep(DIAGONAL_FREE, NO_STRESS, 6.0, 6)])
    assert single.converged.all() and single.P[0, -1].diagonal().abs().max() < 2e-4 * single.P[0, 6].abs().max()


def test_a_rate_of_stress_and_a_deformation_at_the_end_are_reached():
    pull, rate = uniaxial_tension("x", 1e-3, 4e-3, 4)[0], 5e6
    result = simulate([pull, LoadStep(DIAGONAL_FREE, dot_P=[[-rate, NAN, NAN], [NAN, 0, NAN], [NAN, NAN, 0]], t=2.0, N=4)], numerics=Numerics(boundary=1e-6))
    torch.testing.assert_close(result.P[0, 4:, 0, 0], result.P[0, 4, 0, 0] - rate * torch.linspace(0, 2, 5, dtype=torch.float64), rtol=1e-4, atol=0)
    back = simulate([pull, LoadStep(F=np.eye(3), t=4.0, N=3)])
    torch.testing.assert_close(back.F[0, -1], torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(back.F[0, 5:, 0, 0].diff().diff(), torch.zeros(1, dtype=torch.float64))


def test_a_result_says_what_its_increments_leave_open():
    assert simulate(uniaxial_tension(strain=1e-3, increments=2)).note == ("",)
    assert "strains by 20%" in simulate(uniaxial_tension(strain=0.2, increments=1)).note[0]
    few = Numerics(newton_iterations=5, overshoot=math.inf)
    cut = simulate_cp(IDS, QUATERNIONS, "Mg", uniaxial_tension(strain=4e-3, increments=1), numerics=few)
    assert cut.cutbacks[0] > 0 and f"{int(cut.cutbacks[0])} increments were cut back" in cut.note[0]


def test_paths_with_a_name():
    ends = {name: simulate(standard_load(name, "y", strain=4e-3, increments=3)) for name in ("tension", "compression", "shear", "unload", "cyclic")}
    assert [result.F.shape[1] for result in ends.values()] == [4, 4, 4, 7, 13]
    strains = torch.stack([ends[name].F[0, -1, 1, 1] - 1 for name in ("tension", "compression")])
    torch.testing.assert_close(strains.double(), torch.tensor([4e-3, -4e-3], dtype=torch.float64))
    torch.testing.assert_close(ends["shear"].F[0, -1] - torch.eye(3), torch.tensor([[0, 0, 0], [0, 0, 4e-3], [0, 0, 0]], dtype=torch.float64))
    assert ends["unload"].P[0, -1, 1, 1].abs() < 1e-3 * ends["unload"].P[0, 3, 1, 1] and ends["unload"].F[0, -1, 1, 1] > 1.001
    turns = ends["cyclic"].F[0, [3, 9, 12], 1, 1] - 1
    torch.testing.assert_close(turns, torch.tensor([4e-3, -4e-3, 0.0], dtype=torch.float64))


def changed(**parts):
    return DAMASK | parts


MECHANICAL = DAMASK["boundary_conditions"]["mechanical"]


@pytest.mark.parametrize(
    "load, text",
    [
        ([], "no step"),
        ("nowhere.yaml", "no such load file"),
        (3, "no step"),
        ([3], r"load\[0\]: int is no load step"),
        (changed(boundary_conditions={"mechanical": {"L": X[0], "P": X[1]}}), "L is not known"),
        (changed(boundary_conditions={"mechanical": MECHANICAL | {"F": X[0]}}), "both dot_F and F"),
        (changed(boundary_conditions={"mechanical": MECHANICAL, "thermal": {}}), "thermal is not known"),
        (changed(boundary_conditions={"mechanical": {"dotF": X[0], "P": X[1]}}), "Did you mean dot_F"),
        (changed(discretization={"t": 4, "N": 2, "r": 1.2}), "increments grow"),
        (changed(discretization={"N": 2}), "t is missing"),
        (changed(discretisation={}), "Did you mean discretization"),
        ({"solver": {"thermal": "spectral"}, "loadstep": [DAMASK]}, "solver of thermal"),
        ({"loadstep": []}, "no step"),
        ([DAMASK, LoadStep([["y", 0, 0], [0, 0, 0], [0, 0, 0]])], r"load\[1\]: dot_F holds 'y'"),
        (LoadStep([[True, 0, 0], [0, 0, 0], [0, 0, 0]]), "holds True"),
        (LoadStep(FREE, FREE), "component xx has neither"),
        (LoadStep([[0.0] * 3] * 3, F=np.eye(3)), "xx has both dot_F and F"),
        (LoadStep([[0.0] * 3] * 3, N=True), "N = True"),
    ],
)
def test_other_loads_are_refused_by_name(load, text):
    with pytest.raises(UserError, match=text):
        read_load(load)


@pytest.mark.parametrize("content, text", [("loadstep: [", "not valid YAML"), ("- 1", "no list 'loadstep'"), ("a: 1", "no list 'loadstep'")])
def test_other_files_are_refused_by_name(tmp_path, content, text):
    path = tmp_path / "load.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=text):
        read_load(path)
