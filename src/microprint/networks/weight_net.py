"""Weights of a power diagram that its sites let expect: what is learnt about how grains share out space."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microprint.microstructures.periodic import compiled_here, wrap

NEIGHBOURS = 24  # that a site sees; a cell of a space-filling tessellation has about 14 faces
REACH = 2.4  # of its sight, in mean distances of sites
DISTANCES = 16  # bell curves by which a distance is told
INTERVALS = 256  # of a distance where filters are tabulated
HEIGHT = 0.1  # spread of weights in squared mean distances, about


class WeightNet(nn.Module):
    """Weights (B, M), in squared edges, of the sites (B, M, 3) of a power diagram in the metric (B, 3).

    Messages between neighbouring sites, a few rounds (continuous-filter convolution, Schütt et al. 2017,
    arXiv:1706.08566). They tell of distances alone, in units of the mean distance M^(-1/3): so the weights do not change where
    a volume element is shifted, turned or mirrored, and any number of sites will do. Their mean is zero.
    """

    def __init__(self, width: int, rounds: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(width))
        self.filters = nn.ModuleList(nn.Linear(DISTANCES, width) for _ in range(rounds))
        self.theirs = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(rounds))
        self.update = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width)) for _ in range(rounds)
        )
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(rounds))
        self.last = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))
        nn.init.zeros_(self.last[-1].weight)  # no weights at first: a Voronoi tessellation
        nn.init.zeros_(self.last[-1].bias)

    def forward(self, site: Tensor, metric: Tensor) -> Tensor:
        count, apart = site.shape[1], site.shape[1] ** (-1 / 3)
        square = (metric[:, None, None] * wrap(site[:, :, None] - site[:, None]).square()).sum(-1) / apart**2
        itself = torch.eye(count, dtype=torch.bool, device=site.device)
        square, other = square.masked_fill(itself, torch.inf).topk(min(NEIGHBOURS, count - 1), largest=False)
        distance = ((square + 1e-6).sqrt() / REACH).clamp_max(1)
        near = 0.5 + 0.5 * torch.cos(math.pi * distance)  # falls to zero without a step
        heard = self._tabulated if compiled_here(site) and site.dtype == torch.float32 else self._heard
        hidden = self.start.expand(len(site), count, -1)
        for filters, theirs, update, norm in zip(self.filters, self.theirs, self.update, self.norm, strict=True):
            sum_of_messages = heard(filters, distance, near, other, theirs(hidden))
            hidden = hidden + update(torch.cat([norm(hidden), sum_of_messages / 4], -1))
        weight = HEIGHT * apart**2 * self.last(hidden)[..., 0].float()
        return weight - weight.mean(1, keepdim=True)

    def _heard(self, filters: nn.Linear, distance: Tensor, near: Tensor, other: Tensor, sent: Tensor) -> Tensor:
        """Sums (B, M, width) of the messages of the K neighbours `other` (B, M, K), of what all sites send (B, M, width)."""
        rows = (other + sent.shape[1] * torch.arange(len(sent), device=sent.device)[:, None, None]).flatten()
        sent = sent.flatten(0, 1).index_select(0, rows).view(*other.shape, -1)
        return (near[..., None] * F.silu(filters(_bells(distance)) + sent)).sum(2)

    def _tabulated(self, filters: nn.Linear, distance: Tensor, near: Tensor, other: Tensor, sent: Tensor) -> Tensor:
        """The same on a CPU."""
        from microprint.networks.compiled_messages import heard

        table = torch.stack([filters(_AT_NODES[0]), F.linear(_AT_NODES[1], filters.weight)], 1)
        return heard(near, INTERVALS * distance, other, sent, table)


def _bells(distance: Tensor) -> Tensor:
    """Bell curves (..., DISTANCES) of distances in reaches."""
    return torch.exp(-(distance[..., None] * DISTANCES - torch.arange(DISTANCES, device=distance.device)).square())


def _bells_at_nodes() -> Tensor:
    """Values and slopes, per interval, of the bell curves at the nodes of a table (2, INTERVALS + 1, DISTANCES)."""
    nodes = torch.linspace(0, 1, INTERVALS + 1)
    slope = -2 * (nodes[:, None] * DISTANCES - torch.arange(DISTANCES)) * DISTANCES / INTERVALS
    return torch.stack([_bells(nodes), slope * _bells(nodes)])


_AT_NODES = _bells_at_nodes()
