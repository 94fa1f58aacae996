"""What a notebook that is opened alone lacks: some of it ships with the repository, the rest is made on the spot."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microprint import store
from microprint.folders import REPOSITORY, run_folder
from microprint.params import as_dict, sections_from
from microprint.params.sections import Params
from microprint.steps import Step, file_digests, run_step

REPORT = REPOSITORY / "reports" / "laptop"
SHIPPED = (REPORT / "models", REPOSITORY / "data" / "quick")  # models of the report; data that take minutes (`make shipped`)


def supply(name: str, params: Params) -> None:
    """Put an artifact into the run of a notebook that is opened by hand, if the run has not got it, and say where it is from.

    It is taken from what ships with the repository, else made by its step, and so is what the step reads. Nothing is done in
    a batch run, where a missing artifact is an error, nor for what no step is known to make.
    """
    folder = run_folder(params) / "artifacts"
    if "MICROPRINT_BATCH" in os.environ or (folder / name).exists():
        return
    # The steps need the whole package: they are looked up only where something is missing.
    from microprint.study.catalogue import maker, notebooks_behind

    if not (known := maker(name)):
        return
    step, arguments = known
    inputs = [template.format(**arguments) for template in step.inputs]
    profile = f"params/{params.run.name}.yml"
    run = f"--params {profile}" if (REPOSITORY / profile).is_file() else f"--name {params.run.name}"
    remedy = f"Your own: python run_all.py {run} --only {' '.join(notebooks_behind(step))}"
    if shipped := _shipped(name, params, step, [folder / name for name in inputs]):
        print(f"{name} is missing in run {params.run.name}: taken from {_origin(shipped)}. {remedy}", flush=True)
        with store.atomic(folder / name) as temporary:
            shutil.copyfile(shipped, temporary)
        return
    for needed in inputs:
        supply(needed, params)
    print(f"{name} is missing in run {params.run.name}: made here, by step {step.name}. {remedy}", flush=True)
    run_step(step, params, folder, arguments)


def _shipped(name: str, params: Params, step: Step, inputs: list[Path]) -> Path | None:
    """Path of what ships under a name, if it serves a run with these parameters."""
    path = next((folder / name for folder in SHIPPED if (folder / name).is_file()), None)
    if path is None:
        return None
    if path.suffix == ".safetensors":
        return path if _serves(step, params) else None
    return path if all(_made_with(params, made) for made in (path, *inputs) if made.exists()) else None


def _serves(step: Step, params: Params) -> bool:
    """Whether a model of the report serves: each parameter behind it has the report's value, or the default.

    The report's differ from the defaults in amounts only. Whoever asks for something else, another load, wants another model.
    """
    from microprint.study.catalogue import steps_behind

    names = {name for other in steps_behind(step) for name in other.reads}
    known = [_values(plain, names) for plain in (as_dict(Params()), store.load_json(REPORT / "params.json"))]
    return all(value in [values.get(name) for values in known] for name, value in _values(as_dict(params), names).items())


def _values(plain: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    """Values of some sections and single parameters, by ``section.parameter``."""
    flat = {f"{section}.{key}": value for section, values in plain.items() for key, value in values.items()}
    return {name: value for name, value in flat.items() if name in names or name.split(".")[0] in names}


def _made_with(params: Params, path: Path) -> bool:
    """Whether data were made with these parameters, files and seed."""
    from microprint.study.catalogue import find_step

    made = store.provenance_of(path)
    step = find_step(made["step"])
    expected = sections_from(params, step.reads), file_digests(step.files(params)), params.run.seed
    return (made["params"], made["files"], made["seed"]) == expected


def _origin(shipped: Path) -> str:
    where = shipped.parent.relative_to(REPOSITORY)
    return (
        f"{where}, {'trained on the data of the laptop profile' if shipped.suffix == '.safetensors' else 'of these parameters'}"
    )
