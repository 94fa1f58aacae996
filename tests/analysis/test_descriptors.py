"""Descriptors of volume elements against closed forms, damask and the characters of the rotation group."""

import math

import damask
import numpy as np
import pytest
import torch

from microprint import orientations
from microprint.analysis import descriptors
from microprint.errors import UserError
from microprint.microstructures import polycrystal
from microprint.microstructures.volume_elements import VolumeElements


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(3)


def elements(generator, count=3, edge=8, grains=5, symmetry="cubic") -> VolumeElements:
    grain_id = torch.randint(grains, (count, edge, edge, edge), generator=generator, dtype=torch.int16)
    quaternion = orientations.random((count, grains), generator)
    return VolumeElements(grain_id, quaternion, torch.full((count,), grains), symmetry)


def crystal_along(direction) -> VolumeElements:
    """A single crystal with this crystal direction along the sample's x."""
    first = torch.tensor(direction, dtype=torch.float64)
    first = first / first.norm()
    second = torch.linalg.cross(first, torch.tensor([0.3, 0.5, -0.7], dtype=torch.float64))
    second = second / second.norm()
    matrix = torch.stack([first, second, torch.linalg.cross(first, second)], 1)
    q = torch.from_numpy(damask.Rotation.from_matrix(matrix.numpy()).quaternion)[None, None]
    return VolumeElements(torch.zeros(1, 2, 2, 2, dtype=torch.int16), q, torch.ones(1, dtype=torch.long), "cubic")


# --- texture ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("symmetry, degrees", [("cubic", (4,)), ("hexagonal", (2, 4))])
def test_texture_index_against_the_characters_of_rotations(generator, symmetry, degrees):
    """f^2 integrates to the sum over pairs of grains of the kernel (2 l + 1) mean_s chi_l(g_i^-1 s g_j), l up to 4."""
    given = elements(generator, symmetry=symmetry)
    turns = orientations.multiply(orientations.conjugate(given.quaternion)[:, :, None, None],
                                  orientations.equivalents(given.quaternion, symmetry)[:, None]).double()
    angle = orientations.rotation_angle(orientations.standardize(turns)).clamp_min(1e-6)
    kernel = sum((2 * d + 1) * (torch.sin((d + 0.5) * angle) / torch.sin(angle / 2)).mean(-1) for d in degrees)
    share = descriptors.volume_fractions(given).double()
    expected = 1 + torch.einsum("ni,nij,nj->n", share, kernel, share)
    assert torch.allclose(descriptors.texture_index(given).double(), expected, atol=2e-3)


@pytest.mark.parametrize("symmetry, value", [("cubic", 10), ("hexagonal", 15)])
def test_texture_index_of_a_single_crystal_and_of_none(generator, symmetry, value):
    one = elements(generator, grains=1, symmetry=symmetry)
    assert descriptors.texture_index(one).tolist() == pytest.approx([value] * 3, rel=1e-4)
    many = elements(generator, edge=16, grains=4096, symmetry=symmetry)
    assert descriptors.texture_index(many).tolist() == pytest.approx([1] * 3, abs=0.02)


@pytest.mark.parametrize("direction, factor", [
    ((0, 0, 1), 1 / math.sqrt(6)),
    ((1, 0, 1), 1 / math.sqrt(6)),
    ((1, 1, 1), 2 / (3 * math.sqrt(6))),
    ((1, 2, 3), (-1 + 2 + 3) * (1 + 3) / (14 * math.sqrt(6))),  # on (-1 1 1) along [1 0 1]
])
def test_schmid_factor_of_single_crystals_in_closed_form(direction, factor):
    assert descriptors.mean_schmid_factor(crystal_along(direction)).item() == pytest.approx(factor, abs=1e-6)


def test_mean_schmid_factor_against_damask(generator):
    given = elements(generator)
    q = given.quaternion.double()
    crystal = damask.Orientation(rotation=orientations.standardize(q / q.norm(dim=-1, keepdim=True)).numpy(), lattice="cF")
    tensors = crystal.Schmid(N_slip=[12])  # (12, N, G, 3, 3) in the sample frame
    largest = torch.from_numpy(np.abs(tensors[..., 0, 0]).max(0))
    expected = (descriptors.volume_fractions(given) * largest).sum(1)
    assert torch.allclose(descriptors.mean_schmid_factor(given).double(), expected, atol=1e-5)
    with pytest.raises(UserError, match="hexagonal crystals"):
        descriptors.mean_schmid_factor(elements(generator, symmetry="hexagonal"))


def test_mean_embedding_is_the_mean_over_voxels(generator):
    given = elements(generator)
    expected = orientations.embed(given.orientations(), "cubic").mean((1, 2, 3))
    assert torch.allclose(descriptors.mean_embedding(given), expected, atol=1e-5)


# --- grain size and shape --------------------------------------------------------------------------------------------

def bricks(*sizes: int, edge: int = 8) -> VolumeElements:
    """Grains that are equal bricks with these edges in voxels."""
    places = torch.meshgrid(*[torch.arange(edge) // size for size in sizes], indexing="ij")
    x, y, z = places
    grain_id = (x * (int(y.max()) + 1) + y) * (int(z.max()) + 1) + z
    grains = int(grain_id.max()) + 1
    quaternion = torch.tensor([1.0, 0, 0, 0]).expand(1, grains, 4)
    return VolumeElements(grain_id[None].to(torch.int16), quaternion, torch.tensor([grains]), "cubic")


def test_size_boundary_and_largest_grain_of_bricks():
    given = bricks(4, 2, 8)
    assert descriptors.mean_grain_size(given).item() == pytest.approx((4 * 2 * 8) ** (1 / 3) / 8)
    # Every fourth face along x, every second along y, none along z, where a grain is its own neighbour.
    assert descriptors.boundary_share(given).item() == pytest.approx((1 / 4 + 1 / 2 + 0) / 3)
    assert descriptors.largest_share(given).item() == pytest.approx(1 / 8)


def test_aspect_ratio_of_bricks_and_of_elongated_grains(generator):
    assert descriptors.mean_aspect_ratio(bricks(4, 2, 2)).item() == pytest.approx(2, abs=0.01)
    made = polycrystal.generate(20, 16, "cubic", generator, morphology="elongated")
    one = VolumeElements(made.grain_id, made.quaternion.nan_to_num(1.0), made.grains, "cubic")
    found = descriptors.mean_aspect_ratio(one)
    assert found.shape == (20,) and 1.6 < found.mean().item() < 2.2
