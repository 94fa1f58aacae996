"""Eight numbers that numba takes for one: what is done to it is done to all at once, by a processor's vector instructions.

Arrays of float64 whose last axis has eight entries become arrays of such numbers by `in_lanes`. Compiled code then reads as if
it were about a single voxel; where voxels differ, `where` chooses.
"""

import operator
from functools import reduce
from math import factorial, log, prod

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.codegen import get_host_cpu_features
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model
from numba.np.arrayobj import populate_array

from microprint.jit import called, part

LANES = 8
# Whether a register holds all lanes of float64; half of the registers are then enough for eight sums.
_WIDE = "+avx512f" in get_host_cpu_features()


def aligned(shape: tuple[int, ...], kind: np.dtype = np.float64) -> np.ndarray:
    """Zeros that begin where a vector may."""
    memory = np.zeros(prod(shape) + LANES, kind)
    return memory[-memory.ctypes.data // memory.itemsize % LANES :][: prod(shape)].reshape(shape)


def in_blocks(array: np.ndarray) -> np.ndarray:
    """An array with its last axis in blocks of lanes, filled up by zeros."""
    result = aligned((*array.shape[:-1], -(-array.shape[-1] // LANES), LANES), array.dtype)
    result.reshape(*array.shape[:-1], -1)[..., : array.shape[-1]] = array
    return result


_VECTOR, _BITS, _FLAGS = (ir.VectorType(kind, LANES) for kind in (ir.DoubleType(), ir.IntType(64), ir.IntType(1)))
_SHORT = ir.VectorType(ir.FloatType(), LANES)
_FREE = ("reassoc", "contract", "arcp", "nsz")
_INDEX = ir.IntType(32)


class Lanes(types.Type):
    """Numba's type of eight numbers, float64 or float32."""

    def __init__(self, number):
        super().__init__(f"lanes of {number}")
        self.number, self.vector = number, _VECTOR if number is types.float64 else _SHORT


class Mask(types.Type):
    """Numba's type of eight truth values."""


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, kind.vector)


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _FLAGS)


LANE, SHORT, MASK, NUMBER = Lanes(types.float64), Lanes(types.float32), Mask("mask"), types.float64


def _spread(builder, number):
    """A number in all lanes."""
    empty = ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined)
    return builder.shuffle_vector(
        builder.insert_element(empty, number, _INDEX(0)), empty, ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES)
    )


def _bits(pattern):
    return ir.Constant(_BITS, [pattern] * LANES)


def _define(build, result, *cases, function=None, also=()):
    """What compiled code does where an operator, or the function that is returned, meets lanes and numbers among them.

    All cases have one result; `also` holds others, each with its own before the arguments.
    """
    key, function = function or build, function or (lambda *arguments: build)  # a name alone: python never calls it
    signatures = [signature(result, *case) for case in cases] + [signature(*case) for case in also]
    infer_global(function, typing_key=key)(type("Typing", (ConcreteTemplate,), {"cases": signatures}))

    def code(context, builder, signature, arguments):
        number = next((kind.number for kind in signature.args if isinstance(kind, Lanes)), NUMBER)

        def in_all_lanes(x, kind):
            return _spread(builder, context.cast(builder, x, kind, number)) if isinstance(kind, types.Float) else x

        return build(builder, *map(in_all_lanes, arguments, signature.args))

    for case in signatures:
        lower_builtin(key, *case.args)(code)
    return function


def _library(name):
    """A function of LLVM's."""

    def build(builder, *x):
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(x))
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v8f64"), x)

    return build


def _pairs(kind):
    numbers = dict.fromkeys((kind.number, NUMBER))  # a number in a program is a float64
    return (kind, kind), *((kind, number) for number in numbers), *((number, kind) for number in numbers)


_PAIRS, _SHORTS = _pairs(LANE), _pairs(SHORT)
for _function, _name in {"add": "fadd", "sub": "fsub", "mul": "fmul", "truediv": "fdiv"}.items():
    _define(
        lambda b, x, y, name=_name: getattr(b, name)(x, y, flags=_FREE), LANE, *_PAIRS,
        function=getattr(operator, _function), also=[(SHORT, *pair) for pair in _SHORTS],
    )  # fmt: skip
for _function, _name in {"lt": "<", "gt": ">", "eq": "=="}.items():
    _define(
        lambda b, x, y, name=_name: b.fcmp_ordered(name, x, y), MASK, *_PAIRS, *_SHORTS, function=getattr(operator, _function)
    )
_define(lambda b, x, y: b.and_(x, y), MASK, (MASK, MASK), function=operator.and_)
_define(lambda b, x: b.not_(x), MASK, (MASK,), function=operator.invert)
_define(lambda b, x: b.fneg(x), LANE, (LANE,), function=operator.neg)
_define(_library("fabs"), LANE, (LANE,), function=abs)
sqrt = _define(_library("sqrt"), LANE, (LANE,))
floor = _define(_library("floor"), LANE, (LANE,))
with_sign = _define(_library("copysign"), LANE, *_PAIRS)  # the size of one, the sign of the other
lanes = _define(lambda b, x: x, LANE, (NUMBER,))
where = _define(
    lambda b, *x: b.select(*x), LANE, (MASK, NUMBER, NUMBER), *((MASK, *pair) for pair in _PAIRS),
    also=[(SHORT, MASK, *pair) for pair in _SHORTS],
)  # fmt: skip
some = _define(lambda b, x: b.icmp_unsigned("!=", b.bitcast(x, ir.IntType(8)), ir.IntType(8)(0)), types.boolean, (MASK,))
holds = _define(lambda b, x, lane: b.extract_element(x, lane), types.boolean, (MASK, types.intp))
summed = _define(
    lambda b, x: reduce(lambda total, lane: b.fadd(total, lane), [b.extract_element(x, _INDEX(k)) for k in range(LANES)]),
    NUMBER,
    (LANE,),
)
_mantissa = _define(
    lambda b, x: b.bitcast(b.or_(b.and_(b.bitcast(x, _BITS), _bits(2**52 - 1)), _bits(1023 << 52)), _VECTOR), LANE, (LANE,)
)
_exponent = _define(lambda b, x: b.sitofp(b.sub(b.lshr(b.bitcast(x, _BITS), _bits(52)), _bits(1023)), _VECTOR), LANE, (LANE,))
_two_to = _define(lambda b, x: b.bitcast(b.shl(b.add(b.fptosi(x, _BITS), _bits(1023)), _bits(52)), _VECTOR), LANE, (LANE,))
# Of log2((1 + s) / (1 - s)) / s in s^2, and of 2^x, highest powers first.
_LOG, _EXP = (
    tuple(2 / log(2) / (2 * k + 1) for k in range(9, -1, -1)),
    tuple(log(2) ** k / factorial(k) for k in range(13, -1, -1)),
)


@part
def larger(x, y):
    return where(x > y, x, y)


@part
def smaller(x, y):
    return where(x < y, x, y)


@called
def power(x, exponent):
    """x^exponent of lanes that are not negative."""
    m, e = _mantissa(x), _exponent(x)
    upper = m > 1.4
    m, e = where(upper, 0.5 * m, m), where(upper, e + 1.0, e)
    s, total = (m - 1.0) / (m + 1.0), lanes(0.0)
    for c in _LOG:
        total = total * (s * s) + c
    y = smaller(larger(exponent * (e + s * total), -1022.0), 1022.0)
    whole = floor(y + 0.5)
    fraction, total = y - whole, lanes(0.0)
    for c in _EXP:
        total = total * fraction + c
    return where(x == x, total * _two_to(whole), x)


@intrinsic
def in_lanes(_context, arrays):
    """The named tuple of C-contiguous arrays, all float64 or all float32, as arrays of lanes, with the last axis in them."""
    kinds = [types.Array(Lanes(kind.dtype), kind.ndim - 1, "C", aligned=False) for kind in arrays.types]
    result = types.BaseTuple.from_types(kinds, arrays.instance_class)

    def code(context, builder, signature, arguments):
        views = []
        for i, (old, new) in enumerate(zip(arrays.types, kinds)):
            source = context.make_array(old)(context, builder, builder.extract_value(arguments[0], i))
            view = context.make_array(new)(context, builder)
            shape, strides = (cgutils.unpack_tuple(builder, x)[:-1] for x in (source.shape, source.strides))
            data = builder.bitcast(source.data, view.data.type)
            populate_array(view, data, shape, strides, context.get_constant(types.intp, LANES * old.dtype.bitwidth // 8), None)
            views.append(view._getvalue())
        return context.make_tuple(builder, result, views)

    return result(arrays), code


def _pointers(context, builder, signature, arguments):
    """Pointers to a row's numbers of a table, one for each lane."""
    kind, table = signature.args[0], context.make_array(signature.args[0])(context, builder, arguments[0])
    at = context.make_array(signature.args[2])(context, builder, arguments[2])
    columns = (builder.load(builder.gep(at.data, [_INDEX(lane)])) for lane in range(LANES))
    return [cgutils.get_item_pointer(context, builder, kind, table, (arguments[1], column)) for column in columns]


def _neighbours(context, builder, signature, arguments):
    """Pointer to eight numbers of a table, from a row and column on."""
    kind, table = signature.args[0], context.make_array(signature.args[0])(context, builder, arguments[0])
    pointer = cgutils.get_item_pointer(context, builder, kind, table, arguments[1:3])
    return builder.bitcast(pointer, Lanes(kind.dtype).vector.as_pointer())


@intrinsic
def read(_context, table, row, column):
    """Lanes from neighbours in a row of a table of float64 or float32."""

    def code(context, builder, signature, arguments):
        return builder.load(_neighbours(context, builder, signature, arguments), align=4)

    return Lanes(table.dtype)(table, row, column), code


@intrinsic
def write(_context, table, row, column, x):
    """Write lanes to neighbours in a row of a table."""

    def code(context, builder, signature, arguments):
        builder.store(arguments[3], _neighbours(context, builder, signature, arguments), align=4)
        return context.get_dummy_value()

    return types.void(table, row, column, x), code


@intrinsic
def widened(_context, x):
    """Lanes of float32 as lanes of float64."""
    return LANE(x), lambda context, builder, signature, arguments: builder.fpext(arguments[0], _VECTOR)


@intrinsic
def _pick(_context, table, row, at):
    def code(context, builder, signature, arguments):
        x = ir.Constant(_VECTOR, ir.Undefined)
        for lane, pointer in enumerate(_pointers(context, builder, signature, arguments)):
            x = builder.insert_element(x, builder.load(pointer), _INDEX(lane))
        return x

    return LANE(table, row, at), code


@intrinsic
def _drop(_context, table, row, at, x):
    def code(context, builder, signature, arguments):
        for lane, pointer in enumerate(_pointers(context, builder, signature, arguments)):
            builder.store(builder.extract_element(arguments[3], _INDEX(lane)), pointer)
        return context.get_dummy_value()

    return types.void(table, row, at, x), code


@part
def _together(at):
    """Whether ascending columns, the last of which may be repeated, are neighbours."""
    return at[LANES - 1] - at[0] == LANES - 1 and at[LANES - 2] < at[LANES - 1]


@called
def take(table, at, target):
    """Lanes of the target (rows,) from the columns `at` (8,), ascending, of a table of float64."""
    near = _together(at)
    for row in range(len(table)):
        target[row] = read(table, row, at[0]) if near else _pick(table, row, at)


@called
def put(table, at, source):
    """Write lanes to columns of a table."""
    if _together(at):
        for row in range(len(table)):
            write(table, row, at[0], source[row])
    else:
        for row in range(len(table)):
            _drop(table, row, at, source[row])


@called
def multiply(a, b, c, rows):
    """c (rows, N) = a (rows, K or more) of numbers times b (K, N) of lanes; the sums of four rows stay in registers.

    They do so for two neighbouring lanes at once where these fit.
    """
    paired = b.shape[1] // 2 * 2 if rows >= 4 and (_WIDE or b.itemsize == 4 * LANES) else 0
    for n in range(0, paired, 2):
        for r in range(0, rows, 4):
            _four_by_two(a, b, c, min(r, rows - 4), n)  # the last rows may be made twice
    for n in range(paired, b.shape[1]):
        for r in range(0, rows - 3, 4):
            _four(a, b, c, r, n)
        for r in range(rows // 4 * 4, rows):
            total = a[r, 0] * b[0, n]
            for k in range(1, len(b)):
                total = total + a[r, k] * b[k, n]
            c[r, n] = total


@part
def _four(a, b, c, r, n):
    x = b[0, n]
    s0, s1, s2, s3 = a[r, 0] * x, a[r + 1, 0] * x, a[r + 2, 0] * x, a[r + 3, 0] * x
    for k in range(1, len(b)):
        x = b[k, n]
        s0, s1, s2, s3 = s0 + a[r, k] * x, s1 + a[r + 1, k] * x, s2 + a[r + 2, k] * x, s3 + a[r + 3, k] * x
    c[r, n], c[r + 1, n], c[r + 2, n], c[r + 3, n] = s0, s1, s2, s3


@part
def _four_by_two(a, b, c, r, n):
    x, y = b[0, n], b[0, n + 1]
    s0, s1, s2, s3 = a[r, 0] * x, a[r + 1, 0] * x, a[r + 2, 0] * x, a[r + 3, 0] * x
    t0, t1, t2, t3 = a[r, 0] * y, a[r + 1, 0] * y, a[r + 2, 0] * y, a[r + 3, 0] * y
    for k in range(1, len(b)):
        x, y = b[k, n], b[k, n + 1]
        s0, s1, s2, s3 = s0 + a[r, k] * x, s1 + a[r + 1, k] * x, s2 + a[r + 2, k] * x, s3 + a[r + 3, k] * x
        t0, t1, t2, t3 = t0 + a[r, k] * y, t1 + a[r + 1, k] * y, t2 + a[r + 2, k] * y, t3 + a[r + 3, k] * y
    c[r, n], c[r + 1, n], c[r + 2, n], c[r + 3, n] = s0, s1, s2, s3
    c[r, n + 1], c[r + 1, n + 1], c[r + 2, n + 1], c[r + 3, n + 1] = t0, t1, t2, t3
