"""Messages between neighbouring sites on a CPU, with their derivatives: what `WeightNet` sums, in compiled loops.

A filter is a function of one number, the distance. So its values and slopes are tabulated, and cubic polynomials between them
(Hermite's) are as good as single precision. A message is made where it is added, and made again in the pass backwards: arrays
over pairs of sites and channels, which cost more to move than to compute, are never written.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from microprint.jit import compiled, part
from microprint.machine import in_threads, thread_ranges
from microprint.vectors import exponential

_0, _1, _2, _3, _6 = (np.float32(x) for x in (0, 1, 2, 3, 6))


def heard(near: Tensor, at: Tensor, other: Tensor, sent: Tensor, table: Tensor) -> Tensor:
    """Sums (B, M, c) of near silu(f(at) + sent[other]) over the K neighbours of each site.

    The neighbours `other` (B, M, K) count as much as `near` says, and are `at` so many intervals of the table; this,
    (intervals + 1, 2, c), has values and slopes of the filter f. What sites send is (B, M, c). All numbers are float32;
    differentiable in all but `other`.
    """
    return _Heard.apply(near, at, other, sent, table)


class _Heard(torch.autograd.Function):
    @staticmethod
    def forward(context, near: Tensor, at: Tensor, other: Tensor, sent: Tensor, table: Tensor) -> Tensor:
        inputs = [tensor.detach().contiguous() for tensor in (near, at, other, sent, table)]
        context.save_for_backward(*inputs)
        result = torch.empty_like(inputs[3])
        *by_element, table = inputs
        _in_parts(_hear, table, [*by_element, result])
        return result

    @staticmethod
    @once_differentiable
    def backward(context, gradient: Tensor) -> tuple[Tensor | None, ...]:
        near, at, other, sent, table = context.saved_tensors
        tables = table.new_zeros(len(near) if context.needs_input_grad[4] else 0, *table.shape)
        by_near, by_at, by_sent = torch.empty_like(near), torch.empty_like(at), torch.zeros_like(sent)
        made = torch.empty_like(sent[:, 0])
        _in_parts(_hear_back, table, [near, at, other, sent, gradient.contiguous(), by_near, by_at, by_sent, tables, made])
        return by_near, by_at, None, by_sent, tables.sum(0) if len(tables) else None


def _in_parts(loop: Callable[..., None], table: Tensor, tensors: list[Tensor]) -> None:
    """Let each thread work on its volume elements."""
    table, arrays = table.numpy(), [tensor.numpy() for tensor in tensors]
    some = thread_ranges(len(tensors[0]))
    in_threads(lambda begin, end: loop(table, *(array[begin:end] for array in arrays)), some, "cpu")


@part
def _interval(x, nodes):
    """Interval of a table, and how far into it; x may be NaN."""
    j = min(max(int(x), 0), nodes - 2)
    return j, x - np.float32(j)


@part
def _sigmoid(y):
    e = exponential(-abs(y))
    return (e if y < _0 else _1) / (_1 + e)


@compiled
def _hear(table, near, at, other, sent, result):
    channels = sent.shape[2]
    for b in range(len(at)):
        for i in range(at.shape[1]):
            for c in range(channels):
                result[b, i, c] = _0
            for k in range(at.shape[2]):
                n, o = near[b, i, k], other[b, i, k]
                j, t = _interval(at[b, i, k], len(table))
                right = t * t * (_3 - _2 * t)
                rise, fall = t * (_1 - t) * (_1 - t), t * t * (t - _1)
                for c in range(channels):
                    f, g = table[j, 0, c], table[j + 1, 0, c]
                    y = f + right * (g - f) + rise * table[j, 1, c] + fall * table[j + 1, 1, c] + sent[b, o, c]
                    result[b, i, c] += n * y * _sigmoid(y)


@compiled
def _hear_back(table, near, at, other, sent, gradient, by_near, by_at, by_sent, by_table, made):
    channels = sent.shape[2]
    for b in range(len(at)):
        for i in range(at.shape[1]):
            for k in range(at.shape[2]):
                n, o = near[b, i, k], other[b, i, k]
                j, t = _interval(at[b, i, k], len(table))
                right = t * t * (_3 - _2 * t)
                rise, fall = t * (_1 - t) * (_1 - t), t * t * (t - _1)
                d_right, d_rise, d_fall = _6 * t * (_1 - t), (_1 - t) * (_1 - _3 * t), t * (_3 * t - _2)
                whole = slope = _0
                for c in range(channels):
                    f, g, u, v = table[j, 0, c], table[j + 1, 0, c], table[j, 1, c], table[j + 1, 1, c]
                    y = f + right * (g - f) + rise * u + fall * v + sent[b, o, c]
                    s = _sigmoid(y)
                    outer = gradient[b, i, c] * s
                    whole += outer * y
                    outer *= n * (_1 + y * (_1 - s))
                    slope += outer * (d_right * (g - f) + d_rise * u + d_fall * v)
                    made[b, c] = outer
                by_near[b, i, k], by_at[b, i, k] = whole, slope
                for c in range(channels):
                    by_sent[b, o, c] += made[b, c]
                if len(by_table):
                    for c in range(channels):
                        by_table[b, j, 0, c] += (_1 - right) * made[b, c]
                        by_table[b, j + 1, 0, c] += right * made[b, c]
                        by_table[b, j, 1, c] += rise * made[b, c]
                        by_table[b, j + 1, 1, c] += fall * made[b, c]
