"""Floors, ceilings and gaps against closed forms."""

import numpy as np
import pytest
import torch

from microprint.analysis import judging
from microprint.analysis.judging import Measure, Pairs


def first_pixel(x, y):
    """A "measure" that is given its scores: the first pixel of the second image."""
    return y[:, 0, 0, 0]


def pairs(*scores, group=None):
    y = torch.tensor(scores, dtype=torch.float64)[:, None, None, None].expand(-1, 1, 2, 2)
    return Pairs(torch.zeros_like(y), y, range(len(scores)) if group is None else group)


FLOOR, CEILING, FLAT = pairs(0.1, 0.3), pairs(0.7, 0.9), pairs(0.0, 0.0)
DEVIATION = np.std([0.1, 0.3], ddof=1)


def judged(larger=True, sign=1, **candidates):
    given = [Pairs(p.x, sign * p.y, p.group) for p in (FLOOR, CEILING, FLAT, *candidates.values())]
    return judging.judge(Measure("m", first_pixel, larger), *given[:3], dict(zip(candidates, given[3:])))


@pytest.mark.parametrize(("larger", "sign"), [(True, 1), (False, -1)])
def test_similarities_and_distances_are_judged_alike(larger, sign):
    judgement = judged(larger, sign, half=pairs(0.5, 0.5), copy=pairs(1.0, 1.0))
    assert judgement.gap == pytest.approx(0.6 / DEVIATION) and judgement.keeps
    assert judgement.reached("half") == pytest.approx(0.5) and judgement.reached("copy") == pytest.approx(4 / 3)
    assert judgement.above_ceiling() == ["copy"]


def test_the_gap_is_in_pooled_deviations_and_has_a_sign():
    wide = judging.judge(Measure("m", first_pixel), pairs(0.0, 1.0), pairs(0.4, 0.8), FLAT, {})
    assert wide.gap == pytest.approx(0.1 / np.sqrt((np.var([0, 1], ddof=1) + np.var([0.4, 0.8], ddof=1)) / 2)) and not wide.keeps
    assert judged(larger=False).gap == pytest.approx(-0.6 / DEVIATION)


def test_a_measure_that_cannot_judge_gives_no_rank():
    judgement = judging.judge(Measure("m", first_pixel), FLOOR, FLOOR, FLAT, {"a": CEILING})
    assert judgement.gap == 0 and np.isnan(judgement.reached("a")) and judgement.above_ceiling() == ["a"]


def test_pairs_of_one_material_count_once_in_the_error():
    judgement = judged(many=pairs(1.0, 1.0, 1.0, 3.0, group=[0, 0, 0, 1]), single=pairs(1.0, 2.0, group=[4, 4]))
    assert judgement.candidates["many"].mean == 1.5 and judgement.candidates["many"].error == pytest.approx(1.0)
    assert np.isnan(judgement.candidates["single"].error)


def test_without_another_piece_of_the_same_nothing_can_judge():
    """Images of one patch each have no ceiling."""
    judgement = judging.judge(Measure("m", first_pixel), FLOOR, judging.Pairs(FLOOR.x[:0], FLOOR.y[:0], []), FLAT, {"a": CEILING})
    assert not judgement.keeps and np.isnan(judgement.reached("a")) and judgement.above_ceiling() == []
    rows = dict(judging.rows([judgement])[1])
    assert rows["ceiling"] == "–" and np.isnan(rows["gap / deviations"])


def test_many_pairs_are_measured_in_parts():
    many = pairs(*np.linspace(0, 1, 40))
    assert judging.judge(Measure("m", first_pixel), many, many, many, {}).floor.mean == pytest.approx(0.5)


def test_rows_of_a_table_mark_what_is_above_the_ceiling():
    titles, rows = judging.rows([judged(ours=pairs(0.85, 0.95), worse=pairs(0.4, 0.6))])
    table = dict(rows)
    assert titles == ["", "m ↑"] and list(table) == ["flat grey", "floor", "ceiling", "ours", "worse", "gap / deviations"]
    assert table["floor"] == "0.20 ± 0.10" and table["ceiling"] == "0.80 ± 0.10"
    assert table["ours"].endswith("\N{NO-BREAK SPACE}†") and not table["worse"].endswith("†")
    grey = judging.judge(Measure("m", first_pixel), FLOOR, CEILING, pairs(0.9, 0.9), {"a": FLOOR})
    assert dict(judging.rows([grey])[1])["flat grey"].endswith("†")
    table = dict(judging.rows([judged(single=pairs(0.5, 0.7, group=[4, 4]))])[1])
    assert table["single"] == "0.6"  # of a single material there is no error


def test_same_place_is_the_mean_correlation_of_pairs():
    images = np.random.default_rng(0).random((5, 8, 8))
    matrix = np.corrcoef(images.reshape(5, -1))
    assert judging.same_place(images) == pytest.approx(matrix[np.triu_indices(5, 1)].mean())
    assert judging.same_place(torch.tensor(images[:1]).expand(3, 8, 8)) == pytest.approx(1)
    assert judging.same_place(np.stack([images[0], 1 - images[0]])) == pytest.approx(-1)
    assert judging.same_place(np.full((3, 8, 8), 0.5)) == 0
    assert np.isnan(judging.same_place(images[:1]))
