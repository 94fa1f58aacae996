"""Sets that stay in their file give what loaded ones give, in any order, in any process, and in little memory."""

import multiprocessing
import subprocess
import sys

import numpy as np
import pytest
import torch

from microprint import orientations, store
from microprint.chunks import Chunk, write
from microprint.errors import UserError
from microprint.microstructures import volume_elements
from microprint.microstructures.volume_elements import StoredIds, VolumeElements, read_volume_elements


@pytest.fixture
def path(tmp_path):
    """A file with 20 volume elements of 8 voxels an edge, written in two goes of unequal width."""
    rng = np.random.default_rng(0)
    with store.create_hdf5(tmp_path / "polycrystals.h5", "polycrystals", {}) as file:
        group = file.create_group("cubic/train")
        for first, count, grains in ((0, 12, 5), (12, 8, 9)):
            q = orientations.random((count, grains), torch.Generator().manual_seed(grains)).numpy()
            ids = rng.integers(0, grains, (count, 8, 8, 8)).astype(np.uint16)
            write(group, Chunk("", 0, first, first + count, 20), {"grain_id": ids, "quaternion": q, "grains": np.full(count, grains, np.int32)})
    return tmp_path / "polycrystals.h5"


def read(path) -> VolumeElements:
    with store.open_hdf5(path) as file:
        return read_volume_elements(file, "cubic/train")


@pytest.fixture
def loaded(path):
    return read(path)


@pytest.fixture
def stored(path, monkeypatch):
    """The same set under a bound of six volume elements."""
    monkeypatch.setattr(volume_elements, "IN_MEMORY", 6 * 2 * 8**3)
    return read(path)


def test_a_small_set_is_in_memory_and_padded_with_the_identity(path, loaded):
    assert isinstance(loaded.grain_id, torch.Tensor) and len(loaded) == 20
    assert loaded.quaternion[0, 5:].tolist() == [[1, 0, 0, 0]] * 4 and not loaded.quaternion.isnan().any()
    with store.open_hdf5(path) as file:
        np.testing.assert_array_equal(loaded.grain_id, file["cubic/train/grain_id"][:])
        with pytest.raises(UserError, match="has no set hexagonal/train"):
            read_volume_elements(file, "hexagonal/train")


@pytest.mark.parametrize("index", [slice(None), slice(3, 17), slice(1, 20, 3), slice(4, 4), torch.tensor([7, 2, 2, 19, 0, -1]),
                                   torch.arange(20) % 3 == 0, torch.tensor([], dtype=torch.long)], ids=str)  # fmt: skip
def test_a_stored_set_gives_the_same_tensors_in_any_order(loaded, stored, index):
    assert isinstance(stored.grain_id, StoredIds) and len(stored) == len(loaded)
    assert stored.grain_id.shape == loaded.grain_id.shape and stored.grain_id.dtype == loaded.grain_id.dtype
    ours, theirs = stored.grain_id[index], loaded.grain_id[index]
    assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    assert torch.equal(stored[index].quaternion, loaded[index].quaternion)
    assert torch.equal(stored[index].grain_id[:], theirs)


def test_a_large_selection_stays_in_the_file_and_a_small_one_is_read(loaded, stored):
    large = stored[torch.arange(19, 5, -1)]
    assert isinstance(large.grain_id, StoredIds) and isinstance(large[2:6].grain_id, torch.Tensor)
    assert torch.equal(large[2:6].grain_id, loaded.grain_id[torch.tensor([17, 16, 15, 14])])
    parts = list(stored.parts(3 * 8**3))
    assert [len(part) for part in parts] == [3] * 6 + [2]
    assert torch.equal(torch.cat([part.orientations() for part in parts]), loaded.orientations())


def first_sum(elements: VolumeElements) -> int:
    return int(elements.grain_id[:5].sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_it_too(loaded, stored, method):
    assert first_sum(stored) == first_sum(loaded)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert set(pool.map(first_sum, [stored] * 4)) == {first_sum(loaded)}


def test_more_grains_than_16_bits_number(path):
    with store.create_hdf5(path, "polycrystals", {}) as file:
        group = file.create_group("cubic/train")
        ids = np.array([40000, 0] * 4, np.uint16).reshape(1, 2, 2, 2)
        q = np.tile(np.eye(4, dtype=np.float32)[:1], (40001, 1))[None]
        write(group, Chunk("", 0, 0, 1, 1), {"grain_id": ids, "quaternion": q, "grains": np.array([40001], np.int32)})
    assert int(read(path).grain_id.max()) == 40000


def test_memory_is_bounded_however_large_the_set(path):
    """48 MiB of grain ids, written, and read in batches and in parts, in 16 MiB more than the start takes."""
    code = f"""
import resource
import numpy as np, torch
from microprint import store
from microprint.chunks import Chunk, write
from microprint.microstructures import volume_elements
volume_elements.IN_MEMORY = 1 << 20
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if {sys.platform == "darwin"} else 2**10)
ids, q = np.zeros((8, 32, 32, 32), np.uint16), np.ones((8, 1, 4), np.float32)
def sizes(count):
    with store.create_hdf5({str(path)!r}, "polycrystals", {{}}) as file:
        for k in range(count):
            chunk = Chunk("", k, 8 * k, 8 * k + 8, 8 * count)
            write(file.require_group("cubic/train"), chunk, dict(grain_id=ids, quaternion=q, grains=np.ones(8, np.int32)))
    with store.open_hdf5({str(path)!r}) as file:
        elements = volume_elements.read_volume_elements(file, "cubic/train")
    for index in torch.randperm(len(elements)).split(8):
        elements.grain_id[index]
    assert sum(len(part) for part in elements.parts()) == 8 * count
sizes(4)
before = peak()
sizes(96)
assert peak() - before < 16, peak() - before
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_stored_set_is_an_array_for_who_asks_for_one(loaded, stored):
    np.testing.assert_array_equal(np.asarray(stored.grain_id), loaded.grain_id)
    assert np.asarray(stored.grain_id, np.int64).dtype == np.int64
