"""Linear comparison cells, by the closed form of one grain."""

import torch

from microprint import orientations
from microprint.analysis.stress import linear_cells
from microprint.mechanics.elasticity import mandel_from_voigt
from microprint.mechanics.materials import load_material
from microprint.mechanics.tensors import mandel, mandel_rotation
from microprint.microstructures.volume_elements import VolumeElements


def test_a_cell_of_one_grain_has_its_grain_s_softened_modulus():
    material, q = load_material("Mg"), orientations.random((1, 1), torch.Generator().manual_seed(0), torch.float64)
    element = VolumeElements.of(torch.zeros(1, 2, 2, 2, dtype=torch.int64), q)
    moduli = linear_cells(element, material, axis=1, softening=(2.0, 20.0))
    C = mandel_from_voigt(material.stiffness)
    shear = float((C[0, 0] + C[1, 1] + C[2, 2] - C[0, 1] - C[0, 2] - C[1, 2] + 1.5 * (C[3, 3] + C[4, 4] + C[5, 5])) / 15)
    m = mandel(material.schmid.permute(1, 2, 0))
    R = mandel_rotation(orientations.to_matrix(q[0, 0]).T[..., None])[..., 0]  # from crystal to sample
    column = 0
    for xi in material.xi_0.unique():
        family = m[:, material.xi_0 == xi]
        for factor in (2.0, 20.0):
            S = torch.linalg.inv(C) + factor / (2 * shear) * family @ family.T
            normal = (R @ torch.linalg.inv(S) @ R.T)[:3, :3]
            torch.testing.assert_close(moduli[0, column], 1 / torch.linalg.inv(normal)[1, 1], rtol=1e-4, atol=0)
            column += 1
    assert moduli.shape == (1, column)
