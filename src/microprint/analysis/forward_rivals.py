"""Forward models of composites that S2 compares with, and what each gets right: statistics, a plain VAE's codes, bounds.

All take and give natural units: features (N, k), properties (N, p) in Pa. They learn the logarithm of each property by itself,
so that errors are relative and predictions positive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from microprint.analysis import regression
from microprint.analysis.composites import bounds, statistics, volume_fraction
from microprint.networks.gaussian_process import GaussianProcess
from microprint.networks.random_medium import autocorrelation
from microprint.systems.stiffness import entry, phase_stiffnesses

COMPONENTS = (2, 4, 8, 12, 16, 24, 32)  # numbers of principal components tried
RIVALS = ("LIN", "GPR", "SVR", "NN")  # S2's names, tables 7 and 8
FEW = 16  # volumes that are transformed together


def full_two_point(phase_ids: Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Two-point statistics (B, v) of volumes (B, n, n, n) of 0 and 1, for all vectors of half of space, float32.

    S2(r) = S2(-r), so that the other half says nothing more; r = 0, the volume fraction, comes first.
    """
    half = phase_ids.shape[-1] // 2 + 1
    parts = [autocorrelation(part.to(device))[..., :half].flatten(1).cpu() for part in phase_ids.split(FEW)]
    return torch.cat(parts)


def principal_regression(
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    features: Tensor,
    kind: str = "polynomial",
    components: Sequence[int] = COMPONENTS,
) -> tuple[Tensor, list[int]]:
    """Properties (B, p), Pa, by regression on principal components of many features, and how many of these, a property.

    The route of Yang et al. (2018) and the literature before: two-point statistics, principal components of the training set
    (scikit-learn), a polynomial of second order in them by `regression.ridge` or, for `kind` "gaussian", a Gaussian process.
    The number of components is that of the smallest error of the logarithm on the validation set.

    Parameters
    ----------
    train, validation : features (N, v) and properties (N, p) in Pa.
    features : (B, v) of the composites asked for.
    """
    from sklearn.decomposition import PCA

    most = min(max(components), len(train[0]) - 1, train[0].shape[1])
    pca = PCA(most, svd_solver="randomized", random_state=0).fit(train[0].numpy())
    known, held, asked = (torch.from_numpy(pca.transform(x.numpy())).double() for x in (train[0], validation[0], features))
    tried = sorted({min(count, most) for count in components})
    predicted, chosen = [], []
    for y, target in zip(train[1].double().log().unbind(1), validation[1].double().log().unbind(1), strict=True):

        def fitted(count: int, y: Tensor = y) -> Tensor:
            return _fit(kind, known[:, :count], y, torch.cat([held[:, :count], asked[:, :count]]))

        answers = {count: fitted(count).split([len(held), len(asked)]) for count in tried}
        best = min(tried, key=lambda count: float((answers[count][0] - target).square().mean()))
        predicted.append(answers[best][1].exp())
        chosen.append(best)
    return torch.stack(predicted, 1), chosen


def _fit(kind: str, x: Tensor, y: Tensor, at: Tensor) -> Tensor:
    if kind == "gaussian":
        return GaussianProcess.fit(x, y, torch.Generator().manual_seed(0)).predict(at)[0]
    return regression.ridge(second_order(x), y, second_order(at))


def second_order(x: Tensor) -> Tensor:
    """Features (N, k) and all their products of two: (N, k + k (k + 1) / 2)."""
    first, second = torch.triu_indices(x.shape[1], x.shape[1])
    return torch.cat([x, x[:, first] * x[:, second]], 1)


def code_regression(codes: Tensor, properties: Tensor, at: Tensor, kind: str, seed: int = 0) -> Tensor:
    """Properties (B, p), Pa, at codes (B, d), by a regression on codes (N, d) of a network that has not seen properties.

    S2's separately trained rivals, `kind` one of `RIVALS`: a straight line, a Gaussian process (ours, with a linear part),
    support vectors with a radial kernel, or a network with one hidden layer; the last three on standardised codes.
    """
    answers = []
    for y in properties.double().log().unbind(1):
        if kind == "LIN":
            answers.append(regression.straight_line(codes, y[:, None], at)[:, 0])
        elif kind == "GPR":
            answers.append(process_regression(codes, y.exp()[:, None], at, seed)[:, 0].log())
        else:
            model = _sklearn(kind, seed, early=len(codes) >= 20).fit(codes.double().numpy(), y.numpy())
            answers.append(torch.from_numpy(np.asarray(model.predict(at.double().numpy()))))
    return torch.stack(answers, 1).exp()


def _sklearn(kind: str, seed: int, early: bool):
    """A regression; `early`: the network stops by a tenth of the samples, which takes twenty of them."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if kind == "SVR":
        return regression.regressor("svr")
    network = MLPRegressor(hidden_layer_sizes=(64,), early_stopping=early, max_iter=3000, random_state=seed)
    return TransformedTargetRegressor(make_pipeline(StandardScaler(), network), transformer=StandardScaler())


def process_regression(features: Tensor, properties: Tensor, at: Tensor, seed: int = 0) -> Tensor:
    """Properties (B, p), Pa, at features (B, k), by a Gaussian process of each on features (N, k)."""
    fits = [GaussianProcess.fit(features, y, torch.Generator().manual_seed(seed)) for y in properties.double().log().unbind(1)]
    return torch.stack([fitted.predict(at)[0].exp() for fitted in fits], 1)


def process_on_axes(statistics: Tensor, properties: Tensor, at: Tensor, seed: int = 0) -> Tensor:
    """C11, C22 and C33 (B, 3), Pa, by one Gaussian process for all axes, on statistics (N, 1 + 3 k) and properties (N, 3).

    Statistics (`composites.statistics`) are asked for at (B, 1 + 3 k): volume fraction, then k numbers along each axis. A
    composite gives a sample for each axis, whose numbers come first, and those of the others after them in cyclic order.
    """

    def turned(x: Tensor) -> Tensor:
        along = x[:, 1:].unflatten(1, (3, -1))
        return torch.cat([torch.cat([x[:, :1], along.roll(-axis, 1).flatten(1)], 1) for axis in range(3)])

    predicted = process_regression(turned(statistics), properties.T.reshape(-1, 1), turned(at), seed)
    return predicted.view(3, len(at)).T


def without_physics(
    phase_ids: Tensor, properties: Tensor, split: Mapping[str, Tensor], names: Sequence[str]
) -> dict[str, Tensor]:
    """Properties (B, p), Pa, of the test set by models that see no equilibrium, by their names.

    `phase_ids` (N, n, n, n) and `properties` (N, p) are of all composites, `split` holds the indices of ``train``,
    ``validation`` and ``test``.
    """
    train, held, test = (split[part] for part in ("train", "validation", "test"))
    vectors = [full_two_point(phase_ids[part]) for part in (train, held, test)]
    few, known = statistics(phase_ids), properties[train]
    return {
        "mean of the training set": known.mean(0).expand(len(test), -1),
        "Voigt-Reuss-Hill": voigt_reuss_hill(phase_ids[test], names),
        "two-point statistics, principal components": principal_regression(
            (vectors[0], known), (vectors[1], properties[held]), vectors[2]
        )[0],
        "Gaussian process on 13 numbers": process_regression(few[train], known, few[test]),
    }


def extrapolated(history: Tensor) -> Tensor:
    """C11, C22 and C33 (B, 3), Pa, that n iterations (B, n + 1, 3) would come to if they went on as they did: no label.

    The logarithm's last two steps are taken for the first of a geometric series (Aitken's delta-squared process).
    """
    fall = history.log().diff(dim=1)
    if fall.shape[1] < 2:
        return history[:, -1]
    ratio = (fall[:, -1] / fall[:, -2]).clamp(0, 0.95)
    return (history[:, -1].log() + fall[:, -1] * ratio / (1 - ratio)).exp()


def line_of_iterations(history: Tensor, properties: Tensor, at: Tensor) -> Tensor:
    """C11, C22 and C33 (B, 3), Pa, by a straight line of logarithms in what n iterations have fallen to.

    Learnt from iterations (N, n + 1, 3) and the properties (N, 3), one function for all axes, and asked at (B, n + 1, 3).
    """
    seen, asked = (x.log().transpose(1, 2).flatten(0, 1) for x in (history, at))
    return regression.straight_line(seen, properties.log().reshape(-1, 1), asked).exp().view(len(at), 3)


def voigt_reuss_hill(phase_ids: Tensor, names: Sequence[str]) -> Tensor:
    """Hill's mean (B, p), Pa, of Voigt's and Reuss's averages for composites (B, n, n, n): what the volume fraction says."""
    fraction = volume_fraction(phase_ids)
    return torch.stack([bounds(fraction, phase_stiffnesses(), entry(name))["hill"] for name in names], 1)


# Errors by name: S2's MAPE, over the mean observed value, the usual one, and R2.
MEASURES: Mapping[str, Callable[[Tensor, Tensor], float]] = {
    "mape_mean": regression.mean_normalised_mape,
    "mape": regression.mape,
    "r2": regression.r2,
}


def errors(predicted: Tensor, observed: Tensor, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """`MEASURES` of predictions (B, p) by the property's name."""
    columns = zip(names, predicted.unbind(1), observed.unbind(1), strict=True)
    return {name: {key: measure(p, o) for key, measure in MEASURES.items()} for name, p, o in columns}
