"""From the grains of a volume element and their contacts to its stress-strain curve: a graph network.

Nodes are grains, described by their orientation's harmonics of the crystal's symmetry in sample axes and by their size; edges
are contacts, by their share of a grain's surface and the dyad of their normal, which knows no sign, as a mean stress does not.
What a neighbour says passes through a matrix that is linear in the dyad: a continuous filter (Gilmer et al., ICML 2017) of the
lowest degree that feels a direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from microprint.microstructures.volume_elements import VolumeElements
from microprint.networks.curve_head import CurveHead

DYAD = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))  # components of a contact's normal dyad


class GrainGraph(NamedTuple):
    """B volume elements of up to G grains; grains that are none have no volume and no contact."""

    share: Tensor  # (B, G) of the volume
    contact: Tensor  # (B, G, G) share of the row's grain's surface that it has in common with the column's
    normal: Tensor  # (B, G, G, 3) unit vector towards the column's grain, in sample axes; 0 without contact


def volume_shares(elements: VolumeElements) -> Tensor:
    """Share of the volume in each grain, (N, G); 0 beyond a volume element's own."""
    counts = [ids.flatten().long().bincount(minlength=elements.quaternion.shape[1]) for ids in elements.grain_id[:]]
    return torch.stack(counts).float() / elements.grain_id.shape[1:].numel()


def grain_graph(elements: VolumeElements) -> GrainGraph:
    """Grains and contacts of periodic volume elements.

    Voxels' faces between two grains, added as vectors, are the area vector of their contact, however rough: its normal, and
    its area where the contact is flat.
    """
    area = torch.stack([_areas(ids.long(), elements.quaternion.shape[1]) for ids in elements.grain_id[:]])
    size = area.norm(dim=-1)
    contact = size / size.sum(-1, keepdim=True).clamp_min(1.0)
    return GrainGraph(volume_shares(elements), contact, area / size.clamp_min(1.0)[..., None])


def _areas(ids: Tensor, grains: int) -> Tensor:
    """Area vectors (G, G, 3) of contacts, in faces of voxels, from the row's grain to the column's; grain ids (nx, ny, nz)."""
    areas = []
    for axis in range(3):
        pairs = ids * grains + ids.roll(-1, axis)
        count = pairs.flatten().bincount(minlength=grains**2).view(grains, grains)
        areas.append(count - count.T)
    return torch.stack(areas, -1).float()


class GrainGraphNet(nn.Module):
    """Curves (B, T) of volume elements, pooled over grains by their volume, from messages between neighbours.

    Parameters
    ----------
    features : numbers that describe an orientation.
    width, rounds : numbers that describe a grain in the network, and how often grains listen to their neighbours.
    points, modes : of the curve, see `CurveHead`.
    """

    def __init__(self, features: int, width: int, rounds: int, points: int, modes: int):
        super().__init__()
        self.enter = nn.Linear(features + 1, width)
        self.own = nn.ModuleList(nn.Linear(width, width) for _ in range(rounds))
        self.hear = nn.ModuleList(nn.Linear(len(DYAD) * width, width, bias=False) for _ in range(rounds))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(rounds))
        self.head = CurveHead(features, width, points, modes)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Curves in Pa; `batch` holds ``features`` (B, G, k), ``share``, ``contact`` and ``normal`` as in `GrainGraph`."""
        share, features, normal = batch["share"][..., None], batch["features"], batch["normal"]
        dyads = torch.stack([batch["contact"] * normal[..., i] * normal[..., j] for i, j in DYAD], 1)
        count = (share > 0).sum(1, keepdim=True)
        grains = F.silu(self.enter(torch.cat([features, (share * count).sqrt()], -1)))
        for own, hear, norm in zip(self.own, self.hear, self.norms):
            heard = (dyads @ grains[:, None]).transpose(1, 2).flatten(2)
            grains = grains + F.silu(norm(own(grains) + hear(heard)))
        return self.head((share * features).sum(1), (share * grains).sum(1))

    def losses(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """See `CurveHead.losses`."""
        return self.head.losses(self(batch), batch["curve"])
