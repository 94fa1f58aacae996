"""What a law has found, of laws that have found it."""

import math

import pytest
import torch

from microprint.analysis.found_systems import found_systems
from microprint.mechanics.deviators import deviator
from microprint.mechanics.materials import load_material
from microprint.networks.crystal_law import RATE, CrystalLaw


@pytest.mark.parametrize("sense", [1, -1])
def test_a_material_s_own_systems_are_found_with_their_resistances(sense):
    """Whichever way directions point, and however long they are; twins go one way, and so is each direction's easy way."""
    material, dt = load_material("Mg"), 0.5
    torch.manual_seed(0)
    law = CrystalLaw(len(material.schmid))
    law.scale(0.002, 4e7, 17e9, 35e9)
    length = 0.5 + torch.rand(len(law.P), 1)
    harder = torch.where(torch.arange(len(law.P)) < material.slips, 1.0, 1000.0)[:, None]
    with torch.no_grad():
        law.log_n.fill_(math.log(20))
        law.P.copy_(sense * length * deviator(material.schmid))
        # Flow along a direction twice as long is twice as much: R (tau / xi)^n |P| stays the material's.
        rate = material.rate_0[:, None] * dt / (RATE * 0.002)
        xi = length * material.xi_0[:, None] / 4e7 * (length / rate) ** (1 / 20)
        law.log_xi_0.copy_((xi if sense > 0 else xi * harder).log())
        law.log_backwards.copy_(sense * harder.log())
    rows = found_systems(material, law, dt, len(law.P))
    assert list(rows)[:2] == ["basal", "prismatic"]
    for row in rows.values():
        assert row.random_deg > 15
        assert row.near == row.systems and row.angle_deg < 0.1
        assert row.learnt == pytest.approx(row.resistance, rel=1e-3)


def test_twins_are_not_found_by_what_goes_the_other_way():
    material = load_material("Mg")
    law = CrystalLaw(1)
    with torch.no_grad():
        law.P.copy_(-deviator(material.schmid)[material.slips : material.slips + 1])
        law.log_backwards.fill_(5.0)
    twins = found_systems(material, law, 0.5, 1)["tension twins"]
    assert twins.near == 0


def test_what_is_not_found_has_no_resistance():
    torch.manual_seed(1)
    rows = found_systems(load_material("Al"), CrystalLaw(1), 0.5, 1)
    (row,) = rows.values()
    assert row.near <= 2 and (row.near or math.isnan(row.learnt))
