"""How many components the conditional prior p(z | c) should have: S2 leaves that open, held-out likelihood decides it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from microprint.networks.losses import sample_posterior
from microprint.networks.medium_vae import fit_prior
from microprint.networks.vae_regression import GaussianPrior, MixturePrior, Posteriors, fit_generator, log_density
from microprint.training import seeded

STEPS, RESTARTS, DRAWS = 1000, 3, 16
LEAST = 0.1  # nats that a further component has to bring
LINEAR = 0  # in the place of a number of components: the Gaussian whose mean is linear in c (S2 table 4)


@torch.no_grad()
def likelihood(generator: nn.Module, posteriors: Posteriors, draws: int = DRAWS, seed: int = 0) -> Tensor:
    """Expectation (N,) of ln p(z | c), nats, over z of each posterior, by `draws` samples; c is the observed property."""
    rng = torch.Generator().manual_seed(seed)
    prior = generator(posteriors.c)
    samples = (sample_posterior(posteriors.mean, posteriors.log_variance, rng) for _ in range(draws))
    return torch.stack([log_density(prior, z) for z in samples]).mean(0).cpu()


def held_out_likelihoods(
    train: Posteriors,
    validation: Posteriors,
    counts: Sequence[int] = (LINEAR, 1, 2, 3, 4),
    steps: int = STEPS,
    restarts: int = RESTARTS,
    seed: int = 0,
) -> dict[int, Tensor]:
    """`likelihood` (M,) of validation posteriors, under generators of K components fitted to training posteriors, by K.

    K = 1 has the mixture's network, so that from it on a gain is due to components alone; `LINEAR` is S2's Gaussian. Each is
    fitted as S2 trains it, by the bound of eq. (3), `restarts` times from other weights; the best on the training set counts.
    The mean is nats a composite; two numbers of components should be compared by the mean of their difference and its
    standard error. The posteriors are one model's, and favour the K that it was trained with: compare those of several models.
    """
    likelihoods = {}
    properties, latent_dim = train.c.shape[1], train.mean.shape[1]
    for count in counts:
        fits = []
        for restart in range(restarts if count > 1 else 1):
            with seeded(seed + restart):
                linear = count == LINEAR
                new = GaussianPrior(properties, latent_dim) if linear else MixturePrior(properties, latent_dim, count)
            new.to(train.mean.device)
            fits.append((fit_generator(new, train, steps)[-1], restart, new))
        likelihoods[count] = likelihood(min(fits)[2], validation, seed=seed)
    return likelihoods


def fit_mixtures(
    known: Posteriors, unseen: Posteriors, counts: Sequence[int], hidden: int, steps: int, seed_of: Callable[[int], int]
) -> tuple[dict[int, MixturePrior], dict[int, Tensor]]:
    """Mixtures by their number of components, fitted by likelihood, and the `likelihood` (M,) of unseen posteriors under each.

    `seed_of` gives the seed of a number of components; weights and samples are drawn by it.
    """
    fits, likelihoods, device = {}, {}, known.c.device
    for count in counts:
        with seeded(seed_of(count)):
            fits[count] = MixturePrior(known.c.shape[1], known.mean.shape[1], count, hidden).to(device)
        fit_prior(fits[count], known, steps, torch.Generator(device).manual_seed(seed_of(count)))
        likelihoods[count] = likelihood(fits[count], unseen)
    return fits, likelihoods


def best_count(likelihoods: dict[int, Tensor], least: float = LEAST) -> int:
    """Smallest K that no other beats by more than `least` nats and one standard error of the difference, `LINEAR` aside."""
    counts = sorted(count for count in likelihoods if count != LINEAR)
    best = max(counts, key=lambda count: float(likelihoods[count].mean()))

    def behind(count: int) -> bool:
        gap = likelihoods[best] - likelihoods[count]
        return float(gap.mean()) > max(least, float(gap.std() / len(gap) ** 0.5))

    return next(count for count in counts if count == best or not behind(count))
