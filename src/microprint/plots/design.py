"""Pictures of property models and of designed composites."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from microprint.plots import PALETTE

Parity = Mapping[str, tuple[np.ndarray, np.ndarray]]


def parity(models: Parity, quantity: str, colours: Mapping[str, str] = {}) -> Figure:
    """Predicted against simulated values, one panel a model.

    Parameters
    ----------
    models : name to (simulated, predicted), both (N,), in the unit that `quantity` states.
    quantity : what it is, with its unit.
    colours : keys of the palette by name of the model.
    """
    figure, axes = plt.subplots(1, len(models), figsize=(2.5 * len(models), 2.7), sharex=True, sharey=True, squeeze=False)
    everything = np.concatenate([np.concatenate(pair) for pair in models.values()])
    ends = everything.min(), everything.max()
    for axis, (name, (simulated, predicted)) in zip(axes[0], models.items()):
        axis.plot(ends, ends, color=PALETTE["reference"], lw=0.8)
        axis.plot(simulated, predicted, "o", ms=3, alpha=0.7, color=PALETTE[colours.get(name, "ours")])
        axis.set_title("\n".join(textwrap.wrap(name, 24)), fontsize=8)
        axis.set(xlabel=f"simulated {quantity}")
    axes[0, 0].set_ylabel(f"predicted {quantity}")
    return figure


def targets(target: np.ndarray, achieved: Mapping[str, np.ndarray], quantity: str, colours: Mapping[str, str] = {}) -> Figure:
    """Achieved, by simulation, against wanted values, with a band of 10 %.

    Parameters
    ----------
    target : (T,) wanted values.
    achieved : name of the method to (T, k) values of its k designs for each target.
    """
    figure, axis = plt.subplots(figsize=(4.6, 3.4))
    ends = np.array([target.min() * 0.8, target.max() * 1.2])
    axis.plot(ends, ends, color=PALETTE["reference"], lw=0.8)
    axis.fill_between(ends, 0.9 * ends, 1.1 * ends, color=PALETTE["constant"], alpha=0.2, lw=0, label="within 10 %")
    for shift, (name, values) in enumerate(achieved.items()):
        places = np.repeat(target, values.shape[1]) * 1.015**shift
        axis.plot(places, values.ravel(), "o", ms=4, alpha=0.8, color=PALETTE[colours.get(name, "ours")], label=name)
    axis.set(xscale="log", yscale="log", xlabel=f"target {quantity}", ylabel=f"simulated {quantity} of the design")
    axis.legend(fontsize=7)
    return figure


def cubes(volumes: Sequence[np.ndarray], titles: Sequence[str], columns: int = 6) -> Figure:
    """Three faces of two-phase volumes (n, n, n), the hard phase dark, in an isometric view from (1, 1, 1)."""
    rows = -(-len(volumes) // columns)
    figure, axes = plt.subplots(rows, min(columns, len(volumes)), squeeze=False,
                                figsize=(1.5 * min(columns, len(volumes)), 1.75 * rows))
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, volume, title in zip(axes.flat, volumes, titles):
        _cube(axis, np.asarray(volume, float))
        axis.set_title(title, fontsize=6.5)
    return figure


def _cube(axis: Axes, volume: np.ndarray) -> None:
    """The faces at the largest x, y and z as sheared images: x points to the lower left, y to the lower right, z up."""
    x, y, z = np.array([-0.866, -0.5]), np.array([0.866, -0.5]), np.array([0.0, 1.0])
    faces = ((z, x, y, volume[:, :, -1], 1.0), (x, y, z, volume[-1], 0.85), (y, x, z, volume[:, -1], 0.7))
    steps = np.linspace(0, 1, len(volume) + 1)
    for origin, first, second, image, light in faces:
        points = origin + steps[:, None, None] * first + steps[None, :, None] * second
        shade = light * (1 - 0.85 * image)
        axis.pcolormesh(points[..., 0], points[..., 1], shade, cmap="gray", vmin=0, vmax=1, rasterized=True)
    axis.set_aspect("equal")


def mixture_path(target: np.ndarray, weight: np.ndarray, fraction: np.ndarray, quantity: str) -> Figure:
    """What the components of the prior offer along the targets: their weights, and the volume fraction of their designs.

    Parameters
    ----------
    target : (T,); weight, fraction : (T, K), at each target the likeliest component first.
    """
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 2.6))
    for k in range(weight.shape[1]):
        colour = [PALETTE["ours"], PALETTE["paper"], PALETTE["linear"]][k % 3]
        axes[0].plot(target, weight[:, k], "o-", ms=3, color=colour,
                     label=("likeliest", "second", "third")[k] if k < 3 else None)
        axes[1].plot(target, 100 * fraction[:, k], "o-", ms=3, color=colour)
    axes[0].set(xlabel=f"target {quantity}", ylabel="probability", ylim=(-0.03, 1.03))
    axes[1].set(xlabel=f"target {quantity}", ylabel="hard phase of the design (%)")
    axes[0].legend(fontsize=7)
    return figure


def curves_with_band(strain: np.ndarray, simulated: np.ndarray, mean: np.ndarray, std: np.ndarray) -> Figure:
    """Simulated curves (k, T) in MPa, and predicted ones with their 90 % interval, one panel each."""
    figure, axes = plt.subplots(1, len(simulated), figsize=(2.4 * len(simulated), 2.5), sharex=True, sharey=True, squeeze=False)
    for axis, truth, line, width in zip(axes[0], simulated, mean, 1.645 * std):
        axis.fill_between(100 * strain, line - width, line + width, color=PALETTE["light"], alpha=0.4, lw=0,
                          label="90 % interval")
        axis.plot(100 * strain, line, color=PALETTE["ours"], label="surrogate")
        axis.plot(100 * strain, truth, color=PALETTE["reference"], lw=1, ls="--", label="simulation")
        axis.set(xlabel="strain (%)")
    axes[0, 0].set_ylabel("stress $P_{xx}$ (MPa)")
    axes[0, 0].legend(fontsize=7)
    return figure


def bounds(fraction: np.ndarray, values: np.ndarray, share: np.ndarray, limits: Mapping[str, np.ndarray]) -> Figure:
    """Simulated C11 in GPa against the hard phase's share (N,), between `analysis.inverse.bounds` at shares (M,)."""
    figure, axis = plt.subplots(figsize=(4.6, 3.2))
    axis.fill_between(100 * share, limits["reuss"], limits["voigt"], color=PALETTE["constant"], alpha=0.15, lw=0,
                      label="Reuss to Voigt")
    axis.fill_between(100 * share, limits["hs_lower"], limits["hs_upper"], color=PALETTE["light"], alpha=0.3, lw=0,
                      label="Hashin-Shtrikman (isotropic)")
    axis.plot(100 * fraction, values, "o", ms=2.5, alpha=0.7, color=PALETTE["ours"], label="simulated")
    axis.set(xlabel="hard phase (%)", ylabel="C11 (GPa)", yscale="log")
    axis.legend(fontsize=7)
    return figure


def training(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Terms of the loss of VAE-regression over the epochs, one line a prior; training dashed, validation full."""
    figure, axes = plt.subplots(1, 3, figsize=(8.0, 2.4))
    for axis, term in zip(axes, ("regression", "reconstruction", "kl")):
        for (name, history), colour in zip(histories.items(), (PALETTE["constant"], PALETTE["paper"])):
            epochs = [row["epoch"] for row in history]
            axis.plot(epochs, [row[f"train_{term}"] for row in history], "--", color=colour, lw=1)
            axis.plot(epochs, [row[f"validation_{term}"] for row in history], color=colour, label=name)
        axis.set(xlabel="epoch", title=term)
    axes[0].set_ylabel("-ln q(c|x) + const (nats)")
    axes[1].set_ylabel("reconstruction loss")
    axes[2].set_ylabel("divergence (nats)")
    axes[0].legend(fontsize=7)
    return figure


def family(strain: np.ndarray, train: np.ndarray, test: np.ndarray) -> Figure:
    """All curves (N, T) in MPa: training in grey, test in colour."""
    figure, axis = plt.subplots(figsize=(4.6, 3.0))
    axis.plot(100 * strain, train.T, color=PALETTE["constant"], lw=0.6, alpha=0.5)
    axis.plot(100 * strain, test.T, color=PALETTE["ours"], lw=0.6, alpha=0.7)
    axis.plot([], [], color=PALETTE["constant"], label="training")
    axis.plot([], [], color=PALETTE["ours"], label="test")
    axis.set(xlabel="strain (%)", ylabel="stress $P_{xx}$ (MPa)")
    axis.legend()
    return figure


def texture_plane(coefficients: np.ndarray, stress: np.ndarray) -> Figure:
    """Stress (N,) in MPa as colour over the two texture coefficients (N, 2)."""
    figure, axis = plt.subplots(figsize=(4.2, 3.0))
    points = axis.scatter(*coefficients.T, c=stress, s=16)
    axis.set(xlabel="volume average of $c^2$", ylabel="volume average of $c^4$")
    figure.colorbar(points, label="stress $P_{xx}$ at the last strain (MPa)")
    return figure


def loss(history: Sequence[Mapping[str, float]], title: str) -> Figure:
    """Training and validation loss over the epochs, logarithmic."""
    figure, axis = plt.subplots(figsize=(4.6, 2.6))
    epochs = [row["epoch"] for row in history]
    axis.plot(epochs, [row["train_loss"] for row in history], "--", color=PALETTE["paper"], label="training")
    axis.plot(epochs, [row["validation_loss"] for row in history], color=PALETTE["paper"], label="validation")
    axis.set(xlabel="checkpoint", ylabel="loss", yscale="log", title=title)
    axis.legend()
    return figure
