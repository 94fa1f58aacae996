"""Crystal plasticity of periodic volume elements, many at a time, by a spectral Newton-Krylov method.

Mechanical equilibrium: div P(F) = 0 for F = mean(F) + grad u, with P from the material's law at every voxel (see
`phenopowerlaw`) and mixed conditions on the means of F and P. Each Newton step solves the linearised cell with the
law's consistent tangent by conjugate gradients, an isotropic medium's Green operator as preconditioner (Zeman et al.,
J. Comput. Phys. 229 (2010) 8065-8071; Lucarini & Segurado, Comput. Mech. 63 (2019) 365-382).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from math import isnan, sqrt

import torch
from torch import Tensor

from microprint.mechanics.anderson import Anderson
from microprint.mechanics.elasticity import isotropic_part
from microprint.mechanics.load import LoadStep
from microprint.mechanics.phenopowerlaw import TANGENT_DTYPE, Law
from microprint.mechanics.spectral import PeriodicCell, conjugate_gradients
from microprint.mechanics.tensors import VOIGT_PAIRS, mandel_rotation, quadratic


@dataclass(frozen=True)
class Numerics:
    """Tolerances and limits of the solver.

    Attributes
    ----------
    equilibrium : rms of the stress that is out of balance, relative to the rms of the stress.
    boundary : deviation of a prescribed mean stress, relative likewise.
    newton_iterations : evaluations of the law in one increment, after which it is cut back.
    cutbacks : how often an increment may be halved.
    forcing, linear_iterations : relative tolerance and limit of conjugate gradients.
    """

    equilibrium: float = 2e-4
    boundary: float = 1e-4
    newton_iterations: int = 300
    cutbacks: int = 4
    forcing: float = 0.05
    linear_iterations: int = 60


@dataclass
class State:
    """Converged state of B volume elements of V voxels; every attribute has B as its last axis but one, or last.

    Attributes
    ----------
    u : displacement's spectrum (3, B, K).   F_mean : (3, 3, B, 1).
    F_p_inverse : (3, 3, B, V).   S : (6, B, V) Mandel, crystal axes.   xi, gamma : (systems, B, V).
    """

    u: Tensor
    F_mean: Tensor
    F_p_inverse: Tensor
    S: Tensor
    xi: Tensor
    gamma: Tensor

    def select(self, index: Tensor) -> State:
        """Some of the volume elements."""
        if len(index) == self.S.shape[-2]:
            return self
        return State(**{name: value.index_select(-2, index) for name, value in vars(self).items()})

    def store(self, index: Tensor, part: State) -> None:
        """Overwrite some of the volume elements; tensors that others may hold stay as they are."""
        whole = len(index) == self.S.shape[-2]
        for name, value in vars(self).items():
            new = getattr(part, name)
            setattr(self, name, new if whole else value.index_copy(-2, index, new))

    def where(self, choose: Tensor, other: State) -> State:
        """This state where `choose` (B, 1), the other elsewhere."""
        if choose.all():
            return self
        return State(**{name: torch.where(choose, value, getattr(other, name)) for name, value in vars(self).items()})


@dataclass
class Statistics:
    """Work done: evaluations of the law, iterations of conjugate gradients, cutbacks; one number a volume element."""

    evaluations: Tensor
    linear: Tensor
    cutbacks: Tensor


class Solver:
    """Marches volume elements of one shape and material through a load path.

    Parameters
    ----------
    cell : the periodic grid.
    law : the material's law.
    orientation : crystal-from-sample rotation of every voxel (3, 3, B, V).
    """

    def __init__(self, cell: PeriodicCell, law: Law, orientation: Tensor, numerics: Numerics):
        self.cell, self.law, self.numerics = cell, law, numerics
        self.linear_cell = cell.to(TANGENT_DTYPE)
        batch, voxels = orientation.shape[2:]
        self.state = self._undeformed(orientation)
        self.history: list[State] = []
        count = torch.zeros(batch, dtype=torch.int64)
        self.statistics = Statistics(count.clone(), count.clone(), count.clone())
        self.reason = [""] * batch

    def _undeformed(self, orientation: Tensor) -> State:
        batch, voxels = orientation.shape[2:]
        new = orientation.new_zeros
        xi, gamma = (x.unflatten(-1, (batch, voxels)) for x in self.law.initial(batch * voxels))
        identity = torch.eye(3, dtype=orientation.dtype, device=orientation.device)[:, :, None, None]
        return State(
            new(3, batch, self.cell.frequencies),
            identity.repeat(1, 1, batch, 1),
            orientation.transpose(0, 1).contiguous(),
            new(6, batch, voxels),
            xi,
            gamma,
        )

    def run(self, load: Sequence[LoadStep], record: Callable[[State, float], None]) -> None:
        """Apply a load path; `record(state, time)` is called at its start and after every increment."""
        time = 0.0
        start = self.state.F_mean.new_zeros(3, 3)
        record(self.state, time)
        for step in load:
            self.history = []
            target = torch.tensor([[0.0 if isnan(x) else x for x in row] for row in step.P]).to(start)
            for increment in range(step.N):
                ends = [torch.lerp(start, target, (increment + i) / step.N) for i in (0, 1)]
                dt = step.t / step.N
                self._increment(Boundary(step, ends[0], ends[1], self.state.F_mean.clone()), dt)
                time += dt
                record(self.state, time)
            start = target

    def _increment(self, boundary: Boundary, dt: float) -> None:
        running = torch.tensor(
            [i for i, reason in enumerate(self.reason) if not reason], device=self.state.u.device, dtype=torch.int64
        )
        if len(running) == 0:
            return
        before, guess = replace(self.state), self._extrapolated()
        failed = self._advance(running, guess, boundary, dt)
        if failed and guess is not None:  # it may have led astray, at the knee of the curve say
            failed = self._advance(torch.tensor(list(failed)).to(running), None, boundary, dt)
        self._cut_back(failed, boundary, dt, depth=1)
        self.history = [before, *self.history[:1]]

    def _extrapolated(self) -> State | None:
        """Guess of the next state, on a line or a parabola through the last ones; they lie equal times apart."""
        if not self.history:
            return None
        now, last, names = self.state, self.history[0], ("u", "F_mean", "S", "xi")
        guess = {name: torch.lerp(getattr(last, name), getattr(now, name), 2.0) for name in names}
        for before in self.history[1:]:
            for name in names:
                guess[name] += getattr(now, name) - 2.0 * getattr(last, name) + getattr(before, name)
        return replace(now, **guess)

    def _cut_back(self, failed: dict[int, str], boundary: Boundary, dt: float, depth: int) -> None:
        """Repeat a step that some volume elements failed, in two halves, each of which may be halved again."""
        if not failed:
            return
        if depth > self.numerics.cutbacks:
            for element, reason in failed.items():
                self.reason[element] = f"{reason} after {self.numerics.cutbacks} cutbacks"
            return
        self.statistics.cutbacks[list(failed)] += 1
        for half in boundary.halves():
            alive = torch.tensor([i for i in failed if not self.reason[i]], device=self.state.u.device, dtype=torch.int64)
            if len(alive) == 0:
                return
            self._cut_back(self._advance(alive, None, half, dt / 2), half, dt / 2, depth + 1)

    def _advance(self, elements: Tensor, guess: State | None, boundary: Boundary, dt: float) -> dict[int, str]:
        """One step of some volume elements; stores those that converge, returns the others with the reason."""
        old = self.state.select(elements)
        new = boundary.apply(old if guess is None else guess.select(elements), old, elements)
        step = _Step(self, old, new, boundary, dt, extrapolated=guess is not None)
        reasons = {}
        for iteration in range(self.numerics.newton_iterations):
            verdict = step.evaluate()
            self.statistics.evaluations[elements.cpu()] += 1
            finished = verdict != RUNNING
            if finished.any():
                done = (verdict == CONVERGED).nonzero()[:, 0]
                self.state.store(elements[done], step.new.select(done))
                reasons |= {int(elements[i]): "the law did not converge" for i in (verdict == FAILED).nonzero()[:, 0]}
                rest = (~finished).nonzero()[:, 0]
                elements = elements[rest]
                step = step.select(rest)
            if len(elements) == 0:
                break
            if iteration + 1 < self.numerics.newton_iterations:
                self.statistics.linear[elements.cpu()] += step.correct().cpu()
        return reasons | {int(i): "equilibrium was not reached" for i in elements}


RUNNING, CONVERGED, FAILED = 0, 1, 2
# Strong latent hardening (Cu) gives a time step several solutions. An accelerated fixed-point iteration with the elastic
# stiffness finds the one next to the elastic prediction, DAMASK's; Newton's method takes over where the error, relative
# to the stress, is below this, and gives back after so many steps in vain.
NEAR, PATIENCE = 0.03, 3


@dataclass(frozen=True)
class Boundary:
    """Conditions of one time step: mean stress at its ends (3, 3), rates and the mean F at its beginning (3, 3, B, 1)."""

    step: LoadStep
    P_begin: Tensor
    P_end: Tensor
    F_begin: Tensor
    fraction: tuple[float, float] = (0.0, 1.0)

    def halves(self) -> tuple[Boundary, Boundary]:
        begin, end = self.fraction
        middle = 0.5 * (begin + end)
        return replace(self, fraction=(begin, middle)), replace(self, fraction=(middle, end))

    @property
    def free(self) -> list[list[bool]]:
        """Components (3, 3) of the mean F that the stress condition decides."""
        return self.step.stress_prescribed

    @property
    def P(self) -> Tensor:
        """Mean stress (3, 3) at the end."""
        return torch.lerp(self.P_begin, self.P_end, self.fraction[1])

    def apply(self, guess: State, old: State, elements: Tensor) -> State:
        """The guess, with the prescribed components of the mean F set to their values at the end."""
        F = guess.F_mean.clone()
        begin = self.F_begin.index_select(-2, elements)
        dt = self.step.t / self.step.N * self.fraction[1]
        for i in range(3):
            for j in range(3):
                if not self.free[i][j]:
                    F[i, j] = begin[i, j] + dt * self.step.dot_F[i][j]
        return replace(guess, F_mean=F)


class _Step:
    """Iterations of one time step for a shrinking set of volume elements.

    Elements with an extrapolated guess start with Newton's method, others with Anderson's. A Newton step that made an
    element worse is halved from where the element stood before, a few times; Anderson's are taken as they are.
    """

    def __init__(self, solver: Solver, old: State, new: State, boundary: Boundary, dt: float, extrapolated: bool):
        self.solver, self.old, self.new, self.boundary, self.dt = solver, old, new, boundary, dt
        self.cell, self.law, self.numerics = solver.cell, solver.law, solver.numerics
        self.accepted, self.error = new, torch.full_like(old.F_mean[0, 0, :, 0], torch.inf)
        self.newton = torch.full_like(self.error, extrapolated, dtype=torch.bool)
        self.near, self.rejected = torch.full_like(self.error, NEAR), torch.zeros_like(self.error)
        self.coupled = torch.zeros_like(old.S[0], dtype=torch.bool)
        self.expected = torch.zeros_like(old.S, dtype=TANGENT_DTYPE)
        # Free components in Mandel's order; a free shear of F moves sqrt(1/2) of Mandel's shear strain.
        free = [boundary.free[i][j] or boundary.free[j][i] for i, j in VOIGT_PAIRS]
        self.free = torch.tensor(free, dtype=torch.float64, device=old.u.device)[:, None]
        # A step is one vector (3, B, K + 2): the spectrum of u, then the mean strain (see `_pack`).
        self.step = new.u.new_zeros(3, len(self.error), self.cell.frequencies + 2)
        size = torch.cat([self.cell.t2[0] * self.cell.weight, self.cell.weight.new_ones(2)])
        self.anderson = Anderson(lambda a, b: (a * b * size).sum((0, 2)))

    def select(self, index: Tensor) -> _Step:
        """The same iteration for some of the elements."""
        part = copy(self)
        for name in ("old", "new", "accepted", "anderson"):
            setattr(part, name, getattr(self, name).select(index))
        for name in ("error", "newton", "near", "rejected", "fallen", "better"):
            setattr(part, name, getattr(self, name)[index])
        for name in ("step", "force", "coupled", "expected", "tangent"):
            setattr(part, name, getattr(self, name).index_select(-2, index))
        part.gap = self.gap[:, index]
        return part

    def evaluate(self) -> Tensor:
        """Law and residual at the present guess; verdict of each element (B,)."""
        new, old, batch = self.new, self.old, self.old.S.shape[-2:]
        F = new.F_mean + self.cell.gradient(new.u)
        # Far from the solution, the resistances' guess is the step's beginning: that too keeps to the solution next to it.
        close = self.newton[:, None]
        guess = new.xi if close.all() else torch.where(close, new.xi, old.xi)
        flat = (x.flatten(-2) for x in (F, old.F_p_inverse, old.xi, old.gamma))
        coupled, expected = (self.coupled & close).flatten(), self.expected.flatten(-2)
        answer = self.law.respond(*flat, self.dt, new.S.flatten(-2), guess.flatten(-2), coupled, expected)
        grid = {name: value.unflatten(-1, batch) for name, value in vars(answer).items()}
        self.coupled, self.tangent = grid["coupled"], grid["tangent"]
        self.new = State(new.u, new.F_mean, grid["F_p_inverse"], grid["stress"], grid["xi"], grid["gamma"])
        return self._judge(grid["P"], grid["converged"].all(-1))

    def _judge(self, P: Tensor, lawful: Tensor) -> Tensor:
        free = self.boundary.free
        size = P.square().sum((0, 1)).mean(-1).sqrt()
        self.force = self.cell.divergence(P)
        short = self.boundary.P[:, :, None] - P.mean(-1)
        zero = torch.zeros_like(size)
        self.gap = torch.stack(
            [
                sum((short[a, b] for a, b in {(i, j), (j, i)} if free[a][b]), zero) * (1.0 if i == j else sqrt(0.5))
                for i, j in VOIGT_PAIRS
            ]
        )
        imbalance, gap = self.cell.projected_rms(self.force), self.gap.square().sum(0).sqrt()
        error = (imbalance.square() + gap.square()).sqrt()
        self.better = lawful & (~self.newton | (error < self.error))
        self.error = torch.where(self.better, error, self.error)
        self._choose(error / size)
        balanced = (imbalance <= self.numerics.equilibrium * size) & (gap <= self.numerics.boundary * size) & lawful
        return torch.where(balanced, CONVERGED, torch.where(torch.isinf(self.error), FAILED, RUNNING))

    def _choose(self, error: Tensor) -> None:
        """Newton's or Anderson's method for each element, at an error relative to the stress (B,)."""
        self.rejected = torch.where(self.better, 0.0, self.rejected + 1)
        vain = self.newton & (self.rejected >= PATIENCE)
        self.near = torch.where(vain, 0.3 * self.near, self.near)
        self.fallen = vain
        self.newton = (self.newton & ~vain) | (~self.newton & self.better & (error < self.near))

    def correct(self) -> Tensor:
        """Next guess; returns the linear solver's iterations (B,)."""
        x, used = self._linearised()
        self._expect(x)
        if not self.newton.all():
            x = torch.where(self.newton[:, None], x, self.anderson.step(x, self.step, self.better & ~self.newton))
        # Elements that Newton's method left in the lurch stand still once, for a residual where they stood before.
        repeat = torch.where(self.fallen[:, None], 0.0, 0.5 * self.step)
        self.accepted = self.new.where(self.better[:, None], self.accepted)
        self.step = torch.where(self.better[:, None], x, repeat)
        u, F = self.step[..., : self.cell.frequencies], self._mean_F(_unpack(self.step[..., self.cell.frequencies :]))
        self.new = replace(self.accepted, u=self.accepted.u + u, F_mean=self.accepted.F_mean + F)
        return used

    def _expect(self, x: Tensor) -> None:
        """Change of S, in sample axes, that a Newton step promises: it saves the law an iteration."""
        strain = self.solver.linear_cell.strain(x[..., : self.cell.frequencies].to(TANGENT_DTYPE))
        strain += (_unpack(x[..., self.cell.frequencies :]) * self.free).to(TANGENT_DTYPE)[..., None]
        promised = torch.where(self.newton[:, None], (self.tangent * strain).sum(1), 0.0)
        self.expected = torch.where(self.better[:, None], promised, torch.where(self.fallen[:, None], 0.0, 0.5 * self.expected))

    def _linearised(self) -> tuple[Tensor, Tensor]:
        """Solution of the linearised cell (3, B, K + 2) and the iterations that it took (B,)."""
        cell, tangent, dtype = self.solver.linear_cell, self._search_tangent(), TANGENT_DTYPE
        bulk, shear = isotropic_part(tangent.mean(-1))
        frequencies, free = cell.frequencies, self.free.to(dtype)
        reference = _isotropic_inverse(bulk, shear, self.free[:, 0].bool())

        def operator(x: Tensor) -> Tensor:
            strain = cell.strain(x[..., :frequencies])
            strain += (_unpack(x[..., frequencies:]) * free)[..., None]
            stress = (tangent * strain).sum(1)
            force, mean = cell.strain_adjoint(stress)
            return torch.cat([force, _pack(mean * free)], -1)

        def precondition(r: Tensor) -> Tensor:
            mean = (reference * _unpack(r[..., frequencies:])).sum(1)
            return torch.cat([cell.green(r[..., :frequencies], bulk, shear), _pack(mean)], -1)

        weight = torch.cat([cell.weight, cell.weight.new_ones(2)])
        size = self.force.abs().amax((0, 2)).clamp(min=1.0)
        rhs = torch.cat([-self.force / size[:, None], _pack(self.gap / size)], -1).to(dtype)
        x, used = conjugate_gradients(
            operator,
            precondition,
            rhs,
            lambda a, b: (a * b * weight).sum((0, 2)),
            self.numerics.forcing,
            self.numerics.linear_iterations,
        )
        return x.to(self.force.dtype) * size[:, None], used.to(torch.int64)

    def _search_tangent(self) -> Tensor:
        """Consistent tangent for Newton's method, elastic stiffness for Anderson's (6, 6, B, V)."""
        if self.newton.all():
            return self.tangent
        turn = mandel_rotation(self.old.F_p_inverse.to(TANGENT_DTYPE))
        elastic = quadratic(turn, self.law.stiffness.to(TANGENT_DTYPE)[:, :, None, None])
        return torch.where(self.newton[:, None], self.tangent, elastic)

    def _mean_F(self, strain: Tensor) -> Tensor:
        """Change of the mean F (3, 3, B, 1) for a mean strain (6, B) of the free components."""
        F = torch.zeros_like(self.new.F_mean)
        for k, (i, j) in enumerate(VOIGT_PAIRS):
            for a, b in {(i, j), (j, i)}:
                if self.boundary.free[a][b]:
                    F[a, b, :, 0] = strain[k] * (1.0 if i == j else sqrt(2.0))
        return F


def _pack(vector: Tensor) -> Tensor:
    """Six components (6, B) as two entries of three rows (3, B, 2), to travel with the spectrum."""
    return vector.unflatten(0, (3, 2)).transpose(1, 2)


def _unpack(packed: Tensor) -> Tensor:
    return packed.transpose(1, 2).flatten(0, 1)


def _isotropic_inverse(bulk: Tensor, shear: Tensor, free: Tensor) -> Tensor:
    """Inverse (6, 6, B) of isotropic Mandel matrices on the free components, nil elsewhere."""
    index = free.nonzero()[:, 0]
    matrix = 2 * shear * torch.eye(6, device=bulk.device, dtype=bulk.dtype)[:, :, None]
    matrix[:3, :3] += bulk - 2 * shear / 3
    result = torch.zeros_like(matrix)
    if len(index):
        block = matrix[index][:, index].permute(2, 0, 1)
        result[index[:, None], index] = torch.linalg.inv(block).permute(1, 2, 0)
    return result
