"""The step that simulates the study's hexagonal volume elements by crystal plasticity."""

from __future__ import annotations

from dataclasses import fields

import h5py
import numpy as np
import torch
from torch import Tensor

from microprint import store
from microprint.compute import Job, step
from microprint.errors import UserError
from microprint.mechanics.load import uniaxial_tension
from microprint.mechanics.materials import load_material
from microprint.mechanics.simulate import CPResult, simulate_cp
from microprint.params import CrystalPlasticity

SETS = ("train", "validation", "test")
_UNITS = {"time": "s", "F": "1", "P": "Pa", "cauchy": "Pa", "gamma_sl": "1", "gamma_tw": "1", "xi_sl": "Pa", "xi_tw": "Pa"}
_COUNTS = ("evaluations", "linear", "cutbacks")


@step(reads=("cp",), inputs=("polycrystals.h5",), outputs=("cp.h5",))
def simulate_cp_dataset(job: Job) -> None:
    """Stress-strain response of the hexagonal volume elements; resumes at the first chunk that is missing.

    Writes a group for each set: time (T,), F, P, cauchy (N, T, 3, 3), gamma_*, xi_* (N, T, systems), all volume
    averages; converged (N,), reason (N,); evaluations, linear, cutbacks (N,).
    """
    settings = job.params.cp
    with job.open("polycrystals.h5") as source, job.create("cp.h5", kind="cp") as target:
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
        chunks = [(name, start) for name in SETS for start in range(0, len(_set(source, name)["grain_id"]), settings.chunk)]
        results: dict[str, list[CPResult]] = {name: [] for name in SETS}
        for name, start in job.progress(chunks, "crystal plasticity"):
            results[name].append(_chunk(job, _set(source, name), name, start))
        for name, parts in results.items():
            _write(target.create_group(name), CPResult.join(parts))


def _set(source: h5py.File, name: str) -> h5py.Group:
    if f"hexagonal/{name}" not in source:
        raise UserError(f"has no set hexagonal/{name}", source.filename, "Run notebook 01 with hexagonal volume elements")
    return source[f"hexagonal/{name}"]


def _chunk(job: Job, group: h5py.Group, name: str, start: int) -> CPResult:
    """Result of some volume elements, simulated now or before the step was interrupted."""
    settings, path = job.params.cp, job.workdir / f"{name}-{start:06d}.npz"
    if not path.is_file():
        index = slice(start, start + settings.chunk)
        ids, quaternions = sample(
            torch.from_numpy(group["grain_id"][index].astype(np.int64)),
            torch.from_numpy(group["quaternion"][index]),
            settings.edge,
        )
        result = _simulate(settings, ids, quaternions, job)
        arrays = {f.name: np.asarray(getattr(result, f.name)) for f in fields(CPResult) if getattr(result, f.name) is not None}
        with store.atomic(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)
    with np.load(path, allow_pickle=False) as saved:
        arrays = {key: torch.from_numpy(saved[key]) for key in saved.files if key != "reason"}
        return CPResult(**arrays, reason=tuple(str(reason) for reason in saved["reason"]))


def _simulate(settings: CrystalPlasticity, ids: Tensor, quaternions: Tensor, job: Job) -> CPResult:
    material = load_material(settings.material)
    load = uniaxial_tension(settings.axis, settings.rate, settings.strain, settings.increments)
    if settings.solver == "damask":
        from microprint.mechanics.damask_backend import simulate_with_damask

        return simulate_with_damask(ids, quaternions, material, load, job.workdir / "damask")
    return simulate_cp(ids, quaternions, material, load, scheme=settings.scheme, device=job.device)


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


def _write(group: h5py.Group, result: CPResult) -> None:
    for name, unit in _UNITS.items():
        group.create_dataset(name, data=getattr(result, name).numpy(), compression="gzip").attrs["unit"] = unit
    group["converged"] = result.converged.numpy()
    group.create_dataset("reason", data=np.array(result.reason, dtype=object), dtype=h5py.string_dtype())
    for name in _COUNTS:
        group[name] = getattr(result, name).numpy()
