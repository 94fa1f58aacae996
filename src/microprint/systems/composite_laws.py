"""Training of our VAE-regression (`networks.medium_vae`) on the study's composites, and of the priors by which it designs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from microprint.networks.medium_vae import MediumVAE
from microprint.networks.random_medium import arc_of, at, autocorrelation, lags, level_of
from microprint.networks.vae_regression import MixturePrior, Posteriors
from microprint.steps import Job, step
from microprint.systems.conditional_prior import best_count, fit_mixtures
from microprint.systems.inverse_design import LogScale
from microprint.systems.stiffness import components, labelled, permute_axes
from microprint.systems.stiffness_surrogate import COMPONENTS
from microprint.training import Schedule, fit, seeded

# Properties by which designs can be asked for; each has a conditional prior of its own, C11 one for two morphologies, too.
ASKED = (("C11",), ("C11", "C22", "C33"), COMPONENTS)
AT_ONCE = 64  # volumes whose statistics are taken together
TOO_FEW = 6  # composites of two morphologies, below which they get no prior


def statistics_of(phase: Tensor) -> tuple[Tensor, Tensor]:
    """What `MediumVAE` sees of volumes (B, n, n, n): ``statistics`` and ``probabilities``, both (B, L + 1), float32."""
    vectors, fraction = lags(phase.shape[-1]).to(phase.device), phase.double().mean((1, 2, 3))
    probability, level = at(autocorrelation(phase.double()), vectors), level_of(fraction)
    seen = torch.cat([arc_of(level, probability), level[:, None]], 1)
    return seen.float(), torch.cat([probability, fraction[:, None]], 1).float()


class MediumSamples:
    """Statistics of composites with all permutations of their axes, and their standardised properties."""

    def __init__(self, phase: Tensor, stiffness: Tensor, widths: Tensor, scale: LogScale, device: torch.device):
        orders = list(permutations(range(3)))
        self.widths = torch.cat([widths[:, order] for order in orders])
        parts = [statistics_of(part.permute(0, *(a + 1 for a in order))) for order in orders for part in phase.split(AT_ONCE)]
        self.statistics, self.probabilities = (torch.cat(part).to(device) for part in zip(*parts))
        turned = torch.cat([permute_axes(stiffness, order) for order in orders])
        self.property = scale.forward(components(turned, COMPONENTS)).to(device)

    def __len__(self) -> int:
        return len(self.property)

    def batch(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """See `MediumVAE.losses`."""
        index = index.to(self.property.device)
        return {name: getattr(self, name)[index] for name in ("statistics", "probabilities", "property")}


@step(
    reads=("composite_design",),
    inputs=("composites.h5", "stiffness.h5", "splits.json"),
    outputs=("composite_design.safetensors",),
)
def train_composite_design(job: Job) -> None:
    """Train our VAE-regression, then a conditional prior for each of `ASKED`: one Gaussian, and K as validation likes it."""
    settings = job.params.composite_design
    with job.open("composites.h5") as composites, job.open("stiffness.h5", "stiffness") as labels:
        phase, stiffness, parts = labelled(composites, labels, job.load_json("splits.json")["composites"])
        widths = torch.from_numpy(composites["widths"][:][labels["converged"][:]])
    scale = LogScale.of(components(stiffness[parts["train"]], COMPONENTS))
    make = partial(MediumSamples, scale=scale, device=job.device)
    train, held = (make(phase[i], stiffness[i], widths[i]) for i in (parts["train"], parts["validation"]))
    sizes = {"edge": phase.shape[-1], "properties": len(COMPONENTS)}
    sizes |= {"latent_dim": settings.latent_dim, "hidden": settings.hidden}
    seed = job.seed("composite design")
    with seeded(seed):
        model = MediumVAE(**sizes).to(job.device)
    model.standardise(train.statistics)
    schedule = Schedule(settings.epochs, settings.batch_size, settings.learning_rate, decay="cosine", gradient_clip=5.0)
    history = fit(job, model, train, held, schedule, seed=seed, label="composite design")
    state, config = _named(model, "model"), {"model": sizes, "kind": "composite_design", "history": history, "priors": {}}
    config |= {"log_mean": scale.mean.tolist(), "log_std": scale.std.tolist(), "likelihood": {}}
    everything, two = (slice(None),) * 2, tuple(two_morphologies(samples.widths) for samples in (train, held))
    wanted = [("", names, everything) for names in ASKED]
    if all(int(chosen.sum()) >= TOO_FEW for chosen in two):
        wanted.append(("two ", ("C11",), two))
    for prefix, names, chosen in wanted:
        fits, likelihoods = _fit_priors(job, model, train, held, names, chosen)
        label = " ".join(names)
        config["likelihood"][prefix + label] = {count: x.mean().item() for count, x in likelihoods.items()}
        for kind, count in (("gaussian", 1), ("mixture", best_count(likelihoods))):
            sizes = {"properties": len(names), "latent_dim": settings.latent_dim, "components": count}
            config["priors"][f"{prefix}{kind} {label}"] = sizes | {"hidden": settings.prior_hidden}
            state |= _named(fits[count], f"{prefix}{kind} {label}")
    job.save_model("composite_design.safetensors", state, config)


def two_morphologies(widths: Tensor) -> Tensor:
    """Which of the composites (N,), by their filters' widths (N, 3), are S2's two families: remarkably different, one C11.

    Fibres along x, which are as stiff with a little of the hard phase as plates normal to x with much of it: the longest width
    along x and the shortest across, and the other way round. S2's own two filters are lost.
    """
    least, most = (widths.nan_to_num(end).amin() if end else widths.nan_to_num(end).amax() for end in (torch.inf, 0.0))
    fibres, plates = (torch.stack([a, b, b]) for a, b in ((most, least), (least, most)))
    return (widths == fibres).all(1) | (widths == plates).all(1)


def _fit_priors(
    job: Job, model: MediumVAE, train: MediumSamples, held: MediumSamples, names: Sequence[str], chosen: Sequence[Any]
) -> tuple[dict[int, MixturePrior], dict[int, Tensor]]:
    """Priors of every number of components, and the likelihood (M,) of held-out posteriors under each, nats."""
    settings, index = job.params.composite_design, [COMPONENTS.index(name) for name in names]
    with torch.no_grad():
        known = [Posteriors(*model.posterior(s.statistics), s.property[:, index]) for s in (train, held)]
    seen, unseen = (Posteriors(*(x[some] for x in posteriors)) for posteriors, some in zip(known, chosen))
    counts, name = sorted({1, *settings.components}), f"{' '.join(names)} {len(seen.c)}"
    return fit_mixtures(
        seen, unseen, counts, settings.prior_hidden, settings.prior_steps, lambda k: job.seed(f"prior {k} {name}")
    )


def _named(module: torch.nn.Module, prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": x for name, x in module.state_dict().items()}
