"""A notebook that is opened alone gets what its run lacks, and says where it is from."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from microprint import store, supply
from microprint.errors import UserError
from microprint.mechanics.datasets import read_curves
from microprint.mechanics.simulate import simulate_cp
from microprint.microstructures.datasets import generate_polycrystals, split_composites
from microprint.notebook import open_notebook
from microprint.params import as_dict, load, validate
from microprint.params.sections import Params
from microprint.steps import run_step
from microprint.study.catalogue import CATALOGUE, STEPS, maker, notebooks_behind, steps_behind
from microprint.study.graph import load_notebooks, needs
from microprint.systems.fingerprint import Fingerprint

NOTEBOOKS = load_notebooks()
REPOSITORY = Path(__file__).parents[1]
LINKS = sorted({(number, name) for number, notebook in NOTEBOOKS.items() for name in notebook.reads})


@pytest.fixture
def by_hand(tmp_path, monkeypatch):
    """Sections of a run by hand that holds nothing, tiny where the tests make something."""
    monkeypatch.delenv("MICROPRINT_BATCH")
    tiny = as_dict(load("tests/data/tiny.yml"))
    return {"run": {"name": "by-hand", "root": str(tmp_path)}, "polycrystals": tiny["polycrystals"], "composites": tiny["composites"]}


@pytest.fixture
def made(monkeypatch):
    """Names of the steps that would run; none does."""
    names = []
    monkeypatch.setattr(supply, "run_step", lambda step, *_: names.append(step.name))
    return names


def test_the_catalogue_is_what_the_notebooks_do():
    done = {number: {step.name for step, _ in notebook.steps} for number, notebook in NOTEBOOKS.items() if notebook.steps}
    assert done == {number: {step.name for step in steps} - {"write_composite_set"} for number, steps in CATALOGUE.items()}
    behind, parents = {number: set(notebooks_behind(steps[0])) for number, steps in CATALOGUE.items()}, needs(NOTEBOOKS)
    for number in behind:
        assert behind[number] == {number}.union(*(behind[parent] for parent in parents[number]))


@pytest.mark.parametrize("number, name", LINKS)
def test_whatever_a_notebook_reads_can_be_supplied(number, name, by_hand, made):
    """By a step whose inputs, and their inputs, come from known steps, too."""
    name = name.replace("*", "Mg")
    step, _ = maker(name)
    for other in steps_behind(step):
        assert all(maker(re.sub("{.*?}", "x", needed)) for needed in other.inputs)
    supply.supply(name, validate({"run": by_hand["run"]}))
    assert made in ([], [step.name for step in steps_behind(step)]) or step.name in made


@pytest.mark.parametrize("number, ships, makes", [
    ("02", [], ["generate_polycrystals", "generate_composites"]),
    ("04", ["fingerprint_ours.safetensors", "fingerprint_paper.safetensors"], ["generate_polycrystals"]),
    ("06", ["cp.h5", "textured.h5", "campaign.h5", "fingerprint_ours.safetensors", "fingerprint_paper.safetensors"], ["generate_polycrystals"]),
    ("07", [], ["generate_composites", "split_composites"]),
    ("08", [], ["generate_micrographs"]),
    ("09", ["cp.h5", "textured.h5", "campaign.h5", "fingerprint_ours.safetensors", "surrogate_Mg.safetensors"], ["generate_polycrystals"])])
def test_with_default_parameters_nothing_slow_is_made(number, ships, makes, by_hand, made, capsys, tmp_path):
    """What a notebook reads ships, or is made in under a minute."""
    params = validate({"run": by_hand["run"]})
    wanted = {name for name in NOTEBOOKS[number].reads if "*" not in name}.union(ships)
    for name in sorted(wanted):
        supply.supply(name, params)
    lines = capsys.readouterr().out.splitlines()
    assert set(made) == set(makes) and sorted(line.split()[0] for line in lines if "taken from" in line) == sorted(ships)
    assert all("is missing in run by-hand: " in line and "Your own: python run_all.py --name by-hand --only 01" in line for line in lines)
    assert {path.name for path in (tmp_path / "by-hand" / "artifacts").glob("*")} == set(ships)


def test_shipped_files_say_where_they_are_from(by_hand, made, capsys):
    params = validate({"run": by_hand["run"]})
    supply.supply("fingerprint_ours.safetensors", params)
    supply.supply("cp.h5", params)
    assert capsys.readouterr().out.splitlines() == [
        "fingerprint_ours.safetensors is missing in run by-hand: taken from reports/laptop/models, trained on the data of the laptop profile. "
        "Your own: python run_all.py --name by-hand --only 01 03",
        "cp.h5 is missing in run by-hand: taken from data/quick, of these parameters. Your own: python run_all.py --name by-hand --only 01 05"]
    assert Fingerprint.load(Path(params.run.root) / "by-hand" / "artifacts" / "fingerprint_ours.safetensors").edge == 16


@pytest.mark.parametrize("sections, name, expected", [
    ({"cp": {"strain": 0.02}}, "cp.h5", ["generate_polycrystals", "simulate_cp_dataset"]),
    ({"cp": {"load": "shear"}}, "surrogate_Mg.safetensors", ["train_crystal_law", "correct_surrogate"]),
    ({"cp": {"material": "Cu"}}, "surrogate_Cu.safetensors", ["train_crystal_law", "correct_surrogate"]),
    ({"run": {"seed": 1}}, "campaign.h5", ["generate_textured_polycrystals", "simulate_campaign"]),
    ({"run": {"seed": 1}}, "surrogate_Mg.safetensors", []),
    ({"polycrystals": {"cubic_train": 6000}}, "fingerprint_ours.safetensors", []),  # as in the report
    ({"polycrystals": {"cubic_train": 700}}, "fingerprint_ours.safetensors", ["generate_polycrystals", "train_fingerprint"]),
    ({"vae": {"ours_width": 8}}, "fingerprint_ours.safetensors", ["generate_polycrystals", "train_fingerprint"])])
def test_what_ships_is_taken_where_it_is_what_the_parameters_ask_for(sections, name, expected, by_hand, made):
    params = validate({**sections, "run": by_hand["run"] | sections.get("run", {})})
    supply.supply(name, params)
    assert [step for step in made if step in expected] == expected and bool(made) == bool(expected)


def test_shipped_simulations_are_not_taken_for_other_volume_elements(by_hand, made):
    """A notebook that says nothing of polycrystals would not know that the run has others than the default ones."""
    others, params = validate(by_hand), validate({"run": by_hand["run"]})
    folder = Path(params.run.root) / "by-hand" / "artifacts"
    run_step(generate_polycrystals, others, folder, {})
    supply.supply("cp.h5", params)
    assert made == ["simulate_cp_dataset"]


def test_inputs_of_a_step_are_made_and_what_is_there_stays(by_hand, capsys):
    notebook = open_notebook(**by_hand, preprocessing={})
    (path,) = notebook.do(split_composites)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "is missing" in line] == [
        "composites.h5 is missing in run by-hand: made here, by step generate_composites. Your own: python run_all.py --name by-hand --only 01"]
    before = {file: file.stat().st_mtime_ns for file in path.parent.iterdir() if file.is_file()}
    open_notebook(**by_hand, preprocessing={}).do(split_composites)
    notebook.path("composites.h5")
    assert {file: file.stat().st_mtime_ns for file in path.parent.iterdir() if file.is_file()} == before
    assert "is missing" not in capsys.readouterr().out


def test_in_a_batch_run_what_is_missing_is_an_error(by_hand, monkeypatch):
    monkeypatch.setenv("MICROPRINT_BATCH", "1")
    notebook = open_notebook(**by_hand, preprocessing={})
    with pytest.raises(UserError, match=r"composites\.h5: is missing"):
        notebook.do(split_composites)
    with pytest.raises(UserError, match=r"fingerprint_ours\.safetensors: is missing"):
        notebook.path("fingerprint_ours.safetensors")


def test_what_no_step_makes_is_an_error_as_ever(by_hand):
    with pytest.raises(UserError, match=r"unknown\.h5: is missing"):
        open_notebook(run=by_hand["run"]).open("unknown.h5")


def test_a_damaged_artifact_is_not_replaced(by_hand, tmp_path):
    path = tmp_path / "by-hand" / "artifacts" / "cp.h5"
    path.parent.mkdir(parents=True)
    path.write_text("damaged")
    with pytest.raises(UserError, match=r"cp\.h5: is truncated"):
        open_notebook(run=by_hand["run"]).open("cp.h5")


@pytest.mark.parametrize("name", ["cp", "textured", "campaign"])
def test_what_ships_belongs_to_the_default_parameters(name):
    """If this fails, `make shipped` makes it again."""
    path = supply.SHIPPED[1] / f"{name}.h5"
    assert supply._made_with(Params(), path) and store.provenance_of(path)["step"] in STEPS
    assert store.provenance_of(path)["commit"] and not store.provenance_of(path)["dirty"]


def test_shipped_curves_are_those_of_the_volume_elements_that_the_code_makes(tmp_path):
    """One of them, simulated anew."""
    run_step(generate_polycrystals, Params(), tmp_path, {})
    with store.open_hdf5(tmp_path / "polycrystals.h5") as polycrystals, store.open_hdf5(supply.SHIPPED[1] / "cp.h5") as cp:
        curves = read_curves(polycrystals, cp, "test")
    first = curves.elements[:1]
    again = simulate_cp(first.grain_id, first.quaternion, curves.material, curves.load, scheme=Params().cp.scheme)
    assert again.P[(..., *curves.component)].float().numpy() == pytest.approx(curves.stress[:1].float().numpy(), rel=1e-3, abs=1e3)


def test_a_notebook_runs_alone(by_hand, tmp_path):
    """As it does in JupyterLab: no run, no other notebook before."""
    environment = {name: value for name, value in os.environ.items() if name != "MICROPRINT_BATCH"}
    notebook, parameters = NOTEBOOKS["02"].path, tmp_path / "run.json"
    parameters.write_text(json.dumps({"run": by_hand["run"]}))
    command = [sys.executable, "-m", "papermill", notebook, tmp_path / "out.ipynb", "-f", parameters, "--cwd", notebook.parent, "--log-output"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "polycrystals.h5 is missing in run by-hand: made here" in (tmp_path / "out.ipynb").read_text()
