"""A set of volume elements as training and analysis take it: in memory if it fits there, else read as it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from microprint import store
from microprint.errors import UserError
from microprint.microstructures.polycrystal import generate
from microprint.orientations import expand

IN_MEMORY = 2 << 30  # bytes of grain ids; larger sets stay in their file
VOXELS_AT_ONCE = 1 << 18  # of the parts in which a set is worked through


@dataclass(frozen=True)
class StoredIds:
    """Grain ids that stay in their file and are read where they are indexed, as if they were a tensor.

    The file is opened for every read, half a millisecond: so nothing is held open, and processes may share it.

    Attributes
    ----------
    path, name : HDF5 file, and the dataset (M, n, n, n) in it.
    rows : (N,) those of its volume elements that belong to the set.
    edge : n, in voxels.
    dtype : of the tensors that are read.
    """

    path: Path
    name: str
    rows: Tensor
    edge: int
    dtype: torch.dtype

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.rows), *3 * (self.edge,)))

    def __getitem__(self, index: slice | Tensor) -> Tensor:
        """Grain ids (B, n, n, n) of a slice, or of indices (B,) in any order, with repetitions, or a mask (N,)."""
        rows, place = self.rows[index].unique(return_inverse=True)
        ids = torch.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        runs = ((rows.diff() != 1).nonzero()[:, 0] + 1).tolist()  # of neighbours in the file, read at once
        with store.open_hdf5(self.path) as file:
            for run, out in zip(rows.tensor_split(runs), ids.tensor_split(runs), strict=True):
                if len(run):
                    file[self.name].read_direct(out.numpy(), np.s_[run[0] : run[-1] + 1])
        return ids if torch.equal(place, torch.arange(len(rows))) else ids[place]

    def chosen(self, index: slice | Tensor) -> Tensor | StoredIds:
        """Some of them: read if they fit in memory, else left in the file."""
        kept = StoredIds(self.path, self.name, self.rows[index], self.edge, self.dtype)
        return kept if kept.shape.numel() * self.dtype.itemsize > IN_MEMORY else kept[:]


@dataclass(frozen=True)
class VolumeSet:
    """A set of volume elements of one size and symmetry.

    Attributes
    ----------
    grain_id : (N, n, n, n) integers, 0-based; a tensor, or `StoredIds` of a large set.
    quaternion : (N, G, 4); rows beyond a volume element's grains are the identity.
    grains : (N,) count of grains.
    symmetry : "cubic" or "hexagonal".
    """

    grain_id: Tensor | StoredIds
    quaternion: Tensor
    grains: Tensor
    symmetry: str

    def __len__(self) -> int:
        return len(self.grain_id)

    def __getitem__(self, index: slice | Tensor) -> VolumeSet:
        stored = isinstance(self.grain_id, StoredIds)
        grain_id = self.grain_id.chosen(index) if stored else self.grain_id[index]
        return VolumeSet(grain_id, self.quaternion[index], self.grains[index], self.symmetry)

    def parts(self, voxels: int = VOXELS_AT_ONCE) -> Iterator[VolumeSet]:
        """The set in slices of so many voxels, or of one volume element, that bound the memory of what is done with it."""
        size = max(voxels // self.grain_id.shape[-1] ** 3, 1)
        return (self[start : start + size] for start in range(0, len(self), size))

    def orientations(self) -> Tensor:
        """Quaternion of every voxel, (N, n, n, n, 4)."""
        return expand(self.grain_id, self.quaternion).movedim(1, -1)


def read_volume_elements(file: h5py.File, symmetry: str, name: str) -> VolumeSet:
    """A set of `polycrystals.h5`, whose grain ids stay in the file if they take more than `IN_MEMORY` bytes.

    Raises `UserError` where the file has no such set.
    """
    if f"{symmetry}/{name}" not in file:
        raise UserError(f"has no set {symmetry}/{name}", file.filename, "Run notebook 01 again")
    group = file[f"{symmetry}/{name}"]
    quaternion = torch.from_numpy(group["quaternion"][:])
    count, edge = group["grain_id"].shape[:2]
    kind = torch.int16 if quaternion.shape[1] <= torch.iinfo(torch.int16).max else torch.int32
    ids = StoredIds(Path(file.filename).resolve(), group["grain_id"].name, torch.arange(count), edge, kind)
    grains = torch.from_numpy(group["grains"][:].astype(np.int64))
    return VolumeSet(ids.chosen(slice(None)), _padded(quaternion), grains, symmetry)


def fresh_volume_elements(count: int, edge: int, symmetry: str, generator: torch.Generator) -> VolumeSet:
    """New equiaxed, randomly textured volume elements of n = `edge` voxels an edge."""
    grown = generate(count, edge, symmetry, generator)
    return VolumeSet(grown.grain_id, _padded(grown.quaternion), grown.grains, symmetry)


def _padded(quaternion: Tensor) -> Tensor:
    """Quaternions with the identity where there are none."""
    identity = quaternion.new_tensor([1.0, 0.0, 0.0, 0.0])
    return torch.where(quaternion.isnan().any(-1, keepdim=True), identity, quaternion)
