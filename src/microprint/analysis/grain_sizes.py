"""How near the sizes of grains come to the law that was asked for, and what plain Voronoi cells would have."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from microprint.microstructures.periodic import centres, nearest_site
from microprint.microstructures.volume_elements import number_without_gaps


def voronoi(count: int, edge: int, grains: int, sweeps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Periodic Voronoi cells of uniform random seeds: grain ids (count, n, n, n), n = `edge`, and numbers of grains (count,).

    In each sweep every seed moves to the centre of its cell (Lloyd); none leaves the cells of a Poisson process.
    """
    seeds = torch.rand((count, grains, 3), generator=generator)
    for _ in range(sweeps):
        seeds, _ = centres(nearest_site(seeds, edge), grains)
    return number_without_gaps(nearest_site(seeds, edge), grains)


def distance_from_law(diameters: np.ndarray, median: float, spread: float) -> float:
    """Largest difference (Kolmogorov-Smirnov) of the shares of grains below a size, in [0, 1], from a log-normal law.

    The law is that of a diameter with this median whose logarithm has the standard deviation `spread`.
    """
    law = ndtr(np.log(np.sort(diameters) / median) / spread)
    steps = np.arange(len(diameters) + 1) / len(diameters)
    return float(max((steps[1:] - law).max(), (law - steps[:-1]).max()))
