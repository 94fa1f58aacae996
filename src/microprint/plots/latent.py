"""Pictures of reconstructions and of latent spaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from microprint.analysis.rate_distortion import Point, envelope
from microprint.orientations import disorientation
from microprint.plots import PALETTE, panels
from microprint.plots.learning import plain_ticks
from microprint.plots.microstructure import colour_key, ipf_colours
from microprint.rivals import RIVALS

COLOURS = [PALETTE[name] for name in ("ours", "paper", "linear", "accent", "coded", "light")]


def orientation_slice(ax: Axes, orientations: Tensor, symmetry: str) -> None:
    """Middle section z = const of (n, n, n, 4), coloured by the crystal direction along x."""
    section = orientations[:, :, orientations.shape[2] // 2].numpy()
    ax.imshow(ipf_colours(section, symmetry).swapaxes(0, 1), origin="lower")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)


def reconstruction_slices(truth: Tensor, models: Mapping[str, Tensor], symmetry: str) -> Figure:
    """The middle section of one volume element (n, n, n, 4) and of its reconstructions, with the error of each below.

    Three or four stand side by side, whichever leaves fewer blank, so that a narrow page can show them.
    """
    columns = min((4, 3), key=lambda columns: -(len(models) + 1) % columns)
    pairs = -(-(len(models) + 1) // columns)
    figure, axes = plt.subplots(2 * pairs, columns, figsize=(1.5 * columns, 3.1 * pairs), squeeze=False)
    for ax in axes[-2:, columns - pairs * columns + len(models) + 1 :].flat:
        ax.set_axis_off()
    orientation_slice(axes[0, 0], truth, symmetry)
    axes[0, 0].set_title("volume element")
    colour_key(axes[1, 0], symmetry)
    middle = truth.shape[2] // 2
    for number, (name, orientations) in enumerate(models.items(), 1):
        drawn, wrong = axes[2 * (number // columns) :, number % columns][:2]
        orientation_slice(drawn, orientations, symmetry)
        drawn.set_title(name.replace(", ", ",\n"))
        angle = torch.rad2deg(disorientation(orientations[:, :, middle], truth[:, :, middle], symmetry))
        image = wrong.imshow(angle.T, origin="lower", vmin=0, vmax=60, cmap="magma")
        wrong.set(xticks=[], yticks=[], xlabel=f"mean {float(angle.mean()):.1f}°")
        wrong.grid(False)
    figure.colorbar(image, ax=axes, location="bottom", shrink=0.5, aspect=30, label="disorientation / °")
    return figure


def along_path(curves: Mapping[str, Mapping[str, Tensor]], labels: Mapping[str, str], levels: Mapping[str, float]) -> Figure:
    """Numbers (pairs of ends, steps) by panel and by path: their means, and bands that hold the middle 80 % of the pairs.

    `levels` is what real volume elements have, for some panels.
    """
    figure, axes = panels(len(curves), len(curves), 2.5, 2.4)
    for ax, (panel, paths) in zip(axes.flat, curves.items(), strict=True):
        for color, (name, values) in zip(COLOURS, paths.items(), strict=False):
            way, band = torch.linspace(0, 1, values.shape[1]), values.quantile(torch.tensor([0.1, 0.9]), dim=0)
            ax.fill_between(way, *band, color=color, alpha=0.2, lw=0)
            ax.plot(way, values.mean(0), ".-", color=color, label=name)
        if panel in levels:
            ax.axhline(levels[panel], color=PALETTE["constant"], linestyle="--", label="real VEs")
        ax.set(xlabel="way from start to end", ylabel=labels[panel], title=panel)
        ax.set_ylim(0, ax.get_ylim()[1])
    named = {label: handle for ax in axes.flat for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named, loc="outside upper left", ncols=2, fontsize=8)
    return figure


def rows_of_slices(rows: Mapping[str, tuple[Tensor, Sequence[str]]], symmetry: str) -> Figure:
    """Middle sections of volume elements (m, n, n, n, 4) with a title each, a named row each; the colour key at the end."""
    widest = max(len(titles) for _, titles in rows.values())
    figure, axes = plt.subplots(len(rows), widest + 1, figsize=(1.15 * (widest + 1), 1.4 * len(rows)), squeeze=False)
    for row, (name, (fields, titles)) in zip(axes, rows.items(), strict=True):
        for ax in row[len(titles) :]:
            ax.set_axis_off()
        for ax, field, title in zip(row, fields, titles, strict=False):
            orientation_slice(ax, field, symmetry)
            ax.set_title(title, fontsize=8)
        row[0].set_ylabel(name)
    colour_key(axes[0, -1], symmetry)
    return figure


def seed_exchange(before: Tensor, after: Tensor, mean: Tensor, curve: tuple[Tensor, Tensor], symmetry: str) -> Figure:
    """What one seed of a fingerprint, whose anchor is voxel (0, 0, 0), decides.

    A decoded volume element (n, n, n, 4) before and after the seed is exchanged; the mean response (n, n, n) in degrees; and
    the mean responses by distance, a curve of two (m,).
    """
    figure, grid = plt.subplots(2, 2, figsize=(5.2, 4.6))
    axes = grid.flat
    middle = len(mean) // 2
    for ax, field, title in zip(axes, (before, after), ("decoded", "one seed exchanged"), strict=False):
        orientation_slice(ax, field.roll([middle] * 3, (0, 1, 2)), symmetry)
        ax.set_title(title)
    image = axes[2].imshow(mean.roll([middle] * 3, (0, 1, 2))[:, :, middle].T, origin="lower", vmin=0, cmap="magma")
    axes[2].set(xticks=[], yticks=[], title="mean turn / °")
    axes[2].grid(False)
    figure.colorbar(image, ax=axes[2], shrink=0.8)
    for ax in axes[:3]:
        ax.plot(middle, middle, "+", color="white", markersize=9)
    axes[3].plot(*curve, ".-", color=PALETTE["ours"])
    axes[3].set(xlabel="distance / spacing of anchors", ylabel="mean turn / °", xlim=(0, None), ylim=(0, None))
    return figure


def scatter_sets(ax: Axes, sets: Mapping[str, Tensor], background: Tensor) -> None:
    """Sets of points on the first two principal components, over the training set in grey; points (N, at least 2).

    Axes are a unit long or more: a model whose fingerprints have collapsed into one shows a point. A legend would cover points:
    it belongs beside the panel.
    """
    ax.scatter(background[:, 0], background[:, 1], s=4, color="0.8", label="training", zorder=0)
    for color, (name, points) in zip(COLOURS, sets.items(), strict=False):
        ax.scatter(points[:, 0], points[:, 1], s=9, color=color, label=name)
    for low, high, limits in ((*ax.get_xlim(), ax.set_xlim), (*ax.get_ylim(), ax.set_ylim)):
        middle, half = (low + high) / 2, max((high - low) / 2, 0.5)
        limits(middle - half, middle + half)
    ax.set(xlabel="principal component 1", ylabel="principal component 2")


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


def seed_sections(drawn: Mapping[str, Tensor], places: Mapping[str, Tensor], symmetry: str) -> Figure:
    """The middle section of one volume element, as it is and as its seeds draw it at several resolutions.

    Orientations (n, n, n, 4) by title, of any n each; points (M, 3) in edges by label, of which those near the section are
    marked on the last panel.
    """
    figure, grid = panels(len(drawn) + 1, 3, 5.6 / 3, 2.2)
    axes = grid.flat[: len(drawn) + 1]
    for ax, (title, field) in zip(axes, drawn.items(), strict=False):
        orientation_slice(ax, field, symmetry)
        ax.set_title(title)
    edge, last = len(field), axes[len(drawn) - 1]
    for (label, points), marker in zip(places.items(), ("+", "o"), strict=True):
        x, y, _ = (points[(points[:, 2] - 0.5).abs() < 0.17] * edge).unbind(1)
        face = {"facecolor": "white"} if marker == "o" else {}
        last.scatter(x, y, marker=marker, s=22, color="black", label=label, **face)
    last.set(xlim=(-0.5, edge - 0.5), ylim=(-0.5, edge - 0.5))
    last.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2, fontsize=7)
    colour_key(axes[-1], symmetry)
    return figure


def rate_distortion(codes: Mapping[str, Sequence[Point]], budget: float) -> Figure:
    """Mean disorientation over bytes of every code: all points, and as a line those that no other beats.

    A dashed line marks the `budget` in bytes of S1's fingerprint.
    """
    figure, ax = plt.subplots(figsize=(6.4, 3.8))
    for name, every in codes.items():
        color, best = code_colour(name), envelope(every)
        ax.plot([p.bytes for p in every], [p.disorientation_deg for p in every], ".", ms=3, alpha=0.35, color=color)
        ax.plot([p.bytes for p in best], [p.disorientation_deg for p in best], "o-", ms=3.5, color=color, label=name)
    ax.axvline(budget, color=PALETTE["constant"], ls="--", lw=0.8, label="bytes of S1's floats")
    ax.set(xscale="log", yscale="log", xlabel="bytes a volume element", ylabel="mean disorientation / °")
    for axis in (ax.xaxis, ax.yaxis):
        plain_ticks(axis)
    figure.legend(loc="outside upper left", ncols=2, fontsize=8)
    return figure


def errors_by_set(errors: Mapping[str, Mapping[str, float]]) -> Figure:
    """Mean disorientations in degrees, by set and by code: a row a set, a colour a code; hollow where the code has a budget.

    The name of a code with a budget goes on after a comma, as in ``"ours, 512 bytes"``.
    """
    figure, ax = plt.subplots(figsize=(6.4, 1.7 + 0.27 * len(errors)))
    for name in next(iter(errors.values())):
        color, hollow = code_colour(name), "," in name
        face, size = ("none", 7) if hollow else (color, 5)
        values = [by_code[name] for by_code in errors.values()]
        ax.plot(values, range(len(errors)), "o", color=color, markerfacecolor=face, ms=size, label=name)
    ax.set(xscale="log", xlabel="mean disorientation / °", yticks=range(len(errors)), yticklabels=list(errors))
    plain_ticks(ax.xaxis)
    ax.invert_yaxis()
    figure.legend(loc="outside upper left", ncols=2, fontsize=8)
    return figure


def code_colour(name: str) -> str:
    """One colour for a code in all figures, whatever its budget."""
    kind = name.split(",")[0]
    own = {"grain list": "constant", "equiaxed": "light"}
    return PALETTE[RIVALS[kind].colour if kind in RIVALS else own.get(kind, kind)]
