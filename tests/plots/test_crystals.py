"""The explorer of a single crystal: DAMASK's curve at its orientation, a polar twin, sliders that move the picture."""

import sys

import matplotlib
import numpy as np
import pytest
import torch

from microprint import orientations
from microprint.analysis.slip import families, shear_by_family
from microprint.errors import UserError
from microprint.mechanics.materials import load_material
from microprint.mechanics.reference import open_reference
from microprint.plots import crystals, explorer
from microprint.plots.crystals import CrystalExplorer, over_tilt, pull, tilted

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def magnesium():
    return load_material("Mg")


def test_a_crystal_of_one_voxel_has_damasks_curve(magnesium):
    with open_reference() as reference:
        case = reference["single_crystals/Mg/tension"]
        angles = torch.rad2deg(orientations.to_euler(torch.from_numpy(case["quaternion"][:])))
        damask = case["P"][:, 1:, 0, 0]
    ours = pull(magnesium, angles).P[:, 1:, 0, 0].numpy()
    np.testing.assert_allclose(ours, damask, rtol=5e-4)


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0])
def test_tilt_is_the_angle_from_c_to_the_load(angle):
    q = orientations.from_euler(torch.deg2rad(torch.tensor(tilted(angle)).double()))
    c = orientations.to_matrix(q)[2]
    assert torch.rad2deg(c[0].acos()).item() == pytest.approx(angle, abs=1e-6) and c[1].abs() < 1e-12


def test_families_have_the_planes_of_their_names(magnesium):
    rows = families(magnesium)
    assert {name: len(range(*part.indices(30))) for name, part in rows.items()} == {
        "basal": 3, "prismatic": 3, "pyramidal ⟨a⟩": 6, "pyramidal ⟨c+a⟩, 2nd order": 6, "tension twins": 6, "compression twins": 6}
    schmid = magnesium.schmid
    along_c = schmid[:, 2, 2]  # d_z n_z: the strain along c
    assert schmid[rows["basal"], :, :2].abs().max() < 1e-12  # normal c
    assert schmid[rows["prismatic"], :, 2].abs().max() < 1e-12 and schmid[rows["prismatic"], 2].abs().max() < 1e-12
    assert along_c[rows["pyramidal ⟨a⟩"]].abs().max() < 1e-12 < along_c[rows["pyramidal ⟨c+a⟩, 2nd order"]].abs().min()
    assert (along_c[rows["tension twins"]] > 0).all() and (along_c[rows["compression twins"]] < 0).all()


def test_shear_of_families_is_all_shear(magnesium):
    slip, twin = torch.rand(2, magnesium.slips), torch.rand(2, magnesium.twins)
    shear = shear_by_family(magnesium, slip, twin)
    torch.testing.assert_close(sum(shear.values()), slip.sum(1) + twin.sum(1))


def test_picture_says_where_the_c_axis_lies_and_a_wrong_load_is_named(magnesium):
    explorer = CrystalExplorer(magnesium)
    assert explorer.picture("tension", tilted(30.0)).axes[1].get_title() == "tension, c at 30° to x"
    with pytest.raises(UserError, match="bending"):
        explorer.picture("bending")


def test_labels_of_curves_keep_apart(magnesium):
    heights = sorted(text.xy[1] for text in CrystalExplorer(magnesium).picture("compression").axes[1].texts)
    assert len(heights) == len(crystals.TILTS_DEG) and min(np.diff(heights)) > 7.0
    assert crystals._apart([3.0, 0.0, 0.5], 1.0) == [3.0, 0.0, 1.0]


def test_every_control_moves_the_picture(magnesium):
    pytest.importorskip("ipywidgets")
    choice, sliders, image = CrystalExplorer(magnesium).widget("tension", (90.0, 60.0, 10.0)).children
    seen = [bytes(image.value)]
    for control, value in zip((choice, *sliders.children), ("compression", 20.0, 30.0, 40.0)):
        control.value = value
        assert bytes(image.value) not in seen, control.description
        seen.append(bytes(image.value))


def test_a_picture_where_nobody_looks_on_or_widgets_are_missing(magnesium, monkeypatch):
    shown = []
    monkeypatch.setattr(crystals, "show", lambda figure, caption: shown.append(caption))
    monkeypatch.setattr(explorer, "watched", lambda: False)
    CrystalExplorer(magnesium).show("tension", tilted(0.0), "one")
    monkeypatch.setattr(explorer, "watched", lambda: True)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    CrystalExplorer(magnesium).show("tension", tilted(0.0), "two")
    assert shown == ["one", "two"]


def test_stress_over_tilt_has_a_line_a_load():
    figure = over_tilt({"tension": np.ones(3), "compression": np.ones(3)}, np.arange(3.0))
    assert [line.get_label() for line in figure.axes[0].lines] == ["tension", "compression"]
