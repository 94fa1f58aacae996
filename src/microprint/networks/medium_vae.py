"""Our VAE-regression: a variational autoencoder of media whose decoder gives a law, not a picture.

It is S2's model (Sardeshmukh et al. 2024, eq. (4)) in other clothes. Its encoder q(z | x) and its likelihood see the two-point
statistics of the whole volume, its decoder p(x | z) is a Gaussian random field cut at a level, whose statistics are known
without drawing it; p(c | z) predicts the properties, and the conditional prior p(z | c) is a mixture of Gaussians.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from microprint.networks.losses import kl_divergence, sample_posterior
from microprint.networks.random_medium import COEFFICIENTS, correlation, correlation_at, lags, two_point
from microprint.networks.vae_regression import MixturePrior, Posteriors, log_density

# Weight of the statistics' likelihood as if so many of the lags were independent: their errors are not.
INDEPENDENT = 40.0
LIMIT = 0.999  # of a correlation, where the arc's slope is finite
PRIOR_BATCH, PRIOR_RATE = 512, 1e-2


def network(inputs: int, hidden: int, outputs: int, layers: int = 2) -> nn.Sequential:
    """Dense layers with SiLU between them."""
    sizes = [inputs, *[hidden] * layers]
    dense = [module for pair in zip(sizes, sizes[1:]) for module in (nn.Linear(*pair), nn.SiLU())]
    return nn.Sequential(*dense, nn.Linear(hidden, outputs))


class MediumVAE(nn.Module):
    """Encoder, decoder and regressor; statistics are the arcs of correlations at `lags` of the edge, and the level.

    Parameters
    ----------
    edge : of the volumes that it learns from, voxels; it draws volumes of any size.
    properties : number of entries of c.
    latent_dim : numbers in z.
    hidden : width of the dense layers.
    """

    def __init__(self, *, edge: int, properties: int, latent_dim: int, hidden: int):
        super().__init__()
        self.edge, self.latent_dim = edge, latent_dim
        self.register_buffer("lags", lags(edge), persistent=False)
        count = len(self.lags) + 1
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("std", torch.ones(count))
        self.encoder = network(count, hidden, 2 * latent_dim)
        self.decoder = network(latent_dim, hidden, 1 + COEFFICIENTS, layers=1)
        self.regressor = network(latent_dim, hidden, 2 * properties)
        # A new decoder's spectra are about as steep as the voxels allow, and nearly without white noise.
        self.register_buffer("scale", torch.tensor([3.0] * 3 + [1.0] * (COEFFICIENTS - 3)), persistent=False)
        self.register_buffer("shift", torch.tensor([0.0] * (COEFFICIENTS - 1) + [-6.0]), persistent=False)
        self.log_sigma = nn.Parameter(torch.full((count,), -4.0))  # of the statistics about those of the law

    def standardise(self, statistics: Tensor) -> None:
        """Take mean and scale of the encoder's input from those of a training set (N, L + 1)."""
        self.mean.copy_(statistics.mean(0))
        self.std.copy_(statistics.std(0).clamp_min(1e-6))

    def posterior(self, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, d) of q(z | x) for arcs and level (B, L + 1)."""
        mean, log_variance = self.encoder((statistics - self.mean) / self.std).chunk(2, 1)
        return mean, log_variance.clamp(-8, 4)

    def law(self, z: Tensor, edge: int) -> tuple[Tensor, Tensor]:
        """Level (B,) and correlation (B, n, n, n) of the field that latent vectors (B, d) stand for, on n = edge voxels."""
        level, coefficients = self._law(z)
        return level, correlation(coefficients, edge)

    def _law(self, z: Tensor) -> tuple[Tensor, Tensor]:
        level, coefficients = self.decoder(z).split([1, COEFFICIENTS], 1)
        return level[:, 0], coefficients * self.scale + self.shift

    def expected(self, z: Tensor) -> Tensor:
        """Two-point probabilities at the lags and volume fraction (B, L + 1) of the law."""
        level, coefficients = self._law(z)
        arcs = torch.asin(correlation_at(coefficients, self.edge, self.lags).clamp(-LIMIT, LIMIT))
        return torch.cat([two_point(level, arcs), torch.special.ndtr(level)[:, None]], 1)

    def properties(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, p) of p(c | z), standardised: the variance is what drawings of one law differ by."""
        mean, log_variance = self.regressor(z).chunk(2, 1)
        return mean, log_variance.clamp(-7, 2)

    def losses(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Terms of the evidence lower bound, means over the batch, in nats but for constants; ``loss`` is their sum.

        `batch` holds ``statistics`` and ``probabilities`` (B, L + 1), as `posterior` takes and `expected` gives them, and
        ``property`` (B, p), standardised.
        """
        mean, log_variance = self.posterior(batch["statistics"])
        z = sample_posterior(mean, log_variance, generator)
        misfit = (self.expected(z) - batch["probabilities"]).square() * (-2 * self.log_sigma).exp() / 2 + self.log_sigma
        c, spread = self.properties(z)
        regression = ((batch["property"] - c).square() * (-spread).exp() + spread).sum(1).mean() / 2
        reconstruction = INDEPENDENT * misfit.mean()
        kl = kl_divergence(mean, log_variance).sum(1).mean()
        return {"loss": reconstruction + regression + kl, "reconstruction": reconstruction, "regression": regression, "kl": kl}


def fit_prior(prior: MixturePrior, posteriors: Posteriors, steps: int, generator: torch.Generator) -> None:
    """Train p(z | c) alone, by the likelihood of samples of posteriors that no longer change, drawn anew at every visit."""
    optimiser = torch.optim.Adam(prior.parameters(), lr=PRIOR_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    mean, log_variance, c = posteriors
    for _ in range(steps):
        index = torch.randint(len(c), (PRIOR_BATCH,), generator=generator, device=generator.device).to(c.device)
        z = sample_posterior(mean[index], log_variance[index], generator)
        optimiser.zero_grad()
        (-log_density(prior(c[index]), z).mean()).backward()
        optimiser.step()
        schedule.step()
