"""A crystal's stress on a CPU, without derivatives: what `CrystalLaw.stress` computes, several times faster.

A few columns at a time, the lanes of some vectors, go through both layers without leaving a core's own cache. Products are
made of blocks of rows whose sums stay in registers, which is as fast as a core can multiply. A unit's bend and its slope
share an exponential; the weights of the planes are divided by their sum where five numbers are left of them.
"""

from __future__ import annotations

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from microprint.jit import compiled, part
from microprint.vectors import exponential, fitted, larger

LANES, WIDTH, ROWS = 64, 16, 8  # columns at a time, of a vector; rows of a block of a matrix


# log(1 + e) is s times this polynomial of s^2, s = e / (2 + e).
_L0, _L1, _L2, _L3, _L4 = fitted(lambda x: 2 * np.arctanh(np.sqrt(x)) / np.sqrt(x), 0.0, 1 / 9, 4)
_ZERO, _1, _2 = (np.float32(x) for x in (0, 1, 2))


@intrinsic
def _add_block(_context, total, blocks, x, b, column, keep):
    """Block b of `blocks` (B, K, ROWS) times x (K, LANES), WIDTH columns of it, into its rows of total (R, LANES).

    `keep` adds what is there. Left to itself the compiler would keep no sums of several rows in registers.
    """

    def code(context, builder, signature, arguments):
        arrays = [(kind, context.make_array(kind)(context, builder, x)) for kind, x in zip(signature.args[:3], arguments)]
        (total, blocks, x), (b, column, keep) = arrays, arguments[3:]
        vector, lane, free = ir.VectorType(ir.FloatType(), WIDTH), ir.IntType(32), ("contract",)
        empty, nil = ir.Constant(vector, ir.Undefined), ir.Constant(vector, [0.0] * WIDTH)
        numbers = [ir.Constant(b.type, r) for r in range(ROWS)]

        def at(array, *position):
            return cgutils.get_item_pointer(context, builder, *array, position)

        def lanes(array, row):
            return builder.bitcast(at(array, row, column), vector.as_pointer())

        def spread(number):
            return builder.shuffle_vector(
                builder.insert_element(empty, number, lane(0)), empty, ir.Constant(ir.VectorType(lane, WIDTH), [0] * WIDTH)
            )

        rows = [lanes(total, builder.add(builder.mul(b, ir.Constant(b.type, ROWS)), number)) for number in numbers]
        sums = [cgutils.alloca_once_value(builder, builder.select(keep, builder.load(row, align=4), nil)) for row in rows]
        with cgutils.for_range(builder, cgutils.unpack_tuple(builder, blocks[1].shape)[1]) as k:
            inputs = builder.load(lanes(x, k.index), align=4)
            for number, partial in zip(numbers, sums):
                product = builder.fmul(spread(builder.load(at(blocks, b, k.index, number))), inputs, flags=free)
                builder.store(builder.fadd(builder.load(partial), product, flags=free), partial)
        for row, partial in zip(rows, sums):
            builder.store(builder.load(partial), row, align=4)
        return context.get_dummy_value()

    return types.void(total, blocks, x, b, column, keep), code


@part
def _product(total, blocks, x, keep):
    """total (R, LANES) becomes the matrix of `blocks` times x (K, LANES), or is increased by that."""
    for b in range(len(blocks)):
        for column in range(0, LANES, WIDTH):
            _add_block(total, blocks, x, b, column, keep)


@part
def _bend(y, slope, units):
    """Softplus in the place of y, and its slope."""
    for i in range(units):
        for j in range(LANES):
            x = y[i, j]
            e = exponential(-abs(x))
            inverse = _1 / ((_1 + e) * (_2 + e))
            s = e * (_1 + e) * inverse
            q = s * s
            y[i, j] = (_ZERO if x < _ZERO else x) + s * (_L0 + q * (_L1 + q * (_L2 + q * (_L3 + q * _L4))))
            slope[i, j] = (_2 + e) * inverse * (e if x < _ZERO else _1)


@part
def _weigh(z, highest, planes):
    """Softmax down the columns in the place of z, but for a factor of each column."""
    for j in range(LANES):
        highest[j] = z[0, j]
    whole = planes // 8 * 8  # rows at a time: each waits for the highest of those before
    for i in range(0, whole, 8):
        for j in range(LANES):
            a, b = larger(z[i, j], z[i + 1, j]), larger(z[i + 2, j], z[i + 3, j])
            c, d = larger(z[i + 4, j], z[i + 5, j]), larger(z[i + 6, j], z[i + 7, j])
            highest[j] = larger(larger(larger(a, b), larger(c, d)), highest[j])
    for i in range(whole, planes):
        for j in range(LANES):
            highest[j] = larger(z[i, j], highest[j])
    for i in range(planes):
        for j in range(LANES):
            z[i, j] = exponential(z[i, j] - highest[j])


def _columns(x, memory, matrices, work, nothing, answer):
    """Gradients (5, N) less `nothing` (5,) of LANES or more columns, the matrices in blocks."""
    first, second, between, back, direct, out = matrices
    inputs, y, slope, z, through, last, highest = work
    known, columns = x.shape
    for begin in range(0, columns, LANES):
        begin = min(begin, columns - LANES)  # the last may come twice
        for i in range(known):
            for j in range(LANES):
                inputs[i, j] = x[i, begin + j]
        for i in range(len(memory)):
            for j in range(LANES):
                inputs[known + i, j] = memory[i, begin + j]
        _product(y, first, inputs, False)
        _bend(y, slope, between.shape[1])
        _product(z, second, inputs, False)
        _product(z, between, y, True)
        _weigh(z, highest, back.shape[1])
        _product(through, back, z, False)
        for i in range(len(slope)):
            for j in range(LANES):
                slope[i, j] *= through[i, j]
        _product(last, direct, z, False)
        _product(last, out, slope, True)
        for i in range(known):
            for j in range(LANES):
                answer[i, begin + j] = last[i, j] / last[known, j] - nothing[i]


_columns = compiled(_columns)


def _blocks(matrix: Tensor) -> np.ndarray:
    """Matrix (R, K) in blocks (B, K, ROWS) of rows, the last filled up with zeros."""
    filled = torch.nn.functional.pad(matrix, (0, 0, 0, -len(matrix) % ROWS))
    return filled.unflatten(0, (-1, ROWS)).transpose(1, 2).contiguous().numpy()


def stress(
    x: Tensor, memory: Tensor, first: Tensor, second: Tensor, P: Tensor, between: Tensor, V: Tensor, U: Tensor
) -> Tensor:
    """Stress (5, N) of trial strains (5, N) with memory (memories, N), all float32.

    Units and planes take from strain, memory and 1 by `first` (units, I) and `second` (planes, I), planes from units by
    `between` (planes, units); U (units, 5), V (planes, 5) and P (planes, units) lead back.
    """
    direct = torch.cat([V.T, torch.ones_like(V.T[:1])])
    matrices = tuple(_blocks(matrix) for matrix in (first, second, between, P.T, direct, U.T))
    units, planes, rows = (ROWS * len(blocks) for blocks in (matrices[0], matrices[1], matrices[4]))
    inputs, highest = np.ones((first.shape[1], LANES), np.float32), np.empty(LANES, np.float32)
    work = inputs, *(np.zeros((n, LANES), np.float32) for n in (units, units, planes, units, rows)), highest

    def less(nothing: np.ndarray, x: Tensor, memory: Tensor) -> Tensor:
        answer = torch.empty_like(x)
        _columns(x.numpy(), memory.numpy(), matrices, work, nothing, answer.numpy())
        return answer

    count, zero = x.shape[1], [torch.zeros(len(x), LANES), torch.zeros(len(memory), LANES)]
    if count < LANES:
        x, memory = torch.cat([x, zero[0]], 1), torch.cat([memory, zero[1]], 1)
    nothing = less(np.zeros(len(x), np.float32), *zero)[:, 0].contiguous()
    return less(nothing.numpy(), x.contiguous(), memory.contiguous())[:, :count]
