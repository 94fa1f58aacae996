"""Crystal plasticity of periodic volume elements, many at a time, by a spectral Newton-Krylov method.

Mechanical equilibrium: div P(F) = 0 for F = mean(F) + grad u, with P from the material's law at every voxel (see
`phenopowerlaw`) and mixed conditions on the means of F and P. Each Newton step solves the linearised cell with the
law's consistent tangent by conjugate gradients, an isotropic medium's Green operator as preconditioner (Zeman et al.,
J. Comput. Phys. 229 (2010) 8065-8071; Lucarini & Segurado, Comput. Mech. 63 (2019) 365-382).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from microprint.mechanics.load import LoadStep
from microprint.mechanics.phenopowerlaw import TANGENT_DTYPE, Law
from microprint.mechanics.spectral import PeriodicCell
from microprint.mechanics.state import State
from microprint.mechanics.tensors import from_mandel, product
from microprint.mechanics.time_step import CONVERGED, FAILED, RUNNING, Boundary, Numerics, Problem, TimeStep


@dataclass
class Statistics:
    """Work done: evaluations of the law, iterations of conjugate gradients, cutbacks; one number a volume element."""

    evaluations: Tensor
    linear: Tensor
    cutbacks: Tensor


class Solver:
    """Marches volume elements of one shape and material through a load path.

    `orientation` is the crystal-from-sample rotation of every voxel (3, 3, B, V).
    """

    def __init__(self, cell: PeriodicCell, law: Law, orientation: Tensor, numerics: Numerics):
        self.cell, self.law, self.numerics = cell, law, numerics
        self.linear_cell = cell.to(TANGENT_DTYPE)
        batch, voxels = orientation.shape[2:]
        u, S = orientation.new_zeros(3, batch, cell.frequencies), orientation.new_zeros(6, batch, voxels)
        F = torch.eye(3).to(orientation)[:, :, None, None].repeat(1, 1, batch, 1)
        xi, gamma = (x.unflatten(-1, (batch, voxels)) for x in law.initial(batch * voxels))
        self.state = State(u, F, orientation.transpose(0, 1).contiguous(), S, xi, gamma)
        self.history: list[State] = []
        self.statistics = Statistics(*torch.zeros(3, batch, dtype=torch.int64))
        self.reason = [""] * batch

    def run(self, load: Sequence[LoadStep], record: Callable[[State, float], None]) -> None:
        """Apply a load path; `record(state, time)` is called at its start and after every increment."""
        time = 0.0
        record(self.state, time)
        for step in load:
            self.history = []
            for boundary in self._conditions(step):
                self._increment(boundary, step.t / step.N)
                time += step.t / step.N
                record(self.state, time)

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
        running = self._alive(range(len(self.reason)))
        if len(running) == 0:
            return
        before, guess = replace(self.state), self._extrapolated()
        failed = self._advance(running, guess, boundary, dt)
        if failed and guess is not None:  # it may have led astray, at the knee of the curve say
            failed = self._advance(torch.tensor(list(failed)).to(running), None, boundary, dt)
        self._cut_back(failed, boundary, dt, depth=1)
        self.history = [before, *self.history[:1]]

    def _alive(self, elements: Iterable[int]) -> Tensor:
        return torch.tensor([i for i in elements if not self.reason[i]], device=self.state.u.device, dtype=torch.int64)

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
            alive = self._alive(failed)
            if len(alive) == 0:
                return
            self._cut_back(self._advance(alive, None, half, dt / 2), half, dt / 2, depth + 1)

    def _advance(self, elements: Tensor, guess: State | None, boundary: Boundary, dt: float) -> dict[int, str]:
        """One step of some volume elements; stores those that converge, returns the others with the reason."""
        old = self.state.select(elements)
        new = boundary.apply(old if guess is None else guess.select(elements), elements)
        problem = Problem(self.cell, self.linear_cell, self.law, self.numerics, boundary, dt)
        step = TimeStep.begin(problem, old, new, boundary.P(elements), extrapolated=guess is not None)
        reasons = {}
        for iteration in range(self.numerics.newton_iterations):
            verdict = step.evaluate()
            self.statistics.evaluations[elements.cpu()] += 1
            finished = verdict != RUNNING
            if finished.any():
                done = (verdict == CONVERGED).nonzero()[:, 0]
                self.state.store(elements[done], step.new.select(done))
                reasons |= {int(elements[i]): "the law did not converge" for i in (verdict == FAILED).nonzero()[:, 0]}
                running = (~finished).nonzero()[:, 0]
                elements, step = elements[running], step.select(running)
            if len(elements) == 0:
                break
            if iteration + 1 < self.numerics.newton_iterations:
                self.statistics.linear[elements.cpu()] += step.correct().cpu()
        return reasons | {int(i): "equilibrium was not reached" for i in elements}
