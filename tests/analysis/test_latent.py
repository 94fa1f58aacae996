"""Latent analysis against brute force and closed forms."""

import itertools

import pytest
import torch

from microprint.analysis import latent as space
from microprint.errors import UserError


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
        best = max(float((torch.tensor(order)[clusters] == labels).float().mean()) for order in itertools.permutations(range(3)))
        assert space.clustering_accuracy(labels, clusters) == pytest.approx(best)


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
    assert space.log_power(z).isfinite().all()
    components = space.PrincipalComponents.fit(space.log_power(z))
    assert components.project(z, 2).isfinite().all()
    labels, clusters = space.cluster_classes([z[:6, :2], z[6:, :2]], 3, 0)
    assert space.clustering_accuracy(labels, clusters) >= 0.5
    target = torch.randn(12, 1, generator=torch.Generator().manual_seed(0))
    assert space.linear_probe(z, target, z, target) == pytest.approx(0)
