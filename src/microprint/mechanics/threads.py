"""Chunks of independent work on the threads of a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from microprint.chunks import one_thread

Result = TypeVar("Result")


def in_threads(solve: Callable[..., Result], chunks: Sequence[tuple[Any, ...]], device: torch.device | str) -> list[Result]:
    """Results ``solve(*chunk)`` of all chunks, in order.

    On a CPU each thread marches through its own, torch's operations with one thread each: threads that share every
    operation wait more. Elsewhere chunks follow one another.
    """
    threads = min(torch.get_num_threads(), len(chunks)) if torch.device(device).type == "cpu" else 1
    if threads == 1:
        return [solve(*chunk) for chunk in chunks]
    with one_thread(), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda chunk: solve(*chunk), chunks))
