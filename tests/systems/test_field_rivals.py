"""Rivals that see grains or fields: symmetries, training, files."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from microprint import orientations
from microprint.errors import UserError
from microprint.mechanics.datasets import Curves
from microprint.mechanics.load import standard_load, uniaxial_tension
from microprint.mechanics.materials import load_material
from microprint.microstructures.volume_elements import VolumeElements
from microprint.networks.grain_graph import grain_graph, volume_shares
from microprint.params import validate
from microprint.steps import Job, run_step
from microprint.store import create_hdf5, save_tensors
from microprint.systems import field_rivals
from microprint.systems.field_rivals import FieldRival, fit_rows, train_field_rival, turned_field, turning_axis, turns

LOAD = uniaxial_tension(strain=0.01, increments=5)
VARIANTS = ("graph", "cnn")


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """Small networks, a few steps."""
    monkeypatch.setattr(field_rivals, "SIZES", {"graph": {"width": 8, "rounds": 1}, "cnn": {"width": 8, "residual": 1}})
    schedules = {name: replace(schedule, epochs=2) for name, schedule in field_rivals.SCHEDULES.items()}
    monkeypatch.setattr(field_rivals, "SCHEDULES", schedules)


def volume_elements(count, grains=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(grains, (count, 2, 2, 2), generator=generator)
    ids[:, 0], ids[:, 1, 1, 1] = torch.arange(4).view(2, 2), 4
    ids = ids.repeat_interleave(4, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    return VolumeElements.of(ids, orientations.random((count, grains), generator), "hexagonal")


def curves_of(elements):
    """Curves whose height is linear in the mean square of the cosine between c axis and x."""
    c = orientations.to_matrix(elements.quaternion)[..., 2, 0]
    height = 8e7 + 4e7 * (volume_shares(elements) * c.float() ** 2).sum(1).double()
    strain = torch.linspace(0, 0.01, 6, dtype=torch.float64)
    return Curves(elements, height[:, None] * (1 - torch.exp(-strain / 0.002)), strain, LOAD, load_material("Mg"), 0)


def turned(elements, axis, quarters, over):
    count = len(elements)
    turn = turns(axis, torch.full((count,), quarters), torch.full((count,), over))
    ids = torch.stack([turned_field(part, axis, quarters, bool(over)) for part in elements.grain_id])
    return VolumeElements.of(ids, orientations.multiply(elements.quaternion, turn[:, None]), "hexagonal"), turn


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("quarters", "over"), [(1, 0), (2, 1), (3, 1)])
def test_grains_contacts_and_crystals_turn_together(axis, quarters, over):
    """Contacts measured in the turned voxels are the contacts' turned normals; the axis of the load keeps its line."""
    elements = volume_elements(2)
    after, turn = turned(elements, axis, quarters, over)
    M = orientations.to_matrix(turn)
    expected = torch.einsum("bghi,bij->bghj", grain_graph(elements).normal, M)
    torch.testing.assert_close(grain_graph(after).normal, expected, atol=1e-5, rtol=0)
    c, c_after = (orientations.to_matrix(e.quaternion)[..., 2, :].float() for e in (elements, after))
    # A crystal axis has no sign after `standardize`.
    torch.testing.assert_close(torch.einsum("bgi,bgj->bgij", c_after, c_after), torch.einsum("bgi,bgj,bik,bjl->bgkl", c, c, M, M), atol=1e-5, rtol=0)
    assert M[:, axis, axis].abs().min() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_rival_learns_the_averages_from_few_and_answers_alike_when_turned(variant):
    train, test = curves_of(volume_elements(40)), curves_of(volume_elements(6, seed=1))
    rival = fit_rows(variant, train, torch.arange(30), seed=0)
    mean = rival.predict(test.elements)
    assert mean.shape == (6, 6) and mean[:, 0].abs().max() < 1.0
    assert (mean - test.stress)[:, -1].std() < 0.3 * test.stress[:, -1].std()
    with torch.no_grad():
        rival.network.head.out.weight.normal_()
    before = rival.predict(test.elements)
    assert (before - mean).abs().max() > 1e4
    for way in ((1, 0), (3, 1)):
        torch.testing.assert_close(rival.predict(turned(test.elements, 0, *way)[0]), before, rtol=1e-4, atol=1e3)
    order = torch.tensor([2, 0, 4, 1, 3])
    renamed = VolumeElements.of(order.argsort()[test.elements.grain_id], test.elements.quaternion[:, order], "hexagonal")
    torch.testing.assert_close(rival.predict(renamed), before, rtol=1e-4, atol=1e3)


def test_loads_that_are_no_tension_allow_no_turn():
    assert [turning_axis(uniaxial_tension(axis)) for axis in "xyz"] == [0, 1, 2]
    assert turning_axis(standard_load("compression", "y")) == 1 and turning_axis(standard_load("shear")) is None
    assert turning_axis((*LOAD, *standard_load("shear"))) is None
    ids = torch.arange(8).view(2, 2, 2)
    assert torch.equal(turned_field(ids, None, 1, True), ids)
    torch.testing.assert_close(orientations.to_matrix(turns(None, torch.ones(1), torch.ones(1)))[0], torch.eye(3))


@pytest.fixture
def folder(tmp_path):
    with create_hdf5(tmp_path / "polycrystals.h5", "polycrystals", {"key": "a"}) as source, \
            create_hdf5(tmp_path / "cp.h5", "cp", {"key": "b"}) as cp:
        cp.attrs.update(material=json.dumps(load_material("Mg").source), load=json.dumps([asdict(step) for step in LOAD]), edge=8)
        for seed, (name, count) in enumerate({"train": 12, "validation": 5}.items()):
            elements = volume_elements(count, seed=seed)
            group, curves = source.create_group(f"hexagonal/{name}"), curves_of(elements)
            group["grain_id"], group["quaternion"], group["grains"] = (np.asarray(x) for x in (elements.grain_id, elements.quaternion, elements.grains))
            F, P = (np.zeros((count, 6, 3, 3)) for _ in range(2))
            F[:, :, 0, 0], P[:, :, 0, 0] = 1 + curves.strain, curves.stress
            cp[f"{name}/F"], cp[f"{name}/P"], cp[f"{name}/converged"] = F, P, np.ones(count, bool)
    return tmp_path


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_step_trains_a_rival_that_survives_its_file(folder, variant):
    (path,) = run_step(train_field_rival, validate({"compute": {"device": "cpu"}}), folder, {"variant": variant})
    test = curves_of(volume_elements(6, seed=9))
    mean = FieldRival.load(path).predict(test.elements)
    assert len(FieldRival.load(path).config["history"]) == 2
    assert (mean - test.stress)[:, -1].abs().mean() < (test.stress[:, -1] - test.stress[:, -1].mean()).abs().mean()


def test_other_files_and_variants_are_refused(folder):
    save_tensors(folder / "other.safetensors", {"x": torch.zeros(1)}, {"config": {"kind": "fingerprint"}})
    with pytest.raises(UserError, match="no rival"):
        FieldRival.load(folder / "other.safetensors")
    with pytest.raises(UserError, match="theirs"):
        train_field_rival.function(Job(train_field_rival, validate({"compute": {"device": "cpu"}}), folder, {"variant": "theirs"}, "k"), variant="theirs")
