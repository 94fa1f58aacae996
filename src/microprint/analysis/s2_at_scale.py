"""What `benchmarks/s2_learning.py` measured: S2's networks, with S2's settings and at S2's own scale, on one GPU."""

from __future__ import annotations

from collections.abc import Container

import numpy as np

from microprint.analysis.measured import measured

TWO = "two morphologies"  # S2's second set, fibres and plates; the first is called "all"
LEAST = 2.0  # passes over the data, below which a training has not begun to learn


def forward(component: str = "C11") -> tuple[list[dict[str, str | float]], dict[tuple[str, str], float]]:
    """Rows of ``s2_forward.csv``, by set and error, each with its ``set``; and trainings cut before `LEAST` passes, left out.

    The latter are passes by set and training, as the tables of `backward` name it.
    """
    rows, cut = [], {}
    for row in measured("s2_forward"):
        name = str(row["model"]).removesuffix(f", {TWO}")
        row |= {"set": "all" if name == row["model"] else TWO, "model": name}
        if row["epochs"] and row["epochs"] < LEAST:
            cut[row["set"], name.removeprefix("VAE-Reg, ")] = row["epochs"]
        elif row["component"] == component:
            rows.append(row)
    return sorted(rows, key=lambda row: (row["set"], row["mape_mean"])), cut


def backward(cut: Container[tuple[str, str]] = ()) -> dict[tuple[str, str, str], tuple[float, float]]:
    """Errors (%) of designs for C11, by set, prior and generator: of the likeliest component, of all; by set and the latter.

    Trainings that are `cut`, by set and prior, are left out.
    """
    errors: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for row in measured("s2_inverse"):
        if (row["set"], row["prior"]) not in cut:
            errors.setdefault((row["set"], row["prior"], row["generator"]), []).append((row["component"], row["error_pct"]))
    means = {key: (np.mean([e for k, e in pairs if k == 0]), np.mean([e for _, e in pairs])) for key, pairs in errors.items()}
    return dict(sorted(means.items(), key=lambda item: (item[0][0], item[1][1])))


def by_target(weight: str) -> dict[str, dict[float, float]]:
    """How far (%) C11 of the likeliest component's design is off each target (GPa), by prior: the set of all, as trained.

    Of the trainings with one `weight` of the divergence, as their names end.
    """
    off: dict[str, dict[float, float]] = {}
    for row in measured("s2_inverse"):
        prior, _, own = str(row["prior"]).partition(", ")
        if (row["set"], own, row["generator"], row["component"]) == ("all", weight, "as trained", 0):
            off.setdefault(prior, {})[row["target"]] = 100 * (row["achieved"] / row["target"] - 1)
    return dict(sorted(off.items()))


def six() -> dict[tuple[str, str], tuple[float, float]]:
    """Errors (%) of designs for six components, by prior and generator: mean, and worst component."""
    errors: dict[tuple[str, str], list[list[float]]] = {}
    for row in measured("s2_inverse_six"):
        gap = [value for name, value in row.items() if name.endswith("_error_pct")]
        errors.setdefault((row["prior"], row["generator"]), []).append(gap)
    return {key: (np.mean(gaps), np.max(gaps, 1).mean()) for key, gaps in errors.items()}
