"""Convolutions of maps that are enlarged before, each pixel to two along every axis, and of periodic maps.

Of a kernel's weights several then meet the same pixel. With their sums there are fewer products (for 3x3 weights four in place
of nine, for 3x3x3 eight in place of 27), and the large maps are never made; see Shi et al., CVPR 2016. An enlarged row 2 a + p,
p 0 or 1, sees the rows from a + begin_p on, with weights of its own.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def convolve_enlarged(maps: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
    """The convolution (B, K, ...) of maps (B, C, n, ...) that are enlarged and have so many zeros around them, all axes alike.

    Weights are (K, C, k, ...), for two or three axes; there are 2 n + 2 padding - k + 1 pixels along each.
    """
    kernel, axes = weight.shape[2], weight.ndim - 2
    begin, taps = _windows(kernel, padding)
    sizes = [2 * n + 2 * padding - kernel + 1 for n in maps.shape[2:]]
    behind = [-(-size // 2) - n + begin[1] + taps - 1 for size, n in zip(sizes, maps.shape[2:])]
    padded = F.pad(maps, [side for more in reversed(behind) for side in (-begin[0], more)])
    enlarged = _convolve(padded, weight, bias, padding)
    for axis, size in zip(range(2, 2 + axes), sizes):
        enlarged = enlarged.narrow(axis, 0, size)
    return enlarged


def wrapped(maps: Tensor) -> Tensor:
    """Maps (B, C, n, ...) with a layer from the other side all around: (B, C, n + 2, ...).

    Of torch's own, the gradient fills and adds whole maps for each side, which takes half as long as a convolution.
    """
    return _Wrapped.apply(maps)


class PeriodicConvolution(nn.Conv2d):
    """Maps (B, C, h, w) to (B, K, h, w) by 3x3 weights; state and answers are those of padding mode ``circular``."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 3)

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(wrapped(maps))


class EnlargingConvolution(PeriodicConvolution):
    """The same of enlarged maps: (B, C, h, w) to (B, K, 2 h, 2 w)."""

    def forward(self, maps: Tensor) -> Tensor:
        return _convolve(wrapped(maps), self.weight, self.bias, 1)


def _windows(kernel: int, padding: int) -> tuple[list[int], int]:
    """Where the windows of the two kinds of rows begin, and their length."""
    begin, end = ([(p + t - padding) // 2 for p in (0, 1)] for t in (0, kernel - 1))
    return begin, 1 + max(e - b for b, e in zip(begin, end))


def _convolve(padded: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
    """As many whole pairs of pixels as windows fit into maps that have been padded."""
    kernel, axes = weight.shape[2], weight.ndim - 2
    begin, taps = _windows(kernel, padding)
    p, j, t = (torch.arange(n, device=weight.device) for n in (2, taps, kernel))
    first = (p - padding).div(2, rounding_mode="floor")[:, None, None]
    met = (p[:, None, None] + t - padding).div(2, rounding_mode="floor") - first == j[:, None]  # (2, taps, kernel)
    sums = {2: "pai,qbj,kcij->kpqcab", 3: "pai,qbj,rdl,kcijl->kpqrcabd"}[axes]
    kernels = torch.einsum(sums, *axes * [met.to(weight)], weight).flatten(0, axes)
    convolve = {2: F.conv2d, 3: F.conv3d}[axes]
    alike = convolve(padded, kernels, bias.repeat_interleave(2**axes))
    return _Dealt.apply(alike.unflatten(1, (-1, *axes * [2])), begin[1] - begin[0])


class _Dealt(torch.autograd.Function):
    """Pixels of each kind (B, K, 2, ..., n, ...) in turn: (B, K, 2 (n - shift), ...). The second begins `shift` later."""

    @staticmethod
    def forward(context, kinds: Tensor, shift: int) -> Tensor:
        context.axes, context.shift = (kinds.ndim - 2) // 2, shift
        sizes = [n - shift for n in kinds.shape[-context.axes :]]
        maps = kinds.new_empty(*kinds.shape[:2], *(n for size in sizes for n in (size, 2)))
        for to, kind in _Dealt.places(context, sizes):
            maps[to] = kinds[kind]
        return maps.view(*kinds.shape[:2], *(2 * size for size in sizes))

    @staticmethod
    @once_differentiable
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        sizes = [n // 2 for n in gradient.shape[2:]]
        maps = gradient.reshape(*gradient.shape[:2], *(n for size in sizes for n in (size, 2)))
        kinds = maps.new_zeros(*maps.shape[:2], *context.axes * [2], *(size + context.shift for size in sizes))
        for to, kind in _Dealt.places(context, sizes):
            kinds[kind] = maps[to]
        return kinds, None

    @staticmethod
    def places(context, sizes):
        """Where the pixels of each kind are in the result, and among those of all kinds."""
        for kind in product((0, 1), repeat=context.axes):
            begin = [p * context.shift for p in kind]
            to = (..., *(index for p in kind for index in (slice(None), p)))
            yield to, (slice(None), slice(None), *kind, *(slice(b, b + n) for b, n in zip(begin, sizes)))


class _Wrapped(torch.autograd.Function):
    @staticmethod
    def forward(context, maps: Tensor) -> Tensor:
        return F.pad(maps, (1, 1) * (maps.ndim - 2), mode="circular")

    @staticmethod
    @once_differentiable
    def backward(context, gradient: Tensor) -> Tensor:
        g, axes = gradient.clone(), range(2, gradient.ndim)
        for axis in axes:
            g.select(axis, 1).add_(g.select(axis, -1))
            g.select(axis, -2).add_(g.select(axis, 0))
        for axis in axes:
            g = g.narrow(axis, 1, g.shape[axis] - 2)
        return g
