"""Stiffness labels of the two-phase composites, by simulation, and the components that a model learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import h5py
import numpy as np
import torch
from torch import Tensor

from microprint.chunks import Chunk, compute_chunks, split, write
from microprint.errors import UserError
from microprint.machine import choose_device
from microprint.mechanics.effective import effective_stiffness
from microprint.mechanics.elasticity import isotropic
from microprint.mechanics.tensors import PLACES, VOIGT_PAIRS
from microprint.params.sections import ElasticitySettings
from microprint.steps import Job, step

# Young's moduli of phase 0 and 1, Pa, and Poisson's ratio of both; S2 section 4.
YOUNGS_MODULI, POISSONS_RATIO = (2.4e9, 120e9), 0.3
# Mean strains, as places in Voigt's order; the normal ones are all that S2's six properties need.
CASES = {"normal": (0, 1, 2), "all": (0, 1, 2, 3, 4, 5)}


def phase_stiffnesses() -> Tensor:
    """Stiffnesses (2, 6, 6) of the soft phase 0 and the hard phase 1, Voigt, Pa."""
    return torch.stack([isotropic(modulus, POISSONS_RATIO) for modulus in YOUNGS_MODULI])


@step(reads=("elasticity",), inputs=("composites.h5",), outputs=("stiffness.h5",), chunked=True)
def label_stiffness(job: Job) -> None:
    """Effective stiffness of all composites, chunk by chunk; resumes with the chunks that are missing.

    Writes stiffness (N, 6, 6), nan where a load case was not simulated or a composite failed; converged (N,), reason (N,).
    """
    settings = job.params.elasticity
    with job.open("composites.h5") as file:
        count, *edges = file["phase"].shape
    chunks = split("/", count, settings.chunk_voxels // int(np.prod(edges)), job.path("composites.h5"))
    label = partial(label_chunk, settings=settings, device=job.params.compute.device)
    results = compute_chunks(job, label, chunks, "stiffness", "composites")
    with job.create("stiffness.h5", kind="stiffness") as file:
        for chunk, arrays in results:
            write(file, chunk, arrays)
        file["stiffness"].attrs.update(
            unit="Pa",
            notation="Voigt: xx, yy, zz, yz, xz, xy",
            cases=settings.cases,
            tolerance=settings.tolerance,
            youngs_moduli=YOUNGS_MODULI,
            poissons_ratio=POISSONS_RATIO,
        )


def label_chunk(chunk: Chunk, settings: ElasticitySettings, device: str) -> dict[str, np.ndarray]:
    """``stiffness``, ``converged`` and ``reason`` of some composites of composites.h5."""
    (phase,) = chunk.read("phase")
    solve = partial(simulate, device=choose_device(device), cases=CASES[settings.cases], tolerance=settings.tolerance)
    stiffness, reasons = _attempt(solve, torch.from_numpy(phase))
    return {"stiffness": stiffness.numpy(), "converged": np.array([not r for r in reasons]), "reason": np.array(reasons)}


def _attempt(solve: Callable[[Tensor], Tensor], phase: Tensor) -> tuple[Tensor, list[str]]:
    """Stiffnesses and reasons of failure, empty where there was none; a batch that fails is tried again one by one."""
    try:
        return solve(phase), [""] * len(phase)
    except UserError as error:
        if len(phase) == 1:
            return torch.full((1, 6, 6), torch.nan, dtype=torch.float64), [error.what]
    stiffnesses, reasons = zip(*(_attempt(solve, single) for single in phase.split(1)))
    return torch.cat(stiffnesses), sum(reasons, [])


def simulate(
    phase_ids: Tensor,
    device: torch.device | str = "cpu",
    cases: Sequence[int] = CASES["normal"],
    tolerance: float = ElasticitySettings.tolerance,
) -> Tensor:
    """Effective stiffness (B, 6, 6) of composites (B, n, n, n), Pa, Voigt; nan but for the rows and columns of `cases`."""
    return effective_stiffness(
        phase_ids, phase_stiffnesses(), cases=cases, tolerance=tolerance, dtype=torch.float32, device=device
    )


def simulate_component(phase_ids: Tensor, name: str, tolerance: float = ElasticitySettings.tolerance) -> Tensor:
    """One component of the diagonal (B,) of composites (B, n, n, n), Pa: the work of a single load case."""
    row, column = entry(name)
    return simulate(phase_ids, cases=(row,), tolerance=tolerance)[:, row, column]


def labelled(
    composites: h5py.File, labels: h5py.File, parts: Mapping[str, Sequence[int]]
) -> tuple[Tensor, Tensor, dict[str, list[int]]]:
    """The composites that have a label, those that converged: phase (M, n, n, n) uint8, stiffness (M, 6, 6) Pa, and the parts.

    `parts` gives the numbers of the composites for training, validation and test; they come back as places among the M.
    Raises `UserError` if a part has none left.
    """
    converged = torch.from_numpy(labels["converged"][:])
    position = converged.cumsum(0) - 1
    kept = {name: position[i][converged[i]].tolist() for name, i in ((n, torch.tensor(p)) for n, p in parts.items())}
    for name in (name for name, places in kept.items() if not places):
        fault = f"has no label for the {name} set: {labels['reason'].asstr()[parts[name][0]]}"
        raise UserError(fault, labels.filename, "Raise elasticity.tolerance")
    return torch.from_numpy(composites["phase"][:])[converged], torch.from_numpy(labels["stiffness"][:])[converged], kept


def entry(name: str) -> tuple[int, int]:
    """Row and column of a component of the stiffness such as "C11"."""
    return int(name[1]) - 1, int(name[2]) - 1


def components(stiffness: Tensor, names: Sequence[str]) -> Tensor:
    """Components (..., p) of stiffnesses (..., 6, 6) by their names; raises `UserError` for one that was not simulated."""
    values = torch.stack([stiffness[(..., *entry(name))] for name in names], -1)
    # Every simulation gives C11: without it a composite failed, and has no components at all.
    unknown = (values.isnan() & ~stiffness[..., 0, :1].isnan()).reshape(-1, len(names)).any(0)
    for name in (name for name, missing in zip(names, unknown.tolist()) if missing):
        raise UserError(f"{name} was not simulated", "stiffness.h5", "Set elasticity.cases to all")
    return values


def permute_axes(stiffness: Tensor, axes: Sequence[int]) -> Tensor:
    """Stiffness (..., 6, 6) of a volume whose new axis i is its old axis ``axes[i]``."""
    order = [PLACES[axes[i]][axes[j]] for i, j in VOIGT_PAIRS]
    return stiffness[..., order, :][..., order]
