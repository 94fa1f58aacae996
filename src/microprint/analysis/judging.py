"""Which measures of texture can judge a reconstruction: those that tell another material from another piece of the same.

A score means nothing without its floor (images of another material), its ceiling (other images of the same material) and
the trivial baseline (flat grey). Where floor and ceiling overlap, a measure cannot judge, whatever it says of a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

LEAST_GAP = 1.0  # between floor and ceiling, in standard deviations of pairs
CHUNK = 16  # pairs that are measured together


class Measure(NamedTuple):
    """A comparison of images (B, 1, h, w) with as many others, (B,)."""

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    larger_is_alike: bool = True  # a similarity; otherwise a distance


class Pairs(NamedTuple):
    """Images (N, 1, h, w), others (N, 1, h, w) to compare them with, and the number (N,) of the material of the former."""

    x: Tensor
    y: Tensor
    group: ArrayLike


class Score(NamedTuple):
    """Mean over pairs, its standard error over materials (NaN for a single one), and the deviation of pairs."""

    mean: float
    error: float
    deviation: float


@dataclass(frozen=True)
class Judgement:
    """What a measure says of floor, ceiling, flat grey and candidates.

    `gap` is how much more alike the ceiling is than the floor, in pooled standard deviations of pairs (d' of signal detection).
    """

    measure: Measure
    floor: Score
    ceiling: Score
    trivial: Score
    candidates: Mapping[str, Score]

    @property
    def gap(self) -> float:
        pooled = np.sqrt((self.floor.deviation**2 + self.ceiling.deviation**2) / 2)
        return float(self._better(self.ceiling.mean - self.floor.mean) / max(pooled, 1e-12))

    @property
    def keeps(self) -> bool:
        """Whether the measure can judge: a gap of 1 or more."""
        return self.gap >= LEAST_GAP

    def reached(self, name: str) -> float:
        """How far a candidate is on the way from the floor (0) to the ceiling (1); NaN if the measure cannot judge."""
        way = self.ceiling.mean - self.floor.mean
        return (self.candidates[name].mean - self.floor.mean) / way if self.keeps else np.nan

    def above_ceiling(self) -> list[str]:
        """Candidates more alike than other images of the same material are: they repeat what is no part of the texture."""
        return [name for name, score in self.candidates.items() if self.beyond(score)]

    def beyond(self, score: Score) -> bool:
        """Whether a score is that of images more alike than others of the same material are."""
        return self._better(score.mean - self.ceiling.mean) > 0

    def _better(self, difference: float) -> float:
        return difference if self.measure.larger_is_alike else -difference


@torch.no_grad()
def judge(measure: Measure, floor: Pairs, ceiling: Pairs, trivial: Pairs, candidates: Mapping[str, Pairs]) -> Judgement:
    """Scores of all pairs by a measure."""
    floor, ceiling, trivial, *others = (_score(measure, pairs) for pairs in (floor, ceiling, trivial, *candidates.values()))
    return Judgement(measure, floor, ceiling, trivial, dict(zip(candidates, others)))


def _score(measure: Measure, pairs: Pairs) -> Score:
    if not len(pairs.x):  # images of one patch each have no other piece
        return Score(np.nan, np.nan, np.nan)
    values = [measure.function(a, b) for a, b in zip(pairs.x.split(CHUNK), pairs.y.split(CHUNK), strict=True)]
    scores, group = torch.cat(values).double().cpu().numpy(), np.asarray(pairs.group)
    # Pairs of one material share its accidents; only materials are independent.
    means = np.array([scores[group == g].mean() for g in np.unique(group)])
    error = means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.nan
    return Score(float(scores.mean()), float(error), float(scores.std(ddof=1)) if len(scores) > 1 else 0.0)


BEYOND = "†"  # behind a candidate's score in a table: more alike than other images of the same material


def rows(judgements: Sequence[Judgement]) -> tuple[list[str], list[tuple]]:
    """Titles and rows of a table, a column for each measure.

    Rows are mean and standard error of flat grey, floor, ceiling and each candidate (each with a dagger above the ceiling), and
    the gap in deviations.
    """
    titles = ["", *(f"{j.measure.name} {'↑' if j.measure.larger_is_alike else '↓'}" for j in judgements)]
    bounds = {"flat grey": "trivial", "floor": "floor", "ceiling": "ceiling"}
    scores = {name: [getattr(j, bound) for j in judgements] for name, bound in bounds.items()}
    scores |= {name: [j.candidates[name] for j in judgements] for name in judgements[0].candidates}
    mark = f"\N{NO-BREAK SPACE}{BEYOND}"
    table = [(name, *(_entry(s) + mark * j.beyond(s) for j, s in zip(judgements, row))) for name, row in scores.items()]
    return titles, [*table, ("gap / deviations", *(j.gap for j in judgements))]


def _entry(score: Score) -> str:
    if np.isnan(score.mean):
        return "–"
    if not (np.isfinite(score.error) and score.error > 0):
        return f"{score.mean:.3g}"
    decimals = max(0, 1 - math.floor(math.log10(score.error)))  # the error has two digits, and the mean no more than it
    return f"{score.mean:.{decimals}f} ± {score.error:.{decimals}f}"


def same_place(images: ArrayLike) -> float:
    """Mean correlation of all pairs of images (K, h, w), pixel by pixel: 0 for textures without places.

    Near 1 a decoder draws its blobs at the same places whatever it is asked for. A flat image goes with nothing; of a single
    image there is no pair (NaN).
    """
    if len(images) < 2:
        return np.nan
    flat = np.asarray(images, float).reshape(len(images), -1)
    flat = flat - flat.mean(1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    unit = flat / np.where(norm > 1e-9, norm, np.inf)
    # The square of the sum holds each pair twice, and each image with itself once.
    return float((np.square(unit.sum(0)).sum() - np.square(unit).sum()) / (len(unit) * (len(unit) - 1)))
