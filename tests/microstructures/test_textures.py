"""Families of textures: where each has its axes, and what is drawn anew for every volume element."""

import pytest
import torch

from microprint import orientations
from microprint.errors import UserError
from microprint.microstructures import textures
from microprint.microstructures.textures import CUBIC, FAMILIES, HEXAGONAL, draw_texture

GRAINS = 4000
ALL = [(symmetry, family) for symmetry, families in FAMILIES.items() for family in families]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def sharp(monkeypatch):
    monkeypatch.setattr(textures, "SCATTER_DEG", (0.0, 0.0))


def sample_axes(q, crystal):
    """Unit crystal directions (D, 3) in sample axes, (G, D, 3)."""
    crystal = torch.as_tensor(crystal, dtype=torch.float32)
    crystal = crystal / crystal.norm(dim=-1, keepdim=True)
    return torch.einsum("gij,di->gdj", orientations.to_matrix(q).float(), crystal)


def c_squared(family):
    """Mean squares of the components of c in sample axes."""
    return sample_axes(draw_texture(family, GRAINS, "hexagonal", generator()), [[0, 0, 1]])[:, 0].square().mean(0)


@pytest.mark.parametrize("family, expected", [
    ("random", (1 / 3, 1 / 3, 1 / 3)), ("basal", (0, 0, 1)), ("extruded", (0, 0.5, 0.5)), ("axial", (1, 0, 0)), ("prismatic", (0, 1, 0)),
])
def test_the_c_axes_of_hexagonal_families(sharp, family, expected):
    torch.testing.assert_close(c_squared(family), torch.tensor(expected, dtype=torch.float32), atol=0.02, rtol=0)


def test_a_split_basal_texture_tilts_c_to_both_sides_of_x(sharp, monkeypatch):
    monkeypatch.setattr(textures, "SPLIT_DEG", (30.0, 30.0))
    c = sample_axes(draw_texture("split", GRAINS, "hexagonal", generator()), [[0, 0, 1]])[:, 0]
    c = c * c[:, 2:].sign()
    torch.testing.assert_close(c[:, 0].abs(), torch.full((GRAINS,), 0.5), atol=1e-4, rtol=0)
    assert abs((c[:, 0] > 0).float().mean() - 0.5) < 0.05 and c[:, 1].abs().max() < 1e-4


@pytest.mark.parametrize("family", ["extruded", "prismatic"])
def test_an_a_axis_lies_along_the_load(sharp, family):
    q = draw_texture(family, 100, "hexagonal", generator())
    thirds = [[1, 0, 0], [-0.5, 0.75**0.5, 0], [0.5, 0.75**0.5, 0]]
    torch.testing.assert_close(sample_axes(q, thirds)[..., 0].abs().amax(1), torch.ones(100))


@pytest.mark.parametrize("family, directions", [
    ("fibre_111", [[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]]), ("fibre_100", torch.eye(3)), ("cube", torch.eye(3)), ("goss", torch.eye(3)),
])
def test_the_axis_of_a_cubic_family_lies_along_x(sharp, family, directions):
    along = sample_axes(draw_texture(family, 100, "cubic", generator()), directions)
    torch.testing.assert_close(along[..., 0].abs().amax(1), torch.ones(100))
    free = along[:, :, 1].abs().amax(1).std() > 0.01  # whether crystals are turned about x
    assert free == CUBIC[family].about_x


@pytest.mark.parametrize("symmetry, family", ALL)
def test_a_seed_gives_the_same_texture_in_the_fundamental_zone(symmetry, family):
    first, again, other = (draw_texture(family, 50, symmetry, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (50, 4) and first.dtype == torch.float32
    torch.testing.assert_close(orientations.reduce(first, symmetry), first)


@pytest.mark.parametrize("family, axis", [("basal", 2), ("axial", 0), ("prismatic", 1)])
def test_a_family_scatters_by_the_angle_that_was_drawn(monkeypatch, family, axis):
    """Two of the three normal angles tilt c."""
    monkeypatch.setattr(textures, "SCATTER_DEG", (5.0, 5.0))
    c = sample_axes(draw_texture(family, GRAINS, "hexagonal", generator()), [[0, 0, 1]])[:, 0]
    angle = torch.rad2deg(torch.acos(c[:, axis].abs().clamp(max=1)))
    assert angle.square().mean().div(2).sqrt() == pytest.approx(5.0, rel=0.05)


def test_a_mixed_texture_has_its_share_of_random_grains(sharp, monkeypatch):
    monkeypatch.setattr(textures, "SHARE", (0.4, 0.4))
    monkeypatch.setattr(textures, "HEXAGONAL", {"basal": HEXAGONAL["basal"]})
    c = sample_axes(draw_texture("mixed", GRAINS, "hexagonal", generator()), [[0, 0, 1]])[:, 0]
    assert (c[:, 2].abs() < 0.999).float().mean() == pytest.approx(0.4, abs=0.03)


def test_an_unknown_family_is_refused():
    with pytest.raises(UserError, match="unknown family of textures 'goss'. Use one of random, basal"):
        draw_texture("goss", 3, "hexagonal", generator())
