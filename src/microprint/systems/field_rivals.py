"""Rivals of the surrogate that learn a stress-strain curve from what a volume element looks like, physics aside.

A graph network sees the grains and their contacts, a convolutional network the field of orientations. Both are told which
changes of the volume element leave its curve as it is, by being trained on changed ones and by answering with a mean over them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import pi
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from microprint import orientations, store
from microprint.errors import UserError
from microprint.mechanics.datasets import SYMMETRY, Curves, read_curves
from microprint.mechanics.load import LoadStep, driven_component
from microprint.microstructures.volume_elements import VolumeElements
from microprint.networks.curve_cnn import CurveCNN
from microprint.networks.grain_graph import GrainGraphNet, grain_graph, volume_shares
from microprint.orientations import EMBEDDING_SIZE
from microprint.steps import Job, step
from microprint.training import Schedule, fit, seeded
from microprint.training.streams import generator_for

MODES = 4  # principal components of the curves
SIZES = {"graph": {"width": 48, "rounds": 2}, "cnn": {"width": 32, "residual": 2}}
SCHEDULES = {
    "graph": Schedule(100, 32, 3e-3, 0.05, decay="cosine", warmup=0.05, gradient_clip=1.0, optimizer="adamw"),
    "cnn": Schedule(25, 32, 3e-3, 0.05, decay="cosine", warmup=0.05, gradient_clip=1.0, optimizer="adamw"),
}
NETWORKS = {"graph": GrainGraphNet, "cnn": CurveCNN}
WAYS = 16  # turns about an axis that average all harmonics up to degree 6
AT_ONCE = 64  # volume elements that a network answers together


# --- what leaves a curve as it is -------------------------------------------------------------------------------------


def turning_axis(load: Sequence[LoadStep]) -> int | None:
    """Axis of a load that is a tension throughout, about which a volume element may be turned; None for other loads."""
    axis, j = driven_component(load)
    a, b = ((axis + k) % 3 for k in (1, 2))
    lateral = all(step.free[a][a] and step.free[b][b] and str(step.P[a][a]) == str(step.P[b][b]) for step in load)
    return axis if axis == j and lateral else None


def turns(axis: int | None, quarters: Tensor, over: Tensor) -> Tensor:
    """Turns (B, 4) of volume elements: half a one about the axis after `axis` where `over`, then `quarters` about `axis`.

    An orientation q becomes q r, and a vector v in sample axes v M(r). Without an axis nothing turns.
    """
    if axis is None:
        return torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(len(quarters), 4)
    unit = torch.eye(3)
    half = orientations.from_rotation_vector(pi * over[:, None] * unit[(axis + 1) % 3])
    return orientations.multiply(half, orientations.from_rotation_vector(pi / 2 * quarters[:, None] * unit[axis]))


def turned_field(ids: Tensor, axis: int | None, quarters: int, over: bool) -> Tensor:
    """Grain ids (n, n, n) of a volume element that is turned as `turns` says."""
    if axis is None:
        return ids
    a, b = ((axis + k) % 3 for k in (1, 2))
    return torch.rot90(ids.flip(axis, b) if over else ids, quarters, (a, b))


def described(quaternions: Tensor, turn: Tensor) -> Tensor:
    """Harmonics (B, G, k), of mean square 1, of the crystals of volume elements (B, G, 4) that are turned (B, 4)."""
    harmonics = orientations.embed(orientations.multiply(quaternions, turn[:, None]), SYMMETRY)
    return harmonics * harmonics.shape[-1] ** 0.5


def even_averages(elements: VolumeElements, axis: int | None) -> Tensor:
    """Volume averages (N, k) of what describes the crystals, and over all turns that leave a curve as it is."""
    quarters = torch.arange(WAYS) * 4 / WAYS
    ways = turns(axis, quarters.repeat(2), torch.arange(2).repeat_interleave(WAYS))
    share, q = volume_shares(elements), elements.quaternion.float()
    averages = [torch.einsum("ng,ngk->nk", share, described(q, way.expand(len(q), 4))) for way in ways]
    return torch.stack(averages).mean(0)


# --- what the networks see ---------------------------------------------------------------------------------------------


class GraphViews:
    """Volume elements as graphs, turned; at random by any angle, as grains and contacts know no grid."""

    def __init__(self, elements: VolumeElements, axis: int | None):
        self.graph, self.quaternion, self.axis = grain_graph(elements), elements.quaternion.float(), axis

    def view(self, rows: Tensor, quarters: Tensor, over: Tensor) -> dict[str, Tensor]:
        """Input of the network: volume elements `rows` (B,), turned as `turns` says."""
        turn = turns(self.axis, quarters, over)
        share, contact, normal = (part[rows] for part in self.graph)
        normal = (normal.flatten(1, 2) @ orientations.to_matrix(turn)).view_as(normal)
        return {"features": described(self.quaternion[rows], turn), "share": share, "contact": contact, "normal": normal}

    def random(self, rows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The same, turned at random."""
        quarters = 4 * torch.rand(len(rows), generator=generator)
        return self.view(rows, quarters, torch.randint(2, (len(rows),), generator=generator))


class FieldViews:
    """Volume elements as fields of orientations, turned; at random by quarters, shifted and inverted, too."""

    def __init__(self, elements: VolumeElements, axis: int | None):
        self.ids, self.quaternion, self.axis = elements.grain_id[:].long(), elements.quaternion.float(), axis

    def view(self, rows: Tensor, quarters: Tensor, over: Tensor, *, ids: Tensor | None = None) -> dict[str, Tensor]:
        """Input of the network: volume elements `rows` (B,), by default with their own grain ids, turned as `turns` says."""
        features = described(self.quaternion[rows], turns(self.axis, quarters, over)).transpose(1, 2)
        changes = zip(features, self.ids[rows] if ids is None else ids, quarters.tolist(), over.tolist())
        return {"field": torch.stack([f[:, turned_field(own, self.axis, q, o)] for f, own, q, o in changes])}

    def random(self, rows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The same, changed at random. An inversion leaves a crystal's orientation as it is."""
        draw = partial(torch.randint, generator=generator)
        shifts, inverted = draw(self.ids.shape[1], (len(rows), 3)).tolist(), draw(2, (len(rows),)).tolist()
        moved = [ids.roll(shift, (0, 1, 2)) for ids, shift in zip(self.ids[rows], shifts)]
        moved = torch.stack([ids.flip(0, 1, 2) if flip else ids for ids, flip in zip(moved, inverted)])
        return self.view(rows, draw(4, (len(rows),)), draw(2, (len(rows),)), ids=moved)


VIEWS = {"graph": GraphViews, "cnn": FieldViews}


class RivalSamples:
    """Volume elements and their curves (N, T), Pa, for `microprint.training.fit`; each batch sees them changed at random."""

    def __init__(self, views: GraphViews | FieldViews, curve: Tensor, device: torch.device | str = "cpu"):
        self.views, self.curve, self.device = views, curve.float(), torch.device(device)

    def __len__(self) -> int:
        return len(self.curve)

    def batch(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """What the network sees, and ``curve`` (B, T) Pa."""
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        inputs = self.views.random(index, torch.Generator().manual_seed(seed)) | {"curve": self.curve[index]}
        return {name: x.to(self.device) for name, x in inputs.items()}


# --- the rivals ---------------------------------------------------------------------------------------------------------


class FieldRival:
    """Stress-strain curve of volume elements by a network that sees their grains ("graph") or their field ("cnn").

    >>> rival = FieldRival.load("rival_graph.safetensors")    # doctest: +SKIP
    >>> mean = rival.predict(elements)    # doctest: +SKIP
    """

    def __init__(self, network: nn.Module, config: Mapping[str, Any], device: torch.device | str = "cpu"):
        self.network, self.config, self.device = network.to(device).eval(), dict(config), torch.device(device)
        self.variant, self.axis = config["variant"], config["axis"]

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> FieldRival:
        """Read a rival; raises `UserError` if the file is missing, damaged or another model."""
        state, metadata = store.load_tensors(path)
        config = metadata.get("config", {})
        if config.get("kind") != "field rival":
            raise UserError("is no rival that sees fields", path, "Give a file rival_VARIANT.safetensors that notebook 06 made")
        network = NETWORKS[config["variant"]](**config["network"])
        network.load_state_dict(state)
        return cls(network, config, device)

    @torch.no_grad()
    def predict(self, elements: VolumeElements) -> Tensor:
        """Stress (B, T) that the load is about, Pa, at every increment: the mean over eight turns that change nothing."""
        views, curves = VIEWS[self.variant](elements, self.axis), []
        ways = [(q, over) for q in range(4) for over in range(2)] if self.axis is not None else [(0, 0)]
        for rows in torch.arange(len(elements)).split(AT_ONCE):
            seen = (views.view(rows, *(torch.full_like(rows, part) for part in way)) for way in ways)
            answers = [self.network({name: x.to(self.device) for name, x in view.items()}).double().cpu() for view in seen]
            curves.append(torch.stack(answers).mean(0))
        return torch.cat(curves)

    def error(self, curves: Curves) -> float:
        """Loss of the network on volume elements whose curves are known."""
        return float(self.network.head.losses(self.predict(curves.elements), curves.stress)["loss"])


@step(inputs=("polycrystals.h5", "cp.h5"), outputs=("rival_{variant}.safetensors",))
def train_field_rival(job: Job, *, variant: str) -> None:
    """Train a graph network ("graph") or a convolutional one ("cnn") on the simulated volume elements."""
    if variant not in NETWORKS:
        raise UserError(f"no rival is called {variant}", remedy=f"Choose among {', '.join(NETWORKS)}")
    with job.open("polycrystals.h5") as polycrystals, job.open("cp.h5") as cp:
        sets = {name: read_curves(polycrystals, cp, name) for name in ("train", "validation")}
    seed = job.seed(f"rival {variant}")
    rival, train = begin(variant, sets["train"], seed, job.device)
    validation = RivalSamples(VIEWS[variant](sets["validation"].elements, rival.axis), sets["validation"].stress, job.device)
    label = f"rival, {variant}"
    history = fit(job, rival.network, train, validation, SCHEDULES[variant], seed=seed, label=label)
    job.save_model(f"rival_{variant}.safetensors", rival.network.cpu().state_dict(), rival.config | {"history": history})


def begin(variant: str, curves: Curves, seed: int, device: torch.device | str = "cpu") -> tuple[FieldRival, RivalSamples]:
    """A rival before its training, which knows what the volume averages say, and its training samples."""
    sizes = SIZES[variant] | {"features": EMBEDDING_SIZE[SYMMETRY], "points": curves.stress.shape[1], "modes": MODES}
    axis = turning_axis(curves.load)
    with seeded(seed):
        network = NETWORKS[variant](**sizes)
    network.head.start(even_averages(curves.elements, axis), curves.stress)
    config = {"kind": "field rival", "variant": variant, "network": sizes, "axis": axis}
    samples = RivalSamples(VIEWS[variant](curves.elements, axis), curves.stress, device)
    return FieldRival(network, config, device), samples


def fit_rows(variant: str, curves: Curves, rows: Tensor, seed: int) -> FieldRival:
    """A rival that has seen some of the volume elements, `rows` (n,), 5 or more, and no others: on the processor.

    It is trained twice: on four fifths of them, where the last fifth says after which epoch to stop, and on all. After none
    it knows the volume averages, so that few labels, from which there is no more to learn, do no harm.
    """
    kept = torch.arange(len(rows)) % 5 == 4
    parts = {name: replace(curves, elements=curves.elements[r], stress=curves.stress[r])
             for name, r in (("most", rows[~kept]), ("fifth", rows[kept]), ("all", rows))}  # fmt: skip
    rival, samples = begin(variant, parts["most"], seed)
    errors = [rival.error(parts["fifth"]) for _ in _epochs(rival.network, samples, SCHEDULES[variant], seed)]
    rival, samples = begin(variant, parts["all"], seed)
    for epoch in _epochs(rival.network, samples, SCHEDULES[variant], seed):
        if epoch == errors.index(min(errors)):
            break
    return rival


def _epochs(network: nn.Module, samples: RivalSamples, schedule: Schedule, seed: int) -> Iterator[int]:
    """Train a network; pauses before the first epoch, 0, and after each, the network ready to answer."""
    optimizer, generator = schedule.optimizer_for(network), generator_for(seed)
    yield 0
    for epoch in range(schedule.epochs):
        network.train()
        batches = torch.randperm(len(samples), generator=generator).split(schedule.batch_size)
        for number, index in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate((epoch + number / len(batches)) / schedule.epochs)
            optimizer.zero_grad()
            network.losses(samples.batch(index, generator), generator)["loss"].backward()
            nn.utils.clip_grad_norm_(network.parameters(), schedule.gradient_clip)
            optimizer.step()
        network.eval()
        yield epoch + 1
