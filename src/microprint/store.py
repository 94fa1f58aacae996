"""Artifacts: HDF5 for arrays, JSON for numbers, safetensors for models. Written whole or not at all, checked when read."""

from __future__ import annotations

import errno
import io
import json
import os
import platform
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from microprint.errors import UserError

SCHEMA = 1
PACKAGES = ("microprint", "torch", "numpy", "h5py", "lightning", "damask", "scikit-learn", "papermill")
# safetensors' names of the types; the format is a JSON header followed by raw little-endian buffers.
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
          "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool}


# --- writing ---------------------------------------------------------------------------------------------------------

@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Temporary path beside `path` that replaces it once the block has ended well and the bytes are on disk.

    Raises `UserError` for a full disk or a folder that cannot be written; the old file is then untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def storage_error(error: OSError, path: str | Path) -> Exception:
    """The user's side of an `OSError` met while writing `path`; other errors come back as they are."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return UserError("the disk is full", path, "Free some space and run again: finished steps are kept")
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return UserError("may not be written", path, "Choose another folder with --set run.root=FOLDER")
    return error


@contextmanager
def create_hdf5(path: str | Path, kind: str, provenance: Mapping[str, Any]) -> Iterator[h5py.File]:
    """New HDF5 artifact of a `kind`, open for writing; it appears under its name when the block ends well."""
    with atomic(path) as temporary, _Disk(temporary, "w+") as disk:
        with h5py.File(disk, "w") as file:
            file.attrs.update(schema=SCHEMA, kind=kind, provenance=json.dumps(provenance))
            yield file
        if disk.error:
            raise disk.error


class _Disk(io.FileIO):
    """File for HDF5 that keeps its first error to itself: HDF5 goes on calling after one, and may crash the process."""

    error: OSError | None = None

    def write(self, data) -> int:
        rest = memoryview(data).cast("B")
        with self._keeping():
            while rest and not self.error:
                rest = rest[super().write(rest):]
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        with self._keeping():
            if not self.error:
                super().truncate(size)
        return size or 0

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = error


def save_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically, keys in their order."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=True) + "\n")


def save_tensors(path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors in the safetensors format, with JSON `metadata` under its ``__metadata__``."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    buffers = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    header: dict[str, Any] = {"__metadata__": {key: json.dumps(value) for key, value in metadata.items()}}
    end = 0
    for key, tensor in buffers.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[key] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with atomic(path) as temporary, open(temporary, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in buffers.values():
            file.write(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())


# --- reading ---------------------------------------------------------------------------------------------------------

def open_hdf5(path: str | Path, kind: str | None = None) -> h5py.File:
    """Open an HDF5 artifact for reading.

    Raises
    ------
    UserError
        If the file is missing, truncated, of another kind or of another schema.
    """
    _require(path)
    try:
        file = h5py.File(path, "r")
    except OSError:
        raise UserError("is truncated or no HDF5 file", path, "Delete it and run again: its step will rebuild it") from None
    found = (file.attrs.get("kind"), file.attrs.get("schema"))
    if found[1] != SCHEMA or (kind and found[0] != kind):
        file.close()
        raise UserError(f"is of kind {found[0]}, schema {found[1]}, not {kind or 'an artifact'}, schema {SCHEMA}", path,
                        "Delete it and run again with this version")
    return file


def load_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON artifact; raises `UserError` if it is missing or damaged."""
    _require(path)
    try:
        return json.loads(Path(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError("is not valid JSON", path, "Delete it and run again") from None


def load_tensors(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and metadata of a safetensors file; nothing in it is ever executed.

    Raises `UserError` if it is missing, truncated or not of this format.
    """
    metadata, header, start = _read_header(path)
    data = np.memmap(path, np.uint8, "r", offset=start) if os.path.getsize(path) > start else np.empty(0, np.uint8)
    if any(entry["data_offsets"][1] > data.size for entry in header.values()):
        raise UserError("is truncated", path, "Delete it and run its step again")
    tensors = {}
    for key, entry in header.items():
        first, last = entry["data_offsets"]
        raw = torch.from_numpy(data[first:last].copy())
        tensors[key] = raw.view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors, metadata


def load_metadata(path: str | Path) -> dict[str, Any]:
    """Metadata of a safetensors file, without its tensors."""
    return _read_header(path)[0]


def provenance_of(path: str | Path) -> dict[str, Any]:
    """The provenance that an artifact of any format carries; empty if it carries none."""
    path = Path(path)
    if path.suffix == ".json":
        return load_json(path).get("provenance", {})
    if path.suffix == ".safetensors":
        return load_metadata(path).get("provenance", {})
    with open_hdf5(path) as file:
        return json.loads(file.attrs["provenance"])


def _require(path: str | Path) -> None:
    if not Path(path).is_file():
        raise UserError("is missing", path, "Run the step or notebook that makes it first")


def _read_header(path: str | Path) -> tuple[dict[str, Any], dict[str, Any], int]:
    _require(path)
    try:
        with open(path, "rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(size))
        metadata = {key: json.loads(value) for key, value in header.pop("__metadata__", {}).items()}
    except (struct.error, ValueError, MemoryError, OverflowError):
        raise UserError("is no safetensors file", path, "Delete it and run its step again") from None
    return metadata, header, 8 + size


# --- provenance ------------------------------------------------------------------------------------------------------

@cache
def environment() -> dict[str, Any]:
    """What this process runs on: commit, package versions, Python, machine by its parts."""
    return {"commit": _git("rev-parse", "HEAD"), "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
            "packages": {name: _version(name) for name in PACKAGES}, "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None}


def now() -> str:
    """Time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        return subprocess.run(["git", "-C", str(Path(__file__).parent), *arguments], check=True, text=True,
                              capture_output=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
