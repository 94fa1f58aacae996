"""Stress-strain curves without fingerprints: texture coefficients, Taylor's model."""

from __future__ import annotations

import torch
from torch import Tensor

from microprint import orientations
from microprint.mechanics.crystal_plasticity import Solver
from microprint.mechanics.datasets import Curves
from microprint.mechanics.simulate import law_for
from microprint.mechanics.spectral import PeriodicCell
from microprint.mechanics.state import State
from microprint.mechanics.time_step import Numerics
from microprint.microstructures.volume_elements import VolumeElements

TAYLOR_POINTS = 64  # material points that stand for a volume element's grains, by volume


def texture_coefficients(elements: VolumeElements, axis: int) -> Tensor:
    """Volume averages (N, 2) of c^2 and c^4, with c the cosine between c-axis and load axis (0, 1 or 2 for x, y or z).

    The slip systems of a hexagonal crystal see the load mostly through c; its even powers are the leading terms of the
    texture that a mean stress depends on.
    """
    c = orientations.to_matrix(elements.quaternion.double())[..., 2, axis]
    powers = torch.stack([c**2, c**4], -1)
    return torch.stack([power[ids.flatten().long()].mean(0) for power, ids in zip(powers, elements.grain_id)])


class UniformCell(PeriodicCell):
    """A cell without fluctuations: every material point has the mean deformation gradient, as Taylor (1938) assumes."""

    def __init__(self, points: int, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"):
        super().__init__((points, 1, 1), "fourier", dtype=dtype, device=device)
        self.t, self.live = torch.zeros_like(self.t), torch.zeros_like(self.live)

    def to(self, dtype: torch.dtype) -> UniformCell:
        return UniformCell(self.shape[0], dtype, self.device)


def taylor(curves: Curves, points: int = TAYLOR_POINTS) -> Tensor:
    """Stress (N, T) in Pa of the curves' component by Taylor's model, with the material, load and time steps of the simulation.

    The stress of the curves is not looked at. Grains appear in proportion to their volume among the material points.
    """
    flat = curves.elements.grain_id.flatten(1).long().sort(1).values
    chosen = flat[:, torch.linspace(0, flat.shape[1] - 1, points).round().long()]
    matrices = orientations.to_matrix(curves.elements.quaternion.double())
    voxels = torch.stack([m[ids] for m, ids in zip(matrices, chosen)]).permute(2, 3, 0, 1).contiguous()
    solver = Solver(UniformCell(points), law_for(curves.material), voxels, Numerics())
    stress: list[Tensor] = []

    def record(state: State, time: float) -> None:
        stress.append(solver.stress(state)[1][curves.component].mean(-1))

    solver.run(curves.load, record)
    return torch.stack(stress, 1)
