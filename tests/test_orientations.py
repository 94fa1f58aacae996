"""Orientations against damask, closed forms and brute force."""

import math

import damask
import numpy as np
import pytest
import torch

from microprint import orientations as ori
from microprint.errors import UserError

FAMILY = {"cubic": "cubic", "hexagonal": "hexagonal"}
# Harmonic degrees with their weights, and the smallest angle of rotation about c / any axis that is a symmetry.
METRIC = {"cubic": 20 / 3, "hexagonal": 54 / 11}


def rotations(count, seed=0, dtype=torch.float64):
    return ori.random(count, torch.Generator().manual_seed(seed), dtype)


def to_damask(q, symmetry):
    return damask.Orientation(rotation=ori.standardize(q).numpy(), family=FAMILY[symmetry])


def degrees(angle):
    return torch.rad2deg(angle)


def test_product_matrix_and_inverse_follow_damask():
    p, q = rotations(200, 1), rotations(200, 2)
    ours = ori.standardize(ori.multiply(p, q)).numpy()
    np.testing.assert_allclose(ours, (damask.Rotation(p.numpy()) * damask.Rotation(q.numpy())).quaternion, atol=1e-12)
    np.testing.assert_allclose(ori.to_matrix(q).numpy(), damask.Rotation(q.numpy()).as_matrix(), atol=1e-12)
    identity = ori.multiply(q, ori.conjugate(q))
    torch.testing.assert_close(identity, torch.eye(4, dtype=q.dtype)[:1].expand(200, 4))


def test_euler_angles_follow_damask():
    q = rotations(2000, 3)
    np.testing.assert_allclose(ori.to_euler(q).numpy(), damask.Rotation(q.numpy()).as_Euler_angles(), atol=1e-9)
    torch.testing.assert_close(ori.from_euler(ori.to_euler(q)), q)
    channels = ori.euler_channels(q)
    assert 0 <= channels.min() and channels.max() <= 1
    torch.testing.assert_close(ori.from_euler_channels(channels), q)


@pytest.mark.parametrize("angles", [(0.3, 0.0, 0.9), (0.3, math.pi, 0.9), (0.0, 0.0, 0.0), (0.0, math.pi / 4, 0.0)])
def test_euler_angles_at_the_poles_describe_the_same_rotation(angles):
    q = ori.from_euler(torch.tensor(angles, dtype=torch.float64))
    assert ori.one_minus_abs_dot(ori.from_euler(ori.to_euler(q)), q) < 1e-12


def test_rotation_vector_and_angle():
    vector = torch.tensor([[0.0, 0.0, 0.0], [1e-9, 0.0, 0.0], [0.3, -0.4, 1.2]], dtype=torch.float64)
    angle = ori.rotation_angle(ori.from_rotation_vector(vector))
    torch.testing.assert_close(angle, vector.norm(dim=-1), rtol=1e-9, atol=0)
    torch.testing.assert_close(ori.to_rotation_vector(ori.from_rotation_vector(vector)), vector, rtol=1e-9, atol=0)
    q = rotations(200, 4)
    theirs = damask.Rotation(q.numpy()).as_axis_angle()
    np.testing.assert_allclose(ori.to_rotation_vector(-q).numpy(), theirs[:, :3] * theirs[:, 3:], atol=1e-9)


def test_random_rotations_are_uniform_and_reproducible():
    q = rotations(100_000)
    torch.testing.assert_close(q, rotations(100_000), rtol=0, atol=0)
    second_moment = torch.einsum("ni,nj->ij", q, q) / len(q)
    torch.testing.assert_close(second_moment.diagonal(), torch.full((4,), 0.25, dtype=q.dtype), atol=5e-3, rtol=0)


@pytest.mark.parametrize("symmetry", ori.SYMMETRIES)
def test_operators_are_damask_s_group(symmetry):
    ours = ori.symmetry_operators(symmetry)
    theirs = torch.from_numpy(damask.Orientation(family=FAMILY[symmetry]).symmetry_operations.quaternion)
    assert len(ours) == len(theirs)
    assert ((ours @ theirs.T).abs().amax(1) > 1 - 1e-12).all()


@pytest.mark.parametrize("symmetry", ori.SYMMETRIES)
def test_reduction_gives_damask_s_fundamental_zone(symmetry):
    q = rotations(3000, 4)
    reduced = ori.reduce(q, symmetry)
    np.testing.assert_allclose(reduced.numpy(), to_damask(q, symmetry).reduced.quaternion, atol=1e-9)
    torch.testing.assert_close(ori.reduce(ori.equivalents(q, symmetry), symmetry)[:, -1], reduced)


@pytest.mark.parametrize("symmetry", ori.SYMMETRIES)
def test_disorientation_equals_damask_s(symmetry):
    p, q = rotations(2000, 5), rotations(2000, 6)
    theirs = to_damask(p, symmetry).disorientation_angle(to_damask(q, symmetry))
    np.testing.assert_allclose(degrees(ori.disorientation(p, q, symmetry)), np.degrees(theirs), atol=1e-5)


@pytest.mark.parametrize("symmetry", ori.SYMMETRIES)
def test_disorientation_is_the_least_over_all_pairs_of_equivalents(symmetry):
    p, q = rotations(50, 7), rotations(50, 8)
    a, b = ori.equivalents(p, symmetry)[:, :, None], ori.equivalents(q, symmetry)[:, None]
    brute = ori.rotation_angle(ori.multiply(a, ori.conjugate(b))).amin((1, 2))
    torch.testing.assert_close(ori.disorientation(p, q, symmetry), brute)


def test_disorientation_of_a_known_small_rotation_is_exact_and_broadcasts():
    turn = ori.from_rotation_vector(torch.tensor([0.0, 0.0, 1e-7], dtype=torch.float64))
    q = rotations((3, 5), 9)
    angle = ori.disorientation(ori.multiply(turn, q), q, "cubic")
    torch.testing.assert_close(angle, torch.full((3, 5), 1e-7, dtype=torch.float64), rtol=1e-6, atol=0)
    assert ori.disorientation(q, q[0, 0], "cubic").shape == (3, 5)


def test_disorientation_works_through_more_voxels_than_one_chunk(monkeypatch):
    p, q = rotations(1000, 1), rotations(1000, 2)
    whole = ori.disorientation(p, q, "hexagonal")
    monkeypatch.setattr("microprint.orientations.symmetry._CHUNK", 64)
    torch.testing.assert_close(ori.disorientation(p, q, "hexagonal"), whole, rtol=0, atol=0)


@pytest.mark.parametrize("symmetry, value", [("cubic", 0.067), ("hexagonal", 0.148)])
def test_identity_prediction_gives_the_known_baseline(symmetry, value):
    reduced = ori.reduce(rotations(100_000), symmetry)
    identity = torch.tensor([1.0, 0, 0, 0], dtype=reduced.dtype)
    assert ori.one_minus_abs_dot(reduced, identity).mean().item() == pytest.approx(value, abs=1e-3)


@pytest.mark.parametrize("symmetry", ori.SYMMETRIES)
def test_embedding_is_symmetric_of_unit_norm_and_zero_mean(symmetry):
    q = rotations(40_000, 10)
    e = ori.embed(q, symmetry)
    assert e.shape == (40_000, ori.EMBEDDING_SIZE[symmetry])
    torch.testing.assert_close(e.norm(dim=-1), torch.ones(len(q), dtype=q.dtype))
    same = ori.embed(ori.equivalents(q[:200], symmetry), symmetry)
    torch.testing.assert_close(same, e[:200, None].expand_as(same))
    assert e.mean(0).abs().max() < 0.01


@pytest.mark.parametrize("symmetry", ori.SYMMETRIES)
def test_embedding_is_locally_isometric(symmetry):
    q, angle = rotations(2000, 11), 1e-5
    axis = torch.nn.functional.normalize(rotations(2000, 12)[:, 1:], dim=-1)
    near = ori.multiply(ori.from_rotation_vector(angle * axis), q)
    ratio = (ori.embed(near, symmetry) - ori.embed(q, symmetry)).norm(dim=-1) / angle
    torch.testing.assert_close(ratio, torch.full_like(ratio, math.sqrt(METRIC[symmetry])), rtol=1e-4, atol=0)


def test_cubic_embedding_has_the_closed_form_inner_product():
    """sum_ij (a_i . b_j)^4 less its mean over rotations, 9/5, over its value for equal orientations, 3 - 9/5."""
    p, q = rotations(500, 13), rotations(500, 14)
    cosines = ori.to_matrix(p) @ ori.to_matrix(q).transpose(-1, -2)
    expected = ((cosines**4).sum((-1, -2)) - 9 / 5) / (6 / 5)
    torch.testing.assert_close((ori.embed(p, "cubic") * ori.embed(q, "cubic")).sum(-1), expected)


def test_hexagonal_embedding_has_the_closed_form_inner_product():
    """Legendre polynomials P2 and P4 of the angle between c-axes and the sixfold harmonic's own rotation function."""
    p, q = rotations(500, 15), rotations(500, 16)
    relative = ori.to_matrix(p) @ ori.to_matrix(q).transpose(-1, -2)
    cosine = relative[:, 2, 2]
    a1, a2 = ori.to_matrix(p)[:, 0], ori.to_matrix(p)[:, 1]
    b1, b2 = ori.to_matrix(q)[:, 0], ori.to_matrix(q)[:, 1]
    u, v = torch.complex(a1, a2), torch.complex(b1, b2)
    sixfold = 0.5 * ((u * v).sum(-1) ** 6 + (u * v.conj()).sum(-1) ** 6).real / 32
    p2, p4 = (3 * cosine**2 - 1) / 2, (35 * cosine**4 - 30 * cosine**2 + 3) / 8
    expected = (13 * p2 + 6 * p4 + 3 * sixfold) / 22
    torch.testing.assert_close((ori.embed(p, "hexagonal") * ori.embed(q, "hexagonal")).sum(-1), expected)


@pytest.mark.parametrize("symmetry", ori.SYMMETRIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_projection_inverts_the_embedding(symmetry, dtype):
    q = rotations(20_000, 17, dtype)
    back = ori.project(ori.embed(q, symmetry), symmetry)
    assert back.dtype == dtype
    assert degrees(ori.disorientation(back.double(), q.double(), symmetry)).max() < 1e-4


@pytest.mark.parametrize("symmetry", ori.SYMMETRIES)
@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_projection_of_noisy_vectors_is_the_best_rotation(symmetry, noise):
    q = rotations(500, 18)
    size = ori.EMBEDDING_SIZE[symmetry]
    generator = torch.Generator().manual_seed(19)
    target = ori.embed(q, symmetry) + noise * size**-0.5 * torch.randn(500, size, generator=generator, dtype=q.dtype)
    found = (target * ori.embed(ori.project(target, symmetry), symmetry)).sum(-1)
    rival = (target @ ori.embed(rotations(50_000, 20), symmetry).T).amax(-1)
    assert (found > rival - 1e-9).float().mean() > 0.99


def test_projection_takes_any_shape_scale_and_the_zero_vector():
    e = torch.zeros(2, 3, 9)
    e[0] = 7 * ori.embed(rotations(3, 21, torch.float32), "cubic")
    q = ori.project(e, "cubic")
    assert q.shape == (2, 3, 4)
    torch.testing.assert_close(q.norm(dim=-1), torch.ones(2, 3))


def test_projection_handles_half_precision():
    q = rotations(200, 22, torch.float32)
    back = ori.project(ori.embed(q, "cubic").bfloat16(), "cubic")
    assert degrees(ori.disorientation(back, q, "cubic")).max() < 1.0


def test_expand_spreads_grain_values_over_voxels():
    grain_id = torch.tensor([[[[0, 1]]], [[[1, 1]]]])
    values = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    field = ori.expand(grain_id, values)
    assert field.shape == (2, 2, 1, 1, 2)
    assert field[0, :, 0, 0].tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert field[1, :, 0, 0].tolist() == [[7.0, 7.0], [8.0, 8.0]]


def test_unknown_symmetry_and_wrong_size_say_so():
    with pytest.raises(UserError, match="unknown crystal symmetry 'cubik'"):
        ori.embed(rotations(3), "cubik")
    with pytest.raises(UserError, match=r"e: is of shape \(3, 4\). Give numbers \(..., 9\)"):
        ori.project(rotations(3), "cubic")
