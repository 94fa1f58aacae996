"""Small tensors against torch's own linear algebra."""

import torch

from microprint import orientations
from microprint.mechanics import tensors


def voxels(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def last(x):
    return torch.movedim(x, (0, 1), (-2, -1))


def test_mandel_keeps_tensor_and_norm():
    a = voxels(3, 3, 7)
    symmetric = 0.5 * (a + a.transpose(0, 1))
    torch.testing.assert_close(tensors.from_mandel(tensors.mandel(a)), symmetric)
    torch.testing.assert_close(tensors.mandel(a).norm(dim=0), symmetric.flatten(0, 1).norm(dim=0))


def test_products_determinant_and_inverse():
    a, b = voxels(3, 3, 5), voxels(3, 3, 5, seed=1)
    torch.testing.assert_close(last(tensors.product(a, b)), last(a) @ last(b))
    torch.testing.assert_close(tensors.determinant(a), torch.linalg.det(last(a)))
    spd = torch.movedim(last(voxels(6, 6, 5)) @ last(voxels(6, 6, 5)).mT + torch.eye(6, dtype=torch.float64), (-2, -1), (0, 1))
    torch.testing.assert_close(last(tensors.inverse(spd)), torch.linalg.inv(last(spd)))


def test_mandel_rotation_turns_tensors():
    q = orientations.random(5, torch.Generator().manual_seed(3), dtype=torch.float64)
    rotation = torch.movedim(orientations.to_matrix(q), (-2, -1), (0, 1))
    e = tensors.from_mandel(voxels(6, 5))
    turned = tensors.product(tensors.product(rotation, e), rotation.transpose(0, 1))
    matrix = tensors.mandel_rotation(rotation)
    torch.testing.assert_close(tensors.apply(matrix, tensors.mandel(e)), tensors.mandel(turned))
    torch.testing.assert_close(
        last(tensors.product(matrix, matrix.transpose(0, 1))), torch.eye(6, dtype=torch.float64).expand(5, 6, 6)
    )
