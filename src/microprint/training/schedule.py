"""How a network is trained: optimiser, learning rate, number of epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn


@dataclass(frozen=True)
class Schedule:
    """How a network is trained."""

    epochs: int  # largest number of passes over the training samples
    batch_size: int  # samples a step, on all devices together
    learning_rate: float  # of the first step
    weight_decay: float = 0.0  # with adam an L2 penalty, which Adam adds to the gradient; with adamw decoupled from it
    amsgrad: bool = False  # Adam's variant
    decay: Literal["constant", "cosine"] = "constant"  # of the rate; cosine: to zero at the last step
    warmup: float = 0.0  # share of all steps over which the rate rises from zero
    patience: int | None = None  # stop after this many epochs without a better validation loss; None: never
    gradient_clip: float | None = None  # largest norm of the gradient; None: unlimited
    # Kingma & Ba 2015; Loshchilov & Hutter 2019, which spares biases and normalisations.
    optimizer: Literal["adam", "adamw"] = "adam"
    betas: tuple[float, float] = (0.9, 0.999)  # decay of the running means of the gradient and of its square

    def rate(self, progress: float) -> float:
        """Learning rate after a share `progress` in [0, 1] of all steps."""
        rising = min(progress / self.warmup, 1.0) if self.warmup else 1.0
        falling = 0.5 * (1 + math.cos(math.pi * progress)) if self.decay == "cosine" else 1.0
        return self.learning_rate * rising * falling

    def optimizer_for(self, model: nn.Module) -> torch.optim.Optimizer:
        """Optimiser of the weights that are trained; with adamw only matrices and kernels decay."""
        weights = [p for p in model.parameters() if p.requires_grad]
        # In one pass over all weights; Lightning clips no gradients of such an optimiser in mixed precision.
        fused = self.gradient_clip is None
        options = {"lr": self.learning_rate, "betas": self.betas, "amsgrad": self.amsgrad, "fused": fused}
        if self.optimizer == "adam":
            return torch.optim.Adam(weights, weight_decay=self.weight_decay, **options)
        decaying = {"params": [p for p in weights if p.ndim > 1], "weight_decay": self.weight_decay}
        others = {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0}
        return torch.optim.AdamW([decaying, others], **options)
