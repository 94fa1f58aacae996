"""Compiling takes long: processes that need the same code wait for the first of them."""

import fcntl
import threading

from microprint.jit import _one_at_a_time, compiled


def test_one_process_compiles_at_a_time(tmp_path):
    path, made = tmp_path / "f.lock", threading.Event()
    compile = _one_at_a_time(lambda signature: made.set() or signature, path)
    assert compile("a") == "a" and made.is_set()
    made.clear()
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = threading.Thread(target=compile, args=["b"])
        waiting.start()
        assert not made.wait(0.3)
    waiting.join(10)
    assert made.is_set()


def test_where_nothing_can_be_kept_it_compiles_all_the_same(tmp_path):
    (tmp_path / "file").touch()
    assert _one_at_a_time(lambda signature: signature, tmp_path / "file" / "f.lock")("a") == "a"


def test_where_a_file_system_has_no_locks_it_compiles_all_the_same(tmp_path, monkeypatch):
    def refused(file, how):
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    assert _one_at_a_time(lambda signature: signature, tmp_path / "f.lock")("a") == "a"


def test_code_is_kept_in_its_folder_or_nowhere(tmp_path, monkeypatch):
    """Numba would fall back to the folder of the source, which knows nothing of the other sources."""
    monkeypatch.setenv("MICROPRINT_CACHE", str(tmp_path))
    assert str(tmp_path) in compiled(_nothing).stats.cache_path
    (tmp_path / "file").touch()
    monkeypatch.setenv("MICROPRINT_CACHE", str(tmp_path / "file"))
    assert compiled(_nothing).stats.cache_path is None


def _nothing():
    pass
