"""The step that simulates the study's hexagonal volume elements by crystal plasticity."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import torch
from torch import Tensor

from microprint.chunks import Chunk, compute_chunks, split, write
from microprint.compute import Job, choose_device, step
from microprint.errors import UserError
from microprint.mechanics.load import uniaxial_tension
from microprint.mechanics.materials import load_material
from microprint.mechanics.simulate import CPResult, simulate_cp
from microprint.params import CrystalPlasticity

SETS = ("train", "validation", "test")
_UNITS = {"time": "s", "F": "1", "P": "Pa", "cauchy": "Pa", "gamma_sl": "1", "gamma_tw": "1", "xi_sl": "Pa", "xi_tw": "Pa"}


@step(reads=("cp",), inputs=("polycrystals.h5",), outputs=("cp.h5",), chunked=True)
def simulate_cp_dataset(job: Job) -> None:
    """Stress-strain response of the hexagonal volume elements, chunk by chunk; resumes with the chunks that are missing.

    Writes a group for each set: time (T,), F, P, cauchy (N, T, 3, 3), gamma_*, xi_* (N, T, systems), all volume
    averages; converged (N,), reason (N,); evaluations, linear, cutbacks (N,).
    """
    settings = job.params.cp
    simulate = partial(simulate_chunk, settings=settings, device=job.params.compute.device)
    results = compute_chunks(job, simulate, _chunks(job), "crystal plasticity", "VEs")
    with job.create("cp.h5", kind="cp") as target:
        target.attrs.update(
            material=settings.material,
            axis=settings.axis,
            strain=settings.strain,
            rate_per_s=settings.rate,
            edge=settings.edge,
            scheme=settings.scheme,
            solver=settings.solver,
            axes="volume averages [element, time, ...]; the first time is the undeformed state",
        )
        for chunk, arrays in results:
            _write(target.require_group(Path(chunk.group).name), chunk, arrays)


def _chunks(job: Job) -> list[Chunk]:
    with job.open("polycrystals.h5") as source:
        for name in SETS:
            if f"hexagonal/{name}" not in source:
                raise UserError(f"has no set hexagonal/{name}", source.filename, "Run notebook 01 with hexagonal elements")
        counts = {f"hexagonal/{name}": len(source[f"hexagonal/{name}/grain_id"]) for name in SETS}
    path, size = job.folder / "polycrystals.h5", job.params.cp.chunk
    return [chunk for group, count in counts.items() for chunk in split(path, group, count, size)]


def simulate_chunk(chunk: Chunk, settings: CrystalPlasticity, device: str) -> dict[str, np.ndarray]:
    """Fields of `CPResult` as arrays for some volume elements of polycrystals.h5."""
    grain_id, quaternion = chunk.read("grain_id", "quaternion")
    ids, quaternions = sample(torch.from_numpy(grain_id.astype(np.int64)), torch.from_numpy(quaternion), settings.edge)
    result = _simulate(settings, ids, quaternions, choose_device(device))
    values = {field.name: getattr(result, field.name) for field in fields(CPResult)}
    return {name: np.asarray(value) for name, value in values.items() if value is not None}


def _simulate(settings: CrystalPlasticity, ids: Tensor, quaternions: Tensor, device: torch.device) -> CPResult:
    material = load_material(settings.material)
    load = uniaxial_tension(settings.axis, settings.rate, settings.strain, settings.increments)
    if settings.solver == "damask":
        from microprint.mechanics.damask_backend import simulate_with_damask

        with TemporaryDirectory() as folder:
            return simulate_with_damask(ids, quaternions, material, load, Path(folder) / "damask")
    return simulate_cp(ids, quaternions, material, load, scheme=settings.scheme, device=device)


def _write(group: h5py.Group, chunk: Chunk, arrays: dict[str, np.ndarray]) -> None:
    time = arrays.pop("time")
    if "time" not in group or np.isnan(group["time"][-1]):  # DAMASK states no times where all elements of a chunk failed
        group.require_dataset("time", time.shape, time.dtype)[:] = time
    write(group, chunk, arrays)
    for name, unit in _UNITS.items():
        group[name].attrs["unit"] = unit


def sample(grain_ids: Tensor, quaternions: Tensor, edge: int) -> tuple[Tensor, Tensor]:
    """Volume elements on a coarser grid, of every k-th voxel.

    Parameters
    ----------
    grain_ids : (B, n, n, n).
    quaternions : (B, G, 4).
    edge : voxels along each edge afterwards; a divisor of n, or larger than n, which keeps the grid.

    Returns
    -------
    grain ids (B, edge, edge, edge) and quaternions (B, G, 4), numbered anew where a small grain fell through the grid.
    """
    stride, rest = divmod(grain_ids.shape[-1], edge)
    if stride > 1 and rest:
        raise UserError(
            f"cp.edge = {edge} does not divide the edge {grain_ids.shape[-1]} of the volume elements",
            "parameters",
            "Choose a divisor",
        )
    stride = max(stride, 1)
    coarse = grain_ids[:, ::stride, ::stride, ::stride]
    ids, quats = coarse.clone(), torch.full_like(quaternions, torch.nan)
    for i, element in enumerate(coarse):
        present, ids[i] = torch.unique(element, return_inverse=True)
        quats[i, : len(present)] = quaternions[i, present]
    return ids, quats
