"""How much of a casting a patch shows: shares of the variance of what is measured in patches that lie between castings.

What varies between the patches of one image is which particles happen to be in view. No encoder can learn more of a casting
from a patch than the share of the variance that lies between castings; the mean of several patches holds more (`reliability`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional as F

from microprint.analysis import graphite as gr
from microprint.errors import UserError
from microprint.microstructures.cast_iron import patch_corners
from microprint.networks.vgg import STYLE_LAYERS, VGG19, gram

CHUNK = 16  # patches that VGG19 sees together


class Share(NamedTuple):
    """Share of a variance between castings, and its standard error by the jackknife over castings."""

    value: float
    error: float


class View(NamedTuple):
    """What patches of a field, seen at a resolution, hold of the casting."""

    field_m: float  # edge of the square patch
    pixels: int  # along that edge
    patches: int  # of each image, behind the shares
    shares: Mapping[str, Share]  # by layer of VGG19 and by descriptor


# --- variance between groups -----------------------------------------------------------------------------------------


def between_share(values: ArrayLike) -> float:
    """Share of the variance of (G, P, ...) that lies between the G groups of P values; NaN if all are equal.

    One-way analysis of variance with random effects (Searle, Casella & McCulloch, "Variance components", 1992, chapter 3):
    within is the mean variance in the groups; between is the variance of their means less what the scatter of P values
    leaves of it, within / P, or 0 where that is more. Both are sums over the components.
    """
    values = np.asarray(values, float).reshape(*np.shape(values)[:2], -1)
    within = values.var(1, ddof=1).mean(0).sum()
    between = max(values.mean(1).var(0, ddof=1).sum() - within / values.shape[1], 0.0)
    return float(between / (between + within)) if between + within else np.nan


def share(values: ArrayLike) -> Share:
    """`between_share` of (G, P, ...), and its standard error over the groups, each left out in turn (Efron's jackknife)."""
    values = np.asarray(values, float)
    others = [between_share(np.delete(values, group, 0)) for group in range(len(values))]
    return Share(between_share(values), float(np.sqrt((len(values) - 1) * np.var(others))))


def reliability(share: ArrayLike, n: ArrayLike) -> np.ndarray:
    """Share between groups that the mean of n patches has, of patches with `share` (Spearman 1910 and Brown 1910).

    Its inverse is that of 1 / n: ``reliability(0.9, 1 / n)`` is what a patch needs if the mean of n is to have 0.9.

    >>> float(reliability(0.5, 4))
    0.8
    """
    share, n = np.asarray(share, float), np.asarray(n, float)
    return n * share / (1 + (n - 1) * share)


# --- patches ---------------------------------------------------------------------------------------------------------


def draw_patches(images: Tensor, edge: int, patches: int, generator: np.random.Generator) -> Tensor:
    """Patches (G, patches, edge, edge) that do not overlap, at random places of a grid, of images (G, h, w)."""
    corners = patch_corners(images.shape[1:], edge, edge)
    chosen = [corners[generator.choice(len(corners), patches, replace=False)] for _ in images]
    cut = [image[i : i + edge, j : j + edge] for image, at in zip(images, chosen) for i, j in at]
    return torch.stack(cut).reshape(len(images), patches, edge, edge)


@torch.no_grad()
def field_of_view(
    vgg: VGG19,
    images: Tensor,
    pixel_m: float,
    fields_m: Sequence[float],
    pixels: Sequence[int],
    layers: Sequence[str] = STYLE_LAYERS,
    patches: int = 4,
    *,
    generator: np.random.Generator,
) -> list[View]:
    """Shares between castings for all fields and resolutions, of images (G, h, w) in [0, 1], one a casting, on VGG19's device.

    Patches with an edge of each of `fields_m` are reduced to each of `pixels` along it by averages over areas; what would be
    enlarged is left out. Shares are those of Gram matrices by layer of VGG19, of ``graphite share``, of ``1 / free path`` (0
    without graphite) and of ``two-point statistics`` up to a quarter of the edge. All fields have the same number of patches:
    `patches`, or as many as an image has of the largest field. Raises `UserError` for fewer than two, or fewer than three
    images.
    """
    edges = [round(field / pixel_m) for field in fields_m]
    count = min(patches, *(len(patch_corners(images.shape[1:], edge, edge)) for edge in edges))
    if count < 2 or len(images) < 3:
        fault = (
            f"{len(images)} images with room for {count} patches of {1e6 * max(fields_m):g} um do not show what is between them"
        )
        raise UserError(fault, "field of view", "Give three images or more, and fields of which each holds two or more")
    views = []
    for field, edge in zip(fields_m, edges):
        cut = draw_patches(images, edge, count, generator).flatten(0, 1)[:, None]
        for n in (n for n in pixels if n <= edge):
            seen = F.interpolate(cut, size=(n, n), mode="area")
            values = _grams(vgg, seen, layers) | _descriptors(seen)
            shares = {name: share(value.reshape(len(images), count, -1)) for name, value in values.items()}
            views.append(View(field, n, count, shares))
    return views


def extremes(
    views: Sequence[View], field_m: float, pixels: int, names: Sequence[str] = STYLE_LAYERS
) -> tuple[float, float] | None:
    """Least and largest share of some measures in patches of a field at a resolution; None if there is no such view."""
    for view in views:
        if view.pixels == pixels and np.isclose(view.field_m, field_m):
            values = [view.shares[name].value for name in names]
            return float(np.nanmin(values)), float(np.nanmax(values))
    return None


def _grams(vgg: VGG19, patches: Tensor, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """Coordinates (N, N) of the Gram matrices of patches (N, 1, n, n) in the space that they span, by layer."""
    parts = [{name: gram(maps) for name, maps in vgg(part, layers).items()} for part in patches.split(CHUNK)]
    return {name: _coordinates(torch.cat([part[name] for part in parts]).flatten(1)) for name in parts[0]}


def _coordinates(points: Tensor) -> np.ndarray:
    """Points (N, D) turned, after their mean is taken away, to where N coordinates are enough: no variance changes."""
    centred = points - points.mean(0)
    value, vector = torch.linalg.eigh((centred @ centred.T).double())
    return (vector * value.clamp_min(0).sqrt()).cpu().numpy()


def _descriptors(patches: Tensor) -> dict[str, np.ndarray]:
    """Descriptors of the graphite in patches (N, 1, n, n)."""
    greys = patches[:, 0].cpu().numpy()
    measured = gr.measured_descriptors(greys)
    return {
        "graphite share": measured["graphite_share"],
        # Paths have no mean where a patch may be without graphite; boundaries met per length have.
        "1 / free path": np.nan_to_num(1 / measured["ferrite_path_px"]),
        "two-point statistics": gr.two_point(gr.graphite(greys)),
    }
