"""Distances, centres and nearest sites in a periodic unit cube."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_FITTING_EDGE = 16  # voxels an edge while sites are fitted
_FITTING_STEPS = 3


def wrap(offset: Tensor) -> Tensor:
    """Nearest periodic image of offsets in a unit cube."""
    return offset - offset.round()


def voxel_centres(edge: int, device: torch.device | str = "cpu") -> Tensor:
    """Coordinates (n,) of the centres of n voxels along a unit edge."""
    return (torch.arange(edge, device=device) + 0.5) / edge


def centres(grain_id: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Centre of every grain, (B, count, 3) in [0, 1), and its number of voxels, (B, count), of grain ids (B, n, n, n).

    On a circle the mean is the angle of the mean of exp(2 pi i x).
    """
    x = 2 * math.pi * voxel_centres(grain_id.shape[-1], grain_id.device)
    angle = torch.cartesian_prod(x, x, x)
    points = torch.cat([angle.cos(), angle.sin(), torch.ones_like(angle[:, :1])], 1)
    owner = grain_id.flatten(1).long()[..., None].expand(-1, -1, 7)
    sums = points.new_zeros(len(grain_id), count, 7).scatter_add(1, owner, points.expand(len(grain_id), -1, -1))
    return torch.atan2(sums[..., 3:6], sums[..., :3]) / (2 * math.pi) % 1.0, sums[..., 6]


def nearest_site(sites: Tensor, edge: int, weight: Tensor | None = None, stretch: Tensor | None = None) -> Tensor:
    """Owner (B, n, n, n) of every voxel in the periodic Laguerre tessellation of a unit cube by sites (B, G, 3).

    A voxel goes to the site with the least |stretch (x - s)|^2 - w; sites at infinity are nobody's. Without weights w (B, G)
    it is the Voronoi tessellation; the stretch (3,) is that of the axes. One site at a time, which is several times faster
    than the minimum over all, and keeps memory at a few fields.
    """
    offset = wrap(voxel_centres(edge, sites.device) - sites[..., None])  # (B, G, 3, n)
    offset = offset if stretch is None else offset * stretch[:, None]
    x, y, z = offset.square().nan_to_num(torch.inf).unbind(2)
    y = y if weight is None else y - weight[..., None]
    least = x.new_full((len(sites), edge, edge, edge), torch.inf)
    owner = torch.zeros_like(least, dtype=torch.int32)
    for site in range(sites.shape[1]):
        plane = y[:, site, :, None] + z[:, site, None, :]
        power = x[:, site, :, None, None] + plane[:, None]
        owner.masked_fill_(power < least, site)
        torch.minimum(least, power, out=least)
    return owner.long()


def fitted_sites(centre: Tensor, edge: int) -> Tensor:
    """Sites (B, G, 3) of a periodic Voronoi tessellation whose cells have about the centres `centre`, on n = `edge` voxels.

    Fixed-point steps: each site moves by what its cell's centre is off. They begin at the centres themselves, which are the
    sites of no tessellation but a centroidal one. Centres at infinity are nobody's.
    """
    sites, edge = centre, min(edge, _FITTING_EDGE)
    for _ in range(_FITTING_STEPS):
        reached, voxels = centres(nearest_site(sites, edge), centre.shape[1])
        sites = torch.where(voxels[..., None] > 0, sites + wrap(centre - reached), sites)
    return sites
