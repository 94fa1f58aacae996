"""Latent analysis against brute force and closed forms."""

import itertools
import math

import pytest
import torch
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold

from microprint import orientations
from microprint.analysis import latent as space
from microprint.analysis import regression
from microprint.errors import UserError
from microprint.microstructures import periodic
from microprint.microstructures.polycrystal import generate
from microprint.networks.seed_lattice import rank_one_lattice


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(6)


def test_paths_begin_and_end_where_they_should(generator):
    start, end = torch.randn(2, 10, generator=generator)
    for path in (space.linear_path(start, end, 5), space.spherical_path(start, end, 5)):
        assert torch.allclose(path[[0, -1]], torch.stack([start, end]), atol=1e-5)
    norms = space.spherical_path(start, end, 5).norm(dim=1)
    assert torch.allclose(norms, torch.linspace(float(start.norm()), float(end.norm()), 5), atol=1e-4)
    assert torch.allclose(space.spherical_path(start, 2 * start, 3)[1], 1.5 * start, atol=1e-5)


def test_principal_components_against_the_covariance(generator):
    z = torch.randn(200, 4, generator=generator) * torch.tensor([3.0, 1.0, 0.5, 0.1]) + 7
    found = space.PrincipalComponents.fit(z)
    values = torch.linalg.eigvalsh(torch.cov(z.T)).flip(0)
    assert torch.allclose(found.explained, values / values.sum(), atol=1e-5)
    assert torch.allclose(found.project(z, 4) @ found.axes + found.mean, z, atol=1e-4)
    assert found.needed(found.explained[0]) == 1 and found.needed(1.0) == 4


def test_matching_of_clusters_by_brute_force(generator):
    for _ in range(20):
        labels, clusters = torch.randint(3, (2, 30), generator=generator)
        best = max(
            float((torch.tensor(order)[clusters] == labels).float().mean()) for order in itertools.permutations(range(3))
        )
        assert space.clustering_accuracy(labels, clusters) == pytest.approx(best)


def test_chance_is_more_than_one_over_the_classes(generator):
    labels = torch.arange(2).repeat_interleave(20)
    assert 0.55 <= space.accuracy_by_chance(labels, labels, generator) <= 0.75
    assert space.accuracy_by_chance(labels, torch.zeros_like(labels), generator) == 0.5


def test_spectral_clustering_finds_separate_groups(generator):
    labels = torch.arange(3).repeat_interleave(15)
    points = torch.randn(45, 2, generator=generator) + 20 * torch.eye(3, 2)[labels]
    clusters = space.spectral_clusters(points, 3, neighbours=8, seed=1)
    assert space.clustering_accuracy(labels, clusters) == 1
    assert torch.equal(space.confusion(labels, clusters, 3), 15 * torch.eye(3, dtype=torch.long))
    with pytest.raises(UserError, match="2 points cannot form 3"):
        space.spectral_clusters(points[:2], 3, neighbours=8, seed=1)


def test_neighbours_by_brute_force(generator):
    pool = torch.randn(20, 3, generator=generator)
    query = torch.randn(3, generator=generator)
    distances = [(float((query - p).norm()), i) for i, p in enumerate(pool)]
    assert space.nearest_neighbours(query[None], pool, 4)[0].tolist() == [i for _, i in sorted(distances)[:4]]


def test_the_nearest_by_their_codes_are_no_others():
    elements = generate(6, 4, "cubic", torch.Generator().manual_seed(2))
    codes = torch.arange(6.0)[:, None]
    near, any_one = space.apart_from_nearest(elements[2:4], elements, codes[2:4], codes, count=1)
    assert near.abs().max() < 0.1  # of single precision: the nearest is the element itself
    first = [space.degrees_between(elements[k : k + 1].orientations(), elements[2 + k : 3 + k].orientations()[0], "cubic") for k in (0, 1)]
    torch.testing.assert_close(any_one, torch.cat(first))


def test_active_units(generator):
    mean = torch.randn(500, 3, generator=generator) * torch.tensor([1.0, 0.2, 0.01])
    assert space.active_units(mean) == 2


def test_linear_probe_reads_a_linear_target_and_no_noise(generator):
    z, z_test = torch.randn(2, 300, 20, generator=generator)
    weights = torch.randn(20, 2, generator=generator)
    assert space.linear_probe(z, z @ weights + 3, z_test, z_test @ weights + 3) > 0.9999
    noise, other = torch.randn(2, 300, 1, generator=generator)
    assert abs(space.linear_probe(z, noise, z_test, other)) < 0.1


def test_collapsed_fingerprints_can_be_analysed():
    """A model without information gives equal fingerprints: no component, no cluster, no error."""
    z = torch.zeros(12, 8)
    power = space.log_power(z, {}, 0)
    assert power.isfinite().all()
    components = space.PrincipalComponents.fit(power)
    assert components.project(power, 2).isfinite().all()
    labels, clusters = space.cluster_classes([z[:6, :2], z[6:, :2]], 3, 0)
    assert space.clustering_accuracy(labels, clusters) >= 0.5
    target = torch.randn(12, 1, generator=torch.Generator().manual_seed(0))
    assert space.linear_probe(z, target, z, target) == pytest.approx(0)


# --- paths -----------------------------------------------------------------------------------------------------------


def layers(angles_deg: list[float]) -> torch.Tensor:
    """Field (1, n, n, n, 4) whose layers along x are turned about z by these angles."""
    turns = torch.deg2rad(torch.tensor(angles_deg))[:, None] * torch.tensor([0.0, 0.0, 1.0])
    n = len(angles_deg)
    return orientations.from_rotation_vector(turns)[None, :, None, None].expand(1, n, n, n, 4)


def test_blur_counts_gentle_steps_alone():
    # Steps along x: 10, 20, 10 degrees and 40 back; a third of the neighbours are along x.
    assert space.blur(layers([0, 10, 30, 40]), "cubic").item() == pytest.approx(2 / 4 / 3)
    assert space.blur(layers([0, 0, 30, 30]), "cubic").item() == 0


def test_degrees_between_fields():
    apart = space.degrees_between(torch.cat([layers([0, 10, 30, 40]), layers([0, 90, 0, 0])]), layers([0, 0, 0, 0])[0], "cubic")
    assert apart.tolist() == pytest.approx([20, 0], abs=0.05)


# --- what is invariant -----------------------------------------------------------------------------------------------

ANCHORS = rank_one_lattice(41).float()
PARTS = {"averages": slice(0, 2), "seeds": slice(2, 2 + 41 * 6)}


def test_power_of_seeds_stays_where_they_move_on_and_change_sign(generator):
    z = torch.randn(5, 2 + 41 * 6, generator=generator)
    moved = -torch.cat([z[:, :2], space.by_seed(z[:, 2:], 41).roll(7, 1).flatten(1)], 1)
    power = space.log_power(z, PARTS, 41)
    assert torch.allclose(space.log_power(moved, PARTS, 41), power, atol=1e-3)
    assert torch.allclose(power[:, :2].exp().diff(dim=0), z[:, :2].square().diff(dim=0), atol=1e-4)


def test_neighbours_of_a_seed_are_its_nearest_everywhere():
    numbers = torch.arange(41.0)[None, :, None]
    around = space.neighbourhoods(numbers, ANCHORS)
    assert torch.equal(around[..., :1], numbers) and around.shape == (1, 41, 13)
    for seed in (0, 5, 40):
        offset = ANCHORS - ANCHORS[seed]
        distance = (offset - offset.round()).norm(dim=1)
        found = distance[around[0, seed].long()]
        assert torch.allclose(found.sort().values, distance.sort().values[:13], atol=1e-5)


# --- neighbours, responses -------------------------------------------------------------------------------------------


def test_retrieval_by_hand_and_by_chance(generator):
    sets = [torch.tensor([[0.0], [1.0], [9.0]]), torch.tensor([[10.0], [11.0]])]
    assert space.retrieved(sets) == pytest.approx(3 / 5)  # 9 finds 10 and 10 finds 9
    assert space.retrieved_by_chance(sets) == pytest.approx((3 * 2 + 2 * 1) / (5 * 4))
    noise = list(torch.randn(2, 400, 3, generator=generator))
    assert space.retrieved(noise) == pytest.approx(space.retrieved_by_chance(noise), abs=0.06)


def test_response_of_a_decoder_that_draws_each_seed_alone():
    """A seed's first number is the angle about z of the voxels nearest to its anchor: an exchange turns those, no others."""
    n = space.RESPONSE_EDGE
    nearest = periodic.nearest_site(ANCHORS[None], n)[0]

    def decode(z, edge):
        angle = space.by_seed(z[:, PARTS["seeds"]], 41)[:, nearest, 0]
        return orientations.from_rotation_vector(torch.deg2rad(angle)[..., None] * torch.tensor([0.0, 0.0, 1.0]))

    z = torch.zeros(2, 2 + 41 * 6)
    z[1] = 20
    whole, nothing = space.responses(decode, z, [PARTS["seeds"], PARTS["averages"]], "cubic")
    assert torch.allclose(whole, torch.full((2, n, n, n), 20.0), atol=0.05) and float(nothing.max()) < 0.05
    field = space.seed_response(decode, z, PARTS["seeds"], ANCHORS, "cubic", seeds=[0, 17, 40])
    assert field.mean() == pytest.approx(20 / 41, rel=0.1)
    unit = 41 ** (-1 / 3)
    distance, turned = space.by_distance(field, unit)
    assert distance[0] == 0 and turned[0] == pytest.approx(20, abs=0.05)
    assert float(turned[distance >= 1.5].max()) < 0.05


def test_shells_about_the_origin_of_a_periodic_volume():
    """Against distances counted one by one."""
    field = torch.rand(8, 8, 8, generator=torch.Generator().manual_seed(2))
    distance, mean = space.by_distance(field, 0.25)
    shells = [[] for _ in distance]
    for place in itertools.product(range(8), repeat=3):
        away = sum((min(i, 8 - i) / 8) ** 2 for i in place) ** 0.5
        shells[int(2 * away / 0.25 + 0.5)].append(float(field[place]))
    assert mean.tolist() == pytest.approx([sum(shell) / len(shell) for shell in shells])


# --- probes ----------------------------------------------------------------------------------------------------------


def test_held_out_r2(generator):
    z = torch.randn(100, 8, generator=generator)
    assert space.held_out_r2(z, z @ torch.randn(8, generator=generator) + 2) > 0.9999
    assert space.held_out_r2(z, torch.randn(100, generator=generator)) < 0.1
    with pytest.raises(UserError, match="8 fingerprints cannot be held out"):
        space.held_out_r2(z[:8], z[:8, 0])


def test_spread_over_folds_is_nil_for_a_line_and_not_for_noise(generator):
    z, target = torch.randn(60, 4, generator=generator), torch.randn(60, generator=generator)
    assert space.held_out_spread(z, z @ torch.ones(4), generator) < 1e-4 < space.held_out_spread(z, target, generator)


def test_ridge_at_no_penalty_is_least_squares(generator):
    """With far more than enough, exact data the smallest penalty wins and the normal equations give the same."""
    z, asked = torch.randn(2, 50, 4, generator=generator, dtype=torch.float64)
    target = z @ torch.randn(4, 2, generator=generator, dtype=torch.float64) + 1
    ones = torch.ones(50, 1, dtype=torch.float64)
    weights = torch.linalg.lstsq(torch.cat([z, ones], 1), target).solution
    assert torch.allclose(regression.ridge(z, target, asked), torch.cat([asked, ones], 1) @ weights, atol=1e-4)
    assert regression.ridge(z, target[:, 0], asked).shape == (50,)


@pytest.mark.parametrize("count", [20, 200])
def test_ridge_is_scikit_learn_s(generator, count):
    """With fewer samples than features and with more; the penalty by the same folds."""
    z, target = torch.randn(count, 40, generator=generator).double(), torch.randn(count, 2, generator=generator).double()
    target += z[:, :2]
    known, asked = (z - z.mean(0)) / z.std(0), torch.randn(9, 40, generator=generator).double()
    folds = KFold(5, shuffle=True, random_state=0)
    model = RidgeCV(regression.PENALTIES, cv=folds, scoring="neg_mean_squared_error").fit(known.numpy(), target.numpy())
    expected = model.predict(((asked - z.mean(0)) / z.std(0)).numpy())
    torch.testing.assert_close(regression.ridge(z, target, asked), torch.from_numpy(expected), rtol=1e-6, atol=1e-8)


def test_moments_stay_where_seeds_move_on(generator):
    z = torch.randn(5, 2 + 41 * 6, generator=generator)
    moved = torch.cat([z[:, :2], space.by_seed(z[:, 2:], 41).roll(7, 1).flatten(1)], 1)
    found = space.moments(z, PARTS, ANCHORS)
    assert found.shape == (5, 2 + 2 + 6 + 21 + 12 * 6)
    assert torch.allclose(space.moments(moved, PARTS, ANCHORS), found, atol=1e-5)
    seeds = space.by_seed(z[:, 2:], 41)
    assert torch.allclose(found[:, 4 + 6 + 1], (seeds[..., 0] * seeds[..., 1]).mean(1), atol=1e-6)
    # A seed's nearest neighbours come first.
    offset = ANCHORS - ANCHORS[0]
    step = int((offset - offset.round()).norm(dim=1)[1:].argmin()) + 1
    expected = (seeds[..., 2] * seeds[:, (torch.arange(41) + step) % 41, 2]).mean(1)
    assert any(torch.allclose(found[:, 31 + 6 * k + 2], expected, atol=1e-6) for k in range(2))
    assert torch.equal(space.moments(z[:, :3], {}, ANCHORS), torch.cat([z[:, :3], z[:, :3].square()], 1))


def test_a_line_does_not_read_what_is_none(generator):
    z, z_test = 3 * torch.rand(2, 2000, 1, generator=generator)
    assert space.linear_probe(z, (4 * z).sin(), z_test, (4 * z_test).sin()) < 0.3


def test_noise_as_s1_adds_it_leaves_no_angle_below_zero():
    made = space.textured_as_s1("cube", 4, 8, torch.Generator().manual_seed(3))
    angles = torch.rad2deg(orientations.to_euler(made.quaternion[:, : int(made.grains.min())])).flatten(0, 1)
    assert float(angles.min()) > 0 and float(angles.max()) < 25
    # The mean of a normal distribution folded about zero.
    assert torch.allclose(angles.mean(0), torch.tensor(space.SCATTER_DEG * (2 / math.pi) ** 0.5), atol=0.8)
