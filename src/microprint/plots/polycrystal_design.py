"""Pictures of polycrystals on demand: which properties were asked for and had, which grains decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from microprint.plots import PALETTE

Panel = tuple[Sequence[str], np.ndarray, np.ndarray, Mapping[str, np.ndarray]]


MARKS = "s^oDv"  # of methods in turn
FLOOR = 1e-3  # standard deviations; what is nearer is drawn there
AT_EDGE = f"What is nearer than {FLOOR:g} is drawn at the edge."


def property_planes(panels: Mapping[str, Panel], colours: Mapping[str, str]) -> Figure:
    """Planes of two properties in MPa, one a panel by its title, each of: names of the properties, those of the training
    elements (N, 2), the targets (T, 2), and by method those of the designs (T K, 2), simulated, a line to each from its target.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(max(2.9 * len(panels), 4.4), 3.3), squeeze=False)
    for ax, (title, (names, known, targets, made)) in zip(axes[0], panels.items()):
        ax.plot(*known.T, ".", ms=2.5, color=PALETTE["constant"], alpha=0.4, label="training elements")
        for (method, values), mark in zip(made.items(), MARKS):
            ends = np.stack([np.repeat(targets, len(values) // len(targets), 0), values], 1)
            ax.plot(ends[..., 0].T, ends[..., 1].T, "-", lw=0.6, color=PALETTE[colours[method]])
            ax.plot(*values.T, mark, ms=4.5, color=PALETTE[colours[method]], label=method, alpha=0.8)
        ax.plot(*targets.T, "+", ms=9, mew=1.2, color=PALETTE["reference"], label="targets", zorder=1.5)  # behind designs
        ax.set(title=title, xlabel=f"{names[0]} (MPa)", ylabel=f"{names[1]} (MPa)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2, markerscale=1.3)
    return figure


def told(predicted: np.ndarray, simulated: np.ndarray, kinds: Sequence[str], met: float) -> Figure:
    """How far designs (D,) of each kind of target are off by the surrogate and by the simulation, in standard deviations.

    What is nearer than `met` counts as met: in the corner below and left of the dotted lines both say so.
    """
    figure, ax = plt.subplots(figsize=(4.4, 3.8))
    for kind, mark, colour in zip(dict.fromkeys(kinds), MARKS, ("linear", "paper", "other")):
        own = np.array([k == kind for k in kinds])
        ax.loglog(
            predicted[own].clip(FLOOR), simulated[own].clip(FLOOR), mark, ms=5, color=PALETTE[colour], label=kind, alpha=0.8
        )
    top = max(2 * met, 1.3 * np.nanmax([predicted, simulated]))
    ax.plot([FLOOR, top], [FLOOR, top], color=PALETTE["constant"], lw=0.8, label="surrogate is right")
    for line in (ax.axhline, ax.axvline):
        line(met, color=PALETTE["reference"], lw=1, ls=":")
    ax.set(
        xlabel="off the target by the surrogate (sd)",
        ylabel="off by simulation (sd)",
        xlim=(0.8 * FLOOR, top),
        ylim=(0.8 * FLOOR, top),
    )
    figure.legend(loc="outside upper left", ncols=2, fontsize=8)  # in sight on a phone, too
    return figure


def mixtures(known: np.ndarray, pairs: np.ndarray, share: np.ndarray, target: np.ndarray, names: Sequence[str]) -> Figure:
    """Training elements in the plane of two properties (N, 2), MPa; pairs of them (K, 2), and where the mixtures of these lie
    by the rule of mixtures, for shares (K,) of the first. A pair and its mixture have one colour.
    """
    figure, ax = plt.subplots(figsize=(5.0, 4.0))
    ax.plot(*known.T, ".", ms=3, color=PALETTE["constant"], alpha=0.5, label="training elements")
    ends = known[pairs]
    mixed = share[:, None] * ends[:, 0] + (1 - share[:, None]) * ends[:, 1]
    colours = [colour for name, colour in PALETTE.items() if name not in ("constant", "reference")]
    for k, (pair_ends, mixture) in enumerate(zip(ends, mixed)):
        colour, first = colours[k % len(colours)], k == 0
        pair = "a pair that is drawn" if first else None  # open, and on top: many an end lies where its mixture does
        ax.plot(*pair_ends.T, "o-", ms=8, lw=1, mfc="none", mew=1.3, color=colour, zorder=4, label=pair)
        ax.plot(*mixture, "s", ms=3.5, color=colour, zorder=5, label="its mixture" if first else None)
    ax.plot(*target, "+", ms=26, mew=1, color=PALETTE["reference"], zorder=3)
    ax.plot([], [], "+", ms=9, mew=1, color=PALETTE["reference"], label="target")
    ax.set(xlabel=f"{names[0]} (MPa)", ylabel=f"{names[1]} (MPa)")
    figure.legend(loc="outside upper left", ncols=2, fontsize=8)  # in sight on a phone, too
    return figure


def slopes(angle_deg: np.ndarray, slope: np.ndarray, names: Sequence[str]) -> Figure:
    """What turning a grain does: slopes (r, G) in MPa a degree and unit of volume, over its c axis' angle with the load."""
    figure, axes = plt.subplots(1, len(slope), figsize=(3.6 * len(slope), 2.8), sharex=True, squeeze=False)
    for ax, values, name in zip(axes[0], slope, names):
        ax.plot(angle_deg, values, "o", ms=4, color=PALETTE["ours"], alpha=0.8, clip_on=False)
        ax.set(xlabel="angle between c axis and load (°)", title=name, xlim=(0, 90), ylim=(0, None), xticks=range(0, 91, 15))
    axes[0, 0].set_ylabel("slope (MPa per °, whole volume)")
    return figure
