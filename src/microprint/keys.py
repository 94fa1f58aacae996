"""Keys: short hashes of all that a result depends on, the same on every supported Python."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from microprint import PUBLIC

PACKAGE = Path(__file__).parent
_PARSER = Lock()
VALUES = "microprint.params.sections"  # no code: of the parameters, those that a step reads are in its key by their values


def digest(*parts: Any) -> str:
    """Short hash of JSON-like parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Short hash of a file's content."""
    status = path.stat()
    return _file_digest(path, status.st_mtime_ns, status.st_size)


@cache
def _file_digest(path: Path, modified: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def code_digest(source: str) -> str:
    """Short hash of what Python source does: comments, layout and docstrings do not count."""
    return digest(_plain(syntax_tree(source)))


def syntax_tree(source: str) -> ast.Module:
    """Syntax tree of Python source, from whichever thread."""
    with _PARSER:  # Python 3.11 counts its depth for all threads together, and stops where the count does not come out
        return ast.parse(source)


def _plain(node: Any) -> Any:
    """Syntax tree as lists. Empty fields are left out: releases of Python differ in which of them they have."""
    if isinstance(node, list):
        return [_plain(item) for item in node if not _is_text(item)]
    if not isinstance(node, ast.AST):
        return None if node is None else ascii(node)
    if isinstance(node, ast.JoinedStr):  # Python 3.12 adds empty texts to some
        return ["JoinedStr", *(_plain(part) for part in node.values if getattr(part, "value", None) != "")]
    plain = [type(node).__name__]  # a loop: a package has a quarter of a million nodes, and each process reads them
    for name in node._fields:
        if name != "ctx" and (value := _plain(getattr(node, name, None))) is not None and value != []:
            plain.append([name, value])
    return plain


def _is_text(statement: Any) -> bool:
    """Whether a statement is a docstring, or another text that nothing is done with."""
    return isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str)


def modules_imported(tree: ast.Module) -> set[str]:
    """Names of the package's modules that are imported, also in functions."""
    names = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            public = PUBLIC if node.module == "microprint" else {}
            names |= {node.module} | {f"{node.module}.{public.get(alias.name, alias.name)}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "microprint" and _module_file(name)}


def _statements(block: ast.AST) -> Iterator[ast.AST]:
    for part in ("body", "orelse", "handlers", "finalbody", "cases"):
        for statement in getattr(block, part, ()):
            yield statement
            yield from _statements(statement)


def source_digest(modules: Iterable[str]) -> str:
    """Hash of the code of some modules, of all modules of the package that they import, and of the data beside the code."""
    pending, seen = set(modules), {}
    while pending := pending - {VALUES}:
        name = pending.pop()
        path = _module_file(name)
        seen[name], imported = _read(path, path.stat().st_mtime_ns)
        pending |= imported - seen.keys()
    return digest(*([name, code, *_data(_module_file(name))] for name, code in sorted(seen.items())))


@cache
def _read(path: Path, modified: int) -> tuple[str, set[str]]:
    """Hash of a module's code, and the modules that it imports."""
    tree = syntax_tree(path.read_text())
    return digest(_plain(tree)), modules_imported(tree)


def _data(path: Path) -> list[list[str]]:
    """Files that a package carries beside its code (materials, reference results), with their hashes."""
    beside = sorted(path.parent.iterdir()) if path.name == "__init__.py" else []
    return [[file.name, file_digest(file)] for file in beside if file.is_file() and file.suffix not in (".py", ".pyc")]


def _module_file(name: str) -> Path | None:
    if name.split(".")[0] != "microprint":
        return Path(sys.modules[name].__file__)  # a step of a user's own
    base = PACKAGE.joinpath(*name.split(".")[1:])
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)
