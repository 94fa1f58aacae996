"""Derivatives, Green operator and conjugate gradients of the periodic cell."""

import math

import pytest
import torch

from microprint.mechanics.spectral import PeriodicCell, RotatedCell, conjugate_gradients

SHAPES = [(4, 6, 8), (5, 3, 7), (8, 8, 8)]


def field(shape, *leading, seed=0):
    return torch.randn(*leading, math.prod(shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
def test_parseval_and_round_trip(shape):
    cell, x = PeriodicCell(shape, "fourier"), field(shape, 2)
    spectrum = cell.to_fourier(x)
    torch.testing.assert_close(cell.to_real(spectrum), x)
    torch.testing.assert_close((spectrum.square() * cell.weight).sum(-1), x.square().mean(-1))
    torch.testing.assert_close(spectrum[:, 0], x.mean(-1))


def test_fourier_derivative_of_a_wave_is_exact():
    shape = (8, 6, 10)
    cell = PeriodicCell(shape, "fourier", size=(1.0, 1.0, 1.0))
    x = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float64) / n for n in shape), indexing="ij"))
    phase = 2 * math.pi * (2 * x[0] - x[2])
    # The displacement is sin(phase) along y; u is i times its spectrum.
    sine = torch.view_as_complex(cell.to_fourier(phase.sin().flatten()).unflatten(-1, (-1, 2)).contiguous())
    spectrum = torch.zeros(3, 1, cell.frequencies, dtype=torch.float64)
    spectrum[1, 0] = torch.view_as_real(1j * sine).flatten()
    gradient = cell.gradient(spectrum)[:, :, 0]
    for along, slope in enumerate((4 * math.pi, 0.0, -2 * math.pi)):
        torch.testing.assert_close(gradient[1, along], (slope * phase.cos()).flatten())
    assert gradient[0].abs().max() < 1e-12


@pytest.mark.parametrize("scheme", ["fourier", "rotated"])
@pytest.mark.parametrize("shape", SHAPES)
def test_divergence_is_the_adjoint_of_the_gradient(scheme, shape):
    cell = PeriodicCell(shape, scheme)
    u = cell.to_fourier(field(shape, 3, 2)) * cell.live
    stress = field(shape, 3, 3, 2, seed=1)
    work = (stress * cell.gradient(u)).sum((0, 1)).mean(-1)
    torch.testing.assert_close(work, (cell.divergence(stress) * u * cell.weight).sum((0, 2)))
    mandel = field(shape, 6, 2, seed=2)
    force, mean = cell.strain_adjoint(mandel)
    torch.testing.assert_close((mandel * cell.strain(u)).sum(0).mean(-1), (force * u * cell.weight).sum((0, 2)))
    torch.testing.assert_close(mean, mandel.mean(-1))


@pytest.mark.parametrize("scheme", ["fourier", "rotated"])
def test_green_inverts_an_isotropic_medium(scheme):
    shape, bulk, shear = (6, 5, 8), torch.tensor([2.0, 3.0], dtype=torch.float64), torch.tensor([0.7, 0.2], dtype=torch.float64)
    cell = PeriodicCell(shape, scheme)
    u = cell.divergence(field(shape, 3, 3, 2))
    strain = cell.strain(u)
    stress = 2 * shear[:, None] * strain
    stress[:3] += (bulk - 2 * shear / 3)[:, None] * strain[:3].sum(0)
    force, _ = cell.strain_adjoint(stress)
    torch.testing.assert_close(cell.green(force, bulk, shear), u)


@pytest.mark.parametrize("shape", [*SHAPES, (4, 1, 1), (1, 6, 5)])
def test_derivatives_at_voxels_are_those_of_the_rotated_scheme(shape):
    """Forces in equilibrium with a stress, the displacement they cause and its strain: by corners and by spectra."""
    size, moduli = (1.0, 2.0, 1.5), (torch.tensor([2.0, 3.0]).double(), torch.tensor([0.7, 0.2]).double())
    corners, spectra = RotatedCell(shape, size), PeriodicCell(shape, "rotated", size)
    stress, u = field(shape, 6, 2), field(shape, 3, 2, seed=1)
    force = corners.force(stress)
    torch.testing.assert_close((stress * corners.strain(u)).sum((0, 2)) / math.prod(shape), corners.dot(force, u))
    u, expected = corners.green(force, *moduli), spectra.green(spectra.force(stress), *moduli)
    torch.testing.assert_close(corners.strain(u), spectra.strain(expected))
    torch.testing.assert_close(corners.dot(force, u), spectra.dot(spectra.force(stress), expected))


def test_hartley_transform_is_its_own_inverse():
    cell, u = RotatedCell((4, 5, 6)), field((4, 5, 6), 3, 2)
    torch.testing.assert_close(cell._transform(cell._transform(u)), u)


def test_rotated_gradient_of_layers_is_a_finite_difference():
    cell = PeriodicCell((8, 1, 1), "rotated")
    t = cell.t[0, 0].unflatten(0, (8, 1, 1, 2))[:, 0, 0, 0]
    k = torch.arange(8, dtype=torch.float64)
    spacing = cell.size[0] / (sum(cell.size) / 3) / 8
    torch.testing.assert_close(t.abs(), 2 / spacing * (math.pi * k / 8).sin().abs())


def test_conjugate_gradients_solve_each_system_and_stop():
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, 5, 5, generator=generator, dtype=torch.float64)
    matrices = matrices @ matrices.mT + torch.eye(5, dtype=torch.float64)
    force = torch.randn(1, 3, 5, generator=generator, dtype=torch.float64)
    force[:, 2] = 0.0
    x, used, freed = conjugate_gradients(
        lambda v: torch.einsum("bij,cbj->cbi", matrices, v), lambda r: r, force, lambda a, b: (a * b).sum((0, 2)), 1e-10, 50
    )
    torch.testing.assert_close(x[0], torch.linalg.solve(matrices, force[0]))
    assert used[2] == 0 and used.max() <= 7
    assert freed.shape == (used.max(), 3) and (freed >= 0).all() and ((freed > 0).sum(0) == used).all()
    torch.testing.assert_close(freed.sum(0), (x * force).sum((0, 2)))  # from nil to -x.A.x, as A x is the force
