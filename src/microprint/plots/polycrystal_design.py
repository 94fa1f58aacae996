"""Pictures of polycrystals on demand: which properties were asked for and had, which grains decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from microprint.plots import PALETTE

Panel = tuple[Sequence[str], np.ndarray, np.ndarray, Mapping[str, np.ndarray]]


def property_planes(panels: Mapping[str, Panel], colours: Mapping[str, str]) -> Figure:
    """Planes of two properties in MPa, one a panel by its title, each of: names of the properties, those of the training
    elements (N, 2), the targets (T, 2), and by method those of the designs (T K, 2), simulated, a line to each from its target.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(3.1 * len(panels), 3.1), squeeze=False)
    for ax, (title, (names, known, targets, made)) in zip(axes[0], panels.items()):
        ax.plot(*known.T, ".", ms=2.5, color=PALETTE["constant"], alpha=0.4, label="training elements")
        for method, values in made.items():
            ends = np.stack([np.repeat(targets, len(values) // len(targets), 0), values], 1)
            ax.plot(ends[..., 0].T, ends[..., 1].T, "-", lw=0.6, color=PALETTE[colours[method]])
            ax.plot(*values.T, "o", ms=4, color=PALETTE[colours[method]], label=method, alpha=0.8)
        ax.plot(*targets.T, "+", ms=10, mew=1.5, color=PALETTE["reference"], label="targets")
        ax.set(title=title, xlabel=f"{names[0]} (MPa)", ylabel=f"{names[1]} (MPa)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6, fontsize=7)
    return figure


def mixtures(known: np.ndarray, pairs: np.ndarray, share: np.ndarray, target: np.ndarray, names: Sequence[str]) -> Figure:
    """Training elements in the plane of two properties (N, 2), MPa; pairs of them (K, 2), and where the mixtures of these lie
    by the rule of mixtures, for shares (K,) of the first.
    """
    figure, ax = plt.subplots(figsize=(4.4, 3.2))
    ax.plot(*known.T, ".", ms=2.5, color=PALETTE["constant"], alpha=0.5, label="training elements")
    ends = known[pairs]
    ax.plot(ends[..., 0].T, ends[..., 1].T, "o-", ms=3.5, lw=0.6, color=PALETTE["ours"], alpha=0.6)
    mixed = share[:, None] * ends[:, 0] + (1 - share[:, None]) * ends[:, 1]
    ax.plot(*mixed.T, "s", ms=4, color=PALETTE["light"], label="mixtures of two")
    ax.plot(*target, "+", ms=12, mew=1.8, color=PALETTE["paper"], label="target")
    ax.set(xlabel=f"{names[0]} (MPa)", ylabel=f"{names[1]} (MPa)")
    ax.legend(fontsize=7)
    return figure


def slopes(angle_deg: np.ndarray, slope: np.ndarray, names: Sequence[str]) -> Figure:
    """What turning a grain does: slopes (r, G) in MPa a degree and unit of volume, over its c axis' angle with the load."""
    figure, axes = plt.subplots(1, len(slope), figsize=(3.2 * len(slope), 2.6), sharex=True, squeeze=False)
    for ax, values, name in zip(axes[0], slope, names):
        ax.plot(angle_deg, values, "o", ms=4, color=PALETTE["ours"], alpha=0.8)
        ax.set(xlabel="c axis against the load (°)", title=name, xlim=(0, 90), ylim=(0, None))
    axes[0, 0].set_ylabel("slope (MPa per ° and volume)")
    return figure
