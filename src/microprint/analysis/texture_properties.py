"""Properties of castings from what is read in their micrographs, by models that have not seen the casting.

Every predictor learns the logarithm of a property, so that errors are relative, and is asked out of fold: by models fitted
to all other folds. All that a model chooses (penalty, principal components, C) it chooses inside its training part. G images
have P patches each, codes (G, P, d), one row of features (G, k) and properties (G, p), which are positive.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from microprint.analysis import regression
from microprint.analysis.forward_rivals import process_regression
from microprint.analysis.texture_designs import read_and_simulate
from microprint.errors import UserError
from microprint.microstructures.cast_iron import Casting, generate
from microprint.systems.micrograph_properties import PROPERTIES, TOLERANCE, reduce_phase, simulate

KINDS = ("mean", "nearest", "ridge", "svr", "gp")
MORPHOLOGIES = (1 / 3, 2 / 3)  # nodularity between flaky, mixed and nodular
SVR_GRID = [(penalty, tube) for penalty in (1.0, 10.0, 100.0) for tube in (0.03, 0.1, 0.3)]  # C, epsilon
WHERE = "property prediction"
# Names of predictors that have an equilibrium in their form; `beside_equilibrium` makes them.
ROUGH, FULL = "patches segmented, rough equilibrium", "patches segmented, full simulation"
BESIDE_ROUGH, BESIDE_FULL = "ours, beside a rough equilibrium", "ours, beside the full simulation"
PHYSICS = {ROUGH: 0.3, FULL: TOLERANCE, BESIDE_ROUGH: 0.3, BESIDE_FULL: TOLERANCE}  # with the forces out of balance


def pooled(codes: ArrayLike) -> np.ndarray:
    """Mean and standard deviation (G, 2d) over the patches of each image, of codes (G, P, d); of one patch the mean (G, d)."""
    codes = np.asarray(codes, float)
    mean = codes.mean(1)
    return np.concatenate([mean, codes.std(1, ddof=1)], 1) if codes.shape[1] > 1 else mean


# --- what is held out ------------------------------------------------------------------------------------------------


def folds_by_image(count: int, parts: int, seed: int) -> np.ndarray:
    """Fold (G,) of each of `count` images, at random; sizes differ by one at most.

    Raises `UserError` unless there are two folds, and an image for each.
    """
    if not 2 <= parts <= count:
        raise UserError(f"{count} images cannot be parted into {parts} folds", WHERE, f"Give 2 to {count} folds")
    return np.random.default_rng(seed).permutation(count) % parts


def folds_by_morphology(nodularity: ArrayLike) -> np.ndarray:
    """Fold (G,) by form of the graphite: 0 flaky (nodularity below 1/3), 1 mixed, 2 nodular (2/3 or more).

    What is held out is a form never seen: models must extrapolate.
    """
    return np.digitize(np.asarray(nodularity, float), MORPHOLOGIES)


# --- predictions -----------------------------------------------------------------------------------------------------


def predict(kind: str, features: ArrayLike, values: ArrayLike, folds: ArrayLike, components: int | None = None) -> np.ndarray:
    """Out-of-fold predictions (G, p) of positive values (G, p) from features (G, k) by folds (G,).

    Parameters
    ----------
    kind : ``mean``, the geometric mean of the training images, whatever the features are; ``nearest``, that of the training
        images that are nearest in the features, as many as the root of their number, and all that are as near as the last of
        them: with the magnesium content as the only feature, and three contents, images of the same content, and with any
        content its neighbours; ``ridge``; ``svr``, support vectors with a radial kernel, C and epsilon by five-fold
        cross-validation; ``gp``, a Gaussian process with a linear and a smooth part.
    components : number of principal components of the training images' features that take the place of the features.

    Raises `UserError` for fewer than two folds, features that are no numbers, and values that are not positive.
    """
    features, values, folds = np.asarray(features, float), np.asarray(values, float), np.asarray(folds)
    _check(features, values, folds)
    predicted = np.empty_like(values)
    for fold in np.unique(folds):
        out = folds == fold
        x, at = features[~out], features[out]
        if components:
            x, at = regression.components(x, at, components)
        predicted[out] = _answer(kind, x, values[~out], at, standardise=not components)
    return predicted


def _check(features: np.ndarray, values: np.ndarray, folds: np.ndarray) -> None:
    if len(np.unique(folds)) < 2:
        raise UserError("one fold alone cannot be held out", WHERE, "Give images of two folds or more")
    if not np.isfinite(features).all():
        rows = np.flatnonzero(~np.isfinite(features).all(1)).tolist()
        raise UserError(f"features of images {rows[:5]} are no numbers", WHERE, "Leave these images out")
    if not (np.isfinite(values) & (values > 0)).all():
        rows = np.flatnonzero(~(np.isfinite(values) & (values > 0)).all(1)).tolist()
        raise UserError(f"properties of images {rows[:5]} are not positive", WHERE, "Leave these images out")


def _answer(kind: str, x: np.ndarray, y: np.ndarray, at: np.ndarray, standardise: bool) -> np.ndarray:
    """Values (B, p) at features (B, k) by a model of values (N, p) on features (N, k)."""
    if kind == "nearest":
        return np.exp(_nearest(x, np.log(y), at))
    if kind == "gp":
        return process_regression(*map(torch.from_numpy, (x, y, at))).numpy()
    fit = _by_support_vectors if kind == "svr" else partial(_by_regressor, kind)
    return np.exp(np.stack([fit(x, column, at, standardise) for column in np.log(y).T], 1))


def _by_regressor(kind: str, x: np.ndarray, y: np.ndarray, at: np.ndarray, standardise: bool) -> np.ndarray:
    return regression.regressor(kind, standardise).fit(x, y).predict(at)


def _by_support_vectors(x: np.ndarray, y: np.ndarray, at: np.ndarray, standardise: bool) -> np.ndarray:
    """C and epsilon by cross-validation. scikit-learn's search copies its models for ten times as long as it fits them."""
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    def answers(x, y, at, choices):
        scaler, (mean, deviation) = (
            StandardScaler(with_mean=standardise, with_std=standardise).fit(x),
            (y.mean(), y.std() or 1.0),
        )
        u, v, w = scaler.transform(x), (y - mean) / deviation, scaler.transform(at)
        return mean + deviation * np.stack([SVR(C=penalty, epsilon=tube).fit(u, v).predict(w) for penalty, tube in choices])

    parts = KFold(min(5, len(x))).split(x)
    errors = sum(np.square(answers(x[known], y[known], x[held], SVR_GRID) - y[held]).mean(1) for known, held in parts)
    return answers(x, y, at, [SVR_GRID[errors.argmin()]])[0]


def _nearest(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Means (B, p) of values (N, p) over the nearest of N samples, ties included."""
    distance = np.linalg.norm(at[:, None] - x, axis=2)
    last = np.sort(distance, 1)[:, [round(len(x) ** 0.5) - 1]]
    near = (distance <= last * (1 + 1e-9)).astype(float)
    return near @ y / near.sum(1, keepdims=True)


# --- errors ----------------------------------------------------------------------------------------------------------


class Scores(NamedTuple):
    """Errors of predictions: of one folding (p,), of several (S, p)."""

    mape_pct: np.ndarray  # mean absolute percentage error
    r2: np.ndarray  # coefficient of determination, over all images


class Predictor(NamedTuple):
    """What a property is predicted from, and how: see `predict`."""

    kind: str
    features: ArrayLike  # (G, k)
    components: int | None = None
    base: ArrayLike | None = None  # (G, p) rough values: what is learnt is by which factor they are wrong


def beside_equilibrium(
    patches: ArrayLike, pool: Callable[[np.ndarray], np.ndarray], codes: ArrayLike, components: int
) -> tuple[dict[str, Predictor], dict[str, float]]:
    """Predictors of `PHYSICS`, and each equilibrium's seconds a patch, of grey patches (N, h, w) at the labels' pixel.

    An equilibrium of the segmented patches, one factor for all; and with codes (G, k), which say the factor of each image.
    `pool` takes values (N, p) to the images' means (G, p).
    """
    read_and_simulate(np.asarray(patches)[:1])  # compiled before the clock starts
    predictors, seconds = {}, {}
    for alone, beside in ((ROUGH, BESIDE_ROUGH), (FULL, BESIDE_FULL)):
        begun = time.perf_counter()
        values = np.stack(list(read_and_simulate(np.asarray(patches), PHYSICS[alone]).values()), 1)
        seconds[alone] = (time.perf_counter() - begun) / len(values)
        base = pool(np.where(np.isfinite(values), values, np.nanmean(values, 0)))
        predictors[alone] = Predictor("mean", codes, None, base)
        predictors[beside] = Predictor("ridge", codes, components, base)
    return predictors, seconds


def scores(predicted: ArrayLike, observed: ArrayLike) -> Scores:
    """Errors (p,) of predictions (G, p)."""
    pairs = list(zip(np.asarray(predicted, float).T, np.asarray(observed, float).T, strict=True))
    return Scores(*(np.array([measure(*pair) for pair in pairs]) for measure in (regression.mape, regression.r2)))


def compare(predictors: Mapping[str, Predictor], values: ArrayLike, foldings: Sequence[ArrayLike]) -> dict[str, Scores]:
    """Errors (S, p) of each predictor under the same S foldings (G,), which may differ by the seed of the split."""

    values = np.asarray(values, float)

    def errors(predictor: Predictor) -> Scores:
        kind, features, components, base = predictor
        base = np.ones_like(values) if base is None else np.asarray(base, float)
        predicted = (base * predict(kind, features, values / base, folds, components) for folds in foldings)
        return Scores(*map(np.array, zip(*(scores(p, values) for p in predicted))))

    return {name: errors(predictor) for name, predictor in predictors.items()}


def rows(compared: Mapping[str, Scores], index: int) -> list[tuple[str, str, str]]:
    """Rows of a table for property `index`, the smallest error first: name, MAPE in % and R2, mean ± deviation over foldings.

    The deviation says how much the split matters; with one folding there is none.
    """

    def entry(values: np.ndarray) -> str:
        return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else "")

    by_error = sorted(compared.items(), key=lambda item: item[1].mape_pct[:, index].mean())
    return [(name, entry(s.mape_pct[:, index]), entry(s.r2[:, index])) for name, s in by_error]


def spread(first: Scores, second: Scores, index: int) -> float:
    """By how much the difference of two MAPEs in % scatters from split to split, of property `index`; 0 for one folding.

    Both as if they scattered independently: the root of the sum of their variances over foldings.
    """
    errors = np.stack([scores.mape_pct[:, index] for scores in (first, second)])
    return float(np.sqrt(errors.var(1, ddof=1).sum())) if errors.shape[1] > 1 else 0.0


def strongest(compared: Mapping[str, Scores], index: int) -> tuple[str, float]:
    """Name and MAPE in %, mean over foldings, of the predictor with the smallest one, of property `index`."""
    mape = {name: float(s.mape_pct[:, index].mean()) for name, s in compared.items()}
    return min(mape.items(), key=lambda item: item[1])


def strongest_of(compared: Mapping[str, Scores], keep: Callable[[str], bool]) -> list[tuple[str, float]]:
    """`strongest` of each property among the predictors whose names are to be kept."""
    some = {name: scores for name, scores in compared.items() if keep(name)}
    return [strongest(some, index) for index in range(next(iter(some.values())).mape_pct.shape[1])]


def scatter_within(casting: Casting, shape: tuple[int, int], count: int, seed: int) -> np.ndarray:
    """Deviation over mean of each of `PROPERTIES` (p,) between `count` images of one casting, of so many pixels."""
    made = [generate(casting, shape, np.random.default_rng([seed, k])) for k in range(count)]
    values = simulate(np.stack([reduce_phase(image.phase) for image in made]))
    return np.array([float(values[name].std() / values[name].mean()) for name in PROPERTIES])


def split_by_patch(
    kind: str, codes: ArrayLike, values: ArrayLike, parts: int, seed: int, components: int | None = None
) -> dict[str, Scores]:
    """Errors (p,) patch by patch, of codes (G, P, d), with whole ``images`` held out and with ``patches`` drawn at random.

    Each patch has the label of its image, as in S3. With patches at random a model that recognises the image has read its
    label: a warning, not a result. Both have as many folds.
    """
    codes, values = np.asarray(codes, float), np.asarray(values, float)
    count, patches = codes.shape[:2]
    flat, labels = codes.reshape(count * patches, -1), values.repeat(patches, 0)
    foldings = {
        "images": folds_by_image(count, parts, seed).repeat(patches),
        "patches": folds_by_image(count * patches, parts, seed),
    }
    return {name: scores(predict(kind, flat, labels, folds, components), labels) for name, folds in foldings.items()}
