"""Equilibrium of a periodic cell of crystals by a law that is learnt, marched along a load path.

The strain fluctuates about a mean that the load prescribes, compatible and in equilibrium. At each increment the field is
extrapolated from the last one and then corrected by one iteration, or a few, of the basic scheme (Moulinec & Suquet,
Comput. Methods Appl. Mech. Eng. 157 (1998) 69-94),

    e <- e - Gamma_0 : stress(e),

whose step after the first is Barzilai and Borwein's (Schneider, Int. J. Numer. Methods Eng. 118 (2019) 482-494). The bulk
modulus is that of all crystals alike, so of the fluctuating volume only its longitudinal waves are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from microprint.errors import UserError
from microprint.mechanics.deviators import BASIS, deviator, hencky_strain, tensor
from microprint.mechanics.load import LoadStep
from microprint.mechanics.turning import contracted, to_crystal, to_sample, turned
from microprint.networks.crystal_law import CrystalLaw

REFERENCE = 0.8  # shear modulus of the reference medium over that of the elastic crystals; half of it would diverge
FIRST, KNEE = 3, 6  # iterations, at least, of the first increments in a direction, which nothing foretells well
BOUNDS = (0.1, 1.5)  # of the same in later iterations


class Waves:
    """Plane waves of a periodic cell of n voxels an edge, and the corrections of strain that they allow.

    Of a field (B, V) there are W numbers (B, W), the real and the imaginary parts of its waves in turn: all that waves are
    multiplied with is real.
    """

    def __init__(self, edge: int, device: torch.device):
        k = torch.fft.fftfreq(edge, 1 / edge, device=device)
        k = torch.stack(torch.meshgrid(k, k, k[: edge // 2 + 1].abs(), indexing="ij"))
        # Half of the waves stand for their conjugates too, all but the lowest and the highest along z.
        self.share = torch.where((k[2] == 0) | (2 * k[2] == edge), 1.0, 2.0).flatten().repeat_interleave(2)
        # At the highest frequency of an even edge a derivative would not be real: that component of the vector is nil.
        k = torch.where(2 * k.abs() == edge, 0.0, k)
        self.edge = edge
        self.n = (k / k.square().sum(0).sqrt().clamp_min(1)).flatten(1).repeat_interleave(2, 1)[:, None]
        self.traction = torch.einsum("aij,jbw->aibw", BASIS.to(self.n), self.n)

    def tractions(self, stress: Tensor) -> Tensor:
        """Waves (3, B, W) of the tractions across the planes of each wave, of a field of stress (5, B, V)."""
        waves = torch.fft.rfftn(stress.unflatten(2, 3 * (self.edge,)), dim=(2, 3, 4))
        return contracted(self.traction, torch.view_as_real(waves).flatten(2))

    def correct(self, tractions: Tensor, volume: Tensor, two_G: Tensor, bulk: Tensor) -> tuple[Tensor, Tensor]:
        """Changes of strain (5, B, W) and volume (B, W) that bring a field with these tractions towards equilibrium.

        `volume` are the waves of the volume's change, `two_G` (B,) and `bulk` are of the reference.
        """
        reference, along = two_G[:, None], contracted(self.n, tractions)
        dilation = -(along + bulk * volume) / (bulk + 2 / 3 * reference)
        moved = tractions * (-2 / reference) + self.n * (dilation + 2 / reference * along)
        return contracted(self.traction.transpose(0, 1), moved), dilation

    def field(self, waves: Tensor) -> Tensor:
        """Field (5, B, V) of waves (5, B, W)."""
        waves = torch.view_as_complex(waves.unflatten(2, (self.edge, self.edge, -1, 2)))
        return torch.fft.irfftn(waves, s=3 * (self.edge,), dim=(2, 3, 4)).flatten(2)

    def secant(self, change: Tensor, new: Tensor) -> Tensor:
        """Barzilai and Borwein's modulus (B,) over that of the reference, of two corrections (5, B, W) in a row."""
        weighed = self.share * change
        return 1 - (weighed * new).sum((0, 2)) / (weighed * change).sum((0, 2)).clamp_min(1e-30)


@dataclass(frozen=True)
class Path:
    """What the cells of volume elements go through: T increments."""

    F: Tensor  # (B, T + 1, 3, 3) mean deformation gradient
    P: Tensor  # (B, T + 1, 3, 3) mean first Piola-Kirchhoff stress, Pa


class March:
    """Volume elements of one edge on their way through a load path.

    `rotations` (5, 5, B, V) turn deviators from sample to crystal axes at every voxel; `iterations` correct each increment,
    which should take as long as those that the law has learnt from. With none the strain stays uniform, as Taylor assumes.
    """

    def __init__(self, law: CrystalLaw, rotations: Tensor, edge: int, iterations: int = 1):
        self.law, self.weights = law, law.weights()
        self.rotations, self.iterations = rotations, iterations
        self.waves = Waves(edge, rotations.device)
        batch, voxels = rotations.shape[2:]
        self.strain, self.settled = (rotations.new_zeros(5, batch, voxels) for _ in range(2))
        self.answer = self.crystals = law.fresh(batch * voxels)  # the last one, and that of the last increment
        self.volume = rotations.new_zeros(batch, len(self.waves.share))
        self.F = torch.eye(3, dtype=torch.float64, device=rotations.device).repeat(batch, 1, 1)
        self.P, self.last = torch.zeros_like(self.F), None

    def run(self, load: Sequence[LoadStep]) -> Path:
        """Apply a load path."""
        F, P = [self.F], [self.P]
        for step in load:
            self.last = None  # a new direction begins elastically
            begin, end = self.P, self._stress_at_end(step)
            for number in range(1, step.N + 1):
                self._increment(step, torch.lerp(begin, end, number / step.N), number)
                F.append(self.F)
                P.append(self.P)
        return Path(torch.stack(F, 1), torch.stack(P, 1))

    def _stress_at_end(self, step: LoadStep) -> Tensor:
        P, dot_P = (torch.tensor(x, dtype=torch.float64, device=self.P.device) for x in (step.P, step.dot_P))
        return torch.where(dot_P.isnan(), torch.where(P.isnan(), self.P, P), self.P + step.t * dot_P)

    def _increment(self, step: LoadStep, P: Tensor, number: int) -> None:
        """One increment to the mean stress `P`, where that is prescribed."""
        before, free = (self.strain, self.volume, self.F), torch.tensor(step.free, device=self.F.device)
        if self.last is None:
            guess = self._without_volume_change(self._prescribed(step, number), free)
        else:
            self.strain, self.volume = self.strain + self.last[0], self.volume + self.last[1]
            guess = torch.where(free, self.F + self.last[2], self._prescribed(step, number))
        self._stretch(guess)
        reference, change = (REFERENCE * self.law.two_G).expand(len(self.F)), None
        iterations = max(self.iterations, FIRST if number <= KNEE else 1)
        for iteration in range(iterations):
            stress = self._crystal_stress()
            tractions = self.waves.tractions(stress)
            new, dilation = self.waves.correct(tractions, self.volume, reference, self.law.bulk)
            if change is not None:
                modulus = reference * self.waves.secant(change, new)
                reference = modulus.clamp(BOUNDS[0] * self.law.two_G, BOUNDS[1] * self.law.two_G)
                new, dilation = self.waves.correct(tractions, self.volume, reference, self.law.bulk)
            change = new
            if iteration == iterations - 1:  # the last correction serves the next increment
                self._settle()
            F = self._balanced(stress, P, free)
            if self.iterations:
                self.strain, self.volume = self.strain + self.waves.field(change), self.volume + dilation
            self._stretch(F)
        self.last = tuple(now - then for now, then in zip((self.strain, self.volume, self.F), before))

    # --- the mean ----------------------------------------------------------------------------------------------------

    def _prescribed(self, step: LoadStep, number: int) -> Tensor:
        """F at the end of an increment, where it is prescribed; elsewhere as it is."""
        dot_F, end = (torch.tensor(x, dtype=torch.float64, device=self.F.device) for x in (step.dot_F, step.F))
        F = self.F + step.t / step.N * dot_F.nan_to_num(0.0)
        return torch.where(end.isnan(), F, self.F + (end - self.F) / (step.N - number + 1))

    def _without_volume_change(self, F: Tensor, free: Tensor) -> Tensor:
        """F, its free normal components such that the volume stays."""
        normal = free.diagonal()
        if not normal.any():
            return F
        swollen = (torch.linalg.det(F) / torch.linalg.det(self.F)).pow(-1.0 / int(normal.sum()))
        return F * torch.where(torch.diag(normal), swollen[:, None, None], 1.0)

    def _stretch(self, F: Tensor) -> None:
        """Set the mean deformation gradient, and the mean strain with it; raises `UserError` where the field has diverged."""
        if not (F.isfinite().all() and self.P.isfinite().all()):
            what = "the field diverged: the learnt law is too rough, or the increments are far larger than those it knows"
            raise UserError(what, "surrogate", "Train the law longer, or divide the load into more increments")
        self.F, strain = F, deviator(hencky_strain(F)).T / self.law.strain_unit
        self.strain = self.strain + (strain.to(self.strain) - self.strain.mean(-1))[..., None]

    def _balanced(self, stress: Tensor, P: Tensor, free: Tensor) -> Tensor:
        """F after a correction of its free components; sets the mean stress, which has the pressure that these ask for.

        The Cauchy stress is that of the undeformed axes, turned and pulled back by the mean of F.
        """
        eye, J = torch.eye(3).to(self.F), torch.linalg.det(self.F)
        left, _, right = torch.linalg.svd(self.F)
        R, mean = left @ right, tensor(stress.mean(-1).T).to(self.F)
        to_P = self.law.stress_unit * J[:, None, None] * torch.linalg.inv(self.F).transpose(1, 2)
        asked = R.transpose(1, 2) @ (P @ self.F.transpose(1, 2) / (self.law.stress_unit * J[:, None, None])) @ R
        gap = (asked - mean) * (free | free.T)
        normal = free.diagonal()
        pressure = self.law.bulk / self.law.strain_unit * J.log()
        F = self.F
        if normal.any():
            count = int(normal.sum())
            pressure = gap.diagonal(dim1=1, dim2=2).sum(1) / count
            swelling = (pressure * self.law.strain_unit / self.law.bulk - J.log()) / count
            F = F * torch.where(torch.diag(normal), swelling.exp()[:, None, None], 1.0)
        gap = gap - torch.diag(normal).to(gap) * pressure[:, None, None]
        self.P = R @ (mean + pressure[:, None, None] * eye) @ R.transpose(1, 2) @ to_P
        # A free shear of F alone moves half a shear strain.
        return F + self.law.strain_unit / self.law.two_G * gap * free * (2 - eye)

    # --- the field ---------------------------------------------------------------------------------------------------

    def _crystal_stress(self) -> Tensor:
        """Stress (5, B, V) at the present strain, sample axes."""
        change = to_crystal(self.rotations, self.strain - self.settled)
        trial = self.weights.S @ self.crystals.stress + change.flatten(1)
        self.answer = self.law.respond(trial, self.crystals.resistance, self.answer, self.weights)
        return to_sample(self.rotations, self.answer.stress.unflatten(1, change.shape[1:]))

    def _settle(self) -> None:
        """End of an increment: what flowed stays so, and the crystals have turned."""
        self.settled, self.crystals = self.strain, self.answer
        turn = (self.weights.turn.T @ self.answer.flow).unflatten(1, self.strain.shape[1:])
        self.rotations = turned(self.rotations, turn)
