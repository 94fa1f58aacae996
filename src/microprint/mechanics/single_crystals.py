"""Single crystals under whole strains: stresses of as many strain paths as one likes, at a few microseconds each.

A crystal whose strain is prescribed needs no solver: its law alone is integrated. What grains of a polycrystal live through
lies between Taylor's assumption, every direction of strain alike, and Sachs's, strain along what yields first. So a path's
direction is a random one, relaxed by the crystal's own tangent in a medium whose stiffness is drawn between the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from microprint.mechanics.deviators import BASIS, deviator, tensor
from microprint.mechanics.elasticity import isotropic_part
from microprint.mechanics.materials import Material
from microprint.mechanics.simulate import law_for
from microprint.mechanics.tensors import mandel

MEDIUM = (-2.5, 0.5)  # decimal logarithm of the medium's shear stiffness over the crystal's: uniform between these
SIZES = 0.7  # standard deviation of the logarithm of the strain of an increment
PARTS = 5  # most parts of a path
REVERSALS = 0.3  # share of turns that go straight back


@dataclass(frozen=True)
class SingleCrystals:
    """Paths of N crystals at T + 1 times, deviators in crystal axes; the first time is undeformed."""

    strain: Tensor  # (N, T + 1, 5) logarithmic
    stress: Tensor  # (N, T + 1, 5) Cauchy stress in Pa


class Crystals:
    """Many crystals of a material, each with its own strain, an increment of `dt` seconds at a time.

    `moduli` (N, 5, 5) are the tangent, in Pa, and `good` (N,) whether the law has converged up to now.
    """

    def __init__(self, material: Material, count: int, dt: float):
        self.law, self.dt = law_for(material), dt
        self.F_p_inverse = torch.eye(3, dtype=torch.float64)[..., None].repeat(1, 1, count)
        self.xi, self.gamma = self.law.initial(count)
        self.S, self.good = torch.zeros(6, count, dtype=torch.float64), torch.ones(count, dtype=torch.bool)
        self.to_mandel = mandel(BASIS.permute(1, 2, 0))  # (6, 5)
        self.moduli = self._deviatoric(self.law.stiffness[..., None]).expand(count, 5, 5)

    def strain_to(self, strain: Tensor) -> Tensor:
        """Deviatoric Cauchy stress (N, 5) in Pa at logarithmic strains (N, 5), which end an increment."""
        F = torch.linalg.matrix_exp(tensor(strain)).permute(1, 2, 0).contiguous()
        answer = self.law.respond(F, self.F_p_inverse, self.xi, self.gamma, self.dt, self.S, self.xi)
        self.F_p_inverse, self.xi, self.gamma, self.S = answer.F_p_inverse, answer.xi, answer.gamma, answer.stress
        self.moduli = self._deviatoric(answer.tangent.double())
        self.good &= answer.converged & self.S.isfinite().all(0)
        return deviator(torch.einsum("ijv,kjv->vik", answer.P, F))  # det F = 1

    def _deviatoric(self, tangent: Tensor) -> Tensor:
        return torch.einsum("ma,mnv,nb->vab", self.to_mandel, tangent, self.to_mandel)


def moduli(material: Material) -> tuple[float, float]:
    """Bulk and shear modulus, Pa, of the isotropic medium nearest to the crystal."""
    bulk, shear = isotropic_part(law_for(material).stiffness[:, :, None])
    return float(bulk), float(shear)


def strained(material: Material, strain: Tensor, dt: float) -> SingleCrystals:
    """Stresses of crystals along given strains (N, T + 1, 5); those whose law does not converge are left out."""
    crystals = Crystals(material, len(strain), dt)
    stress = [torch.zeros_like(strain[:, 0])] + [crystals.strain_to(e).to(strain) for e in strain.double().unbind(1)[1:]]
    return SingleCrystals(strain[crystals.good], torch.stack(stress, 1)[crystals.good])


def strained_at_random(
    material: Material, count: int, increments: int, size: float, dt: float, generator: torch.Generator
) -> SingleCrystals:
    """Stresses of `count` crystals along random strain paths, half of them straight, the others with up to four turns.

    Increments take `dt` seconds and strain a crystal by `size` (Frobenius norm), the median of a log-normal distribution.
    Crystals whose law does not converge are left out.
    """
    crystals, draw = Crystals(material, count, dt), _Directions(count, increments, size, generator)
    stiff = 2 * moduli(material)[1]
    strain, stress = [torch.zeros(count, 5, dtype=torch.float64)], [torch.zeros(count, 5, dtype=torch.float64)]
    for t in range(increments):
        strain.append(strain[-1] + draw.step(t, crystals.moduli / stiff))
        stress.append(crystals.strain_to(strain[-1]))
    return SingleCrystals(*(torch.stack(x, 1)[crystals.good].float() for x in (strain, stress)))


class _Directions:
    """Increments of strain: random directions, constant for a part of the path, relaxed by the crystal's tangent."""

    def __init__(self, count: int, increments: int, size: float, generator: torch.Generator):
        parts = torch.randint(1, PARTS + 1, (count,), generator=generator)
        parts[::2] = 1
        cuts = torch.rand((count, PARTS - 1), generator=generator)
        cuts = cuts.masked_fill(torch.arange(1, PARTS) >= parts[:, None], 1.0)
        self.part = (torch.arange(increments)[:, None, None] / increments >= cuts).sum(-1)  # (T, N)
        directions = torch.randn((count, PARTS, 5), generator=generator, dtype=torch.float64)
        back = torch.rand((count, PARTS), generator=generator) < REVERSALS
        for part in range(1, PARTS):
            directions[:, part] = torch.where(back[:, part, None], -directions[:, part - 1], directions[:, part])
        self.direction = directions
        self.size = size * torch.exp(SIZES * torch.randn((count, PARTS), generator=generator, dtype=torch.float64))
        low, high = MEDIUM
        exponent = low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)
        self.medium = torch.exp(math.log(10) * exponent)[:, None, None]

    def step(self, t: int, moduli: Tensor) -> Tensor:
        """Strain (N, 5) of increment t, for tangent moduli (N, 5, 5) over twice the shear modulus."""
        rows = torch.arange(len(self.direction)), self.part[t]
        relaxed = torch.linalg.solve(torch.eye(5, dtype=torch.float64) * self.medium + moduli, self.direction[rows])
        return self.size[rows][:, None] * torch.nn.functional.normalize(relaxed, dim=-1)
