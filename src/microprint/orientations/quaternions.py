"""Unit quaternions in DAMASK's convention: products, matrices, Bunge Euler angles, random rotations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from microprint.arrays import Array, vectors
from microprint.errors import UserError

_EULER_PERIOD = (2 * math.pi, math.pi, 2 * math.pi)


def multiply(p: Array, q: Array) -> Tensor:
    """Product of rotations, (..., 4): ``to_matrix(multiply(p, q)) == to_matrix(p) @ to_matrix(q)``.

    With P = -1 the sign of the cross product is opposite to Hamilton's.
    """
    p, q = pair(p, q)
    (pw, pv), (qw, qv) = p.split([1, 3], -1), q.split([1, 3], -1)
    pv, qv = torch.broadcast_tensors(pv, qv)
    scalar = pw * qw - (pv * qv).sum(-1, keepdim=True)
    vector = pw * qv + qw * pv - torch.linalg.cross(pv, qv)
    return torch.cat([scalar, vector], dim=-1)


def pair(p: Array, q: Array) -> tuple[Tensor, Tensor]:
    """Two arrays of orientations (..., 4) as tensors, of the more precise type of the two, on a GPU if either is.

    Raises `UserError` unless their shapes broadcast.
    """
    p, q = vectors(p, "p", 4), vectors(q, "q", 4)
    try:
        torch.broadcast_shapes(p.shape, q.shape)
    except RuntimeError:
        raise UserError(f"shapes {tuple(p.shape)} and {tuple(q.shape)} do not fit", "p, q", "Give as many of both") from None
    dtype, device = torch.promote_types(p.dtype, q.dtype), q.device if p.device.type == "cpu" else p.device
    return p.to(device, dtype), q.to(device, dtype)


def conjugate(q: Array) -> Tensor:
    """Inverse rotation of unit quaternions, (..., 4)."""
    q = vectors(q, "q", 4)
    return torch.cat([q[..., :1], -q[..., 1:]], dim=-1)


def standardize(q: Array) -> Tensor:
    """Same rotations with w >= 0, (..., 4)."""
    q = vectors(q, "q", 4)
    return torch.where(q[..., :1] < 0, -q, q)


def to_matrix(q: Array) -> Tensor:
    """Matrices M (..., 3, 3) with v_crystal = M v_sample; the rows are the crystal axes in the sample frame."""
    w, x, y, z = vectors(q, "q", 4).unbind(-1)
    rows = [
        w * w + x * x - y * y - z * z, 2 * (x * y + w * z), 2 * (x * z - w * y),
        2 * (x * y - w * z), w * w - x * x + y * y - z * z, 2 * (y * z + w * x),
        2 * (x * z + w * y), 2 * (y * z - w * x), w * w - x * x - y * y + z * z,
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def to_euler(q: Array) -> Tensor:
    """Bunge Euler angles (phi1, Phi, phi2) in radians, (..., 3), in [0, 2 pi) x [0, pi] x [0, 2 pi).

    Where Phi is 0 or pi only phi1 +- phi2 is defined; phi2 = 0 then, as in DAMASK.
    """
    q = vectors(q, "q", 4)
    w, x, y, z = q.unbind(-1)
    half_sum, half_difference = torch.atan2(z, w), torch.atan2(y, x)
    sine, cosine = torch.hypot(x, y), torch.hypot(w, z)
    phi1, phi2 = half_sum + half_difference, half_sum - half_difference
    tiny = 10 * torch.finfo(q.dtype).eps
    phi1 = torch.where(sine < tiny, 2 * half_sum, torch.where(cosine < tiny, 2 * half_difference, phi1))
    phi2 = torch.where((sine < tiny) | (cosine < tiny), torch.zeros_like(phi2), phi2)
    return torch.stack([_wrap(phi1), 2 * torch.atan2(sine, cosine), _wrap(phi2)], dim=-1)


def _wrap(angle: Tensor) -> Tensor:
    """Angles in [0, 2 pi); a value that rounding puts at 2 pi, or a hair below it, becomes 0."""
    wrapped = torch.remainder(angle, 2 * math.pi)
    return torch.where(2 * math.pi - wrapped < 20 * torch.finfo(angle.dtype).eps, torch.zeros_like(angle), wrapped)


def from_euler(angles: Array) -> Tensor:
    """Quaternions (..., 4), w >= 0, from Bunge Euler angles (phi1, Phi, phi2) in radians, (..., 3)."""
    phi1, capital_phi, phi2 = (0.5 * vectors(angles, "angles", 3)).unbind(-1)
    cosine, sine, plus, minus = torch.cos(capital_phi), torch.sin(capital_phi), phi1 + phi2, phi1 - phi2
    parts = [cosine * torch.cos(plus), sine * torch.cos(minus), sine * torch.sin(minus), cosine * torch.sin(plus)]
    return standardize(torch.stack(parts, dim=-1))


def euler_channels(q: Array) -> Tensor:
    """Bunge Euler angles divided by (2 pi, pi, 2 pi), in [0, 1], (..., 3): the channels of White et al. 2025."""
    angles = to_euler(q)
    return angles / angles.new_tensor(_EULER_PERIOD)


def from_euler_channels(channels: Array) -> Tensor:
    """Quaternions (..., 4) from normalised Euler channels (..., 3)."""
    channels = vectors(channels, "channels", 3)
    return from_euler(channels * channels.new_tensor(_EULER_PERIOD))


def from_rotation_vector(vector: Array) -> Tensor:
    """Quaternions (..., 4) from rotation vectors (..., 3): axis times angle in radians."""
    vector = vectors(vector, "vector", 3)
    half = 0.5 * torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    return torch.cat([torch.cos(half), 0.5 * vector * torch.sinc(half / math.pi)], dim=-1)


def to_rotation_vector(q: Array) -> Tensor:
    """Rotation vectors (..., 3) of quaternions (..., 4): axis times angle in radians, in [0, pi]; zero without an axis."""
    return rotation_angle(q)[..., None] * torch.nn.functional.normalize(standardize(q)[..., 1:], dim=-1)


def rotation_angle(q: Array) -> Tensor:
    """Angle of rotation in radians, in [0, pi], (...). Accurate for small angles, unlike an arc cosine of w."""
    q = vectors(q, "q", 4)
    return 2 * torch.atan2(torch.linalg.vector_norm(q[..., 1:], dim=-1), q[..., 0].abs())


def random(shape: int | Sequence[int], generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rotations uniform on SO(3), (*shape, 4), w >= 0, on the generator's device."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    gauss = torch.randn((*shape, 4), generator=generator, device=generator.device, dtype=dtype)
    return standardize(torch.nn.functional.normalize(gauss, dim=-1))


def one_minus_abs_dot(p: Array, q: Array) -> Tensor:
    """Misorientation measure 1 - abs(p . q), (...), of White et al. 2025, eq. (2); it knows no crystal symmetry."""
    p, q = pair(p, q)
    return 1 - (p * q).sum(-1).abs()


def expand(grain_id: Tensor, values: Tensor) -> Tensor:
    """Values of grains spread over voxels: (B, n, n, n) integers and (B, G, k) give (B, k, n, n, n)."""
    index = grain_id.flatten(1).long()[:, None].expand(-1, values.shape[-1], -1)
    return values.transpose(1, 2).gather(2, index).unflatten(2, grain_id.shape[1:])
