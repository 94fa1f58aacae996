"""From the orientation field of a volume element to its stress-strain curve: a periodic convolutional network in 3D."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from microprint.networks.convolutions import wrapped
from microprint.networks.curve_head import CurveHead


class CurveCNN(nn.Module):
    """Curves (B, T) of periodic fields of orientations, pooled over the volume.

    A layer that joins blocks of 2³ voxels, then `residual` convolutions of 3³ blocks.

    Parameters
    ----------
    features : numbers that describe an orientation.
    width, residual : channels, and the number of convolutions.
    points, modes : of the curve, see `CurveHead`.
    """

    def __init__(self, features: int, width: int, residual: int, points: int, modes: int):
        super().__init__()
        self.join = nn.Conv3d(features, width, 2, stride=2)
        self.residual = nn.ModuleList(nn.Conv3d(width, width, 3) for _ in range(residual))
        self.norms = nn.ModuleList(nn.GroupNorm(1, width) for _ in range(residual))
        self.head = CurveHead(features, width, points, modes)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Curves in Pa; `batch` holds the ``field`` (B, k, n, n, n) of what describes orientations, n even."""
        field = batch["field"]
        x = F.silu(self.join(field))
        for layer, norm in zip(self.residual, self.norms):
            x = x + F.silu(norm(layer(wrapped(x))))
        return self.head(field.mean((2, 3, 4)), x.mean((2, 3, 4)))

    def losses(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """See `CurveHead.losses`."""
        return self.head.losses(self(batch), batch["curve"])
