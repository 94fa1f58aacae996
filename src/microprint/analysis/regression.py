"""Regression of properties: errors, straight lines, ridge, what is held out. Arrays may be numpy or torch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from microprint.errors import UserError

PENALTIES = np.logspace(-6, 6, 25)  # of a ridge regression on standardised features


def r2(predicted: ArrayLike, observed: ArrayLike) -> float:
    """Coefficient of determination of (N,) or (N, m): 1 - squares of errors over squares of deviations from the mean, summed.

    >>> r2([1.0, 2.0, 3.5], [1.0, 2.0, 3.0])
    0.875
    """
    predicted, observed = (torch.as_tensor(values).double() for values in (predicted, observed))
    return float(1 - (predicted - observed).square().sum() / (observed - observed.mean(0)).square().sum())


def mae_mpa(predicted: Tensor, observed: Tensor) -> float:
    """Mean absolute error, in MPa, of stresses in Pa."""
    return float((predicted - observed).abs().mean() / 1e6)


def mape(predicted: ArrayLike, observed: ArrayLike) -> float:
    """Mean absolute percentage error, each error over its own observed value, in %.

    >>> mape([110.0, 90.0], [100.0, 100.0])
    10.0
    """
    predicted, observed = (torch.as_tensor(values).double() for values in (predicted, observed))
    return float(100 * ((predicted - observed).abs() / observed.abs()).mean())


def mean_normalised_mape(predicted: ArrayLike, observed: ArrayLike) -> float:
    """Mean |error| over the mean observed value, in %: what S2 calls mean absolute percentage error."""
    predicted, observed = (torch.as_tensor(values).double() for values in (predicted, observed))
    return float(100 * (predicted - observed).abs().mean() / observed.mean())


def coverage(mean: Tensor, std: Tensor, observed: Tensor, share: float = 0.9) -> float:
    """Share of observations inside the central Gaussian interval that should hold `share` of them."""
    half_width = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor((1 + share) / 2)).item()
    return ((observed - mean).abs() <= half_width * std).double().mean().item()


def straight_line(x: Tensor, y: Tensor, at: Tensor) -> Tensor:
    """Least-squares line of y (N, T) in x (N, k), evaluated at (B, k): (B, T)."""
    ones = [torch.cat([torch.ones(len(part), 1, dtype=torch.float64), part.double()], 1) for part in (x, at)]
    return ones[1] @ torch.linalg.lstsq(ones[0], y.double(), driver="gelsd").solution


def power_law(x: ArrayLike, y: ArrayLike, at: ArrayLike, share: float = 0.9) -> np.ndarray:
    """Power law y = a x^b, fitted to positive (N,) by least squares of the logarithms, at (B,): value, lower, upper, (3, B).

    Between lower and upper a further observation lies with probability `share`, if the law holds so far (Student's t; N is
    3 or more).

    >>> power_law([1, 10, 100], [4.0, 2.0, 1.0], [1000])[0].round(6).tolist()
    [0.5]
    """
    from scipy.stats import t

    x, y, at = (np.log(np.asarray(values, float)) for values in (x, y, at))
    slope, height = np.polyfit(x, y, 1)
    spread = np.square(x - x.mean()).sum()
    deviation = np.sqrt(np.square(y - slope * x - height).sum() / (len(x) - 2))
    half = t.ppf((1 + share) / 2, len(x) - 2) * deviation * np.sqrt(1 + 1 / len(x) + np.square(at - x.mean()) / spread)
    value = slope * at + height
    return np.exp([value, value - half, value + half])


def ridge(x: Tensor, y: Tensor, at: Tensor) -> Tensor:
    """Ridge regression of y (N,) or (N, m) on features (N, k), evaluated at (B, k), in double precision.

    The penalty is the one of the smallest error in five-fold cross-validation. Each feature counts by its own spread,
    unless that is less than a thousandth of the largest.
    """
    from sklearn.model_selection import KFold

    x, y, at = (values.double() for values in (x, y, at))
    spread = x.std(0)
    scale = spread.clamp_min(1e-3 * spread.max()).clamp_min(torch.finfo(spread.dtype).tiny)
    known, asked, target = (x - x.mean(0)) / scale, (at - x.mean(0)) / scale, y.reshape(len(y), -1)
    penalties = torch.from_numpy(PENALTIES)
    folds = KFold(min(5, len(x)), shuffle=True, random_state=0).split(known)
    gaps = [_penalised(known[fit], target[fit], known[held], penalties) - target[held] for fit, held in folds]
    best = sum(gap.square().mean((1, 2)) for gap in gaps).argmin()
    return _penalised(known, target, asked, penalties[best : best + 1]).reshape(len(at), *y.shape[1:])


def _penalised(x: Tensor, y: Tensor, at: Tensor, penalties: Tensor) -> Tensor:
    """Ridge regressions (p, B, m) with penalties (p,): one singular value decomposition serves all."""
    left, singular, right = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    shrunk = singular / (singular.square() + penalties[:, None])
    return y.mean(0) + (at - x.mean(0)) @ right.T @ (shrunk[:, :, None] * (left.T @ (y - y.mean(0))))


def regressor(kind: str):
    """Standardised regression: ``mean``, ``ridge`` (penalty by cross-validation) or ``svr`` (radial kernel, as S3)."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.dummy import DummyRegressor
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    models = {"mean": DummyRegressor, "ridge": lambda: RidgeCV(PENALTIES), "svr": lambda: SVR(C=10.0)}
    return TransformedTargetRegressor(make_pipeline(StandardScaler(), models[kind]()), transformer=StandardScaler())


def predict_unseen(kind: str, features: ArrayLike, labels: ArrayLike, groups: ArrayLike) -> np.ndarray:
    """Predictions (N,) of labels (N,) from features (N, k), of each group by a `regressor` fitted to all other groups.

    Groups (N,) are what is held out together: the image (honest), or a number drawn for each patch (flattering). Raises
    `UserError` for fewer than two groups.
    """
    features, labels, groups = np.asarray(features), np.asarray(labels, float), np.asarray(groups)
    if len(np.unique(groups)) < 2:
        raise UserError("one image alone cannot be held out", "property prediction", "Give micrographs of two or more")
    predicted = np.empty_like(labels)
    for group in np.unique(groups):
        held_out = groups == group
        model = regressor(kind).fit(features[~held_out], labels[~held_out])
        predicted[held_out] = model.predict(features[held_out])
    return predicted


def mean_by(groups: ArrayLike, values: ArrayLike) -> np.ndarray:
    """Mean of the values in each group, groups in ascending order."""
    groups, values = np.asarray(groups), np.asarray(values, float)
    return np.array([values[groups == group].mean() for group in np.unique(groups)])
