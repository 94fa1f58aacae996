"""Every notebook is executed, at a tiny scale; a study that was killed in the middle ends with the same metrics."""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import torch
from browser import CHROMIUM, check_folder
from sentences import unfounded

from microprint import store
from microprint.study.graph import numbers

NEEDS = numbers()

REPOSITORY = Path(__file__).parents[1]
PROMISED = (
    "03.cubic.ours.one_minus_abs_dot", "03.cubic.ours.disorientation_deg", "03.cubic.paper.disorientation_deg",
    "03.cubic.coded.disorientation_deg", "03.cubic.constant.disorientation_deg", "03.cubic.linear.disorientation_deg",
    "03.hexagonal.ours.disorientation_deg", "04.textures.ours.clustering_accuracy", "06.random.ours.mae_mpa_at_0.01",
    "06.random.ours.r2_at_0.01", "06.random.paper.r2_at_0.01", "06.random.mean_curve.r2_at_0.01", "06.random.two_coefficients.r2_at_0.01",
    "06.random.taylor.r2_at_0.01", "06.random.ours.coverage_90", "07.c11.vae_regression.mape_pct", "07.c11.cnn.mape_pct",
    "07.c11.two_point.mape_pct", "07.c11.bounds.mape_pct", "07.inverse.mixture.error_pct", "07.inverse.gaussian.error_pct",
    "07.refined.ours.error_pct", "07.c11.ours.mape_pct", "07.c11.ours.coverage_90", "07.six.refined.error_pct",
    "07.three.refined.error_pct", "07.proposed.ours.calibration", "07.decoded.ours.c11_error_pct", "08.same_place.ours", "08.same_place.pixels",
    "08.youngs_modulus.ours.mape_pct", "08.yield_strength.ours.mape_pct", "08.yield_strength.latent.mape_pct",
    "08.yield_strength.strongest_rival.mape_pct", "08.follows.nodularity.r2", "09.random.ours.error_mpa",
    "09.textured.ours.error_mpa", "09.textured.nearest.error_mpa", "09.textured.best_of_n.error_mpa", "09.anisotropy.ours.error_mpa",
    "09.anisotropy.corrected.error_mpa", "09.textured.ours.variety", "09.textured.ours.novelty")


def start(root: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "run_all.py", "--params", "tests/data/tiny.yml", *arguments, "--set", f"run.root={root}"],
                            cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def finish(process: subprocess.Popen) -> str:
    output = process.communicate(timeout=1800)[0]
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    """Folder of a tiny study that ran through."""
    root = tmp_path_factory.mktemp("unbroken")
    output = finish(start(root))
    assert f"{len(NEEDS)} of {len(NEEDS)} notebooks to execute" in output and "index.html" in output
    return root / "tiny"


def test_the_study_makes_what_it_promises(unbroken):
    metrics = store.load_json(unbroken / "metrics.json")
    assert [name for name in PROMISED if name not in metrics] == []
    assert all(isinstance(value, float) and math.isfinite(value) for value in metrics.values())


def test_the_report_shows_every_notebook(unbroken):
    report = unbroken / "report"
    index = (report / "index.html").read_text()
    assert index.count('class="status done"') == len(NEEDS)
    for number in NEEDS:
        assert (report / f"{number}.png").is_file()
        (page,) = report.glob(f"{number}_*.html")
        text = page.read_text()
        assert "Provenance" in text and "Traceback (most recent" not in text


@pytest.mark.skipif(not CHROMIUM, reason="there is no chromium in PATH: apt-get install chromium")
def test_every_page_fits_a_screen_and_a_phone(unbroken):
    assert check_folder(unbroken / "report") == []


def test_no_picture_is_shown_twice_and_no_warning_is_published(unbroken):
    for path in (unbroken / "notebooks").glob("*.ipynb"):
        outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]
        pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
        assert len(pictures) == len(set(pictures)), path.name
        assert [output.text for output in outputs if output.get("name") == "stderr"] == [], path.name


def test_numbers_of_findings_are_found_again(unbroken):
    """But for a few: which sentences are said depends on results, and those differ from machine to machine."""
    faults = unfounded(unbroken)
    assert len(faults) <= 4, faults


def test_a_second_study_does_nothing(unbroken):
    assert f"0 of {len(NEEDS)} notebooks to execute" in finish(start(unbroken.parent))


def kill_in(step: str, process: subprocess.Popen, folder: Path) -> None:
    """Kill a process, and all that it started, as soon as a step has kept something of its work."""
    while not any(path.is_file() for work in (folder / "artifacts" / ".work").glob(f"{step}-*") for path in work.iterdir()):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_study_resumes_to_the_same_metrics(unbroken, tmp_path):
    shutil.copytree(unbroken, tmp_path / "tiny")
    (tmp_path / "tiny" / "artifacts" / "cp.h5").unlink()
    kill_in("simulate_cp_dataset", start(tmp_path, "--only", "05", "--force"), tmp_path / "tiny")
    assert store.load_json(tmp_path / "tiny" / "state.json")["05"]["status"] == "interrupted"
    finish(start(tmp_path, "--only", "05"))
    assert store.load_json(tmp_path / "tiny" / "metrics.json") == store.load_json(unbroken / "metrics.json")


def test_a_killed_training_resumes_to_the_same_model(unbroken, tmp_path):
    """Of the first network that 03 trains; that notebooks go on where they were is the study's affair, above."""
    made = Path("artifacts") / "fingerprint_paper.safetensors"
    shutil.copytree(unbroken / "artifacts", tmp_path / "artifacts")
    (tmp_path / made).unlink()

    def train() -> subprocess.Popen:
        command = ["-m", "microprint", "train_fingerprint", "variant=paper", "--params", unbroken / "params.json", "--run", tmp_path]
        return subprocess.Popen([sys.executable, *command], cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                start_new_session=True)

    kill_in("train_fingerprint", train(), tmp_path)
    assert not (tmp_path / made).exists()
    finish(train())
    again, whole = (store.load_tensors(folder / made)[0] for folder in (tmp_path, unbroken))
    assert again.keys() == whole.keys() and all(torch.equal(again[name], whole[name]) for name in whole)
