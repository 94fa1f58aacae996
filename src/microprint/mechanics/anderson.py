"""Anderson's acceleration of a fixed-point iteration, for many systems at once.

D. G. Anderson, J. ACM 12 (1965) 547-560; DAMASK's spectral solver iterates the same way (PETSc's NGMRES).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

DEPTH = 5


class Anderson:
    """Steps of x <- x + c(x), improved by what the last few steps did to c.

    Parameters
    ----------
    dot : inner product of two vectors (..., B, K) -> (B,).
    """

    def __init__(self, dot: Callable[[Tensor, Tensor], Tensor]):
        self.dot = dot
        self.steps: list[Tensor] = []
        self.changes: list[Tensor] = []
        self.last: Tensor | None = None

    def step(self, c: Tensor, taken: Tensor, valid: Tensor) -> Tensor:
        """Next step (..., B, K).

        Parameters
        ----------
        c : plain correction at the present x.
        taken : the step that led to it.
        valid : (B,) bool, whether it was such a step; where not, the history tells nothing.
        """
        valid = valid[:, None]
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

    def select(self, index: Tensor) -> Anderson:
        """The same iteration for some of the systems."""
        part = Anderson(self.dot)
        part.steps, part.changes = ([x.index_select(-2, index) for x in xs] for xs in (self.steps, self.changes))
        part.last = None if self.last is None else self.last.index_select(-2, index)
        return part
