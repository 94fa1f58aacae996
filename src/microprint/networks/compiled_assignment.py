"""How far a power diagram's cells are from the grains, with all gradients, on a CPU: `assignment_loss` as compiled loops.

Voxels come in blocks of eight, a lane of a vector each. A block looks at the seeds whose shares can count in it, found by the
best and the worst that each can have there, and at those of its own grains. What is kept of scores is their difference from one
that the block reaches everywhere, so single precision will do.
"""

from __future__ import annotations

import math

import numpy as np

from microprint.jit import compiled, part
from microprint.machine import in_threads, thread_ranges
from microprint.vectors import exponential, larger

NEGLIGIBLE = -12.0  # logarithm of a share that is none
FAR = 1e12  # in scores
EDGE, VOXELS = 2, 8  # of a block
_0, _1, _NONE = np.float32(0), np.float32(1), np.float32(-FAR)


def assignment(offset, metric, weight, sharpness: float, grain_id, member) -> tuple[np.ndarray, ...]:
    """Loss (B,) and its gradients by site (B, M, 3), metric (B, 3), weight (B, M) and sharpness (B,).

    As `microprint.networks.power_diagram.assignment_loss`, of the offsets (B, M, 3, n) of voxels from sites.
    """
    (batch, seeds), voxels, odd = weight.shape, grain_id[0].size, grain_id.shape[-1] % EDGE
    loss, by_sharpness = np.zeros(batch), np.zeros(batch)
    by_site, by_metric, by_weight = np.zeros((batch, seeds, 3)), np.zeros(metric.shape), np.zeros(weight.shape)
    along = np.pad(offset.transpose(0, 2, 3, 1), [(0, 0), (0, 0), (0, odd), (0, 0)], mode="edge")  # (B, 3, n, M)

    def some(begin: int, end: int) -> None:
        lists, best = (np.empty(member[0].size, np.int64), np.empty(member.shape[2] + 1, np.int64)), np.empty(seeds)
        block = np.empty(seeds, np.int64), np.zeros(seeds, np.bool_), np.empty(VOXELS, np.int64), np.empty(VOXELS, np.float32)
        scores = *np.empty((4, seeds, VOXELS), np.float32), *np.empty((4, VOXELS), np.float32)
        for b in range(begin, end):
            square = sharpness * metric[b][:, None, None] * along[b] ** 2
            given = grain_id[b], member[b], along[b], square, sharpness * weight[b]
            gradients = by_site[b], by_metric[b], by_weight[b]
            loss[b], by_sharpness[b] = _assignment(*given, lists, best, block, scores, gradients)

    in_threads(some, thread_ranges(batch), "cpu")
    by_site *= 2 * metric[:, None]
    by_site, by_metric, by_weight = (sharpness / voxels * gradient for gradient in (by_site, by_metric, by_weight))
    return loss / voxels, by_site, by_metric, by_weight, by_sharpness / (sharpness * voxels)


@part
def _list_seeds(member, seeds, first):
    """Seeds of all grains, those of each from its place `first` on."""
    count = 0
    for grain in range(member.shape[1]):
        first[grain] = count
        for m in range(len(member)):
            if member[m, grain]:
                seeds[count] = m
                count += 1
    first[member.shape[1]] = count


@part
def _list_near(square, height, i, j, k, which, best):
    """Seeds that can count in a block of voxels: a score that is reached all over it, and their number."""
    least, count = -FAR, 0
    for m in range(len(height)):
        x, y, z = square[0, i, m], square[1, j, m], square[2, k, m]
        far_x, far_y, far_z = square[0, i + 1, m], square[1, j + 1, m], square[2, k + 1, m]
        least = larger(least, height[m] - (larger(x, far_x) + larger(y, far_y) + larger(z, far_z)))
        best[m] = height[m] + (larger(-x, -far_x) + larger(-y, -far_y) + larger(-z, -far_z))
    for m in range(len(height)):
        which[count] = m
        count += best[m] > least + NEGLIGIBLE
    return least, count


@part
def _list_own(ids, i, j, k, seeds, first, count, block):
    """The grains of a block, which of its voxels there are, and all seeds that count with those of the grains."""
    which, listed, grains, inside = block
    n = len(ids)
    for c in range(count):
        listed[which[c]] = True
    for v in range(VOXELS):
        x, y, z = i + v // 4, j + v // 2 % 2, k + v % 2
        inside[v] = _1 if x < n and y < n and z < n else _0
        grains[v] = ids[min(x, n - 1), min(y, n - 1), min(z, n - 1)]
        if v and grains[v] == grains[v - 1]:
            continue
        for s in range(first[grains[v]], first[grains[v] + 1]):
            if not listed[seeds[s]]:
                which[count], listed[seeds[s]] = seeds[s], True
                count += 1
    for c in range(count):
        listed[which[c]] = False
    return count


@part
def _exponentials(score, count, power, highest, total):
    """Exponentials of scores less the highest of each voxel, and their sums."""
    for v in range(VOXELS):
        highest[v], total[v] = score[0, v], _0
    for c in range(1, count):
        for v in range(VOXELS):
            highest[v] = larger(score[c, v], highest[v])
    for c in range(count):
        for v in range(VOXELS):
            power[c, v] = score[c, v] - highest[v]
    flat = power.reshape(power.size)
    for e in range(VOXELS * count):
        flat[e] = exponential(flat[e])
    for c in range(count):
        for v in range(VOXELS):
            total[v] += power[c, v]


@part
def _add_slopes(slope, u, i, j, k, m, gradients):
    """Add what a seed's slopes at the voxels of a block give to gradients."""
    by_site, by_metric, by_weight = gradients
    a, b, c, d = slope[0] + slope[1], slope[2] + slope[3], slope[4] + slope[5], slope[6] + slope[7]
    even = slope[0] + slope[2] + slope[4] + slope[6]
    by_weight[m] += a + b + c + d
    for axis, at, s, t in ((0, i, a + b, c + d), (1, j, a + c, b + d), (2, k, even, a + b + c + d - even)):
        s, t = s * u[axis, at, m], t * u[axis, at + 1, m]
        by_site[m, axis] += s + t
        by_metric[axis] -= s * u[axis, at, m] + t * u[axis, at + 1, m]


@part
def _slopes(count, inside, scores):
    """Loss of a block of voxels; its slopes by all scores take the place of their exponentials."""
    score, own, power, own_power, highest, own_highest, every, own_every = scores
    _exponentials(score, count, power, highest, every)
    _exponentials(own, count, own_power, own_highest, own_every)
    loss, ratio = 0.0, 1.0
    for v in range(VOXELS):
        loss += inside[v] * (highest[v] - own_highest[v])
        ratio *= every[v] / own_every[v] if inside[v] else _1
        every[v], own_every[v] = inside[v] / every[v], inside[v] / own_every[v]
    for c in range(count):
        for v in range(VOXELS):
            power[c, v] = power[c, v] * every[v] - own_power[c, v] * own_every[v]
    return loss + math.log(ratio)


@compiled
def _assignment(ids, member, u, square, height, lists, best, block, scores, gradients):
    """Loss of a volume element and its derivative by the sharpness, which is for others to divide."""
    (seeds, first), (which, _, grains, inside), (score, own, slope) = lists, block, scores[:3]
    _list_seeds(member, seeds, first)
    loss = by_sharpness = 0.0
    for i in range(0, len(ids), EDGE):
        for j in range(0, len(ids), EDGE):
            for k in range(0, len(ids), EDGE):
                least, count = _list_near(square, height, i, j, k, which, best)
                count = _list_own(ids, i, j, k, seeds, first, count, block)
                if count == 1:  # the grain has all of the block for certain
                    continue
                for c in range(count):
                    m = which[c]
                    for v in range(VOXELS // 2):
                        pair = height[m] - least - square[0, i + v // 2, m] - square[1, j + v % 2, m]
                        score[c, 2 * v], score[c, 2 * v + 1] = pair - square[2, k, m], pair - square[2, k + 1, m]
                    for v in range(VOXELS):
                        own[c, v] = score[c, v] if member[m, grains[v]] else _NONE
                loss += _slopes(count, inside, scores)
                for c in range(count):
                    for v in range(VOXELS):
                        by_sharpness += slope[c, v] * score[c, v]
                    _add_slopes(slope[c], u, i, j, k, which[c], gradients)
    return loss, by_sharpness
