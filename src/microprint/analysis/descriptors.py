"""Descriptors of volume elements that a fingerprint should know."""

from __future__ import annotations

import torch
from torch import Tensor

from microprint.errors import UserError
from microprint.mechanics.slip_systems import schmid_tensors
from microprint.microstructures.polycrystal import aspect_ratios
from microprint.microstructures.volume_elements import VolumeElements
from microprint.orientations import embed, to_matrix

# Leading blocks of the embedding: all of the harmonics up to degree 4 that have the crystal's symmetry.
HARMONICS_TO_FOUR = {"cubic": (9,), "hexagonal": (5, 9)}


def volume_fractions(elements: VolumeElements) -> Tensor:
    """Share of the volume in each grain, (N, G)."""
    shares = []
    for part in elements.parts():
        owner = part.grain_id.flatten(1).long()
        shares.append(torch.zeros(part.quaternion.shape[:2]).scatter_add_(1, owner, torch.ones(owner.shape)) / owner.shape[1])
    return torch.cat(shares)


def mean_embedding(elements: VolumeElements) -> Tensor:
    """Volume average of the symmetric embedding, (N, k): the lowest texture coefficients."""
    return (volume_fractions(elements)[..., None] * embed(elements.quaternion, elements.symmetry)).sum(1)


def texture_index(elements: VolumeElements) -> Tensor:
    """Bunge's texture index of the orientation distribution up to degree 4, (N,): the mean of its square over all rotations.

    1 without texture; 10 for a cubic, 15 for a hexagonal single crystal. With f = 1 + sum_l sqrt(2 l + 1) c_l . e_l and
    blocks e_l of the embedding scaled to unit length, orthogonality gives 1 + sum_l (2 l + 1) |mean e_l|^2 (H.-J. Bunge,
    Texture Analysis in Materials Science, 1982: the sum of the squared coefficients over 2 l + 1). The index to all degrees
    is infinite for a finite number of grains.
    """
    sizes = HARMONICS_TO_FOUR[elements.symmetry]
    single = embed(elements.quaternion.new_tensor([1.0, 0.0, 0.0, 0.0]), elements.symmetry)
    means, ones = (values[..., : sum(sizes)].split(sizes, -1) for values in (mean_embedding(elements), single))
    return 1 + sum(
        size * mean.square().sum(-1) / unit.square().sum() for size, mean, unit in zip(sizes, means, ones, strict=True)
    )


def mean_schmid_factor(elements: VolumeElements) -> Tensor:
    """Volume average, (N,), of each grain's largest Schmid factor of {111}<110> slip under a load along x.

    Raises `UserError` for crystals that are not cubic.
    """
    if elements.symmetry != "cubic":
        raise UserError(f"{elements.symmetry} crystals have no {{111}}<110> slip", "mean_schmid_factor")
    load = to_matrix(elements.quaternion)[..., 0]  # the sample's x in crystal components
    factor = torch.einsum("ngi,sij,ngj->ngs", load, schmid_tensors("cF", "slip", (12,)).to(load), load).abs().amax(-1)
    return (volume_fractions(elements) * factor).sum(1)


def mean_grain_size(elements: VolumeElements) -> Tensor:
    """Edge of a cube with the mean grain volume, in edges of the volume element, (N,)."""
    return elements.grains.float().pow(-1 / 3)


def mean_aspect_ratio(elements: VolumeElements) -> Tensor:
    """Mean over the grains, (N,), of the extent along x over that along y and z."""
    ratios = torch.cat([aspect_ratios(part.grain_id, part.grains) for part in elements.parts()])
    return torch.stack([ratio.mean() for ratio in ratios.split(elements.grains.tolist())])


def boundary_share(elements: VolumeElements) -> Tensor:
    """Share of the faces between neighbouring voxels that lie between two grains, (N,), periodic."""
    return torch.cat([boundary_field(part).flatten(1).mean(1) for part in elements.parts()])


def boundary_field(elements: VolumeElements) -> Tensor:
    """Share of each voxel's three faces towards larger x, y and z that lie between two grains, (N, n, n, n), periodic."""
    ids = elements.grain_id
    return torch.stack([ids != ids.roll(-1, axis) for axis in (1, 2, 3)]).float().mean(0)


def largest_share(elements: VolumeElements) -> Tensor:
    """Volume share of the largest grain, (N,)."""
    return volume_fractions(elements).amax(1)
