"""Data sets in chunks: computed on the cores of this machine or on a Dask cluster, kept on disk until the set is whole.

A chunk is computed by a pure function on one thread, so that its numbers depend neither on the engine nor on what is
computed beside it. Every finished chunk becomes a file in the step's own folder; a step that was killed, or whose
cluster went away, computes the missing ones.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

import h5py
import numpy as np
import torch

from microprint import store
from microprint.compute import Job, Progress
from microprint.errors import UserError

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Chunk:
    """Consecutive elements of a set in an HDF5 artifact: so small that it can be sent, since a worker reads them itself.

    Attributes
    ----------
    path, group : artifact, on a file system that the workers share, and the group in it.
    start, stop : the first element, and the one behind the last.
    total : elements of the set.
    """

    path: str
    group: str
    start: int
    stop: int
    total: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def name(self) -> str:
        return f"{self.group.strip('/').replace('/', '-') or 'chunk'}-{self.start:06d}"

    def read(self, *names: str) -> list[np.ndarray]:
        """Its part of some data sets of the group."""
        with store.open_hdf5(self.path) as file:
            return [file[self.group][name][self.start : self.stop] for name in names]


def split(path: Path, group: str, total: int, size: int) -> list[Chunk]:
    """Chunks of at most `size` of the `total` elements of a set."""
    starts = range(0, total, max(1, size))
    return [Chunk(str(path), group, start, min(start + max(1, size), total), total) for start in starts]


def compute_chunks(
    job: Job, function: Callable[[Chunk], Arrays], chunks: Sequence[Chunk], label: str, unit: str
) -> Iterator[tuple[Chunk, Arrays]]:
    """Compute the chunks that are not on disk yet, in this process or on the cluster of ``compute.engine: dask``.

    Parameters
    ----------
    function : from a chunk to arrays, texts among them as numpy strings; Dask must be able to pickle it.
    label, unit : of the progress, e.g. "stiffness" and "composites".

    Returns
    -------
    iterator over the chunks in their order and their arrays, read from disk one at a time.

    Raises
    ------
    UserError
        If the cluster cannot be reached or loses its workers again and again, and what the function raises.
    """
    missing = [chunk for chunk in chunks if _load(job, chunk) is None]
    total, left = (sum(map(len, part)) for part in (chunks, missing))
    if 0 < left < total:
        print(f"{label}: {total - left} of {total} {unit} are there already", flush=True)
    with Progress(label, total, unit, total - left) as progress, closing(_computed(job, function, missing)) as finished:
        for chunk, arrays in finished:
            _save(job, chunk, arrays)
            progress.add(len(chunk))
    return ((chunk, _loaded(job, chunk)) for chunk in chunks)


def write(group: h5py.Group, chunk: Chunk, arrays: Arrays) -> None:
    """Put a chunk's arrays, whose first axis is that of its elements, in their place in the data sets of a group."""
    for name, values in arrays.items():
        text = values.dtype.kind == "U"
        if name not in group:
            kind = {"dtype": h5py.string_dtype()} if text else {"dtype": values.dtype, "compression": "gzip"}
            group.create_dataset(name, (chunk.total, *values.shape[1:]), **kind)
        group[name][chunk.start : chunk.stop] = values.astype(object) if text else values


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: sums over several are rounded differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _computed(job: Job, function: Callable[[Chunk], Arrays], chunks: list[Chunk]) -> Iterator[tuple[Chunk, Arrays]]:
    """Chunks and their arrays as they are finished."""
    if not chunks:
        return
    settings = job.params.compute
    if settings.engine == "dask":
        from microprint.cluster import compute_on_workers
        yield from compute_on_workers(function, chunks, settings)
        return
    workers = settings.workers or (1 if job.device.type == "cuda" else torch.get_num_threads())
    # Torch and numba give the other threads their turn. Unlike an executor's, this pool's threads do not outlive an interrupt.
    with one_thread(), ThreadPool(min(workers, len(chunks))) as pool:
        yield from pool.imap_unordered(lambda chunk: (chunk, function(chunk)), chunks)


# --- files -----------------------------------------------------------------------------------------------------------

def _path(job: Job, chunk: Chunk) -> Path:
    return job.workdir / f"{chunk.name}.npz"


def _mark(job: Job, chunk: Chunk) -> str:
    """What a chunk's file says it is."""
    return f"{job.key} {chunk.group} {chunk.start} {chunk.stop}"


def _save(job: Job, chunk: Chunk, arrays: Arrays) -> None:
    with store.atomic(_path(job, chunk)) as temporary, open(temporary, "wb") as file:
        np.savez(file, mark=np.array(_mark(job, chunk)), **arrays)


def _load(job: Job, chunk: Chunk) -> Arrays | None:
    """Arrays of a chunk, or None if its file is missing, damaged or not this chunk's: then it is computed anew."""
    path = _path(job, chunk)
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip():  # reads it all and compares checksums
                return None
        with np.load(path, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile):
        return None
    mark = arrays.pop("mark", None)
    return arrays if mark is not None and str(mark) == _mark(job, chunk) else None


def _loaded(job: Job, chunk: Chunk) -> Arrays:
    arrays = _load(job, chunk)
    if arrays is None:
        raise UserError("was damaged while its step ran", _path(job, chunk), "Run again: it is computed anew")
    return arrays
