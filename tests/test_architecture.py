"""What the layout promises: floors, what a training machine needs, and the form of the notebooks."""

import ast
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

from microprint.params import Params, as_dict
from microprint.study import NEEDS, literals, load_notebooks

PACKAGE = Path(__file__).parents[1] / "src" / "microprint"
FLOORS = {"errors": 0, "params": 0, "store": 0, "compute": 0, "chunks": 0, "cluster": 0, "orientations": 1, "microstructures": 2, "mechanics": 2,
          "networks": 3, "training": 3, "analysis": 4, "systems": 4, "plots": 5, "report": 5, "study": 6, "requirements": 6}
SCRIPTS = sorted((PACKAGE.parents[1] / "notebooks").glob("*.py"))


def imports(path: Path, everywhere: bool) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else tree.body
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{a.name}" for a in node.names} if node.module == "microprint" else {node.module}
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_from_floors_below(path):
    place = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if place.startswith("__"):
        return
    for name in imports(path, everywhere=False):
        parts = name.split(".")
        if parts[0] == "microprint" and len(parts) > 1 and parts[1] in FLOORS:
            assert FLOORS[parts[1]] <= FLOORS[place], f"{path.name} imports {name}"


def test_training_machine_needs_torch_numpy_h5py_lightning_alone():
    """Every step is found where nothing else can be imported."""
    code = """
import sys
class Block:
    names = {"damask", "sklearn", "pydantic", "papermill", "matplotlib", "PIL", "tifffile", "safetensors", "rich", "dask", "nbformat", "jupytext", "scipy"}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(name)
import torch, numpy, h5py, lightning
sys.meta_path.insert(0, Block())
for name in [n for n in sys.modules if n.split(".")[0] in Block.names]:
    del sys.modules[name]
from microprint.compute import find_step, STEP_MODULES
import microprint.__main__, microprint
find_step("train_fingerprint")
for name in microprint.PUBLIC:
    getattr(microprint, name)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_eight_notebooks_are_paired_and_without_outputs():
    notebooks = load_notebooks()
    assert list(notebooks) == list(NEEDS)
    for notebook in notebooks.values():
        cells = nbformat.read(notebook.path, as_version=4).cells
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_form_of_a_notebook(path):
    notebook = jupytext.read(path)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert 15 <= len(notebook.cells) <= 40 and notebook.metadata.kernelspec.name == "python3"
    assert max(len(source.splitlines()) for source in code) <= 25
    assert not any(isinstance(node, ast.ClassDef) for source in code for node in ast.walk(ast.parse(source)))
    for word in ("Question", "Inputs", "Outputs", "Hardware"):
        assert f"**{word}" in prose[0]
    assert "TIME_" not in prose[0]
    for word in ("Findings", "Limits", "Next"):
        assert any(f"**{word}" in text for text in prose[-3:])


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_a_notebook_s_defaults_are_those_of_the_package(path):
    cell = next(c for c in jupytext.read(path).cells if "parameters" in c.metadata.get("tags", []))
    defaults = as_dict(Params())
    for section, values in literals(cell.source).items():
        for key, value in values.items():
            found = defaults[section][key]
            assert value == (list(found) if isinstance(found, tuple) and isinstance(value, list) else found), f"{section}.{key}"
