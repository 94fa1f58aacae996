"""Our network: its lattice, its tokens, its diagram, and what a shift does to its fingerprint."""

import itertools

import pytest
import torch

from microprint import orientations
from microprint.microstructures.periodic import centres, fitted_sites, nearest_site, voxel_centres, wrap
from microprint.microstructures.polycrystal import generate
from microprint.networks.fingerprint_net import FingerprintNet, LatticeBlock, seeds_of, sublattice
from microprint.networks.grain_tokens import GrainTokens, deal
from microprint.networks.losses import gaussian_negative_log_likelihood, kl_divergence
from microprint.networks.power_diagram import soft_power_diagram
from microprint.networks.seed_lattice import differences, rank_one_lattice


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(3)


def network(numbers=64, symmetry="cubic"):
    torch.manual_seed(1)
    net = FingerprintNet(symmetry, numbers, heads=1, blocks=1, average_scale=2.0).eval()
    for layer in net.modules():
        if isinstance(layer, torch.nn.Linear):  # the silent layers of the beginning would prove little
            torch.nn.init.normal_(layer.weight, std=1.5 * layer.in_features**-0.5)
    return net


def polycrystals(count, edge, generator, symmetry="cubic"):
    elements = generate(count, edge, symmetry, generator)
    return elements.grain_id, elements.quaternion.nan_to_num()


# --- lattice ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("count", [1, 2, 7, 11])
def test_lattice_is_the_best_of_its_kind(count):
    def least(points):
        return float(wrap(points[1:]).square().sum(1).min()) if count > 1 else 0.0

    i = torch.arange(count)
    every = (torch.stack([i, i * p, i * q], 1) % count / count for p, q in itertools.product(range(count), repeat=2))
    lattice = rank_one_lattice(count)
    assert lattice.shape == (count, 3) and float(lattice[0].abs().max()) == 0
    assert least(lattice) == pytest.approx(max(map(least, every)), abs=1e-6)


def test_difference_of_points_is_the_point_of_the_difference():
    points = rank_one_lattice(9)
    found = wrap(points[None] - points[:, None] - points[differences(9)])
    assert torch.allclose(found, torch.zeros(9, 9, 3), atol=1e-6)


def test_a_block_commutes_with_shifts_of_the_lattice(generator):
    block = LatticeBlock(32, 7)
    for last in (block.from_attention, block.dense[-1]):
        torch.nn.init.normal_(last.weight, std=0.3)
    x = torch.randn(2, 7, 32, generator=generator)
    assert torch.allclose(block(x.roll(3, 1)), block(x).roll(3, 1), atol=1e-5)
    assert not torch.allclose(block(x[:, torch.randperm(7, generator=generator)]).sum(1), block(x).sum(1), atol=1e-3)


# --- tokens ----------------------------------------------------------------------------------------------------------

def test_deal_is_the_cheapest_pair_left_again_and_again(generator):
    cost = torch.rand(5, 4, 6, generator=generator)
    cost[1, :, 2:] = torch.inf
    for matrix, partner in zip(cost.tolist(), deal(cost).tolist(), strict=True):
        expected, rows, columns = [-1] * 4, set(range(4)), set(range(6))
        while rows:
            least, row, column = min((matrix[r][c], r, c) for r in rows for c in columns)
            if least == float("inf"):
                break
            expected[row] = column
            rows.remove(row), columns.remove(column)
        assert partner == expected


def test_tokens_tell_every_grain_where_there_are_no_more_than_anchors(generator):
    grain_id, quaternion = polycrystals(2, 12, generator)
    embedding = orientations.embed(quaternion, "cubic")
    tokens = GrainTokens(60, 9)
    features, average = tokens(grain_id, quaternion, embedding)
    site, turn = tokens.unlisted(features[..., :6])
    place, voxels = centres(grain_id, embedding.shape[1])
    place = fitted_sites(place.masked_fill(voxels[..., None] == 0, torch.inf), 12)
    for number in range(2):
        alone = features[number, :, 8].bool()
        grains = (voxels[number] > 0).nonzero()[:, 0]
        assert int((~alone).sum()) == len(grains)
        nearest = wrap(site[number][:, None] - place[number, grains]).square().sum(-1).min(1)
        assert sorted(nearest.indices[~alone].tolist()) == list(range(len(grains))) and float(nearest.values.max()) < 1e-8
        told = grains[nearest.indices]  # by all anchors, also by those that share a grain with another
        x, y, z = (tokens.anchors[alone] * 12).long().unbind(1)
        assert torch.equal(told[alone], grain_id[number, x, y, z])
        assert torch.allclose(features[number, :, 6] / 60, voxels[number, told] / 12**3, atol=1e-5)
        assert torch.allclose(features[number, :, 9:18] / tokens.unit, embedding[number, told], atol=1e-5)
        assert torch.allclose(orientations.from_rotation_vector(turn[number]), quaternion[number, told], atol=1e-5)
    assert torch.allclose(features[..., 18:], torch.zeros(()))  # no grain is left over
    assert torch.allclose(average, orientations.expand(grain_id, embedding).mean((2, 3, 4)), atol=1e-6)


def test_tokens_tell_the_mean_of_grains_left_over(generator):
    grain_id = torch.arange(8**3).reshape(1, 8, 8, 8)  # every voxel is a grain
    embedding = torch.randn(1, 8**3, 3, generator=generator)
    tokens = GrainTokens(5, 3)
    features, _ = tokens(grain_id, orientations.random((1, 8**3), generator), embedding)
    own = features[0, :, 9:12] / tokens.unit
    dealt = (embedding[0][None] - own[:, None]).abs().sum(-1).argmin(1)
    rest = embedding[0].clone()
    rest[dealt] = 0
    cell = nearest_site(tokens.anchors[None], 8).flatten()
    means = torch.stack([rest[cell == anchor].mean(0) for anchor in range(5)])
    assert torch.allclose(features[0, :, 12:] / tokens.unit, means, atol=1e-5)


def test_tokens_hardly_depend_on_the_resolution():
    coarse, fine = (generate(2, edge, "cubic", torch.Generator().manual_seed(5)) for edge in (12, 24))
    quaternion = coarse.quaternion.nan_to_num()
    tokens = GrainTokens(41, 9)
    same = [tokens(elements.grain_id, quaternion, orientations.embed(quaternion, "cubic"))[0] for elements in (coarse, fine)]
    assert float((same[0] - same[1]).abs().median()) < 0.05


# --- diagram ---------------------------------------------------------------------------------------------------------

def test_sharp_diagrams_are_voronoi_tessellations(generator):
    centre = torch.rand(2, 6, 3, generator=generator)
    value = torch.eye(6).expand(2, -1, -1)
    axes = voxel_centres(10).expand(3, -1)
    field = soft_power_diagram(centre, torch.full((2, 6, 3), 1e6), torch.zeros(2, 6), value, axes)
    assert torch.equal(field.argmax(1), nearest_site(centre, 10))
    assert float(field.amax(1).mean()) > 0.999


def test_diagram_is_the_formula_voxel_by_voxel(generator):
    centre, sharpness = torch.rand(1, 4, 3, generator=generator), 5 * torch.rand(1, 4, 3, generator=generator)
    weight, value = torch.randn(1, 4, generator=generator), torch.randn(1, 4, 2, generator=generator)
    axes = torch.rand(3, 5, generator=generator)
    field = soft_power_diagram(centre, sharpness, weight, value, axes)
    x = torch.stack([axes[0, 1], axes[1, 4], axes[2, 2]])
    images = torch.cartesian_prod(*3 * [torch.tensor([-1.0, 0.0, 1.0])])
    gaps = (x - centre[0] + images[:, None]).abs().amin(0)  # the nearest image, axis by axis
    share = (weight[0] - (sharpness[0] * gaps.square()).sum(-1)).softmax(0)
    assert torch.allclose(field[0, :, 1, 4, 2], share @ value[0], atol=1e-5)


# --- network ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(
    "numbers, symmetry, seeds", [(256, "cubic", 41), (256, "hexagonal", 38), (512, "cubic", 83), (64, "cubic", 9)]
)
def test_parts_fill_the_fingerprint(numbers, symmetry, seeds):
    assert seeds_of(numbers, orientations.EMBEDDING_SIZE[symmetry]) == seeds
    sizes = FingerprintNet(symmetry, numbers, heads=1, blocks=1, average_scale=1.0).sizes
    assert sum(sizes) == numbers and min(sizes) > 0 and sizes[2] == 6 * seeds


@pytest.mark.parametrize("symmetry", orientations.SYMMETRIES)
def test_it_begins_as_a_list_of_grains(symmetry, generator):
    """Untrained, it draws the Voronoi tessellation of the fitted sites, with the orientations of the grains."""
    torch.manual_seed(0)
    net = FingerprintNet(symmetry, 512, heads=1, blocks=1, average_scale=19.0)
    grain_id, quaternion = polycrystals(4, 16, generator, symmetry)
    with torch.no_grad():
        field = net.decode(net.encode(grain_id, quaternion)[0], voxel_centres(16).expand(3, -1)).movedim(1, -1)
    place, voxels = centres(grain_id, quaternion.shape[1])
    owner = nearest_site(fitted_sites(place.masked_fill(voxels[..., None] == 0, torch.inf), 16), 16)
    truth = orientations.expand(owner, quaternion).movedim(1, -1)
    angle = torch.rad2deg(orientations.disorientation(orientations.project(field, symmetry), truth, symmetry))
    assert float(angle.median()) < 1 and float((angle < 15).float().mean()) > 0.95


def test_averages_are_the_texture(generator):
    grain_id, quaternion = polycrystals(3, 8, generator)
    mean, log_variance = network().encode(grain_id, quaternion)
    embedding = orientations.embed(quaternion, "cubic")
    assert torch.allclose(mean[:, :9], 2.0 * orientations.expand(grain_id, embedding).mean((2, 3, 4)), atol=1e-5)
    assert mean.shape == log_variance.shape == (3, 64)


def test_a_shift_along_the_lattice_shifts_seeds_and_reconstruction(generator):
    """On 9 voxels an edge the lattice of 9 points falls on voxels: a shift by one point is a shift by voxels.

    Voxels half way between two anchors go to either, so the agreement is that of the cells, not of rounding.
    """
    grain_id = torch.randint(20, (2, 9, 9, 9), generator=generator)
    quaternion = orientations.reduce(orientations.random((2, 20), generator), "cubic")
    net = network()
    step = tuple((net.tokens.anchors[1] * 9).round().long().tolist())
    moved_id = grain_id.roll(step, (1, 2, 3))
    axes = voxel_centres(9).expand(3, -1)
    with torch.no_grad():
        plain, moved = net.encode(grain_id, quaternion)[0], net.encode(moved_id, quaternion)[0]
        seeds, moved_seeds = (z[:, -54:].unflatten(1, (9, 6)) for z in (plain, moved))
        assert torch.allclose(moved_seeds, seeds.roll(1, 1), atol=0.3)
        assert float((moved_seeds - seeds).abs().max()) > 3
        shifted = torch.cat([plain[:, :-54], seeds.roll(1, 1).flatten(1)], 1)
        field, moved_field = (net.decode(z, axes) for z in (plain, shifted))
    scale = float(field.abs().max())
    assert torch.allclose(moved_field, field.roll(step, (2, 3, 4)), atol=1e-3 * scale)
    assert not torch.allclose(moved_field, field, atol=0.1 * scale)


def test_any_resolution_is_drawn_from_one_fingerprint(generator):
    grain_id, quaternion = polycrystals(1, 8, generator)
    net = network()
    with torch.no_grad():
        z, _ = net.encode(grain_id, quaternion)
        coarse, fine = (net.decode(z, voxel_centres(n).expand(3, -1)) for n in (5, 15))
    assert torch.allclose(coarse, fine[..., 1::3, 1::3, 1::3], atol=1e-5)


def test_the_loss_compares_a_sublattice_of_fine_volume_elements(generator):
    grain_id = torch.arange(48**3).reshape(1, 48, 48, 48)
    compared, axes = sublattice(grain_id, generator)
    assert compared.shape == (1, 16, 16, 16)
    place = (axes * 48 - 0.5).round().long()
    assert torch.equal(compared[0, 3, 5, 7], grain_id[0, place[0, 3], place[1, 5], place[2, 7]])
    assert torch.equal(place.diff(dim=1), torch.full((3, 15), 3)) and int(place.max()) < 48


def test_the_loss_is_the_negative_evidence_lower_bound(generator):
    grain_id, quaternion = polycrystals(2, 8, generator)
    net = network()
    losses = net.losses({"grain_id": grain_id, "quaternion": quaternion}, torch.Generator().manual_seed(7))
    noise = torch.Generator().manual_seed(7)
    mean, log_variance = net.encode(grain_id, quaternion)
    torch.randint(1, (3,), generator=noise)  # of the sublattice
    z = mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=noise)
    target = orientations.expand(grain_id, orientations.embed(quaternion, "cubic"))
    reconstruction = net.decode(z, voxel_centres(8).expand(3, -1))
    likelihood = gaussian_negative_log_likelihood(reconstruction, target)
    kl = kl_divergence(mean, log_variance).sum(1).mean() / target[0].numel()
    assert float(losses["loss"].detach()) == pytest.approx(float((likelihood + kl).detach()), rel=1e-5)
    assert torch.equal(losses["loss"], losses["reconstruction"] + losses["kl"])


def test_it_learns(generator):
    """Eight volume elements again and again: less is lost than by the list of grains that it begins with."""
    grain_id, quaternion = polycrystals(8, 8, generator)
    torch.manual_seed(0)
    net = FingerprintNet("cubic", 256, heads=2, blocks=1, average_scale=19.0)
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    lost = []
    for _ in range(60):
        losses = net.losses({"grain_id": grain_id, "quaternion": quaternion}, generator)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        lost.append(float(losses["square_error"].detach()))
    assert lost[-1] < 0.7 * lost[0]
