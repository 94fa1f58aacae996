"""Pictures of property models and of designed composites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from torch import Tensor

from microprint.analysis.regression import r2, straight_line
from microprint.plots import PALETTE
from microprint.plots.learning import plain_ticks


def targets(
    target: np.ndarray, achieved: Mapping[str, np.ndarray], quantity: str, unit: str, colours: Mapping[str, str] = {}
) -> Figure:
    """Errors (%) of achieved, by simulation, against wanted values (T,) of a quantity, with a band of 10 %.

    Achieved are (T, k) values by the name of the method: of its k designs for each target. Methods stand side by side.
    """
    figure, ax = plt.subplots(figsize=(5.8, 3.6))
    ax.axhspan(-10, 10, color=PALETTE["constant"], alpha=0.2, lw=0, label="within 10 %")
    ax.axhline(0, color=PALETTE["reference"], lw=0.8)
    for number, (name, values) in enumerate(achieved.items()):
        beside = np.repeat(target, values.shape[1]) * 1.025 ** (number - (len(achieved) - 1) / 2)
        error = 100 * (values / target[:, None] - 1)
        ax.plot(beside, error.ravel(), "o", ms=4, alpha=0.8, color=PALETTE[colours.get(name, "ours")], label=name)
    ax.set(xscale="log", xlabel=f"wanted {quantity} ({unit})", ylabel=f"simulated {quantity}, off by (%)")
    ax.set_xticks(target, [f"{value:g}" for value in target])
    ax.set_xticks([], minor=True)
    figure.legend(fontsize=8, loc="outside upper center", ncols=2)
    return figure


def cubes(volumes: Sequence[np.ndarray], titles: Sequence[str], columns: int = 6) -> Figure:
    """Three faces of two-phase volumes (n, n, n), the hard phase dark, in an isometric view from (1, 1, 1), row by row."""
    columns = min(columns, len(volumes))
    rows = -(-len(volumes) // columns)
    figure, axes = plt.subplots(rows, columns, squeeze=False, figsize=(1.5 * columns, 1.75 * rows))
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, volume, title in zip(axes.flat, volumes, titles):
        _cube(ax, np.asarray(volume, float))
        ax.set_title(title, fontsize=9, fontweight="normal")
    return figure


def _cube(ax: Axes, volume: np.ndarray) -> None:
    """The faces at the largest x, y and z as sheared images: x points to the lower left, y to the lower right, z up."""
    x, y, z = np.array([-0.866, -0.5]), np.array([0.866, -0.5]), np.array([0.0, 1.0])
    faces = ((z, x, y, volume[:, :, -1], 0.93), (x, y, z, volume[-1], 0.85), (y, x, z, volume[:, -1], 0.7))
    steps = np.linspace(0, 1, len(volume) + 1)  # no face is white, as the page is
    for origin, first, second, image, light in faces:
        points = origin + steps[:, None, None] * first + steps[None, :, None] * second
        shade = light * (1 - 0.85 * image)
        ax.pcolormesh(points[..., 0], points[..., 1], shade, cmap="gray", vmin=0, vmax=1, rasterized=True)
    ax.set_aspect("equal")


def latent_maps(codes: Mapping[str, Tensor], values: Tensor, label: str) -> Figure:
    """Two principal components of latent vectors (N, d), a panel a model, coloured by a property (N,).

    Above each, what a straight line in all d numbers explains of the logarithm of the property.
    """
    figure, axes = plt.subplots(1, len(codes), figsize=(2.6 * len(codes) + 0.6, 2.6), squeeze=False)
    for ax, (name, z) in zip(axes[0], codes.items()):
        centred = z.double() - z.double().mean(0)
        places = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].T
        log = values.double().log()[:, None]
        share = r2(straight_line(centred, log, centred), log)
        dots = ax.scatter(*places.T, c=values, s=5, cmap="viridis", norm="log")
        ax.set(title=f"{name}\nlinear R² {share:.2f}", xlabel="first component", xticks=[], yticks=[])
    axes[0, 0].set_ylabel("second component")
    bar = figure.colorbar(dots, ax=axes[0, -1], label=label, ticks=LogLocator(subs=(1, 2, 5)), format="{x:g}")
    bar.minorticks_off()
    return figure


def curves_with_band(strain: np.ndarray, simulated: np.ndarray, mean: np.ndarray, std: np.ndarray) -> Figure:
    """Simulated curves (k, T) in MPa above, and below them the errors of predicted ones with their 90 % interval."""
    percent = 100 * strain
    figure, axes = plt.subplots(
        2, len(simulated), figsize=(2.2 * len(simulated), 3.6), sharex=True, sharey="row", squeeze=False
    )
    for curve, error, truth, line, width in zip(*axes, simulated, mean, 1.645 * std):
        curve.plot(percent, line, color=PALETTE["ours"], label="surrogate")
        curve.plot(percent, truth, color=PALETTE["reference"], lw=1, ls="--", label="simulation")
        error.fill_between(percent, -width, width, color=PALETTE["light"], alpha=0.4, lw=0, label="90 % interval")
        error.plot(percent, line - truth, color=PALETTE["ours"])
        error.axhline(0, color=PALETTE["reference"], lw=0.8, ls="--")
        error.set(xlabel="strain (%)")
    axes[0, 0].set_ylabel("stress (MPa)")
    axes[1, 0].set_ylabel("surrogate less\nsimulation (MPa)")
    handles = [sum(parts, []) for parts in zip(*(ax.get_legend_handles_labels() for ax in axes[:, 0]))]
    figure.legend(*handles, loc="outside upper left", ncols=3, fontsize=8)
    return figure


def bounds(fraction: np.ndarray, values: np.ndarray, share: np.ndarray, limits: Mapping[str, np.ndarray], name: str) -> Figure:
    """Simulated component in GPa against the hard phase's share (N,), between `composites.bounds` at shares (M,)."""
    figure, ax = plt.subplots(figsize=(4.6, 3.2))
    band = partial(ax.fill_between, 100 * share, lw=0)
    band(limits["reuss"], limits["voigt"], color=PALETTE["constant"], alpha=0.15, label="Reuss to Voigt")
    band(limits["hs_lower"], limits["hs_upper"], color=PALETTE["light"], alpha=0.3, label="Hashin-Shtrikman (isotropic)")
    for bound in ("hs_lower", "hs_upper"):  # above the points, which may hide the band
        ax.plot(100 * share, limits[bound], color=PALETTE["reference"], lw=0.8, zorder=3)
    ax.plot(
        100 * fraction, values, "o", ms=2.5 if len(values) < 1000 else 1, alpha=0.7, color=PALETTE["ours"], label="simulated"
    )
    ax.set(xlabel="hard phase (%)", ylabel=f"{name} (GPa)", yscale="log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_locator(NullLocator())
    ax.legend(fontsize=8)
    return figure


def falling(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    x: str,
    y: str,
    ax: Axes,
    levels: Mapping[str, float] = {},
    looks: Mapping[str, Mapping[str, str | float]] = {},
) -> None:
    """Errors (N,) that fall along x (N,), on logarithmic axes, a line a method; horizontal lines at levels by their names.

    Of errors (N, draws) the mean is drawn, and their range as a band. `looks` are colours of the palette, lines and markers
    of methods, where they are not to go by turns.
    """
    for number, (name, (places, errors)) in enumerate(curves.items()):
        color = ("ours", "linear", "other", "constant", "accent")[number % 5]
        line = ("-", "--", ":")[number // 5 % 3]  # colours begin anew, dashed
        look = {"color": color, "ls": line, "marker": "o" if len(places) <= 30 else "", "ms": 3, **looks.get(name, {})}
        color = look["color"] = PALETTE[look["color"]]
        if np.ndim(errors) == 2:
            ax.fill_between(places, np.min(errors, 1), np.max(errors, 1), color=color, alpha=0.2, lw=0)
            errors = np.mean(errors, 1)
        ax.plot(places, errors, label=name, **look)
    for name, level in levels.items():
        ax.axhline(level, color=PALETTE["reference"], ls=":", lw=0.9)
        patch = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}
        ax.annotate(name, (1, level), xycoords=("axes fraction", "data"), fontsize=7, ha="right", va="bottom", bbox=patch)
    ax.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
    least, most = (end(places[-1 if end is max else 0] for places, _ in curves.values()) for end in (min, max))
    ticks = [tick * 10**power for power in range(6) for tick in (1, 3) if least <= tick * 10**power <= most]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    plain_ticks(ax.yaxis)
    ax.figure.legend(loc="outside upper left", ncols=2, fontsize=8)  # in sight on a phone, too
