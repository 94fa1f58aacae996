"""Learning curves and parity plots, for every trained model of the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from microprint.plots import PALETTE

COLOURS = list(PALETTE.values())


def learning_curve(ax: Axes, history: Sequence[Mapping[str, float]], term: str = "loss", *, color: str | None = None,
                   label: str | None = None) -> None:
    """One term of a training history against the epoch: training dashed, validation solid."""
    epochs = [row["epoch"] for row in history]
    color = color or PALETTE["ours"]
    for part, line in (("train", "--"), ("validation", "-")):
        values = [row.get(f"{part}_{term}", np.nan) for row in history]
        name = f"{label}, {part}" if label else part
        ax.plot(epochs, values, line, color=color, label=name, marker="." if len(epochs) < 15 else "")
    ax.set_xlabel("epoch")
    # What has been drawn so far must show: a bound in nats can be negative.
    positive = all(np.nanmin(line.get_ydata()) > 0 for line in ax.lines)
    ax.set_yscale("log" if positive else "linear")


def learning_curves(histories: Mapping[str, Sequence[Mapping[str, float]]], terms: Mapping[str, str]) -> Figure:
    """A panel a term, a colour a model.

    Parameters
    ----------
    histories : training history of each model; a model whose name is in the palette takes its colour.
    terms : axis label, with unit, of each term, e.g. ``{"kl": "KL divergence / nat"}``; models without it are left out.
    """
    figure, axes = plt.subplots(1, len(terms), figsize=(2.8 * len(terms), 2.7), squeeze=False)
    for ax, (term, label) in zip(axes[0], terms.items(), strict=True):
        for number, (name, history) in enumerate(histories.items()):
            if f"train_{term}" in history[0]:
                color = PALETTE.get(name, COLOURS[number % len(COLOURS)])
                learning_curve(ax, history, term, color=color, label=name)
        ax.set_ylabel(label)
        ax.xaxis.get_major_locator().set_params(integer=True)
    fullest = max(axes[0], key=lambda ax: len(ax.lines))
    figure.legend(*fullest.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=7)
    return figure


def parity(ax: Axes, truth: ArrayLike, predicted: ArrayLike, quantity: str, *, color: str | None = None,
           label: str | None = None, error: ArrayLike | None = None) -> None:
    """Prediction against truth with the line of equality, on equal axes.

    Parameters
    ----------
    truth, predicted : any one shape.
    quantity : what is compared, with its unit, for the axis labels.
    error : standard deviation of each prediction, drawn as bars.
    """
    truth, predicted = np.ravel(truth), np.ravel(predicted)
    color = color or PALETTE["ours"]
    bars = None if error is None else np.ravel(error)
    ax.errorbar(truth, predicted, bars, fmt="o", ms=3, color=color, ecolor=color, elinewidth=0.6, alpha=0.7, label=label)
    span = np.array([*ax.get_xlim(), *ax.get_ylim()])
    ends = [span.min(), span.max()]
    ax.plot(ends, ends, color=PALETTE["reference"], lw=0.8, zorder=0)
    ax.set(xlim=ends, ylim=ends, aspect="equal", xlabel=f"true {quantity}", ylabel=f"predicted {quantity}")
