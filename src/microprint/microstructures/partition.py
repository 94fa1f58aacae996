"""Volume elements divided into a given number of cells, whatever the number of their grains."""

from __future__ import annotations

import heapq

import numpy as np
import torch

from microprint.microstructures.periodic import centres

COMPACT = 20.0  # weight of squared distances, in edges, against those of orientation embeddings when grains are merged
VOXELS_A_CELL = 8  # at least, on a grid to be divided


def partition(grain_id: np.ndarray, embedding: np.ndarray, count: int, stretch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cell of every voxel (n, n, n), and whether a cell holds (a part of) a grain, (count, G).

    Where a volume element has fewer grains than `count`, the largest for their number of cells are divided into compact
    parts, as k-means finds them; where it has more, neighbours of like orientation become one cell.

    Parameters
    ----------
    grain_id : (n, n, n), 0 to G - 1 without gaps, on a grid of at least `VOXELS_A_CELL` voxels for each cell.
    embedding : (G, k), the symmetric embedding of the grains' orientations.
    stretch : (3,), factors of lengths along the axes in which cells shall be compact.
    """
    voxels = np.bincount(grain_id.ravel(), minlength=len(embedding)).astype(float)
    if len(voxels) > count:
        of_grain = merged(grain_id, voxels / voxels.sum(), embedding, count)
        return of_grain[grain_id], of_grain == np.arange(count)[:, None]
    parts = seats(voxels, count)
    first = np.cumsum(parts) - parts
    cell, member = first[grain_id], np.repeat(np.arange(len(parts)), parts) == np.arange(len(parts))[:, None]
    for grain in np.flatnonzero(parts > 1):
        cell[grain_id == grain] += divided(np.argwhere(grain_id == grain) / len(grain_id), int(parts[grain]), stretch)
    return cell, member.T


def seats(size: np.ndarray, count: int) -> np.ndarray:
    """How many of `count` cells each grain gets by its size: one, and then always the grain with the most for a cell."""
    parts = np.ones(len(size), int)
    queue = [(-s, grain) for grain, s in enumerate(size)]
    heapq.heapify(queue)
    for _ in range(count - len(size)):
        _, grain = queue[0]
        parts[grain] += 1
        heapq.heapreplace(queue, (-size[grain] / parts[grain], grain))
    return parts


def divided(position: np.ndarray, parts: int, stretch: np.ndarray) -> np.ndarray:
    """Part of every voxel of a grain, at positions (V, 3) in a periodic unit cube: compact and about equally large."""
    from sklearn.cluster import KMeans

    centre = np.angle(np.exp(2j * np.pi * position).mean(0)) / (2 * np.pi)
    offset = position - centre
    offset = (offset - np.round(offset)) * stretch
    return KMeans(parts, n_init=1, max_iter=20, random_state=0).fit_predict(offset)


def merged(grain_id: np.ndarray, volume: np.ndarray, embedding: np.ndarray, count: int) -> np.ndarray:
    """Cell (G,) of every grain, of `count`: by Ward's (1963) agglomeration of neighbours.

    What is joined next adds least to the spread of orientation within the cells, and of position, by volume.
    """
    grains = len(volume)
    neighbours = np.zeros((grains, grains), bool)
    for axis in range(3):
        other = np.roll(grain_id, 1, axis)
        neighbours[grain_id, other] = neighbours[other, grain_id] = True
    position = centres(torch.tensor(grain_id)[None], grains)[0][0].double().numpy()
    size, mean, label = volume.copy(), embedding.copy(), np.arange(grains)

    def cost(one_cell: int | slice) -> np.ndarray:
        apart = position[one_cell][..., None, :] - position
        apart -= np.round(apart)
        spread = np.square(mean[one_cell][..., None, :] - mean).sum(-1) + COMPACT * np.square(apart).sum(-1)
        pairs = size[one_cell][..., None] * size / (size[one_cell][..., None] + size)
        return np.where(neighbours[one_cell], pairs * spread, np.inf)

    np.fill_diagonal(neighbours, False)
    costs = cost(slice(None))
    for _ in range(grains - count):
        kept, gone = sorted(divmod(int(costs.argmin()), grains))
        share = size[gone] / (size[kept] + size[gone])
        way = position[gone] - position[kept]
        position[kept] += share * (way - np.round(way))
        mean[kept] += share * (mean[gone] - mean[kept])
        size[kept] += size[gone]
        label[label == gone] = kept
        neighbours[kept] |= neighbours[gone]
        neighbours[:, kept] |= neighbours[:, gone]
        neighbours[gone] = neighbours[:, gone] = neighbours[kept, kept] = False
        costs[gone] = costs[:, gone] = np.inf
        costs[kept] = costs[:, kept] = cost(kept)
    return np.unique(label, return_inverse=True)[1]
