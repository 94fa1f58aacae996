"""What work runs on: its device, the numbers that the device multiplies fast, and the memory of its threads."""

import threading

import pytest
import torch

from microprint.machine import Workspaces, cores, fast_dtype, in_threads, one_thread


@pytest.mark.parametrize("has", [True, False])
def test_numbers_are_short_where_the_hardware_multiplies_them(monkeypatch, has):
    wanted = torch.bfloat16 if has else torch.float32
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has and not including_emulation)
    assert fast_dtype("cpu") == fast_dtype(torch.device("cpu")) == fast_dtype("cuda") == fast_dtype(torch.device("cuda:0")) == wanted


def test_working_memory_is_lent_to_one_at_a_time_and_kept_for_the_next():
    spaces = Workspaces(list)
    with spaces.lent() as first, spaces.lent() as second:
        assert first is not second
    with pytest.raises(KeyError), spaces.lent() as third:
        raise KeyError
    with spaces.lent() as fourth:
        assert any(fourth is other for other in (first, second)) and fourth is not third


def test_independent_parts_are_on_all_cores_at_once_and_theirs_on_one(monkeypatch):
    monkeypatch.setenv("MICROPRINT_CORES", "2")
    before, both = torch.get_num_threads(), threading.Barrier(2, timeout=20)

    def part(number):
        both.wait()  # breaks unless two are at work
        return number, cores(), torch.get_num_threads(), in_threads(lambda n: threading.get_ident(), [(0,), (1,)], "cpu") == 2 * [threading.get_ident()]

    assert in_threads(part, [(0,), (1,)], "cpu") == [(0, 1, 1, True), (1, 1, 1, True)]
    assert torch.get_num_threads() == before and cores() == max(before, 2)
    with one_thread():
        assert cores() == 1
