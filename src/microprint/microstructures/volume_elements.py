"""Polycrystalline volume elements (VEs): the one class that generates, reads, simulates, trains and analyses them all.

A set lies in memory if it fits there, else it is read as it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from microprint import orientations, store
from microprint.arrays import Array, integers, numbers, quaternion_of
from microprint.errors import UserError

IN_MEMORY = 2 << 30  # bytes of grain ids; larger sets stay in their file
VOXELS_AT_ONCE = 1 << 18  # of the parts in which a set is worked through


@dataclass(frozen=True)
class StoredIds:
    """Grain ids that stay in their file and are read where they are indexed, as if they were a tensor.

    The file is opened for every read, half a millisecond: so nothing is held open, and processes may share it.
    """

    path: Path  # HDF5 file
    name: str  # of the dataset (M, n, n, n) in it
    rows: Tensor  # (N,) those of its volume elements that belong to the set
    edge: int  # n, in voxels
    dtype: torch.dtype  # of the tensors that are read

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.rows), *3 * (self.edge,)))

    def __getitem__(self, index: slice | Tensor) -> Tensor:
        """Grain ids (B, n, n, n) of a slice, or of indices (B,) in any order, with repetitions, or a mask (N,)."""
        rows, order = self.rows[index].unique(return_inverse=True)
        ids = torch.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        runs = ((rows.diff() != 1).nonzero()[:, 0] + 1).tolist()  # of neighbours in the file, read at once
        with store.open_hdf5(self.path) as file:
            for run, out in zip(rows.tensor_split(runs), ids.tensor_split(runs), strict=True):
                if len(run):
                    file[self.name].read_direct(out.numpy(), np.s_[run[0] : run[-1] + 1])
        return ids if torch.equal(order, torch.arange(len(rows))) else ids[order]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """All of them, read into memory, for who asks for an array."""
        return self[:].numpy().astype(dtype or self[:0].numpy().dtype)

    def chosen(self, index: slice | Tensor) -> Tensor | StoredIds:
        """Some of them: read if they fit in memory, else left in the file."""
        kept = StoredIds(self.path, self.name, self.rows[index], self.edge, self.dtype)
        return kept if kept.shape.numel() * self.dtype.itemsize > IN_MEMORY else kept[:]


@dataclass(frozen=True)
class VolumeElements:
    """N polycrystalline volume elements on one grid, of one crystal symmetry.

    Grain ids (N, nx, ny, nz) are integers, indexed [x, y, z]: 0 to its number of grains - 1 in each, none left out.
    Quaternions (w, x, y, z) in DAMASK's convention are the orientations; rows beyond a VE's own grains are the identity.
    """

    grain_id: Tensor | StoredIds  # stored, if the set is large
    quaternion: Tensor  # (N, G, 4)
    grains: Tensor  # (N,) number of grains
    symmetry: str = ""  # "cubic" or "hexagonal"; "" where nobody asks

    @classmethod
    def of(cls, grain_ids: Array, quaternions: Array, symmetry: str = "", where: object = None) -> VolumeElements:
        """Volume elements of a user's arrays, which are checked; orientations come out in double precision, of length 1.

        Grain ids are (N, nx, ny, nz), or (nx, ny, nz) of one; quaternions (N, G, 4) or (G, 4), or a damask.Rotation, and
        their rows beyond a VE's grains may hold anything. They are read by `microprint.arrays`, and shared with no array of
        the user's. Raises `UserError`, which names the argument or the file where they come from, for shapes that do not
        fit, ids that are no integers or skip a number, and orientations that are missing or no unit quaternions.

        >>> one = VolumeElements.of(np.zeros((2, 2, 2), int), np.array([[1.0, 0, 0, 0]]))
        >>> one.grains.tolist(), one.orientations().shape
        ([1], torch.Size([1, 2, 2, 2, 4]))
        """
        of = f"{where}: " if where else ""
        ids = integers(grain_ids, f"{of}grain_ids", ("N", "nx", "ny", "nz"), single=True)
        q = numbers(quaternion_of(quaternions), f"{of}quaternions", ("N", "grains", 4), single=True, finite=False)
        if len(ids) != len(q):
            shapes = f"grain ids of shape {tuple(ids.shape)} and orientations of shape {tuple(q.shape)} do not fit"
            raise UserError(shapes, where, "Give (N, nx, ny, nz) integers and (N, grains, 4) quaternions")
        names = [where or f"volume element {number}" for number in range(len(ids))]
        grains = torch.tensor([_count_grains(*element) for element in zip(ids, q, names)])
        return cls(ids, pad_orientations(orientations.standardize(q / q.norm(dim=-1, keepdim=True)), grains), grains, symmetry)

    def __len__(self) -> int:
        return len(self.grain_id)

    def __getitem__(self, index: slice | Tensor) -> VolumeElements:
        stored = isinstance(self.grain_id, StoredIds)
        grain_id = self.grain_id.chosen(index) if stored else self.grain_id[index]
        return VolumeElements(grain_id, self.quaternion[index], self.grains[index], self.symmetry)

    @property
    def edge(self) -> int:
        """Voxels along z, and along all edges of a cube."""
        return self.grain_id.shape[-1]

    def parts(self, voxels: int = VOXELS_AT_ONCE) -> Iterator[VolumeElements]:
        """The set in slices of so many voxels, or of one volume element, that bound the memory of what is done with it."""
        size = max(voxels // self.edge**3, 1)
        return (self[start : start + size] for start in range(0, len(self), size))

    def orientations(self) -> Tensor:
        """Quaternion of every voxel, (N, nx, ny, nz, 4)."""
        return orientations.expand(self.grain_id, self.quaternion).movedim(1, -1)

    def sampled(self, edge: int) -> VolumeElements:
        """The same on a coarser grid, of every k-th voxel; grains between the sampled voxels are gone, the others renumbered.

        The edge is that of the coarser grid, in voxels: a divisor of n, or n or more, which keeps the grid.
        """
        stride, remainder = divmod(self.edge, edge)
        if stride > 1 and remainder:
            raise UserError(f"{edge} does not divide the edge {self.edge} of the VEs", "cp.edge", "Choose a divisor")
        if stride <= 1:
            return self
        coarse = torch.stack([element[::stride, ::stride, ::stride] for element in self.grain_id[:]])
        quaternion = torch.zeros_like(self.quaternion)
        grains = torch.empty_like(self.grains)
        for i, element in enumerate(coarse):
            present, coarse[i] = torch.unique(element, return_inverse=True)
            grains[i] = len(present)
            quaternion[i, : len(present)] = self.quaternion[i, present.long()]
        return VolumeElements(coarse, pad_orientations(quaternion, grains), grains, self.symmetry)


def pad_orientations(quaternion: Tensor, grains: Tensor) -> Tensor:
    """Quaternions (N, G, 4) with the identity in the rows beyond each VE's own grains (N,)."""
    own = torch.arange(quaternion.shape[1], device=quaternion.device) < grains.to(quaternion.device)[:, None]
    return torch.where(own[..., None], quaternion, quaternion.new_tensor([1.0, 0.0, 0.0, 0.0]))


def number_without_gaps(owner: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Grain numbers (N, nx, ny, nz) without those of `most` that own no voxel, and how many are left in each VE, (N,)."""
    present = torch.zeros(owner.shape[0], most, dtype=torch.bool, device=owner.device)
    present.scatter_(1, owner.flatten(1), True)
    number = present.cumsum(1) - 1
    return number.gather(1, owner.flatten(1)).reshape(owner.shape), present.sum(1)


def stored_set(file: h5py.File, path: str) -> h5py.Group:
    """Group of a set of `polycrystals.h5`; raises `UserError` where the file has no such set."""
    if path not in file:
        raise UserError(f"has no set {path}", file.filename, "Run notebook 01 with a source that has it")
    return file[path]


def stored_edges(file: h5py.File) -> dict[str, int]:
    """Voxels along the edge of the volume elements of each set of `polycrystals.h5`."""
    return {f"{s}/{name}": group["grain_id"].shape[-1] for s in file for name, group in file[s].items()}


def read_volume_elements(file: h5py.File, path: str, rows: slice = slice(None)) -> VolumeElements:
    """The set ``symmetry/name`` of `polycrystals.h5`, or a slice of it; ids of more than `IN_MEMORY` bytes stay in the file.

    Raises `UserError` where the file has no such set.
    """
    group = stored_set(file, path)
    count, edge = group["grain_id"].shape[:2]
    grains = torch.from_numpy(group["grains"][rows].astype(np.int64))
    kind = torch.int16 if group["quaternion"].shape[1] <= torch.iinfo(torch.int16).max else torch.int32
    ids = StoredIds(Path(file.filename).resolve(), group["grain_id"].name, torch.arange(count)[rows], edge, kind)
    quaternion = pad_orientations(torch.from_numpy(group["quaternion"][rows]), grains)
    return VolumeElements(ids.chosen(slice(None)), quaternion, grains, path.split("/")[0])


def _count_grains(ids: Tensor, quaternion: Tensor, where: object) -> int:
    """Number of grains of one VE; `UserError` if ids (nx, ny, nz) and orientations (G, 4) do not fit together."""
    present = torch.unique(ids)
    count = len(present)
    if present[0] != 0:
        raise UserError(f"grain ids start at {int(present[0])}", where, "Number the grains 0, 1, 2, ... without gaps")
    if present[-1] != count - 1:
        skipped = int((present.diff() > 1).nonzero()[0]) + 1
        raise UserError(f"grain ids skip {skipped}", where, "Number the grains 0, 1, 2, ... without gaps")
    if count > len(quaternion):
        raise UserError(f"{count} grains but {len(quaternion)} orientations", where, "Give one quaternion for each grain")
    norm = quaternion[:count].norm(dim=-1)
    if not norm.isfinite().all():
        grain = int((~norm.isfinite()).nonzero()[0])
        raise UserError(f"the orientation of grain {grain} is not finite", where, "Give one quaternion for each grain")
    worst = int((norm - 1).abs().argmax())
    if abs(norm[worst] - 1) > 1e-3:
        raise UserError(f"the quaternion of grain {worst} has length {norm[worst]:.4g}, not 1", where, "Give unit quaternions")
    return count
