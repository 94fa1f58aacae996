"""How surrogates are judged: errors by the number of simulations, families of textures held out, errors along load paths."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from microprint.analysis import regression
from microprint.mechanics.campaign import FamilyCurves, PathCurves
from microprint.mechanics.datasets import Curves
from microprint.mechanics.load import LoadStep
from microprint.mechanics.materials import Material
from microprint.mechanics.simulate import simulate_cp
from microprint.microstructures.volume_elements import VolumeElements
from microprint.networks.correction import Correction
from microprint.networks.stress_net import StressMLP
from microprint.params.sections import SurrogateSettings
from microprint.systems.direct_surrogate import PASSES
from microprint.systems.fingerprint import Fingerprint
from microprint.systems.surrogate import StressSurrogate
from microprint.training import Schedule, seeded

MPA = 1e6
PATIENT = 16  # iterations that leave nothing to them


def errors_by_labels(
    fits: Mapping[str, Callable[[Tensor], Tensor]], least: Mapping[str, int], truth: Tensor, total: int,
    labels: Sequence[int], draws: int, generator: torch.Generator,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Mean absolute errors (draws, labels, ...) in MPa of models that are fitted to random choices of `total` simulations.

    A fit takes the indices of its simulations and returns what it predicts (N, ...) of `truth` (N, ...), both in Pa; with less
    than `least` of them, by default none, it is not asked and has nan.
    """
    errors = {name: np.full((draws, len(labels), *truth.shape[1:]), np.nan) for name in fits}
    for draw in range(draws):
        order = torch.randperm(total, generator=generator)
        for column, count in enumerate(labels):
            for name, fit in fits.items():
                if count >= least.get(name, 0):
                    errors[name][draw, column] = (fit(order[:count]) - truth).abs().mean(0) / MPA
    return errors


def medians(labels: Sequence[int], errors: Mapping[str, np.ndarray]) -> dict[str, tuple[list[int], list[float]]]:
    """Numbers of simulations and the median error of the draws there, of each model where it was asked."""
    lines = {}
    for name, values in errors.items():
        middle = [(label, float(np.median(column))) for label, column in zip(labels, values.T) if np.isfinite(column).all()]
        lines[name] = tuple(map(list, zip(*middle))) if middle else ([], [])
    return lines


def fit_s1_network(
    z: Tensor, stress: Tensor, held: tuple[Tensor, Tensor], settings: SurrogateSettings, seed: int
) -> Callable[[Tensor], Tensor]:
    """S1's network from fingerprints (N, d) to curves (N, T), Pa, on however few: as notebook 06 trains it on all.

    `held` are fingerprints and curves of the validation set: every `PASSES` passes it says whether the weights are the best.
    """
    with seeded(seed):
        network = StressMLP(z.shape[1], stress.shape[1], settings.paper_hidden)
    network.scale(stress)
    rate, decay = settings.paper_learning_rate, settings.paper_weight_decay
    optimizer = Schedule(settings.paper_epochs, settings.paper_batch_size, rate, decay).optimizer_for(network)
    generator, least, best = torch.Generator().manual_seed(seed), math.inf, network
    samples, known = ({"z": x.float(), "curve": y.float()} for x, y in ((z, stress), held))
    for number in range(settings.paper_epochs):
        for rows in torch.randperm(len(z), generator=generator).split(settings.paper_batch_size):
            optimizer.zero_grad()
            network.losses({name: values[rows] for name, values in samples.items()}, generator)["loss"].backward()
            optimizer.step()
        if (number + 1) % PASSES == 0 or number + 1 == settings.paper_epochs:
            with torch.no_grad():
                loss = float(network.losses(known, generator)["loss"])
            if loss < least:
                least, best = loss, copy.deepcopy(network)
    return lambda asked: best(asked.float()).detach().double()


def held_out_line(x: Tensor, truth: Tensor, families: Sequence[str], asked: Tensor, theirs: Sequence[str]) -> Tensor:
    """Curves (B, T) by the straight line in features (N, k) and (B, k) through all families of textures but their own."""
    curves = torch.empty(len(asked), truth.shape[1], dtype=torch.float64)
    for name in dict.fromkeys(theirs):
        others = torch.tensor([family != name for family in families])
        rows = torch.tensor([family == name for family in theirs])
        curves[rows] = regression.straight_line(x[others], truth[others], asked[rows])
    return curves


def decoded(encoder: Fingerprint, law: StressSurrogate) -> Callable[[VolumeElements], tuple[Tensor, Tensor]]:
    """Curves and spreads by a law of the fields that fingerprints are decoded to."""
    return lambda elements: law.predict_field(encoder.decode(encoder.encode_set(elements), elements.edge))


def numbers_decoded(encoder: Fingerprint) -> int:
    """How many numbers of a fingerprint are decoded; ours has the volume averages beside them, which follow from them."""
    return encoder.size - (encoder.parts["averages"].stop if encoder.parts else 0)


def seen_through(answers: Mapping[str, Sequence[tuple[Tensor, Tensor]]], stress: Tensor, truth: Tensor, at: int) -> list[list]:
    """What a surrogate makes of the same volume elements seen in several ways, the last of them unspoilt.

    Rows: name, 1 - R2, mean absolute error in MPa, and the difference from the last way's that chance can make. Each way has
    curves and their spreads twice: of what corrects it, whose simulated curves (N, T), Pa, are `stress`, and of what judges it
    at the increment `at`, with the curves `truth`.
    """
    errors = {}
    for name, (known, asked) in answers.items():
        errors[name] = (Correction.fit(*known, stress).apply(*asked)[0] - truth)[:, at] / MPA
    *_, last = errors.values()
    spread = (truth[:, at] - truth[:, at].mean()).square().sum() / MPA**2
    return [
        [name, float(e.square().sum() / spread), float(e.abs().mean()), None if e is last else regression.chance(e, last)]
        for name, e in errors.items()
    ]


def law_rows(laws: Sequence[StressSurrogate], held: Curves, test: Curves, at: int) -> list[list[float]]:
    """For each law: its number, R2 and mean absolute error in MPa of the test set at an increment, alone and corrected.

    The correction is by the set `held`.
    """
    rows = []
    for number, law in enumerate(laws, 1):
        x = [law.predict(curves.elements.grain_id, curves.elements.quaternion) for curves in (held, test)]
        both = x[1][0], Correction.fit(*x[0], held.stress).apply(*x[1])[0]
        errors = [f(y[:, at], test.stress[:, at]) for y in both for f in (regression.r2, regression.mae_mpa)]
        rows.append([number, *errors])
    return rows


def worst(law: StressSurrogate, predicted: Tensor, curves: FamilyCurves, at: int) -> tuple[str, float, float]:
    """The worst of the curves (N, T), Pa, that a law has predicted, at an increment: its family, its error in MPa, and what is
    left of that in `PATIENT` iterations.
    """
    truth = curves.P[(..., *law.component)][:, at]
    k = int((predicted[:, at] - truth).abs().argmax())
    patient = StressSurrogate(law.laws, law.load_path, iterations=PATIENT, device=law.device)
    again, _ = patient.predict(curves.elements.grain_id[k : k + 1], curves.elements.quaternion[k : k + 1])
    errors = (float((curve[at] - truth[k]).abs() / MPA) for curve in (predicted[k], again[0]))
    return curves.families[k].replace("_", " "), *errors


def simulated_hastily(
    elements: VolumeElements, material: Material, load: Sequence[LoadStep], device: torch.device | str
) -> Tensor:
    """First Piola-Kirchhoff stress (B, T + 1, 3, 3), Pa, by half the increments of each step, straight between them."""
    steps = [replace(step, N=(step.N + 1) // 2) for step in load]
    P = simulate_cp(elements.grain_id, elements.quaternion, material, steps, device=device).P
    parts, begin = [P[:, :1]], 0
    for step, hasty in zip(load, steps):
        at = torch.arange(1, step.N + 1, dtype=P.dtype, device=P.device) * hasty.N / step.N
        below = at.ceil().long() - 1
        parts.append(torch.lerp(P[:, begin + below], P[:, begin + below + 1], (at - below)[:, None, None]))
        begin += hasty.N
    return torch.cat(parts, 1)


def milliseconds(task: Callable[[VolumeElements], object], elements: VolumeElements) -> list[float]:
    """Time of a task a volume element: one alone, and all at once."""
    task(elements[:1])  # what is made once is made here
    times = []
    for batch in (elements[:1], elements):
        begin = time.perf_counter()
        task(batch)
        times.append(1e3 * (time.perf_counter() - begin) / len(batch))
    return times


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

    Rows: volume elements; error of all nine components of each model; error of the normal components of each; mean absolute
    normal stress. Examples: time (T,) in s, simulated and the first model's stresses xx, yy, zz, xy (T, 4) in MPa.
    """
    sums: dict[str, list[np.ndarray]] = {}
    examples: dict[str, tuple] = {}
    for number, path in enumerate(paths):
        if len(path.P):
            answers = [model(number, path) for model in models]
            gaps = [answer - path.P for answer in answers]
            parts = [*gaps, *(gap.diagonal(dim1=2, dim2=3) for gap in [*gaps, path.P])]
            row = torch.stack([part.abs().mean() for part in parts]) / MPA
            sums.setdefault(path.kind, []).append(np.append(row.numpy(), 1.0) * len(path.P))
            times = np.cumsum([0.0] + [step.t / step.N for step in path.load for _ in range(step.N)])
            pair = (x[0][:, [0, 1, 2, 0], [0, 1, 2, 1]].numpy() / MPA for x in (path.P, answers[0]))
            examples.setdefault(path.kind, (times, *pair))
    total = {kind: np.sum(rows, 0) for kind, rows in sums.items()}
    return {kind: [int(row[-1]), *(row[:-1] / row[-1]).tolist()] for kind, row in total.items()}, examples
