"""A study on a user's own data: what can run runs, and what cannot is told beforehand, with what it needs."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toys import write_toys

from microprint.errors import MissingData, UserError
from microprint.microstructures.datasets import generate_polycrystals
from microprint.notebook import open_notebook
from microprint.params import validate
from microprint.report import write_report
from microprint.requirements import requirements
from microprint.steps import run_step
from microprint.study.graph import load_notebooks, numbers
from microprint.study.run import Run

NOTEBOOKS = load_notebooks()
PARTS = {"train": 4, "validation": 2, "test": 2}
EDGE_CASES = ("large", "small", "elongated", "brass", "copper", "cube", "goss")
CUBIC, HEXAGONAL = ({f"{symmetry}/{part}": count for part, count in PARTS.items()} for symmetry in ("cubic", "hexagonal"))
CASES = {f"cubic/{name}": 3 for name in EDGE_CASES}
THREE = {path: 3 for path in CUBIC} | CASES
OF_POLYCRYSTALS, ALL_HEXAGONAL = " of polycrystals.source", "hexagonal/train, hexagonal/validation, hexagonal/test of polycrystals.source"
NO_HEXAGONAL = {"05": ALL_HEXAGONAL, **dict.fromkeys(("06", "09"), f"campaign.h5 of 05, which needs {ALL_HEXAGONAL}")}
NO_EDGE_CASES = "cubic/brass, cubic/copper, cubic/cube, cubic/goss, cubic/large, cubic/small, cubic/elongated"


def without(sets: dict[str, int], *names: str) -> dict[str, int]:
    return {path: count for path, count in sets.items() if path not in names}


def save_sets(source: Path, sets: dict[str, int], edge: int = 4) -> str:
    rng = np.random.default_rng(0)
    for path, count in sets.items():
        (source / path).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            q = rng.normal(size=(5, 4))
            ids = rng.permutation(np.arange(edge**3) % 5).reshape(edge, edge, edge)
            np.savez(source / path / f"{number}.npz", grain_id=ids, quaternion=q / np.linalg.norm(q, axis=1, keepdims=True))
    return str(source)


def save_composites(source: Path, count: int, edge: int = 5) -> str:
    source.mkdir()
    for number in range(count):
        np.save(source / f"{number}.npy", np.arange(edge**3).reshape(edge, edge, edge) % 2)
    return str(source)


def save_images(source: Path, count: int) -> str:
    source.mkdir()
    for number in range(count):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (64, 64 + number), np.uint8)).save(source / f"{number}.png")
    return str(source)


def own_study(folder: Path, notebooks=NOTEBOOKS, **sections) -> Run:
    given = {"run": {"name": "own", "root": str(folder / "runs")}, "cp": {"edge": 2}, **sections}
    return Run(validate(given), notebooks)


@pytest.mark.parametrize("sets, unable", [
    (HEXAGONAL, {"04": "cubic/train, cubic/validation, cubic/test, " + NO_EDGE_CASES + OF_POLYCRYSTALS}),
    (THREE, NO_HEXAGONAL),
    (THREE | HEXAGONAL, {}),
    (without(THREE | HEXAGONAL, "cubic/elongated", "cubic/goss"), {"04": f"cubic/goss, cubic/elongated{OF_POLYCRYSTALS}"}),
    (THREE | HEXAGONAL | {"cubic/brass": 2}, {"04": f"cubic/brass with 3 volume elements{OF_POLYCRYSTALS}"}),
    # a validation set is split off, one of a symmetry is enough, and what cannot run takes along what builds on it
    (without(THREE | HEXAGONAL, "hexagonal/validation"), {}),
    (without(THREE | HEXAGONAL, "cubic/validation") | {"cubic/train": 5}, {}),
    ({"hexagonal/train": 1, "hexagonal/validation": 1, "hexagonal/test": 1} | THREE,
     {"05": f"hexagonal/train with 2 volume elements{OF_POLYCRYSTALS}",
      **dict.fromkeys(("06", "09"), f"campaign.h5 of 05, which needs hexagonal/train with 2 volume elements{OF_POLYCRYSTALS}")}),
    ({"cubic/test": 2} | HEXAGONAL, {"04": "cubic/train, cubic/validation, cubic/test with 3 volume elements, " + NO_EDGE_CASES + OF_POLYCRYSTALS}),
])
def test_the_plan_leaves_out_what_the_sets_do_not_suffice_for(tmp_path, sets, unable):
    run = own_study(tmp_path, polycrystals={"source": save_sets(tmp_path / "ve", sets)})
    assert list(run.plan()) == [number for number in numbers() if number not in unable]
    assert run.unable == unable


def test_without_three_sets_of_a_symmetry_there_is_no_fingerprint(tmp_path):
    """Neither is there what builds on it; the sets are named of which the fewest are missing."""
    run = own_study(tmp_path, polycrystals={"source": save_sets(tmp_path / "ve", {"cubic/train": 1, "hexagonal/train": 3})})
    assert list(run.plan()) == ["01", "02", "07", "08"]
    assert run.unable["03"] == f"hexagonal/test{OF_POLYCRYSTALS}"
    assert run.unable["06"].startswith("campaign.h5 of 05, which needs hexagonal/test")


@pytest.mark.parametrize("composites, images, unable", [
    (3, 2, {}), (2, 3, {"02": "3 composites or more in composites.source",
                        "07": "splits.json of 02, which needs 3 composites or more in composites.source"}),
    (4, 1, {"08": "2 images or more in micrographs.source"}),
])
def test_composites_and_micrographs_may_be_too_few(tmp_path, composites, images, unable):
    run = own_study(tmp_path, composites={"source": save_composites(tmp_path / "phases", composites)},
                    micrographs={"source": save_images(tmp_path / "images", images)})
    plan = run.plan()
    assert run.unable == unable and not plan.keys() & unable


def test_several_sources_may_lack_something(tmp_path):
    run = own_study(tmp_path, polycrystals={"source": save_sets(tmp_path / "ve", CUBIC)},
                    composites={"source": save_composites(tmp_path / "phases", 1)}, micrographs={"source": save_images(tmp_path / "i", 1)})
    assert list(run.plan()) == ["01", "03"] and sorted(run.unable) == ["02", "04", "05", "06", "07", "08", "09"]


def test_what_cannot_run_is_refused_where_it_is_asked_for(tmp_path):
    run = own_study(tmp_path, polycrystals={"source": save_sets(tmp_path / "ve", CUBIC)})
    with pytest.raises(UserError, match="05_cp_dataset cannot run: it needs hexagonal/train, hexagonal/validation, hexagonal/test"):
        run.plan(only=["01", "05"])
    assert list(run.plan(only=["01"])) == ["01"]


def test_given_fingerprints_stand_for_the_sets_that_train_them(tmp_path):
    run = own_study(tmp_path, polycrystals={"source": save_sets(tmp_path / "ve", {"cubic/test": 1})})
    assert {"03", "06"} <= run.missing().keys() and "03" not in run.missing(given=["03"])


def test_a_synthetic_study_lacks_nothing(tmp_path):
    run = own_study(tmp_path, polycrystals={"edge": 8, "edge_cases": 1, "cubic_test": 1})
    assert list(run.plan()) == numbers() and run.unable == {}


def test_a_fault_is_told_before_what_is_missing(tmp_path):
    """Of a folder that is no set nothing would be read."""
    source = save_sets(tmp_path / "ve", {"cubic/trian": 3})
    with pytest.raises(UserError, match="cubic/trian: is no set of the study. Is cubic/train meant"):
        own_study(tmp_path, polycrystals={"source": source}).plan()
    (tmp_path / "empty" / "cubic" / "train").mkdir(parents=True)
    with pytest.raises(UserError, match="cubic/train: holds no file of format"):
        own_study(tmp_path, polycrystals={"source": str(tmp_path / "empty")}).plan()


def test_the_grid_of_the_simulations_must_suit_the_files(tmp_path):
    source = save_sets(tmp_path / "ve", HEXAGONAL, edge=6)
    with pytest.raises(UserError, match="cp.edge = 4 does not divide the 6 voxels along an edge of the hexagonal volume elements"):
        own_study(tmp_path, polycrystals={"source": source}, cp={"edge": 4}).plan()
    assert "05" in own_study(tmp_path, polycrystals={"source": source}, cp={"edge": 8}).plan()


def test_requirements_count_the_files(tmp_path):
    run = own_study(tmp_path, polycrystals={"source": save_sets(tmp_path / "ve", HEXAGONAL, edge=6)},
                    composites={"source": save_composites(tmp_path / "phases", 4)}, micrographs={"source": save_images(tmp_path / "images", 3)})
    needed = dict(requirements(run.params))
    assert needed["polycrystal volume elements (01)"].startswith("8 of 6³") and needed["composites (01)"].startswith("4 of 5³")
    assert needed["micrographs (01)"] == "3" and needed["elastic load cases (07)"].startswith("12 on 5³")
    assert "fingerprint, ours (03)" in needed and "fingerprint, paper (03)" not in needed


def test_the_sets_of_a_notebook_follow_from_its_code():
    assert {number for number, notebook in NOTEBOOKS.items() if notebook.sets} == {"04"}
    assert NOTEBOOKS["04"].sets == dict.fromkeys([*CUBIC, *CASES], 3) | {"cubic/validation": 1}


def test_a_set_that_only_the_running_notebook_knows_is_refused(tmp_path):
    """Otherwise nobody could be told beforehand what their data lack for it."""
    makes = "from microprint.microstructures.datasets import generate_polycrystals\nif False:\n    notebook.do(generate_polycrystals)"
    reads = 'if False:\n    notebook.read_sets("cubic", "test", *["goss"])'
    with pytest.raises(UserError, match=r"02_toy.*reads cubic/\*, a set whose name its code does not say"):
        own_study(tmp_path, write_toys(tmp_path / "n", {"01": makes, "02": reads})).plan()


def test_sets_are_read_by_their_names_and_counted(tmp_path):
    run = own_study(tmp_path, polycrystals={"source": save_sets(tmp_path / "ve", {"cubic/goss": 2})})
    run_step(generate_polycrystals, run.params, run.folder / "artifacts", {})
    notebook = open_notebook(run={"name": "own", "root": str(tmp_path / "runs")})
    assert len(notebook.read_sets("cubic", "goss", least=2)["goss"]) == 2
    with pytest.raises(MissingData, match="it needs cubic/goss with 3 volume elements"):
        notebook.read_sets("cubic", "goss", least=3)


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """The command, on toys of which 02 reads a set that the source lacks."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    import run_all

    makes = "from microprint.microstructures.datasets import generate_polycrystals\nif False:\n    notebook.do(generate_polycrystals)"
    reads = 'if False:\n    notebook.read_sets("cubic", "goss")'
    notebooks = write_toys(tmp_path / "n", {"01": makes, "02": reads})
    monkeypatch.setattr(run_all, "Run", lambda params: Run(params, notebooks))
    source = save_sets(tmp_path / "ve", {"cubic/train": 1})

    def command(*arguments: str) -> int:
        given = ["--name", "own", "--set", f"run.root={tmp_path / 'runs'}", f"polycrystals.source={source}"]
        monkeypatch.setattr(sys, "argv", ["run_all.py", *given, *arguments])
        return run_all.main()

    return command


SENTENCE = "02_toy cannot run: it needs cubic/goss of polycrystals.source"


def test_the_command_says_what_cannot_run(toys, capfd):
    assert toys("--dry-run") == 0
    said = capfd.readouterr().out
    assert said.count(SENTENCE) == 1 and "would run 01_toy" in said and "would run 02_toy" not in said
    assert toys("--list") == 0
    said = " ".join(capfd.readouterr().out.split())
    assert said.count("cannot run") == 1 and "cubic/goss" in said
    assert toys("--only", "02") == 2
    assert f"error: {SENTENCE}" in capfd.readouterr().out
    assert toys("--dry-run", "--only", "01") == 0
    assert "cannot run" not in capfd.readouterr().out


def test_the_report_says_why_a_notebook_was_not_run(tmp_path):
    notebooks = write_toys(tmp_path / "n", {"01": "from microprint.microstructures.datasets import generate_polycrystals\n"
                                            "notebook.do(generate_polycrystals)", "02": 'notebook.read_sets("cubic", "goss")'})
    run = own_study(tmp_path, notebooks, polycrystals={"source": save_sets(tmp_path / "ve", {"cubic/train": 1})})
    run._mark("02", status="done", key={}, seconds=1.0)  # of other data
    run.executed("02").parent.mkdir(parents=True)
    run.executed("02").touch()
    assert "02" not in run.plan() and run.why("02") == "it needs cubic/goss of polycrystals.source"
    index = write_report(run).read_text()
    assert "It needs cubic/goss of polycrystals.source." in index and index.count('class="status not-run"') == len(numbers())
    assert "02_toy.html" not in index
