"""Measurements that take longer than a page may: the tables in ``benchmarks/results`` of the repository."""

from __future__ import annotations

import csv
from pathlib import Path

from microprint.errors import UserError

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


def measured(name: str) -> list[dict[str, str | float]]:
    """Rows of ``NAME.csv`` by column, numbers as numbers; `UserError` where the file is missing."""
    path = RESULTS / f"{name}.csv"
    if not path.exists():
        raise UserError("is missing", path, "Work in a clone of the repository, which holds the measurements")
    with path.open(newline="") as file:
        return [{column: _number(entry) for column, entry in row.items()} for row in csv.DictReader(file)]


def _number(entry: str) -> str | float:
    try:
        return float(entry)
    except ValueError:
        return entry
