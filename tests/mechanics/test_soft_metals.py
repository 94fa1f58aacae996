"""Metals that yield at a small share of an increment: the law's own iterations, divided increments, and the limit of fine steps."""

import copy
from math import inf
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from microprint import orientations
from microprint.mechanics import LoadStep, simulate_cp, uniaxial_tension
from microprint.mechanics.compiled.law import CompiledLaw
from microprint.mechanics.materials import load_material
from microprint.mechanics.phenopowerlaw import Law
from microprint.mechanics.tensors import mandel
from microprint.mechanics.time_step import Numerics

FINE = Path(__file__).parents[1] / "data" / "cu_fine_steps.h5"
STRAIN = 1e-3
ISOCHORIC = LoadStep([[1e-3, 0.0, 0.0], [0.0, -5e-4, 0.0], [0.0, 0.0, -5e-4]], t=10.0, N=20)
LOADS = {"tension": uniaxial_tension(), "compression": uniaxial_tension(strain=-0.01), "isochoric": [ISOCHORIC]}


def changed(name, resistance=1.0, **values):
    """A material of the package with its resistances times a factor, and some parameters the same for all families."""
    source = copy.deepcopy(dict(load_material(name).source))
    plastic = source[name]["mechanical"]["plastic"]
    for key, value in plastic.items():
        new = values.get(key.removesuffix("_sl").removesuffix("_tw"), value)
        factor = resistance if key.startswith("xi_") else 1.0
        if key.startswith(("xi_", "n_", "h_0")):
            plastic[key] = [factor * (new if new is not value else old) for old in np.atleast_1d(value).tolist()]
    return load_material(source)


def crystals(count, strain):
    """F (3, 3, N) of a strain and F_p^-1 of random orientations."""
    q = orientations.random(count, torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = torch.randn(3, 3, count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    along = torch.diag(torch.tensor([1.0, -0.5, -0.5], dtype=torch.float64))[:, :, None]
    F = torch.eye(3, dtype=torch.float64)[:, :, None] + strain * (along + 0.3 * noise)
    return F, torch.movedim(orientations.to_matrix(q), (-2, -1), (1, 0)).contiguous()


def without_hardening(name, ratio, exponent):
    """Without hardening, so of one solution; the trial stress of STRAIN is `ratio` times the least resistance."""
    hard = load_material(name)
    modulus = float(Law(hard).coupling.diagonal()[: hard.slips].mean())
    return changed(name, STRAIN * modulus / ratio / float(hard.xi_0[: hard.slips].min()), n=exponent, **{"h_0_sl-sl": 0.0})


def respond(law, F, F_p_inverse, dt):
    """The answer from no guess at all."""
    xi, gamma = law.initial(F.shape[-1])
    return law.respond(F, F_p_inverse, xi, gamma, dt, torch.zeros(6, F.shape[-1], dtype=torch.float64), xi)


@pytest.mark.parametrize("exponent", [5, 20, 83.3, 100])
@pytest.mark.parametrize("material", ["Cu", "ferrite", "Mg"])
def test_the_law_ends_however_far_the_trial_is_beyond_yield(material, exponent):
    """At trial stresses up to 1,000 times the resistance, at any rate, in 40 iterations, and at a stress that its shears leave."""
    F, F_p_inverse = crystals(20, STRAIN)
    for ratio in (1, 30, 1000):
        law = CompiledLaw(without_hardening(material, ratio, exponent), 1e-6, max_iterations=40)
        for rate in (1e-4, 1e-1, 10.0):
            answer = respond(law, F, F_p_inverse, STRAIN / rate)
            assert answer.converged.all(), (ratio, rate)
            F_e = torch.einsum("ijn,jkn->ikn", F, answer.F_p_inverse)
            elastic = 0.5 * (torch.einsum("kin,kjn->ijn", F_e, F_e) - torch.eye(3, dtype=torch.float64)[:, :, None])
            # The elastic part follows from the stress but for the scaling of F_p to det 1, which is of second order.
            S = law.stiffness @ mandel(elastic)
            deviator = S - answer.stress
            deviator[:3] -= deviator[:3].mean(0)
            assert (deviator.abs().amax() < 0.02 * answer.stress.abs().amax()), (ratio, rate)


def _excess(tau, trial, modulus, slip, xi, exponent):
    return tau - trial + modulus * slip * (tau / xi) ** exponent


@pytest.mark.parametrize("law", [Law, CompiledLaw])
@pytest.mark.parametrize("exponent", [5, 20, 100])
def test_a_cube_is_as_its_scalar_equation_says(law, exponent):
    """Eight systems share one stress: tau = m (C_11 - C_12) (3/2 e - 12 m gamma), gamma = dt g_0 (tau / xi)^n, by bisection."""
    cube = torch.eye(3, dtype=torch.float64)[:, :, None]
    F = cube + STRAIN * torch.diag(torch.tensor([1.0, -0.5, -0.5], dtype=torch.float64))[:, :, None]
    for ratio in (1, 10, 40, 200, 1000):
        material = without_hardening("Cu", ratio, exponent)
        factor, (c_11, c_12), xi = 1 / np.sqrt(6), material.stiffness[0, :2].tolist(), float(material.xi_0[0])
        for rate in (1e-4, 1e-2, 1.0, 10.0):
            dt = STRAIN / rate
            trial, modulus, slip = 1.5 * factor * (c_11 - c_12) * STRAIN, 12 * factor**2 * (c_11 - c_12), dt * float(material.rate_0[0])
            tau = brentq(_excess, 0.0, trial, (trial, modulus, slip, xi, exponent), xtol=1e-12, rtol=1e-14)
            answer = respond(law(material, 1e-8), F, cube, dt)
            assert answer.converged.all()
            assert float((answer.stress[0] - answer.stress[1]) * factor) == pytest.approx(tau, rel=5e-3), (ratio, rate)  # strains are small, not nil


def test_both_forms_of_the_law_agree_on_soft_crystals():
    F, F_p_inverse = crystals(50, STRAIN)
    for name in ("Cu", "Mg"):
        material = without_hardening(name, 40, 20)
        eager, fused = (respond(law(material, 1e-7), F, F_p_inverse, 1.0) for law in (Law, CompiledLaw))
        for field, tolerance in (("P", 1e-6), ("gamma", 1e-6), ("tangent", 5e-3)):
            a, b = getattr(eager, field), getattr(fused, field)
            assert (a - b).abs().max() < tolerance * a.abs().max(), field


def test_a_first_increment_far_beyond_yield_is_divided_and_told():
    F = uniaxial_tension(strain=1e-3, increments=2)
    ids, q = np.zeros((1, 1, 1), int), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    # An elastic increment would go to 20 times the resistance: the first of nine parts, 1 / 1.5^8 of it, ends below yield.
    divided = simulate_cp(ids, q, "Cu", F)
    assert divided.substeps.tolist() == [8] and divided.time.tolist() == [0.0, 0.5, 1.0]
    for material, numerics in (("Mg", Numerics()), ("Cu", Numerics(overshoot=inf))):
        assert simulate_cp(ids, q, material, F, numerics=numerics).substeps.tolist() == [0]
    fine = simulate_cp(ids, q, "Cu", uniaxial_tension(strain=1e-4, increments=2))
    assert fine.substeps.tolist() == [0]
    # What an increment adds counts, against the resistance of the day: after hardening a new step needs fewer parts.
    assert simulate_cp(ids, q, "Cu", (*uniaxial_tension(), *F)).substeps[0] < 16


@pytest.mark.parametrize("rate", [1e-4, 1.0, 10.0])
def test_single_crystals_need_no_cutback_at_any_rate(rate):
    ids, q = np.zeros((6, 1, 1, 1), int), orientations.random((6, 1), torch.Generator().manual_seed(3), dtype=torch.float64)
    for material in ("Cu", "Al"):
        result = simulate_cp(ids, q, material, uniaxial_tension(rate=rate))
        assert result.converged.all() and not result.cutbacks.any()


def test_copper_is_nearer_to_the_limit_of_fine_steps_than_damask(reference):
    """At every increment, in an element and in single crystals; and at the knee much nearer."""
    cases = {"volume_elements/Cu random 102": uniaxial_tension()} | {f"single_crystals/Cu/{name}": load for name, load in LOADS.items()}
    with h5py.File(FINE) as file:
        for name, load in cases.items():
            limit, group = file[f"{name}/P"][:], reference[name]
            limit = limit if limit.ndim == 4 else limit[None]
            grains = group["grain_id"][:] if "grain_id" in group else np.zeros((len(limit), 1, 1, 1), int)
            q = torch.from_numpy(group["quaternion"][:])
            result = simulate_cp(grains, q if "grain_id" in group else q[:, None], "Cu", load)
            assert result.converged.all() and not result.cutbacks.any()
            scale = np.abs(limit[:, 1:]).max((2, 3))
            ours, damask = (np.abs(P.reshape(limit.shape) - limit)[:, 1:].max((2, 3)) / scale for P in (result.P.numpy(), group["P"][:]))
            assert (ours < damask + 5e-4).all(), name
            assert (ours[:, 0] < 0.5 * damask[:, 0]).all(), name
