"""TextureVAE: a variational autoencoder that reconstructs the texture of an image instead of its pixels.

Sardeshmukh, Reddy, Gautham & Bhattacharyya, "TextureVAE: learning interpretable representations of material
microstructures using variational autoencoders", 2021 (S3), section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from microprint.networks.losses import kl_divergence, sample_posterior
from microprint.networks.vgg import CHANNELS, STYLE_LAYERS, VGG19, gram

SLOPE = 0.3  # of the leaky ReLU, S3 section 3.3
BLOCKS = 4  # upsampling blocks of the decoder, S3 section 3.3
READOUT_LAYERS = {"last_maps": ("pool5",), "channel_means": STYLE_LAYERS}


class TextureVAE(nn.Module):
    """Frozen VGG19 with trained mean and log-variance layers, a convolutional decoder, and the style loss.

    As VGG19 is frozen and no image is augmented, what it makes of an image never changes: `read_out` and Gram
    matrices of the images are computed once, and an epoch runs VGG19 on decoded images only.

    Parameters
    ----------
    vgg : frozen VGG19; its weights are no part of the model's state.
    layers : layers of the style loss.
    readout : what of VGG19 the trained layers see, see `read_out`.
    edge : edge of the square images, pixels, a multiple of 16; 32 at least, as periodic padding keeps a single place flat.
    latent_dim : size d of the latent vector.
    width : channels of the decoder's first block; halved from block to block.
    kl_weight : weight of the Kullback-Leibler term beside the style loss.
    """

    def __init__(
        self, vgg: VGG19, *, layers: Sequence[str], readout: str, edge: int, latent_dim: int, width: int, kl_weight: float
    ):
        super().__init__()
        self.vgg, self.layers, self.readout, self.kl_weight = vgg, tuple(layers), readout, kl_weight
        features = readout_size(readout, edge)
        # Standardising the frozen features once takes the place of normalisation layers in the encoder.
        self.register_buffer("shift", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("layer_weights", torch.ones(len(self.layers)))
        self.mean = nn.Linear(features, latent_dim)
        self.log_variance = nn.Linear(features, latent_dim)
        self.decoder = Decoder(latent_dim, edge, width)
        # A random projection of the features with little noise: the decoder sees which image is which from the start.
        nn.init.normal_(self.mean.weight)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, -4.0)

    def standardise(self, features: Tensor, brightness: float) -> None:
        """Scale the encoder's inputs by the training features (N, k); let the untrained decoder draw flat grey."""
        self.shift.copy_(features.mean(0))
        self.scale.copy_(features.std(0, correction=0).clamp_min(1e-3))
        nn.init.constant_(self.decoder.image.bias, torch.logit(torch.tensor(brightness), eps=0.01).item())

    def weigh_layers(self, targets: Mapping[str, Tensor]) -> None:
        """Weigh each layer so that the mean texture of all images costs ``1 / layers``: the style loss then is the
        unexplained share of the variance of the Gram matrices (N, C, C), and 1 the trivial baseline.
        """
        variance = [(g.float() - g.float().mean(0)).square().mean() / 4 for g in targets.values()]
        self.layer_weights.copy_(1 / (len(variance) * torch.stack(variance)))

    def posterior(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, d) of q(z | x) from features (B, k)."""
        # The root makes the size of the mean independent of the number of features.
        inputs = (features - self.shift) / self.scale / features.shape[1] ** 0.5
        return self.mean(inputs), self.log_variance(inputs)

    def encode(self, images: Tensor) -> Tensor:
        """Posterior means (B, d) of images (B, 1, edge, edge) in [0, 1]."""
        return self.posterior(read_out(self.vgg(images, READOUT_LAYERS[self.readout]), self.readout))[0]

    def decode(self, z: Tensor) -> Tensor:
        """Images (B, 1, edge, edge) in [0, 1] of latent vectors (B, d)."""
        return self.decoder(z)

    def style(self, images: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Weighted style loss (B,) of images against Gram matrices: S3, eq. (2), with ``w_l`` = `layer_weights`."""
        maps = self.vgg(images, self.layers)
        terms = [(gram(maps[name]) - targets[name]).square().mean((1, 2)) / 4 for name in self.layers]
        return torch.stack(terms, 1) @ self.layer_weights

    def losses(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """S3's objective: eq. (1) with the style loss, eq. (2), in place of the reconstruction term; means over the batch.

        `batch` holds ``features`` (B, k), and for each layer the Gram matrices (B, C, C) of the images, divided by M.
        """
        mean, log_variance = self.posterior(batch["features"])
        style = self.style(self.decode(sample_posterior(mean, log_variance, generator)), batch).mean()
        kl = kl_divergence(mean, log_variance).sum(1).mean()
        return {"loss": style + self.kl_weight * kl, "style": style, "kl": kl}


class Decoder(nn.Module):
    """Dense layer, four blocks of nearest-neighbour upsampling, 3x3 convolution and leaky ReLU, and a grey image.

    Departures from S3: group normalisation, without which a few hundred steps do not suffice, and periodic padding,
    as zeros leave a frame around every image.
    """

    def __init__(self, latent_dim: int, edge: int, width: int):
        super().__init__()
        self.shape = (width, edge // 2**BLOCKS, edge // 2**BLOCKS)
        widths = [max(width // 2**i, 8) for i in range(BLOCKS + 1)]
        self.dense = nn.Linear(latent_dim, width * (edge // 2**BLOCKS) ** 2)
        self.blocks = nn.Sequential(*(block(a, b) for a, b in zip(widths, widths[1:])))
        self.image = nn.Conv2d(widths[-1], 1, 3, padding=1, padding_mode="circular")

    def forward(self, z: Tensor) -> Tensor:
        maps = nn.functional.leaky_relu(self.dense(z).unflatten(1, self.shape), SLOPE)
        return torch.sigmoid(self.image(self.blocks(maps)))


def block(inputs: int, outputs: int) -> nn.Sequential:
    """One upsampling block of the decoder; doubles the edge."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="circular"),
        nn.GroupNorm(4, outputs),
        nn.LeakyReLU(SLOPE),
    )


def read_out(maps: Mapping[str, Tensor], readout: str) -> Tensor:
    """What the trained layers of the encoder see of VGG19's maps (B, C, h, w) by layer: (B, `readout_size`).

    ``last_maps`` flattens VGG19's last maps, as S3 seems to do: a feature then stands for a place in the image.
    ``channel_means`` averages the maps of five layers over the image: a texture has no places.
    """
    chosen = [maps[name] for name in READOUT_LAYERS[readout]]
    return torch.cat([m.flatten(1) if readout == "last_maps" else m.mean((2, 3)) for m in chosen], 1)


def readout_size(readout: str, edge: int) -> int:
    """Number of features of `read_out` for square images."""
    positions = (edge // 32) ** 2 if readout == "last_maps" else 1
    return positions * sum(CHANNELS[name] for name in READOUT_LAYERS[readout])
