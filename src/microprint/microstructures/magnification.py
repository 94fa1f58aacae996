"""What a user's micrographs need before they are cut in patches: no instrument's footer, and pixels of one size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from microprint.errors import UserError

MOST_ENLARGED = 1.5
SAME_SIZE = 0.01  # relative difference of two pixel sizes, below what the calibration of a microscope tells
# A footer's least rows, and the part of the image that it has at most: a third; rows on either side of its edge that differ.
LEAST_ROWS, MOST_PART, EDGE_ROWS = 8, 3, 3
CONTRAST = 0.25  # between a footer's ground and its text
TEXT_SHARE = (0.003, 0.5)  # of a footer's pixels


# --- pixels of one size -----------------------------------------------------------------------------------------------


def common_pixel(sizes: Mapping[str, float], pixel_um: float | None, where: object) -> float:
    """Pixel size in metres that all images are brought to: the one asked for, or that of the coarsest image.

    Parameters
    ----------
    sizes : pixel size of each image in metres; NaN where it is not stated.
    pixel_um : micrometres a pixel that are asked for; None: as the coarsest image.

    Returns
    -------
    NaN where no size is stated, so that the images must be taken as they are.

    Raises
    ------
    UserError
        For sizes stated of some images only, a size asked for that none is stated for, and images that would be enlarged
        by more than `MOST_ENLARGED`, which invents detail.
    """
    unknown = [name for name, size in sizes.items() if math.isnan(size)]
    if len(unknown) == len(sizes):
        if pixel_um is not None:
            what = f"has no pixel size of any image, but micrographs.pixel_um = {pixel_um:g} asks to resample them"
            raise UserError(what, where, "State it in labels.csv, column pixel_size_um, or leave micrographs.pixel_um empty")
        return math.nan
    if unknown:
        what = f"labels.csv states the pixel size of some images, but not of {_listed(unknown)}"
        raise UserError(what, where, "State it for all images, or take the column out")
    coarsest = max(sizes.values())
    pixel = coarsest if pixel_um is None else 1e-6 * pixel_um
    coarse = [name for name, size in sizes.items() if size > MOST_ENLARGED * (1 + SAME_SIZE) * pixel]
    if coarse:
        what = (
            f"a pixel of {_listed(coarse)} is up to {1e6 * coarsest:g} µm wide, more than {MOST_ENLARGED:g} times "
            f"micrographs.pixel_um = {pixel_um:g}: enlarging would invent detail"
        )
        raise UserError(what, where, f"Raise micrographs.pixel_um to {1e6 * coarsest:g}, or take these images out")
    return pixel


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} others" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def resample(image: np.ndarray, factor: float) -> np.ndarray:
    """Image (h, w) with pixels `factor` times as wide, each the mean over its area; (h // factor, w // factor) float32.

    That is what a camera with such pixels sees: the mean is kept, and what is finer than a pixel fades. Parts of a pixel at
    the right and the lower edge are cut off. An image whose factor is within `SAME_SIZE` of 1 is left as it is.
    """
    if abs(factor - 1) <= SAME_SIZE:
        return image
    return np.ascontiguousarray(_means(_means(image, factor).T, factor).T, np.float32)


def _means(image: np.ndarray, factor: float) -> np.ndarray:
    """Means over rows `factor` wide: differences of the integral over rows, which is linear within each of them."""
    rows = len(image)
    ends = np.minimum(factor * np.arange(math.floor(rows / factor + 1e-6) + 1), rows)
    whole = np.minimum(ends.astype(int), rows - 1)
    integral = np.concatenate([np.zeros((1, image.shape[1])), np.cumsum(image, 0, np.float64)])
    return np.diff(integral[whole] + (ends - whole)[:, None] * image[whole], axis=0) / factor


# --- footers ----------------------------------------------------------------------------------------------------------


def cut_footer(image: np.ndarray, rows: int, where: object) -> np.ndarray:
    """Image (h, w) without its lowest `rows`; raises `UserError` where nothing or a footer is left."""
    if rows >= len(image):
        raise UserError(f"micrographs.footer = {rows} leaves none of its {len(image)} rows", where, "Lower micrographs.footer")
    image = image[: len(image) - rows]
    if footer := footer_rows(image):
        above = f" above the {rows} that are cut off" if rows else ""
        what = f"its lowest {footer} rows{above} are an instrument's footer: text on one grey, from edge to edge"
        remedy = f"Set micrographs.footer to {rows + footer}, which cuts as many rows off every image, or crop the image"
        raise UserError(what, where, remedy)
    return image


def footer_rows(image: np.ndarray) -> int:
    """Rows of an instrument's footer at the lower edge of an image (h, w) in [0, 1]; 0 where there is none.

    A footer is a band over the full width whose rows have exactly one grey in common, its ground, or are lines of another. It
    begins sharply, with bare rows: right above them the ground is no majority. Text or a scale bar stands out from it further
    down. Noise, flat images, saturated regions and dark edges lack one of these.
    """
    lower, half = image[-(len(image) // MOST_PART + EDGE_ROWS) :], image.shape[1] // 2
    middle = np.partition(lower, half, axis=1)[:, half]  # what more than half of a row's pixels have in common
    ground = np.sort(middle[-LEAST_ROWS:])[len(middle[-LEAST_ROWS:]) // 2]
    share, bare = (lower == ground).mean(1), (lower == middle[:, None]).mean(1) >= 0.9
    for first in range(EDGE_ROWS, len(lower) - LEAST_ROWS + 1):
        begins = bare[first : first + EDGE_ROWS].all() and share[first - EDGE_ROWS : first].max() <= 0.5
        if begins and (bare | (share >= 0.3))[first:].all():
            band = lower[first:][share[first:] >= 0.3]
            text = np.abs(band - ground) > CONTRAST
            written = TEXT_SHARE[0] <= text.mean() <= TEXT_SHARE[1] and text.any(1).sum() >= EDGE_ROWS
            rows = len(lower) - first
            return rows if written and len(band) > 0.7 * rows else 0
    return 0
