"""Stress-strain curves without fingerprints: texture coefficients, linear comparison cells, Taylor's model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from microprint import orientations
from microprint.mechanics.crystal_plasticity import Solver
from microprint.mechanics.datasets import Curves
from microprint.mechanics.effective import effective_stiffness
from microprint.mechanics.elasticity import isotropic_part, mandel_from_voigt, voigt_from_mandel
from microprint.mechanics.materials import Material
from microprint.mechanics.simulate import law_for
from microprint.mechanics.spectral import PeriodicCell
from microprint.mechanics.state import State
from microprint.mechanics.tensors import mandel, mandel_rotation
from microprint.mechanics.time_step import Numerics
from microprint.microstructures.volume_elements import VolumeElements

SOFTENING = (3.0, 30.0)  # of a family's shears, in linear cells
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


def linear_cells(elements: VolumeElements, material: Material, axis: int, softening: Sequence[float] = SOFTENING) -> Tensor:
    """Effective moduli (N, systems' families times softenings) in Pa of linear cells under a tension along an axis.

    In each cell one family of slip or twin systems, those of one initial resistance, adds its shears to the elastic compliance,
    `softening` times over what elasticity itself gives a shear: linear comparison composites, each a hint at who has to yield.
    The mean conditions are the tension's: no lateral stress, no mean shear.
    """
    compliance = torch.linalg.inv(mandel_from_voigt(material.stiffness))
    shears = mandel(material.schmid.permute(1, 2, 0))  # (6, systems)
    scale = 2 * isotropic_part(torch.linalg.inv(compliance)[:, :, None])[1]
    families = [shears[:, material.xi_0 == xi] for xi in material.xi_0.unique()]
    turn = mandel_rotation(orientations.to_matrix(elements.quaternion.double()).permute(2, 3, 0, 1).transpose(0, 1))
    moduli = []
    for family in families:
        for factor in softening:
            soft = torch.linalg.inv(compliance + factor / scale * family @ family.T)
            turned = voigt_from_mandel(torch.einsum("abng,bc,dcng->ngad", turn, soft, turn))
            C = effective_stiffness(elements.grain_id[:], turned, cases=(0, 1, 2), dtype=torch.float32)[:, :3, :3]
            moduli.append(1 / torch.linalg.inv(C)[:, axis, axis])
    return torch.stack(moduli, 1)
