"""How surrogates are judged: errors by the number of simulations, families of textures held out, errors along load paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from microprint.analysis import regression
from microprint.mechanics.campaign import PathCurves
from microprint.mechanics.materials import Material
from microprint.mechanics.simulate import simulate_cp
from microprint.microstructures.volume_elements import VolumeElements
from microprint.networks.correction import Correction
from microprint.systems.surrogate import StressSurrogate

MPA = 1e6


def errors_by_labels(
    fits: Mapping[str, Callable[[Tensor], Tensor]], least: Mapping[str, int], truth: Tensor, total: int,
    labels: Sequence[int], draws: int, generator: torch.Generator,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Mean absolute errors (draws, labels) in MPa of models that are fitted to random choices of `total` simulations.

    A fit takes the indices of its simulations and returns what it predicts (N,) of `truth` (N,), both in Pa; with less than
    `least` of them, by default none, it is not asked and has nan.
    """
    errors = {name: np.full((draws, len(labels)), np.nan) for name in fits}
    for draw in range(draws):
        order = torch.randperm(total, generator=generator)
        for column, count in enumerate(labels):
            for name, fit in fits.items():
                if count >= least.get(name, 0):
                    errors[name][draw, column] = regression.mae_mpa(fit(order[:count]), truth)
    return errors


def held_out(
    seen: tuple[Tensor, Tensor], truth: Tensor, families: Sequence[str], asked: tuple[Tensor, Tensor], theirs: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Curves and error bars (B, T), each corrected by the simulations of all families of textures but its own.

    `seen` are curves and spreads (N, T) of volume elements whose simulated curves are `truth` and families `families`.
    """
    mean, std = (torch.empty_like(part) for part in asked)
    for name in dict.fromkeys(theirs):
        others = torch.tensor([family != name for family in families])
        rows = torch.tensor([family == name for family in theirs])
        fitted = Correction.fit(*(part[others] for part in (*seen, truth)))
        mean[rows], std[rows] = fitted.apply(*(part[rows] for part in asked))
    return mean, std


def family_rows(
    alone: Tensor, mean: Tensor, std: Tensor, truth: Tensor, families: Sequence[str], at: int
) -> dict[str, list[float]]:
    """For each family and ``all``: number, mean stress (MPa), R2 alone and corrected, bias (%), coverage of 90 % intervals (%).

    Curves (N, T) in Pa, alone and corrected; all but the coverage, which is of all increments, at the increment `at`.
    """
    groups = {name: torch.tensor([family == name for family in families]) for name in dict.fromkeys(families)}
    rows = {}
    for name, chosen in (groups | {"all": torch.ones(len(truth), dtype=torch.bool)}).items():
        y = truth[chosen]
        rows[name] = [
            len(y), float(y[:, at].mean() / MPA), regression.r2(alone[chosen, at], y[:, at]),
            regression.r2(mean[chosen, at], y[:, at]), float(100 * (mean[chosen, at] / y[:, at] - 1).mean()),
            100 * regression.coverage(mean[chosen, 1:], std[chosen, 1:], y[:, 1:]),
        ]  # fmt: skip
    return rows


def refinement(
    surrogate: StressSurrogate, material: Material, elements: VolumeElements, iterations: Sequence[int]
) -> dict[int, list[float]]:
    """Mean stress (MPa) at the end of the load, by each number of iterations and simulated, by the edge of the grid.

    The grids are those of the volume elements and of every second voxel, fourth and so on, down to 8 voxels an edge.
    """
    edges = [elements.edge >> halved for halved in range(elements.edge.bit_length()) if elements.edge >> halved >= 8]
    rows: dict[int, list[float]] = {}
    for edge in reversed(edges):
        coarse, i_j = elements.sampled(edge), surrogate.component
        marched = (
            StressSurrogate(surrogate.laws, surrogate.load_path, iterations=n, device=surrogate.device) for n in iterations
        )
        stress = [model.predict(coarse.grain_id, coarse.quaternion)[0][:, -1] for model in marched]
        true = simulate_cp(coarse.grain_id, coarse.quaternion, material, surrogate.load_path, device=surrogate.device)
        rows[edge] = [float(x.mean() / MPA) for x in (*stress, true.P[(..., *i_j)][:, -1])]
    return rows


def path_errors(
    models: Sequence[Callable[[int, PathCurves], Tensor]], paths: Sequence[PathCurves]
) -> tuple[dict[str, list[float]], dict[str, tuple]]:
    """Mean absolute errors in MPa by the kind of path, and one example of each kind.

    A model answers the number of a path and the path with first Piola-Kirchhoff stresses as `PathCurves.P`.

    Rows: volume elements; error of all nine components of the first model; error of the normal components of each model; mean
    absolute normal stress. Examples: time (T,) in s, simulated and the first model's normal stresses (T, 3) in MPa.
    """
    sums: dict[str, list[np.ndarray]] = {}
    examples: dict[str, tuple] = {}
    for number, path in enumerate(paths):
        if len(path.P):
            answers = [model(number, path) for model in models]
            normal = [(answer - path.P).diagonal(dim1=2, dim2=3).abs().mean() for answer in answers]
            size = path.P.diagonal(dim1=2, dim2=3).abs().mean()
            row = torch.stack([(answers[0] - path.P).abs().mean(), *normal, size]) / MPA
            sums.setdefault(path.kind, []).append(np.append(row.numpy(), 1.0) * len(path.P))
            times = np.cumsum([0.0] + [step.t / step.N for step in path.load for _ in range(step.N)])
            pair = (x[0].diagonal(dim1=1, dim2=2).numpy() / MPA for x in (path.P, answers[0]))
            examples.setdefault(path.kind, (times, *pair))
    total = {kind: np.sum(rows, 0) for kind, rows in sums.items()}
    return {kind: [int(row[-1]), *(row[:-1] / row[-1]).tolist()] for kind, row in total.items()}, examples
