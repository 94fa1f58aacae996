"""Data sets in chunks: computed on the cores of this machine or on a Dask cluster, kept on disk until the set is whole.

A chunk is computed by a pure function on one thread, so that its numbers depend neither on the engine nor on what is
computed beside it. Every finished chunk becomes a file in the step's own folder; a step that was killed, or whose
cluster went away, computes the missing ones.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

import h5py
import numpy as np
import torch

from microprint import store
from microprint.cluster import map_on_workers
from microprint.errors import UserError
from microprint.machine import Progress, one_thread
from microprint.steps import Job

Arrays = dict[str, np.ndarray]
STORED_TOGETHER = 1 << 15  # numbers in a chunk of HDF5, compressed and read as a whole: one VE, or a few small ones


@dataclass(frozen=True)
class Chunk:
    """Consecutive elements of a set: so small that it can be sent, since a worker reads or makes the elements itself."""

    group: str  # of an HDF5 artifact, where the set is or will be
    number: int  # of the chunk in its set
    start: int  # its first element
    stop: int  # the one behind its last
    total: int  # elements of the set
    path: str = ""  # artifact to read from, on a file system that the workers share; empty for elements to be made

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def name(self) -> str:
        return f"{self.group.strip('/').replace('/', '-') or 'chunk'}-{self.start:06d}"

    def read(self, *names: str) -> list[np.ndarray]:
        """Its part of some data sets of the group."""
        with store.open_hdf5(self.path) as file:
            return [file[self.group][name][self.start : self.stop] for name in names]


def split(group: str, total: int, size: int, path: Path | str = "") -> list[Chunk]:
    """Chunks of at most `size` of the `total` elements of a set."""
    size = max(1, size)
    starts = enumerate(range(0, total, size))
    return [Chunk(group, number, start, min(start + size, total), total, str(path)) for number, start in starts]


def compute_chunks(
    job: Job, function: Callable[[Chunk], Arrays], chunks: Sequence[Chunk], label: str, unit: str
) -> Iterator[tuple[Chunk, Arrays]]:
    """Compute the chunks that are not on disk yet, in this process or on the cluster of ``compute.engine: dask``.

    The function makes arrays of a chunk, texts among them as numpy strings; Dask must be able to pickle it. Progress is told
    under a label, e.g. "stiffness", in a unit, "composites". All chunks are returned in their order with their arrays, read
    from disk one at a time. Raises `UserError` if the cluster cannot be reached or loses its workers again and again, and
    what the function raises.
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
    """Put a chunk's arrays, whose first axis is that of its elements, in their place in the data sets of a group.

    A second axis may differ between chunks, as the number of grains does; what is shorter is followed by zeros. Elements
    are compressed a few at a time, so that any few of them are read without the others.
    """
    for name, values in arrays.items():
        text = values.dtype.kind == "U"
        values = values.astype(object) if text else values
        if name not in group:
            together = min(max(STORED_TOGETHER // max(math.prod(values.shape[1:]), 1), 1), 1024)
            options = {"dtype": h5py.string_dtype()} if text else {"dtype": values.dtype, "compression": 1, "shuffle": True}
            shape, limits = (chunk.total, *values.shape[1:]), (None,) * values.ndim
            stored = (together, *(max(n, 1) for n in values.shape[1:]))
            group.create_dataset(name, shape, maxshape=limits, chunks=stored, **options)
        data = group[name]
        data.resize((max(chunk.stop, len(data)), *(max(sizes) for sizes in zip(values.shape[1:], data.shape[1:]))))
        data[(slice(chunk.start, chunk.stop), *(slice(0, n) for n in values.shape[1:]))] = values


def _computed(job: Job, function: Callable[[Chunk], Arrays], chunks: list[Chunk]) -> Iterator[tuple[Chunk, Arrays]]:
    """Chunks and their arrays as they are finished."""
    if not chunks:
        return
    settings = job.params.compute
    if settings.engine == "dask":
        yield from map_on_workers(function, chunks, settings)
        return
    workers = settings.workers or (1 if job.device.type == "cuda" else torch.get_num_threads())
    # Torch and numba give the other threads their turn. Unlike an executor's, this pool's threads do not outlive an interrupt.
    with one_thread(), ThreadPool(min(workers, len(chunks))) as pool:
        yield from pool.imap_unordered(lambda chunk: (chunk, function(chunk)), chunks)


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
