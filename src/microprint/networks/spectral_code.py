"""The best linear code of homogeneous periodic fields: their strongest Fourier coefficients.

Where every shift of a periodic field is as likely as the field itself, its principal components are
Fourier modes. The real form of Hartley, H = Re F - Im F, is used: one number a mode, and the
transform is its own inverse.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

AXES = (-3, -2, -1)


def hartley(field: Tensor) -> Tensor:
    """Hartley coefficients of (..., n, n, n), divided by n^3, so that a finer grid gives the same ones.

    n^3 times the transform of the coefficients is the field again.
    """
    transform = torch.fft.fftn(field.float(), dim=AXES, norm="forward")
    return transform.real - transform.imag


class SpectralCode(nn.Module):
    """Linear code of fields (B, k, n, n, n) in d numbers of unit variance, for any n."""

    def __init__(self, numbers: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("channel", torch.zeros(numbers, dtype=torch.long))
        self.register_buffer("frequency", torch.zeros(numbers, 3, dtype=torch.long))
        self.register_buffer("scale", torch.ones(numbers))
        self.register_buffer("unexplained", torch.ones(()))

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> SpectralCode:
        """Keep the coefficients with the largest mean square over batches of fields (B, k, n, n, n)."""
        power, count = torch.zeros(()), 0
        for fields in batches:
            power, count = power + hartley(fields).square().sum(0).cpu(), count + len(fields)
        edge = power.shape[-1]
        kept = power.flatten().argsort(descending=True, stable=True)[: len(self.channel)]
        index = torch.stack(torch.unravel_index(kept, power.shape), 1)
        self.channel.copy_(index[:, 0])
        self.frequency.copy_((index[:, 1:] + edge // 2) % edge - edge // 2)
        self.scale.copy_((power.flatten()[kept] / count).sqrt())
        self.unexplained.copy_(1 - power.flatten()[kept].sum() / power.sum())
        return self

    def encode(self, fields: Tensor) -> Tensor:
        """Code (B, d) of fields (B, k, n, n, n)."""
        return hartley(fields)[(slice(None), *self._place(fields.shape[-1]))] / self.scale

    def decode(self, code: Tensor, edge: int) -> Tensor:
        """Smooth fields (B, k, edge, edge, edge) of codes (B, d)."""
        spectrum = code.new_zeros(self.channels, edge, edge, edge, len(code), dtype=torch.float32)
        spectrum = spectrum.index_put(self._place(edge), (code * self.scale).T.float(), accumulate=True)
        return hartley(spectrum.movedim(-1, 0)) * edge**3

    def _place(self, edge: int) -> tuple[Tensor, ...]:
        return self.channel, *(self.frequency % edge).unbind(1)
