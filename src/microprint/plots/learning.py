"""Learning curves and parity plots, for every trained model of the study."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from microprint.plots import PALETTE

COLOURS = list(PALETTE.values())


def learning_curves(histories: Mapping[str, Sequence[Mapping[str, float]]], terms: Mapping[str, str]) -> Figure:
    """Training histories, training dashed, validation solid: a panel a term, a colour a model, from the palette by its name.

    Terms have axis labels with units, e.g. ``{"kl": "KL divergence / nat"}``; models without a term are left out.
    """
    figure, axes = plt.subplots(1, len(terms), figsize=(2.8 * len(terms), 2.7), squeeze=False)
    for ax, (term, label) in zip(axes[0], terms.items(), strict=True):
        for number, (name, history) in enumerate(histories.items()):
            if f"train_{term}" in history[0]:
                epochs = [row["epoch"] for row in history]
                color, marker = PALETTE.get(name, COLOURS[number % len(COLOURS)]), "." if len(history) < 15 else ""
                for part, line in (("train", "--"), ("validation", "-")):
                    values = [row.get(f"{part}_{term}", np.nan) for row in history]
                    ax.plot(epochs, values, line, color=color, label=f"{name}, {part}", marker=marker)
        # A bound in nats can be negative, and must show.
        positive = all(np.nanmin(line.get_ydata()) > 0 for line in ax.lines)
        ax.set(xlabel="epoch", ylabel=label, yscale="log" if positive else "linear")
        ax.xaxis.get_major_locator().set_params(integer=True)
    fullest = max(axes[0], key=lambda ax: len(ax.lines))
    figure.legend(*fullest.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=7)
    return figure


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
