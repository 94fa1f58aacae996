"""Polycrystals on demand: volume elements with a wanted stress response, drawn, refined by gradients, several for a target.

The unknown is a fingerprint: the seeds of a power diagram, each with an orientation. Its prior is conditioned on the wanted
properties c as a material is: cells know nothing of them, orientations follow mixtures of two training elements' textures,

    p(sites, weights, rotations | c) = p(sites, weights) sum_kl w_kl(c) prod_g (s f_k + (1 - s) f_l)(rotation_g),

f_k the texture of element k, its grains by their volumes, each scattered a little; s the share that by the rule of mixtures
brings s c_k + (1 - s) c_l nearest to c, and w_kl a Gaussian kernel in what is left. What is drawn is then turned, grain by
grain, as little as will do: Gauss-Newton steps of least norm through the surrogate, whose march is differentiated as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from microprint.arrays import Array, numbers, whole
from microprint.errors import UserError
from microprint.machine import in_threads
from microprint.mechanics.deviators import rotation
from microprint.microstructures.periodic import voxel_centres
from microprint.microstructures.volume_elements import VolumeElements, number_without_gaps, pad_orientations
from microprint.networks.power_diagram import owners
from microprint.networks.seed_list import rotation_numbers
from microprint.orientations import disorientation, embed, expand, from_rotation_vector, multiply, reduce
from microprint.systems.equilibrium import March
from microprint.systems.fingerprint import PAPERS, Fingerprint
from microprint.systems.surrogate import StressSurrogate

CYCLE = (0.5, 0.5, 0.5, 0.5)  # its matrix takes components along x, y, z for those along z, x, y
PAIRS, NEIGHBOURS = 4000, 8  # of training elements that are tried; a hundredth, or so many, lie within one kernel's width
SCATTER_DEG = 6.0  # standard deviation about each axis around the orientations of a training element
STEPS = 8  # of Gauss and Newton, at most
LONGEST_DEG, SHORTEST_DEG = 12.0, 0.5  # root mean square of the grains' turns in a step, at most, and where it ends
STALLED = 0.9  # of the gap, that a step leaves which hardly helped
CLOSE, MISSED = 1e5, 5e5  # Pa; a stress that is met so well needs no further step, and one that is not needs another start
REDRAWN = 1  # times, at most, that what has missed is drawn anew
REACH = 0.5  # of the range of the training elements, beyond which a target is refused
DAMPING = 1e-4  # of the step's equations, relative: properties that no grain can tell apart ask for no wild turns


@dataclass(frozen=True)
class StressProperty:
    """How much the stress along the load grows between two increments, Pa; its `name` is for tables and axes."""

    name: str
    late: int
    early: int = 0  # 0: the undeformed state, so that the property is a stress
    turns: int = 0  # of the sample, in which x takes the place of y, y of z and z of x: with 1, a load along x acts along z

    def of(self, curves: Tensor) -> Tensor:
        """The property (B,) of stress-strain curves (B, T + 1)."""
        return curves[:, self.late] - curves[:, self.early]


class Mixtures(NamedTuple):
    """K textures, each mixed of those of two training elements."""

    pair: Tensor  # (K, 2) their numbers
    share: Tensor  # (K,) of the first one


class Designs(NamedTuple):
    """K volume elements for one target."""

    fingerprints: Tensor  # (K, d), which `Fingerprint.decode` draws on any grid
    elements: VolumeElements
    predicted: Tensor  # (K, r) their properties by the surrogate, Pa
    turned_deg: Tensor  # (K,) root mean square of the turns of their grains in the search, weighed by volume


def turned(field: Tensor, turns: int) -> Tensor:
    """Fields (B, n, n, n, 4) of a sample of which x takes the place of y, y of z and z of x, so many times."""
    for _ in range(turns):
        field = multiply(field.permute(0, 3, 1, 2, 4), field.new_tensor(CYCLE))
    return field


def turned_elements(elements: VolumeElements, turns: int) -> VolumeElements:
    """The same of volume elements."""
    ids, quaternion = elements.grain_id[:], elements.quaternion
    for _ in range(turns):
        ids, quaternion = ids.permute(0, 3, 1, 2), multiply(quaternion, quaternion.new_tensor(CYCLE))
    return VolumeElements(ids.contiguous(), pad_orientations(quaternion, elements.grains), elements.grains, elements.symmetry)


def respond(surrogate: StressSurrogate, elements: VolumeElements, properties: Sequence[StressProperty]) -> Tensor:
    """Properties (N, r) of volume elements by the surrogate, Pa."""
    return torch.cat([_respond(surrogate, part.orientations(), properties) for part in elements.parts()])


def _respond(surrogate: StressSurrogate, field: Tensor, properties: Sequence[StressProperty]) -> Tensor:
    curves = {n: surrogate.predict_field(turned(field, n))[0] for n in {p.turns for p in properties}}
    return torch.stack([p.of(curves[p.turns]) for p in properties], 1)


def least_turn(residual: Tensor, jacobian: Tensor, volume: Tensor) -> Tensor:
    """Rotation vectors (G, 3) that change r properties by `residual` (r,), to first order, and the grains the least.

    The measure is the mean square of the turns over the `volume` (G,) of the grains; `jacobian` (r, G, 3) is the
    properties' derivative by them, all in one unit. Grains without volume stay.
    """
    slope = jacobian / volume.clamp_min(1e-12)[:, None] * (volume > 0)[:, None]  # what each metric-wise unit of turn gives
    normal = jacobian.flatten(1) @ slope.flatten(1).T
    damped = normal + DAMPING * normal.diagonal().mean() * torch.eye(len(normal)).to(normal)
    return (torch.linalg.solve(damped, residual)[:, None, None] * slope).sum(0)


def learnt(slopes: Tensor, turns: Tensor, change: Tensor, volume: Tensor) -> Tensor:
    """Least change of slopes (B, r, G, 3) after which turns (B, G, 3) explain a change (B, r) of the properties."""
    along = volume[..., None] * turns
    missed = change - torch.einsum("brga,bga->br", slopes, turns)
    return missed[..., None, None] * (along / (along * turns).sum((1, 2), keepdim=True).clamp_min(1e-12))[:, None]


def root_mean_square_deg(turns: Tensor, volume: Tensor) -> Tensor:
    """Root mean square (...) in degrees of rotation vectors (..., G, 3), weighed by volumes (..., G)."""
    return torch.rad2deg((volume * turns.square().sum(-1)).sum(-1).sqrt())


class PolycrystalDesign:
    """Volume elements with wanted properties, by the surrogate of notebook 06 and the fingerprint of notebook 03.

    Parameters
    ----------
    surrogate : of the material; its load is the one that the properties are about.
    fingerprint : ours, of the crystals' symmetry; what is designed are its seeds.
    elements : N training volume elements, of that symmetry, whose cells and textures designs are drawn from.
    properties : r properties that a target names.
    known : (N, r) the training elements' properties where they are known, by simulation, Pa; else the surrogate answers.

    Raises `UserError` for S1's fingerprint, which has no seeds, crystals of another symmetry than the fingerprint's, and less
    than two elements.

    >>> design = PolycrystalDesign(surrogate, fingerprint, elements, (StressProperty("P_xx", 20),))    # doctest: +SKIP
    >>> made = design.propose([95e6], count=4, generator=torch.Generator().manual_seed(0))    # doctest: +SKIP
    >>> simulate_cp(made.elements.grain_id, made.elements.quaternion, "Mg", surrogate.load_path)    # doctest: +SKIP
    """

    def __init__(
        self, surrogate: StressSurrogate, fingerprint: Fingerprint, elements: VolumeElements,
        properties: tuple[StressProperty, ...], known: Tensor | None = None,
    ):  # fmt: skip
        if fingerprint.variant in PAPERS:
            raise UserError("S1's fingerprint has no seeds", "fingerprint", "Load the model `ours`")
        if elements.symmetry != fingerprint.symmetry:
            what = f"{elements.symmetry or 'unnamed'} crystals, the fingerprint's are {fingerprint.symmetry}"
            raise UserError(what, "elements", "Load the fingerprint with `symmetry` of the volume elements")
        if len(elements) < 2:
            raise UserError("a single volume element has no textures to mix", "elements", "Give two at least")
        self.surrogate, self.fingerprint, self.elements = surrogate, fingerprint, elements
        self.properties, self.edge = properties, elements.edge
        self.known = respond(surrogate, elements, properties) if known is None else known
        self.scale = self.known.std(0).clamp_min(CLOSE)  # one measure for all properties

    # --- slopes -------------------------------------------------------------------------------------------------------

    def sensitivity(self, owner: Tensor, quaternion: Tensor) -> Tensor:
        """Derivative (B, r, G, 3), Pa, of the properties by small turns of all grains about the sample's axes, in radians.

        The grains of voxels are (B, n, n, n), their orientations (B, G, 4). Exact for the first law of the ensemble, without
        the correction: the others and the correction hardly change a slope, and a step need not know it better.
        """
        pairs = list(zip(owner, quaternion.double()))
        return torch.stack(in_threads(self._slopes, pairs, self.surrogate.device))

    @torch.enable_grad()
    def _slopes(self, owner: Tensor, quaternion: Tensor) -> Tensor:
        surrogate, slopes = self.surrogate, {}
        component = surrogate.component
        for turns in {p.turns for p in self.properties}:
            omega = torch.zeros_like(quaternion[:, :3], requires_grad=True)
            moved = multiply(quaternion, from_rotation_vector(omega))
            field = turned(expand(owner[None], moved[None]).movedim(1, -1), turns).to(surrogate.device, torch.float32)
            rotations = rotation(field).flatten(1, 3).permute(2, 3, 0, 1).contiguous()
            march = March(surrogate.laws.laws[0], rotations, len(owner), surrogate.iterations)
            curve = march.run(surrogate.load_path).P[:, :, component[0], component[1]]
            for p in (p for p in self.properties if p.turns == turns):
                slopes[p] = torch.autograd.grad(p.of(curve).sum(), omega, retain_graph=True)[0]
        return torch.stack([slopes[p] for p in self.properties])

    # --- the prior ----------------------------------------------------------------------------------------------------

    def mixtures(self, target: Array, count: int, generator: torch.Generator) -> Mixtures:
        """Textures for a target (r,) in Pa, drawn from the prior, no pair twice as long as there are others; raises `UserError`
        as `propose` does.

        The rule of mixtures is no law of polycrystals, but near enough to begin with, between training elements above all.
        """
        wanted, count = self._wanted(target) / self.scale, whole(count, "count")
        pair = torch.randint(len(self.elements), (PAIRS, 2), generator=generator).sort(1).values.unique(dim=0)
        first, second = (self.known / self.scale)[pair].unbind(1)
        way = first - second
        share = ((wanted - second) * way).sum(1) / way.square().sum(1).clamp_min(1e-12)
        share = share.clamp(0, 1)
        away = (second + share[:, None] * way - wanted).square().sum(1)
        width = away.kthvalue(max(len(pair) // 100, min(NEIGHBOURS, len(pair)))).values.clamp_min(1e-12)
        weight = torch.softmax(-0.5 * away / width, 0) + 1e-12  # so that there are as many as there are pairs
        chosen = torch.multinomial(weight, count, replacement=count > len(pair), generator=generator)
        return Mixtures(pair[chosen], share[chosen])

    def draw(self, target: Array, count: int, generator: torch.Generator) -> Tensor:
        """Fingerprints (count, d) of the prior for a target (r,) in Pa; raises `UserError` as `propose` does."""
        mixtures = self.mixtures(target, count, generator)
        cells = torch.randint(len(self.elements), (len(mixtures.share),), generator=generator)
        z = self.fingerprint.encode_set(self.elements[cells])
        drawn = [self._textured(pair, float(share), generator) for pair, share in zip(mixtures.pair, mixtures.share)]
        return self._with_orientations(z, torch.stack(drawn))

    def _wanted(self, target: Array) -> Tensor:
        wanted = numbers(target, "target", ("r",), dtype=torch.float64)
        if len(wanted) != len(self.properties):
            what = f"{len(wanted)} values for the properties {', '.join(p.name for p in self.properties)}"
            raise UserError(what, "target", "Give one value in Pa for each property")
        low, high = self.known.amin(0), self.known.amax(0)
        reach = REACH * (high - low)
        for value, least, most, p in zip(wanted, low - reach, high + reach, self.properties):
            if not least <= value <= most:
                what = f"{value / 1e6:.4g} MPa of {p.name}, far from all training elements"
                raise UserError(what, "target", f"Ask for {least / 1e6:.4g} to {most / 1e6:.4g} MPa")
        return wanted

    def _textured(self, pair: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """Orientations (M, 4) of as many seeds in any order: grains of the first and the second of a pair (2,) of elements.

        Grains are drawn at regular distances along their summed volumes (systematic sampling), so that the texture is theirs
        and no sharper, as by independent draws it would be; each is scattered a little.
        """
        count = len(self.fingerprint.anchors)
        counts = round(share * count), count - round(share * count)
        grains = []
        for number, many in zip(pair.tolist(), counts):
            element = self.elements[number : number + 1]
            voxels = element.grain_id[:].flatten().long().sort().values
            places = (torch.arange(many) + torch.rand((), generator=generator)) / max(many, 1)
            grains.append(element.quaternion[0, voxels[(places * len(voxels)).long()]].double())
        scatter = math.radians(SCATTER_DEG) * torch.randn((count, 3), generator=generator, dtype=torch.float64)
        return multiply(from_rotation_vector(scatter), torch.cat(grains)[torch.randperm(count, generator=generator)])

    def _with_orientations(self, z: Tensor, quaternion: Tensor) -> Tensor:
        """Fingerprints (B, d) with the orientations (B, M, 4) of their seeds, and the averages that follow from these."""
        fingerprint, z = self.fingerprint, z.clone()
        reduced = reduce(quaternion, fingerprint.symmetry)
        seeds = z[:, fingerprint.parts["seeds"]].unflatten(1, (len(fingerprint.anchors), -1))
        seeds[..., 3:6] = rotation_numbers(reduced).to(seeds)
        _, volume = self._cells(z)
        mean = (volume[..., None] * embed(reduced, fingerprint.symmetry)).sum(1)
        z[:, fingerprint.parts["averages"]] = (fingerprint.network.average_scale * mean).to(z)
        return z

    def _cells(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The seed of every voxel (B, n, n, n), and the seeds' shares of the volume (B, M)."""
        seeds = self.fingerprint.seeds(z)
        owner = owners(*seeds[:3], voxel_centres(self.edge).expand(3, -1))
        voxels = torch.nn.functional.one_hot(owner.flatten(1), seeds.weight.shape[1]).sum(1)
        return owner, voxels.double() / self.edge**3

    # --- the search ---------------------------------------------------------------------------------------------------

    def propose(self, target: Array, count: int, generator: torch.Generator, *, steps: int = STEPS) -> Designs:
        """Several volume elements for a target (r,) in Pa: drawn from the prior, then turned until the surrogate agrees.

        What ends in a dead end is drawn anew: grains whose c axes lie along the load have no slope that leads away.
        Raises `UserError` for a target that is not finite, has another number of values than there are properties, or lies
        far from what all training elements have. Whether a nearer one can be had shows in the designs' `predicted`.
        """
        wanted = self._wanted(target)
        z, _, predicted, turned_deg = self.refine(wanted, self.draw(wanted, count, generator), steps=steps)
        for _ in range(REDRAWN):
            missed = ((predicted - wanted).abs() > MISSED).any(1).nonzero()[:, 0]
            if not len(missed):
                break
            again = self.refine(wanted, self.draw(wanted, len(missed), generator), steps=steps)
            gaps = [((values - wanted) / self.scale).norm(dim=1) for values in (again.predicted, predicted[missed])]
            better = gaps[0] < gaps[1]
            for old, new in ((z, again.fingerprints), (predicted, again.predicted), (turned_deg, again.turned_deg)):
                old[missed[better]] = new[better]
        return Designs(z, self.decode(z), predicted, turned_deg)

    def refine(self, target: Array, z: Tensor, simulated: Tensor | None = None, *, steps: int = STEPS) -> Designs:
        """Volume elements that meet a target (r,) in Pa, with the cells of fingerprints (K, d) and grains turned the least.

        Where their properties (K, r) have been `simulated`, the surrogate's error is taken to stay as it is. Raises
        `UserError` as `propose` does.
        """
        wanted = self._wanted(target)
        start = self.fingerprint.seeds(z).quaternion.double()
        owner, volume = self._cells(z)
        predicted = self._answer(owner, start)
        error = torch.zeros_like(predicted) if simulated is None else predicted - simulated
        quaternion, predicted = self._refined(wanted + error, owner, volume, start, predicted, steps)
        angle = disorientation(start, quaternion, self.elements.symmetry)
        turns = root_mean_square_deg(angle[..., None], volume)
        z = self._with_orientations(z, quaternion)
        return Designs(z, self.decode(z), predicted - error, turns)

    def _refined(
        self, wanted: Tensor, owner: Tensor, volume: Tensor, quaternion: Tensor, predicted: Tensor, steps: int
    ) -> tuple[Tensor, Tensor]:
        """Orientations (K, M, 4) after some steps towards what is `wanted` (K, r), and their properties (K, r).

        What a step has taught of the slopes is kept (Broyden, Math. Comput. 19 (1965) 577-593); they are computed anew after
        one that was cut or made it worse. Where it hardly helped with new slopes, the next one is shorter.
        """
        quaternion, predicted, unit = quaternion.clone(), predicted / self.scale, self.scale[:, None, None]
        slopes = predicted.new_zeros(*predicted.shape, *volume.shape[1:], 3)
        old, longest = torch.full((len(owner),), True), torch.full((len(owner),), LONGEST_DEG).double()
        for _ in range(steps):
            gap = wanted / self.scale - predicted
            far = (((gap * self.scale).abs() > CLOSE).any(1) & (longest > SHORTEST_DEG)).nonzero()[:, 0]
            if not len(far):
                break
            again = far[old[far]]
            if len(again):
                slopes[again] = self.sensitivity(owner[again], quaternion[again]) / unit
            turns = torch.stack([least_turn(*row) for row in zip(gap[far], slopes[far], volume[far])])
            size = root_mean_square_deg(turns, volume[far])
            cut = size > longest[far]
            turns = turns * (longest[far] / size.clamp_min(1e-12)).clamp_max(1)[:, None, None]
            # In the fundamental zone, as fingerprints hold them: a learnt law has the crystal's symmetry but nearly.
            tried = reduce(multiply(quaternion[far], from_rotation_vector(turns)), self.elements.symmetry)
            answer = self._answer(owner[far], tried) / self.scale
            left = (wanted[far] / self.scale - answer).norm(dim=1)
            better = left < gap[far].norm(dim=1)
            failed = old[far] & (left > STALLED * gap[far].norm(dim=1))
            longest[far[failed]] = 0.5 * torch.minimum(longest[far], size)[failed]
            old[far] = ~better | cut
            won = far[better]
            slopes[won] += learnt(slopes[won], turns[better], (answer - predicted[far])[better], volume[won])
            quaternion[won], predicted[won] = tried[better], answer[better]
        return quaternion, predicted * self.scale

    def _answer(self, owner: Tensor, quaternion: Tensor) -> Tensor:
        """Properties (B, r) by the surrogate of cells (B, n, n, n) with orientations (B, M, 4)."""
        return _respond(self.surrogate, expand(owner, quaternion).movedim(1, -1), self.properties)

    def decode(self, z: Tensor) -> VolumeElements:
        """Volume elements of fingerprints (K, d), on the grid of the training elements; seeds without a voxel are no grains."""
        owner, quaternion = self._cells(z)[0], self.fingerprint.seeds(z).quaternion.double()
        ids, grains = number_without_gaps(owner, quaternion.shape[1])
        own = torch.zeros_like(quaternion)
        for row, (seeds, values) in enumerate(zip(owner, quaternion)):
            present = seeds.unique()
            own[row, : len(present)] = values[present]
        return VolumeElements(ids, pad_orientations(own, grains), grains, self.elements.symmetry)
