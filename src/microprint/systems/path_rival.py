"""The rival along load paths: a recurrent network that learns polycrystals' stress from simulated polycrystals alone.

It takes the mean strain and the volume averages of a texture. The pressure is not learnt: it follows from the normal stresses
that the load prescribes, or from the change of volume that it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from microprint import store
from microprint.arrays import Array, numbers
from microprint.errors import UserError
from microprint.mechanics.campaign import FamilyCurves, PathCurves, read_campaign, read_paths
from microprint.mechanics.deviators import BASIS, deviator, hencky_strain, rotation, tensor
from microprint.mechanics.load import LoadStep, read_load
from microprint.mechanics.single_crystals import moduli
from microprint.microstructures.volume_elements import VolumeElements
from microprint.networks.grain_graph import volume_shares
from microprint.networks.path_net import PathNet
from microprint.steps import Job, step
from microprint.training import Schedule, fit, seeded

FOLDS = 4  # of the paths; each network learns from all but its own fold's
MEMORIES, UNITS = 24, 48
EPOCHS, BATCH, LEARNING_RATE = 16, 32, 5e-3
REPEATS = 12  # of each path in an epoch, beside every curve of the one load
STRAIN_UNIT = 0.002  # about the elastic strain of a metal that flows
PRODUCT = 6**0.5 * torch.einsum("aij,bjk,cki->abc", BASIS, BASIS, BASIS)  # of deviators, a deviator
PRODUCT = (PRODUCT + PRODUCT.transpose(0, 1)) / 2
_C_AXIS = deviator(torch.diag(torch.tensor([-1.0, -1.0, 2.0])) / 6**0.5)
# Projectors (5, 5) on the deviators that a crystal of a symmetry keeps apart, the last of them left out: their sum is the unit.
PLANES = {
    "cubic": (torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0]).diag(),),
    "hexagonal": (_C_AXIS.outer(_C_AXIS), torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0]).diag()),
}
CONTRAST = 3.0  # brings the averages of a usual texture to about 1


class Cauchy(NamedTuple):
    """A mean deformation gradient as factors between stresses: P = J turn sigma turn^T F^-T, sigma in the undeformed axes."""

    turn: Tensor  # (..., 3, 3) rotation
    back: Tensor  # (..., 3, 3) J turn^T F^-T
    volume: Tensor  # (...) log J

    @classmethod
    def of(cls, F: Tensor) -> Cauchy:
        """Factors of F (..., 3, 3)."""
        left, _, right = torch.linalg.svd(F)
        J, turn = torch.linalg.det(F), left @ right
        return cls(turn, J[..., None, None] * turn.mT @ torch.linalg.inv(F).mT, J.log())

    def stress(self, P: Tensor) -> Tensor:
        """Sigma of P."""
        return self.turn.mT @ torch.linalg.solve(self.back, P, left=False)

    def piola(self, sigma: Tensor) -> Tensor:
        """P of sigma."""
        return self.turn @ sigma @ self.back


def with_pressure(deviators: Tensor, F: Tensor, load: Sequence[LoadStep], bulk: float) -> Tensor:
    """First Piola-Kirchhoff stress (N, T + 1, 3, 3) of stress deviators (N, T + 1, 5), Pa, that meets what the load prescribes.

    Of F (N, T + 1, 3, 3) no volume is read where the load leaves it free: there it would betray the pressure.
    """
    shapes, P, pressure, eye = tensor(deviators.double()), [torch.zeros_like(F[:, 0])], 0.0, torch.eye(3, dtype=torch.float64)
    states = [Cauchy.of(x) for x in F.unbind(1)]
    for part in load:
        first, free = P[-1], torch.tensor(part.free)
        given, growth = torch.tensor(part.P).double(), torch.tensor(part.dot_P).double()
        end = torch.where(growth.isnan(), given, first + part.t * growth).nan_to_num(0.0)
        for number in range(1, part.N + 1):
            before, now, shape = states[len(P) - 1], states[len(P)], shapes[:, len(P)]
            asked = torch.where(free, torch.lerp(first, end, number / part.N), 0.0)
            if free.diagonal().any():
                pressure = (now.stress(asked) - shape).diagonal(dim1=1, dim2=2)[:, free.diagonal()].mean(1)
            else:
                pressure = pressure + bulk * (now.volume - before.volume)
            P.append(torch.where(free, asked, now.piola(shape + pressure[:, None, None] * eye)))
    return torch.stack(P, 1)


def texture_averages(elements: VolumeElements) -> Tensor:
    """Volume averages (N, averages, 5, 5) of the crystals' projectors in sample axes, less those without a texture, scaled.

    They are all of a texture that linear elasticity, or another quadratic form of the strain, can depend on.
    """
    share, turned = volume_shares(elements), rotation(elements.quaternion.float())
    planes = torch.stack(PLANES[elements.symmetry])
    means = torch.einsum("ng,ngab,pac,ngcd->npbd", share, turned, planes, turned)
    return CONTRAST * (means - planes.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(5))


@dataclass(frozen=True)
class PathSamples:
    """Simulated volume elements under loads, padded to T increments, for `microprint.training.fit`.

    Of each member of the ensemble `pools` are the rows that it may learn from, in turn.
    """

    strain: Tensor  # (N, T + 1, 5)
    stress: Tensor  # (N, T + 1, 5) Pa
    known: Tensor  # (N, T)
    texture: Tensor  # (N, averages, 5, 5)
    pools: tuple[Tensor, ...]

    def __len__(self) -> int:
        return max(map(len, self.pools))

    def batch(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """What `PathNet.losses` takes."""
        rows = torch.stack([pool[index % len(pool)] for pool in self.pools]).to(self.strain.device)
        return {name: getattr(self, name)[rows] for name in ("strain", "stress", "known", "texture")}


def path_examples(curves: FamilyCurves, increments: int) -> tuple[Tensor, ...]:
    """Strain, stress, known and texture of `PathSamples`."""
    lack = increments - curves.P.shape[1] + 1
    strain, stress = deviator(hencky_strain(curves.F)), deviator(Cauchy.of(curves.F).stress(curves.P))
    strain, stress = (torch.cat([x, x[:, -1:].expand(-1, lack, -1)], 1).float() for x in (strain, stress))
    known = (torch.arange(increments) < increments - lack).float().expand(len(strain), -1)
    return strain, stress, known, texture_averages(curves.elements)


class PathRival:
    """Stress of volume elements of one material along a load path, learnt from simulated polycrystals.

    >>> rival = PathRival.load("path_rival.safetensors")    # doctest: +SKIP
    >>> P = rival.without(7).predict_path(load, F, grain_ids, quaternions)    # doctest: +SKIP
    """

    def __init__(self, network: PathNet, symmetry: str, bulk: float, members: slice = slice(None)):
        self.network, self.symmetry, self.bulk, self.members = network.cpu().eval(), symmetry, bulk, members

    @classmethod
    def load(cls, path: str | Path) -> PathRival:
        """Read a rival; raises `UserError` if the file is missing, damaged or another model."""
        state, metadata = store.load_tensors(path)
        config = metadata.get("config", {})
        if config.get("kind") != "path rival":
            raise UserError("is no network for load paths", path, "Give the file path_rival.safetensors that notebook 06 made")
        network = PathNet(**config["network"], product=PRODUCT)
        network.load_state_dict(state)
        return cls(network, config["symmetry"], config["bulk"])

    def without(self, number: int) -> PathRival:
        """The network alone that has learnt from no volume element under the path of this number in campaign.h5."""
        fold = number % FOLDS
        return PathRival(self.network, self.symmetry, self.bulk, slice(fold, fold + 1))

    @torch.no_grad()
    def predict_path(self, load: Any, F: Array, grain_ids: Array, quaternions: Array) -> Tensor:
        """First Piola-Kirchhoff stress (N, T + 1, 3, 3), Pa, along a load path, as `read_load` takes it.

        F (N, T + 1, 3, 3) is the true mean deformation gradient: what a load leaves free of it is a result of the simulation,
        which no other model is told. Grain ids and quaternions as `VolumeElements.of` takes them. Raises `UserError` for what
        these refuse.
        """
        elements, steps = VolumeElements.of(grain_ids, quaternions, self.symmetry), read_load(load)
        F = numbers(F, "F", (len(elements), 1 + sum(part.N for part in steps), 3, 3))
        inputs = deviator(hencky_strain(F)).float(), texture_averages(elements)
        answers = self.network(*(x.expand(self.network.members, *x.shape) for x in inputs))
        return with_pressure(answers[self.members].mean(0), F, steps, self.bulk)


@step(inputs=("textured.h5", "campaign.h5"), outputs=("path_rival.safetensors",))
def train_path_rival(job: Job) -> None:
    """Train a network for each fold of the paths, kinds held out with theirs, on the others and the curves of the one load."""
    with job.open("textured.h5") as textured, job.open("campaign.h5") as campaign:
        paths = read_paths(textured, campaign)
        curves = read_campaign(textured, campaign, paths[0].material.name, "train")
    samples, seed = _samples(paths, curves, job.device), job.seed("path rival")
    bulk, _ = moduli(curves.material)
    symmetry = curves.elements.symmetry
    sizes = {"members": FOLDS, "averages": len(PLANES[symmetry]), "memories": MEMORIES, "units": UNITS}
    with seeded(seed):
        network = PathNet(**sizes, product=PRODUCT)
    network.scale(STRAIN_UNIT, samples.stress[:, 1:].norm(dim=-1).mean().item())
    schedule = Schedule(EPOCHS, BATCH, LEARNING_RATE, decay="cosine", warmup=0.05, gradient_clip=1.0)
    # No path is spared to choose an epoch: the rate decays to nothing, and the last epochs are alike.
    checked = replace(samples, pools=tuple(pool.unique()[::FOLDS] for pool in samples.pools))
    history = fit(job, network, samples, checked, schedule, seed=seed, label="network for load paths")
    config = {"kind": "path rival", "network": sizes, "symmetry": symmetry, "bulk": bulk, "history": history}
    job.save_model("path_rival.safetensors", network.cpu().state_dict(), config)


def _samples(paths: Sequence[PathCurves], curves: FamilyCurves, device: torch.device) -> PathSamples:
    """All volume elements, those of the one load first."""
    increments = max(part.P.shape[1] - 1 for part in (*paths, curves))
    parts = [path_examples(part, increments) for part in (curves, *(path for path in paths if len(path.P)))]
    tensors = [torch.cat(tensors).to(device) for tensors in zip(*parts)]
    fold = torch.tensor([number % FOLDS for number, path in enumerate(paths) for _ in path.P])
    first = torch.arange(len(curves.P))
    pools = [torch.cat([first, ((fold != k).nonzero()[:, 0] + len(first)).repeat(REPEATS)]) for k in range(FOLDS)]
    return PathSamples(*tensors, tuple(pools))
