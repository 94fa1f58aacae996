"""Heavy work as steps: from parameters and input artifacts to output artifacts, in this process or on a Dask worker.

A step is a function decorated with `step`. Its key is a hash of the source it runs on, the parameters it reads and
the keys of its inputs; where its artifacts already carry that key, it is not run again. A training step goes to a
worker as a whole; a data set is assembled in this process, and only its chunks go to workers (`microprint.chunks`).
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import torch

from microprint import store
from microprint.errors import UserError
from microprint.params import Params, as_dict, sections_from, validate

PACKAGE = Path(__file__).parent
# Seconds between two lines of progress in a batch run.
LINE_EVERY_S = 15.0
# Where `python -m microprint STEP` finds the steps.
STEP_MODULES = ("microprint.microstructures.datasets", "microprint.mechanics.datasets", "microprint.systems.fingerprint",
                "microprint.systems.surrogate", "microprint.systems.inverse_design", "microprint.systems.texture")


# --- keys ------------------------------------------------------------------------------------------------------------

def digest(*parts: Any) -> str:
    """Short hash of JSON-like parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def modules_imported(source: str) -> set[str]:
    """Names of the package's modules that a source imports, function-level imports included."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "microprint" and _module_file(name)}


def source_digest(modules: Iterable[str]) -> str:
    """Hash of the code of some modules of the package and of all modules of it that they import."""
    pending, seen = set(modules), set()
    while pending:
        seen.add(name := pending.pop())
        pending |= modules_imported(_module_file(name).read_text()) - seen
    return digest(*(f"{name}\n{_code(_module_file(name))}" for name in sorted(seen)))


def _module_file(name: str) -> Path | None:
    if name.split(".")[0] != "microprint":
        return Path(sys.modules[name].__file__)  # a step of a user's own
    base = PACKAGE.joinpath(*name.split(".")[1:])
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


@cache
def _code(path: Path) -> str:
    """Source without comments and layout, so that neither makes a result stale."""
    return ast.unparse(ast.parse(path.read_text()))


# --- steps -----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Step:
    """A function from parameters and artifacts to artifacts; made by the decorator `step`."""

    function: Callable[..., None]
    reads: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    chunked: bool

    @property
    def name(self) -> str:
        return self.function.__name__

    def check(self, arguments: Mapping[str, str]) -> None:
        """Raise `UserError` unless the arguments are those that the step takes."""
        wanted = list(inspect.signature(self.function).parameters)[1:]
        if sorted(wanted) != sorted(arguments):
            raise UserError(f"step {self.name} got the arguments {', '.join(arguments) or 'none'}",
                            remedy=f"Its arguments are: {', '.join(wanted) or 'none'}")

    def key(self, params: Params, folder: Path, arguments: Mapping[str, str]) -> str:
        """Content key: source, parameters, seed and inputs."""
        inputs = [store.provenance_of(folder / name.format(**arguments))["key"] for name in self.inputs]
        return digest(self.name, dict(arguments), params.run.seed, sections_from(params, self.reads), inputs,
                      source_digest([self.function.__module__]))


def step(*, reads: tuple[str, ...] = (), inputs: tuple[str, ...] = (), outputs: tuple[str, ...], chunked: bool = False):
    """Declare a function ``f(job, **arguments)`` a step.

    Parameters
    ----------
    reads : sections of the parameters that its result depends on.
    inputs, outputs : artifact names; ``{argument}`` in them is filled from the keyword arguments.
    chunked : it computes a data set with `microprint.chunks`, which sends the chunks to the workers of a cluster; the
        step itself always runs in the calling process.
    """
    return lambda function: Step(function, reads, inputs, outputs, chunked)


def find_step(name: str) -> Step:
    """A step by its name; raises `UserError` naming the known ones."""
    found = (value for module in STEP_MODULES for value in vars(importlib.import_module(module)).values())
    steps = {value.name: value for value in found if isinstance(value, Step)}
    if name not in steps:
        raise UserError(f"no step is called {name}", remedy=f"Steps: {', '.join(sorted(steps))}")
    return steps[name]


def stream_seed(params: Params, label: str) -> int:
    """Seed of one stream of random numbers, from the run's seed and the stream's label."""
    return int(digest(params.run.seed, label), 16) % 2**63


class Job:
    """What a running step sees: its parameters, inputs, outputs, device and a folder to resume from.

    Attributes
    ----------
    params : all parameters of the run.
    device : torch device to work on.
    workdir : folder private to this step and key, kept until the step has succeeded; a killed step resumes from it.
    """

    def __init__(self, step: Step, params: Params, folder: Path, arguments: Mapping[str, str], key: str):
        self.params, self.folder = params, folder
        self.device = choose_device(params.compute.device)
        self.workdir = folder / ".work" / "-".join((step.name, *arguments.values(), key))
        self.workdir.mkdir(parents=True, exist_ok=True)
        self.key, self._begin = key, time.monotonic()
        farmed = step.chunked and params.compute.engine == "dask"
        self._facts = {"key": key, "step": step.name, "arguments": dict(arguments), "seed": params.run.seed,
                       "params": sections_from(params, step.reads), "device": "Dask workers" if farmed else str(self.device),
                       "created": store.now(), **store.environment()}

    @property
    def provenance(self) -> dict[str, Any]:
        """What made an artifact, with the seconds that it took up to now; a resumed step counts from where it resumed."""
        return self._facts | {"seconds": round(time.monotonic() - self._begin, 1)}

    def seed(self, label: str) -> int:
        """Seed of one stream of random numbers, from the run's seed and the stream's label."""
        return stream_seed(self.params, label)

    def generator(self, label: str, device: str | torch.device = "cpu") -> torch.Generator:
        """Random generator of one stream, on a device."""
        return torch.Generator(device).manual_seed(self.seed(label))

    def open(self, name: str, kind: str | None = None) -> h5py.File:
        """Input artifact, checked, open for reading."""
        return store.open_hdf5(self.folder / name, kind)

    @contextmanager
    def create(self, name: str, kind: str) -> Iterator[h5py.File]:
        """Output artifact, written atomically, with its provenance."""
        with store.create_hdf5(self.folder / name, kind, self.provenance) as file:
            yield file
            file.attrs["provenance"] = json.dumps(self.provenance)  # once more: the seconds end here

    def save_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Output artifact of numbers."""
        store.save_json(self.folder / name, {"provenance": self.provenance, **content})

    def load_json(self, name: str) -> dict[str, Any]:
        """Input artifact of numbers."""
        return store.load_json(self.folder / name)

    def save_model(self, name: str, state: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> None:
        """Output model: weights, and what is needed to build it again."""
        store.save_tensors(self.folder / name, state, {"config": config, "provenance": self.provenance})

    def progress(self, items: Iterable, label: str, total: int | None = None) -> Iterator:
        """Iterate with a bar where a person watches, and now and then a line otherwise."""
        return progress(items, label, total)


def run_step(step: Step, params: Params, folder: Path, arguments: Mapping[str, str]) -> list[Path]:
    """Run a step unless its artifacts already carry its key; return their paths.

    Raises `UserError` if an input is missing or damaged; what the step had finished before a failure is kept.
    """
    step.check(arguments)
    outputs = [folder / name.format(**arguments) for name in step.outputs]
    key = step.key(params, folder, arguments)
    if all(path.is_file() and _key_of(path) == key for path in outputs):
        return outputs
    for stale in (folder / ".work").glob("-".join((step.name, *arguments.values(), "*"))):
        if not stale.name.endswith(key):
            shutil.rmtree(stale)
    job = Job(step, params, folder, arguments, key)
    try:
        step.function(job, **arguments)
    except OSError as error:
        raise store.storage_error(error, job.workdir) from error
    shutil.rmtree(job.workdir)
    return outputs


def _key_of(path: Path) -> str | None:
    try:
        return store.provenance_of(path).get("key")
    except UserError:
        return None  # a damaged artifact is rebuilt


def choose_device(name: str) -> torch.device:
    """Device by its name, ``auto`` meaning a GPU where there is one; raises `UserError` where there is none such."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"compute.device = {name!r} is not to be had here ({str(error).splitlines()[0]})",
                        remedy="Use auto, cpu or cuda") from None


def watched() -> bool:
    """Whether a person looks on: a terminal, or a notebook that the runner did not start."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return sys.stderr.isatty() or (hasattr(shell, "kernel") and "MICROPRINT_BATCH" not in os.environ)


def progress(items: Iterable, label: str, total: int | None = None) -> Iterator:
    """Iterate with a bar where a person watches, and now and then a line otherwise."""
    with Progress(label, len(items) if total is None else total) as shown:  # type: ignore[arg-type]
        for item in items:
            yield item
            shown.add()


class Progress:
    """How far some work has come: a bar where a person watches, and now and then a line otherwise.

    Parameters
    ----------
    label, unit : what is done, and what is counted.
    total : how many there are.
    done : how many an earlier process has done; they count neither for the speed nor for the time left.
    """

    def __init__(self, label: str, total: int, unit: str = "", done: int = 0):
        self.label, self.total, self.unit, self.done, self.found = label, total, unit, done, done
        self.begin = self.printed = time.monotonic()
        self.bar = None
        if watched():
            from tqdm import tqdm
            self.bar = tqdm(desc=label, total=total, initial=done, unit=f" {unit or 'steps'}")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *failure) -> None:
        if self.bar is not None:
            self.bar.close()

    def add(self, count: int = 1) -> None:
        """Say that `count` more are done."""
        self.done += count
        if self.bar is not None:
            self.bar.update(count)
        elif self.done >= self.total or time.monotonic() - self.printed > LINE_EVERY_S:
            self.printed = time.monotonic()
            print(self._line(self.printed - self.begin), flush=True)

    def _line(self, seconds: float) -> str:
        rate = (self.done - self.found) / max(seconds, 1e-9)
        line = f"{self.label}: {self.done}/{self.total} {self.unit}".rstrip() + f", {seconds:.0f} s"
        if self.unit:
            line += f", {rate:.3g} {self.unit}/s"
        return line if self.done >= self.total else f"{line}, about {duration((self.total - self.done) / rate)} left"


def duration(seconds: float) -> str:
    """A span of time in the unit that suits it."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.0f} s"


# --- a run, as notebooks see it --------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Headline:
    """The one number of a notebook, for the report.

    Attributes
    ----------
    label, unit : what it is.
    value, baseline, paper : ours, the trivial baseline's and the published one (None where there is none).
    """

    label: str
    value: float
    unit: str = ""
    baseline: float | None = None
    paper: float | None = None


class Study:
    """A run's folder and parameters, as a notebook uses them; made by `open_run`."""

    def __init__(self, params: Params):
        self.params = params
        self.folder = run_folder(params)
        self.artifacts = self.folder / "artifacts"
        self.device = choose_device(params.compute.device)
        self._used: dict[str, str] = {}
        self._seconds: dict[str, float] = {}

    def do(self, step: Step, **arguments: str) -> list[Path]:
        """Run a step where `compute.engine` says, or find its artifacts there already; return their paths."""
        if step.chunked or self.params.compute.engine == "local":
            paths = run_step(step, self.params, self.artifacts, arguments)
        else:
            from microprint.cluster import submit
            paths = submit(step.name, self.params, self.artifacts, arguments)
        made = {path.name: store.provenance_of(path) for path in paths}
        self._used |= {name: provenance["key"] for name, provenance in made.items()}
        # The outputs of a step are written one after the other: the last one knows how long all of them took.
        self._seconds[" ".join((step.name, *arguments.values()))] = max(p.get("seconds", 0.0) for p in made.values())
        return paths

    def open(self, name: str, kind: str | None = None) -> h5py.File:
        """Artifact of this run, open for reading; `UserError` if it is missing or damaged."""
        return store.open_hdf5(self.artifacts / name, kind)

    def path(self, name: str) -> Path:
        """Path of an artifact of this run."""
        return self.artifacts / name

    def generator(self, label: str) -> torch.Generator:
        """Random generator of one stream of the notebook, from the run's seed."""
        return torch.Generator().manual_seed(stream_seed(self.params, label))

    def close(self, notebook: str, *, metrics: Mapping[str, float], headline: Headline, figure=None):
        """Record a notebook's metrics, headline and picture for the report, and show its provenance.

        Parameters
        ----------
        notebook : its number, e.g. ``"03"``; every metric's name starts with it.
        metrics : flat dictionary of numbers, the unit in the name.
        figure : matplotlib figure for the index page.
        """
        wrong = [name for name in metrics if not name.startswith(f"{notebook}.")]
        if wrong:
            raise ValueError(f"metrics of notebook {notebook} start with {notebook}., unlike {wrong[0]}")
        import resource
        results = self.folder / "results"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)
        store.save_json(results / f"{notebook}.json", {
            "metrics": {k: float(v) for k, v in metrics.items()}, "headline": vars(headline), "artifacts": self._used,
            "steps_seconds": self._seconds, "peak_mib": peak})
        if figure is not None:
            with store.atomic(results / f"{notebook}.png") as temporary:
                figure.savefig(temporary, format="png", dpi=110, bbox_inches="tight")
        return _show_provenance(self)


def open_run(**sections: Mapping[str, Any]) -> Study:
    """Check the sections of a notebook's parameters cell and open the run's folder.

    Parameters
    ----------
    **sections : plain dictionaries, as in a parameter file.

    Raises
    ------
    UserError
        For an unknown or ill-typed parameter.
    """
    return Study(validate(sections, where="the parameters cell"))


def run_folder(params: Params) -> Path:
    """Folder of the run: absolute, or below the repository that the working directory lies in."""
    here = Path.cwd()
    repository = next((p for p in (here, *here.parents) if (p / "run_all.py").is_file()), here)
    return repository / params.run.root / params.run.name


def save_resolved(params: Params) -> Path:
    """Write the run's complete parameters, for reruns and for steps from a shell."""
    path = run_folder(params) / "params.json"
    store.save_json(path, as_dict(params))
    return path


def _show_provenance(study: Study):
    from IPython.display import Markdown
    facts = store.environment()
    packages = ", ".join(f"{name} {found}" for name, found in facts["packages"].items() if found)
    changes = " with uncommitted changes" if facts["dirty"] else ""
    commit = (facts["commit"] or "none")[:10] + changes
    return Markdown(f"**Provenance** · {store.now()} · commit {commit} · Python {facts['python']}, {packages} · "
                    f"{facts['machine']}, device {study.device} · run `{study.params.run.name}`, seed {study.params.run.seed}")
