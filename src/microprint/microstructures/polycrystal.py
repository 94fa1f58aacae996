"""Synthetic polycrystals: periodic volume elements (VEs) with a log-normal grain-size distribution, and their textures.

Grains are cells of a periodic Laguerre tessellation. Seeds move to the centroids of their cells (Lloyd) while the
weights drive every cell to a volume drawn beforehand, so that equivalent-sphere diameters (ESD) are log-normal with a
standard deviation of 0.1, as White et al. 2025 (arXiv:2503.17427, table 1) asked of DREAM.3D. Two kinds of grains that
no tessellation draws are made on top: twinned and grown ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from microprint import orientations
from microprint.errors import UserError
from microprint.microstructures.grain_growth import anneal
from microprint.microstructures.periodic import nearest_site, second_moments, sums_over_grains, voxel_centres, wrap
from microprint.microstructures.twins import add_lamellae
from microprint.microstructures.volume_elements import VolumeElements, number_without_gaps, pad_orientations

EDGE_M = 2.77e-5  # edge of a VE; the training grains then measure 10 micrometres
SPREAD = 0.1  # standard deviation of log(ESD), unless a morphology has its own
_RELAXATIONS = 8
_WEIGHT_STEP = 0.5
_RELAXATION_EDGE = 24  # voxels an edge while cells relax; more make no difference to the sizes


@dataclass(frozen=True)
class Morphology:
    """Shape and size of the grains of a tessellation."""

    edges: float  # edge of the VE over the median equivalent-sphere diameter
    aspect: float = 1.0  # length along the axis of elongation over width across it
    axis: str = "x"  # of elongation
    spread: float = SPREAD  # standard deviation of log(ESD)

    @property
    def grains(self) -> float:
        """Number of grains of the median size that fill a VE."""
        return 6 / math.pi * self.edges**3

    @property
    def expected_grains(self) -> float:
        """Expected number of grains in a VE: fewer, as the mean of log-normal volumes is above their median."""
        return self.grains * math.exp(-4.5 * self.spread**2)


# ESD of 5.78 (training), 12.24, 2.73 and 9.54 length units in a VE with an edge of 16 (White et al. 2025, 2.1), whose means
# are the medians but for half a per cent. Columnar and wide ones are as many as equiaxed ones; twinned ones are the parents.
MORPHOLOGIES = {
    "equiaxed": Morphology(16 / 5.78),
    "large": Morphology(16 / 12.24),
    "small": Morphology(16 / 2.73),
    "elongated": Morphology(16 / 9.54, aspect=2.0),
    "columnar": Morphology(16 / 5.78, aspect=3.0, axis="z"),
    "wide": Morphology(16 / 4.6, spread=0.4),
    "twinned": Morphology(16 / 7.9),
}
GROWN = 40  # grains in a VE when their growth ends; these have no `Morphology`
# Ideal orientations of rolled and recrystallised cubic metals, Bunge Euler angles in degrees.
COMPONENTS = {"brass": (35.0, 45.0, 0.0), "copper": (90.0, 35.0, 45.0), "cube": (0.0, 0.0, 0.0), "goss": (0.0, 45.0, 0.0)}
TEXTURES = ("random", "basal", *COMPONENTS)


def generate(
    count: int,
    edge: int,
    symmetry: str,
    generator: torch.Generator,
    *,
    morphology: str = "equiaxed",
    texture: str = "random",
    scatter_deg: float = 5.0,
    device: torch.device | str = "cpu",
) -> VolumeElements:
    """Polycrystals of one of the `MORPHOLOGIES`, or ``grown``, and one of the `TEXTURES`, as `sample_orientations` has them.

    The edge is in voxels. The generator is on the CPU, so that a seed gives the same VEs on every device.

    >>> elements = generate(2, 8, "cubic", torch.Generator().manual_seed(0), morphology="large")
    >>> elements.grain_id.shape, elements.grains.tolist()
    (torch.Size([2, 8, 8, 8]), [4, 4])
    """
    if morphology == "grown":
        grain_id, grains = anneal(count, edge, GROWN, generator, device)
    else:
        grain_id, grains = grow(count, edge, MORPHOLOGIES[morphology], generator, device)
    quaternion = sample_orientations((count, int(grains.max())), texture, symmetry, generator, scatter_deg).to(device)
    elements = VolumeElements(grain_id, pad_orientations(quaternion, grains), grains, symmetry)
    return add_lamellae(elements, generator) if morphology == "twinned" else elements


def sample_orientations(
    shape: tuple[int, ...], texture: str, symmetry: str, generator: torch.Generator, scatter_deg: float = 5.0
) -> Tensor:
    """Orientations of a texture in the fundamental zone, (*shape, 4).

    ``random`` is uniform on SO(3). The ideal components of cubic metals are turned by a rotation vector whose three
    entries are normal with standard deviation `scatter_deg`. ``basal`` tilts the c-axis from sample z by the absolute
    value of a normal angle of that standard deviation; the azimuth and the turn about c are uniform.
    """
    if texture not in TEXTURES:
        raise UserError(f"unknown texture {texture!r}", remedy=f"use one of {', '.join(TEXTURES)}")
    scatter = math.radians(scatter_deg)
    if texture == "random":
        q = orientations.random(shape, generator)
    elif texture == "basal":
        phi1, phi2 = 2 * math.pi * torch.rand((2, *shape), generator=generator)
        tilt = scatter * torch.randn(shape, generator=generator).abs()
        q = orientations.from_euler(torch.stack([phi1, tilt, phi2], -1))
    else:
        ideal = orientations.from_euler(torch.deg2rad(torch.tensor(COMPONENTS[texture])))
        turn = scatter * torch.randn((*shape, 3), generator=generator)
        q = orientations.multiply(orientations.from_rotation_vector(turn), ideal)
    return orientations.reduce(q, symmetry)


def grow(
    count: int, edge: int, morphology: Morphology, generator: torch.Generator, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Grain numbers (count, n, n, n) without gaps, and the number of grains (count,), of periodic polycrystals."""
    volume = target_volumes(count, morphology, generator)
    seeds = torch.rand((*volume.shape, 3), generator=generator)
    volume, seeds = volume.to(device), seeds.to(device)
    # Scaled by this, elongated grains become equiaxed, at equal volume.
    powers = (-2 / 3 if axis == morphology.axis else 1 / 3 for axis in "xyz")
    stretch = torch.tensor([morphology.aspect**power for power in powers], device=device)
    weight = torch.zeros_like(volume).masked_fill(volume == 0, -math.inf)
    # A cell answers its weight by dV / dw = pi d / 2: faces of total area pi d^2 move by dw / (2 d).
    diameter = (6 / math.pi * volume).pow(1 / 3).clamp_min(1e-6)
    coarse = min(edge, _RELAXATION_EDGE)
    for _ in range(_RELAXATIONS):
        owner = nearest_site(seeds, coarse, weight, stretch)
        share, centroid = _cells(owner, seeds)
        seeds = torch.where(share[..., None] > 0, centroid, seeds)
        weight = weight + _WEIGHT_STEP * 2 / (math.pi * diameter) * (volume - share)
    return number_without_gaps(nearest_site(seeds, edge, weight, stretch), volume.shape[1])


def target_volumes(count: int, morphology: Morphology, generator: torch.Generator) -> Tensor:
    """Volumes of the grains as shares of the VE, (count, G): log-normal diameters, as many as fill it; padded with 0."""
    most = math.ceil(1.3 * morphology.grains) + 3
    volume = torch.exp(3 * morphology.spread * torch.randn((count, most), generator=generator)) / morphology.grains
    before = volume.cumsum(1) - volume
    volume = volume * (before + volume / 2 < 1)  # the last grain stays if most of it fits
    return volume / volume.sum(1, keepdim=True)


def diameters(grain_id: Tensor, grains: Tensor, edge_length: float = 1.0) -> Tensor:
    """Equivalent-sphere diameters of all grains of a batch, (sum of grains,), in units of the edge length."""
    count = torch.stack([torch.bincount(ids.flatten().long(), minlength=int(grains.max())) for ids in grain_id])
    share = count[count > 0] / grain_id[0].numel()
    return edge_length * (6 / math.pi * share).pow(1 / 3)


def aspect_ratios(grain_id: Tensor, grains: Tensor, axis: str = "x") -> Tensor:
    """Extent along an axis over the mean extent along the others of every grain, (sum of grains,), from second moments.

    Extents are standard deviations of periodic offsets from a voxel of the grain's centre.
    """
    most = int(grains.max())
    moment, voxels = second_moments(grain_id, most)
    inside = torch.arange(most, device=grain_id.device) < grains.to(grain_id.device)[:, None]
    extent = (moment / voxels.clamp_min(1)[..., None]).sqrt()[inside]
    along, *across = extent.roll(-"xyz".index(axis), 1).unbind(1)
    return along / (0.5 * (across[0] + across[1]))


def _cells(owner: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
    """Share of the volume (B, G) and centroid (B, G, 3), by the nearest images, of every cell."""
    offset = wrap(voxel_centres(owner.shape[1], owner.device) - seeds[..., None])  # (B, G, 3, n)
    total = sums_over_grains(owner, offset.unsqueeze(3), seeds.shape[1])
    size = total[..., 3]
    centroid = (seeds + total[..., :3] / size.clamp_min(1)[..., None]).remainder(1)
    return size / owner[0].numel(), centroid
