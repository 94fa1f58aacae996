"""Stress-strain response of polycrystalline volume elements: the public door to the crystal-plasticity solver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from microprint.arrays import Array, whole
from microprint.machine import choose_device, in_threads
from microprint.mechanics.crystal_plasticity import Solver
from microprint.mechanics.load import LoadStep, read_load, uniaxial_tension
from microprint.mechanics.materials import Material, load_material
from microprint.mechanics.phenopowerlaw import Law
from microprint.mechanics.spectral import Cell, PeriodicCell, Scheme
from microprint.mechanics.state import State
from microprint.mechanics.tensors import determinant, product
from microprint.mechanics.time_step import Numerics
from microprint.microstructures.volume_elements import VolumeElements
from microprint.orientations import to_matrix

DEFAULT = Numerics()
# Largest change of tau / xi in the law's last iteration over the tolerance of equilibrium; the error left is of second order.
LAW_TOLERANCE = 10.0
# Increments of more strain than this are reported.
LARGE_INCREMENT = 0.05


@dataclass(frozen=True)
class CPResult:
    """Response of B volume elements at T times, the undeformed state first. Volume averages; nan after a failure."""

    time: Tensor  # (T,) s
    F: Tensor  # (B, T, 3, 3)
    P: Tensor  # (B, T, 3, 3) Pa
    cauchy: Tensor  # (B, T, 3, 3) Pa
    gamma_sl: Tensor  # (B, T, slip systems) accumulated shear
    gamma_tw: Tensor  # (B, T, twin systems)
    xi_sl: Tensor  # (B, T, slip systems) resistance in Pa
    xi_tw: Tensor  # (B, T, twin systems)
    converged: Tensor  # (B,) bool
    reason: tuple[str, ...]  # B texts, empty where converged
    note: tuple[str, ...]  # B texts: what makes a converged result depend on its time steps; mostly empty
    evaluations: Tensor  # (B,) of the law
    linear: Tensor  # (B,) iterations of conjugate gradients
    cutbacks: Tensor  # (B,) halved steps
    substeps: Tensor  # (B,) time steps beyond the load's increments, where a step's first went far beyond yield
    F_field: Tensor | None = None  # (B, nx, ny, nz, 3, 3), this and the others at the end, if asked for
    P_field: Tensor | None = None
    cauchy_field: Tensor | None = None
    gamma_sl_field: Tensor | None = None  # (B, nx, ny, nz, systems)
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
    grain_ids: Array,
    quaternions: Array,
    material: str | Path | Mapping | Material = "Mg",
    load: Sequence[LoadStep | Mapping] | LoadStep | Mapping | str | Path | None = None,
    *,
    scheme: Scheme = "fourier",
    size: Sequence[float] | None = None,
    numerics: Numerics = DEFAULT,
    fields: bool = False,
    chunk_voxels: int | None = None,
    device: torch.device | str = "cpu",
) -> CPResult:
    """Simulate the deformation of volume elements by crystal plasticity.

    An element that does not converge has its reason in the result, and disturbs no other. Arrays may be of any kind that
    `microprint.arrays` reads; the result holds tensors in main memory. Raises `UserError` for what `VolumeElements.of`
    refuses, an unusable material or load, and a device that is not there.

    Parameters
    ----------
    grain_ids : (B, nx, ny, nz) or (nx, ny, nz) integers, 0 to the element's number of grains - 1, none left out.
    quaternions : (B, G, 4) or (G, 4) orientations (w, x, y, z), DAMASK's convention, or a damask.Rotation; rows beyond the
        grains may hold anything.
    material : name of a material of the package (see `load_material`), a DAMASK material file, its content, or a Material.
    load : load path (see `read_load`); by default tension along x to 0.01 at 1e-3 /s in 20 increments.
    scheme, size : discretisation (see `spectral`) and edge lengths of the cell.
    fields : also return the state of every voxel at the end.
    chunk_voxels : voxels simulated at once by one thread, which bounds the memory (about 8 kB each).
    device : ``"cpu"``, ``"cuda"``, or ``"auto"`` for a GPU where there is one.
    """
    device = choose_device(device, "device")
    elements = VolumeElements.of(grain_ids, quaternions)
    material, steps = load_material(material), read_load(uniaxial_tension() if load is None else load)
    at_once = (8192 if device.type == "cpu" else 2**20) if chunk_voxels is None else whole(chunk_voxels, "chunk_voxels")
    chunk = max(1, at_once // elements.grain_id[0].numel())
    cell = cell_for(elements.grain_id.shape[1:], scheme, size, device)
    solve = _Simulation(cell, law_for(material, device, numerics), steps, numerics, fields)
    parts = zip(elements.grain_id.split(chunk), elements.quaternion.split(chunk))
    return CPResult.join(in_threads(solve, list(parts), device))


def cell_for(shape: Sequence[int], scheme: Scheme, size: Sequence[float] | None, device: torch.device) -> Cell:
    """The fastest form of a cell: compiled for the CPU where numba is installed, tensor operations elsewhere."""
    if device.type == "cpu" and find_spec("numba"):
        from microprint.mechanics.compiled.cell import CompiledCell

        return CompiledCell(shape, scheme, size)
    return PeriodicCell(shape, scheme, size, device=device)


def law_for(material: Material, device: torch.device | str = "cpu", numerics: Numerics = DEFAULT) -> Law:
    """The fastest form of a material's law: compiled for the CPU where numba is installed, tensor operations elsewhere."""
    tolerance = LAW_TOLERANCE * numerics.equilibrium
    if torch.device(device).type == "cpu" and find_spec("numba") and len(material.schmid):
        from microprint.mechanics.compiled.law import CompiledLaw

        return CompiledLaw(material, tolerance)
    return Law(material.to(device), tolerance)


@dataclass(frozen=True)
class _Simulation:
    cell: Cell
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
            averages = {name: value.cpu() for name, value in self._averages(solver, state).items()}
            if failed := [i for i, reason in enumerate(solver.reason) if reason]:
                averages = {name: value.index_fill(0, torch.tensor(failed), torch.nan) for name, value in averages.items()}
            rows.append(averages)
            times.append(time)

        solver.run(self.load, record)
        series = {name: torch.stack([row[name] for row in rows], 1) for name in rows[0]}
        notes = map(_note, solver.statistics.cutbacks.tolist(), series["F"].unbind())
        return CPResult(
            torch.tensor(times, dtype=torch.float64),
            **series,
            converged=torch.tensor([not r for r in solver.reason]),
            reason=tuple(solver.reason),
            note=tuple(notes),
            **vars(solver.statistics),
            **(self._fields(solver) if self.fields else {}),
        )

    def _fields(self, solver: Solver) -> dict[str, Tensor]:
        state, slips = solver.state, self.law.slips
        names = ("F_field", "P_field", "cauchy_field", "gamma_sl_field", "gamma_tw_field")
        F, P = solver.stress(state)
        tensors = [value.permute(2, 3, 0, 1) for value in (F, P, _cauchy(F, P))]
        systems = [gamma.permute(1, 2, 0) for gamma in (state.gamma[:slips], state.gamma[slips:])]
        return {name: value.unflatten(1, self.cell.shape).cpu() for name, value in zip(names, tensors + systems)}

    def _averages(self, solver: Solver, state: State) -> dict[str, Tensor]:
        slips, (F, P) = self.law.slips, solver.stress(state)
        tensors = {"F": state.F_mean[..., 0], "P": P.mean(-1), "cauchy": _cauchy(F, P).mean(-1)}
        gamma, xi = state.gamma.mean(-1).T, state.xi.mean(-1).T
        systems = {"gamma_sl": gamma[:, :slips], "gamma_tw": gamma[:, slips:], "xi_sl": xi[:, :slips], "xi_tw": xi[:, slips:]}
        return {name: value.permute(2, 0, 1) for name, value in tensors.items()} | systems


def _note(cutbacks: int, F: Tensor) -> str:
    """What is to be said of the time steps of one element with the mean F (T, 3, 3); nan after a failure."""
    step = F.diff(dim=0).nan_to_num(0.0)
    size = float(torch.linalg.eigvalsh(0.5 * (step + step.transpose(-1, -2))).abs().max())
    cut = f"{cutbacks} increments were cut back" if cutbacks else ""
    large = f"an increment strains by {size:.0%}: its error in time is of that order" if size > LARGE_INCREMENT else ""
    return "; ".join(filter(None, (cut, large)))


def _cauchy(F: Tensor, P: Tensor) -> Tensor:
    return product(P, F.transpose(0, 1)) / determinant(F)
