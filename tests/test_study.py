"""The runner: what runs and why, what a failure leaves behind, and that resuming gives the same."""

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jupytext
import numpy as np
import pytest
import torch
from toys import HEADER, TOY, write_toys

from microprint import store
from microprint.errors import UserError
from microprint.params import load, validate
from microprint.requirements import requirements
from microprint.study.graph import alike, literals, load_notebooks, minutes_ahead, needs, numbers
from microprint.study.run import Due, Run
from microprint.study.sweep import branch, literal, sweep_points

REPOSITORY = Path(__file__).parents[1]
NEEDS = numbers()


@pytest.fixture
def params(tmp_path):
    return validate({"run": {"name": "t", "root": str(tmp_path / "runs")}})


def done(run: Run, *numbers: str) -> None:
    """Mark notebooks as done, as executing them would."""
    for number in numbers:
        run._mark(number, status="done", key=run.key(number), seconds=1.0)
        run.executed(number).parent.mkdir(parents=True, exist_ok=True)
        run.executed(number).touch()


def test_the_graph_follows_from_what_the_notebooks_read_and_make():
    notebooks = load_notebooks()
    assert needs(notebooks) == {"01": [], "02": ["01"], "03": ["01"], "04": ["01", "03"], "05": ["01"],
                                "06": ["01", "03", "05"], "07": ["01", "02"], "08": ["01"], "09": ["01", "03", "05", "06"]}
    assert notebooks["06"].makes == {"crystal_law_*.safetensors", "surrogate_*.safetensors", "direct_*_ours.safetensors", "fingerprints_ours.h5", "answers_*.h5",
                                      "rival_*.safetensors", "path_rival.safetensors"}
    assert notebooks["07"].makes == {"stiffness.h5", "estimates.h5", "stiffness_surrogate.safetensors", "composite_design.safetensors",
                                      "vae.safetensors", "forward_cnn.safetensors", "inverse_design_*.safetensors"}
    assert notebooks["07"].reads == {"composites.h5", "splits.json"}
    assert notebooks["04"].reads == {"polycrystals.h5", "fingerprint_*.safetensors"}
    assert alike("a_*.h5", "a_b.h5") and alike("a_*_c.h5", "a_b_*.h5") and not alike("a_*.h5", "b_*.h5")
    for notebook in notebooks.values():  # else a step would run with defaults
        stated = {"run", "compute", *notebook.sections}
        assert {name.split(".")[0] for step, _ in notebook.steps for name in step.reads} <= stated, notebook.name


MAKES_A = """from microprint.microstructures.datasets import generate_composites
notebook.do(generate_composites)"""
READS_A = 'notebook.open("composites.h5")'


@pytest.fixture
def chain(tmp_path):
    """Toys of which 02 reads what 01 makes."""
    return write_toys(tmp_path / "n", {"01": MAKES_A, "02": READS_A})


def test_plan_follows_the_graph(params, chain):
    run = Run(params, chain)
    assert list(run.plan()) == list(NEEDS) and run.needs["02"] == ["01"] and run.needs["03"] == []
    done(run, *NEEDS)
    assert run.plan() == {}
    assert list(run.plan(force=True, only=["03"])) == ["03"]
    run.executed("01").unlink()
    plan = run.plan()
    assert {n: due.reason for n, due in plan.items()} == {"01": "its executed notebook is missing", "02": "01 runs again"}
    assert plan["01"].certain and not plan["02"].certain
    assert list(run.plan(start="05")) == []


def test_what_is_left_out_and_not_up_to_date_is_told(params, chain):
    run = Run(params, chain)
    done(run, *NEEDS)
    (run.folder / "artifacts").mkdir()
    (run.folder / "artifacts" / "composites.h5").touch()
    assert run.stale(run.plan(only=["02"], force=True)) == {}
    run.executed("01").unlink()
    plan = run.plan(only=["02", "03"], force=True)
    assert run.stale(plan) == {"01": "its executed notebook is missing"}
    assert run.stale(plan, given=["01"]) == run.stale(run.plan(only=["03"], force=True)) == {}


def test_changed_parameters_and_code_are_told_apart(tmp_path, params):
    run = Run(params, write_toys(tmp_path / "n"))
    done(run, *NEEDS)
    other = Run(validate({"run": {"name": "t", "root": params.run.root}, "latent": {"path_steps": 9}}), run.notebooks)
    assert other.why("01") == other.why("08") == "parameters changed"
    changed = Run(params, write_toys(tmp_path / "n", {"05": "print(1)"}))
    assert list(changed.plan()) == ["05"] and changed.why("05") == "notebook changed"
    told = Run(params, write_toys(tmp_path / "n", {"05": "# a comment"}))
    assert told.plan() == {}


def test_the_longest_way_to_the_end_starts_first(tmp_path, params):
    notebooks = load_notebooks()
    ahead = minutes_ahead(notebooks, needs(notebooks))
    assert all(notebooks[n].minutes > 0 for n in notebooks)
    assert ahead["05"] == sum(notebooks[n].minutes for n in ("05", "06", "09"))  # 06 reads what 05 makes, and 09 what 06 makes
    said, toys = [], write_toys(tmp_path / "n")
    run = Run(params, {n: replace(toys[n], minutes=notebooks[n].minutes) for n in ("07", "08", "09")})
    run.execute = lambda number: None
    assert run.execute_all({n: Due("asked for") for n in run.notebooks}, said.append) is None
    assert [line[:2] for line in said] == ["08", "07", "09"]


def test_a_missing_upstream_artifact_is_refused(params, chain):
    with pytest.raises(UserError, match=r"notebook 02 needs composites\.h5 of 01.*--only 01 02"):
        Run(params, chain).plan(only=["02"])


def test_what_no_notebook_makes_is_refused(tmp_path, params):
    with pytest.raises(UserError, match=r"01_toy\.ipynb: reads composites\.h5, which no notebook before it makes"):
        Run(params, write_toys(tmp_path / "n", {"01": READS_A, "02": MAKES_A}))


def test_a_changed_file_of_a_user_makes_its_notebook_run_again(tmp_path, params, chain):
    folder = tmp_path / "phases"
    folder.mkdir()
    np.save(folder / "a.npy", np.zeros((4, 4, 4), int))
    own = validate({"run": {"name": "t", "root": params.run.root}, "composites": {"source": str(folder)}})
    run = Run(own, chain)
    done(run, *NEEDS)
    assert run.why("01") is None
    np.save(folder / "a.npy", np.ones((4, 4, 4), int))
    assert run.why("01") == "files changed" and run.why("02") is None


@pytest.mark.parametrize("sections, message", [
    ({"cp": {"material": "nothing"}}, "no material is called 'nothing'"),
    ({"polycrystals": {"source": "/nowhere"}}, "is no folder"),
    ({"vae_regression": {"targets_gpa": [500.0]}}, "500 GPa of C11 lies outside"),
    ({"polycrystal_design": {"aims": []}}, "polycrystal_design.aims"),
    ({"compute": {"device": "gpu0"}}, "compute.device = 'gpu0'"),
    ({"vae": {"latent_dim": 12}}, "12 numbers hold no"),
])
def test_what_would_fail_later_is_refused_by_the_plan(params, sections, message):
    run = Run(validate({"run": {"name": "t", "root": params.run.root}, **sections}))
    with pytest.raises(UserError, match=message):
        run.plan()


def test_trained_fingerprints_take_the_place_of_their_notebook(tmp_path, params):
    run, models = Run(params), tmp_path / "models"
    with pytest.raises(UserError, match="holds no trained fingerprint"):
        run.adopt(models)
    for name in ("ours", "paper"):
        store.save_tensors(models / f"fingerprint_{name}.safetensors", {"w": torch.ones(2)}, {})
    own = run.folder / "artifacts" / "fingerprint_paper.safetensors"
    store.save_tensors(own, {"w": torch.zeros(2)}, {})
    run.adopt(models)
    assert torch.equal(store.load_tensors(own.with_name("fingerprint_ours.safetensors"))[0]["w"], torch.ones(2))
    assert torch.equal(store.load_tensors(own)[0]["w"], torch.zeros(2))  # its own stays
    assert list(run.plan(only=["01", "04"], skip=["03"])) == ["01", "04"]
    assert "03" not in run.plan(only=["01", "02", "04"], skip=["03"])
    (models / "fingerprint_ours.safetensors").write_bytes(b"junk")
    with pytest.raises(UserError):
        run.adopt(models)


def test_a_damaged_artifact_makes_its_notebook_run_again(tmp_path, params):
    run = Run(params, write_toys(tmp_path / "n"))
    done(run, *NEEDS)
    artifact = run.folder / "artifacts" / "a.json"
    store.save_json(artifact, {"provenance": {"key": "k"}})
    store.save_json(run.folder / "results" / "01.json", {"artifacts": {"a.json": "k"}})
    assert run.why("01") is None
    artifact.write_text("{")
    assert run.why("01") == "artifact a.json is missing or damaged"


def test_notebooks_out_of_step_or_without_parameters_are_refused(tmp_path):
    write_toys(tmp_path / "n")
    script = tmp_path / "n" / "02_toy.py"
    script.write_text(script.read_text().replace("Toy", "Joy"))
    with pytest.raises(UserError, match=r"02_toy\.ipynb: differs from 02_toy\.py.*jupytext --sync"):
        load_notebooks(tmp_path / "n")
    script.write_text(HEADER + TOY.format(number="02", body="").replace('tags=["parameters"]', ""))
    jupytext.write(jupytext.read(script), script.with_suffix(".ipynb"))
    with pytest.raises(UserError, match="no cell tagged `parameters`"):
        load_notebooks(tmp_path / "n")
    script.with_suffix(".ipynb").unlink()
    with pytest.raises(UserError, match="holds no notebook 02"):
        load_notebooks(tmp_path / "n")


def test_execution_failure_and_recovery(tmp_path, params, capsys):
    broken = 'from microprint.errors import UserError\nprint("before")\nraise UserError("no grains", "ve.vti", "Check it")'
    run = Run(params, write_toys(tmp_path / "n", {"01": broken}))
    with pytest.raises(UserError, match=r"01_toy\.ipynb: stopped in cell 3: ve\.vti: no grains\. Check it"):
        run.execute("01")
    assert run.why("01") == "failed last time"
    assert "before" in run.executed("01").read_text() and "01 | before" in capsys.readouterr().out
    mended = Run(params, write_toys(tmp_path / "n"))
    mended.execute("01")
    assert mended.why("01") is None
    assert store.load_json(mended.collect_metrics()) == {"01.x": 2026.0}


def test_two_processes_do_not_work_in_one_run(tmp_path, params):
    first, second = (Run(params, {}) for _ in range(2))
    with first.alone(), pytest.raises(UserError, match="another process works in this run"), second.alone():
        pass
    with second.alone():
        pass


def test_sweeps():
    assert sweep_points({"a": ["1", "2"], "b": ["x"]}) == [{"a": "1", "b": "x"}, {"a": "2", "b": "x"}]
    assert literal("3/4") == "3_4" and literals("a = {'x': 1}\nb = 2") == {"a": {"x": 1}, "b": 2}


def test_a_branch_shares_files_but_not_changes(tmp_path):
    store.save_json(tmp_path / "base" / "a.json", {"x": 1})
    branch(tmp_path / "base", tmp_path / "copy")
    store.save_json(tmp_path / "copy" / "a.json", {"x": 2})
    assert store.load_json(tmp_path / "base" / "a.json") == {"x": 1}


def test_a_sweep_ends_with_a_table_and_a_file_of_its_points(tmp_path, monkeypatch, capfd):
    """Rows are points; what failed in a point is left out; nothing runs twice."""
    monkeypatch.syspath_prepend(REPOSITORY)
    import run_all
    notebooks = write_toys(tmp_path / "n", {"01": 'assert run["seed"] < 2'})
    monkeypatch.setattr(run_all, "Run", lambda params: Run(params, notebooks))
    monkeypatch.setattr(sys, "argv", ["run_all.py", "--only", "01", "--name", "s", "--set", f"run.root={tmp_path / 'runs'}",
                                      "--sweep", "run.seed=1,2", "latent.path_steps=4"])  # fmt: skip
    options = run_all.parse_arguments()
    assert run_all.sweep(options) == 1
    shown = capfd.readouterr().out
    cells = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in shown.splitlines() if "│" in line]
    assert [row for row in cells if len(row) == 3] == [["1", "4", "1"], ["2", "4", ""]]
    assert "run.seed" in shown and "01: x" in shown
    rows = list(csv.DictReader(open(tmp_path / "runs" / "s-sweep.csv")))
    assert [tuple(row.values()) for row in rows] == [(f"s-run.seed-{seed}-latent.path_steps-4", seed, "4", value)
                                                     for seed, value in (("1", "1.0"), ("2", ""))]
    executed = tmp_path / "runs" / rows[0]["run"] / "notebooks" / "01_toy.ipynb"
    before = executed.stat().st_mtime_ns
    options.sweep = ["run.seed=1", "latent.path_steps=4"]
    assert run_all.sweep(options) == 0 and executed.stat().st_mtime_ns == before
    options.dry_run = True
    with pytest.raises(UserError, match="neither --list nor --dry-run"):
        run_all.sweep(options)


def test_a_sweep_s_table_is_blank_where_there_is_no_number(tmp_path, monkeypatch, capfd):
    """A standing without a finite number, and a notebook that an older version executed."""
    monkeypatch.syspath_prepend(REPOSITORY)
    import run_all
    run = Run(validate({"run": {"name": "t", "root": str(tmp_path / "runs")}}), write_toys(tmp_path / "n"))
    monkeypatch.setattr(run, "why", lambda number: None)
    store.save_json(run.folder / "results" / "01.json", {"standings": [{"measure": "a", "unit": "MPa", "ours": None}]})
    store.save_json(run.folder / "results" / "02.json", {"headline": {"label": "b", "value": 1.0, "unit": ""}})
    store.save_json(run.folder / "results" / "03.json", {"standings": [{"measure": "c", "unit": "", "ours": 0.5}]})
    run_all.show_sweep([({"run.seed": "1"}, run)], ["01", "02", "03"])
    shown = capfd.readouterr().out
    (row,) = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in shown.splitlines() if "│" in line]
    assert row == ["1", "", "", "0.5"] and "01: a / MPa" in shown and "03: c" in shown and "02:" not in shown


def command(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "run_all.py", *arguments], cwd=REPOSITORY, text=True, capture_output=True, **options)


def test_a_misspelt_parameter_starts_nothing(tmp_path):
    result = command("--set", "vae.latent_dimm=8", f"run.root={tmp_path}")
    assert result.returncode == 2 and "nearest known one is vae.latent_dim" in result.stdout
    assert not list(tmp_path.iterdir())


def test_list_and_dry_run_start_nothing(tmp_path):
    listed = command("--list", "--set", f"run.root={tmp_path}")
    assert listed.returncode == 0 and listed.stdout.count("not run yet") == len(NEEDS)
    planned = command("--dry-run", "--params", "params/paper.yml", "--set", f"run.root={tmp_path}")
    assert planned.returncode == 0 and "would run 08_texture_vae" in planned.stdout and "GiB" in planned.stdout
    assert not list(tmp_path.iterdir())


def test_requirements_state_simulations_and_their_time():
    needed = dict(requirements(load(REPOSITORY / "params" / "paper.yml")))
    assert "50,000 of 64³" in needed["crystal-plasticity simulations (05)"]
    assert needed["crystal-plasticity simulations (05)"].endswith("days on two cores")
    assert needed["the same of designs (09)"].startswith("32 of 64³")  # two aims, two targets, two designs
    assert needed["simulations of micrographs (08)"].startswith("12 of 766 x 1024 pixels, about")
    assert needed["Gram matrices of patches (08)"] == "8.9 GiB of main memory, twice that on disk"  # 13,572 of 0.7 MB
    assert needed["texture drawings (08)"].endswith("to train") and needed["TextureVAE (08)"].endswith("to train")
    assert needed["elastic load cases (07)"].startswith("53,400 on 51³ voxels, about")


def test_an_interrupted_study_says_so_and_keeps_its_state(tmp_path):
    process = subprocess.Popen([sys.executable, "run_all.py", "--params", "tests/data/tiny.yml", "--only", "01",
                                "--set", f"run.root={tmp_path}"], cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})
    state = tmp_path / "tiny" / "state.json"
    while not state.is_file():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130 and "the same command resumes" in output
    assert store.load_json(state)["01"]["status"] == "interrupted"
