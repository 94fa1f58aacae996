"""Targets for composite designs, and the plain rivals that every design has to beat."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path

import torch
from torch import Tensor

from microprint import store
from microprint.microstructures.composite import cut, generate, smooth
from microprint.params.sections import ElasticitySettings
from microprint.systems.designs import refine_fraction
from microprint.systems.stiffness import components, permute_axes, phase_stiffnesses, simulate, simulate_component
from microprint.systems.stiffness_surrogate import COMPONENTS, StiffnessSurrogate

LONGER = 2.0  # the longest filter of a medium beyond the data, over that in the data
MISSED = 0.1  # relative distance of a target from the data in one property at least
CANDIDATES = 40  # media among which each target beyond the data is sought
AT_ONCE = 64  # media that are simulated together


def simulated(phase_ids: Tensor, tolerance: float = ElasticitySettings.tolerance) -> Tensor:
    """Six components (B, 6), Pa, of composites (B, n, n, n), by simulation."""
    return components(simulate(phase_ids, tolerance=tolerance), COMPONENTS)


def seconds(phase_ids: Tensor, surrogate: StiffnessSurrogate) -> tuple[float, float]:
    """Time of the surrogate and of a simulation for the same composites (B, n, n, n), one after the other."""
    clock = [time.perf_counter()]
    for task in (surrogate.predict, simulated):
        task(phase_ids)
        clock.append(time.perf_counter())
    return clock[1] - clock[0], clock[2] - clock[1]


def errors(stiffness: Tensor, target: Mapping[str, float]) -> Tensor:
    """Relative errors (B, p) of the wanted ones of six components (B, 6)."""
    wanted = torch.tensor(list(target.values()), dtype=torch.float64)
    return (stiffness[:, [COMPONENTS.index(name) for name in target]] / wanted - 1).abs()


def first_property(target: float, values: Tensor, names: Sequence[str]) -> Tensor:
    """Properties (p,) by `names`, of which a target gives the first, and the training composite nearest in it the others.

    `values` are the six components (N, 6) of the training set, Pa.
    """
    columns = values[:, [COMPONENTS.index(name) for name in names]]
    nearest = columns[(columns[:, 0].log() - torch.tensor(target).log()).abs().argmin()]
    return torch.cat([torch.tensor([target], dtype=torch.float64), nearest[1:]])


def nearest(stiffness: Tensor, target: Mapping[str, float]) -> Tensor:
    """Six components (1, 6) of the training composite (N, 6, 6), with its axes in the best order, next to a target."""
    turned = _turned(stiffness)
    return turned[errors(turned, target).amax(1).argmin()][None]


def beyond(edge: int, widths: Sequence[float], stiffness: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Targets (count, 3) of C11, C22 and C33, Pa, that no training composite (N, 6, 6) meets within `MISSED` in all three.

    They are those of media whose filters are up to `LONGER` times as long as any of `widths` in the data, and of any volume
    fraction from 0.15 to 0.85, so that such media exist; of many, those which the data miss by most.
    """
    logs = torch.tensor([min(widths), LONGER * max(widths)]).log()
    drawn = (logs[0] + (logs[1] - logs[0]) * torch.rand(count * CANDIDATES, 3, generator=generator)).exp()
    media = generate(drawn, edge, generator, fractions=(0.15, 0.85)).phase
    targets = torch.cat([simulated(part) for part in media.split(AT_ONCE)])[:, :3]
    known = _turned(stiffness)[:, :3]
    missed = torch.stack([(known / target - 1).abs().amax(1).amin() for target in targets])
    chosen = missed.argsort(descending=True)[:count]
    return targets[chosen[missed[chosen] > MISSED]]


def bisected(
    target: float, evaluations: int, *, widths: Sequence[float], edge: int, count: int, generator: torch.Generator
) -> Tensor:
    """Composites (count, n, n, n) of a wanted C11, Pa: noise with filters at random, and a level searched by simulations."""
    chosen = torch.tensor(widths)[torch.randint(len(widths), (count, 3), generator=generator)]
    field = smooth(torch.rand(count, edge, edge, edge, generator=generator), chosen)
    ends = phase_stiffnesses()[:, 0, 0].tolist()
    return refine_fraction(field, target, lambda ids: simulate_component(ids, "C11"), (ends[0], ends[1]), evaluations)[0]


def overlapping_spheres(count: int, edge: int, generator: torch.Generator) -> Tensor:
    """Composites (count, n, n, n) of another law than the study's: hard spheres that overlap, about half of the volume.

    Their centres are a Poisson process, so that the soft phase's share is exp(-number x volume); radii from a tenth to a fifth
    of the edge. Torquato, "Random heterogeneous materials", 2002, section 5.1.
    """
    axis = torch.arange(edge) + 0.5
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)
    media = []
    for radius in (edge * (0.1 + 0.1 * torch.rand(count, generator=generator))).tolist():
        number = max(1, round(math.log(2) * edge**3 / (4 / 3 * math.pi * radius**3)))
        centres = edge * torch.rand(number, 3, generator=generator)
        inside = torch.zeros(edge, edge, edge, dtype=torch.bool)
        for centre in centres:
            away = (grid - centre + edge / 2) % edge - edge / 2
            inside |= away.square().sum(-1) < radius**2
        media.append(inside.to(torch.uint8))
    return torch.stack(media)


def drawn_again(composites: str | Path, labels: str | Path, index: Sequence[int], generator: torch.Generator) -> Tensor:
    """Other drawings (B, n, n, n) of the filters and volume fractions of some composites, counted as `stiffness.labelled` does.

    Composites whose filter is not known, real ones, come back as they are.
    """
    with store.open_hdf5(composites) as file, store.open_hdf5(labels) as known:
        kept = torch.from_numpy(known["converged"][:]).nonzero()[:, 0][torch.as_tensor(index)].numpy()
        phase, widths = (torch.from_numpy(file[name][:][kept]) for name in ("phase", "widths"))
    noise = torch.rand(phase.shape, generator=generator)
    again = cut(smooth(noise, widths.nan_to_num(1.0)), phase.double().mean((1, 2, 3)))
    return torch.where(widths.isfinite().all(1)[:, None, None, None], again, phase)


def _turned(stiffness: Tensor) -> Tensor:
    """Six components (6 N, 6) of composites (N, 6, 6) with all orders of their axes."""
    return torch.cat([components(permute_axes(stiffness, order), COMPONENTS) for order in permutations(range(3))])
