"""Cells of tessellations as compiled loops: the same as `periodic` by tensor operations, many times faster on a CPU."""

from __future__ import annotations

import math

import numpy as np

from microprint.jit import compiled

NEGLIGIBLE = -12.0  # logarithm of a share that is none
FAR = 1e12  # in scores


def owners(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Owner (B, n, n, n) of every voxel: the site with the least x + (y + z), of squares (B, G, n) along each axis.

    Of equals the first. Nothing is reordered, so the result is that of `periodic.nearest_site` to the last voxel.
    """
    result = np.zeros((len(x), *3 * (x.shape[-1],)), np.int64)
    for element, squares in enumerate(zip(x, y, z)):
        _owners(*squares, result[element])
    return result


def sums(grain_id: np.ndarray, along: np.ndarray, count: int) -> np.ndarray:
    """Sums (B, count, 3 k + 1) as in `periodic.sums_over_grains`, in double precision."""
    result = np.zeros((len(grain_id), count, 3 * along.shape[3] + 1))
    for element, ids in enumerate(grain_id):
        _sums(ids, along[element % len(along)], result[element])
    return result


def assignment(offset, metric, weight, sharpness: float, grain_id, member) -> tuple[np.ndarray, ...]:
    """Loss (B,) and its gradients by site (B, M, 3), metric (B, 3), weight (B, M) and sharpness (B,).

    As `microprint.networks.power_diagram.assignment_loss`, of the offsets (B, M, 3, n) of voxels from sites.
    """
    batch, voxels = len(offset), grain_id[0].size
    loss, by_sharpness = np.zeros(batch), np.zeros(batch)
    by_site, by_metric, by_weight = np.zeros(offset.shape[:3]), np.zeros(metric.shape), np.zeros(weight.shape)
    for b in range(batch):
        gradients = by_site[b], by_metric[b], by_weight[b]
        along = np.ascontiguousarray(offset[b].transpose(1, 2, 0))  # (3, n, M)
        closed = np.where(member[b].T, 0.0, FAR)
        arrays = grain_id[b], closed, along, metric[b][:, None, None] * along**2, metric[b], weight[b], sharpness
        loss[b], by_sharpness[b] = _assignment(*arrays, *gradients)
    return loss / voxels, by_site / voxels, by_metric / voxels, by_weight / voxels, by_sharpness / voxels


def _assignment(ids, closed, u, square, metric, weight, sharpness, by_site, by_metric, by_weight):
    n, seeds = len(ids), len(weight)
    total, by_sharpness = 0.0, 0.0
    base, score, own = np.empty(seeds), np.empty(seeds), np.empty(seeds)
    for i in range(n):
        for j in range(n):
            for m in range(seeds):
                base[m] = sharpness * (weight[m] - square[0, i, m] - square[1, j, m])
            for k in range(n):
                barred = closed[ids[i, j, k]]
                most, most_own = -FAR, -FAR
                for m in range(seeds):
                    score[m] = base[m] - sharpness * square[2, k, m]
                    own[m] = score[m] - barred[m]
                    most = max(most, score[m])
                    most_own = max(most_own, own[m])
                every, ours = 0.0, 0.0
                for m in range(seeds):
                    if score[m] - most > NEGLIGIBLE:
                        every += math.exp(score[m] - most)
                    if own[m] - most_own > NEGLIGIBLE:
                        ours += math.exp(own[m] - most_own)
                every, ours = most + math.log(every), most_own + math.log(ours)
                total += every - ours
                for m in range(seeds):
                    slope = 0.0  # of the loss by the score
                    if score[m] - every > NEGLIGIBLE:
                        slope = math.exp(score[m] - every)
                    if own[m] - ours > NEGLIGIBLE:
                        slope -= math.exp(own[m] - ours)
                    if slope != 0.0:
                        by_sharpness += slope * score[m] / sharpness
                        slope *= sharpness
                        by_weight[m] += slope
                        for axis, voxel in enumerate((i, j, k)):
                            offset = u[axis, voxel, m]
                            by_site[m, axis] += 2 * slope * metric[axis] * offset
                            by_metric[axis] -= slope * offset**2
    return total, by_sharpness


def _sums(ids, values, result):
    n, functions, last = len(ids), values.shape[2], len(values) - 1
    for i in range(n):
        for j in range(n):
            for k in range(n):
                grain = ids[i, j, k]
                if grain < 0 or grain >= len(result):
                    raise IndexError("a grain id is out of range")
                own = min(grain, last)
                for f in range(functions):
                    result[grain, f] += values[own, 0, f, i]
                    result[grain, functions + f] += values[own, 1, f, j]
                    result[grain, 2 * functions + f] += values[own, 2, f, k]
                result[grain, 3 * functions] += 1.0


def _owners(x, y, z, owner):
    sites, n = x.shape
    least, first = np.empty(n, x.dtype), np.empty(n, np.int32)
    for i in range(n):
        for j in range(n):
            for k in range(n):
                least[k], first[k] = np.inf, 0
            for site in range(sites):
                x_i, y_j = x[site, i], y[site, j]
                for k in range(n):
                    power = x_i + (y_j + z[site, k])
                    nearer = power < least[k]
                    first[k] = site if nearer else first[k]
                    least[k] = power if nearer else least[k]
            for k in range(n):
                owner[i, j, k] = first[k]


_owners, _sums = compiled(_owners, error_model="numpy"), compiled(_sums, error_model="numpy")
_assignment = compiled(_assignment, error_model="numpy", fastmath=True)  # whose numbers are all finite
