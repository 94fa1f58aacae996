"""Slip systems and material files against DAMASK's."""

import copy

import pytest
import torch
import yaml

from microprint.errors import UserError
from microprint.mechanics import slip_systems
from microprint.mechanics.materials import load_material, parse_material
from microprint.mechanics.slip_systems import interactions


def test_systems_are_damasks_in_its_order(reference):
    systems = {name: torch.from_numpy(data[:]) for name, data in reference["systems"].items()}
    magnesium, copper = load_material("Mg"), load_material("Cu")
    torch.testing.assert_close(magnesium.schmid, torch.cat([systems["Mg_P_sl"], systems["Mg_P_tw"]]))
    torch.testing.assert_close(magnesium.gamma_char, systems["Mg_gamma_char_tw"])
    torch.testing.assert_close(copper.schmid, systems["Cu_P_sl"])
    torch.testing.assert_close(copper.h_sl_sl, systems["Cu_h_sl_sl"])


@pytest.mark.parametrize("lattice, mode", [("hP", "slip"), ("hP", "twin"), ("cF", "slip"), ("cI", "slip")])
def test_every_direction_lies_in_its_plane(lattice, mode):
    counts = [family.count("/") for family in slip_systems.SYSTEMS[mode][lattice]]
    direction, normal = slip_systems.directions_and_normals(lattice, mode, counts, 1.6)
    assert len(direction) == sum(counts) and (direction * normal).sum(1).abs().max() < 1e-12
    unique = torch.unique((direction[:, :, None] * normal[:, None]).round(decimals=9).flatten(1), dim=0)
    assert len(unique) == sum(counts)


# Pairs of kinds that DAMASK's tables do not tell apart by geometry (see `interactions`).
BLURRED = {"cF": {5: 6}, "cI": {21: 22}, "hP": {64: 65}}


@pytest.mark.parametrize("lattice", ["cF", "cI", "hP"])
def test_a_kind_of_interaction_is_a_geometric_relation(lattice):
    """Between two families, the angles of directions and normals decide it, whatever the pair's place in the table."""
    sizes = slip_systems.sizes(lattice, "slip")
    families = torch.tensor(slip_systems.families_of(sizes))
    direction, normal = slip_systems.directions_and_normals(lattice, "slip", sizes, 1.6235)
    angles = torch.stack([(a @ b.T).abs() for a in (direction, normal) for b in (direction, normal)], -1).round(decimals=6)
    kinds, found = interactions.kinds(lattice, "slip", "slip"), {}
    for i, row in enumerate(kinds.tolist()):
        for j, kind in enumerate(row):
            relation = (int(families[i]), int(families[j]), *angles[i, j].tolist())
            found.setdefault(relation, set()).add(BLURRED[lattice].get(kind, kind))
    assert all(len(kinds) == 1 for kinds in found.values())
    assert kinds.unique().tolist() == list(range(1, int(kinds.max()) + 1))


def test_reactions_of_cubic_systems():
    """Self, coplanar, collinear and Hirth are what their names say; a Lomer lock can glide in neither plane."""
    direction, normal = slip_systems.directions_and_normals("cF", "slip", [12])
    kinds = interactions.kinds("cF", "slip", "slip")[:12, :12]
    same_plane, same_line = (normal @ normal.T).abs() > 0.999, (direction @ direction.T).abs() > 0.999
    leaves = (direction @ normal.T).abs() > 1e-9
    expected = {
        1: same_plane & same_line,
        2: same_plane & ~same_line,
        3: same_line & ~same_plane,
        4: (direction @ direction.T).abs() < 1e-9,
        7: leaves & leaves.T & ((direction @ direction.T - 0.5).abs().minimum((direction @ direction.T + 0.5).abs()) < 1e-9),
    }
    for kind, pairs in expected.items():
        assert torch.equal(kinds == kind, pairs)


@pytest.mark.parametrize(
    "key, modes", [("sl-sl", "slip slip"), ("sl-tw", "slip twin"), ("tw-sl", "twin slip"), ("tw-tw", "twin twin")]
)
def test_kinds_among_hp_systems_are_those_of_damasks_magnesium(key, modes):
    """Its lists hold -1 at the kinds that its active families do not need."""
    plastic = load_material("Mg").source["Mg"]["mechanical"]["plastic"]
    counts = {"slip": plastic["N_sl"], "twin": [*plastic["N_tw"], 0]}
    rows, columns = (
        torch.tensor([counts[mode][family] > 0 for family in slip_systems.families_of(slip_systems.sizes("hP", mode))])
        for mode in modes.split()
    )
    needed = interactions.kinds("hP", *modes.split())[rows][:, columns].unique().tolist()
    assert needed == [kind for kind, value in enumerate(plastic[f"h_{key}"], 1) if value > 0]


def test_every_entry_of_a_list_reaches_its_pairs():
    """Distinct values for slip in two hP families and twins in one come out by kind."""
    content = copy.deepcopy(dict(load_material("Mg").source))
    plastic = content["Mg"]["mechanical"]["plastic"]
    for key in ("h_sl-sl", "h_sl-tw", "h_tw-sl", "h_tw-tw"):
        plastic[key] = [1.0 + 0.01 * kind for kind in range(1, 70)]
    material = parse_material(content, "x.yaml")
    assert material.h_sl_sl[0, :6].tolist() == [1.01, 1.02, 1.02, 1.03, 1.04, 1.04]
    assert material.h_sl_sl[3, 0] == 1.07 and material.h_sl_sl[17, 17] == 1.57
    assert material.h_sl_tw[3, 0] == 1.05 and material.h_sl_tw[3, 6] == 1.07 and material.h_tw_sl[6, 3] == 1.07
    assert material.h_tw_tw[0, [0, 1, 6]].tolist() == [1.01, 1.02, 1.07] and material.h_tw_tw[6, [0, 6, 7]].tolist() == [
        1.12,
        1.09,
        1.1,
    ]


def test_parameters_belong_to_their_family():
    material = load_material("Mg")
    assert (material.slips, material.twins) == (18, 12)
    assert material.xi_0.tolist() == [10e6] * 3 + [55e6] * 3 + [60e6] * 12 + [40e6] * 6 + [60e6] * 6


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
        (("plastic", "h_sl-sl"), [1, 1, 5, 1, 1, 1], "h_sl-sl has 6 values.*needs 7"),
        (("plastic", "h_sl-sl"), [1, 1, -1, 1, 1, 1, 1], r"h_sl-sl\[2\] = -1 is not"),
        (("plastic", "h_sl-sl"), [1, 1, 1, 1, float("nan"), 1, 1], r"h_sl-sl\[4\] = nan is not a number"),
        (("elastic", "C_11"), float("nan"), "C_11 = nan is not a number"),
        (("plastic", "dot_gamma_0_sl"), [0.0], r"dot_gamma_0_sl\[0\] = 0.0 is not positive"),
        (("plastic", "h_0_sl-sl"), [-1.0], r"h_0_sl-sl\[0\] = -1.0 is not zero or positive"),
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
