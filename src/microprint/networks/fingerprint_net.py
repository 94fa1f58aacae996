"""Our fingerprint: a fully convolutional, periodic residual autoencoder with a spatial latent map.

It works on a symmetric embedding of orientations, which is continuous where Euler angles in the
fundamental zone jump, and it treats the volume element as periodic, as the material model does: a
shift of the input by one latent voxel shifts the latent map. Nothing in it depends on the edge
length, so trained weights apply to larger volume elements, whose latent map is larger.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from microprint.networks.losses import (
    gaussian_negative_log_likelihood,
    kl_divergence,
    sample_posterior,
)


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
    """Variational autoencoder (B, k, n, n, n) -> (B, c, m, m, m) -> (B, k, n, n, n), m = n / 2^levels.

    Parameters
    ----------
    channels : numbers k of the orientation embedding.
    latent_channels : numbers c of the fingerprint in each voxel of the latent map.
    levels : halvings of the edge.
    width : channels at full resolution; doubled at each halving, up to `widest`.
    blocks : residual blocks at each resolution below the full one.
    widest : largest number of channels.
    """

    def __init__(
        self, channels: int, latent_channels: int, levels: int, width: int, blocks: int, widest: int
    ) -> None:
        super().__init__()
        widths = [min(width * 2**level, widest) for level in range(levels + 1)]
        self.encoder = nn.Sequential(
            *_encoder(channels, widths, blocks),
            *normalised(widths[-1]),
            nn.Conv3d(widths[-1], 2 * latent_channels, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv3d(latent_channels, widths[-1], 1),
            *_decoder(widths[::-1], blocks),
            *normalised(widths[0]),
            PeriodicConv(widths[0], channels),
        )

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log-variance, (B, c, m, m, m) each, of an embedding (B, k, n, n, n)."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        """Embedding (B, k, n, n, n) of latent maps (B, c, m, m, m)."""
        return self.decoder(z)

    def losses(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Negative evidence lower bound for each number of the data, in nats, and its two terms."""
        x = batch["channels"]
        mean, log_variance = self.encode(x)
        reconstruction = self.decode(sample_posterior(mean, log_variance, generator))
        likelihood = gaussian_negative_log_likelihood(reconstruction, x)
        kl = kl_divergence(mean, log_variance).sum() / x.numel()
        square = (reconstruction - x).square().sum(1).mean()
        return {"loss": likelihood + kl, "reconstruction": likelihood, "kl": kl, "square_error": square}


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
