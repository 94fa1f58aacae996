"""Hold the crystal-plasticity solver to stored results of DAMASK's grid solver.

    python benchmarks/verify_mechanics.py FILE... [--only NAME] [--fields] [--tolerance X] [--device cuda]

Every case of every file is simulated with its own material, load and time steps, and its mean stress is compared with
the stored one at every stored increment. In metals that yield at a small share of a step, copper say, so long a step
has several solutions, and the engine divides it. Where a case is past its tolerance there, the limit of fine steps is
the judge, which the engine as it is has to be as near to as DAMASK. Printed are the relative errors of the component
along the load's axis, one number for each increment (for paths with load_json, the largest error of any component over
the path's largest stress), and at the end all cases, the worst first. Exit code: 0 if every case is within its
tolerance, 1 if one is not, 2 for a file that cannot be used.

A file is HDF5; a case is a group with the volume averages F and P (T, 3, 3; Pa; the undeformed state first) and, there
or in a group above it, grain_id (n, n, n) and quaternion (G, 4) (a lone quaternion is a single crystal),
material_json and load_yaml (or load_json, its list of steps) as DAMASK reads them. Without either the load is F_xx as
stored, lateral stress nil.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, nan
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from microprint import UserError, simulate_cp
from microprint.mechanics import CPResult, LoadStep
from microprint.mechanics.load import read_load
from microprint.mechanics.materials import Material, load_material
from microprint.mechanics.time_step import Numerics

# In the time steps as they are, undivided.
NUMERICS = {
    "single crystal": Numerics(equilibrium=1e-7, boundary=1e-7, overshoot=inf),
    "element": Numerics(equilibrium=5e-5, boundary=5e-5, overshoot=inf),
}
# Accepted relative error of the mean stress and, at the end, of the accumulated slip and of the stress field (rms).
TOLERANCES = {
    "single crystal, F prescribed": 1e-6,
    "single crystal": 1e-4,
    "elastic element": 1e-4,
    "hP element": 5e-4,
    "cubic element": 2e-3,
    "path": 5e-4,  # of the largest stress of the whole path, in every component
}
# Time steps for each one of DAMASK's in the limit of fine steps, and how much further from it than DAMASK one may be.
FINE, MARGIN = 100, 5e-4
SLIP_TOLERANCE = 1e-3
FIELD_TOLERANCE = 5e-3


@dataclass(frozen=True)
class Case:
    """One simulation of DAMASK's, stored.

    Attributes
    ----------
    kind : key of `TOLERANCES`.
    material, load : as simulated; the load in the time steps that DAMASK took.
    stored : indices of the stored states among those of the load.
    grain_id : (n, n, n).   quaternion : (G, 4).
    F, P : volume averages (T, 3, 3), Pa.   gamma_sl : accumulated slip (T, systems), if stored.
    fields : fields of the last state by their names in the file.
    """

    name: str
    kind: str
    material: Material
    load: tuple[LoadStep, ...]
    stored: np.ndarray
    grain_id: np.ndarray
    quaternion: np.ndarray
    F: np.ndarray
    P: np.ndarray
    gamma_sl: np.ndarray | None = None
    fields: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def axis(self) -> int:
        """Direction of the load: the largest prescribed rate of the diagonal of F."""
        return int(np.nanargmax([abs(self.load[0].dot_F[i][i]) for i in range(3)]))

    @property
    def component(self) -> str:
        """What `Errors.axis` is about."""
        return "P" if self.kind == "path" else f"P_{'xyz'[self.axis] * 2}"


@dataclass(frozen=True)
class Errors:
    """Relative errors of one case.

    Attributes
    ----------
    axis : of P along the load's axis, at each increment (T - 1,).
    rest : largest error of any other component of P, relative to the largest component at that increment.
    slip : of the accumulated slip of any system, relative to the largest at the end.
    fields : rms of the error over the rms, by field.
    seconds : run time.   note : how the solver ended.
    """

    axis: np.ndarray
    rest: float
    slip: float
    fields: Mapping[str, float]
    seconds: float
    note: str


# ---------------------------------------------------------------------------------------------- reading


def read_cases(path: Path) -> list[Case]:
    """All cases of a file; `UserError` if it cannot be used."""
    if not path.is_file():
        raise UserError("there is no such file", path)
    try:
        with h5py.File(path) as file:
            cases = [_case(group, path) for group in _groups(file)]
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, yaml.YAMLError) as error:
        fault = " ".join(str(error).split())
        raise UserError(f"cannot be used ({fault})", path, "Give a complete file of DAMASK's results") from None
    if not cases:
        raise UserError("holds no group with the datasets F and P", path, "Give a file of DAMASK's results")
    return cases


def _groups(group: h5py.Group) -> Iterator[h5py.Group]:
    if "P" in group and "F" in group:
        yield group
        return
    for name, child in group.items():
        if isinstance(child, h5py.Group) and name != "fields_last":
            yield from _groups(child)


def _case(series: h5py.Group, path: Path) -> Case:
    name = f"{path.name} {series.name.removesuffix('/series').strip('/')}".strip()
    F, P = series["F"][:], series["P"][:]
    if F.shape != P.shape or F.ndim != 3 or F.shape[1:] != (3, 3) or len(F) < 2 or not np.isfinite([F, P]).all():
        raise ValueError(f"F {F.shape} and P {P.shape} of {series.name} are no series of tensors")
    grain_id, quaternion, text = _element(series, path)
    material, load = load_material(json.loads(text)), read_load(_load(series, F))
    steps, stored = _time_steps(series, load, len(F) - 1)
    slip = next((series[name][:] for name in ("gamma_sl_avg", "gamma_sl") if name in series), None)
    fields = {key: value[:] for key, value in _above(series, "fields_last", {}).items()}
    kind = "path" if "load_json" in series.attrs else _kind(material, load, single=len(quaternion) == 1)
    return Case(name, kind, material, steps, stored, grain_id, quaternion, F, P, slip, fields)


def _above(group: h5py.Group, name: str, default: Any = None) -> Any:
    """A member or attribute of a group or, failing that, of the nearest group above it that has one."""
    while True:
        if name in group:
            return group[name]
        if name in group.attrs:
            return group.attrs[name]
        if group.name == "/":
            return default
        group = group.parent


def _element(series: h5py.Group, path: Path) -> tuple[np.ndarray, np.ndarray, str]:
    """Grain ids, orientations and material_json; a run with finer time steps (``NAME__N100``) has those of ``NAME.h5``."""
    quaternion = _above(series, "quaternion")
    if quaternion is None:
        other = path.with_name(series.name.split("/")[-1].split("__N")[0] + ".h5")
        if not other.is_file():
            raise ValueError(f"{series.name} has no orientations, and {other.name} does not lie beside it")
        with h5py.File(other) as file:
            return file["grain_id"][:], file["quaternion"][:], file.attrs["material_json"]
    text = _above(series, "material_json")
    for part in series.name.split("/"):
        text = text or series.file.attrs.get(f"{part}_json")
    if text is None:
        raise ValueError(f"{series.name} has no material_json")
    quaternion = np.asarray(quaternion, dtype=float)
    if quaternion.shape == (4,):
        return np.zeros((2, 2, 2), dtype=int), quaternion[None], text
    return _above(series, "grain_id")[:], quaternion, text


def _load(series: h5py.Group, F: np.ndarray) -> tuple[LoadStep, ...]:
    if "load_json" in series.attrs:
        return read_load(json.loads(series.attrs["load_json"]))
    text = _above(series, "load_yaml")
    if text is not None:
        return read_load(yaml.safe_load(text))
    duration, states = float(series["t"][-1]) if "t" in series else 10.0, len(F) - 1
    rate = (F[-1, 0, 0] - F[0, 0, 0]) / duration
    dot_F, P = [[rate, 0.0, 0.0], [0.0, nan, 0.0], [0.0, 0.0, nan]], [[nan] * 3, [nan, 0.0, nan], [nan, nan, 0.0]]
    return (LoadStep(dot_F, P, duration, states * max(1, len(series["iterations"]) // states)),)


def _time_steps(series: h5py.Group, load: tuple[LoadStep, ...], states: int) -> tuple[tuple[LoadStep, ...], np.ndarray]:
    """The load in the time steps that DAMASK took, and the stored states among them.

    An increment that was cut back is taken in the same two halves; where the file does not tell which one it was, it
    was the first (no other was ever seen).
    """
    if len(load) > 1 or "load_json" in series.attrs:
        return load, np.arange(states + 1)
    [step] = load
    size = step.t / step.N
    cut = {0} if _above(series, "cutbacks", 0) and "solver_step_time" not in series else set()
    if "solver_step_time" in series:
        solved = series["solver_step_time"][:] / size
        cut = {int(time) for time in solved if abs(time - round(time)) > 1e-6}
    counts = [1 + (i in cut) for i in range(step.N)]
    times = series["t"][:] if "t" in series else np.linspace(0.0, step.t, states + 1)
    increments = np.rint(times / size).astype(int)
    if np.abs(times - increments * size).max() > 1e-6 * step.t or increments[-1] > step.N:
        raise ValueError(f"{series.name} has states at other times than the ends of increments")
    return _merged([replace(step, t=size, N=count) for count in counts]), np.cumsum([0, *counts])[increments]


def _merged(steps: Sequence[LoadStep]) -> tuple[LoadStep, ...]:
    """The same path, in as few steps as possible: an extrapolation from the last increment ends with a step."""
    result = [steps[0]]
    for step in steps[1:]:
        last = result[-1]
        if abs(last.t / last.N - step.t / step.N) < 1e-9 * step.t:
            result[-1] = replace(last, t=last.t + step.t, N=last.N + step.N)
        else:
            result.append(step)
    return tuple(result)


def _kind(material: Material, load: Sequence[LoadStep], single: bool) -> str:
    if single:
        prescribed = not any(free for step in load for row in step.free for free in row)
        return "single crystal, F prescribed" if prescribed else "single crystal"
    return "elastic element" if not material.slips else "hP element" if material.lattice == "hP" else "cubic element"


# ---------------------------------------------------------------------------------------------- comparing


def compare(case: Case, device: str, fields: bool) -> Errors:
    """Simulate a case and compare."""
    start = time.perf_counter()
    result = _simulate(case, case.load, device, fields=fields and bool(case.fields))
    P = result.P[0].numpy()[case.stored][1:]
    expected = case.P[1:]
    along = (slice(None), case.axis, case.axis)
    difference = np.abs(P - expected)
    rest = difference / np.abs(expected).max((1, 2), keepdims=True)
    rest[along] = 0.0
    path = case.kind == "path"
    return Errors(
        difference.max((1, 2)) / np.abs(expected).max() if path else difference[along] / np.abs(expected[along]),
        float(rest.max()),
        _slip_error(result, case),
        _field_errors(result, case) if fields else {},
        time.perf_counter() - start,
        _note(result),
    )


def _simulate(case: Case, load: Sequence[LoadStep], device: str, overshoot: float = inf, fields: bool = False) -> CPResult:
    numerics = replace(NUMERICS["single crystal" if case.kind.startswith("single") else "element"], overshoot=overshoot)
    return simulate_cp(case.grain_id, case.quaternion, case.material, load, numerics=numerics, fields=fields, device=device)


def from_limit(case: Case, device: str) -> tuple[np.ndarray, np.ndarray] | None:
    """How far the engine as it is and DAMASK are from the limit of fine steps: largest error of any component of P over the
    largest component, at each increment (T - 1,). Nothing if the engine divides no increment.
    """
    result = _simulate(case, case.load, device, Numerics().overshoot)
    if not result.substeps.any():
        return None
    fine = _simulate(case, [replace(step, N=FINE * step.N) for step in case.load], device)
    limit = fine.P[0].numpy()[FINE * case.stored][1:]
    size = np.abs(limit).max((1, 2))
    ours, damask = (np.abs(P - limit).max((1, 2)) / size for P in (result.P[0].numpy()[case.stored][1:], case.P[1:]))
    return ours, damask


def _slip_error(result: CPResult, case: Case) -> float:
    if case.gamma_sl is None or not case.gamma_sl.size:
        return 0.0
    found = result.gamma_sl[0].numpy()[case.stored]
    return float(np.abs(found - case.gamma_sl).max() / case.gamma_sl.max())


def _field_errors(result: CPResult, case: Case) -> dict[str, float]:
    if not case.fields:
        return {}
    cauchy = result.cauchy_field[0].numpy()
    voigt = [cauchy[..., i, j] for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]
    found = {
        "P_Pa": result.P_field[0].numpy(),
        "sigma6_Pa": np.stack(voigt, -1),
        "F": result.F_field[0].numpy(),
        "gamma_sl": result.gamma_sl_field[0].numpy(),
        "gamma_sl_sum": result.gamma_sl_field[0].sum(-1).numpy(),
        "gamma_tw_sum": result.gamma_tw_field[0].sum(-1).numpy(),
    }
    offset = {"F": np.eye(3)}
    return {
        name: float(np.sqrt(np.square(found[name] - stored).mean() / np.square(stored - offset.get(name, 0.0)).mean()))
        for name, stored in case.fields.items()
    }


def _note(result: CPResult) -> str:
    if not result.converged[0]:
        return f"did not converge: {result.reason[0]}"
    return f"cut back {int(result.cutbacks[0])} times" if result.cutbacks[0] else ""


def faults(case: Case, errors: Errors, tolerance: float | None) -> list[str]:
    """What is beyond its tolerance; nan, from a run that failed, always is."""
    tolerance = tolerance or TOLERANCES[case.kind]
    judged = {case.component: (errors.axis.max(), tolerance)}
    if case.kind.startswith("single"):
        judged["other components of P"] = (errors.rest, tolerance)
        judged["accumulated slip"] = (errors.slip, max(tolerance, SLIP_TOLERANCE))
    for name in ("P_Pa", "sigma6_Pa"):
        if name in errors.fields:
            judged[f"field {name}"] = (errors.fields[name], FIELD_TOLERANCE)
    return [f"{name} {error:.1e} > {most:.0e}" for name, (error, most) in judged.items() if not error <= most]


def describe(case: Case, errors: Errors, distances: tuple[np.ndarray, np.ndarray] | None, failed: Sequence[str]) -> str:
    """What is printed of one case."""
    size = "x".join(str(n) for n in case.grain_id.shape)
    lines = [
        f"{case.name}: {case.material.name}, {case.kind}, {size}, {errors.seconds:.1f} s",
        f"  error of {case.component} at each increment: {' '.join(f'{e:.0e}' for e in errors.axis)}",
        f"  worst {errors.axis.max():.1e}; other components {errors.rest:.1e}; accumulated slip {errors.slip:.1e}",
    ]
    if errors.fields:
        lines.append("  fields, rms: " + ", ".join(f"{name} {error:.1e}" for name, error in errors.fields.items()))
    if distances:
        for who, distance in zip(("ours", "DAMASK"), distances):
            lines.append(f"  from the limit of fine steps, {who}: {' '.join(f'{d:.0e}' for d in distance)}")
    lines += [f"  {text}" for text in (errors.note, f"FAILED: {'; '.join(failed)}" if failed else "") if text]
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--only", metavar="NAME", help="cases with NAME in their name alone")
    parser.add_argument("--tolerance", type=float, help="of the mean stress; by default " + str(TOLERANCES))
    parser.add_argument("--fields", action="store_true", help="compare the fields of the last increment, where stored")
    parser.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, ...")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        cases = [case for path in options.files for case in read_cases(path) if (options.only or "") in case.name]
        if not cases:
            raise UserError(f"no case has {options.only!r} in its name", remedy="Leave --only out to see all names")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    table = []
    for case in cases:
        errors = compare(case, options.device, options.fields)
        failed = faults(case, errors, options.tolerance)
        distances = from_limit(case, options.device) if failed else None
        if distances:
            near = (distances[0] <= distances[1] + MARGIN).all()
            failed = [] if near else ["further from the limit of fine steps than DAMASK"]
        table.append((errors.axis.max() if distances is None else distances[0].max(), case, failed))
        print(describe(case, errors, distances, failed), flush=True)
    print("\nworst first:")
    for error, case, failed in sorted(table, key=lambda row: -np.nan_to_num(row[0], nan=np.inf)):
        print(f"  {error:8.1e}  {'FAILED' if failed else 'ok    '}  {case.name} ({case.kind})")
    failures = sum(bool(failed) for _, _, failed in table)
    print(f"{len(table) - failures} of {len(table)} cases within tolerance")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
