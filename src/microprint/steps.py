"""Heavy work as steps: from parameters, artifacts and files from outside to artifacts.

A step is a function decorated with `step`. Its key is a hash of the source that it runs on, the parameters, files and
artifacts that it declares, and the seed; where its artifacts already carry that key, it is not run again. What it does not
declare it cannot read.
"""

from __future__ import annotations

import inspect
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import torch

from microprint import machine, store
from microprint.errors import UserError
from microprint.keys import digest, file_digest, source_digest
from microprint.params import sections_from
from microprint.params.sections import Params

Files = Mapping[str, Path]


@dataclass(frozen=True)
class Step:
    """A function from parameters, artifacts and files to artifacts; made by the decorator `step`."""

    function: Callable[..., None]
    reads: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    files: Callable[[Params], Files]
    chunked: bool

    @property
    def name(self) -> str:
        return self.function.__name__

    def __reduce__(self):  # another process finds it where it was defined
        return _step_of, (self.function.__module__, self.name)

    def check(self, arguments: Mapping[str, str]) -> None:
        """Raise `UserError` unless the arguments are those that the step takes."""
        wanted = list(inspect.signature(self.function).parameters)[1:]
        if sorted(wanted) != sorted(arguments):
            remedy = f"Its arguments are: {', '.join(wanted) or 'none'}"
            raise UserError(f"step {self.name} got the arguments {', '.join(arguments) or 'none'}", remedy=remedy)

    def key(self, params: Params, folder: Path, arguments: Mapping[str, str]) -> str:
        """Content key: source, parameters, seed, artifacts and files from outside."""
        inputs = [store.provenance_of(folder / name.format(**arguments))["key"] for name in self.inputs]
        parameters, files = sections_from(params, self.reads), file_digests(self.files(params))
        source = source_digest([self.function.__module__])
        return digest(self.name, dict(arguments), params.run.seed, parameters, inputs, files, source)


def _step_of(module: str, name: str) -> Step:
    __import__(module)
    return getattr(sys.modules[module], name)


def step(
    *,
    reads: tuple[str, ...] = (),
    inputs: tuple[str, ...] = (),
    outputs: tuple[str, ...],
    files: Callable[[Params], Files] = lambda params: {},
    chunked: bool = False,
):
    """Declare a function ``f(job, **arguments)`` a step.

    Its result depends on the parameters that it `reads` (sections, or single ones as ``section.parameter``), on its `inputs`,
    and on `files` from outside, by a name that says what each is. The names of artifacts, `inputs` and `outputs`, are
    templates: ``{argument}`` in them is filled from the keyword arguments. `files` is asked before anything starts, and
    raises `UserError` where one is missing or the parameters do not suit, and `MissingData` where a user's own data do not
    suffice: then the study leaves out the notebooks that do the step. A `chunked` step computes a data set with
    `microprint.chunks`, which sends the chunks to the workers of a cluster; itself it always runs in the calling process.
    """
    return lambda function: Step(function, reads, inputs, outputs, files, chunked)


def file_digests(files: Files) -> dict[str, str]:
    """Hash of the content of each file."""
    return {name: file_digest(path) for name, path in sorted(files.items())}


def files_below(folder: str | Path) -> dict[str, Path]:
    """All files of a folder and the folders in it, hidden ones left out, by their names from there.

    Raises `UserError` if it is no folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError("is no folder", folder, "Name a folder, or 'synthetic'")
    return {
        str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file() and not hidden(path, folder)
    }


def hidden(path: Path, folder: Path) -> bool:
    """Whether a name begins with a dot on the way from a folder to a path in it."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def stream_seed(seed: int, label: str) -> int:
    """Seed of one stream of random numbers, from the run's seed and the stream's label."""
    return int(digest(seed, label), 16) % 2**63


class Declared:
    """Parameters (sections, or ``section.parameter``) that a reader declared; to ask for another is a fault of the program."""

    def __init__(self, params: Params, names: Iterable[str], reader: str):
        self._reader, self._names = reader, tuple(names)
        for section in {name.split(".")[0] for name in self._names}:
            whole, single = getattr(params, section), [n.split(".")[1] for n in self._names if n.startswith(f"{section}.")]
            vars(self)[section] = SimpleNamespace(**{n: getattr(whole, n) for n in single}) if single else whole

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self._reader} reads the parameters {name}, but declares {', '.join(self._names) or 'none'}")


class Job:
    """What a running step sees: the artifacts and parameters that it declared, its device, and a folder to resume from.

    `params` hold `compute`, too, on which no result depends. `workdir` is private to this step and key and kept until the step
    has succeeded; a killed step resumes from it. `logs` is a folder of the run for what is worth watching while the step runs.
    From `run_seed`, the run's, `stream_seed` makes the seeds of streams.
    """

    def __init__(self, step: Step, params: Params, folder: Path, arguments: Mapping[str, str], key: str):
        self.name, self.key, self.run_seed, self._folder = step.name, key, params.run.seed, folder
        self.params = Declared(params, ("compute", *step.reads), f"step {step.name}")
        self._inputs, self._outputs = ([name.format(**arguments) for name in names] for names in (step.inputs, step.outputs))
        self.device = machine.choose_device(params.compute.device)
        self.workdir, self.logs = folder / ".work" / "-".join((step.name, *arguments.values(), key)), folder.parent / "logs"
        self.workdir.mkdir(parents=True, exist_ok=True)
        self._begin = time.monotonic()
        farmed = step.chunked and params.compute.engine == "dask"
        self._facts = {
            "key": key,
            "step": step.name,
            "arguments": dict(arguments),
            "seed": params.run.seed,
            "params": sections_from(params, step.reads),
            "files": file_digests(step.files(params)),
            "device": "Dask workers" if farmed else str(self.device),
            "created": store.now(),
            **store.environment(),
        }

    @property
    def provenance(self) -> dict[str, Any]:
        """What made an artifact, with the seconds that it took up to now; a resumed step counts from where it resumed."""
        return self._facts | {"seconds": round(time.monotonic() - self._begin, 1)}

    def seed(self, label: str) -> int:
        """Seed of one stream of random numbers, from the run's seed and the stream's label."""
        return stream_seed(self.run_seed, label)

    def generator(self, label: str, device: str | torch.device = "cpu") -> torch.Generator:
        """Random generator of one stream, on a device."""
        return torch.Generator(device).manual_seed(self.seed(label))

    def path(self, name: str) -> Path:
        """Path of an input artifact."""
        if name not in self._inputs:
            raise LookupError(f"step {self.name} reads {name}, but declares {', '.join(self._inputs) or 'no input'}")
        return self._folder / name

    def open(self, name: str, kind: str | None = None) -> h5py.File:
        """Input artifact, checked, open for reading."""
        return store.open_hdf5(self.path(name), kind)

    def load_json(self, name: str) -> dict[str, Any]:
        """Input artifact of numbers."""
        return store.load_json(self.path(name))

    def _target(self, name: str) -> Path:
        if name not in self._outputs:
            raise LookupError(f"step {self.name} writes {name}, but declares {', '.join(self._outputs)}")
        return self._folder / name

    @contextmanager
    def create(self, name: str, kind: str) -> Iterator[h5py.File]:
        """Output artifact, written atomically, with its provenance."""
        with store.create_hdf5(self._target(name), kind, self.provenance) as file:
            yield file
            file.attrs["provenance"] = json.dumps(self.provenance)  # once more: the seconds end here

    def save_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Output artifact of numbers."""
        store.save_json(self._target(name), {"provenance": self.provenance, **content})

    def save_model(self, name: str, state: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> None:
        """Output model: weights, and what is needed to build it again."""
        store.save_tensors(self._target(name), state, {"config": config, "provenance": self.provenance})


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
