"""Graphite in micrographs, read from the pixels: where it is, how it is spread, and what its particles look like.

Images are grey, graphite dark in bright ferrite, in any exposure. Lengths and areas are in pixels of the image given.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

MOST_GREY = 0.75  # of the dark mode, over the bright one; grain boundaries are brighter
LEAST_CONTRAST = 4.0  # between the modes, over the deviation of the bright one; halves of one normal mode are at 2.5
NODULE_ROUNDNESS = 0.6  # ISO 945: of the area of a circle as wide as the particle is long; 1 / 1.67
TOUCHING = np.ones((3, 3), bool)  # pixels that meet at a corner belong to one particle
FREE_PX = 2  # pixels from graphite on which ferrite is its own: beyond the blur of a microscope


def graphite(images: ArrayLike) -> np.ndarray:
    """Where graphite is, bool (..., h, w) of grey images (..., h, w).

    Otsu's threshold (1979, doi:10.1109/TSMC.1979.4310076) parts an image into two classes, the mean of the dark and the
    median of the bright one: grain boundaries are few, but many of the dark pixels are edges of small particles, and with a
    median, which is darker, a twentieth of the graphite is lost. Graphite is what is darker than halfway between. An image
    has none, and is not split, if the dark class is brighter than 0.75 times the bright one (grain boundaries), or nearer to
    it than 4 deviations of the bright class (noise: the halves of a normal distribution are 2.5 apart), from the median
    absolute one.
    """
    images = np.asarray(images)
    flat = images.reshape(-1, *images.shape[-2:])
    return np.array([_dark(image) for image in flat], bool).reshape(images.shape)


def _dark(image: np.ndarray) -> np.ndarray:
    grey = np.sort(image, axis=None).astype(float)
    below = np.arange(1, grey.size)
    # Otsu: the cut of the largest variance between the two classes.
    sums = grey.cumsum()
    cut = 1 + int(np.argmax((sums[:-1] * grey.size - sums[-1] * below) ** 2 / (below * (grey.size - below))))
    dark, bright = grey[:cut].mean(), np.median(grey[cut:])
    if dark > MOST_GREY * bright or bright - dark < LEAST_CONTRAST * _deviation(grey[cut:]):
        return np.zeros(image.shape, bool)
    return image < (dark + bright) / 2


def _deviation(values: np.ndarray) -> float:
    """Standard deviation of a normal distribution with the median absolute deviation of the values."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


# --- how it is spread ------------------------------------------------------------------------------------------------


def two_point_distance(x: Tensor, y: Tensor) -> Tensor:
    """Root mean square difference (B,) of `two_point`, of the graphite in images (B, 1, h, w), up to a quarter of the edge."""
    a, b = (two_point(graphite(_grey(images))) for images in (x, y))
    return x.new_tensor(np.sqrt(np.square(a - b).mean(1)))


def two_point(phase: np.ndarray) -> np.ndarray:
    """Probability (B, L) that two points a distance of 0 ... L - 1 pixels apart both lie in a phase, (B, h, w) bool.

    L - 1 is a quarter of the shorter edge. An image is not periodic: pairs are counted inside it (Torquato 2002, chapter
    2), by a transform of twice the edges, and pairs of all directions whose distance rounds to the same pixel together.
    """
    edges = phase.shape[1:]
    both, all_pairs = (_autocorrelation(field.astype(float), edges) for field in (phase, np.ones((1, *edges))))
    lags = [np.fft.fftfreq(2 * n, 1 / (2 * n)) for n in edges]
    distance = np.rint(np.hypot(lags[0][:, None], lags[1])).astype(int)
    near = [distance == r for r in range(min(edges) // 4 + 1)]
    return np.stack([both[:, ring].sum(1) / all_pairs[:, ring].sum() for ring in near], 1)


def _autocorrelation(field: np.ndarray, edges: tuple[int, ...]) -> np.ndarray:
    """Sum of the products of all pixels of fields (B, h, w) with those a lag away, (B, 2 h, 2 w), without wrapping around."""
    doubled = tuple(2 * n for n in edges)
    return np.fft.irfft2(np.abs(np.fft.rfft2(field, doubled)) ** 2, doubled)


def chord_distance(x: Tensor, y: Tensor) -> Tensor:
    """How far the chord lengths in images (B, 1, h, w) are apart, (B,), mean over graphite and ferrite.

    The first Wasserstein distance of the lengths (how far a chord must be drawn out or shortened on average), over their
    mean: 0 for equal distributions, 2 if only one image has graphite.
    """
    from scipy.stats import wasserstein_distance

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return wasserstein_distance(a, b) / max((a.mean() + b.mean()) / 2, 1e-12)

    pairs = zip(*(graphite(_grey(images)) for images in (x, y)))
    return x.new_tensor([np.mean([distance(chords(a), chords(b)), distance(chords(~a), chords(~b))]) for a, b in pairs])


def chords(phase: np.ndarray) -> np.ndarray:
    """Lengths, in pixels, of all runs of a phase (h, w) bool along its columns and rows; a single 0 if there is none.

    Runs end at the edge of the image, too, so only images of one size can be compared.
    """
    lengths = []
    for lines in (phase, phase.T):
        steps = np.diff(lines.astype(np.int8), axis=1, prepend=0, append=0)
        lengths.append(np.nonzero(steps < 0)[1] - np.nonzero(steps > 0)[1])
    joined = np.concatenate(lengths)
    return joined if joined.size else np.zeros(1, int)


def _grey(images: Tensor) -> np.ndarray:
    return images[:, 0].detach().cpu().numpy()


# --- what it looks like ----------------------------------------------------------------------------------------------


def measured_descriptors(images: ArrayLike) -> dict[str, np.ndarray]:
    """Descriptors (N,) of images (N, h, w), each read from the pixels; what an image without graphite does not have is NaN.

    * ``graphite_share``: of the area.
    * ``particles_per_px2``: connected components over the area; one that the edge cuts counts half, flakes that touch are one.
    * ``nodularity``: share of graphite area in particles of a roundness of 0.6 or more, ISO 945's nodules. Roundness is area
      over the area of the circle with the particle's length, here the length of the ellipse of its second moments; for an
      ellipse it is width over length. A net of flakes may be as wide as long, but does not fill its circle.
    * ``thickness_px``: twice the depth of the particle's middle line, whose pixels are deeper than their neighbours. It is the
      width of a capsule on average over its places; a disc may come out up to a pixel too thin.
    * ``diameter_px``: of the circle of a particle's area.
    * ``ferrite_path_px``: mean straight line in ferrite, 2 (1 - share) over the crossings per pixel, in two directions.
    * ``ferrite_grey``: median grey of ferrite away from graphite, that is, the exposure.
    * ``boundary_shade``: what dark lines take of that grey on average, 1 - mean / median; it grows with the length of grain
      boundaries per area, their width and their contrast, which an image does not tell apart.
    * ``noise``: standard deviation of what the neighbours of a ferrite pixel do not predict (Immerkaer 1996,
      doi:10.1006/cviu.1996.0060), from the median absolute one.

    Nodularity, thickness and diameter are means over particles, weighed by area. Those that the edge cuts are left out, as
    ISO 945 does, since a cut nodule is no nodule, unless there are no others.
    """
    rows = [_describe(image, dark) for image, dark in zip(np.asarray(images, float), graphite(images))]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _describe(image: np.ndarray, dark: np.ndarray) -> dict[str, float]:
    share = float(dark.mean())
    crossings = ((dark[1:] != dark[:-1]).mean() + (dark[:, 1:] != dark[:, :-1]).mean()) / 2
    return {
        "graphite_share": share,
        **_particles(dark),
        "ferrite_path_px": 2 * (1 - share) / crossings if crossings else np.nan,
        **_ferrite(image, dark),
    }


def _particles(dark: np.ndarray) -> dict[str, float]:
    """Number and shape of the connected components of graphite (h, w)."""
    from scipy import ndimage

    labels, count = ndimage.label(dark, TOUCHING)
    if not count:
        return {"particles_per_px2": 0.0} | dict.fromkeys(("nodularity", "thickness_px", "diameter_px"), np.nan)
    numbers = np.arange(1, count + 1)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    cut = np.isin(numbers, edge)
    area = ndimage.sum_labels(dark, labels, numbers)
    depth = ndimage.distance_transform_edt(dark)
    middle = np.where(dark & (depth == ndimage.maximum_filter(depth, 3)), depth, np.nan)
    weight = np.where(cut & ~cut.all(), 0, area)
    shape = {
        "nodularity": area / _circle(labels, numbers) >= NODULE_ROUNDNESS,
        # The middle of a strip of n pixels lies (n + 1) / 2 from the first pixel outside for odd n, and n / 2 for even n.
        "thickness_px": 2 * ndimage.labeled_comprehension(middle, labels, numbers, np.nanmean, float, 0) - 0.5,
        "diameter_px": np.sqrt(4 * area / np.pi),
    }
    density = {"particles_per_px2": float((~cut).sum() + cut.sum() / 2) / dark.size}
    return density | {name: float(np.average(values, weights=weight)) for name, values in shape.items()}


def _circle(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Area of the circle with the length of each component, that of the ellipse with its second moments."""
    from scipy import ndimage

    at = np.indices(labels.shape)
    mean = [ndimage.mean(axis, labels, numbers) for axis in at]
    # A pixel is a square, whose own second moment is 1 / 12.
    xx, yy = (ndimage.mean(axis**2, labels, numbers) - m**2 + 1 / 12 for axis, m in zip(at, mean))
    xy = ndimage.mean(at[0] * at[1], labels, numbers) - mean[0] * mean[1]
    # Along its half length a, an ellipse has the second moment a^2 / 4.
    return 4 * np.pi * ((xx + yy) / 2 + np.hypot((xx - yy) / 2, xy))


def _ferrite(image: np.ndarray, dark: np.ndarray) -> dict[str, float]:
    """Grey, boundaries and noise of ferrite, of pixels that graphite does not touch."""
    from scipy import ndimage

    free = ~ndimage.binary_dilation(dark, TOUCHING, iterations=FREE_PX)[1:-1, 1:-1]
    if not free.any():
        return dict.fromkeys(("ferrite_grey", "boundary_shade", "noise"), np.nan)
    wave = np.array([1.0, -2.0, 1.0])
    unpredicted = ndimage.correlate(image, np.outer(wave, wave))[1:-1, 1:-1] / 6  # the root of the sum of squares is 6
    ferrite = image[1:-1, 1:-1][free]
    grey = float(np.median(ferrite))
    shade = 1 - float(ferrite.mean()) / grey if grey else np.nan
    return {"ferrite_grey": grey, "boundary_shade": shade, "noise": _deviation(unpredicted[free])}
