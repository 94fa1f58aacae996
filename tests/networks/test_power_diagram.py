"""Power diagrams: owners by brute force, the loss by its formula and its gradients by differences."""

import itertools

import pytest
import torch

from microprint.microstructures.periodic import nearest_site, voxel_centres
from microprint.networks import power_diagram
from microprint.networks.power_diagram import assignment_loss, owners


@pytest.fixture
def diagram():
    generator = torch.Generator().manual_seed(3)
    site, weight = torch.rand(2, 7, 3, generator=generator), 0.02 * torch.randn(2, 7, generator=generator)
    return site, 0.5 + torch.rand(2, 3, generator=generator), weight


def grains(edge=6):
    """Cells 0 and 1 are one grain, cell 2 is two, of the others one each; ids on some voxels an edge."""
    member = torch.zeros(2, 7, 7, dtype=torch.bool)
    for cell, grain in ((0, 0), (1, 0), (2, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)):
        member[:, cell, grain] = True
    return torch.randint(7, (2, edge, edge, edge), generator=torch.Generator().manual_seed(1)), member


def powers(site, metric, weight, point):
    """Power of a point, over all periodic images along each axis."""
    steps = torch.tensor([*itertools.product((-1.0, 0.0, 1.0), repeat=3)])
    square = (metric * (point - site[:, None] + steps).square()).sum(-1)
    return square.amin(1) - weight


def test_the_owner_has_the_least_power(diagram):
    site, metric, weight = diagram
    owner = owners(*diagram, voxel_centres(5).expand(3, -1))
    for b, i, j, k in itertools.product(range(2), range(5), range(5), range(5)):
        point = (torch.tensor([i, j, k]) + 0.5) / 5
        assert owner[b, i, j, k] == powers(site[b], metric[b], weight[b], point).argmin()


def test_equal_weights_make_a_voronoi_tessellation(diagram):
    site = diagram[0]
    owner = owners(site, torch.ones(2, 3), torch.full((2, 7), 0.3), voxel_centres(10).expand(3, -1))
    assert torch.equal(owner, nearest_site(site, 10))


def test_the_loss_is_the_formula_voxel_by_voxel(diagram):
    site, metric, weight = (part.double() for part in diagram)
    ids, member = grains()
    found = assignment_loss(site, metric, weight, torch.tensor(9.0, dtype=torch.float64), ids, member)
    for b in range(2):
        total = 0.0
        for i, j, k in itertools.product(range(6), repeat=3):
            share = (-9.0 * powers(site[b], metric[b], weight[b], (torch.tensor([i, j, k]) + 0.5) / 6)).softmax(0)
            total -= float(share[member[b, :, ids[b, i, j, k]]].sum().log())
        assert float(found[b]) == pytest.approx(total / 216, rel=1e-4)


@pytest.mark.parametrize("edge", [6, 7])
@pytest.mark.parametrize("sharpness", [9.0, 300.0])
def test_compiled_loss_and_gradients_are_those_of_tensor_operations(diagram, monkeypatch, edge, sharpness):
    ids, member = grains(edge)
    inputs = [part.double().requires_grad_() for part in (*diagram, torch.tensor(sharpness))]
    results = []
    for compiled in (True, False):
        monkeypatch.setattr(power_diagram, "compiled_here", lambda tensor, compiled=compiled: compiled)
        loss = assignment_loss(*inputs, ids, member)
        results.append([loss.detach(), *torch.autograd.grad(loss @ torch.tensor([1.0, -2.0], dtype=torch.float64), inputs)])
    for mine, other in zip(*results, strict=True):
        assert torch.allclose(mine, other, rtol=1e-4, atol=min(1e-4, 1e-5 * float(other.abs().max())))  # shares below exp(-12) are left out


def test_a_site_that_is_no_number_spoils_its_volume_element_alone(diagram):
    site, metric, weight = diagram
    site = site.index_fill(0, torch.tensor([1]), torch.nan)
    loss = assignment_loss(site, metric, weight, torch.tensor(9.0), *grains())
    assert loss.isnan().tolist() == [False, True]


def test_a_perfect_diagram_costs_nothing(diagram):
    site, _, weight = diagram
    ids = owners(site, torch.ones(2, 3), weight, voxel_centres(8).expand(3, -1))
    member = torch.eye(7, dtype=torch.bool).expand(2, -1, -1)
    assert float(assignment_loss(site, torch.ones(2, 3), weight, torch.tensor(1e6), ids, member).max()) < 1e-2
