"""Grown grains: their number, that they are whole and not convex, and the sublattices they grow on."""

import math

import pytest
import torch
from scipy.spatial import Delaunay

from microprint.microstructures import polycrystal as poly
from microprint.microstructures.grain_growth import _sublattices, anneal
from microprint.microstructures.periodic import centres, nearest_site, voxel_centres, wrap


@pytest.fixture(scope="module")
def grown():
    """Grain ids (24, 16, 16, 16), and the number of grains (24,)."""
    return anneal(24, 16, 40, torch.Generator().manual_seed(0))


def share_missed(grain_id, steps=30):
    """Share (B,) of the voxels that the power diagram fitted best to the grains' centres and volumes gives to other grains."""
    edge, most = grain_id.shape[1], int(grain_id.max()) + 1
    centre, voxels = (values.float() for values in centres(grain_id, most))
    sites = centre.masked_fill(voxels[..., None] == 0, torch.inf)
    weight = torch.zeros_like(voxels).masked_fill(voxels == 0, -torch.inf)
    diameter, least = (6 / math.pi * voxels / edge**3).pow(1 / 3).clamp_min(1 / edge), torch.ones(len(grain_id))
    for _ in range(steps):
        owner = nearest_site(sites, edge, weight)
        least = torch.minimum(least, (owner != grain_id).float().mean((1, 2, 3)))
        reached, own = (values.float() for values in centres(owner, most))
        sites = torch.where(own[..., None] > 0, sites + 0.7 * wrap(centre - reached), sites)
        weight = weight + (voxels - own) / (math.pi * diameter * edge**3)
    return least


def test_about_as_many_grains_are_left_as_asked_for(grown):
    grain_id, grains = grown
    assert grains.max() <= 40 and 37 < grains.double().mean() < 40
    for ids, count in zip(grain_id, grains):
        assert ids.unique().tolist() == list(range(count))
    assert poly.diameters(grain_id, grains, 16).median() > 4  # voxels; they began with 1.24
    assert poly.aspect_ratios(grain_id, grains).median().item() == pytest.approx(1, abs=0.1)


def test_grown_grains_are_no_cells(grown):
    cells, _ = poly.grow(24, 16, poly.MORPHOLOGIES["equiaxed"], torch.Generator().manual_seed(0))
    assert share_missed(cells).mean() < 0.002
    assert share_missed(grown[0]).min() > 0.05


def share_not_convex(grain_id, grains):
    """Share of the volume in grains in whose convex hull there are voxels of others."""
    edge, voxels = grain_id.shape[1], 0
    position = torch.cartesian_prod(*3 * [voxel_centres(edge)])
    for ids, middle in zip(grain_id.flatten(1), centres(grain_id, int(grains.max()))[0]):
        for grain in range(int(ids.max()) + 1):
            own = ids == grain
            if own.sum() >= 30:  # of fewer there may be no hull
                offset = wrap(position - middle[grain])
                hull = Delaunay(offset[own].numpy()).find_simplex(offset.numpy()) >= 0
                voxels += int(own.sum()) * (hull.sum() > own.sum())
    return float(voxels) / grain_id.numel()


def test_most_grown_grains_are_not_convex_and_cells_all_are(grown):
    cells = poly.grow(2, 16, poly.MORPHOLOGIES["equiaxed"], torch.Generator().manual_seed(0))
    assert share_not_convex(*cells) == 0
    assert share_not_convex(grown[0][:2], grown[1][:2]) > 0.5


def test_no_voxel_is_without_its_grain_beside_it(grown):
    shared = [grown[0] == grown[0].roll(step, axis) for axis in (1, 2, 3) for step in (-1, 1)]
    assert torch.stack(shared).any(0).all()


def test_growth_knows_no_boundary_of_the_cube(grown):
    """Neighbours across it are as often of two grains as others are."""
    for axis in (1, 2, 3):
        differs = (grown[0] != grown[0].roll(1, axis)).double().mean([d for d in range(4) if d != axis])
        assert abs(differs[0] - differs[1:].mean()) < 4 * differs[1:].std()


@pytest.mark.parametrize("edge", [4, 5, 8, 9])
def test_sublattices_hold_every_voxel_once_and_no_two_neighbours(edge):
    sublattices = _sublattices(edge)
    assert len(sublattices) == (27 if edge % 2 else 8)
    assert torch.cat([voxels for voxels, _ in sublattices]).sort().values.tolist() == list(range(edge**3))
    for voxels, neighbours in sublattices:
        assert not torch.isin(neighbours, voxels).any()
        steps = torch.stack([(neighbours // stride - voxels[:, None] // stride) % edge for stride in (edge**2, edge, 1)])
        assert torch.isin(steps, torch.tensor([0, 1, edge - 1])).all() and all(len(row.unique()) == 26 for row in neighbours)


def test_a_seed_gives_the_same_grains():
    first, again, other = (anneal(2, 7, 20, torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
