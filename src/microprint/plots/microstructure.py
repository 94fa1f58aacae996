"""Pictures of microstructures: orientation maps with their colour key, micrographs, sizes, jumps of channels."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from scipy.special import ndtr

from microprint import orientations
from microprint.plots import PALETTE

# Corners of the standard triangle in crystal coordinates, with their Miller(-Bravais) indices.
_TRIANGLE = {
    "cubic": (((0, 0, 1), "[001]"), ((1, 0, 1), "[101]"), ((1, 1, 1), "[111]")),
    "hexagonal": (
        ((0, 0, 1), "[0001]"),
        ((1, 0, 0), r"$[2\overline{1}\,\overline{1}0]$"),
        ((math.sqrt(3) / 2, 0.5, 0), r"$[10\overline{1}0]$"),
    ),
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
    """Middle sections z = const of voxel orientations (n, n, n, 4), IPF-coloured for a sample axis, and the colour key.

    Three a row; of four, two, so that none stands alone.
    """
    columns = 2 if len(fields) == 4 else min(len(fields), 3)
    rows = math.ceil(len(fields) / columns)
    figure = plt.figure(figsize=(2.0 * columns + 1.7, 2.2 * rows))
    grid = figure.add_gridspec(rows, columns + 1, width_ratios=[*[1] * columns, 0.85])
    for number, (field, title) in enumerate(zip(fields, titles)):
        ax = figure.add_subplot(grid[divmod(number, columns)])
        show_section(ax, ipf_colours(field[:, :, field.shape[2] // 2], symmetry, axis), edge_m * 1e6)
        ax.set_title(title)
        ax.label_outer()
    colour_key(figure.add_subplot(grid[:, -1]), symmetry, axis)
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
        away = (0, 3 if vertical == "bottom" else -4)
        ax.annotate(name, (x, y), away, textcoords="offset points", ha="center", va=vertical, fontsize=9, annotation_clip=False)
    ax.set_title(f"sample {axis}", fontsize=9, pad=20)
    ax.set_axis_off()


def cubes(fields: Sequence[np.ndarray], titles: Sequence[str], symmetry: str, *, edge_m: float) -> Figure:
    """Three visible faces of volume elements (n, n, n, 4), IPF-coloured for sample x, three a row; axes in micrometres."""
    columns = min(len(fields), 3)
    rows = math.ceil(len(fields) / columns)
    kind = {"projection": "3d"}
    figure, axes = plt.subplots(rows, columns, figsize=(2.8 * columns, 2.7 * rows), subplot_kw=kind, squeeze=False)
    for ax in axes.flat[len(fields) :]:
        ax.remove()
    for ax, field, title in zip(axes.flat, fields, titles):
        _cube(ax, field, symmetry, edge_m * 1e6)
        ax.set_title(title)
    return figure


def _cube(ax: Axes3D, field: np.ndarray, symmetry: str, edge: float) -> None:
    grid = np.linspace(0, edge, len(field) + 1)
    a, b = np.meshgrid(grid, grid, indexing="ij")
    top = np.full_like(a, edge)
    faces = [((a, b, top), field[:, :, -1]), ((top, a, b), field[-1]), ((a, 0 * top, b), field[:, 0])]
    for (x, y, z), values in faces:
        ax.plot_surface(x, y, z, facecolors=ipf_colours(values, symmetry), rstride=1, cstride=1, shade=False)
    for along, name in ((ax.xaxis, "x"), (ax.yaxis, "y"), (ax.zaxis, "z")):
        along.set_label_text(f"{name} / µm")
        along.labelpad = -4
        along.set_major_locator(MaxNLocator(3))
    ax.set_box_aspect((1, 1, 1))
    ax.tick_params(labelsize=7, pad=0)
    ax.view_init(elev=25, azim=-55)


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


def pole_figures(orientations_by_set: dict[str, np.ndarray], symmetry: str, pole: Sequence[float]) -> Figure:
    """Equal-area projections of all equivalent crystal directions `pole` of orientations (N, 4), a panel for each set.

    The upper half space is seen from above, sample x to the right and y upwards; what is random is even over the disc.
    """
    count = len(orientations_by_set)
    figure, axes = plt.subplots(1, count, figsize=(1.7 * count, 2.1), squeeze=False)
    for ax, (name, quaternion) in zip(axes[0], orientations_by_set.items()):
        q = torch.from_numpy(quaternion[np.isfinite(quaternion).all(-1)]).double()
        matrices = orientations.to_matrix(orientations.equivalents(q, symmetry))
        poles = (torch.tensor(pole, dtype=torch.float64) @ matrices).reshape(-1, 3).numpy() / np.linalg.norm(pole)
        poles *= np.where(poles[:, 2:] < 0, -1, 1)
        x, y = (poles[:, :2] / np.sqrt(1 + poles[:, 2:])).T
        ax.scatter(x, y, s=2, alpha=0.25, color=PALETTE["ours"], linewidths=0)
        ax.add_patch(plt.Circle((0, 0), 1, fill=False, color=PALETTE["reference"], linewidth=0.8))
        ax.set(title=name, xlim=(-1.08, 1.22), ylim=(-1.08, 1.22), aspect="equal", xticks=[], yticks=[])
        ax.text(1.04, 0, "x", va="center")
        ax.text(0, 1.08, "y", ha="center")
        ax.spines[:].set_visible(False)
        ax.grid(False)
    return figure


def size_distribution(ratios: dict[str, np.ndarray], spread: float, dashed: Collection[str] = ()) -> Figure:
    """Shares of grains below a size, by set of diameters over the median asked for, beside the log-normal law in grey; below,
    by how much they differ from it.

    `spread` is the standard deviation of the logarithm in that law. Five sets at most; the `dashed` ones are rivals.
    """
    figure, (ax, apart) = plt.subplots(2, figsize=(6.4, 4.8), sharex=True, height_ratios=(3, 2))
    x = np.linspace(0.6, 1.5, 300)
    law = 100 * ndtr(np.log(x) / spread)
    ax.plot(x, law, color=PALETTE["reference"], linewidth=3, alpha=0.35, label="law asked for")
    for order, ((name, values), colour) in enumerate(zip(ratios.items(), ("ours", "paper", "linear", "other", "accent"))):
        values, share = np.sort(values), 100 * np.arange(1, len(values) + 1) / len(values)
        line = "--" if name in dashed else "-"
        style = {"color": PALETTE[colour], "drawstyle": "steps-post", "linewidth": 1.2, "zorder": 4 - 0.1 * order}
        ax.plot(values, share, line, label=f"{name}, {len(values)} grains", **style)
        below = 100 * np.searchsorted(values, x, side="right") / len(values)
        apart.plot(x, below - law, line, **style)
    ax.set(ylabel="grains smaller than this / %", xlim=(0.6, 1.5), ylim=(0, 100))
    apart.set(xlabel="equivalent-sphere diameter / median asked for", ylabel="less the law's / points")
    apart.axhline(0, color=PALETTE["reference"], linewidth=3, alpha=0.35)
    ax.legend(fontsize=8, loc="upper left")  # in sight on a phone, too
    return figure


def shares(shares_pct: dict[str, dict[str, np.ndarray]], thresholds: np.ndarray, marked: float) -> Figure:
    """Per cent of near pairs whose largest change of a channel exceeds each threshold, by representation.

    One panel for each symmetry. The marked threshold, drawn as a line, is the one of the table.
    """
    figure, axes = plt.subplots(1, len(shares_pct), figsize=(4.0 * len(shares_pct), 3.0), sharey=True, squeeze=False)
    for ax, (symmetry, curves) in zip(axes[0], shares_pct.items()):
        for (name, values), line in zip(curves.items(), ("-", "-", "--", "-")):
            ax.plot(thresholds, values, line, label=name)
        ax.axvline(marked, color=PALETTE["constant"], linestyle=":", linewidth=1)
        ax.annotate(" a jump", (marked, 60), fontsize=8, color=PALETTE["constant"])
        ax.set(title=symmetry, xlabel="threshold: largest change of a channel", xscale="log", ylim=(0, 110))
        ax.set_yscale("symlog", linthresh=0.1)
        ax.set_yticks([0, 0.1, 1, 10, 100], ["0", "0.1", "1", "10", "100"])
        ax.xaxis.set_major_formatter("{x:g}")
    axes[0, 0].set_ylabel("pairs above it / %")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=2, fontsize=8)
    return figure


def jumps(channels: dict[str, tuple[np.ndarray, Sequence[str]]], angle: np.ndarray) -> Figure:
    """Channels along a turn of a crystal by angles (T,) in degrees about one axis, one panel for each representation.

    By title: values (T, k) along the path and their names, k or none.
    """
    rows = math.ceil(len(channels) / 2)
    figure, axes = plt.subplots(rows, 2, figsize=(6.4, 2.6 * rows), squeeze=False, sharex=True)
    for ax, (title, (values, names)) in zip(axes.flat, channels.items()):
        lines = ax.plot(angle, values, linewidth=1.2)
        if len(names):
            low, high = ax.get_ylim()
            ax.set_ylim(low, high + 0.35 * (high - low))  # room for the legend
            ax.legend(lines, names, fontsize=8, loc="upper center", ncols=min(len(names), 4), handlelength=1, columnspacing=1)
        ax.set(title=title, ylabel="value of the channel")
    plt.setp(axes[-1], xlabel="angle turned / °")
    return figure


def _stereographic(direction: np.ndarray) -> np.ndarray:
    """Projection (..., 2) of unit vectors of the upper half space."""
    return direction[..., :2] / (1 + direction[..., 2:])
