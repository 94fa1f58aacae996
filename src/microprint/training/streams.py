"""Random numbers of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Torch's global generator, seeded inside and untouched outside: for initial weights."""
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def generator_for(seed: int, *labels: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Generator whose stream is fixed by the seed and the labels (an epoch, a purpose)."""
    state = np.random.SeedSequence((seed, *labels)).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state[0] >> np.uint64(1)))
