"""The march to equilibrium, with laws whose answer is known otherwise."""

import pytest
import torch

from microprint import orientations, simulate_cp
from microprint.mechanics.deviators import BASIS, rotation
from microprint.mechanics.effective import effective_stiffness
from microprint.mechanics.load import LoadStep, standard_load, uniaxial_tension
from microprint.mechanics.materials import load_material
from microprint.mechanics.tensors import mandel
from microprint.mechanics.turning import to_crystal, to_sample
from microprint.microstructures.polycrystal import MORPHOLOGIES, grow
from microprint.networks.crystal_law import CrystalLaw, Increment
from microprint.systems.equilibrium import March, Waves
from tests.known_law import known_law

GPA = 1e9


class Elastic(CrystalLaw):
    """A cubic crystal that does not flow: C11 = 200, C12 = 100, C44 = 90 GPa (shears 50 and 90)."""

    def __init__(self):
        super().__init__(2)
        self.scale(1e-3, 1e8, 66 * GPA, 400 / 3 * GPA)
        shears = torch.tensor([50.0, 50.0, 90.0, 90.0, 90.0]) * GPA
        self.moduli = torch.diag(2 * shears * float(self.strain_unit / self.stress_unit))

    def respond(self, trial, resistance, guess, weights):
        return Increment(self.moduli @ trial, resistance, torch.zeros_like(resistance))

    @property
    def compliance(self):
        return torch.linalg.inv(self.moduli)


def polycrystal(count=2, edge=8, seed=0):
    g = torch.Generator().manual_seed(seed)
    ids, grains = grow(count, edge, MORPHOLOGIES["large"], g)
    return ids, orientations.random((count, int(grains.max())), g)


def rotations(ids, q):
    return torch.stack([R[i.flatten()] for R, i in zip(rotation(q), ids)]).permute(2, 3, 0, 1).contiguous()


def test_an_elastic_cubic_polycrystal_has_the_effective_stiffness():
    """All of a cubic crystal's volume change is isotropic, so that the march leaves nothing out."""
    ids, q = polycrystal()
    C = torch.zeros(6, 6, dtype=torch.float64)
    C[:3, :3] = 100 * GPA
    C[range(3), range(3)], C[range(3, 6), range(3, 6)] = 200 * GPA, 90 * GPA
    M = orientations.to_matrix(q.double())
    full = torch.zeros(3, 3, 3, 3, dtype=torch.float64)
    pairs = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
    for a, (i, j) in enumerate(pairs):
        for b, (k, m) in enumerate(pairs):
            for i2, j2 in {(i, j), (j, i)}:
                for k2, m2 in {(k, m), (m, k)}:
                    full[i2, j2, k2, m2] = C[a, b]
    turned = torch.einsum("ngai,ngbj,ngck,ngdl,abcd->ngijkl", M, M, M, M, full)
    stiffness = torch.stack([torch.stack([turned[..., i, j, k, m] for k, m in pairs], -1) for i, j in pairs], -2)
    strain = 1e-4
    load = [LoadStep(F=[[1 + strain, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], t=1.0, N=1)]
    marched = March(Elastic(), rotations(ids, q), 8, iterations=40).run(load)
    for element in range(2):
        exact = effective_stiffness(ids[element][None], stiffness[element])
        exact = torch.as_tensor(getattr(exact, "stiffness", exact))[0, 0]
        P = marched.P[element, -1].diagonal() / strain
        torch.testing.assert_close(P, exact[:3].double(), rtol=2e-3, atol=1e-3 * 200 * GPA)


def test_deviators_turn_there_and_back():
    ids, q = polycrystal()
    R, x = rotations(ids, q), torch.randn(5, 2, 512)
    torch.testing.assert_close(to_sample(R, to_crystal(R, x)), x)


def test_products_of_waves_are_those_of_their_fields():
    g = torch.Generator().manual_seed(1)
    for edge in (4, 5):
        waves = Waves(edge, torch.device("cpu"))
        tractions = (waves.tractions(torch.randn(5, 2, edge**3, generator=g)) for _ in range(2))
        nothing = torch.zeros(2, len(waves.share))
        change, new = (waves.correct(t, nothing, torch.ones(2), torch.tensor(2.0))[0] for t in tractions)
        a, b = waves.field(change), waves.field(new)
        torch.testing.assert_close(waves.secant(change, new), (a * (a - b)).sum((0, 2)) / a.square().sum((0, 2)))


def law():
    """Any law that bends: the form makes sure that it converges."""
    torch.manual_seed(4)
    law = CrystalLaw(12)
    law.scale(2e-3, 8e7, 17 * GPA, 35 * GPA)
    return law


@torch.no_grad()
def test_the_answer_turns_with_the_volume_element():
    """A quarter turn about z: x becomes y, for grains, orientations and load."""
    ids, q = polycrystal()
    along_x = March(law(), rotations(ids, q), 8, 3).run(uniaxial_tension("x", strain=0.004, increments=8))
    turned = ids.transpose(1, 2).flip(1)  # voxel (x, y) comes to (-y, x)
    half = torch.tensor([2**-0.5, 0.0, 0.0, 2**-0.5])
    both = []
    for turn in (half, half * torch.tensor([1.0, 1, 1, -1])):
        new = orientations.multiply(q, turn)
        both.append(March(law(), rotations(turned, new), 8, 3).run(uniaxial_tension("y", strain=0.004, increments=8)).P[:, -1])
    x, y = along_x.P[:, -1], min(both, key=lambda P: (P[:, 1, 1] - along_x.P[:, -1, 0, 0]).abs().max())
    torch.testing.assert_close(y[:, 1, 1], x[:, 0, 0], rtol=1e-4, atol=1e3)
    torch.testing.assert_close(y[:, 0, 1].abs(), x[:, 0, 1].abs(), rtol=1e-2, atol=3e4)


@torch.no_grad()
def test_mean_conditions_are_met():
    ids, q = polycrystal()
    for name in ("tension", "compression", "shear", "unload"):
        load = standard_load(name, "x", 1e-3, 0.004, 8)
        path = March(law(), rotations(ids, q), 8, 4).run(load)
        size = path.P.abs().amax()
        free = torch.tensor(load[0].free)
        at = load[0].N
        assert (path.P[:, at][:, free].abs() < 0.02 * size).all(), name
        if name != "shear":
            torch.testing.assert_close(path.F[:, at, 0, 0], torch.full((2,), 0.996 if name == "compression" else 1.004).double())
        if name == "unload":
            assert (path.P[:, -1].diagonal(dim1=1, dim2=2).abs() < 0.05 * size).all()


@torch.no_grad()
def test_more_iterations_come_to_rest():
    ids, q = polycrystal(1)
    load = uniaxial_tension(strain=0.004, increments=8)
    few, more, most = (March(law(), rotations(ids, q), 8, n).run(load).P[0, -1, 0, 0] for n in (2, 8, 30))
    assert abs(more - most) < abs(few - most) + 1e3 and abs(more - most) < 4e-3 * most


@torch.no_grad()
def test_without_iterations_all_grains_strain_alike():
    ids, q = polycrystal()
    march = March(law(), rotations(ids, q), 8, 0)
    march.run(uniaxial_tension(strain=0.004, increments=4))
    assert march.strain.std(-1).max() < 1e-5
    stiff = March(law(), rotations(ids, q), 8, 8).run(uniaxial_tension(strain=0.004, increments=4))
    assert (march.P[:, 0, 0] > stiff.P[:, -1, 0, 0]).all()  # Taylor's bound


def test_the_basis_is_mandel_s_without_the_trace():
    assert mandel(BASIS.permute(1, 2, 0)).shape == (6, 5)
    torch.testing.assert_close(mandel(BASIS.permute(1, 2, 0)).T @ mandel(BASIS.permute(1, 2, 0)), torch.eye(5, dtype=torch.float64))


@torch.no_grad()
@pytest.mark.parametrize(("name", "off"), [("Mg", 0.01), ("Al", 0.015)])
def test_with_the_material_s_own_law_the_march_is_the_simulation(name, off):
    """The same volume element by the solver, which iterates to convergence, with the whole law."""
    ids, q = polycrystal()
    material, load = load_material(name), uniaxial_tension(strain=0.006, increments=12)
    simulated = simulate_cp(ids, q, material, load).P[..., 0, 0]
    law = known_law(material, float(simulated.mean()), load[0].t / load[0].N)
    marched = March(law, rotations(ids, q), 8, 10).run(load).P[..., 0, 0]
    assert (marched - simulated).abs().max() < off * simulated.max()
