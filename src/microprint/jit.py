"""How loops are compiled for the CPU, and where the compiled code is kept."""

from __future__ import annotations

from collections.abc import Callable
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
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(cache_folder() / "compiled" / source_digest([function.__module__]))
    try:
        return numba.njit(nogil=True, cache=True, **(options or {"_nrt": False, **FAST}))(function)
    finally:
        numba.config.CACHE_DIR = before
