"""Load paths with mixed boundary conditions, as DAMASK states them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from itertools import product
from math import inf, isfinite, isnan, nan
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

import yaml

from microprint.errors import UserError, one_line

Components = Sequence[Sequence[float]]
LoadName = Literal["tension", "compression", "shear", "unload", "cyclic"]
FREE = ((nan, nan, nan),) * 3
_QUANTITIES = ("dot_F", "F", "P", "dot_P")
# What a load step of DAMASK may hold; the values of the last ones change nothing of the response.
_STEP = {"boundary_conditions", "discretization", "f_out", "f_restart", "estimate_rate"}


@dataclass(frozen=True)
class LoadStep:
    """Part of a load path: of each component of the mean F or P one quantity is prescribed; the others are nan there.

    F and P (first Piola-Kirchhoff stress) are values at the step's end, reached linearly from where the cell is.
    """

    dot_F: Components = FREE  # (3, 3) in 1/s
    P: Components = FREE  # (3, 3) in Pa
    t: float = 10.0  # s
    N: int = 20  # increments
    F: Components = field(default=FREE, kw_only=True)  # (3, 3)
    dot_P: Components = field(default=FREE, kw_only=True)  # (3, 3) in Pa/s

    @property
    def free(self) -> list[list[bool]]:
        """Components (3, 3) of the mean F that a stress condition decides."""
        return [[isnan(self.dot_F[i][j]) and isnan(self.F[i][j]) for j in range(3)] for i in range(3)]


# --- paths with a name ----------------------------------------------------------------------------------------------


def uniaxial_tension(axis: str = "x", rate: float = 1e-3, strain: float = 0.01, increments: int = 20) -> tuple[LoadStep, ...]:
    """Tension (or compression, `strain` < 0) along an axis; no lateral mean normal stress, no mean shear deformation.

    `strain` is F - 1 along the axis at the end, `rate` the magnitude of its rate in 1/s.
    """
    along = _checked(axis, rate, strain)
    P = [[0.0 if i == j != along else nan for j in range(3)] for i in range(3)]
    dot_F = [[0.0 if isnan(P[i][j]) else nan for j in range(3)] for i in range(3)]
    dot_F[along][along] = rate if strain > 0 else -rate
    return (LoadStep(dot_F, P, abs(strain) / rate, increments),)


def standard_load(
    name: LoadName, axis: str = "x", rate: float = 1e-3, strain: float = 0.01, increments: int = 20
) -> tuple[LoadStep, ...]:
    """Load path of a name; arguments as in `uniaxial_tension`, `increments` for each part of the path.

    ``shear`` is simple shear: a displacement along the axis that grows with the next one of x, y, z. ``unload`` is tension,
    then the way back to a mean stress of zero. ``cyclic`` is tension, compression to the opposite strain, and back to zero.
    """
    along = _checked(axis, rate, strain)
    if name == "shear":
        dot_F = [[0.0] * 3 for _ in range(3)]
        dot_F[along][(along + 1) % 3] = rate if strain > 0 else -rate
        return (LoadStep(dot_F, FREE, abs(strain) / rate, increments),)
    tension = uniaxial_tension(axis, rate, -strain if name == "compression" else strain, increments)
    if name == "unload":
        stress = [[0.0 if i == j else nan for j in range(3)] for i in range(3)]
        deformation = [[nan if i == j else 0.0 for j in range(3)] for i in range(3)]
        return (*tension, LoadStep(deformation, stress, abs(strain) / rate, increments))
    if name == "cyclic":
        back = uniaxial_tension(axis, rate, -2 * strain, 2 * increments)
        return (*tension, *back, *uniaxial_tension(axis, rate, strain, increments))
    return tension


def driven_component(load: Sequence[LoadStep]) -> tuple[int, int]:
    """Component of F, and of P, that a load is about: the one that its first step moves fastest."""
    step, components = load[0], list(product(range(3), repeat=2))

    def largest(*changes: float) -> float:
        return max(abs(change) for change in (0.0, *changes) if isfinite(change))

    sizes = {(i, j): largest(step.t * step.dot_F[i][j], step.F[i][j] - (i == j)) for i, j in components}
    if not any(sizes.values()):  # the stress drives
        sizes = {(i, j): largest(step.P[i][j], step.dot_P[i][j]) for i, j in components}
    return max(sizes, key=sizes.get)


def _checked(axis: str, rate: float, strain: float) -> int:
    if axis not in ("x", "y", "z"):
        raise UserError(f"axis = {axis!r} is no axis", "load", "Use x, y or z")
    if not (isfinite(rate) and rate > 0 and isfinite(strain) and strain != 0):
        raise UserError(f"strain = {strain} at rate = {rate} /s is no load", "load", "Give a strain and a positive rate")
    return "xyz".index(axis)


# --- paths of a user --------------------------------------------------------------------------------------------------


def read_load(source: Any) -> tuple[LoadStep, ...]:
    """A load path: steps (`LoadStep`, or dictionaries as in DAMASK's load files), one of them, such a file or its content.

    Numbers may stand in lists, numpy arrays or tensors; what is free is nan, None or "x". Raises `UserError` that names the
    step and the component at fault.
    """
    where = "load"
    if isinstance(source, (str, Path)):
        where, source = str(source), _read_yaml(Path(source))
        if not isinstance(source, Mapping) or "loadstep" not in source:
            raise UserError("holds no list 'loadstep'", where, "Give a load file of DAMASK's grid solver")
    if isinstance(source, Mapping) and "loadstep" in source:
        _refuse_others(source, {"loadstep", "solver", "references"}, where)
        _check_solver(source.get("solver") or {}, where)
        source = source["loadstep"]
    steps = [source] if isinstance(source, (LoadStep, Mapping)) else source
    if not isinstance(steps, Sequence) or isinstance(steps, str) or not steps:
        raise UserError("the load path has no step", where, "Give a list of load steps")
    return tuple(_step(step, f"{where}[{number}]") for number, step in enumerate(steps))


def plain(load: Sequence[LoadStep]) -> list[dict[str, Any]]:
    """A load path as dictionaries that JSON can hold; `from_plain` reads them."""
    return [asdict(step) for step in load]


def from_plain(steps: Sequence[Mapping[str, Any]]) -> tuple[LoadStep, ...]:
    """The load path that `plain` wrote down, checked as by `read_load`."""
    return read_load([LoadStep(**step) for step in steps])


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError("there is no such load file", path, "Give the path of a file load.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"is not valid YAML ({one_line(error)})", path) from None


def _check_solver(solver: Mapping[str, Any], where: str) -> None:
    if other := set(solver) - {"mechanical"}:
        raise UserError(f"asks for a solver of {', '.join(sorted(other))}", where, "Mechanics alone is solved here: delete it")


def _step(step: Any, where: str) -> LoadStep:
    if isinstance(step, Mapping):
        step = _from_damask(step, where)
    if not isinstance(step, LoadStep):
        raise UserError(
            f"{type(step).__name__} is no load step", where, "Give a LoadStep, or a load step of DAMASK's as a dict"
        )
    quantities = {name: _matrix(getattr(step, name), name, where) for name in _QUANTITIES}
    t, N = _number(step.t, "t", where), step.N
    if isinstance(N, Real) and not isinstance(N, bool) and N == int(N if isfinite(N) else 0):
        N = int(N)
    if not (isfinite(t) and t > 0 and isinstance(N, Integral) and not isinstance(N, bool) and N >= 1):
        raise UserError(f"t = {t} s in N = {N} increments is no duration", where, "Give t > 0 and a whole N >= 1")
    for i in range(3):
        for j in range(3):
            _check_component({name: matrix[i][j] for name, matrix in quantities.items()}, "xyz"[i] + "xyz"[j], where)
    checked = LoadStep(t=t, N=int(N), **quantities)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        if checked.free[i][j] and checked.free[j][i]:
            fault = f"stress is prescribed for {'xyz'[i]}{'xyz'[j]} and for its transpose, which leaves a rotation free"
            raise UserError(fault, where, "Prescribe the deformation for one of the two")
    return checked


def _from_damask(step: Mapping[str, Any], where: str) -> LoadStep:
    """A load step as DAMASK's files hold it: one condition on F, one on P, and their discretisation in time."""
    _refuse_others(step, _STEP, where)
    conditions, times = step.get("boundary_conditions") or {}, step.get("discretization") or {}
    if not isinstance(conditions, Mapping) or not isinstance(times, Mapping):
        raise UserError("boundary_conditions or discretization is no mapping", where, "Write it as DAMASK's manual does")
    _refuse_others(conditions, {"mechanical"}, where)
    mechanical = conditions.get("mechanical") or {}
    _refuse_others(mechanical, set(_QUANTITIES), where)
    _refuse_others(times, {"t", "N", "r"}, where)
    for pair in (("dot_F", "F"), ("P", "dot_P")):
        if all(name in mechanical for name in pair):
            raise UserError(f"both {pair[0]} and {pair[1]} are given", where, "Give one of them")
    if times.get("r", 1) != 1:
        raise UserError(f"r = {times['r']}: increments grow in time", where, "Only equal increments are known: split the step")
    if missing := [name for name in ("t", "N") if name not in times]:
        raise UserError(f"{missing[0]} is missing in discretization", where, "Give the duration t in s and the increments N")
    return LoadStep(t=times["t"], N=times["N"], **mechanical)


def _refuse_others(content: Any, known: set[str], where: str) -> None:
    if not isinstance(content, Mapping):
        raise UserError(f"{content!r} is no mapping", where, f"Give {', '.join(sorted(known))}")
    if other := [key for key in content if key not in known]:
        near = get_close_matches(str(other[0]), known, 1)
        raise UserError(
            f"{other[0]} is not known here", where, f"Did you mean {near[0]}?" if near else f"Known: {', '.join(sorted(known))}"
        )


def _matrix(value: Any, name: str, where: str) -> tuple[tuple[float, ...], ...]:
    try:
        rows = [list(row) for row in value]
    except TypeError:
        rows = []
    if len(rows) != 3 or any(len(row) != 3 for row in rows):
        raise UserError(f"{name} is not 3 x 3", where, "Give three rows of three components")
    return tuple(tuple(_number(entry, name, where) for entry in row) for row in rows)


def _number(value: Any, name: str, where: str) -> float:
    if value is None or (isinstance(value, str) and value.strip() == "x"):
        return nan
    try:
        if isinstance(value, (bool, str)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        remedy = "Give numbers; nan, None or 'x' where another quantity is prescribed"
        raise UserError(f"{name} holds {value!r}, which is no number", where, remedy) from None


def _check_component(values: Mapping[str, float], component: str, where: str) -> None:
    given = [name for name, value in values.items() if not isnan(value)]
    if len(given) != 1:
        fault = f"both {' and '.join(given)}" if given else "neither deformation nor stress"
        raise UserError(f"component {component} has {fault} prescribed", where, "Prescribe exactly one, nan for the others")
    if abs(values[given[0]]) == inf:
        raise UserError(f"component {component} of {given[0]} is not finite", where, "Give a number")
