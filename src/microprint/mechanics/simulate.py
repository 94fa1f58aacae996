"""Stress-strain response of polycrystalline volume elements: the public door to the crystal-plasticity solver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microprint.machine import in_threads
from microprint.mechanics.crystal_plasticity import Solver
from microprint.mechanics.load import LoadStep, check_load, uniaxial_tension
from microprint.mechanics.materials import Material, load_material
from microprint.mechanics.phenopowerlaw import Law
from microprint.mechanics.spectral import PeriodicCell, Scheme
from microprint.mechanics.state import State
from microprint.mechanics.tensors import determinant, from_mandel, product
from microprint.mechanics.time_step import Numerics
from microprint.microstructures.volume_elements import VolumeElements
from microprint.orientations import to_matrix

DEFAULT = Numerics()
# Largest change of tau / xi in the law's last iteration over the tolerance of equilibrium; the error left is of second order.
LAW_TOLERANCE = 10.0


@dataclass(frozen=True)
class CPResult:
    """Response of B volume elements at T times, the undeformed state first. Volume averages; nan after a failure.

    Attributes
    ----------
    time : (T,) s.
    F, P, cauchy : (B, T, 3, 3); stresses in Pa.
    gamma_sl, xi_sl : (B, T, slip systems) accumulated shear, resistance in Pa.   gamma_tw, xi_tw : of the twin systems.
    converged : (B,) bool.   reason : B texts, empty where converged.
    evaluations, linear, cutbacks : (B,) evaluations of the law, iterations of conjugate gradients, halved steps.
    F_field, P_field, cauchy_field : (B, nx, ny, nz, 3, 3) at the end, if asked for.
    gamma_sl_field, gamma_tw_field : (B, nx, ny, nz, systems) likewise.
    """

    time: Tensor
    F: Tensor
    P: Tensor
    cauchy: Tensor
    gamma_sl: Tensor
    gamma_tw: Tensor
    xi_sl: Tensor
    xi_tw: Tensor
    converged: Tensor
    reason: tuple[str, ...]
    evaluations: Tensor
    linear: Tensor
    cutbacks: Tensor
    F_field: Tensor | None = None
    P_field: Tensor | None = None
    cauchy_field: Tensor | None = None
    gamma_sl_field: Tensor | None = None
    gamma_tw_field: Tensor | None = None

    @staticmethod
    def join(parts: Sequence[CPResult]) -> CPResult:
        """One result of several batches under the same load."""

        def joined(name: str) -> Any:
            values = [getattr(part, name) for part in parts]
            if name == "time" or values[0] is None:
                return values[0]
            return torch.cat(values) if isinstance(values[0], Tensor) else sum(values, ())

        return CPResult(**{f.name: joined(f.name) for f in fields(CPResult)})


def simulate_cp(
    grain_ids: Tensor | np.ndarray,
    quaternions: Tensor | np.ndarray,
    material: str | Path | Mapping | Material = "Mg",
    load: Sequence[LoadStep] | None = None,
    *,
    scheme: Scheme = "fourier",
    size: Sequence[float] | None = None,
    numerics: Numerics = DEFAULT,
    fields: bool = False,
    chunk_voxels: int | None = None,
    device: torch.device | str = "cpu",
) -> CPResult:
    """Simulate the deformation of volume elements by crystal plasticity.

    Parameters
    ----------
    grain_ids : (B, nx, ny, nz) or (nx, ny, nz) integers, 0 to the element's number of grains - 1, none left out.
    quaternions : (B, G, 4) or (G, 4) orientations (w, x, y, z), DAMASK's convention; rows beyond the grains may hold anything.
    material : name of a material of the package (``"Mg"``, ``"Cu"``), a DAMASK material file, its content, or a Material.
    load : steps of the load path; by default tension along x to 0.01 at 1e-3 /s in 20 increments.
    scheme, size : discretisation (see `spectral`) and edge lengths of the cell.
    fields : also return the state of every voxel at the end.
    chunk_voxels : voxels simulated at once by one thread, which bounds the memory (about 8 kB each).

    Returns
    -------
    CPResult; an element that does not converge has its reason there, and disturbs no other.

    Raises
    ------
    UserError
        For what `VolumeElements.of` refuses, and an unusable material or load.
    """
    elements = VolumeElements.of(grain_ids, quaternions)
    material, steps = load_material(material), check_load(uniaxial_tension() if load is None else load)
    chunk_voxels = chunk_voxels or (8192 if torch.device(device).type == "cpu" else 2**20)
    chunk = max(1, chunk_voxels // elements.grain_id[0].numel())
    cell = PeriodicCell(elements.grain_id.shape[1:], scheme, size, device=device)
    solve = _Simulation(cell, law_for(material, device, numerics), steps, numerics, fields)
    parts = zip(elements.grain_id.split(chunk), elements.quaternion.split(chunk))
    return CPResult.join(in_threads(solve, list(parts), device))


def law_for(material: Material, device: torch.device | str = "cpu", numerics: Numerics = DEFAULT) -> Law:
    """The fastest form of a material's law: compiled for the CPU where numba is installed, tensor operations elsewhere."""
    tolerance = LAW_TOLERANCE * numerics.equilibrium
    if torch.device(device).type == "cpu" and find_spec("numba") and len(material.schmid):
        from microprint.mechanics.compiled import CompiledLaw

        return CompiledLaw(material, tolerance)
    return Law(material.to(device), tolerance)


@dataclass(frozen=True)
class _Simulation:
    cell: PeriodicCell
    law: Law
    load: tuple[LoadStep, ...]
    numerics: Numerics
    fields: bool

    def __call__(self, ids: Tensor, quaternions: Tensor) -> CPResult:
        matrices = to_matrix(quaternions)
        voxels = torch.stack([m[i.flatten()] for m, i in zip(matrices, ids)])
        solver = Solver(self.cell, self.law, voxels.permute(2, 3, 0, 1).contiguous().to(self.cell.device), self.numerics)
        rows: list[dict[str, Tensor]] = []
        times: list[float] = []

        def record(state: State, time: float) -> None:
            failed = torch.tensor([bool(reason) for reason in solver.reason])
            rows.append({name: _gap(value.cpu(), failed) for name, value in self._averages(state).items()})
            times.append(time)

        solver.run(self.load, record)
        series = {name: torch.stack([row[name] for row in rows], 1) for name in rows[0]}
        return CPResult(
            torch.tensor(times, dtype=torch.float64),
            **series,
            converged=torch.tensor([not r for r in solver.reason]),
            reason=tuple(solver.reason),
            **vars(solver.statistics),
            **(self._fields(solver.state) if self.fields else {}),
        )

    def _stress(self, state: State) -> tuple[Tensor, Tensor]:
        F = state.F_mean + self.cell.gradient(state.u)
        push = product(product(F, state.F_p_inverse), from_mandel(state.S))
        return F, product(push, state.F_p_inverse.transpose(0, 1))

    def _cauchy(self, state: State) -> Tensor:
        F, P = self._stress(state)
        return product(P, F.transpose(0, 1)) / determinant(F)

    def _fields(self, state: State) -> dict[str, Tensor]:
        F, P = self._stress(state)
        slips = self.law.slips
        tensors = {"F_field": F, "P_field": P, "cauchy_field": self._cauchy(state)}
        systems = {"gamma_sl_field": state.gamma[:slips], "gamma_tw_field": state.gamma[slips:]}
        last = {name: value.permute(2, 3, 0, 1) for name, value in tensors.items()}
        last |= {name: value.permute(1, 2, 0) for name, value in systems.items()}
        return {name: value.unflatten(1, self.cell.shape).cpu() for name, value in last.items()}

    def _averages(self, state: State) -> dict[str, Tensor]:
        slips = self.law.slips
        tensors = {"F": state.F_mean[..., 0], "P": self._stress(state)[1].mean(-1), "cauchy": self._cauchy(state).mean(-1)}
        gamma, xi = state.gamma.mean(-1).T, state.xi.mean(-1).T
        return {
            **{name: value.permute(2, 0, 1) for name, value in tensors.items()},
            "gamma_sl": gamma[:, :slips],
            "gamma_tw": gamma[:, slips:],
            "xi_sl": xi[:, :slips],
            "xi_tw": xi[:, slips:],
        }


def _gap(values: Tensor, failed: Tensor) -> Tensor:
    values = values.clone()
    values[failed] = torch.nan
    return values
