r"""Drawings of a texture: noise, shaped by a latent vector, with the statistics that it stands for.

A texture has many drawings. Each scale of the network gets noise of its own, and the latent vector sets mean and spread of
every channel (Ulyanov et al., CVPR 2017; Huang & Belongie, ICCV 2017), so that a vector says *which* texture and the noise
*where*. All convolutions are periodic: a drawing can have any size, and be a cell for the solver.

S3's style loss compares one drawing with one patch. Gram matrices G of drawings scatter, as those of patches do, and

    E |G - T|^2 = |E G - T|^2 + tr Cov G,

so that the loss also asks for drawings without scatter: one drawing for each vector, the repeated blobs of S3's decoder. With K
drawings of the same vector the mean over pairs k != l of <G_k - T, G_l - T> is an unbiased estimate of the first term alone.

VGG19 hardly sees how much of an image is dark, and a network that gives no more than it is asked for draws flakes too faint and
graphite too little. How often each grey value occurs is nearly linear in the latent vector and needs no network: the values of
a drawing are moved, in their order, to the quantiles that z stands for (Heeger & Bergen, SIGGRAPH 1995). The network decides
where. That is done once it is trained: to move the values of each tile in training, too, made drawings worse.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from microprint.networks.convolutions import EnlargingConvolution, PeriodicConvolution
from microprint.networks.vgg import STYLE_LAYERS, VGG19, gram

SLOPE = 0.2
NOISE = 32  # channels of the noise that a drawing begins with
COARSEST = 8  # pixels of a drawing to one of the coarsest maps
QUANTILES = 65  # of the grey values of a drawing
CHANNELS = (1.0, 1.0, 0.67, 0.33)  # of the four scales, over the width


class TextureDrawing(nn.Module):
    """Generator of images (B, 1, n, n) in [0, 1] from latent vectors (B, d) and noise.

    Parameters
    ----------
    vgg : frozen VGG19, in which drawings are judged; no part of the model's state.
    latent_dim : size d of the latent vector.
    width : channels of the two coarsest scales.
    drawings : drawings K of each vector in training, two at least.
    tile : their edge in training, pixels; a multiple of 16.
    """

    def __init__(self, vgg: VGG19, *, latent_dim: int, width: int, drawings: int, tile: int):
        super().__init__()
        self.vgg, self.drawings, self.tile = vgg, drawings, tile
        self.register_buffer("greys", torch.linspace(0, 1, QUANTILES))  # quantiles of the mean texture
        self.register_buffer("grey_slopes", torch.zeros(latent_dim, QUANTILES))
        self.register_buffer("layer_weights", torch.ones(len(STYLE_LAYERS)))
        self.style = nn.Sequential(nn.Linear(latent_dim, 2 * width), nn.SiLU(), nn.Linear(2 * width, 2 * width), nn.SiLU())
        widths = [max(int(share * width), 8) for share in CHANNELS]
        kinds = PeriodicConvolution, *[EnlargingConvolution] * (len(widths) - 1)  # each scale is twice as fine as that before
        self.scales = nn.ModuleList(
            nn.ModuleList([Block(first(a, b), 2 * width), Block(PeriodicConvolution(b, b), 2 * width)])
            for first, a, b in zip(kinds, [NOISE, *widths], widths)
        )
        self.image = PeriodicConvolution(widths[-1], 1)
        nn.init.constant_(self.image.bias, 1.0)

    def weigh_layers(self, targets: Mapping[str, Tensor]) -> None:
        """Weigh each layer so that the mean texture costs ``1 / layers``: a loss of 1 is the trivial baseline's.

        Gram matrices (N, C, C) by layer are those of the training patches.
        """
        variance = torch.stack(
            [(targets[name].float() - targets[name].float().mean(0)).square().mean() for name in STYLE_LAYERS]
        )
        self.layer_weights.copy_(1 / (len(STYLE_LAYERS) * variance.clamp_min(1e-12)))

    def learn_greys(self, z: Tensor, patches: Tensor) -> None:
        """Fit the quantiles of the grey values of patches (N, n, n), as coarse as drawings, to their vectors (N, d).

        Ridge regression: a penalty of 1 stands beside the sums over patches of squared vectors, which are about as large as N.
        """
        values = quantiles(patches.flatten(1)).double()
        centred = z.double() - z.double().mean(0)
        normal = centred.T @ centred + torch.eye(z.shape[1], dtype=torch.float64, device=z.device)
        slopes = torch.linalg.solve(normal, centred.T @ (values - values.mean(0)))
        self.grey_slopes.copy_(slopes)
        self.greys.copy_(values.mean(0) - z.double().mean(0) @ slopes)

    @torch.no_grad()
    def draw(self, z: Tensor, edge: int, generator: torch.Generator) -> Tensor:
        """A drawing (B, edge, edge) of each vector (B, d), with its grey values; see `forward`."""
        wanted = (self.greys + z @ self.grey_slopes).sort(1).values.clamp(0, 1)
        return moved(self(z, edge, generator).flatten(1).float(), wanted).unflatten(1, (edge, edge))

    def forward(self, z: Tensor, edge: int, generator: torch.Generator) -> Tensor:
        """The network's image (B, 1, edge, edge) of vectors (B, d); edge a multiple of 16; generator on z's device."""
        style, side = self.style(z), edge // COARSEST
        maps = torch.randn(len(z), NOISE, side, side, generator=generator, device=z.device)
        for blocks in self.scales:
            for block in blocks:
                maps = block(maps, style, generator)
        return torch.sigmoid(self.image(maps))

    def losses(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Unbiased style loss (see the module) of drawings against ``z`` (B, d) and Gram matrices (B, C, C) by layer.

        ``single`` is S3's loss, of one drawing against T.
        """
        images = self(batch["z"].repeat_interleave(self.drawings, 0), self.tile, generator)
        loss, single = 0.0, 0.0
        with torch.autocast(images.device.type, enabled=False):
            for weight, (name, maps) in zip(self.layer_weights, self.vgg(images.float(), STYLE_LAYERS).items()):
                away = gram(maps).unflatten(0, (-1, self.drawings)) - batch[name][:, None]
                loss, single = loss + weight * unbiased(away), single + weight * away.square().mean()
        return {"loss": loss, "single": single}


def unbiased(away: Tensor) -> Tensor:
    """Estimate of mean |E A|^2 an entry from K independent A (B, K, C, C): the mean over all pairs of different ones."""
    count = away.shape[1]
    pairs = away.sum(1).square() - away.square().sum(1)
    return pairs.mean() / (count * (count - 1))


def quantiles(values: Tensor) -> Tensor:
    """`QUANTILES` of each row (B, n), from the least value to the largest: (B, QUANTILES)."""
    at = torch.linspace(0, values.shape[1] - 1, QUANTILES, device=values.device).round().long()
    return values.sort(1).values[:, at]


def moved(values: Tensor, wanted: Tensor) -> Tensor:
    """Values (B, n) moved, in their order, to have the quantiles (B, QUANTILES): linear between their own."""
    own = quantiles(values)
    low = (torch.searchsorted(own, values, right=True) - 1).clamp(0, QUANTILES - 2)
    (a, b), (to_a, to_b) = ((x.gather(1, low), x.gather(1, low + 1)) for x in (own, wanted))
    return to_a + (to_b - to_a) * (values - a) / (b - a).clamp_min(1e-12)


class Block(nn.Module):
    """Convolution, noise, and the vector's mean and spread of each channel."""

    def __init__(self, convolution: PeriodicConvolution, style: int):
        super().__init__()
        self.convolution, outputs = convolution, convolution.out_channels
        self.noise = nn.Parameter(torch.full((outputs, 1, 1), 0.3))
        self.modulation = nn.Linear(style, 2 * outputs)
        nn.init.normal_(self.modulation.weight, std=0.3 / style**0.5)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, maps: Tensor, style: Tensor, generator: torch.Generator) -> Tensor:
        maps = self.convolution(maps)
        maps = maps + self.noise * torch.randn(len(maps), 1, *maps.shape[2:], generator=generator, device=maps.device)
        spread, mean = self.modulation(style).to(maps.dtype).chunk(2, 1)
        # Each channel of each image as one of a batch's: normalised and modulated in one pass.
        channels = maps.flatten(0, 1)[None]
        channels = F.batch_norm(channels, None, None, (1 + spread).flatten(), mean.flatten(), training=True)
        return F.leaky_relu(channels[0].unflatten(0, spread.shape), SLOPE, inplace=True)
