"""Chunks of independent work on the threads of a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")


def in_threads(solve: Callable[..., Result], chunks: Sequence[tuple[Any, ...]], device: torch.device | str) -> list[Result]:
    """Results ``solve(*chunk)`` of all chunks, in order.

    On a CPU each thread marches through its own, torch's operations with one thread each: threads that share every
    operation wait more. Elsewhere chunks follow one another.
    """
    before = torch.get_num_threads()
    threads = min(before, len(chunks)) if torch.device(device).type == "cpu" else 1
    if threads == 1:
        return [solve(*chunk) for chunk in chunks]
    try:
        torch.set_num_threads(1)
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(lambda chunk: solve(*chunk), chunks))
    finally:
        torch.set_num_threads(before)
