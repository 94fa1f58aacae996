"""TextureVAE: a variational autoencoder that reconstructs the texture of an image instead of its pixels.

Sardeshmukh, Reddy, Gautham & Bhattacharyya, "TextureVAE: learning interpretable representations of material
microstructures using variational autoencoders", 2021 (S3), section 3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from microprint.networks.convolutions import EnlargingConvolution, PeriodicConvolution
from microprint.networks.losses import kl_divergence, sample_posterior
from microprint.networks.vgg import CHANNELS, STYLE_LAYERS, VGG19, gram

SLOPE = 0.3  # of the leaky ReLU, S3 section 3.3
BLOCKS = 4  # upsampling blocks of the decoder, S3 section 3.3
READOUT = "pool5"  # VGG19's last maps
PIXEL_VARIANCE = 0.01  # of the loss on pixels, which then is of the style loss's size


class TextureVAE(nn.Module):
    """Frozen VGG19 with trained mean and log-variance layers, a convolutional decoder, and the style loss.

    As VGG19 is frozen and no image is augmented, what it makes of an image never changes: `last_maps` and Gram
    matrices of the images are computed once, and an epoch runs VGG19 on decoded images only.

    Parameters
    ----------
    vgg : frozen VGG19; its weights are no part of the model's state.
    loss : "style", S3's, or "pixels", what a plain VAE compares.
    edge : edge of the square images, pixels, a multiple of 16; 32 at least, as VGG19 halves it five times.
    latent_dim : size d of the latent vector.
    width : channels of the decoder's first block; halved from block to block.
    kl_weight : weight of the Kullback-Leibler term beside the reconstruction's.
    """

    def __init__(self, vgg: VGG19, *, loss: str, edge: int, latent_dim: int, width: int, kl_weight: float):
        super().__init__()
        self.vgg, self.loss, self.kl_weight = vgg, loss, kl_weight
        features = CHANNELS[READOUT] * (edge // 32) ** 2
        # Standardising the frozen features once takes the place of normalisation layers in the encoder.
        self.register_buffer("shift", torch.zeros(features))
        self.register_buffer("scale", torch.ones(()))
        self.mean = nn.Linear(features, latent_dim)
        self.log_variance = nn.Linear(features, latent_dim)
        self.decoder = Decoder(latent_dim, edge, width)
        # A random projection of the features with little noise: the decoder sees which image is which from the start.
        nn.init.normal_(self.mean.weight)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, -4.0)

    def standardise(self, features: Tensor, brightness: float) -> None:
        """Centre the encoder's inputs on the training features (N, k) and divide them by their common standard deviation.

        Not each by its own: many are nil in all training images, and would swamp the others where an unseen image has them.
        The untrained decoder shall draw flat grey.
        """
        self.shift.copy_(features.mean(0))
        self.scale.copy_(features.var(0, correction=0).mean().sqrt())
        nn.init.constant_(self.decoder.image.bias, torch.logit(torch.tensor(brightness), eps=0.01).item())

    def posterior(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, d) of q(z | x) from features (B, k)."""
        # The root makes the size of the mean independent of the number of features.
        inputs = (features - self.shift) / self.scale / features.shape[1] ** 0.5
        return self.mean(inputs), self.log_variance(inputs)

    def encode(self, images: Tensor) -> Tensor:
        """Posterior means (B, d) of images (B, 1, edge, edge) in [0, 1]."""
        return self.posterior(last_maps(self.vgg(images, (READOUT,))))[0]

    def decode(self, z: Tensor) -> Tensor:
        """Images (B, 1, edge, edge) in [0, 1] of latent vectors (B, d)."""
        return self.decoder(z)

    def style(self, images: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Style loss (B,) of images against Gram matrices (B, C, C) by layer: S3, eq. (2), with weights w_l of 1."""
        maps = self.vgg(images, STYLE_LAYERS)
        return sum((gram(maps[name]) - targets[name]).square().mean((1, 2)) / 4 for name in STYLE_LAYERS)

    def losses(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """S3's objective: eq. (1) with the style loss, eq. (2), in place of the squared difference of pixels; batch means.

        `batch` holds ``features`` (B, k), and for each layer the Gram matrices (B, C, C) of the images, divided by M; or
        ``image`` (B, 1, edge, edge), for the loss on pixels.
        """
        mean, log_variance = self.posterior(batch["features"])
        images = self.decode(sample_posterior(mean, log_variance, generator))
        if self.loss == "style":
            with torch.autocast(images.device.type, enabled=False):
                reconstruction = self.style(images.float(), batch).mean()
        else:
            reconstruction = (images - batch["image"]).square().mean() / PIXEL_VARIANCE
        kl = kl_divergence(mean, log_variance).sum(1).mean()
        return {"loss": reconstruction + self.kl_weight * kl, "reconstruction": reconstruction, "kl": kl}


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
        self.image = PeriodicConvolution(widths[-1], 1)

    def forward(self, z: Tensor) -> Tensor:
        maps = nn.functional.leaky_relu(self.dense(z).unflatten(1, self.shape), SLOPE)
        return torch.sigmoid(self.image(self.blocks(maps)))


def block(inputs: int, outputs: int) -> nn.Sequential:
    """One block of the decoder: upsampling, convolution, normalisation, leaky ReLU; doubles the edge."""
    return nn.Sequential(EnlargingConvolution(inputs, outputs), nn.GroupNorm(4, outputs), nn.LeakyReLU(SLOPE))


def last_maps(maps: Mapping[str, Tensor]) -> Tensor:
    """VGG19's last maps, flattened: (B, k). A feature stands for a place in the image, as S3 seems to have it."""
    return maps[READOUT].float().flatten(1)
