"""How twins and slip harden one another, by a scalar integration and the two forms of the law."""

import copy

import numpy as np
import pytest
import torch

from microprint.mechanics.compiled.law import CompiledLaw
from microprint.mechanics.materials import load_material
from microprint.mechanics.phenopowerlaw import Law

LAWS = (Law, CompiledLaw)
TWINNING = {"N_tw": [12], "xi_0_tw": 5e4, "dot_gamma_0_tw": 2e-3, "n_tw": 18, "h_0_tw-tw": 1e10, "h_0_tw-sl": 1e10}
TWINNING |= {"h_tw-tw": [1.0, 1.4], "h_tw-sl": [1.3], "h_sl-tw": [1e9, 2e9, 3e9], "f_sat_sl-tw": 1e8}
POWERS = {"c_1": 1e4, "c_2": 0.9, "c_3": 0.05, "c_4": 0.05}


def crystal(**changes):
    """A cF crystal that yields at a strain of 1e-6, so that finite strain is of no account."""
    source = copy.deepcopy(load_material("Cu").source)
    slip = {"xi_0_sl": 9e4, "xi_inf_sl": 2e5, "h_0_sl-sl": 2e10, "a_sl": 1.5, "dot_gamma_0_sl": 1e-3, "n_sl": 20}
    source["Cu"]["mechanical"]["plastic"] |= slip | {"h_sl-sl": [1.0 + 0.1 * kind for kind in range(7)]} | changes
    return load_material(source)


def pulled_cube(m, strain, dt, steps):
    """A cube under tension along an edge, where all is a matter of one stress: bisection for it, a fixed point for the hardness.

    Returns stress (steps,), lateral strain (steps,), resistances and shears (steps, systems).
    """
    c11, c12 = float(m.stiffness[0, 0]), float(m.stiffness[0, 1])
    modulus, poisson = (c11 - c12) * (c11 + 2 * c12) / (c11 + c12), c12 / (c11 + c12)
    arrays = {name: value.numpy() for name, value in vars(m).items() if isinstance(value, torch.Tensor)}
    factor, xi_0, rate, n = arrays["schmid"][:, 0, 0], arrays["xi_0"], arrays["rate_0"], arrays["exponent"]
    twin = np.arange(len(factor)) >= m.slips
    xi, gamma, plastic, rows = xi_0, np.zeros(len(factor)), 0.0, []
    for step in range(1, steps + 1):
        new, twinned = xi, (gamma[twin] / arrays["gamma_char"]).sum()

        def shear(stress, xi, twinned):
            tau = stress * np.where(twin, factor, abs(factor))
            return dt * rate * (np.maximum(tau, 0.0) / xi) ** n * np.where(twin, 1.0 - twinned, 1.0)

        for _ in range(60):
            low, high = 0.0, modulus * strain * step
            for _ in range(50):
                middle = 0.5 * (low + high)
                extension = plastic + (abs(factor) * shear(middle, new, twinned)).sum()
                low, high = (middle, high) if middle < modulus * (strain * step - extension) else (low, middle)
            slip, twinning = np.split(shear(low, new, twinned), [m.slips])
            all_slip = (gamma[~twin] + slip).sum()
            twinned = ((gamma[twin] + twinning) / arrays["gamma_char"]).sum()
            y = 1.0 - new[~twin] / (arrays["xi_inf"] + arrays["f_sat"] * np.sqrt(twinned))
            h_0 = arrays["h_0"] * (1.0 + arrays["c_1"] * twinned ** arrays["c_2"])
            d_slip = h_0 * np.sign(y) * abs(y) ** arrays["hardening_exponent"] * (arrays["h_sl_sl"] @ slip) + arrays["h_sl_tw"] @ twinning
            d_twin = arrays["h_0_tw_sl"] * all_slip ** arrays["c_3"] * (arrays["h_tw_sl"] @ slip)
            d_twin = d_twin + arrays["h_0_tw_tw"] * twinned ** arrays["c_4"] * (arrays["h_tw_tw"] @ twinning)
            new = 0.5 * (new + xi + np.concatenate([d_slip, d_twin]))
        increment = np.concatenate([slip, twinning])
        xi, gamma, plastic = new, gamma + increment, plastic + (abs(factor) * increment).sum()
        rows.append((low, -poisson * low / modulus - 0.5 * plastic, xi, gamma))
    return [np.array(column) for column in zip(*rows)]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("changes", [{}, TWINNING, TWINNING | POWERS], ids=["slip", "twins", "powers"])
def test_a_cube_hardens_as_its_scalar_equations_say(law, changes):
    material, dt, strain, steps = crystal(**changes), 1.0, 1e-6, 8
    stress, lateral, xi, gamma = pulled_cube(material, strain, dt, steps)
    respond = law(material, 1e-8)
    F_p_inverse, (now_xi, now_gamma) = torch.eye(3, dtype=torch.float64)[:, :, None], respond.initial(1)
    S = torch.zeros(6, 1, dtype=torch.float64)
    for step in range(steps):
        F = torch.diag(torch.tensor([1 + strain * (step + 1), 1 + lateral[step], 1 + lateral[step]], dtype=torch.float64))
        answer = respond.respond(F[:, :, None], F_p_inverse, now_xi, now_gamma, dt, S, now_xi)
        assert answer.converged.all()
        F_p_inverse, now_xi, now_gamma, S = answer.F_p_inverse, answer.xi, answer.gamma, answer.stress
        np.testing.assert_allclose(answer.P[0, 0], stress[step], rtol=1e-4)
        np.testing.assert_allclose(answer.xi[:, 0], xi[step], rtol=1e-4)
        np.testing.assert_allclose(answer.gamma[:, 0], gamma[step], rtol=1e-3, atol=1e-4 * gamma[step].max())
    assert abs(answer.P[1, 1]) < 1e-3 * stress[-1]
    if changes:
        twins = gamma[-1, material.slips :]
        assert twins.sum() > 0.2 * gamma[-1].sum() and (twins > 0.1 * twins.max()).sum() == 8


@pytest.mark.parametrize("law", LAWS)
def test_each_power_has_its_effect_and_none_at_its_default(law):
    def end(**changes):
        respond = law(crystal(**TWINNING | changes), 1e-8)
        identity = torch.eye(3, dtype=torch.float64)[:, :, None]
        F = identity + torch.diag(torch.tensor([4e-6, -1.6e-6, -1.6e-6], dtype=torch.float64))[:, :, None]
        xi, gamma = respond.initial(1)
        answer = respond.respond(F, identity, xi, gamma, 4.0, torch.zeros(6, 1, dtype=torch.float64), xi)
        assert answer.converged.all()
        return answer.xi

    plain = end()
    assert torch.equal(plain, end(c_1=0.0, c_2=1.0, c_3=1.0, c_4=0.0))
    assert torch.equal(plain, end(c_2=3.0))
    slips = 12
    for key, raised in (("c_1", slice(slips)), ("c_3", slice(slips, None)), ("c_4", slice(slips, None))):
        changed = (end(**{key: POWERS[key]}) / plain - 1).abs()
        assert changed[raised].max() > 1e-3, key


@pytest.mark.parametrize("law", LAWS)
def test_a_crystal_that_begins_saturated_keeps_its_resistance(law):
    respond = law(crystal(xi_inf_sl=9e4, a_sl=0.6), 1e-8)
    identity, (xi, gamma) = torch.eye(3, dtype=torch.float64)[:, :, None], respond.initial(1)
    F = identity + torch.diag(torch.tensor([4e-6, -1.6e-6, -1.6e-6], dtype=torch.float64))[:, :, None]
    answer = respond.respond(F, identity, xi, gamma, 4.0, torch.zeros(6, 1, dtype=torch.float64), xi)
    assert answer.converged.all() and torch.equal(answer.xi, xi) and answer.gamma.max() > 1e-7
