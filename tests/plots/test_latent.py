"""Figures of reconstructions: one colour for a code, no panel that says nothing."""

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_hex

from microprint import orientations
from microprint.plots import latent as draw


def test_a_code_has_one_colour_whatever_its_budget_and_is_hollow_with_one():
    figure = draw.errors_by_set({"test": {"ours": 1.0, "ours, 512 bytes": 0.1}, "grown": {"ours": 7.0, "ours, 512 bytes": 2.0}})
    ax = figure.axes[0]
    full, hollow = ax.lines
    assert to_hex(full.get_color()) == to_hex(hollow.get_color()) == draw.PALETTE["ours"].lower()
    assert hollow.get_markerfacecolor() == "none" and list(full.get_xdata()) == [1.0, 7.0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["test", "grown"]
    codes = ("ours", "paper", "coded", "linear", "grain list", "fitted list", "weighted list", "equiaxed")
    assert len({draw.code_colour(name) for name in codes}) == len(codes)
    plt.close(figure)


@pytest.mark.parametrize("count, panels", [(2, 6 + 1), (6, 16 + 1), (8, 18 + 1)])
def test_every_reconstruction_has_its_error_below_it(count, panels):
    truth = orientations.random((4, 4, 4), torch.Generator().manual_seed(0))
    figure = draw.reconstruction_slices(truth, {f"code {n}": truth for n in range(count)}, "cubic")
    assert [ax.get_xlabel() for ax in figure.axes if ax.get_xlabel().startswith("mean")] == ["mean 0.0°"] * count
    assert len(figure.axes) == panels
    plt.close(figure)


def test_paths_have_a_mean_and_a_band_each():
    values = {"linear": torch.rand(5, 3), "spherical": torch.rand(5, 3)}
    figure = draw.along_path({"blur": values, "length": values}, {"blur": "share", "length": "length"}, {"length": 1.0})
    blur, length = figure.axes
    assert [line.get_label() for line in length.lines] == ["linear", "spherical", "real VEs"] and len(blur.collections) == 2
    assert blur.lines[0].get_ydata() == pytest.approx(values["linear"].mean(0).numpy())
    plt.close(figure)
