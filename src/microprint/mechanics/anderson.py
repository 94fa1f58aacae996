"""Anderson's acceleration of a fixed-point iteration, for many systems at once.

D. G. Anderson, J. ACM 12 (1965) 547-560; DAMASK's spectral solver iterates the same way (PETSc's NGMRES).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from microprint.mechanics.state import Batch

DEPTH = 5


@dataclass
class Anderson(Batch):
    """Steps of x <- x + c(x), improved by what the last few steps did to c."""

    dot: Callable[[Tensor, Tensor], Tensor]  # inner product of two vectors (..., B, K) -> (B,)
    steps: list[Tensor] = field(default_factory=list)
    changes: list[Tensor] = field(default_factory=list)  # what the steps did to c
    last: Tensor | None = None  # c

    def step(self, c: Tensor, taken: Tensor, valid: Tensor) -> Tensor:
        """Next step (..., B, K) after the step `taken`, which led to an x with the plain correction `c`.

        Where it was no such step, `valid` (B, 1) is false, and the history tells nothing.
        """
        if self.last is not None:
            self.steps = [*self.steps, torch.where(valid, taken, 0.0)][-DEPTH:]
            self.changes = [*self.changes, torch.where(valid, c - self.last, 0.0)][-DEPTH:]
        self.last = c if self.last is None else torch.where(valid, c, self.last)
        if not self.steps:
            return c
        gram = torch.stack([torch.stack([self.dot(a, b) for b in self.changes], -1) for a in self.changes], -2)
        slope = torch.stack([self.dot(a, c) for a in self.changes], -1)
        # In units of the changes' own sizes; some may be nil, or alike.
        unit = gram.diagonal(dim1=-2, dim2=-1).clamp(min=1e-60).rsqrt()
        alike = unit[..., None] * gram * unit[..., None, :]
        weights = unit * torch.linalg.solve(alike + 1e-10 * torch.eye(alike.shape[-1]).to(alike), unit * slope)
        return c - sum(weights[:, i, None] * (x + d) for i, (x, d) in enumerate(zip(self.steps, self.changes)))
