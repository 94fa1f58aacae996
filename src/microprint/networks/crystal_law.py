"""A crystal's law, learnt: the directions in which it flows, found from nothing but its strains and stresses.

Backward Euler makes of a rate-dependent crystal a map from the elastic strain that it would have without flow, the trial
strain x, to its stress s: that at which psi*(s) - x . s is least, psi* convex (Ortiz & Stainier, Comput. Methods Appl. Mech.
Eng. 171 (1999) 419-444). For a crystal that flows along K directions P_k (Hutchinson, Proc. R. Soc. A 348 (1976) 101-127)

    psi* = s . S s / 2 + sum_k R xi_k / (n + 1) |t_k|^(n + 1),    t_k = P_k . s / xi_k,
    x = S s + sum_k g_k P_k,    g_k = R |t_k|^n sgn(t_k).

Flow raises the resistances xi, in the same increment, ever less as they near their ceiling (Brown, Kim & Anand, Int. J.
Plast. 5 (1989) 95-130):

    xi = xi' + (1 - (xi' - xi_0) / c)^a sum_l H_kl |g_l|.

This form is put in, and the two moduli of the isotropic medium nearest to the crystal. Directions are random at first; they
and what they turn, the compliance S, xi_0, c, H, n and a are learnt, and how much harder it is to flow backwards, which makes a
twin. No slip system, no symmetry of a lattice and no twin is named. S begins isotropic; that it stays positive is not enforced.

Arrays have their components first, (5, ...): each operation is then one of long vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from microprint.mechanics.turning import GENERATORS
from microprint.networks import compiled_law

RATE = 0.04  # R: what flows in an increment, in units of strain, where a stress is as large as its resistance
RESISTANCE, EXPONENT, HARDENING = 0.4, 6.0, 1.0  # xi_0, n and the sum of a row of H before any training
SHARE, START_RATE = 32, 4e-2  # crystals a step, and the learning rate of the regression that starts a training
MOST, CLOSE = 30, 1e-2  # iterations for a stress; what t may still move where one flows
UNDAMPED = 8  # iterations, from which resistances move by half of what they should
IDLE = 1e-4  # share of all flow below which a direction is not needed
SMALL = 0.1  # share of the mean stress below which errors count no more in proportion to the stress


class Weights(NamedTuple):
    """What the parameters of a law come to, the same for all crystals and increments."""

    P: Tensor  # (K, 5) directions, of any length: a longer one is the same with more flow from less stress
    backwards: Tensor  # (K, 1) resistance to flow against a direction over that along it
    xi_0: Tensor  # (K, 1) resistances of a crystal that has not flowed
    room: Tensor  # (K, 1) c: by how much they may rise
    H: Tensor  # (K, K) hardening, the first index hardens
    S: Tensor  # (5, 5) compliance
    n: Tensor  # of the power law
    a: Tensor  # of the hardening's decline
    turn: Tensor  # (K, 3) rotation vector of the lattice, against the plastic spin, in radians per unit of flow


class Increment(NamedTuple):
    """What N crystals answer to trial strains, all in crystal axes."""

    stress: Tensor  # (5, N)
    resistance: Tensor  # (K, N) of their directions, at the end
    flow: Tensor  # (K, N) along the directions


class CrystalLaw(nn.Module):
    """Deviatoric stress of a crystal from its history of deviatoric strain, both in crystal axes.

    Inside, strains are in units of `strain_unit`, stresses in units of `stress_unit` (Pa); `two_G` and `bulk` are the moduli
    of the isotropic medium nearest to the crystal, in the ratio of the two. Increments take as long as those of the training.

    Parameters
    ----------
    directions : in which a crystal may flow, either way; some more than it has slip and twin systems, so that few are missed.
    """

    def __init__(self, directions: int):
        super().__init__()
        self.P = nn.Parameter(normalize(torch.randn(directions, 5), dim=1))
        self.W = nn.Parameter(torch.zeros(directions, 3))
        self.log_backwards = nn.Parameter(0.1 * torch.randn(directions, 1))
        self.log_xi_0 = nn.Parameter(torch.full((directions, 1), RESISTANCE).log())
        self.log_room = nn.Parameter(torch.full((directions, 1), 2.0))
        self.log_H = nn.Parameter(torch.randn(directions, directions) * 0.1 + torch.tensor(HARDENING / directions).log())
        self.log_n, self.log_a = nn.Parameter(torch.tensor(EXPONENT).log()), nn.Parameter(torch.zeros(()))
        self.anisotropy = nn.Parameter(torch.zeros(5, 5))
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

    def weights(self) -> Weights:
        """What `respond` makes of the parameters each time that it is not told."""
        xi_0 = self.log_xi_0.exp()
        return Weights(
            self.P, self.log_backwards.exp(), xi_0, xi_0 * self.log_room.exp(), self.log_H.exp(), self.compliance,
            self.log_n.exp(), self.log_a.exp(), -self.strain_unit * self.W,
        )  # fmt: skip

    def fresh(self, count: int) -> Increment:
        """Where crystals begin."""
        resistance = self.log_xi_0.exp().expand(-1, count)
        return Increment(resistance.new_zeros(5, count), resistance, torch.zeros_like(resistance))

    def respond(self, trial: Tensor, resistance: Tensor, guess: Increment, weights: Weights | None = None) -> Increment:
        """Answer to trial strains (5, N) of crystals that had resistances (K, N).

        A `guess` nearby saves iterations. Derivatives leave out that the hardening of an increment changes what flows in it.
        """
        w = weights or self.weights()
        with torch.no_grad():
            answer = solved(trial, resistance, guess, w)
        if not torch.is_grad_enabled():
            return answer
        slack = _slack(resistance, w)
        hardened = resistance + slack * (w.H @ answer.flow.abs())
        flow, slope = _flow(answer.stress, hardened, w)
        gap = w.S @ answer.stress + w.P.T @ flow - trial
        # One more of Newton's steps, whose derivative is that of the solution.
        step = -_linear_solution(_jacobian(slope, w).detach(), gap)
        flow = flow + slope * (w.P.detach() @ step)
        return Increment(answer.stress + step, resistance + slack * (w.H @ flow.abs()), flow)

    def responses(self, strain: Tensor, told: Tensor | None = None) -> Tensor:
        """Stresses (T, 5, N) of crystals that are strained (T + 1, 5, N) from nothing, in the axes of their beginning.

        Where the true stresses (T + 1, 5, N) are `told`, each increment begins at the true elastic strain.
        """
        return torch.stack([stress for stress, _ in self._path(strain, told)])

    @torch.no_grad()
    def shares(self, strain: Tensor) -> Tensor:
        """What each direction has (K,) of all flow, of crystals that are strained (T + 1, 5, N)."""
        flow = sum(answer.flow.abs().mean(1) for _, answer in self._path(strain)) * self.P.norm(dim=1)
        return flow / flow.sum()

    def keep(self, directions: Tensor) -> None:
        """Leave out all but some directions, by their numbers."""
        for name in ("P", "W", "log_backwards", "log_xi_0", "log_room"):
            setattr(self, name, nn.Parameter(getattr(self, name).detach()[directions]))
        self.log_H = nn.Parameter(self.log_H.detach()[directions][:, directions])

    def _path(self, strain: Tensor, told: Tensor | None = None) -> Iterator[tuple[Tensor, Increment]]:
        """Stress (5, N) at the end of each increment, in the axes of the beginning, and the crystals' answer in theirs."""
        w, count = self.weights(), strain.shape[2]
        turns = w.turn @ GENERATORS.to(strain).flatten(1)
        rotations = torch.eye(5).to(strain).expand(count, 5, 5)  # few crystals: products of small matrices are quickest
        answer = self.fresh(count)
        for t, change in enumerate(strain.diff(dim=0)):
            before = answer.stress if told is None else _turned(rotations, told[t])
            trial = w.S @ before + _turned(rotations, change)
            answer = self.respond(trial, answer.resistance, answer, w)
            yield _turned(rotations.mT, answer.stress), answer
            spin = (answer.flow.T @ turns).unflatten(1, (5, 5)).mT
            rotations = rotations + spin @ (rotations + 0.5 * spin @ rotations)  # see `mechanics.turning`

    def start(self, strain: Tensor, stress: Tensor, steps: int, generator: torch.Generator) -> None:
        """Regression with the true history at hand, on crystals (N, T + 1, 5) in the law's units: where the training begins.

        Errors then do not add up along a path, and directions find the crystal's own within a minute.
        """
        optimizer = torch.optim.Adam(self.parameters(), START_RATE)
        decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, START_RATE, total_steps=steps + 1, pct_start=0.1)
        for _ in range(steps):
            rows = torch.randint(len(strain), (SHARE,), generator=generator).to(strain.device)
            e, s = strain[rows].permute(1, 2, 0), stress[rows].permute(1, 2, 0)
            optimizer.zero_grad()
            self.errors(self.responses(e, s), s[1:])["loss"].backward()
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


def _turned(rotations: Tensor, deviators: Tensor) -> Tensor:
    """Products of matrices (N, 5, 5) and vectors (5, N)."""
    return (rotations @ deviators.T[..., None])[..., 0].T


def _slack(resistance: Tensor, w: Weights) -> Tensor:
    """How much of their rise (K, N) resistances still have."""
    return (w.a * (1 - (resistance - w.xi_0) / w.room).clamp_min(1e-6).log()).exp()


def _sides(along: Tensor, hardened: Tensor, w: Weights) -> Tensor:
    """Resistances (K, N) to flow along or against each direction, as stresses `along` them have it."""
    return torch.where(along > 0, hardened, w.backwards * hardened)


def _flow(stress: Tensor, hardened: Tensor, w: Weights) -> tuple[Tensor, Tensor]:
    """Flow (K, N) along the directions, and without derivatives its slope by the stress along them."""
    along = w.P @ stress
    ratio = along.abs() / _sides(along, hardened, w)
    flow = RATE * along.sign() * (w.n * ratio.clamp_min(1e-6).log()).exp()
    return flow, (w.n * flow / torch.where(along == 0, 1.0, along)).detach()


def _jacobian(steep: Tensor, w: Weights) -> Tensor:
    """dx / ds (N, 5, 5), of slopes of the flow (K, N)."""
    dyads = (w.P[:, :, None] * w.P[:, None]).flatten(1)
    return w.S + (steep.T @ dyads).unflatten(1, (5, 5))


def _linear_solution(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Solutions (5, N) of systems (N, 5, 5). A singular one is no error here: a field that diverges says so itself."""
    return torch.linalg.solve_ex(matrices, vectors.T)[0].T


def solved(trial: Tensor, resistance: Tensor, guess: Increment, w: Weights) -> Increment:
    """See `CrystalLaw.respond`; without derivatives, and as near as `MOST` iterations come.

    Newton's method goes for the stress and, of each direction, the ratio t at which its power law is linearised. Where |t|
    rises beyond 1 it follows the flow that the linear equation gives, else the stress: either way the law is gentle, and no
    guess is too far. (So are circuits with diodes solved: L. W. Nagel, SPICE2, UCB/ERL-M520, 1975.)
    """
    if trial.is_cpu and trial.dtype == torch.float32:
        return Increment(
            *compiled_law.solved(trial, resistance, guess.stress, guess.resistance, *w[:-1], RATE, MOST, CLOSE, UNDAMPED)
        )
    slack, hardened, along = _slack(resistance, w), guess.resistance, w.P @ guess.stress
    ratio = (along / _sides(along, hardened, w)).clamp(-1, 1)
    for number in range(MOST):
        size, side = ratio.abs(), _sides(ratio, hardened, w)
        slope = w.n * RATE * size.pow(w.n - 1)
        flow = slope * ratio / w.n
        right = trial - w.P.T @ (flow - slope * ratio)
        stress = _linear_solution(_jacobian(slope / side, w), right)
        along = w.P @ stress
        wanted = along / _sides(along, hardened, w)
        linear = (flow + slope * (wanted - ratio)) * wanted.sign()
        least = torch.where(ratio * wanted > 0, size.clamp_min(1), 1.0)
        by_flow = torch.maximum((linear.clamp_min(0) / RATE).pow(1 / w.n), least)
        rising = wanted.abs() > size.clamp_min(1)
        new = torch.where(rising, wanted.sign() * torch.minimum(wanted.abs(), by_flow), wanted)
        moved = ((new - ratio).abs() * (torch.maximum(new.abs(), size) > 0.5)).max()
        ratio = new
        size = RATE * ratio.abs().pow(w.n)
        fresh = resistance + slack * (w.H @ size)
        hardened = fresh if number < UNDAMPED else 0.5 * (fresh + hardened)
        if moved < CLOSE:
            break
    return Increment(stress, hardened, ratio.sign() * size)


class CrystalEnsemble(nn.Module):
    """A few laws of one crystal, from other first weights: where they differ, they do not know."""

    def __init__(self, members: int, directions: int):
        super().__init__()
        self.laws = nn.ModuleList(CrystalLaw(directions) for _ in range(members))

    def scale(self, strain_unit: float, stress_unit: float, shear: float, bulk: float) -> None:
        """Units and moduli of all members; see `CrystalLaw.scale`."""
        for law in self.laws:
            law.scale(strain_unit, stress_unit, shear, bulk)

    def member(self, number: int) -> CrystalEnsemble:
        """Ensemble of a single member, which is the same and no copy."""
        alone = CrystalEnsemble(0, 1)
        alone.laws.append(self.laws[number])
        return alone

    def start(self, strain: Tensor, stress: Tensor, steps: int, generator: torch.Generator) -> None:
        """See `CrystalLaw.start`; each member draws its own crystals."""
        for law in self.laws:
            law.start(strain, stress, steps, generator)

    def prune(self, strain: Tensor) -> int:
        """Leave out directions along which crystals that are strained (N, T + 1, 5) hardly flow; how many are left.

        Each member keeps as many, so that none loses more than `IDLE` of its flow by a direction.
        """
        shares = [law.shares(strain.permute(1, 2, 0)) for law in self.laws]
        count = max(1, *(int((share > IDLE).sum()) for share in shares))
        for law, share in zip(self.laws, shares):
            law.keep(share.topk(count).indices.sort().values)
        return count

    def losses(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Means over the members of what `CrystalLaw.losses` returns."""
        parts = [law.losses(batch, generator) for law in self.laws]
        return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
