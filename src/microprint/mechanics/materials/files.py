"""From a name, a file or its content to the one phase that is meant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import yaml

from microprint.errors import UserError, one_line
from microprint.mechanics.materials.keys import nearest
from microprint.mechanics.materials.material import Material
from microprint.mechanics.materials.reader import ROOM, Reader

_NOTES = {"references", "comment", "description"}
_SECTIONS = {"phase", "material", "homogenization"} | _NOTES
_REMEDY = "Write NAME: {lattice: ..., mechanical: {elastic: ..., plastic: ...}}"


def load_material(source: str | Path | Mapping[str, Any] | Material, temperature: float = ROOM) -> Material:
    """The phase of a DAMASK material file, its content, or a material that comes with the package.

    Those are ``"Mg"``, ``"Cu"``, ``"Al"``, ``"Au"``, ``"Ti"``, ``"ferrite"`` and ``"IN625"``, in any capitals, from DAMASK's
    examples.
    Elastic constants that depend on temperature are evaluated at `temperature` (K); a `Material` is returned as it is.
    Raises `UserError` for an unknown name, an unreadable file, more than one phase, and whatever in the phase is missing,
    unusable, unknown, or beyond this package's law.
    """
    if isinstance(temperature, bool) or not isinstance(temperature, Real) or not 0 < temperature <= 1e4:
        raise UserError(f"temperature = {temperature!r} is not between 0 and 10,000 K", "load_material", "Give it in K")
    if isinstance(source, Material):
        if temperature != ROOM:
            raise UserError(f"a Material keeps its temperature, {temperature} K is too late", source.name, "Load it anew")
        return source
    if isinstance(source, Mapping):
        return parse_material(source, "material", temperature)
    path = material_file(source)
    try:
        content = yaml.load(path.read_bytes(), _Loader)
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", path) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"is not valid YAML ({one_line(error)})", path) from None
    return parse_material(content, path.name, temperature)


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key that is written twice is a mistake."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node, seen = super().compose_mapping_node(anchor), set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} is written twice", problem_mark=key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else key)
        return node


def material_file(source: str | Path) -> Path:
    """File of a material that comes with the package, or the user's own; raises `UserError` where there is neither."""
    shipped = {path.stem: path for path in Path(__file__).parent.glob("*.yaml")}
    if not isinstance(source, (str, Path)):
        raise UserError(
            f"{source!r} is no material", remedy=f"Give a DAMASK material file, or one of {', '.join(sorted(shipped))}"
        )
    if str(source) in shipped:
        return shipped[str(source)]
    try:
        if Path(source).is_file():
            return Path(source)
    except OSError:  # a name that no file can have
        pass
    meant = [path for name, path in shipped.items() if name.lower() == str(source).lower()]
    if meant:
        return meant[0]
    remedy = f"Give a DAMASK material file, or one of {', '.join(sorted(shipped))}; nearest is {nearest(str(source), shipped)}"
    raise UserError(f"no material is called {str(source)!r} and no such file can be read", remedy=remedy)


def parse_material(content: Mapping[str, Any], where: object, temperature: float = ROOM) -> Material:
    """Material of a mapping ``{name: phase}`` or a whole DAMASK material file, see `load_material`.

    Of several phases of a file, that is meant which its ``material`` section uses, if it uses one alone.
    """
    content = _plain(content, where)
    whole = isinstance(content, dict) and "phase" in content
    phases = content["phase"] if whole else content
    phases = {name: phase for name, phase in phases.items() if name not in _NOTES} if isinstance(phases, dict) else {}
    if not any(isinstance(phase, dict) for phase in phases.values()):
        raise UserError("holds no phase", where, _REMEDY)
    if phases.keys() & {"lattice", "mechanical", "elastic", "plastic"}:
        raise UserError("its phase has no name", where, _REMEDY)
    for name in [key for key in content if key not in _SECTIONS] if whole else []:
        raise UserError(f"unknown section {name}", where, f"The nearest known one is {nearest(name, _SECTIONS)}")
    used = _used(content["material"], phases, where) if whole and content.get("material") else list(phases)
    if len(used) > 1:
        raise UserError(f"holds {len(used)} phases, {', '.join(used)}", where, "Keep the one to simulate and delete the others")
    [name] = used
    if not isinstance(phases[name], dict):
        raise UserError(f"{name} = {phases[name]!r} is no phase", where, _REMEDY)
    return Reader(name, phases[name], where, float(temperature)).material()


def _plain(content: Any, where: object) -> Any:
    """A copy in the values of JSON: dictionaries by text, lists, texts, numbers; arrays become lists."""
    try:
        return json.loads(
            json.dumps(content, default=lambda value: value.tolist() if hasattr(value, "tolist") else _items(value))
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"cannot be read as plain values ({error})", where, "Give numbers, texts, lists and sections") from None


def _items(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _used(entries: Any, phases: Mapping[str, Any], where: object) -> list[str]:
    """Names of the phases that the section ``material`` uses, in the file's order."""
    try:
        names = {str(constituent["phase"]) for entry in entries for constituent in entry["constituents"]}
    except (TypeError, KeyError):
        names = set()
    if not names:
        raise UserError("material: an entry lacks constituents with a phase each", where, "Mend or delete the section")
    for name in sorted(names - phases.keys()):
        raise UserError(f"material: uses {name}, which is no phase of the file", where, f"It holds {', '.join(phases)}")
    return [name for name in phases if name in names]
