"""The notebooks as a graph: which artifacts each reads and makes follows from its code and from the steps that it does."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from microprint.errors import UserError
from microprint.folders import REPOSITORY
from microprint.keys import code_digest, modules_imported, source_digest, syntax_tree
from microprint.steps import Step

SYNC = "jupytext --sync notebooks/*.py"
READERS = ("open", "path", "load_json")  # methods of `Notebook` that read an artifact
POLYCRYSTALS = "polycrystals.h5"  # what its `read_sets` reads
TIME = re.compile(r"\*\*Time\*\*: about (\d+) minutes?")


@dataclass(frozen=True)
class NotebookSource:
    """A numbered notebook as it stands in the repository."""

    path: Path  # of its .ipynb
    source: str  # of all its code cells
    parameters: str  # of the cell that holds the parameters
    minutes: int = 0  # that its head announces

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def sections(self) -> tuple[str, ...]:
        """Parameter sections that its parameters cell names."""
        return tuple(literals(self.parameters))

    @cached_property
    def tree(self) -> ast.Module:
        """Syntax tree of its code."""
        return syntax_tree(self.source)

    @cached_property
    def code(self) -> str:
        """Hash of its code."""
        return code_digest(self.source)

    @property
    def package(self) -> str:
        """Hash of the package's modules that it imports."""
        return source_digest(modules_imported(self.tree))

    @cached_property
    def calls(self) -> list[ast.Call]:
        """Calls of methods of what `open_notebook` returned."""
        return list(_calls(self.tree))

    @cached_property
    def steps(self) -> list[tuple[Step, dict[str, str]]]:
        """Steps that it does, with their arguments; ``*`` for one that is known only when the notebook runs."""
        imported = _imports(self.tree)
        calls = [call for call in self.calls if call.func.attr == "do"]
        return [(_step(call.args[0], imported, self.path), {k.arg: _pattern(k.value) for k in call.keywords}) for call in calls]

    @cached_property
    def makes(self) -> set[str]:
        """Artifacts that it makes, as patterns."""
        return {name.format(**arguments) for step, arguments in self.steps for name in step.outputs}

    @cached_property
    def reads(self) -> set[str]:
        """Artifacts that it or its steps read and that it does not make itself, as patterns."""
        own = {_pattern(call.args[0]) for call in self.calls if call.func.attr in READERS}
        own |= {POLYCRYSTALS} if self.sets else set()
        inputs = {name.format(**arguments) for step, arguments in self.steps for name in step.inputs}
        return {name for name in own | inputs if not self.produces(name)}

    @cached_property
    def sets(self) -> dict[str, int]:
        """Sets of polycrystals that it reads by `Notebook.read_sets`, with the least number of volume elements of each.

        Raises `UserError` for a name that only the running notebook knows: what a user's data lack could not be told before.
        """
        calls = [call for call in self.calls if call.func.attr == "read_sets"]
        sets: dict[str, int] = {}
        for symmetry, *names, least in ([*map(_pattern, call.args), _least(call)] for call in calls):
            sets |= {f"{symmetry}/{name}": least for name in names}
        if unknown := [name for name in sets if "*" in name]:
            raise UserError(f"reads {unknown[0]}, a set whose name its code does not say", self.path, "Write it in the call")
        return sets

    def produces(self, name: str) -> bool:
        """Whether it makes what a pattern can mean."""
        return any(alike(name, made) for made in self.makes)


def load_notebooks(folder: Path = REPOSITORY / "notebooks") -> dict[str, NotebookSource]:
    """All notebooks by number; raises `UserError` if one is missing, unlike its ``.py`` or without a parameters cell."""
    return {number: _load(number, folder) for number in numbers(folder)}


def numbers(folder: Path = REPOSITORY / "notebooks") -> list[str]:
    """Numbers of the notebooks of a folder, in order."""
    return sorted({path.name[:2] for path in folder.glob("[0-9][0-9]_*.*") if path.suffix in (".py", ".ipynb")})


def needs(notebooks: Mapping[str, NotebookSource]) -> dict[str, list[str]]:
    """For each notebook those before it that make what it reads; raises `UserError` for what none of them makes."""
    parents: dict[str, list[str]] = {}
    for number, notebook in notebooks.items():
        makers = {name: [n for n in parents if notebooks[n].produces(name)] for name in notebook.reads}
        if orphans := sorted(name for name, earlier in makers.items() if not earlier):
            raise UserError(f"reads {orphans[0]}, which no notebook before it makes", notebook.path)
        parents[number] = sorted({n for numbers in makers.values() for n in numbers})
    return parents


def minutes_ahead(notebooks: Mapping[str, NotebookSource], parents: Mapping[str, list[str]]) -> dict[str, int]:
    """Minutes from each notebook's start to the end of the last one that waits for it, by what their heads announce."""
    ahead: dict[str, int] = {}
    for number in reversed(notebooks):
        waiting = [ahead[n] for n in ahead if number in parents[n]]
        ahead[number] = notebooks[number].minutes + max(waiting, default=0)
    return ahead


@cache
def alike(first: str, other: str) -> bool:
    """Whether two patterns with ``*`` can mean the same artifact."""
    if first[:1] == "*":
        return alike(first[1:], other) or bool(other) and alike(first, other[1:])
    if other[:1] == "*":
        return alike(other, first)
    if not first or not other:
        return first == other
    return first[0] == other[0] and alike(first[1:], other[1:])


def literals(cell: str) -> dict[str, Any]:
    """Names and values that a parameters cell assigns; its values are literals."""
    return {node.targets[0].id: ast.literal_eval(node.value) for node in syntax_tree(cell).body if isinstance(node, ast.Assign)}


def parameters_cell(notebook: nbformat.NotebookNode) -> int:
    """Position of the cell that is tagged `parameters`."""
    return next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))


def _load(number: str, folder: Path) -> NotebookSource:
    paths = sorted(folder.glob(f"{number}_*.ipynb"))
    if not paths:
        raise UserError(f"holds no notebook {number}", folder, f"Make it from its .py with: {SYNC}")
    path, notebook = paths[0], nbformat.read(paths[0], as_version=4)
    _check_pair(path, notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    parameters = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(parameters) != 1:
        raise UserError("has no cell tagged `parameters`", path, "Tag the cell that holds its default parameters")
    announced = [TIME.search(cell.source) for cell in notebook.cells if cell.cell_type == "markdown"]
    minutes = next((int(match[1]) for match in announced if match), 0)
    return NotebookSource(path, "\n".join(cell.source for cell in cells), parameters[0], minutes)


def _check_pair(path: Path, notebook: nbformat.NotebookNode) -> None:
    script = path.with_suffix(".py")
    paired = jupytext.read(script) if script.is_file() else None
    if paired is None or [(c.cell_type, c.source) for c in paired.cells] != [(c.cell_type, c.source) for c in notebook.cells]:
        raise UserError(f"differs from {script.name}", path, f"Bring the two in step with: {SYNC}")


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    nodes = list(ast.walk(tree))
    opened = {
        target.id
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _is_name(node.value.func, {"open_notebook"})
        for target in node.targets
    }
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_name(node.func.value, opened):
            yield node


def _is_name(expression: ast.expr, names: Collection[str]) -> bool:
    return isinstance(expression, ast.Name) and expression.id in names


def _imports(tree: ast.AST) -> dict[str, tuple[str, str]]:
    """Names that the package's modules give to the notebook: (module, attribute) of each."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if (node.module or "").split(".")[0] == "microprint"]
    return {alias.asname or alias.name: (node.module, alias.name) for node in ours for alias in node.names}


def _step(expression: ast.expr, imported: Mapping[str, tuple[str, str]], path: Path) -> Step:
    """The step that an expression such as ``datasets.generate_polycrystals`` names."""
    first, *attributes = ast.unparse(expression).split(".")
    if first not in imported:
        raise UserError(f"does {first}, which is no step that it imports", path)
    module, name = imported[first]
    value = getattr(importlib.import_module(module), name, None) or importlib.import_module(f"{module}.{name}")
    for attribute in attributes:
        value = getattr(value, attribute)
    return value


def _least(call: ast.Call) -> int:
    return next((keyword.value.value for keyword in call.keywords if keyword.arg == "least"), 1)


def _pattern(expression: ast.expr) -> str:
    """A text as far as it is known: ``*`` for what is known only when the notebook runs."""
    if isinstance(expression, ast.Constant):
        return str(expression.value)
    if isinstance(expression, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "*" for part in expression.values)
    return "*"
