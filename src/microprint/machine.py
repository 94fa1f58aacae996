"""The machine that work runs on: its device, its threads, and how far the work has come."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from tqdm import tqdm

from microprint.errors import UserError

Result = TypeVar("Result")
# Seconds between two lines of progress in a batch run.
LINE_EVERY_S = 15.0
_ALONE: list[bool] = []  # as long as there are `one_thread`s


def cache_folder() -> Path:
    """Folder for what is made once a machine, weights and compiled code: $MICROPRINT_CACHE, else ~/.cache/microprint."""
    return Path(os.environ.get("MICROPRINT_CACHE") or Path.home() / ".cache" / "microprint")


def choose_device(name: str | torch.device, where: str = "compute.device") -> torch.device:
    """Device by its name, ``auto`` meaning a GPU where there is one.

    Raises `UserError` where there is none such; it says `where` the name comes from, a parameter or an argument.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise UserError(f"{where} = {name!r} is no device", remedy="Use auto, cpu or cuda") from None
    try:
        torch.empty(1, device=device).cpu()  # what lies on the device "meta" has a shape alone
    except (RuntimeError, AssertionError) as error:
        what = f"{where} = {str(name)!r} is not to be had here ({str(error).splitlines()[0]})"
        raise UserError(what, remedy="Use auto, cpu or cuda") from None
    return device


def fast_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 where the device multiplies it in hardware (a GPU that has it, a processor with AMX), else float32."""
    cuda = torch.device(device).type == "cuda"
    quick = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if quick else torch.float32


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: sums over several are rounded differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    _ALONE.append(True)
    try:
        yield
    finally:
        _ALONE.pop()
        torch.set_num_threads(before)


def cores() -> int:
    """Threads that work on parts of a task at once.

    A kernel of the runner multiplies and adds with its share of the cores, so that its sums do not depend on what else runs;
    parts that do not depend on each other are its $MICROPRINT_CORES at once, all that there are, which others may leave idle.
    """
    return 1 if _ALONE else max(torch.get_num_threads(), int(os.environ.get("MICROPRINT_CORES", 1)))


def in_threads(solve: Callable[..., Result], chunks: Sequence[tuple[Any, ...]], device: torch.device | str) -> list[Result]:
    """Results ``solve(*chunk)`` of all chunks, in order.

    On a CPU each thread marches through its own, torch's operations with one thread each: threads that share every
    operation wait more. Elsewhere chunks follow one another.
    """
    threads = min(cores(), len(chunks)) if torch.device(device).type == "cpu" else 1
    if threads <= 1:
        return [solve(*chunk) for chunk in chunks]
    with one_thread(), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda chunk: solve(*chunk), chunks))


def thread_ranges(count: int) -> list[tuple[int, int]]:
    """Begin and end of each thread's share of so many things."""
    threads = torch.get_num_threads()
    return list(pairwise(sorted({count * k // threads for k in range(threads + 1)})))


class Workspaces(Generic[Result]):
    """Working memory for threads: lent to one at a time, kept for the next, and made where none is left."""

    def __init__(self, make: Callable[[], Result]):
        self._make, self._left = make, []

    @contextmanager
    def lent(self) -> Iterator[Result]:
        try:
            memory = self._left.pop()
        except IndexError:
            memory = self._make()
        yield memory
        self._left.append(memory)


def watched() -> bool:
    """Whether a person looks on: a terminal, or a notebook that the runner did not start."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return sys.stderr.isatty() or (hasattr(shell, "kernel") and "MICROPRINT_BATCH" not in os.environ)


class Progress:
    """How far some work has come: a bar where a person watches, and now and then a line otherwise.

    What an earlier process has `done` counts neither for the speed nor for the time left.
    """

    def __init__(self, label: str, total: int, unit: str, done: int):
        self.label, self.total, self.unit, self.done, self.before = label, total, unit, done, done
        self.begin = self.printed = time.monotonic()
        self.bar = tqdm(desc=label, total=total, initial=done, unit=f" {unit}", disable=not watched())

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *failure) -> None:
        self.bar.close()

    def add(self, count: int) -> None:
        """Say that `count` more are done."""
        self.done += count
        self.bar.update(count)
        if self.bar.disable and (self.done >= self.total or time.monotonic() - self.printed > LINE_EVERY_S):
            self.printed = time.monotonic()
            print(self._line(self.printed - self.begin), flush=True)

    def _line(self, seconds: float) -> str:
        rate = (self.done - self.before) / max(seconds, 1e-9)
        line = f"{self.label}: {self.done}/{self.total} {self.unit}, {seconds:.0f} s, {rate:.3g} {self.unit}/s"
        return line if self.done >= self.total else f"{line}, about {duration((self.total - self.done) / rate)} left"


def duration(seconds: float) -> str:
    """A span of time in the unit that suits it."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.0f} s"
