"""Reader of DREAM.3D's files, HDF5 of the layouts of its versions 6.4, 6.5 and NX.

Version 6 keeps a volume in ``DataContainers/<name>``, its grid in the group ``_SIMPL_GEOMETRY`` there; NX keeps it in an image
geometry, whose grid is in the attributes ``_DIMENSIONS`` and ``_SPACING``. Below it arrays of three kinds lie in groups of
free names: of cells, [z, y, x, component]; of features, which are grains, a row for each feature id, row 0 unused; of
ensembles, which are phases, likewise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import torch

from microprint import orientations
from microprint.errors import UserError, one_line
from microprint.microstructures.segmentation import (
    LARGEST_SCATTER_DEG,
    Grains,
    average,
    grains_of_field,
    misorientation,
    scatter_deg,
)

SYMMETRIES = {0: "hexagonal", 1: "cubic", 999: ""}  # by DREAM.3D's number of a Laue class; 999 is unknown
OTHER_CLASSES = {
    2: "hexagonal 6/m", 3: "cubic m-3", 4: "triclinic -1", 5: "monoclinic 2/m", 6: "orthorhombic mmm", 7: "tetragonal 4/m",
    8: "tetragonal 4/mmm", 9: "trigonal -3", 10: "trigonal -3m",
}  # fmt: skip
GRID = ("DIMENSIONS", "SPACING", "RESOLUTION")  # the last is what 6.4 calls the spacing
_PERIOD = np.array([2 * math.pi, math.pi, 2 * math.pi])  # of Bunge's angles
_ROUNDING = 1e-3  # of an angle's upper end that was rounded, in parts of it
_AGREEMENT_DEG = 10.0  # mean disorientation up to which Euler angles and quaternions of a file say the same
_COMPARED = 4096  # voxels
_UNINDEXED = 4 * math.pi  # all three angles of a voxel without orientation, by EDAX


class _Volume(NamedTuple):
    """An image geometry: its path in the file, cells along x, y, z, spacing, and arrays by `_plain` names."""

    name: str
    cells: tuple[int, ...]
    spacing: np.ndarray
    of_cells: Mapping[str, list[h5py.Dataset]]
    others: Mapping[str, list[h5py.Dataset]]


def read_dream3d(path: Path, symmetry: str, tolerance_deg: float) -> Grains:
    """Grains of a DREAM.3D file; ``symmetry`` counts where the file has no crystal structure.

    Grains are the FeatureIds, their orientations averages of the cells' Euler angles, else the features' Euler angles. A map
    without FeatureIds is segmented where it scatters (`grains_of_field`). Raises `UserError` for what is no volume of cubic
    voxels, all indexed, of one cubic or hexagonal phase, with orientations that agree with one another.
    """
    try:
        with h5py.File(path, "r") as file:
            return _read(file, path, symmetry, tolerance_deg)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"cannot be read as DREAM.3D ({one_line(error, 120)})", path, "Save it by DREAM.3D 6 or NX") from None


def _read(file: h5py.File, path: Path, symmetry: str, tolerance_deg: float) -> Grains:
    volume = _volume(file, path)
    _check_spacing(volume.spacing, path)
    ids = _ids(volume, "featureids", path)
    phases = _phases(volume, ids, path)
    angles = _of_cells(volume, "eulerangles", 3, path)
    _check_indexed(ids, phases, angles, path)
    crystal = _crystal(file, volume, phases, path)
    symmetry = crystal or symmetry
    if ids is None and angles is None:
        raise _no_orientations(volume, "neither Euler angles nor FeatureIds of its cells", path)
    if ids is None:
        reading = _radians(angles, _of_cells(volume, "quats", 4, path), symmetry, path)
        _check_agreement(reading, path)
        grains = grains_of_field(reading.quaternions, symmetry, tolerance_deg, path)
        return grains._replace(symmetry=crystal, note="; ".join(filter(None, (reading.note, grains.note))))
    present, grain_id = np.unique(ids, return_inverse=True)
    grain_id = grain_id.reshape(ids.shape)
    averages = _of_features(volume, ("avgquats", "quats"), present[-1], 4)
    if angles is None:
        angles = _of_features(volume, ("eulerangles", "avgeulerangles"), present[-1], 3)
        if angles is None:
            raise _no_orientations(volume, f"no Euler angles of cells, nor of features up to id {present[-1]}", path)
        reading = _radians(angles[present], None if averages is None else averages[present], symmetry, path)
        _check_agreement(reading, path)
        return Grains(grain_id, reading.quaternions.numpy(), crystal, reading.note)
    each = _of_cells(volume, "quats", 4, path)
    if each is None and averages is not None:
        each = averages[ids]
    reading = _radians(angles, each, symmetry, path)
    mean = average(reading.quaternions, grain_id, symmetry)
    _check_scatter(scatter_deg(reading.quaternions, grain_id, mean, symmetry), present, symmetry, path)
    _check_agreement(reading, path)
    return Grains(grain_id, mean, crystal, reading.note)


# --- layout ----------------------------------------------------------------------------------------------------------


def _volume(file: h5py.File, path: Path) -> _Volume:
    """The geometry that has cells with orientations, or just cells where none has."""
    volumes = _volumes(file)
    if not volumes:
        raise UserError(
            "is HDF5, but holds no image geometry of DREAM.3D, with dimensions and spacing of cells",
            path,
            "Save it by DREAM.3D 6 or NX",
        )
    full = [volume for volume in volumes if volume.of_cells]
    if not full:
        name, cells = volumes[0].name, " x ".join(map(str, volumes[0].cells))
        shapes = sorted({str(data.shape) for group in volumes[0].others.values() for data in group})
        what = f"geometry {name} of {cells} cells has no array [z, y, x, component], but {', '.join(shapes) or 'nothing'}"
        raise UserError(what, path, "Save its cell arrays with it, x running fastest")
    oriented = [volume for volume in full if volume.of_cells.keys() & {"featureids", "eulerangles", "quats"}]
    chosen = oriented or full
    if len(chosen) > 1:
        names = ", ".join(volume.name for volume in chosen)
        raise UserError(f"has {len(chosen)} geometries with cells: {names}", path, "Save a file for each of them")
    return chosen[0]


def _volumes(file: h5py.File) -> list[_Volume]:
    volumes = []

    def visit(name: str, item: h5py.HLObject) -> None:
        if not isinstance(item, h5py.Group):
            return
        if name.rsplit("/", 1)[-1] == "_SIMPL_GEOMETRY":
            container, grid = item.parent, {key: item[key][()] for key in GRID if key in item}
        else:
            container, grid = item, {key: item.attrs[f"_{key}"] for key in GRID if f"_{key}" in item.attrs}
        counts, spacing = grid.get("DIMENSIONS"), grid.get("SPACING", grid.get("RESOLUTION"))
        if counts is not None and spacing is not None and np.size(counts) == np.size(spacing) == 3:
            cells = tuple(int(count) for count in np.ravel(counts))
            volumes.append(_Volume(container.name, cells, np.ravel(spacing).astype(float), *_arrays(container, cells)))

    file.visititems(visit)
    return volumes


def _arrays(container: h5py.Group, cells: tuple[int, ...]) -> tuple[dict[str, list[h5py.Dataset]], ...]:
    """Arrays of the cells below a geometry, and all others, by `_plain` names."""
    of_cells: dict[str, list[h5py.Dataset]] = {}
    others: dict[str, list[h5py.Dataset]] = {}

    def visit(name: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset) and "_SIMPL_GEOMETRY" not in name:
            fits = item.ndim in (3, 4) and item.shape[:3] == cells[::-1] and item.size
            (of_cells if fits else others).setdefault(_plain(name), []).append(item)

    container.visititems(visit)
    return of_cells, others


def _plain(name: str) -> str:
    """Name of an array without its groups, spaces and capitals, in which versions differ."""
    return name.rsplit("/", 1)[-1].replace(" ", "").replace("_", "").lower()


def _of_cells(volume: _Volume, name: str, components: int, path: Path) -> np.ndarray | None:
    """Array (nx, ny, nz, components) of the cells; None where the file has none."""
    if name not in volume.of_cells:
        return None
    data, *more = volume.of_cells[name]
    if more:
        raise UserError(f"has both {data.name} and {more[0].name}", path, "Save the file with one of them")
    array = data[()].reshape(*data.shape[:3], -1)
    if array.shape[3] != components or array.dtype.kind not in "fiu":
        kind = f"{array.shape[3]} components of type {array.dtype}"
        raise UserError(f"{data.name} has {kind}", path, f"Save {components} number{'s' * (components > 1)} for each cell")
    return array.transpose(2, 1, 0, 3)


def _ids(volume: _Volume, name: str, path: Path) -> np.ndarray | None:
    """Integers (nx, ny, nz) of the cells; None where the file has none."""
    array = _of_cells(volume, name, 1, path)
    if array is None:
        return None
    if array.dtype.kind == "f":
        raise UserError(f"{volume.of_cells[name][0].name} is of type {array.dtype}", path, "Save integers")
    return array[..., 0].astype(np.int64)


def _of_features(volume: _Volume, names: tuple[str, ...], largest: int, components: int) -> np.ndarray | None:
    """Array (features, components): the first of some names with rows up to the largest id; None where the file has none.

    Several matrices of features may be in a file: the one with the fewest rows that suffice is that of these ids.
    """
    for name in names:
        arrays = [data for data in volume.others.get(name, []) if data.ndim in (1, 2) and data.dtype.kind in "fiu"]
        fitting = [data for data in arrays if len(data) > largest and data.size == len(data) * components]
        if fitting:
            return min(fitting, key=len)[()].reshape(-1, components)
    return None


def _no_orientations(volume: _Volume, lacking: str, path: Path) -> UserError:
    if {"quats", "avgquats"} & (volume.of_cells.keys() | volume.others.keys()):
        what = "has quaternions but no Euler angles that fit, and versions differ in the sign of a quaternion's vector part"
        return UserError(what, path, "Export Euler angles, too")
    arrays = ", ".join(sorted(data.name.rsplit("/", 1)[-1] for (data, *_) in volume.of_cells.values()))
    return UserError(f"has no orientations: {lacking}, only {arrays}", path, "Export 'EulerAngles' and 'FeatureIds'")


# --- checks ----------------------------------------------------------------------------------------------------------


def _check_spacing(spacing: np.ndarray, path: Path) -> None:
    if not (spacing > 0).all() or spacing.max() > (1 + _ROUNDING) * spacing.min():
        lengths = " x ".join(f"{length:g}" for length in spacing)
        raise UserError(f"has voxels of {lengths}, which are no cubes", path, "Resample it in DREAM.3D to equal spacing")


def _check_indexed(ids: np.ndarray | None, phases: np.ndarray | None, angles: np.ndarray | None, path: Path) -> None:
    """Raise `UserError` where voxels have no grain, no phase or no orientation."""
    holes = {
        "FeatureId 0, that is no grain": ids is not None and ids <= 0,
        "phase 0, that is not indexed": phases is not None and phases <= 0,
        "Euler angles of 4 pi, that is not indexed": angles is not None and (abs(angles - _UNINDEXED) < 1e-3).all(-1),
        "Euler angles that are no numbers": angles is not None and ~np.isfinite(angles).all(-1),
    }
    for what, hole in holes.items():
        if np.any(hole):
            remedy = "Fill them in DREAM.3D, or cut a part without them"
            raise UserError(f"{100 * np.mean(hole):.3g} % of the voxels have {what}", path, remedy)


def _check_scatter(scatter: np.ndarray, ids: np.ndarray, symmetry: str, path: Path) -> None:
    if scatter.max() > LARGEST_SCATTER_DEG:
        what = f"voxels of feature {ids[scatter.argmax()]} scatter by {scatter.max():.0f} degrees around their average"
        remedy = (
            "Segment the map again" if symmetry else "Segment the map again, or say whether the crystal is cubic or hexagonal"
        )
        raise UserError(f"{what}: its FeatureIds and EulerAngles do not belong together", path, remedy)


# --- phases ----------------------------------------------------------------------------------------------------------


def _phases(volume: _Volume, ids: np.ndarray | None, path: Path) -> np.ndarray | None:
    """Phase of every cell, its own or its feature's."""
    phases = _ids(volume, "phases", path)
    if phases is None and ids is not None and ids.min() >= 0:
        rows = _of_features(volume, ("phases",), ids.max(), 1)
        phases = None if rows is None else rows[ids, 0].astype(np.int64)
    return phases


def _crystal(file: h5py.File, volume: _Volume, phases: np.ndarray | None, path: Path) -> str:
    """Symmetry of the one phase in use, "" where the file does not say; raises `UserError` for other crystals, and for two."""
    structures, names = _ensembles(file, volume)
    used, counts = np.unique(np.arange(1, len(structures)) if phases is None else phases, return_counts=True)
    titles = [f"{phase} ({names[phase]})" if phase < len(names) and names[phase] else str(phase) for phase in used]
    if len(used) > 1 and phases is None:
        raise UserError(
            f"does not say which of its phases {', '.join(titles)} a voxel has", path, "Export 'Phases' of its cells"
        )
    if len(used) > 1:
        shares = ", ".join(f"{title} with {100 * n / counts.sum():.3g} %" for title, n in zip(titles, counts))
        remedy = "A volume element has one material: fill or cut out the other phases"
        raise UserError(f"has {len(used)} phases: {shares} of the voxels", path, remedy)
    if len(structures) == 0 or len(used) == 0:
        return ""
    if used[0] >= len(structures):
        raise UserError(f"phase {used[0]} has no row in its {len(structures)} CrystalStructures", path, "Export all phases")
    structure = int(structures[used[0]])
    if structure not in SYMMETRIES:
        what = f"phase {titles[0]} is {OTHER_CLASSES.get(structure, f'of the unknown crystal structure {structure}')}"
        raise UserError(what, path, "Crystals may be cubic m-3m (1) or hexagonal 6/mmm (0)")
    return SYMMETRIES[structure]


def _ensembles(file: h5py.File, volume: _Volume) -> tuple[np.ndarray, list[str]]:
    """Crystal structures and names of the phases, rows by their numbers: beside the volume, else anywhere in the file."""
    anywhere: dict[str, list[h5py.Dataset]] = {}
    for arrays in (volume.others, _arrays(file, (-1, -1, -1))[1]):
        for name, data in arrays.items():
            anywhere.setdefault(name, []).extend(data)
    structures = next((data[()].ravel() for data in anywhere.get("crystalstructures", [])), np.zeros(0, int))
    titles = (data[()].ravel() for name in ("phasename", "materialname") for data in anywhere.get(name, []))
    names = [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in next(titles, [])]
    return structures, [name.strip("\0 ") for name in names]


# --- orientations ----------------------------------------------------------------------------------------------------


class _Reading(NamedTuple):
    """Orientations (..., 4) by Euler angles, a note on their unit, and how far the file's quaternions are from them."""

    quaternions: torch.Tensor
    note: str
    off_deg: float


def _radians(angles: np.ndarray, quaternions: np.ndarray | None, symmetry: str, path: Path) -> _Reading:
    """Orientations of Euler angles (..., 3) in radians or degrees.

    Angles beyond (2 pi, pi, 2 pi) are degrees. Others may be so, too, as in a sharp cube texture: then the quaternions
    (..., 4) of the same voxels decide, where a file has them.
    """
    angles = angles.astype(np.float64)
    if not np.isfinite(angles).all():
        raise UserError("has Euler angles of features that are no numbers", path, "Give every grain an orientation")
    highest, lowest = angles.reshape(-1, 3).max(0), angles.reshape(-1, 3).min(0)
    largest = np.maximum(highest, -lowest)
    if (largest > np.rad2deg(_PERIOD) * (1 + _ROUNDING)).any() or lowest[1] < -_ROUNDING:
        what = f"has Euler angles from {_triple(lowest)} to {_triple(highest)}"
        raise UserError(what, path, "Use Bunge's angles within (2 pi, pi, 2 pi), or (360, 180, 360) degrees")
    degrees = "Euler angles in degrees were converted"
    readings = [_reading(np.deg2rad(angles), degrees, quaternions, symmetry)]
    if (largest <= _PERIOD * (1 + _ROUNDING)).all():
        readings.insert(0, _reading(angles, "", quaternions, symmetry))
    best = min(readings, key=lambda reading: reading.off_deg)
    return best if best.off_deg <= _AGREEMENT_DEG else readings[0]


def _reading(angles: np.ndarray, note: str, quaternions: np.ndarray | None, symmetry: str) -> _Reading:
    ours = orientations.from_euler(torch.from_numpy(angles))
    return _Reading(ours, note, 0.0 if quaternions is None else _difference_deg(ours, quaternions, symmetry))


def _difference_deg(ours: torch.Tensor, quaternions: np.ndarray, symmetry: str) -> float:
    """Mean disorientation of orientations (..., 4), by angles, and quaternions (..., 4) of a file, degrees; 0 where unknown.

    The latter are (x, y, z, w), and the sign of (x, y, z) counts only in so far as it is the same everywhere.
    """
    x_y_z_w = quaternions.reshape(-1, 4).astype(np.float64)
    length = np.linalg.norm(x_y_z_w, axis=1)
    turned = abs(x_y_z_w[:, :3]).max(1) > 0  # zero or the identity is what was never set
    (known,) = np.nonzero((abs(length - 1) < 0.1) & turned)
    known = known[:: max(len(known) // _COMPARED, 1)]
    if len(known) == 0:
        return 0.0
    theirs = torch.from_numpy(np.roll(x_y_z_w[known] / length[known, None], 1, axis=1))
    signs = theirs, orientations.conjugate(theirs)
    return min(math.degrees(misorientation(ours.reshape(-1, 4)[known], q, symmetry).mean()) for q in signs)


def _check_agreement(reading: _Reading, path: Path) -> None:
    if reading.off_deg > _AGREEMENT_DEG:
        what = f"has Euler angles and quaternions that differ by {reading.off_deg:.0f} degrees on average"
        raise UserError(f"{what}, be the angles radians or degrees", path, "Export both anew, or the Euler angles alone")


def _triple(numbers: np.ndarray) -> str:
    return f"({', '.join(f'{number:.4g}' for number in numbers)})"
