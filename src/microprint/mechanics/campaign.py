"""The steps that simulate textured volume elements of several materials under many load paths, and the readers of them.

They stand beside the curves of `datasets`: a surrogate that is to hold for any texture, material and load path is trained and
tested on these. The volume elements are synthetic, also where those of the study are a user's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, get_args

import h5py
import numpy as np
import torch
from torch import Tensor

from microprint import store
from microprint.chunks import Arrays, Chunk, compute_chunks, split, write
from microprint.errors import UserError
from microprint.machine import choose_device
from microprint.mechanics.datasets import responses, write_responses
from microprint.mechanics.load import LoadName, LoadStep, from_plain, plain, standard_load
from microprint.mechanics.load_paths import KINDS, draw_path
from microprint.mechanics.materials import Material, load_material, material_file
from microprint.mechanics.simulate import simulate_cp
from microprint.microstructures.damask_files import SYMMETRIES
from microprint.microstructures.datasets import CONVENTION, elements_at_once, polycrystal_arrays
from microprint.microstructures.polycrystal import EDGE_M, MORPHOLOGIES, grow
from microprint.microstructures.textures import FAMILIES, draw_texture
from microprint.microstructures.volume_elements import VolumeElements, pad_orientations, read_volume_elements
from microprint.params.sections import CrystalPlasticitySettings, Params
from microprint.steps import Files, Job, step, stream_seed

PATHS = "paths"  # group of the load paths
_REMEDY = "Simulate the campaign again"


class Simulated(NamedTuple):
    """A group of campaign.h5: the set of textured.h5 whose first volume elements are simulated, how many, of what."""

    elements: str
    count: int
    material: Material


def campaign_materials(settings: CrystalPlasticitySettings) -> dict[str, Material]:
    """The materials by the names of their phases, the main one first, each once.

    Raises `UserError` for an unusable material, and for two that differ and have one name.
    """
    materials: dict[str, Material] = {}
    for source in (settings.material, *settings.others):
        material = load_material(source)
        if materials.setdefault(material.name, material).source != material.source:
            raise UserError(f"another material is called {material.name}, too", source, "Rename the phase of one of them")
    return materials


def campaign_groups(settings: CrystalPlasticitySettings) -> dict[str, Simulated]:
    """What is simulated, by the groups of campaign.h5: tests of each material, and the paths of the main one."""
    groups: dict[str, Simulated] = {}
    for material in campaign_materials(settings).values():
        symmetry, main = SYMMETRIES[material.lattice], not groups
        train = settings.families_train if main else settings.others_train
        test = settings.families_test if main else settings.others_test
        groups[f"{material.name}/train"] = Simulated(f"{symmetry}/train", train, material)
        groups[f"{material.name}/test"] = Simulated(f"{symmetry}/test", test, material)
    _, _, material = next(iter(groups.values()))
    elements = f"{SYMMETRIES[material.lattice]}/{PATHS}"
    return groups | {PATHS: Simulated(elements, settings.paths * settings.path_elements, material)}


def campaign_files(params: Params) -> Files:
    """The materials' files; raises `UserError` for what `campaign_materials` refuses."""
    campaign_materials(params.cp)
    return {f"material {source}": material_file(source) for source in (params.cp.material, *params.cp.others)}


# --- volume elements --------------------------------------------------------------------------------------------------


@step(
    reads=(
        *(f"cp.{name}" for name in ("edge", "material", "others", "paths", "path_elements")),
        *(f"cp.{name}" for name in ("families_train", "families_test", "others_train", "others_test")),
    ),
    outputs=("textured.h5",),
    files=campaign_files,
    chunked=True,
)
def generate_textured_polycrystals(job: Job) -> None:
    """Equiaxed volume elements with the families of textures in turn, chunk by chunk: sets as large as a material needs.

    Each set holds the arrays of polycrystals.h5 and `family` (N,), the number in the attribute `families`, a JSON list.
    """
    edge, sizes = job.params.cp.edge, {}
    for elements, count, _ in campaign_groups(job.params.cp).values():
        sizes[elements] = max(count, sizes.get(elements, 0))
    chunks = [chunk for path, size in sizes.items() for chunk in split(path, size, elements_at_once(edge**3))]
    make = partial(texture_chunk, edge=edge, seed=job.run_seed, device=job.params.compute.device)
    made = compute_chunks(job, make, chunks, "textured polycrystals", "VEs")
    with job.create("textured.h5", kind="textured") as file:
        file.attrs.update(convention=CONVENTION, axes="[x, y, z]")
        for chunk, arrays in made:
            group, symmetry = file.require_group(chunk.group), chunk.group.split("/")[0]
            families = json.dumps(FAMILIES[symmetry])
            group.attrs.update(symmetry=symmetry, edge_m=EDGE_M, convention=CONVENTION, families=families)
            write(group, chunk, arrays)


def texture_chunk(chunk: Chunk, edge: int, seed: int, device: str) -> Arrays:
    """Some volume elements of a set; families of textures take turns, also from chunk to chunk."""
    symmetry = chunk.group.split("/")[0]
    families = FAMILIES[symmetry]
    # Its own stream: sets of polycrystals.h5 have the same names.
    generator = torch.Generator().manual_seed(stream_seed(seed, f"textured {chunk.name}"))
    grain_id, grains = grow(len(chunk), edge, MORPHOLOGIES["equiaxed"], generator, choose_device(device))
    family = np.arange(chunk.start, chunk.stop) % len(families)
    most = int(grains.max())
    drawn = [draw_texture(families[number], most, symmetry, generator) for number in family]
    quaternion = pad_orientations(torch.stack(drawn), grains.cpu())
    return polycrystal_arrays(grain_id.cpu(), quaternion, grains.cpu()) | {"family": family.astype(np.int8)}


# --- simulations ------------------------------------------------------------------------------------------------------


@step(reads=("cp",), inputs=("textured.h5",), outputs=("campaign.h5",), files=campaign_files, chunked=True)
def simulate_campaign(job: Job) -> None:
    """Responses of the textured volume elements, always by this package's own solver; resumes with what is missing.

    Groups ``<material>/train`` and ``<material>/test`` hold what `simulate_cp_dataset` writes, under the load of `cp` if
    it has a name, else tension. ``paths`` holds the same of the load paths, the main material's, and `path` (N,), the
    number of the path in its attributes `kind` and `load`, JSON lists. All groups name the `material` and their `elements`,
    a set of textured.h5.
    """
    settings, textured, chunks = job.params.cp, job.path("textured.h5"), []
    groups = campaign_groups(settings)
    for name, (_, count, _) in groups.items():
        chunks += split(name, count, settings.path_elements if name == PATHS else settings.chunk, textured)
    loads = [load_path(number, settings, job.run_seed) for number in range(settings.paths)]
    simulate = partial(campaign_chunk, groups=groups, settings=settings, loads=loads, device=job.params.compute.device)
    results = compute_chunks(job, simulate, chunks, "load paths and textures", "VEs")
    with job.create("campaign.h5", kind="campaign") as target:
        for chunk, arrays in results:
            write_responses(target.require_group(chunk.group), chunk, arrays)
        target.attrs["axes"] = "volume averages [element, time, ...]; the first time is the undeformed state"
        for name, (elements, _, material) in groups.items():
            load = json.dumps([plain(path) for path in loads] if name == PATHS else plain(campaign_load(settings)))
            facts = {"elements": elements, "material": json.dumps(material.source), "load": load}
            target[name].attrs.update(facts, scheme=settings.scheme)
        target[PATHS].attrs["kind"] = json.dumps([path_kind(number) for number in range(settings.paths)])


def campaign_chunk(
    chunk: Chunk,
    groups: Mapping[str, Simulated],
    settings: CrystalPlasticitySettings,
    loads: list[tuple[LoadStep, ...]],
    device: str,
) -> Arrays:
    """Fields of `CPResult` as arrays for some volume elements of a group; a chunk of the paths is one path."""
    path, _, material = groups[chunk.group]
    with store.open_hdf5(chunk.path) as file:
        elements = read_volume_elements(file, path, slice(chunk.start, chunk.stop))
    of_paths = chunk.group == PATHS
    load = loads[chunk.number] if of_paths else campaign_load(settings)
    ids, scheme = elements.grain_id, settings.scheme
    result = simulate_cp(ids, elements.quaternion, material, load, scheme=scheme, device=choose_device(device))
    return responses(result) | ({"path": np.full(len(chunk), chunk.number, np.int32)} if of_paths else {})


def campaign_load(settings: CrystalPlasticitySettings) -> tuple[LoadStep, ...]:
    """The load of the families of textures: that of `cp.load` if it has a name, else tension."""
    name = settings.load if settings.load in get_args(LoadName) else "tension"
    return standard_load(name, settings.axis, settings.rate, settings.strain, settings.increments)


def load_path(number: int, settings: CrystalPlasticitySettings, seed: int) -> tuple[LoadStep, ...]:
    """A load path of a run, of twice as many increments as `cp` has and of their size."""
    generator = torch.Generator().manual_seed(stream_seed(seed, f"path {number}"))
    strain = abs(settings.strain) / settings.increments
    return draw_path(path_kind(number), 2 * settings.increments, strain, strain / settings.rate, generator)


def path_kind(number: int) -> str:
    """Each of the fixed kinds once, then random walks."""
    return KINDS[min(number, len(KINDS) - 1)]


# --- readers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FamilyCurves:
    """Simulated volume elements with their families of textures, and mean stress and deformation at T times."""

    elements: VolumeElements  # those whose simulation converged
    families: list[str]  # of textures, N
    P: Tensor  # (N, T, 3, 3) first Piola-Kirchhoff stress, Pa, float64
    F: Tensor  # (N, T, 3, 3) deformation gradient, float64
    load: tuple[LoadStep, ...]
    material: Material
    left_out: int  # number of volume elements without a converged simulation


@dataclass(frozen=True)
class PathCurves(FamilyCurves):
    """The same under one load path; there may be no volume elements, where none converged."""

    kind: str  # of `KINDS`


def read_campaign(textured: h5py.File, campaign: h5py.File, material: str, part: str) -> FamilyCurves:
    """Responses of a material, by the name of its phase, to the one load; `part` is ``train`` or ``test``.

    Raises `UserError` if the group is missing or none of its simulations converged.
    """
    group = _group(campaign, f"{material}/{part}")
    return FamilyCurves(**_curves(textured, group, json.loads(group.attrs["load"]), slice(None)))


def read_paths(textured: h5py.File, campaign: h5py.File) -> list[PathCurves]:
    """Responses to each of the load paths; raises `UserError` as `read_campaign` does, if no path at all has one."""
    group = _group(campaign, PATHS)
    kinds, loads = (json.loads(group.attrs[name]) for name in ("kind", "load"))
    starts = np.searchsorted(group["path"][:], np.arange(len(kinds) + 1))  # a path's volume elements are neighbours
    rows = map(slice, starts[:-1].tolist(), starts[1:].tolist())
    return [PathCurves(**_curves(textured, group, load, some), kind=kind) for kind, load, some in zip(kinds, loads, rows)]


def _group(campaign: h5py.File, name: str) -> h5py.Group:
    if name not in campaign:
        raise UserError(f"has no group {name}", campaign.filename, _REMEDY)
    if not campaign[name]["converged"][:].any():
        raise UserError(f"no simulation of {name} converged", campaign.filename, "See their `reason` there")
    return campaign[name]


def _curves(textured: h5py.File, group: h5py.Group, load: list[dict[str, Any]], rows: slice) -> dict[str, Any]:
    """Fields of `FamilyCurves` for some rows of a group."""
    converged = torch.from_numpy(group["converged"][rows].astype(bool))
    rows = slice(rows.start or 0, (rows.start or 0) + len(converged))  # a set may hold more than a group has simulated
    path, good = group.attrs["elements"], converged.nonzero()[:, 0]
    elements = read_volume_elements(textured, path, rows)[good]
    names = json.loads(textured[path].attrs["families"])
    P, F = (torch.from_numpy(group[name][rows])[good] for name in ("P", "F"))
    return {
        "elements": elements,
        "families": [names[number] for number in textured[path]["family"][rows][good.numpy()]],
        "P": P,
        "F": F,
        "load": from_plain(load),
        "material": load_material(json.loads(group.attrs["material"])),
        "left_out": int((~converged).sum()),
    }
