"""What a voxel does for the stiffness: against finite differences, and against voxels that are really changed."""

import pytest
import torch

from microprint.mechanics import elasticity
from microprint.mechanics.effective import effective_stiffness, strain_fields
from microprint.mechanics.sensitivity import change_of_phase, stiffness_derivative
from microprint.microstructures.composite import generate

PHASES = torch.stack([elasticity.isotropic(2.4e9, 0.3), elasticity.isotropic(120e9, 0.3)])
NORMAL = (0, 1, 2)


@pytest.fixture(scope="module")
def composite():
    """Phases (n, n, n) of a composite, its fields, and some voxels (48, 3) at the interface."""
    generator = torch.Generator().manual_seed(3)
    ids = generate(torch.tensor([[1.5, 1.5, 1.5]]), 12, generator).phase.long()
    neighbours = sum((ids[0] != ids[0].roll(step, axis)) for step in (1, -1) for axis in range(3))
    voxels = (neighbours > 0).nonzero()
    return ids, strain_fields(ids, PHASES, tolerance=1e-5), voxels[torch.randperm(len(voxels), generator=generator)[:48]]


def changed(ids, voxels):
    """The composite with each of the voxels (N, 3) in the other phase, (N, n, n, n)."""
    copies = ids.repeat(len(voxels), 1, 1, 1)
    copies[torch.arange(len(voxels)), *voxels.unbind(1)] ^= 1
    return copies


def normal(ids, stiffnesses=PHASES):
    return effective_stiffness(ids, stiffnesses, cases=NORMAL, tolerance=1e-6)[:, :3, :3]


def test_derivative_is_the_finite_difference(composite):
    """A voxel of stiffness C + t (C1 - C0) as a third and a fourth phase, in the soft phase and in the hard one."""
    ids, fields, voxels = composite
    derivative, step = stiffness_derivative(fields, PHASES), 1e-4
    assert derivative.shape == (1, 3, 3, 12, 12, 12)
    for phase in (0, 1):
        x, y, z = next(v for v in voxels.tolist() if ids[(0, *v)] == phase)
        values = []
        for sign in (1, -1):
            moved = ids.clone()
            moved[0, x, y, z] = 2
            third = PHASES[phase] + sign * step * (PHASES[1] - PHASES[0])
            values.append(effective_stiffness(moved, torch.cat([PHASES, third[None]]), cases=NORMAL, tolerance=1e-9)[0, :3, :3])
        difference = (values[0] - values[1]) / (2 * step)
        torch.testing.assert_close(derivative[0, :, :, x, y, z].double(), difference, rtol=2e-3, atol=2e-3 * float(difference.abs().max()))


def test_derivative_of_a_uniform_cell_is_the_phases_difference():
    fields = strain_fields(torch.zeros(1, 4, 4, 4, dtype=torch.long), PHASES)
    total = stiffness_derivative(fields, PHASES).double().sum((3, 4, 5))[0]
    torch.testing.assert_close(total, (PHASES[1] - PHASES[0])[:3, :3], rtol=1e-5, atol=0)


def test_polarisation_identity_is_exact(composite):
    """C'_kl - C_kl = mean of e_k : dC : e'_l, voxel by voxel, for a change of thirty voxels at once."""
    ids, before, voxels = composite
    other = ids.clone()
    other[0, *voxels[:30].unbind(1)] ^= 1
    after = strain_fields(other, PHASES, tolerance=1e-5)
    change = elasticity.mandel_from_voigt(PHASES)[other[0]] - elasticity.mandel_from_voigt(PHASES)[ids[0]]
    found = torch.einsum("kixyz,xyzij,ljxyz->kl", before.strain[0].double(), change, after.strain[0].double()) / ids.numel()
    exact = (normal(other) - normal(ids))[0]
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-4 * float(exact.abs().max()))


def test_change_of_a_voxel_is_predicted_in_sign_and_size(composite):
    """One by one, against new simulations. The infinitesimal derivative is wrong by factors there."""
    ids, fields, voxels = composite
    effect, derivative = (x[0][:, :, *voxels.unbind(1)].permute(2, 0, 1).double() for x in (
        change_of_phase(fields, PHASES, ids), stiffness_derivative(fields, PHASES)))
    hard = ids[0, *voxels.unbind(1)] == 1
    gain = (normal(changed(ids, voxels)) - normal(ids)) * torch.where(hard, -1.0, 1.0)[:, None, None]
    torch.testing.assert_close(effect, effect.transpose(1, 2))
    for k in NORMAL:
        real, guess, rough = (x[:, k, k] for x in (gain, effect, derivative))
        assert (real > 0).all() and (guess > 0).double().mean() > 0.95
        for phase in (hard, ~hard):
            assert 0.5 < (guess / real)[phase].median() < 2
        assert (rough / real)[hard].median() < 0.35 and (rough / real)[~hard].median() > 6
        assert torch.corrcoef(torch.stack([real, guess.clamp_min(real.min() / 10)]).log())[0, 1] > 0.6


@pytest.mark.parametrize("phase", [0, 1])
def test_changes_together_are_predicted(composite, phase):
    """Two dozen voxels of one phase change at once."""
    ids, fields, voxels = composite
    chosen = voxels[ids[0, *voxels.unbind(1)] == phase]
    other = ids.clone()
    other[0, *chosen.unbind(1)] ^= 1
    real = (normal(other) - normal(ids))[0].diagonal()
    guess = change_of_phase(fields, PHASES, ids)[0][:, :, *chosen.unbind(1)].sum(2).diagonal() * (1 - 2 * phase)
    assert ((guess / real > 0.5) & (guess / real < 2)).all(), guess / real


def test_uniform_composites_have_finite_effects():
    for phase in (0, 1):
        ids = torch.full((1, 4, 4, 4), phase)
        assert change_of_phase(strain_fields(ids, PHASES), PHASES, ids).isfinite().all()
