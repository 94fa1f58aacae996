"""Descriptors of volume elements that a fingerprint should know."""

from __future__ import annotations

import torch
from torch import Tensor

from microprint.orientations import embed
from microprint.systems.fingerprint import VolumeSet


def volume_fractions(elements: VolumeSet) -> Tensor:
    """Share of the volume in each grain, (N, G)."""
    owner = elements.grain_id.flatten(1).long()
    counts = torch.zeros(elements.quaternion.shape[:2])
    return counts.scatter_add_(1, owner, torch.ones_like(owner, dtype=counts.dtype)) / owner.shape[1]


def mean_embedding(elements: VolumeSet) -> Tensor:
    """Volume average of the symmetric embedding, (N, k): the lowest texture coefficients."""
    return (volume_fractions(elements)[..., None] * embed(elements.quaternion, elements.symmetry)).sum(1)


def mean_grain_size(elements: VolumeSet) -> Tensor:
    """Edge of a cube with the mean grain volume, in edges of the volume element, (N,)."""
    return elements.grains.float().pow(-1 / 3)
