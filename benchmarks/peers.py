"""Other solvers' times on the same problem, where they are installed: materialite (numpy, small strain) and DAMASK.

Each function answers None without its peer. materialite may live in an interpreter of its own, named by the
environment variable MATERIALITE_PYTHON; it needs nothing of this package. It runs in a child process on one thread, whose
time is that of the simulation alone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")}


class Run(NamedTuple):
    """CPU and wall time in s, and the mean Cauchy stress along x (T,) in Pa at the strains asked for."""

    cpu: float
    wall: float
    stress: np.ndarray


def damask_version() -> str | None:
    """Version of DAMASK's grid solver and what the compiler was told of speed, which matters twofold."""
    if (solver := damask_solver()) is None:
        return None
    banner = subprocess.run([solver, "--help"], capture_output=True, text=True).stdout
    version, *flags = re.findall(r"(?<=Version: v)[\d.]+|(?<= )(?:-O\d|-march=\S+|-flto)", banner)
    return " ".join([version, *sorted(set(flags))])


def damask_solver() -> str | None:
    """Path of DAMASK's grid solver; to ask takes as long as a start of it."""
    from microprint import UserError
    from microprint.mechanics.damask_backend import find_solver

    try:
        return find_solver()
    except UserError:
        return None


def materialite_version() -> str | None:
    """Version of materialite in its interpreter."""
    code = "import materialite, importlib.metadata as m; print(m.version('materialite'))"
    done = subprocess.run([_interpreter(), "-c", code], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def materialite_slip_only(
    grain_id: np.ndarray,
    crystal_from_sample: np.ndarray,
    phase: dict[str, Any],
    directions: np.ndarray,
    normals: np.ndarray,
    *,
    strain: float = 0.01,
    increments: int = 20,
    rate: float = 1e-3,
) -> Run | None:
    """Tension along x of an hP polycrystal by materialite's small-strain FFT solver, with slip alone.

    The law is that of `microprint.mechanics.phenopowerlaw` without twins and with all interactions 1; lateral normal
    stress is nil, shear strain too. materialite chooses its own time steps within the increments.

    Parameters
    ----------
    grain_id : (n, n, n).   crystal_from_sample : (G, 3, 3).
    phase : DAMASK's, as `microprint.mechanics.materials` holds it.
    directions, normals : (S, 3) unit vectors of the slip systems, crystal axes.
    strain, increments, rate : as in `microprint.mechanics.uniaxial_tension`.
    """
    if materialite_version() is None:
        return None
    arrays = dict(grain_id=grain_id, crystal_from_sample=crystal_from_sample, directions=directions, normals=normals)
    times = [strain / rate * (i + 1) / increments for i in range(increments)]
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "problem.npz", **arrays)
        (Path(folder) / "problem.json").write_text(json.dumps({"phase": phase, "times": times, "rate": rate}))
        subprocess.run([_interpreter(), __file__, folder], check=True, env=os.environ | ONE_THREAD)
        answer = json.loads((Path(folder) / "answer.json").read_text())
    return Run(answer["cpu"], answer["wall"], np.array(answer["stress"]))


def _interpreter() -> str:
    return os.environ.get("MATERIALITE_PYTHON", sys.executable)


# ---------------------------------------------------------------------------------------------- in the child process


def _solve(folder: Path) -> None:
    from materialite import Material, Orientation

    problem, arrays = json.loads((folder / "problem.json").read_text()), np.load(folder / "problem.npz")
    ids, times = arrays["grain_id"], problem["times"]
    # Points are ordered with x slowest; an orientation turns crystal axes into sample axes.
    rotations = arrays["crystal_from_sample"][ids.reshape(-1)].transpose(0, 2, 1)
    material = Material(dimensions=ids.shape).create_fields({"orientation": Orientation(rotations, "p")})
    model = _model(_law(problem["phase"]["mechanical"], arrays), problem["rate"], times)
    wall, cpu = time.perf_counter(), time.process_time()
    states = model.run(
        material,
        output_times=np.array(times),
        postprocessor=lambda outputs: {"mean_stress": outputs["stress"].mean("p").cartesian[0, 0]},
    ).state["mean_stress"]
    seconds = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    (folder / "answer.json").write_text(json.dumps(seconds | {"stress": [float(value) for value in states]}))


def _law(mechanical: dict[str, Any], arrays: Any) -> Any:
    from materialite import Order4SymmetricTensor, Scalar, SlipSystem, Vector
    from materialite.models.small_strain_fft import ElasticViscoplastic

    elastic, plastic = mechanical["elastic"], mechanical["plastic"]
    family = [f for f, count in enumerate(plastic["N_sl"]) for _ in range(count)]
    xi_0, xi_inf, h_0, a = (np.array(plastic[key])[family] for key in ("xi_0_sl", "xi_inf_sl", "h_0_sl-sl", "a_sl"))

    def harden(_: Any, __: Any, xi: Any, rates: Any, dt: float) -> Any:
        """The law dxi = h_0 (1 - xi/xi_inf)^a dGamma, integrated over the step: (1 - xi/xi_inf)^(1-a) is linear in Gamma."""
        gain = (a - 1) * h_0 / xi_inf * dt * np.abs(rates.components).sum(-1, keepdims=True)
        left = ((1 - xi.components / xi_inf) ** (1 - a) + gain) ** (1 / (1 - a))
        return Scalar(xi_inf * (1 - left), "ps")

    return ElasticViscoplastic(
        Order4SymmetricTensor.from_transverse_isotropic_constants(*(elastic[f"C_{ij}"] for ij in (11, 12, 13, 33, 44))),
        SlipSystem(Vector(arrays["normals"], "s"), Vector(arrays["directions"], "s")),
        plastic["dot_gamma_0_sl"][0],
        plastic["n_sl"][0],
        Scalar(xi_0, "s"),
        harden,
        {},
    )


def _model(law: Any, rate: float, times: list[float]) -> Any:
    from materialite import Order2SymmetricTensor
    from materialite.models.small_strain_fft import LoadSchedule, SmallStrainFFT

    load = LoadSchedule.from_constant_rates(
        Order2SymmetricTensor([rate, 0.0, 0.0, 0.0, 0.0, 0.0]), Order2SymmetricTensor.zero(), np.array([0, 1, 1, 0, 0, 0])
    )
    return SmallStrainFFT(load, end_time=times[-1], initial_time_increment=times[0], constitutive_model=law)


if __name__ == "__main__":
    _solve(Path(sys.argv[1]))
