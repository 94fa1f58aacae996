"""The learnt law of a crystal: its form by construction, that it is the physics, and what it learns."""

import copy

import pytest
import torch

from microprint.mechanics.deviators import deviator
from microprint.mechanics.materials import load_material
from microprint.mechanics.single_crystals import moduli, strained_at_random
from microprint.networks import crystal_law
from microprint.networks.crystal_law import CrystalEnsemble, CrystalLaw
from tests.known_law import STRAIN_UNIT, known_law

DT, INCREMENTS = 0.5, 16


def paths(material, count):
    """Strain (N, T + 1, 5) of crystals in a law's unit, and their stress in Pa."""
    crystals = strained_at_random(material, count, INCREMENTS, 6e-4, DT, torch.Generator().manual_seed(0))
    return crystals.strain / STRAIN_UNIT, crystals.stress


def scaled(law, material, stress):
    bulk, shear = moduli(material)
    law.scale(STRAIN_UNIT, stress.norm(dim=-1).mean().item(), shear, bulk)
    return law


@pytest.fixture(scope="module")
def taught():
    """A small law of aluminium after some seconds, and crystals that it has not seen, in its units."""
    material = load_material("Al")
    strain, stress = paths(material, 800)
    torch.manual_seed(0)
    law = scaled(CrystalLaw(16), material, stress)
    stress = stress / law.stress_unit
    law.start(strain[100:], stress[100:], 220, torch.Generator().manual_seed(0))
    return law, strain[:100].permute(1, 2, 0), stress[:100].permute(1, 2, 0)


def hardening(law, amount):
    with torch.no_grad():
        law.log_H.fill_(torch.tensor(amount).log())
    return law


def random_state(law, count, size):
    """Trial strains, resistances and a guess that is far away."""
    with torch.no_grad():
        fresh = law.fresh(count)
    return size * torch.randn(5, count).to(law.P), fresh.resistance * (1 + torch.rand(len(law.P), count).to(law.P)), fresh


@pytest.mark.parametrize("size", [0.1, 1.0, 10.0])
def test_stress_and_flow_make_up_the_strain_and_flow_hardens(size, monkeypatch):
    monkeypatch.setattr(crystal_law, "CLOSE", 1e-5)
    torch.manual_seed(1)
    law = CrystalLaw(9).double()
    with torch.no_grad():
        law.log_n.fill_(torch.tensor(20.0).log())
        w, (trial, before, guess) = law.weights(), random_state(law, 200, size)
        stress, after, flow = law.respond(trial, before, guess)
    ratio = (w.P @ stress) / torch.where(flow > 0, after, w.backwards * after)
    power = crystal_law.RATE * ratio.abs().pow(w.n) * ratio.sign()
    torch.testing.assert_close(w.S @ stress + w.P.T @ flow, trial, rtol=1e-3, atol=1e-3 * size)
    torch.testing.assert_close(power, flow, rtol=2e-2, atol=1e-4 * size)
    slack = (1 - (before - w.xi_0) / w.room) ** w.a
    torch.testing.assert_close(after, before + slack * (w.H @ flow.abs()), rtol=1e-3, atol=1e-4)


def test_the_stress_is_the_gradient_of_a_convex_potential():
    torch.manual_seed(1)
    law = hardening(CrystalLaw(9).double(), 1e-30)
    x, resistance, guess = random_state(law, 400, 1.0)
    same = resistance[:, :1].expand(-1, 400)
    one, other = (law.respond(strain, same, guess).stress for strain in (x, x.flip(1)))
    assert ((one - other) * (x - x.flip(1))).sum(0).min() >= 0  # monotone
    stress = lambda v: law.respond(v[:, None], resistance[:, :1], law.fresh(1)).stress[:, 0]  # noqa: E731
    jacobian = torch.autograd.functional.jacobian(stress, x[:, 0])
    torch.testing.assert_close(jacobian, jacobian.T)
    assert torch.linalg.eigvalsh(jacobian).min() >= -1e-12
    steps = 1e-4 * torch.eye(5).double()
    numeric = torch.stack([(stress(x[:, 0] + step) - stress(x[:, 0] - step)) / 2e-4 for step in steps], 1)
    torch.testing.assert_close(jacobian, numeric, rtol=1e-3, atol=1e-4)


def test_derivatives_by_the_parameters_are_those_of_the_solution():
    torch.manual_seed(4)
    law = hardening(CrystalLaw(9).double(), 1e-30)
    trial, resistance, guess = random_state(law, 20, 1.0)
    parameters = (law.P, law.log_n, law.anisotropy, law.log_backwards)
    total = lambda: law.respond(trial, resistance, guess).stress.square().sum()  # noqa: E731
    for parameter, slope in zip(parameters, torch.autograd.grad(total(), parameters)):
        direction = torch.randn_like(parameter)
        with torch.no_grad():
            ends = []
            for sign in (1, -2):
                parameter += sign * 1e-5 * direction
                with torch.enable_grad():  # with a Newton step more
                    ends.append(total().detach())
            parameter += 1e-5 * direction
        torch.testing.assert_close((slope * direction).sum(), (ends[0] - ends[1]) / 2e-5, rtol=1e-3, atol=1e-5)


def test_no_strain_no_stress():
    torch.manual_seed(2)
    law = CrystalLaw(9)
    assert law.respond(torch.zeros(5, 2), law.fresh(2).resistance, law.fresh(2)).stress.abs().max() < 1e-6


@pytest.mark.parametrize(("name", "error"), [("Al", 0.03), ("Cu", 0.03), ("Mg", 0.015)])
def test_with_a_material_s_own_systems_it_is_the_material_s_law(name, error):
    """Nothing is learnt; twins of magnesium, which hardly act in these strains, do not harden."""
    material = load_material(name)
    strain, stress = paths(material, 150)
    law = known_law(material, stress.norm(dim=-1).mean().item(), DT)
    e, s = strain.permute(1, 2, 0), (stress / law.stress_unit).permute(1, 2, 0)
    with torch.no_grad():
        assert law.errors(law.responses(e), s[1:])["error"] < error


def test_with_its_own_history_it_answers_as_when_left_to_itself(taught):
    law, strain, _ = taught
    with torch.no_grad():
        alone = law.responses(strain)
        told = law.responses(strain, torch.cat([torch.zeros_like(alone[:1]), alone]))
    torch.testing.assert_close(told, alone, rtol=5e-3, atol=5e-3)  # systems that harden each other more than themselves magnify roundings


def test_it_learns_the_crystal_and_finds_slip_systems(taught):
    law, strain, stress = taught
    with torch.no_grad():
        assert law.errors(law.responses(strain, stress), stress[1:])["error"] < 0.15  # a whole training comes to 0.02
        assert law.errors(law.responses(strain), stress[1:])["error"] < 0.3
        true = torch.nn.functional.normalize(deviator(load_material("Al").schmid).float(), dim=1)
        nearest = (true @ torch.nn.functional.normalize(law.P, dim=1).T).abs().amax(1)
    assert torch.rad2deg(nearest.clamp_max(1).acos()).median() < 5  # of 16 random directions, about 30


def test_flow_dissipates(taught):
    law, strain, _ = taught
    with torch.no_grad():
        fresh = law.fresh(strain.shape[2])
        stress, _, flow = law.respond(strain[4], fresh.resistance, fresh)
        assert ((law.P @ stress) * flow).min() >= 0


def test_directions_that_do_not_flow_are_not_missed(taught):
    law, strain, _ = taught
    laws = CrystalEnsemble(0, 1)
    laws.laws.append(copy.deepcopy(law))
    with torch.no_grad():
        before = law.responses(strain)
        assert laws.prune(strain.permute(2, 0, 1)) == len(laws.laws[0].P) < len(law.P)
        assert (laws.laws[0].responses(strain) - before).norm() < 0.01 * before.norm()
    assert law.shares(strain).sum() == pytest.approx(1)


def test_losses_are_means_over_the_members(taught):
    _, strain, stress = taught
    torch.manual_seed(3)
    laws = CrystalEnsemble(2, 5)
    batch = {"strain": strain.permute(2, 0, 1), "stress": stress.permute(2, 0, 1)}
    parts = [law.losses(batch, None)["loss"] for law in laws.laws]
    torch.testing.assert_close(laws.losses(batch, None)["loss"], sum(parts) / 2)
    assert parts[0] != parts[1]
