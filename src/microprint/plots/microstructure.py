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
        direction = np.eye(3)["xyz".index(axis)]
        crystal = damask.Orientation(rotation=_unit(quaternion[known]), family=symmetry)
        colours[known] = crystal.IPF_color(direction)
    return colours


def slices(
    fields: Sequence[np.ndarray],
    titles: Sequence[str],
    symmetry: str,
    *,
    edge_m: float,
    axis: str = "x",
    figure: Figure | None = None,
) -> Figure:
    """Middle sections z = const of voxel orientations (n, n, n, 4), IPF-coloured, with the colour key at the right.

    Parameters
    ----------
    edge_m : edge of the volume elements in metres; the axes are in micrometres.
    axis : sample direction of the colours.
    """
    figure = figure or plt.figure(figsize=(1.75 * len(fields) + 1.6, 2.1))
    axes = figure.subplots(1, len(fields) + 1, width_ratios=[*[1] * len(fields), 0.8])
    for place, field, title in zip(axes[:-1], fields, titles):
        show_section(place, ipf_colours(field[:, :, field.shape[2] // 2], symmetry, axis), edge_m * 1e6)
        place.set_title(title)
        place.label_outer()
    colour_key(axes[-1], symmetry, axis)
    return figure


def show_section(place: Axes, colours: np.ndarray, edge_um: float) -> None:
    """Section (n, n, 3), indexed [x, y], with axes in micrometres."""
    place.imshow(colours.swapaxes(0, 1), origin="lower", extent=(0, edge_um, 0, edge_um))
    place.set(xlabel="x / µm", ylabel="y / µm")
    place.grid(False)


def colour_key(place: Axes, symmetry: str, axis: str = "x", pixels: int = 160) -> None:
    """Standard triangle of the stereographic projection, coloured as in `ipf_colours`."""
    import damask

    corners = [np.array(vector) / np.linalg.norm(vector) for vector, _ in _TRIANGLE[symmetry]]
    flat = np.array([_stereographic(corner) for corner in corners])
    u, v = np.meshgrid(np.linspace(0, flat[:, 0].max(), pixels), np.linspace(0, flat[:, 1].max(), pixels))
    square = u**2 + v**2
    directions = np.stack([2 * u, 2 * v, 1 - square], -1) / (1 + square)[..., None]
    inside = _inside_triangle(directions, corners)
    colours = np.ones((*u.shape, 3))
    colours[inside] = damask.Orientation(family=symmetry).IPF_color(directions[inside])
    place.imshow(colours, origin="lower", extent=(0, flat[:, 0].max(), 0, flat[:, 1].max()))
    for (x, y), (_, name), vertical in zip(flat, _TRIANGLE[symmetry], ("top", "top", "bottom")):
        place.annotate(name, (x, y), ha="center", va=vertical, fontsize=7, annotation_clip=False)
    place.set_title(f"sample {axis}", fontsize=8, pad=14)
    place.set_axis_off()


def cube(place: Axes3D, field: np.ndarray, symmetry: str, *, edge_m: float, axis: str = "x") -> None:
    """Three visible faces of a volume element (n, n, n, 4), IPF-coloured, on a 3D axis; micrometres."""
    n, edge = len(field), edge_m * 1e6
    grid = np.linspace(0, edge, n + 1)
    a, b = np.meshgrid(grid, grid, indexing="ij")
    top = np.full_like(a, edge)
    faces = [((a, b, top), field[:, :, -1]), ((top, a, b), field[-1]), ((a, 0 * top, b), field[:, 0])]
    for (x, y, z), values in faces:
        place.plot_surface(x, y, z, facecolors=ipf_colours(values, symmetry, axis), rstride=1, cstride=1, shade=False)
    place.set(xlabel="x / µm", ylabel="y / µm", zlabel="z / µm", box_aspect=(1, 1, 1))
    place.view_init(elev=25, azim=-55)


def phases(phase: np.ndarray, titles: Sequence[str]) -> Figure:
    """Middle sections of composites (N, n, n, n); black is the stiff phase; axes in voxels."""
    figure, axes = plt.subplots(1, len(phase), figsize=(1.6 * len(phase), 2.1), sharey=True, squeeze=False)
    for place, volume, title in zip(axes[0], phase, titles):
        section = volume[:, :, volume.shape[2] // 2].T
        place.imshow(section, origin="lower", cmap="gray_r", vmin=0, vmax=1, extent=(0, section.shape[1], 0, section.shape[0]))
        place.set(title=title, xlabel="x / voxel")
        place.grid(False)
    axes[0, 0].set_ylabel("y / voxel")
    return figure


def micrographs(images: Sequence[np.ndarray], titles: Sequence[str], pixel_m: float, columns: int = 4) -> Figure:
    """Grey images, axes in micrometres."""
    rows = math.ceil(len(images) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.9 * columns, 1.75 * rows), sharex=True, sharey=True, squeeze=False)
    for place, image, title in zip(axes.flat, images, titles):
        height, width = (length * pixel_m * 1e6 for length in image.shape)
        place.imshow(image, cmap="gray", vmin=0, vmax=1 if image.dtype.kind == "f" else 255, extent=(0, width, height, 0))
        place.set_title(title, fontsize=8)
        place.grid(False)
    for place in axes[-1]:
        place.set_xlabel("x / µm")
    for place in axes[:, 0]:
        place.set_ylabel("y / µm")
    return figure


def pole_figure(place: Axes, quaternion: np.ndarray, symmetry: str, pole: Sequence[float], title: str) -> None:
    """Upper stereographic projection of all equivalent crystal directions `pole` in the sample frame, as points."""
    q = torch.from_numpy(quaternion[np.isfinite(quaternion).all(-1)]).double()
    axes = orientations.to_matrix(orientations.equivalents(q, symmetry))
    poles = (torch.tensor(pole, dtype=torch.float64) @ axes).reshape(-1, 3).numpy() / np.linalg.norm(pole)
    x, y = _stereographic(poles * np.where(poles[:, 2:] < 0, -1, 1)).T
    place.scatter(x, y, s=2, alpha=0.25, color=PALETTE["ours"], linewidths=0)
    place.add_patch(plt.Circle((0, 0), 1, fill=False, color=PALETTE["reference"], linewidth=0.8))
    place.set(title=title, xlim=(-1.08, 1.08), ylim=(-1.08, 1.08), aspect="equal")
    place.set(xlabel="sample x", ylabel="sample y", xticks=[], yticks=[])
    place.spines[:].set_visible(False)
    place.grid(False)


def size_distribution(ratios: dict[str, np.ndarray], spread: float) -> Figure:
    """Histograms of grain diameters over their set's mean, beside the log-normal law they were drawn from.

    Parameters
    ----------
    ratios : by set: diameters over the mean diameter asked for.
    spread : standard deviation of the logarithm in that law.
    """
    figure, place = plt.subplots(figsize=(5.2, 2.8))
    bins = np.linspace(0.5, 1.5, 41)
    for name, values in ratios.items():
        place.hist(values, bins, density=True, histtype="step", linewidth=1.3, label=f"{name}, {len(values)} grains")
    x = np.linspace(0.5, 1.5, 300)
    law = np.exp(-(np.log(x) ** 2) / (2 * spread**2)) / (x * spread * math.sqrt(2 * math.pi))
    place.plot(x, law, color=PALETTE["reference"], linestyle="--", label="asked for")
    place.set(xlabel="equivalent-sphere diameter / mean asked for", ylabel="probability density", xlim=(0.5, 1.5))
    place.legend(fontsize=7)
    return figure


def shares(shares_pct: dict[str, np.ndarray], thresholds: np.ndarray, marked: float) -> Figure:
    """Share of near pairs whose largest change of a channel exceeds a threshold, for several representations.

    Parameters
    ----------
    shares_pct : by representation: per cent of pairs, as long as `thresholds`.
    marked : threshold of the table, drawn as a line.
    """
    figure, place = plt.subplots(figsize=(5.2, 2.8))
    for name, values in shares_pct.items():
        place.plot(thresholds, values, label=name)
    place.axvline(marked, color=PALETTE["constant"], linestyle=":", linewidth=1)
    place.set(xlabel="threshold of change", ylabel="pairs above it / %", xscale="log", yscale="symlog", ylim=(0, 110))
    place.set_yscale("symlog", linthresh=0.1)
    place.legend(fontsize=7)
    return figure


def jumps(channels: dict[str, tuple[np.ndarray, np.ndarray]], angle: np.ndarray) -> Figure:
    """Channels along a turn of a crystal about one axis, one panel for each representation.

    Parameters
    ----------
    channels : by title: values (T, k) along the path and their names, (k,); no names where there are none.
    angle : degrees turned, (T,).
    """
    figure, axes = plt.subplots(1, len(channels), figsize=(2.9 * len(channels), 2.6), squeeze=False)
    for place, (title, (values, names)) in zip(axes[0], channels.items()):
        lines = place.plot(angle, values, linewidth=1.2)
        if len(names):
            place.legend(lines, names, fontsize=7, loc="best")
        place.set(title=title, xlabel="angle turned / °")
    axes[0, 0].set_ylabel("value of the channel")
    return figure


def _stereographic(direction: np.ndarray) -> np.ndarray:
    """Projection (..., 2) of unit vectors of the upper half space."""
    return direction[..., :2] / (1 + direction[..., 2:])


def _inside_triangle(directions: np.ndarray, corners: Sequence[np.ndarray]) -> np.ndarray:
    """Which directions lie in a spherical triangle whose corners go round against the clock."""
    normals = [np.cross(corners[i], corners[(i + 1) % 3]) for i in range(3)]
    return np.all([directions @ normal >= -1e-9 for normal in normals], axis=0)


def _unit(quaternion: np.ndarray) -> np.ndarray:
    """Quaternions of double precision, exactly of length 1, w >= 0, as damask demands."""
    q = quaternion.astype(np.float64)
    return q / np.linalg.norm(q, axis=-1, keepdims=True) * np.where(q[..., :1] < 0, -1, 1)
