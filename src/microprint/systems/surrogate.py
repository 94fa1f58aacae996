"""Surrogate of the crystal-plasticity simulation: equilibrium in the cell with a crystal's law that is learnt.

The law is learnt from single crystals, of which there are as many as one likes; a few simulated polycrystals are enough to
correct what is left. It takes volume elements, or fingerprints, of which it takes the fields that they are decoded to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from microprint import store
from microprint.arrays import Array, like, numbers
from microprint.errors import UserError
from microprint.machine import choose_device, cores, in_threads
from microprint.mechanics.campaign import read_campaign
from microprint.mechanics.datasets import read_curves
from microprint.mechanics.deviators import rotation
from microprint.mechanics.load import LoadStep, driven_component, from_plain, plain, read_load
from microprint.microstructures.volume_elements import VolumeElements
from microprint.networks.correction import Correction
from microprint.networks.crystal_law import CrystalEnsemble
from microprint.steps import Job, step
from microprint.systems.equilibrium import March
from microprint.systems.equilibrium import Path as MeanPath

VOXELS_AT_ONCE = {"cpu": 1 << 16, "cuda": 1 << 21}  # that are enough to keep a core, or a GPU, from waiting for the next call

NETWORK = {"members", "directions"}  # what a stored law says of its size
ANSWERING = 2  # members of an ensemble that a surrogate is made of


class Response(NamedTuple):
    """Mean response of B volume elements along a load path of T increments, the undeformed state first."""

    F: Tensor  # (B, T + 1, 3, 3) deformation gradient
    P: Tensor  # (B, T + 1, 3, 3) first Piola-Kirchhoff stress, Pa
    spread: Tensor  # (B, T + 1, 3, 3) standard deviation of P between the laws of the ensemble, Pa; 0 for one law


class StressSurrogate:
    """Stress of volume elements of one material along a load path, without a simulation.

    `load_path` is the path of the polycrystals that corrected it, `component` the one of F and P that it is about. `iterations`
    are those of the equilibrium in each increment, none for Taylor's assumption; `config` says what the law was learnt from.

    >>> surrogate = StressSurrogate.load("surrogate_Mg.safetensors")    # doctest: +SKIP
    >>> mean, std = surrogate.predict(grain_ids, quaternions)    # doctest: +SKIP
    >>> mean, std = surrogate.predict_field(fingerprint.decode(z))    # doctest: +SKIP
    >>> response = surrogate.predict_path("load.yaml", grain_ids, quaternions)    # doctest: +SKIP
    """

    def __init__(
        self, laws: CrystalEnsemble, load: Sequence[LoadStep], correction: Correction | None = None, *,
        iterations: int = 1, device: torch.device | str = "cpu", config: Mapping[str, Any] | None = None,
    ):  # fmt: skip
        self.device = choose_device(device, "device")
        self.laws, self.load_path, self.iterations = laws.to(self.device).eval(), tuple(load), iterations
        self.correction, self.config = correction, dict(config or {})
        self.component = driven_component(self.load_path)

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> StressSurrogate:
        """Read a surrogate; raises `UserError` if the file is missing, damaged or another model."""
        state, metadata = store.load_tensors(path)
        config = metadata.get("config", {})
        if config.get("kind") != "surrogate":
            raise UserError("is no surrogate", path, "Give a file surrogate_MATERIAL.safetensors that notebook 06 made")
        if set(config["network"]) != NETWORK:
            what = "holds a law of another kind, as an older version learnt it"
            raise UserError(what, path, "Run notebook 06 again, or take the surrogate of this version's report")
        laws = CrystalEnsemble(**config["network"])
        laws.load_state_dict({name: x for name, x in state.items() if name.startswith("laws.")})
        fitted = {name.removeprefix("correction."): x for name, x in state.items() if name.startswith("correction.")}
        correction = Correction(**fitted) if fitted else None
        load = from_plain(json.loads(config["load"]))
        return cls(laws, load, correction, iterations=config["iterations"], device=device, config=config)

    def predict(self, grain_ids: Array, quaternions: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (B, T + 1) of the stress that the load is about, Pa, at every increment.

        Grain ids (B, n, n, n) and quaternions (B, G, 4) may be of any kind that `microprint.arrays` reads; for tensors
        tensors come back, for all else numpy arrays. Raises `UserError` for what `VolumeElements.of` refuses, other shapes
        than cubes, and a field that diverges.
        """
        field = VolumeElements.of(grain_ids, quaternions).orientations()
        return tuple(like(x, grain_ids) for x in self._predict(field))

    def predict_field(self, orientations: Array) -> tuple[Array, Array]:
        """The same from the quaternions (B, n, n, n, 4) of all voxels, such as `Fingerprint.decode` returns."""
        field = numbers(orientations, "orientations", ("B", "n", "n", "n", 4))
        return tuple(like(x, orientations) for x in self._predict(field))

    def _predict(self, field: Tensor) -> tuple[Tensor, Tensor]:
        i, j = self.component
        response = self._march(self.load_path, field)
        mean, spread = response.P[..., i, j], response.spread[..., i, j]
        return (mean, spread) if self.correction is None else self.correction.apply(mean, spread)

    def predict_path(self, load: Any, grain_ids: Array, quaternions: Array) -> Response:
        """Response along a load path, as `microprint.mechanics.load.read_load` takes it; not corrected by any polycrystal.

        An increment should take and strain about as much as those of `load_path`. Arguments else as in `predict`.
        """
        return self._march(read_load(load), VolumeElements.of(grain_ids, quaternions).orientations())

    def _march(self, steps: Sequence[LoadStep], voxels: Tensor) -> Response:
        """Response of fields of orientations (B, n, n, n, 4)."""
        if len(set(voxels.shape[1:4])) > 1:
            raise UserError(f"has {tuple(voxels.shape[1:4])} voxels", "grain_ids", "Give cubes of n x n x n voxels")
        edge = voxels.shape[1]
        size = VOXELS_AT_ONCE[self.device.type] // edge**3
        if self.device.type == "cpu":  # each thread has its part
            size = min(size, -(-len(voxels) // cores()))
        parts = [(part,) for part in voxels.split(max(1, size))]

        def march(part: Tensor) -> list[MeanPath]:
            rotations = rotation(part.to(self.device, torch.float32)).flatten(1, 3).permute(2, 3, 0, 1).contiguous()
            with torch.inference_mode():
                return [March(law, rotations, edge, self.iterations).run(steps) for law in self.laws.laws]

        marched = in_threads(march, parts, self.device)
        F, P = (
            torch.stack([torch.cat([getattr(m, name) for m in member]) for member in zip(*marched)]).cpu()
            for name in ("F", "P")
        )
        spread = P.std(0, unbiased=True) if len(P) > 1 else torch.zeros_like(P[0])
        return Response(F.mean(0), P.mean(0), spread)


def answering(laws: CrystalEnsemble) -> CrystalEnsemble:
    """The first members of an ensemble, of which a surrogate is made: more take longer and know no better."""
    first = laws.member(0)
    first.laws.extend(laws.laws[1:ANSWERING])
    return first


def read_answers(path: Path) -> tuple[Tensor, Tensor]:
    """What the laws of a material say of the families of its training set: mean and deviation (N, T + 1) of the stress, Pa."""
    with store.open_hdf5(path, "answers") as file:
        return tuple(torch.from_numpy(file[name][:]) for name in ("mean", "std"))


@step(
    inputs=("polycrystals.h5", "cp.h5", "textured.h5", "campaign.h5", "crystal_law_{material}.safetensors"),
    outputs=("surrogate_{material}.safetensors", "answers_{material}.h5"),
)
def correct_surrogate(job: Job, *, material: str) -> None:
    """The surrogate of a law, corrected on simulated polycrystals: the study's validation set, and all families of textures.

    The families are left out where the study's own load is another one than theirs. What it answers to them before any
    correction is kept, see `read_answers`.
    """
    alone = StressSurrogate.load(job.path(f"crystal_law_{material}.safetensors"), job.device)
    with job.open("polycrystals.h5") as polycrystals, job.open("cp.h5") as cp:
        curves = read_curves(polycrystals, cp, "validation")
    with job.open("textured.h5") as textured, job.open("campaign.h5") as campaign:
        families = read_campaign(textured, campaign, material, "train")
    laws = answering(alone.laws)

    def answer(elements: VolumeElements, load: Sequence[LoadStep]) -> tuple[Tensor, Tensor]:
        surrogate = StressSurrogate(laws, load, iterations=alone.iterations, device=job.device)
        return surrogate.predict(elements.grain_id, elements.quaternion)

    seen = [(*answer(curves.elements, curves.load), curves.stress)]
    answers = answer(families.elements, families.load)
    with job.create(f"answers_{material}.h5", kind="answers") as file:
        file["mean"], file["std"] = answers
    if plain(families.load) == plain(curves.load):
        seen.append((*answers, families.P[(..., *curves.component)]))
    correction = Correction.fit(*(torch.cat(parts) for parts in zip(*seen)))
    tensors = {f"correction.{name}": value for name, value in asdict(correction).items()}
    sizes = alone.config["network"] | {"members": len(laws.laws)}
    config = alone.config | {"load": json.dumps(plain(curves.load)), "network": sizes}
    job.save_model(f"surrogate_{material}.safetensors", laws.cpu().state_dict() | tensors, config)
