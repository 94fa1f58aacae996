"""What the encoder reads of a volume element: one token for each place of the seed lattice."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from microprint.microstructures.periodic import centres, fitted_sites, nearest_site, wrap
from microprint.networks.seed_lattice import rank_one_lattice
from microprint.orientations import to_rotation_vector

_VOLUME = 4.0  # squared edges that a grain may be farther away if it is larger by the whole volume element
_TURN = 2.0  # gives rotation vectors in the fundamental zone, in radians, a variance of about one


class GrainTokens(nn.Module):
    """Tokens (B, M, features) and the volume average of the embedding (B, k) of a volume element.

    Grains are dealt out to the M anchors, the nearest pairs first, large grains before small ones. A token tells of the
    anchor's grain; an anchor without one of its own, where grains are few, tells of the grain that it lies in. Where
    grains are many, a token also tells the mean embedding of those that no anchor got, in the cell about the anchor.

    A token's first six numbers are what a list of grains would hold: place and orientation, see `listed`.
    """

    def __init__(self, count: int, channels: int) -> None:
        super().__init__()
        self.features = 9 + 2 * channels
        # These give what the tokens tell a variance of about one; without, training takes several times as long.
        self.spread = 2.3 * count ** (1 / 3)  # of offsets, which are a fraction of the distance between anchors
        self.unit = channels**0.5  # of the components of an embedding
        self.register_buffer("anchors", rank_one_lattice(count).float(), persistent=False)

    def forward(self, grain_id: Tensor, quaternion: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Of grain ids (B, n, n, n), orientations (B, G, 4) in the fundamental zone, and embeddings (B, G, k) of the grains."""
        dealt = deal_out(grain_id, embedding.shape[1], self.anchors)
        grain, alone, volume = dealt.grain, dealt.alone, dealt.volume
        site = _sites(dealt, grain_id.shape[-1])
        share = self._shares(grain_id, embedding.shape[1])
        left = torch.ones_like(volume).scatter(1, grain, 0.0)
        unlisted_embedding = share @ (embedding * left[..., None])
        own = [
            self.listed(site, _picked(quaternion, grain)),
            len(self.anchors) * volume.gather(1, grain)[..., None],
            share.gather(2, grain[..., None]),
            alone[..., None].float(),
            self.unit * _picked(embedding, grain),
            self.unit * unlisted_embedding,
        ]
        return torch.cat(own, -1), (volume[..., None] * embedding).sum(1)

    def listed(self, site: Tensor, quaternion: Tensor) -> Tensor:
        """Six numbers (B, M, 6) of sites (B, M, 3) in edges and orientations (B, M, 4): offset from the anchor, rotation."""
        return torch.cat([self.spread * wrap(site - self.anchors), _TURN * to_rotation_vector(quaternion)], -1)

    def unlisted(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Sites (B, M, 3) in edges and rotation vectors (B, M, 3) of six numbers (B, M, 6)."""
        offset, turn = numbers.split(3, -1)
        return self.anchors + offset / self.spread, turn / _TURN

    def _shares(self, grain_id: Tensor, grains: int) -> Tensor:
        """Share (B, M, G) of every grain in the cell about every anchor."""
        count = len(self.anchors)
        cell = nearest_site(self.anchors[None], grain_id.shape[-1]).flatten()
        pair = cell * grains + grain_id.flatten(1).long()
        voxels = self.anchors.new_zeros(len(grain_id), count * grains)
        voxels.scatter_add_(1, pair, torch.ones_like(pair, dtype=voxels.dtype))
        return voxels.unflatten(1, (count, grains)) / cell.bincount(minlength=count).clamp_min(1)[:, None]


class Dealt(NamedTuple):
    """Which grain each of M anchors got, and the G grains."""

    grain: Tensor  # (B, M) number of the grain
    alone: Tensor  # (B, M) whether it is not the anchor's own, but only the one in which the anchor lies
    centre: Tensor  # (B, G, 3) in edges
    volume: Tensor  # (B, G) as a share of the volume element


def deal_out(grain_id: Tensor, grains: int, anchors: Tensor) -> Dealt:
    """Grains of volume elements (B, n, n, n), numbers below `grains`, dealt out to anchors (M, 3)."""
    centre, voxels = centres(grain_id, grains)
    volume = voxels / grain_id[0].numel()
    cost = wrap(centre[:, None] - anchors[:, None]).square().sum(-1) - _VOLUME * volume[:, None]
    grain = deal(cost.masked_fill((volume == 0)[:, None], torch.inf))
    x, y, z = (anchors * grain_id.shape[-1]).long().unbind(1)
    return Dealt(torch.where(grain < 0, grain_id[:, x, y, z].long(), grain), grain < 0, centre, volume)


def _sites(dealt: Dealt, edge: int) -> Tensor:
    """Voronoi sites (B, M, 3) of the grains that anchors tell of; those of one grain are equal."""
    centre = _picked(dealt.centre, dealt.grain).masked_fill(dealt.alone[..., None], torch.inf)
    same = dealt.grain[:, :, None] == dealt.grain[:, None]
    owner = (same & ~dealt.alone[:, None]).float().argmax(-1)
    return _picked(fitted_sites(centre, edge), owner)


def deal(cost: Tensor) -> Tensor:
    """Partner (B, M) of every row of cost matrices (B, M, G): the cheapest pair left, again and again; -1 for none.

    No column is dealt out twice, and none of infinite cost.
    """
    batch, rows, columns = cost.shape
    left, each = cost.clone(), torch.arange(batch, device=cost.device)
    partner = torch.full((batch, rows), -1, device=cost.device)
    for _ in range(min(rows, columns)):
        least, pair = left.flatten(1).min(1)
        row, column = pair // columns, pair % columns
        partner[each, row] = torch.where(least.isfinite(), column, partner[each, row])
        left[each, row] = torch.inf
        left[each, :, column] = torch.inf
    return partner


def _picked(values: Tensor, grain: Tensor) -> Tensor:
    """Rows (B, M, c) of values (B, G, c) at grain numbers (B, M)."""
    return values.gather(1, grain[..., None].expand(-1, -1, values.shape[-1]))
