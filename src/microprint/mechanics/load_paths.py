"""Kinds of load path, monotonic and not: what a surrogate of any load has to answer to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp

import torch
from torch.nn.functional import normalize

from microprint.errors import UserError
from microprint.mechanics.deviators import tensor
from microprint.mechanics.load import LoadStep, uniaxial_tension

KINDS = ("tension", "compression", "shear", "unload", "reversal", "turn", "cyclic", "walk")
SHEAR = 1.6  # simple shear for a strain of tension: about as far from yield
PARTS = (2, 5)  # fewest and most parts of a walk
SPREAD = 0.5  # standard deviation of the logarithm of the strain of an increment in a part of a walk
# Axis, strain (in that of an increment) and share of the increments of the parts of each uniaxial path.
_UNIAXIAL = {
    "tension": (("x", 1.0, 1.0),),
    "compression": (("y", -1.0, 1.0),),
    "unload": (("x", 1.0, 0.75), ("x", -0.2, 0.25)),
    "reversal": (("x", 1.0, 0.375), ("x", -1.0, 0.625)),
    "turn": (("x", 1.0, 0.5), ("y", 1.0, 0.5)),
    "cyclic": (("x", 1.0, 0.25), ("x", -1.0, 0.5), ("x", 1.0, 0.25)),
}


def draw_path(kind: str, increments: int, strain: float, dt: float, generator: torch.Generator) -> tuple[LoadStep, ...]:
    """Load path of one of the `KINDS`, of so many increments in all, each of `dt` seconds and a strain of about `strain`.

    ``unload`` turns back with a fifth of the strain an increment, ``turn`` goes from tension along x to tension along y.
    Uniaxial parts are as `uniaxial_tension` has them. ``walk`` alone is random: parts of random lengths and sizes, each
    uniaxial along a random axis or a random deviatoric strain that is prescribed whole, its Frobenius norm the size.
    Raises `UserError` for an unknown kind.
    """
    if kind in _UNIAXIAL:
        axes, strains, shares = zip(*_UNIAXIAL[kind])
        parts = zip(axes, strains, _lengths(increments, shares))
        return tuple(_uniaxial(axis, length, factor * strain, dt) for axis, factor, length in parts if length)
    if kind == "shear":
        rate = torch.zeros(3, 3, dtype=torch.float64)
        rate[0, 1] = SHEAR * strain / dt
        return (_prescribed(rate, increments, dt),)
    if kind != "walk":
        raise UserError(f"unknown kind of load path {kind!r}", remedy=f"Use one of {', '.join(KINDS)}")
    return tuple(_random_part(length, strain, dt, generator) for length in _random_lengths(increments, generator))


def _lengths(increments: int, shares: Sequence[float]) -> list[int]:
    """Increments of each part; with very few of them a part may have none."""
    ends = [round(increments * sum(shares[: number + 1])) for number in range(len(shares))]
    return [end - begin for begin, end in zip([0, *ends], ends)]


def _random_lengths(increments: int, generator: torch.Generator) -> list[int]:
    fewest, most = PARTS
    parts = int(torch.randint(fewest, most + 1, (), generator=generator))
    cuts = torch.randperm(increments - 1, generator=generator)[: parts - 1] + 1
    ends = [*sorted(cuts.tolist()), increments]
    return [end - begin for begin, end in zip([0, *ends], ends)]


def _random_part(increments: int, strain: float, dt: float, generator: torch.Generator) -> LoadStep:
    size = strain * exp(SPREAD * float(torch.randn((), generator=generator)))
    uniaxial, axis, sense = (int(torch.randint(n, (), generator=generator)) for n in (2, 3, 2))
    direction = normalize(torch.randn(5, generator=generator, dtype=torch.float64), dim=0)
    if uniaxial:
        return _uniaxial("xyz"[axis], increments, size if sense else -size, dt)
    return _prescribed(tensor(direction) * (size / dt), increments, dt)


def _uniaxial(axis: str, increments: int, strain: float, dt: float) -> LoadStep:
    """Tension, or compression, of a strain an increment."""
    (step,) = uniaxial_tension(axis, abs(strain) / dt, increments * strain, increments)
    return replace(step, t=increments * dt)


def _prescribed(rate: torch.Tensor, increments: int, dt: float) -> LoadStep:
    """All components of the rate of F, (3, 3) in 1/s."""
    return LoadStep(rate.tolist(), t=increments * dt, N=increments)
