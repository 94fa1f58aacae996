"""Distances, centres and nearest sites in a periodic unit cube."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

_FITTING_EDGE = 16  # voxels an edge while sites are fitted
_FITTING_STEPS = 3
_CELL_STEPS, _DAMPED = 12, 0.7


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
    angle = 2 * math.pi * voxel_centres(grain_id.shape[-1], grain_id.device)
    waves = torch.stack([angle.cos(), angle.sin()])
    sums = sums_over_grains(grain_id, waves.expand(1, 1, 3, -1, -1), count)
    cosine, sine = sums[..., :6].unflatten(-1, (3, 2)).unbind(-1)
    return torch.atan2(sine, cosine) / (2 * math.pi) % 1.0, sums[..., 6]


def sums_over_grains(grain_id: Tensor, along: Tensor, count: int) -> Tensor:
    """Sums (B, count, 3 k + 1) over the voxels of every grain of ids (B, n, n, n): of k functions of each axis, and 1.

    Their values (B or 1, count or 1, 3, k, n), of functions f_1, ... of x, then of y, then of z, may depend on the grain.
    """
    batch, edge, functions = len(grain_id), grain_id.shape[-1], along.shape[3]
    if compiled_here(grain_id):
        from microprint.microstructures.cells import sums

        ids, values = grain_id.contiguous().numpy(), along.contiguous().numpy()
        return torch.from_numpy(sums(ids, values, count)).to(along.dtype)
    owner, number = grain_id.flatten(1).long(), torch.arange(edge, device=grain_id.device)
    element = torch.arange(batch, device=owner.device)[:, None] % len(along)
    own = owner.clamp_max(along.shape[1] - 1)
    voxel = torch.cartesian_prod(number, number, number)
    values = torch.cat([along[element, own, axis, :, voxel[None, :, axis]] for axis in range(3)], -1)
    values = torch.cat([values, torch.ones_like(values[..., :1])], -1)
    return values.new_zeros(batch, count, 3 * functions + 1).scatter_add(1, owner[..., None].expand_as(values), values)


def second_moments(grain_id: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Sums (B, count, 3) over the voxels of every grain of squared offsets from its centre, in squared edges, and of voxels.

    Along each axis, by the nearest images, with what a voxel's own extent adds; grain ids are (B, n, n, n).
    """
    edge, (centre, voxels) = grain_id.shape[-1], centres(grain_id, count)
    square = wrap(voxel_centres(edge, grain_id.device) - centre[..., None]).square() + 1 / (12 * edge**2)  # (B, G, 3, n)
    return sums_over_grains(grain_id, square.unsqueeze(3), count)[..., :3], voxels


def compiled_here(tensor: Tensor) -> bool:
    """Whether loops over this tensor run compiled: on a CPU, where numba is installed."""
    return tensor.device.type == "cpu" and find_spec("numba") is not None


def nearest_site(sites: Tensor, edge: int, weight: Tensor | None = None, stretch: Tensor | None = None) -> Tensor:
    """Owner (B, n, n, n) of every voxel in the periodic Laguerre tessellation of a unit cube by sites (B, G, 3).

    A voxel goes to the site with the least |stretch (x - s)|^2 - w; sites at infinity are nobody's. Without weights w (B, G)
    it is the Voronoi tessellation; the stretch, (3,) or (B, 3), is that of the axes.
    """
    offset = wrap(voxel_centres(edge, sites.device) - sites[..., None])  # (B, G, 3, n)
    offset = offset if stretch is None else offset * stretch[..., None, :, None]
    x, y, z = offset.square().nan_to_num(torch.inf).unbind(2)
    return least_power(x, y if weight is None else y - weight[..., None], z)


def least_power(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Site (B, n, n, n) with the least x_i + (y_j + z_k) at every voxel (i, j, k), of parts (B, G, n) along each axis.

    Compiled for the CPU where numba is installed; elsewhere one site at a time, which is faster than the minimum over all and
    keeps memory at a few fields.
    """
    edge = x.shape[-1]
    if compiled_here(x):
        from microprint.microstructures.cells import owners

        return torch.from_numpy(owners(*(part.contiguous().numpy() for part in (x, y, z))))
    least = x.new_full((len(x), edge, edge, edge), torch.inf)
    owner = torch.zeros_like(least, dtype=torch.int64)
    for site in range(x.shape[1]):
        plane = y[:, site, :, None] + z[:, site, None, :]
        power = x[:, site, :, None, None] + plane[:, None]
        owner.masked_fill_(power < least, site)
        torch.minimum(least, power, out=least)
    return owner


def fitted_cells(
    centre: Tensor, volume: Tensor, edge: int, stretch: Tensor | None = None, weigh: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Sites (B, G, 3) and weights (B, G) of a periodic Laguerre tessellation, on n = `edge` voxels, of given cells.

    Its cells have about the centres `centre` and the volumes `volume` (B, G), shares of the volume element. Fixed-point steps:
    a site moves by what its cell's centre is off, and a cell of diameter d answers its weight by dV / dw = pi d / 2. Where
    `weigh` gives the weights of sites, volumes are as these have it. Weights have a mean of zero over the cells that are;
    centres at infinity are nobody's. `stretch` (3,) or (B, 3) is that of the axes.
    """
    sites, weight, edge = centre, torch.zeros_like(volume), min(edge, _FITTING_EDGE)
    gain = 1 / (math.pi / 2 * (6 / math.pi * volume).pow(1 / 3).clamp_min(0.5 / edge))
    for _ in range(_CELL_STEPS):
        weight = weight if weigh is None else weigh(sites)
        reached, voxels = centres(nearest_site(sites, edge, weight, stretch), centre.shape[1])
        sites = torch.where(voxels[..., None] > 0, sites + _DAMPED * wrap(centre - reached), sites)
        weight = weight + _DAMPED * gain * (volume - voxels / edge**3)
    if weigh is not None:
        return sites, weigh(sites)
    own = centre[..., 0].isfinite()
    return sites, (weight - (weight * own).sum(1, keepdim=True) / own.sum(1, keepdim=True).clamp_min(1)) * own


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
