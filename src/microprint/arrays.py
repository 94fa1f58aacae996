"""The way in for a user's arrays: they become tensors of a known type, or a sentence says why they cannot.

Taken are numpy arrays of any stride, byte order, width and writability; tensors on any device, with gradients or without;
nested lists and tuples of numbers or arrays; and what numpy reads as an array, such as a dataset of h5py. What comes out is a
copy in main memory, so that nothing that is done with it reaches the user's array. An array without entries is refused: a
mask that keeps nothing is a mistake more often than a wish.

A form says which axes are asked for: numbers are lengths, equal names are equal lengths, as in ``("B", "n", "n", 4)``.
"""

from __future__ import annotations

from numbers import Number
from types import EllipsisType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microprint.errors import UserError

Array = np.ndarray | Tensor  # or a list, or another of the above
Form = tuple[str | int | EllipsisType, ...]


def integers(value: Any, name: str, form: Form, *, single: bool = False, small: bool = False) -> Tensor:
    """Integers of a form, int64; `single` takes what lacks the first axis for one entry of it, `small` leaves uint8 as it is.

    Whole numbers of a floating-point type are integers too, as MATLAB saves them. Raises `UserError` that starts with the
    `name` of the argument.
    """
    remedy = _remedy("integer", form, single)
    array = _array(value, name, form, single, remedy)
    if array.dtype.kind == "f":
        _refuse(inexact(array), array, name, f"no exact whole number, in type {array.dtype}", remedy)
    elif array.dtype.kind == "u":
        _refuse(array > np.iinfo(np.int64).max, array, name, "beyond int64", remedy)
    kept = small and array.dtype == np.uint8
    return _copied(array, np.uint8 if kept else np.int64, single and array.ndim < len(form))


def inexact(array: np.ndarray) -> np.ndarray:
    """Where an array of floating-point numbers holds none that stands for one integer alone: a fraction, NaN, or too large."""
    exact = 2.0 ** min(np.finfo(array.dtype).nmant + 1, 62)  # up to here each integer has a number of its own
    with np.errstate(invalid="ignore"):
        return ~((array == np.round(array)) & (abs(array) <= exact))


def whole(value: Any, name: str) -> int:
    """One whole number, 1 or more; raises `UserError`."""
    number = int(integers(value, name, ()))
    if number < 1:
        raise UserError(f"is {number}", name, "Give a whole number, 1 or more")
    return number


def numbers(
    value: Any, name: str, form: Form, *, single: bool = False, finite: bool = True, dtype: torch.dtype | None = torch.float64
) -> Tensor:
    """Real numbers of a form, of type `dtype`; see `integers`. Unless they need not be `finite`, each one must be.

    Without a `dtype`, float32 stays what it is, and all else becomes float64. Raises `UserError` that starts with the `name`
    of the argument.
    """
    remedy = _remedy("finite number" if finite else "number", form, single)
    array = _array(value, name, form, single, remedy)
    four_bytes = dtype == torch.float32 or (dtype is None and array.dtype.kind == "f" and array.dtype.itemsize == 4)
    with np.errstate(over="ignore"):
        result = _copied(array, np.float32 if four_bytes else np.float64, single and array.ndim < len(form))
    if finite:
        wrong = ~result.isfinite().numpy().reshape(array.shape)
        _refuse(wrong, array, name, f"not finite in float{32 if four_bytes else 64}", remedy)
    return result


def vectors(value: Any, name: str, size: int) -> Tensor:
    """Vectors (..., size) to compute with: a dense tensor of floating-point numbers is taken as it is, with its gradient.

    All else is read as by `numbers`, an object with an attribute ``quaternion`` (damask.Rotation) by that. NaN passes, and
    so do no vectors at all: what is computed for each alone is then computed for none.
    """
    value = quaternion_of(value)
    if not (isinstance(value, Tensor) and value.is_floating_point() and value.layout == torch.strided):
        return numbers(value, name, (..., size), finite=False, dtype=None)
    if not value.ndim or value.shape[-1] != size:
        raise UserError(f"is of shape {tuple(value.shape)}", name, f"Give numbers (..., {size})")
    return value


def quaternion_of(value: Any) -> Any:
    """The quaternions of an object that holds orientations, such as damask.Rotation; anything else as it is."""
    return getattr(value, "quaternion", value)


def like(result: Tensor, given: Any) -> Array:
    """A result in the kind that was given: a tensor, on the same device, for a tensor, else a numpy array."""
    return result.to(given.device) if isinstance(given, Tensor) else result.cpu().numpy()


def _array(value: Any, name: str, form: Form, single: bool, remedy: str) -> np.ndarray:
    """What a user gave as an array of numpy, of real numbers of any type."""
    try:
        array = np.asarray(_without_tensors(value, name, remedy))
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        if isinstance(value, (list, tuple)):
            raise UserError("is a list whose parts differ in length", name, "Give rows of equal length") from None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{type(value).__name__} cannot be read as an array ({reason})", name, remedy) from None
    if array.dtype.kind == "O" and array.ndim:
        other = next((entry for entry in array.flat if not isinstance(entry, Number)), next(array.flat, None))
        raise UserError(f"holds objects: {' '.join(str(other).split())[:40]} of type {type(other).__name__}", name, remedy)
    if array.dtype.kind not in "iuf":
        raise UserError(f"is of type {array.dtype if array.ndim else type(value).__name__}", name, remedy)
    _check_form(array.shape, name, form, single, remedy)
    return array


def _without_tensors(value: Any, name: str, remedy: str) -> Any:
    """The same with numpy arrays for tensors; refuses what numpy would read without a word.

    Those are truth values among the numbers of a list, which pass for 0 and 1, and masked entries.
    """
    if isinstance(value, (list, tuple)):
        parts = [_without_tensors(part, name, remedy) for part in value]
        if any(isinstance(part, (bool, np.bool_)) or getattr(part, "dtype", None) == np.bool_ for part in parts):
            raise UserError("holds truth values, of type bool", name, remedy)
        return parts
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise UserError(f"has {np.ma.count_masked(value)} masked entries", name, "Fill them, or leave them out")
    if not isinstance(value, Tensor):
        return value
    dense = value.detach().to_dense().cpu().resolve_conj().resolve_neg()
    return (dense.float() if dense.is_floating_point() and dense.itemsize < 4 else dense).numpy()


def _check_form(shape: tuple[int, ...], name: str, form: Form, single: bool, remedy: str) -> None:
    if form[:1] == (...,):
        fits = len(shape) >= len(form) - 1 and shape[len(shape) - len(form) + 1 :] == form[1:]
    else:
        own = form[1:] if single and len(shape) == len(form) - 1 else form
        lengths = dict(zip(own, shape))
        fits = len(shape) == len(own) and 0 not in shape
        fits = fits and all(length == (lengths[axis] if isinstance(axis, str) else axis) for axis, length in zip(own, shape))
    if not fits:
        raise UserError(f"is {'empty, ' * (0 in shape)}of shape {shape}", name, remedy)


def _remedy(kind: str, form: Form, single: bool) -> str:
    """What to give: ``(B, n, 4)``, or ``(B, n, 4) or (n, 4)``, of some kind of number."""
    forms = [form, form[1:]] if single else [form]
    texts = [f"({', '.join('...' if axis is ... else str(axis) for axis in f)}{',' * (len(f) == 1)})" for f in forms if f]
    return f"Give {kind}s {' or '.join(texts)}" if texts else f"Give one {kind}"


def _refuse(wrong: np.ndarray, array: np.ndarray, name: str, fault: str, remedy: str) -> None:
    if wrong.any():
        index = tuple(np.argwhere(wrong)[0].tolist())
        at = f" at {list(index)}" if index else ""
        raise UserError(f"holds {array[index]}{at}, {fault}", name, remedy)


def _copied(array: np.ndarray, dtype: type[np.generic], alone: bool) -> Tensor:
    """A tensor of its own, with a first axis of one entry if it stands `alone`."""
    copy = torch.from_numpy(np.array(array, dtype=dtype, order="C", subok=False))
    return copy[None] if alone else copy
