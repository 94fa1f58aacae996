"""Learning curves and parity plots, for every trained model of the study."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike

from microprint.plots import PALETTE

COLOURS = list(PALETTE.values())


def plain_ticks(axis: Axis) -> None:
    """Numbers in full on a logarithmic axis, when all is drawn: one a decade, or two or three where that would be few."""
    low, high = axis.get_view_interval()
    steps = (1, 2, 5) if high / low < 20 else (1, 3) if high / low < 1e4 else (1,)
    ticks = [step * 10.0**power for power in range(-9, 10) for step in steps if low <= step * 10.0**power <= high]
    if len(ticks) > 1:
        axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        axis.set_minor_locator(NullLocator())


def learning_curves(histories: Mapping[str, Sequence[Mapping[str, float]]], terms: Mapping[str, str]) -> Figure:
    """Training histories, training dashed, validation solid: a panel a term, a colour a model, from the palette by its name.

    Terms have axis labels with units, e.g. ``{"kl": "KL divergence / nat"}``; models without a term are left out.
    """
    rows = -(-len(terms) // 3)
    columns = -(-len(terms) // rows)
    figure, axes = plt.subplots(rows, columns, figsize=(3.1 * columns, 2.3 * rows + 0.4), squeeze=False)
    colours = {name: PALETTE.get(name, COLOURS[number % len(COLOURS)]) for number, name in enumerate(histories)}
    drawn = set()
    for ax, (term, label) in zip(axes.flat, terms.items(), strict=False):
        for name, history in histories.items():
            if f"train_{term}" in history[0]:
                epochs = [row["epoch"] for row in history]
                drawn.add(name)
                for part, line in (("train", ".--"), ("validation", "o-")):
                    values = [row.get(f"{part}_{term}", np.nan) for row in history]
                    ax.plot(epochs, values, line, color=colours[name], ms=3.5, lw=1)
        values = np.concatenate([line.get_ydata() for line in ax.lines])
        # A bound in nats can be negative, and must show; a narrow range has no decade to be labelled.
        wide = np.nanmin(values) > 0 and np.nanmax(values) > 10 * np.nanmin(values)
        ax.set(xlabel="epoch", ylabel=label, yscale="log" if wide else "linear")
        if wide:
            plain_ticks(ax.yaxis)
        ax.xaxis.get_major_locator().set_params(integer=True)
    for ax in axes.flat[len(terms) :]:
        ax.set_axis_off()
    models = [Line2D([], [], color=color, label=name) for name, color in colours.items() if name in drawn]
    lines = zip(("--", "-"), ("training", "validation"))
    parts = [Line2D([], [], color=PALETTE["constant"], ls=line, lw=1, label=label) for line, label in lines]
    handles = [*models * (len(models) > 1), *parts]
    longest = max(len(handle.get_label()) for handle in handles)
    fitting = int(3.1 * columns / (0.08 * longest + 0.55))  # a letter and a line's sample, in inches
    figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), max(fitting, 1)), fontsize=8)
    return figure


def longer_trained(
    curves: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]],
    levels: Mapping[str, Mapping[str, float]],
    laws: Mapping[str, tuple[ArrayLike, ArrayLike]],
    visits: float,
    sizes: Mapping[str, tuple[ArrayLike, ArrayLike]],
) -> Figure:
    """Errors by volume elements seen, a panel for each measure of `curves`, `levels` and `laws`; below, degrees by size.

    See `error_by_visits` and `error_by_size`; the upper row has one legend, above it, and a grey line at the `visits` of the
    published training.
    """
    figure = plt.figure(figsize=(2.8 * len(curves), 5.6))
    grid = figure.add_gridspec(2, len(curves))
    named = {}
    for column, (label, by_model) in enumerate(curves.items()):
        ax = figure.add_subplot(grid[0, column])
        error_by_visits(by_model, levels[label], laws[label], label, ax)
        ax.axvline(visits, color=PALETTE["constant"], lw=0.9)
        ax.annotate("S1", (visits, 1), (-3, -3), ("data", "axes fraction"), "offset points", ha="right", va="top", fontsize=8)
        named |= dict(zip(*ax.get_legend_handles_labels()[::-1]))
    figure.legend(named.values(), named.keys(), loc="outside upper left", ncols=min(len(named), len(curves)), fontsize=8)
    error_by_size(sizes, "mean disorientation / °", figure.add_subplot(grid[1, :]))
    return figure


def error_by_visits(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    levels: Mapping[str, float],
    law: tuple[ArrayLike, ArrayLike],
    label: str,
    ax: Axes,
) -> None:
    """Errors (N,) by volume elements seen (N,), a colour a model; levels to compare with; a power law and its bounds.

    The law is x (B,) and the value, lower and upper bound there, (3, B), as `microprint.analysis.regression.power_law` gives.
    """
    for name, (seen, error) in curves.items():
        ax.plot(seen, error, "o-" if name == "paper" else "s", color=PALETTE[name], label=name)
    x, (value, lower, upper) = law
    ax.plot(x, value, "--", color=PALETTE["paper"], lw=0.9, label="power law, with bounds")
    ax.fill_between(x, lower, upper, color=PALETTE["paper"], alpha=0.15, lw=0)
    for (name, level), line in zip(levels.items(), ("-", "--", ":", "-."), strict=False):
        ax.axhline(level, color=PALETTE.get(_kind(name), PALETTE["reference"]), ls=line, lw=0.9, label=name)
    ax.set(xlabel="volume elements seen", ylabel=label, xscale="log", ylim=(0, None))


def _kind(name: str) -> str:
    """A model's name without what it is of, which stands in brackets, as in ``"linear (Euler angles)"``."""
    return name.split(" (")[0]


def error_by_size(rows: Mapping[str, tuple[ArrayLike, ArrayLike]], label: str, ax: Axes) -> None:
    """Errors (N,) by size of the fingerprint (N,), a line a model, dashed if the palette has its name."""
    colours = iter(("light", "accent", "reference"))
    for name, (sizes, error) in rows.items():
        color, line = (_kind(name), "--") if _kind(name) in PALETTE else (next(colours), ".-")
        ax.plot(sizes, error, line, color=PALETTE[color], label=name)
    ax.set(xlabel="numbers in a fingerprint", ylabel=label, xscale="log")
    ax.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
    ax.minorticks_off()
    ax.legend(fontsize=7)


def parity(
    models: Mapping[str, tuple[ArrayLike, ArrayLike]], quantity: str, colours: Mapping[str, str] = {}, truth: str = "simulated"
) -> Figure:
    """True and predicted values (N,) of a quantity, in the unit that its name states, a panel a model.

    Colours are keys of the palette; `truth` says how the true values were come by.
    """
    figure, axes = plt.subplots(1, len(models), figsize=(2.5 * len(models), 2.7), sharex=True, sharey=True, squeeze=False)
    values = np.concatenate([np.ravel(part) for pair in models.values() for part in pair])
    ends = values.min(), values.max()
    for ax, (name, (true, predicted)) in zip(axes[0], models.items()):
        ax.plot(ends, ends, color=PALETTE["reference"], lw=0.8)
        ax.plot(true, predicted, "o", ms=3, alpha=0.7, color=PALETTE[colours.get(name, "ours")])
        ax.set_title("\n".join(textwrap.wrap(name, 24)), fontsize=8)
        ax.set(xlabel=f"{truth} {quantity}")
    axes[0, 0].set_ylabel(f"predicted {quantity}")
    return figure
