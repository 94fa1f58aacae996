"""Figures of mechanics: stress-strain curves, solver against solver, stress fields."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from microprint.plots import PALETTE


def curve_family(strain: np.ndarray, stress: np.ndarray, values: np.ndarray, label: str) -> Figure:
    """Stress-strain curves, (T,) percent and (N, T) MPa, and their mean; coloured by values (N,) that `label` names."""
    figure, ax = plt.subplots(figsize=(4.6, 3.2))
    norm = Normalize(values.min(), values.max())
    for curve, value in zip(stress, values):
        ax.plot(strain, curve, color=plt.cm.viridis(norm(value)), lw=0.7, alpha=0.8)
    ax.plot(strain, stress.mean(0), color=PALETTE["reference"], lw=2, label=f"mean of {len(stress)}")
    figure.colorbar(plt.cm.ScalarMappable(norm), ax=ax, label=label)
    ax.set(xlabel="engineering strain (%)", ylabel="mean stress $P$ along the load (MPa)", ylim=(0, None))
    ax.legend(loc="lower right")
    return figure


def families(strain: np.ndarray, stress: Mapping[str, np.ndarray]) -> Figure:
    """Mean curve and range of each family of textures, by its name: (T,) percent, (N, T) MPa."""
    figure, ax = plt.subplots(figsize=(5.6, 3.2))
    for (name, curves), color in zip(stress.items(), PALETTE.values()):
        ax.fill_between(strain, curves.min(0), curves.max(0), color=color, alpha=0.15, lw=0)
        ax.plot(strain, curves.mean(0), color=color, label=f"{name.replace('_', ' ')} ({len(curves)})")
    ax.set(xlabel="engineering strain (%)", ylabel="mean stress $P$ along the load (MPa)", ylim=(0, None))
    figure.legend(loc="outside right upper", fontsize=7)
    return figure


def against_reference(strain: np.ndarray, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Our curves over a reference's, (T,) MPa each, against strain in percent, and the relative difference below."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(6.4, 4.6), sharex=True, height_ratios=(3, 2))
    for (name, (ours, reference)), color in zip(curves.items(), PALETTE.values()):
        above.plot(strain, reference, "o", color=color, ms=4, mfc="none")
        above.plot(strain, ours, color=color, label=name)
        below.semilogy(strain[1:], np.abs(ours[1:] / reference[1:] - 1).clip(1e-8), color=color)
    above.plot([], [], "o", color="k", ms=4, mfc="none", label="DAMASK")
    above.set(ylabel="mean stress $P_{xx}$ (MPa)", ylim=(0, None))
    above.legend(ncols=2, fontsize=8)
    below.axhline(5e-4, color="k", lw=0.8, ls=":")
    below.set(xlabel="engineering strain (%)", ylabel="relative difference")
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
    right.legend()
    return figure


def _boundaries(ax: Axes, ids: np.ndarray, voxel: float) -> None:
    """White lines between voxels of different grains."""
    i, j = np.nonzero(ids[1:] != ids[:-1])
    ax.vlines((i + 1) * voxel, j * voxel, (j + 1) * voxel, color="w", lw=0.8)
    i, j = np.nonzero(ids[:, 1:] != ids[:, :-1])
    ax.hlines((j + 1) * voxel, i * voxel, (i + 1) * voxel, color="w", lw=0.8)


def convergence(evaluations: np.ndarray, linear: np.ndarray, cutbacks: np.ndarray) -> Figure:
    """Histograms (N,) of the solver's work for each volume element."""
    figure, panels = plt.subplots(1, 3, figsize=(7.2, 2.2), sharey=True)
    labels = ("evaluations of the law", "linear iterations", "halved steps")
    for ax, values, label in zip(panels, (evaluations, linear, cutbacks), labels):
        low, high = int(values.min()), int(values.max())
        ax.hist(values, bins=np.linspace(low - 0.5, high + 0.5, min(high - low + 1, 25) + 1), color=PALETTE["ours"])
        ax.set(xlabel=f"{label} per VE")
    panels[0].set_ylabel("volume elements")
    return figure
