"""Grains of an orientation map, and their average orientations.

Measured orientations scatter inside a grain, by a degree or so, and a grain is what neighbours of nearly equal orientation
make up. A map of a generator has one orientation for each grain instead, and needs no segmentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from microprint import orientations
from microprint.errors import UserError

LARGEST_SCATTER_DEG = 20.0  # of the voxels around their grain's average; those of one grain scatter by less than 10
_SCATTERED = 1 / 8  # share of voxels with an orientation of their own from which on a map counts as measured
_CHUNK = 1 << 18
_PASSES = 10


class Grains(NamedTuple):
    """What a file says of one volume element.

    Attributes
    ----------
    grain_id : (nx, ny, nz) integers, 0 to the number of grains - 1, indexed [x, y, z].
    quaternion : (grains, 4), double precision.
    symmetry : of the crystal, "cubic" or "hexagonal"; "" where the file does not say.
    note : what a reader did beyond reading, to be told to the user; mostly empty.
    """

    grain_id: np.ndarray
    quaternion: np.ndarray
    symmetry: str = ""
    note: str = ""


def grains_of_field(field: Tensor, symmetry: str, tolerance_deg: float, where: object) -> Grains:
    """Grains of orientations (nx, ny, nz, 4): the distinct ones of a clean field, the segments of one that scatters.

    A field scatters if more than an eighth of its voxels have an orientation that no other voxel has. Raises `UserError` if
    a segment spreads over more than `LARGEST_SCATTER_DEG`.
    """
    distinct, ids, counts = _distinct(field)
    if (counts == 1).sum() <= _SCATTERED * ids.size:
        return Grains(ids, distinct.numpy())
    grain_id, quaternion = segment(field, symmetry, tolerance_deg)
    spread = scatter_deg(field, grain_id, quaternion, symmetry)
    if (worst := spread.max()) > LARGEST_SCATTER_DEG:
        raise UserError(
            f"voxels of one grain scatter by {worst:.0f} degrees, if neighbours within {tolerance_deg:g} degrees are one grain",
            where,
            "Lower polycrystals.segmentation_deg, or save FeatureIds with the map",
        )
    if len(quaternion) == len(distinct):
        return Grains(grain_id, quaternion)
    note = f"orientations scatter from voxel to voxel, and neighbours within {tolerance_deg:g} degrees are taken as one grain"
    return Grains(grain_id, quaternion, note=note)


def segment(quaternion_field: Tensor, symmetry: str, tolerance_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """Grains of a periodic orientation map.

    Neighbours across a face, also through the sides of the volume, belong to one grain if their disorientation is below the
    tolerance; voxels of exactly the same orientation do so wherever they are.

    Parameters
    ----------
    quaternion_field : (nx, ny, nz, 4) unit quaternions.
    symmetry : "cubic" or "hexagonal"; "" if equivalent orientations are to count as different ones.

    Returns
    -------
    grain_id : (nx, ny, nz) integers from 0.
    quaternion : (grains, 4) average orientations.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    distinct, ids, _ = _distinct(quaternion_field)
    count = len(distinct)
    pairs = [np.unique(np.minimum(ids, other) * count + np.maximum(ids, other)) for other in _neighbours(ids)]
    first, second = np.divmod(np.unique(np.concatenate(pairs)), count)
    angle = torch.rad2deg(misorientation(distinct[first], distinct[second], symmetry)).numpy()
    joined = angle < tolerance_deg
    graph = coo_array((np.ones(joined.sum()), (first[joined], second[joined])), shape=(count, count))
    _, grain_of = connected_components(graph, directed=False)
    grain_id = grain_of[ids].astype(np.int64)
    return grain_id, average(quaternion_field, grain_id, symmetry)


def average(quaternion: Tensor, grain_id: np.ndarray, symmetry: str) -> np.ndarray:
    """Average orientation of every grain, (grains, 4): the largest eigenvector of sum q q^T over its voxels.

    Every voxel takes part by that one of its equivalent orientations that is nearest to the average of the pass before, at
    first to the grain's first voxel. Markley et al. 2007, doi:10.2514/1.28949.

    Parameters
    ----------
    quaternion : (..., 4), one for each voxel.
    grain_id : (...) integers, 0 to the number of grains - 1, none left out.
    """
    q, ids = _rows(quaternion), torch.from_numpy(grain_id.reshape(-1).astype(np.int64))
    mean = q[np.unique(grain_id, return_index=True)[1]]
    for _ in range(_PASSES):
        moment = torch.zeros(len(mean), 4, 4, dtype=torch.float64)
        for part, own in zip(q.split(_CHUNK), ids.split(_CHUNK), strict=True):
            near = _nearest(part, mean[own], symmetry)
            moment.index_add_(0, own, near[:, :, None] * near[:, None, :])
        before, mean = mean, orientations.standardize(torch.linalg.eigh(moment).eigenvectors[..., -1])
        if (orientations.one_minus_abs_dot(before, mean) < 1e-14).all():
            break
    return mean.numpy()


def scatter_deg(quaternion: Tensor, grain_id: np.ndarray, mean: np.ndarray, symmetry: str) -> np.ndarray:
    """Mean disorientation in degrees (grains,) of the voxels of every grain from its average (grains, 4)."""
    ids = grain_id.reshape(-1)
    angle = torch.rad2deg(misorientation(_rows(quaternion), torch.from_numpy(mean)[ids], symmetry)).numpy()
    return np.bincount(ids, angle) / np.bincount(ids)


def misorientation(p: Tensor, q: Tensor, symmetry: str) -> Tensor:
    """Disorientation in radians (...) of orientations (..., 4); without symmetry the angle of the rotation between them."""
    if symmetry:
        return orientations.disorientation(p, q, symmetry)
    return orientations.rotation_angle(orientations.multiply(p, orientations.conjugate(q)))


def _nearest(q: Tensor, reference: Tensor, symmetry: str) -> Tensor:
    """Equivalents of orientations (N, 4) nearest to references (N, 4)."""
    between = orientations.multiply(q, orientations.conjugate(reference))
    between = orientations.reduce(between, symmetry) if symmetry else orientations.standardize(between)
    return orientations.multiply(between, reference)


def _neighbours(ids: np.ndarray) -> Iterator[np.ndarray]:
    """Numbers (nx, ny, nz) of every voxel's neighbour along x, y and z, periodic."""
    return (np.roll(ids, 1, axis) for axis in range(3))


def _distinct(field: Tensor) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Distinct orientations (D, 4) of a field (nx, ny, nz, 4), their numbers in it (nx, ny, nz), and their counts (D,)."""
    rows, ids, counts = np.unique(_rows(field).numpy(), axis=0, return_inverse=True, return_counts=True)
    return torch.from_numpy(rows), ids.reshape(field.shape[:3]), counts


def _rows(quaternion: Tensor) -> Tensor:
    """Unit quaternions (N, 4) with w >= 0, in double precision."""
    q = torch.as_tensor(quaternion).double().reshape(-1, 4)
    return orientations.standardize(q / q.norm(dim=-1, keepdim=True))
