"""What a notebook opens and closes: its parameters, the steps and artifacts of its run, its results."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import torch

from microprint import store
from microprint.cluster import submit
from microprint.errors import MissingData
from microprint.folders import run_folder
from microprint.machine import choose_device
from microprint.microstructures.volume_elements import VolumeElements, read_volume_elements
from microprint.params import validate
from microprint.params.sections import Params
from microprint.steps import Declared, Step, run_step, stream_seed
from microprint.supply import supply


@dataclass(frozen=True)
class Standing:
    """Where a notebook stands by one measure, for the report's index: ours, and what it has to be held against.

    `rival` is the strongest of the page's simple rivals, by its name and value; `rebuilt` the published system as rebuilt here;
    `published` the paper's own number, given only if it is the same measure. Ours is equal where it is nearer than `spread`,
    the scatter over splits or seeds; zero says that none was measured.
    """

    measure: str
    ours: float
    unit: str = ""
    rival: tuple[str, float] | None = None
    rebuilt: float | None = None
    published: float | None = None
    higher_is_better: bool = False
    spread: float = 0.0

    @property
    def verdict(self) -> str:
        """Ours against the best that stands beside it: better, equal or worse; empty where there is nothing to compare."""
        beside = [x for x in (self.rival and self.rival[1], self.rebuilt) if x is not None and math.isfinite(x)]
        if not beside or not math.isfinite(self.ours):
            return ""
        lead = self.ours - max(beside) if self.higher_is_better else min(beside) - self.ours
        return "equal" if abs(lead) <= self.spread else "better" if lead > 0 else "worse"


@dataclass(frozen=True)
class Curve:
    """Learning curves of a notebook for the report's index: errors over what they cost, lines (x, y) by their names.

    Ours is called ``ours``, the published system as rebuilt here ``paper``. Rivals that have the same physics in their form are
    `physical`: the claim that such a form needs few labels is held against the others.
    """

    cost: str  # label of the x axis: labels, or numbers kept
    error: str  # label of the y axis, with its unit
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    physical: Sequence[str] = ()
    note: str = ""  # what else has to be known of the lines, in a sentence: medians over draws, trainings on a GPU


def findings(*sentences: str):
    """The list of a notebook's findings, sentences with numbers that the notebook computed; empty ones are left out."""
    from IPython.display import Markdown

    return Markdown("**Findings**\n\n" + "\n".join(f"- {sentence}" for sentence in sentences if sentence))


class Notebook:
    """A notebook in its run; made by `open_notebook`.

    Its `params` are the sections of its parameters cell; another one is refused, since its values would not be the run's.
    """

    def __init__(self, params: Params, sections: Mapping[str, Any]):
        self._all, self._sections = params, {"run", "compute", *sections}
        self.params = Declared(params, self._sections, "the notebook")
        self.folder, self.device = run_folder(params), choose_device(params.compute.device)
        self._artifacts: dict[str, str] = {}  # keys of all that was made or read
        self._seconds: dict[str, float] = {}

    def do(self, step: Step, **arguments: str) -> list[Path]:
        """Run a step where `compute.engine` says, or find its artifacts there already; return their paths."""
        if missing := {name.split(".")[0] for name in step.reads} - self._sections:
            raise LookupError(f"step {step.name} reads {', '.join(missing)}: state it in the parameters cell and open_notebook")
        step.check(arguments)
        inputs = [name.format(**arguments) for name in step.inputs]
        for name in inputs:
            supply(name, self._all)
        call = (step, self._all, self.folder / "artifacts", arguments)
        here = step.chunked or self.params.compute.engine == "local"
        paths = run_step(*call) if here else submit(self.params.compute, run_step, *call)
        made = {path.name: store.provenance_of(path) for path in paths}
        self._artifacts |= {name: provenance["key"] for name, provenance in made.items()}
        for name in inputs:  # if one of them is replaced, the notebook is out of date
            self.path(name)
        # The outputs of a step are written one after the other: the last one knows how long all of them took.
        self._seconds[" ".join((step.name, *arguments.values()))] = max(p.get("seconds", 0.0) for p in made.values())
        return paths

    def path(self, name: str) -> Path:
        """Path of an artifact of this run; `UserError` if it is missing, and `supply` has none, or damaged."""
        supply(name, self._all)
        path = self.folder / "artifacts" / name
        self._artifacts[name] = store.provenance_of(path).get("key", "")
        return path

    def open(self, name: str, kind: str | None = None) -> h5py.File:
        """Artifact of this run, open for reading; `UserError` if it is missing or damaged."""
        return store.open_hdf5(self.path(name), kind)

    def read_sets(self, symmetry: str, *names: str, least: int = 1) -> dict[str, VolumeElements]:
        """Sets of `polycrystals.h5` by their names, each of `least` volume elements or more.

        What this asks for, in constants, the runner knows beforehand: without it the notebook does not run.
        """
        with self.open("polycrystals.h5") as file:
            sets = {name: read_volume_elements(file, f"{symmetry}/{name}") for name in names}
        for few in (name for name, elements in sets.items() if len(elements) < least):
            raise MissingData(f"{symmetry}/{few} with {least} volume elements")
        return sets

    def load_json(self, name: str) -> dict[str, Any]:
        """Artifact of numbers of this run."""
        return store.load_json(self.path(name))

    def generator(self, label: str) -> torch.Generator:
        """Random generator of one stream of the notebook, from the run's seed."""
        return torch.Generator().manual_seed(stream_seed(self.params.run.seed, label))

    def close(
        self,
        number: str,
        *,
        metrics: Mapping[str, float],
        standings: Sequence[Standing],
        missed: Sequence[str] = (),
        curve: Curve | None = None,
        figure=None,
        caption: str = "",
    ):
        """Record what a notebook found for the report's index page, and show its provenance.

        The name of a metric starts with the notebook's number (``"03."``) and has the unit in it; what is no finite number
        is left out, and named. The first of the `standings` is the headline. `missed` says in a sentence each, with the numbers
        that the notebook computed, what did not reproduce or what a rival does better, and why. The `caption` says of the
        `figure` what a reader of the index alone would miss.
        """
        if wrong := [name for name in metrics if not name.startswith(f"{number}.")]:
            raise ValueError(f"metrics of notebook {number} start with {number}., unlike {wrong[0]}")
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        if unknown := sorted(metrics.keys() - finite):
            print(f"not recorded, as there is no number: {', '.join(unknown)}")
        results = self.folder / "results"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)
        record = {
            "metrics": finite,
            "standings": [_known(asdict(standing) | {"verdict": standing.verdict}) for standing in standings],
            "missed": list(missed),
            "curve": curve and _known(asdict(curve)),
            "caption": caption,
            "artifacts": self._artifacts,
            "steps_seconds": self._seconds,
            "peak_mib": peak,
            "commit": _commit(store.environment()),
        }
        store.save_json(results / f"{number}.json", record)
        if figure is not None:
            with store.atomic(results / f"{number}.png") as temporary:
                figure.savefig(temporary, format="png", dpi=110, bbox_inches="tight")
        return self._provenance()

    def _provenance(self):
        from IPython.display import Markdown

        facts = store.environment()
        packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items() if version)
        return Markdown(
            f"**Provenance** · {store.now()} · commit {_commit(facts)} · Python {facts['python']}, {packages} · "
            f"{facts['machine']}, device {self.device} · run `{self.params.run.name}`, seed {self.params.run.seed}"
        )


def _commit(facts: Mapping[str, Any]) -> str:
    return (facts["commit"] or "none")[:10] + (" with uncommitted changes" if facts["dirty"] else "")


def _known(value: Any) -> Any:
    """What a page can show: nothing where a number is not finite."""
    if isinstance(value, Mapping):
        return {name: _known(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_known(part) for part in value]
    if value is None or isinstance(value, str | bool):
        return value
    return float(value) if math.isfinite(value) else None


def open_notebook(**sections: Mapping[str, Any]) -> Notebook:
    """Check the sections of a notebook's parameters cell, dictionaries as in a parameter file, and open the run's folder.

    What they leave out has its default. Raises `UserError` as `microprint.params.load` does.
    """
    return Notebook(validate(sections, "the parameters cell", whole=False), sections)
