"""Micrographs for a wanted property: a conditional prior on the latent vector, drawings, and their simulation.

The prior is S2's, p(z | c) with K Gaussians, c the standardised logarithm of the property. What a prior proposes is drawn,
segmented and simulated like the images that it was learnt from; the value asked for is then corrected by what came out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from microprint.analysis.graphite import graphite
from microprint.networks.losses import sample_posterior
from microprint.networks.vae_regression import MixturePrior, Posteriors
from microprint.systems.conditional_prior import best_count, fit_mixtures
from microprint.systems.micrograph_properties import PROPERTIES, TOLERANCE, simulate

COMPONENTS, STEPS, HIDDEN = (1, 2, 4), 600, 8
SLOPES = (0.05, 5.0)  # of a property's logarithm over what is asked for, as two simulations may give it
FARTHEST = 1.0  # that a correction goes, of the logarithm
NEAR = 0.01  # of the logarithm; a drawing that is no farther off is never given up
# Images (B, h, w) in [0, 1] of latent vectors (B, d), each by the noise of a number of its own.
Decode = Callable[[Tensor, list[int]], Tensor]


@dataclass(frozen=True)
class TexturePrior:
    """p(z | c) of one property, Pa, with the mean log-likelihood of unseen images by its number of components."""

    generator: MixturePrior
    mean: float
    deviation: float
    likelihoods: dict[int, float]
    direction: Tensor  # (d,) in which z goes with the property's logarithm, by least squares

    @classmethod
    def fit(cls, z: Tensor, log_variance: Tensor, values: Tensor, held: Tensor, seed: int) -> TexturePrior:
        """Prior of patches with posteriors (N, d) and their images' property (N,), Pa; `held` (N,) bool says what is unseen.

        K is the smallest of `COMPONENTS` that no other beats on what is held out; its fit is what is kept.
        """
        logs = values.log().float()
        mean, deviation = float(logs[~held].mean()), float(logs[~held].std(correction=0).clamp_min(1e-6))
        c = ((logs - mean) / deviation)[:, None]
        known, unseen = (Posteriors(z[some], log_variance[some], c[some]) for some in (~held, held))
        fits, likelihoods = fit_mixtures(known, unseen, COMPONENTS, HIDDEN, STEPS, lambda count: seed + count)
        direction = ((logs - mean)[:, None] * (z - z[~held].mean(0)))[~held].mean(0) / deviation**2
        average = {k: float(x.mean()) for k, x in likelihoods.items()}
        return cls(fits[best_count(likelihoods)], mean, deviation, average, direction)

    @torch.no_grad()
    def sample(self, value: float, count: int, generator: torch.Generator) -> Tensor:
        """Latent vectors (count, d) for a property in Pa."""
        c = torch.tensor([[(np.log(value) - self.mean) / self.deviation]], dtype=torch.float32)
        log_weight, mean, log_variance = (part[0] for part in self.generator(c))
        chosen = torch.multinomial(log_weight.exp(), count, replacement=True, generator=generator)
        return sample_posterior(mean[chosen], log_variance[chosen], generator)


def read_and_simulate(images: np.ndarray, tolerance: float = TOLERANCE) -> dict[str, np.ndarray]:
    """Properties (B,), Pa, of grey images (B, h, w) at 4 um a pixel: graphite is segmented, the rest simulated as ferrite.

    NaN where an image has no graphite or nothing else. A large `tolerance` ends the solver after a few iterations.
    """
    dark = graphite(images)
    usable = dark.any((1, 2)) & ~dark.all((1, 2))
    values = {name: np.full(len(images), np.nan) for name in PROPERTIES}
    if usable.any():
        for name, simulated in simulate(dark[usable].astype(np.uint8), tolerance).items():
            values[name][usable] = simulated.numpy()
    return values


@dataclass(frozen=True)
class Design:
    """Drawings for one wanted property and what they have; Pa."""

    target: float
    z: Tensor  # (n, d)
    images: np.ndarray  # (n, h, w)
    proposed: np.ndarray  # (n,) before any correction
    values: np.ndarray  # (n,) at last

    def better(self, z: Tensor, images: np.ndarray, values: np.ndarray) -> Design:
        """The same with those drawings (n, h, w), their vectors (n, d) and values (n,) that come nearer."""
        nearer = np.abs(values / self.target - 1) < np.nan_to_num(np.abs(self.values / self.target - 1), nan=np.inf)
        shown = np.where(nearer[:, None, None], images, self.images)
        vectors = torch.where(torch.from_numpy(nearer)[:, None], z, self.z)
        return Design(self.target, vectors, shown, self.proposed, np.where(nearer, values, self.values))

    def error_pct(self, corrected: bool = True) -> float:
        """Mean error of the drawings that have the property, %; NaN if none has."""
        values = self.values if corrected else self.proposed
        known = values[np.isfinite(values)]
        return 100 * float(np.abs(known / self.target - 1).mean()) if known.size else np.nan


def design(
    prior: TexturePrior, decode: Decode, name: str, target: float, count: int, rounds: int, generator: torch.Generator
) -> Design:
    """`count` drawings of a property `name`, Pa: sampled, simulated, and corrected `rounds` times.

    A drawing is moved in the prior's direction by what its simulations say is missing, and no further: drawings stay as
    different as they were proposed. One that comes no nearer, as where a shade of grey is read as graphite all at once and
    the property jumps across its target, gives way to another proposal with other noise. The best of all rounds counts.
    """
    proposed, moves, off, best = prior.sample(target, count, generator), np.zeros((1, count)), np.empty((0, count)), None
    noise = np.arange(count)
    for _ in range(rounds + 1):
        z = proposed + torch.from_numpy(moves[-1]).float()[:, None] * prior.direction
        images = np.asarray(decode(z, noise.tolist()).cpu())
        values = read_and_simulate(images)[name]
        best = best.better(z, images, values) if best else Design(target, z, images, values, values)
        with np.errstate(invalid="ignore"):
            off = np.vstack([off, np.log(values / target)])
        moves = np.vstack([moves, [_next(*pair) for pair in zip(moves.T, off.T)]])
        if (stalled := _stalled(off)).any():
            proposed[stalled] = prior.sample(target, int(stalled.sum()), generator)
            moves[-1, stalled], off[:, stalled], noise[stalled] = 0, np.nan, noise[stalled] + count
    return best


def shortlist(
    prior: TexturePrior, decode: Decode, name: str, target: float, count: int, proposals: int, generator: torch.Generator
) -> Design:
    """The `count` drawings that come nearest to a property, of so many `proposals`, simulated and never corrected."""
    z = prior.sample(target, proposals, generator)
    images = np.asarray(decode(z, list(range(proposals))).cpu())
    values = read_and_simulate(images)[name]
    nearest = np.abs(values / target - 1).argsort()[:count]  # what is no number comes last
    return Design(target, z[nearest], images[nearest], values[:count], values[nearest])


def _stalled(off: np.ndarray) -> np.ndarray:
    """Which drawings (n,) are far off still and came no nearer by their last two corrections; of the logarithms (r, n)."""
    error = np.nan_to_num(np.abs(off), nan=np.inf)
    return (error.min(0) > NEAR) & (error[:-2].min(0, initial=np.inf) <= error[-2:].min(0))


def _next(moves: np.ndarray, off: np.ndarray) -> float:
    """The next move of a drawing from those made (r,) and the logarithms (r,) by which its property was off.

    By the secant through the two nearest to the target, or half way between where the property was too small and too large.
    """
    made, known = moves[-1], np.isfinite(off)
    moves, off = moves[known], off[known]
    if not len(off):
        return made
    near = np.argsort(np.abs(off))[:2]
    rise, run = off[near[0]] - off[near[-1]], moves[near[0]] - moves[near[-1]]
    slope = np.clip(rise / run, *SLOPES) if run else 1.0
    move = moves[near[0]] - np.clip(off[near[0]] / slope, -FARTHEST, FARTHEST)
    low, high = moves[off <= 0].max(initial=-np.inf), moves[off > 0].min(initial=np.inf)
    return (low + high) / 2 if np.isfinite(high - low) and low < high and not low < move < high else move
