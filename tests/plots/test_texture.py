"""Figures of micrographs."""

import matplotlib.pyplot as plt
import numpy as np

from microprint.analysis.field_of_view import Share, View, reliability
from microprint.plots.texture import between_castings


def test_field_of_view_marks_the_choice_and_tells_how_many_patches_it_takes():
    views = [View(field, pixels, 4, {"pool1": Share(0.5, 0.1), "graphite share": Share(0.2, 0.1)})
             for field, pixels in ((128e-6, 64), (256e-6, 64), (256e-6, 128))]
    figure = between_castings(views, (256e-6, 64), (256e-6, 128))
    left, right = figure.axes
    assert [text.get_text() for text in left.texts] == ["chosen"]
    assert [text.get_text() for text in right.texts] == ["has fewer pixels", "S3's patch"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Gram matrix, pool1", "graphite share"]
    (counts,) = right.child_axes
    heights, labels = counts.get_yticks(), [int(label.get_text()) for label in counts.get_yticklabels()]
    np.testing.assert_allclose(reliability(heights, labels), 0.9)
    plt.close(figure)
