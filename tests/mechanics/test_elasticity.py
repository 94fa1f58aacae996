"""Stiffness tensors against closed forms."""

import math

import pytest
import torch

from microprint import orientations
from microprint.errors import UserError
from microprint.mechanics import elasticity
from microprint.mechanics.materials import load_material


def test_isotropic_is_cubic_without_anisotropy_and_does_not_turn():
    stiffness = elasticity.isotropic(120e9, 0.3)
    lame, shear = 120e9 * 0.3 / (1.3 * 0.4), 120e9 / 2.6
    torch.testing.assert_close(stiffness, elasticity.cubic(lame + 2 * shear, lame, shear))
    q = orientations.random(4, torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(
        elasticity.rotate(stiffness, orientations.to_matrix(q)), stiffness.expand(4, 6, 6), rtol=1e-9, atol=1.0
    )


def test_hexagonal_is_isotropic_about_c():
    stiffness = elasticity.hexagonal(59.5, 25.6, 21.5, 61.7, 16.5)
    angle = torch.tensor([0.0, 0.4], dtype=torch.float64)
    about_c = orientations.to_matrix(torch.stack([(angle / 2).cos(), 0 * angle, 0 * angle, (angle / 2).sin()], -1))
    torch.testing.assert_close(elasticity.rotate(stiffness, about_c), stiffness.expand(2, 6, 6))


def test_rotation_moves_the_c_axis():
    stiffness = elasticity.hexagonal(59.5, 25.6, 21.5, 61.7, 16.5)
    z_to_x = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]], dtype=torch.float64)
    turned = elasticity.rotate(stiffness, z_to_x)
    assert turned[0, 0] == pytest.approx(61.7) and turned[2, 2] == pytest.approx(59.5)
    assert turned[5, 5] == pytest.approx(16.5) and turned[3, 3] == pytest.approx((59.5 - 25.6) / 2)


def test_isotropic_part_gives_back_the_moduli():
    matrix = elasticity.mandel_from_voigt(elasticity.from_moduli(70.0, 26.0))
    assert [float(m) for m in elasticity.isotropic_part(matrix)] == pytest.approx([70.0, 26.0])


def test_hashin_shtrikman_lie_between_voigt_and_reuss():
    bulk, shear, fraction = (2.0, 100.0), (0.9, 46.0), 0.4
    (k_low, k_high), (g_low, g_high) = elasticity.hashin_shtrikman(bulk, shear, fraction)
    for low, high, values in ((k_low, k_high, bulk), (g_low, g_high, shear)):
        reuss = 1 / (0.6 / values[0] + 0.4 / values[1])
        assert reuss < low < high < 0.6 * values[0] + 0.4 * values[1]
    # Christensen's Mechanics of Composite Materials: a dilute, infinitely soft guest lowers K by the factor 1 - c (1 + 3K/4G).
    (low, _), _ = elasticity.hashin_shtrikman((1e-12, 1.0), (1e-12, 0.5), 1 - 1e-6)
    (_, high), _ = elasticity.hashin_shtrikman((1e-12, 1.0), (1e-12, 0.5), 1 - 1e-6)
    assert elasticity.hashin_shtrikman((2.0, 2.0), (1.0, 1.0), 0.3) == ((2.0, 2.0), (1.0, 1.0))
    assert high == pytest.approx(1 - 1e-6 * (1 + 3 / (4 * 0.5)), rel=1e-9) and math.isfinite(low)


@pytest.mark.parametrize("modulus, ratio", [(math.nan, 0.3), (1e9, math.nan), (1e9, 0.5), (-1e9, 0.3), (math.inf, 0.3)])
def test_constants_of_no_solid_are_refused(modulus, ratio):
    with pytest.raises(UserError, match="no stable solid"):
        elasticity.isotropic(modulus, ratio)


def test_every_matrix_is_symmetric_positive_definite_and_stays_so_when_turned():
    q = orientations.random(5, torch.Generator().manual_seed(1), dtype=torch.float64)
    for name in ("Mg", "Cu"):
        stiffness = elasticity.rotate(load_material(name).stiffness, orientations.to_matrix(q))
        torch.testing.assert_close(stiffness, stiffness.mT, rtol=0, atol=1e-3)
        assert torch.linalg.eigvalsh(elasticity.mandel_from_voigt(stiffness)).amin() > 0


@pytest.mark.parametrize("free", [[0, 0, 0, 0, 0, 0], [0, 1, 1, 0, 1, 0], [1, 1, 1, 1, 1, 1], [0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1]])
def test_free_strain_is_what_the_free_components_of_the_matrix_give(free):
    stiffnesses = torch.stack([elasticity.isotropic(e, nu) for e, nu in ((2.0, 0.3), (70.0, 0.45))])
    matrices, index = elasticity.mandel_from_voigt(stiffnesses), torch.tensor(free).nonzero()[:, 0]
    stress = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bulk, shear = elasticity.isotropic_part(matrices.permute(1, 2, 0))
    strain, expected = elasticity.free_strain(stress, bulk, shear, torch.tensor(free).double()[:, None]), torch.zeros_like(stress)
    expected[index] = torch.linalg.solve(matrices[:, index][:, :, index], stress[index].T).T
    torch.testing.assert_close(strain, expected)
