"""The solver against DAMASK, its independence of batches, loads and bad input."""

import math

import numpy as np
import pytest
import torch

from microprint import orientations
from microprint.errors import UserError
from microprint.mechanics import LoadStep, effective_stiffness, elasticity, simulate_cp, uniaxial_tension
from microprint.mechanics.crystal_plasticity import Numerics
from microprint.mechanics.materials import load_material

NAN = math.nan
SHORT = uniaxial_tension(strain=2e-3, increments=4)


def elements(count=2, edge=4, grains=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.stack([torch.randperm(edge**3, generator=generator).reshape(edge, edge, edge) % grains for _ in range(count)])
    return ids, orientations.random((count, grains), generator, dtype=torch.float64)


def case(reference, name, increments):
    group = reference[f"volume_elements/{name}"]
    rate = 1e-3
    result = simulate_cp(
        group["grain_id"][:],
        group["quaternion"][:],
        group.attrs["material"],
        uniaxial_tension(strain=5e-4 * increments, rate=rate, increments=increments),
    )
    return result, group["F"][: increments + 1], group["P"][: increments + 1]


@pytest.mark.parametrize("name, increments", [("Mg random 101", 20), ("Mg basal 3000", 8)])
def test_mean_stress_is_damasks(reference, name, increments):
    name = (
        name
        if name in reference["volume_elements"]
        else next(n for n in reference["volume_elements"] if n.startswith("Mg basal"))
    )
    result, F, P = case(reference, name, increments)
    assert result.converged.all() and (result.cutbacks == 0).all()
    error = np.abs(result.P[0, 1:, 0, 0].numpy() / P[1:, 0, 0] - 1)
    assert error.max() < 5e-4
    assert np.abs(result.F[0].numpy() - F).max() < 2e-5
    assert result.P[0, :, 1, 1].abs().max() < 1e-4 * result.P[0, :, 0, 0].max()


def test_slip_of_each_system_is_damasks(reference):
    result, _, _ = case(reference, "Mg random 101", 6)
    expected = reference["volume_elements/Mg random 101/gamma_sl"][6]
    assert np.abs(result.gamma_sl[0, -1].numpy() - expected).max() < 1e-3 * expected.max()
    cauchy = reference["volume_elements/Mg random 101/sigma_avg"][6]
    assert np.abs(result.cauchy[0, -1].numpy() - cauchy).max() < 1e-3 * np.abs(cauchy).max()


@pytest.mark.parametrize("material, chosen", [("Mg", slice(None)), ("Cu", slice(0, 1))])
def test_single_crystals_under_tension(reference, material, chosen):
    """Of Cu only the cube: latent hardening gives the others several solutions once the boundary condition is mixed."""
    group = reference[f"single_crystals/{material}/tension"]
    quaternions = torch.from_numpy(group["quaternion"][chosen])[:, None]
    result = simulate_cp(
        np.zeros((len(quaternions), 2, 2, 2), dtype=int),
        quaternions,
        material,
        numerics=Numerics(equilibrium=1e-6, boundary=1e-6),
    )
    assert result.converged.all() and (result.cutbacks == 0).all()
    assert np.abs(result.P[:, 1:, 0, 0].numpy() / group["P"][chosen, 1:, 0, 0] - 1).max() < 1e-4
    expected = group["gamma_sl"][chosen, -1]
    assert np.abs(result.gamma_sl[:, -1].numpy() - expected).max() < 1e-3 * expected.max()


def test_an_element_does_not_depend_on_its_batch():
    ids, q = elements(3)
    together = simulate_cp(ids, q, load=SHORT)
    alone = simulate_cp(ids[2], q[2], load=SHORT)
    chunked = simulate_cp(ids, q, load=SHORT, chunk_voxels=1)
    torch.testing.assert_close(together.P[2], alone.P[0], rtol=2e-5, atol=1e3)
    torch.testing.assert_close(together.P, chunked.P, rtol=2e-5, atol=1e3)


def test_the_beginning_is_elastic():
    ids, q = elements(1)
    load = uniaxial_tension(strain=1e-5, rate=1e-5, increments=1)
    result = simulate_cp(ids, q, load=load, numerics=Numerics(equilibrium=1e-6, boundary=1e-7))
    turned = elasticity.rotate(load_material("Mg").stiffness, orientations.to_matrix(q[0]).mT)
    stiffness = effective_stiffness(ids, turned, scheme="fourier", tolerance=1e-6)[0]
    F = result.F[0, -1]
    strain = torch.tensor([F[0, 0] - 1, F[1, 1] - 1, F[2, 2] - 1, 0, 0, 0], dtype=torch.float64)
    assert float(result.cauchy[0, -1, 0, 0]) == pytest.approx(float((stiffness @ strain)[0]), rel=1e-4)


def test_elastic_polycrystal_is_damasks(reference):
    """Finite-strain elasticity without any slip system."""
    case = reference["elastic/Mg random 16"]
    source = load_material("Mg").source["Mg"]
    elastic = {"Mg": source | {"mechanical": {"elastic": source["mechanical"]["elastic"]}}}
    result = simulate_cp(case["grain_id"][:], case["quaternion"][:], elastic, uniaxial_tension(strain=1e-3, increments=1))
    assert float(result.P[0, -1, 0, 0]) == pytest.approx(case["P"][-1, 0, 0], rel=1e-4)
    assert np.abs(result.F[0, -1].numpy() - case["F"][-1]).max() < 1e-7


def test_turning_a_cube_and_its_load_changes_nothing():
    ids, q = elements(1)
    along_x = simulate_cp(ids, q, load=SHORT, numerics=Numerics(equilibrium=1e-6, boundary=1e-7))
    # v_new = R v_old, a quarter turn about z; x becomes y.
    R = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    turned = orientations.from_matrix(orientations.to_matrix(q) @ R.T)
    along_y = simulate_cp(
        torch.rot90(ids, 1, (1, 2)),
        turned,
        load=uniaxial_tension("y", strain=2e-3, increments=4),
        numerics=Numerics(equilibrium=1e-6, boundary=1e-7),
    )
    torch.testing.assert_close(along_y.P[0, :, 1, 1], along_x.P[0, :, 0, 0], rtol=1e-5, atol=1.0)


def test_unloading_and_a_free_shear():
    """A second step with another boundary condition: all but F_yx, F_zx, F_zy free of stress."""
    ids, q = elements(1)
    free = LoadStep(
        dot_F=[[NAN, NAN, NAN], [0.0, NAN, NAN], [0.0, 0.0, NAN]],
        P=[[0.0, 0.0, 0.0], [NAN, 0.0, 0.0], [NAN, NAN, 0.0]],
        t=1.0,
        N=2,
    )
    result = simulate_cp(ids, q, load=(*SHORT, free))
    assert result.converged.all()
    peak = result.P[0, 4, 0, 0]
    assert result.P[0, 4, 0, 1].abs() > 1e-3 * peak and result.P[0, -1, 0].abs().max() < 2e-2 * peak
    assert 1e-4 < result.F[0, -1, 0, 0] - 1 < 2e-3
    assert float(result.time[-1]) == pytest.approx(3.0)


def test_a_flat_cell_and_an_odd_grid():
    ids, q = elements(1, grains=3)
    result = simulate_cp(ids[:, :3, :, :1], q, load=SHORT, size=(3.0, 4.0, 1.0))
    assert result.converged.all()


def test_an_element_that_fails_has_its_reason_and_disturbs_none():
    ids, q = elements(2)
    q[1] = q[1, :1]  # a single crystal needs fewer iterations
    tight = Numerics(newton_iterations=3, cutbacks=0)
    result = simulate_cp(ids, q, load=SHORT, numerics=tight)
    assert result.converged.tolist() == [False, True]
    assert "equilibrium" in result.reason[0] and result.reason[1] == ""
    assert torch.isnan(result.P[0, -1]).all() and torch.isfinite(result.P[1]).all()


def test_cutbacks_reach_the_same_end():
    """Too few iterations for one large step force halved ones, which land where deliberately finer steps land."""
    ids, q = elements(1)
    coarse = uniaxial_tension(strain=4e-3, increments=1)
    halved = simulate_cp(ids, q, load=coarse, numerics=Numerics(newton_iterations=4))
    finer = simulate_cp(ids, q, load=uniaxial_tension(strain=4e-3, increments=8))
    assert halved.converged.all() and halved.cutbacks.sum() > 0
    torch.testing.assert_close(halved.F[0, -1, 0, 0], finer.F[0, -1, 0, 0])
    torch.testing.assert_close(halved.P[0, -1, 0, 0], finer.P[0, -1, 0, 0], rtol=2e-2, atol=0)


@pytest.mark.parametrize(
    "spoil, text",
    [
        (lambda ids, q: (ids * 2, q), "skip 1"),
        (lambda ids, q: (ids + 1, q), "start at 1|skip 0"),
        (lambda ids, q: (ids, q[:, :5]), "6 grains but 5 orientations"),
        (lambda ids, q: (ids, q.clone().index_fill_(1, torch.tensor([3]), NAN)), "grain 3 is not finite"),
        (lambda ids, q: (ids, 2 * q), "norm 2"),
        (lambda ids, q: (ids.double(), q), "float64"),
        (lambda ids, q: (ids, q[..., :3]), "do not fit"),
        (lambda ids, q: (ids.numpy() * 1.0, q), "float64"),
    ],
)
def test_unusable_elements_are_refused(spoil, text):
    with pytest.raises(UserError, match=text):
        simulate_cp(*spoil(*elements(1)))


@pytest.mark.parametrize(
    "change, text",
    [
        (dict(P=[[0.0, NAN, NAN], [NAN, 0.0, NAN], [NAN, NAN, 0.0]]), "xx has both"),
        (dict(P=[[NAN] * 3] * 3), "yy has neither"),
        (dict(t=0.0), "no duration"),
        (dict(dot_F=[[1.0]]), "not 3 x 3"),
        (dict(dot_F=[[math.inf, 0, 0], [0, NAN, 0], [0, 0, NAN]]), "not finite"),
        (
            dict(dot_F=[[1e-3, NAN, 0], [NAN, NAN, 0], [0, 0, NAN]], P=[[NAN, 0, NAN], [0, 0, NAN], [NAN, NAN, 0]]),
            "rotation free",
        ),
    ],
)
def test_unusable_loads_are_refused(change, text):
    from dataclasses import replace

    with pytest.raises(UserError, match=text):
        simulate_cp(*elements(1), load=[replace(SHORT[0], **change)])
    with pytest.raises(UserError, match="no step"):
        simulate_cp(*elements(1), load=[])
