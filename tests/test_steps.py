"""Steps run once for a key, resume in their folder, and can be run from a shell."""

import ast
import dataclasses
import pickle
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from microprint import keys, machine, notebook, store
from microprint.__main__ import find_step
from microprint.errors import UserError
from microprint.keys import code_digest, digest, modules_imported, source_digest, syntax_tree
from microprint.notebook import Standing
from microprint.params.sections import FingerprintSettings, LatentSettings, Params, RunSettings
from microprint.steps import Job, run_step, step

CALLS = []


@step(reads=("vae",), outputs=("a_{kind}.json",))
def make(job: Job, *, kind: str) -> None:
    CALLS.append(kind)
    job.save_json(f"a_{kind}.json", {"dim": job.params.vae.latent_dim})


@step(inputs=("a_x.json",), outputs=("b.json",))
def use(job: Job) -> None:
    CALLS.append("use")
    if not (job.workdir / "half").exists():
        (job.workdir / "half").touch()
        raise KeyboardInterrupt
    job.save_json("b.json", {"twice": 2 * job.load_json("a_x.json")["dim"]})


@pytest.fixture(autouse=True)
def _clean():
    CALLS.clear()


def test_a_step_runs_once_for_a_key(tmp_path):
    params = Params()
    for _ in range(2):
        (path,) = run_step(make, params, tmp_path, {"kind": "x"})
    assert CALLS == ["x"] and store.provenance_of(path)["params"]["vae"]["latent_dim"] == params.vae.latent_dim
    run_step(make, dataclasses.replace(params, vae=FingerprintSettings(latent_dim=3)), tmp_path, {"kind": "x"})
    run_step(make, dataclasses.replace(params, run=RunSettings(seed=3)), tmp_path, {"kind": "x"})
    assert CALLS == ["x"] * 3


def test_where_it_runs_does_not_change_its_key(tmp_path):
    named = Params(run=RunSettings(name="other"), compute=Params().compute)
    assert make.key(Params(), tmp_path, {"kind": "x"}) == make.key(named, tmp_path, {"kind": "x"})


def test_a_changed_input_makes_a_step_run_again_and_a_killed_one_resumes(tmp_path):
    run_step(make, Params(), tmp_path, {"kind": "x"})
    with pytest.raises(KeyboardInterrupt):
        run_step(use, Params(), tmp_path, {})
    (path,) = run_step(use, Params(), tmp_path, {})
    assert store.load_json(path)["twice"] == 2 * Params().vae.latent_dim
    assert not list((tmp_path / ".work").iterdir())
    before = use.key(Params(), tmp_path, {})
    run_step(make, Params(vae=FingerprintSettings(latent_dim=5)), tmp_path, {"kind": "x"})
    assert use.key(Params(), tmp_path, {}) != before


def test_missing_and_damaged_inputs(tmp_path):
    with pytest.raises(UserError, match=r"a_x\.json: is missing"):
        run_step(use, Params(), tmp_path, {})
    (path,) = run_step(make, Params(), tmp_path, {"kind": "x"})
    path.write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        run_step(use, Params(), tmp_path, {})
    run_step(make, Params(), tmp_path, {"kind": "x"})  # a damaged output is rebuilt
    assert CALLS == ["x", "x"]


def test_source_digest_follows_imports_and_ignores_comments(tmp_path, monkeypatch):
    package = tmp_path / "microprint"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "sub" / "__init__.py").touch()
    (package / "a.py").write_text("def f():\n    from microprint.sub import b\n    return b\n")
    (package / "sub" / "b.py").write_text("x = 1\n")
    monkeypatch.setattr(keys, "PACKAGE", package)
    assert modules_imported(syntax_tree("from microprint.sub import b")) == {"microprint.sub", "microprint.sub.b"}

    def key():
        keys._read.cache_clear()
        return source_digest(["microprint.a"])
    first = key()
    (package / "sub" / "b.py").write_text("# a comment\nx  =  1\n")
    assert key() == first
    (package / "sub" / "b.py").write_text("x = 2\n")
    assert key() != first
    keys._read.cache_clear()


def test_a_default_of_a_section_that_is_not_read_is_no_matter():
    """The sections are declared values, which are part of the key; to read them is to depend on no code."""
    assert source_digest(["microprint.params.sections"]) == source_digest([])
    tree = ast.parse((keys.PACKAGE / "params" / "sections.py").read_text())
    methods = [n.name for section in tree.body if isinstance(section, ast.ClassDef) and section.name != "Between"
               for n in ast.walk(section) if isinstance(n, ast.FunctionDef)]
    assert not methods


def test_unknown_step_and_device():
    with pytest.raises(UserError, match="Steps: .*train_fingerprint"):
        find_step("train")
    with pytest.raises(UserError, match="compute.device = 'gpu0'"):
        machine.choose_device("gpu0")


def test_seeds_differ_by_label_and_repeat(tmp_path):
    job = Job(make, Params(), tmp_path, {"kind": "x"}, "k")
    assert job.seed("a") == job.seed("a") != job.seed("b")
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})


def test_a_study_records_metrics_and_where_it_stands(tmp_path):
    study = notebook.open_notebook(run={"name": "t", "root": str(tmp_path)}, vae={})
    study.close("03", metrics={"03.a": 1}, standings=[Standing("label", 1.0)])
    recorded = store.load_json(tmp_path / "t" / "results" / "03.json")
    assert recorded["metrics"] == {"03.a": 1.0} and recorded["peak_mib"] > 10
    study.close("03", metrics={"03.a": np.nan}, standings=[Standing("label", np.float32(np.nan), rival=("r", np.inf), published=np.float32(0.5))])
    recorded = store.load_json(tmp_path / "t" / "results" / "03.json")
    assert recorded["metrics"] == {} and recorded["standings"][0]["ours"] is None
    assert recorded["standings"][0]["rival"] == ["r", None] and recorded["standings"][0]["published"] == 0.5
    with pytest.raises(ValueError, match="start with 03"):
        study.close("03", metrics={"04.a": 1}, standings=[Standing("label", 1.0)])


def test_an_artifact_says_how_long_its_step_took_and_the_report_adds_them_up(tmp_path):
    @step(outputs=("slow.h5",))
    def slow(job):
        with job.create("slow.h5", kind="slow"):
            time.sleep(0.2)

    study = notebook.open_notebook(run={"name": "t", "root": str(tmp_path)}, vae={})
    for _ in range(2):  # the second time it is found
        (path,) = study.do(slow)
    study.do(make, kind="x")
    assert 0.2 <= store.provenance_of(path)["seconds"] < 5
    study.close("03", metrics={}, standings=[Standing("label", 1.0)])
    took = store.load_json(tmp_path / "t" / "results" / "03.json")["steps_seconds"]
    assert list(took) == ["slow", "make x"] and took["slow"] >= 0.2


def test_a_notebook_is_known_by_what_its_steps_read(tmp_path):
    """Also where the notebook itself does not open it: if it is replaced, the notebook is out of date."""
    @step(inputs=("a_{kind}.h5",), outputs=("b.h5",))
    def turn(job, kind):
        with job.create("b.h5", kind="b"):
            pass

    with store.create_hdf5(tmp_path / "t" / "artifacts" / "a_x.h5", "a", {"key": "k1"}):
        pass
    study = notebook.open_notebook(run={"name": "t", "root": str(tmp_path)}, vae={})
    study.do(turn, kind="x")
    study.close("03", metrics={}, standings=[Standing("label", 1.0)])
    artifacts = store.load_json(tmp_path / "t" / "results" / "03.json")["artifacts"]
    assert set(artifacts) == {"a_x.h5", "b.h5"} and artifacts["a_x.h5"] == "k1"


@pytest.mark.parametrize("shell, batch, expected", [
    (None, False, False), (SimpleNamespace(), False, False), (SimpleNamespace(kernel=1), False, True), (SimpleNamespace(kernel=1), True, False)])
def test_a_notebook_s_kernel_is_watched_unless_the_runner_started_it(monkeypatch, shell, batch, expected):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    monkeypatch.delenv("MICROPRINT_BATCH")
    if batch:
        monkeypatch.setenv("MICROPRINT_BATCH", "1")
    assert machine.watched() == expected


def test_progress_in_a_batch_prints_few_lines(capsys, monkeypatch):
    for every, lines in ((15.0, 1), (0.0, 100)):
        monkeypatch.setattr(machine, "LINE_EVERY_S", every)
        with machine.Progress("work", 100, "steps", done=0) as progress:
            for _ in range(100):
                progress.add(1)
        shown = capsys.readouterr().out.splitlines()
        assert len(shown) == lines and shown[-1].startswith("work: 100/100 steps, 0 s, ")


# --- keys that tell the truth ----------------------------------------------------------------------------------------


def test_what_a_step_does_not_declare_it_cannot_read(tmp_path):
    job = Job(make, Params(), tmp_path, {"kind": "x"}, "k")
    assert job.params.vae.latent_dim == 256 and job.params.compute.engine == "local"
    with pytest.raises(AttributeError, match="step make reads the parameters cp, but declares compute, vae"):
        _ = job.params.cp
    for read in (job.open, job.load_json, job.path):
        with pytest.raises(LookupError, match="reads b.json, but declares no input"):
            read("b.json")
    with pytest.raises(LookupError, match="writes b.json"):
        job.save_json("b.json", {})


def test_a_step_may_read_single_parameters(tmp_path):
    @step(reads=("latent.path_steps",), outputs=("c.json",))
    def some(job):
        job.save_json("c.json", {"n": job.params.latent.path_steps})

    keys_of = [some.key(Params(latent=LatentSettings(**kind)), tmp_path, {}) for kind in ({}, {"fitted": 5}, {"path_steps": 9})]
    assert keys_of[0] == keys_of[1] != keys_of[2]
    with pytest.raises(AttributeError):
        _ = Job(some, Params(), tmp_path, {}, "k").params.latent.fitted


def test_files_from_outside_are_in_the_key_by_their_content(tmp_path):
    outside = tmp_path / "outside.txt"

    @step(outputs=("d.json",), files=lambda params: {"outside": outside})
    def use_file(job):
        job.save_json("d.json", {"text": outside.read_text()})

    for content in ("one", "two", "one"):
        outside.write_text(content)
        (path,) = run_step(use_file, Params(), tmp_path / "artifacts", {})
        assert store.load_json(path)["text"] == content and "outside" in store.provenance_of(path)["files"]


SOURCE = """
import os
from a import (b, c as d)
class A(B, metaclass=C):
    x: int = 1
    def f(self, *args: 'T', y=f"{d!r:>{x}} {os.sep}" f'{d:.3g}', **k) -> None:
        match y:
            case [1, *_] | {"a": None}: return (lambda z, /: z)(1e-5)
        async def g(): await x; yield from ()
        return [a := i for i in range(10) if i % 2] or {**k} or -0.5j or b"\\x00" or "\u00e9"
@property
def h(): ...
"""


def test_a_key_is_the_same_on_every_supported_python_and_knows_no_docstrings():
    """The digest was computed with Python 3.11, 3.12 and 3.13."""
    assert code_digest(SOURCE) == "507f14c8e59179f1"
    told = SOURCE.replace("    x: int = 1\n", '    """Told."""\n    x: int  =  1  # a comment\n')
    assert code_digest(told) == code_digest(SOURCE) != code_digest(SOURCE.replace("int = 1", "int = 2"))


def test_data_beside_the_code_count_as_code(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "__init__.py").touch()
    (tmp_path / "__init__.py").touch()
    monkeypatch.setattr(keys, "PACKAGE", tmp_path)
    digests = []
    for content in ("x: 1", "x: 2"):
        (tmp_path / "a" / "data.yaml").write_text(content)
        digests.append(source_digest(["microprint.a"]))
    assert digests[0] != digests[1]


def test_a_public_name_leads_to_the_module_behind_it():
    assert "microprint.mechanics" in modules_imported(syntax_tree("from microprint import simulate_cp"))


def test_a_step_is_sent_by_its_name():
    from microprint.microstructures.datasets import generate_composites
    assert pickle.loads(pickle.dumps(generate_composites)) is generate_composites


def test_a_notebook_refuses_steps_whose_parameters_it_does_not_state(tmp_path):
    opened = notebook.open_notebook(run={"name": "t", "root": str(tmp_path)}, latent={})
    with pytest.raises(LookupError, match="step make reads vae"):
        opened.do(make, kind="x")
    with pytest.raises(AttributeError, match="the notebook reads the parameters cp"):
        _ = opened.params.cp


def test_a_metric_that_is_no_number_is_not_recorded(tmp_path, capsys):
    opened = notebook.open_notebook(run={"name": "t", "root": str(tmp_path)})
    opened.close("03", metrics={"03.a": float("nan"), "03.b": 2}, standings=[Standing("label", float("nan"))])
    assert store.load_json(tmp_path / "t" / "results" / "03.json")["metrics"] == {"03.b": 2.0}
    assert "03.a" in capsys.readouterr().out


@pytest.mark.parametrize("ours, higher, spread, verdict", [
    (1.0, False, 0.0, "better"), (2.5, False, 0.0, "worse"), (2.05, False, 0.1, "equal"), (2.5, True, 0.0, "worse"), (3.5, True, 0.0, "better"),
    (float("nan"), False, 0.0, "")])
def test_a_verdict_is_against_the_best_that_stands_beside(ours, higher, spread, verdict):
    assert Standing("m", ours, rival=("r", 2.0), rebuilt=3.0, higher_is_better=higher, spread=spread).verdict == verdict
    assert Standing("m", ours, published=1.0).verdict == ""
