"""What the participants of a workshop get: the notebooks, without the solutions of their exercises."""

import jupytext
import nbformat
import pytest
from toys import HEADER

from microprint.__main__ import main
from microprint.params import load
from microprint.study.graph import literals
from microprint.study.participants import write_participants

SOURCE = HEADER + """
# %% [markdown]
# **Exercise 1**: how much is one and one?

# %% tags=["solution"]
answer = 1 + 1
answer

# %% [markdown] tags=["solution"]
# It is two.

# %% [markdown]
# **Exercise 2**: and two and two?

# %% [markdown] tags=["solution"]
# Four.

# %% tags=["solution"]
2 + 2

# %% [markdown]
# **In three lines**: numbers add up.
"""


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    jupytext.write(jupytext.reads(SOURCE, "py:percent"), folder / "01_sums.ipynb")
    return folder


def test_each_solution_becomes_one_empty_cell(tmp_path, source):
    (path,) = write_participants(tmp_path / "a" / "copy", notebooks=source)
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.name == "01_sums.ipynb" and "jupytext" not in notebook.metadata and notebook.metadata.kernelspec.name == "python3"
    assert [(cell.cell_type, cell.source.split(":")[0]) for cell in notebook.cells] == [
        ("markdown", "**Exercise 1**"), ("code", "# Your solution"), ("markdown", "**Exercise 2**"), ("code", "# Your solution"),
        ("markdown", "**In three lines**")]
    assert not any("solution" in cell.metadata.get("tags", []) for cell in notebook.cells)


def test_the_command_copies_every_notebook(tmp_path, capsys):
    assert main(["participants", str(tmp_path / "copy")]) == 0
    assert len(list((tmp_path / "copy").glob("*.ipynb"))) == 9 and "9 notebooks without solutions" in capsys.readouterr().out
    (tmp_path / "copy" / "01_data.ipynb").write_text("my work")
    assert main(["participants", str(tmp_path / "copy")]) == 2
    assert "copy: exists and is not empty. Name a new folder" in capsys.readouterr().err
    assert (tmp_path / "copy" / "01_data.ipynb").read_text() == "my work"


def test_copies_can_have_the_parameters_of_a_profile(tmp_path):
    assert main(["participants", str(tmp_path), "--params", "params/workshop.yml"]) == 0
    cells = nbformat.read(tmp_path / "08_texture_vae.ipynb", as_version=4).cells
    own = next(n for n, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", []))
    injected = own + 1
    assert literals(cells[own].source)["run"]["name"] == "by-hand"
    stated = literals(cells[injected].source)
    assert stated.keys() == literals(cells[own].source).keys()
    assert stated["run"]["name"] == "workshop" and stated["texture_vae"]["epochs"] == load("params/workshop.yml").texture_vae.epochs


@pytest.mark.parametrize("arguments, message", [
    ([], "participants needs one folder"), (["a", "b"], "participants needs one folder"), (["README.md"], "README.md: exists and is not empty"),
    (["README.md/copy"], "README.md/copy: cannot be made (Not a directory)")])
def test_a_folder_that_cannot_be_written_is_named(arguments, message, capsys):
    assert main(["participants", *arguments]) == 2
    assert message in capsys.readouterr().err
