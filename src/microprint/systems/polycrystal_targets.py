"""The step that asks for polycrystals with wanted stress responses, and simulates what `PolycrystalDesign` and rivals propose.

Three aims, each of two properties: ``random``, stress and hardening of volume elements without texture; ``textured``, the
same of all families of textures; ``anisotropy``, the stresses of tension along two axes of one volume element.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

import h5py
import torch
from torch import Tensor

from microprint.errors import UserError
from microprint.machine import Progress
from microprint.mechanics.campaign import read_campaign
from microprint.mechanics.datasets import read_curves
from microprint.mechanics.load import driven_component, plain
from microprint.mechanics.materials import Material
from microprint.mechanics.simulate import simulate_cp
from microprint.microstructures.datasets import polycrystal_arrays
from microprint.microstructures.polycrystal import MORPHOLOGIES, grow
from microprint.microstructures.textures import FAMILIES, draw_texture
from microprint.microstructures.volume_elements import VolumeElements, pad_orientations
from microprint.params.sections import Params
from microprint.steps import Files, Job, step
from microprint.systems.fingerprint import Fingerprint
from microprint.systems.polycrystal_design import Designs, PolycrystalDesign, StressProperty, respond, turned_elements
from microprint.systems.surrogate import StressSurrogate

AIMS = ("random", "textured", "anisotropy")
KINDS = ("inside", "between", "beyond")  # of targets, against the training elements
ANSWERED = 280  # training elements, and a quarter as many held-out ones, of which the surrogate answers what is not simulated
PAIRS = 4000  # of training elements, among whose means the widest gaps are sought
BEYOND = 1.1  # how far from the mean of the training elements a target lies whose farthest lies at 1
MORE_STEPS = 4  # of the search after a simulation


class Known(NamedTuple):
    """Volume elements with their simulated stress-strain curves."""

    elements: VolumeElements
    curves: Tensor | None  # (N, T) Pa; none where they are of another load than the surrogate's


class Made(NamedTuple):
    """K volume elements for each of T targets, those of a target together."""

    elements: VolumeElements  # T K
    predicted: Tensor  # (T K, r) Pa, by the surrogate
    simulated: Tensor  # (T K, r) Pa, nan where the simulation did not converge
    turned_deg: Tensor  # (T K,) root mean square of the grains' turns in the last search


class DesignStudy(NamedTuple):
    """What was asked for, and what each method made of it."""

    properties: list[str]  # r names
    targets: Tensor  # (T, r) Pa
    kinds: list[str]  # T of `KINDS`
    known: Tensor  # (N, r) Pa, of the training elements
    made: dict[str, Made]  # nearest, best_of_n, drawn, ours, corrected

    def error(self, method: str) -> Tensor:
        """Absolute errors (T, K, r) of the simulated properties, Pa."""
        return (self.made[method].simulated.unflatten(0, (len(self.targets), -1)) - self.targets[:, None]).abs()


def spread_targets(
    known: Tensor, held_out: Tensor, counts: tuple[int, int, int], generator: torch.Generator
) -> tuple[Tensor, list[str]]:
    """Targets (T, r), so many of each of the `KINDS`, and their kinds, from properties of training (N, r) and held-out ones.

    ``inside`` are those of held-out elements: the one nearest to the mean, then again and again that farthest from all before
    (Gonzalez, Theor. Comput. Sci. 38 (1985) 293-306). ``between`` are means of two training elements' properties, farthest
    from all single ones: the widest gaps. ``beyond`` are the farthest training elements, moved on from the mean.
    """
    mean, scale = known.mean(0), known.std(0)
    points, others = (known - mean) / scale, (held_out - mean) / scale
    pairs = torch.randint(len(points), (PAIRS, 2), generator=generator)
    inside = _farthest(others, others[others.norm(dim=1).argmin()][None], counts[0] - 1)
    between = _farthest(points[pairs].mean(1), points, counts[1])[len(points) :]
    beyond = _farthest(BEYOND * points, torch.zeros_like(mean)[None], counts[2])[1:]
    targets = torch.cat([inside, between, beyond]) * scale + mean
    return targets, [kind for kind, count in zip(KINDS, counts) for _ in range(count)]


def _farthest(points: Tensor, chosen: Tensor, more: int) -> Tensor:
    """Some points (k, r), and `more` of those given (N, r): each the one farthest from all before it."""
    for _ in range(more):
        chosen = torch.cat([chosen, points[torch.cdist(points, chosen).amin(1).argmax()][None]])
    return chosen


def random_elements(count: int, like: VolumeElements, families: tuple[str, ...], generator: torch.Generator) -> VolumeElements:
    """Equiaxed volume elements on the grid of others, with families of textures in turn."""
    ids, grains = grow(count, like.edge, MORPHOLOGIES["equiaxed"], generator)
    most = int(grains.max())
    drawn = [draw_texture(families[i % len(families)], most, like.symmetry, generator) for i in range(count)]
    return VolumeElements(ids, pad_orientations(torch.stack(drawn), grains), grains, like.symmetry)


def aim_properties(aim: str, at: int, axis: int) -> tuple[StressProperty, StressProperty]:
    """The two properties of an aim; the stress is that of increment `at`, along the sample's axis 0, 1 or 2."""
    along = [f"stress along {'xyz'[(axis - turns) % 3]}" for turns in (0, 1)]
    if aim == "anisotropy":
        return StressProperty(along[0], at), StressProperty(along[1], at, turns=1)
    return StressProperty(along[0], at), StressProperty("hardening", at, at // 2)


def design_files(params: Params) -> Files:
    """None; raises `UserError` where no aim is asked for, or one twice."""
    aims = params.polycrystal_design.aims
    if not aims or len(set(aims)) < len(aims):
        raise UserError(f"polycrystal_design.aims = {list(aims)}", remedy="Name each aim once, and one at least")
    return {}


@step(
    reads=("cp.scheme", *(f"polycrystal_design.{name}" for name in ("inside", "between", "beyond", "designs", "rivals"))),
    inputs=(
        *("polycrystals.h5", "cp.h5", "textured.h5", "campaign.h5"),
        *("fingerprint_ours.safetensors", "surrogate_{material}.safetensors"),
    ),
    outputs=("polycrystal_designs_{aim}.h5",),
    files=design_files,
)
def design_polycrystals(job: Job, *, aim: str, material: str) -> None:
    """Volume elements for the targets of an aim, from five methods, each simulated: what `read_designs` reads.

    ``nearest`` looks up training elements, ``best_of_n`` lets the surrogate choose among new random ones, ``drawn`` draws from
    the prior, ``ours`` turns the grains of these, ``corrected`` turns them once more after a simulation.
    """
    if aim not in AIMS:
        raise UserError(f"no aim is called {aim}", remedy=f"Choose among {', '.join(AIMS)}")
    surrogate = StressSurrogate.load(job.path(f"surrogate_{material}.safetensors"), job.device)
    train, test, phase = _known(job, aim, material, surrogate)
    at = _peak(train, surrogate)
    properties = aim_properties(aim, at, surrogate.component[0])
    fingerprint = Fingerprint.load(job.path("fingerprint_ours.safetensors"), symmetry=train.elements.symmetry)
    design = PolycrystalDesign(surrogate, fingerprint, train.elements, properties, _properties(surrogate, train, properties))
    settings, generator = job.params.polycrystal_design, job.generator(f"polycrystals on demand, {aim}")
    held_out = _properties(surrogate, test, properties)
    counts = settings.inside, settings.between, settings.beyond
    targets, kinds = spread_targets(design.known, held_out, counts, generator)
    families = ("random",) if aim == "random" else FAMILIES[train.elements.symmetry]
    simulated = train.curves is not None and aim != "anisotropy"
    made = _proposals(job, design, targets, families, phase, generator, simulated)
    with job.create(f"polycrystal_designs_{aim}.h5", kind="polycrystal designs") as file:
        names = json.dumps([p.name for p in properties])
        file.attrs.update(properties=names, kinds=json.dumps(kinds), unit="Pa", symmetry=train.elements.symmetry)
        file["targets"], file["known"] = targets.numpy(), design.known.numpy()
        for name, some in made.items():
            elements, *numbers = some
            arrays = polycrystal_arrays(elements.grain_id[:], elements.quaternion, elements.grains)
            arrays |= {key: value.numpy() for key, value in zip(Made._fields[1:], numbers)}
            for key, array in arrays.items():
                file.create_dataset(f"{name}/{key}", data=array, compression="gzip")


def read_designs(file: h5py.File) -> DesignStudy:
    """What `design_polycrystals` has written."""
    made = {}
    for name in (name for name in file if isinstance(file[name], h5py.Group)):
        ids, quaternion, grains = (torch.from_numpy(file[name][key][:].astype(kind)) for key, kind in
                                   (("grain_id", "int16"), ("quaternion", "float64"), ("grains", "int64")))  # fmt: skip
        elements = VolumeElements(ids, quaternion, grains, file.attrs["symmetry"])
        made[name] = Made(elements, *(torch.from_numpy(file[name][key][:]) for key in Made._fields[1:]))
    targets, known = (torch.from_numpy(file[name][:]) for name in ("targets", "known"))
    properties, kinds = (json.loads(file.attrs[name]) for name in ("properties", "kinds"))
    return DesignStudy(properties, targets, kinds, known, made)


def _known(job: Job, aim: str, material: str, surrogate: StressSurrogate) -> tuple[Known, Known, Material]:
    """Training and held-out volume elements of an aim, and their material."""
    if aim == "random":
        with job.open("polycrystals.h5") as polycrystals, job.open("cp.h5") as cp:
            train, test = (read_curves(polycrystals, cp, name) for name in ("train", "test"))
        return Known(train.elements, train.stress), Known(test.elements, test.stress), train.material
    with job.open("textured.h5") as textured, job.open("campaign.h5") as campaign:
        parts = [read_campaign(textured, campaign, material, name) for name in ("train", "test")]
    i, j = driven_component(parts[0].load)
    alike = plain(parts[0].load) == plain(surrogate.load_path)
    most = None if alike and aim == "textured" else ANSWERED
    train, test = (
        Known(part.elements[:some], part.P[:some, :, i, j] if alike else None)
        for part, some in zip(parts, (most, most and most // 4))
    )
    return train, test, parts[0].material


def _peak(known: Known, surrogate: StressSurrogate) -> int:
    """Increment of the largest mean stress: the end of a tension."""
    curves = known.curves
    if curves is None:
        some = known.elements[:4]
        curves = surrogate.predict(some.grain_id, some.quaternion)[0]
    return int(curves.mean(0).abs().argmax())


def _properties(surrogate: StressSurrogate, known: Known, properties: tuple[StressProperty, ...]) -> Tensor:
    """Properties (N, r): simulated where they have been, by the surrogate elsewhere."""
    simulated = [known.curves is not None and p.turns == 0 for p in properties]
    asked = [p for p, has in zip(properties, simulated) if not has]
    answers = iter(respond(surrogate, known.elements, asked).T if asked else ())
    return torch.stack([p.of(known.curves) if has else next(answers) for p, has in zip(properties, simulated)], 1).double()


def _proposals(
    job: Job, design: PolycrystalDesign, targets: Tensor, families: tuple[str, ...], material: Material,
    generator: torch.Generator, known: bool,
) -> dict[str, Made]:  # fmt: skip
    """What each method makes of the targets, simulated; whether the training elements' properties are `known` from that."""
    settings, count = job.params.polycrystal_design, job.params.polycrystal_design.designs
    many = random_elements(max(settings.rivals, count), design.elements, families, generator)
    drawn = design.decode(torch.cat([design.draw(target, count, generator) for target in targets]))
    fingerprints, *ours = _searched(targets, count, lambda target, _: design.propose(target, count, generator))
    proposals = {
        "nearest": _nearest(design, targets, count, design.elements, design.known),
        "best_of_n": _nearest(design, targets, count, many, respond(design.surrogate, many, design.properties)),
        "drawn": (drawn, respond(design.surrogate, drawn, design.properties), torch.zeros(len(drawn))),
        "ours": ours,
    }

    def simulated(name: str, elements: VolumeElements, predicted: Tensor) -> Tensor:
        same = known and name == "nearest"
        return predicted if same else _simulated(design, elements, material, job.params.cp.scheme)

    made = {name: Made(some[0], some[1], simulated(name, *some[:2]), some[2]) for name, some in proposals.items()}
    told = torch.where(made["ours"].simulated.isnan(), made["ours"].predicted, made["ours"].simulated)
    refine = lambda target, own: design.refine(target, fingerprints[own], told[own], steps=MORE_STEPS)  # noqa: E731
    _, *again = _searched(targets, count, refine)
    return made | {"corrected": Made(*again[:2], simulated("corrected", *again[:2]), again[2])}


def _nearest(
    design: PolycrystalDesign, targets: Tensor, count: int, elements: VolumeElements, values: Tensor
) -> tuple[VolumeElements, Tensor, Tensor]:
    """For each target those of some volume elements whose properties (N, r) come nearest to it, and these."""
    away = ((values - targets[:, None]) / design.scale).square().sum(-1)
    chosen = away.topk(count, largest=False).indices.flatten()
    return elements[chosen], values[chosen], torch.zeros(len(chosen))


def _searched(targets: Tensor, count: int, search: Callable[[Tensor, slice], Designs]) -> Designs:
    """Designs (T K) of a search for each target, which is told the rows of its designs."""
    parts = []
    with Progress("polycrystals on demand", count * len(targets), "VEs", 0) as progress:
        for row, target in enumerate(targets):
            parts.append(search(target, slice(row * count, (row + 1) * count)))
            progress.add(count)
    fingerprints, elements, predicted, turns = zip(*parts)
    ids, quaternion, grains = (torch.cat([getattr(e, name) for e in elements]) for name in ("grain_id", "quaternion", "grains"))
    together = VolumeElements(ids, quaternion, grains, elements[0].symmetry)
    return Designs(torch.cat(fingerprints), together, torch.cat(predicted), torch.cat(turns))


def _simulated(design: PolycrystalDesign, elements: VolumeElements, material: Material, scheme: str) -> Tensor:
    """Properties (N, r) by crystal plasticity, Pa; nan where it does not converge."""
    (i, j), load, curves = design.surrogate.component, design.surrogate.load_path, {}
    for turns in {p.turns for p in design.properties}:
        sample = turned_elements(elements, turns)
        result = simulate_cp(sample.grain_id, sample.quaternion, material, load, scheme=scheme, device=design.surrogate.device)
        curves[turns] = result.P[:, :, i, j].cpu()
    return torch.stack([p.of(curves[p.turns]) for p in design.properties], 1)
