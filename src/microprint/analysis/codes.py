"""Codes of volume elements that need no network: lists of grains, and the best linear code."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

from microprint.microstructures.periodic import centres, fitted_cells, fitted_sites, nearest_site
from microprint.microstructures.volume_elements import VolumeElements
from microprint.networks.seed_list import HEIGHT, orientation, rotation_numbers
from microprint.networks.spectral_code import SpectralCode
from microprint.orientations import EMBEDDING_SIZE, embed, expand, project, reduce

ListKind = Literal["grain", "fitted", "weighted"]
# Three of the orientation, three of the centre or site, and the site's weight.
NUMBERS_A_GRAIN: dict[ListKind, int] = {"grain": 6, "fitted": 6, "weighted": 7}


class Code(Protocol):
    """Numbers (N, m) of volume elements, each of a variance of about one, and back to orientations (N, n, n, n, 4)."""

    def encode(self, elements: VolumeElements) -> Tensor: ...

    def decode(self, code: Tensor, edge: int) -> Tensor: ...

    def reconstruct(self, elements: VolumeElements) -> Tensor:
        """Volume elements after encoding and decoding, (N, n, n, n, 4)."""
        return self.decode(self.encode(elements), elements.edge)


class ListCode(Code):
    """The list of the largest grains, decoded as a periodic tessellation.

    Each grain is kept as its orientation and its centre of mass; as the ``fitted`` site whose Voronoi cell has that centre;
    or as the ``weighted`` site whose Laguerre cell has that centre and the grain's volume. Where there are fewer grains than
    the list has room for, it repeats the largest. A weight is kept as its inverse hyperbolic sine: one set's weights are many
    times another's, and rounding must clip none.
    """

    def __init__(self, kind: ListKind, numbers: int) -> None:
        self.kind, self.count = kind, max(numbers // NUMBERS_A_GRAIN[kind], 1)
        self.height = HEIGHT * self.count ** (2 / 3)

    def encode(self, elements: VolumeElements) -> Tensor:
        """Numbers (N, count * 6 or 7): of each grain the position, the rotation vector and the weight."""
        return torch.cat([self._encode(part) for part in elements.parts()])

    def _encode(self, elements: VolumeElements) -> Tensor:
        centre, voxels = centres(elements.grain_id, elements.quaternion.shape[1])
        order = voxels.argsort(dim=1, descending=True)[:, torch.arange(self.count).clamp_max(voxels.shape[1] - 1)]
        share = voxels.gather(1, order) / voxels.sum(1, keepdim=True)
        repeated = (share == 0) | (torch.arange(self.count) >= voxels.shape[1])
        share = share.masked_fill(repeated, 0.0)
        site = centre.gather(1, order[..., None].expand(-1, -1, 3)).masked_fill(repeated[..., None], torch.inf)
        weight = torch.zeros_like(share)
        if self.kind == "fitted":
            site = fitted_sites(site, elements.edge)
        elif self.kind == "weighted":
            site, weight = fitted_cells(site, share / share.sum(1, keepdim=True), elements.edge)
        quaternion = reduce(elements.quaternion, elements.symmetry).gather(1, order[..., None].expand(-1, -1, 4))
        parts = [12**0.5 * (site % 1 - 0.5), rotation_numbers(quaternion), (self.height * weight[..., None]).asinh()]
        numbers = torch.cat(parts, -1)[..., : NUMBERS_A_GRAIN[self.kind]]
        return torch.where(repeated[..., None], numbers[:, :1], numbers).flatten(1)

    def decode(self, code: Tensor, edge: int) -> Tensor:
        """Orientations (N, n, n, n, 4) on n = `edge` voxels."""
        numbers = code.unflatten(1, (self.count, -1))
        owner = nearest_site(numbers[..., :3] / 12**0.5 + 0.5, edge, numbers[..., 6:].sinh().sum(-1) / self.height)
        return expand(owner, orientation(numbers[..., 3:6])).movedim(1, -1)


class LinearCode(Code):
    """The best linear code of the orientation embedding, fitted to a training set: `microprint.networks.spectral_code`."""

    def __init__(self, elements: VolumeElements, numbers: int = 256) -> None:
        self.symmetry = elements.symmetry
        channels = EMBEDDING_SIZE[self.symmetry]
        self.code = SpectralCode(min(numbers, channels * elements.edge**3), channels)
        self.code.fit(map(self._embedding, elements.parts()))

    def _embedding(self, elements: VolumeElements) -> Tensor:
        return expand(elements.grain_id, embed(elements.quaternion, self.symmetry))

    def encode(self, elements: VolumeElements) -> Tensor:
        """Codes (N, numbers)."""
        return torch.cat([self.code.encode(self._embedding(part)) for part in elements.parts()])

    def decode(self, code: Tensor, edge: int) -> Tensor:
        """Orientations (N, n, n, n, 4) in the fundamental zone, on n = `edge` voxels."""
        embedding = self.code.decode(code, edge).movedim(1, -1)
        return reduce(project(embedding, self.symmetry), self.symmetry)
