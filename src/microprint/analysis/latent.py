"""What a latent space holds: paths, principal components, clusters, neighbours, its parts, linear probes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from microprint.analysis.regression import r2, ridge
from microprint.errors import UserError
from microprint.microstructures.periodic import voxel_centres, wrap
from microprint.microstructures.polycrystal import COMPONENTS, generate
from microprint.microstructures.volume_elements import VolumeElements
from microprint.orientations import disorientation, from_euler, reduce

ACTIVE_VARIANCE = 0.01  # Burda, Grosse & Salakhutdinov 2016, section 5.2
NEIGHBOURS = 12  # of a seed: as many as in a close packing
FOLDS, REPEATS = 5, 5
SHUFFLES = 200
RESPONSE_EDGE = 16  # voxels at which the response of a decoder is drawn
BLUR_DEG = (2.0, 15.0)
SCATTER_DEG = 5.0  # of S1's textures, about each Euler angle


# --- paths -----------------------------------------------------------------------------------------------------------


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


PATHS: Mapping[str, Callable[[Tensor, Tensor, int], Tensor]] = {"linear": linear_path, "spherical": spherical_path}


def degrees_between(fields: Tensor, other: Tensor, symmetry: str) -> Tensor:
    """Mean disorientation (T,) in degrees between orientation fields (T, n, n, n, 4) and one (n, n, n, 4) or as many."""
    return torch.rad2deg(disorientation(fields, other.expand_as(fields), symmetry)).flatten(1).mean(1)


def blur(fields: Tensor, symmetry: str) -> Tensor:
    """Share (T,) of neighbouring voxels of fields (T, n, n, n, 4) whose orientations differ by 2 to 15 degrees.

    A polycrystal without texture has next to none: voxels of a grain agree, and 98 % of the boundaries between grains are
    steeper (Mackenzie 1958, doi:10.1093/biomet/45.1-2.229). Where a decoder blends grains there are many.
    """
    angles = torch.stack([torch.rad2deg(disorientation(fields, fields.roll(-1, axis), symmetry)) for axis in (1, 2, 3)], 1)
    return ((angles > BLUR_DEG[0]) & (angles < BLUR_DEG[1])).float().flatten(1).mean(1)


# --- components and clusters -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PrincipalComponents:
    """Principal components of fingerprints."""

    mean: Tensor  # (d,)
    axes: Tensor  # (m, d) orthonormal, the one of the largest variance first
    explained: Tensor  # (m,) share of the variance along each axis

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


def textured_as_s1(component: str, count: int, edge: int, generator: torch.Generator) -> VolumeElements:
    """S1's textured volume elements: normal noise on the Euler angles of a component, upwards where one is zero.

    Where the noise goes to both sides, as in real textures, an angle near zero in one grain is near a whole turn in the next.
    """
    bare, mean = generate(count, edge, "cubic", generator), torch.tensor(COMPONENTS[component])
    noise = SCATTER_DEG * torch.randn((*bare.quaternion.shape[:-1], 3), generator=generator)
    angles = torch.deg2rad(mean + torch.where(mean == 0, noise.abs(), noise))
    return VolumeElements(bare.grain_id, reduce(from_euler(angles), "cubic"), bare.grains, "cubic")


def spectral_clusters(points: Tensor, count: int, neighbours: int, seed: int) -> Tensor:
    """Cluster numbers (N,) of points (N, m) by spectral clustering of their nearest-neighbour graph (S1, section 3.3.3).

    Raises `UserError` if there are fewer points than clusters.
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


def log_power(z: Tensor, parts: Mapping[str, slice], seeds: int) -> Tensor:
    """Logarithm of the squares of fingerprints (N, d); for the seeds, of their power spectrum along the lattice.

    Random orientations give every number of a fingerprint a random sign, and a shift of the volume element moves what a
    seed holds to the next (the anchors are a rank-one lattice); grain size and shape only show in how large numbers tend
    to be, and over which distance they change. The small constant keeps a number near zero from outweighing all others;
    fingerprints of a collapsed model, all zero, have a finite logarithm, too. What the numbers are, as in
    `Fingerprint.parts`, and how many seeds they hold: nothing and 0 for S1's network.
    """
    values = [z]
    if "seeds" in parts:
        spectrum = torch.fft.rfft(by_seed(z[:, parts["seeds"]], seeds), dim=1, norm="ortho").abs()
        values = [*(z[:, part] for name, part in parts.items() if name != "seeds"), spectrum.flatten(1)]
    power = torch.cat(values, 1).square()
    return (power + 0.01 * power.mean()).clamp_min(torch.finfo(z.dtype).tiny).log()


def own_components(sets: Mapping[str, Tensor], count: int) -> list[Tensor]:
    """Each set's points (N_i, count) in the first principal components of all of them; sets (N_i, d)."""
    components = PrincipalComponents.fit(torch.cat(list(sets.values())))
    return [components.project(points, count) for points in sets.values()]


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


def accuracy_by_chance(labels: Tensor, clusters: Tensor, generator: torch.Generator, share: float = 0.95) -> float:
    """What `clustering_accuracy` does not exceed in a share of the cases where the classes are shuffled among the points.

    It is well above one over the number of classes: matching makes the best of every agreement, and two clusters agree with
    two classes in half of the points at least.
    """
    shuffled = (labels[torch.randperm(len(labels), generator=generator)] for _ in range(SHUFFLES))
    return float(torch.tensor([clustering_accuracy(some, clusters) for some in shuffled]).quantile(share))


def nearest_neighbours(queries: Tensor, pool: Tensor, count: int) -> Tensor:
    """Indices (N, count) into the pool (M, d) of the nearest to each query (N, d), the nearest first."""
    return torch.cdist(queries, pool).topk(count, largest=False).indices


def apart_from_nearest(
    elements: VolumeElements, pool: VolumeElements, codes: Tensor, pool_codes: Tensor, count: int = 4
) -> tuple[Tensor, Tensor]:
    """Mean disorientations (N,) in degrees of volume elements from those nearest in a pool by their codes, and from any."""

    def apart(others: Tensor) -> Tensor:
        pairs = zip(elements.orientations(), others, strict=True)
        return torch.stack([degrees_between(pool[some].orientations(), own, pool.symmetry).mean() for own, some in pairs])

    anyhow = torch.arange(len(elements) * count).unflatten(0, (-1, count)) % len(pool)
    return apart(nearest_neighbours(codes, pool_codes, min(count, len(pool)))), apart(anyhow)


def retrieved(sets: Sequence[Tensor]) -> float:
    """Share of the points of several sets (N_i, d) whose nearest neighbour among all others is of their own set."""
    points = torch.cat(list(sets))
    classes = torch.cat([torch.full((len(part),), number) for number, part in enumerate(sets)])
    distance = torch.cdist(points, points).fill_diagonal_(math.inf)
    return float((classes[distance.argmin(1)] == classes).float().mean())


def retrieved_by_chance(sets: Sequence[Tensor]) -> float:
    """What `retrieved` gives on average where every other point is as likely to be the nearest."""
    sizes = torch.tensor([len(part) for part in sets], dtype=torch.float64)
    return float((sizes * (sizes - 1)).sum() / (sizes.sum() * (sizes.sum() - 1)))


def active_units(mean: Tensor) -> int:
    """Latent numbers whose posterior mean (N, d) varies over the data; the others have collapsed onto the prior."""
    return int((mean.var(0) > ACTIVE_VARIANCE).sum())


# --- the parts of a fingerprint --------------------------------------------------------------------------------------


def by_seed(numbers: Tensor, seeds: int) -> Tensor:
    """The seeds' numbers (N, M c), seed by seed, as (N, M, c)."""
    return numbers.unflatten(1, (seeds, -1))


def neighbourhoods(numbers: Tensor, anchors: Tensor) -> Tensor:
    """Each seed's numbers (N, M, c) and those of its 12 nearest, (N, M, 13 c), its own first; anchors (M, 3), a lattice."""
    step = wrap(anchors - anchors[0]).norm(dim=1).argsort(stable=True)[: NEIGHBOURS + 1]
    return torch.cat([numbers.roll(-int(number), 1) for number in step], -1)


def moments(z: Tensor, parts: Mapping[str, slice], anchors: Tensor) -> Tensor:
    """What of fingerprints (N, d) a shift of the volume element leaves as it is, up to second order, (N, f).

    Means over the seeds of their numbers, of the products of two of them, and of the products of each with its like in
    each of the twelve nearest seeds; the numbers of the other parts and their squares (of S1's network: of all numbers).
    """
    whole = [z[:, part] for name, part in (parts or {"all": slice(None)}).items() if name != "seeds"]
    features = [*whole, *(numbers.square() for numbers in whole)]
    if "seeds" in parts:
        own = by_seed(z[:, parts["seeds"]], len(anchors))
        near = neighbourhoods(own, anchors).unflatten(-1, (-1, own.shape[-1]))[:, :, 1:]
        pairs = (own[:, :, None] * near).flatten(2)
        features += [values.mean(1) for values in (own, products(own), pairs)]
    return torch.cat(features, 1)


def products(numbers: Tensor) -> Tensor:
    """Products (..., c (c + 1) / 2) of any two of numbers (..., c), squares included."""
    first, second = torch.triu_indices(numbers.shape[-1], numbers.shape[-1])
    return numbers[..., first] * numbers[..., second]


def exchange(z: Tensor, numbers: slice) -> Tensor:
    """Fingerprints (N, d), some of whose numbers are those of the next fingerprint."""
    changed = z.clone()
    changed[:, numbers] = z.roll(-1, 0)[:, numbers]
    return changed


def responses(decode: Callable[[Tensor, int], Tensor], z: Tensor, exchanged: Sequence[slice], symmetry: str) -> list[Tensor]:
    """Disorientations (N, n, n, n) in degrees by which each exchange of numbers between fingerprints turns the voxels."""
    before = decode(z, RESPONSE_EDGE)
    after = (decode(exchange(z, numbers), RESPONSE_EDGE) for numbers in exchanged)
    return [torch.rad2deg(disorientation(before, fields, symmetry)) for fields in after]


def seed_numbers(part: slice, seed: int, seeds: int) -> slice:
    """Places in a fingerprint of the numbers of one seed; `part` is where those of all are."""
    size = (part.stop - part.start) // seeds
    return slice(part.start + size * seed, part.start + size * (seed + 1))


def seed_response(
    decode: Callable[[Tensor, int], Tensor], z: Tensor, part: slice, anchors: Tensor, symmetry: str, seeds: Sequence[int]
) -> Tensor:
    """Response (n, n, n) in degrees to an exchange of the numbers of one seed, mean over fingerprints (N, d) and some seeds.

    Every volume element is shifted so that the anchor of the exchanged seed lies in voxel (0, 0, 0).
    """
    turned = responses(decode, z, [seed_numbers(part, seed, len(anchors)) for seed in seeds], symmetry)
    shifts = [[-int(along) for along in (anchors[seed] * RESPONSE_EDGE).long()] for seed in seeds]
    return torch.stack([field.mean(0).roll(shift, (0, 1, 2)) for field, shift in zip(turned, shifts, strict=True)]).mean(0)


def by_distance(field: Tensor, unit: float) -> tuple[Tensor, Tensor]:
    """Distances (m,) from voxel (0, 0, 0), and means (m,) of a periodic field (n, n, n) over shells with these middles.

    The unit of distance is so many edges of the volume element; shells are half a unit wide.
    """
    along = wrap(voxel_centres(len(field)) - 0.5 / len(field)).square()
    distance = (along[:, None, None] + along[:, None] + along).sqrt().flatten() / unit
    shell = (2 * distance + 0.5).long()  # the first one is a ball about the origin
    total = torch.zeros(int(shell.max()) + 1).scatter_add_(0, shell, field.flatten().float())
    return torch.arange(len(total)) / 2, total / shell.bincount()


# --- linear probes ---------------------------------------------------------------------------------------------------


def linear_probe(z: Tensor, target: Tensor, z_test: Tensor, target_test: Tensor) -> float:
    """R2 on the test set of the best linear map from fingerprints (N, d) to targets (N,) or (N, m).

    With m targets R2 is one minus the ratio of the summed squares.
    """
    return r2(ridge(z, target, z_test), target_test)


def held_out_r2(z: Tensor, target: Tensor) -> float:
    """As `linear_probe`, every fifth fingerprint predicted from all others, in turn; raises `UserError` for fewer than ten."""
    if len(z) < 2 * FOLDS:
        raise UserError(f"{len(z)} fingerprints cannot be held out in {FOLDS} folds", "held_out_r2")
    fold = torch.arange(len(z)) % FOLDS
    predicted = torch.empty(target.shape, dtype=torch.float64)
    for number in range(FOLDS):
        out = fold == number
        predicted[out] = ridge(z[~out], target[~out], z[out])
    return r2(predicted, target)


def held_out_spread(z: Tensor, target: Tensor, generator: torch.Generator) -> float:
    """Standard deviation of `held_out_r2` over folds drawn anew."""
    orders = [torch.randperm(len(z), generator=generator) for _ in range(REPEATS)]
    return float(torch.tensor([held_out_r2(z[order], target[order]) for order in orders]).std())
