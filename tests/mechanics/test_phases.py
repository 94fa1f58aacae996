"""Phases of DAMASK's examples under tension and shear, against the results of DAMASK 3.0.2."""

import json
from math import inf, nan
from pathlib import Path

import h5py
import numpy as np
import pytest

from microprint.mechanics import LoadStep, simulate_cp
from microprint.mechanics.time_step import Numerics

DATA = Path(__file__).parents[1] / "data" / "damask_materials_8.h5"


def steps(load):
    for step in json.loads(load):
        condition = step["boundary_conditions"]["mechanical"]
        dot_F, P = ([[nan if value == "x" else value for value in row] for row in condition[key]] for key in ("dot_F", "P"))
        yield LoadStep(dot_F=dot_F, P=P, **step["discretization"])


@pytest.mark.parametrize("load", ["tension_x", "shear_xy"])
@pytest.mark.parametrize("phase", ["Ti", "Al", "DP-steel-ferrite", "polygonal-ferrite", "Pt-5pctCu"])
def test_mean_stress_is_damasks(phase, load):
    with h5py.File(DATA) as file:
        material, case = json.loads(file[phase].attrs["material"]), file[phase][load]
        expected, path, grains, quaternions = case[:], case.attrs["load"], file["grain_id"][:], file["quaternion"][:]
    undivided = Numerics(overshoot=inf)  # in DAMASK's time steps
    result = simulate_cp(grains.astype(int), quaternions, material, list(steps(path)), numerics=undivided)
    assert result.converged.all() and (result.cutbacks == 0).all()
    assert np.abs(result.P[0].numpy() - expected).max() < 2e-4 * np.abs(expected).max()
