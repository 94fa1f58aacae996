"""Effective stiffness against closed forms, bounds and DAMASK."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from microprint import orientations
from microprint.errors import UserError
from microprint.mechanics import effective_stiffness, elasticity

PHASES = torch.stack([elasticity.isotropic(2.4e9, 0.3), elasticity.isotropic(120e9, 0.3)])


def laminate(stiffnesses, fractions):
    """Closed form for layers normal to x: xx, xz, xy stresses and the other strains are the same in all layers."""
    n, t = [0, 4, 5], [1, 2, 3]

    def blocks(c):
        return c[n][:, n], c[n][:, t], c[t][:, t]

    flexibility = sum(f * torch.linalg.inv(blocks(c)[0]) for f, c in zip(fractions, stiffnesses))
    normal = torch.linalg.inv(flexibility)
    mixed = normal @ sum(f * torch.linalg.inv(blocks(c)[0]) @ blocks(c)[1] for f, c in zip(fractions, stiffnesses))
    rest = sum(
        f * (blocks(c)[2] - blocks(c)[1].T @ torch.linalg.inv(blocks(c)[0]) @ blocks(c)[1])
        for f, c in zip(fractions, stiffnesses)
    )
    result = torch.zeros(6, 6, dtype=torch.float64)
    n, t = torch.tensor(n), torch.tensor(t)
    result[n[:, None], n], result[n[:, None], t], result[t[:, None], n] = normal, mixed, mixed.T
    result[t[:, None], t] = rest + mixed.T @ flexibility @ mixed
    return result


def random_composite(seed, shape=(7, 8, 6), fraction=0.4):
    return (torch.rand(1, *shape, generator=torch.Generator().manual_seed(seed)) < fraction).long()


@pytest.mark.parametrize("turn", [False, True])
def test_laminate_has_its_closed_form(turn):
    stiffnesses = PHASES
    if turn:
        q = orientations.random(2, torch.Generator().manual_seed(1), dtype=torch.float64)
        stiffnesses = elasticity.rotate(
            elasticity.hexagonal(59.5e9, 25.6e9, 21.5e9, 61.7e9, 16.5e9), orientations.to_matrix(q).mT
        )
    ids = torch.zeros(1, 8, 3, 4, dtype=torch.long)
    ids[:, 2:5] = 1
    expected = laminate(elasticity.voigt_from_mandel(elasticity.mandel_from_voigt(stiffnesses)), [5 / 8, 3 / 8])
    found = effective_stiffness(ids, stiffnesses, tolerance=1e-8)[0]
    assert (found - expected).abs().max() < 1e-6 * expected.abs().max()


def test_uniform_cell_is_its_phase():
    found = effective_stiffness(np.ones((4, 4, 4), dtype=int), PHASES)[0]
    torch.testing.assert_close(found, PHASES[1])


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 0.95))
def test_bounds_are_never_crossed(seed, fraction):
    ids = random_composite(seed, fraction=fraction)
    found = elasticity.mandel_from_voigt(effective_stiffness(ids, PHASES)[0])
    share = ids.double().mean()
    shares = torch.stack([1 - share, share])
    upper = elasticity.mandel_from_voigt(elasticity.voigt_average(PHASES, shares))
    lower = elasticity.mandel_from_voigt(elasticity.reuss_average(PHASES, shares))
    slack = 1e-9 * 120e9
    assert torch.linalg.eigvalsh(upper - found).amin() > -slack and torch.linalg.eigvalsh(found - lower).amin() > -slack
    torch.testing.assert_close(found, found.T)
    assert torch.linalg.eigvalsh(found).amin() > 0


def test_batch_single_case_and_float32_agree_with_one_by_one():
    ids = torch.cat([random_composite(1), random_composite(2)])
    one = torch.cat([effective_stiffness(ids[i], PHASES) for i in range(2)])
    torch.testing.assert_close(effective_stiffness(ids, PHASES), one, rtol=1e-9, atol=1e3)
    c11 = effective_stiffness(ids, PHASES, cases=(0,), dtype=torch.float32)
    torch.testing.assert_close(c11[:, 0, 0], one[:, 0, 0], rtol=1e-4, atol=0)
    assert torch.isnan(c11[:, 1:]).all()


def test_turning_the_cell_permutes_the_stiffness():
    ids = random_composite(4, shape=(6, 6, 6))
    stiffness = effective_stiffness(ids, PHASES)[0]
    swapped = effective_stiffness(ids.transpose(1, 2), PHASES)[0]
    order = torch.tensor([1, 0, 2, 4, 3, 5])
    torch.testing.assert_close(swapped, stiffness[order][:, order], rtol=1e-4, atol=1e5)


def sphere(n, radius):
    x = (torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5
    return ((x[:, None, None] ** 2 + x[None, :, None] ** 2 + x[None, None] ** 2).sqrt() < radius).long()[None]


@pytest.mark.parametrize("modulus", [30e9, 300e9])
def test_dilute_sphere_is_eshelbys(modulus):
    youngs = (100e9, modulus)
    ids = sphere(24, 0.16)
    share = float(ids.double().mean())
    found = effective_stiffness(ids, torch.stack([elasticity.isotropic(e, 0.3) for e in youngs]), tolerance=1e-5)[0]
    bulk, shear = ([e / (3 * 0.4) for e in youngs], [e / 2.6 for e in youngs])
    alpha = 3 * bulk[0] / (3 * bulk[0] + 4 * shear[0])
    gain = share * (bulk[1] - bulk[0]) / (1 + alpha * (bulk[1] - bulk[0]) / bulk[0])
    assert float(found[:3, :3].mean()) - bulk[0] == pytest.approx(gain, rel=0.04)


def test_error_falls_with_resolution():
    """One geometry of 3^3 blocks at three resolutions: the differences shrink at least like h^0.7."""
    blocks = random_composite(3, shape=(3, 3, 3))
    values = [
        float(
            effective_stiffness(blocks.repeat_interleave(r, 1).repeat_interleave(r, 2).repeat_interleave(r, 3), PHASES)[0, 0, 0]
        )
        for r in (2, 4, 8)
    ]
    assert abs(values[2] - values[1]) < 0.62 * abs(values[1] - values[0])


@pytest.mark.parametrize(
    "ids, stiffnesses, text",
    [
        (np.full((3, 3, 3), 2), PHASES, "phase 2 has no stiffness"),
        (np.zeros((3, 3), dtype=int), PHASES, "do not fit"),
        (np.zeros((3, 3, 3), dtype=int), -PHASES, "not symmetric positive definite"),
    ],
)
def test_bad_input_is_refused(ids, stiffnesses, text):
    with pytest.raises(UserError, match=text):
        effective_stiffness(ids, stiffnesses)
