"""Writers of volume elements in the formats of DAMASK and DREAM.3D, for other programs and to try the readers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from microprint import orientations

_UNKNOWN = {"grain": {"lattice": "cI"}}


def write_vti(
    path: str | Path, grain_id: np.ndarray, quaternion: np.ndarray, edge_m: float, phase: Mapping[str, Any] = _UNKNOWN
) -> None:
    """DAMASK's grid at ``path`` (.vti), and the phase and the orientations in a ``.yaml`` of the same name.

    Grains (nx, ny, nz) are numbered from 0 and have quaternions (G, 4); `edge_m` is the edge along x in metres, and voxels
    are cubes; `phase` is ``{name: content}``, as in DAMASK's material files.
    """
    import damask

    path, size = Path(path), edge_m * np.array(grain_id.shape) / len(grain_id)
    damask.GeomGrid(material=grain_id.astype(int), size=size).save(path)
    homogenization = {"SX": {"N_constituents": 1, "mechanical": {"type": "pass"}}}
    config = damask.ConfigMaterial(phase=dict(phase), homogenization=homogenization)
    unit = damask.Rotation.from_quaternion(quaternion.astype(float), accept_homomorph=True, normalize=True)
    config.material_add(O=unit, phase=next(iter(phase)), homogenization="SX").save(path.with_suffix(".yaml"))


def write_composite_vti(
    path: str | Path, phase_ids: np.ndarray, edge_m: float, phases: Mapping[str, Mapping[str, float]]
) -> None:
    """DAMASK's grid of a composite (nx, ny, nz) at ``path`` (.vti), and its phases in a ``.yaml`` of the same name.

    `phases` are the names of phase 0, 1 ... with their elastic constants ``C_11``, ``C_12``, ``C_44`` in Pa; `edge_m` is the
    edge along x in metres. ParaView opens the grid, DAMASK's grid solver both.
    """
    import damask

    path, size = Path(path), edge_m * np.array(phase_ids.shape) / len(phase_ids)
    damask.GeomGrid(material=phase_ids.astype(int), size=size).save(path)
    content = {
        name: {"lattice": "cI", "mechanical": {"output": ["F", "P"], "elastic": {"type": "Hooke", **constants}}}
        for name, constants in phases.items()
    }
    homogenization = {"SX": {"N_constituents": 1, "mechanical": {"type": "pass"}}}
    config = damask.ConfigMaterial(phase=content, homogenization=homogenization)
    for name in phases:
        config = config.material_add(O=damask.Rotation(), phase=name, homogenization="SX")
    config.save(path.with_suffix(".yaml"))


def write_dream3d(path: str | Path, grain_id: np.ndarray, quaternion: np.ndarray, edge_m: float) -> None:
    """Least of a DREAM.3D 6 file (format 7.0): geometry, and Euler angles and phases of the cells; lengths in micrometres."""
    edge = len(grain_id)
    angles = orientations.to_euler(torch.from_numpy(quaternion)).numpy()[grain_id]
    with h5py.File(path, "w") as file:
        file.attrs["FileVersion"] = np.bytes_("7.0")
        geometry = file.create_group("DataContainers/VolumeElement/_SIMPL_GEOMETRY")
        geometry["DIMENSIONS"] = np.full(3, edge, np.int64)
        geometry["SPACING"] = np.full(3, 1e6 * edge_m / edge, np.float32)
        geometry["ORIGIN"] = np.zeros(3, np.float32)
        cells = file.create_group("DataContainers/VolumeElement/CellData")
        cells["EulerAngles"] = angles.transpose(2, 1, 0, 3).astype(np.float32)  # DREAM.3D stores [z, y, x]
        cells["Phases"] = np.ones((edge, edge, edge, 1), np.int32)
