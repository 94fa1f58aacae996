"""State of many volume elements at once, and how some of them are taken out of it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

B = TypeVar("B", bound="Batch")


class Batch:
    """A dataclass about B volume elements: every tensor has B as its last axis but one, and so has every tensor in its lists
    and in the batches that it holds. What is neither belongs to all elements alike.
    """

    def select(self: B, index: Tensor) -> B:
        """The same about some of the volume elements."""
        return replace(self, **{field.name: _select(getattr(self, field.name), index) for field in fields(self)})


def _select(value: Any, index: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value if index.numel() == value.shape[-2] else value.index_select(-2, index)
    if isinstance(value, list):
        return [_select(item, index) for item in value]
    return value.select(index) if isinstance(value, Batch) else value


@dataclass
class State(Batch):
    """Converged state of B volume elements of V voxels."""

    u: Tensor  # (3, B, K) spectrum of the displacement
    F_mean: Tensor  # (3, 3, B, 1)
    F_p_inverse: Tensor  # (3, 3, B, V)
    S: Tensor  # (6, B, V) Mandel, crystal axes
    xi: Tensor  # (systems, B, V), as is gamma
    gamma: Tensor

    def store(self, index: Tensor, part: State) -> None:
        """Overwrite some of the volume elements; tensors that others may hold stay as they are."""
        whole = index.numel() == self.S.shape[-2]
        for name, value in vars(self).items():
            new = getattr(part, name)
            setattr(self, name, new if whole else value.index_copy(-2, index, new))

    def where(self, choose: Tensor, other: State) -> State:
        """This state where `choose` (B, 1), the other elsewhere."""
        return State(**{name: torch.where(choose, value, getattr(other, name)) for name, value in vars(self).items()})
