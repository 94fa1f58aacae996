"""How loops are compiled for the CPU, and where the compiled code is kept."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import numba

from microprint.keys import source_digest
from microprint.machine import cache_folder

# NaN must be seen, so the compiler may assume anything about numbers but that they are finite.
FAST = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "arcp", "nsz"}}
part = numba.njit(inline="always", _nrt=False, **FAST)
called = numba.njit(_nrt=False, **FAST)  # compiled once, however often it is used


def compiled(function: Callable, **options: Any) -> Callable:
    """Compile a function at its first use and keep the code for later runs, in a folder named by the source it depends on.

    Numba freezes what a function takes from other modules, and for its cache looks at the time stamp of one file alone.
    The options are numba's; without any, they are those of the law.
    """
    folder = cache_folder() / "compiled" / source_digest([function.__module__])
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        result = numba.njit(nogil=True, cache=True, **(options or {"_nrt": False, **FAST}))(function)
    finally:
        numba.config.CACHE_DIR = before
    result.compile = _one_at_a_time(result.compile, folder / f"{function.__name__}.lock")
    return result


def _one_at_a_time(compile: Callable, path: Path) -> Callable:
    """Let other processes wait for the code, which takes long to make, and read it then.

    Compiling holds numba's lock, too. A function that one such calls is therefore not to be called by itself as well: two
    threads could wait for each other.
    """

    @wraps(compile)
    def locked(signature: Any) -> Any:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("w")
        except OSError:  # nothing can be kept there, so that there is nothing to wait for
            return compile(signature)
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            return compile(signature)

    return locked
