"""The explorer of a latent space, in plain Python: what it draws, and that its sliders move the picture."""

import sys

import matplotlib
import pytest
import torch
from matplotlib.figure import Figure

from microprint import orientations
from microprint.errors import UserError
from microprint.plots import explorer
from microprint.plots.explorer import Explorer

matplotlib.use("Agg")


def decode(z):
    """Rotation vector of the whole volume element, and of one half of it."""
    q = orientations.from_rotation_vector(z.reshape(-1, 2, 3))
    return q.repeat_interleave(2, 1)[:, :, None, None].expand(-1, 4, 4, 4, 4)


@pytest.fixture
def made():
    z = torch.randn(5, 6, generator=torch.Generator().manual_seed(1)) * 0.5
    return Explorer(decode, {"test": z[:2], "cube": z[2:]}, "cubic")


def test_picture_names_its_places_and_says_how_far_they_are(made):
    figure = made.picture(("test", 0), ("cube", 2), share=0.0, path="linear")
    assert [ax.get_title() for ax in figure.axes[:3]] == ["test 0", "linear, 0.00", "cube 2"]
    assert figure.axes[1].get_xlabel().startswith("0° from the start")


@pytest.mark.parametrize("arguments, message", [
    (dict(start=("test", 2), end=("cube", 0)), "no volume element test 2"),
    (dict(start=("brass", 0), end=("cube", 0)), "no volume element brass 0"),
    (dict(start=("test", 0), end=("cube", 0), path="winding"), "no path is called 'winding'"),
])
def test_what_is_not_there_is_named(made, arguments, message):
    with pytest.raises(UserError, match=message):
        made.picture(**arguments)


def test_every_slider_moves_the_picture(made):
    pytest.importorskip("ipywidgets")
    panel = made.widget(("test", 0), ("cube", 0))
    *rows, image = panel.children
    from_set, from_number, to_set, to_number, path, share, height = (control for row in rows for control in row.children)
    seen = [bytes(image.value)]
    assert seen[0].startswith(b"\x89PNG")
    for control, value in ((share, 0.2), (path, "linear"), (to_number, 2), (from_set, "cube"), (to_set, "test")):
        control.value = value
        assert bytes(image.value) not in seen, control.description
        seen.append(bytes(image.value))
    # The other set is smaller: the number follows.
    assert to_number.max == 1 and to_number.value == 1
    height.value = 1.0


def test_a_picture_where_nobody_looks_on_or_widgets_are_missing(made, monkeypatch):
    shown = []
    monkeypatch.setattr(explorer, "show", lambda figure, caption: shown.append((len(figure.axes), caption)))
    monkeypatch.setattr(explorer, "watched", lambda: False)
    assert made.show(("test", 0), ("cube", 0), "From a test to a cube.") is None
    monkeypatch.setattr(explorer, "watched", lambda: True)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert made.show(("test", 0), ("cube", 0), "Again.") is None
    assert shown == [(4, "From a test to a cube."), (4, "Again.")]


def level(value):
    figure = Figure()
    figure.suptitle(f"{value:g} GPa")
    return figure


def test_a_slider_s_picture_is_that_of_the_middle(monkeypatch):
    monkeypatch.setattr(explorer, "watched", lambda: False)
    assert explorer.slider(level, 20, 60, "C11").get_suptitle() == "40 GPa"
    monkeypatch.setattr(explorer, "watched", lambda: True)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert explorer.slider(level, 20, 60, "C11").get_suptitle() == "40 GPa"


def test_a_slider_moves_where_somebody_looks_on(monkeypatch):
    pytest.importorskip("ipywidgets")
    monkeypatch.setattr(explorer, "watched", lambda: True)
    seen = []
    control, *_ = explorer.slider(lambda value: seen.append(value), 20, 60, "C11").children
    assert (control.min, control.max, control.value, control.description) == (20, 60, 40, "C11")
    control.value = 25.0
    assert seen[-1] == 25
