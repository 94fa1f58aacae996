"""What the layout promises: floors, what a training machine needs, and the form of the notebooks."""

import ast
import doctest
import importlib
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import jupytext
import nbformat
import pytest

from microprint.params import as_dict
from microprint.params.sections import Params
from microprint.study.graph import literals, load_notebooks
from microprint.study.participants import is_solution

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "src" / "microprint"
# A room may use the rooms of floors strictly below its own; inside a room, modules may not form a circle.
FLOORS = {"errors": 0, "arrays": 1, "keys": 1, "params": 1, "machine": 1, "store": 1, "cluster": 2, "folders": 2, "jit": 2, "vectors": 3, "lanes": 3, "steps": 2, "chunks": 3, "orientations": 3,
          "microstructures": 4, "mechanics": 5, "training": 5, "networks": 6, "systems": 7, "analysis": 8, "study": 8, "plots": 9, "supply": 9,
          "notebook": 10, "requirements": 10, "report": 11}
SCRIPTS = sorted((REPOSITORY / "notebooks").glob("*.py"))
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Modules of the package that a file imports, function-level imports included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "microprint"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_uses_only_what_lies_below_it(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room.startswith("__"):
        return
    for name in imports(path):
        parts = name.split(".")
        if len(parts) > 1 and parts[1] in FLOORS and parts[1] != room:
            assert FLOORS[parts[1]] < FLOORS[room], f"{path.name} imports {name}"


def test_no_module_is_in_a_circle():
    names = {".".join(("microprint", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path for path in MODULES}
    graph = {name: {other for other in imports(path) if other in names and other != name and not name.startswith(other + ".")}
             for name, path in names.items()}
    while leaves := [name for name, others in graph.items() if not others & graph.keys()]:
        for name in leaves:
            del graph[name]
    assert not graph


@pytest.mark.parametrize("path", [*MODULES, REPOSITORY / "run_all.py"], ids=lambda p: p.name)
def test_a_file_has_one_subject(path):
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", [*MODULES, *SCRIPTS], ids=lambda p: p.name)
def test_names_name_something(path):
    bound = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    assert not bound & {"place", "found", "rest", "one"}


@pytest.mark.parametrize("command", [("check", "."), ("format", "--check", "src", "run_all.py")], ids=lambda c: c[0])
def test_ruff_has_nothing_to_say(command):
    result = subprocess.run([sys.executable, "-m", "ruff", *command], cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", ["analysis.field_of_view", "analysis.composites", "analysis.regression", "study.catalogue", "microstructures.polycrystal", "microstructures.volume_elements"])
def test_examples_in_docstrings_are_true(name):
    module = importlib.import_module(f"microprint.{name}")
    outcome = doctest.testmod(module)
    assert outcome.attempted and not outcome.failed


def test_training_machine_needs_torch_numpy_h5py_lightning_alone():
    """Every step is found where nothing else can be imported."""
    code = """
import sys
class Block:
    names = {"damask", "sklearn", "pydantic", "papermill", "matplotlib", "PIL", "tifffile", "imagecodecs", "rich", "dask", "nbformat", "jupytext", "scipy"}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(name)
import torch, numpy, h5py, lightning
sys.meta_path.insert(0, Block())
for name in [n for n in sys.modules if n.split(".")[0] in Block.names]:
    del sys.modules[name]
import microprint
from microprint.__main__ import find_step
find_step("train_fingerprint")
for name in microprint.PUBLIC:
    getattr(microprint, name)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_nine_notebooks_are_paired_and_without_outputs():
    notebooks = load_notebooks()
    assert len(notebooks) == 9
    for notebook in notebooks.values():
        cells = nbformat.read(notebook.path, as_version=4).cells
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_form_of_a_notebook(path):
    notebook = jupytext.read(path)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert notebook.metadata.kernelspec.name == "python3"
    assert 15 <= sum(not is_solution(cell) for cell in notebook.cells) <= 30
    assert max(len(source.splitlines()) for source in code) <= 25
    assert not any(isinstance(node, ast.ClassDef) for source in code for node in ast.walk(ast.parse(source)))
    for word in ("Question", "You will learn", "Prerequisites", "Inputs", "Outputs", "Time"):
        assert f"**{word}" in prose[0], word
    assert "TIME_" not in prose[0] and "**Hardware" not in prose[0]
    for word in ("Limits", "Next", "Before you look"):
        assert any(f"**{word}" in text for text in prose), word
    assert any(calls(source, "findings") for source in code)
    assert "**In three lines**" in notebook.cells[-1].source and notebook.cells[-1].cell_type == "markdown"


def test_no_prose_is_lost_in_code():
    """Where the marker of a markdown cell is missing, its paragraphs are comments of the code above."""
    for path in SCRIPTS:
        for cell in jupytext.read(path).cells:
            lines = cell.source.splitlines() if cell.cell_type == "code" else []
            lost = [above for above, below in pairwise(lines) if above.startswith("#") and below.startswith("#")]
            assert not lost, f"{path.name}: {lost[0]}"


def calls(source: str, name: str) -> bool:
    return any(isinstance(node, ast.Call) and ast.unparse(node.func) == name for node in ast.walk(ast.parse(source)))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_a_notebook_has_three_exercises_each_with_its_solution(path):
    """A solution is the tagged cells that follow each other, below the exercise; code of it is run with the notebook."""
    cells = jupytext.read(path).cells
    first = next(number for number, cell in enumerate(cells) if cell.cell_type == "markdown" and "## Exercises" in cell.source)
    solved = [number for number, cell in enumerate(cells) if is_solution(cell) and not is_solution(cells[number - 1])]
    assert len(solved) == 3 and min(solved) > first
    assert all(cells[number - 1].cell_type == "markdown" for number in solved)
    assert any(cell.cell_type == "code" for cell in cells if is_solution(cell))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_a_notebook_s_defaults_are_those_of_the_package(path):
    cell = next(c for c in jupytext.read(path).cells if "parameters" in c.metadata.get("tags", []))
    defaults = as_dict(Params())
    for section, values in literals(cell.source).items():
        for key, value in values.items():
            assert value == defaults[section][key], f"{section}.{key}"
