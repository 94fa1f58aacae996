"""Figures of designs."""

import matplotlib.pyplot as plt
import numpy as np

from microprint.plots.design import falling, targets


def test_falling_errors_with_levels():
    figure, ax = plt.subplots()
    curves = {"gradient": ([1, 2, 3], np.array([30.0, 3.0, 0.3])), "annealing": (np.arange(1, 3), np.array([40.0, 20.0]))}
    falling(curves, "evaluations", "error (%)", ax, {"S2": 10.0})
    *lines, level = ax.get_lines()
    assert [line.get_label() for line in lines] == ["gradient", "annealing"]
    np.testing.assert_array_equal(lines[0].get_xydata(), [[1, 30], [2, 3], [3, 0.3]])
    assert list(level.get_ydata()) == [10, 10] and [text.get_text() for text in ax.texts] == ["S2"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["gradient", "annealing"]
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel(), ax.get_ylabel()) == ("log", "log", "evaluations", "error (%)")
    assert len({line.get_color() for line in lines}) == 2
    figure.canvas.draw()
    plt.close(figure)


def test_draws_are_a_mean_and_a_band():
    figure, ax = plt.subplots()
    falling({"ours": ([1, 2], np.array([[2.0, 4.0], [1.0, 3.0]]))}, "labels", "error", ax)
    assert list(ax.get_lines()[0].get_ydata()) == [3, 2]
    (band,) = ax.collections
    assert band.get_paths()[0].get_extents().intervaly.tolist() == [1, 4]
    plt.close(figure)


def test_more_methods_than_colours_are_drawn_too():
    figure, ax = plt.subplots()
    falling({str(i): ([1, 2], [2.0, 1.0]) for i in range(7)}, "x", "y", ax)
    assert len(ax.get_lines()) == 7
    plt.close(figure)


def test_designs_beside_their_targets():
    figure = targets(np.array([20.0, 40.0]), {"a": np.array([[22.0], [40.0]]), "b": np.array([[10.0, 20.0], [40.0, 60.0]])}, "C11", "GPa")
    _, *methods = figure.axes[0].get_lines()
    assert [list(np.round(line.get_ydata(), 6)) for line in methods] == [[10, 0], [-50, 0, 0, 50]]
    assert methods[0].get_xdata()[0] < 20 < methods[1].get_xdata()[0]
    plt.close(figure)
