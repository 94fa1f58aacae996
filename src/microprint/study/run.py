"""One run of the study: what is up to date, what must run and why, and running it with papermill."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import papermill
import psutil
import torch
from papermill.exceptions import PapermillExecutionError

from microprint import store
from microprint.errors import MissingData, UserError
from microprint.folders import run_folder
from microprint.keys import digest
from microprint.machine import choose_device
from microprint.microstructures.sets import require_sets
from microprint.params import as_dict, sections_from
from microprint.params.sections import Params
from microprint.steps import file_digests
from microprint.study.graph import NotebookSource, load_notebooks, minutes_ahead, needs

FINGERPRINTS = "03"


class Due(NamedTuple):
    """Why a notebook is to run; whether that is certain, or depends on what those before it make."""

    reason: str
    certain: bool = True


class Run:
    """One run of the study in its folder, which the parameters name: keys, states, execution."""

    def __init__(self, params: Params, notebooks: Mapping[str, NotebookSource] | None = None):
        self.params = params
        self.notebooks = load_notebooks() if notebooks is None else notebooks
        self.needs = needs(self.notebooks)
        self.folder = run_folder(params).resolve()
        self.unable: dict[str, str] = {}  # what notebooks need and the user's own data do not hold, once it is planned
        self._state_lock, self._interrupted = threading.Lock(), False

    @property
    def state(self) -> dict[str, dict[str, Any]]:
        path = self.folder / "state.json"
        return store.load_json(path) if path.is_file() else {}

    def results(self, number: str) -> dict[str, Any]:
        """What a notebook recorded: metrics, standings, artifacts, peak memory; empty if it has not closed."""
        path = self.folder / "results" / f"{number}.json"
        return store.load_json(path) if path.is_file() else {}

    def executed(self, number: str) -> Path:
        """Path of the executed notebook."""
        return self.folder / "notebooks" / self.notebooks[number].path.name

    def key(self, number: str) -> dict[str, str]:
        """What a notebook's outcome depends on beside the artifacts that it reads, part by part.

        Raises `UserError` for files from outside that are missing, and parameters that do not suit its steps.
        """
        notebook = self.notebooks[number]
        own = tuple(name for name in notebook.sections if name not in ("run", "compute"))
        files = [file_digests(step.files(self.params)) for step, _ in notebook.steps]
        parameters = digest(self.params.run.seed, sections_from(self.params, own))
        return {"notebook": notebook.code, "package": notebook.package, "parameters": parameters, "files": digest(files)}

    def why(self, number: str) -> str | None:
        """Why a notebook is not up to date, or None if it is."""
        if number in self.unable:
            return f"it needs {self.unable[number]}"
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
        return self._changed_artifact(number)

    def _changed_artifact(self, number: str) -> str | None:
        """What became of the artifacts that a notebook made or read."""
        for name, key in self.results(number).get("artifacts", {}).items():
            try:
                if store.provenance_of(self.folder / "artifacts" / name).get("key", "") != key:
                    return f"artifact {name} was replaced"
            except UserError:
                return f"artifact {name} is missing or damaged"
        return None

    def missing(self, given: Sequence[str] = ()) -> dict[str, str]:
        """What notebooks need that the user's own data do not hold, by number: these cannot run.

        What a notebook needs of another one that cannot run is missing, too, unless that is among those `given`.
        """
        missing: dict[str, str] = {}
        for number, notebook in self.notebooks.items():
            try:
                require_sets(self.params, notebook.sets)
                for step, _ in notebook.steps:
                    step.files(self.params)
            except MissingData as error:
                missing[number] = error.needs
                continue
            except UserError:  # the plan tells it, if the notebook is to run
                pass
            for name in sorted(notebook.reads):
                makers = [n for n in self.needs[number] if self.notebooks[n].produces(name)]
                if all(n in missing and n not in given for n in makers):
                    missing.setdefault(number, f"{name} of {makers[0]}, which needs {missing[makers[0]]}")
        return {number: needs for number, needs in missing.items() if number not in given}

    def cannot_run(self, number: str) -> str:
        """The sentence that says of a notebook what it needs and does not have."""
        return f"{self.notebooks[number].name} cannot run: it needs {self.unable[number]}"

    def plan(
        self, only: Sequence[str] = (), start: str | None = None, force: bool = False, skip: Sequence[str] = ()
    ) -> dict[str, Due]:
        """Notebooks to execute, in order, and why; those that are `unable` to run on the user's own data are left out.

        Raises `UserError` for what would fail later: files, parameters or a device that do not suit, and artifacts that
        are neither there nor made by a notebook of the plan; and for a notebook of `only` that is unable to run.
        """
        choose_device(self.params.compute.device)
        self.unable = self.missing(skip)
        if refused := [self.cannot_run(number) for number in only if number in self.unable]:
            raise UserError("; ".join(refused))
        plan: dict[str, Due] = {}
        for number in self.notebooks:
            if number in {*skip, *self.unable} or (only and number not in only) or (start and number < start):
                continue
            self.key(number)
            again = [parent for parent in self.needs[number] if parent in plan]
            reason = "asked for" if force else self.why(number)
            if reason or again:
                plan[number] = Due(reason, True) if reason else Due(f"{', '.join(again)} runs again", False)
        for number in plan:
            self._require_inputs(number, plan)
        return plan

    def _require_inputs(self, number: str, plan: Mapping[str, Due]) -> None:
        for name in sorted(self.notebooks[number].reads):
            makers = [n for n in self.needs[number] if self.notebooks[n].produces(name)]
            if not set(makers) & plan.keys() and not list((self.folder / "artifacts").glob(name)):
                remedy = f"Run it too: --only {makers[0]} {number}, or leave --only and --from out"
                raise UserError(f"notebook {number} needs {name} of {makers[0]}, which is not there", self.folder, remedy)

    def stale(self, plan: Mapping[str, Due], given: Sequence[str] = ()) -> dict[str, str]:
        """Notebooks that the plan leaves out although it builds on them and they are not up to date, and why they are not."""
        ahead = [*plan]
        for number in ahead:  # which grows
            ahead += [parent for parent in self.needs[number] if parent not in ahead]
        left_out = sorted({*ahead} - {*plan, *given, *self.unable})
        return {number: reason for number in left_out if (reason := self.why(number))}

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

    def execute_all(self, plan: Mapping[str, Due], say: Callable[[str], None]) -> UserError | None:
        """Execute a plan, each notebook after those that it needs and several at once; return the first failure.

        Of those that can start, that with the longest way to the end of the study starts first. Each kernel has its share of
        the cores: processes of their own use them better than threads that share each operation, and lose nothing to whatever
        else the machine does. Parts of a task that are independent are on all cores at once, see `microprint.machine.cores`.
        """
        kernels = self.params.compute.kernels or (1 if torch.cuda.is_available() else 2)
        if "OMP_NUM_THREADS" not in os.environ:
            cores = os.cpu_count() or 1
            os.environ |= {"OMP_NUM_THREADS": str(max(cores // kernels, 1)), "MICROPRINT_CORES": str(cores)}
        store.save_json(self.folder / "params.json", as_dict(self.params))  # for reruns and for steps from a shell
        ahead = minutes_ahead({n: self.notebooks[n] for n in plan}, self.needs)
        waiting, running, failure = {n: plan[n] for n in sorted(plan, key=lambda n: -ahead[n])}, {}, None
        with ThreadPoolExecutor(kernels) as pool:
            while running or (waiting and not failure):
                ready = [n for n in waiting if not set(self.needs[n]) & {*waiting, *running.values()}]
                for number in ready[: kernels - len(running)] if not failure else []:
                    due = waiting.pop(number)
                    if not due.certain and self.why(number) is None:
                        say(f"{self.notebooks[number].name} (up to date: what it reads has come out the same)")
                        continue
                    say(f"{self.notebooks[number].name} ({due.reason})")
                    running[pool.submit(self.execute, number)] = number
                failure = self._await_one(running) or failure
        return failure

    def _await_one(self, running: dict[Future, str]) -> UserError | None:
        """Wait until a notebook has ended; return its failure. An interrupt ends the kernels first."""
        try:
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
        except KeyboardInterrupt:
            self._interrupted = True
            for child in psutil.Process().children():
                child.terminate()
            raise
        failures = [future.exception() for future in ended if running.pop(future)]
        for failure in (failure for failure in failures if failure and not isinstance(failure, UserError)):
            raise failure
        return next((failure for failure in failures if failure), None)

    def execute(self, number: str) -> None:
        """Execute one notebook with papermill; the executed copy is saved after every cell.

        Raises `UserError` if a cell fails: the error, the cell, the partial notebook.
        """
        notebook, output = self.notebooks[number], self.executed(number)
        output.parent.mkdir(parents=True, exist_ok=True)
        self._mark(number, status="interrupted", key=self.key(number))
        begin = time.monotonic()
        status = "failed"
        try:
            with open(self.folder / "run.log", "a") as log:
                tee = Tee(log, sys.stdout, prefix=f"  {number} | ")
                papermill.execute_notebook(
                    notebook.path,
                    output,
                    parameters=sections_from(self.params, notebook.sections),
                    kernel_name="python3",
                    progress_bar=False,
                    stdout_file=tee,
                    stderr_file=tee,
                    autosave_cell_every=30,
                    extra_arguments=["--log-level=CRITICAL"],  # its end interrupts a kernel, which it calls an error
                    # The kernel's folder; papermill's own option would change that of this process, for all threads.
                    resources={"metadata": {"path": str(notebook.path.parent)}},
                )
            status = "done"
        except PapermillExecutionError as error:
            message = error.evalue if error.ename == "UserError" else f"{error.ename}: {error.evalue}"
            remedy = f"The notebook as far as it came: {output}"
            raise UserError(f"stopped in cell {error.exec_count}: {message}", notebook.path.name, remedy) from None
        except OSError as error:
            raise store.storage_error(error, output) from error
        finally:
            status = "interrupted" if self._interrupted else status
            self._mark(number, status=status, key=self.key(number), seconds=round(time.monotonic() - begin, 1))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the run's folder; raises `UserError` if another process works in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                remedy = "Wait for it, or choose another --name"
                raise UserError("another process works in this run", self.folder, remedy) from None
            yield

    def _mark(self, number: str, **facts: Any) -> None:
        with self._state_lock:
            store.save_json(self.folder / "state.json", self.state | {number: facts | {"at": store.now()}})

    def collect_metrics(self) -> Path:
        """Write `metrics.json`, the flat union of what the notebooks recorded that can run."""
        able = [number for number in self.notebooks if number not in self.unable]
        metrics = {name: value for number in able for name, value in self.results(number).get("metrics", {}).items()}
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
