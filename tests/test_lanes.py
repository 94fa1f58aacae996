"""Eight numbers at a time in compiled code, against numpy."""

from collections import namedtuple

import numpy as np
import pytest

from microprint.jit import compiled
from microprint.lanes import (
    LANES,
    holds,
    in_lanes,
    lanes,
    larger,
    multiply,
    power,
    put,
    read,
    smaller,
    some,
    sqrt,
    take,
    where,
    widened,
    with_sign,
    write,
)

Work = namedtuple("Work", "x y result")


@compiled
def _compute(work, exponent):
    w = in_lanes(work)
    for s in range(len(w.x)):
        x, y, to = w.x[s], w.y[s], w.result
        to[s, 0], to[s, 1], to[s, 2], to[s, 3] = x + 2.0 * y, 1.0 - x / y, abs(-x), with_sign(y, x)
        to[s, 4], to[s, 5], to[s, 6] = larger(x, 0.5), smaller(x, y), sqrt(y)
        to[s, 7], to[s, 8] = where((x > 0.0) & ~(y < 0.5), x, lanes(3.0)), power(y, exponent)
    return some(w.x[0] > 0.9), holds(w.x[0] > 0.0, 3)


@compiled
def _move(work, table, at):
    w = in_lanes(work)
    take(table, at, w.x)
    put(table, at, w.y)


def work(rows=3):
    generator = np.random.default_rng(0)
    return Work(generator.normal(size=(rows, LANES)), generator.random((rows, LANES)), np.empty((rows, 9, LANES)))


def test_arithmetic_is_numpys():
    w = work()
    some_large, fourth = _compute(w, 2.5)
    x, y = w.x, w.y
    expected = [x + 2 * y, 1 - x / y, abs(x), np.copysign(y, x), np.maximum(x, 0.5), np.minimum(x, y), np.sqrt(y)]
    expected += [np.where((x > 0) & (y >= 0.5), x, 3.0), y**2.5]
    np.testing.assert_allclose(w.result, np.stack(expected, 1), rtol=1e-14)
    assert some_large == (x[0] > 0.9).any() and fourth == (x[0, 3] > 0)


@pytest.mark.parametrize("exponent", [-1 / 3, 0.05, 1.0, 19.0, 82.3])
def test_powers_are_precise_from_the_smallest_numbers_to_the_largest(exponent):
    w = work(8)
    w.y[:] = np.geomspace(1e-3, 1e3, 64).reshape(8, LANES)
    w.y[0, 0], w.y[0, 1] = 1.0, np.nan
    _compute(w, exponent)
    np.testing.assert_allclose(w.result[:, 8], w.y**exponent, rtol=1e-13)


def test_zero_to_a_power_is_nothing_that_counts():
    w = work()
    w.y[0, :2] = 0.0, 1e-300
    _compute(w, 2.25)
    assert (w.result[0, 8, :2] < 1e-300).all()


@pytest.mark.parametrize("at", [[4, 5, 6, 7, 8, 9, 10, 11], [0, 2, 3, 5, 8, 9, 10, 13], [0, 2, 4, 5, 7, 7, 7, 7]], ids=str)
def test_columns_come_and_go(at):
    w, at = work(), np.array(at)
    w.y[:, at == at[-1]] = w.y[:, -1:]  # a column that is repeated holds one number
    table = np.random.default_rng(1).random((3, 16))
    before = table.copy()
    _move(w, table, at)
    np.testing.assert_array_equal(w.x, before[:, at])
    before[:, at] = w.y
    np.testing.assert_array_equal(table, before)


@compiled
def _shift(table, target, least):
    for column in range(0, table.shape[1] - LANES, LANES):
        x = read(table, 1, column + 1)
        write(target, 0, column, where(x > least, 2.0 * x - x * x / 3.0, x))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_neighbours_are_read_and_written_anywhere_in_their_precision(kind):
    table, target = np.random.default_rng(0).normal(size=(2, 3 * LANES)).astype(kind), np.zeros((1, 2 * LANES), kind)
    _shift(table, target, 0.2)
    x = table[1:, 1 : 2 * LANES + 1]
    np.testing.assert_allclose(target, np.where(x > 0.2, 2 * x - x**2 / 3, x), rtol=4 * np.finfo(kind).eps)


@compiled
def _widen(table, target):
    in_lanes(target).x[0] = widened(read(table, 0, 2))


def test_float32_is_widened():
    table, target = np.random.default_rng(0).random((1, 16), np.float32), work()
    _widen(table, target)
    assert np.array_equal(target.x[0], table[0, 2 : 2 + LANES].astype(float))


@compiled
def _multiply(a, fields, first, rows):
    w = in_lanes(fields)
    multiply(a, w.x, w.result[:, first : first + w.x.shape[1]], rows)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("rows, inner, width", [(1, 5, 1), (3, 2, 2), (4, 1, 1), (5, 26, 3), (16, 16, 4), (27, 14, 2)])
def test_products_of_matrices_with_lanes_are_numpys_in_a_part_of_the_result(kind, rows, inner, width):
    generator, nothing = np.random.default_rng(0), np.zeros((1, LANES), kind)
    a, x = generator.normal(size=(rows, inner + 1)).astype(kind), generator.normal(size=(inner, width, LANES)).astype(kind)
    result = np.full((rows, width + 2, LANES), 7, kind)
    _multiply(a, Work(x, nothing, result), 1, rows)
    expected = np.einsum("rk,knl->rnl", a[:, :inner].astype(float), x)
    np.testing.assert_allclose(result[:, 1:-1], expected, atol=1e-12 if kind is np.float64 else 1e-4)
    assert (result[:, [0, -1]] == 7).all()
