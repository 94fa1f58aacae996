"""Compiling takes long: processes that need the same code wait for the first of them."""

import fcntl
import threading

from microprint.jit import _one_at_a_time


def test_one_process_compiles_at_a_time(tmp_path):
    path, made = tmp_path / "cache" / "f.lock", threading.Event()
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
