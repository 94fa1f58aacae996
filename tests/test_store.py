"""Artifacts are whole or absent, carry their provenance, and say what is wrong with them."""

import errno
import json
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch

from microprint import store
from microprint.errors import UserError


def test_hdf5_round_trip_and_checks(tmp_path):
    path = tmp_path / "a.h5"
    with store.create_hdf5(path, "numbers", {"key": "k"}) as file:
        file["x"] = np.arange(3)
    with store.open_hdf5(path, "numbers") as file:
        assert list(file["x"]) == [0, 1, 2]
    assert store.provenance_of(path) == {"key": "k"}
    with pytest.raises(UserError, match="is of kind numbers"):
        store.open_hdf5(path, "letters")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="truncated"):
        store.open_hdf5(path, "numbers")
    with pytest.raises(UserError, match="is missing"):
        store.open_hdf5(tmp_path / "none.h5")


def test_a_failed_write_leaves_the_old_artifact(tmp_path):
    path = tmp_path / "a.json"
    store.save_json(path, {"x": 1})
    with pytest.raises(UserError, match="disk is full"), store.atomic(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert store.load_json(path) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_two_threads_may_write_one_file(tmp_path):
    path = tmp_path / "a.json"
    with store.atomic(path) as first:
        first.write_text("1")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(store.save_json, path, {"x": 2}).result()
    assert path.read_text() == "1" and [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_tensors_agree_with_the_safetensors_library(tmp_path):
    tensors = {"w": torch.randn(3, 4), "h": torch.randn(5).half(), "i": torch.arange(3), "b": torch.tensor([True]), "s": torch.tensor(2.0)}
    store.save_tensors(tmp_path / "ours.safetensors", tensors, {"config": {"n": 3}})
    theirs = safetensors.torch.load_file(tmp_path / "ours.safetensors")
    safetensors.torch.save_file(tensors, tmp_path / "theirs.safetensors")
    ours, _ = store.load_tensors(tmp_path / "theirs.safetensors")
    for key, tensor in tensors.items():
        assert torch.equal(theirs[key], tensor) and torch.equal(ours[key], tensor) and ours[key].dtype == tensor.dtype
    assert store.load_metadata(tmp_path / "ours.safetensors") == {"config": {"n": 3}}


@pytest.mark.parametrize("content", [b"", b"\x00" * 20, b"\xff" * 64, b"not a model at all, only text"])
def test_damaged_models_are_refused(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="no safetensors|truncated"):
        store.load_tensors(path)


def test_truncated_model_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    store.save_tensors(path, {"w": torch.zeros(100)}, {})
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match="truncated"):
        store.load_tensors(path)


def test_damaged_json(tmp_path):
    path = tmp_path / "m.json"
    path.write_text(json.dumps({"x": 1})[:-1])
    with pytest.raises(UserError, match="not valid JSON"):
        store.load_json(path)


@pytest.fixture
def little_room():
    """A limit on the size of files stands in for a full disk: the system refuses to write on."""
    import resource
    import signal
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_full_disk_inside_hdf5_is_told(tmp_path, little_room, compression):
    with pytest.raises(UserError, match="disk is full"), store.create_hdf5(tmp_path / "a.h5", "x", {}) as file:
        data = file.create_dataset("x", (400, 1000), chunks=(1, 1000), dtype="f8", compression=compression)
        for row in range(len(data)):
            data[row] = np.random.default_rng(row).random(1000)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("work", [lambda disk: disk.write(bytes(200_000)), lambda disk: disk.truncate(200_000)])
def test_no_error_of_the_disk_reaches_hdf5(tmp_path, little_room, work):
    """HDF5 goes on calling with the exception pending, and then finds no attribute where it looks for one."""
    with store._Disk(tmp_path / "a", "w+") as disk:
        work(disk)
        assert disk.error.errno == errno.EFBIG


def test_environment_names_versions():
    facts = store.environment()
    assert facts["packages"]["h5py"] == h5py.__version__ and facts["packages"]["torch"] == torch.__version__
