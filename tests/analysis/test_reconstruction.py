"""Errors against loops over voxels, and baselines where their answer is known."""

import math

import pytest
import torch

from microprint import orientations
from microprint.analysis.codes import LinearCode, ListCode
from microprint.analysis.reconstruction import (
    boundary_faces,
    boundary_voxels,
    constant_reconstruction,
    errors_of,
    reconstruction_error,
)
from microprint.errors import UserError
from microprint.microstructures.periodic import centres, nearest_site
from microprint.microstructures.volume_elements import VolumeElements


def voronoi(count=3, edge=8, grains=5, symmetry="cubic"):
    generator = torch.Generator().manual_seed(2)
    sites = torch.rand(count, grains, 3, generator=generator)
    q = orientations.random((count, grains), generator)
    return sites, VolumeElements(nearest_site(sites, edge), q, torch.full((count,), grains), symmetry)


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
    angles, inside = [], ~boundary_voxels(elements.grain_id).flatten()
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
    angles = torch.tensor(angles).rad2deg()
    assert summary["median_deg"] == pytest.approx(float(angles.median()), abs=0.006)
    for place, kept in (("interior", inside), ("boundary", ~inside)):
        assert summary[f"{place}_deg"] == pytest.approx(float(angles[kept].mean()), rel=1e-4)
        assert summary[f"{place}_within_5_deg"] == pytest.approx(float((angles[kept] < 5).float().mean()))


def turned(degrees: float) -> torch.Tensor:
    """A rotation about z, (4,)."""
    return orientations.from_rotation_vector(torch.tensor([0.0, 0.0, math.radians(degrees)]))


def test_shares_within_5_degrees_of_interiors_and_boundaries():
    """Two slabs, four voxels thick: the reconstruction is 4 degrees off inside and 6 degrees at the boundaries."""
    grain_id = (torch.arange(8) >= 4).long()[None, :, None, None].expand(1, 8, 8, 8)
    elements = VolumeElements(grain_id, torch.stack([turned(0), turned(30)])[None], torch.tensor([2]), "cubic")
    off = torch.where(boundary_voxels(grain_id)[..., None], turned(6), turned(4))
    summary = reconstruction_error(orientations.multiply(off, elements.orientations()), elements).summary()
    assert summary["interior_deg"] == pytest.approx(4, abs=1e-3) and summary["boundary_deg"] == pytest.approx(6, abs=1e-3)
    assert summary["interior_within_5_deg"] == 1 and summary["boundary_within_5_deg"] == 0 and summary["within_5_deg"] == 0.5
    assert summary["median_deg"] == pytest.approx(4, abs=0.006) and summary["boundary_overlap"] == 1


@pytest.mark.parametrize("symmetry", orientations.SYMMETRIES)
def test_boundary_faces_by_brute_force(symmetry):
    _, elements = voronoi(count=2, edge=4, symmetry=symmetry)
    q = elements.orientations()
    found = boundary_faces(q, symmetry, above_deg=30)
    for axis in range(3):
        for place in torch.cartesian_prod(torch.arange(2), *[torch.arange(4)] * 3).tolist():
            other = list(place)
            other[axis + 1] = (other[axis + 1] + 1) % 4
            angle = orientations.disorientation(q[tuple(place)], q[tuple(other)], symmetry)
            assert bool(found[(axis, *place)]) == (math.degrees(angle) > 30)


@pytest.mark.parametrize("first, second, overlap", [(0, 30, 0.5), (0, 6, 0.5), (0, 4, 0.0), (0, 90, 0.0)])
def test_overlap_of_boundaries_at_known_places(first, second, overlap):
    """Slabs with boundaries at x = 0 and 4 against 0 and 2: one of two is met; less than 5 degrees apart is no boundary."""
    def slabs(end):
        return (torch.arange(8) >= end).long()[None, :, None, None].expand(1, 8, 8, 8)

    truth = VolumeElements(slabs(4), torch.stack([turned(0), turned(30)])[None], torch.tensor([2]), "cubic")
    other = VolumeElements(slabs(2), torch.stack([turned(first), turned(second)])[None], torch.tensor([2]), "cubic")
    assert reconstruction_error(other.orientations(), truth).summary()["boundary_overlap"] == overlap


def test_overlap_by_chance_and_of_nothing():
    _, elements = voronoi(count=20, edge=8, grains=40)
    noise = orientations.random((20, 8, 8, 8), torch.Generator().manual_seed(3))
    by_chance = reconstruction_error(noise, elements).summary()
    assert by_chance["boundary_overlap"] == pytest.approx(by_chance["boundary_overlap_chance"], abs=0.005)
    assert by_chance["boundary_overlap"] > 0.4
    assert errors_of({"c": constant_reconstruction}, elements)["c"].summary()["boundary_overlap"] == 0
    crystal = VolumeElements(torch.zeros(1, 4, 4, 4, dtype=torch.long), turned(0)[None, None], torch.tensor([1]), "cubic")
    assert reconstruction_error(crystal.orientations(), crystal).summary()["boundary_overlap"] == 1


def test_errors_of_a_set_do_not_depend_on_its_parts(monkeypatch):
    _, elements = voronoi(count=7, edge=8)
    whole = errors_of({"grain list": ListCode("grain", 256).reconstruct}, elements)["grain list"].summary()
    sizes = []

    def model(part):
        sizes.append(len(part))
        return ListCode("grain", 256).reconstruct(part)

    monkeypatch.setattr(VolumeElements.parts, "__defaults__", (2 * 8**3,))
    found = errors_of({"grain list": model}, elements)["grain list"]
    assert sizes == [2, 2, 2, 1] and found.summary() == pytest.approx(whole)
    assert float(found.each.mean()) == pytest.approx(whole["disorientation_deg"])


def test_one_code_against_another_element_by_element():
    _, elements = voronoi(count=4, edge=8)
    truth = elements.orientations()
    worse = truth.clone()
    worse[:2] = orientations.multiply(turned(3).to(truth), worse[:2])  # two of four are off by 3 degrees
    difference, error = reconstruction_error(worse, elements).excess(reconstruction_error(truth, elements))
    assert difference == pytest.approx(1.5, abs=0.05) and error == pytest.approx(3**0.5 / 2, abs=0.05)


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
    elements = VolumeElements(torch.arange(4096).reshape(1, 16, 16, 16), many, torch.tensor([4096]), symmetry)
    summary = reconstruction_error(constant_reconstruction(elements), elements).summary()
    assert summary["one_minus_abs_dot"] == pytest.approx(value, abs=0.003)
    assert summary["one_minus_abs_dot_raw"] == pytest.approx(summary["one_minus_abs_dot"], abs=1e-4)


def test_centres_across_the_periodic_face():
    grain_id = torch.zeros(1, 8, 8, 8, dtype=torch.long)
    grain_id[0, [7, 0]] = 1  # a slab astride the face x = 0
    centre, volume = centres(grain_id, 3)
    assert volume[0].tolist() == [384, 128, 0]
    assert float(centre[0, 1, 0]) % 1 == pytest.approx(0, abs=1e-5) or float(centre[0, 1, 0]) == pytest.approx(1, abs=1e-5)
    assert float(centre[0, 0, 0]) == pytest.approx(0.5, abs=1e-5)


def test_baselines_rank_as_they_should():
    _, elements = voronoi(count=6, edge=8)
    models = {
        "constant": constant_reconstruction,
        "linear": LinearCode(elements, 256).reconstruct,
        **{kind: ListCode(kind, 256).reconstruct for kind in ("grain", "fitted")},
    }
    degrees = [error.summary()["disorientation_deg"] for error in errors_of(models, elements).values()]
    assert degrees == sorted(degrees, reverse=True) and degrees[-1] < 12
