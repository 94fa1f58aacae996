"""3x3 convolutions of periodic maps, and of maps that are enlarged before."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# Where each row stands twice: which of three weights the first and the second of two meet on each of the two rows they see.
MET = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))


FOUR = ((0, 0), (0, 1), (1, 0), (1, 1))


class PeriodicConvolution(nn.Conv2d):
    """Maps (B, C, h, w) to (B, K, h, w); state and answers are those of a `Conv2d` with padding mode ``circular``."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 3)

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(_Wrapped.apply(maps))


class EnlargingConvolution(PeriodicConvolution):
    """Maps (B, C, h, w) to (B, K, 2 h, 2 w): the same convolution of maps in which each pixel stands four times.

    Of nine weights several meet the same pixel. With their sums, one kernel of 2x2 for each of the four pixels, there are four
    products in place of nine, and the large maps are never made (Shi et al., CVPR 2016).
    """

    def forward(self, maps: Tensor) -> Tensor:
        met = torch.tensor(MET, dtype=self.weight.dtype, device=self.weight.device)
        kernels = torch.einsum("pai,qbj,kcij->kpqcab", met, met, self.weight).flatten(0, 2)
        four = F.conv2d(_Wrapped.apply(maps), kernels, self.bias.repeat_interleave(4))
        return _Dealt.apply(four.unflatten(1, (-1, 2, 2)))


class _Wrapped(torch.autograd.Function):
    """Maps with a row or column from the other side all around.

    Of torch's own, the gradient fills and adds whole maps for each side, which takes half as long as the convolution.
    """

    @staticmethod
    def forward(context, maps: Tensor) -> Tensor:
        return F.pad(maps, (1, 1, 1, 1), mode="circular")

    @staticmethod
    @once_differentiable
    def backward(context, gradient: Tensor) -> Tensor:
        g = gradient.clone()
        g[..., 1, :] += g[..., -1, :]
        g[..., -2, :] += g[..., 0, :]
        g[..., 1] += g[..., -1]
        g[..., -2] += g[..., 0]
        return g[..., 1:-1, 1:-1]


class _Dealt(torch.autograd.Function):
    """Maps (B, K, 2 h, 2 w) of those of each of four pixels, (B, K, 2, 2, h + 1, w + 1): windows that begin a pixel apart."""

    @staticmethod
    def forward(context, four: Tensor) -> Tensor:
        images, channels, _, _, height, width = four.shape
        maps = four.new_empty(images, channels, height - 1, 2, width - 1, 2)
        for p, q in FOUR:
            maps[:, :, :, p, :, q] = four[:, :, p, q, p : p + height - 1, q : q + width - 1]
        return maps.flatten(4).flatten(2, 3)

    @staticmethod
    @once_differentiable
    def backward(context, gradient: Tensor) -> Tensor:
        g = gradient.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
        images, channels, height, _, width, _ = g.shape
        four = g.new_zeros(images, channels, 2, 2, height + 1, width + 1)
        for p, q in FOUR:
            four[:, :, p, q, p : p + height, q : q + width] = g[:, :, :, p, :, q]
        return four
