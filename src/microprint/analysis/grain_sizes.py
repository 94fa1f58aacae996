"""How near the sizes of grains come to the law that was asked for, and what plain Voronoi cells would have."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor

from microprint.microstructures.periodic import centres, nearest_site, wrap
from microprint.microstructures.volume_elements import number_without_gaps


def voronoi(count: int, edge: int, grains: int, sweeps: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Periodic Voronoi cells of uniform random seeds: grain ids (count, n, n, n), n = `edge`, and numbers of grains (count,).

    In each sweep every seed moves to the centre of its cell (Lloyd), in half a one half the way; none leaves the cells of a
    Poisson process.
    """
    seeds = torch.rand((count, grains, 3), generator=generator)
    for done in range(math.ceil(sweeps)):
        target, _ = centres(nearest_site(seeds, edge), grains)
        seeds = (seeds + min(sweeps - done, 1.0) * wrap(target - seeds)) % 1.0
    return number_without_gaps(nearest_site(seeds, edge), grains)


def distance_from_law(diameters: np.ndarray, median: float, spread: float) -> float:
    """Largest difference (Kolmogorov-Smirnov) of the shares of grains below a size, in [0, 1], from a log-normal law.

    The law is that of a diameter with this median whose logarithm has the standard deviation `spread`.
    """
    law = ndtr(np.log(np.sort(diameters) / median) / spread)
    steps = np.arange(len(diameters) + 1) / len(diameters)
    return float(max((steps[1:] - law).max(), (law - steps[:-1]).max()))


def error_of_distance(
    diameters: Sequence[np.ndarray], median: float, spread: float, rng: np.random.Generator, draws: int = 200
) -> float:
    """Standard error of `distance_from_law` over volume elements, each with its own array of diameters, by bootstrap."""
    chosen = rng.integers(len(diameters), size=(draws, len(diameters)))
    return float(np.std([distance_from_law(np.concatenate([diameters[i] for i in row]), median, spread) for row in chosen]))


def distance_of_whole_voxels(median: float, spread: float) -> float:
    """`distance_from_law` of grains that have the law's volumes rounded to whole voxels; their median is in voxel edges."""
    diameters = median * np.exp(spread * ndtri((np.arange(10_000) + 0.5) / 10_000))
    voxels = np.maximum(np.round(math.pi / 6 * diameters**3), 1)
    return distance_from_law((6 / math.pi * voxels) ** (1 / 3), median, spread)
