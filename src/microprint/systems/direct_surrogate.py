"""The direct way from the numbers of a fingerprint to a stress-strain curve: S1's network, and Gaussian processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from microprint import store
from microprint.arrays import Array, like, numbers
from microprint.errors import UserError
from microprint.machine import Progress
from microprint.mechanics.datasets import SYMMETRY, read_curves
from microprint.networks.curve_process import CurveProcess
from microprint.networks.stress_net import StressMLP
from microprint.params.sections import SurrogateSettings
from microprint.steps import Job, step
from microprint.systems.fingerprint import Fingerprint
from microprint.training import Schedule, fit, seeded

VARIANTS = ("paper", "coded", "ours")
SETS = ("train", "validation", "test")
PASSES = 20  # over the training set between two checkpoints of S1's network, whose epochs take a millisecond


class DirectSurrogate:
    """Stress-strain curve of a volume element from its fingerprint, with an error bar.

    `strain` (T,) holds the strains F - 1 at which stresses are predicted, of the `component` of F and P that the load is
    about; `variant` is "paper" (S1's network), "coded" (the same as S1's code has it) or "ours" (Gaussian processes on the
    numbers that hold volume averages).

    >>> surrogate = DirectSurrogate.load("direct_ours_ours.safetensors")    # doctest: +SKIP
    >>> mean, std = surrogate.predict(fingerprint.encode(grain_ids, quaternions))    # doctest: +SKIP
    """

    def __init__(self, state: Mapping[str, Tensor], config: Mapping[str, Any]):
        self.state, self.config = dict(state), dict(config)
        self.variant, self.strain = config["variant"], torch.tensor(config["strain"], dtype=torch.float64)
        self.component = tuple(config["component"])

    @classmethod
    def load(cls, path: str | Path) -> DirectSurrogate:
        """Read a surrogate; raises `UserError` if the file is missing, damaged or another model."""
        state, metadata = store.load_tensors(path)
        config = metadata.get("config", {})
        if config.get("kind") != "direct surrogate":
            raise UserError("is no direct surrogate", path, "Give a file that notebook 06 made")
        return cls(state, config)

    @torch.no_grad()
    def predict(self, z: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (B, T) of the first Piola-Kirchhoff stress at every strain, Pa.

        The fingerprints (B, d) are those of the fingerprint model that the surrogate was trained with, in any kind of array
        that `microprint.arrays` reads; for a tensor tensors come back, on its device, and for all else numpy arrays. Raises
        `UserError` if z has another width, is empty or not finite.
        """
        mean, std = self._predict(numbers(z, "z", ("B", self.config["inputs"])))
        return like(mean, z), like(std, z)

    def _predict(self, z: Tensor) -> tuple[Tensor, Tensor]:
        if self.variant == "ours":
            return CurveProcess(self.state).predict(z[:, self.config["features"]].double())
        network = StressMLP(**self.config["network"])
        network.load_state_dict({name: value for name, value in self.state.items() if name != "deviation"})
        mean = network(z.float()).double()
        return mean, self.state["deviation"].expand_as(mean)


class CurveSamples:
    """Fingerprints and curves, for `microprint.training.fit`; `passes` of them make an epoch."""

    def __init__(self, z: Tensor, curve: Tensor, passes: int = 1):
        self.z, self.curve, self.passes = z, curve, passes

    def __len__(self) -> int:
        return len(self.z) * self.passes

    def batch(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """``z`` (B, d) and ``curve`` (B, T) Pa."""
        row = (index % len(self.z)).to(self.z.device)
        return {"z": self.z[row], "curve": self.curve[row]}


@step(inputs=("polycrystals.h5", "cp.h5", "fingerprint_{fingerprint}.safetensors"), outputs=("fingerprints_{fingerprint}.h5",))
def encode_simulated(job: Job, *, fingerprint: str) -> None:
    """Fingerprints (N, d) of the simulated volume elements of each set: found once, they serve all that learns from them."""
    encoder = Fingerprint.load(job.path(f"fingerprint_{fingerprint}.safetensors"), job.device, symmetry=SYMMETRY)
    with job.open("polycrystals.h5") as polycrystals, job.open("cp.h5") as cp:
        sets = {name: read_curves(polycrystals, cp, name).elements for name in SETS}
    with (
        job.create(f"fingerprints_{fingerprint}.h5", kind="fingerprints") as file,
        Progress(f"fingerprints, {fingerprint}", sum(map(len, sets.values())), "VEs", 0) as progress,
    ):
        for name, elements in sets.items():
            file[name] = encoder.encode_set(elements)
            progress.add(len(elements))


def read_fingerprints(path: Path) -> dict[str, Tensor]:
    """Fingerprints (N, d), set by set, of the volume elements that `read_curves` reads."""
    with store.open_hdf5(path, "fingerprints") as file:
        return {name: torch.from_numpy(file[name][:]) for name in SETS}


@step(
    reads=("surrogate",),
    inputs=("polycrystals.h5", "cp.h5", "fingerprint_{fingerprint}.safetensors", "fingerprints_{fingerprint}.h5"),
    outputs=("direct_{variant}_{fingerprint}.safetensors",),
)
def train_direct_surrogate(job: Job, *, variant: str, fingerprint: str) -> None:
    """Train S1's network ("paper", "coded") or Gaussian processes ("ours") on the fingerprints of one fingerprint model.

    As coded, the smallest and largest stress are those of all curves, the test set's among them, as S1 scaled before it split.
    Its batches, which were never shuffled, are shuffled here.
    """
    if variant not in VARIANTS:
        raise UserError(f"no surrogate is called {variant}", remedy=f"Choose among {', '.join(VARIANTS)}")
    encoder = Fingerprint.load(job.path(f"fingerprint_{fingerprint}.safetensors"), job.device, symmetry=SYMMETRY)
    with job.open("polycrystals.h5") as polycrystals, job.open("cp.h5") as cp:
        sets = {name: read_curves(polycrystals, cp, name) for name in ("train", "validation")}
        scaled_by = [*sets.values(), read_curves(polycrystals, cp, "test")] if variant == "coded" else [sets["train"]]
    known = read_fingerprints(job.path(f"fingerprints_{fingerprint}.h5"))
    z = {name: known[name].float() for name in sets}
    stress = {name: curves.stress for name, curves in sets.items()}
    config = {
        "kind": "direct surrogate",
        "variant": variant,
        "fingerprint": fingerprint,
        "strain": sets["train"].strain.tolist(),
        "component": sets["train"].component,
        "inputs": z["train"].shape[1],
        "left_out": {name: curves.left_out for name, curves in sets.items()},
    }
    if variant != "ours":
        extremes = torch.cat([curves.stress for curves in scaled_by])
        model, more = _train_paper(job, variant == "coded", fingerprint, z, stress, extremes)
        tensors = _with_deviation(model, z["validation"], stress["validation"])
    else:
        more = {"features": list(range(config["inputs"]))[encoder.parts.get("averages", slice(None))]}
        tensors = _train_ours(job, {name: part[:, more["features"]].double() for name, part in z.items()}, stress).state
    job.save_model(f"direct_{variant}_{fingerprint}.safetensors", tensors, config | more)


@torch.no_grad()
def _with_deviation(model: StressMLP, z: Tensor, stress: Tensor) -> dict[str, Tensor]:
    """State of S1's network, which has no error bar of its own, with its root-mean-square error on the validation set."""
    return {**model.state_dict(), "deviation": (model(z) - stress).square().mean(0).sqrt().double()}


def _train_paper(
    job: Job, coded: bool, fingerprint: str, z: Mapping[str, Tensor], stress: Mapping[str, Tensor], scaled_by: Tensor
) -> tuple[StressMLP, dict[str, Any]]:
    settings: SurrogateSettings = job.params.surrogate
    sizes = {"inputs": z["train"].shape[1], "points": stress["train"].shape[1], "hidden": settings.paper_hidden, "coded": coded}
    seed = job.seed("surrogate paper")
    with seeded(seed):
        model = StressMLP(**sizes)
    model.scale(scaled_by)
    passes = min(PASSES, settings.paper_epochs)
    epochs, decay = max(1, settings.paper_epochs // passes), settings.paper_weight_decay
    schedule = Schedule(epochs, settings.paper_batch_size, settings.paper_learning_rate, weight_decay=decay)
    train, validation = (
        CurveSamples(z[name].to(job.device), stress[name].float().to(job.device), count)
        for name, count in (("train", passes), ("validation", 1))
    )
    label = f"surrogate, as {'coded' if coded else 'written'}, on {fingerprint}"
    history = fit(job, model, train, validation, schedule, seed=seed, label=label)
    return model.cpu(), {"network": sizes, "history": history}


def _train_ours(job: Job, features: Mapping[str, Tensor], stress: Mapping[str, Tensor]) -> CurveProcess:
    settings: SurrogateSettings = job.params.surrogate
    generator = job.generator("surrogate ours")
    process = CurveProcess.fit(features["train"], stress["train"], settings.modes, generator, settings.points)
    process.calibrate(features["validation"], stress["validation"])
    return process
