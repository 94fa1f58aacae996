"""What a texture's code knows of the casting: probes, an ideal reader, disentanglement, and what a walk in it moves.

G castings have P patches each: codes (G, P, d) and causes of the castings, factors (G, f). A casting that is probed is never
one of those that a probe was fitted to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from microprint.analysis import graphite, regression
from microprint.errors import UserError
from microprint.microstructures.cast_iron import BOUNDARY, FERRITE, GRAPHITE

BINS = 20  # of each number, for mutual information; Locatello et al. 2019
SHUFFLES = 10
TREES = 100
ENDS, STOPS = (0.05, 0.95), 7  # of a walk: quantiles of the factor between which it goes, and drawings along it
SURE = 0.8  # R2 of what follows a walk surely
SIZES = ("particles_per_px2", "thickness_px", "diameter_px", "ferrite_path_px")


# --- probes ----------------------------------------------------------------------------------------------------------


def by_image(codes: ArrayLike, images: int) -> np.ndarray:
    """Codes (images, patches, d) of all patches (N, d), an image's after each other."""
    return np.asarray(codes).reshape(images, len(codes) // images, -1)


def probe(codes: ArrayLike, factors: ArrayLike, folds: ArrayLike, pool: bool, components: int | None = None) -> np.ndarray:
    """R2 (f,) of factors (G, f) of unseen castings, from codes (G, P, d) by ridge regression, out of fold (G,).

    Patch by patch, or with `pool` from the mean code of a casting. Penalties are chosen by castings held out of the training
    part. With `components` as many principal components of the training part take the codes' place. Raises `UserError` for
    fewer than two folds and for codes that are no numbers.
    """
    codes, factors, folds = np.asarray(codes, float), np.asarray(factors, float), np.asarray(folds)
    if len(np.unique(folds)) < 2:
        raise UserError("one fold alone cannot be held out", "probe", "Give castings of two folds or more")
    if not np.isfinite(codes).all():
        raise UserError("some codes are no numbers", "probe", "Leave these castings out")
    if pool:
        codes = codes.mean(1, keepdims=True)
    count, patches, width = codes.shape
    casting, x, y = np.arange(count).repeat(patches), codes.reshape(-1, width), factors.repeat(patches, 0)
    read = np.empty_like(y)
    for fold in np.unique(folds):
        out = (folds == fold)[casting]
        known, asked = regression.components(x[~out], x[out], components) if components else (x[~out], x[out])
        for k, column in enumerate(y[~out].T):
            read[out, k] = regression.ridge(*map(torch.from_numpy, (known, column, asked)), groups=casting[~out])
    return np.array([regression.r2(*pair) for pair in zip(read.T, y.T)])


# --- what could be known ---------------------------------------------------------------------------------------------


def ideal_reader(phase: ArrayLike, images: ArrayLike, factors: ArrayLike, folds: ArrayLike, pool: bool) -> np.ndarray:
    """R2 (f,) of `probe` on `ideal_descriptors` of maps of phases and images (G, P, h, w) of the same patches.

    How much of a factor a piece of that size holds: sizes scatter from piece to piece. It is the level of a reader who is
    told where each phase is, not a bound.
    """
    phase, images = np.asarray(phase), np.asarray(images)
    flat = ideal_descriptors(*(a.reshape(-1, *a.shape[2:]) for a in (phase, images)))
    return probe(flat.reshape(*phase.shape[:2], -1), factors, folds, pool)


def ideal_descriptors(phase: ArrayLike, images: ArrayLike) -> np.ndarray:
    """Descriptors (N, k) of images (N, h, w) whose phases (N, h, w), of cast iron, are known; sizes and shades as logarithms.

    Of graphite `graphite.measured_descriptors` on a drawing of it in two greys, and the products of nodularity with number
    and sizes, which mean one thing of nodules and another of flakes; of boundaries their length per area, by the lines of
    pixels that they meet, and their shade under ferrite; grey and noise of pixels with ferrite all around. What a piece
    does not have has the mean of the other pieces.
    """
    phase, images = np.asarray(phase), np.asarray(images, float)
    shape = graphite.measured_descriptors(np.where(phase == GRAPHITE, 0.0, 1.0))
    sizes = _log(np.stack([shape[name] for name in SIZES], 1))
    sizes -= np.nanmean(sizes, 0)
    nodularity = shape["nodularity"][:, None]
    greys = np.array([_greys(*pair) for pair in zip(phase, images)])
    table = np.column_stack([shape["graphite_share"], nodularity, sizes, nodularity * sizes, greys])
    return np.where(np.isfinite(table), table, np.nanmean(table, 0))


def _greys(ids: np.ndarray, image: np.ndarray) -> tuple[float, float, float, float]:
    """Logarithm of the boundaries' length per pixel and of their shade; grey of ferrite, and logarithm of its noise."""
    from scipy import ndimage

    boundary, dark = ids == BOUNDARY, ids == GRAPHITE
    pure = ~ndimage.binary_dilation(ids != FERRITE, graphite.TOUCHING)
    lines = boundary & ~ndimage.binary_dilation(dark, graphite.TOUCHING)
    met = ((boundary[1:] > boundary[:-1]).mean() + (boundary[:, 1:] > boundary[:, :-1]).mean()) / 2
    grey = image[pure].mean() if pure.any() else np.nan
    shade = grey - image[lines].mean() if lines.any() else np.nan
    return _log(met), _log(shade), grey, _log(image[pure].std() if pure.any() else np.nan)


def _log(values):
    """Logarithm, NaN where there is none."""
    return np.log(np.where(np.asarray(values) > 0, values, np.nan))


# --- disentanglement -------------------------------------------------------------------------------------------------


def mutual_information_gap(codes: ArrayLike, factors: ArrayLike, seed: int, bins: int = BINS) -> tuple[float, np.ndarray]:
    """Mutual information gap (Chen et al. 2018, doi:10.48550/arXiv.1802.04942, eq. 6), at most 1, and the information (f, d).

    The gap between the two components that know most of a factor, mean over factors. Codes (G, P, d) and factors (G, f) are
    cut into bins of equal counts. Few castings make noise look informed: from the information, and from the factor's entropy
    that it is divided by, what codes dealt to other castings seem to know is subtracted, as in adjusted mutual information.
    So a component that tells the factor's bin has 1, and one that tells nothing 0 on average.
    """
    codes, factors = np.asarray(codes, float), np.asarray(factors, float)
    count, patches, width = codes.shape
    x = np.stack([_binned(column, bins) for column in codes.reshape(-1, width).T], 1).reshape(codes.shape)
    y = np.stack([_binned(column, bins) for column in factors.T], 1)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(count) for _ in range(SHUFFLES)]

    def information(j: int, k: int) -> float:
        def between(order: np.ndarray) -> float:
            return _mutual_information(x[order, :, k].ravel(), y[:, j].repeat(patches))

        chance = np.mean([between(order) for order in orders])
        entropy = _mutual_information(y[:, j], y[:, j])
        return (between(np.arange(count)) - chance) / (entropy - chance) if entropy > chance else 0.0

    known = np.array([[information(j, k) for k in range(width)] for j in range(factors.shape[1])])
    first_two = np.sort(known, 1)[:, -2:]
    return float((first_two[:, 1] - np.maximum(first_two[:, 0], 0)).mean()), known


def _binned(values: np.ndarray, bins: int) -> np.ndarray:
    """Bin of each value, of equal counts but for ties."""
    return np.searchsorted(np.quantile(values, np.arange(1, bins) / bins), values, side="right")


def _mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    """Mutual information, in nats, of integers (N,)."""
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1 / len(a))
    apart = joint.sum(1)[:, None] * joint.sum(0)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / apart[seen])).sum())


class Disentanglement(NamedTuple):
    """Scores of Eastwood & Williams 2018 (https://openreview.net/forum?id=By-7dz-AZ), each 1 at best."""

    disentanglement: float  # whether a component knows one factor only
    completeness: float  # whether a factor is known by one component only
    informativeness: float  # R2 of the factors, mean, of castings that a tree has not seen
    importance: np.ndarray  # (d, f)


def disentanglement(codes: ArrayLike, factors: ArrayLike, seed: int) -> Disentanglement:
    """Disentanglement, completeness and informativeness of codes (G, d) of castings with factors (G, f).

    Importances are those of a random forest, one of the two that the paper uses; a lasso would find single weights in noise.
    A factor counts as much as the forest knows of it, since importances of a forest that knows nothing add up to one, too.
    Give mean codes of castings, since a tree must not know another patch of the one that it is asked for.
    """
    from sklearn.ensemble import RandomForestRegressor

    codes, factors = np.asarray(codes, float), np.asarray(factors, float)
    standard = (factors - factors.mean(0)) / factors.std(0)
    forests = [RandomForestRegressor(TREES, oob_score=True, random_state=seed).fit(codes, column) for column in standard.T]
    known = np.array([forest.oob_score_ for forest in forests])
    importance = np.stack([forest.feature_importances_ for forest in forests], 1)
    weighed = importance * known.clip(0)
    return Disentanglement(_purity(weighed), _purity(weighed.T), float(known.mean()), importance)


def _purity(weights: np.ndarray) -> float:
    """1 - entropy of the shares in each row (n, m), over log m, mean weighed by the rows' sums; 0 without weights."""
    sums = weights.sum(1)
    shares = weights[sums > 0] / sums[sums > 0, None]
    if not len(shares):
        return 0.0
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(1) / np.log(weights.shape[1])
    return float(np.average(1 - entropy, weights=sums[sums > 0]))


# --- what a walk moves -----------------------------------------------------------------------------------------------


def directions(codes: ArrayLike, factors: ArrayLike) -> np.ndarray:
    """How codes (G, d) change with each factor (G, f), the others the same, (f, d): least squares of codes on all factors."""
    codes, factors = np.asarray(codes, float), np.asarray(factors, float)
    return np.linalg.lstsq(factors - factors.mean(0), codes - codes.mean(0), rcond=None)[0]


def walk(codes: ArrayLike, factors: ArrayLike, which: int, values: ArrayLike) -> np.ndarray:
    """Expected codes (V, d) of castings whose factor `which` has the values (V,) and whose other factors are at their mean.

    A straight line in latent space along `directions`, through the mean code: a traversal that is named by what it moves.
    """
    codes, factors = np.asarray(codes, float), np.asarray(factors, float)
    away = np.asarray(values, float) - factors[:, which].mean()
    return codes.mean(0) + away[:, None] * directions(codes, factors)[which]


def follows(values: ArrayLike, measured: ArrayLike) -> np.ndarray:
    """How much of each descriptor (V, n, D), of n drawings each, a straight line in the wanted values (V,) explains, (D,).

    R2 of the line, negative where the descriptor falls as the value grows, and 0 for one that never changes. Drawings that
    have no such descriptor (NaN) do not count. It says how sure a drawing follows, not how far: see `shifts`.
    """
    return np.array([np.sign(slope) * share for slope, share in _lines(values, measured)])


def shifts(values: ArrayLike, measured: ArrayLike, ranges: ArrayLike) -> np.ndarray:
    """How far each descriptor goes along the line of `follows`, from the smallest to the largest value, over its range (D,).

    Ranges are those of the descriptors over castings. Of walks along all factors the rows make a matrix: a large entry where
    the descriptor is of another factor is a leak, unless drawings of the generator, whose other causes stand still, have it,
    too: number, size and share of particles go together.
    """
    slopes = np.array([slope for slope, _ in _lines(values, measured)])
    return slopes * np.ptp(np.asarray(values, float)) / np.asarray(ranges, float)


class Walks(NamedTuple):
    """What walks along factors (f,) move of descriptors (D,): matrices (f, D)."""

    lines: np.ndarray  # codes (f, V, d) of the walks
    sure: np.ndarray  # `follows`
    far: np.ndarray  # `shifts`
    castings: np.ndarray  # how far castings' own descriptors go, the other factors the same


def walks(
    codes: ArrayLike,
    factors: ArrayLike,
    own: ArrayLike,
    which: Sequence[int],
    known: ArrayLike,
    measure: Callable[[np.ndarray], ArrayLike],
) -> Walks:
    """Walks along some factors (`which`), from their 5 % to their 95 % quantile, in units of that range of each descriptor.

    Of castings with codes (G, d), factors (G, f) and descriptors of their own (G, D); directions in the codes are those of the
    `known` (G,) bool. `measure` makes codes (V, d) descriptors (V, n, D) of n drawings each.
    """
    codes, factors, own = (np.asarray(a, float) for a in (codes, factors, own))
    ranges, slopes, rows = np.ptp(np.quantile(own, ENDS, axis=0), axis=0), directions(own, factors), []
    for k in which:
        values = np.linspace(*np.quantile(factors[:, k], ENDS), STOPS)
        line = walk(codes[known], factors[known], k, values)
        measured, moved = measure(line), slopes[k] * np.ptp(values) / ranges
        rows.append((line, follows(values, measured), shifts(values, measured, ranges), moved))
    return Walks(*map(np.stack, zip(*rows)))


def taken_along(matrix: ArrayLike, walks: Sequence[str], descriptors: Sequence[str]) -> list[tuple[str, str, float]]:
    """What walks (f,) move beside the descriptor of their own: walk, descriptor and entry of a matrix (f, f) of `Walks`.

    The largest in size comes first; the diagonal, and what is no number, is left out.
    """
    matrix = np.asarray(matrix, float)
    beside = [(walks[r], descriptors[c], float(v)) for (r, c), v in np.ndenumerate(matrix) if r != c and np.isfinite(v)]
    return sorted(beside, key=lambda entry: -abs(entry[2]))


def _lines(values: ArrayLike, measured: ArrayLike) -> list[tuple[float, float]]:
    """Slope and R2 of the line of each descriptor (V, n, D) in the values (V,)."""
    measured = np.asarray(measured, float)
    wanted = np.asarray(values, float).repeat(measured.shape[1])
    return [_line(wanted, column) for column in measured.reshape(len(wanted), -1).T]


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    known = np.isfinite(y)
    x, y = x[known], y[known]
    if len(y) < 3 or np.ptp(x) == 0 or np.ptp(y) <= 1e-12 * np.abs(y).max():
        return 0.0, 0.0
    return float(np.polyfit(x, y, 1)[0]), float(np.corrcoef(x, y)[0, 1] ** 2)
