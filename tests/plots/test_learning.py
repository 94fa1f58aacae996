"""Figures of learning."""

import matplotlib.pyplot as plt
import numpy as np

from microprint.plots.learning import error_by_size, error_by_visits


def test_errors_by_visits_and_by_size_name_what_they_show():
    figure, (left, right) = plt.subplots(1, 2)
    x = np.array([10.0, 100.0])
    error_by_visits({"paper": (x, [3.0, 2.0]), "coded": ([10.0], [4.0])}, {"linear": 2.5}, (x, np.ones((3, 2))), "error / °", left)
    error_by_size({"resnet12": ([64, 128], [3, 2]), "linear": ([64, 128], [2, 1])}, "error / °", right)
    shown = [[text.get_text() for text in ax.get_legend().get_texts()] for ax in (left, right)]
    assert shown == [["paper", "coded", "linear"], ["resnet12", "linear"]]
    assert [tick.get_text() for tick in right.get_xticklabels()] == ["64", "128"]
    plt.close(figure)
