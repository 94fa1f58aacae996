"""What docs/workshop.md promises: its example, its commands, and files that say the same as the rest."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from microprint import orientations
from microprint.microstructures.readers import read_volume_element
from microprint.params import load

REPOSITORY = Path(__file__).parents[1]
TEXT = (REPOSITORY / "docs" / "workshop.md").read_text()


@pytest.fixture(scope="module")
def sheet(tmp_path_factory) -> Path:
    """Folder of the volume elements that the text's snippet writes."""
    folder = tmp_path_factory.mktemp("sheet")
    (snippet,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    subprocess.run([sys.executable, "-c", snippet], cwd=folder, check=True)
    return folder / "sheet"


def test_the_sheet_of_the_example_has_its_texture(sheet):
    """Its c axes scatter about z by a normal law of 20 degrees, and the crystals are turned about them at random."""
    files = sorted(sheet.rglob("*.npz"))
    assert len(files) == 38 and {path.parent.name for path in files} == {"train", "validation", "test"}
    elements = [read_volume_element(path, "hexagonal") for path in files]
    q = np.concatenate([e.quaternion[0, : e.grains[0]].double().numpy() for e in elements])
    matrix = orientations.to_matrix(q)
    tilt = np.degrees(np.arccos(np.abs(matrix[:, 2, 2]).clip(0, 1)))
    assert np.sqrt((tilt**2).mean()) == pytest.approx(20, rel=0.1)
    spin = np.arctan2(matrix[:, 0, 1] - matrix[:, 1, 0], matrix[:, 0, 0] + matrix[:, 1, 1])
    assert abs(np.exp(1j * spin).mean()) < 0.1


def test_the_dry_run_of_the_example_says_what_the_text_says(sheet, monkeypatch, capsys, tmp_path):
    monkeypatch.syspath_prepend(REPOSITORY)
    import run_all

    (command,) = re.findall(r"^python run_all\.py (.* --dry-run)$", TEXT, re.MULTILINE)
    arguments = command.replace("$PWD/sheet", str(sheet)).split()
    monkeypatch.setattr(sys, "argv", ["run_all.py", *arguments, "--set", f"run.root={tmp_path}"])
    assert run_all.main() == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "38 of 16³" in said and "04_latent_analysis cannot run: it needs cubic/train" in said
    assert re.findall(r"would run (\d\d)", said) == ["01", "02", "03", "05", "06", "07", "08", "09"]


def test_commands_of_the_text_name_files_that_there_are():
    for name in re.findall(r"\]\(\.\./([^)#]+)\)|--params (\S+\.yml)|--models (\S+[^`\s])|`(binder/\S+?)`", TEXT):
        assert (REPOSITORY / next(filter(None, name)).rstrip(",")).exists(), name
    headings = {heading.lower().replace(",", "").replace(" ", "-") for heading in re.findall(r"^## (.*)$", TEXT, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) == headings


def test_the_glossary_is_sorted_and_names_notebooks():
    rows = [line.strip("| ").split(" | ") for line in TEXT.partition("## Glossary")[2].splitlines() if line.startswith("| ")][2:]
    terms = [row[0].lower() for row in rows]
    assert len(rows) >= 25 and terms == sorted(terms)
    assert all(len(row) == 3 and re.search(r"0[1-9]", row[2]) for row in rows)


def test_the_workshop_is_no_larger_than_the_quick_profile():
    quick, workshop = load("params/quick.yml"), load("params/workshop.yml")
    for section, values in yaml.safe_load((REPOSITORY / "params" / "workshop.yml").read_text()).items():
        for name in values.keys() - {"name"}:
            assert getattr(getattr(workshop, section), name) < getattr(getattr(quick, section), name)


def test_images_install_the_same_pins():
    binder = REPOSITORY / "binder"
    requirements = [line for line in (binder / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert requirements == ["-c ../constraints.txt", "torch", "-e ."] and (binder / "postBuild").stat().st_mode & 0o100
    docker = (REPOSITORY / "Dockerfile").read_text()
    assert docker.count("pip install -c constraints.txt") == 2 == docker.count("pip install")
    python = (binder / "runtime.txt").read_text().strip().removeprefix("python-")
    assert f"FROM python:{python}-slim" in docker and f"python={python}" in (REPOSITORY / "environment.yml").read_text()
    values = yaml.safe_load((binder / "jupyterhub.yml").read_text())
    assert values["singleuser"]["image"].keys() == {"name", "tag"}
