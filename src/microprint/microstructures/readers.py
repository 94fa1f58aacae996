"""Readers of real microstructures: the door to all of them, volume elements, composites and the files of a folder here.

Nothing is unpickled: numpy files are read with ``allow_pickle=False``, and torch's pickles (``.pt``) are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from microprint import orientations
from microprint.arrays import inexact
from microprint.errors import UserError, one_line
from microprint.microstructures.damask_files import read_damask
from microprint.microstructures.dream3d import read_dream3d
from microprint.microstructures.labels import read_labels  # noqa: F401
from microprint.microstructures.micrographs import read_micrograph  # noqa: F401
from microprint.microstructures.segmentation import Grains, grains_of_field
from microprint.microstructures.volume_elements import VolumeElements
from microprint.params.sections import PolycrystalSettings

VOLUME_SUFFIXES = (".dream3d", ".vti", ".npz", ".npy")
TOLERANCE_DEG = PolycrystalSettings.segmentation_deg
LENGTH_ERROR = 1e-3  # of a unit quaternion
CHANNEL_ERROR = 1e-4  # of an Euler channel that was rounded beyond 0 or 1


def read_volume_element(path: str | Path, symmetry: str = "", tolerance_deg: float = TOLERANCE_DEG) -> VolumeElements:
    """Polycrystal from one file, as a set of one; orientations in double precision.

    Formats: ``.dream3d`` (DREAM.3D 6 or NX: `dream3d`), ``.vti`` (DAMASK's grid, with ``NAME.yaml`` or ``material.yaml``
    beside it: `damask_files`), ``.npz`` (``grain_id`` (nx, ny, nz), ``quaternion`` (grains, 4)), ``.npy`` (quaternions of all
    voxels (nx, ny, nz, 4), or Euler angles over (2 pi, pi, 2 pi) as (3, nx, ny, nz)). Voxels are cubes.

    Parameters
    ----------
    symmetry : "cubic" or "hexagonal": of a file that does not say it, and of no other; "" takes the file's.
    tolerance_deg : disorientation below which neighbours are of one grain, in a map whose orientations scatter.

    Raises
    ------
    UserError
        For an unreadable file, another symmetry than the file's, and what cannot be read in one way only.
    """
    return read_with_note(path, symmetry, tolerance_deg)[0]


def read_with_note(path: str | Path, symmetry: str = "", tolerance_deg: float = TOLERANCE_DEG) -> tuple[VolumeElements, str]:
    """As `read_volume_element`, with what was done beyond reading: grains renumbered or segmented, say; mostly empty."""
    path = Path(path)
    if symmetry not in ("", *orientations.SYMMETRIES):
        raise UserError(f"unknown crystal symmetry {symmetry!r}", path, "Use 'cubic' or 'hexagonal'")
    _refuse_pickle(path)
    if path.suffix.lower() not in VOLUME_SUFFIXES:
        raise UserError(f"a volume element of format {path.suffix or 'unknown'}", path, f"Use {', '.join(VOLUME_SUFFIXES)}")
    _check_file(path)
    match path.suffix.lower():
        case ".dream3d":
            grains = read_dream3d(path, symmetry, tolerance_deg)
        case ".vti":
            grains = read_damask(path)
        case _:
            grains = _from_numpy(path, symmetry, tolerance_deg)
    if symmetry and grains.symmetry not in ("", symmetry):
        what = f"its crystal is {grains.symmetry}, but {symmetry} was asked for"
        raise UserError(what, path, f"Put it in a folder {grains.symmetry}/<set>, or read it as {grains.symmetry}")
    return VolumeElements.of(grains.grain_id, grains.quaternion, grains.symmetry or symmetry, path), grains.note


def read_composite(path: str | Path) -> np.ndarray:
    """Phases (n, n, n) uint8, 1 for the stiff one, from ``.npy`` or ``.npz`` (key ``phase``); raises `UserError`.

    A composite of one phase alone is a valid one: its stiffness is that of the phase.
    """
    path = Path(path)
    _refuse_pickle(path)
    _check_file(path)
    content = _load_numpy(path, "phase")
    phase = content if isinstance(content, np.ndarray) else _entry(content, "phase", path)
    if phase.ndim != 3 or len(set(phase.shape)) != 1 or not phase.size:
        raise UserError(f"has phases of shape {phase.shape}", path, "A composite is a cube of n x n x n voxels")
    if phase.dtype.kind not in "biuf":
        raise UserError(f"has phases of type {phase.dtype}", path, "Save numbers")
    if not np.isin(phase, (0, 1)).all():
        others = ", ".join(f"{value}" for value in np.setdiff1d(phase, (0, 1))[:3])
        raise UserError(f"phases other than 0 and 1 ({others})", path, "Mark the stiff phase by 1 and the soft one by 0")
    return phase.astype(np.uint8)


def list_files(folder: str | Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files of some formats in a folder, by name, without hidden ones.

    Raises `UserError` if there are none, with the formats that there are instead, or if a pickle is among the files.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError("is no folder", folder, "Name a folder, or 'synthetic'")
    visible = visible_files(folder)
    for path in visible:
        _refuse_pickle(path)
        if not path.exists():
            raise UserError("is a link to nothing", path, "Mend or remove it")
    chosen = [path for path in visible if path.suffix.lower() in suffixes and not path.is_dir()]
    if not chosen:
        others = sorted({"folders" if path.is_dir() else path.suffix or path.name for path in visible})
        what = f"holds no file of format {', '.join(suffixes)}" + (f", but {', '.join(others[:8])}" if others else "")
        raise UserError(what, folder, "Put files of these formats there, not in folders below it, or use 'synthetic'")
    return chosen


def visible_files(folder: str | Path) -> list[Path]:
    """What a folder holds, by name, without hidden files such as macOS's."""
    return [path for path in sorted(Path(folder).iterdir()) if not path.name.startswith(".")]


# --- numpy -----------------------------------------------------------------------------------------------------------


def _from_numpy(path: Path, symmetry: str, tolerance_deg: float) -> Grains:
    """Grains of an .npz of ids and orientations, or of an .npy of a field; the content decides, not the name."""
    content = _load_numpy(path, "grain_id", "quaternion")
    if isinstance(content, np.ndarray):
        return grains_of_field(_quaternion_field(content, path), symmetry, tolerance_deg, path)
    ids, quaternion = _entry(content, "grain_id", path), _entry(content, "quaternion", path)
    ids = _whole_numbers(ids, path)
    if quaternion.ndim != 2 or quaternion.shape[1] != 4 or quaternion.dtype.kind not in "fiu":
        kind = f"shape {quaternion.shape} and type {quaternion.dtype}"
        raise UserError(f"orientations of {kind}, not numbers (grains, 4)", path, "Use quaternions (w, x, y, z)")
    present, grain_id = np.unique(ids, return_inverse=True)
    count, rows = len(present), len(quaternion)
    if present[-1] < rows:
        quaternion = quaternion[present]
    elif count != rows:
        what = f"{count} grains with ids from {present[0]} to {present[-1]}, but {rows} orientations"
        raise UserError(what, path, "Give each grain one orientation, in the order of the ids")
    gaps = int(present[-1]) != count - 1
    note = "grain ids that have gaps or do not begin at 0 were renumbered" if gaps else ""
    return Grains(grain_id.reshape(ids.shape), quaternion, note=note)


def _whole_numbers(ids: np.ndarray, path: Path) -> np.ndarray:
    """Grain ids (nx, ny, nz), integers from 0 of any size."""
    if ids.ndim != 3 or not ids.size:
        raise UserError(f"has grain ids of shape {ids.shape}, not (nx, ny, nz)", path, "Save one volume element in each file")
    kind = ids.dtype.kind
    if kind == "f":
        wrong = inexact(ids)
        if wrong.any():
            what = f"grain ids are of type {ids.dtype} and hold {ids[wrong][0]}, no exact whole number"
            raise UserError(what, path, "Save integers")
    elif kind not in "biu":
        raise UserError(f"grain ids are of type {ids.dtype}", path, "Save integers")
    if (ids < 0).any():
        share = 100 * (ids < 0).mean()
        what = f"{share:.3g} % of the voxels have a negative grain id ({ids.min()}), and so no grain"
        raise UserError(what, path, "Give every voxel a grain, or cut a part without them")
    return ids if kind == "u" else ids.astype(np.int64)


def _quaternion_field(field: np.ndarray, path: Path) -> torch.Tensor:
    """Unit quaternions (nx, ny, nz, 4) of a field of quaternions, or of Euler channels (3, nx, ny, nz).

    A shape such as (3, n, n, 4) may be either: it is quaternions if all have length 1.
    """
    if field.ndim != 4 or not field.size or field.dtype.kind not in "fiu":
        what = f"has shape {field.shape} and type {field.dtype}"
        raise UserError(what, path, "Use (nx, ny, nz, 4) quaternions or (3, nx, ny, nz) Euler channels")
    values = torch.from_numpy(field.astype(np.float64))
    missing = ~values.isfinite()
    if missing.any():
        share = 100 * missing.double().mean()
        raise UserError(f"{share:.3g} % of its numbers are NaN or infinite", path, "Give every voxel an orientation")
    if field.shape[-1] == 4 and _error_of_length(values).max() <= LENGTH_ERROR:
        return values
    if field.shape[0] == 3 and -CHANNEL_ERROR <= values.min() and values.max() <= 1 + CHANNEL_ERROR:
        return orientations.from_euler_channels(values.movedim(0, -1))
    raise _field_fault(values, path)


def _field_fault(values: torch.Tensor, path: Path) -> UserError:
    """What is wrong with a field of four axes that holds neither unit quaternions nor Euler channels in 0 to 1."""
    shape = tuple(values.shape)
    if shape[0] == 3:
        what = f"has shape {shape} and values from {values.min():.4g} to {values.max():.4g}, but Euler channels lie in 0 to 1"
        if shape[-1] == 4:
            what += ", and quaternions have length 1"
        return UserError(what, path, "Divide radians by (2 pi, pi, 2 pi), degrees by (360, 180, 360)")
    if shape[0] == 4 and (shape[-1] != 4 or _error_of_length(values.movedim(0, -1)).max() <= LENGTH_ERROR):
        return UserError(f"has shape {shape}, components first", path, "Save quaternions as (nx, ny, nz, 4)")
    if shape[-1] == 4:
        length = values.norm(dim=-1).flatten()[_error_of_length(values).argmax()]
        return UserError(f"has a quaternion of length {length:.4g}, not 1", path, "Give every voxel a unit quaternion")
    if shape[-1] == 3:
        return UserError(f"has shape {shape}, channels last", path, "Save Euler channels as (3, nx, ny, nz)")
    return UserError(f"has shape {shape}", path, "Use (nx, ny, nz, 4) quaternions or (3, nx, ny, nz) Euler channels")


def _error_of_length(quaternions: torch.Tensor) -> torch.Tensor:
    return (quaternions.norm(dim=-1) - 1).abs().flatten()


def _load_numpy(path: Path, *keys: str) -> Any:
    """An array, or the dictionary of the arrays of an .npz by their names, None in it where a name is not among the keys."""
    with open(path, "rb") as file:
        magic = file.read(6)
    if not magic.startswith((b"PK", b"\x93NUMPY")):
        what = "is empty" if not magic else "holds no numpy arrays, maybe a pickle"
        raise UserError(what, path, "Save it with numpy.save or numpy.savez")
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            return {name: content[name] if name in keys else None for name in content.files}
    except Exception as error:  # numpy and the modules for archives raise many kinds for what is damaged
        if "allow_pickle" in str(error):
            raise UserError("holds Python objects, which are not unpickled", path, "Save arrays of numbers") from None
        raise UserError(f"is truncated or damaged ({one_line(error, 120)})", path, "Save it again with numpy") from None


def _entry(content: dict[str, np.ndarray | None], key: str, path: Path) -> np.ndarray:
    array = content.get(key)
    if isinstance(array, np.ndarray):
        return array
    names = ", ".join(content) or "nothing"
    what = "has no orientations" if key == "quaternion" else f"has no array {key!r}"
    raise UserError(f"{what}, only {names}", path, f"Save {key!r} in an .npz")


# --- checks -----------------------------------------------------------------------------------------------------------


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise UserError("is no file", path, "Check its name")


def _refuse_pickle(path: Path) -> None:
    if path.suffix.lower() in (".pt", ".pth", ".pkl", ".pickle"):
        raise UserError("is a pickle, which could run any code when opened", path, "Convert it to .npz where you trust it")
