"""Inverse design of two-phase composites by VAE-regression (S2): the public class, and the steps that train it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from microprint import store
from microprint.arrays import Array, integers, numbers, whole
from microprint.errors import UserError
from microprint.machine import choose_device
from microprint.networks.losses import sample_posterior
from microprint.networks.vae_regression import (
    CNN3D,
    PRIORS,
    UNCONDITIONED,
    Mixture,
    Objective,
    Posteriors,
    SliceStyle,
    TwoPointLoss,
    VAERegression,
    Weights,
    fit_generator,
    log_density,
)
from microprint.networks.vgg import VGG19
from microprint.networks.vgg_weights import cached
from microprint.params.sections import Params, VAERegressionSettings
from microprint.steps import Files, Job, step
from microprint.systems.designs import binarise, refine_latent
from microprint.systems.stiffness import components, entry, labelled, permute_axes, phase_stiffnesses
from microprint.training import Schedule, fit, seeded

BATCH = 16  # volumes that go through a trained network together
PRIOR_VIEWS = 4  # of each training volume, turned and shifted anew, that the generator is trained on at the end
Target = float | Sequence[float] | Array  # wanted properties (p,), Pa; one number where there is one property


class LogScale:
    """Properties to standardised logarithms and back: errors are then relative, and predictions positive.

    `mean` and `std` are those of the natural logarithm of each property (in Pa) over the training set.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        self.mean, self.std = torch.tensor(mean), torch.tensor(std)

    @classmethod
    def of(cls, properties: Tensor) -> LogScale:
        """Scale of a training set (N, p), Pa; a property that is the same in all of it, as in a single one, keeps its scale."""
        logs = properties.double().log()
        std = logs.std(0) if len(logs) > 1 else torch.zeros_like(logs[0])
        return cls(logs.mean(0).tolist(), torch.where(std > 1e-6, std, 1.0).tolist())

    def forward(self, properties: Tensor) -> Tensor:
        """Standardised (B, p), float32, of properties in Pa."""
        mean, std = self.mean.to(properties.device), self.std.to(properties.device)
        return (properties.float().log() - mean) / std

    def inverse(self, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        """Median and standard deviation (log-normal, first order) in Pa of standardised Gaussians (B, p)."""
        std = self.std.to(mean.device)
        median = (mean * std + self.mean.to(mean.device)).exp()
        return median, median * std * (log_variance / 2).exp()


class CompositeSamples:
    """Phases (N, n, n, n) uint8 and stiffnesses (N, 6, 6) Pa, Voigt, on the training device, and the `names` of the properties.

    `augment` turns, mirrors and shifts each volume at random: the composites are periodic and their phases isotropic, so
    the stiffness of the result is known.
    """

    def __init__(self, phase: Tensor, stiffness: Tensor, names: Sequence[str], scale: LogScale, augment: bool):
        self.phase, self.stiffness, self.names, self.scale, self.augment = phase, stiffness, names, scale, augment

    def __len__(self) -> int:
        return len(self.phase)

    def batch(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """``phase`` (B, 1, n, n, n) float and ``property`` (B, p) standardised."""
        index = index.to(self.phase.device)
        phase, stiffness = self.phase[index], self.stiffness[index]
        if self.augment:
            numbers = torch.rand(len(index), 9, generator=generator, device=generator.device).cpu()
            moved = [move(*sample) for sample in zip(phase, stiffness, numbers)]
            phase, stiffness = (torch.stack(part) for part in zip(*moved))
        return {"phase": phase[:, None].float(), "property": self.scale.forward(components(stiffness, self.names))}


def move(phase: Tensor, stiffness: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """A volume (n, n, n) and its stiffness (6, 6) after the permutation, mirrors and shift that 9 numbers in [0, 1) choose.

    A mirror changes the sign of couplings between normal and shear components alone, which no property is.
    """
    axes = numbers[:3].argsort().tolist()
    mirrored = [axis for axis in range(3) if numbers[3 + axis] < 0.5]
    shift = (numbers[6:] * phase.shape[0]).long().tolist()
    return phase.permute(*axes).flip(mirrored).roll(shift, (0, 1, 2)), permute_axes(stiffness, axes)


class Designs(NamedTuple):
    """Proposals for one target."""

    designs: Tensor  # (count, n, n, n) uint8 phase ids, 1 the hard phase
    probability: Tensor  # (count,) weight of the prior's component that a design comes from
    predicted: Tensor  # (count, p) properties that the regressor expects of the designs, Pa


class InverseDesign:
    """Composites of wanted stiffness, and the stiffness of composites.

    Arrays may be of any kind that `microprint.arrays` reads; what comes back are tensors in main memory, without gradients.
    `config` holds ``model`` (the network's sizes), ``properties`` (names), ``log_mean`` and ``log_std`` (of the properties),
    and what training left on record.

    >>> design = InverseDesign.load("inverse_design_mixture.safetensors")     # doctest: +SKIP
    >>> phase_ids, probability, predicted = design.propose(35e9, count=2)     # doctest: +SKIP
    """

    def __init__(self, model: VAERegression, config: Mapping[str, Any]):
        self.model, self.config = model.eval(), dict(config)
        self.scale = LogScale(config["log_mean"], config["log_std"])
        self.edge, self.properties = config["model"]["edge"], tuple(config["properties"])

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> InverseDesign:
        """Read a trained model; `device` is ``"cpu"``, ``"cuda"``, or ``"auto"`` for a GPU where there is one.

        Raises `UserError` if the file is missing, damaged or another model, or there is no such device.
        """
        device = choose_device(device, "device")
        state, metadata = store.load_tensors(path)
        config = metadata.get("config", {})
        if config.get("kind") != "inverse_design":
            raise UserError("is no inverse-design model", path, "Train one in notebook 07")
        model = VAERegression(**config["model"])
        model.load_state_dict(state)
        return cls(model.to(device), config)

    @torch.no_grad()
    def predict(self, phase_ids: Array) -> tuple[Tensor, Tensor]:
        """Properties of composites (B, n, n, n) of 0 and 1: median (B, p) and the regressor's own standard deviation, Pa.

        Raises `UserError` for another edge than that trained on, or other ids.
        """
        parts = [self.model.posteriors(x)[2:] for x in self._volumes(phase_ids).split(BATCH)]
        median, std = self.scale.inverse(*(torch.cat(part) for part in zip(*parts)))
        return median.cpu(), std.cpu()

    @torch.no_grad()
    def encode(self, phase_ids: Array) -> Tensor:
        """Posterior means (B, d) of z for composites as `predict` takes them."""
        return torch.cat([self.model.posteriors(x)[0] for x in self._volumes(phase_ids).split(BATCH)]).cpu()

    @torch.no_grad()
    def posteriors(self, phase_ids: Array, properties: Array) -> Posteriors:
        """Posteriors of z for composites as `predict` takes them, with their properties (B, p), Pa; see `conditional_prior`."""
        wanted = numbers(properties, "properties", ("B", len(self.properties)), dtype=torch.float32)
        parts = [self.model.posteriors(x)[:2] for x in self._volumes(phase_ids).split(BATCH)]
        mean, log_variance = (torch.cat(part).cpu() for part in zip(*parts))
        return Posteriors(mean, log_variance, self.scale.forward(wanted))

    @torch.no_grad()
    def prior(self, target: Target) -> Mixture:
        """Conditional prior p(z | c) of one target (p,), Pa; raises `UserError` unless it is positive and of p entries."""
        return self.model.generator(self._standardised(target))

    @torch.no_grad()
    def decode(self, z: Array) -> Tensor:
        """Fields (B, n, n, n) in (0, 1) of latent vectors (B, d); `binarise` makes phase ids of them.

        Raises `UserError` if the vectors are none, of another width or not finite.
        """
        return torch.cat([self.model.decoder(part)[:, 0] for part in self._latent(z).split(BATCH)]).cpu()

    def latents(self, target: Target, count: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Latent vectors (count, d) for a target and the weights (count,) of their components.

        First the components' means, the likeliest component first, as S2 does; what goes beyond them is sampled.
        """
        count = whole(count, "count")
        prior = Mixture(*(part[0].cpu() for part in self.prior(target)))
        order = prior.log_weight.argsort(descending=True)
        beyond = max(0, count - len(order))
        generator = generator or torch.Generator().manual_seed(0)
        drawn = torch.multinomial(prior.log_weight.exp(), max(beyond, 1), True, generator=generator)[:beyond]
        z = torch.cat([prior.mean[order], sample_posterior(prior.mean[drawn], prior.log_variance[drawn], generator)])[:count]
        return z, prior.log_weight.exp()[torch.cat([order, drawn])][:count]

    def propose(self, target: Target, count: int, generator: torch.Generator | None = None) -> Designs:
        """Composites that should have the target properties (p,), Pa, in the order of `properties`.

        First come the means of the prior's components, then samples of it. Raises `UserError` for a target of the wrong size,
        not positive or not finite, or a count below one.
        """
        z, probability = self.latents(target, count, generator)
        designs = binarise(self.decode(z))
        return Designs(designs, probability, self.predict(designs)[0])

    def refine(self, z: Array, target: Target, steps: int) -> Tensor:
        """Move latent vectors (B, d) so that the regressor sees the target in what they decode to.

        The gradient of ``|c(decode(z)) - c*|^2 - ln p(z | c*) / d`` is followed: the second term, per latent number, keeps
        z where the conditional prior has been trained.
        """
        steps, prior, wanted = whole(steps, "steps"), self.prior(target), self._standardised(target)

        def objective(z: Tensor) -> Tensor:
            regressed = self.model.posteriors(self.model.decoder(z))[2]
            return (regressed - wanted).square().sum(1) - log_density(prior, z) / z.shape[1]

        return refine_latent(self._latent(z), objective, steps).cpu()

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _latent(self, z: Array) -> Tensor:
        return numbers(z, "z", ("B", self.config["model"]["latent_dim"]), dtype=torch.float32).to(self._device)

    def _standardised(self, target: Target) -> Tensor:
        """Network input (1, p) of a checked target."""
        wanted = numbers(target, "target", ("p",), single=True, dtype=torch.float32)
        if len(wanted) != len(self.properties) or not (wanted > 0).all():
            fault = f"holds {wanted.tolist()} for {', '.join(self.properties)}"
            raise UserError(fault, "target", "Give one positive number in Pa for each property")
        return self.scale.forward(wanted[None]).to(self._device)

    def _volumes(self, phase_ids: Array) -> Tensor:
        """Network input (B, 1, n, n, n) of checked phase ids."""
        ids = integers(phase_ids, "phase_ids", ("B", "n", "n", "n"), small=True)
        if (edge := ids.shape[-1]) != self.edge:
            raise UserError(f"volumes of edge {edge}", "phase_ids", f"Give volumes of the edge trained on, {self.edge}")
        if not ((ids == 0) | (ids == 1)).all():
            raise UserError(f"phase ids from {ids.min()} to {ids.max()}", "phase_ids", "Write 0 (soft) and 1 (hard)")
        return ids[:, None].to(self._device, torch.float32)


# --- training --------------------------------------------------------------------------------------------------------


def regression_files(params: Params) -> Files:
    """VGG19's weights for a style loss; raises `UserError` where they are missing, and for a target that no composite has."""
    settings = params.vae_regression
    low, high = (float(stiffness[entry(settings.properties[0])]) / 1e9 for stiffness in phase_stiffnesses())
    for target in (target for target in settings.targets_gpa if not low < target < high):
        fault = f"{target:g} GPa of {settings.properties[0]} lies outside of the pure phases' {low:.1f} to {high:.1f}"
        raise UserError(fault, "vae_regression.targets_gpa", "Ask for a value between them")
    return {"vgg19": cached()} if settings.reconstruction == "style" else {}


@step(
    reads=("vae_regression",),
    inputs=("composites.h5", "stiffness.h5", "splits.json"),
    outputs=("inverse_design_{prior}.safetensors",),
    files=regression_files,
)
def train_inverse_design(job: Job, *, prior: str) -> None:
    """Train VAE-regression with a prior of `PRIORS`: "gaussian" and "mixture" are S2's, "single" stands between them."""
    if prior not in PRIORS:
        raise UserError(f"no prior is called {prior}", remedy=f"Choose among {', '.join(PRIORS)}")
    settings = job.params.vae_regression
    train, validation, config = _data(job, settings)
    config["model"] |= {"prior": prior, "components": settings.components, "latent_dim": settings.latent_dim}
    seed = job.seed(f"inverse design {prior}")
    with seeded(seed):
        model = VAERegression(**config["model"])
    reconstruction = _reconstruction(settings).to(job.device)
    objective = Objective(model, reconstruction, _weights(job, settings, reconstruction, train))
    schedule = _schedule(settings, settings.epochs)
    history = fit(job, objective, train, validation, schedule, seed=seed, label=f"VAE-regression, {prior}")
    divergence = _refit_prior(job, model, train, settings.prior_steps)
    config |= {"kind": "inverse_design", "history": history, "prior_divergence": divergence}
    job.save_model(f"inverse_design_{prior}.safetensors", model.state_dict(), config)


@step(reads=("vae_regression",), inputs=("composites.h5", "stiffness.h5", "splits.json"), outputs=("forward_cnn.safetensors",))
def train_forward_cnn(job: Job) -> None:
    """Train the forward-only 3D CNN, the same trunk and regressor with nothing else to learn."""
    settings, seed = job.params.vae_regression, job.seed("forward CNN")
    train, validation, config = _data(job, settings)
    with seeded(seed):
        model = CNN3D(**config["model"])
    history = fit(job, model, train, validation, _schedule(settings, settings.cnn_epochs), seed=seed, label="3D CNN")
    job.save_model("forward_cnn.safetensors", model.state_dict(), config | {"kind": "forward_cnn", "history": history})


@step(
    reads=("vae_regression",),
    inputs=("composites.h5", "stiffness.h5", "splits.json"),
    outputs=("vae.safetensors",),
    files=regression_files,
)
def train_vae(job: Job) -> None:
    """Train S2's network as a plain VAE: no property is learnt, and the prior is N(0, 1); `vae_features` reads it."""
    settings, seed = job.params.vae_regression, job.seed("plain VAE")
    train, validation, config = _data(job, settings)
    config["model"] |= {"prior": UNCONDITIONED, "components": 1, "latent_dim": settings.latent_dim}
    with seeded(seed):
        model = VAERegression(**config["model"])
    reconstruction = _reconstruction(settings).to(job.device)
    weights = _weights(job, settings, reconstruction, train)._replace(regression=0.0)
    objective = Objective(model, reconstruction, weights)
    history = fit(job, objective, train, validation, _schedule(settings, settings.epochs), seed=seed, label="plain VAE")
    job.save_model("vae.safetensors", model.state_dict(), config | {"kind": "vae", "history": history})


@torch.no_grad()
def vae_features(path: str | Path, phase_ids: Tensor) -> Tensor:
    """Posterior means (B, d) that a trained plain VAE gives volumes (B, n, n, n)."""
    state, metadata = store.load_tensors(path)
    model = VAERegression(**metadata["config"]["model"])
    model.load_state_dict(state)
    return torch.cat([model.posteriors(x[:, None].float())[0] for x in phase_ids.split(BATCH)])


@torch.no_grad()
def predict_cnn(path: str | Path, phase_ids: Tensor) -> Tensor:
    """Properties (B, p), Pa, that a trained forward-only CNN gives volumes (B, n, n, n)."""
    state, metadata = store.load_tensors(path)
    model = CNN3D(**metadata["config"]["model"])
    model.load_state_dict(state)
    standardised = torch.cat([model(x[:, None].float()) for x in phase_ids.split(BATCH)])
    scale = LogScale(metadata["config"]["log_mean"], metadata["config"]["log_std"])
    return scale.inverse(standardised, torch.zeros_like(standardised))[0]


def _data(job: Job, settings: VAERegressionSettings) -> tuple[CompositeSamples, CompositeSamples, dict[str, Any]]:
    """Training and validation samples, and the configuration that every model of them has."""
    with job.open("composites.h5") as composites, job.open("stiffness.h5", "stiffness") as labels:
        phase, stiffness, split = labelled(composites, labels, job.load_json("splits.json")["composites"])
    stiffness, names = stiffness.float(), settings.properties
    scale = LogScale.of(components(stiffness[split["train"]], names))

    def samples(part: str, augment: bool) -> CompositeSamples:
        index = split[part]
        return CompositeSamples(phase[index].to(job.device), stiffness[index].to(job.device), names, scale, augment)

    sizes = {"edge": phase.shape[-1], "properties": len(names), "width": settings.width, "hidden": settings.hidden}
    config = {"model": sizes, "properties": list(names), "log_mean": scale.mean.tolist(), "log_std": scale.std.tolist()}
    return samples("train", settings.augment), samples("validation", False), config


def _schedule(settings: VAERegressionSettings, epochs: int) -> Schedule:
    # Without a slow start and a limit to its gradients a training may learn no property at all, or only late.
    rate = {"decay": settings.decay, "warmup": 0.1, "gradient_clip": 1.0, "patience": settings.patience}
    return Schedule(epochs, settings.batch_size, settings.learning_rate, **rate)


def _reconstruction(settings: VAERegressionSettings) -> SliceStyle | TwoPointLoss:
    if settings.reconstruction == "two_point":
        return TwoPointLoss()
    return SliceStyle(VGG19.load(), settings.style_layers, settings.slices_per_axis)


@torch.no_grad()
def _weights(
    job: Job, settings: VAERegressionSettings, reconstruction: SliceStyle | TwoPointLoss, train: CompositeSamples
) -> Weights:
    """Factors of the loss; the reconstruction's is one over its mean between unrelated volumes of the training set."""
    generator = job.generator("reconstruction scale", job.device)
    volumes = train.phase[: 2 * BATCH, None].float()
    pairs = zip(volumes.split(BATCH), volumes.roll(1, 0).split(BATCH))
    unrelated = torch.cat([reconstruction(x, y, generator) for x, y in pairs]).mean().item()
    return Weights(
        1 / unrelated if settings.normalise_style and unrelated else 1.0,
        settings.regression_multiplier * settings.regression_weight,
        settings.kl_multiplier * settings.kl_weight,
    )


def _refit_prior(job: Job, model: VAERegression, train: CompositeSamples, steps: int) -> list[float]:
    """Divergence before and after the generator's own training, nats, on `PRIOR_VIEWS` views of each volume."""
    generator = job.generator("prior", job.device)
    batches = [train.batch(part, generator) for _ in range(PRIOR_VIEWS) for part in torch.arange(len(train)).split(BATCH)]
    with torch.no_grad():
        posteriors = [model.posteriors(batch["phase"])[:2] for batch in batches]
    properties = torch.cat([batch["property"] for batch in batches])
    known = Posteriors(*(torch.cat(part) for part in zip(*posteriors)), properties)
    history = fit_generator(model.generator, known, steps)
    return history[:1] + history[-1:]
