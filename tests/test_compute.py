"""Steps run once for a key, resume in their folder, and can be run from a shell."""

import dataclasses
import sys
import time
from types import SimpleNamespace

import pytest

from microprint import compute, store
from microprint.compute import Headline, Job, digest, find_step, modules_imported, run_step, source_digest
from microprint.errors import UserError
from microprint.params import FingerprintVAE, Params, RunSettings

CALLS = []


@compute.step(reads=("vae",), outputs=("a_{kind}.json",))
def make(job: Job, *, kind: str) -> None:
    CALLS.append(kind)
    job.save_json(f"a_{kind}.json", {"dim": job.params.vae.latent_dim})


@compute.step(inputs=("a_x.json",), outputs=("b.json",))
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
    run_step(make, dataclasses.replace(params, vae=FingerprintVAE(latent_dim=3)), tmp_path, {"kind": "x"})
    run_step(make, dataclasses.replace(params, run=RunSettings(seed=3)), tmp_path, {"kind": "x"})
    assert CALLS == ["x"] * 3


def test_where_it_runs_does_not_change_its_key(tmp_path):
    named = Params(run=RunSettings(name="other"), compute=compute.Params().compute)
    assert make.key(Params(), tmp_path, {"kind": "x"}) == make.key(named, tmp_path, {"kind": "x"})


def test_a_changed_input_makes_a_step_run_again_and_a_killed_one_resumes(tmp_path):
    run_step(make, Params(), tmp_path, {"kind": "x"})
    with pytest.raises(KeyboardInterrupt):
        run_step(use, Params(), tmp_path, {})
    (path,) = run_step(use, Params(), tmp_path, {})
    assert store.load_json(path)["twice"] == 2 * Params().vae.latent_dim
    assert not list((tmp_path / ".work").iterdir())
    before = use.key(Params(), tmp_path, {})
    run_step(make, Params(vae=FingerprintVAE(latent_dim=5)), tmp_path, {"kind": "x"})
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
    monkeypatch.setattr(compute, "PACKAGE", package)
    assert modules_imported("from microprint.sub import b") == {"microprint.sub", "microprint.sub.b"}

    def key():
        compute._code.cache_clear()
        return source_digest(["microprint.a"])
    first = key()
    (package / "sub" / "b.py").write_text("# a comment\nx  =  1\n")
    assert key() == first
    (package / "sub" / "b.py").write_text("x = 2\n")
    assert key() != first
    compute._code.cache_clear()


def test_unknown_step_and_device():
    with pytest.raises(UserError, match="Steps: .*train_fingerprint"):
        find_step("train")
    with pytest.raises(UserError, match="compute.device = 'gpu0'"):
        compute.choose_device("gpu0")


def test_seeds_differ_by_label_and_repeat(tmp_path):
    job = Job(make, Params(), tmp_path, {"kind": "x"}, "k")
    assert job.seed("a") == job.seed("a") != job.seed("b")
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})


def test_a_study_records_metrics_and_headline(tmp_path):
    study = compute.open_run(run={"name": "t", "root": str(tmp_path)}, vae={})
    study.close("03", metrics={"03.a": 1}, headline=Headline("label", 1.0))
    recorded = store.load_json(tmp_path / "t" / "results" / "03.json")
    assert recorded["metrics"] == {"03.a": 1.0} and recorded["peak_mib"] > 10
    with pytest.raises(ValueError, match="start with 03"):
        study.close("03", metrics={"04.a": 1}, headline=Headline("label", 1.0))


def test_an_artifact_says_how_long_its_step_took_and_the_report_adds_them_up(tmp_path):
    @compute.step(outputs=("slow.h5",))
    def slow(job):
        with job.create("slow.h5", kind="slow"):
            time.sleep(0.2)

    study = compute.open_run(run={"name": "t", "root": str(tmp_path)}, vae={})
    for _ in range(2):  # the second time it is found
        (path,) = study.do(slow)
    study.do(make, kind="x")
    assert 0.2 <= store.provenance_of(path)["seconds"] < 5
    study.close("03", metrics={}, headline=Headline("label", 1.0))
    took = store.load_json(tmp_path / "t" / "results" / "03.json")["steps_seconds"]
    assert list(took) == ["slow", "make x"] and took["slow"] >= 0.2


@pytest.mark.parametrize("shell, batch, expected", [
    (None, False, False), (SimpleNamespace(), False, False), (SimpleNamespace(kernel=1), False, True), (SimpleNamespace(kernel=1), True, False)])
def test_a_notebook_s_kernel_is_watched_unless_the_runner_started_it(monkeypatch, shell, batch, expected):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    monkeypatch.delenv("MICROPRINT_BATCH")
    if batch:
        monkeypatch.setenv("MICROPRINT_BATCH", "1")
    assert compute.watched() == expected


def test_progress_in_a_batch_prints_few_lines(capsys, monkeypatch):
    assert list(compute.progress(range(100), "work")) == list(range(100))
    assert capsys.readouterr().out.splitlines() == ["work: 100/100, 0 s"]
    monkeypatch.setattr(compute, "LINE_EVERY_S", 0.0)
    list(compute.progress(iter(range(3)), "work", total=3))
    assert len(capsys.readouterr().out.splitlines()) == 3
