"""Self-consistent estimate of a polycrystal's stress by the learnt law: grains without neighbours.

Each grain is a sphere in a medium that answers as the polycrystal does, so that of a volume element only the volume
fractions and orientations of its grains count. Eshelby (Proc. R. Soc. A 241 (1957) 376-396) makes its strain uniform, and
the deviators of stress s and strain e obey, in an isotropic medium of bulk modulus K and shear modulus mu,

    s - <s> = -L* (e - <e>),    L* = mu (9 K + 8 mu) / (3 (K + 2 mu)).

Where crystals are elastic this is Kröner's estimate (Z. Phys. 151 (1958) 504-518). Where they flow, mu is the secant modulus
of the polycrystal itself, as Berveiller and Zaoui have it (J. Mech. Phys. Solids 26 (1979) 325-344), from where the load last
turned. Nothing in it is fitted. By the tangent modulus, of an isotropic medium or of an anisotropic one with its own Eshelby
tensor, estimates for magnesium were stiffer and followed the scatter of the curves no better at the end of a tension of 1 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from microprint.machine import choose_device
from microprint.mechanics.deviators import rotation
from microprint.mechanics.load import LoadStep, driven_component
from microprint.microstructures.volume_elements import VolumeElements
from microprint.networks.crystal_law import CrystalEnsemble, CrystalLaw
from microprint.networks.grain_graph import volume_shares
from microprint.systems.equilibrium import March

ITERATIONS = 50  # of an increment, at most
TOLERANCE = 1e-4  # of stresses and strains that are left to balance, in the law's units: 0.001 MPa of the mean stress
GRAINS_AT_ONCE = 1 << 16


class SphereMarch(March):
    """Grains of B volume elements on their way through a load path: as `March`, but each grain sees the mean alone.

    `rotations` (5, 5, B, G) turn deviators from sample to crystal axes in every grain, `shares` (B, G) are their volume
    fractions.
    """

    def __init__(self, law: CrystalLaw, rotations: Tensor, shares: Tensor):
        super().__init__(law, rotations, edge=2)
        self.shares = shares

    def _mean(self, grains: Tensor) -> Tensor:
        return (self.shares * grains).sum(-1, keepdim=True)

    def _stretch(self, F: Tensor) -> None:
        super()._stretch(F)  # which counts all grains alike
        self.strain = self.strain + self.strain.mean(-1, keepdim=True) - self._mean(self.strain)

    def _increment(self, step: LoadStep, P: Tensor, number: int) -> None:
        """One increment to the mean stress `P`, where that is prescribed."""
        free, before = torch.tensor(step.free, device=self.F.device), (self.strain, self.F)
        if self.last is None:
            self.origin = self.strain, self._crystal_stress()
            guess = self._without_volume_change(self._prescribed(step, number), free)
        else:
            self.strain = self.strain + self.last[0]
            guess = torch.where(free, self.F + self.last[1], self._prescribed(step, number))
        self._stretch(guess)
        for iteration in range(1, ITERATIONS + 1):
            stress = self._crystal_stress()
            F, change, imbalance = self._balanced(self._mean(stress), P, free), *self._change(stress)
            off = max(imbalance, float((F - self.F).abs().max() / self.law.strain_unit))
            if off < TOLERANCE or iteration == ITERATIONS:  # what is settled is the strain of this very stress
                break
            self.strain = self.strain + change
            self._stretch(F)
        self._settle()
        self.last = self.strain - before[0], self.F - before[1]

    def _change(self, stress: Tensor) -> tuple[Tensor, float]:
        """Changes of strain (5, B, G) that bring the grains towards balance with the medium, and how far off they are."""
        s, e = stress - self.origin[1], self.strain - self.origin[0]
        S, E = self._mean(s), self._mean(e)
        secant = S.square().sum(0).sqrt() / E.square().sum(0).sqrt().clamp_min(TOLERANCE)
        hold = holding(0.5 * secant, self.law.bulk)
        imbalance = s - S + hold * (e - E)
        return -imbalance / (self.law.two_G + hold), float((imbalance * (self.shares > 0)).abs().max())


def holding(shear: Tensor, bulk: Tensor) -> Tensor:
    """L* by which a medium of these moduli holds a sphere: stress over strain, deviators."""
    return shear * (9 * bulk + 8 * shear) / (3 * (bulk + 2 * shear))


class SelfConsistentSurrogate:
    """Stress of volume elements of one material along a load path, from the volume fractions and orientations of their grains.

    >>> alone = StressSurrogate.load("crystal_law_Mg.safetensors")    # doctest: +SKIP
    >>> mean, std = SelfConsistentSurrogate(alone.laws, alone.load_path).predict(elements)    # doctest: +SKIP
    """

    def __init__(self, laws: CrystalEnsemble, load: Sequence[LoadStep], device: torch.device | str = "cpu"):
        self.device = choose_device(device, "device")
        self.laws, self.load_path = laws.to(self.device).eval(), tuple(load)
        self.component = driven_component(self.load_path)

    def predict(self, elements: VolumeElements) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (B, T + 1), between the laws, of the stress that the load is about, Pa.

        Raises `UserError` where the grains' strains diverge.
        """
        i, j = self.component
        shares, quaternions, stress = volume_shares(elements), elements.quaternion.float(), []
        size = max(1, GRAINS_AT_ONCE // shares.shape[1])
        for share, q in zip(shares.split(size), quaternions.split(size)):
            grains = rotation(q).permute(2, 3, 0, 1).contiguous().to(self.device), share.to(self.device)
            with torch.inference_mode():
                paths = [SphereMarch(law, *grains).run(self.load_path) for law in self.laws.laws]
            stress.append(torch.stack([path.P[..., i, j] for path in paths]).cpu())
        members = torch.cat(stress, 1)
        spread = members.std(0) if len(members) > 1 else torch.zeros_like(members[0])
        return members.mean(0), spread
