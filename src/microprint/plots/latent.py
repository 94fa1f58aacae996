"""Pictures of reconstructions and of latent spaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from microprint.orientations import disorientation
from microprint.plots import PALETTE
from microprint.plots.microstructure import colour_key, ipf_colours

COLOURS = [PALETTE[name] for name in ("ours", "paper", "linear", "accent", "coded", "light")]


def orientation_slice(ax: Axes, orientations: Tensor, symmetry: str) -> None:
    """Middle section z = const of (n, n, n, 4), coloured by the crystal direction along x."""
    section = orientations[:, :, orientations.shape[2] // 2].numpy()
    ax.imshow(ipf_colours(section, symmetry).swapaxes(0, 1), origin="lower")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)


def reconstruction_slices(truth: Tensor, models: Mapping[str, Tensor], symmetry: str) -> Figure:
    """The middle section of one volume element and of its reconstructions, with the error of each below.

    Parameters
    ----------
    truth : (n, n, n, 4) orientations.
    models : reconstruction (n, n, n, 4) of each model.
    """
    figure, axes = plt.subplots(2, len(models) + 1, figsize=(1.6 * (len(models) + 1.4), 3.4), squeeze=False)
    orientation_slice(axes[0, 0], truth, symmetry)
    axes[0, 0].set_title("volume element")
    colour_key(axes[1, 0], symmetry)
    middle = truth.shape[2] // 2
    for column, (name, orientations) in enumerate(models.items(), start=1):
        orientation_slice(axes[0, column], orientations, symmetry)
        axes[0, column].set_title(name)
        angle = torch.rad2deg(disorientation(orientations[:, :, middle], truth[:, :, middle], symmetry))
        image = axes[1, column].imshow(angle.T, origin="lower", vmin=0, vmax=60, cmap="magma")
        axes[1, column].set(xticks=[], yticks=[], xlabel=f"mean {float(angle.mean()):.1f}°")
        axes[1, column].grid(False)
    figure.colorbar(image, ax=axes[1, 1:], label="disorientation / °", shrink=0.9)
    return figure


def path_slices(paths: Mapping[str, Tensor], symmetry: str) -> Figure:
    """Middle sections of the volume elements decoded along paths, a path a row; paths (steps, n, n, n, 4)."""
    steps = len(next(iter(paths.values())))
    figure, axes = plt.subplots(len(paths), steps, figsize=(1.15 * steps, 1.4 * len(paths)), squeeze=False)
    for row, (name, elements) in zip(axes, paths.items(), strict=True):
        for number, (ax, orientations) in enumerate(zip(row, elements, strict=True)):
            orientation_slice(ax, orientations, symmetry)
            ax.set_title(f"{number / (steps - 1):.2f}")
        row[0].set_ylabel(name)
    return figure


def scatter_sets(ax: Axes, sets: Mapping[str, Tensor], background: Tensor, axes_shown: Sequence[int] = (0, 1)) -> None:
    """Sets of points on two principal components, over the training set in grey; points (N, at least 2)."""
    first, second = axes_shown
    ax.scatter(background[:, first], background[:, second], s=4, color="0.8", label="training", zorder=0)
    for color, (name, points) in zip(COLOURS, sets.items(), strict=False):
        ax.scatter(points[:, first], points[:, second], s=9, color=color, label=name)
    ax.set(xlabel=f"principal component {first + 1}", ylabel=f"principal component {second + 1}")
    ax.legend(fontsize=7, markerscale=1.5)


def explained_variance(ax: Axes, curves: Mapping[str, Tensor]) -> None:
    """Share of the variance in the first principal components, one curve a model; curves of shares (m,)."""
    for name, explained in curves.items():
        ax.plot(range(1, len(explained) + 1), explained.cumsum(0), color=PALETTE.get(name), label=name)
    ax.set(xlabel="principal components", ylabel="share of the variance", ylim=(0, 1.02))
    ax.legend()


def confusion_matrix(ax: Axes, table: Tensor, names: Sequence[str], title: str) -> None:
    """Counts of volume elements by class (row) and matched cluster (column); table (m, m)."""
    ax.imshow(table, cmap="Blues", vmin=0)
    ticks = range(len(names))
    ax.set(xticks=ticks, yticks=ticks, xticklabels=names, yticklabels=names, xlabel="cluster", ylabel="class", title=title)
    ax.grid(False)
    for row in ticks:
        for column in ticks:
            dark = table[row, column] > table.max() / 2
            ax.text(column, row, int(table[row, column]), ha="center", va="center", color="white" if dark else "black")
