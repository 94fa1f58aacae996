"""Figures of micrographs and of their fingerprints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from microprint.plots import PALETTE


def image_grid(images: ArrayLike, titles: Sequence[str] = (), columns: int = 6) -> Figure:
    """Grey images (N, h, w) in [0, 1], row by row, on one grey scale."""
    images = np.asarray(images)
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(7.0, rows * (7.0 / columns + (0.25 if titles else 0))), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image in zip(axes.flat, images):
        axis.imshow(image, cmap="gray", vmin=0, vmax=1)
    for axis, title in zip(axes.flat, titles):
        axis.set_title(title, fontsize=8, fontweight="normal")
    return figure


def halves(originals: ArrayLike, reconstructions: ArrayLike, titles: Sequence[str]) -> Figure:
    """Left half of each original beside the right half of its reconstruction, as S3's Figure 4."""
    joined = np.array(reconstructions)
    middle = joined.shape[2] // 2
    joined[:, :, :middle] = np.asarray(originals)[:, :, :middle]
    figure = image_grid(joined, titles)
    for axis in figure.axes[: len(joined)]:
        axis.axvline(middle - 0.5, color=PALETTE["paper"], linewidth=1)
    return figure


def gram_matrices(matrices: Sequence[ArrayLike], titles: Sequence[str]) -> Figure:
    """Gram matrices (C, C) on one logarithmic colour scale."""
    logs = [np.log10(np.maximum(np.asarray(m), 1e-3)) for m in matrices]
    low, high = min(m.min() for m in logs), max(m.max() for m in logs)
    figure, axes = plt.subplots(1, len(logs), figsize=(7.0, 2.6))
    for axis, matrix, title in zip(axes, logs, titles):
        picture = axis.imshow(matrix, vmin=low, vmax=high)
        axis.set(title=title, xlabel="channel $j$", ylabel="channel $i$")
        axis.grid(False)
    figure.colorbar(picture, ax=axes, label=r"$\log_{10} G_{ij}/M$", shrink=0.8)
    return figure


def training_curves(history: Sequence[Mapping[str, float]], weight: float) -> Figure:
    """Style loss and Kullback-Leibler term by epoch, training and validation.

    Parameters
    ----------
    history : records of `training.fit`.
    weight : of the Kullback-Leibler term.
    """
    epochs = [record["epoch"] for record in history]
    figure, (left, right) = plt.subplots(1, 2)
    for name, style in (("train", "--"), ("validation", "-")):
        left.plot(epochs, [r[f"{name}_style"] for r in history], style, color=PALETTE["ours"], label=name)
        right.plot(epochs, [r[f"{name}_kl"] for r in history], style, color=PALETTE["ours"], label=name)
    left.axhline(1, color=PALETTE["constant"], linewidth=1, label="mean texture")
    left.set(xlabel="epoch", ylabel="style loss (share of Gram variance)", yscale="log", title="what is not reconstructed")
    right.set(xlabel="epoch", ylabel="KL divergence / nats", title=f"what the latent vector says (weight {weight:g})")
    left.legend()
    return figure


def traversal_grid(images: ArrayLike, labels: Sequence[str], values: Sequence[float]) -> Figure:
    """Decoded images (R, V, h, w): a row for each latent component, a column for each of its values."""
    images = np.asarray(images)
    rows, columns = images.shape[:2]
    figure, axes = plt.subplots(rows, columns, figsize=(7.0, 7.2 / columns * rows), squeeze=False)
    for (r, c), axis in np.ndenumerate(axes):
        axis.imshow(images[r, c], cmap="gray", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
        if r == 0:
            axis.set_title(f"{values[c]:.0f}", fontsize=8)
        if c == 0:
            axis.set_ylabel(labels[r], fontsize=7)
    return figure


def correlation_map(matrix: ArrayLike, names: Sequence[str]) -> Figure:
    """Correlation (D, d) of descriptors with latent components."""
    matrix = np.asarray(matrix)
    figure, axis = plt.subplots(figsize=(7.0, 1.0 + 0.3 * len(matrix)))
    picture = axis.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    axis.set(yticks=range(len(names)), yticklabels=names, xlabel="latent component")
    axis.grid(False)
    figure.colorbar(picture, ax=axis, label="Pearson's r")
    return figure


def parity(observed: ArrayLike, predicted: Mapping[str, ArrayLike], quantity: str) -> Figure:
    """Prediction over observation, one point an image.

    Parameters
    ----------
    observed : (images,)
    predicted : by label, (images,) each, in the order trivial, linear, paper, ours.
    quantity : name and unit for the axes.
    """
    figure, axis = plt.subplots(figsize=(4.6, 3.8))
    ends = np.array([np.min(observed), np.max(observed)])
    axis.plot(ends, ends, color=PALETTE["reference"], linewidth=1)
    colours = (PALETTE[name] for name in ("constant", "linear", "paper", "ours"))
    for (label, values), marker, colour in zip(predicted.items(), "o^sD", colours):
        axis.plot(observed, values, marker, color=colour, markersize=5, alpha=0.8, label=label)
    axis.set(xlabel=f"observed {quantity}", ylabel=f"predicted {quantity}", title="image held out")
    axis.legend()
    return figure
