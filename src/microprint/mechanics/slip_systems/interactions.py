"""Kinds of interaction between slip and twin systems: which entry of DAMASK's lists a pair of systems takes.

The lists are h_sl-sl, h_sl-tw, h_tw-sl and h_tw-tw of its material files; kinds count from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from torch import Tensor

from microprint.mechanics.slip_systems import families_of, sizes

_SLIP_BY_SLIP = yaml.safe_load(Path(__file__).with_name("interactions.yaml").read_text())


def kinds(lattice: str, hardened: str, acting: str) -> Tensor:
    """Kind of interaction (hardened systems, acting systems) of all ``"slip"`` or ``"twin"`` systems of a lattice."""
    if hardened == acting == "slip":
        return torch.tensor([[int(kind) for kind in row.split()] for row in _SLIP_BY_SLIP[lattice].splitlines()])
    twin = families_of(sizes(lattice, "twin"))
    if hardened == acting:
        return _twin_by_twin(twin)
    slip = families_of(sizes(lattice, "slip"))
    table = torch.tensor([[1 + len(sizes(lattice, "twin")) * s + t for t in twin] for s in slip])
    return table if hardened == "slip" else table.T


def _twin_by_twin(families: Sequence[int]) -> Tensor:
    """Kinds in shells: those of a family with the ones before it, with itself, with others of its own, and the way back."""

    def kind(i: int, j: int) -> int:
        row, column = families[i], families[j]
        last = max(row, column)
        shell = row if row < column else last + (i != j) if row == column else last + 1 + row - column
        return 1 + last * (last + 1) + shell

    count = range(len(families))
    return torch.tensor([[kind(i, j) for j in count] for i in count])
