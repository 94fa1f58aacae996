"""Figures of micrographs."""

import matplotlib.pyplot as plt
import numpy as np

from microprint.analysis.field_of_view import Share, View, reliability
from microprint.plots.texture import between_castings, image_grid, matrix, rows


def test_field_of_view_marks_the_choice_and_tells_how_many_patches_it_takes():
    views = [View(field, pixels, 4, {"pool1": Share(0.5, 0.1), "graphite share": Share(0.2, 0.1)})
             for field, pixels in ((128e-6, 64), (256e-6, 64), (256e-6, 128))]
    figure = between_castings(views, (256e-6, 64), (256e-6, 128))
    left, right = figure.axes
    assert [text.get_text() for text in left.texts] == ["chosen"]
    assert [text.get_text() for text in right.texts] == ["no such patch: only 64 pixels", "S3's patch"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Gram matrix, pool1", "graphite share"]
    (counts,) = right.child_axes
    heights, labels = counts.get_yticks(), [int(label.get_text()) for label in counts.get_yticklabels()]
    np.testing.assert_allclose(reliability(heights, labels), 0.9)
    plt.close(figure)


def test_rows_have_a_label_each_and_columns_a_title():
    figure = rows([np.zeros((2, 8, 8)), [np.ones((4, 4)), np.zeros((4, 4))], np.ones((2, 8, 8))], ["a", "b", "c"], ["left", "right"])
    assert [ax.get_title() for ax in figure.axes] == ["left", "right", "", "", "", ""]
    assert [ax.get_ylabel() for ax in figure.axes] == ["a", "", "b", "", "c", ""]
    assert {ax.images[0].get_clim() for ax in figure.axes} == {(0, 1)}
    plt.close(figure)


def test_a_matrix_shows_its_numbers_and_leaves_out_what_there_is_not():
    figure = matrix([[0.5, np.nan], [-1, 0]], ["one", "two"], ["x", "y"], "R²")
    ax, bar = figure.axes
    assert [text.get_text() for text in ax.texts] == ["0.50", "-1.00", "0.00"] and bar.get_ylabel() == "R²"
    assert [[label.get_text() for label in labels] for labels in (ax.get_yticklabels(), ax.get_xticklabels())] == [["one", "two"], ["x", "y"]]
    plt.close(figure)
    figure = matrix([[0.5]], ["one"], ["x"], "R²", [[0.25]])
    assert figure.axes[0].texts[0].get_text() == "0.50\n(0.25)"
    plt.close(figure)


def test_a_grid_has_six_images_a_row_and_few_are_large():
    figure = image_grid(np.zeros((2, 4, 4)))
    assert len(figure.axes) == 2 and figure.get_figwidth() == 7.0
    plt.close(figure)
    figure = image_grid(np.zeros((7, 4, 4)), ["first"])
    assert len(figure.axes) == 12 and sum(bool(ax.images) for ax in figure.axes) == 7 and figure.axes[0].get_title() == "first"
    plt.close(figure)
