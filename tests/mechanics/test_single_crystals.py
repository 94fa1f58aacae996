"""Single crystals under whole strains, against the solver and scipy."""

import pytest
import torch
from scipy.linalg import logm

from microprint import orientations
from microprint.mechanics import deviators
from microprint.mechanics.load import LoadStep
from microprint.mechanics.materials import load_material
from microprint.mechanics.simulate import simulate_cp
from microprint.mechanics.single_crystals import moduli, strained, strained_at_random


def test_the_basis_keeps_norms_and_rotations_are_orthogonal():
    g = torch.Generator().manual_seed(0)
    tensor = torch.randn(7, 3, 3, generator=g, dtype=torch.float64)
    symmetric = 0.5 * (tensor + tensor.transpose(1, 2))
    symmetric -= symmetric.diagonal(dim1=1, dim2=2).mean(-1)[:, None, None] * torch.eye(3)
    vector = deviators.deviator(tensor)
    torch.testing.assert_close(deviators.tensor(vector), symmetric)
    torch.testing.assert_close(vector.norm(dim=-1), symmetric.flatten(1).norm(dim=-1))
    q = orientations.random((7,), g, torch.float64)
    R, M = deviators.rotation(q), orientations.to_matrix(q)
    torch.testing.assert_close(R @ R.transpose(1, 2), torch.eye(5, dtype=torch.float64).expand(7, 5, 5))
    turned = M @ symmetric @ M.transpose(1, 2)
    torch.testing.assert_close((R @ vector[..., None])[..., 0], deviators.deviator(turned))


def test_hencky_strain_is_the_logarithm_of_the_stretch():
    F = torch.eye(3, dtype=torch.float64) + 0.1 * torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(deviators.hencky_strain(F), torch.from_numpy(logm((F.T @ F).numpy()).real / 2))


@pytest.mark.parametrize(("material", "strain"), [("Mg", 4e-3), ("Al", 2e-4)])  # no step so large that the solver divides it
def test_a_crystal_answers_as_in_the_solver(material, strain):
    """The same strain path in a cell of one voxel: logarithmic strains that the solver is led along by F."""
    g = torch.Generator().manual_seed(2)
    direction = torch.nn.functional.normalize(torch.randn(5, generator=g, dtype=torch.float64), dim=0)
    size = torch.linspace(0, strain, 5, dtype=torch.float64)
    F = torch.linalg.matrix_exp(size[:, None, None] * deviators.tensor(direction))
    load = [LoadStep(F=step.tolist(), t=0.5, N=1) for step in F[1:]]
    q = orientations.random((4,), g, torch.float64)
    simulated = simulate_cp(torch.zeros(4, 1, 1, 1, dtype=torch.int64), q[:, None], material, load)
    strain = size[:, None] * (deviators.rotation(q) @ direction)[:, None]
    crystals = strained(load_material(material), strain, 0.5)
    turned = torch.einsum("nab,ntb->nta", deviators.rotation(q), deviators.deviator(simulated.cauchy))
    assert simulated.converged.all() and len(crystals.strain) == 4
    torch.testing.assert_close(crystals.stress, turned, rtol=2e-3, atol=2e-3 * float(turned.abs().max()))


def test_random_paths_follow_from_the_seed_and_dissipate():
    material = load_material("Mg")
    one, two = (strained_at_random(material, 60, 8, 6e-4, 0.5, torch.Generator().manual_seed(s)) for s in (3, 3))
    torch.testing.assert_close(one.stress, two.stress, rtol=0, atol=0)
    other = strained_at_random(material, 60, 8, 6e-4, 0.5, torch.Generator().manual_seed(4))
    assert not torch.equal(other.strain, one.strain) and one.strain.shape == one.stress.shape == (60, 9, 5)
    work = (0.5 * (one.stress[:, 1:] + one.stress[:, :-1]) * one.strain.diff(dim=1)).sum((1, 2))
    assert (work > 0).all() and one.strain[:, 0].abs().max() == 0
    straight = torch.nn.functional.cosine_similarity(one.strain[0, 1:].diff(dim=0)[:-1], one.strain[0, 1:].diff(dim=0)[1:], dim=-1)
    assert straight.min() > 0  # every second path has no turn


def test_relaxed_paths_are_softer_than_random_directions():
    material = load_material("Mg")
    crystals = strained_at_random(material, 800, 10, 6e-4, 0.5, torch.Generator().manual_seed(5))
    g = torch.Generator().manual_seed(6)
    length = crystals.strain[:, 1:].diff(dim=1, prepend=torch.zeros(len(crystals.strain), 1, 5)).norm(dim=-1).mean()
    direction = torch.nn.functional.normalize(torch.randn(800, 5, generator=g), dim=1)
    random = strained(material, length * torch.arange(11.0)[None, :, None] * direction[:, None], 0.5)
    assert crystals.stress[::2, -1].norm(dim=-1).median() < 0.95 * random.stress[:, -1].norm(dim=-1).median()


def test_moduli_of_copper():
    bulk, shear = moduli(load_material("Cu"))
    C = load_material("Cu").stiffness
    assert bulk == pytest.approx(float(C[0, 0] + 2 * C[0, 1]) / 3)
    assert shear == pytest.approx(float((C[0, 0] - C[0, 1] + 3 * C[3, 3]) / 5))
