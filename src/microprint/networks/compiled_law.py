"""A crystal's stress on a CPU, without derivatives: what `crystal_law.solved` computes, many times faster.

A few columns at a time, the lanes of some vectors, go through all iterations without leaving a core's own cache, until the
last of them has settled. Products are made of blocks of rows whose sums stay in registers.
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
from microprint.vectors import _float_of, exponential, fitted, larger

LANES, WIDTH, ROWS = 32, 16, 8  # columns at a time, of a vector; rows of a block of a matrix
DEVIATORS = 5
LOWER = [(i, j) for i in range(DEVIATORS) for j in range(i + 1)]  # of a symmetric matrix, row by row
_ZERO, _HALF, _1, _LN_2, _LEAST, _TINY = (np.float32(x) for x in (0, 0.5, 1, np.log(2), 1e-6, 1e-37))
_MANTISSA, _SQRT_HALF = np.int32(23), np.float32(np.sqrt(0.5)).view(np.int32)
# log((1 + s) / (1 - s)) is s times this polynomial of s^2, for a number between sqrt(1/2) and sqrt(2).
_L0, _L1, _L2, _L3 = fitted(
    lambda x: 2 * np.arctanh(np.sqrt(x)) / np.sqrt(x), 1e-12, (np.sqrt(2) - 1) ** 2 / (np.sqrt(2) + 1) ** 2, 3
)


@intrinsic
def _bits_of(_context, number):
    """The int32 that has the bits of a float32."""
    return types.int32(types.float32), lambda _, builder, __, args: builder.bitcast(args[0], ir.IntType(32))


@part
def power(x, exponent):
    """A float32 that is not negative, to a power, but at least 1e-22. What would come to more than 1e38 is not caught."""
    bits = _bits_of(x if x > _TINY else _TINY)
    whole = np.int32(np.int32(bits - _SQRT_HALF) >> _MANTISSA)  # numba computes with 64 bits, which would halve the speed
    m = _float_of(np.int32(bits - (whole << _MANTISSA)))  # from sqrt(1/2) to sqrt(2)
    s = (m - _1) / (m + _1)
    q = s * s
    return exponential(exponent * (np.float32(whole) * _LN_2 + s * (_L0 + q * (_L1 + q * (_L2 + q * _L3)))))


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
def _solve(A, b, s):
    """Solution s (5, LANES) of positive definite systems, of which A (15, LANES) is the lower half: Cholesky's way."""
    for i in range(DEVIATORS):
        row = i * (i + 1) // 2
        for j in range(i + 1):
            other = j * (j + 1) // 2
            for k in range(j):
                for lane in range(LANES):
                    A[row + j, lane] -= A[row + k, lane] * A[other + k, lane]
            if j < i:
                for lane in range(LANES):
                    A[row + j, lane] *= A[other + j, lane]
            else:  # the diagonal is kept inverted
                for lane in range(LANES):
                    A[row + i, lane] = _1 / np.sqrt(A[row + i, lane])
    for i in range(DEVIATORS):
        row = i * (i + 1) // 2
        for lane in range(LANES):
            s[i, lane] = b[i, lane]
        for k in range(i):
            for lane in range(LANES):
                s[i, lane] -= A[row + k, lane] * s[k, lane]
        for lane in range(LANES):
            s[i, lane] *= A[row + i, lane]
    for back in range(DEVIATORS):
        i = DEVIATORS - 1 - back
        for k in range(i + 1, DEVIATORS):
            for lane in range(LANES):
                s[i, lane] -= A[k * (k + 1) // 2 + i, lane] * s[k, lane]
        for lane in range(LANES):
            s[i, lane] *= A[i * (i + 1) // 2 + i, lane]


@part
def _flow(ratio, flow, n, rate):
    """Size of the flow (K, LANES) at ratios."""
    for i in range(len(ratio)):
        for j in range(LANES):
            flow[i, j] = rate * power(abs(ratio[i, j]), n)


@part
def _linearise(ratio, flow, hardened, backwards, slope, weight, n):
    """Slopes of the flow (K, LANES) at ratios, by these and by stresses; `flow` becomes what the linear equation leaves out."""
    for i in range(len(backwards)):
        harder = backwards[i]
        for j in range(LANES):
            slope[i, j] = n * flow[i, j] / larger(abs(ratio[i, j]), _LEAST)
        for j in range(LANES):
            weight[i, j] = slope[i, j] / (hardened[i, j] * (_1 if ratio[i, j] > _ZERO else harder))
        for j in range(LANES):
            flow[i, j] *= (_1 - n) if ratio[i, j] > _ZERO else (n - _1)


@part
def _move(ratio, along, hardened, backwards, slope, moved, n, rate):
    """New ratios (K, LANES) after stresses `along` the directions, and how far each column has moved."""
    inverse, share = _1 / n, _1 / rate
    for j in range(LANES):
        moved[j] = _ZERO
    for i in range(len(backwards)):
        harder = backwards[i]
        for j in range(LANES):
            along[i, j] /= hardened[i, j] * (_1 if along[i, j] > _ZERO else harder)
        beyond = _ZERO
        for j in range(LANES):
            beyond = larger(abs(along[i, j]) - larger(abs(ratio[i, j]), _1), beyond)
        if beyond > _ZERO:  # few directions flow, and so few roots have to be taken
            for j in range(LANES):
                r, wanted = ratio[i, j], along[i, j]
                size, far = abs(r), abs(wanted)
                linear = slope[i, j] * (wanted - r + r * inverse) * share
                by_flow = power(linear if wanted > _ZERO else -linear, inverse)
                most = larger(size, _1)
                by_flow = larger(by_flow, most if r * wanted > _ZERO else _1)
                new = far if far <= most or far <= by_flow else by_flow
                along[i, j] = new if wanted > _ZERO else -new
        for j in range(LANES):
            change = abs(along[i, j] - ratio[i, j])
            moved[j] = larger(moved[j], change if larger(abs(along[i, j]), abs(ratio[i, j])) > _HALF else _ZERO)
        for j in range(LANES):
            ratio[i, j] = along[i, j]


def _columns(trial, before, guess, nearby, matrices, numbers, work, settings, stress, after, flown):
    """Stresses (5, N), resistances (K, N) and flow (K, N) of LANES or more columns, the matrices in blocks."""
    resolve, dyads, back, couple = matrices
    backwards, xi_0, room, S, n, a, rate = numbers
    ratio, slack, hardened, slope, weight, along, flow, grown, A, b, s, moved = work
    most, close, undamped = settings
    columns, count = trial.shape[1], len(backwards)
    for begin in range(0, columns, LANES):
        begin = min(begin, columns - LANES)  # the last may come twice
        for i in range(DEVIATORS):
            for j in range(LANES):
                s[i, j] = guess[i, begin + j]
        _product(along, resolve, s, False)
        for i in range(count):
            harder, least, share = backwards[i], xi_0[i], _1 / room[i]
            for j in range(LANES):
                slack[i, j] = power(larger(_1 - (before[i, begin + j] - least) * share, _LEAST), a)
            for j in range(LANES):
                hardened[i, j] = nearby[i, begin + j]
            for j in range(LANES):
                t = along[i, j] / (hardened[i, j] * (_1 if along[i, j] > _ZERO else harder))
                ratio[i, j] = larger(-_1, t if t < _1 else _1)
        _flow(ratio, flow, n, rate)
        for number in range(most):
            _linearise(ratio, flow, hardened, backwards, slope, weight, n)
            for i in range(len(S)):
                elastic = S[i]
                for j in range(LANES):
                    A[i, j] = elastic
            for i in range(DEVIATORS):
                for j in range(LANES):
                    b[i, j] = trial[i, begin + j]
            _product(A, dyads, weight, True)
            _product(b, back, flow, True)
            _solve(A, b, s)
            _product(along, resolve, s, False)
            _move(ratio, along, hardened, backwards, slope, moved, n, rate)
            _flow(ratio, flow, n, rate)
            _product(grown, couple, flow, False)
            share = _1 if number < undamped else _HALF
            for i in range(count):
                for j in range(LANES):
                    hardened[i, j] += share * (before[i, begin + j] + slack[i, j] * grown[i, j] - hardened[i, j])
            furthest = _ZERO
            for j in range(LANES):
                furthest = larger(moved[j], furthest)
            if furthest < close:
                break
        for i in range(DEVIATORS):
            for j in range(LANES):
                stress[i, begin + j] = s[i, j]
        for i in range(count):
            for j in range(LANES):
                after[i, begin + j] = hardened[i, j]
            for j in range(LANES):
                flown[i, begin + j] = flow[i, j] if ratio[i, j] > _ZERO else -flow[i, j]


_columns = compiled(_columns)


def _blocks(matrix: Tensor) -> np.ndarray:
    """Matrix (R, K) in blocks (B, K, ROWS) of rows, the last filled up with zeros."""
    filled = torch.nn.functional.pad(matrix, (0, 0, 0, -len(matrix) % ROWS))
    return filled.unflatten(0, (-1, ROWS)).transpose(1, 2).contiguous().numpy()


def solved(
    trial: Tensor, resistance: Tensor, guess: Tensor, nearby: Tensor, P: Tensor, backwards: Tensor, xi_0: Tensor, room: Tensor,
    H: Tensor, S: Tensor, n: Tensor, a: Tensor, rate: float, most: int, close: float, undamped: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """See `crystal_law.solved`, which names the arguments; all float32."""
    first, second = zip(*LOWER)
    matrices = tuple(_blocks(matrix) for matrix in (P, (P[:, first] * P[:, second]).T, -P.T, H))
    count, columns = len(P), trial.shape[1]
    if columns < LANES:
        trial, resistance, guess, nearby = (_widened(x) for x in (trial, resistance, guess, nearby))
    sizes = *8 * (count,), len(LOWER), DEVIATORS, DEVIATORS
    work = *(np.zeros((ROWS * -(-rows // ROWS), LANES), np.float32) for rows in sizes), np.zeros(LANES, np.float32)
    vectors = (x.flatten().contiguous().numpy() for x in (backwards, xi_0, room, S[first, second]))
    numbers = *vectors, *(np.float32(x) for x in (n, a, rate))
    answer = tuple(trial.new_empty(rows, trial.shape[1]) for rows in (DEVIATORS, count, count))
    inputs = (x.contiguous().numpy() for x in (trial, resistance, guess, nearby))
    _columns(*inputs, matrices, numbers, work, (most, np.float32(close), undamped), *(x.numpy() for x in answer))
    return tuple(x[:, :columns] for x in answer)


def _widened(x: Tensor) -> Tensor:
    """LANES columns, the last of x many times."""
    return torch.cat([x, x[:, -1:].expand(-1, LANES - x.shape[1])], 1)
