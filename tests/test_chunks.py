"""Data sets in chunks: the same numbers on every engine, after every kind of interruption."""

import os
import signal
import threading

import h5py
import numpy as np
import pytest
import torch

from microprint import cluster, machine, notebook, store
from microprint.chunks import Chunk, compute_chunks, split, write
from microprint.errors import UserError
from microprint.params.sections import ComputeSettings, Params
from microprint.steps import Job, step

LOCAL = Params(compute=ComputeSettings(device="cpu", workers=2))
DASK = Params(compute=ComputeSettings(engine="dask", device="cpu", workers=2))


@step(inputs=("numbers.h5",), outputs=("squares.h5",), chunked=True)
def square(job: Job) -> None:
    pass


@pytest.fixture
def numbers(tmp_path):
    with store.create_hdf5(tmp_path / "numbers.h5", "numbers", {"key": "n"}) as file:
        file["a/x"] = np.random.default_rng(0).random((10, 20))
    return tmp_path / "numbers.h5"


def job_in(folder, params=LOCAL, key="k") -> Job:
    return Job(square, params, folder, {}, key)


def squares(chunk: Chunk) -> dict[str, np.ndarray]:
    (x,) = chunk.read("x")
    return {"x": x**2, "name": np.array([f"no. {i}" for i in range(chunk.start, chunk.stop)])}


def joined(results) -> np.ndarray:
    return np.concatenate([arrays["x"] for _, arrays in results])


def test_chunks_cover_a_set_and_are_written_in_their_place(numbers, tmp_path):
    chunks = split("a", 10, 4, numbers)
    assert [(c.start, len(c)) for c in chunks] == [(0, 4), (4, 4), (8, 2)] and len({c.name for c in chunks}) == 3
    assert len(split("a", 3, 0, numbers)) == 3  # an element larger than the wanted chunk
    with h5py.File(tmp_path / "squares.h5", "w") as file:
        for chunk, arrays in compute_chunks(job_in(tmp_path), squares, chunks, "squares", "numbers"):
            write(file, chunk, arrays)
        assert file["name"].asstr()[9] == "no. 9"
        with h5py.File(numbers) as source:
            np.testing.assert_array_equal(file["x"][:], source["a/x"][:] ** 2)


def test_arrays_may_have_no_columns(tmp_path):
    """As the twins of a material that has none."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for chunk in split("numbers", 5, 3):
            write(file, chunk, {"twins": np.zeros((len(chunk), 4, 0))})
        assert file["twins"].shape == (5, 4, 0)


def test_only_missing_chunks_are_computed(numbers, tmp_path, capsys):
    chunks, calls = split("a", 10, 2, numbers), []

    def breaks(chunk):
        if chunk.start >= 6:
            raise OSError("the network is gone")
        calls.append(chunk.start)
        return squares(chunk)

    one = Params(compute=ComputeSettings(device="cpu", workers=1))
    with pytest.raises(OSError, match="network"):
        compute_chunks(job_in(tmp_path, one), breaks, chunks, "squares", "numbers")
    saved = {chunk.start for chunk in chunks if (job_in(tmp_path).workdir / f"{chunk.name}.npz").is_file()}
    assert saved == {0, 2, 4}
    calls.clear()
    results = compute_chunks(job_in(tmp_path), lambda c: calls.append(c.start) or squares(c), chunks, "squares", "numbers")
    assert sorted(calls) == [6, 8] and len(joined(results)) == 10
    assert "squares: 6 of 10 numbers are there already" in capsys.readouterr().out


def test_a_file_that_is_not_the_chunk_s_is_not_trusted(numbers, tmp_path):
    """Cut at any length, changed in any byte, another chunk's, another key's, a pickle: computed anew."""
    job, (chunk, other) = job_in(tmp_path), split("a", 10, 5, numbers)
    expected = joined(compute_chunks(job, squares, [chunk, other], "squares", "numbers"))
    path = job.workdir / f"{chunk.name}.npz"
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 101)]
    damaged += [whole[:i] + bytes([whole[i] ^ 255]) + whole[i + 1 :] for i in range(0, len(whole), 17)]
    damaged += [(job.workdir / f"{other.name}.npz").read_bytes(), b"PK\x03\x04", np.arange(3).tobytes()]
    for content in damaged:
        path.write_bytes(content)
        results = compute_chunks(job, squares, [chunk, other], "squares", "numbers")
        np.testing.assert_array_equal(joined(results), expected)
    np.savez(path, mark=np.array([{}], dtype=object), allow_pickle=True)
    np.testing.assert_array_equal(joined(compute_chunks(job, squares, [chunk, other], "squares", "numbers")), expected)
    path.rename(job_in(tmp_path, key="another").workdir / path.name)
    calls = []
    compute_chunks(job_in(tmp_path, key="another"), lambda c: calls.append(c) or squares(c), [chunk], "squares", "numbers")
    assert calls == [chunk]


def test_a_chunk_is_computed_on_one_thread_and_several_at_once(numbers, tmp_path):
    before, both = torch.get_num_threads(), threading.Barrier(2, timeout=20)

    def counted(chunk):
        both.wait()
        return {"x": np.full(len(chunk), torch.get_num_threads())}

    assert set(joined(compute_chunks(job_in(tmp_path), counted, split("a", 10, 5, numbers), "threads", "numbers"))) == {1}
    assert torch.get_num_threads() == before


def test_progress_states_speed_and_time_left(capsys, monkeypatch):
    monkeypatch.setattr(machine, "LINE_EVERY_S", 0.0)
    clock = iter((0.0, 10.0, 10.0, 20.0, 20.0))
    monkeypatch.setattr(machine.time, "monotonic", lambda: next(clock))
    with machine.Progress("tension", 100, "VEs", done=50) as progress:
        progress.add(10)
        progress.add(40)
    assert capsys.readouterr().out.splitlines() == [
        "tension: 60/100 VEs, 10 s, 1 VEs/s, about 40 s left", "tension: 100/100 VEs, 20 s, 2.5 VEs/s"]
    assert machine.duration(7300) == "2 h" and machine.duration(5e6) == "58 days"


# --- on a Dask cluster -----------------------------------------------------------------------------------------------

def test_dask_gives_the_same_and_outlives_a_killed_worker(numbers, tmp_path):
    """The first worker that computes the second chunk is killed; what is on disk already is not sent at all."""
    once, chunks = tmp_path / "killed", split("a", 10, 2, numbers)

    def deadly(chunk):
        if chunk.start == 0:
            raise RuntimeError("this chunk is on disk")
        if chunk.start == 2 and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        with h5py.File(chunk.path) as file:
            return {"x": file["a/x"][chunk.start : chunk.stop] ** 2}

    remote = job_in(tmp_path, DASK, "remote")
    compute_chunks(job_in(tmp_path, LOCAL, "remote"), squares, chunks[:1], "squares", "numbers")
    results = joined(compute_chunks(remote, deadly, chunks, "squares", "numbers"))
    assert once.exists() and remote.provenance["device"] == "Dask workers"
    np.testing.assert_array_equal(results, joined(compute_chunks(job_in(tmp_path), squares, chunks, "squares", "numbers")))


def test_what_a_worker_raises_reaches_the_user(numbers, tmp_path):
    def fails(chunk):
        raise UserError("no such material", "cp.material")

    with pytest.raises(UserError, match=r"cp\.material: no such material"):
        compute_chunks(job_in(tmp_path, DASK), fails, split("a", 10, 5, numbers), "squares", "numbers")


def test_a_chunk_that_brings_down_every_worker_is_named(numbers, tmp_path):
    def deadly(chunk):
        os.kill(os.getpid(), signal.SIGKILL)

    cluster.connect(DASK.compute).cluster.scheduler.allowed_failures = 0  # of 3, to save time
    with pytest.raises(UserError, match=r"1 workers died of the same chunk.*make the chunks smaller"):
        compute_chunks(job_in(tmp_path, DASK), deadly, split("a", 10, 10, numbers), "squares", "numbers")


def test_a_cluster_that_was_lost_is_followed_by_another(numbers, tmp_path):
    cluster.disconnect()
    lost = cluster.connect(DASK.compute)
    lost.cluster.close()
    lost.close()
    results = compute_chunks(job_in(tmp_path, DASK), squares, split("a", 10, 5, numbers), "squares", "numbers")
    assert len(joined(results)) == 10 and cluster.connect(DASK.compute) is not lost


def test_a_chunked_step_stays_here_and_other_steps_are_sent(tmp_path, monkeypatch, numbers):
    made, opened = [], notebook.open_notebook(run={"name": "t", "root": str(tmp_path)}, compute={"engine": "dask", "device": "cpu"})
    monkeypatch.setattr(notebook, "submit", lambda *_: made.append("sent") or [opened.path("s.json")])
    for chunked in (True, False):
        opened.do(step(outputs=("s.json",), chunked=chunked)(lambda job: made.append("here") or job.save_json("s.json", {})))
    assert made == ["here", "sent"]


def test_a_scheduler_that_does_not_answer_or_has_no_workers_is_named(monkeypatch):
    from dask.distributed import LocalCluster
    monkeypatch.setattr(cluster, "PATIENCE_S", 0.2)
    with pytest.raises(UserError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler answers"):
        cluster.connect(ComputeSettings(engine="dask", scheduler="tcp://127.0.0.1:9"))
    with LocalCluster(n_workers=0, dashboard_address=":0") as empty, pytest.raises(UserError, match="has had no worker"):
        cluster.connect(ComputeSettings(engine="dask", scheduler=empty.scheduler_address))


SBATCH = """#!/bin/sh
cp "$1" {folder}/job.sh
setsid sh {folder}/job.sh > {folder}/job.log 2>&1 &
echo "Submitted batch job $!"
"""


def test_slurm_jobs_compute_chunks(numbers, tmp_path, monkeypatch):
    """With a stand-in for SLURM that starts a job at once."""
    import dask
    for name, script in (("sbatch", SBATCH.format(folder=tmp_path)), ("scancel", '#!/bin/sh\nkill -- "-$1"\n')):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    params = Params(compute=ComputeSettings(engine="dask", scheduler="slurm", device="cpu"))
    with pytest.raises(UserError, match="does not say how large a job is"):
        cluster.connect(params.compute)

    def doubles(chunk):
        return {"x": np.arange(chunk.start, chunk.stop) * 2}

    with dask.config.set({"jobqueue.slurm.cores": 1, "jobqueue.slurm.memory": "1GB",
                          "jobqueue.slurm.scheduler-options": {"dashboard_address": ":0"}}):
        results = compute_chunks(job_in(tmp_path, params), doubles, split("a", 10, 3, numbers), "doubles", "numbers")
        np.testing.assert_array_equal(joined(results), 2 * np.arange(10))
        cluster.disconnect()
