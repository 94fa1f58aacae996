"""The same simulations by DAMASK's grid solver (https://damask-multiphysics.org), where one is installed.

Files are written and read with the `damask` library; the solver runs as its own process, one volume element at a time.
"""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microprint.errors import UserError
from microprint.mechanics.load import LoadStep, read_load
from microprint.mechanics.materials import Material
from microprint.mechanics.simulate import CPResult
from microprint.microstructures.polycrystal import EDGE_M
from microprint.microstructures.volume_elements import VolumeElements
from microprint.microstructures.writers import write_vti

EXECUTABLES = ("damask_grid", "DAMASK_grid")
# Major version whose files and results these functions know.
VERSION = 3
_LOG_LINES = 12


def find_solver() -> str:
    """Path of DAMASK's grid solver; `UserError` if there is none or its version is another."""
    path = next(filter(None, map(shutil.which, EXECUTABLES)), None)
    if path is None:
        raise UserError(
            f"neither {' nor '.join(EXECUTABLES)} is on the PATH",
            "cp.solver = damask",
            "Install DAMASK (conda: damask-grid), or use cp.solver = spectral",
        )
    banner = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=60)
    version = re.search(r"version:?\s*v?(\d+)\.(\d+)", banner.stdout + banner.stderr, re.IGNORECASE)
    if version is None or int(version[1]) != VERSION:
        reported = version[0] if version else "no version"
        raise UserError(f"reports {reported}", path, f"Install DAMASK {VERSION}.x, or use cp.solver = spectral")
    return path


def write_inputs(folder: Path, grain_ids: Tensor, quaternions: Tensor, material: Material, load: Sequence[LoadStep]) -> None:
    """Write grid.vti, grid.yaml (the material) and load.yaml of a volume element (nx, ny, nz), quaternions without padding."""
    import damask

    folder.mkdir(parents=True, exist_ok=True)
    phase = {material.name: _phase(material)}
    write_vti(folder / "grid.vti", grain_ids.cpu().numpy(), quaternions.cpu().numpy(), EDGE_M, phase)
    steps = [_load_step(step) for step in load]
    damask.YAML(solver={"mechanical": "spectral_basic"}, loadstep=steps).save(folder / "load.yaml")


def _phase(material: Material) -> dict[str, Any]:
    phase = copy.deepcopy(dict(material.source[material.name]))
    phase["mechanical"]["output"] = ["F", "P"]
    if material.slips:
        phase["mechanical"]["plastic"]["output"] = ["xi_sl", "gamma_sl"] + (["xi_tw", "gamma_tw"] if material.twins else [])
    return phase


def _load_step(step: LoadStep) -> dict[str, Any]:
    mechanical = {}
    for pair in (("dot_F", "F"), ("P", "dot_P")):
        used = [name for name in pair if not all(isnan(value) for row in getattr(step, name) for value in row)] or pair[:1]
        if len(used) > 1:
            raise UserError(f"a load step prescribes {' and '.join(used)}", "cp.load", "DAMASK takes one of them in a step")
        [name] = used
        mechanical[name] = [["x" if isnan(value) else float(value) for value in row] for row in getattr(step, name)]
    times = {"t": float(step.t), "N": step.N}
    return {"boundary_conditions": {"mechanical": mechanical}, "discretization": times, "f_out": 1}


def simulate_with_damask(elements: VolumeElements, material: Material, load: Sequence[LoadStep], folder: Path) -> CPResult:
    """`simulate_cp` by DAMASK; a run that fails has the last lines of its log as its reason.

    `folder` takes files that are removed again.
    """
    solver, steps = find_solver(), read_load(load)
    results = []
    for ids, q, count in zip(elements.grain_id, elements.quaternion, elements.grains):
        shutil.rmtree(folder, ignore_errors=True)
        write_inputs(folder, ids, q[:count], material, steps)
        results.append(_run(solver, folder, material, 1 + sum(step.N for step in steps)))
    shutil.rmtree(folder, ignore_errors=True)
    times = next((result.time for result in results if result.converged.all()), results[0].time)
    return CPResult.join([CPResult(**{**vars(result), "time": times}) for result in results])


def run_solver(solver: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Let the solver simulate what `write_inputs` has written to a folder, on as many threads as torch has."""
    command = [solver, "--geom", "grid.vti", "--load", "load.yaml", "--material", "grid.yaml"]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | threads)


def _run(solver: str, folder: Path, material: Material, times: int) -> CPResult:
    done = run_solver(solver, folder)
    result = next(folder.glob("*.hdf5"), None)
    series, reason = {}, ""
    if done.returncode or result is None:
        log = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        reason = f"DAMASK ended with code {done.returncode}: {' | '.join(log[-_LOG_LINES:])}"
    else:
        series = _averages(result, material)
        if len(series["F"]) != times:
            series, reason = {}, f"DAMASK wrote {len(series['F'])} of {times} states"
    shapes = {"time": (), "F": (3, 3), "P": (3, 3), "cauchy": (3, 3)}
    shapes |= dict.fromkeys(("gamma_sl", "xi_sl"), (material.slips,)) | dict.fromkeys(("gamma_tw", "xi_tw"), (material.twins,))
    gaps = {name: torch.full((times, *shape), torch.nan, dtype=torch.float64) for name, shape in shapes.items()}
    values = {name: series.get(name, gap)[None] for name, gap in gaps.items()}
    values |= {"time": values["time"][0], "converged": torch.tensor([not reason]), "reason": (reason,), "note": ("",)}
    return CPResult(
        **values, **dict.fromkeys(("evaluations", "linear", "cutbacks", "substeps"), torch.zeros(1, dtype=torch.int64))
    )


def _averages(path: Path, material: Material) -> dict[str, Tensor]:
    """Volume averages (T, ...) of DAMASK's result file."""
    import damask

    result = damask.Result(path)
    names = ["F", "P", "gamma_sl", "xi_sl"][: 4 if material.slips else 2] + (["gamma_tw", "xi_tw"] if material.twins else [])
    rows = []
    for increment in result.increments:
        fields = {name: np.asarray(_only(result.view(increments=increment).place(name))) for name in names}
        F, P = fields["F"], fields["P"]
        fields["cauchy"] = P @ np.swapaxes(F, -1, -2) / np.linalg.det(F)[:, None, None]
        rows.append({name: torch.from_numpy(field.mean(0)).to(torch.float64) for name, field in fields.items()})
    series = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    return {"time": torch.tensor(list(result.times), dtype=torch.float64), **series}


def _only(value: Any) -> Any:
    """The one array of the library's nested dictionaries: a volume element has one phase."""
    while isinstance(value, dict):
        [value] = value.values()
    return value
