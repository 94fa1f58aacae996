"""Weights of a power diagram that its sites let expect: what is learnt about how grains share out space."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microprint.microstructures.periodic import wrap

NEIGHBOURS = 24  # that a site sees; a cell of a space-filling tessellation has about 14 faces
REACH = 2.4  # of its sight, in mean distances of sites
DISTANCES = 16  # bell curves by which a distance is told
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
        distance = (square + 1e-6).sqrt()[..., None]
        near = 0.5 + 0.5 * torch.cos(math.pi / REACH * distance.clamp_max(REACH))  # falls to zero without a step
        told = torch.exp(-((distance * DISTANCES / REACH - torch.arange(DISTANCES, device=site.device)).square()))
        rows = (other + count * torch.arange(len(site), device=site.device)[:, None, None]).flatten()
        hidden = self.start.expand(len(site), count, -1)
        for filters, theirs, update, norm in zip(self.filters, self.theirs, self.update, self.norm, strict=True):
            sent = theirs(hidden).flatten(0, 1).index_select(0, rows).view(*other.shape, -1)
            heard = (near * F.silu(filters(told) + sent)).sum(2)
            hidden = hidden + update(torch.cat([norm(hidden), heard / 4], -1))
        weight = HEIGHT * apart**2 * self.last(hidden)[..., 0].float()
        return weight - weight.mean(1, keepdim=True)
