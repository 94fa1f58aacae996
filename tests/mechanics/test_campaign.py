"""The campaign: sets of textured volume elements, their responses, and what is read of them."""

import dataclasses

import h5py
import numpy as np
import pytest
import torch

from microprint import orientations, store
from microprint.errors import UserError
from microprint.mechanics import campaign
from microprint.mechanics.campaign import read_campaign, read_paths
from microprint.mechanics.datasets import simulate_cp_dataset
from microprint.mechanics.load import read_load, standard_load
from microprint.mechanics.load_paths import KINDS
from microprint.mechanics.materials import material_file
from microprint.mechanics.simulate import simulate_cp
from microprint.microstructures.textures import FAMILIES
from microprint.params.sections import ComputeSettings, CrystalPlasticitySettings, Params, PolycrystalSettings
from microprint.steps import run_step

CP = CrystalPlasticitySettings(edge=4, increments=2, strain=1e-3, chunk=2, families_train=3, families_test=2,
                               others=("Al", "Ti"), others_train=1, others_test=3, paths=9, path_elements=2)  # fmt: skip
PARAMS = Params(cp=CP, polycrystals=PolycrystalSettings(edge=8), compute=ComputeSettings(device="cpu", workers=1))


def with_cp(**changes):
    return dataclasses.replace(PARAMS, cp=dataclasses.replace(CP, **changes))


def run(folder, params=PARAMS):
    for step in (campaign.generate_textured_polycrystals, campaign.simulate_campaign):
        run_step(step, params, folder, {})
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return run(tmp_path_factory.mktemp("campaign"))


@pytest.fixture
def files(made):
    with store.open_hdf5(made / "textured.h5", "textured") as textured, store.open_hdf5(made / "campaign.h5", "campaign") as simulated:
        yield textured, simulated


def test_sets_are_as_large_as_a_material_needs_with_families_in_turn(files):
    textured, _ = files
    sizes = {f"{symmetry}/{name}": len(group["grains"]) for symmetry, sets in textured.items() for name, group in sets.items()}
    assert sizes == {"hexagonal/train": 3, "hexagonal/test": 3, "hexagonal/paths": 18, "cubic/train": 1, "cubic/test": 3}
    group = textured["hexagonal/paths"]
    families = len(FAMILIES["hexagonal"])
    assert group["family"][:].tolist() == [i % families for i in range(18)] and group["family"].dtype == np.int8
    assert group["grain_id"].shape == (18, 4, 4, 4) and group.attrs["symmetry"] == "hexagonal"
    for ids, q, grains in zip(group["grain_id"][:], torch.from_numpy(group["quaternion"][:]), group["grains"][:]):
        assert ids.max() + 1 == grains and (q[grains:] == torch.eye(4)[0]).all()
        torch.testing.assert_close(orientations.reduce(q[:grains], "hexagonal"), q[:grains])


def test_no_two_volume_elements_are_alike(files):
    textured, _ = files
    ids = [element.tobytes() for sets in textured.values() for group in sets.values() for element in group["grain_id"][:]]
    assert len(set(ids)) == len(ids)


def test_every_group_holds_what_was_simulated(files):
    _, simulated = files
    assert {name for name, _ in simulated.items()} == {"Mg", "Al", "Ti", "paths"}
    for name, shape in {"Mg/train": (3, 3), "Mg/test": (2, 3), "Al/train": (1, 3), "Ti/test": (3, 3), "paths": (18, 5)}.items():
        group = simulated[name]
        assert group["P"].shape == group["F"].shape == (*shape, 3, 3) and group["P"].attrs["unit"] == "Pa"
        assert group["converged"][:].all() and group["reason"][0] == b"" and (group["evaluations"][:] > 0).all()
        assert group["time"].shape == shape[1:] and np.isfinite(group["cutbacks"][:] + group["linear"][:]).all()


@pytest.mark.parametrize("material, part, families", [
    ("Mg", "train", ["random", "basal", "split"]), ("Ti", "test", ["random", "basal", "split"]), ("Al", "test", ["random", "cube", "goss"]),
])
def test_responses_belong_to_their_volume_elements(files, material, part, families):
    curves = read_campaign(*files, material, part)
    assert curves.families == families and curves.material.name == material and curves.left_out == 0
    assert curves.elements.edge == 4 and str(curves.load) == str(read_load(standard_load("tension", strain=1e-3, increments=2)))
    assert curves.P.dtype == curves.F.dtype == torch.float64
    again = simulate_cp(curves.elements.grain_id, curves.elements.quaternion, material, curves.load)
    torch.testing.assert_close(again.P, curves.P, rtol=1e-6, atol=1.0)


def test_paths_are_each_kind_and_then_walks(files):
    paths = read_paths(*files)
    assert [path.kind for path in paths] == [*KINDS, "walk"]
    assert all(len(path.elements) == 2 and path.P.shape == (2, 5, 3, 3) and path.left_out == 0 for path in paths)
    assert [family for path in paths for family in path.families] == [FAMILIES["hexagonal"][i % 7] for i in range(18)]
    assert str(paths[7].load) != str(paths[8].load) and all(sum(step.N for step in path.load) == 4 for path in paths)
    path = paths[8]
    again = simulate_cp(path.elements.grain_id, path.elements.quaternion, "Mg", path.load)
    torch.testing.assert_close(again.F, path.F, rtol=1e-6, atol=1e-9)


def test_a_broken_step_resumes_to_the_same_result(made, tmp_path, monkeypatch, capsys):
    simulate, calls = campaign.simulate_cp, []

    def breaks(*arguments, **keywords):
        calls.append(len(arguments[0]))
        if len(calls) > 3:
            raise RuntimeError
        return simulate(*arguments, **keywords)

    monkeypatch.setattr(campaign, "simulate_cp", breaks)
    with pytest.raises(RuntimeError):
        run(tmp_path)
    monkeypatch.undo()
    run(tmp_path)
    assert "are there already" in capsys.readouterr().out
    with h5py.File(tmp_path / "campaign.h5") as resumed, h5py.File(made / "campaign.h5") as whole:
        for name in ("Mg/train/P", "Al/test/F", "paths/P", "paths/path"):
            np.testing.assert_array_equal(resumed[name][:], whole[name][:])


def test_what_does_not_converge_is_left_out_and_counted(files, tmp_path):
    textured, simulated = files
    with h5py.File(tmp_path / "broken.h5", "w") as broken:
        for name in ("Mg", "paths"):
            simulated.copy(name, broken)
        broken["Mg/train/converged"][1] = broken["paths/converged"][3] = False
        broken["paths/converged"][4:6] = broken["Mg/test/converged"][:] = False
        curves, paths = read_campaign(textured, broken, "Mg", "train"), read_paths(textured, broken)
        assert curves.families == ["random", "split"] and len(curves.elements) == len(curves.P) == 2 and curves.left_out == 1
        assert [path.left_out for path in paths] == [0, 1, 2, 0, 0, 0, 0, 0, 0] and len(paths[2].elements) == len(paths[2].P) == 0
        with pytest.raises(UserError, match="no simulation of Mg/test converged"):
            read_campaign(textured, broken, "Mg", "test")
        with pytest.raises(UserError, match="has no group Al/test"):
            read_campaign(textured, broken, "Al", "test")


def test_sets_follow_from_the_materials():
    groups = campaign.campaign_groups(with_cp(material="Cu", others=("Al",)).cp)
    assert {name: (group.elements, group.count) for name, group in groups.items()} == {
        "Cu/train": ("cubic/train", 3), "Cu/test": ("cubic/test", 2), "Al/train": ("cubic/train", 1), "Al/test": ("cubic/test", 3),
        "paths": ("cubic/paths", 18)}  # fmt: skip
    assert list(campaign.campaign_groups(with_cp(material="Ti").cp)) == ["Ti/train", "Ti/test", "Al/train", "Al/test", "paths"]


def test_the_load_is_that_of_cp_if_it_has_a_name(tmp_path):
    shear = campaign.campaign_load(with_cp(load="shear").cp)
    assert shear == standard_load("shear", strain=1e-3, increments=2)
    tension = standard_load("tension", strain=1e-3, increments=2)
    assert str(campaign.campaign_load(with_cp(load=str(tmp_path / "load.yaml")).cp)) == str(tension)


def test_faults_are_told_beforehand(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(material_file("Mg").read_text().replace("C_11: ", "C_11: 2"))
    with pytest.raises(UserError, match="another material is called Mg, too"):
        campaign.campaign_files(with_cp(others=(str(mine),)))


def test_only_the_campaign_is_made_anew_for_its_parameters(made):
    """The curves of cp.h5 do not depend on them; a set of textures does not depend on the load."""
    other = with_cp(paths=10)
    assert campaign.generate_textured_polycrystals.key(other, made, {}) != campaign.generate_textured_polycrystals.key(PARAMS, made, {})
    assert campaign.generate_textured_polycrystals.key(with_cp(strain=2e-3), made, {}) == campaign.generate_textured_polycrystals.key(PARAMS, made, {})
    assert not any(name in ("cp", "cp.paths", "cp.others") for name in simulate_cp_dataset.reads)
