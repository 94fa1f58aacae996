"""Load paths with mixed boundary conditions, as DAMASK states them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, isnan, nan
from numbers import Integral

from microprint.errors import UserError

Components = Sequence[Sequence[float]]
_FREE = ((nan, nan, nan),) * 3


@dataclass(frozen=True)
class LoadStep:
    """Part of a load path: each component of the mean F or of the mean P is prescribed, never both; nan for the other.

    P, the first Piola-Kirchhoff stress, is reached linearly at the step's end.
    """

    dot_F: Components  # (3, 3) in 1/s
    P: Components = _FREE  # (3, 3) in Pa
    t: float = 10.0  # s
    N: int = 20  # increments


def uniaxial_tension(axis: str = "x", rate: float = 1e-3, strain: float = 0.01, increments: int = 20) -> tuple[LoadStep]:
    """Tension (or compression, `strain` < 0) along an axis; no lateral mean normal stress, no mean shear deformation.

    `strain` is F - 1 along the axis at the end, `rate` the magnitude of its rate in 1/s.
    """
    if axis not in ("x", "y", "z"):
        raise UserError(f"axis = {axis!r} is no axis", "load", "Use x, y or z")
    if not (isfinite(rate) and rate > 0 and isfinite(strain) and strain != 0):
        raise UserError(f"strain = {strain} at rate = {rate} /s is no load", "load", "Give a strain and a positive rate")
    along = "xyz".index(axis)
    dot_F = [[0.0] * 3 for _ in range(3)]
    P = [[nan] * 3 for _ in range(3)]
    for i in range(3):
        dot_F[i][i], P[i][i] = (rate if strain > 0 else -rate, nan) if i == along else (nan, 0.0)
    return (LoadStep(dot_F, P, abs(strain) / rate, increments),)


def check_load(load: Sequence[LoadStep]) -> tuple[LoadStep, ...]:
    """The load path, if it is one; else `UserError` names the step and component."""
    steps = tuple(load)
    if not steps:
        raise UserError("the load path has no step", "load")
    for number, step in enumerate(steps):
        where = f"load[{number}]"
        if not (isfinite(step.t) and step.t > 0 and isinstance(step.N, Integral) and step.N >= 1):
            raise UserError(f"t = {step.t} s in N = {step.N} increments is no duration", where, "Give t > 0 and a whole N >= 1")
        for name, matrix in (("dot_F", step.dot_F), ("P", step.P)):
            if len(matrix) != 3 or any(len(row) != 3 for row in matrix):
                raise UserError(f"{name} is not 3 x 3", where)
        for i in range(3):
            for j in range(3):
                _check_component(step, i, j, where)
    return steps


def _check_component(step: LoadStep, i: int, j: int, where: str) -> None:
    rate, stress, name = step.dot_F[i][j], step.P[i][j], "xyz"[i] + "xyz"[j]
    if isnan(rate) == isnan(stress):
        fault = "neither dot_F nor P" if isnan(rate) else "both dot_F and P"
        raise UserError(f"component {name} has {fault} prescribed", where, "Prescribe exactly one, nan for the other")
    if not (isfinite(rate) or isfinite(stress)):
        raise UserError(f"component {name} is not finite", where)
    if i != j and isnan(rate) and isnan(step.dot_F[j][i]):
        fault = f"stress is prescribed for {name} and for its transpose, which leaves a rotation free"
        raise UserError(fault, where, "Prescribe dot_F for one of the two")
