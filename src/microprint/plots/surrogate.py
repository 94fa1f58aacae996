"""Figures of the surrogate: what a crystal has taught it, and how its errors fall with labels and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike

from microprint.plots import PALETTE, panels
from microprint.plots.learning import plain_ticks


def yield_sections(sections: Mapping[str, Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray]]]) -> Figure:
    """Stresses (N, 2) in MPa at equal strains in all directions of a plane: the crystal's points, the learnt law's line.

    A column a material, a row a plane, which has the names of its two axes.
    """
    rows = max(map(len, sections.values()))
    figure, axes = plt.subplots(rows, len(sections), figsize=(2.4 * len(sections), 2.5 * rows + 0.3), squeeze=False)
    for column, (material, planes) in zip(axes.T, sections.items()):
        for ax, ((first, second), (true, learnt)) in zip(column, planes.items()):
            ax.plot(*np.vstack([learnt, learnt[:1]]).T, color=PALETTE["ours"], label="learnt law")
            ax.plot(*true.T, ".", ms=3, color=PALETTE["reference"], label="crystal")
            ax.set(title=material, xlabel=f"stress of {first} (MPa)", ylabel=f"stress of {second} (MPa)")
            ax.set_aspect("equal", adjustable="datalim")  # panels of one size
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=8)
    return figure


def errors_by_labels(
    labels: Sequence[int], errors: Mapping[str, Mapping[str, ArrayLike]], colours: Mapping[str, str], ylabel: str
) -> Figure:
    """Errors (draws, labels) of models over the number of simulated polycrystals: median, and the range of the draws as a band.

    A panel a kind of error, by its title. No polycrystal at all stands at the left of a logarithmic axis; a model that needs
    some has nan there.
    """
    at = np.array([label if label else min(x for x in labels if x) / 2.5 for label in labels])
    figure, axes = plt.subplots(1, len(errors), figsize=(2.2 + 3.2 * len(errors), 3.8), sharey=True, squeeze=False)
    for ax, (title, models) in zip(axes[0], errors.items()):
        for name, values in models.items():
            values, color = np.atleast_2d(values), PALETTE[colours[name]]
            ax.plot(at, np.median(values, 0), "o-", ms=4, color=color, label=name)
            ax.fill_between(at, values.min(0), values.max(0), color=color, alpha=0.15, lw=0)
        ax.set(xscale="log", yscale="log", xlabel="simulated polycrystals", title=title)
        ax.set_xticks(at, [str(label) for label in labels])
        plain_ticks(ax.yaxis)
        ax.xaxis.set_minor_locator(NullLocator())
    axes[0, 0].set_ylabel(ylabel)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=3, fontsize=8)
    return figure


def errors_by_time(
    models: Mapping[str, tuple[float, float]], colours: Mapping[str, str], ylabel: str, simulation_ms: float, at_once: int
) -> Figure:
    """Error of each model over the milliseconds of its answer, of so many at once, both logarithmic.

    Points have numbers, the fastest the first, whose names are above. A vertical line is the time of the simulation, which has
    no error.
    """
    figure, ax = plt.subplots(figsize=(5.8, 3.8))
    ax.axvline(simulation_ms, color=PALETTE["reference"], ls=":", lw=0.9)
    ax.annotate("simulation", (simulation_ms, 0.98), (-3, 0), xycoords=("data", "axes fraction"), textcoords="offset points",
                rotation=90, ha="right", va="top", fontsize=8)  # fmt: skip
    for number, (name, point) in enumerate(sorted(models.items(), key=lambda item: item[1]), 1):
        ax.plot(*point, "o", color=PALETTE[colours[name]], label=f"{number}  {name}")
        ax.annotate(str(number), point, (5, 4), textcoords="offset points", fontsize=8)
    figure.legend(loc="outside upper left", ncols=2, fontsize=8)
    xlabel = f"time of an answer (ms a volume element, {at_once} at once)"
    ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
    ax.margins(0.2)
    for axis in (ax.xaxis, ax.yaxis):
        plain_ticks(axis)
    return figure


def as_in_s1(
    history: Sequence[Mapping[str, float]], strain: np.ndarray, simulated: np.ndarray, curves: Mapping[str, np.ndarray],
    errors: Mapping[str, np.ndarray], colours: Mapping[str, str], passes: int,
) -> Figure:  # fmt: skip
    """S1's figure 9: the loss of its network, simulated curves (k, T) with each model's, absolute errors (N, T), both in MPa.

    An epoch of the history is so many `passes` over the training set. Errors are drawn as their mean over the volume elements
    and a band of a standard deviation.
    """
    figure, (losses, lines, over) = plt.subplots(1, 3, figsize=(9.2, 2.9))
    for part, color in (("train", "reference"), ("validation", "paper")):
        values = [epoch[f"{part}_loss"] for epoch in history]
        losses.plot(
            [passes * epoch["epoch"] for epoch in history],
            values,
            color=PALETTE[color],
            label="training" if part == "train" else part,
        )
    losses.set(
        xlabel="passes over the training set", ylabel="squared error of scaled curves", yscale="log", title="S1's network"
    )
    for name, values in curves.items():
        lines.plot(100 * strain, values.T, color=PALETTE[colours[name]], lw=1.2)
        mean, spread = errors[name].mean(0), errors[name].std(0)
        over.plot(100 * strain, mean, color=PALETTE[colours[name]], label=name)
        over.fill_between(100 * strain, (mean - spread).clip(0), mean + spread, color=PALETTE[colours[name]], alpha=0.2, lw=0)
    (dashed, *_) = lines.plot(100 * strain, simulated.T, "--", color=PALETTE["reference"], lw=0.8)
    lines.set(xlabel="strain (%)", ylabel="stress (MPa)", title="four curves")
    over.set(xlabel="strain (%)", ylabel="absolute error (MPa)", title="error over the strain")
    losses.legend(fontsize=8)
    handles, labels = over.get_legend_handles_labels()
    figure.legend([*handles, dashed], [*labels, "simulated"], loc="outside upper left", ncols=len(labels) + 1, fontsize=8)
    return figure


def families(names: Sequence[str], series: Mapping[str, ArrayLike], colours: Mapping[str, str], xlabel: str) -> Figure:
    """A value (families,) of each model in each family, on a logarithmic axis; a row a family."""
    figure, ax = plt.subplots(figsize=(5.4, 0.32 * len(names) + 1.2))
    for name, values in series.items():
        ax.plot(values, range(len(names)), "o", ms=5, color=PALETTE[colours[name]], label=name)
    ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    if any(np.isfinite(values).any() and np.nanmax(values) > 0 for values in map(np.asarray, series.values())):
        ax.set_xscale("log")
    ax.set(xlabel=xlabel)
    ax.invert_yaxis()
    figure.legend(loc="outside upper left", ncols=3, fontsize=8)
    return figure


def paths(cases: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Mean stresses xx, yy, zz, xy along load paths (MPa): simulated (T, 4) dashed, surrogate (T, 4) solid; times (T,) in s."""
    columns = min(4, len(cases))
    figure, axes = panels(len(cases), columns, 2.1, 1.9, sharex=True)
    for ax, (name, (time, true, ours)) in zip(axes.flat, cases.items()):
        for i, (axes_of, color) in enumerate(zip(("xx", "yy", "zz", "xy"), ("ours", "paper", "linear", "accent"))):
            ax.plot(time, ours[:, i], color=PALETTE[color], lw=1.2, label=f"$P_{{{axes_of}}}$")
            ax.plot(time, true[:, i], "--", color=PALETTE["reference"], lw=0.8, label="simulated" if i == 3 else None)
        ax.set_title(name, fontsize=8)
    for ax in axes[-1]:
        ax.set_xlabel("time (s)")
    for ax in axes[:, 0]:
        ax.set_ylabel("stress (MPa)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=5, fontsize=8)
    return figure
