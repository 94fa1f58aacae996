"""How loops are compiled for the CPU, and where the compiled code is kept."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
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

    Numba freezes what a function takes from other modules, and for its cache looks at one file alone: where that folder cannot
    be written, nothing is kept. The options are numba's; without any, they are those of the law.
    """
    folder = cache_folder() / "compiled" / source_digest([function.__module__])
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        result = numba.njit(nogil=True, cache=os.access(folder, os.W_OK), **(options or {"_nrt": False, **FAST}))(function)
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
            file = path.open("w")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # nothing is kept there, or its file system has no locks
            return compile(signature)
        with file:
            return compile(signature)

    return locked
