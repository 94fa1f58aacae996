"""The sets of polycrystals: those that the study makes, and which of them a user's own source has."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from microprint.errors import MissingData, UserError
from microprint.microstructures import polycrystal, readers
from microprint.orientations import SYMMETRIES
from microprint.params.relations import SYNTHETIC
from microprint.params.sections import Params, PolycrystalSettings
from microprint.steps import Files, files_below, hidden, stream_seed

MIXED = ("equiaxed", "large", "small", "elongated")  # in turn, so that any slice of the set holds all of them
UNSEEN = ("columnar", "wide", "twinned", "grown")  # grains that no training set has, the last two cells of no tessellation


class PolycrystalSet(NamedTuple):
    """A set of polycrystals: its place in the artifact, its size and what it is made of, morphologies in turn."""

    symmetry: str
    name: str
    count: int
    morphologies: tuple[str, ...] = ("equiaxed",)
    texture: str = "random"

    @property
    def path(self) -> str:
        """Group of the artifact, and folder of real files below `polycrystals.source`."""
        return f"{self.symmetry}/{self.name}"


def polycrystal_sets(settings: PolycrystalSettings) -> list[PolycrystalSet]:
    """All sets of the study: random ones to train and test on, edge cases of White et al. 2025, 2.1.2, and unseen grains."""
    few, parts = settings.edge_cases, ("train", "validation", "test")
    random = {s: [PolycrystalSet(s, part, getattr(settings, f"{s}_{part}")) for part in parts] for s in ("cubic", "hexagonal")}
    return [
        *random["cubic"],
        PolycrystalSet("cubic", "mixed", settings.cubic_mixed, MIXED),
        *(PolycrystalSet("cubic", name, few, (name,)) for name in ("large", "small", "elongated", *UNSEEN)),
        *(PolycrystalSet("cubic", name, few, texture=name) for name in polycrystal.COMPONENTS),
        *random["hexagonal"],
        PolycrystalSet("hexagonal", "basal", few, texture="basal"),
    ]


# --- a user's own ----------------------------------------------------------------------------------------------------


def own_sets(settings: PolycrystalSettings, seed: int) -> dict[str, list[Path]]:
    """Files of the sets of a user's source, by their paths in it.

    Where a symmetry has no validation set, a tenth of its training set is taken for it, one file at least; the seed of the
    run draws them. A single file is not divided. Raises `UserError` for a source that is no folder and a set without files.
    """
    source = Path(settings.source)
    if not source.is_dir():
        raise UserError("is no folder", source, "Name a folder, or 'synthetic'")
    paths = [s.path for s in polycrystal_sets(settings) if (source / s.path).is_dir()]
    sets = {path: readers.list_files(source / path, readers.VOLUME_SUFFIXES) for path in paths}
    for symmetry in SYMMETRIES:
        train, validation = f"{symmetry}/train", f"{symmetry}/validation"
        files = sets.get(train, [])
        if len(files) > 1 and validation not in sets:
            generator = torch.Generator().manual_seed(stream_seed(seed, validation))
            drawn = set(torch.randperm(len(files), generator=generator)[: max(len(files) // 10, 1)].tolist())
            sets[validation] = [path for number, path in enumerate(files) if number in drawn]
            sets[train] = [path for number, path in enumerate(files) if number not in drawn]
    return sets


def set_sizes(params: Params) -> dict[str, int]:
    """Number of volume elements of each set."""
    if params.polycrystals.source == SYNTHETIC:
        return {s.path: s.count for s in polycrystal_sets(params.polycrystals)}
    return {path: len(files) for path, files in own_sets(params.polycrystals, params.run.seed).items()}


def missing_sets(params: Params, least: Mapping[str, int]) -> list[str]:
    """Those of some sets, with the least number of volume elements of each, that a user's source does not have."""
    if params.polycrystals.source == SYNTHETIC:
        return []
    sizes = set_sizes(params)
    few = {path: count for path, count in least.items() if sizes.get(path, 0) < count}
    return [f"{path} with {count} volume elements" if path in sizes else path for path, count in few.items()]


def require_sets(params: Params, least: Mapping[str, int]) -> None:
    """Raise `MissingData` unless there are these sets, with the least number of volume elements of each."""
    if missing := missing_sets(params, least):
        raise MissingData(f"{', '.join(missing)} of polycrystals.source")


def set_edges(params: Params) -> dict[str, int]:
    """Voxels along the edge of the volume elements of each set; of a user's those of the first file of each symmetry."""
    settings = params.polycrystals
    if settings.source == SYNTHETIC:
        return {s.path: settings.edge for s in polycrystal_sets(settings)}
    sets = own_sets(settings, params.run.seed)
    first = {path.split("/")[0]: files[0] for path, files in reversed(sets.items())}
    edges = {s: _edge(file, file.stat().st_mtime_ns, s, settings.segmentation_deg) for s, file in first.items()}
    return {path: edges[path.split("/")[0]] for path in sets}


@cache
def _edge(file: Path, changed_ns: int, symmetry: str, tolerance_deg: float) -> int:
    return readers.read_volume_element(file, symmetry, tolerance_deg).edge


def polycrystal_files(params: Params) -> Files:
    """Real volume elements.

    Raises `UserError` for a folder without any set of the study, for a set without files, and for what lies in no set.
    """
    settings = params.polycrystals
    if settings.source == SYNTHETIC:
        return {}
    source, sets = Path(settings.source), [s.path for s in polycrystal_sets(settings)]
    files = files_below(source)
    folders = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_dir() and not hidden(path, source)}
    _check_layout(source, folders, files, sets)
    if not folders & set(sets):
        raise UserError("holds no folder such as cubic/train", source, "Arrange the files by symmetry and set")
    own_sets(settings, params.run.seed)
    return files


def _check_layout(source: Path, folders: Collection[str], files: Files, sets: list[str]) -> None:
    """Raise `UserError` for a folder that is no set, and for a volume element outside the sets: neither would be read."""
    known = [*sets, *sorted({path.split("/")[0] for path in sets})]
    for folder in sorted(folders):
        if folder not in known:
            near = difflib.get_close_matches(folder.lower(), known, n=1, cutoff=0.0)[0]
            raise UserError(
                "is no set of the study", source / folder, f"Is {near} meant? Move what is not to be read elsewhere"
            )
    for name, path in files.items():
        if path.suffix.lower() in readers.VOLUME_SUFFIXES and str(Path(name).parent) not in sets:
            raise UserError("lies in no set of the study", path, f"Move it to a folder such as {source / sets[0]}")
