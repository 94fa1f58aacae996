r"""3x3 convolutions with frozen filters, and the ReLU behind them, on a CPU: Winograd's F(4x4, 3x3).

Of a tile d of 6x6 pixels and a filter g there are 4x4 pixels to be had (Lavin & Gray, "Fast algorithms for convolutional neural
networks", CVPR 2016),

    y = A^T ((G g G^T) * (B^T d B)) A,

with 36 products in place of 144. Over all channels the products are 36 matrix products; the transforms of tiles are a few
additions for each channel, compiled. Filters that do not change are transformed once. The derivative by d is the transpose of
these steps with the same matrices.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from microprint.jit import compiled, part
from microprint.machine import in_threads, thread_ranges

OUT, IN = 4, 6  # edge of a tile of the result, and of the pixels that it takes
G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
TILES = 144  # at a time: enough for the matrix products, few enough for the cache
_0, _2, _4, _5, _8 = (np.float32(x) for x in (0, 2, 4, 5, 8))


def suits(maps: Tensor, weight: Tensor) -> bool:
    """Whether maps (B, C, h, w) can be convolved so with filters (K, C, 3, 3), and it pays: not with a few channels."""
    floats = maps.is_cpu and maps.dtype == weight.dtype == torch.float32
    return floats and weight.shape[1] >= 16 and not (maps.shape[2] % OUT or maps.shape[3] % OUT)


def transformed(weight: Tensor) -> Tensor:
    """Filters (K, C, 3, 3) as `convolved` takes them: (36, C, K)."""
    g = torch.tensor(G, dtype=torch.float64)
    return torch.einsum("ai,bj,kcij->abck", g, g, weight.double()).flatten(0, 1).float().contiguous()


def convolved(maps: Tensor, filters: Tensor, bias: Tensor) -> Tensor:
    """ReLU (B, K, h, w) of the convolution of maps (B, C, h, w), zeros around them, with `transformed` filters and a bias (K,).

    Edges are multiples of four. The gradient is by the maps alone.
    """
    return _Convolution.apply(maps, filters, bias)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(context, maps: Tensor, filters: Tensor, bias: Tensor) -> Tensor:
        x = _pixels(maps)
        y = x.new_empty(*x.shape[:3], filters.shape[2])
        _by_tiles(x.numpy(), filters, y.numpy(), _forth, bias.numpy())
        context.filters = filters
        context.save_for_backward(y)
        return y.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(context, gradient: Tensor) -> tuple[Tensor, None, None]:
        (y,) = context.saved_tensors
        g = _pixels(gradient)
        x = g.new_zeros(*g.shape[:3], context.filters.shape[1])
        _by_tiles(g.numpy(), context.filters.mT, x.numpy(), _back, y.numpy())
        return x.permute(0, 3, 1, 2), None, None


def _pixels(maps: Tensor) -> Tensor:
    """Maps (B, C, h, w) as (B, h, w, C), contiguous."""
    return maps.permute(0, 2, 3, 1).contiguous()


def _by_tiles(source: np.ndarray, filters: Tensor, target: np.ndarray, steps: tuple, extra: np.ndarray) -> None:
    """Gather tiles of the source, multiply by the filters (36, C, K), scatter to the target; each thread has its images."""
    gather, scatter = steps
    tiles, (_, channels, outputs) = source.shape[1] * source.shape[2] // OUT**2, filters.shape

    def work(begin: int, end: int) -> None:
        inputs, results = (torch.empty(IN**2 * min(TILES, (end - begin) * tiles) * n) for n in (channels, outputs))
        scratch = np.empty((IN, IN, max(channels, outputs)), np.float32)
        for first in range(begin * tiles, end * tiles, TILES):
            count = min(TILES, end * tiles - first)
            x, y = (part[: IN**2 * count * n].view(IN**2, count, n) for part, n in ((inputs, channels), (results, outputs)))
            gather(source, extra, first, x.numpy(), scratch)
            torch.bmm(x, filters, out=y)
            scatter(y.numpy(), extra, first, target, scratch)

    in_threads(work, thread_ranges(len(source)), "cpu")


@part
def _corner(tile, columns, rows):
    """Image, row and column of the first pixel of a tile of the result."""
    image, number = tile // (columns * rows), tile % (columns * rows)
    return image, OUT * (number // columns), OUT * (number % columns)


@part
def _b_transposed(a, b, c, d, e, f):
    """B^T x."""
    p, q, r, s = e - _4 * c, d - _4 * b, e - c, _2 * (d - b)
    return _4 * a - _5 * c + e, p + q, p - q, r + s, r - s, _4 * b - _5 * d + f


@part
def _b(a, b, c, d, e, f):
    """B x."""
    p, q, r, s = b + c, b - c, d + e, d - e
    return _4 * a, _4 * (f - q) - _2 * s, -_5 * a - _4 * p - r, q + _2 * s - _5 * f, a + p + r, f


@part
def _a_transposed(a, b, c, d, e, f):
    """A^T x."""
    p, q, r, s = b + c, b - c, d + e, d - e
    return a + p + r, q + _2 * s, p + _4 * r, q + _8 * s + f


@part
def _a(a, b, c, d):
    """A x."""
    p, q, r, s = a + c, b + d, a + _4 * c, _2 * b + _8 * d
    return a, p + q, p - q, r + s, r - s, d


@compiled
def _gather(x, _bias, first, inputs, s):
    """B^T d B of tiles from `first` on."""
    for t in range(inputs.shape[1]):
        image, row, column = _corner(first + t, x.shape[2] // OUT, x.shape[1] // OUT)
        for i in range(IN):
            for j in range(IN):
                h, w = row + i - 1, column + j - 1
                if 0 <= h and h < x.shape[1] and 0 <= w and w < x.shape[2]:
                    for c in range(x.shape[3]):
                        s[i, j, c] = x[image, h, w, c]
                else:
                    for c in range(x.shape[3]):
                        s[i, j, c] = _0
        for j in range(IN):
            for c in range(x.shape[3]):
                s[0, j, c], s[1, j, c], s[2, j, c], s[3, j, c], s[4, j, c], s[5, j, c] = _b_transposed(
                    s[0, j, c], s[1, j, c], s[2, j, c], s[3, j, c], s[4, j, c], s[5, j, c]
                )
        for i in range(IN):
            k = IN * i
            for c in range(x.shape[3]):
                (
                    inputs[k, t, c], inputs[k + 1, t, c], inputs[k + 2, t, c],
                    inputs[k + 3, t, c], inputs[k + 4, t, c], inputs[k + 5, t, c],
                ) = _b_transposed(s[i, 0, c], s[i, 1, c], s[i, 2, c], s[i, 3, c], s[i, 4, c], s[i, 5, c])  # fmt: skip


@compiled
def _scatter(products, bias, first, y, s):
    """ReLU of A^T m A and the bias."""
    for t in range(products.shape[1]):
        image, row, column = _corner(first + t, y.shape[2] // OUT, y.shape[1] // OUT)
        for i in range(IN):
            k = IN * i
            for c in range(y.shape[3]):
                s[i, 0, c], s[i, 1, c], s[i, 2, c], s[i, 3, c] = _a_transposed(
                    products[k, t, c], products[k + 1, t, c], products[k + 2, t, c],
                    products[k + 3, t, c], products[k + 4, t, c], products[k + 5, t, c],
                )  # fmt: skip
        for j in range(OUT):
            w = column + j
            for c in range(y.shape[3]):
                y0, y1, y2, y3 = _a_transposed(s[0, j, c], s[1, j, c], s[2, j, c], s[3, j, c], s[4, j, c], s[5, j, c])
                b = bias[c]
                y[image, row, w, c], y[image, row + 1, w, c] = _relu(y0 + b), _relu(y1 + b)
                y[image, row + 2, w, c], y[image, row + 3, w, c] = _relu(y2 + b), _relu(y3 + b)


@part
def _relu(x):
    """NaN stays."""
    return _0 if x < _0 else x


@compiled
def _gather_back(gradient, y, first, inputs, s):
    """A g A^T of the gradients of tiles of the result, where it is positive."""
    for t in range(inputs.shape[1]):
        image, row, column = _corner(first + t, y.shape[2] // OUT, y.shape[1] // OUT)
        for j in range(OUT):
            for i in range(OUT):
                h, w = row + i, column + j
                for c in range(y.shape[3]):
                    s[i, j, c] = gradient[image, h, w, c] if y[image, h, w, c] > _0 else _0
            for c in range(y.shape[3]):
                s[0, j, c], s[1, j, c], s[2, j, c], s[3, j, c], s[4, j, c], s[5, j, c] = _a(
                    s[0, j, c], s[1, j, c], s[2, j, c], s[3, j, c]
                )
        for i in range(IN):
            k = IN * i
            for c in range(y.shape[3]):
                (
                    inputs[k, t, c], inputs[k + 1, t, c], inputs[k + 2, t, c],
                    inputs[k + 3, t, c], inputs[k + 4, t, c], inputs[k + 5, t, c],
                ) = _a(s[i, 0, c], s[i, 1, c], s[i, 2, c], s[i, 3, c])  # fmt: skip


@compiled
def _scatter_back(products, _y, first, x, s):
    """Add B m B^T to the gradients of the pixels that tiles take."""
    for t in range(products.shape[1]):
        image, row, column = _corner(first + t, x.shape[2] // OUT, x.shape[1] // OUT)
        for i in range(IN):
            k = IN * i
            for c in range(x.shape[3]):
                s[i, 0, c], s[i, 1, c], s[i, 2, c], s[i, 3, c], s[i, 4, c], s[i, 5, c] = _b(
                    products[k, t, c], products[k + 1, t, c], products[k + 2, t, c],
                    products[k + 3, t, c], products[k + 4, t, c], products[k + 5, t, c],
                )  # fmt: skip
        for j in range(IN):
            for c in range(x.shape[3]):
                s[0, j, c], s[1, j, c], s[2, j, c], s[3, j, c], s[4, j, c], s[5, j, c] = _b(
                    s[0, j, c], s[1, j, c], s[2, j, c], s[3, j, c], s[4, j, c], s[5, j, c]
                )
        for i in range(IN):
            for j in range(IN):
                h, w = row + i - 1, column + j - 1
                if 0 <= h and h < x.shape[1] and 0 <= w and w < x.shape[2]:
                    for c in range(x.shape[3]):
                        x[image, h, w, c] += s[i, j, c]


_forth, _back = (_gather, _scatter), (_gather_back, _scatter_back)
