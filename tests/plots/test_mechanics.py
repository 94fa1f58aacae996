"""Figures of mechanics: training told from testing, every set in the bars, the tolerance that is asked for."""

import matplotlib
import numpy as np

from microprint.plots import mechanics as draw

matplotlib.use("Agg")
STRAIN = np.linspace(0, 1, 5)


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_families_tell_training_from_testing_and_may_be_missing_in_one():
    curves = np.ones((2, 5)) * STRAIN
    figure = draw.families(STRAIN, {"train": {"basal": curves, "fibre_100": 2 * curves}, "test": {"basal": 3 * curves}})
    assert labels(figure) == ["basal", "fibre 100", "train (right)", "test (right)"]
    left, right = figure.axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), 2 * STRAIN)  # the mean of both parts
    assert sorted(len(line.get_xdata()) for line in right.lines) == [0, 2, 2, 2]


def test_bars_of_work_count_every_volume_element():
    figure = draw.work({"train": (np.array([50, 51, 51]), np.array([90, 90, 120])), "test": (np.array([53]), np.array([100]))})
    for ax in figure.axes:
        assert sum(patch.get_height() for patch in ax.patches) == 4
        widths = np.array([patch.get_width() for patch in ax.patches])
        np.testing.assert_allclose(widths, np.ceil(widths[0]))  # every bar holds as many whole numbers
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["train", "test"]


def test_the_tolerance_is_drawn_and_named():
    curve = 1 + STRAIN
    figure = draw.against_reference(STRAIN, {"one": (curve * 1.001, curve)}, 1e-3, "title")
    assert labels(figure) == ["one", "DAMASK (circles)", "tolerance 0.001"]
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), 1e-3)
