"""Figures of the surrogate: they show what they are given."""

import matplotlib
import numpy as np

matplotlib.use("agg")

from microprint.plots import surrogate


def drawn(figure):
    figure.canvas.draw()
    return figure.axes


def test_sections_stand_in_a_column_a_material():
    circle = np.stack([np.cos(np.linspace(0, 6, 9)), np.sin(np.linspace(0, 6, 9))], 1)
    planes = {("stretch", "along y"): (circle, circle), ("shear xz", "shear yz"): (circle, 3 * circle)}
    axes = drawn(surrogate.yield_sections({"Mg": planes, "Al": planes, "Ti": planes}))
    assert [ax.get_title() for ax in axes] == ["Mg", "Al", "Ti"] * 2
    assert [ax.get_xlabel() for ax in axes[::3]] == ["stress of stretch (MPa)", "stress of shear xz (MPa)"]
    assert len(axes[0].lines[0].get_xdata()) == 10  # the learnt line is closed
    sizes = np.array([ax.get_window_extent().size for ax in axes])
    np.testing.assert_allclose(sizes, np.broadcast_to(sizes[0], sizes.shape), rtol=0.01)  # whatever is drawn in them


def test_no_label_at_all_has_its_tick_and_what_is_missing_is_left_out():
    errors = {"ours": [[0.3, 0.2, 0.1]], "line": [[np.nan, 2.0, 1.0], [np.nan, 3.0, 1.5]]}
    kinds = {"at the end": errors, "over the curve": errors}
    ax, other = drawn(surrogate.errors_by_labels([0, 2, 15], kinds, {"ours": "ours", "line": "linear"}, "error (MPa)"))
    assert (ax.get_title(), other.get_title()) == tuple(kinds) and ax.get_ylabel() == "error (MPa)"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "2", "15"]
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [np.nan, 2.5, 1.25])


def test_times_families_and_paths_are_drawn():
    (ax,) = drawn(surrogate.errors_by_time({"a": (3.0, 0.1), "b": (300.0, 2.0)}, {"a": "ours", "b": "paper"}, "error (MPa)", 900.0, 4))
    assert {text.get_text() for text in ax.texts} == {"1", "2", "simulation"} and "4 at once" in ax.get_xlabel()
    assert [text.get_text() for text in ax.figure.legends[0].texts] == ["1  a", "2  b"]
    (ax,) = drawn(surrogate.families(["basal", "mixed"], {"ours": [0.01, np.nan]}, {"ours": "ours"}, "missed"))
    assert ax.get_xscale() == "log" and ax.yaxis_inverted()
    assert drawn(surrogate.families(["basal"], {"ours": [np.nan]}, {"ours": "ours"}, "missed"))[0].get_xscale() == "linear"
    time = np.arange(5.0)
    axes = drawn(surrogate.paths({f"kind {i}": (time, np.ones((5, 4)), np.zeros((5, 4))) for i in range(5)}))
    assert len(axes) == 8 and sum(ax.axison for ax in axes) == 5


def test_s1s_figure_shows_loss_curves_and_errors():
    history = [{"epoch": e, "train_loss": 1 / e, "validation_loss": 2 / e} for e in (1.0, 2.0)]
    curves, strain = np.ones((4, 6)), np.linspace(0, 0.01, 6)
    losses, lines, over = drawn(surrogate.as_in_s1(history, strain, curves, {"a": 2 * curves}, {"a": np.full((9, 6), 0.5)}, {"a": "ours"}, 20))
    assert list(losses.lines[0].get_xdata()) == [20, 40] and len(losses.lines) == 2 and len(lines.lines) == 8
    np.testing.assert_allclose(over.lines[0].get_ydata(), 0.5)
    assert [text.get_text() for text in over.figure.legends[0].texts] == ["a", "simulated"]
