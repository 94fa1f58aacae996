"""Stiffness labels of the two-phase composites, by simulation, and the components that a model learns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from microprint import store
from microprint.compute import Job, step
from microprint.errors import UserError
from microprint.mechanics.effective import effective_stiffness
from microprint.mechanics.elasticity import isotropic

# Young's moduli of phase 0 and 1, Pa, and Poisson's ratio of both; S2 section 4.
YOUNGS_MODULI, POISSONS_RATIO = (2.4e9, 120e9), 0.3
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
CHUNK_VOXELS = 400_000  # of composites between two files, so that little is lost by a kill
CASES = (0, 1, 2)  # normal strains: all that S2's six properties need; shear columns stay nan


def phase_stiffnesses() -> Tensor:
    """Stiffnesses (2, 6, 6) of the soft phase 0 and the hard phase 1, Voigt, Pa."""
    return torch.stack([isotropic(modulus, POISSONS_RATIO) for modulus in YOUNGS_MODULI])


@step(inputs=("composites.h5",), outputs=("stiffness.h5",))
def label_stiffness(job: Job) -> None:
    """Normal block of the effective stiffness of all composites, chunk by chunk; resumes at the first missing one."""
    with job.open("composites.h5") as file:
        phase = torch.from_numpy(file["phase"][:])
    chunks = phase.split(max(1, CHUNK_VOXELS // phase[0].numel()))
    paths = [job.workdir / f"chunk_{number:05d}.npy" for number in range(len(chunks))]
    for chunk, path in job.progress(list(zip(chunks, paths)), "stiffness of composites"):
        if not path.is_file():
            stiffness = simulate(chunk, job.device)
            with store.atomic(path) as temporary, open(temporary, "wb") as file:
                np.save(file, stiffness.cpu().numpy())
    with job.create("stiffness.h5", kind="stiffness") as file:
        labels = np.concatenate([np.load(path, allow_pickle=False) for path in paths])
        data = file.create_dataset("stiffness", data=labels)
        data.attrs.update(unit="Pa", notation="Voigt: xx, yy, zz, yz, xz, xy", youngs_moduli=YOUNGS_MODULI,
                          poissons_ratio=POISSONS_RATIO)


def simulate(phase_ids: Tensor, device: torch.device | str = "cpu", cases: Sequence[int] = CASES) -> Tensor:
    """Effective stiffness (B, 6, 6) of composites (B, n, n, n), Pa, Voigt; nan but for the rows and columns of `cases`."""
    return effective_stiffness(phase_ids, phase_stiffnesses(), cases=cases, dtype=torch.float32, device=device)


def simulate_c11(phase_ids: Tensor) -> Tensor:
    """C11 alone (B,) of composites (B, n, n, n), Pa: a third of the work."""
    return simulate(phase_ids, cases=(0,))[:, 0, 0]


def entry(name: str) -> tuple[int, int]:
    """Row and column of a component such as "C11"; raises `UserError` for another name."""
    if len(name) != 3 or name[0] != "C" or not set(name[1:]) <= set("123"):
        raise UserError(f"{name!r} is no labelled component of the stiffness", "vae_regression.properties",
                        "Write C11, C12, ... C33")
    return int(name[1]) - 1, int(name[2]) - 1


def components(stiffness: Tensor, names: Sequence[str]) -> Tensor:
    """Components (..., p) of stiffnesses (..., 6, 6) by their names."""
    return torch.stack([stiffness[(..., *entry(name))] for name in names], -1)


def permute_axes(stiffness: Tensor, axes: Sequence[int]) -> Tensor:
    """Stiffness (..., 6, 6) of a volume whose new axis i is its old axis ``axes[i]``."""
    order = [VOIGT.index(tuple(sorted((axes[i], axes[j])))) for i, j in VOIGT]
    return stiffness[..., order, :][..., order]
