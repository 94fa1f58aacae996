"""Frozen convolutions of VGG19 and the style loss that they carry.

Gatys, Ecker & Bethge, "Texture synthesis using convolutional neural networks", NeurIPS 2015, describe a texture by
the Gram matrices of VGG19's feature maps; Sardeshmukh et al., TextureVAE (2021), eq. (2), train with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from microprint import store
from microprint.errors import UserError
from microprint.machine import fast_dtype
from microprint.networks import vgg_weights, winograd
from microprint.params.sections import VGGLayer

LAYERS: tuple[str, ...] = get_args(VGGLayer)
# Channels of the convolutions in each of the five blocks (Simonyan & Zisserman 2014, configuration E).
CHANNELS = {name: (64, 128, 256, 512, 512)[int(name[4]) - 1] for name in LAYERS}
STYLE_LAYERS = ("conv1_1", "pool1", "pool2", "pool3", "pool4")


class VGG19(nn.Module):
    """The 16 convolutions of VGG19 with their ReLUs, frozen; average pooling as Gatys et al. recommend.

    Rescaling a filter changes nothing downstream as long as the next layer is scaled back, so the normalised weights
    (mean activation of one over natural images) give the same network as the original ones with better balanced
    Gram matrices.

    Parameters
    ----------
    tensors : ``conv1_1.weight``, ``conv1_1.bias`` ... ``conv5_4.bias`` in RGB order, ``mean`` and ``std`` (3,) of
        the input normalisation for images in [0, 1]; any float type.
    """

    def __init__(self, tensors: Mapping[str, Tensor]):
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name.replace(".", "_"), tensor.float(), persistent=False)
        self._transformed: dict[str, Tensor] = {}  # filters, once they have been used so

    @classmethod
    def load(cls, path: str | Path | None = None) -> VGG19:
        """Read converted weights; without a path those in the cache (see `vgg_weights.fetch`).

        Raises `UserError` if they are missing, with how to get them.
        """
        path = vgg_weights.cached() if path is None else Path(path)
        tensors, _ = store.load_tensors(path)
        if missing := sorted(set(vgg_weights.TENSORS) - tensors.keys()):
            fault = f"lacks {len(missing)} tensors of VGG19, {missing[0]} first"
            raise UserError(fault, path, "Make it again with `python -m microprint fetch-vgg19`")
        return cls(tensors)

    def quick(self) -> VGG19:
        """In bfloat16 where the device multiplies it in hardware, several times as fast; elsewhere as it is.

        Gram matrices then are a hundredth off, the same for like images, a twentieth of what castings differ by.
        """
        return self.to(fast_dtype(self.mean.device))

    def forward(
        self, images: Tensor, layers: Iterable[str] = STYLE_LAYERS, pool=lambda maps: F.avg_pool2d(maps, 2)
    ) -> dict[str, Tensor]:
        """Feature maps (B, C, h / 2^k, w / 2^k) after the ReLU (conv) or the pooling (pool) of the named layers.

        Images are (B, 1 or 3, h, w) in [0, 1], grey ones repeated in the three colours; nothing beyond the last of the layers
        is computed; `pool` halves the maps. The result is in the order of the network.
        """
        wanted = set(layers)
        maps = (images.expand(-1, 3, -1, -1) - self.mean[:, None, None].float()) / self.std[:, None, None].float()
        maps = maps.to(self.mean.dtype, memory_format=torch.channels_last)  # in which CPUs convolve bfloat16 faster
        seen = {}
        for name in LAYERS:
            if len(seen) == len(wanted):
                break
            if name.startswith("pool"):
                maps = pool(maps)
            else:
                maps = self._convolved(maps, name)
            if name in wanted:
                seen[name] = maps
        return seen

    def _convolved(self, maps: Tensor, name: str) -> Tensor:
        weight, bias = getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias")
        # Transformed filters are four times as large; those of the last block, as large as all others, see few pixels.
        if name >= "conv5" or not winograd.suits(maps, weight):
            return F.relu(F.conv2d(maps, weight, bias, padding=1))
        if name not in self._transformed:
            self._transformed[name] = winograd.transformed(weight)
        return winograd.convolved(maps, self._transformed[name], bias)


def gram(maps: Tensor) -> Tensor:
    """Gram matrix (B, C, C) of maps (B, C, h, w) over M = h w positions, divided by M: ``G_ij / M = sum_k F_ik F_jk / M``."""
    # Differences of Gram matrices are small beside the matrices, which bfloat16, of mixed precision, keeps to three digits.
    with torch.autocast(maps.device.type, enabled=False):
        flat = maps.movedim(1, -1).flatten(1, 2).float()  # as VGG19 leaves its maps in memory
        return flat.mT @ flat / flat.shape[1]


def style_loss(x: Mapping[str, Tensor], y: Mapping[str, Tensor]) -> Tensor:
    """Style loss (B,) of Gatys et al. between the maps of two batches, of the same layers; S3, eq. (2), with unit weights.

    ``L = sum_l 1 / (4 C_l^2 M_l^2) sum_ij (G_ij - H_ij)^2``; with Gram matrices already divided by M this is a
    quarter of their mean squared difference, so two images of different size can be compared.
    """
    return sum((gram(x[name]) - gram(y[name])).square().mean((1, 2)) / 4 for name in x)
