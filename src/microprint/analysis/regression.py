"""Regression of properties: errors, straight lines, ridge, what is held out. Arrays may be numpy or torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

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


def chance(first: ArrayLike, second: ArrayLike) -> float:
    """Difference of two mean absolute errors that chance can make: twice the standard error of their paired difference.

    Of the errors (N,) of two models on the same samples; what they have in common does not count. One sample cannot tell.

    >>> chance([1.0, 1.0, 1.0, 1.0], [-3.0, 3.0, 3.0, -3.0])
    0.0
    >>> chance([1.0], [3.0])
    inf
    """
    difference = torch.as_tensor(first).double().abs() - torch.as_tensor(second).double().abs()
    return float(2 * difference.std() / len(difference) ** 0.5) if len(difference) > 1 else float("inf")


def compared(first: ArrayLike, second: ArrayLike) -> str:
    """Whether the first errors (N,) are ``nearer than``, ``as near as`` or ``farther off than`` the second, but for `chance`.

    >>> compared([1.0, 1.0, 1.0], [3.0, 3.0, -3.0])
    'nearer than'
    """
    lead = float(torch.as_tensor(second).double().abs().mean() - torch.as_tensor(first).double().abs().mean())
    return "as near as" if abs(lead) <= chance(first, second) else "nearer than" if lead > 0 else "farther off than"


def ahead(errors: Mapping[str, Tensor], mine: str, rivals: Sequence[str]) -> list[str]:
    """Rivals whose mean absolute error is below that of `mine` by more than `chance`, best first; errors (N,) of each model.

    >>> ahead({"a": torch.ones(9), "b": torch.full((9,), 0.5), "c": torch.full((9,), 2.0)}, "a", ["b", "c"])
    ['b']
    """
    better = [name for name in rivals if compared(errors[name], errors[mine]) == "nearer than"]
    return sorted(better, key=lambda name: float(errors[name].abs().mean()))


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


def ridge(x: Tensor, y: Tensor, at: Tensor, groups: ArrayLike | None = None) -> Tensor:
    """Ridge regression of y (N,) or (N, m) on features (N, k), evaluated at (B, k), in double precision.

    The penalty is the one of the smallest error in five-fold cross-validation, in which samples of one group (N,) stay
    together. Each feature counts by its own spread, unless that is less than a thousandth of the largest.
    """
    from sklearn.model_selection import KFold

    x, y, at = (values.double() for values in (x, y, at))
    spread = x.std(0)
    scale = spread.clamp_min(1e-3 * spread.max()).clamp_min(torch.finfo(spread.dtype).tiny)
    known, asked = ((values - x.mean(0)) / scale for values in (x, at))
    targets, group = y.reshape(len(y), -1), torch.arange(len(x)) if groups is None else torch.as_tensor(groups)
    members, errors = group.unique(), torch.zeros(len(PENALTIES)).double()
    for _, held in KFold(min(5, len(members)), shuffle=True, random_state=0).split(members):
        out = torch.isin(group, members[held])
        errors += (_ridges(known[~out], targets[~out], known[out], PENALTIES) - targets[out]).square().mean((1, 2))
    best = PENALTIES[[int(errors.argmin())]]
    return _ridges(known, targets, asked, best).reshape(len(at), *y.shape[1:])


def _ridges(x: Tensor, y: Tensor, at: Tensor, penalties: np.ndarray) -> Tensor:
    """Ridge regressions of y (N, m) on x (N, k) at (B, k), one for each of L penalties, by one decomposition: (L, B, m)."""
    u, singular, axes = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    shrink = singular / (singular.square() + torch.from_numpy(penalties)[:, None])
    weights = shrink[..., None] * (u.T @ (y - y.mean(0)))
    return y.mean(0) + ((at - x.mean(0)) @ axes.T) @ weights


def regressor(kind: str, standardise: bool = True):
    """Regression of a standardised value: ``mean``, ``ridge`` (penalty by cross-validation), ``svr`` (radial kernel, as S3).

    Features are standardised unless they have one unit, as principal components do, whose spreads say how much they count.
    """
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.dummy import DummyRegressor
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    models = {"mean": DummyRegressor, "ridge": lambda: RidgeCV(PENALTIES), "svr": lambda: SVR(C=10.0)}
    steps = [StandardScaler()] if standardise else []
    return TransformedTargetRegressor(make_pipeline(*steps, models[kind]()), transformer=StandardScaler())


def components(x: np.ndarray, at: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Principal components (N, count) and (B, count) of features (N, k), evaluated at (B, k), in one unit.

    There are at most N - 1. The unit is the root of their mean variance: each keeps its share.
    """
    from sklearn.decomposition import PCA

    pca = PCA(min(count, len(x) - 1, x.shape[1]), svd_solver="full").fit(x)
    unit = np.sqrt(pca.explained_variance_.mean()) or 1.0
    return pca.transform(x) / unit, pca.transform(at) / unit
