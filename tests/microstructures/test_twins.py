"""Twins: orientations and habit planes against the mechanics' twin systems, and lamellae against their parents."""

import math

import pytest
import torch

from microprint import orientations
from microprint.mechanics.slip_systems import directions_and_normals
from microprint.microstructures import polycrystal as poly
from microprint.microstructures import twins
from microprint.microstructures.periodic import centres, voxel_centres, wrap

# Lattice, number of the twin systems, axes' ratio, and angle in degrees between a twin and its parent.
SYSTEMS = {"cubic": ("cF", 12, 1.0, 60.0), "hexagonal": ("hP", 6, 1.624, 86.3)}


def twin_normals(symmetry):
    lattice, count, ratio, _ = SYSTEMS[symmetry]
    return directions_and_normals(lattice, "twin", (count,), ratio)[1].float()


@pytest.fixture(scope="module", params=SYSTEMS)
def parents_and_twinned(request):
    generator = torch.Generator().manual_seed(5)
    grain_id, grains = poly.grow(12, 24, poly.MORPHOLOGIES["twinned"], generator)
    quaternion = poly.sample_orientations((12, int(grains.max())), "random", request.param, generator)
    parents = poly.VolumeElements(grain_id, quaternion, grains, request.param)
    return parents, twins.add_lamellae(parents, generator)


@pytest.mark.parametrize("symmetry", SYSTEMS)
def test_habit_planes_are_those_of_the_twin_systems(symmetry):
    cosine = (twins.habit_planes(symmetry) @ twin_normals(symmetry).T).abs()
    assert torch.allclose(cosine.amax(0), torch.ones(()), atol=1e-5) and torch.allclose(cosine.amax(1), torch.ones(()), atol=1e-5)


@pytest.mark.parametrize("symmetry", SYSTEMS)
def test_a_twin_is_its_parent_turned_about_the_known_axis(symmetry):
    normal, angle = twins.habit_planes(symmetry), math.radians(SYSTEMS[symmetry][3])
    axis = normal
    if symmetry == "hexagonal":  # <11-20>, in the basal plane and in the habit plane
        axis = torch.nn.functional.normalize(torch.linalg.cross(normal, torch.tensor([[0.0, 0.0, 1.0]])), dim=-1)
    parent = orientations.random(len(normal), torch.Generator().manual_seed(0))
    twin = twins.twin(parent, normal)
    assert torch.rad2deg(orientations.disorientation(parent, twin, symmetry)) == pytest.approx(SYSTEMS[symmetry][3], abs=0.1)
    turned = [orientations.multiply(orientations.from_rotation_vector(sign * angle * axis), parent) for sign in (-1, 1)]
    error = torch.stack([orientations.disorientation(twin, q, symmetry) for q in turned]).amin(0)
    assert torch.rad2deg(error).max() < 0.1


def test_lamellae_are_flat_twins_inside_their_parents(parents_and_twinned):
    parents, twinned = parents_and_twinned
    normals = twins.habit_planes(parents.symmetry)
    position = torch.cartesian_prod(*3 * [voxel_centres(parents.edge)])
    pieces, sides = [], []
    middle, voxels = centres(parents.grain_id, parents.quaternion.shape[1])
    for element in range(len(parents)):
        before, after = parents.grain_id[element].flatten(), twinned.grain_id[element].flatten()
        assert after.unique().tolist() == list(range(twinned.grains[element]))
        for grain in range(parents.grains[element]):
            inside = before == grain
            children = after[inside].unique().tolist()
            assert not torch.isin(after[~inside], torch.tensor(children)).any()
            parent = parents.quaternion[element, grain]
            angle = torch.rad2deg(orientations.disorientation(twinned.quaternion[element, children], parent, parents.symmetry))
            kept, lamellae = children[angle.argmin()], [child for child, a in zip(children, angle) if a > 1]
            assert angle.min() < 0.1 and len(lamellae) == len(children) - 1
            assert angle[angle > 1].tolist() == pytest.approx([SYSTEMS[parents.symmetry][3]] * len(lamellae), abs=0.1)
            pieces.append(len(lamellae))
            if not lamellae:
                continue
            variants = orientations.disorientation(twins.twin(parent, normals), twinned.quaternion[element, lamellae[0]], parents.symmetry)
            offset = wrap(position - middle[element, grain]) @ (normals[variants.argmin()] @ orientations.to_matrix(parent))
            diameter = (6 / math.pi * voxels[element, grain] / parents.edge**3) ** (1 / 3)
            for child in lamellae:
                low, high = offset[after == child].aminmax()
                assert high - low < diameter / 3 + 1e-4
                left = offset[after == kept]
                assert not ((left > low + 1e-4) & (left < high - 1e-4)).any()
                sides.append(bool((left < low).any() and (left > high).any()))
    count = torch.tensor(pieces)
    assert (count > 0).double().mean().item() == pytest.approx(0.85, abs=0.1) and set(pieces) == {0, 1, 2}
    assert sum(sides) > 0.9 * len(sides)


def test_twinned_polycrystals_have_about_fifteen_parents():
    elements = poly.generate(20, 16, "cubic", torch.Generator().manual_seed(2), morphology="twinned")
    assert poly.MORPHOLOGIES["twinned"].expected_grains == pytest.approx(15, abs=0.3)
    assert elements.grains.double().mean().item() == pytest.approx(15 * (1 + 0.85 * 1.5), rel=0.1)
    torch.testing.assert_close(orientations.reduce(elements.quaternion, "cubic"), elements.quaternion)
