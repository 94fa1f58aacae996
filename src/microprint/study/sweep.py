"""Sweeps: one run for each combination of values, each begun from what another run has."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def sweep_points(sweeps: Mapping[str, Iterable[str]]) -> list[dict[str, str]]:
    """All combinations of the values of some parameters."""
    return [dict(zip(sweeps, values, strict=True)) for values in itertools.product(*sweeps.values())]


def branch(base: Path, target: Path) -> None:
    """Start a run from what another one has: artifacts are replaced whole, never changed, so links are enough."""
    if base.is_dir() and not target.exists():
        shutil.copytree(base, target, copy_function=_link, ignore=shutil.ignore_patterns(".work", ".lock", "run.log", "report"))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def literal(value: Any) -> str:
    """A parameter's value as a part of a folder's name."""
    return json.dumps(value).strip('"').replace("/", "_").replace(" ", "")
