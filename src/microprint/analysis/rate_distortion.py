"""How many bytes a code of volume elements needs for how small an error."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from microprint.analysis.codes import Code, ListCode
from microprint.analysis.reconstruction import Reconstruction, reconstruction_error
from microprint.errors import UserError
from microprint.microstructures.volume_elements import VolumeElements
from microprint.networks.fingerprint_net import NUMBERS_A_SEED
from microprint.systems.fingerprint import Fingerprint

REACH = 6.0  # largest number that is kept, in standard deviations
EXACT_BITS = 32  # of a float, as which a number then is kept


class Point(NamedTuple):
    """What one code costs, and what it loses."""

    numbers: int
    bits: int  # of each
    disorientation_deg: float
    one_minus_abs_dot: float
    one_minus_abs_dot_raw: float

    @property
    def bytes(self) -> float:
        return self.numbers * self.bits / 8


def quantised(values: Tensor, bits: int) -> Tensor:
    """Values of a variance of about one, rounded to 2^bits equal steps between -`REACH` and `REACH`; exact at 32 bits.

    Raises `UserError` for fewer than two bits.
    """
    if bits < 2:
        raise UserError(f"{bits} bits a number", "bits", "Use 2 or more; 32 keep all of a float")
    if bits >= EXACT_BITS:
        return values
    step = 2 * REACH / (2**bits - 1)
    return ((values.clamp(-REACH, REACH) + REACH) / step).round() * step - REACH


def points(code: Code, elements: VolumeElements, bits: Sequence[int]) -> list[Point]:
    """Cost and loss of a code on volume elements, with so many bits for each of its numbers."""
    values, results = code.encode(elements), []
    for count in bits:
        summary = reconstruction_error(code.decode(quantised(values, count), elements.edge), elements).summary()
        measures = (summary[name] for name in Point._fields[2:])
        results.append(Point(values.shape[1], count, *measures))
    return results


def envelope(every: Sequence[Point]) -> list[Point]:
    """Those that no other beats with as few bytes, by their bytes."""
    best: list[Point] = []
    for point in sorted(every, key=lambda point: (point.bytes, point.disorientation_deg)):
        if not best or point.disorientation_deg < best[-1].disorientation_deg:
            best.append(point)
    return best


def bytes_for(every: Sequence[Point], degrees: float) -> float:
    """Fewest bytes with which a code errs by less than so many degrees; infinitely many where it never does."""
    return min((point.bytes for point in every if point.disorientation_deg < degrees), default=math.inf)


class FingerprintCode:
    """A fingerprint as it would be stored: without what the decoder does not need, each number of a variance of one.

    Of ours the volume averages, which follow from the seeds, are left out, and weights are kept as `ListCode` keeps them.
    """

    def __init__(self, fingerprint: Fingerprint, train: VolumeElements | None = None) -> None:
        self.fingerprint = fingerprint
        self.left_out = fingerprint.parts.get("averages", slice(0, 0)).stop
        self.weights = slice(0)
        if "seeds" in fingerprint.parts and fingerprint.network.free:
            self.weights = slice(fingerprint.parts["seeds"].start + NUMBERS_A_SEED, None, fingerprint.network.numbers)
        self.scale = torch.ones(()) if train is None else fingerprint.encode_set(train).std(0).clamp_min(1e-6)

    def encode(self, elements: VolumeElements) -> Tensor:
        """Numbers (N, m)."""
        whole = self.fingerprint.encode_set(elements) / self.scale
        whole[:, self.weights] = whole[:, self.weights].asinh()
        return whole[:, self.left_out :]

    def decode(self, code: Tensor, edge: int) -> Tensor:
        """Orientations (N, n, n, n, 4) on n = `edge` voxels."""
        whole = torch.cat([code.new_zeros(len(code), self.left_out), code], 1)
        whole[:, self.weights] = whole[:, self.weights].sinh()
        return self.fingerprint.decode(whole * self.scale, edge)


def swept(
    codes: dict[str, Callable[[int], Code]], elements: VolumeElements, sizes: Sequence[int], bits: Sequence[int]
) -> dict[str, list[Point]]:
    """Points of codes by name, each made for every one of the sizes in numbers."""
    return {name: [point for size in sizes for point in points(make(size), elements, bits)] for name, make in codes.items()}


def in_bytes(path: str | Path, symmetry: str, budget: int, bits: int) -> dict[str, Reconstruction]:
    """Reconstructions from no more than `budget` bytes, in numbers of so many bits: by ours, of a file, and a weighted list."""
    room = 8 * budget // bits
    ours = Fingerprint.load(path, symmetry=symmetry, latent_dim=room)
    codes: dict[str, Code] = {"ours": FingerprintCode(ours), "weighted list": ListCode("weighted", room)}

    def reconstruction(code: Code) -> Reconstruction:
        return lambda elements: code.decode(quantised(code.encode(elements), bits), elements.edge)

    return {f"{name}, {budget} bytes": reconstruction(code) for name, code in codes.items()}
