"""The notebooks as a graph: what is up to date, what must run and why, and running it with papermill."""

from __future__ import annotations

import ast
import fcntl
import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError

from microprint import store
from microprint.compute import digest, modules_imported, run_folder, save_resolved, source_digest
from microprint.errors import UserError
from microprint.params import Params, sections_from

REPOSITORY = Path(__file__).parents[2]
# Each notebook and those whose artifacts it reads.
NEEDS = {"01": (), "02": ("01",), "03": ("02",), "04": ("03",), "05": ("01",), "06": ("03", "05"), "07": ("02",), "08": ("02",)}
VGG_READERS = ("07", "08")
FINGERPRINTS = "03"


@dataclass(frozen=True)
class Notebook:
    """A numbered notebook and what its key is made of.

    Attributes
    ----------
    number, path : e.g. ``"03"`` and its ``.ipynb``.
    sections : parameter sections that its parameters cell names.
    code : hash of its code cells.
    source : hash of the package's modules that it imports.
    """

    number: str
    path: Path
    sections: tuple[str, ...]
    code: str
    source: str

    @property
    def name(self) -> str:
        return self.path.stem


def load_notebooks(folder: Path = REPOSITORY / "notebooks") -> dict[str, Notebook]:
    """All notebooks by number.

    Raises
    ------
    UserError
        If one is missing, is out of step with its ``.py``, or has no parameters cell.
    """
    return {number: _load_notebook(number, folder) for number in NEEDS}


def _load_notebook(number: str, folder: Path) -> Notebook:
    path = next(iter(sorted(folder.glob(f"{number}_*.ipynb"))), None)
    if path is None:
        raise UserError(f"holds no notebook {number}", folder, "Make it from its .py with: jupytext --sync notebooks/*.py")
    notebook = nbformat.read(path, as_version=4)
    _check_pair(path, notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    parameters = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(parameters) != 1:
        raise UserError("has no cell tagged `parameters`", path, "Tag the cell that holds its default parameters")
    code = "\n".join(cell.source for cell in cells)
    return Notebook(number, path, tuple(literals(parameters[0])), digest(code), source_digest(modules_imported(code)))


def literals(cell: str) -> dict[str, Any]:
    """Names and values that a parameters cell assigns; its values are literals."""
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell).body if isinstance(node, ast.Assign)}


def _check_pair(path: Path, notebook: nbformat.NotebookNode) -> None:
    import jupytext
    script = path.with_suffix(".py")
    paired = jupytext.read(script) if script.is_file() else None
    if paired is None or [(c.cell_type, c.source) for c in paired.cells] != [(c.cell_type, c.source) for c in notebook.cells]:
        raise UserError(f"differs from {script.name}", path, "Bring the two in step with: jupytext --sync notebooks/*.py")


# --- state -----------------------------------------------------------------------------------------------------------

@dataclass
class Run:
    """One run of the study in its folder: keys, states, execution.

    Parameters
    ----------
    params : checked parameters; name and root choose the folder.
    """

    params: Params
    notebooks: dict[str, Notebook] = field(default_factory=load_notebooks)

    def __post_init__(self):
        self.folder = run_folder(self.params).resolve()

    @property
    def state(self) -> dict[str, dict[str, Any]]:
        path = self.folder / "state.json"
        return store.load_json(path) if path.is_file() else {}

    def results(self, number: str) -> dict[str, Any]:
        """What a notebook recorded: metrics, headline, artifacts, peak memory; empty if it has not closed."""
        path = self.folder / "results" / f"{number}.json"
        return store.load_json(path) if path.is_file() else {}

    def executed(self, number: str) -> Path:
        """Path of the executed notebook."""
        return self.folder / "notebooks" / self.notebooks[number].path.name

    def key(self, number: str) -> dict[str, str]:
        """What a notebook's outcome depends on, part by part."""
        notebook = self.notebooks[number]
        own = [name for name in notebook.sections if name not in ("run", "compute")]
        return {"notebook": notebook.code, "package": notebook.source,
                "parameters": digest(self.params.run.seed, sections_from(self.params, tuple(own))),
                "inputs": digest([self.key(parent) for parent in NEEDS[number]])}

    def why(self, number: str) -> str | None:
        """Why a notebook must run, or None if it is up to date."""
        last = self.state.get(number)
        if last is None:
            return "not run yet"
        if last["status"] != "done":
            return f"{last['status']} last time"
        changed = [part for part, key in self.key(number).items() if last["key"].get(part) != key]
        if changed:
            return f"{' and '.join(changed)} changed"
        if not self.executed(number).is_file():
            return "its executed notebook is missing"
        return self._damaged(number)

    def _damaged(self, number: str) -> str | None:
        for name, key in self.results(number).get("artifacts", {}).items():
            try:
                if store.provenance_of(self.folder / "artifacts" / name).get("key") != key:
                    return f"artifact {name} was replaced"
            except UserError:
                return f"artifact {name} is missing or damaged"
        return None

    # --- execution ---------------------------------------------------------------------------------------------------

    def adopt(self, folder: Path) -> None:
        """Take the trained fingerprints of a report, so that what reads them runs without notebook 03.

        Those of this run's own stay. Raises `UserError` if the folder holds none, or a damaged one.
        """
        models = sorted(folder.glob("fingerprint_*.safetensors"))
        if not models:
            raise UserError("holds no trained fingerprint", folder, "Give the models folder of a report")
        (self.folder / "artifacts").mkdir(parents=True, exist_ok=True)
        for model in models:
            store.load_tensors(model)
            target = self.folder / "artifacts" / model.name
            if not target.exists():
                shutil.copyfile(model, target)

    def plan(
        self, only: Sequence[str] = (), start: str | None = None, force: bool = False, trained: bool = False
    ) -> dict[str, str]:
        """Notebooks to execute, in order, each with the reason; with `trained` fingerprints at hand, never 03.

        Raises `UserError` if a notebook needs one that has neither run nor is in the plan.
        """
        given = FINGERPRINTS if trained else ""
        parents = {n: [q for p in NEEDS[n] for q in (NEEDS[p] if p == given else (p,))] for n in NEEDS if n != given}
        chosen = [n for n in parents if (not only or n in only) and (start is None or n >= start)]
        plan: dict[str, str] = {}
        for number in chosen:
            stale = [parent for parent in parents[number] if parent in plan]
            reason = "asked for" if force else self.why(number)
            if reason or stale:
                plan[number] = reason or f"{', '.join(stale)} runs again"
        for number, parent in ((n, p) for n in plan for p in parents[n] if p not in plan):
            if self.state.get(parent, {}).get("status") != "done" or self._damaged(parent):
                raise UserError(f"notebook {number} needs the artifacts of {parent}, which are not there", self.folder,
                                f"Run it too: --only {parent} {number}, or leave --only and --from out")
        if set(plan) & set(VGG_READERS):
            from microprint.networks.vgg_weights import cached
            cached()  # says how to get the weights if they are not there
        return plan

    def execute(self, number: str) -> None:
        """Execute one notebook with papermill; the executed copy is saved after every cell.

        Raises
        ------
        UserError
            If a cell fails: the error, the cell, the partial notebook.
        """
        notebook, output = self.notebooks[number], self.executed(number)
        output.parent.mkdir(parents=True, exist_ok=True)
        save_resolved(self.params)
        self._mark(number, status="interrupted", key=self.key(number))
        begin = time.monotonic()
        status = "failed"
        try:
            with open(self.folder / "run.log", "a") as log:
                tee = Tee(log, sys.stdout, prefix=f"  {number} | ")
                papermill.execute_notebook(
                    notebook.path, output, parameters=sections_from(self.params, notebook.sections), kernel_name="python3",
                    progress_bar=False, stdout_file=tee, stderr_file=tee, cwd=notebook.path.parent, autosave_cell_every=30,
                    extra_arguments=["--log-level=ERROR"])
            status = "done"
        except PapermillExecutionError as error:
            message = error.evalue if error.ename == "UserError" else f"{error.ename}: {error.evalue}"
            raise UserError(f"stopped in cell {error.exec_count}: {message}", notebook.path.name,
                            f"The notebook as far as it came: {output}") from None
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        except OSError as error:
            raise store.storage_error(error, output) from error
        finally:
            self._mark(number, status=status, key=self.key(number), seconds=round(time.monotonic() - begin, 1))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the run's folder; raises `UserError` if another process works in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError("another process works in this run", self.folder,
                                "Wait for it, or choose another --name") from None
            yield

    def _mark(self, number: str, **facts: Any) -> None:
        store.save_json(self.folder / "state.json", self.state | {number: facts | {"at": store.now()}})

    def collect_metrics(self) -> Path:
        """Write `metrics.json`, the flat union of what the notebooks recorded."""
        metrics = {k: v for number in NEEDS for k, v in self.results(number).get("metrics", {}).items()}
        store.save_json(self.folder / "metrics.json", metrics)
        return self.folder / "metrics.json"


class Tee:
    """Text stream that writes lines to a log and, with a prefix, to the console."""

    def __init__(self, log: IO[str], console: IO[str], prefix: str):
        self.log, self.console, self.prefix = log, console, prefix

    def write(self, text: str) -> None:
        self.log.write(text)
        self.log.flush()
        for line in text.splitlines():
            if line.strip():
                print(self.prefix + line.split("\r")[-1], file=self.console, flush=True)

    def flush(self) -> None:
        self.console.flush()


# --- sweeps ----------------------------------------------------------------------------------------------------------

def sweep_points(sweeps: Mapping[str, Iterable[str]]) -> list[dict[str, str]]:
    """All combinations of the values of some parameters."""
    return [dict(zip(sweeps, values, strict=True)) for values in itertools.product(*sweeps.values())]


def branch(base: Path, target: Path) -> None:
    """Start a run from what another one has: artifacts are replaced whole, never changed, so links are enough."""
    if base.is_dir() and not target.exists():
        shutil.copytree(base, target, copy_function=_link, ignore=shutil.ignore_patterns(".work", ".lock", "run.log", "report"))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def literal(value: Any) -> str:
    """A parameter's value as a part of a folder's name."""
    return json.dumps(value).strip('"').replace("/", "_").replace(" ", "")
