"""The notebooks as the participants of a workshop get them: the exercises are there, their solutions are not."""

from collections.abc import Iterable
from pathlib import Path

import nbformat

from microprint import store
from microprint.errors import UserError
from microprint.folders import REPOSITORY
from microprint.params import sections_from
from microprint.params.sections import Params
from microprint.study.graph import literals, parameters_cell

INVITATION = "# Your solution"


def write_participants(folder: Path, params: Params | None = None, notebooks: Path = REPOSITORY / "notebooks") -> list[Path]:
    """Write all notebooks into a new or empty folder, an empty cell in place of each solution; return their paths.

    A solution is the cells tagged ``solution`` that follow each other. With `params`, a cell that sets them follows the
    notebook's own parameters, so that it works in their run. Raises `UserError` if the folder holds anything, or
    cannot be made.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError("exists and is not empty", folder, "Name a new folder: the work of participants is never overwritten")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot be made ({error.strerror})", folder, "Name a folder where you may write") from None
    return [_write(source, folder / source.name, params) for source in sorted(notebooks.glob("[0-9][0-9]_*.ipynb"))]


def _write(source: Path, target: Path, params: Params | None) -> Path:
    notebook = nbformat.read(source, as_version=4)
    if params:
        at = parameters_cell(notebook)
        sections = sections_from(params, tuple(literals(notebook.cells[at].source)))
        values = "\n".join(f"{name} = {section!r}" for name, section in sections.items())
        notebook.cells.insert(
            at + 1, nbformat.v4.new_code_cell(f"# Parameters of run {params.run.name}\n{values}", id="of-the-run")
        )
    notebook.cells = list(without_solutions(notebook.cells))
    notebook.metadata.pop("jupytext", None)  # a copy has no .py beside it
    with store.atomic(target) as temporary:
        nbformat.write(notebook, temporary)
    return target


def without_solutions(cells: Iterable[nbformat.NotebookNode]) -> Iterable[nbformat.NotebookNode]:
    """Cells of a notebook, with one empty code cell in place of each solution."""
    inside = False
    for cell in cells:
        if not is_solution(cell):
            yield cell
        elif not inside:
            yield nbformat.v4.new_code_cell(INVITATION, id=cell.id)
        inside = is_solution(cell)


def is_solution(cell: nbformat.NotebookNode) -> bool:
    """Whether a cell is part of the solution of the exercise above it."""
    return "solution" in cell.metadata.get("tags", [])
