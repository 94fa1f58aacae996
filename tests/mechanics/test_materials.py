"""Slip systems and material files against DAMASK's."""

import copy

import pytest
import torch
import yaml

from microprint.errors import UserError
from microprint.mechanics import slip_systems
from microprint.mechanics.materials import load_material, parse_material


def test_systems_are_damasks_in_its_order(reference):
    systems = {name: torch.from_numpy(data[:]) for name, data in reference["systems"].items()}
    magnesium, copper = load_material("Mg"), load_material("Cu")
    torch.testing.assert_close(magnesium.schmid, torch.cat([systems["Mg_P_sl"], systems["Mg_P_tw"]]))
    torch.testing.assert_close(magnesium.gamma_char, systems["Mg_gamma_char_tw"])
    torch.testing.assert_close(copper.schmid, systems["Cu_P_sl"])
    torch.testing.assert_close(copper.h_sl_sl, systems["Cu_h_sl_sl"])


@pytest.mark.parametrize("lattice, mode", [("hP", "slip"), ("hP", "twin"), ("cF", "slip"), ("cI", "slip")])
def test_every_direction_lies_in_its_plane(lattice, mode):
    families = (slip_systems.SLIP if mode == "slip" else slip_systems.TWIN)[lattice]
    counts = [family.count("/") for family in families]
    direction, normal = slip_systems.directions_and_normals(lattice, mode, counts, 1.6)
    assert len(direction) == sum(counts) and (direction * normal).sum(1).abs().max() < 1e-12
    unique = torch.unique((direction[:, :, None] * normal[:, None]).round(decimals=9).flatten(1), dim=0)
    assert len(unique) == sum(counts)


def test_parameters_belong_to_their_family():
    material = load_material("Mg")
    assert (material.slips, material.twins) == (18, 12)
    assert material.xi_0.tolist() == [10e6] * 3 + [55e6] * 3 + [60e6] * 12 + [40e6] * 6 + [60e6] * 6
    assert material.symmetry == "hexagonal" and load_material("Cu").symmetry == "cubic"


def test_reads_a_file_and_a_whole_damask_configuration(tmp_path):
    source = load_material("Cu").source
    path = tmp_path / "material.yaml"
    path.write_text(yaml.safe_dump({"homogenization": {}, "phase": dict(source), "material": []}))
    torch.testing.assert_close(load_material(path).stiffness, load_material("Cu").stiffness)
    iron = copy.deepcopy(dict(source))
    iron["Cu"] |= {"lattice": "cI"}
    iron["Cu"]["mechanical"]["plastic"]["h_sl-sl"] = [1.0] * 7
    assert load_material(iron).schmid.shape == (12, 3, 3)


@pytest.mark.parametrize(
    "keys, value, text",
    [
        (("elastic", "C_11"), None, "C_11 is missing"),
        (("elastic", "C_44"), -1.0, "C_44 = -1.0 is not positive"),
        (("elastic", "C_12"), 1e12, "not positive definite"),
        (("plastic", "xi_0_sl"), None, "xi_0_sl is missing"),
        (("plastic", "n_sl"), [-20], r"n_sl\[0\] = -20 is not positive"),
        (("plastic", "xi_inf_sl"), [float("nan")], "not a number"),
        (("plastic", "xi_0_sl"), ["1e6"], "not a number"),
        (("plastic", "a_sl"), [1.0, 2.0], "a_sl has 2 values"),
        (("plastic", "N_sl"), [13], "N_sl"),
        (("plastic", "type"), "isotropic", "isotropic"),
        (("plastic", "h_sl-sl"), None, "h_sl-sl is missing"),
        (("plastic", "h_sl-sl"), [1, 1, 5, 1, 1, 2, 1], "two glissile"),
    ],
)
def test_an_unusable_parameter_is_named(keys, value, text):
    content = copy.deepcopy(dict(load_material("Cu").source))
    section, key = keys
    if value is None:
        del content["Cu"]["mechanical"][section][key]
    else:
        content["Cu"]["mechanical"][section][key] = value
    with pytest.raises(UserError, match=text):
        parse_material(content, "material.yaml")


def test_unknown_material_and_lattice():
    with pytest.raises(UserError, match="Cu, Mg"):
        load_material("unobtainium")
    with pytest.raises(UserError, match="lattice"):
        parse_material({"X": {"lattice": "tI", "mechanical": {}}}, "x.yaml")
    with pytest.raises(UserError, match="no phase"):
        parse_material({}, "x.yaml")
