"""The learnt law of a crystal: its form by construction, and what it learns."""

import pytest
import torch

from microprint.mechanics.materials import load_material
from microprint.mechanics.single_crystals import moduli, strained_at_random
from microprint.networks.crystal_law import CrystalEnsemble, CrystalLaw


@pytest.fixture(scope="module")
def taught():
    """A small law of magnesium after some seconds, and crystals that it has not seen, in its units."""
    material, generator = load_material("Mg"), torch.Generator().manual_seed(0)
    crystals = strained_at_random(material, 1200, 20, 6e-4, 0.5, generator)
    torch.manual_seed(0)
    law = CrystalLaw(24, 24, 6)
    bulk, shear = moduli(material)
    law.scale(0.002, crystals.stress.norm(dim=-1).mean().item(), shear, bulk)
    strain, stress = crystals.strain / law.strain_unit, crystals.stress / law.stress_unit
    law.start(strain[200:], stress[200:], 600, generator)
    return law, strain[:200].permute(1, 2, 0), stress[:200].permute(1, 2, 0)


def test_the_stress_is_the_gradient_of_a_convex_potential():
    torch.manual_seed(1)
    law, memory = CrystalLaw(9, 7, 3).double(), torch.rand(3, 1, dtype=torch.float64)
    x = torch.randn(5, 400, dtype=torch.float64)
    one, other = law.stress(x, memory.expand(3, 400)), law.stress(x.flip(1), memory.expand(3, 400))
    assert ((one - other) * (x - x.flip(1))).sum(0).min() >= 0  # monotone
    jacobian = torch.autograd.functional.jacobian(lambda v: law.stress(v[:, None], memory)[:, 0], x[:, 0])
    torch.testing.assert_close(jacobian, jacobian.T)
    assert torch.linalg.eigvalsh(jacobian).min() >= -1e-12


def test_no_strain_no_stress():
    torch.manual_seed(2)
    law = CrystalLaw(9, 7, 3)
    assert law.stress(torch.zeros(5, 2), torch.zeros(3, 2)).abs().max() < 1e-6


def test_with_its_own_history_it_answers_as_when_left_to_itself(taught):
    law, strain, _ = taught
    with torch.no_grad():
        alone = law.responses(strain)
        told = law.answers(strain, torch.cat([torch.zeros_like(alone[:1]), alone]))
    torch.testing.assert_close(told, alone, rtol=1e-4, atol=1e-4)


def test_it_learns_the_crystal(taught):
    law, strain, stress = taught
    with torch.no_grad():
        assert law.errors(law.answers(strain, stress), stress[1:])["error"] < 0.1  # a whole training comes to 0.02
        assert law.errors(law.responses(strain), stress[1:])["error"] < 0.3


def test_flow_dissipates(taught):
    law, strain, _ = taught
    with torch.no_grad():
        stress = torch.cat([torch.zeros_like(strain[:1]), law.responses(strain)])
        flow = (strain - law.compliance @ stress).diff(dim=0)
        power = (stress[1:] * flow).sum(1)
    assert power.sum() > 0 and power.clamp_max(0).sum().abs() < 0.01 * power.sum()


def test_losses_are_means_over_the_members(taught):
    _, strain, stress = taught
    torch.manual_seed(3)
    laws = CrystalEnsemble(2, 5, 4, 2)
    batch = {"strain": strain.permute(2, 0, 1), "stress": stress.permute(2, 0, 1)}
    parts = [law.losses(batch, None)["loss"] for law in laws.laws]
    torch.testing.assert_close(laws.losses(batch, None)["loss"], sum(parts) / 2)
    assert parts[0] != parts[1]
