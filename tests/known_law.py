"""A material's own law in the form of the learnt one: nothing is learnt, and what both have in common shows."""

import torch

from microprint.mechanics.deviators import BASIS, deviator
from microprint.mechanics.simulate import law_for
from microprint.mechanics.single_crystals import moduli
from microprint.mechanics.tensors import mandel
from microprint.networks.crystal_law import RATE, CrystalLaw

STRAIN_UNIT = 0.002
NEVER = 7.0  # logarithm of a resistance over another: twins go one way


def known_law(material, stress_unit, dt):
    """Law of a material's own systems, for increments of `dt` seconds: elasticity, slip, twins, hardening of slip by slip."""
    slips, count = material.slips, len(material.schmid)
    law = CrystalLaw(count)
    bulk, shear = moduli(material)
    law.scale(STRAIN_UNIT, stress_unit, shear, bulk)
    skew = 0.5 * (material.schmid - material.schmid.transpose(1, 2))
    axes = mandel(BASIS.permute(1, 2, 0))
    compliance = torch.linalg.inv(axes.T @ law_for(material).stiffness @ axes) * stress_unit / STRAIN_UNIT
    reference = (RATE * STRAIN_UNIT / (material.rate_0 * dt)).pow(1 / material.exponent)
    begin = (1 - material.xi_0[:slips] / material.xi_inf) ** material.hardening_exponent  # of a saturation that counts from 0
    H = torch.full((count, count), 1e-12, dtype=torch.float64)
    H[:slips, :slips] = (begin * material.h_0 * reference[:slips])[:, None] * material.h_sl_sl * STRAIN_UNIT / stress_unit
    xi_0, ceiling = material.xi_0 * reference / stress_unit, material.xi_inf * reference[:slips] / stress_unit
    with torch.no_grad():
        law.P.copy_(deviator(material.schmid))
        law.W.copy_(torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], 1))
        law.log_backwards.copy_(torch.where(torch.arange(count) < slips, 0.0, NEVER)[:, None])
        law.log_xi_0.copy_(xi_0.log()[:, None])
        law.log_room[:slips] = (ceiling / xi_0[:slips] - 1).log()[:, None]
        law.log_H.copy_(H.clamp_min(1e-12).log())
        law.log_n.copy_(material.exponent[0].log())
        law.log_a.copy_(material.hardening_exponent[0].log())
        law.anisotropy.copy_(law.two_G * compliance - torch.eye(5))
    return law
