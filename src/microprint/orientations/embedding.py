r"""A continuous picture of an orientation with crystal symmetry, and the way back.

Any vector of orientation parameters that respects crystal symmetry through a fundamental zone jumps at the zone's
faces. A symmetrised tensor does not (Arnold, Jupp & Schaeben, doi:10.1016/j.jmva.2017.10.007; Hielscher & Lippert,
arXiv:2007.09664): the crystal is described by a polynomial H(v) that its point group leaves alone, and an
orientation M by the coordinates of s -> H(M s) in an orthonormal basis of harmonic polynomials of the sample
direction s. With a_i the crystal axes (rows of M):

* cubic, 9 numbers: the harmonic part of sum_i (a_i . s)^4, the lowest degree that tells cubic orientations apart;
* hexagonal, 27 numbers: the harmonic parts of (c . s)^2 (5) and (c . s)^4 (9), and Re((a_1 + i a_2) . s)^6 (13).
  Degrees 2 and 4 carry all of the elastic anisotropy of a texture, degree 6 the rotation about c.

Every embedding has unit norm, its mean over all rotations is zero, and rotating the sample acts on it by an
orthogonal matrix exp(omega . L). The weights of the hexagonal blocks (13, 6, 3 of 22) make it locally isometric:
rotating by a small angle about *any* axis moves the point by sqrt(c) times that angle, as it does for cubic.
"""

from __future__ import annotations

import itertools
import math
from functools import cache

import torch
from torch import Tensor

from microprint.arrays import Array, vectors
from microprint.orientations.quaternions import from_rotation_vector, multiply, standardize, to_matrix
from microprint.orientations.symmetry import symmetry_operators

EMBEDDING_SIZE = {"cubic": 9, "hexagonal": 27}

_CHUNK = 1 << 14
_NEWTON_STEPS = 5
_LOOKUP_PER_ZONE = 800  # about 9 degrees between neighbours for cubic, 12 for hexagonal
_LONGEST_STEP = 0.15  # radians, about the distance to the nearest entry
_LEVI_CIVITA = ((0, 1, 2, 1), (1, 2, 0, 1), (2, 0, 1, 1), (0, 2, 1, -1), (2, 1, 0, -1), (1, 0, 2, -1))


def embed(q: Array, symmetry: str) -> Tensor:
    """Continuous symmetric embedding, (..., k) with k = EMBEDDING_SIZE[symmetry], of orientations (..., 4)."""
    symmetry_operators(symmetry)  # refuses an unknown one
    matrix = to_matrix(q)
    if symmetry == "cubic":
        return _harmonics(matrix, 4).sum(-2) * math.sqrt(5 / 6)
    a1, a2, c = matrix.unbind(-2)
    basal = _harmonics(torch.complex(a1, a2), 6).real
    blocks = [(13, 3 / 2, _harmonics(c, 2)), (6, 35 / 8, _harmonics(c, 4)), (3, 1 / 32, basal)]
    return torch.cat([block * math.sqrt(weight / 22 * scale) for weight, scale, block in blocks], dim=-1)


def project(e: Array, symmetry: str) -> Tensor:
    """Rotation nearest to arbitrary vectors (..., k): maximises <e, embed(q)>. Returns (..., 4), w >= 0.

    Best entry of a lookup table over the fundamental zone, then Newton steps on the rotation. Chunked: memory beyond
    input and result is bounded. A zero vector gives some rotation.
    """
    symmetry_operators(symmetry)  # refuses an unknown one
    e = vectors(e, "e", EMBEDDING_SIZE[symmetry])
    dtype = torch.promote_types(e.dtype, torch.float32)
    flat = e.reshape(-1, e.shape[-1])
    chunks = [_project(part.to(dtype), symmetry) for part in flat.split(_CHUNK)]
    return torch.cat(chunks).reshape(*e.shape[:-1], 4)


def _project(target: Tensor, symmetry: str) -> Tensor:
    """Nearest rotations, (N, 4), to targets (N, k)."""
    target = torch.nn.functional.normalize(target, dim=-1)
    rotations, embeddings = _lookup(symmetry, target.dtype, target.device)
    q = rotations[(target @ embeddings.T).argmax(-1)]
    e = embed(q, symmetry)
    for _ in range(_NEWTON_STEPS):
        candidate = multiply(q, from_rotation_vector(_newton_step(target, e, symmetry)))
        candidate = torch.nn.functional.normalize(candidate, dim=-1)
        moved = embed(candidate, symmetry)
        better = ((moved - e) * target).sum(-1, keepdim=True) > -20 * torch.finfo(e.dtype).eps
        q, e = torch.where(better, candidate, q), torch.where(better, moved, e)
    return standardize(q)


def _newton_step(target: Tensor, e: Tensor, symmetry: str) -> Tensor:
    """Rotation vectors (N, 3) that maximise the second-order expansion of <target, exp(omega . L) e>.

    The curvature is shifted where mean - sqrt(2/3) |deviator|, a bound on its smallest eigenvalue, is below 0.5.
    """
    first, second = _generators(symmetry, e.dtype, e.device)
    gradient = torch.einsum("nk,akl,nl->na", target, first, e)
    curvature = -torch.einsum("nk,abkl,nl->nab", target, second, e)
    identity = torch.eye(3, dtype=e.dtype, device=e.device)
    mean = curvature.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    spread = math.sqrt(2 / 3) * torch.linalg.matrix_norm(curvature - mean * identity, keepdim=True)
    step = torch.linalg.solve(curvature + (0.5 - mean + spread).clamp_min(0) * identity, gradient)
    length = torch.linalg.vector_norm(step, dim=-1, keepdim=True)
    return step * (_LONGEST_STEP / length.clamp_min(_LONGEST_STEP))


@cache
def _lookup(symmetry: str, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Evenly spread rotations (N, 4) in the fundamental zone, and their embeddings (N, k).

    Super-Fibonacci spirals, Alexa 2022, doi:10.1109/CVPR52688.2022.
    """
    operators = symmetry_operators(symmetry)
    count = _LOOKUP_PER_ZONE * len(operators)
    phi, psi = math.sqrt(2), 1.533751168755204288118041
    s = torch.arange(count, dtype=torch.float64) + 0.5
    inner, outer = (s / count).sqrt(), (1 - s / count).sqrt()
    alpha, beta = 2 * math.pi * s / phi, 2 * math.pi * s / psi
    q = torch.stack([inner * alpha.sin(), inner * alpha.cos(), outer * beta.sin(), outer * beta.cos()], -1)
    scalar_parts = (q @ operators.T).abs()
    q = standardize(q[scalar_parts[:, 0] >= scalar_parts.amax(-1)])  # operator 0 is the identity
    return q.to(device, dtype), embed(q, symmetry).to(device, dtype)


# A homogeneous polynomial of degree l is held by its coordinates in the monomials s^alpha, scaled to be orthonormal in
# the rotation-invariant (Bombieri) inner product; the coordinates of (a . s)^l are then sqrt(l! / alpha!) a^alpha.


def _harmonics(vector: Tensor, degree: int) -> Tensor:
    """Coordinates (..., 2 l + 1) of the harmonic part of (vector . s)^l; vectors (..., 3), real or complex."""
    powers = [torch.ones_like(vector)]
    for _ in range(degree):
        powers.append(powers[-1] * vector)
    x, y, z = torch.stack(powers, -1).unbind(-2)
    i, j, k = torch.tensor(_exponents(degree), device=vector.device).unbind(-1)
    monomials = x[..., i] * y[..., j] * z[..., k]
    with torch.autocast(vector.device.type, enabled=False):  # half precision would turn an orientation by tenths of a degree
        return monomials @ (_basis(degree) * _scale(degree)).T.to(monomials)


@cache
def _exponents(degree: int) -> tuple[tuple[int, int, int], ...]:
    triples = itertools.product(range(degree + 1), repeat=3)
    return tuple(t for t in triples if sum(t) == degree)


@cache
def _scale(degree: int) -> Tensor:
    """sqrt(l! / alpha!) of every monomial."""
    counts = [math.factorial(degree) / math.prod(map(math.factorial, t)) for t in _exponents(degree)]
    return torch.tensor(counts, dtype=torch.float64).sqrt()


@cache
def _basis(degree: int) -> Tensor:
    """Orthonormal basis of the harmonic polynomials, (2 l + 1, number of monomials), in double precision.

    They are the orthogonal complement of |s|^2 times all polynomials of degree l - 2. Monomials with z-exponent 0 or 1,
    projected on it, span it; orthogonalising them in this order fixes the basis on every machine, signs included.
    """
    exponents = _exponents(degree)
    multiples = torch.zeros(len(exponents), len(_exponents(degree - 2)), dtype=torch.float64)
    for column, alpha in enumerate(_exponents(degree - 2)):
        for axis in range(3):
            raised = tuple(power + 2 * (axis == i) for i, power in enumerate(alpha))
            row = exponents.index(raised)
            multiples[row, column] = 1 / _scale(degree)[row]
    span, _ = torch.linalg.qr(multiples)
    complement = torch.eye(len(exponents), dtype=torch.float64) - span @ span.T
    basis, triangle = torch.linalg.qr(complement[:, [i for i, alpha in enumerate(exponents) if alpha[2] <= 1]])
    return (basis * triangle.diagonal().sign()).T.contiguous()


@cache
def _generators(symmetry: str, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """L (3, k, k) and the symmetrised products (L_a L_b + L_b L_a) / 2 (3, 3, k, k) of the embedding."""
    degrees = (4,) if symmetry == "cubic" else (2, 4, 6)
    first = torch.stack([torch.block_diag(*(_generator(d, axis) for d in degrees)) for axis in range(3)])
    product = torch.einsum("akl,blm->abkm", first, first)
    second = 0.5 * (product + product.transpose(0, 1))
    return first.to(device, dtype), second.to(device, dtype)


@cache
def _generator(degree: int, axis: int) -> Tensor:
    """Derivative of the harmonic coordinates when every crystal axis a turns about a sample axis, da = omega x a."""
    exponents = _exponents(degree)
    change = torch.zeros(len(exponents), len(exponents), dtype=torch.float64)
    for (row, alpha), (i, k, j, sign) in itertools.product(enumerate(exponents), _LEVI_CIVITA):
        if k == axis and alpha[i] > 0:
            moved = tuple(power - (n == i) + (n == j) for n, power in enumerate(alpha))
            change[row, exponents.index(moved)] += sign * alpha[i]
    scale = _scale(degree)
    return _basis(degree) @ (change * scale[:, None] / scale) @ _basis(degree).T
