"""How much of a volume element survives its code: errors of orientation, and baselines at the same count of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from microprint.errors import UserError
from microprint.networks.spectral_code import SpectralCode
from microprint.orientations import EMBEDDING_SIZE, disorientation, embed, expand, one_minus_abs_dot, project, reduce
from microprint.systems.fingerprint import Fingerprint, VolumeSet

Reconstruction = Callable[[VolumeSet], Tensor]
NUMBERS_A_GRAIN = 6  # three of the centre, three of the orientation


# --- errors ----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class ReconstructionError:
    """Errors of reconstructed volume elements, voxel by voxel.

    Attributes
    ----------
    angle : (N, n, n, n) disorientation, in degrees.
    without_symmetry : (N, n, n, n) 1 - |q1 . q2| of the orientations as they stand in the fundamental zone.
    boundary : (N, n, n, n) whether the voxel has a neighbour of another grain.
    """

    angle: Tensor
    without_symmetry: Tensor
    boundary: Tensor

    def summary(self) -> dict[str, float]:
        """Means over all voxels: degrees of disorientation, S1's measure, and the share within 5 degrees.

        `one_minus_abs_dot` takes the nearest equivalent, 1 - cos(angle / 2); `one_minus_abs_dot_raw` is equation (2) of
        S1, which knows no symmetry and so also counts a jump across the fundamental zone as an error.
        """
        angle, boundary = self.angle, self.boundary
        return {
            "one_minus_abs_dot": float((1 - torch.cos(torch.deg2rad(angle) / 2)).mean()),
            "one_minus_abs_dot_raw": float(self.without_symmetry.mean()),
            "disorientation_deg": float(angle.mean()),
            "median_deg": float(angle.median()),
            "interior_deg": float(angle[~boundary].mean()),
            "boundary_deg": float(angle[boundary].mean()),
            "within_5_deg": float((angle < 5).float().mean()),
        }


def reconstruction_error(predicted: Tensor, elements: VolumeSet) -> ReconstructionError:
    """Compare reconstructed orientations (N, n, n, n, 4) with the volume elements they stand for.

    Raises
    ------
    UserError
        If the shapes differ.
    """
    truth = elements.orientations()
    if predicted.shape != truth.shape:
        raise UserError(f"reconstruction {tuple(predicted.shape)} of volume elements {tuple(truth.shape)}")
    angle = torch.rad2deg(disorientation(predicted, truth, elements.symmetry))
    zone = [reduce(q, elements.symmetry) for q in (predicted, truth)]
    return ReconstructionError(angle, one_minus_abs_dot(*zone), boundary_voxels(elements.grain_id))


def reconstruct(fingerprint: Fingerprint, elements: VolumeSet) -> Tensor:
    """Volume elements after encoding and decoding, (N, n, n, n, 4)."""
    return fingerprint.decode(fingerprint.encode(elements.grain_id, elements.quaternion), elements.grain_id.shape[-1])


def boundary_voxels(grain_id: Tensor) -> Tensor:
    """Whether one of the six neighbours (periodic) belongs to another grain; (N, n, n, n) to the same shape."""
    neighbours = [grain_id.roll(step, axis) for axis in (-3, -2, -1) for step in (-1, 1)]
    return torch.stack([grain_id != other for other in neighbours]).any(0)


# --- baselines -------------------------------------------------------------------------------------------------------

def constant_reconstruction(elements: VolumeSet) -> Tensor:
    """No information at all: every voxel has the orientation in the centre of the fundamental zone, (N, n, n, n, 4).

    For randomly oriented grains no other constant is better.
    """
    identity = torch.tensor([1.0, 0.0, 0.0, 0.0])
    return identity.expand(*elements.grain_id.shape, 4)


class LinearCode:
    """The best linear code of the orientation embedding, see `microprint.networks.spectral_code`.

    Parameters
    ----------
    elements : training set.
    numbers : size of the code.
    """

    def __init__(self, elements: VolumeSet, numbers: int = 256) -> None:
        self.symmetry, self.edge = elements.symmetry, elements.grain_id.shape[-1]
        self.code = SpectralCode(numbers, EMBEDDING_SIZE[self.symmetry])
        self.code.fit(map(self._embedding, _parts(elements)))

    def _embedding(self, elements: VolumeSet) -> Tensor:
        return expand(elements.grain_id, embed(elements.quaternion, self.symmetry))

    def encode(self, elements: VolumeSet) -> Tensor:
        """Codes (N, numbers)."""
        return torch.cat([self.code.encode(self._embedding(part)) for part in _parts(elements)])

    def decode(self, code: Tensor) -> Tensor:
        """Orientations (N, n, n, n, 4) in the fundamental zone."""
        embedding = self.code.decode(code, self.edge).movedim(1, -1)
        return reduce(project(embedding, self.symmetry), self.symmetry)


def grain_list_reconstruction(elements: VolumeSet, numbers: int = 256) -> Tensor:
    """The list of the largest grains, six numbers each, decoded as a periodic Voronoi tessellation, (N, n, n, n, 4).

    Each grain is kept as its centre of mass and its orientation; a voxel takes the orientation of the nearest centre.
    """
    count = max(numbers // NUMBERS_A_GRAIN, 1)
    return torch.cat([_tessellated(part, count) for part in _parts(elements)])


def _tessellated(elements: VolumeSet, count: int) -> Tensor:
    centre, volume = periodic_centres(elements.grain_id, elements.quaternion.shape[1])
    largest = volume.argsort(dim=1, descending=True)[:, :count]
    sites = centre.gather(1, largest[..., None].expand(-1, -1, 3))
    sites[volume.gather(1, largest) == 0] = torch.inf  # padded rows hold no voxel
    kept = elements.quaternion.gather(1, largest[..., None].expand(-1, -1, 4))
    owner = nearest_site(sites, elements.grain_id.shape[-1])
    return expand(owner, kept).movedim(1, -1)


def nearest_site(sites: Tensor, edge: int) -> Tensor:
    """Index (N, n, n, n) of the periodically nearest site, of sites (N, G, 3) in units of the edge."""
    axis = (torch.arange(edge) + 0.5) / edge
    squares = []
    for component in sites.unbind(-1):
        gap = (axis - component[..., None]).abs() % 1.0
        squares.append(torch.minimum(gap, 1 - gap).square().nan_to_num(torch.inf))  # (N, G, n)
    x, y, z = squares
    return (x[..., :, None, None] + y[..., None, :, None] + z[..., None, None, :]).argmin(1)


def periodic_centres(grain_id: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Centre of mass of every grain, (N, count, 3) in units of the edge, and its voxels, (N, count).

    On a circle the mean is the angle of the mean of exp(2 pi i x).
    """
    edge = grain_id.shape[-1]
    phase = torch.exp(2j * math.pi * (torch.arange(edge) + 0.5) / edge)
    coordinates = torch.stack(torch.meshgrid(phase, phase, phase, indexing="ij"), -1).reshape(1, -1, 3)
    owner = grain_id.flatten(1).long()
    sums = torch.zeros(len(grain_id), count, 3, dtype=phase.dtype)
    sums.scatter_add_(1, owner[..., None].expand(-1, -1, 3), coordinates.expand(len(grain_id), -1, -1))
    volume = torch.zeros(len(grain_id), count).scatter_add_(1, owner, torch.ones_like(owner, dtype=torch.float32))
    return sums.angle() / (2 * math.pi) % 1.0, volume


def _parts(elements: VolumeSet, size: int = 32) -> list[VolumeSet]:
    """Slices that bound the memory of the transforms."""
    return [elements[start : start + size] for start in range(0, len(elements), size)]


def errors_of(models: Mapping[str, Reconstruction], elements: VolumeSet) -> dict[str, ReconstructionError]:
    """Error of every model on one set."""
    return {name: reconstruction_error(model(elements), elements) for name, model in models.items()}


def reconstructions(fingerprints: Mapping[str, Fingerprint], train: VolumeSet, numbers: int) -> dict[str, Reconstruction]:
    """What the tables compare, from volume elements (N, n, n, n) to orientations (N, n, n, n, 4): baselines, then models.

    The linear code is fitted to the training set; the other baselines need none.
    """
    linear = LinearCode(train, numbers)
    return {
        "constant": constant_reconstruction,
        "linear": lambda elements: linear.decode(linear.encode(elements)),
        "grain list": partial(grain_list_reconstruction, numbers=numbers),
        **{name: partial(reconstruct, fingerprint) for name, fingerprint in fingerprints.items()},
    }
