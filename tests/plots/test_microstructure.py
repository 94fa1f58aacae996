"""Pictures of microstructures: their axes say what is known."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest

from microprint.plots.microstructure import micrographs


@pytest.mark.parametrize("pixel_m, label, width", [(5e-7, "x / µm", 10), (math.nan, "x / pixel", 20)])
def test_micrographs_have_axes_in_micrometres_where_pixels_are_known(pixel_m, label, width):
    figure = micrographs([np.zeros((10, 20), np.uint8)], ["a.png"], pixel_m)
    assert figure.axes[0].get_xlabel() == label and figure.axes[0].images[0].get_extent() == [0, width, width / 2, 0]
    plt.close(figure)
