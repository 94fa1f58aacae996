"""Two-phase composites: filtered noise cut at a level, after Sardeshmukh et al. 2024 (arXiv:2402.17806, section 4).

Uniform noise is convolved with one of 64 anisotropic Gaussian filters (four widths for each of three axes) and cut so
that a chosen share of the voxels belongs to the stiff phase. Here the filters are periodic, so that the volume elements
tile space, as a spectral solver assumes.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor


class Composites(NamedTuple):
    """A batch of N composites."""

    phase: Tensor  # (N, n, n, n) uint8, indexed [x, y, z]; 1 is the stiff phase (black in the paper)
    widths: Tensor  # (N, 3) standard deviations of the filter along x, y, z in voxels
    volume_fraction: Tensor  # (N,) share of the stiff phase


def filters(widths: tuple[float, ...]) -> Tensor:
    """All combinations of widths for three axes, (len(widths)^3, 3)."""
    return torch.tensor(list(itertools.product(widths, repeat=3)))


def generate(
    widths: Tensor,
    edge: int,
    generator: torch.Generator,
    *,
    fractions: tuple[float, float] = (0.25, 0.75),
    device: torch.device | str = "cpu",
) -> Composites:
    """One composite for each row of filter widths (N, 3) in voxels; volume fractions uniform between two bounds."""
    noise = torch.rand((len(widths), edge, edge, edge), generator=generator).to(device)
    wanted = fractions[0] + (fractions[1] - fractions[0]) * torch.rand(len(widths), generator=generator)
    phase = cut(smooth(noise, widths.to(device)), wanted.to(device))
    return Composites(phase, widths.to(device), phase.float().mean((1, 2, 3)))


def smooth(field: Tensor, widths: Tensor) -> Tensor:
    """Periodic convolution of fields (N, n, n, n) with Gaussians of widths (N, 3) in voxels, by FFT."""
    edge = field.shape[-1]
    x, y, z = _gains(widths, edge).unbind(1)
    spectrum = torch.fft.rfftn(field, dim=(1, 2, 3))
    spectrum = spectrum * x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, : edge // 2 + 1]
    return torch.fft.irfftn(spectrum, s=field.shape[1:], dim=(1, 2, 3))


def _gains(widths: Tensor, edge: int) -> Tensor:
    """Transforms (N, 3, n) of Gaussians at the voxels, summed over periodic images, of sum 1. They are even, hence real."""
    image = edge * torch.arange(-3, 4, device=widths.device)
    offset = torch.arange(edge, device=widths.device)[:, None] + image
    kernel = torch.exp(-0.5 * (offset / widths[..., None, None].clamp_min(1e-3)).square()).sum(-1)
    return torch.fft.fft(kernel / kernel.sum(-1, keepdim=True)).real


def cut(field: Tensor, fraction: Tensor) -> Tensor:
    """1 in the voxels with the highest values of fields (N, n, n, n), a given fraction (N,) of all; 0 elsewhere."""
    flat = field.flatten(1)
    rank = flat.argsort(1, descending=True).argsort(1)
    keep = (fraction * flat.shape[1]).round().long()
    return (rank < keep[:, None]).to(torch.uint8).reshape(field.shape)
