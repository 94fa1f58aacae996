"""The self-consistent estimate against Kröner's and Taylor's."""

import numpy as np
import torch

from microprint import orientations
from microprint.mechanics.deviators import rotation
from microprint.mechanics.load import standard_load, uniaxial_tension
from microprint.microstructures.volume_elements import VolumeElements
from microprint.networks.crystal_law import CrystalEnsemble, CrystalLaw, Increment
from microprint.systems.equilibrium import March
from microprint.systems.self_consistent import SelfConsistentSurrogate, SphereMarch

GPA = 1e9
LOAD = uniaxial_tension(strain=0.004, increments=8)


class Elastic(CrystalLaw):
    """A cubic crystal that does not flow."""

    def __init__(self, C11, C12, C44):
        super().__init__(2)
        shears = torch.tensor([(C11 - C12) / 2] * 2 + [C44] * 3) * GPA
        self.scale(1e-3, 1e8, float(shears.mean()), (C11 + 2 * C12) / 3 * GPA)
        self.moduli = torch.diag(2 * shears * float(self.strain_unit / self.stress_unit))

    def respond(self, trial, resistance, guess, weights):
        return Increment(self.moduli @ trial, resistance, torch.zeros_like(resistance))

    @property
    def compliance(self):
        return torch.linalg.inv(self.moduli)


class Yielding(CrystalLaw):
    """A crystal that yields early in two of five deviators, and hardly hardens."""

    def __init__(self):
        super().__init__(2)
        self.scale(2e-3, 8e7, 17 * GPA, 35 * GPA)
        self.yields = torch.tensor([0.3, 1.0, 0.3, 1.0, 1.0])[:, None]

    def respond(self, trial, resistance, guess, weights):
        return Increment(self.two_G * self.yields * torch.tanh(trial / self.yields), resistance, torch.zeros_like(resistance))


def grains(count, batch=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    shares = torch.rand(batch, count, generator=g)
    return rotation(orientations.random((batch, count), g)).permute(2, 3, 0, 1).contiguous(), shares / shares.sum(1, keepdim=True)


@torch.no_grad()
def test_an_elastic_cubic_polycrystal_has_kroner_s_modulus():
    """Root of Kröner's cubic equation (1958) for the shear modulus; Voigt's and Reuss's are 6 % above and 7 % below it."""
    C11, C12, C44 = 168.0, 121.0, 75.0  # copper, GPa
    terms = [8, 5 * C11 + 4 * C12, -C44 * (7 * C11 - 4 * C12), -C44 * (C11 - C12) * (C11 + 2 * C12)]
    shear = max(root.real for root in np.roots(terms))
    bulk, strain, count = (C11 + 2 * C12) / 3, 1e-4, 6000
    R = rotation(orientations.random((1, count), torch.Generator().manual_seed(0))).permute(2, 3, 0, 1).contiguous()
    march = SphereMarch(Elastic(C11, C12, C44), R, torch.full((1, count), 1 / count))
    P = march.run(uniaxial_tension(strain=strain, increments=1)).P[0, -1]
    young = 9 * bulk * shear / (3 * bulk + shear)
    assert abs(P[0, 0] / strain / GPA / young - 1) < 5e-3
    assert P.diagonal()[1:].abs().max() < 1e-3 * P[0, 0]


@torch.no_grad()
def test_a_single_crystal_strains_as_it_must():
    R, share = grains(1)
    alone = SphereMarch(Yielding(), R, share).run(LOAD)
    taylor = March(Yielding(), R.expand(-1, -1, -1, 8).contiguous(), 2, 0).run(LOAD)
    for name in ("F", "P"):
        size = getattr(taylor, name).abs().max()
        torch.testing.assert_close(getattr(alone, name) / size, getattr(taylor, name) / size, rtol=0, atol=5e-3)


@torch.no_grad()
def test_grains_that_may_strain_apart_are_weaker_than_taylor_s():
    R, share = grains(8)
    even = torch.full_like(share, 1 / 8)
    taylor = March(Yielding(), R, 2, 0).run(LOAD).P[:, -1, 0, 0]
    march = SphereMarch(Yielding(), R, even)
    stress = march.run(LOAD).P[:, -1]
    assert (stress[:, 0, 0] < taylor).all() and (stress[:, 0, 0] > 0.5 * taylor).all()
    assert stress.diagonal(dim1=1, dim2=2)[:, 1:].abs().max() < 1e-3 * taylor.min()
    mean = march.strain.mean(-1, keepdim=True)
    assert (march.strain - mean).std() > 0.01 * mean.abs().max()


@torch.no_grad()
def test_neither_order_nor_division_of_grains_matters():
    R, share = grains(5)
    once = SphereMarch(Yielding(), R, share).run(LOAD).P
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(SphereMarch(Yielding(), R[..., order], share[:, order]).run(LOAD).P, once, rtol=1e-4, atol=2e4)
    doubled, halves = torch.cat([R, R[..., :1]], -1), torch.cat([share, 0.3 * share[:, :1]], 1)
    halves[:, 0] *= 0.7
    torch.testing.assert_close(SphereMarch(Yielding(), doubled.contiguous(), halves).run(LOAD).P, once, rtol=1e-4, atol=2e4)


@torch.no_grad()
def test_a_reversal_is_followed():
    R, share = grains(5)
    path = SphereMarch(Yielding(), R, share).run(standard_load("cyclic", "x", 1e-3, 0.002, 6))
    assert path.P[:, 6, 0, 0].min() > 0 > path.P[:, 18, 0, 0].max() and path.P.isfinite().all()


def test_volume_elements_count_by_their_grains_alone():
    torch.manual_seed(1)
    laws = CrystalEnsemble(2, 12)
    laws.scale(2e-3, 8e7, 17 * GPA, 35 * GPA)
    ids = torch.arange(2 * 4**3).reshape(2, 4, 4, 4) // 5 % 6
    elements = VolumeElements.of(ids, orientations.random((2, 6), torch.Generator().manual_seed(0)))
    mixed = VolumeElements.of(ids.flatten(1)[:, torch.randperm(64)].view(2, 4, 4, 4), elements.quaternion)
    surrogate = SelfConsistentSurrogate(laws, uniaxial_tension(strain=0.001, increments=3))
    mean, std = surrogate.predict(elements)
    assert mean.shape == std.shape == (2, 4) and mean[:, 0].abs().max() == 0 and (std[:, 1:] > 0).all()
    torch.testing.assert_close(surrogate.predict(mixed)[0], mean, rtol=1e-6, atol=1e2)
