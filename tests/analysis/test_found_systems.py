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
    """Slip in either sense of a direction, and with directions of any length; twins in theirs alone."""
    material, dt = load_material("Mg"), 0.5
    torch.manual_seed(0)
    law = CrystalLaw(len(material.schmid))
    law.scale(0.002, 4e7, 17e9, 35e9)
    length = 0.5 + torch.rand(len(law.P), 1)
    with torch.no_grad():
        law.log_n.fill_(math.log(20))
        law.P.copy_(sense * length * deviator(material.schmid))
        # Flow along a direction twice as long is twice as much: R (tau / xi)^n |P| stays the material's.
        rate = material.rate_0[:, None] * dt / (RATE * 0.002)
        law.log_xi_0.copy_((length * material.xi_0[:, None] / 4e7 * (length / rate) ** (1 / 20)).log())
        law.log_backwards.zero_()
    rows = found_systems(material, law, dt, len(law.P))
    assert list(rows)[:2] == ["basal", "prismatic"]
    for name, row in rows.items():
        assert row.random_deg > 15
        if "twin" in name and sense < 0:
            continue  # a tension twin's opposite may lie near another's
        assert row.near == row.systems and row.angle_deg < 0.1
        assert row.learnt == pytest.approx(row.resistance, rel=1e-3)


def test_what_is_not_found_has_no_resistance():
    torch.manual_seed(1)
    rows = found_systems(load_material("Al"), CrystalLaw(1), 0.5, 1)
    (row,) = rows.values()
    assert row.near <= 2 and (row.near or math.isnan(row.learnt))
