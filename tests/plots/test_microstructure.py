"""Pictures of microstructures: their axes say what is known."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from microprint import orientations
from microprint.plots.microstructure import micrographs, pole_figures, size_distribution


@pytest.mark.parametrize("pixel_m, label, width", [(5e-7, "x / µm", 10), (math.nan, "x / pixel", 20)])
def test_micrographs_have_axes_in_micrometres_where_pixels_are_known(pixel_m, label, width):
    figure = micrographs([np.zeros((10, 20), np.uint8)], ["a.png"], pixel_m)
    assert figure.axes[0].get_xlabel() == label and figure.axes[0].images[0].get_extent() == [0, width, width / 2, 0]
    plt.close(figure)


def test_random_poles_are_even_over_the_disc():
    q = orientations.random(4000, torch.Generator().manual_seed(0), torch.float64).numpy()
    figure = pole_figures({"random": q}, "cubic", (1, 0, 0))
    radius = np.linalg.norm(figure.axes[0].collections[0].get_offsets(), axis=1)
    assert radius.max() <= 1 + 1e-9 and (radius**2).mean() == pytest.approx(0.5, abs=0.01)
    plt.close(figure)


def test_sizes_of_the_law_lie_on_its_line():
    sizes = np.random.default_rng(0).lognormal(0, 0.1, 20_000)
    figure = size_distribution({"drawn": sizes}, 0.1)
    law, drawn = figure.axes[0].lines
    assert np.interp(law.get_xdata(), *drawn.get_data()) == pytest.approx(law.get_ydata(), abs=1.5)
    plt.close(figure)
