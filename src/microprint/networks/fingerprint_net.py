"""Our fingerprint: the best linear code of a periodic volume element, and a residual network about it.

The network works on a symmetric embedding of orientations, which is continuous where Euler angles in
the fundamental zone jump. Its fingerprint are Fourier coefficients of that embedding (the best linear
code there is) plus what a convolutional encoder adds to them; its reconstruction is the smooth field of
these coefficients plus what a convolutional decoder makes of it. Untrained it therefore is the linear
code, and the volume average of the embedding, the texture, can be read from it as it stands. All
convolutions are periodic, as the material model is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from microprint.networks.losses import (
    gaussian_negative_log_likelihood,
    kl_divergence,
    sample_posterior,
)
from microprint.networks.spectral_code import SpectralCode


class PeriodicConv(nn.Conv3d):
    """3 x 3 x 3 convolution of a periodic volume."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 3, padding=1, padding_mode="circular")


class ResidualBlock(nn.Module):
    """x + conv(act(norm(conv(act(norm(x)))))): pre-activation, group norm, SiLU. Shape is kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *normalised(channels), PeriodicConv(channels, channels),
            *normalised(channels), PeriodicConv(channels, channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def normalised(channels: int) -> tuple[nn.Module, nn.Module]:
    """Group norm (groups of 8 channels) and activation."""
    return nn.GroupNorm(max(channels // 8, 1), channels), nn.SiLU()


class FingerprintNet(nn.Module):
    """Variational autoencoder (B, k, n, n, n) -> (B, d) -> (B, k, n, n, n).

    Parameters
    ----------
    channels : numbers k of the orientation embedding.
    latent_dim : numbers d of the fingerprint, whatever the edge n.
    levels : halvings of the edge, which must divide n.
    width : channels at full resolution; doubled at each halving, up to `widest`.
    blocks : residual blocks at each resolution below the full one.
    widest : largest number of channels.
    """

    def __init__(self, channels: int, latent_dim: int, levels: int, width: int, blocks: int, widest: int) -> None:
        super().__init__()
        widths = [min(width * 2**level, widest) for level in range(levels + 1)]
        self.levels = levels
        self.code = SpectralCode(latent_dim, channels)
        self.encoder = nn.Sequential(
            *_encoder(channels, widths, blocks), *normalised(widths[-1]), _silent(nn.Conv3d(widths[-1], channels, 1))
        )
        self.decoder = nn.Sequential(
            nn.Conv3d(channels, widths[-1], 1),
            *_decoder(widths[::-1], blocks),
            *normalised(widths[0]),
            _silent(PeriodicConv(widths[0], channels)),
        )
        # A posterior as wide as the prior would drown the signal at first: begin at a deviation of 0.1.
        self.log_variance = nn.Parameter(torch.full((latent_dim,), -4.6))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log-variance, (B, d) each, of an embedding (B, k, n, n, n).

        The posterior is equally wide for all volume elements.
        """
        mean = self.code.encode(x) + self.code.encode(self.encoder(x))
        return mean, self.log_variance.expand_as(mean)

    def decode(self, z: Tensor, edge: int) -> Tensor:
        """Embedding (B, k, edge, edge, edge) of fingerprints (B, d)."""
        return self.code.decode(z, edge) + self.decoder(self.code.decode(z, edge // 2**self.levels))

    def losses(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Negative evidence lower bound for each number of the data, in nats, and its two terms."""
        x = batch["channels"]
        mean, log_variance = self.encode(x)
        reconstruction = self.decode(sample_posterior(mean, log_variance, generator), x.shape[-1])
        likelihood = gaussian_negative_log_likelihood(reconstruction, x)
        kl = kl_divergence(mean, log_variance).sum() / x.numel()
        square = (reconstruction - x).square().sum(1).mean()
        return {"loss": likelihood + kl, "reconstruction": likelihood, "kl": kl, "square_error": square}


def _silent(layer: nn.Conv3d) -> nn.Conv3d:
    """The same layer with an output of zero until it is trained."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _encoder(channels: int, widths: list[int], blocks: int) -> list[nn.Module]:
    layers: list[nn.Module] = [PeriodicConv(channels, widths[0])]
    for before, after in zip(widths, widths[1:]):
        layers.append(nn.Conv3d(before, after, 2, stride=2))
        layers += [ResidualBlock(after) for _ in range(blocks)]
    return layers


def _decoder(widths: list[int], blocks: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in zip(widths, widths[1:]):
        layers += [ResidualBlock(before) for _ in range(blocks)]
        layers.append(nn.ConvTranspose3d(before, after, 2, stride=2))
    return [*layers, ResidualBlock(widths[-1])]
