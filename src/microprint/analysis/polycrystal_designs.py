"""What designed polycrystals are worth: their errors by simulation, how they differ among each other and from known ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from microprint.analysis.descriptors import mean_embedding
from microprint.microstructures.volume_elements import VolumeElements
from microprint.systems.polycrystal_targets import KINDS, DesignStudy

MPA = 1e6
HALF = 0.5  # standard deviation of the training elements: what is nearer is met


def variety(designs: VolumeElements, count: int, training: VolumeElements) -> float:
    """How far apart the textures of the designs for one target lie, `count` of each in a row: 1 is as far as two training
    elements. A texture is the volume average of the embedding, the lowest coefficients of the orientation distribution.
    """
    own = mean_embedding(designs).double().unflatten(0, (-1, count))
    among = _between(mean_embedding(training).double())
    return float(torch.stack([_between(some) for some in own]).mean() / among)


def novelty(designs: VolumeElements, training: VolumeElements) -> float:
    """How far from the nearest training element the textures of designs lie: 1 is as far as that is from its own nearest."""
    known = mean_embedding(training).double()
    away = torch.cdist(known, known).fill_diagonal_(torch.inf).amin(1).mean()
    return float(torch.cdist(mean_embedding(designs).double(), known).amin(1).mean() / away)


def _between(points: Tensor) -> Tensor:
    """Mean distance of two different points (N, k)."""
    return torch.pdist(points).mean()


def errors_mpa(study: DesignStudy, method: str, first: int | None = None) -> dict[str, list[float]]:
    """Mean absolute errors of the r properties, MPa, of all targets and of each kind that there is.

    Of all designs for a target, or of the `first` ones: ``nearest`` and ``best_of_n`` have their best first.
    """
    return _by_kind(study, study.error(method)[:, :first] / MPA)


def misses(study: DesignStudy, method: str, by: str = "simulated") -> Tensor:
    """How far designs (T, K) are off their targets, as they are ``simulated`` or ``predicted`` by the surrogate.

    The largest error of the properties, each in standard deviations of the training elements.
    """
    values = getattr(study.made[method], by).unflatten(0, (len(study.targets), -1))
    return ((values - study.targets[:, None]).abs() / study.known.std(0)).amax(-1)


class Comparison(NamedTuple):
    """How far the designs of methods are off the same targets, ours against the strongest rival."""

    off: dict[str, float]  # mean of each method
    rival: str
    chance: dict[str, float]  # twice the standard error of what ``ours`` and ``corrected`` are farther off than the rival


def compare(off: Mapping[str, Tensor], rivals: Sequence[str]) -> Comparison:
    """Methods by how far their designs (T, K) for the same T targets are off; K may differ, and some may not have converged."""
    mean = {method: float(values.nanmean(1).nanmean()) for method, values in off.items()}
    rival = min(rivals, key=mean.__getitem__)
    return Comparison(mean, rival, {method: 2 * _standard_error(off[method], off[rival]) for method in ("ours", "corrected")})


def _standard_error(ours: Tensor, rival: Tensor) -> float:
    """Of the mean difference: over targets, which scatter more than the designs for one; over its designs where it is alone."""
    apart = ours.nanmean(1) - rival.nanmean(1)
    if len(apart) > 1:
        return _variance_of_mean(apart) ** 0.5
    return (_variance_of_mean(ours[0]) + _variance_of_mean(rival[0])) ** 0.5


def _variance_of_mean(values: Tensor) -> float:
    """Of values that scatter; nothing is known of the scatter of a single value, and none is claimed."""
    values = values[~values.isnan()]
    return float(values.var() / len(values)) if len(values) > 1 else 0.0


def errors_at_random_mpa(study: DesignStudy) -> dict[str, list[float]]:
    """The same of a training element at random."""
    return _by_kind(study, (study.known - study.targets[:, None]).abs() / MPA)


def _by_kind(study: DesignStudy, errors: Tensor) -> dict[str, list[float]]:
    rows = {kind: torch.tensor([own == kind for own in study.kinds]) for kind in KINDS if kind in study.kinds}
    return {"all": errors.nanmean((0, 1)).tolist()} | {kind: errors[own].nanmean((0, 1)).tolist() for kind, own in rows.items()}


def within_half_spread(study: DesignStudy, method: str, kinds: tuple[str, ...]) -> float:
    """Share of the designs for targets of some kinds all of whose properties are met within half the standard deviation of
    the training elements."""
    met = misses(study, method) < HALF
    return float(met[torch.tensor([kind in kinds for kind in study.kinds])].double().mean())
