"""What a latent space holds: paths, principal components, clusters, neighbours, linear probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from microprint.errors import UserError

ACTIVE_VARIANCE = 0.01  # Burda, Grosse & Salakhutdinov 2016, section 5.2
RIDGES = tuple(10.0**power for power in range(-6, 5))


def linear_path(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Equally spaced fingerprints from `start` to `end`, (steps, d), both included (S1, section 3.3.1)."""
    share = torch.linspace(0, 1, steps, dtype=start.dtype)[:, None]
    return (1 - share) * start + share * end


def spherical_path(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """As `linear_path`, along the great circle, the norm growing linearly (Shoemake 1985, doi:10.1145/325334.325242).

    A straight line between two draws of a normal prior passes closer to the origin than any draw would; this one does not.
    """
    share = torch.linspace(0, 1, steps, dtype=start.dtype)[:, None]
    norms = start.norm(), end.norm()
    angle = torch.acos(((start @ end) / (norms[0] * norms[1])).clamp(-1, 1))
    if torch.sin(angle) < 1e-4:
        return linear_path(start, end, steps)
    directions = torch.sin((1 - share) * angle) * start / norms[0] + torch.sin(share * angle) * end / norms[1]
    return directions / torch.sin(angle) * ((1 - share) * norms[0] + share * norms[1])


@dataclass(frozen=True)
class PrincipalComponents:
    """Principal components of fingerprints.

    Attributes
    ----------
    mean : (d,)
    axes : (m, d) orthonormal, the one of the largest variance first.
    explained : (m,) share of the variance along each axis.
    """

    mean: Tensor
    axes: Tensor
    explained: Tensor

    @classmethod
    def fit(cls, z: Tensor) -> PrincipalComponents:
        """Components of fingerprints (N, d)."""
        mean = z.mean(0)
        _, singular, axes = torch.linalg.svd(z - mean, full_matrices=False)
        return cls(mean, axes, singular.square() / singular.square().sum())

    def project(self, z: Tensor, count: int) -> Tensor:
        """First `count` coordinates, (N, count)."""
        return (z - self.mean) @ self.axes[:count].T

    def needed(self, share: float) -> int:
        """Smallest number of components that hold a share of the variance."""
        return int((self.explained.cumsum(0) < share - 1e-6).sum()) + 1


def spectral_clusters(points: Tensor, count: int, neighbours: int, seed: int) -> Tensor:
    """Cluster numbers (N,) of points (N, m) by spectral clustering of their nearest-neighbour graph (S1, section 3.3.3).

    Raises
    ------
    UserError
        If there are fewer points than clusters.
    """
    if len(points) < count:
        raise UserError(f"{len(points)} points cannot form {count} clusters", "spectral_clusters")
    import warnings

    from sklearn.cluster import SpectralClustering

    method = SpectralClustering(
        count, affinity="nearest_neighbors", n_neighbors=min(neighbours, len(points) - 1), random_state=seed % 2**32
    )
    with warnings.catch_warnings():
        # A graph in several pieces is what well separated clusters look like.
        warnings.filterwarnings("ignore", message="Graph is not fully connected")
        return torch.from_numpy(method.fit_predict(points.double().numpy())).long()


def cluster_classes(sets: Sequence[Tensor], neighbours: int, seed: int) -> tuple[Tensor, Tensor]:
    """Class (N,) and cluster (N,) of the points of several sets (N_i, m), clustered together into as many clusters as sets."""
    classes = torch.cat([torch.full((len(points),), number) for number, points in enumerate(sets)])
    return classes, spectral_clusters(torch.cat(list(sets)), len(sets), neighbours, seed)


def log_power(z: Tensor) -> Tensor:
    """Logarithm of the squares of fingerprints (N, d).

    Random orientations give every number of a fingerprint a random sign; grain size and shape only show in how large it
    tends to be. The small constant keeps a number near zero from outweighing all others; fingerprints of a collapsed
    model, all zero, have a finite logarithm, too.
    """
    power = z.square()
    return (power + 0.01 * power.mean()).clamp_min(torch.finfo(z.dtype).tiny).log()


def confusion(labels: Tensor, clusters: Tensor, count: int) -> Tensor:
    """Members of class i (row) found in the cluster matched to class j (column), (count, count).

    Clusters have no names; they are matched to classes so that the most points agree (Kuhn 1955, the Hungarian method).
    """
    from scipy.optimize import linear_sum_assignment

    table = torch.bincount(labels * count + clusters, minlength=count**2).reshape(count, count)
    return table[:, linear_sum_assignment(table.numpy(), maximize=True)[1].tolist()]


def clustering_accuracy(labels: Tensor, clusters: Tensor) -> float:
    """Share of points whose cluster is the one matched to their class, see `confusion`."""
    count = int(max(labels.max(), clusters.max())) + 1
    return float(confusion(labels, clusters, count).diagonal().sum() / len(labels))


def nearest_neighbours(queries: Tensor, pool: Tensor, count: int) -> Tensor:
    """Indices (N, count) into the pool (M, d) of the nearest to each query (N, d), the nearest first."""
    return torch.cdist(queries, pool).topk(count, largest=False).indices


def active_units(mean: Tensor) -> int:
    """Latent numbers whose posterior mean (N, d) varies over the data; the others have collapsed onto the prior."""
    return int((mean.var(0) > ACTIVE_VARIANCE).sum())


def linear_probe(z: Tensor, target: Tensor, z_test: Tensor, target_test: Tensor) -> float:
    """R2 on the test set of the best linear map from fingerprints (N, d) to targets (N, m).

    Ridge regression; its penalty is the one of the smallest generalised cross-validation error on the training set
    (Golub, Heath & Wahba 1979, doi:10.1080/00401706.1979.10489751). With m targets R2 is one minus the ratio of the summed
    squares.
    """
    mean, centre = z.double().mean(0), target.double().mean(0)
    u, s, v = torch.linalg.svd(z.double() - mean, full_matrices=False)
    rotated = u.T @ (target.double() - centre)

    def shrunk(ridge: float) -> Tensor:
        # The smallest number stands in for the penalty of fingerprints that are all equal.
        return s / (s**2 + (ridge * s[0] ** 2).clamp_min(torch.finfo(s.dtype).tiny))

    def validation_error(ridge: float) -> float:
        gain = s * shrunk(ridge)
        residual = (target.double() - centre) - u @ (gain[:, None] * rotated)
        return float(residual.square().mean() / (1 - (gain.sum() + 1) / len(z)).square().clamp_min(1e-12))

    ridge = min(RIDGES, key=validation_error)
    weights = v.T @ (shrunk(ridge)[:, None] * rotated)
    predicted = (z_test.double() - mean) @ weights + centre
    truth = target_test.double()
    return float(1 - (predicted - truth).square().sum() / (truth - truth.mean(0)).square().sum())
