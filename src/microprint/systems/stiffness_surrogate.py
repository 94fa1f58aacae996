"""Stiffness of two-phase composites without a simulation that converges: a few iterations, and what they leave open.

Each iteration of the equilibrium lowers an upper bound of the stiffness, and how fast it falls says where it will end. So a
Gaussian process on these few numbers, learnt from simulated composites, expects the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microprint import store
from microprint.arrays import Array, integers
from microprint.chunks import Chunk, compute_chunks, split, write
from microprint.errors import UserError
from microprint.machine import choose_device
from microprint.mechanics.effective import Estimate, estimate_stiffness
from microprint.mechanics.elasticity import reuss_average
from microprint.networks.gaussian_process import GaussianProcess
from microprint.params.sections import ElasticitySettings
from microprint.steps import Job, step
from microprint.systems.stiffness import components, labelled, phase_stiffnesses

COMPONENTS = ("C11", "C22", "C33", "C12", "C13", "C23")  # S2's six properties, in the order of all that is returned here
POINTS = 300  # inducing points of a process: more are no better, and the file grows with their square
_AXES = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
_KINDS = ("diagonal", "coupling")  # C11, C22, C33 are one function of what is seen along each axis; C12, C13, C23 another


class StiffnessSurrogate:
    """Six components of the effective stiffness of the study's composites, with error bars.

    `processes` expect the logarithm of what the converged stiffness is of the last iteration's, by kind; `widening` is what
    makes their standard deviations right on composites they have not seen.

    >>> surrogate = StiffnessSurrogate.load("stiffness_surrogate.safetensors")    # doctest: +SKIP
    >>> mean, std = surrogate.predict(phase_ids)                                  # doctest: +SKIP
    """

    def __init__(
        self, processes: Mapping[str, GaussianProcess], widening: Mapping[str, float], iterations: int,
        device: torch.device | str = "cpu",
    ):  # fmt: skip
        self.processes, self.widening, self.iterations = dict(processes), dict(widening), iterations
        self.device = choose_device(device, "device")

    @classmethod
    def fit(
        cls, estimate: Estimate, fraction: Tensor, stiffness: Tensor, generator: torch.Generator, iterations: int
    ) -> StiffnessSurrogate:
        """Learn from estimates, volume fractions (N,) and simulated stiffnesses (N, 6, 6), Pa."""
        seen, target = features(estimate, fraction), components(stiffness, COMPONENTS).log()
        processes = {}
        for kind, index in zip(_KINDS, ((0, 1, 2), (3, 4, 5))):
            x = torch.cat([seen[i][0] for i in index])
            y = torch.cat([target[:, i] - seen[i][1] for i in index])
            processes[kind] = GaussianProcess.fit(x, y, generator, POINTS)
        return cls(processes, dict.fromkeys(_KINDS, 1.0), iterations)

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> StiffnessSurrogate:
        """Read a surrogate; raises `UserError` if the file is missing, damaged or another model."""
        state, metadata = store.load_tensors(path)
        config = metadata.get("config", {})
        if config.get("kind") != "stiffness_surrogate":
            raise UserError("is no stiffness surrogate", path, "Give stiffness_surrogate.safetensors that notebook 07 made")
        names = {kind: [n for n in state if n.startswith(f"{kind}.")] for kind in _KINDS}
        processes = {kind: GaussianProcess({n.partition(".")[2]: state[n] for n in names[kind]}) for kind in _KINDS}
        return cls(processes, config["widening"], config["iterations"], device)

    def state(self) -> dict[str, Tensor]:
        """Tensors that `load` reads again."""
        return {f"{kind}.{name}": x for kind in _KINDS for name, x in self.processes[kind].state.items()}

    def predict(self, phase_ids: Array) -> tuple[Tensor, Tensor]:
        """Median and standard deviation (B, 6), Pa, of `COMPONENTS` of composites (B, n, n, n) of 0 (soft) and 1 (hard).

        Raises `UserError` for other ids or shapes.
        """
        ids = integers(phase_ids, "phase_ids", ("B", "nx", "ny", "nz"), small=True)
        estimate = estimate_stiffness(ids, phase_stiffnesses(), self.iterations, device=self.device)
        return self.complete(estimate, ids.double().mean((1, 2, 3)))

    def complete(self, estimate: Estimate, fraction: Tensor) -> tuple[Tensor, Tensor]:
        """The same from estimates that are there already, and volume fractions (B,)."""
        shares = torch.stack([1 - fraction, fraction], -1).double()
        reuss = reuss_average(phase_stiffnesses(), shares)
        medians, deviations = [], []
        for (x, last), (i, j) in zip(features(estimate, fraction), _AXES):
            kind = _KINDS[i != j]
            mean, std = self.processes[kind].predict(x)
            median = (last + mean).exp()
            if i == j:  # rigorous: the last iteration from above, equal stress from below
                median = median.clamp(max=last.exp()).maximum(reuss[:, i, j])
            medians.append(median)
            deviations.append(median * std * self.widening[kind])
        return torch.stack(medians, 1), torch.stack(deviations, 1)

    def widen(self, estimate: Estimate, fraction: Tensor, stiffness: Tensor) -> None:
        """Set the error bars by composites that the processes have not seen, (N, 6, 6), Pa."""
        median, std = self.complete(estimate, fraction)
        ratio = (components(stiffness, COMPONENTS) - median) / std
        for kind, part in zip(_KINDS, ratio.split(3, 1)):
            # The 90 % quantile of a normal distribution: robust, and what an interval is judged by.
            self.widening[kind] *= float(part.abs().quantile(0.9) / 1.645)


def features(estimate: Estimate, fraction: Tensor) -> list[tuple[Tensor, Tensor]]:
    """What the processes see of each of `COMPONENTS`, (B, f), and the logarithm (B,) of its last estimate."""
    fall = estimate.history.log().diff(dim=1)  # (B, iterations, 3)
    diagonal = estimate.history[:, -1].log()
    seen = []
    for i, j in _AXES:
        last = estimate.stiffness[:, i, j].clamp_min(1.0).log()
        if i == j:
            parts = [fraction[:, None], last[:, None], fall[:, :, i]]
        else:
            pair = torch.stack([fall[:, :, i] + fall[:, :, j], (fall[:, :, i] - fall[:, :, j]).abs()], 1).flatten(1)
            both = (diagonal[:, i] + diagonal[:, j]) / 2
            parts = [fraction[:, None], last[:, None], (last - both)[:, None], pair]
        seen.append((torch.cat(parts, 1), last))
    return seen


# --- steps -----------------------------------------------------------------------------------------------------------


@step(reads=("elasticity",), inputs=("composites.h5",), outputs=("estimates.h5",), chunked=True)
def estimate_composites(job: Job) -> None:
    """Estimates of the stiffness of all composites, chunk by chunk: ``stiffness`` (N, 6, 6) and ``history`` (N, n + 1, 3)."""
    settings = job.params.elasticity
    with job.open("composites.h5") as file:
        count, *edges = file["phase"].shape
    chunks = split("/", count, settings.chunk_voxels // int(np.prod(edges)), job.path("composites.h5"))
    make = partial(estimate_chunk, settings=settings, device=job.params.compute.device)
    results = compute_chunks(job, make, chunks, "estimates", "composites")
    with job.create("estimates.h5", kind="estimates") as file:
        for chunk, arrays in results:
            write(file, chunk, arrays)
        file.attrs.update(unit="Pa", notation="Voigt: xx, yy, zz, yz, xz, xy", iterations=settings.estimate_iterations)


def estimate_chunk(chunk: Chunk, settings: ElasticitySettings, device: str) -> dict[str, np.ndarray]:
    """``stiffness`` and ``history`` of some composites of composites.h5."""
    (phase,) = chunk.read("phase")
    estimate = estimate_stiffness(phase, phase_stiffnesses(), settings.estimate_iterations, device=device)
    return {name: array.numpy() for name, array in estimate._asdict().items()}


@step(
    reads=("elasticity",),
    inputs=("composites.h5", "stiffness.h5", "estimates.h5", "splits.json"),
    outputs=("stiffness_surrogate.safetensors",),
)
def fit_stiffness_surrogate(job: Job) -> None:
    """The surrogate of the training set, at most `surrogate_labels` of it, with error bars set on the validation set."""
    settings = job.params.elasticity
    with (
        job.open("composites.h5") as composites,
        job.open("stiffness.h5", "stiffness") as labels,
        job.open("estimates.h5") as e,
    ):
        phase, stiffness, parts = labelled(composites, labels, job.load_json("splits.json")["composites"])
        estimate = labelled_estimates(e, labels)
    fraction = phase.double().mean((1, 2, 3))
    train, held = parts["train"][: settings.surrogate_labels], parts["validation"]
    generator = job.generator("stiffness surrogate")
    surrogate = StiffnessSurrogate.fit(
        take(estimate, train), fraction[train], stiffness[train], generator, settings.estimate_iterations
    )
    surrogate.widen(take(estimate, held), fraction[held], stiffness[held])
    config = {"kind": "stiffness_surrogate", "widening": surrogate.widening, "iterations": surrogate.iterations}
    job.save_model("stiffness_surrogate.safetensors", surrogate.state(), config)


def labelled_estimates(estimates: Mapping[str, Any], labels: Mapping[str, Any]) -> Estimate:
    """Estimates of the composites that converged, in the order of `stiffness.labelled`."""
    converged = labels["converged"][:]
    return Estimate(*(torch.from_numpy(estimates[name][:][converged]) for name in Estimate._fields))


def take(estimate: Estimate, index: Sequence[int]) -> Estimate:
    """Some of the composites' estimates."""
    return Estimate(estimate.stiffness[index], estimate.history[index])
