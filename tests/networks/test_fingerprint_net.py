"""Our network: the numbers of its seeds, the weights that it expects, what it draws, and that it learns."""

import itertools

import pytest
import torch

from microprint import orientations
from microprint.microstructures.periodic import nearest_site, voxel_centres, wrap
from microprint.microstructures.polycrystal import generate
from microprint.networks import fingerprint_net
from microprint.networks.fingerprint_net import FingerprintNet, seeds_of
from microprint.networks.losses import kl_divergence
from microprint.networks.power_diagram import assignment_loss, owners
from microprint.networks.seed_lattice import rank_one_lattice
from microprint.networks.seed_list import (
    SeedList,
    cell_orientations,
    grain_metric,
    metric_numbers,
    metric_of,
    orientation,
    rotation_numbers,
)
from microprint.networks.weight_net import WeightNet


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(3)


def network(numbers=64, symmetry="cubic", grains=40.0):
    torch.manual_seed(1)
    net = FingerprintNet(symmetry, numbers, width=8, rounds=2, grains=grains).eval()
    torch.nn.init.normal_(net.weigh.last[-1].weight)  # weights of zero would prove little
    return net


def polycrystals(count, edge, generator, symmetry="cubic", **kind):
    elements = generate(count, edge, symmetry, generator, **kind)
    return elements.grain_id.long(), elements.quaternion


def degrees(net, grain_id, quaternion):
    """Mean disorientation of what is drawn."""
    with torch.no_grad():
        drawn = net.decode(net.encode(grain_id, quaternion)[0], voxel_centres(grain_id.shape[-1]).expand(3, -1))
    truth = orientations.expand(grain_id, quaternion).movedim(1, -1)
    return torch.rad2deg(orientations.disorientation(drawn, truth, net.symmetry)).flatten(1).mean(1)


# --- the list of seeds -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("count", [1, 2, 7, 11])
def test_lattice_is_the_best_of_its_kind(count):
    def least(points):
        return float(wrap(points[1:]).square().sum(1).min()) if count > 1 else 0.0

    i = torch.arange(count)
    every = (torch.stack([i, i * p, i * q], 1) % count / count for p, q in itertools.product(range(count), repeat=2))
    lattice = rank_one_lattice(count)
    assert lattice.shape == (count, 3) and float(lattice[0].abs().max()) == 0
    assert least(lattice) == pytest.approx(max(map(least, every)), abs=1e-6)


def test_numbers_and_what_they_stand_for(generator):
    seeds = SeedList(9)
    site = torch.rand(2, 9, 3, generator=generator)
    assert float(wrap(seeds.site(seeds.offset(site)) - site).abs().max()) < 1e-6
    q = orientations.reduce(orientations.random((2, 9), generator), "hexagonal")
    assert float(orientations.one_minus_abs_dot(orientation(rotation_numbers(q)), q).max()) < 1e-6
    metric = torch.tensor([[4.0, 1.0, 0.25], [0.5, 0.5, 4.0]])
    assert torch.allclose(metric_of(metric_numbers(metric)), metric)


def test_metric_of_equiaxed_and_of_elongated_grains(generator):
    equiaxed, _ = polycrystals(20, 16, generator)
    assert float(metric_numbers(grain_metric(equiaxed, 60)).norm(dim=1).mean()) < 0.02
    elongated, _ = polycrystals(20, 16, generator, morphology="elongated")
    metric = grain_metric(elongated, 20)
    assert torch.allclose(metric.prod(1), torch.ones(20))
    # Twice as long along x as wide: squared lengths in the ratio 4, less what the periodic cube cuts off.
    ratio = metric[:, 1:].mean(1) / metric[:, 0]
    assert 3 < float(ratio.mean()) < 4.6


def test_cells_lie_about_their_anchors_on_any_grid(generator):
    grain_id, quaternion = polycrystals(2, 32, generator)
    embedding = orientations.embed(quaternion, "cubic")
    seeds = SeedList(50)
    coarse, fine = (seeds.cells(ids, embedding) for ids in (grain_id[:, ::2, ::2, ::2], grain_id))
    assert fine.grain_id.shape == (2, 16, 16, 16)
    assert float(wrap(fine.centre - seeds.anchors).norm(dim=-1).mean()) < 0.6 * 50 ** (-1 / 3)
    assert torch.allclose(fine.volume.sum(1), torch.ones(2))
    assert coarse.shift == pytest.approx(0, abs=1e-7) and fine.shift == pytest.approx(0.5 / 32)  # every second voxel, the upper


def test_a_cell_has_the_orientation_of_most_of_its_voxels_or_their_mean():
    turn = torch.tensor([0.0, 2.0, 4.0, 40.0])
    q = orientations.from_euler(torch.deg2rad(torch.stack([turn, 0 * turn, 0 * turn], -1)))[None]
    q = orientations.reduce(q, "cubic")
    owner = torch.tensor([0] * 10 + [1] * 9).view(1, 19, 1, 1)
    ids = torch.tensor([3] * 8 + [0] * 2 + [0] * 3 + [1] * 2 + [2] * 4).view(1, 19, 1, 1)
    own = cell_orientations(owner, 2, ids, q, orientations.embed(q, "cubic"), "cubic")
    away = torch.rad2deg(orientations.disorientation(own[0][:, None], q, "cubic"))
    assert float(away[0, 3]) < 0.1  # eight of ten voxels
    assert 1.5 < float(away[1, 0]) < 2.6 and float(away[1, 2]) < 2.6  # between grains that hardly differ


# --- weights ---------------------------------------------------------------------------------------------------------

def test_expected_weights_do_not_change_where_everything_is_moved(generator):
    torch.manual_seed(0)
    net = WeightNet(8, 2)
    torch.nn.init.normal_(net.last[-1].weight)
    site, metric = torch.rand(2, 30, 3, generator=generator), torch.tensor([[1.0, 1.0, 1.0], [2.0, 1.0, 0.5]])
    weight = net(site, metric).detach()
    assert float(weight.std()) > 1e-5 and float(weight.mean(1).abs().max()) < 1e-6
    assert torch.allclose(net(site + 0.3, metric), weight, atol=1e-7)
    assert torch.allclose(net(1 - site, metric), weight, atol=1e-7)
    assert torch.allclose(net(site[..., [2, 0, 1]], metric[..., [2, 0, 1]]), weight, atol=1e-7)
    order = torch.randperm(30, generator=generator)
    assert torch.allclose(net(site[:, order], metric), weight[:, order], atol=1e-7)


# --- network ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(
    "numbers, symmetry, seeds, each",
    [(256, "cubic", 42, 6), (256, "hexagonal", 42, 6), (350, "cubic", 49, 7), (64, "cubic", 10, 6)],
)
def test_whole_seeds_fill_the_fingerprint(numbers, symmetry, seeds, each):
    assert seeds_of(numbers, 39.0) == (seeds, each)
    sizes = FingerprintNet(symmetry, numbers, width=8, rounds=1, grains=39.0).sizes
    assert sizes[0] == orientations.EMBEDDING_SIZE[symmetry] and numbers - each < sum(sizes[1:]) <= numbers and sizes[2] == each * seeds


def test_averages_are_the_texture_of_what_is_drawn(generator):
    grain_id, quaternion = polycrystals(3, 16, generator)
    net = FingerprintNet("cubic", 256, width=8, rounds=2, grains=40.0).eval()
    mean, log_variance = net.encode(grain_id, quaternion)
    drawn = net.decode(mean, voxel_centres(16).expand(3, -1))
    assert torch.allclose(mean[:, :9] / net.average_scale, orientations.embed(drawn, "cubic").mean((1, 2, 3)), atol=1e-3)
    truth = orientations.expand(grain_id, orientations.embed(quaternion, "cubic")).mean((2, 3, 4))
    assert (mean[:, :9] / net.average_scale - truth).square().mean() < 0.02 * truth.square().mean()
    assert mean.shape == log_variance.shape == (3, sum(net.sizes))


@pytest.mark.parametrize("symmetry", orientations.SYMMETRIES)
def test_seven_numbers_draw_tessellations_nearly_without_loss(symmetry, generator):
    """Nothing is learnt yet: weights are kept, and the steps down the gradient find them."""
    net = FingerprintNet(symmetry, 420, width=8, rounds=1, grains=39.0)
    assert net.numbers == 7 and float(degrees(net, *polycrystals(4, 16, generator, symmetry)).mean()) < 0.8


def test_few_large_grains_need_no_weights(generator):
    net = FingerprintNet("cubic", 256, width=8, rounds=1, grains=39.0)
    for kind in ("large", "elongated"):
        assert float(degrees(net, *polycrystals(4, 16, generator, morphology=kind)).mean()) < 1.5


def test_a_list_that_is_too_short_keeps_what_it_can(generator):
    """384 grains in 40 seeds: merged by likeness they are nearer than the mean of random orientations, some 40 degrees."""
    net = FingerprintNet("cubic", 256, width=8, rounds=1, grains=39.0)
    assert float(degrees(net, *polycrystals(2, 16, generator, morphology="small")).mean()) < 34


def test_the_steps_down_the_gradient_pay(generator, monkeypatch):
    given, net = polycrystals(4, 16, generator), FingerprintNet("cubic", 350, width=8, rounds=1, grains=39.0).eval()
    refined = degrees(net, *given).mean()
    monkeypatch.setattr(fingerprint_net, "STEPS", 0)
    assert float(refined) < 0.5 * float(degrees(net, *given).mean())


def test_elements_of_a_batch_do_not_see_each_other(generator):
    grain_id, quaternion = polycrystals(3, 16, generator)
    net = network()
    together, alone = net.encode(grain_id, quaternion)[0], net.encode(grain_id[1:2], quaternion[1:2])[0]
    assert torch.allclose(together[1], alone[0], atol=2e-2)


def test_any_resolution_is_drawn_from_a_fingerprint(generator):
    grain_id, quaternion = polycrystals(1, 16, generator)
    net = network()
    with torch.no_grad():
        z, _ = net.encode(grain_id, quaternion)
        coarse, fine = (net.decode(z, voxel_centres(n).expand(3, -1)) for n in (5, 15))
    assert torch.allclose(coarse, fine[:, 1::3, 1::3, 1::3], atol=1e-5)


def test_fine_volume_elements_are_kept_as_well_as_coarse_ones(generator):
    """The grid for fitting lies beside the voxels that it is made of, by half of one, which must be made good."""
    net = FingerprintNet("cubic", 350, width=8, rounds=1, grains=39.0).eval()
    grain_id, quaternion = polycrystals(3, 32, generator)
    coarse, fine = (degrees(net, ids, quaternion).mean() for ids in (grain_id[:, ::2, ::2, ::2], grain_id))
    assert float(coarse) < 0.5 and float(fine) < 1.5


def test_seeds_are_the_numbers(generator):
    """Site, orientation and a weight that is the expected one and what the seventh number adds."""
    net = network(numbers=72, grains=10.0)
    assert net.numbers == 7 and net.count == 10
    z = torch.randn(2, 81, generator=generator)
    seeds = net.seeds(z)
    numbers = z[:, 11:].unflatten(1, (10, 7))
    assert torch.allclose(seeds.site, net.seed_list.site(numbers[..., :3])) and torch.allclose(seeds.metric, metric_of(z[:, 9:11]))
    expected = net.weigh(seeds.site, seeds.metric)
    assert torch.allclose(seeds.weight - expected, numbers[..., 6] / net.seed_list.height, atol=1e-6)
    drawn = net.decode(z, voxel_centres(4).expand(3, -1))
    owner = owners(*seeds[:3], voxel_centres(4).expand(3, -1))
    assert torch.equal(drawn[1, 2, 3, 0], seeds.quaternion[1, owner[1, 2, 3, 0]])


def test_the_loss_is_the_negative_evidence_lower_bound(generator):
    grain_id, quaternion = polycrystals(2, 16, generator)
    net = network()
    losses = net.losses({"grain_id": grain_id, "quaternion": quaternion}, torch.Generator().manual_seed(7))
    mean, log_variance = net.encode(grain_id, quaternion)
    z = mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=torch.Generator().manual_seed(7))
    cells = net.seed_list.cells(grain_id, orientations.embed(quaternion, "cubic"))
    wrong = assignment_loss(*net.seeds(z)[:3], net.sharpness, cells.grain_id, cells.member).mean()
    kl = kl_divergence(mean, log_variance)[:, 9:].sum(1).mean() / 16**3
    # A rotation number of deviation s turns the orientation by s / 2 radians along each axis; 0.02 are tolerated.
    deviation = float((0.5 * log_variance[0, 9 + 2 + 3]).exp())
    turned = 3 * (deviation / 2) ** 2 / (2 * 0.02**2)
    assert float(losses["loss"].detach()) == pytest.approx(float((wrong + kl).detach()) + turned, rel=1e-4)


def test_mixed_precision_leaves_the_losses_alone(generator):
    """Two digits of a site are half a voxel; and on a GPU, equations in bfloat16 cannot be solved at all."""
    grain_id, quaternion = polycrystals(2, 16, generator)
    net, batch = network(), {"grain_id": grain_id, "quaternion": quaternion}
    exact = net.losses(batch, torch.Generator().manual_seed(7))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = net.losses(batch, torch.Generator().manual_seed(7))
    assert torch.equal(exact["loss"], mixed["loss"])


def test_it_learns_weights_from_sites(generator):
    """A minute's training on a few volume elements: less is drawn wrongly than where all weights are equal."""
    given = polycrystals(8, 16, generator)
    torch.manual_seed(0)
    net = FingerprintNet("cubic", 256, width=8, rounds=2, grains=39.0)
    before = degrees(net, *given).mean()
    optimizer = torch.optim.AdamW(net.parameters(), 2e-2)
    for _ in range(12):
        losses = net.losses(dict(zip(("grain_id", "quaternion"), given, strict=True)), generator)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    assert float(degrees(net, *given).mean()) < 0.8 * float(before)


def test_voronoi_cells_are_kept_by_six_numbers(generator):
    """Where the grains are the cells of their sites alone, nothing need be learnt."""
    site = rank_one_lattice(30)[None] + 0.06 * torch.randn(2, 30, 3, generator=generator)
    grain_id = nearest_site(site, 16)
    quaternion = orientations.reduce(orientations.random((2, 30), generator), "cubic")
    net = FingerprintNet("cubic", 183, width=8, rounds=1, grains=39.0)
    assert net.count == 30 and float(degrees(net, grain_id, quaternion).max()) < 0.5
