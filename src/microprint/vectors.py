"""Functions of float32 that compiled loops work out on vectors, as the library's cannot be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from microprint.jit import part


def fitted(function: Callable[[np.ndarray], np.ndarray], low: float, high: float, degree: int) -> tuple[np.float32, ...]:
    """Coefficients of a polynomial that is as good as float32, at Chebyshev's points."""
    x = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(500) + 0.5) / 500)
    return tuple(np.float32(c) for c in np.polynomial.polynomial.polyfit(x, function(x), degree))


_E0, _E1, _E2, _E3, _E4, _E5, _E6 = fitted(np.exp2, -0.5, 0.5, 6)
_HALF, _LOG2_E, _LOWEST = (np.float32(x) for x in (0.5, np.log2(np.e), -50.0))
_MANTISSA, _BIAS = np.int32(23), np.int32(127)  # bits of a float32


@intrinsic
def _float_of(_context, bits):
    """The float32 that has the bits of an int32."""
    return types.float32(types.int32), lambda _, builder, __, args: builder.bitcast(args[0], ir.FloatType())


@part
def exponential(x):
    """Exponential of a float32 below 88, but at least e^-50: its product with another should not be below 1e-38.

    A processor takes a hundred cycles for each number so small, and next to 1 neither counts.
    """
    x = (_LOWEST if x < _LOWEST else x) * _LOG2_E
    whole = np.floor(x + _HALF)
    r = x - whole
    p = _E0 + r * (_E1 + r * (_E2 + r * (_E3 + r * (_E4 + r * (_E5 + r * _E6)))))
    return p * _float_of((np.int32(whole) + _BIAS) << _MANTISSA)


@part
def larger(a, b):
    """The larger number; unlike max, it does not look for NaN."""
    return a if a > b else b
