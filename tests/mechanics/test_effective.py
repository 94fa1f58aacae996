"""Effective stiffness against closed forms, bounds and DAMASK."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from microprint import orientations
from microprint.errors import UserError
from microprint.mechanics import effective, effective_stiffness, elasticity
from microprint.mechanics.spectral import PeriodicCell

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


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 0.95), st.floats(1.5, 200.0))
def test_hashin_shtrikman_bounds_are_never_crossed(seed, fraction, contrast):
    """For any geometry, not only isotropic ones: the mean energy of all strains of one norm obeys them.

    Trial polarisations of the bounds' proof are the applied strain itself, whose energy in the reference medium, summed
    over a sphere of strains, does not depend on the direction of the wave vector. The grid is odd: no wave is lost.
    """
    ids = random_composite(seed, shape=(7, 5, 9), fraction=fraction)
    moduli = [(100e9, 60e9), (100e9 * contrast, 60e9 * contrast)]
    stiffnesses = torch.stack([elasticity.from_moduli(*pair) for pair in moduli])
    found = elasticity.isotropic_part(elasticity.mandel_from_voigt(effective_stiffness(ids, stiffnesses)[0]))
    bounds = elasticity.hashin_shtrikman(*zip(*moduli), float(ids.double().mean()))
    for value, (low, high) in zip(found, bounds):
        assert low * (1 - 1e-6) <= value <= high * (1 + 1e-4)


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


def test_order_of_convergence_with_resolution():
    """Cubes of a checked geometry at three resolutions: the error falls about like h^1.5, and at least like h^1.2."""
    values = []
    for refine in (2, 4, 8):
        blocks = torch.cat([random_composite(seed, shape=(3, 3, 3)) for seed in (3, 5, 8, 9)])
        for axis in (1, 2, 3):
            blocks = blocks.repeat_interleave(refine, axis)
        values.append(effective_stiffness(blocks, PHASES, cases=(0,), tolerance=1e-4)[:, 0, 0])
    coarse, fine = (float((b - a).norm()) for a, b in zip(values, values[1:]))
    assert math.log2(coarse / fine) > 1.2


def stress_of(ids, stiffnesses, scheme):
    """Field of the stress xx under a mean strain xx, relative to its mean in the inclusion's inside, and that inside."""
    cell, matrices = PeriodicCell(ids.shape[1:], scheme), elasticity.mandel_from_voigt(stiffnesses)
    stress = effective._stress(matrices[None], ids.flatten(1))
    mean = torch.eye(6, dtype=torch.float64)[:, :1, None].expand(6, 1, ids[0].numel())
    moduli = elasticity.isotropic_part(matrices.mean(0)[:, :, None])
    u, _, _ = cell.relax(lambda x: cell.force(stress(cell.strain(x))), -cell.force(stress(mean)), moduli, 1e-6, 1000)
    field, inside = stress(cell.strain(u) + mean)[0].reshape(ids.shape[1:]), ids[0].bool()
    for axis in range(3):
        inside = inside & inside.roll(1, axis) & inside.roll(-1, axis)
    return field / field[inside].mean(), inside


@pytest.mark.parametrize("contrast", [50.0, 1000.0])
def test_strong_contrast_does_not_ring(contrast):
    """Inside a stiff sphere, the part of the stress that alternates from voxel to voxel, and how far stresses overshoot."""
    ids, ripples, lowest = sphere(17, 0.3), {}, {}
    stiffnesses = torch.stack([elasticity.isotropic(e, 0.3) for e in (1e9, contrast * 1e9)])
    for scheme in ("rotated", "fourier"):
        field, inside = stress_of(ids, stiffnesses, scheme)
        alternating = (2 * field - field.roll(1, 0) - field.roll(-1, 0)) / 4
        ripples[scheme], lowest[scheme] = float(alternating[inside].square().mean().sqrt()), float(field[inside].min())
    assert ripples["rotated"] < 0.1 and lowest["rotated"] > 0.5
    assert ripples["fourier"] > 1.7 * ripples["rotated"] and lowest["fourier"] < 0
    stiffness = effective_stiffness(ids, stiffnesses, tolerance=1e-3, max_iterations=60)[0]
    assert torch.linalg.eigvalsh(stiffness).amin() > 0


@pytest.mark.parametrize(
    "ids, stiffnesses, text",
    [
        (np.full((3, 3, 3), 2), PHASES, "phase 2 has no stiffness"),
        (np.zeros((3, 3), dtype=int), PHASES, r"phase_ids: is of shape \(3, 3\)"),
        (np.full((3, 3, 3), -1), PHASES, "phase -1 has no stiffness"),
        (np.full((3, 3, 3), math.nan), PHASES, "float64"),
        (torch.full((3, 3, 3), 0.5), PHASES, "float32"),
        (np.zeros((3, 3, 3), dtype=int), -PHASES, "not symmetric positive definite: eigenvalue -"),
        (np.zeros((3, 3, 3), dtype=int), PHASES * math.nan, "not symmetric positive definite: C11 = nan"),
        (np.zeros((3, 3, 3), dtype=int), PHASES + torch.eye(6).roll(1, 0) * 1e9, "not symmetric positive definite: C12 = .*, C21 ="),
        (np.zeros((2, 3, 3, 3), dtype=int), PHASES.expand(3, 2, 6, 6), "do not fit"),
    ],
)
def test_bad_input_is_refused(ids, stiffnesses, text):
    with pytest.raises(UserError, match=text):
        effective_stiffness(ids, stiffnesses)


@pytest.mark.parametrize(
    "options, text",
    [
        ({"cases": ()}, "cases: is empty"),
        ({"cases": (7,)}, r"cases = \(7,\)"),
        ({"cases": (0.5,)}, "cases: holds 0.5"),
        ({"scheme": "willot"}, "scheme = 'willot'"),
        ({"size": (1.0, math.nan, 1.0)}, "size = .*nan"),
        ({"size": (1.0, 1.0, -2.0), "scheme": "fourier"}, r"size = .*-2.0"),
        ({"size": (1.0, 1.0)}, r"size = \(1.0, 1.0\)"),
        ({"size": "cube"}, "size = 'cube'"),
        ({"tolerance": math.nan}, "tolerance: holds nan"),
        ({"max_iterations": 2}, "no equilibrium after 2 iterations"),
    ],
)
def test_bad_options_are_refused(options, text):
    with pytest.raises(UserError, match=text):
        effective_stiffness(random_composite(0, shape=(4, 4, 4)), PHASES, **options)


@pytest.mark.parametrize("ratio", [0.3, 0.2])
def test_chunks_change_nothing(ratio):
    """Elements and mean strains in any grouping and on any number of threads; phases of one Poisson's ratio, and of two."""
    ids = torch.cat([random_composite(seed, shape=(5, 4, 6)) for seed in range(3)])
    stiffnesses = torch.stack([PHASES[0], elasticity.isotropic(120e9, ratio)])
    whole = effective_stiffness(ids, stiffnesses)
    torch.set_num_threads(2)
    for voxels in (1, 240, 720):
        torch.testing.assert_close(effective_stiffness(ids, stiffnesses, chunk_voxels=voxels), whole, rtol=1e-9, atol=1e2)


def test_float32_keeps_seven_digits_over_a_large_cell():
    ids = random_composite(6, shape=(40, 40, 40))
    exact = effective_stiffness(ids, PHASES, cases=(0,))
    rough = effective_stiffness(ids, PHASES, cases=(0,), dtype=torch.float32)
    assert abs(float(rough[0, 0, 0] / exact[0, 0, 0]) - 1) < 1e-6


def test_each_way_to_the_stress_is_the_same():
    """Phases that are multiples of one, other phases, and a stiffness for each voxel."""
    ids = random_composite(7)
    plain = effective_stiffness(ids, PHASES)
    torch.testing.assert_close(effective_stiffness(ids, torch.cat([PHASES, PHASES[:1] * 0.7 + PHASES[1:] * 0.1 * torch.eye(6)])), plain)
    torch.testing.assert_close(effective_stiffness(ids, torch.cat([PHASES] * 3)), plain)


def estimated(seed=1, iterations=60, cases=(0, 4)):
    ids = torch.cat([random_composite(seed), random_composite(seed + 1, fraction=0.7)])
    return ids, effective.estimate_stiffness(ids, PHASES, iterations, cases=cases)


def test_estimates_fall_from_the_voigt_average_to_the_stiffness():
    """Bounds from above, in engineering notation, of a normal and a shear case."""
    ids, (stiffness, history) = estimated()
    exact = effective_stiffness(ids, PHASES, tolerance=1e-8)
    share = ids.double().mean((1, 2, 3))
    for place, case in enumerate((0, 4)):
        voigt = (1 - share) * PHASES[0, case, case] + share * PHASES[1, case, case]
        torch.testing.assert_close(history[:, 0, place], voigt, rtol=1e-5, atol=0)
        torch.testing.assert_close(history[:, -1, place], exact[:, case, case], rtol=1e-5, atol=0)
        torch.testing.assert_close(stiffness[:, case, case], exact[:, case, case], rtol=1e-5, atol=0)
        assert (history[:, :, place] >= exact[:, case, case, None] * (1 - 1e-6)).all()
    assert (history.diff(dim=1) <= 0).all() and (history[:, :8].diff(dim=1) < 0).all()
    assert stiffness[:, 1:4].isnan().all() and history.dtype == stiffness.dtype == torch.float64


@pytest.mark.parametrize("iterations", [1, 4])
def test_each_iteration_is_what_stopping_there_gives(iterations):
    _, (_, history) = estimated(iterations=6)
    _, (stiffness, early) = estimated(iterations=iterations)
    assert early.shape == (2, iterations + 1, 2)
    torch.testing.assert_close(early, history[:, : iterations + 1], rtol=1e-5, atol=0)
    torch.testing.assert_close(early[:, -1], stiffness[:, [0, 4], [0, 4]], rtol=1e-9, atol=0)


def test_a_uniform_element_is_at_its_end_at_once():
    """Alone, and beside one that is not."""
    uniform = torch.ones(1, 7, 8, 6, dtype=torch.long)
    for ids in (uniform, torch.cat([uniform, random_composite(3)])):
        stiffness, history = effective.estimate_stiffness(ids, PHASES, 3)
        torch.testing.assert_close(history[0], PHASES[1, [0, 1, 2], [0, 1, 2]].expand(4, 3), rtol=1e-5, atol=0)
        torch.testing.assert_close(stiffness[0, :3, :3], PHASES[1, :3, :3], rtol=1e-5, atol=0)


def test_estimates_do_not_depend_on_their_neighbours_much():
    """The reference medium is the batch's; an estimate for one element alone is nearly the same, twice the same exactly."""
    ids, (_, history) = estimated(iterations=4)
    again = effective.estimate_stiffness(ids.numpy().tolist(), PHASES.tolist(), 4, cases=(0, 4)).history
    assert torch.equal(history, again)
    alone = effective.estimate_stiffness(ids[0], PHASES, 4, cases=(0, 4)).history
    torch.testing.assert_close(alone[0], history[0], rtol=1e-5, atol=0)


@pytest.mark.parametrize("options, text", [
    ({"iterations": 0}, "iterations"),
    ({"iterations": 1.5}, "iterations"),
    ({"cases": (6,)}, r"cases = \(6,\) are no mean strains"),
    ({"phase_ids": np.full((3, 3, 3), 2)}, "phase 2 has no stiffness"),
    ({"device": "gpu0"}, "device = 'gpu0'"),
])  # fmt: skip
def test_bad_options_of_an_estimate_are_refused(options, text):
    with pytest.raises(UserError, match=text):
        effective.estimate_stiffness(**{"phase_ids": random_composite(0), "stiffnesses": PHASES, "iterations": 2, **options})


def test_strain_fields_carry_the_stiffness():
    ids = random_composite(5)
    stiffness, strain = effective.strain_fields(ids, PHASES, cases=(0, 2, 4), tolerance=1e-5)
    exact = effective_stiffness(ids, PHASES, cases=(0, 2, 4), tolerance=1e-8)
    torch.testing.assert_close(stiffness, exact, rtol=1e-5, atol=1e4, equal_nan=True)
    assert strain.shape == (1, 3, 6, 7, 8, 6)
    unit = torch.eye(6)[[0, 2, 4]]  # Mandel's
    torch.testing.assert_close(strain[0].mean((2, 3, 4)), unit, rtol=0, atol=1e-5)
    # Energies of the fields, voxel by voxel in Mandel's notation.
    field = elasticity.mandel_from_voigt(PHASES)[ids[0]]
    energy = torch.einsum("kixyz,xyzij,ljxyz->kl", strain[0].double(), field, strain[0].double()) / ids.numel()
    torch.testing.assert_close(energy, elasticity.mandel_from_voigt(exact)[0][[0, 2, 4]][:, [0, 2, 4]], rtol=1e-5, atol=1e4)


def test_strain_fields_of_a_list():
    ids = random_composite(5, shape=(4, 3, 5))[0]
    listed = effective.strain_fields(ids.tolist(), PHASES.tolist())
    assert listed.strain.shape == (1, 3, 6, 4, 3, 5) and torch.equal(listed.strain, effective.strain_fields(ids, PHASES).strain)
    with pytest.raises(UserError, match="phase 2 has no stiffness"):
        effective.strain_fields(ids + 1, PHASES)
