"""The recorded measurements at S2's scale: what is compared with what."""

import numpy as np
import pytest

from microprint.analysis import s2_at_scale


def test_each_set_has_a_ranking_of_its_own():
    rows, cut = s2_at_scale.forward()
    sets = [row["set"] for row in rows]
    assert sets == sorted(sets) and set(sets) == {"all", s2_at_scale.TWO}
    for name in set(sets):
        part = [row for row in rows if row["set"] == name]
        assert len({row["trained_on"] for row in part}) == 1
        assert np.all(np.diff([row["mape_mean"] for row in part]) >= 0)
    assert cut and all(epochs < s2_at_scale.LEAST for epochs in cut.values())


def test_what_was_cut_short_is_nowhere():
    rows, cut = s2_at_scale.forward()
    assert not any((row["set"], row["model"].removeprefix("VAE-Reg, ")) in cut for row in rows)
    left, whole = s2_at_scale.backward(cut), s2_at_scale.backward()
    assert {key[:2] for key in whole.keys() - left.keys()} == set(cut)
    for prior, gaps in s2_at_scale.by_target("a hundredth of the divergence").items():
        assert np.mean(np.abs(list(gaps.values()))) == pytest.approx(whole["all", f"{prior}, a hundredth of the divergence", "as trained"][0], rel=1e-3)
    assert all(mean <= worst for mean, worst in s2_at_scale.six().values())
