"""Cells of tessellations as compiled loops: the same as `periodic` by tensor operations, many times faster on a CPU."""

from __future__ import annotations

import math

import numpy as np

from microprint.jit import compiled

NEGLIGIBLE = -12.0  # logarithm of a share that is none
FAR = 1e12  # in scores
BLOCK = 2  # voxels an edge


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
    blocks = np.arange(0, offset.shape[-1], BLOCK)
    for b in range(batch):
        gradients = by_site[b], by_metric[b], by_weight[b]
        along = np.ascontiguousarray(offset[b].transpose(1, 2, 0))  # (3, n, M)
        square = sharpness * metric[b][:, None, None] * along**2
        nearest, farthest = (of.reduceat(square, blocks, axis=1) for of in (np.minimum, np.maximum))
        of_grain = np.argsort(~member[b].T, axis=1, kind="stable"), member[b].sum(0)
        arrays = grain_id[b], *of_grain, along, square, nearest, farthest, metric[b], sharpness * weight[b], sharpness
        loss[b], by_sharpness[b] = _assignment(*arrays, *gradients)
    return loss / voxels, by_site / voxels, by_metric / voxels, by_weight / voxels, by_sharpness / voxels


def _assignment(ids, cells, parts, u, square, nearest, farthest, metric, height, sharpness, by_site, by_metric, by_weight):
    """The first `parts` (G,) of a grain's `cells` (G, M) are its own; a block of voxels looks at seeds that can count there."""
    n, blocks, seeds = len(ids), nearest.shape[1], len(height)
    total, by_sharpness = 0.0, 0.0
    near, which = np.empty(seeds, np.int64), np.empty(2 * seeds, np.int64)
    score, slope = np.empty(2 * seeds), np.empty(2 * seeds)
    for i0, j0, k0 in np.ndindex(blocks, blocks, blocks):
        most = -FAR
        for m in range(seeds):
            most = max(most, height[m] - farthest[0, i0, m] - farthest[1, j0, m] - farthest[2, k0, m])
        count = 0
        for m in range(seeds):
            if height[m] - nearest[0, i0, m] - nearest[1, j0, m] - nearest[2, k0, m] > most + NEGLIGIBLE:
                near[count] = m
                count += 1
        for i in range(BLOCK * i0, min(BLOCK * i0 + BLOCK, n)):
            for j in range(BLOCK * j0, min(BLOCK * j0 + BLOCK, n)):
                for k in range(BLOCK * k0, min(BLOCK * k0 + BLOCK, n)):
                    grain = ids[i, j, k]
                    own = parts[grain]
                    for c in range(count + own):
                        m = near[c] if c < count else cells[grain, c - count]
                        which[c], score[c] = m, height[m] - square[0, i, m] - square[1, j, m] - square[2, k, m]
                    total += _shares(score[:count], 1.0, slope[:count])
                    total += _shares(score[count : count + own], -1.0, slope[count : count + own])
                    for c in range(count + own):
                        m, change = which[c], slope[c]
                        if change == 0.0:
                            continue
                        by_sharpness += change * score[c]
                        by_weight[m] += change
                        for axis, voxel in enumerate((i, j, k)):
                            by_site[m, axis] += change * u[axis, voxel, m]
                            by_metric[axis] -= change * u[axis, voxel, m] ** 2
    by_weight *= sharpness
    by_metric *= sharpness
    by_site *= 2 * sharpness * metric
    return total, by_sharpness / sharpness


def _shares(score, sign, slope):
    """Signed logarithm of the sum of exponentials of some scores, and its slopes by them."""
    most, every = -FAR, 0.0
    for c in range(len(score)):
        most = max(most, score[c])
    for c in range(len(score)):
        slope[c] = 0.0 if score[c] < most + NEGLIGIBLE else 1.0 if score[c] == most else math.exp(score[c] - most)
        every += slope[c]
    for c in range(len(score)):
        slope[c] *= sign / every
    return sign * (most if every == 1.0 else most + math.log(every))


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
_shares = compiled(_shares, error_model="numpy", fastmath=True)
_assignment = compiled(_assignment, error_model="numpy", fastmath=True)  # whose numbers are all finite
