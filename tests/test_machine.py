"""What work runs on: its device, and the numbers that the device multiplies fast."""

import pytest
import torch

from microprint.machine import fast_dtype


@pytest.mark.parametrize("has", [True, False])
def test_numbers_are_short_where_the_hardware_multiplies_them(monkeypatch, has):
    wanted = torch.bfloat16 if has else torch.float32
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has and not including_emulation)
    assert fast_dtype("cpu") == fast_dtype(torch.device("cpu")) == fast_dtype("cuda") == fast_dtype(torch.device("cuda:0")) == wanted
