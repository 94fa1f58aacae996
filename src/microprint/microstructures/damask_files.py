"""Reader of DAMASK's grids: a ``.vti`` of material ids, and a YAML file with the list of materials beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from microprint.errors import UserError, one_line
from microprint.microstructures.segmentation import Grains

SYMMETRIES = {"cF": "cubic", "cI": "cubic", "hP": "hexagonal"}
_VTK = threading.Lock()


def read_damask(path: Path) -> Grains:
    """Grains of a grid ``NAME.vti`` with ``NAME.yaml``, else ``material.yaml``, beside it; the symmetry is the lattice's.

    Only the materials that the grid uses count. Raises `UserError`, which names the file at fault, for cells that are no
    cubes, ids that are not in the list, several constituents or phases, and orientations that are no unit quaternions.
    """
    beside = _material_file(path)
    ids = _material_ids(path)
    used, grain_id = np.unique(ids, return_inverse=True)
    materials, phases = _load(beside)
    if used[0] < 0 or used[-1] >= len(materials):
        what = f"has the material ids {used[0]} to {used[-1]}, but {beside.name} lists the materials 0 to {len(materials) - 1}"
        raise UserError(what, path, "Number materials from 0, in the order of the list")
    names, quaternions = zip(*(_constituent(materials[number], number, beside) for number in used.tolist()))
    if len(set(names)) > 1:
        what = f"the grid's materials have the phases {', '.join(sorted(set(names)))}"
        raise UserError(what, beside, "A volume element has one phase: cut out or replace the others")
    return Grains(grain_id.reshape(ids.shape), np.array(quaternions), _symmetry(names[0], phases, beside))


# --- grid ------------------------------------------------------------------------------------------------------------


def _material_ids(path: Path) -> np.ndarray:
    """Integers (nx, ny, nz), indexed [x, y, z]."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOXML import vtkXMLImageDataReader

    if not path.read_bytes()[-100:].rstrip().endswith(b"</VTKFile>"):  # VTK reads part of some of these, without a word
        raise UserError("is truncated, or no .vti file", path, "Save it again with damask")
    reader = vtkXMLImageDataReader()
    reader.SetFileName(str(path))
    with _silent_vtk():
        reader.Update()
    image = reader.GetOutput()
    cells = [points - 1 for points in image.GetDimensions()]
    if reader.GetErrorCode() or min(cells) < 1:
        raise UserError("cannot be read as VTK's image data", path, "Save it with damask, as a .vti of cells")
    if not image.GetDirectionMatrix().IsIdentity():
        raise UserError("has axes that are turned", path, "Save the grid along x, y and z")
    spacing = image.GetSpacing()
    if not min(spacing) > 0 or max(spacing) > (1 + 1e-3) * min(spacing):
        lengths = " x ".join(f"{length:.4g}" for length in spacing)
        raise UserError(f"has cells of {lengths} m, which are no cubes", path, "Choose size and cells of equal ratio")
    data, points = image.GetCellData(), image.GetPointData()
    material = data.GetArray("material")
    if material is None:
        names = [f"{part.GetArrayName(i)} ({kind})" for kind, part in (("cells", data), ("points", points))
                 for i in range(part.GetNumberOfArrays())]  # fmt: skip
        raise UserError(f"has no numbers 'material' of its cells, only {', '.join(names) or 'nothing'}", path, "Rename them")
    ids = vtk_to_numpy(material)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise UserError(f"its material ids have shape {ids.shape} and type {ids.dtype}", path, "Save one integer a cell")
    return ids.reshape(cells, order="F").astype(np.int64)


@contextmanager
def _silent_vtk() -> Iterator[None]:
    """VTK prints what it cannot read, for all threads or none; the error here says it."""
    from vtkmodules.vtkCommonCore import vtkObject

    with _VTK:
        before = vtkObject.GetGlobalWarningDisplay()
        vtkObject.SetGlobalWarningDisplay(0)
        try:
            yield
        finally:
            vtkObject.SetGlobalWarningDisplay(before)


# --- materials -------------------------------------------------------------------------------------------------------


def _material_file(path: Path) -> Path:
    for beside in (path.with_suffix(".yaml"), path.with_name("material.yaml")):
        if beside.is_file():
            return beside
    old = " DAMASK 2's material.config is not read." if path.with_name("material.config").is_file() else ""
    raise UserError("has no orientations", path, f"Put {path.stem}.yaml or material.yaml beside it.{old}")


def _load(path: Path) -> tuple[list, dict]:
    """Materials and phases of a DAMASK 3 configuration."""
    content = path.read_bytes()
    if content.lstrip().startswith(b"<"):
        raise UserError("is a material.config of DAMASK 2", path, "Write it as the YAML of DAMASK 3")
    try:
        config = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # that one is quick
    except yaml.reader.ReaderError as error:
        raise UserError(f"is no UTF-8 text near its byte {error.position}", path, "Save it in UTF-8") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = one_line(str(error).replace('in "<byte string>", ', "at "), 160)
        raise UserError(f"is no YAML ({reason})", path, "Save it with damask.ConfigMaterial") from None
    if not isinstance(config, dict):
        raise UserError(f"is {_kind(config)}, not a mapping", path, "Give it the keys material, phase and homogenization")
    materials = config.get("material")
    if not isinstance(materials, list) or not materials:
        what = "'material' is no list of materials" if "material" in config else f"has no 'material', only {_names(config)}"
        raise UserError(what, path, "List the materials of the grid, each with its constituents")
    phases = config.get("phase") or {}
    if not isinstance(phases, dict):
        raise UserError(f"'phase' is {_kind(phases)}, not a mapping", path, "Give each phase a name and a lattice")
    return materials, phases


def _constituent(material: Any, number: int, path: Path) -> tuple[str, np.ndarray]:
    """Phase and orientation (4,) of a material; `UserError` unless all its constituents have the same."""
    constituents = material.get("constituents") if isinstance(material, dict) else None
    if not isinstance(constituents, list) or not constituents or not all(isinstance(c, dict) for c in constituents):
        raise UserError(f"material {number} has no list of constituents", path, "Give it a constituent with 'phase' and 'O'")
    names = [str(constituent.get("phase", "")) for constituent in constituents]
    quaternions = [_unit_quaternion(constituent.get("O"), number, path) for constituent in constituents]
    same = all(min(abs(q - quaternions[0]).max(), abs(q + quaternions[0]).max()) < 1e-6 for q in quaternions)
    if len(set(names)) > 1 or not same:
        what = f"material {number} has {len(names)} constituents of several phases or orientations"
        raise UserError(what, path, "Give each point a single crystal")
    return names[0], quaternions[0]


def _unit_quaternion(value: Any, number: int, path: Path) -> np.ndarray:
    remedy = "Give each constituent an 'O' of four numbers, a unit quaternion"
    if value is None:
        raise UserError(f"material {number} has no orientation 'O'", path, remedy)
    try:
        q = np.array(value, float)  # YAML takes 1e-5 for a text
    except (TypeError, ValueError):
        q = np.zeros(0)
    if q.shape != (4,):
        raise UserError(f"'O' of material {number} is {str(value)[:60]}, not four numbers", path, remedy)
    if not abs(np.linalg.norm(q) - 1) <= 1e-3:
        raise UserError(f"'O' of material {number} has length {np.linalg.norm(q):.4g}, not 1", path, remedy)
    return q


def _symmetry(name: str, phases: dict, path: Path) -> str:
    """Symmetry of a phase's lattice; "" where the file does not give it."""
    phase = {str(key): value for key, value in phases.items()}.get(name)
    lattice = phase.get("lattice") if isinstance(phase, dict) else None
    if lattice is None:
        return ""
    if str(lattice) not in SYMMETRIES:
        raise UserError(f"phase {name} has the lattice {lattice}", path, f"Lattices may be {', '.join(SYMMETRIES)}")
    return SYMMETRIES[str(lattice)]


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", type(None): "empty"}.get(type(value), f"of type {type(value).__name__}")


def _names(config: dict) -> str:
    return ", ".join(map(str, config)) or "nothing"
