"""Stress-strain curves without fingerprints (mean curve, texture coefficients, Taylor's model), and how curves compare."""

from __future__ import annotations

import torch
from torch import Tensor

from microprint import orientations
from microprint.mechanics.crystal_plasticity import Numerics, Solver, State
from microprint.mechanics.load import uniaxial_tension
from microprint.mechanics.materials import load_material
from microprint.mechanics.phenopowerlaw import Law
from microprint.mechanics.spectral import PeriodicCell
from microprint.mechanics.tensors import from_mandel, product

TAYLOR_POINTS = 64  # material points that stand for a volume element's grains, by volume


def c_axis_cosine(quaternion: Tensor) -> Tensor:
    """Cosine between the c-axis and the load axis x, from orientations (..., 4)."""
    return orientations.to_matrix(quaternion)[..., 2, 0]


def texture_coefficients(grain_id: Tensor, quaternion: Tensor) -> Tensor:
    """Volume averages (B, 2) of c^2 and c^4, with c the cosine between c-axis and load axis.

    The slip systems of a hexagonal crystal see the load mostly through c; its even powers are the leading terms of the
    texture that a mean stress depends on.

    Parameters
    ----------
    grain_id : (B, n, n, n).
    quaternion : (B, G, 4).
    """
    c = c_axis_cosine(quaternion.double())
    powers = torch.stack([c**2, c**4], -1)
    return torch.stack([power[ids.flatten().long()].mean(0) for power, ids in zip(powers, grain_id)])


def straight_line(x: Tensor, y: Tensor, at: Tensor) -> Tensor:
    """Least-squares line of y (N, T) in x (N, k), evaluated at (B, k): (B, T)."""
    ones = [torch.cat([torch.ones(len(part), 1, dtype=torch.float64), part.double()], 1) for part in (x, at)]
    return ones[1] @ torch.linalg.lstsq(ones[0], y.double(), driver="gelsd").solution


def ridge(x: Tensor, y: Tensor, at: Tensor, validation: tuple[Tensor, Tensor]) -> Tensor:
    """Ridge regression for more features than samples, its penalty chosen on validation data.

    Parameters
    ----------
    x, y : (N, k) and (N, T) to fit.
    at : (B, k) where to predict.
    validation : features and values.

    Returns
    -------
    (B, T)
    """
    shift, scale, mean = x.double().mean(0), x.double().std(0).clamp_min(1e-12), y.double().mean(0)
    u, known, new = (((part.double() - shift) / scale) for part in (x, validation[0], at))
    gram, identity = u @ u.T, torch.eye(len(u), dtype=torch.float64)
    penalties = (10.0**power * len(u) for power in range(-3, 6))
    fits = [torch.linalg.solve(gram + penalty * identity, y.double() - mean) for penalty in penalties]
    errors = [(known @ u.T @ fit + mean - validation[1]).square().mean() for fit in fits]
    return new @ u.T @ fits[int(torch.stack(errors).argmin())] + mean


class UniformCell(PeriodicCell):
    """A cell without fluctuations: every material point has the mean deformation gradient, as Taylor (1938) assumes."""

    def __init__(self, points: int, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"):
        super().__init__((points, 1, 1), "fourier", dtype=dtype, device=device)
        self.t, self.live = torch.zeros_like(self.t), torch.zeros_like(self.live)

    def to(self, dtype: torch.dtype) -> UniformCell:
        return UniformCell(self.shape[0], dtype, self.device)


def taylor(grain_id: Tensor, quaternion: Tensor, strain: float, increments: int, material: str = "Mg",
           points: int = TAYLOR_POINTS) -> Tensor:
    """P_xx of volume elements by Taylor's model, with the law, load and time steps of the full simulation.

    Parameters
    ----------
    grain_id, quaternion : (B, n, n, n) and (B, G, 4).
    strain, increments : of uniaxial tension along x, see `mechanics.load.uniaxial_tension`.
    material : name of a material of the package.
    points : material points a volume element; grains appear in proportion to their volume.

    Returns
    -------
    (B, increments + 1) Pa.
    """
    flat = grain_id.flatten(1).long().sort(1).values
    chosen = flat[:, torch.linspace(0, flat.shape[1] - 1, points).round().long()]
    matrices = orientations.to_matrix(quaternion.double())
    voxels = torch.stack([m[ids] for m, ids in zip(matrices, chosen)]).permute(2, 3, 0, 1).contiguous()
    solver = Solver(UniformCell(points), Law(load_material(material)), voxels, Numerics())
    curve: list[Tensor] = []

    def record(state: State, time: float) -> None:
        push = product(product(state.F_mean, state.F_p_inverse), from_mandel(state.S))
        curve.append(product(push, state.F_p_inverse.transpose(0, 1))[0, 0].mean(-1))

    solver.run(uniaxial_tension("x", strain=strain, increments=increments), record)
    return torch.stack(curve, 1)


def coverage(mean: Tensor, std: Tensor, observed: Tensor, share: float = 0.9) -> float:
    """Share of observations inside the central Gaussian interval that should hold `share` of them."""
    half_width = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor((1 + share) / 2)).item()
    return ((observed - mean).abs() <= half_width * std).double().mean().item()
