"""Two-phase media as level cuts of Gaussian random fields: their two-point statistics, and drawings without end.

A Gaussian field of unit variance and correlation rho(r), cut where it exceeds a level, is a two-phase medium whose two-point
statistics are known in closed form, and the other way round; so the field can be found from the medium (Quiblier, J. Colloid
Interface Sci. 98 (1984) 84-102; Adler, Jacquin & Quiblier, Int. J. Multiphase Flow 16 (1990) 691-712).
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

NEAR = 4  # voxels: up to this distance along each axis all vectors count, beyond it those along the axes
_ANGLES = 721  # tabulated values of the arc from -pi/2 to pi/2
# Gauss-Legendre quadrature on [-1, 1] with 12 nodes, of which the second half mirrors the first.
_NODES = (0.1252334085, 0.3678314990, 0.5873179543, 0.7699026742, 0.9041172564, 0.9815606342)
_WEIGHTS = (0.2491470458, 0.2334925365, 0.2031674267, 0.1600783285, 0.1069393260, 0.0471753364)
COEFFICIENTS = 10  # of a spectrum: three of first order, six of second, and the share of white noise


def lags(edge: int) -> Tensor:
    """Vectors (L, 3) between voxels of a periodic cell, one of each pair r and -r, at which statistics are compared."""
    near, far = min(NEAR, (edge - 1) // 2), (edge - 1) // 2
    box = [r for r in itertools.product(range(-near, near + 1), repeat=3) if r > (0, 0, 0)]
    along = [tuple(lag if axis == i else 0 for i in range(3)) for axis in range(3) for lag in range(near + 1, far + 1)]
    return torch.tensor(box + along)


def at(field: Tensor, vectors: Tensor) -> Tensor:
    """Values (B, L) of periodic fields (B, n, n, n) at integer vectors (L, 3)."""
    x, y, z = (vectors % field.shape[-1]).unbind(1)
    return field[:, x, y, z]


def autocorrelation(phase: Tensor, less: Tensor | None = None) -> Tensor:
    """Two-point probability S2(r) = <x(s) x(s + r)> of periodic volumes (B, n, n, n), `less` that of others; r = 0 comes first.

    In double precision if the volumes are, else in single: no Fourier transform exists in bfloat16.
    """
    spectrum = _power(phase) if less is None else _power(phase) - _power(less)
    return torch.fft.irfftn(spectrum, s=phase.shape[1:], dim=(1, 2, 3)) / phase[0].numel()


def _power(phase: Tensor) -> Tensor:
    exact = phase.double() if phase.dtype == torch.float64 else phase.float()
    return torch.view_as_real(torch.fft.rfftn(exact, dim=(1, 2, 3))).square().sum(-1)


def level_of(fraction: Tensor) -> Tensor:
    """Level t (B,) that a share of a standard normal variable lies below; the medium's phase 1 is where -field < t."""
    return torch.special.ndtri(fraction.double().clamp(1e-3, 1 - 1e-3))


def two_point(level: Tensor, arc: Tensor) -> Tensor:
    """S2 (B, L) of the cut at levels (B,) where the field's correlation is sin(arc), arcs (B, L) within -pi/2 and pi/2.

    d S2 / d arc = exp(-t^2 / (1 + sin arc)) / 2 pi, and S2 = p^2 where the field is uncorrelated; Adler et al., eq. (22).
    """
    nodes, weights = (torch.tensor(x, dtype=arc.dtype, device=arc.device) for x in (_NODES, _WEIGHTS))
    nodes, weights = torch.cat([-nodes, nodes]), torch.cat([weights, weights])
    density = torch.exp(-level[:, None, None].square() / (1 + torch.sin(arc[..., None] * (nodes + 1) / 2)).clamp_min(1e-4))
    fraction = torch.special.ndtr(level)[:, None]
    return fraction.square() + arc / 2 * (density * weights).sum(-1) / (2 * math.pi)


def arc_of(level: Tensor, probability: Tensor) -> Tensor:
    """Arcs (B, L), float64, of the correlations that give two-point probabilities (B, L): `two_point` turned round."""
    angle = torch.linspace(-math.pi / 2, math.pi / 2, _ANGLES, dtype=torch.float64, device=probability.device)
    density = torch.exp(-level[:, None].square() / (1 + torch.sin(angle)).clamp_min(1e-9)) / (2 * math.pi)
    table = F.pad(torch.cumulative_trapezoid(density, angle, dim=1), (1, 0))
    table = (table + (torch.special.ndtr(level).square() - table[:, _ANGLES // 2])[:, None]).contiguous()
    above = torch.searchsorted(table, probability.double().contiguous()).clamp(1, _ANGLES - 1)
    low, high = table.gather(1, above - 1), table.gather(1, above)
    share = ((probability - low) / (high - low).clamp_min(1e-15)).clamp(0, 1)
    return angle[above - 1] + share * (angle[1] - angle[0])


def correlation(coefficients: Tensor, edge: int) -> Tensor:
    """Correlation rho(r) (B, n, n, n), n = edge, of a Gaussian field whose log-spectrum is a polynomial; rho(0) = 1.

    With c_i = 2 - 2 cos k_i, the discrete Laplacian's symbol, ln S(k) = -sum_i softplus(a_i) c_i + sum_{i<=j} b_ij c_i c_j / 4
    for coefficients (B, `COEFFICIENTS`): a, b, and the logit of a share of white noise.
    """
    number = torch.arange(edge, device=coefficients.device)
    number = torch.minimum(number, edge - number)
    return _octant(coefficients, edge)[:, number[:, None, None], number[:, None], number]


def correlation_at(coefficients: Tensor, edge: int, vectors: Tensor) -> Tensor:
    """The same at integer vectors (L, 3) alone: (B, L), as `at` of it."""
    inside = vectors % edge
    x, y, z = torch.minimum(inside, edge - inside).unbind(1)
    return _octant(coefficients, edge)[:, x, y, z]


def _octant(coefficients: Tensor, edge: int) -> Tensor:
    """Correlation (B, m, m, m) at vectors of 0 to edge / 2 along each axis: S is even, so cosines of an octant of it add up."""
    number = torch.arange(edge // 2 + 1, dtype=torch.float64, device=coefficients.device)
    angle = (2 * math.pi / edge) * number[:, None] * number
    waves = (torch.where(2 * number % edge == 0, 1, 2) * torch.cos(angle)).to(coefficients)  # those of -k are the same
    c = torch.meshgrid(3 * [(2 - 2 * torch.cos(angle[1])).to(coefficients)], indexing="ij")
    pairs = [a * b / 4 for a, b in itertools.combinations_with_replacement(c, 2)]
    first, second, white = coefficients.split([3, 6, 1], 1)
    with torch.autocast(coefficients.device.type, enabled=False):  # bfloat16, of mixed precision, keeps three digits
        exponent = torch.cat([-F.softplus(first), second], 1) @ torch.stack([*c, *pairs]).flatten(1)
        spectrum = (exponent - exponent.amax(1, keepdim=True)).exp().unflatten(1, c[0].shape)
        rho = spectrum * (c[0] + c[1] + c[2] > 0)  # the mean of a field says nothing: the level is relative to it
        for _ in range(3):
            rho = (rho @ waves.T).permute(0, 3, 1, 2)
    share = torch.sigmoid(white)[..., None, None]
    origin = torch.zeros_like(rho[:1])
    origin[0, 0, 0, 0] = 1.0
    return (1 - share) * rho / rho[:, :1, :1, :1] + share * origin


def draw(rho: Tensor, noise: Tensor) -> Tensor:
    """Gaussian fields (B, n, n, n) of unit variance with exactly the correlations rho, of the phases of noise (B, n, n, n).

    The amplitude of every wave is that of the spectrum, not a random one: then drawings of one law differ in where things
    lie, and least in how much of what there is.
    """
    waves = torch.fft.rfftn(noise, dim=(1, 2, 3))
    spectrum = torch.fft.rfftn(rho, dim=(1, 2, 3)).real.clamp_min(0)
    # The square root has no gradient at zero.
    field = torch.fft.irfftn(waves / waves.abs().clamp_min(1e-9) * (spectrum + 1e-12).sqrt(), s=rho.shape[1:], dim=(1, 2, 3))
    return field / field.square().mean((1, 2, 3), keepdim=True).sqrt()
