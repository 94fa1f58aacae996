"""Deviators as vectors of five numbers: an orthonormal basis of the symmetric traceless tensors, the components last.

Hardly any of a metal's plastic flow changes the volume, so five components of strain and stress matter to a crystal. In an
orthonormal basis a rotation of the crystal is an orthogonal 5 x 5 matrix, and the norm is the tensor's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from microprint.orientations import to_matrix


def _basis() -> Tensor:
    basis = torch.zeros(5, 3, 3, dtype=torch.float64)
    basis[0] = torch.diag(torch.tensor([2.0, -1.0, -1.0], dtype=torch.float64)) / 6**0.5
    basis[1] = torch.diag(torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64)) / 2**0.5
    for a, (i, j) in enumerate(((1, 2), (0, 2), (0, 1)), 2):
        basis[a, i, j] = basis[a, j, i] = 2**-0.5
    return basis


BASIS = _basis()


def deviator(tensor: Tensor) -> Tensor:
    """Vector (..., 5) of the symmetric traceless part of tensors (..., 3, 3)."""
    return torch.einsum("aij,...ij->...a", BASIS.to(tensor), tensor)


def tensor(deviators: Tensor) -> Tensor:
    """Tensors (..., 3, 3) of vectors (..., 5)."""
    return torch.einsum("aij,...a->...ij", BASIS.to(deviators), deviators)


def rotation(quaternions: Tensor) -> Tensor:
    """Matrices (..., 5, 5) that turn deviators from sample to crystal axes, of orientations (..., 4)."""
    m, basis = to_matrix(quaternions), BASIS.to(quaternions)
    return torch.einsum("aij,...ik,...jl,bkl->...ab", basis, m, m, basis)


def hencky_strain(F: Tensor) -> Tensor:
    """Logarithmic strain (..., 3, 3) in the axes of the undeformed cell, 1/2 log(F^T F)."""
    squares, axes = torch.linalg.eigh(F.transpose(-1, -2) @ F)
    return torch.einsum("...ij,...j,...kj->...ik", axes, 0.5 * squares.log(), axes)
