"""Crystal plasticity of periodic volume elements, many at a time, by a spectral Newton-Krylov method.

Mechanical equilibrium: div P(F) = 0 for F = mean(F) + grad u, with P from the material's law at every voxel (see
`phenopowerlaw`) and mixed conditions on the means of F and P. Each Newton step solves the linearised cell with the
law's consistent tangent by conjugate gradients, an isotropic medium's Green operator as preconditioner (Zeman et al.,
J. Comput. Phys. 229 (2010) 8065-8071; Lucarini & Segurado, Comput. Mech. 63 (2019) 365-382).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, log, prod

import torch
from torch import Tensor

from microprint.mechanics.load import LoadStep
from microprint.mechanics.phenopowerlaw import Law
from microprint.mechanics.spectral import Cell
from microprint.mechanics.state import State
from microprint.mechanics.tensors import from_mandel, product
from microprint.mechanics.time_step import (
    CONVERGED,
    RUNNING,
    STUCK,
    UNLAWFUL,
    Boundary,
    Numerics,
    Problem,
    TimeStep,
    elastic_shear_stress,
)

FAILURES = {UNLAWFUL: "the law did not converge", STUCK: "equilibrium was not reached"}
# Each part of a divided increment ends so many times as far as the one before.
GROWTH = 1.5


@dataclass
class Statistics:
    """Work done, numbers of each volume element: evaluations of the law, iterations of conjugate gradients, cutbacks, and the
    parts of increments beyond the first.
    """

    evaluations: Tensor
    linear: Tensor
    cutbacks: Tensor
    substeps: Tensor


class Solver:
    """Marches volume elements of one shape and material through a load path.

    `orientation` is the crystal-from-sample rotation of every voxel (3, 3, B, V).
    """

    def __init__(self, cell: Cell, law: Law, orientation: Tensor, numerics: Numerics):
        self.cell, self.law, self.numerics = cell, law, numerics
        batch, voxels = orientation.shape[2:]
        u, S = orientation.new_zeros(3, batch, cell.frequencies), orientation.new_zeros(6, batch, voxels)
        F = torch.eye(3).to(orientation)[:, :, None, None].repeat(1, 1, batch, 1)
        xi, gamma = (x.unflatten(-1, (batch, voxels)) for x in law.initial(batch * voxels))
        self.state = State(u, F, orientation.transpose(0, 1).contiguous(), S, xi, gamma)
        self.time, self.history = 0.0, []
        self.statistics = Statistics(*torch.zeros(4, batch, dtype=torch.int64))
        self.reason = [""] * batch

    def run(self, load: Sequence[LoadStep], record: Callable[[State, float], None]) -> None:
        """Apply a load path; `record(state, time)` is called at its start and after every increment."""
        record(self.state, self.time)
        for step in load:
            self.history = []
            for boundary in self._conditions(step):
                self._increment(boundary, step.t / step.N)
                record(self.state, self.time)

    def _conditions(self, step: LoadStep) -> Iterator[Boundary]:
        """Boundary conditions of each increment; what is prescribed moves linearly from where the cell is to the step's end."""
        dot_F, F_last, P_last, dot_P = (
            torch.tensor(x).to(self.state.F_mean)[..., None, None] for x in (step.dot_F, step.F, step.P, step.dot_P)
        )
        P_first = self.stress(self.state)[1].mean(-1, keepdim=True)
        P_last = torch.where(dot_P.isnan(), torch.where(P_last.isnan(), P_first, P_last), P_first + step.t * dot_P)
        for increment in range(step.N):
            P = [torch.lerp(P_first, P_last, (increment + i) / step.N) for i in (0, 1)]
            F = self.state.F_mean.clone()
            F_end = F + step.t / step.N * dot_F.nan_to_num(0.0)
            F_end = torch.where(F_last.isnan(), F_end, F + (F_last - F) / (step.N - increment))
            yield Boundary(step.free, *P, F, F_end)

    def stress(self, state: State) -> tuple[Tensor, Tensor]:
        """F and the first Piola-Kirchhoff stress of every voxel, (3, 3, B, V) each."""
        F = state.F_mean + self.cell.gradient(state.u)
        push = product(product(F, state.F_p_inverse), from_mandel(state.S))
        return F, product(push, state.F_p_inverse.transpose(0, 1))

    def _increment(self, boundary: Boundary, dt: float) -> None:
        """One increment of the load, in parts where a step's first would go far beyond yield."""
        ends = [1.0] if self.history else self._parts(self._overshoot(boundary))
        self.statistics.substeps += len(ends) - 1
        for begin, end in pairwise([0.0, *ends]):
            self._time_step(replace(boundary, fraction=(begin, end)), dt * (end - begin))

    def _parts(self, overshoot: float) -> list[float]:
        """Ends, as fractions, of an increment's parts: the first hardly gets to yield, each next ends `GROWTH` times as far."""
        count = ceil(log(overshoot, GROWTH)) if overshoot > self.numerics.overshoot else 0
        return [GROWTH**-part for part in range(count, -1, -1)]

    def _overshoot(self, boundary: Boundary) -> float:
        """Resolved shear stress that an elastic increment would add, over the least slip resistance."""
        if not self.law.slips:
            return 0.0
        limit = float(self.state.xi[: self.law.slips].mean(-1).amin())
        return elastic_shear_stress(boundary, self.law.stiffness) / limit

    def _time_step(self, boundary: Boundary, dt: float) -> None:
        running = self._alive(range(len(self.reason)))
        if len(running):
            before, guess = replace(self.state), self._extrapolated(dt)
            failed = self._advance(running, guess, boundary, dt)
            if failed and guess is not None:  # it may have led astray, at the knee of the curve say
                failed = self._advance(torch.tensor(list(failed)).to(running), None, boundary, dt)
            self._cut_back(failed, boundary, dt, depth=1)
            equal = self.history and abs(self.time - self.history[0][0] - dt) < 1e-6 * dt
            self.history = [(self.time, before), *(self.history[:1] if equal else [])]
        self.time += dt

    def _alive(self, elements: Iterable[int]) -> Tensor:
        return torch.tensor([i for i in elements if not self.reason[i]], device=self.state.u.device, dtype=torch.int64)

    def _extrapolated(self, dt: float) -> State | None:
        """Guess of the state after the next time step, on a line or a parabola through the last ones."""
        if not self.history:
            return None
        times, states = zip((self.time, self.state), *self.history)
        weights = [prod((self.time + dt - other) / (time - other) for other in times if other != time) for time in times]
        names = ("u", "F_mean", "S", "xi")
        guess = {name: weights[0] * getattr(self.state, name) for name in names}
        for weight, state in zip(weights[1:], states[1:]):
            for name, value in guess.items():
                value.add_(getattr(state, name), alpha=weight)
        return replace(self.state, **guess)

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
            alive = self._alive(failed)
            if len(alive) == 0:
                return
            self._cut_back(self._advance(alive, None, half, dt / 2), half, dt / 2, depth + 1)

    def _advance(self, elements: Tensor, guess: State | None, boundary: Boundary, dt: float) -> dict[int, str]:
        """One step of some volume elements; stores those that converge, returns the others with the reason."""
        old = self.state.select(elements)
        new = boundary.apply(old if guess is None else guess.select(elements), elements)
        problem = Problem(self.cell, self.law, self.numerics, boundary, dt)
        step = TimeStep.begin(problem, old, new, boundary.P(elements))
        reasons = {}
        for iteration in range(1, self.numerics.newton_iterations + 1):
            verdict = step.evaluate()
            finished = verdict != RUNNING
            if finished.any():
                self.statistics.evaluations[elements[finished].cpu()] += iteration
                done = (verdict == CONVERGED).nonzero()[:, 0]
                self.state.store(elements[done], step.new.select(done))
                for failure, reason in FAILURES.items():
                    reasons |= {int(i): reason for i in elements[verdict == failure]}
                running = (~finished).nonzero()[:, 0]
                elements = elements[running]
                if len(elements) == 0:
                    break
                step = step.select(running)
            if iteration < self.numerics.newton_iterations:
                self.statistics.linear[elements.cpu()] += step.correct().cpu()
        self.statistics.evaluations[elements.cpu()] += self.numerics.newton_iterations
        return reasons | {int(i): FAILURES[STUCK] for i in elements}
