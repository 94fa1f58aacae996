"""Polycrystals: sizes, shapes, periodicity and textures, against closed forms and brute force."""

import math

import numpy as np
import pytest
import torch

from microprint import orientations
from microprint.errors import UserError
from microprint.microstructures import polycrystal as poly
from microprint.microstructures.periodic import nearest_site


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_expected_number_of_grains():
    assert poly.MORPHOLOGIES["equiaxed"].grains == pytest.approx(6 / math.pi * (16 / 5.78) ** 3)
    filled = {"equiaxed": 40, "large": 4, "small": 385, "elongated": 9, "columnar": 40, "wide": 80, "twinned": 16}
    assert {name: round(m.grains) for name, m in poly.MORPHOLOGIES.items()} == pytest.approx(filled, abs=1)
    for morphology in ("equiaxed", "columnar", "wide"):
        volume = poly.target_volumes(400, poly.MORPHOLOGIES[morphology], generator())
        assert (volume > 0).sum(1).double().mean().item() == pytest.approx(39, rel=0.08), morphology
        assert poly.MORPHOLOGIES[morphology].expected_grains == pytest.approx(39, abs=0.5)


@pytest.mark.parametrize("morphology", ["equiaxed", "columnar", "wide", "twinned", "grown"])
def test_a_seed_gives_the_same_volume_elements(morphology):
    first, second = (poly.generate(2, 8, "cubic", generator(3), morphology=morphology) for _ in range(2))
    for name in ("grain_id", "quaternion", "grains"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name), rtol=0, atol=0)


@pytest.mark.parametrize("morphology", [*poly.MORPHOLOGIES, "grown"])
def test_grain_numbers_have_no_gaps_and_every_grain_an_orientation(morphology):
    elements = poly.generate(3, 8, "cubic", generator(1), morphology=morphology)
    for ids, q, grains in zip(elements.grain_id, elements.quaternion, elements.grains):
        assert ids.unique().tolist() == list(range(grains))
        torch.testing.assert_close(q[:grains].norm(dim=-1), torch.ones(grains))
        assert (q[grains:] == torch.eye(4)[0]).all()
    assert elements.orientations().shape == (3, 8, 8, 8, 4) and elements.orientations().isfinite().all()


@pytest.mark.parametrize("morphology, aspect, tolerance", [("equiaxed", 1.0, 0.1), ("elongated", 2.0, 0.2), ("columnar", 3.0, 0.3),
                                                           ("wide", 1.0, 0.1)])
def test_sizes_and_shapes_are_those_asked_for(morphology, aspect, tolerance):
    asked = poly.MORPHOLOGIES[morphology]
    grain_id, grains = poly.grow(24, 16, asked, generator(2))
    diameter = poly.diameters(grain_id, grains, asked.edges)
    assert diameter.median().item() == pytest.approx(1.0, abs=0.03)
    assert diameter.log().std().item() == pytest.approx(asked.spread, rel=0.1, abs=0.025)
    assert poly.aspect_ratios(grain_id, grains, asked.axis).median().item() == pytest.approx(aspect, abs=tolerance)


def test_target_volumes_fill_the_element_with_whole_grains():
    volume = poly.target_volumes(200, poly.MORPHOLOGIES["equiaxed"], generator())
    torch.testing.assert_close(volume.sum(1), torch.ones(200))
    diameter = (volume[volume > 0] * 6 / math.pi).pow(1 / 3) * poly.MORPHOLOGIES["equiaxed"].edges
    assert diameter.log().std().item() == pytest.approx(poly.SPREAD, abs=0.005)


def test_tessellation_is_the_brute_force_power_diagram():
    seeds, weight = torch.rand((2, 5, 3), generator=generator(4)), 0.02 * torch.rand((2, 5), generator=generator(5))
    stretch = torch.tensor([0.7, 1.1, 1.3])
    owner = nearest_site(seeds, 6, weight, stretch)
    centres = (torch.arange(6) + 0.5) / 6
    points = torch.cartesian_prod(centres, centres, centres)
    images = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0])] * 3)
    offset = points[None, None, :, None] - seeds[:, :, None, None] - images
    power = (offset * stretch).square().sum(-1).amin(-1) - weight[..., None]
    assert torch.equal(owner.flatten(1), power.argmin(1))


def test_tessellation_is_periodic():
    seeds, weight = torch.rand((1, 7, 3), generator=generator(6)), torch.zeros(1, 7)
    stretch = torch.ones(3)
    moved = nearest_site((seeds + torch.tensor([0.25, 0.5, 0.0])) % 1, 8, weight, stretch)
    assert torch.equal(moved, nearest_site(seeds, 8, weight, stretch).roll((2, 4), (1, 2)))


def test_aspect_ratio_of_a_box_and_of_one_across_the_boundary():
    grain_id = torch.zeros(1, 16, 16, 16, dtype=torch.int64)
    grain_id[0, 2:10, 4:8, 4:8] = 1
    expected = torch.tensor(8 / 4)
    grains = torch.tensor([2])
    torch.testing.assert_close(poly.aspect_ratios(grain_id, grains)[1], expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(poly.aspect_ratios(grain_id.roll(9, 1), grains)[1], expected, rtol=1e-4, atol=0)
    for axis, turned in {"y": grain_id.transpose(1, 2), "z": grain_id.transpose(1, 3)}.items():
        torch.testing.assert_close(poly.aspect_ratios(turned, grains, axis)[1], expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("texture", poly.COMPONENTS)
def test_texture_components_scatter_about_the_ideal_orientation(texture):
    ideal = orientations.from_euler(torch.deg2rad(torch.tensor(poly.COMPONENTS[texture], dtype=torch.float64)))
    q = poly.sample_orientations((4000,), texture, "cubic", generator(), scatter_deg=4.0).double()
    angle = torch.rad2deg(orientations.disorientation(q, ideal, "cubic"))
    assert angle.mean().item() == pytest.approx(4.0 * math.sqrt(8 / math.pi), rel=0.03)  # mean of a Maxwell distribution


def test_copper_and_goss_put_the_known_planes_and_directions_along_sample_z_and_x():
    """Copper {112}<11-1>, Goss {011}<100>, brass {011}<2-11>: the ideal angles are rounded to 5 degrees."""
    families = {"copper": ((1, 1, 2), (1, 1, 1)), "goss": ((0, 1, 1), (0, 0, 1)), "brass": ((0, 1, 1), (1, 1, 2))}
    for name, (plane, direction) in families.items():
        matrix = orientations.to_matrix(orientations.from_euler(torch.deg2rad(torch.tensor(poly.COMPONENTS[name]))))
        for axis, family in ((2, plane), (0, direction)):
            crystal = np.sort(np.abs(matrix[:, axis].numpy()))
            assert crystal @ np.sort(family) / np.linalg.norm(family) > math.cos(math.radians(2)), name


def test_basal_texture_has_its_c_axes_about_sample_z():
    q = poly.sample_orientations((5000,), "basal", "hexagonal", generator(), scatter_deg=15.0)
    tilt = torch.rad2deg(torch.acos(orientations.to_matrix(q)[:, 2, 2].abs().clamp(max=1)))
    assert tilt.mean().item() == pytest.approx(15 * math.sqrt(2 / math.pi), rel=0.05)


def test_unknown_texture_says_so():
    with pytest.raises(UserError, match="unknown texture 'gos'"):
        poly.sample_orientations((3,), "gos", "cubic", generator())
