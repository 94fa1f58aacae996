"""What a DAMASK material file may hold: each kind of content is read as DAMASK 3.0.2 reads it, or refused by name."""

import copy
import json

import numpy as np
import pytest
import torch
import yaml

from microprint.errors import UserError
from microprint.mechanics.materials import load_material, material_file, parse_material

TERMS = {"C_11": 170e9, "C_11,T": -3e7, "C_11,T^2": -1e4, "C_12": 120e9, "C_12,T^3": 10.0, "C_44": 75e9, "C_44,T^4": 1e-2}


def copper(section="plastic", **changes):
    """Copper with other keys in a section; those of value None are left out."""
    content = copy.deepcopy(dict(load_material("Cu").source))
    levels = {"file": content, "phase": content["Cu"], "mechanical": content["Cu"]["mechanical"]}
    level = levels.get(section) or levels["mechanical"][section]
    level |= changes
    for key in [key for key, value in changes.items() if value is None]:
        del level[key]
    return content


@pytest.mark.parametrize("name, lattice, systems", [("Al", "cF", 12), ("Au", "cF", 12), ("Ti", "hP", 18), ("ferrite", "cI", 24), ("IN625", "cF", 12)])
def test_materials_of_the_package(name, lattice, systems):
    material = load_material(name)
    assert (material.name, material.lattice, material.slips, material.twins) == (name, lattice, systems, 0)
    section = material.source[name]["mechanical"]
    assert section["elastic"]["references"] and section["plastic"]["references"] and "C_11,T" in section["elastic"]
    for level in ("elastic", "plastic"):
        assert load_material(material.source).source[name]["mechanical"][level] == section[level]


def test_names_are_read_with_any_capitals(tmp_path, monkeypatch):
    assert load_material("mg").name == "Mg" and load_material("FERRITE").name == "ferrite"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cu").write_text(yaml.safe_dump(dict(load_material("Al").source)))
    assert material_file("cu").name == "cu" and load_material("cu").name == "Al" and load_material("Cu").name == "Cu"


@pytest.mark.parametrize("name, text", [("magnesium", "Al, Au, Cu, IN625, Mg, Ti, ferrite"), ("IN-625", "nearest is IN625"), (7, "7 is no material"),
                                        ("x" * 5000, "no material is called")])  # fmt: skip
def test_an_unknown_name_gets_the_known_ones(name, text):
    with pytest.raises(UserError, match=text):
        load_material(name)


def test_a_file_and_a_whole_damask_configuration(tmp_path):
    path = tmp_path / "material.yaml"
    content = copper("file", other={"lattice": "tI"})
    entries = [{"homogenization": "SX", "constituents": [{"phase": "Cu", "v": 1.0, "O": [1.0, 0.0, 0.0, 0.0]}]}]
    path.write_text(yaml.safe_dump({"homogenization": {}, "phase": content, "material": entries}))
    assert torch.equal(load_material(path).stiffness, load_material("Cu").stiffness)
    entries[0]["constituents"][0]["phase"] = "Zn"
    path.write_text(yaml.safe_dump({"phase": content, "material": entries}))
    with pytest.raises(UserError, match="uses Zn, which is no phase"):
        load_material(path)


@pytest.mark.parametrize(
    "content, text",
    [
        ({}, "holds no phase"),
        ([], "holds no phase"),
        (None, "holds no phase"),
        ({"phase": None}, "holds no phase"),
        ({"Cu": 3}, "holds no phase"),
        ({"Cu": {}, "Al": 3}, "holds 2 phases, Cu, Al"),
        (dict(copper()["Cu"]), "its phase has no name. Write NAME"),
        ({"type": "phenopowerlaw", "N_sl": [12]}, "holds no phase"),
        (copper("file", Al=load_material("Al").source["Al"]), "holds 2 phases, Cu, Al.*delete"),
        ({"phase": copper(), "homogenisation": {}}, "unknown section homogenisation.*nearest known one is homogenization"),
        ({"phase": copper(), "material": [{"phase": "Cu"}]}, "an entry lacks constituents"),
        ({"phase": copper(), "material": [{"constituents": []}]}, "an entry lacks constituents"),
        ({"comment": {}}, "holds no phase"),
        ({("a", "b"): 1}, "plain values"),
    ],
)
def test_a_file_that_does_not_say_which_phase(content, text):
    with pytest.raises(UserError, match=text):
        parse_material(content, "material.yaml")


@pytest.mark.parametrize(
    "text, fault",
    [
        ("Cu: {lattice: cF", "not valid YAML"),
        ("Cu: &a {lattice: *a}", "recursive|plain values"),
        ("Cu: {lattice: cF, lattice: cI}", "lattice is written twice"),
        ("Cu: {rho: 2020-13-45}", "not valid YAML"),
        ("Cu: !!python/name:os.system {}", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_yaml(text, fault, tmp_path):
    path = tmp_path / "material.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=fault):
        load_material(path)
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(UserError, match="not valid YAML"):
        load_material(path)


def test_arrays_and_numbers_of_numpy_are_values():
    content = copper(N_sl=np.array([12]), n_sl=np.float32(20), **{"h_sl-sl": np.ones(7)})
    material = parse_material(content, "x")
    assert material.slips == 12 and json.loads(json.dumps(material.source)) == material.source


@pytest.mark.parametrize(
    "changes", [{"N_sl": 12}, {"N_sl": [12.0]}, {"n_sl": 20}, {"n_sl": 20.0}, {"xi_0_sl": 1.6e6}, {"xi_0_sl": [[1.6e6] * 12]}, {"c_1": 0},
                {"atol_xi": 1.0, "atol_gamma": 1e-6, "references": ["a"], "output": []}, {"N_tw": [0]}, {"xi_0_tw": [1.0]}]
)  # fmt: skip
def test_other_ways_to_say_the_same(changes):
    material, copper_itself = parse_material(copper(**changes), "x"), load_material("Cu")
    for name, value in vars(copper_itself).items():
        assert not isinstance(value, torch.Tensor) or torch.equal(getattr(material, name), value), name
    assert material.source["Cu"]["mechanical"]["plastic"]["N_sl"] == [12]


@pytest.mark.parametrize("section, changes", [("phase", {"mu": 1.0, "references": ["x"], "rho": 1.0, "thermal": {}, "c/a": 1}),
                                              ("mechanical", {"eigen": [], "output": ["F"]}), ("elastic", {"type": None})])  # fmt: skip
def test_what_has_no_effect_is_accepted(section, changes):
    material = parse_material(copper(section, **{key: value for key, value in changes.items()}), "x")
    assert torch.equal(material.stiffness, load_material("Cu").stiffness)
    assert material.source["Cu"]["mechanical"]["elastic"]["type"] == "Hooke"


@pytest.mark.parametrize("plastic", [None, {"type": "none"}, {"type": "none", "N_sl": [12]}])
def test_elastic_materials(plastic):
    material = parse_material(copper("mechanical", plastic=plastic), "x")
    assert (material.slips, material.twins) == (0, 0) and material.stiffness[0, 0] == 168.9e9


@pytest.mark.parametrize(
    "section, changes, text",
    [
        ("phase", {"damage": {"type": "isobrittle"}}, "Cu: phase: damage is not supported.*Delete damage"),
        ("phase", {"thermal": {"K_11": 1.0}}, "thermal is not supported"),
        ("phase", {"latice": "cF"}, "unknown key latice.*nearest known one is lattice"),
        ("phase", {"plastic": {}}, "unknown key plastic. It belongs to mechanical"),
        ("phase", {"xi_0_sl": [1.0]}, "unknown key xi_0_sl. It belongs to plastic"),
        ("phase", {"c/a": 1.6}, "c/a = 1.6 has no meaning for cF"),
        ("phase", {"lattice": "fcc"}, r"lattice = 'fcc' is not supported.*cF \(fcc\)"),
        ("phase", {"lattice": "tI"}, "lattice = 'tI' is not supported"),
        ("phase", {"lattice": ["cF"]}, "lattice"),
        ("phase", {"lattice": None}, "lattice = None"),
        ("phase", {"mechanical": None}, "mechanical is missing"),
        ("phase", {"mechanical": 3}, "mechanical = 3 is no section"),
        ("mechanical", {"elastic": None}, "elastic is missing"),
        ("mechanical", {"plastic": "none"}, "plastic = 'none' is no section"),
        ("mechanical", {"eigen": [{"type": "thermalexpansion"}]}, "eigen is not supported: the law knows no eigenstrains"),
        ("elastic", {"C_11": None}, "C_11 is missing"),
        ("elastic", {"C11": 1e9}, "unknown key C11.*nearest known one is C_11"),
        ("elastic", {"C_33": 1e9}, "unknown key C_33. The constants of cF are C_11, C_12, C_44"),
        ("elastic", {"C_11,T^5": 1.0, "T_ref": 0}, "unknown key C_11,T.5"),
        ("elastic", {"type": "hooke"}, "elastic law 'hooke' is not supported"),
        ("elastic", {"C_44": -1.0}, "C_44 = -1.0 is not positive"),
        ("elastic", {"C_12": 1e12}, "not positive definite"),
        ("elastic", {"C_11": float("nan")}, "C_11 = nan is not a number"),
        ("elastic", {"C_11": 10**400}, "is not a number"),
        ("elastic", {"C_11": 168.9, "C_12": 121.8, "C_44": 75.8}, "C_11 = 168.9 Pa is not plausible.*Did you write GPa"),
        ("elastic", {"C_12": -121.8}, "C_12 = 121.8 Pa is not plausible"),
        ("elastic", {"C_12": 121.8}, "C_12 = 121.8 Pa is not plausible"),
        ("elastic", {"C_11": 1.7e14}, "C_11 = 17.* Pa is not plausible"),
        ("elastic", {"C_11,T": -3e7}, "T_ref is missing"),
        ("elastic", {"C_11,T": -3e7, "T_ref": -273.15}, "T_ref = -273.15 is not zero or positive"),
        ("elastic", {"C_11,T": "-3e7", "T_ref": 0}, "C_11,T = '-3e7' is not a number"),
        ("elastic", {"C_11,T": -9e9, "T_ref": 0}, "C_11 at 293.15 K = -.* is not positive"),
        ("plastic", {"type": "isotropic"}, "plastic law 'isotropic' is not supported.*phenopowerlaw"),
        ("plastic", {"type": None}, "plastic: type is missing"),
        ("plastic", {"a_non-Schmid": [[0.1]]}, "a_non-Schmid is not supported"),
        ("plastic", {"a_nonSchmid_110": [0.1]}, "a_nonSchmid_110 is not supported"),
        ("plastic", {"A_non_schmid": [0.1]}, "A_non_schmid is not supported"),
        ("plastic", {"xi_O_sl": [1e6]}, "unknown key xi_O_sl.*nearest known one is xi_0_sl"),
        ("plastic", {"h_0_slsl": [1e6]}, "unknown key h_0_slsl.*h_0_sl-sl"),
        ("plastic", {"xi_0_sl": None}, "xi_0_sl is missing"),
        ("plastic", {"xi_inf_sl": [float("nan")]}, "xi_inf_sl.* = nan is not a number"),
        ("plastic", {"xi_0_sl": ["1e6"]}, r"xi_0_sl\[0\] = '1e6' is not a number. YAML wants a dot and a sign"),
        ("plastic", {"xi_0_sl": [1.6]}, r"xi_0_sl\[0\] = 1.6 Pa is not plausible.*Did you write MPa"),
        ("plastic", {"xi_inf_sl": [96.4e9]}, "xi_inf_sl.*not plausible"),
        ("plastic", {"xi_0_sl": [[1e6] * 3]}, "Give a number, or .* each of the 12 systems"),
        ("plastic", {"xi_0_sl": [1e6] * 12}, "xi_0_sl has 12 values"),
        ("plastic", {"n_sl": [[20] * 12]}, r"n_sl\[0\] = \[20.*Give a number"),
        ("plastic", {"n_sl": [-20]}, r"n_sl\[0\] = -20 is not positive"),
        ("plastic", {"n_sl": [0.5]}, "n_sl.* = 0.5 is not plausible"),
        ("plastic", {"n_sl": [True]}, "n_sl.* = True is not a number"),
        ("plastic", {"a_sl": [1.0, 2.0]}, "a_sl has 2 values"),
        ("plastic", {"a_sl": []}, "a_sl has 0 values"),
        ("plastic", {"dot_gamma_0_sl": [0.0]}, r"dot_gamma_0_sl\[0\] = 0.0 is not positive"),
        ("plastic", {"dot_gamma_0_sl": [1e-40]}, "dot_gamma_0_sl.* = 1e-40 /s is not plausible"),
        ("plastic", {"h_0_sl-sl": [-1.0]}, r"h_0_sl-sl\[0\] = -1.0 is not zero or positive"),
        ("plastic", {"h_0_sl-sl": [350.0]}, "h_0_sl-sl.* = 350.0 Pa is not plausible.*or 0 for none"),
        ("plastic", {"c_1": [-1.0]}, "c_1.* is not zero or positive"),
        ("plastic", {"a_sl": [600.0]}, "a_sl.* = 600.0 is not plausible"),
        ("plastic", {"h_sl-sl": [1e9] * 7}, r"h_sl-sl\[0\] = 1000000000.0 is not plausible"),
        ("plastic", {"N_sl": None}, "activates no slip system"),
        ("plastic", {"N_sl": [0]}, "activates no slip system"),
        ("plastic", {"N_sl": [13]}, r"N_sl = \[13\] is out of range"),
        ("plastic", {"N_sl": [-12]}, r"N_sl = \[-12\] is out of range"),
        ("plastic", {"N_sl": [11.5]}, r"N_sl = \[11.5\] is out of range"),
        ("plastic", {"N_sl": ["12"]}, "N_sl = .* is out of range"),
        ("plastic", {"N_sl": [12, 0, 0]}, "N_sl = .* is out of range"),
        ("plastic", {"N_sl": {"a": 1}}, "N_sl = .* is out of range"),
        ("plastic", {"N_tw": [12]}, "xi_0_tw is missing"),
        ("plastic", {"h_sl-sl": None}, "h_sl-sl is missing.*needs 7"),
        ("plastic", {"h_sl-sl": 1.0}, "h_sl-sl = 1.0 is not a list.*needs 7"),
        ("plastic", {"h_sl-sl": [1, 1, 5, 1, 1, 1]}, "h_sl-sl has 6 values.*needs 7"),
        ("plastic", {"h_sl-sl": [1, 1, -1, 1, 1, 1, 1]}, r"h_sl-sl\[2\] = -1 is not"),
        ("plastic", {"h_sl-sl": [1, 1, 1, 1, None, 1, 1]}, r"h_sl-sl\[4\] is missing"),
    ],
)  # fmt: skip
def test_what_is_refused_by_name(section, changes, text):
    with pytest.raises(UserError, match=text) as refusal:
        parse_material(copper(section, **changes), "material.yaml")
    assert str(refusal.value).startswith("material.yaml: Cu: ")


@pytest.mark.parametrize("ratio, text", [(0.9, "c/a = 0.9 is not plausible, which is between 1 and 2"), (None, "c/a is missing"),
                                         (1.86, r"N_tw\[0\]: these twins shear by -")])  # fmt: skip
def test_axes_of_hexagonal_crystals(ratio, text):
    content = copy.deepcopy(dict(load_material("Mg").source))
    content["Mg"]["c/a"] = ratio
    with pytest.raises(UserError, match=text):
        parse_material(content, "x")


def test_elastic_constants_at_a_temperature():
    content = copper("elastic", **TERMS, T_ref=300.0)
    cold, shift = load_material(content, temperature=100.0), -200.0
    expected = [170e9 - 3e7 * shift - 1e4 * shift**2, 120e9 + 10.0 * shift**3, 75e9 + 1e-2 * shift**4]
    torch.testing.assert_close(cold.stiffness[[0, 0, 3], [0, 1, 3]], torch.tensor(expected, dtype=torch.float64))
    assert torch.equal(load_material(cold.source).stiffness, cold.stiffness)  # as it is written, for DAMASK, too
    at_room = load_material(content)
    assert float(at_room.stiffness[0, 0]) == pytest.approx(170e9 + 3e7 * 6.85 - 1e4 * 6.85**2)
    assert at_room.source["Cu"]["mechanical"]["elastic"]["C_11,T"] == -3e7
    assert load_material(at_room) is at_room


@pytest.mark.parametrize("source, temperature, text", [("Cu", 400.0, "no elastic constant has a term in it"), ("Al", "400", "temperature = '400'"),
                                                       ("Al", -20.0, "temperature = -20.0"), (load_material("Al"), 400.0, "too late")])  # fmt: skip
def test_a_temperature_that_cannot_be(source, temperature, text):
    with pytest.raises(UserError, match=text):
        load_material(source, temperature=temperature)


def test_off_diagonal_constants_may_be_nil_or_negative():
    assert parse_material(copper("elastic", C_12=-1e9), "x").stiffness[0, 1] == -1e9
    assert parse_material(copper("elastic", C_12=0), "x").stiffness[0, 1] == 0
