"""Artifacts: HDF5 for arrays, JSON for numbers, safetensors for models. Written whole or not at all, checked when read."""

from __future__ import annotations

import errno
import io
import json
import os
import platform
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from microprint.errors import UserError

SCHEMA = 1
PACKAGES = ("microprint", "torch", "numpy", "h5py", "lightning", "damask", "scikit-learn", "papermill")


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Temporary path beside `path` that replaces it once the block has ended well and the bytes are on disk.

    Raises `UserError` for a full disk or a folder that cannot be written; the old file is then untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")  # two threads may write one file
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
        unwritten = memoryview(data).cast("B")
        with self._keeping():
            while unwritten and not self.error:
                unwritten = unwritten[super().write(unwritten) :]
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
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def save_tensors(path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors in the safetensors format, with JSON texts of the `metadata` beside them."""
    apart = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}  # none may share memory
    with atomic(path) as temporary:
        save_file(apart, temporary, {name: json.dumps(value) for name, value in metadata.items()})


def open_hdf5(path: str | Path, kind: str | None = None) -> h5py.File:
    """Open an HDF5 artifact for reading; raises `UserError` if it is missing, truncated, of another kind or schema."""
    _require(path)
    try:
        file = h5py.File(path, "r")
    except OSError:
        raise UserError("is truncated or no HDF5 file", path, "Delete it and run again: its step will rebuild it") from None
    its_kind, schema = file.attrs.get("kind"), file.attrs.get("schema")
    if schema != SCHEMA or (kind and its_kind != kind):
        file.close()
        what = f"is of kind {its_kind}, schema {schema}, not {kind or 'an artifact'}, schema {SCHEMA}"
        raise UserError(what, path, "Delete it and run again with this version")
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
    with _open_tensors(path) as file:
        # Copies are aligned in memory as tensors are: products of others differ in their last bits.
        return {name: file.get_tensor(name).clone() for name in file.keys()}, load_metadata(path)


def load_metadata(path: str | Path) -> dict[str, Any]:
    """Metadata of a safetensors file, without its tensors."""
    try:
        with _open_tensors(path) as file:
            return {name: json.loads(text) for name, text in (file.metadata() or {}).items()}
    except json.JSONDecodeError:
        raise UserError("was not written by this package", path, "Give a model that the study made") from None


def _open_tensors(path: str | Path):
    _require(path)
    try:
        return safe_open(path, "pt")
    except SafetensorError:
        raise UserError("is truncated or no safetensors file", path, "Delete it and run its step again") from None


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


@cache
def environment() -> dict[str, Any]:
    """What this process runs on: commit, package versions, Python, machine by its parts."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def now() -> str:
    """Time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, check=True, text=True, capture_output=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
