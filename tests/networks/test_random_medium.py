"""Cut Gaussian fields: two-point statistics against closed forms, counting and drawings; correlations against the lattice's heat."""

import itertools
import math

import pytest
import torch

from microprint.networks import random_medium
from microprint.networks.random_medium import (
    COEFFICIENTS,
    arc_of,
    at,
    autocorrelation,
    correlation,
    correlation_at,
    draw,
    lags,
    level_of,
    two_point,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_coefficients(count=3):
    return torch.randn(count, COEFFICIENTS, generator=generator(4), dtype=torch.float64)


def test_two_point_at_level_zero_is_the_orthant_s_probability():
    rho = torch.linspace(-0.99, 0.99, 41, dtype=torch.float64)
    found = two_point(torch.zeros(1, dtype=torch.float64), torch.asin(rho)[None])[0]
    torch.testing.assert_close(found, 0.25 + torch.asin(rho) / (2 * math.pi), rtol=0, atol=1e-9)


@pytest.mark.parametrize("level", [-1.2, 0.7])
def test_two_point_by_drawing_pairs(level):
    count, pair = 400_000, torch.randn(2, 400_000, generator=generator(), dtype=torch.float64)
    for rho in (-0.8, -0.3, 0.0, 0.5, 0.95):
        second = rho * pair[0] + math.sqrt(1 - rho**2) * pair[1]
        share = ((pair[0] < level) & (second < level)).double().mean().item()
        found = two_point(torch.tensor([level], dtype=torch.float64), torch.tensor([[math.asin(rho)]], dtype=torch.float64)).item()
        assert abs(found - share) < 4 * math.sqrt(max(found, 1e-5) / count)


@pytest.mark.parametrize("level", [-2.0, -0.5, 0.0, 1.3])
def test_two_point_ends_with_the_volume_fraction(level):
    """Full correlation: both voxels are one. None: they are independent. Full anticorrelation: both never below t < 0."""
    t = torch.tensor([level], dtype=torch.float64)
    fraction = torch.special.ndtr(t).item()
    found = two_point(t, torch.tensor([[math.pi / 2, 0.0, -math.pi / 2]], dtype=torch.float64))[0].tolist()
    assert found == pytest.approx([fraction, fraction**2, max(0.0, 2 * fraction - 1)], abs=2e-4)


def test_arcs_turn_two_point_round():
    level = torch.tensor([-1.5, -0.4, 0.0, 1.1], dtype=torch.float64)
    arc = torch.linspace(-1.2, 1.5, 31, dtype=torch.float64).expand(4, -1)
    found = arc_of(level, two_point(level, arc))
    torch.testing.assert_close(two_point(level, found), two_point(level, arc), rtol=0, atol=1e-5)
    sure = arc[0] > -0.6  # below, at far levels, nothing changes with the arc
    torch.testing.assert_close(found[:, sure], arc[:, sure], rtol=0, atol=2e-3)
    assert (arc_of(level, torch.ones(4, 1)) <= math.pi / 2).all() and (arc_of(level, torch.zeros(4, 1)) >= -math.pi / 2).all()


def test_level_is_the_normal_quantile():
    fraction = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0])
    level = level_of(fraction)
    torch.testing.assert_close(torch.special.ndtr(level), fraction.double().clamp(1e-3, 1 - 1e-3))
    assert level[2] == 0


def test_two_point_has_gradients():
    level = torch.tensor([0.3, -0.8], dtype=torch.float64, requires_grad=True)
    arc = torch.tensor([[0.2, -0.7], [1.3, 0.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(two_point, (level, arc))


def test_autocorrelation_by_counting():
    phase = (torch.rand(2, 5, 5, 5, generator=generator()) < 0.4).to(torch.uint8)
    found = autocorrelation(phase.double())
    places = list(itertools.product(range(5), repeat=3))
    for r in ((0, 0, 0), (1, 0, 0), (0, 4, 0), (2, 1, 3)):
        pairs = sum(int(phase[1][s]) * int(phase[1][tuple((a + b) % 5 for a, b in zip(s, r))]) for s in places)
        assert found[1][r].item() == pytest.approx(pairs / 125, abs=1e-12)
    torch.testing.assert_close(at(found, torch.tensor([[2, 1, 3], [-3, 6, -2]]))[:, 0], at(found, torch.tensor([[2, 1, 3], [-3, 6, -2]]))[:, 1])
    assert autocorrelation(phase).dtype == torch.float32


@pytest.mark.parametrize("edge", [4, 5, 8, 9, 27])
def test_lags_have_one_of_each_pair(edge):
    vectors = [tuple(v) for v in lags(edge).tolist()]
    images = [tuple(x % edge for x in v) for v in vectors]
    mirrored = [tuple(-x % edge for x in v) for v in vectors]
    assert len(set(images)) == len(images) and not set(images) & set(mirrored) and (0, 0, 0) not in images
    far, near = (edge - 1) // 2, min(random_medium.NEAR, (edge - 1) // 2)
    assert len(vectors) == ((2 * near + 1) ** 3 - 1) // 2 + 3 * (far - near)
    for axis in range(3):
        assert {abs(v[axis]) for v in vectors if not any(v[:axis] + v[axis + 1 :])} == set(range(1, far + 1))


@pytest.mark.parametrize("edge", [7, 8])
def test_correlations_are_correlations(edge):
    rho = correlation(random_coefficients(), edge)
    torch.testing.assert_close(rho[:, 0, 0, 0], torch.ones(3, dtype=torch.float64))
    mirrored = rho.flip((1, 2, 3)).roll((1, 1, 1), (1, 2, 3))
    torch.testing.assert_close(rho, mirrored)
    vectors = torch.cartesian_prod(*3 * [torch.arange(-9, 9)])
    torch.testing.assert_close(correlation_at(random_coefficients(), edge, vectors), at(rho, vectors))
    spectrum = torch.fft.fftn(rho, dim=(1, 2, 3))
    assert spectrum.imag.abs().max() < 1e-9 and spectrum.real.min() > -1e-9 and (rho.abs() <= 1 + 1e-12).all()


def test_correlation_of_first_order_is_the_heat_of_the_lattice():
    """Without terms of second order and white noise: exp(-a L) of the discrete Laplacian L along each axis, less its mean."""
    edge, first = 9, torch.tensor([0.5, 2.0, 3.5], dtype=torch.float64)
    second = 2 * torch.eye(edge, dtype=torch.float64)
    second = second - second.roll(1, 1) / 2 - second.roll(-1, 1) / 2
    along = [torch.linalg.matrix_exp(-a * second)[0] for a in torch.nn.functional.softplus(first)]
    kernel = along[0][:, None, None] * along[1][:, None] * along[2]
    expected = (kernel - kernel.mean()) / (kernel - kernel.mean())[0, 0, 0]
    coefficients = torch.cat([first, torch.zeros(6, dtype=torch.float64), torch.tensor([-60.0], dtype=torch.float64)])
    torch.testing.assert_close(correlation(coefficients[None], edge)[0], expected, rtol=0, atol=1e-12)


def test_mixed_precision_costs_a_correlation_no_digit():
    coefficients = random_coefficients().float()
    with torch.autocast("cpu", torch.bfloat16):
        rho = correlation(coefficients, 9)
    torch.testing.assert_close(rho, correlation(coefficients, 9))


def test_white_noise_takes_its_share():
    coefficients = random_coefficients()
    white = coefficients.clone()
    white[:, -1] = 1.0
    coefficients[:, -1] = -60.0
    share, rho = torch.sigmoid(torch.tensor(1.0)).item(), correlation(coefficients, 6)
    expected = (1 - share) * rho
    expected[:, 0, 0, 0] = 1
    torch.testing.assert_close(correlation(white, 6), expected)


def test_a_larger_cell_has_the_same_law():
    coefficients = torch.tensor([[2.0, 2.0, 2.0, *[0.0] * 6, -4.0]], dtype=torch.float64)
    small, large = correlation(coefficients, 24)[0], correlation(coefficients, 40)[0]
    torch.testing.assert_close(small[:5, :5, :5], large[:5, :5, :5], rtol=0, atol=0.02)


@pytest.mark.parametrize("edge", [7, 8])
def test_drawings_have_exactly_the_correlation(edge):
    rho = correlation(random_coefficients(), edge)
    field = draw(rho, torch.randn(3, edge, edge, edge, generator=generator(), dtype=torch.float64))
    torch.testing.assert_close(autocorrelation(field), rho, rtol=0, atol=1e-6)
    torch.testing.assert_close(field.square().mean((1, 2, 3)), torch.ones(3, dtype=torch.float64))


def test_drawings_depend_on_the_phases_of_noise_alone():
    rho, noise = correlation(random_coefficients(), 8), torch.randn(3, 8, 8, 8, generator=generator(), dtype=torch.float64)
    field = draw(rho, noise)
    # Amplitudes alone change, but for the planes of the half spectrum that must mirror each other.
    symmetric = torch.fft.irfftn(torch.fft.rfftn(noise, dim=(1, 2, 3)) * torch.fft.rfftn(rho, dim=(1, 2, 3)).real.clamp_min(1e-3), dim=(1, 2, 3), s=(8, 8, 8))
    torch.testing.assert_close(draw(rho, symmetric), field)
    torch.testing.assert_close(draw(rho, 3 * noise), field)
    torch.testing.assert_close(draw(rho, noise.roll((1, 2, 3), (1, 2, 3))), field.roll((1, 2, 3), (1, 2, 3)))
    assert not torch.allclose(draw(rho, noise.flip(0)), field)


def test_drawings_have_finite_gradients():
    coefficients = random_coefficients().requires_grad_()
    noise = torch.randn(3, 7, 7, 7, generator=generator(), dtype=torch.float64, requires_grad=True)
    draw(correlation(coefficients, 7), noise).pow(3).sum().backward()
    assert coefficients.grad.isfinite().all() and noise.grad.isfinite().all() and noise.grad.abs().max() > 0
