"""S1's 3D ResNet variational autoencoder, as its paper describes it and as its public code runs.

White et al. 2025 (arXiv 2503.17427), sections 2.2.2 and 2.2.3. Data are Bunge Euler angles inside the
fundamental zone, divided by (2 pi, pi, 2 pi) into [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microprint.networks.losses import kl_divergence, sample_posterior, spectral_loss

BLOCKS = {"resnet12": (1, 1, 1, 1), "resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}  # Table 3
BOTTLENECK = 4  # voxels along the edge of the last feature map: 64 / 2^4 in the paper
LIFT = 3.0  # by which the last three channels are raised before a ReLU and lowered after it, at first
NARROW = -8.0  # logarithm of the posterior's variance before the first step


class ResidualBlock(nn.Module):
    """Convolution, batch norm, ReLU, convolution, batch norm; plus the input; ReLU. Shape is kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels),
            nn.ReLU(),
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.layers(x))


class ResNetVAE(nn.Module):
    """Encoder of four residual layers, two dense layers to the latent mean and log-variance, mirrored decoder.

    Each layer begins with a convolution that halves the edge, until 4 voxels are left (a 64^3 volume
    element takes four halvings, as in the paper; smaller ones fewer).

    Parameters
    ----------
    edge : voxels along the edge of a volume element: 4, 8, 16, 32, 64 ...
    depth : residual blocks a layer, see `BLOCKS`.
    latent_dim : numbers of the fingerprint (256 chosen in the paper).
    hidden : size of the dense layers between feature map and latent space (8192 in the paper).
    width : channels of the first layer (64 in the paper); doubled in each following layer.
    alpha : weight of the cross-entropy in equation (1); 1 - alpha weighs the spectral term.
    kl_weight : weight of the KL divergence, divided by the count of the data's numbers; 0: none, as in equation (1).
    coded : as the authors' public code: arguments of the cross-entropy swapped, one noise vector for
        the whole batch.
    """

    def __init__(
        self,
        edge: int,
        depth: Literal["resnet12", "resnet18", "resnet34"] = "resnet18",
        latent_dim: int = 256,
        hidden: int = 8192,
        width: int = 64,
        alpha: float = 0.999,
        kl_weight: float = 0.0,
        coded: bool = False,
    ) -> None:
        super().__init__()
        self.alpha, self.kl_weight, self.coded = alpha, kl_weight, coded
        channels = [3] + [width * 2**layer for layer in range(4)]
        halvings = max(edge // BOTTLENECK, 1).bit_length() - 1
        strides = [2 if layer < halvings else 1 for layer in range(4)]
        self.map_shape = (channels[-1], *3 * (edge // 2 ** min(halvings, 4),))
        flat = torch.Size(self.map_shape).numel()
        self.features = nn.Sequential(*_layers(channels, strides, BLOCKS[depth], _reduce))
        self.to_hidden = nn.Sequential(nn.Flatten(), nn.Linear(flat, hidden), nn.ReLU())
        self.to_mean = nn.Linear(hidden, latent_dim)
        self.to_log_variance = nn.Linear(hidden, latent_dim)
        self.from_latent = nn.Sequential(nn.Linear(latent_dim, hidden), nn.ReLU(), nn.Linear(hidden, flat), nn.ReLU())
        # The blocks end in a ReLU; one pointwise convolution after the last lets logits take both signs.
        mirrored = _layers(channels[::-1], strides[::-1], BLOCKS[depth][::-1], _enlarge)
        self.reconstruct = nn.Sequential(*mirrored, nn.Conv3d(3, 3, 1))
        self._initialise()
        self.to(memory_format=torch.channels_last_3d)  # a quarter faster, on processors and on GPUs

    @torch.no_grad()
    def _initialise(self) -> None:
        """Weights to begin with, which the paper leaves open; what each does is measured in ``benchmarks/s1_learning.py``.

        With torch's own the signal fades from layer to layer: the means of all volume elements are nearly the same, and
        noise of width 1 hides them from the decoder. Here layers keep the variance (He et al. 2015, arXiv:1502.01852), and
        residual blocks begin as the identity (Goyal et al. 2017, arXiv:1706.02677, section 5.1). So does the decoder's end:
        all that it draws must pass three channels and a ReLU, which die within ten steps unless they begin well above zero.
        The posterior begins narrow, since means differ by a tenth at first.
        """
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Conv3d | nn.ConvTranspose3d):
                nn.init.normal_(layer.weight, std=math.sqrt(2 / _inputs(layer)))
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            if isinstance(layer, ResidualBlock):
                nn.init.zeros_(layer.layers[-1].weight)
        last = [layer for layer in self.reconstruct if isinstance(layer, nn.ConvTranspose3d)][-1]
        pointwise = self.reconstruct[-1]
        last.bias.fill_(LIFT)
        pointwise.weight.copy_(torch.eye(3)[..., None, None, None])
        pointwise.bias.fill_(-LIFT)
        self.to_log_variance.weight.zero_()
        self.to_log_variance.bias.fill_(NARROW)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log-variance, (B, latent_dim) each, of channels (B, 3, n, n, n)."""
        hidden = self.to_hidden(self.features(x))
        return self.to_mean(hidden), self.to_log_variance(hidden)

    def logits(self, z: Tensor) -> Tensor:
        """Reconstruction before the logistic function, (B, 3, n, n, n)."""
        return self.reconstruct(self.from_latent(z).unflatten(1, self.map_shape))

    def decode(self, z: Tensor) -> Tensor:
        """Channels in [0, 1], (B, 3, n, n, n), of latent vectors (B, latent_dim)."""
        return torch.sigmoid(self.logits(z))

    def losses(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """alpha BCE + (1 - alpha) spectral (equation 1), plus the KL term where it has a weight.

        S1's public code passes the data to the cross-entropy as logits and the reconstruction as target; the result is then
        linear in the reconstruction.
        """
        x = batch["channels"]
        mean, log_variance = self.encode(x)
        logits = self.logits(sample_posterior(mean, log_variance, generator, shared=self.coded))
        reconstruction = torch.sigmoid(logits)
        score, target = (x, reconstruction) if self.coded else (logits, x)
        cross_entropy = F.binary_cross_entropy_with_logits(score, target)
        spectral = spectral_loss(reconstruction, x)
        kl = kl_divergence(mean, log_variance).sum() / x.numel()
        loss = self.alpha * cross_entropy + (1 - self.alpha) * spectral + self.kl_weight * kl
        return {"loss": loss, "cross_entropy": cross_entropy, "spectral": spectral, "kl": kl}


def _inputs(layer: nn.Linear | nn.Conv3d | nn.ConvTranspose3d) -> float:
    """Numbers that each output of a layer is the sum over."""
    if isinstance(layer, nn.Linear):
        return layer.in_features
    taps = math.prod(layer.kernel_size)
    # Of the taps of a transposed convolution a stride leaves every output its share.
    return layer.in_channels * (taps / math.prod(layer.stride) if isinstance(layer, nn.ConvTranspose3d) else taps)


def _layers(channels: list[int], strides: list[int], blocks: tuple[int, ...], resize: Callable) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after, stride, count in zip(channels, channels[1:], strides, blocks):
        layers += [resize(before, after, stride), *(ResidualBlock(after) for _ in range(count))]
    return layers


def _reduce(before: int, after: int, stride: int) -> nn.Module:
    return nn.Conv3d(before, after, 3, stride=stride, padding=1)


def _enlarge(before: int, after: int, stride: int) -> nn.Module:
    return nn.ConvTranspose3d(before, after, 2 + stride, stride=stride, padding=1)  # kernel 4 doubles the edge, 3 keeps it
