"""Figures of micrographs and of their fingerprints."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from microprint.analysis.field_of_view import View, reliability
from microprint.networks.vgg import LAYERS
from microprint.plots import PALETTE

HELD = 0.9  # of the variance of a mean over patches that is to lie between castings


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


def between_castings(views: Sequence[View], chosen: tuple[float, int], published: tuple[float, int]) -> Figure:
    """Shares of variance between castings over the field of view, with their standard errors, a panel for each resolution.

    `chosen` and `published` (S3's patch) are fields (m) and pixels along their edge; a band marks the first, a dotted line the
    second. The right axis turns a share into the number of patches whose mean has `HELD` of its variance between castings.
    """
    fields, resolutions = (sorted({view[i] for view in views}) for i in (0, 1))
    figure, axes = plt.subplots(1, len(resolutions), figsize=(8.4, 3.9), sharex=True, sharey=True, squeeze=False)
    for ax, pixels in zip(axes[0], resolutions):
        seen = {view.field_m: view for view in views if view.pixels == pixels}
        _shares(list(seen.values()), ax)
        ax.set_title(f"seen at {pixels} x {pixels} pixels", pad=18)
        for field in set(fields) - seen.keys():
            ax.text(1e6 * field, 0.5, "has fewer pixels", rotation=90, ha="center", va="center", color=PALETTE["constant"])
        if chosen[1] == pixels:
            ax.axvline(1e6 * chosen[0], color=PALETTE["light"], alpha=0.25, lw=14, zorder=0)
            ax.annotate("chosen", (1e6 * chosen[0], 1), (0, 3), ("data", "axes fraction"), "offset points", ha="center")
        if published[1] == pixels:
            ax.axvline(1e6 * published[0], color=PALETTE["reference"], ls=":", zorder=0)
            ax.annotate("S3's patch", (1e6 * published[0], 0), (3, 4), ("data", "axes fraction"), "offset points")
    axes[0, 0].set(xscale="log", ylim=(0, 1), ylabel="share of the variance between castings")
    axes[0, 0].set_xticks([1e6 * field for field in fields], [f"{1e6 * field:g}" for field in fields])
    axes[0, 0].minorticks_off()
    axes[0, 0].margins(x=0.12)
    figure.supxlabel("field of view: edge of a patch (µm)", fontsize=9)
    _patch_axis(axes[0, -1])
    legend = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        *legend, loc="outside right center", title="variance of\n(bars: standard error)", fontsize=8, title_fontsize=8
    )
    return figure


def _shares(views: Sequence[View], ax: Axes) -> None:
    """A line for each measure: layers of VGG19 the darker the deeper, descriptors in colours of their own."""
    names = list(views[0].shares)
    layers = [name for name in names if name in LAYERS]
    blues = dict(zip(layers, plt.get_cmap("Blues")(np.linspace(0.35, 1.0, len(layers)))))
    others = dict(zip([name for name in names if name not in blues], (PALETTE[c] for c in ("paper", "coded", "accent"))))
    for i, (name, color) in enumerate((blues | others).items()):
        shares, layer = [view.shares[name] for view in views], name in blues
        # Side by side, so that the bars of one field do not hide each other.
        at = [1e6 * view.field_m * 1.018 ** (i - (len(names) - 1) / 2) for view in views]
        label = f"Gram matrix, {name}" if layer else name
        value, error = zip(*shares)
        ax.errorbar(at, value, error, fmt="o-" if layer else "s--", ms=4, elinewidth=0.8, color=color, label=label)


def _patch_axis(ax: Axes) -> None:
    """Number of patches whose mean has `HELD` of its variance between castings, on the right."""
    numbers = np.array([1, 2, 4, 8, 16, 32, 64])
    right = ax.secondary_yaxis("right")
    right.set_yticks(reliability(HELD, 1 / numbers), numbers)
    right.set_ylabel(f"patches to pool for a share of {HELD:g}")
