"""Figures of micrographs and of their fingerprints."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from microprint.plots import PALETTE


def image_grid(images: ArrayLike, titles: Sequence[str] = ()) -> Figure:
    """Grey images (N, h, w) in [0, 1], six a row, on one grey scale."""
    images, columns = np.asarray(images), 6
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(7.0, rows * (7.0 / columns + (0.25 if titles else 0))), squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image in zip(axes.flat, images):
        ax.imshow(image, cmap="gray", vmin=0, vmax=1)
    for ax, title in zip(axes.flat, titles):
        ax.set_title(title, fontsize=8, fontweight="normal")
    return figure


def halves(originals: ArrayLike, reconstructions: ArrayLike, titles: Sequence[str]) -> Figure:
    """Left half of each original beside the right half of its reconstruction, as S3's Figure 4."""
    joined = np.array(reconstructions)
    middle = joined.shape[2] // 2
    joined[:, :, :middle] = np.asarray(originals)[:, :, :middle]
    figure = image_grid(joined, titles)
    for ax in figure.axes[: len(joined)]:
        ax.axvline(middle - 0.5, color=PALETTE["paper"], linewidth=1)
    return figure


def gram_matrices(matrices: Sequence[ArrayLike], titles: Sequence[str]) -> Figure:
    """Gram matrices (C, C) on one logarithmic colour scale."""
    logs = [np.log10(np.maximum(np.asarray(m), 1e-3)) for m in matrices]
    low, high = min(m.min() for m in logs), max(m.max() for m in logs)
    figure, axes = plt.subplots(1, len(logs), figsize=(7.0, 2.6))
    for ax, matrix, title in zip(axes, logs, titles):
        picture = ax.imshow(matrix, vmin=low, vmax=high)
        ax.set(title=title, xlabel="channel $j$", ylabel="channel $i$")
        ax.grid(False)
    figure.colorbar(picture, ax=axes, label=r"$\log_{10} G_{ij}/M$", shrink=0.8)
    return figure


def traversal_grid(images: ArrayLike, labels: Sequence[str], values: Sequence[float]) -> Figure:
    """Decoded images (R, V, h, w): a row for each latent component, a column for each of its values."""
    images = np.asarray(images)
    rows, columns = images.shape[:2]
    figure, axes = plt.subplots(rows, columns, figsize=(7.0, 7.2 / columns * rows), squeeze=False)
    for (r, c), ax in np.ndenumerate(axes):
        ax.imshow(images[r, c], cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        if r == 0:
            ax.set_title(f"{values[c]:.0f}", fontsize=8)
        if c == 0:
            ax.set_ylabel(labels[r], fontsize=7)
    return figure


def correlation_map(matrix: ArrayLike, names: Sequence[str]) -> Figure:
    """Correlation (D, d) of descriptors with latent components."""
    matrix = np.asarray(matrix)
    figure, ax = plt.subplots(figsize=(7.0, 1.0 + 0.3 * len(matrix)))
    picture = ax.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    ax.set(yticks=range(len(names)), yticklabels=names, xlabel="latent component")
    ax.grid(False)
    figure.colorbar(picture, ax=ax, label="Pearson's r")
    return figure
