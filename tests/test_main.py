"""Steps from a shell and on a Dask worker give what they give in a notebook."""

import dataclasses
import importlib
import subprocess
import sys

import numpy as np
import pytest

from microprint import store
from microprint.__main__ import main
from microprint.microstructures.datasets import generate_composites
from microprint.notebook import open_notebook
from microprint.study.catalogue import find_step

TINY = "tests/data/tiny.yml"


def phases(path) -> np.ndarray:
    with store.open_hdf5(path) as file:
        return file["phase"][:]


def test_a_step_from_a_shell_is_found_by_the_notebook(tmp_path, capsys):
    from microprint.params import load
    params = load(TINY, {"run.root": str(tmp_path), "run.name": "t"})
    assert main(["generate_composites", "--params", TINY, "--run", str(tmp_path / "t")]) == 0
    path = tmp_path / "t" / "artifacts" / "composites.h5"
    assert str(path) in capsys.readouterr().out
    made = path.stat().st_mtime_ns
    open_notebook(run=vars(params.run), composites=dataclasses.asdict(params.composites)).do(generate_composites)
    assert path.stat().st_mtime_ns == made


def test_arguments_of_a_step_may_follow_the_options(tmp_path, capsys):
    """As the README writes them; without volume elements the step can only say that they are missing."""
    command = ["train_fingerprint", "--params", TINY, "--run", str(tmp_path / "t"), "variant=ours"]
    assert main(command) != 0
    assert "polycrystals.h5" in "".join(capsys.readouterr())


def test_a_dask_worker_makes_the_same(tmp_path):
    from microprint.params import as_dict, load
    params = as_dict(load(TINY, {"run.root": str(tmp_path)}))
    local = open_notebook(run=params["run"] | {"name": "local"}, composites=params["composites"])
    remote = open_notebook(run=params["run"] | {"name": "dask"}, composites=params["composites"], compute={"engine": "dask"})
    (here,), (there,) = local.do(generate_composites), remote.do(generate_composites)
    assert there != here and np.array_equal(phases(here), phases(there))


@pytest.mark.parametrize("arguments, message", [
    (["no_such_step", "--params", TINY, "--run", "x"], "no step is called no_such_step"),
    (["generate_composites"], "needs --params FILE and --run DIR"),
    (["train_direct_surrogate", "--params", TINY, "--run", "x"], "Its arguments are: variant, fingerprint"),
    (["split_composites", "--params", TINY, "--run", "/nowhere"], "composites.h5: is missing"),
])
def test_faults_are_told_in_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_the_benchmark_of_steps_makes_what_its_steps_read(monkeypatch):
    monkeypatch.syspath_prepend("benchmarks")
    made = set()
    for text in importlib.import_module("steps").STEPS:
        name, _, arguments = text.partition(":")
        pairs = dict(pair.split("=") for pair in arguments.split(",") if pair)
        assert {x.format(**pairs) for x in find_step(name).inputs} <= made, name
        made |= {x.format(**pairs) for x in find_step(name).outputs}


def test_the_benchmark_of_steps_says_what_each_took(tmp_path):
    command = [sys.executable, "benchmarks/steps.py", "--params", TINY, "--run", str(tmp_path / "t"), "--device", "cpu"]
    done = subprocess.run([*command, "generate_composites", "label_stiffness:of=all"], capture_output=True, text=True)
    made, failed = done.stdout.splitlines()[-2:]
    assert done.returncode == 0 and float(made.split("|")[2]) > 0 and made.endswith("|  |")
    assert "UserError: step label_stiffness got the arguments of" in failed
