"""Fields of deviators, turned voxel by voxel from sample to crystal axes, and crystals that turn as they flow.

Components come first, (5, ...): each operation is then one of long vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from microprint.mechanics.deviators import BASIS


def _generators() -> Tensor:
    """(3, 5, 5): how deviators change, per radian, that are turned about each axis."""
    spin = torch.zeros(3, 3, 3, dtype=torch.float64)
    for axis, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        spin[axis, i, j], spin[axis, j, i] = -1.0, 1.0
    change = torch.einsum("xij,bjk->xbik", spin, BASIS) - torch.einsum("bij,xjk->xbik", BASIS, spin)
    return torch.einsum("aik,xbik->xab", BASIS, change)


GENERATORS = _generators()


def to_crystal(rotations: Tensor, deviators: Tensor) -> Tensor:
    """Deviators (5, ...) in crystal axes, by rotations (5, 5, ...) from sample to crystal axes."""
    return contracted(rotations.transpose(0, 1), deviators)


def to_sample(rotations: Tensor, deviators: Tensor) -> Tensor:
    """The inverse of `to_crystal`."""
    return contracted(rotations, deviators)


def turned(rotations: Tensor, vector: Tensor) -> Tensor:
    """Rotations (5, 5, ...) from sample to crystal axes of crystals turned by small rotation vectors (3, ...) in their axes.

    To second order: half a degree is off by less than a ten thousandth of itself.
    """
    spin = torch.tensordot(GENERATORS.to(vector).transpose(1, 2), vector, dims=([0], [0]))  # the axes turn, not what they see
    along = lambda x: contracted(spin.transpose(0, 1)[:, :, None], x[:, None])  # noqa: E731
    first = along(rotations)
    return rotations + first + 0.5 * along(first)


def contracted(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Sum of the products over the first dimension, without an array of them all."""
    total = matrices[0] * vectors[0]
    for matrix, vector in zip(matrices[1:], vectors[1:]):
        total = total.addcmul_(matrix, vector)
    return total
