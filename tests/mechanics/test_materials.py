"""Slip and twin systems and their interactions against DAMASK's, and the parameters that they take."""

import copy
import hashlib
from math import sqrt

import pytest
import torch

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


@pytest.mark.parametrize("mode", ["slip", "twin"])
@pytest.mark.parametrize("lattice", ["hP", "cF", "cI"])
def test_every_direction_lies_in_its_plane(lattice, mode):
    counts = [family.count("/") for family in slip_systems.SYSTEMS[mode][lattice]]
    direction, normal = slip_systems.directions_and_normals(lattice, mode, counts, 1.6)
    assert len(direction) == sum(counts) and (direction * normal).sum(1).abs().max() < 1e-12
    unique = torch.unique((direction[:, :, None] * normal[:, None]).round(decimals=9).flatten(1), dim=0)
    assert len(unique) == sum(counts)


BASES = {"cF": [[0, 1, 1], [1, 0, 1], [1, 1, 0]], "cI": [[-1, 1, 1], [1, -1, 1], [1, 1, -1]]}


@pytest.mark.parametrize("lattice, senses", [("cF", [1] * 12), ("cI", [1, 1, -1, -1, 1, -1, -1, -1, -1, 1, 1, -1])])
def test_twins_of_cubic_crystals_shear_by_the_root_of_a_half(lattice, senses):
    """So sheared, the lattice is its own mirror image; DAMASK's twins of cI partly shear in the other sense."""
    schmid, shear = slip_systems.schmid_tensors(lattice, "twin", [12]), slip_systems.twinning_shear(lattice, [12])
    assert torch.equal(shear, torch.full((12,), sqrt(0.5), dtype=torch.float64))
    _, normal = slip_systems.directions_and_normals(lattice, "twin", [12])
    vectors, identity = torch.tensor(BASES[lattice], dtype=torch.float64).T, torch.eye(3, dtype=torch.float64)
    sheared = identity + (torch.tensor(senses) * shear)[:, None, None] * schmid
    mirrored = identity - 2 * normal[:, :, None] * normal[:, None]
    coordinates = torch.linalg.solve(mirrored @ vectors, sheared @ vectors)
    assert (coordinates - coordinates.round()).abs().max() < 1e-9


@pytest.mark.parametrize(
    "lattice, pair, digest",
    [
        ("cF", "slip slip", "97705f79082cd360"),
        ("cF", "slip twin", "462953bf9409ba30"),
        ("cF", "twin twin", "f18018c5157f4444"),
        ("cI", "slip slip", "7e4ed65ea99ba10c"),
        ("cI", "slip twin", "ee7b2c7e05390498"),
        ("cI", "twin twin", "09651b6f4bf9eef6"),
        ("hP", "slip slip", "ce2faf2f5cd20d43"),
        ("hP", "slip twin", "626d73e76b7f8c2f"),
        ("hP", "twin slip", "e1e289079c2c8450"),
        ("hP", "twin twin", "ee365177c3d79e03"),
    ],
)
def test_kinds_are_those_of_damask_3_0_2(lattice, pair, digest):
    """Beginnings of SHA-256 of its tables as bytes, row by row."""
    kinds = interactions.kinds(lattice, *pair.split()).to(torch.uint8).numpy()
    assert hashlib.sha256(kinds.tobytes()).hexdigest()[:16] == digest


# Pairs of kinds that DAMASK's tables do not tell apart by geometry (see `interactions`).
BLURRED = {"cF": {}, "cI": {21: 22}, "hP": {64: 65}}


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


def test_a_system_may_have_its_own_resistance():
    content = copy.deepcopy(dict(load_material("Mg").source))
    plastic = content["Mg"]["mechanical"]["plastic"]
    plastic["xi_0_sl"] = [[10e6, 11e6, 12e6], 55e6, 60e6, 0.0, 60e6]
    plastic["xi_inf_sl"] = 200e6
    material = parse_material(content, "x.yaml")
    assert material.xi_0[:4].tolist() == [10e6, 11e6, 12e6, 55e6] and material.xi_inf.tolist() == [200e6] * 18


def test_powers_of_the_hardening_have_damasks_defaults():
    material = load_material("Mg")
    assert [getattr(material, f"c_{i}").unique().tolist() for i in (1, 2, 3, 4)] == [[0.0], [1.0], [1.0], [0.0]]


def test_cubic_twins_take_their_lists():
    content = copy.deepcopy(dict(load_material("Cu").source))
    content["Cu"]["mechanical"]["plastic"] |= {"N_tw": [12], "xi_0_tw": 2e7, "dot_gamma_0_tw": 1e-3, "n_tw": 20}
    content["Cu"]["mechanical"]["plastic"] |= {"h_0_tw-tw": 2e8, "h_0_tw-sl": 3e8, "h_tw-tw": [1.0, 1.5], "h_tw-sl": [0.9]}
    content["Cu"]["mechanical"]["plastic"] |= {"h_sl-tw": [1e8, 2e8, 3e8]}
    material = parse_material(content, "x.yaml")
    assert (material.slips, material.twins) == (12, 12) and material.f_sat.tolist() == [0.0] * 12
    assert material.h_sl_tw[0].tolist() == [1e8] * 3 + [3e8] * 3 + [2e8] * 3 + [3e8] * 3
    assert material.h_tw_tw[0, 2:4].tolist() == [1.0, 1.5] and material.h_tw_sl.unique().tolist() == [0.9]
