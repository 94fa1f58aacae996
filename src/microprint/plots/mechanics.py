"""Figures of mechanics: stress-strain curves, solver against solver, stress fields."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from microprint.plots import PALETTE

LINES = ("-", "--", ":")  # of curves in turn, some of which lie upon each other


def curve_family(strain: np.ndarray, stress: np.ndarray, values: np.ndarray, label: str, who: str) -> Figure:
    """Stress-strain curves, (T,) percent and (N, T) MPa, and their mean; coloured by values (N,) that `label` names."""
    figure, ax = plt.subplots(figsize=(6.4, 3.4))
    norm = Normalize(values.min(), values.max())
    for curve, value in zip(stress, values):
        ax.plot(strain, curve, color=plt.cm.viridis(norm(value)), lw=0.7, alpha=0.8)
    ax.plot(strain, stress.mean(0), color=PALETTE["reference"], lw=2.5, label=f"mean of {len(stress)} VEs ({who})")
    figure.colorbar(plt.cm.ScalarMappable(norm), ax=ax, label=label)
    ax.set(xlabel="engineering strain (%)", ylabel="mean stress $P$ along the load (MPa)", ylim=(0, None))
    ax.legend(loc="lower right")
    return figure


def families(strain: np.ndarray, parts: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Mean curve of each family of textures, and the stress at the end of its every volume element.

    By the name of the part, training first, and of the family: curves (N, T) in MPa over (T,) percent.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.8), width_ratios=(1, 1.1))
    names = list(dict.fromkeys(name for families in parts.values() for name in families))
    for row, name in enumerate(names):
        curves = np.concatenate([families[name] for families in parts.values() if name in families])
        color = list(PALETTE.values())[row % len(PALETTE)]
        left.plot(strain, curves.mean(0), color=color, ls=LINES[row % len(LINES)], label=name.replace("_", " "))
        for own, side, marker in zip(parts.values(), (-0.17, 0.17), ("|", "x")):
            ends = own.get(name, np.zeros((0, 1)))[:, -1]
            right.plot(ends, np.full(len(ends), row + side), marker, color=color, ms=6 if marker == "|" else 4, alpha=0.8)
    for part, marker in zip(parts, ("|", "x")):
        left.plot([], [], marker, color=PALETTE["reference"], label=f"{part} (right)")
    left.set(xlabel="engineering strain (%)", ylabel="mean stress $P$ along the load (MPa)", ylim=(0, None), title="mean curve")
    right.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    right.set(xlabel="stress at the end (MPa)", title="every VE")
    right.invert_yaxis()
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return figure


def against_reference(
    strain: np.ndarray, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], tolerance: float, title: str
) -> Figure:
    """Our curves over DAMASK's, (T,) MPa each, against strain in percent, and the relative difference below."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(6.0, 5.0), sharex=True, height_ratios=(3, 2))
    for row, ((name, (ours, reference)), color) in enumerate(zip(curves.items(), PALETTE.values())):
        above.plot(strain, reference, "o", color=color, ms=4, mfc="none")
        above.plot(strain, ours, color=color, ls=LINES[row % len(LINES)], label=name)
        below.semilogy(strain[1:], np.abs(ours[1:] / reference[1:] - 1).clip(1e-8), color=color, ls=LINES[row % len(LINES)])
    above.plot([], [], "o", color="k", ms=4, mfc="none", label="DAMASK (circles)")
    above.set(ylabel="mean stress $P_{xx}$ (MPa)", ylim=(0, None), title=title)
    below.axhline(tolerance, color="k", lw=1, ls="-.", label=f"tolerance {tolerance:g}")
    below.set(xlabel="engineering strain (%)", ylabel="relative difference")
    handles, labels = (a + b for a, b in zip(above.get_legend_handles_labels(), below.get_legend_handles_labels()))
    figure.legend(handles, labels, loc="outside upper left", ncols=2)  # in sight on a phone, too
    return figure


def stress_slice(grain_ids: np.ndarray, field: np.ndarray, title: str, edge_um: float) -> Figure:
    """Mid-plane z of a scalar stress field (n, n, n) in MPa with its grain boundaries, and the field's histogram."""
    n = len(grain_ids)
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.2), width_ratios=(1.1, 1))
    image = left.imshow(field[:, :, n // 2].T, origin="lower", extent=(0, edge_um, 0, edge_um), cmap="magma")
    figure.colorbar(image, ax=left, label=f"{title} (MPa)")
    _boundaries(left, grain_ids[:, :, n // 2], edge_um / n)
    left.set(xlabel="x (µm)", ylabel="y (µm)")
    left.grid(False)
    right.hist(field.ravel(), bins=40, color=PALETTE["ours"])
    right.axvline(field.mean(), color="k", lw=1, label=f"mean {field.mean():.0f} MPa")
    right.set(xlabel=f"{title} (MPa)", ylabel="voxels")
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))  # above the bars and the line
    return figure


def _boundaries(ax: Axes, ids: np.ndarray, voxel: float) -> None:
    """White lines between voxels of different grains."""
    i, j = np.nonzero(ids[1:] != ids[:-1])
    ax.vlines((i + 1) * voxel, j * voxel, (j + 1) * voxel, color="w", lw=0.8)
    i, j = np.nonzero(ids[:, 1:] != ids[:, :-1])
    ax.hlines((j + 1) * voxel, i * voxel, (i + 1) * voxel, color="w", lw=0.8)


def work(sets: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """How many of each set's volume elements needed so many evaluations of the law, and linear iterations, (N,) each.

    Bars are as many whole numbers wide as each other, 25 or fewer.
    """
    figure, panels = plt.subplots(1, 2, figsize=(7.0, 2.6))
    labels = "evaluations of the law per VE", "iterations of conjugate gradients per VE"
    for ax, label, columns in zip(panels, labels, zip(*sets.values())):
        low, high = min(map(np.min, columns)), max(map(np.max, columns))
        width = -(-(int(high - low) + 1) // 25)
        edges = np.arange(low - 0.5, high + 0.5 + width, width)
        ax.hist(columns, edges, stacked=True, label=list(sets), color=list(PALETTE.values())[: len(sets)])
        ax.set(xlabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    plt.setp(panels, ylabel="volume elements")
    panels[0].legend()
    return figure
