"""Errors against loops over voxels, and baselines where their answer is known."""

import math

import pytest
import torch

from microprint import orientations
from microprint.analysis.reconstruction import (
    LinearCode,
    boundary_voxels,
    constant_reconstruction,
    errors_of,
    grain_list_reconstruction,
    nearest_site,
    periodic_centres,
    reconstruction_error,
)
from microprint.errors import UserError
from microprint.systems.fingerprint import VolumeSet


def voronoi(count=3, edge=8, grains=5, symmetry="cubic"):
    generator = torch.Generator().manual_seed(2)
    sites = torch.rand(count, grains, 3, generator=generator)
    q = orientations.random((count, grains), generator)
    return sites, VolumeSet(nearest_site(sites, edge), q, torch.full((count,), grains), symmetry)


def test_nearest_site_by_brute_force():
    sites, elements = voronoi(count=1, edge=4)
    for x in range(4):
        for y in range(4):
            for z in range(4):
                gaps = [
                    min(math.dist(((x + 0.5) / 4 + i, (y + 0.5) / 4 + j, (z + 0.5) / 4 + k), site.tolist())
                        for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1))
                    for site in sites[0]
                ]  # fmt: skip
                assert int(elements.grain_id[0, x, y, z]) == gaps.index(min(gaps))


def test_summary_by_brute_force():
    _, elements = voronoi(edge=4)
    predicted = orientations.random((3, 4, 4, 4), torch.Generator().manual_seed(9))
    summary = reconstruction_error(predicted, elements).summary()
    operators = orientations.symmetry_operators("cubic").float()
    angles = []
    for element in range(3):
        for p, grain in zip(predicted[element].reshape(-1, 4), elements.grain_id[element].flatten(), strict=True):
            equivalents = orientations.multiply(operators, elements.quaternion[element, grain])
            angles.append(2 * math.acos(min(float((equivalents @ p).abs().max()), 1.0)))
    mean = math.degrees(sum(angles) / len(angles))
    measure = sum(1 - math.cos(a / 2) for a in angles) / len(angles)
    assert summary["disorientation_deg"] == pytest.approx(mean, rel=1e-4)
    assert summary["one_minus_abs_dot"] == pytest.approx(measure, rel=1e-4)
    assert summary["one_minus_abs_dot"] <= summary["one_minus_abs_dot_raw"]
    assert summary["within_5_deg"] == pytest.approx(sum(a < math.radians(5) for a in angles) / len(angles))


def test_perfect_reconstruction_and_wrong_shape():
    _, elements = voronoi()
    summary = reconstruction_error(elements.orientations(), elements).summary()
    assert summary["disorientation_deg"] < 0.1 and summary["within_5_deg"] == 1
    with pytest.raises(UserError, match="reconstruction"):
        reconstruction_error(elements.orientations()[:2], elements)


def test_boundary_voxels_by_brute_force():
    _, elements = voronoi(count=1, edge=4)
    grain, found = elements.grain_id[0], boundary_voxels(elements.grain_id)[0]
    steps = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
    for place in torch.cartesian_prod(*[torch.arange(4)] * 3).tolist():
        others = [grain[tuple((a + b) % 4 for a, b in zip(place, step, strict=True))] for step in steps]
        assert bool(found[tuple(place)]) == any(other != grain[tuple(place)] for other in others)


@pytest.mark.parametrize("symmetry, value", [("cubic", 0.067), ("hexagonal", 0.148)])
def test_constant_baseline_has_the_known_error(symmetry, value):
    generator = torch.Generator().manual_seed(4)
    many = orientations.random((1, 4096), generator)
    elements = VolumeSet(torch.arange(4096).reshape(1, 16, 16, 16), many, torch.tensor([4096]), symmetry)
    summary = reconstruction_error(constant_reconstruction(elements), elements).summary()
    assert summary["one_minus_abs_dot"] == pytest.approx(value, abs=0.003)
    assert summary["one_minus_abs_dot_raw"] == pytest.approx(summary["one_minus_abs_dot"], abs=1e-4)


def test_centres_across_the_periodic_face():
    grain_id = torch.zeros(1, 8, 8, 8, dtype=torch.long)
    grain_id[0, [7, 0]] = 1  # a slab astride the face x = 0
    centre, volume = periodic_centres(grain_id, 3)
    assert volume[0].tolist() == [384, 128, 0]
    assert float(centre[0, 1, 0]) % 1 == pytest.approx(0, abs=1e-5) or float(centre[0, 1, 0]) == pytest.approx(1, abs=1e-5)
    assert float(centre[0, 0, 0]) == pytest.approx(0.5, abs=1e-5)


def test_baselines_rank_as_they_should():
    _, elements = voronoi(count=6, edge=8)
    linear = LinearCode(elements, 256)
    models = {
        "constant": constant_reconstruction,
        "linear": lambda e: linear.decode(linear.encode(e)),
        "grain list": grain_list_reconstruction,
    }
    degrees = [error.summary()["disorientation_deg"] for error in errors_of(models, elements).values()]
    assert degrees == sorted(degrees, reverse=True) and degrees[-1] < 12
