"""Writers of volume elements in the formats of DAMASK and DREAM.3D, for other programs and to try the readers."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import torch

from microprint import orientations


def write_vti(path: str | Path, grain_id: np.ndarray, quaternion: np.ndarray, edge_m: float, lattice: str = "cI") -> None:
    """DAMASK's grid at ``path`` (.vti) and the orientations in a ``.yaml`` of the same name.

    Parameters
    ----------
    grain_id, quaternion : (n, n, n) integers from 0; (G, 4).
    edge_m : edge of the volume element in metres.
    lattice : DAMASK's name of the crystal lattice, e.g. ``cF`` or ``hP``.
    """
    import damask

    path = Path(path)
    damask.GeomGrid(material=grain_id.astype(int), size=np.full(3, edge_m)).save(path)
    unit = quaternion.astype(float) / np.linalg.norm(quaternion.astype(float), axis=1, keepdims=True)
    phases = {"phase": {"grain": {"lattice": lattice}}, "homogenization": {"direct": {"N_constituents": 1}}}
    material = damask.ConfigMaterial(phases).material_add(O=unit, phase="grain", homogenization="direct")
    material.save(path.with_suffix(".yaml"))


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
