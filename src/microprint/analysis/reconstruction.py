"""How much of a volume element survives its code: errors of orientation, and baselines at the same count of numbers."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from microprint.analysis.codes import NUMBERS_A_GRAIN, LinearCode, ListCode
from microprint.errors import UserError
from microprint.microstructures.volume_elements import VolumeElements
from microprint.orientations import disorientation, one_minus_abs_dot, reduce
from microprint.systems.fingerprint import Fingerprint

Reconstruction = Callable[[VolumeElements], Tensor]
CLOSE_DEG = 5.0  # disorientation that still counts as the same orientation
BIN_DEG = 0.01  # resolution of the median
BINS = 10_000  # up to 100 degrees; no cubic disorientation is above 62.8, no hexagonal one above 93.9


@dataclass(frozen=True)
class ReconstructionError:
    """Errors of reconstructed volume elements, summed over voxels, and of each by itself: a large set takes little memory.

    Errors of two sets are added with ``+``. Of `voxels`, `degrees` and `close` the first is over grain interiors, the second
    over boundary voxels, which have a neighbour of another grain.
    """

    voxels: Tensor  # (2,) their number
    degrees: Tensor  # (2,) sum of their disorientations
    close: Tensor  # (2,) number of those within 5 degrees
    histogram: Tensor  # (BINS,) disorientations of all voxels
    measures: Tensor  # (2,) sums of 1 - |q1 . q2|: of the nearest equivalents, and of orientations in the fundamental zone
    faces: Tensor  # (4,) between neighbouring voxels: all, grain boundaries of the original, of the reconstruction, of both
    each: Tensor  # (N,) mean disorientation of every volume element, in degrees

    def __add__(self, other: ReconstructionError) -> ReconstructionError:
        pairs = {name: (value, getattr(other, name)) for name, value in vars(self).items()}
        return ReconstructionError(**{name: torch.cat(pair) if name == "each" else sum(pair) for name, pair in pairs.items()})

    def excess(self, other: ReconstructionError) -> tuple[float, float]:
        """Mean and standard error, in degrees, of by how much this error is above another on the same volume elements."""
        difference = self.each - other.each
        error = float(difference.std() / len(difference) ** 0.5) if len(difference) > 1 else math.inf
        return float(difference.mean()), error

    def summary(self) -> dict[str, float]:
        """Means over all voxels: degrees of disorientation, S1's measure, the share within 5 degrees; and grain boundaries.

        * `one_minus_abs_dot` takes the nearest equivalent, 1 - cos(angle / 2); `one_minus_abs_dot_raw` is equation (2) of
          S1, which knows no symmetry and so also counts a jump across the fundamental zone as an error.
        * `boundary_overlap` is Dice's coefficient of two sets of voxel faces, 2 |A and B| / (|A| + |B|): those across which
          the original is disoriented by more than 5 degrees, and those across which the reconstruction is. Not 15 degrees,
          from where a boundary is a high-angle one: grains of a sharp texture differ by less. 1 is the same network of
          boundaries, also where there is none. `boundary_overlap_chance` is what as many faces as B has would score if
          they lay anywhere, 2 a b / (a + b) with the shares a and b of A and B in all faces.
        """
        count, degrees, close = (float(x.sum()) for x in (self.voxels, self.degrees, self.close))
        nearest, raw = (self.measures / count).tolist()
        interior_deg, boundary_deg = (self.degrees / self.voxels).tolist()
        interior_close, boundary_close = (self.close / self.voxels).tolist()
        every, original, reconstructed, both = self.faces.tolist()
        either = original + reconstructed
        median_bin = int(torch.searchsorted(self.histogram.cumsum(0), self.histogram.sum() / 2))
        return {
            "one_minus_abs_dot": nearest,
            "one_minus_abs_dot_raw": raw,
            "disorientation_deg": degrees / count,
            "median_deg": (median_bin + 0.5) * BIN_DEG,
            "interior_deg": interior_deg,
            "boundary_deg": boundary_deg,
            "within_5_deg": close / count,
            "interior_within_5_deg": interior_close,
            "boundary_within_5_deg": boundary_close,
            "boundary_overlap": 2 * both / either if either else 1.0,
            "boundary_overlap_chance": 2 * original * reconstructed / (every * either) if either else 1.0,
        }


def reconstruction_error(predicted: Tensor, elements: VolumeElements) -> ReconstructionError:
    """Compare reconstructed orientations (N, n, n, n, 4) with the volume elements; raises `UserError` if the shapes differ."""
    truth, symmetry = elements.orientations(), elements.symmetry
    if predicted.shape != truth.shape:
        raise UserError(f"reconstruction {tuple(predicted.shape)} of volume elements {tuple(truth.shape)}")
    angle = torch.rad2deg(disorientation(predicted, truth, symmetry)).double()
    raw = one_minus_abs_dot(reduce(predicted, symmetry), reduce(truth, symmetry)).double()
    boundary = boundary_voxels(elements.grain_id)
    places = torch.stack([~boundary, boundary]).flatten(1).double()
    before, after = boundary_faces(truth, symmetry), boundary_faces(predicted, symmetry)
    return ReconstructionError(
        voxels=places.sum(1),
        degrees=places @ angle.flatten(),
        close=places @ (angle < CLOSE_DEG).double().flatten(),
        histogram=torch.histc(angle, BINS, 0, BINS * BIN_DEG),
        measures=torch.stack([(1 - torch.cos(torch.deg2rad(angle) / 2)).sum(), raw.sum()]),
        faces=torch.stack([torch.ones_like(before), before, after, before & after]).flatten(1).sum(1).double(),
        each=angle.flatten(1).mean(1),
    )


def boundary_faces(q: Tensor, symmetry: str, above_deg: float = CLOSE_DEG) -> Tensor:
    """Whether orientations (N, n, n, n, 4) differ by more than so many degrees across each voxel face, (3, N, n, n, n).

    The faces are those towards the next voxel along x, y and z (periodic), so that each is counted once.
    """
    return torch.stack([disorientation(q, q.roll(-1, axis), symmetry) > math.radians(above_deg) for axis in (1, 2, 3)])


def reconstruct(fingerprint: Fingerprint, elements: VolumeElements) -> Tensor:
    """Volume elements after encoding and decoding, (N, n, n, n, 4)."""
    return fingerprint.decode(fingerprint.encode(elements.grain_id, elements.quaternion), elements.edge)


def boundary_voxels(grain_id: Tensor) -> Tensor:
    """Whether one of the six neighbours (periodic) belongs to another grain; (N, n, n, n) to the same shape."""
    neighbours = [grain_id.roll(step, axis) for axis in (-3, -2, -1) for step in (-1, 1)]
    return torch.stack([grain_id != other for other in neighbours]).any(0)


def constant_reconstruction(elements: VolumeElements) -> Tensor:
    """No information at all: every voxel has the orientation in the centre of the fundamental zone, (N, n, n, n, 4).

    For randomly oriented grains no other constant is better.
    """
    return torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(*elements.grain_id.shape, 4)


def errors_of(models: Mapping[str, Reconstruction], elements: VolumeElements) -> dict[str, ReconstructionError]:
    """Error of every model on one set, of any size: it is worked through in parts."""
    parts = ({name: reconstruction_error(model(part), part) for name, model in models.items()} for part in elements.parts())
    return functools.reduce(lambda a, b: {name: a[name] + b[name] for name in a}, parts)


def reconstructions(fingerprints: Mapping[str, Fingerprint], train: VolumeElements, numbers: int) -> dict[str, Reconstruction]:
    """What the tables compare, from volume elements (N, n, n, n) to orientations (N, n, n, n, 4): baselines, then models.

    The linear code is fitted to the training set; the other baselines need none.
    """
    return {
        "constant": constant_reconstruction,
        "linear": LinearCode(train, numbers).reconstruct,
        **{f"{kind} list": ListCode(kind, numbers).reconstruct for kind in NUMBERS_A_GRAIN},
        **{name: functools.partial(reconstruct, fingerprint) for name, fingerprint in fingerprints.items()},
    }
