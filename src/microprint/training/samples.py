"""What a training is given: samples that make their batches, and where it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from microprint.params.sections import ComputeSettings


class Samples(Protocol):
    """A data set that makes its batches on the training device.

    With several devices each process has a copy of it. Tensors on the GPU then lie on the process's own, and so does
    ``torch.device("cuda")``.
    """

    def __len__(self) -> int: ...

    def batch(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Samples `index` (CPU integers), on the training device; `generator` lives there too."""
        ...


@dataclass(frozen=True)
class Setting:
    """Where a training runs and what it leaves there."""

    checkpoint: Path
    device: torch.device
    compute: ComputeSettings
    logs: Path
