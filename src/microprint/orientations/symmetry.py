"""Crystal symmetry: rotation groups 432 and 622, fundamental zone, disorientation."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from microprint.arrays import Array, vectors
from microprint.errors import UserError
from microprint.orientations.quaternions import conjugate, multiply, pair, rotation_angle, standardize

SYMMETRIES = ("cubic", "hexagonal")
_CHUNK = 1 << 18


def symmetry_operators(symmetry: str) -> Tensor:
    """Rotations of the crystal's point group, (S, 4) in double precision: 24 (cubic, 432) or 12 (hexagonal, 622)."""
    if symmetry not in SYMMETRIES:
        raise UserError(f"unknown crystal symmetry {symmetry!r}", remedy="use 'cubic' or 'hexagonal'")
    return _operators(symmetry).clone()


@cache
def _operators(symmetry: str) -> Tensor:
    if symmetry == "hexagonal":
        half = torch.arange(6, dtype=torch.float64) * math.pi / 6
        zero = torch.zeros_like(half)
        about_c = torch.stack([half.cos(), zero, zero, half.sin()], -1)
        across_c = torch.stack([zero, half.cos(), half.sin(), zero], -1)
        return standardize(torch.cat([about_c, across_c]))
    root = math.sqrt(0.5)
    axis_turns = torch.eye(4, dtype=torch.float64)
    signs = torch.cartesian_prod(*[torch.tensor([1.0, -1.0], dtype=torch.float64)] * 3)
    diagonal_turns = 0.5 * torch.cat([torch.ones(8, 1, dtype=torch.float64), signs], -1)
    pairs = torch.combinations(torch.arange(4), 2)
    edge_turns = torch.zeros(6, 2, 4, dtype=torch.float64)
    for turn, (i, j) in zip(edge_turns, pairs.tolist(), strict=True):
        turn[:, i] = root
        turn[0, j], turn[1, j] = root, -root
    return torch.cat([axis_turns, diagonal_turns, edge_turns.reshape(12, 4)])


def equivalents(q: Array, symmetry: str) -> Tensor:
    """All symmetrically equivalent orientations, (..., S, 4): operators act on the crystal's side, s * q."""
    q = vectors(q, "q", 4)
    return multiply(symmetry_operators(symmetry).to(q), q.unsqueeze(-2))


def reduce(q: Array, symmetry: str) -> Tensor:
    """Equivalent orientation in the fundamental zone, (..., 4), w >= 0: the one with the smallest rotation angle.

    Heinz & Neumann 1991, doi:10.1107/S0108767391006864; the same zone as ``damask.Orientation.reduced``.
    """
    q = vectors(q, "q", 4)
    operators = symmetry_operators(symmetry).to(q)
    scalar_parts = q @ conjugate(operators).T  # w of s * q, without forming the products
    return standardize(multiply(operators[scalar_parts.abs().argmax(-1)], q))


def disorientation(p: Array, q: Array, symmetry: str) -> Tensor:
    """Smallest misorientation angle in radians, (...), over all equivalents of p and q (shapes broadcast).

    The scalar part is cyclic, w(s p q^-1 t^-1) = w(t^-1 s p q^-1), so one sweep over the group finds it.
    Works through the voxels in chunks: memory beyond the inputs and the result is bounded.
    """
    p, q = torch.broadcast_tensors(*pair(p, q))
    shape = p.shape[:-1]
    chunks = zip(p.reshape(-1, 4).split(_CHUNK), q.reshape(-1, 4).split(_CHUNK), strict=True)
    angles = [rotation_angle(reduce(multiply(a, conjugate(b)), symmetry)) for a, b in chunks]
    return torch.cat(angles).reshape(shape)
