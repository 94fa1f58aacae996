"""What S2's style loss costs on all slices of a volume, what a sample of them loses, and why it takes three axes."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from microprint.microstructures.composite import cut, smooth
from microprint.networks.vae_regression import SliceStyle
from microprint.networks.vgg import VGG19


class Sampling(NamedTuple):
    """The style loss on some slices an axis, against the loss on all of them."""

    slices: int  # an axis
    bias: float  # mean over draws less the full loss, relative to it, mean over pairs
    bias_error: float  # standard error of `bias`: the estimate is unbiased, so the two should be of one size
    deviation: float  # standard deviation over draws, relative to the full loss, root mean square over pairs
    batch_deviation: float  # the same of the mean over all pairs, whose slices are drawn together: of one step of training
    seconds: float  # one evaluation, for all pairs
    share: float  # of the time that all slices take


@torch.no_grad()
def sampling(
    x: Tensor, y: Tensor, vgg: VGG19, layers: Sequence[str], counts: Sequence[int], draws: int, generator: torch.Generator
) -> list[Sampling]:
    """How well the style loss between volumes x and y (B, 1, n, n, n) is known from some slices an axis, and in what time.

    A row for each of the `counts` of slices, and for all of them, in ascending order.
    Slices are drawn uniformly and without repetition, so each is in the sample with probability s / n, and the expectation
    of the estimate is the loss on all n exactly. Its deviation falls faster than 1 / sqrt(s), to zero at s = n.
    """
    edge, measured = x.shape[-1], {}
    for count in sorted({*(min(count, edge) for count in counts), edge}):
        style = SliceStyle(vgg, layers, count)
        repeats = draws if count < edge else 2  # all slices are always the same ones
        begun = time.perf_counter()
        # A copy waits for the GPU, so that the clock is of finished work.
        values = torch.stack([style(x, y, generator).double().cpu() for _ in range(repeats)])
        measured[count] = values, (time.perf_counter() - begun) / repeats
    full, all_seconds = measured[edge][0][0], measured[edge][1]
    rows = []
    for count, (values, seconds) in measured.items():
        relative, together = values / full - 1, values.mean(1) / full.mean() - 1
        error = relative.mean(1).std() / math.sqrt(len(values))
        numbers = (relative.mean(), error, relative.std(0).square().mean().sqrt(), together.std(), seconds)
        rows.append(Sampling(count, *map(float, numbers), seconds / all_seconds))
    return rows


class Elongation(NamedTuple):
    """Style loss between composites that differ in elongation along one axis, over that between mere other samples."""

    width: float  # of the second composite's filter along the axis, voxels
    one_axis: float  # slices normal to that axis alone
    three_axes: float


@torch.no_grad()
def elongation(
    vgg: VGG19,
    layers: Sequence[str],
    generator: torch.Generator,
    *,
    edge: int = 51,
    widths: tuple[float, float, float] = (1.0, 2.0, 2.0),
    stretched: Sequence[float] = (2.0, 4.0, 6.5),
    pairs: int = 8,
    slices_per_axis: int = 6,
) -> list[Elongation]:
    """S2's figure 5 in numbers: which style loss sees that a composite is longer along the axis normal to the slices?

    Filtered noise of widths (a, b, c) looks the same on slices normal to x whatever a is: only slices along x tell. Composites
    of the first width along x are compared with others of `stretched` widths there, half of the voxels hard in both; a ratio of
    one says that the loss sees nothing but the noise of another sample.
    """

    device = generator.device

    def composites(width: float) -> Tensor:
        rows = torch.tensor([[width, *widths[1:]]], device=device).expand(pairs, 3)
        noise = torch.rand((pairs, edge, edge, edge), generator=generator, device=device)
        return cut(smooth(noise, rows), torch.full((pairs,), 0.5, device=device))[:, None].float()

    styles = [SliceStyle(vgg, layers, slices_per_axis, axes) for axes in ((0,), (0, 1, 2))]
    base, twin = composites(widths[0]), composites(widths[0])
    floor = [float(style(base, twin, generator).mean()) for style in styles]
    rows = []
    for width in stretched:
        other = composites(width)
        losses = [float(style(base, other, generator).mean()) for style in styles]
        rows.append(Elongation(width, *(loss / least for loss, least in zip(losses, floor))))
    return rows
