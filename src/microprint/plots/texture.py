"""Figures of micrographs and of their fingerprints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from microprint.analysis.field_of_view import View, reliability
from microprint.networks.vgg import LAYERS
from microprint.plots import PALETTE, panels

HELD = 0.9  # of the variance of a mean over patches that is to lie between castings


def plain(names: Iterable[str]) -> list[str]:
    """Names of causes, descriptors and properties as a reader has them: words, without units."""
    return [name.replace("_um", "").replace("_px", "").replace("youngs", "Young's").replace("_", " ") for name in names]


def image_grid(images: ArrayLike, titles: Sequence[str] = ()) -> Figure:
    """Grey images (N, h, w) in [0, 1], at most six a row, on one grey scale."""
    columns, lines = min(6, len(images)), max((title.count("\n") + 1 for title in titles), default=0)
    figure, axes = panels(len(images), columns, 7.0 / columns, 7.0 / columns + 0.2 * lines)
    for ax, image in zip(axes.flat, images):
        ax.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=1)
        ax.set_axis_off()
    for ax, title in zip(axes.flat, titles):
        ax.set_title(title, fontsize=8, fontweight="normal")
    return figure


def rows(images: Sequence[ArrayLike], labels: Sequence[str], titles: Sequence[str]) -> Figure:
    """Grey images in [0, 1], a stack (V, h, w) for each row, on one grey scale; `titles` of the V columns."""
    columns = len(titles)
    figure, axes = plt.subplots(len(images), columns, figsize=(7.4, 7.0 / columns * len(images) + 0.2), squeeze=False)
    for (r, c), ax in np.ndenumerate(axes):
        ax.imshow(np.asarray(images[r][c]), cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        if r == 0:
            ax.set_title(titles[c], fontsize=8, fontweight="normal")
        if c == 0:
            ax.set_ylabel(labels[r], fontsize=7)
    return figure


def between_castings(views: Sequence[View], chosen: tuple[float, int], published: tuple[float, int]) -> Figure:
    """Shares of variance between castings over the field of view, with their standard errors, a panel for each resolution.

    `chosen` and `published` (S3's patch) are fields (m) and pixels along their edge; a band marks the first, a dotted line the
    second. The right axis turns a share into the number of patches whose mean has `HELD` of its variance between castings.
    """
    fields, resolutions = (sorted({view[i] for view in views}) for i in (0, 1))
    figure, axes = plt.subplots(1, len(resolutions), figsize=(7.4, 4.4), sharex=True, sharey=True, squeeze=False)
    for ax, pixels in zip(axes[0], resolutions):
        seen = {view.field_m: view for view in views if view.pixels == pixels}
        _shares(list(seen.values()), ax)
        ax.set_title(f"seen at {pixels} x {pixels} pixels", pad=18)
        for field in set(fields) - seen.keys():
            lacking = f"no such patch: only {field / published[0] * published[1]:.0f} pixels"
            ax.text(1e6 * field, 0.5, lacking, rotation=90, ha="center", va="center", color=PALETTE["constant"])
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
    title = "variance of (bars: standard error)"
    figure.legend(*legend, loc="outside upper left", ncols=3, title=title, fontsize=8, title_fontsize=8, alignment="left")
    return figure


def _shares(views: Sequence[View], ax: Axes) -> None:
    """A line for each measure: layers of VGG19 the darker the deeper, descriptors in other colours; a marker each."""
    names = list(views[0].shares)
    layers = [name for name in names if name in LAYERS]
    blues = dict(zip(layers, plt.get_cmap("Blues")(np.linspace(0.35, 1.0, len(layers)))))
    others = dict(zip([name for name in names if name not in blues], (PALETTE[c] for c in ("paper", "coded", "accent"))))
    for i, ((name, color), marker) in enumerate(zip((blues | others).items(), cycle("o^vDPsX*"))):
        shares, layer = [view.shares[name] for view in views], name in blues
        # Side by side, so that the bars of one field do not hide each other.
        at = [1e6 * view.field_m * 1.018 ** (i - (len(names) - 1) / 2) for view in views]
        label = f"Gram matrix, {name}" if layer else name
        value, error = zip(*shares)
        line = "-" if layer else "--"
        ax.errorbar(at, value, error, fmt=marker + line, ms=4.5, elinewidth=0.8, color=color, label=label)


def _patch_axis(ax: Axes) -> None:
    """Number of patches whose mean has `HELD` of its variance between castings, on the right."""
    numbers = np.array([1, 2, 4, 8, 16, 32, 64])
    right = ax.secondary_yaxis("right")
    right.set_yticks(reliability(HELD, 1 / numbers), numbers)
    right.set_ylabel(f"patches to pool for a share of {HELD:g}")


def matrix(
    values: ArrayLike, rows: Sequence[str], columns: Sequence[str], label: str, beside: ArrayLike | None = None
) -> Figure:
    """Numbers (R, C) as a table in colours, which end at -1 and 1; `beside` (R, C) stands in brackets."""
    values = np.asarray(values, float)
    lines = 1 if beside is None else 2
    figure, ax = plt.subplots(figsize=(7.4, 1.1 + (0.15 + 0.15 * lines) * len(values)))
    picture = ax.imshow(values, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    for (r, c), value in np.ndenumerate(values):
        if np.isfinite(value):
            text = "\n".join(
                [f"{round(value, 2) + 0.0:.2f}", *([] if beside is None else [f"({round(beside[r][c], 2) + 0.0:.2f})"])]
            )
            ax.text(c, r, text, ha="center", va="center", fontsize=7, color="white" if abs(value) > 0.7 else "black")
    ax.set_xticks(range(len(columns)), columns, rotation=25, ha="right")
    ax.set_yticks(range(len(rows)), rows)
    ax.grid(False)
    figure.colorbar(picture, ax=ax, label=label)
    return figure
