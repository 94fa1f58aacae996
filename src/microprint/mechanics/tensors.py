"""Small tensors of many voxels at once, components first: (3, 3, ...) and Mandel's (6, ...).

With the components in front, every operation below is a handful of long vector operations whatever the number of
voxels. Mandel's notation (xx, yy, zz, sqrt2 yz, sqrt2 xz, sqrt2 xy) turns a symmetric tensor into a vector with the
same norm, so rotations become orthogonal 6 x 6 matrices.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

VOIGT_PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
# Place of component ij among Voigt's.
PLACES = tuple(tuple(VOIGT_PAIRS.index((min(i, j), max(i, j))) for j in range(3)) for i in range(3))
# The 21 entries of a symmetric 6 x 6 matrix, row by row, and where each of the 36 stands among them.
UPPER = tuple((i, j) for i in range(6) for j in range(i, 6))
SYMMETRIC = tuple(tuple(UPPER.index((min(i, j), max(i, j))) for j in range(6)) for i in range(6))
_WEIGHTS = (1.0, 1.0, 1.0, sqrt(2.0), sqrt(2.0), sqrt(2.0))


def mandel(tensor: Tensor) -> Tensor:
    """Mandel vector (6, ...) of the symmetric part of a tensor (3, 3, ...)."""
    return torch.stack([weight / 2 * (tensor[i, j] + tensor[j, i]) for weight, (i, j) in zip(_WEIGHTS, VOIGT_PAIRS)])


def from_mandel(vector: Tensor) -> Tensor:
    """Symmetric tensor (3, 3, ...) of a Mandel vector (6, ...)."""
    xx, yy, zz = vector[:3]
    yz, xz, xy = vector[3:] / sqrt(2.0)
    return torch.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz]).reshape(3, 3, *vector.shape[1:])


def product(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product over the first two axes of (m, k, ...) and (k, n, ...)."""
    result = a[:, 0:1] * b[0:1]
    for k in range(1, a.shape[1]):
        result = result.addcmul_(a[:, k : k + 1], b[k : k + 1])
    return result


def apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """Matrix (m, k, ...) times vector (k, ...)."""
    return (matrix * vector).sum(1)


def determinant(m: Tensor) -> Tensor:
    """Determinant of (3, 3, ...)."""
    return (torch.linalg.cross(m[0], m[1], dim=0) * m[2]).sum(0)


def inverse(matrix: Tensor) -> Tensor:
    """Inverse of (k, k, ...) matrices, by Gauss-Jordan elimination without pivoting.

    Fit for matrices near symmetric positive definite ones, as the Jacobians of the law are.
    """
    work = matrix.clone()
    for k in range(len(work)):
        pivot = 1.0 / work[k, k]
        row = work[k] * pivot
        column = work[:, k].clone()
        column[k] = 0.0
        work.addcmul_(column[:, None], row[None], value=-1.0)
        work[:, k] = -column * pivot
        work[k] = row
        work[k, k] = pivot
    return work


def mandel_rotation(rotation: Tensor) -> Tensor:
    """Matrices (6, 6, ...) with mandel(R e R^T) = Q mandel(e), for R (3, 3, ...).

    For a rotation R, Q is orthogonal; for any other matrix the same formula gives the push-forward.
    """
    columns = []
    for j, (a, b) in enumerate(VOIGT_PAIRS):
        outer = rotation[:, a, None] * rotation[None, :, b]
        columns.append(mandel(outer * (1.0 if j < 3 else sqrt(2.0))))
    return torch.stack(columns, dim=1)


def quadratic(rotation: Tensor, matrix: Tensor) -> Tensor:
    """Q A Q^T over the first two axes."""
    return product(product(rotation, matrix), rotation.transpose(0, 1))
