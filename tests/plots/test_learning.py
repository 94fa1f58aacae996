"""Figures of learning."""

import matplotlib.pyplot as plt
import numpy as np

from microprint.plots.learning import error_by_size, error_by_visits, learning_curves, longer_trained


def test_errors_by_visits_and_by_size_name_what_they_show():
    figure, (left, right) = plt.subplots(1, 2)
    x = np.array([10.0, 100.0])
    error_by_visits({"paper": (x, [3.0, 2.0]), "coded": ([10.0], [4.0])}, {"linear": 2.5}, (x, np.ones((3, 2))), "error / °", left)
    error_by_size({"resnet12": ([64, 128], [3, 2]), "linear": ([64, 128], [2, 1])}, "error / °", right)
    assert [ax.get_legend_handles_labels()[1] for ax in (left, right)] == [
        ["paper", "coded", "power law, with bounds", "linear"], ["resnet12", "linear"]]
    assert left.get_legend() is None  # it would lie on points
    assert [tick.get_text() for tick in right.get_xticklabels()] == ["64", "128"]
    plt.close(figure)


def test_learning_curves_tell_training_from_validation_and_take_no_decades_for_a_narrow_range():
    history = [{"epoch": n} | {f"{part}_{term}": value for part in ("train", "validation") for term, value in
               (("loss", 1.0 + n), ("kl", 10.0**-n), ("third", n), ("fourth", n))} for n in (1, 2, 3)]
    figure = learning_curves({"paper": history}, {"loss": "loss / nat", "kl": "KL / nat", "third": "3", "fourth": "4"})
    loss, kl, third, _ = figure.axes
    assert [line.get_linestyle() for line in loss.lines] == ["--", "-"] and (loss.get_yscale(), kl.get_yscale()) == ("linear", "log")
    assert third.get_subplotspec().rowspan.start == 1
    assert [tick.get_text() for tick in kl.get_yticklabels()] == ["0.001", "0.003", "0.01", "0.03", "0.1"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["training", "validation"]
    plt.close(figure)


def test_the_legend_of_learning_curves_has_a_colour_a_model_and_stays_within_the_figure():
    histories = {f"a model with a long name, {n}": [{"epoch": e, "train_loss": 1.0, "validation_loss": 2.0} for e in (1, 2)] for n in range(4)}
    figure = learning_curves(histories | {"without": [{"epoch": 1}]}, {"loss": "loss"})
    figure.canvas.draw()
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == [*histories, "training", "validation"]
    assert legend.get_window_extent().width <= figure.bbox.width
    plt.close(figure)


def test_longer_training_marks_the_published_length_in_every_panel_of_visits():
    x = np.array([1e4, 1e5, 1e6])
    law = x, np.ones((3, 3))
    labels = ("mean / °", "raw")
    figure = longer_trained({label: {"paper": (x, [3.0, 2.0, 1.0])} for label in labels}, {label: {"linear": 2.5} for label in labels},
                            {label: law for label in labels}, 2e7, {"resnet12": ([64, 128], [3, 2])})
    assert [ax.get_ylabel() for ax in figure.axes] == [*labels, "mean disorientation / °"]
    assert [[text.get_text() for text in ax.texts] for ax in figure.axes] == [["S1"], ["S1"], []]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["paper", "power law, with bounds", "linear"]
    plt.close(figure)
