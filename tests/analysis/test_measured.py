"""Measurements that the repository keeps, and the power law that looks beyond them."""

import numpy as np
import pytest

from microprint.analysis.measured import measured
from microprint.analysis.regression import power_law
from microprint.errors import UserError


def test_tables_have_numbers_and_names():
    rows = measured("s1_matrix")
    assert {(row["depth"], row["latent_dim"]) for row in rows} == {
        (depth, size) for depth in ("resnet12", "resnet18", "resnet34") for size in (64.0, 128.0, 256.0, 512.0)}
    assert all("H100" in row["device"] for row in rows)
    with pytest.raises(UserError, match="is missing"):
        measured("no such table")


def test_a_power_law_holds_a_further_observation_as_often_as_it_says():
    x, rng = np.array([1e3, 1e4, 1e5, 1e6]), np.random.default_rng(1)
    inside = []
    for _ in range(400):
        y, later = (5 * at**-0.2 * np.exp(0.1 * rng.normal(size=np.shape(at))) for at in (x, np.array([1e7])))
        _, lower, upper = power_law(x, y, [1e7])
        inside.append(bool(lower[0] < later[0] < upper[0]))
    assert np.mean(inside) == pytest.approx(0.9, abs=0.04)
