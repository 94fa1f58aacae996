"""Kinds of interaction between slip and twin systems: which entry of DAMASK's lists a pair of systems takes.

The lists are h_sl-sl, h_sl-tw, h_tw-sl and h_tw-tw of its material files; kinds count from 1 and are those of DAMASK 3.0.2.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import torch
import yaml
from torch import Tensor

from microprint.mechanics.slip_systems import directions_and_normals, families_of, sizes

# Slip by slip. The table of cI ends before its third family {123}, for which common directions decide.
_TABLES = yaml.safe_load(Path(__file__).with_name("interactions.yaml").read_text())


def kinds(lattice: str, hardened: str, acting: str) -> Tensor:
    """Kind of interaction (hardened systems, acting systems) of all ``"slip"`` or ``"twin"`` systems of a lattice."""
    if lattice == "hP" and (hardened, acting) != ("slip", "slip"):
        return _by_families(hardened, acting)
    if hardened == acting:
        return _slip_by_slip(lattice) if acting == "slip" else _twin_by_twin(lattice)
    slip_by_twin = _slip_by_twin(lattice)
    return slip_by_twin if acting == "twin" else torch.ones_like(slip_by_twin.T)


def _slip_by_slip(lattice: str) -> Tensor:
    table = torch.tensor([[int(kind) for kind in row.split()] for row in _TABLES[lattice].splitlines()])
    family, known = torch.tensor(families_of(sizes(lattice, "slip"))), len(table)
    same_direction, _, _ = _in_common(lattice, "slip", "slip")
    # {123} with {110}, {112} and {123}: 25, 26 and 27 along one direction, else 28.
    result = torch.where(same_direction, 25 + torch.minimum(family[:, None], family), 28).fill_diagonal_(1)
    result[:known, :known] = table
    return result


def _slip_by_twin(lattice: str) -> Tensor:
    """cF: coplanar, able to cross-slip into the twin's plane, others. cI: coplanar and collinear, collinear, others.

    A last kind belongs to {110} slip of cF and to {123} slip of cI, as families that the others do not include.
    """
    same_direction, same_plane, along_plane = _in_common(lattice, "slip", "twin")
    first, second = (same_plane, along_plane) if lattice == "cF" else (same_plane & same_direction, same_direction)
    result = torch.where(first, 1, torch.where(second, 2, 3))
    families = sizes(lattice, "slip")
    result[sum(families[:-1]) :] = 4
    return result


def _twin_by_twin(lattice: str) -> Tensor:
    """cF: coplanar, others. cI: self, collinear, others."""
    same_direction, same_plane, _ = _in_common(lattice, "twin", "twin")
    if lattice == "cF":
        return torch.where(same_plane, 1, 2)
    return torch.where(same_direction, 2, 3).fill_diagonal_(1)


def _in_common(lattice: str, first: str, second: str) -> tuple[Tensor, Tensor, Tensor]:
    """Whether cubic systems share the direction or the plane, and whether the first's direction lies in the other's plane."""
    (d_1, n_1), (d_2, n_2) = (directions_and_normals(lattice, mode, sizes(lattice, mode)) for mode in (first, second))
    return (d_1 @ d_2.T).abs() > 0.999, (n_1 @ n_2.T).abs() > 0.999, (d_1 @ n_2.T).abs() < 0.001


def _by_families(hardened: str, acting: str) -> Tensor:
    """Kinds of hP where a twin takes part: the two families decide, but for a twin with itself."""
    twins = len(sizes("hP", "twin"))

    def kind(i: int, j: int) -> int:
        row, column = rows[i], columns[j]
        if hardened == "slip":
            return 1 + twins * row + column
        if acting == "slip":
            return 1 + twins * column + row
        # In shells: a family with the ones before it, with itself, with others of its own, and the way back.
        last = max(row, column)
        return 1 + last * (last + 1) + (row if row < column else last + (i != j) if row == column else last + 1 + row - column)

    rows, columns = (families_of(sizes("hP", mode)) for mode in (hardened, acting))
    pairs = product(range(len(rows)), range(len(columns)))
    return torch.tensor([kind(i, j) for i, j in pairs]).reshape(len(rows), len(columns))
