"""The compiled cell of the rotated scheme against the one of tensor operations."""

import pytest
import torch

from microprint.mechanics import effective, elasticity
from microprint.mechanics.compiled import rotated
from microprint.mechanics.compiled.rotated import CompiledRotatedCell
from microprint.mechanics.spectral import RotatedCell

# Odd and even, shorter and longer than a vector, flat, and a single row.
SHAPES = [((5, 6, 8), (1.0, 1.5, 0.9)), ((4, 9, 16), None), ((1, 3, 9), None), ((17, 16, 7), (2.0, 1.0, 3.0)), ((2, 1, 1), None)]
PRECISION = {torch.float64: 1e-12, torch.float32: 2e-5}


@pytest.fixture(params=SHAPES, ids=lambda given: str(given[0]))
def cells(request):
    return lambda dtype: [kind(*request.param, dtype) for kind in (CompiledRotatedCell, RotatedCell)]


def vectors(cell, count, seed=0):
    voxels = cell.shape[0] * cell.shape[1] * cell.shape[2]
    return torch.randn(3, count, voxels, dtype=cell.dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", PRECISION)
def test_green_s_operator_is_the_same(cells, dtype):
    cell, other = cells(dtype)
    force, bulk, shear = vectors(cell, 4), torch.tensor([1.3], dtype=dtype), torch.tensor([0.6], dtype=dtype)
    for _ in range(2):  # what the first left in the memory does not disturb the second
        u, expected = cell.green(force, bulk, shear), other.green(force, bulk, shear)
        torch.testing.assert_close(u, expected, rtol=0, atol=PRECISION[dtype] * float(expected.abs().max()))


@pytest.mark.parametrize("dtype", PRECISION)
def test_forces_are_the_divergence_of_the_stress_of_the_strain(cells, dtype):
    """Of two elements, each with stiffnesses of its own, under three mean strains."""
    cell, other = cells(dtype)
    u, generator = vectors(cell, 6), torch.Generator().manual_seed(1)
    phases = torch.randint(0, 5, (2, u.shape[2]), generator=generator)
    matrices = torch.randn(2, 5, 6, 6, dtype=dtype, generator=generator)
    matrices = matrices + matrices.mT
    force = cell.stiffness(matrices, phases)(u)
    expected = other.force(effective._stress_by_voxel(matrices, phases)(other.strain(u)))
    torch.testing.assert_close(force, expected, rtol=0, atol=PRECISION[dtype] * float(expected.abs().max()))


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("share, entries", [(0.0, 2), (1e-3, 21)])
def test_isotropic_phases_keep_two_constants_of_a_voxel(cells, dtype, share, entries):
    """Where one phase is off isotropy by a thousandth, the whole stiffness is kept."""
    cell, other = cells(dtype)
    u, generator = vectors(cell, 6), torch.Generator().manual_seed(1)
    phases = torch.randint(0, 3, (2, u.shape[2]), generator=generator)
    constants = [elasticity.isotropic(e, 0.2 + 0.1 * e) for e in (0.1, 0.4, 1.0, 0.7, 0.9, 0.2)]
    matrices = elasticity.mandel_from_voigt(torch.stack(constants)).to(dtype).unflatten(0, (2, 3))
    matrices[1, 2, 0, 3] += share
    matrices[1, 2, 3, 0] += share
    assert rotated._entries(elasticity.voigt_from_mandel(matrices)).shape == (2, 3, entries)
    expected = other.force(effective._stress_by_voxel(matrices, phases)(other.strain(u)))
    force = cell.stiffness(matrices, phases)(u)
    torch.testing.assert_close(force, expected, rtol=0, atol=PRECISION[dtype] * float(expected.abs().max()))


@pytest.mark.parametrize("limit", [3, 60])
@pytest.mark.parametrize("phases", [2, 7])
def test_conjugate_gradients_take_the_same_steps(cells, phases, limit):
    """Two elements under three loads each, of which one is none; after three steps, and at their end."""
    results, generator = [], torch.Generator().manual_seed(2)
    voigt = torch.stack([elasticity.isotropic(e, 0.3) for e in torch.linspace(1.0, 20.0, phases)])
    for cell in cells(torch.float64):
        matrices = elasticity.mandel_from_voigt(voigt).expand(2, -1, -1, -1)
        ids = torch.randint(0, phases, (2, vectors(cell, 1).shape[2]), generator=generator.manual_seed(2))
        stress_of = effective._stress_by_voxel(matrices, ids)
        plain = lambda u, cell=cell, stress_of=stress_of: cell.force(stress_of(cell.strain(u)))  # noqa: E731
        operator = cell.stiffness(matrices, ids) if isinstance(cell, CompiledRotatedCell) else plain
        load = -cell.force(stress_of(torch.eye(6, dtype=torch.float64)[:, [0, 1, 3] * 2, None].expand(-1, -1, ids.shape[1])))
        load[:, 4] = 0.0
        moduli = elasticity.isotropic_part(matrices.mean((0, 1))[..., None])
        results.append(cell.relax(operator, load, moduli, 1e-6, limit))
    (u, used, freed), (expected, steps, energies) = results
    assert (used == steps).all() and used[4] == 0 and used.max() <= limit and freed.shape == energies.shape
    torch.testing.assert_close(u, expected, rtol=0, atol=1e-9 * float(expected.abs().max()))
    torch.testing.assert_close(freed, energies.to(freed), rtol=1e-5, atol=1e-6 * float(energies.max()))


def test_it_is_used_where_pencils_fill_vectors():
    kinds = {n: type(effective._cell((4, 4, n), "rotated", None, torch.float32, torch.device("cpu"))) for n in (7, 8)}
    assert kinds == {7: RotatedCell, 8: CompiledRotatedCell}
