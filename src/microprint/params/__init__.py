"""Parameters of the study: files are read, checked against the sections and their relations, and turned into typed parameters.

Pydantic checks types and ranges; a machine that only trains, without it, takes what the runner has checked.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from microprint.errors import UserError, one_line
from microprint.params.relations import check_relations
from microprint.params.sections import Params


def load(path: str | Path, overrides: Mapping[str, Any] = {}) -> Params:
    """Read a YAML (or JSON) parameter file, change it by YAML values of dotted keys (``vae.latent_dim``), and check it.

    Raises `UserError` for a missing or unreadable file, an unknown key (with the nearest known one), a wrong type, a value
    out of range, and a relation that does not hold.
    """
    return validate(_override(_read(Path(path)), overrides), where=path)


def validate(sections: Mapping[str, Any], where: object = "parameters", whole: bool = True) -> Params:
    """Check nested sections and return them typed; raises `UserError` as `load` does.

    A file is `whole`: what it leaves out has its default. A notebook holds some sections of a run, and only their relations
    can be checked.
    """
    _refuse_unknown(sections, Params, "", where)
    params = _typed(sections, where)
    check_relations(params, where, vars(params) if whole else sections)
    return params


def _typed(sections: Mapping[str, Any], where: object) -> Params:
    try:
        from pydantic import TypeAdapter, ValidationError
    except ModuleNotFoundError:
        return _build(Params, sections)
    try:
        return TypeAdapter(Params).validate_python(sections, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{key} = {first['input']!r}: {first['msg'].lower()}", where, f"Correct {key}") from None


def as_dict(params: Params) -> dict[str, Any]:
    """Nested plain dictionary of the parameters, with lists for tuples, as YAML, JSON and papermill write them."""
    return json.loads(json.dumps(dataclasses.asdict(params)))


def sections_from(params: Params, names: tuple[str, ...]) -> dict[str, Any]:
    """Plain values of some sections, or of single parameters (``section.parameter``), by name."""
    plain = as_dict(params)
    return {name: reduce(getitem, name.split("."), plain) for name in names}


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except OSError as error:
        known = ", ".join(sorted(p.name for p in path.parent.glob("*.yml"))) or "none"
        raise UserError(f"cannot be read ({error.strerror})", path, f"Parameter files there: {known}") from None
    try:
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (yaml.YAMLError, json.JSONDecodeError) as error:
        raise UserError(f"is not valid {path.suffix[1:].upper()} ({one_line(error)})", path) from None
    if not isinstance(content or {}, dict):
        raise UserError("holds no sections", path, "Start from params/quick.yml")
    return content or {}


def _override(sections: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in overrides.items():
        *parents, leaf = key.split(".")
        section = sections
        for parent in parents:
            section = section.setdefault(parent, {})
            if not isinstance(section, dict):
                raise UserError(f"{key} goes through {parent}, which is a value", "--set")
        section[leaf] = yaml.safe_load(value) if isinstance(value, str) else value
    return sections


def _refuse_unknown(sections: Mapping[str, Any], kind: type, prefix: str, where: object) -> None:
    hints = get_type_hints(kind)
    for key, value in sections.items():
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1, cutoff=0.0)
            raise UserError(f"unknown parameter {prefix}{key}", where, f"The nearest known one is {prefix}{near[0]}")
        if not dataclasses.is_dataclass(hints[key]):
            continue
        if not isinstance(value, Mapping):
            raise UserError(f"{prefix}{key} = {value!r} is not a section", where, f"Write keys below {prefix}{key}:")
        _refuse_unknown(value, hints[key], f"{prefix}{key}.", where)


def _build(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{key: _build(hints[key], item) for key, item in value.items()})
    if get_origin(kind) is tuple:
        inner = [a for a in get_args(kind) if a is not Ellipsis]
        return tuple(_build(inner[min(i, len(inner) - 1)], item) for i, item in enumerate(value))
    return value
