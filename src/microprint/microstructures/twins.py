"""Twins: plane-parallel lamellae in the grains of volume elements (VEs).

A twin is the mirror image of its parent in the habit plane, which a crystal with a centre of symmetry cannot tell from a half
turn about the plane's normal. In cubic crystals it is {111}: the Sigma-3 twin, also 60 degrees about <111>. In hexagonal ones
it is {10-12}, the tension twin, also 86.3 degrees about <11-20> at the axes' ratio of magnesium (Christian & Mahajan 1995,
doi:10.1016/0079-6425(94)00007-7).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from microprint import orientations
from microprint.microstructures.periodic import centres, voxel_centres, wrap
from microprint.microstructures.volume_elements import VolumeElements, number_without_gaps, pad_orientations

C_OVER_A = 1.624  # of magnesium
TWINNED = 0.85  # share of the grains with lamellae, half of them with two, of the same twin
THICKNESS = (1 / 5, 1 / 3)  # of a lamella, over the equivalent-sphere diameter (ESD) of its parent
# Over the ESD: distance of two lamellae from the middle between them, and most that this is off the centre of the grain.
# Even the thickest leave some of the parent between them, and lie within the sphere.
_APART, _OFF_CENTRE = 1 / 4, 1 / 12


def habit_planes(symmetry: str) -> Tensor:
    """Unit normals (P, 3) in the crystal frame, x along a1 and z along c: four {111}, cubic, or six {10-12}, hexagonal."""
    if symmetry == "cubic":
        normals = torch.tensor([[1.0, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    else:
        azimuth = math.pi / 6 + math.pi / 3 * torch.arange(6)
        across, along = torch.full((6,), 1 / math.sqrt(3)), torch.full((6,), 1 / C_OVER_A)
        normals = torch.stack([across * azimuth.cos(), across * azimuth.sin(), along], -1)
    return normalize(normals, dim=-1)


def twin(quaternion: Tensor, normal: Tensor) -> Tensor:
    """Orientations (..., 4) of twins of crystals (..., 4) by habit planes of normals (..., 3) in the crystal frame."""
    half_turn = torch.cat([torch.zeros_like(normal[..., :1]), normal], -1)
    return orientations.multiply(half_turn, quaternion)


def add_lamellae(elements: VolumeElements, generator: torch.Generator) -> VolumeElements:
    """The same VEs, with twin lamellae cut from most of their grains; each is a grain. The generator is on the CPU.

    What is left of a parent on both sides of its lamellae stays one grain. Lamellae that hold no voxel are left out.
    """
    ids, parents, planes = elements.grain_id, elements.quaternion, habit_planes(elements.symmetry)
    chance, variant, thickness, shift = torch.rand((4, *parents.shape[:2]), generator=generator)
    lamella = torch.stack([
        0.5 * torch.lerp(*torch.tensor(THICKNESS), thickness) * (chance < TWINNED),
        _APART * (chance < TWINNED / 2),
        _OFF_CENTRE * (2 * shift - 1),
    ], -1).to(ids.device)  # fmt: skip
    normal = planes[(len(planes) * variant).long()].to(ids.device)
    in_sample = (normal[..., None, :] @ orientations.to_matrix(parents))[..., 0, :]
    half, apart, middle = orientations.expand(ids, lamella).unbind(1)
    height = _heights(ids, in_sample) - middle
    inside, upper = ((height.abs() - apart).abs() < half), (height > 0) & (apart > 0)

    most = parents.shape[1]
    owner = torch.where(inside, most + 2 * ids + upper, ids)
    grain_id, grains = number_without_gaps(owner, 3 * most)
    twins = orientations.reduce(twin(parents, normal), elements.symmetry)
    quaternion = torch.cat([parents, twins.repeat_interleave(2, 1)], 1)
    kept = owner.new_zeros(len(owner), int(grains.max())).scatter_(1, grain_id.flatten(1), owner.flatten(1))
    quaternion = quaternion.gather(1, kept[..., None].expand(-1, -1, 4))
    return VolumeElements(grain_id, pad_orientations(quaternion, grains), grains, elements.symmetry)


def _heights(ids: Tensor, normal: Tensor) -> Tensor:
    """Distance (N, n, n, n) of voxels from the plane through their grain's centre of normal (N, G, 3), over the grain's ESD."""
    edge = ids.shape[-1]
    centre, voxels = centres(ids, normal.shape[1])
    diameter = (6 / math.pi * voxels / edge**3).pow(1 / 3).clamp_min(1 / edge)
    of_voxel = orientations.expand(ids, torch.cat([centre, normal / diameter[..., None]], -1))
    position = torch.stack(torch.meshgrid(*3 * [voxel_centres(edge, ids.device)], indexing="ij"))
    return (wrap(position - of_voxel[:, :3]) * of_voxel[:, 3:]).sum(1)
