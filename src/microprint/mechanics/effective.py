"""Effective stiffness of periodic composites and polycrystals by the spectral method.

For each mean strain E the cell's equilibrium div (C : (E + sym grad u)) = 0 is solved by conjugate gradients with an
isotropic Green operator (Zeman et al., J. Comput. Phys. 229 (2010) 8065-8071). The stiffness follows from energies,
C_kl = < e_k : C : e_l >, whose error is of second order in that of the strain fields.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from microprint.arrays import Array, integers, numbers, whole
from microprint.errors import UserError
from microprint.machine import choose_device, in_threads
from microprint.mechanics.elasticity import isotropic_part, mandel_from_voigt, voigt_from_mandel
from microprint.mechanics.spectral import ElasticCell, Operator, PeriodicCell, RotatedCell, Scheme

ALL_CASES = (0, 1, 2, 3, 4, 5)
# Up to this number of phases, the stress is cheaper phase by phase than with a stiffness for each voxel.
_FEW_PHASES = 4
# Voxels along z from which a cell is compiled.
_LONG = 8


def effective_stiffness(
    phase_ids: Array,
    stiffnesses: Array,
    *,
    cases: Sequence[int] = ALL_CASES,
    scheme: Scheme = "rotated",
    size: Sequence[float] | None = None,
    tolerance: float = 1e-3,
    max_iterations: int = 500,
    dtype: torch.dtype = torch.float64,
    chunk_voxels: int | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Effective stiffness (B, 6, 6) of volume elements; Pa, Voigt, a float64 tensor in main memory.

    Arrays may be of any kind that `microprint.arrays` reads. Raises `UserError` for phases without stiffness, stiffnesses
    of no stable solid, options that cannot be used, a device that is not there, and where it does not converge.

    Parameters
    ----------
    phase_ids : (B, nx, ny, nz) or (nx, ny, nz) phase of each voxel (grain, for polycrystals).
    stiffnesses : (phases, 6, 6), or (B, phases, 6, 6) where each element has its own; Pa, Voigt, sample axes.
    cases : mean strains to apply, as indices of Voigt's order; rows and columns of the others are nan.
    scheme : ``"rotated"`` (does not ring at strong contrast) or ``"fourier"``.
    tolerance : of the out-of-balance forces, relative to the uniform strain's. At a contrast of 50, 1e-3 leaves an error of
        1e-5 in the stiffness, and 1e-2 one of 1e-3.
    dtype : of the whole calculation; float32 is about twice as fast and good to 1e-6.
    chunk_voxels : voxels, times cases, solved at once by one thread, which bounds the memory: in float32 about 300 B for
        each, and 70 B for each case and voxel of the element whose strains are kept.
    device : ``"cpu"``, ``"cuda"``, or ``"auto"`` for a GPU where there is one.
    """
    tolerance, max_iterations = float(numbers(tolerance, "tolerance", ())), whole(max_iterations, "max_iterations")
    if not 0 < tolerance < 1:
        raise UserError(f"tolerance = {tolerance} is none", "effective_stiffness", "Give a number between 0 and 1")
    if dtype not in (torch.float32, torch.float64):
        raise UserError(f"dtype = {dtype} is none", "effective_stiffness", "Use torch.float32 or torch.float64")
    make = partial(_Problem, tolerance=tolerance, max_iterations=max_iterations)
    chunk_voxels = None if chunk_voxels is None else whole(chunk_voxels, "chunk_voxels")
    work = _prepare(make, phase_ids, stiffnesses, cases, scheme, size, dtype, chunk_voxels, device)
    return torch.cat(work(_Problem.stiffness))


class Estimate(NamedTuple):
    """What a few iterations of the equilibrium say of the effective stiffness of B volume elements; Pa, Voigt."""

    stiffness: Tensor  # (B, 6, 6) after the last of them; nan for cases that were not applied
    history: Tensor  # (B, iterations + 1, cases) entries of the diagonal after none, one, two ... of them


def estimate_stiffness(
    phase_ids: Array,
    stiffnesses: Array,
    iterations: int,
    *,
    cases: Sequence[int] = (0, 1, 2),
    device: torch.device | str = "cpu",
) -> Estimate:
    """`effective_stiffness`, in single precision, by so few `iterations` of the conjugate gradients that they do not converge.

    Every strain field that is compatible with the mean strain bounds the energy from above. So the diagonal begins with the
    Voigt average and falls from iteration to iteration, and its last entries tell how far it still has to go.
    """
    make = partial(_Problem, tolerance=0.0, max_iterations=whole(iterations, "iterations"))
    work = _prepare(make, phase_ids, stiffnesses, cases, "rotated", None, torch.float32, None, device)
    return Estimate(*(torch.cat(part) for part in zip(*work(_Problem.estimate))))


class Fields(NamedTuple):
    """Effective stiffness of B volume elements, Pa, Voigt, and the strain fields that it comes from."""

    stiffness: Tensor  # (B, 6, 6); nan for cases that were not applied
    strain: Tensor  # (B, cases, 6, nx, ny, nz) under each mean strain of size one; float32, Mandel's notation


def strain_fields(
    phase_ids: Array, stiffnesses: Array, *, cases: Sequence[int] = (0, 1, 2), tolerance: float = 1e-3,
    device: torch.device | str = "cpu",
) -> Fields:  # fmt: skip
    """`effective_stiffness`, in single precision, with the strain of every voxel under each of the mean strains."""
    make = partial(_Problem, tolerance=tolerance, max_iterations=500)
    work = _prepare(make, phase_ids, stiffnesses, cases, "rotated", None, torch.float32, None, device)
    return Fields(*(torch.cat(part) for part in zip(*work(_Problem.fields))))


def _prepare(
    make: Callable[..., _Problem], phase_ids: Array, stiffnesses: Array, cases: Sequence[int], scheme: Scheme,
    size: Sequence[float] | None, dtype: torch.dtype, chunk_voxels: int | None, device: torch.device | str,
) -> Callable[[Callable[..., Any]], list[Any]]:  # fmt: skip
    """Function that lets a method of the problem work on all elements, chunk by chunk in threads."""
    device = choose_device(device, "device")
    phases, matrices = _checked(phase_ids, stiffnesses)
    cases, shape = tuple(integers(cases, "cases", ("cases",)).tolist()), tuple(phases.shape[1:])
    if not all(0 <= case < 6 for case in cases):
        raise UserError(f"cases = {cases} are no mean strains", "effective_stiffness", "Give some of 0 to 5")
    cell = _cell(shape, scheme, size, dtype, device)
    voxels = (2**17 if device.type == "cpu" else 2**24) if chunk_voxels is None else chunk_voxels
    at_once = max(1, voxels // prod(shape))
    groups = tuple(cases[i : i + at_once] for i in range(0, len(cases), at_once))
    problem = make(cell, groups, _reference(matrices, phases.flatten(1)))
    chunk = max(1, at_once // len(cases))
    parts = list(zip(phases.split(chunk), matrices.split(chunk), range(0, len(phases), chunk)))
    return lambda method: in_threads(partial(method, problem), parts, device)


def _cell(
    shape: Sequence[int], scheme: Scheme, size: Sequence[float] | None, dtype: torch.dtype, device: torch.device
) -> ElasticCell:
    """The fastest form of a cell: compiled for the CPU where numba is installed and pencils along z fill its vectors."""
    if scheme != "rotated":
        return PeriodicCell(shape, scheme, size, dtype, device)
    if device.type == "cpu" and find_spec("numba") and shape[2] >= _LONG:
        from microprint.mechanics.compiled.rotated import CompiledRotatedCell

        return CompiledRotatedCell(shape, size, dtype)
    return RotatedCell(shape, size, dtype, device)


@dataclass(frozen=True)
class _Problem:
    """What all chunks share: mean strains by groups that are solved at once, moduli (1,) of the reference medium."""

    cell: ElasticCell
    groups: tuple[tuple[int, ...], ...]
    reference: tuple[Tensor, Tensor]
    tolerance: float
    max_iterations: int

    def stiffness(self, phases: Tensor, matrices: Tensor, first: int) -> Tensor:
        """Effective stiffness (B, 6, 6), float64, of one chunk; matrices are Mandel's (B, phases, 6, 6)."""
        strain, stress_of, scale, _ = self._solve(phases, matrices, first)
        return self._full(_work(strain, stress_of) * scale)

    def estimate(self, phases: Tensor, matrices: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Stiffness (B, 6, 6) and the history of its diagonal (B, iterations + 1, cases) of one chunk."""
        strain, stress_of, scale, freed = self._solve(phases, matrices, first)
        freed = pad(freed, (0, 0, 0, self.max_iterations - freed.shape[1]))  # a uniform element is at its end at once
        energy = _work(strain, stress_of)
        diagonal = energy.diagonal(dim1=1, dim2=2)[:, None]
        # What all later iterations freed is what the energy was above its end.
        above = freed.flip(1).cumsum(1).flip(1)
        history = torch.cat([diagonal + above, diagonal], 1) * scale
        shear = [1.0 if case < 3 else 0.5 for case in sum(self.groups, ())]  # an engineering strain of one is half a shear
        return self._full(energy * scale), (history * torch.tensor(shear, device=history.device)).cpu()

    def fields(self, phases: Tensor, matrices: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Stiffness (B, 6, 6) and strains (B, cases, 6, nx, ny, nz) of one chunk."""
        strain, stress_of, scale, _ = self._solve(phases, matrices, first)
        fields = strain.permute(1, 2, 0, 3).unflatten(3, phases.shape[1:])
        return self._full(_work(strain, stress_of) * scale), fields.cpu()

    def _solve(self, phases: Tensor, matrices: Tensor, first: int) -> tuple[Tensor, Operator, Tensor, Tensor]:
        """Strain (6, B, cases, V), its stress in units of a scale (B, 1, 1), energy freed in each iteration (B, n, cases)."""
        cell, batch = self.cell, len(phases)
        phases, matrices = phases.flatten(1).to(cell.device, torch.int64), matrices.to(cell.device)
        scale = matrices.abs().amax((1, 2, 3), keepdim=True)
        scaled = (matrices / scale).to(cell.dtype)
        stress_of = _stress(scaled, phases)
        compiled = getattr(cell, "stiffness", None)
        operator = compiled(scaled, phases) if compiled else lambda u: cell.force(stress_of(cell.strain(u)))
        solved = [self._strain(operator, stress_of, cases, phases.shape, first) for cases in self.groups]
        strain = torch.cat([part.unflatten(1, (batch, -1)) for part, _ in solved], 2)
        longest = max(len(part) for _, part in solved)
        freed = [pad(part, (0, 0, 0, longest - len(part))).unflatten(1, (batch, -1)) for _, part in solved]
        return strain, stress_of, scale[:, 0], torch.cat(freed, 2).transpose(0, 1).double()

    def _full(self, energy: Tensor) -> Tensor:
        """Voigt stiffness (B, 6, 6) of energies (B, cases, cases) in Mandel's notation; nan for other cases."""
        full = torch.full((len(energy), 6, 6), torch.nan, dtype=torch.float64, device=energy.device)
        index = torch.tensor(sum(self.groups, ()), device=energy.device)
        full[:, index[:, None], index] = 0.5 * (energy + energy.transpose(1, 2))
        return voigt_from_mandel(full).cpu()

    def _strain(
        self, operator: Operator, stress_of: Operator, cases: tuple[int, ...], shape: tuple[int, int], first: int
    ) -> tuple[Tensor, Tensor]:
        """Strain (6, B cases, V) in equilibrium under some mean strains, and the energy (n, B cases) that each iteration freed.

        `shape` is (B, V).
        """
        cell = self.cell
        bulk, shear = (modulus.to(cell.device, cell.dtype) for modulus in self.reference)
        mean = torch.eye(6, dtype=cell.dtype, device=cell.device)[:, list(cases)].repeat(1, shape[0])[:, :, None]
        load = -cell.force(stress_of(mean.expand(-1, -1, shape[1])))
        u, used, freed = cell.relax(operator, load, (bulk, shear), self.tolerance, self.max_iterations)
        if self.tolerance and (used >= self.max_iterations).any():
            where = f"volume element {first + int(used.argmax()) // len(cases)}"
            remedy = "Raise tolerance or max_iterations, or use the rotated scheme"
            raise UserError(f"no equilibrium after {self.max_iterations} iterations", where, remedy)
        return cell.strain(u).add_(mean), freed


def _work(strain: Tensor, stress_of: Operator) -> Tensor:
    """Mean of strain : stress (B, cases, cases), float64, for all pairs of cases; strains (6, B, cases, V).

    A sum by torch keeps seven digits of float32, a matrix product over a whole cell four.
    """
    columns = [(strain * stress_of(case).unsqueeze(2)).sum((0, 3)) for case in strain.unbind(2)]
    return torch.stack(columns, 2).to(torch.float64) / strain.shape[-1]


def _stress(matrices: Tensor, phases: Tensor) -> Operator:
    """Function from strains (6, B cases, V), for any number of cases, to stresses, with the stiffness of each voxel."""
    batch, count = matrices.shape[:2]
    if count > _FEW_PHASES or not (matrices == matrices[:1]).all():
        return _stress_by_voxel(matrices, phases)
    first, factors = matrices[0, 0], matrices[0, :, 0, 0] / matrices[0, 0, 0, 0]
    if (matrices[0] - factors[:, None, None] * first).abs().max() <= 8 * torch.finfo(first.dtype).eps:
        shares = [(factors[phases][:, None], first)]
    else:
        shares = [((phases == p).to(matrices)[:, None], matrix) for p, matrix in enumerate(matrices[0])]

    def by_phase(strain: Tensor) -> Tensor:
        parts = [(matrix @ strain.flatten(1)).view_as(strain).unflatten(1, (batch, -1)).mul_(s) for s, matrix in shares]
        return sum(parts[1:], parts[0]).flatten(1, 2)

    return by_phase


def _stress_by_voxel(matrices: Tensor, phases: Tensor) -> Operator:
    field = torch.stack([m[p] for m, p in zip(matrices, phases)]).permute(2, 3, 0, 1)[:, :, :, None]  # (6, 6, B, 1, V)

    def by_voxel(strain: Tensor) -> Tensor:
        parts = strain.unflatten(1, (len(phases), -1))
        stress = field[:, 0] * parts[0]
        for column, part in zip(field.unbind(1)[1:], parts[1:]):
            stress.addcmul_(column, part)
        return stress.flatten(1, 2)

    return by_voxel


def _reference(matrices: Tensor, phases: Tensor) -> tuple[Tensor, Tensor]:
    """Bulk and shear modulus (1,) of the reference medium: means over all voxels, each element in units of its own scale.

    One medium serves all elements: conjugate gradients depend on the ratio of its moduli alone.
    """
    fractions = torch.stack([torch.bincount(p, minlength=matrices.shape[1]) for p in phases]).to(matrices)
    scaled = matrices / matrices.abs().amax((1, 2, 3), keepdim=True)
    return isotropic_part(torch.einsum("bp,bpij->ij", fractions, scaled)[..., None] / phases.numel())


def _checked(phase_ids: Array, stiffnesses: Array) -> tuple[Tensor, Tensor]:
    """Phases (B, nx, ny, nz), uint8 if they came so, and Mandel matrices (B, phases, 6, 6), float64."""
    ids = integers(phase_ids, "phase_ids", ("B", "nx", "ny", "nz"), single=True, small=True)
    voigt = numbers(stiffnesses, "stiffnesses", ("B", "phases", 6, 6), single=True, finite=False)
    if len(voigt) not in (1, len(ids)):
        fault = f"phase ids of shape {tuple(ids.shape)} and stiffnesses of shape {tuple(voigt.shape)} do not fit"
        raise UserError(fault, "effective_stiffness", "Give (B, nx, ny, nz) and (phases, 6, 6) or (B, phases, 6, 6)")
    least, most, last = int(ids.min()), int(ids.max()), voigt.shape[1] - 1
    if least < 0 or most > last:
        phase = least if least < 0 else most
        raise UserError(f"phase {phase} has no stiffness", "effective_stiffness", f"Number the phases 0 to {last}")
    matrices = mandel_from_voigt(voigt)
    _check_stiffnesses(matrices.flatten(0, 1), voigt.flatten(0, 1))
    return ids, matrices.expand(len(ids), -1, -1, -1)


def _check_stiffnesses(matrices: Tensor, voigt: Tensor) -> None:
    """`UserError` names the first of the stiffnesses (N, 6, 6) that no stable solid has, and an entry that is at fault."""
    strange = ~torch.isfinite(matrices)
    sound = torch.where(strange, 0.0, matrices)
    uneven = (sound - sound.mT).abs() > 1e-6 * sound.abs().amax((-2, -1), keepdim=True)
    least = torch.linalg.eigvalsh(sound)[:, 0]
    for number in ((strange | uneven).any(-1).any(-1) | (least <= 0)).nonzero()[:1, 0].tolist():
        entries = (strange[number] if strange[number].any() else uneven[number]).nonzero()[:1].tolist()
        faults = [f"C{i + 1}{j + 1} = {voigt[number, i, j]:g}, C{j + 1}{i + 1} = {voigt[number, j, i]:g}" for i, j in entries]
        raise UserError(
            f"stiffness {number} is not symmetric positive definite: {(faults or [f'eigenvalue {least[number]:g}'])[0]} Pa",
            "stiffnesses",
            "Check the elastic constants",
        )
