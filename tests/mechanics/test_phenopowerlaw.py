"""The law alone against DAMASK, and its tangent against finite differences."""

import pytest
import torch

from microprint import orientations
from microprint.mechanics.materials import load_material
from microprint.mechanics.phenopowerlaw import Law
from microprint.mechanics.tensors import from_mandel, product


def march(material, F, quaternion, dt):
    """P (T, 3, 3, N) and accumulated shear (systems, N) of single crystals under prescribed F (T, N, 3, 3)."""
    law = Law(load_material(material), tolerance=1e-8)
    F_p = torch.movedim(orientations.to_matrix(quaternion), (-2, -1), (1, 0)).contiguous()
    xi, gamma = law.initial(len(quaternion))
    stress, history = torch.zeros(6, len(quaternion), dtype=torch.float64), []
    for now in F[1:]:
        trial = product(torch.movedim(now, 0, -1), F_p)
        local = law.solve(trial, xi, gamma, dt, stress, xi)
        assert local.converged.all()
        F_p = product(F_p, local.plastic)
        xi, gamma, stress = local.xi, gamma + local.increment, local.stress
        history.append(product(product(product(trial, local.plastic), from_mandel(stress)), F_p.transpose(0, 1)))
    return torch.stack(history), gamma


@pytest.mark.parametrize("material", ["Mg", "Cu"])
def test_single_crystals_follow_damask(reference, material):
    case = reference[f"single_crystals/{material}/isochoric"]
    # So long a step of copper near [111] has several solutions.
    chosen = case.attrs["orientations"][:] != "near_111_x"
    F, P, q = (torch.from_numpy(case[name][chosen]) for name in ("F", "P", "quaternion"))
    found, gamma = march(material, F.transpose(0, 1), q, 0.5)
    expected = P[:, 1:].permute(1, 2, 3, 0)
    scale = expected.abs().amax((1, 2), keepdim=True)
    assert ((found - expected).abs() / scale).max() < 1e-6
    slips = case["gamma_sl"].shape[-1]
    assert (gamma[:slips].T - torch.from_numpy(case["gamma_sl"][chosen, -1])).abs().max() < 1e-8


@pytest.mark.parametrize("material", ["Mg", "Cu"])
def test_tangent_is_the_derivative(material):
    """dS/dE against central differences of S by F; the law's tangent neglects terms of the size of the strain."""
    law = Law(load_material(material), tolerance=1e-11)
    q = orientations.random(6, torch.Generator().manual_seed(0), dtype=torch.float64)
    M = torch.movedim(orientations.to_matrix(q), (-2, -1), (0, 1))
    xi, gamma = law.initial(6)
    generator = torch.Generator().manual_seed(1)
    F = torch.eye(3, dtype=torch.float64)[:, :, None] + 1e-3 * torch.randn(3, 3, 6, generator=generator, dtype=torch.float64)
    probe = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    probe = (probe + probe.T)[:, :, None]

    def solve(F, stress, xi_guess):
        return law.solve(product(F, M.transpose(0, 1)), xi, gamma, 0.5, stress, xi_guess)

    step, middle = 1e-8, solve(F, torch.zeros(6, 6, dtype=torch.float64), xi)
    above, below = (solve(F + sign * step * probe, middle.stress, middle.xi).stress for sign in (1, -1))
    difference = (above - below) / (2 * step)
    trial = product(F, M.transpose(0, 1))
    from microprint.mechanics.tensors import apply, mandel

    strain = mandel(product(trial.transpose(0, 1), product(probe, M.transpose(0, 1)).expand(3, 3, 6)))
    predicted = apply(middle.tangent, strain)
    assert ((difference - predicted).norm(dim=0) / difference.norm(dim=0)).max() < 0.03


def test_twinning_acts_in_one_sense_only():
    """Tension along c opens tension twins; compression along c does not."""
    law = Law(load_material("Mg"))
    xi, gamma = law.initial(2)
    e = torch.tensor([4e-3, -4e-3], dtype=torch.float64)
    F = torch.diag_embed(torch.stack([-0.3 * e, -0.3 * e, e], -1) + 1).permute(1, 2, 0)
    local = law.solve(F, xi, gamma, 4.0, torch.zeros(6, 2, dtype=torch.float64), xi)
    tension_twins = local.increment[18:24].sum(0)
    assert tension_twins[0] > 1e-4 and tension_twins[1] == 0


def test_turning_crystal_and_load_together_turns_the_stress():
    generator = torch.Generator().manual_seed(5)
    q, turn = (orientations.random(3, generator, dtype=torch.float64) for _ in range(2))
    R = orientations.to_matrix(turn)  # v_new = R v_old
    F = torch.eye(3, dtype=torch.float64) + torch.linspace(0, 1, 4, dtype=torch.float64)[
        :, None, None, None
    ] * 4e-3 * torch.randn(1, 3, 3, 3, generator=generator, dtype=torch.float64)
    plain, _ = march("Mg", F, q, 1.0)
    turned, _ = march("Mg", R @ F @ R.mT, orientations.multiply(q, orientations.conjugate(turn)), 1.0)
    expected = torch.einsum("nij,tjkn,nlk->tiln", R, plain, R)
    assert (turned - expected).abs().max() < 1e-6 * expected.abs().max()
