"""The step that simulates the study's hexagonal volume elements by crystal plasticity, and the reader of its curves."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import h5py
import numpy as np
import torch
from torch import Tensor

from microprint import store
from microprint.chunks import Arrays, Chunk, compute_chunks, split, write
from microprint.errors import UserError
from microprint.machine import choose_device
from microprint.mechanics.load import LoadName, LoadStep, driven_component, from_plain, plain, read_load, standard_load
from microprint.mechanics.materials import Material, load_material, material_file
from microprint.mechanics.simulate import CPResult, simulate_cp
from microprint.microstructures.sets import require_sets, set_edges
from microprint.microstructures.volume_elements import VolumeElements, read_volume_elements, stored_set
from microprint.params.relations import SYNTHETIC
from microprint.params.sections import CrystalPlasticitySettings, Params
from microprint.steps import Files, Job, step

SYMMETRY, SETS = "hexagonal", ("train", "validation", "test")
LEAST = {f"{SYMMETRY}/train": 2, f"{SYMMETRY}/validation": 1, f"{SYMMETRY}/test": 1}  # volume elements; a surrogate needs two
# Not the section: what only the campaign needs makes no curve of this data set anew.
READ = tuple(f"cp.{name}" for name in "material edge load axis strain rate increments scheme solver chunk".split())
_UNITS = {"time": "s", "F": "1", "P": "Pa", "cauchy": "Pa", "gamma_sl": "1", "gamma_tw": "1", "xi_sl": "Pa", "xi_tw": "Pa"}


def cp_files(params: Params) -> Files:
    """The material's file, and the load's.

    Raises `UserError` for an unusable material or load, a grid that does not suit, and DAMASK where it is not; `MissingData`
    for sets that are missing.
    """
    require_sets(params, LEAST)
    _check_grid(params)
    load_material(params.cp.material)
    if params.cp.solver == "damask":
        from microprint.mechanics.damask_backend import find_solver

        find_solver()
    own_load = {} if params.cp.load in get_args(LoadName) else {"load": Path(params.cp.load)}
    load_of(params.cp)
    return {"material": material_file(params.cp.material)} | own_load


def _check_grid(params: Params) -> None:
    """Raise `UserError` if the volume elements of a user cannot be sampled on the grid of `cp.edge`."""
    if params.polycrystals.source != SYNTHETIC:
        edge, coarse = set_edges(params)[f"{SYMMETRY}/train"], params.cp.edge
        if coarse < edge and edge % coarse:
            what = f"cp.edge = {coarse} does not divide the {edge} voxels along an edge of the {SYMMETRY} volume elements"
            raise UserError(what, params.polycrystals.source, f"Choose a divisor, or {edge} itself")


def load_of(settings: CrystalPlasticitySettings) -> tuple[LoadStep, ...]:
    """The load path that the parameters name; raises `UserError` for an unknown name and what `read_load` refuses."""
    if settings.load in get_args(LoadName):
        return standard_load(settings.load, settings.axis, settings.rate, settings.strain, settings.increments)
    if not Path(settings.load).is_file():
        remedy = f"Use {', '.join(get_args(LoadName))}, or the path of a load file of DAMASK's"
        raise UserError(f"cp.load = {settings.load!r} is no known load and no file", remedy=remedy)
    return read_load(settings.load)


@step(reads=READ, inputs=("polycrystals.h5",), outputs=("cp.h5",), files=cp_files, chunked=True)
def simulate_cp_dataset(job: Job) -> None:
    """Stress-strain response of the hexagonal volume elements, chunk by chunk; resumes with the chunks that are missing.

    Writes a group for each set: time (T,), F, P, cauchy (N, T, 3, 3), gamma_*, xi_* (N, T, systems), all volume
    averages; converged (N,), reason (N,); evaluations, linear, cutbacks, substeps (N,). Its attributes are what a label
    belongs to: the grid, the load and the material that were simulated.
    """
    settings, polycrystals = job.params.cp, job.path("polycrystals.h5")
    with job.open("polycrystals.h5") as source:
        shapes = {name: stored_set(source, f"{SYMMETRY}/{name}")["grain_id"].shape for name in SETS}
    chunks = []
    for name, shape in shapes.items():
        chunks += split(f"{SYMMETRY}/{name}", shape[0], settings.chunk, polycrystals)
    simulate = partial(simulate_chunk, settings=settings, device=job.params.compute.device)
    results = compute_chunks(job, simulate, chunks, "crystal plasticity", "VEs")
    with job.create("cp.h5", kind="cp") as target:
        target.attrs.update(
            material=json.dumps(load_material(settings.material).source),
            load=json.dumps(plain(load_of(settings))),
            edge=min(settings.edge, shapes["train"][-1]),
            scheme=settings.scheme,
            solver=settings.solver,
            axes="volume averages [element, time, ...]; the first time is the undeformed state",
        )
        for chunk, arrays in results:
            write_responses(target.require_group(Path(chunk.group).name), chunk, arrays)


def simulate_chunk(chunk: Chunk, settings: CrystalPlasticitySettings, device: str) -> Arrays:
    """Fields of `CPResult` as arrays for some volume elements of polycrystals.h5."""
    with store.open_hdf5(chunk.path) as file:
        elements = read_volume_elements(file, chunk.group, slice(chunk.start, chunk.stop)).sampled(settings.edge)
    return responses(_simulate(settings, elements, choose_device(device)))


def responses(result: CPResult) -> Arrays:
    """Fields of a result as arrays; those of every voxel, if not asked for, are left out."""
    values = {field.name: getattr(result, field.name) for field in fields(CPResult)}
    return {name: np.asarray(value) for name, value in values.items() if value is not None}


def _simulate(settings: CrystalPlasticitySettings, elements: VolumeElements, device: torch.device) -> CPResult:
    material = load_material(settings.material)
    load = load_of(settings)
    if settings.solver == "damask":
        from microprint.mechanics.damask_backend import simulate_with_damask

        with TemporaryDirectory() as folder:
            return simulate_with_damask(elements, material, load, Path(folder) / "damask")
    return simulate_cp(elements.grain_id, elements.quaternion, material, load, scheme=settings.scheme, device=device)


def write_responses(group: h5py.Group, chunk: Chunk, arrays: Arrays) -> None:
    """Put the `responses` of a chunk of volume elements, which all have the same times, in their place in a group."""
    time = arrays.pop("time")
    if "time" not in group or np.isnan(group["time"][-1]):  # DAMASK states no times where all elements of a chunk failed
        group.require_dataset("time", time.shape, time.dtype)[:] = time
    write(group, chunk, arrays)
    for name, unit in _UNITS.items():
        group[name].attrs["unit"] = unit


@dataclass(frozen=True)
class Curves:
    """Simulated volume elements and their stress-strain curves, with all that a curve belongs to."""

    elements: VolumeElements  # those whose simulation converged, on the grid that was simulated
    stress: Tensor  # (N, T) component of the first Piola-Kirchhoff stress that the load is about, Pa
    strain: Tensor  # (T,) the same component of F - 1, mean of the set
    load: tuple[LoadStep, ...]
    material: Material
    left_out: int  # number of volume elements without a converged curve

    @property
    def component(self) -> tuple[int, int]:
        """Of the stress and the strain."""
        return driven_component(self.load)

    @property
    def peak(self) -> int:
        """Time at which the mean stress is largest: the end of a tension."""
        return int(self.stress.mean(0).abs().argmax())


def read_curves(polycrystals: h5py.File, cp: h5py.File, name: str) -> Curves:
    """Curves of a set of cp.h5; what did not converge is left out and counted.

    Raises `UserError` if a set is missing or none of its simulations converged.
    """
    elements, facts = read_volume_elements(polycrystals, f"{SYMMETRY}/{name}"), dict(cp.attrs)
    if name not in cp:
        raise UserError(f"has no set {name}", cp.filename, "Run notebook 05 again")
    converged = torch.from_numpy(cp[name]["converged"][:].astype(bool))
    if not converged.any():
        raise UserError(f"no simulation of the set {name} converged", cp.filename, "See the reasons in notebook 05")
    load = from_plain(json.loads(facts["load"]))
    i, j = driven_component(load)
    stress, F = (torch.from_numpy(cp[name][tensor][:, :, i, j])[converged] for tensor in ("P", "F"))
    simulated = elements[converged.nonzero()[:, 0]].sampled(int(facts["edge"]))
    material = load_material(json.loads(facts["material"]))
    return Curves(simulated, stress, F.mean(0) - int(i == j), load, material, int((~converged).sum()))
