"""The list of seeds that a fingerprint is: which cells of a volume element they draw, and as which numbers they are kept."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from microprint.microstructures.partition import VOXELS_A_CELL, partition
from microprint.microstructures.periodic import centres, second_moments, voxel_centres, wrap
from microprint.networks.seed_lattice import rank_one_lattice
from microprint.orientations import disorientation, from_rotation_vector, project, reduce, to_rotation_vector

TURN = 2.0  # gives rotation vectors in the fundamental zone, in radians, a variance of about one
HEIGHT = 12.0  # gives weights, in squared mean distances of seeds, a variance of about one
FITTED_EDGE = 16  # voxels an edge of the grid on which seeds are fitted, whatever the volume element's
MOST = 0.7  # share of a cell's voxels that settles its orientation
BY_CHANCE = 0.22  # square of a metric's logarithm that one equiaxed grain may show, three times the mean
# Logarithms of a metric whose factors have the product one, as two numbers.
_PLANE = torch.tensor([[2.0, -1.0, -1.0], [0.0, 3**0.5, -(3**0.5)]]) / 6**0.5


class Seeds(NamedTuple):
    """A power diagram of B volume elements with M seeds each, whose cells are grains or parts of them."""

    site: Tensor  # (B, M, 3) in edges
    metric: Tensor  # (B, 3) factors of the squared distance along each axis, of product one
    weight: Tensor  # (B, M) in squared edges
    quaternion: Tensor  # (B, M, 4)


class Cells(NamedTuple):
    """M cells of each of B volume elements, see `microprint.microstructures.partition`, in the order of the anchors."""

    grain_id: Tensor  # (B, m, m, m) on the grid for fitting
    member: Tensor  # (B, M, G) whether a cell is (a part of) a grain
    shift: float  # how far, in edges, along each axis the voxels that it was taken from lie beside those of the grid
    centre: Tensor  # (B, M, 3) in edges, on the grid
    volume: Tensor  # (B, M) as a share of the volume element
    first: Tensor  # (B, M) the first of the cells that are parts of the same grain
    metric: Tensor  # (B, 3) of `Seeds`, in which grains are as wide as long, on the mean


class SeedList(nn.Module):
    """Numbers (B, 2) of a metric, and (B, M, 6) or (B, M, 7) of the seeds: offset from an anchor, rotation, weight.

    Each seed lies about one of M anchors, the points of a periodic lattice. Weights are kept as differences from what the
    sites let expect.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        # These give the numbers a variance of about one.
        self.spread = 2.3 * count ** (1 / 3)  # of offsets, which are a fraction of the distance between anchors
        self.height = HEIGHT * count ** (2 / 3)  # of weights, which are squared lengths
        self.register_buffer("anchors", rank_one_lattice(count).float(), persistent=False)

    def offset(self, site: Tensor) -> Tensor:
        """Numbers (B, M, 3) of sites (B, M, 3)."""
        return self.spread * wrap(site - self.anchors)

    def site(self, offset: Tensor) -> Tensor:
        """Sites (B, M, 3) in edges of their numbers (B, M, 3)."""
        return self.anchors + offset / self.spread

    @torch.no_grad()
    def cells(self, grain_id: Tensor, embedding: Tensor) -> Cells:
        """Cells of grain ids (B, n, n, n), on the grid for fitting; of the embeddings (B, G, k) of the grains' orientations."""
        from scipy.optimize import linear_sum_assignment

        fitted, shift = self._resampled(grain_id)
        metric = grain_metric(fitted, embedding.shape[1])
        cell, member = torch.empty_like(fitted), []
        arrays = (tensor.cpu().double().numpy() for tensor in (embedding, metric.sqrt()))
        for ids, values, stretch, out in zip(fitted.cpu().numpy(), *arrays, cell, strict=True):
            numbers, holds = partition(ids, values[: ids.max() + 1], len(self.anchors), stretch)
            out.copy_(torch.from_numpy(numbers))
            member.append(torch.from_numpy(holds))
        most = embedding.shape[1]
        member = torch.stack([nn.functional.pad(holds, (0, most - holds.shape[1])) for holds in member]).to(grain_id.device)
        centre, voxels = centres(cell, len(self.anchors))
        first = (member.float() @ member.float().transpose(1, 2)).argmax(2)  # cells share a grain, or have several each
        way = (metric[:, None, None] * wrap(self.anchors[:, None] - centre[:, None]).square()).sum(-1)
        order = torch.stack([torch.from_numpy(linear_sum_assignment(cost)[1]) for cost in way.cpu().numpy()]).to(way.device)
        at = torch.arange(len(order), device=order.device)[:, None], order
        first = order.argsort(1).gather(1, first[at])
        return Cells(fitted, member[at], shift, centre[at], voxels[at] / fitted[0].numel(), first, metric)

    def _resampled(self, grain_id: Tensor) -> tuple[Tensor, float]:
        """Grain ids on the grid for fitting, and the shift of `Cells`."""
        edge, fitted = grain_id.shape[-1], max(FITTED_EDGE, math.ceil((VOXELS_A_CELL * len(self.anchors)) ** (1 / 3)))
        index = (voxel_centres(fitted, grain_id.device) * edge).long()
        shift = float(((index + 0.5) / edge - voxel_centres(fitted, grain_id.device)).mean())
        return grain_id[:, index[:, None, None], index[:, None], index].long(), shift


def grain_metric(grain_id: Tensor, count: int) -> Tensor:
    """Metric (B, 3) in which grains (B, n, n, n) are, on the mean over the volume, as wide as long; factors of product one.

    What so many equiaxed grains show by chance is taken off (James & Stein 1961).
    """
    moment, voxels = second_moments(grain_id, count)
    spread = moment.sum(1)
    logarithm = spread.log().mean(1, keepdim=True) - spread.log()
    chance = BY_CHANCE / (voxels > 0).sum(1, keepdim=True)
    return (logarithm * (1 - chance / logarithm.square().sum(1, keepdim=True).clamp_min(1e-12)).clamp_min(0)).exp()


def metric_numbers(metric: Tensor) -> Tensor:
    """Two numbers (B, 2) of a metric (B, 3)."""
    return metric.log() @ _PLANE.T.to(metric)


def metric_of(numbers: Tensor) -> Tensor:
    """Metric (B, 3) of its two numbers (B, 2)."""
    return (numbers @ _PLANE.to(numbers)).exp()


def cell_orientations(
    owner: Tensor, count: int, grain_id: Tensor, quaternion: Tensor, embedding: Tensor, symmetry: str
) -> Tensor:
    """Orientations (B, M, 4), in the fundamental zone, of M = `count` drawn cells (B, n, n, n): that of most of their voxels.

    Where no grain (B, n, n, n) has most of a cell it may be the mean, if that is nearer to the voxels. Of grains the
    orientations are (B, G, 4) and the embeddings (B, G, k).
    """
    batch, grains = embedding.shape[:2]
    pair = (owner * grains + grain_id).flatten(1)
    share = embedding.new_zeros(batch, count * grains).scatter_add_(1, pair, embedding.new_ones(pair.shape))
    share = share.unflatten(1, (count, grains))
    most, largest = share.max(2)
    result = quaternion.gather(1, largest[..., None].expand(-1, -1, 4))
    mixed = most < MOST * share.sum(2)
    if mixed.any():
        share, grain = share[mixed], quaternion[mixed.nonzero()[:, 0]]
        mean = project((share[:, None] @ embedding[mixed.nonzero()[:, 0]])[:, 0], symmetry)
        away = [(share * disorientation(q[:, None].expand_as(grain), grain, symmetry)).sum(1) for q in (mean, result[mixed])]
        result[mixed] = torch.where((away[0] < away[1])[:, None], mean, result[mixed])
    return reduce(result, symmetry)


def rotation_numbers(quaternion: Tensor) -> Tensor:
    """Numbers (B, M, 3) of orientations (B, M, 4) in the fundamental zone."""
    return TURN * to_rotation_vector(quaternion)


def orientation(numbers: Tensor) -> Tensor:
    """Orientations (B, M, 4) of their numbers (B, M, 3)."""
    return from_rotation_vector(numbers / TURN)
