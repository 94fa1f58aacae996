"""Readers of real microstructures: volume elements and composites from files, and the files of a folder.

Nothing is unpickled: numpy files are read with ``allow_pickle=False``, and torch's pickles (``.pt``) are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from microprint import orientations
from microprint.errors import UserError
from microprint.microstructures.volume_elements import VolumeElements

VOLUME_SUFFIXES = (".dream3d", ".vti", ".npz", ".npy")


def read_volume_element(path: str | Path, symmetry: str = "") -> VolumeElements:
    """Polycrystal from one file, as a set of one; orientations in single precision.

    Formats: ``.dream3d`` (DREAM.3D 6 or NX, cell-wise Euler angles), ``.vti`` (DAMASK's grid, with ``NAME.yaml`` or
    ``material.yaml`` beside it), ``.npz`` (``grain_id`` (n, n, n), ``quaternion`` (G, 4)), ``.npy`` (quaternions of all
    voxels (n, n, n, 4), or Euler angles over (2 pi, pi, 2 pi) as (3, n, n, n)).

    Raises
    ------
    UserError
        For an unreadable file, a shape that is no cube, and what `VolumeElements.of` refuses.
    """
    path = Path(path)
    _refuse_pickle(path)
    formats: dict[str, Callable[[Path], tuple[np.ndarray, np.ndarray]]] = {
        ".dream3d": _from_dream3d, ".vti": _from_vti, ".npz": _from_npz, ".npy": _from_npy,
    }  # fmt: skip
    if path.suffix.lower() not in formats:
        raise UserError(f"a volume element of format {path.suffix or 'unknown'}", path, f"Use {', '.join(VOLUME_SUFFIXES)}")
    grain_id, quaternion = map(np.asarray, formats[path.suffix.lower()](path))
    _check_cube(grain_id.shape, path)
    if quaternion.ndim != 2 or quaternion.shape[1] != 4:
        raise UserError(f"orientations of shape {quaternion.shape}, not (grains, 4)", path, "Use quaternions (w, x, y, z)")
    element = VolumeElements.of(grain_id, quaternion, symmetry, path)
    if element.grains[0] != len(quaternion):
        raise UserError(
            f"{element.grains[0]} grains but {len(quaternion)} orientations", path, "Give each grain one orientation"
        )
    return replace(element, quaternion=element.quaternion.float())


def read_composite(path: str | Path) -> np.ndarray:
    """Phases (n, n, n) uint8, 1 for the stiff one, from ``.npy`` or ``.npz`` (key ``phase``); raises `UserError`."""
    path = Path(path)
    _refuse_pickle(path)
    content = _load_numpy(path)
    phase = content if isinstance(content, np.ndarray) else _entry(content, "phase", path)
    _check_cube(phase.shape, path)
    if not np.isin(phase, (0, 1)).all():
        raise UserError("phases other than 0 and 1", path, "Mark the stiff phase by 1 and the soft one by 0")
    return phase.astype(np.uint8)


def list_files(folder: str | Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files of some formats in a folder, by name, without hidden ones.

    Raises
    ------
    UserError
        If there are none, with the formats that there are instead, or if a pickle is among the files.
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


# --- formats ----------------------------------------------------------------------------------------------------------


def _from_dream3d(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import damask

    try:
        grid, material = damask.GeomGrid.load_DREAM3D(path), damask.ConfigMaterial.load_DREAM3D(path)
    except KeyError as error:
        raise UserError(f"has no orientations ({_one_line(error)})", path, "Export 'EulerAngles' and 'Phases'") from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"cannot be read as DREAM.3D ({_one_line(error)})", path, "Save it by DREAM.3D 6 or NX") from None
    return grid.material, _material_orientations(material, path)


def _from_vti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import damask

    beside = next((p for p in (path.with_suffix(".yaml"), path.with_name("material.yaml")) if p.is_file()), None)
    if beside is None:
        raise UserError("has no orientations", path, f"Put {path.stem}.yaml or material.yaml beside it")
    try:
        grid = damask.GeomGrid.load(path)
    except Exception as error:  # VTK's reader and damask's checks raise many kinds
        raise UserError(f"cannot be read as DAMASK's .vti ({_one_line(error)})", path, "Save it with damask") from None
    return grid.material, _material_orientations(damask.ConfigMaterial.load(beside), beside)


def _material_orientations(material: Any, path: Path) -> np.ndarray:
    """First constituent's orientation of every material."""
    try:
        return np.array([entry["constituents"][0]["O"] for entry in material["material"]], float)
    except (KeyError, IndexError, TypeError, ValueError):
        raise UserError("has no orientation for every material", path, "Give each constituent an 'O' of four numbers") from None


def _from_npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    content = _load_numpy(path)
    return _entry(content, "grain_id", path), _entry(content, "quaternion", path)


def _from_npy(path: Path) -> tuple[np.ndarray, np.ndarray]:
    field = _load_numpy(path)
    if field.ndim != 4 or (field.shape[-1] != 4 and field.shape[0] != 3):
        raise UserError(f"has shape {field.shape}", path, "Use (n, n, n, 4) quaternions or (3, n, n, n) Euler channels")
    _check_cube(field.shape[:3] if field.shape[-1] == 4 else field.shape[1:], path)
    if not np.isfinite(field).all():
        raise UserError("holds NaN or infinite values", path, "Give every voxel an orientation")
    if field.shape[-1] != 4:
        channels = torch.from_numpy(np.moveaxis(field, 0, -1).astype(np.float64))
        field = orientations.from_euler_channels(channels).numpy()
    quaternion, grain_id = np.unique(field.reshape(-1, 4), axis=0, return_inverse=True)
    return grain_id.reshape(field.shape[:3]), quaternion


def _load_numpy(path: Path) -> Any:
    """An array, or the dictionary of arrays of an .npz."""
    try:
        content = np.load(path, allow_pickle=False)
        return content if isinstance(content, np.ndarray) else {key: content[key] for key in content.files}
    except (OSError, ValueError, EOFError, KeyError, SyntaxError) as error:
        raise UserError(f"cannot be read as numpy arrays ({_one_line(error)})", path, "Save plain arrays, no objects") from None
    except Exception as error:
        if type(error).__name__ != "BadZipFile":
            raise
        raise UserError("is truncated or no .npz file", path, "Save it again with numpy.savez") from None


def _entry(content: Any, key: str, path: Path) -> np.ndarray:
    if isinstance(content, dict) and key in content:
        return content[key]
    what = "has no orientations" if key == "quaternion" else f"has no array {key!r}"
    raise UserError(what, path, f"Save {key!r} in an .npz")


# --- checks -----------------------------------------------------------------------------------------------------------


def _check_cube(shape: tuple[int, ...], path: Path) -> None:
    if len(shape) != 3 or len(set(shape)) != 1:
        raise UserError(f"has voxels of shape {tuple(shape)}", path, "A volume element is a cube of n x n x n voxels")


def _refuse_pickle(path: Path) -> None:
    if path.suffix.lower() in (".pt", ".pth", ".pkl", ".pickle"):
        raise UserError("is a pickle, which could run any code when opened", path, "Convert it to .npz where you trust it")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
