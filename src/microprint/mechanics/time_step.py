"""One time step of many volume elements by Newton-Krylov iterations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from microprint.mechanics.elasticity import free_strain, isotropic_part
from microprint.mechanics.phenopowerlaw import TANGENT_DTYPE, Law
from microprint.mechanics.spectral import Cell
from microprint.mechanics.state import Batch, State
from microprint.mechanics.tensors import VOIGT_PAIRS, from_mandel, mandel

RUNNING, CONVERGED, UNLAWFUL, STUCK = range(4)
# Newton steps that may be halved in a row.
PATIENCE = 8
# Errors are relative to the stress, but to no stress below this share of the stiffness: a cell at rest has none.
NO_STRESS = 1e-7


@dataclass(frozen=True)
class Numerics:
    """Tolerances and limits of the solver."""

    equilibrium: float = 2e-4  # rms of the stress that is out of balance, relative to the rms of the stress
    boundary: float = 1e-4  # deviation of a prescribed mean stress, relative likewise
    newton_iterations: int = 300  # evaluations of the law in one increment, after which it is cut back
    cutbacks: int = 4  # how often an increment may be halved
    overshoot: float = 4.0  # elastic shear stress of a first increment over the slip resistance, beyond which it is divided
    forcing: float = 0.05  # relative tolerance of conjugate gradients
    linear_iterations: int = 60  # of conjugate gradients


class Freedom(NamedTuple):
    """What free components of the mean F mean for strains in Mandel's order; F's components go row by row."""

    strains: Tensor  # one for the free ones, else nil (6, 1); a shear is where one of its two is
    moves: Tensor  # what a strain makes of the components of F (9, 6): a free shear moves sqrt(1/2) of Mandel's shear strain
    pulls: Tensor  # what stresses of these components add up to (6, 9)

    @classmethod
    @cache
    def of(cls, free: tuple[tuple[bool, ...], ...], device: torch.device) -> Freedom:
        moves = torch.zeros(3, 3, 6, dtype=torch.float64)
        for k, (i, j) in enumerate(VOIGT_PAIRS):
            for a, b in ((i, j), (j, i)):
                moves[a, b, k] = (1.0 if i == j else sqrt(2.0)) * free[a][b]
        moves = moves.flatten(0, 1).to(device)
        return cls((moves > 0).any(0)[:, None].double(), moves, torch.where(moves > 0, 1 / moves, 0.0).T.contiguous())


@dataclass(frozen=True)
class Boundary:
    """Conditions of one increment, or of a fraction of it: mean P and F at the increment's ends, each (3, 3, B, 1).

    `free` (3, 3) are the components of F that the condition on P decides; of P, those alone mean anything.
    """

    free: list[list[bool]]
    P_begin: Tensor
    P_end: Tensor
    F_begin: Tensor
    F_end: Tensor
    fraction: tuple[float, float] = (0.0, 1.0)

    def halves(self) -> tuple[Boundary, Boundary]:
        begin, end = self.fraction
        middle = 0.5 * (begin + end)
        return replace(self, fraction=(begin, middle)), replace(self, fraction=(middle, end))

    def P(self, elements: Tensor) -> Tensor:
        """Mean stress (3, 3, n, 1) of some volume elements at the end."""
        return torch.lerp(self.P_begin, self.P_end, self.fraction[1]).index_select(-2, elements)

    def freedom(self, device: torch.device) -> Freedom:
        return Freedom.of(tuple(map(tuple, self.free)), device)

    def apply(self, guess: State, elements: Tensor) -> State:
        """The guess, with the prescribed components of the mean F set to their values at the end."""
        end = torch.lerp(self.F_begin, self.F_end, self.fraction[1]).index_select(-2, elements)
        free = torch.tensor(self.free, device=end.device)[:, :, None, None]
        return replace(guess, F_mean=torch.where(free, guess.F_mean, end))


def elastic_shear_stress(boundary: Boundary, stiffness: Tensor) -> float:
    """Largest resolved shear stress (Pa) that the change between the ends of `boundary` makes in an isotropic elastic cell."""
    bulk, shear = isotropic_part(stiffness[:, :, None])
    free = boundary.freedom(stiffness.device).strains
    strain = mandel((boundary.F_end - boundary.F_begin)[..., 0]) * (1 - free)
    stress = mandel((boundary.P_end - boundary.P_begin)[..., 0])
    stress[:3] -= (bulk - 2 * shear / 3) * strain[:3].sum(0)
    strain += free_strain(stress, bulk, shear, free)
    principal = torch.linalg.eigvalsh(from_mandel(strain).permute(2, 0, 1))
    return float(shear * (principal[:, 2] - principal[:, 0]).amax())


@dataclass(frozen=True)
class Problem:
    """What a time step of all elements has in common."""

    cell: Cell
    law: Law
    numerics: Numerics
    boundary: Boundary
    dt: float

    @cached_property
    def freedom(self) -> Freedom:
        return self.boundary.freedom(self.cell.device)

    @cached_property
    def no_stress(self) -> float:
        return NO_STRESS * float(self.law.stiffness.amax())


@dataclass
class TimeStep(Batch):
    """Newton's iterations of one time step for a shrinking set of volume elements.

    A step that made an element worse is halved from where the element stood before, a few times.
    """

    problem: Problem
    old: State  # at the step's beginning
    new: State  # at the present guess
    P_end: Tensor  # mean stress (3, 3, B, 1) to reach, where it is prescribed
    accepted: State  # where the iteration stood before
    error: Tensor  # least error met (B, 1)
    rejected: Tensor  # steps rejected in a row (B, 1)
    expected: Tensor  # change of S (6, B, V) that the last step promised
    tangent: Tensor  # (6, 6, B, V)
    force: Tensor  # divergence of P (3, B, K)
    gap: Tensor  # of the mean stress (6, B, 1)
    step_u: Tensor  # the last step, of u
    step_mean: Tensor  # and of the mean strain (6, B, 1)

    @classmethod
    def begin(cls, problem: Problem, old: State, new: State, P_end: Tensor) -> TimeStep:
        """The iteration before its first evaluation, at the guess `new`."""
        each = torch.zeros_like(old.F_mean[0, 0])
        return cls(
            problem, old, new, P_end, accepted=new, error=torch.full_like(each, torch.inf), rejected=each,
            expected=torch.zeros_like(old.S, dtype=TANGENT_DTYPE),
            tangent=old.S.new_zeros(1, 1, *old.S.shape[1:], dtype=TANGENT_DTYPE), force=torch.zeros_like(new.u),
            gap=each.expand(6, -1, -1), step_u=torch.zeros_like(new.u), step_mean=each.expand(6, -1, -1),
        )  # fmt: skip

    def evaluate(self) -> Tensor:
        """Law and residual at the present guess; verdict of each element (B,)."""
        new, old, batch = self.new, self.old, self.old.S.shape[-2:]
        F = new.F_mean + self.problem.cell.gradient(new.u)
        flat = (x.flatten(-2) for x in (F, old.F_p_inverse, old.xi, old.gamma))
        guess = (x.flatten(-2) for x in (new.S, new.xi, self.expected))
        answer = self.problem.law.respond(*flat, self.problem.dt, *guess)
        grid = {name: value.unflatten(-1, batch) for name, value in vars(answer).items()}
        self.tangent = grid["tangent"]
        self.new = State(new.u, new.F_mean, grid["F_p_inverse"], grid["stress"], grid["xi"], grid["gamma"])
        return self._judge(grid["P"], grid["converged"].all(-1, keepdim=True))[:, 0]

    def _judge(self, P: Tensor, lawful: Tensor) -> Tensor:
        cell, numerics = self.problem.cell, self.problem.numerics
        rms = torch.linalg.vector_norm(P, dim=(0, 1, 3))[:, None] / sqrt(P.shape[-1])
        size = rms.clamp(min=self.problem.no_stress)
        self.force = cell.divergence(P)
        short = self.P_end - P.mean(-1, keepdim=True)
        self.gap = (self.problem.freedom.pulls @ short.flatten(0, 1)[..., 0])[..., None]
        imbalance, gap = cell.projected_rms(self.force)[:, None], torch.linalg.vector_norm(self.gap, dim=0)
        error = torch.hypot(imbalance, gap)
        better = lawful & (error < self.error)
        self.error = torch.where(better, error, self.error)
        self.rejected = torch.where(better, 0.0, self.rejected + 1)
        balanced = (imbalance < numerics.equilibrium * size) & (gap < numerics.boundary * size) & lawful
        verdict = torch.full_like(lawful, RUNNING, dtype=torch.int64).masked_fill_(self.rejected > PATIENCE, STUCK)
        return verdict.masked_fill_(self.error.isinf(), UNLAWFUL).masked_fill_(balanced, CONVERGED)

    def correct(self) -> Tensor:
        """Next guess; returns the linear solver's iterations (B,)."""
        better = self.rejected == 0
        u, mean, used, change = self._linearised()
        accepted, mean = self.new, mean[:, :, None]
        if not better.all():
            accepted, change = accepted.where(better, self.accepted), torch.where(better, change, 0.5 * self.expected)
            u, mean = torch.where(better, u, 0.5 * self.step_u), torch.where(better, mean, 0.5 * self.step_mean)
        self.accepted, self.expected, self.step_u, self.step_mean = accepted, change, u, mean
        F = (self.problem.freedom.moves @ self.step_mean[..., 0]).unflatten(0, (3, 3))[..., None]
        self.new = replace(self.accepted, u=self.accepted.u + self.step_u, F_mean=self.accepted.F_mean + F)
        return used.to(torch.int64)

    def _linearised(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Solution of the linearised cell, see `PeriodicCell.equilibrate`."""
        moduli, numerics = isotropic_part(self.tangent.mean(-1)), self.problem.numerics
        conditions = moduli, self.problem.freedom.strains, numerics.forcing, numerics.linear_iterations
        return self.problem.cell.equilibrate(self.tangent, self.force, self.gap[..., 0], *conditions)
