"""A crystal's law with memory, learnt: the stress is the gradient of a convex potential of the elastic trial strain.

Backward Euler makes of every rate-dependent crystal a map from the elastic strain that it would have without flow, the
trial strain, to its stress; the map is the gradient of a convex function (Ortiz & Stainier, Comput. Methods Appl. Mech.
Eng. 171 (1999) 419-444). So is the network here: an input-convex one (Amos, Xu & Kolter, ICML 2017) of two layers,

    psi = w log sum_j exp(z_j / w),   z = P s(U x + b - B m) + V x - c - C m,   s(y) = t log(1 + exp(y / t)),   P >= 0,

whose first layer may learn what slips and whose second what holds them together. No slip system and no symmetry is put
in. What has happened to the crystal it remembers as sums m of the positive parts of learnt components of the plastic strain.
They shift the surface's faces and let it grow as a whole, S = (1 + a m)^p: the potential is S^2 psi(x / S, m / (1 + a m)).

Arrays have their components first, (5, ...): each operation is then one of long vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from microprint.networks import compiled_law

START_RATE, START_CRYSTALS = 8e-3, 32  # learning rate and crystals a step of the regression that starts a training
SMALL = 0.1  # share of the mean stress below which errors count no more in proportion to the stress


class Layers(NamedTuple):
    """What the weights of a law come to, the same for all crystals and increments."""

    first: Tensor  # (units, 5 + memories + 1) what units take of strain, memory and 1
    second: Tensor  # (planes, 5 + memories + 1) the same of planes
    P: Tensor  # (planes, units)
    between: Tensor  # (planes, units) P times the units' t over the planes' w: what planes take of units
    hardening: Tensor  # (1, memories) a
    power: Tensor  # p
    nothing: Tensor  # (5, 1) the gradient without strain or memory


class CrystalLaw(nn.Module):
    """Deviatoric stress of a crystal from its history of deviatoric strain, both in crystal axes.

    Inside, strains are in units of `strain_unit`, stresses in units of `stress_unit` (Pa); `two_G` and `bulk` are the moduli
    of the isotropic medium nearest to the crystal, in the ratio of the two. Increments take as long as those of the training.

    Parameters
    ----------
    units, planes, memories : sizes of the two layers, and numbers that a crystal remembers.
    """

    def __init__(self, units: int, planes: int, memories: int):
        super().__init__()
        self.U, self.b = nn.Parameter(normalize(torch.randn(units, 5), dim=1)), nn.Parameter(-0.3 * torch.rand(units, 1))
        self.B, self.log_t = nn.Parameter(torch.zeros(units, memories)), nn.Parameter(torch.tensor(-2.0))
        self.log_P = nn.Parameter(torch.randn(planes, units) - 3.5)
        self.V, self.c = nn.Parameter(0.3 * torch.randn(planes, 5)), nn.Parameter(0.3 * torch.rand(planes, 1))
        self.C, self.log_w = nn.Parameter(torch.zeros(planes, memories)), nn.Parameter(torch.tensor(-2.0))
        self.flow = nn.Parameter(normalize(torch.randn(memories, 5), dim=1))
        self.anisotropy = nn.Parameter(torch.zeros(5, 5))
        self.log_hardening, self.power = nn.Parameter(torch.full((1, memories), -4.0)), nn.Parameter(torch.zeros(()))
        for name in ("strain_unit", "stress_unit", "two_G", "bulk"):
            self.register_buffer(name, torch.ones(()))

    def scale(self, strain_unit: float, stress_unit: float, shear: float, bulk: float) -> None:
        """Set the units, and the isotropic moduli in Pa."""
        ratio = strain_unit / stress_unit
        self.strain_unit.fill_(strain_unit)
        self.stress_unit.fill_(stress_unit)
        self.two_G.fill_(2 * shear * ratio)
        self.bulk.fill_(bulk * ratio)

    @property
    def compliance(self) -> Tensor:
        """Of elastic strain to stress, (5, 5)."""
        return (torch.eye(5).to(self.anisotropy) + 0.5 * (self.anisotropy + self.anisotropy.T)) / self.two_G

    def layers(self) -> Layers:
        """What `stress` makes of the weights each time that it is not told."""
        t, w, P = self.log_t.exp(), self.log_w.exp(), self.log_P.exp()
        first, second = torch.cat([self.U, -self.B, self.b], 1) / t, torch.cat([self.V, -self.C, -self.c], 1) / w
        layers = Layers(first, second, P, t / w * P, self.log_hardening.exp(), self.power.sigmoid(), P.new_zeros(5, 1))
        return layers._replace(nothing=self._gradient(P.new_zeros(5, 1), P.new_zeros(len(self.flow), 1), layers))

    def _gradient(self, x: Tensor, memory: Tensor, layers: Layers) -> Tensor:
        inputs = torch.cat([x, memory, torch.ones_like(x[:1])])
        y = layers.first @ inputs
        z = torch.addmm(layers.second @ inputs, layers.between, softplus(y))
        q = z.softmax(0)
        return torch.addmm(self.V.T @ q, self.U.T, (layers.P.T @ q) * y.sigmoid())

    def stress(self, trial: Tensor, memory: Tensor, layers: Layers | None = None) -> Tensor:
        """Stress (5, N) of trial strains (5, N) with memory (memories, N): none without strain or memory."""
        layers = layers or self.layers()
        grown = 1 + layers.hardening @ memory
        size = grown**layers.power
        return size * self._shape(trial / size, memory / grown, layers)

    def _shape(self, x: Tensor, memory: Tensor, layers: Layers) -> Tensor:
        """Stress for a yield surface of the first size."""
        if x.is_cpu and x.dtype == torch.float32 and not torch.is_grad_enabled():
            return compiled_law.stress(x, memory, *layers[:4], self.V, self.U)
        return self._gradient(x, memory, layers) - layers.nothing

    def remember(self, memory: Tensor, flow: Tensor) -> Tensor:
        """Memory after an increment of plastic strain (5, N)."""
        return memory + torch.relu(self.flow @ flow)

    def responses(self, strain: Tensor) -> Tensor:
        """Stresses (T, 5, N) of crystals that are strained (T + 1, 5, N) from nothing, in the law's own memory."""
        plastic, memory, stresses = torch.zeros_like(strain[0]), strain.new_zeros(len(self.flow), strain.shape[2]), []
        compliance, layers = self.compliance, self.layers()
        for e in strain[1:]:
            stress = self.stress(e - plastic, memory, layers)
            flown = e - compliance @ stress
            memory, plastic = self.remember(memory, flown - plastic), flown
            stresses.append(stress)
        return torch.stack(stresses)

    def answers(self, strain: Tensor, stress: Tensor) -> Tensor:
        """Stresses (T, 5, N), each from the true history (T + 1, 5, N) before it."""
        plastic = strain - self.compliance @ stress
        flown = torch.relu(self.flow @ plastic.diff(dim=0))
        memory = flown.cumsum(0) - flown
        together = lambda x: x.transpose(0, 1).flatten(1)  # noqa: E731
        answer = self.stress(together(strain[1:] - plastic[:-1]), together(memory))
        return answer.unflatten(1, (len(flown), -1)).transpose(0, 1)

    def start(self, strain: Tensor, stress: Tensor, steps: int, generator: torch.Generator) -> None:
        """Regression with the true history at hand, on crystals (N, T + 1, 5) in the law's units: where the training begins.

        Each increment is then an example of its own, and the law knows two digits after a minute; left to itself it drifts
        from where it should be, which the training corrects.
        """
        optimizer = torch.optim.Adam(self.parameters(), START_RATE, fused=True)
        decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, START_RATE, total_steps=steps + 1, pct_start=0.1)
        for _ in range(steps):
            rows = torch.randint(len(strain), (START_CRYSTALS,), generator=generator).to(strain.device)
            e, s = strain[rows].permute(1, 2, 0), stress[rows].permute(1, 2, 0)
            optimizer.zero_grad()
            self.errors(self.answers(e, s), s[1:])["loss"].backward()
            nn.utils.clip_grad_norm_(self.parameters(), 1.0)
            optimizer.step()
            decay.step()

    def losses(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """``loss`` of the law left to itself; `batch` holds ``strain`` and ``stress`` (N, T + 1, 5) in the law's units."""
        with torch.autocast(batch["strain"].device.type, enabled=False):  # bfloat16 knows two digits
            strain, stress = (batch[name].permute(1, 2, 0) for name in ("strain", "stress"))
            return self.errors(self.responses(strain), stress[1:])

    @staticmethod
    def errors(answer: Tensor, stress: Tensor) -> dict[str, Tensor]:
        """``loss``, and the mean ``error`` of stresses (T, 5, N) over the mean stress."""
        square, size = (answer - stress).square().sum(1), stress.square().sum(1)
        relative = ((square + 1e-6) / (size + SMALL**2)).sqrt().mean()
        error = square.detach().sqrt().mean() / size.sqrt().mean()
        return {"loss": relative + 0.5 * square.mean(), "error": error}


class CrystalEnsemble(nn.Module):
    """A few laws of one crystal, from other first weights: where they differ, they do not know."""

    def __init__(self, members: int, units: int, planes: int, memories: int):
        super().__init__()
        self.laws = nn.ModuleList(CrystalLaw(units, planes, memories) for _ in range(members))

    def scale(self, strain_unit: float, stress_unit: float, shear: float, bulk: float) -> None:
        """Units and moduli of all members; see `CrystalLaw.scale`."""
        for law in self.laws:
            law.scale(strain_unit, stress_unit, shear, bulk)

    def member(self, number: int) -> CrystalEnsemble:
        """Ensemble of a single member, which is the same and no copy."""
        alone = CrystalEnsemble(0, 1, 1, 1)
        alone.laws.append(self.laws[number])
        return alone

    def start(self, strain: Tensor, stress: Tensor, steps: int, generator: torch.Generator) -> None:
        """See `CrystalLaw.start`; each member draws its own crystals."""
        for law in self.laws:
            law.start(strain, stress, steps, generator)

    def losses(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Means over the members of what `CrystalLaw.losses` returns."""
        parts = [law.losses(batch, generator) for law in self.laws]
        return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
