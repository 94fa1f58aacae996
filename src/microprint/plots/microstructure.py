"""Pictures of microstructures: orientation maps with their colour key, composites, micrographs, jumps of channels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D

from microprint import orientations
from microprint.plots import PALETTE

# Corners of the standard triangle in crystal coordinates, with their Miller(-Bravais) indices.
_TRIANGLE = {
    "cubic": (((0, 0, 1), "[001]"), ((1, 0, 1), "[101]"), ((1, 1, 1), "[111]")),
    "hexagonal": (((0, 0, 1), "[0001]"), ((1, 0, 0), r"$[2\bar1\bar10]$"), ((math.sqrt(3) / 2, 0.5, 0), r"$[10\bar10]$")),
}


def ipf_colours(quaternion: np.ndarray, symmetry: str, axis: str = "x") -> np.ndarray:
    """Inverse-pole-figure colours (..., 3) of orientations (..., 4) for a sample axis, by damask; NaN becomes white."""
    import damask

    known = np.isfinite(quaternion).all(-1)
    colours = np.ones((*quaternion.shape[:-1], 3))
    if known.any():
        q = quaternion[known].astype(np.float64)  # damask demands double precision, length 1 and w >= 0
        q = q / np.linalg.norm(q, axis=-1, keepdims=True) * np.where(q[..., :1] < 0, -1, 1)
        colours[known] = damask.Orientation(rotation=q, family=symmetry).IPF_color(np.eye(3)["xyz".index(axis)])
    return colours


def slices(fields: Sequence[np.ndarray], titles: Sequence[str], symmetry: str, *, edge_m: float, axis: str = "x") -> Figure:
    """Middle sections z = const of voxel orientations (n, n, n, 4), IPF-coloured for a sample axis, and the colour key."""
    count = len(fields)
    figure, axes = plt.subplots(1, count + 1, figsize=(1.75 * count + 1.6, 2.1), width_ratios=[*[1] * count, 0.8])
    for ax, field, title in zip(axes[:-1], fields, titles):
        show_section(ax, ipf_colours(field[:, :, field.shape[2] // 2], symmetry, axis), edge_m * 1e6)
        ax.set_title(title)
        ax.label_outer()
    colour_key(axes[-1], symmetry, axis)
    return figure


def show_section(ax: Axes, colours: np.ndarray, edge_um: float) -> None:
    """Section (n, n, 3), indexed [x, y], with axes in micrometres."""
    ax.imshow(colours.swapaxes(0, 1), origin="lower", extent=(0, edge_um, 0, edge_um))
    ax.set(xlabel="x / µm", ylabel="y / µm")
    ax.grid(False)


def colour_key(ax: Axes, symmetry: str, axis: str = "x") -> None:
    """Standard triangle of the stereographic projection, coloured as in `ipf_colours`."""
    import damask

    corners = [np.array(vector) / np.linalg.norm(vector) for vector, _ in _TRIANGLE[symmetry]]
    flat = np.array([_stereographic(corner) for corner in corners])
    width, height = flat.max(0)
    u, v = np.meshgrid(np.linspace(0, width, 160), np.linspace(0, height, 160))
    square = u**2 + v**2
    directions = np.stack([2 * u, 2 * v, 1 - square], -1) / (1 + square)[..., None]
    # The corners go round the triangle against the clock.
    normals = [np.cross(corners[i], corners[(i + 1) % 3]) for i in range(3)]
    inside = np.all([directions @ normal >= -1e-9 for normal in normals], axis=0)
    colours = np.ones((*u.shape, 3))
    colours[inside] = damask.Orientation(family=symmetry).IPF_color(directions[inside])
    ax.imshow(colours, origin="lower", extent=(0, width, 0, height))
    for (x, y), (_, name), vertical in zip(flat, _TRIANGLE[symmetry], ("top", "top", "bottom")):
        ax.annotate(name, (x, y), ha="center", va=vertical, fontsize=7, annotation_clip=False)
    ax.set_title(f"sample {axis}", fontsize=8, pad=14)
    ax.set_axis_off()


def cube(ax: Axes3D, field: np.ndarray, symmetry: str, *, edge_m: float) -> None:
    """Three visible faces of a volume element (n, n, n, 4), IPF-coloured, on a 3D axis; micrometres."""
    n, edge = len(field), edge_m * 1e6
    grid = np.linspace(0, edge, n + 1)
    a, b = np.meshgrid(grid, grid, indexing="ij")
    top = np.full_like(a, edge)
    faces = [((a, b, top), field[:, :, -1]), ((top, a, b), field[-1]), ((a, 0 * top, b), field[:, 0])]
    for (x, y, z), values in faces:
        ax.plot_surface(x, y, z, facecolors=ipf_colours(values, symmetry), rstride=1, cstride=1, shade=False)
    ax.set(xlabel="x / µm", ylabel="y / µm", zlabel="z / µm", box_aspect=(1, 1, 1))
    ax.view_init(elev=25, azim=-55)


def phases(phase: np.ndarray, titles: Sequence[str]) -> Figure:
    """Middle sections of composites (N, n, n, n); black is the stiff phase; axes in voxels."""
    figure, axes = plt.subplots(1, len(phase), figsize=(1.6 * len(phase), 2.1), sharey=True, squeeze=False)
    for ax, volume, title in zip(axes[0], phase, titles):
        section = volume[:, :, volume.shape[2] // 2].T
        ax.imshow(section, origin="lower", cmap="gray_r", vmin=0, vmax=1, extent=(0, section.shape[1], 0, section.shape[0]))
        ax.set(title=title, xlabel="x / voxel")
        ax.grid(False)
    axes[0, 0].set_ylabel("y / voxel")
    return figure


def micrographs(images: Sequence[np.ndarray], titles: Sequence[str], pixel_m: float) -> Figure:
    """Grey images, four a row, axes in micrometres, or in pixels where `pixel_m` is NaN."""
    scale, unit = (1, "pixel") if math.isnan(pixel_m) else (1e6 * pixel_m, "µm")
    columns = 4
    rows = math.ceil(len(images) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.9 * columns, 1.75 * rows), sharex=True, sharey=True, squeeze=False)
    for ax, image, title in zip(axes.flat, images, titles):
        height, width = (length * scale for length in image.shape)
        ax.imshow(image, cmap="gray", vmin=0, vmax=1 if image.dtype.kind == "f" else 255, extent=(0, width, height, 0))
        ax.set_title(title, fontsize=8)
        ax.grid(False)
    plt.setp(axes[-1], xlabel=f"x / {unit}")
    plt.setp(axes[:, 0], ylabel=f"y / {unit}")
    return figure


def pole_figure(ax: Axes, quaternion: np.ndarray, symmetry: str, pole: Sequence[float], title: str) -> None:
    """Upper stereographic projection of all equivalent crystal directions `pole` in the sample frame, as points."""
    q = torch.from_numpy(quaternion[np.isfinite(quaternion).all(-1)]).double()
    axes = orientations.to_matrix(orientations.equivalents(q, symmetry))
    poles = (torch.tensor(pole, dtype=torch.float64) @ axes).reshape(-1, 3).numpy() / np.linalg.norm(pole)
    x, y = _stereographic(poles * np.where(poles[:, 2:] < 0, -1, 1)).T
    ax.scatter(x, y, s=2, alpha=0.25, color=PALETTE["ours"], linewidths=0)
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color=PALETTE["reference"], linewidth=0.8))
    ax.set(title=title, xlim=(-1.08, 1.08), ylim=(-1.08, 1.08), aspect="equal")
    ax.set(xlabel="sample x", ylabel="sample y", xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.grid(False)


def size_distribution(ratios: dict[str, np.ndarray], spread: float) -> Figure:
    """Histograms by set of grain diameters over the mean asked for, beside the log-normal law they were drawn from.

    `spread` is the standard deviation of the logarithm in that law.
    """
    figure, ax = plt.subplots(figsize=(5.2, 2.8))
    bins = np.linspace(0.5, 1.5, 41)
    for name, values in ratios.items():
        ax.hist(values, bins, density=True, histtype="step", linewidth=1.3, label=f"{name}, {len(values)} grains")
    x = np.linspace(0.5, 1.5, 300)
    law = np.exp(-(np.log(x) ** 2) / (2 * spread**2)) / (x * spread * math.sqrt(2 * math.pi))
    ax.plot(x, law, color=PALETTE["reference"], linestyle="--", label="asked for")
    ax.set(xlabel="equivalent-sphere diameter / mean asked for", ylabel="probability density", xlim=(0.5, 1.5))
    ax.legend(fontsize=7)
    return figure


def shares(shares_pct: dict[str, np.ndarray], thresholds: np.ndarray, marked: float) -> Figure:
    """Per cent of near pairs whose largest change of a channel exceeds each threshold, by representation.

    The marked threshold, drawn as a line, is the one of the table.
    """
    figure, ax = plt.subplots(figsize=(5.2, 2.8))
    for name, values in shares_pct.items():
        ax.plot(thresholds, values, label=name)
    ax.axvline(marked, color=PALETTE["constant"], linestyle=":", linewidth=1)
    ax.set(xlabel="threshold of change", ylabel="pairs above it / %", xscale="log", yscale="symlog", ylim=(0, 110))
    ax.set_yscale("symlog", linthresh=0.1)
    ax.legend(fontsize=7)
    return figure


def jumps(channels: dict[str, tuple[np.ndarray, np.ndarray]], angle: np.ndarray) -> Figure:
    """Channels along a turn of a crystal by angles (T,) in degrees about one axis, one panel for each representation.

    By title: values (T, k) along the path and their names, (k,) or none.
    """
    figure, axes = plt.subplots(1, len(channels), figsize=(2.9 * len(channels), 2.6), squeeze=False)
    for ax, (title, (values, names)) in zip(axes[0], channels.items()):
        lines = ax.plot(angle, values, linewidth=1.2)
        if len(names):
            ax.legend(lines, names, fontsize=7, loc="best")
        ax.set(title=title, xlabel="angle turned / °")
    axes[0, 0].set_ylabel("value of the channel")
    return figure


def _stereographic(direction: np.ndarray) -> np.ndarray:
    """Projection (..., 2) of unit vectors of the upper half space."""
    return direction[..., :2] / (1 + direction[..., 2:])
