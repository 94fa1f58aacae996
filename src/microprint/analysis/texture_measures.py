"""The measures of likeness between micrographs that notebook 08 puts to the test."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from microprint.analysis import graphite, texture
from microprint.analysis.judging import Measure
from microprint.networks.texture_drawing import TextureDrawing, quantiles
from microprint.networks.vgg import STYLE_LAYERS, VGG19, gram

LEAST_WINDOWED = 56  # pixels an edge, below which the coarsest band has no room for a window


def measures(vgg: VGG19, layer_weights: Tensor, edge: int) -> list[Measure]:
    """Measures of images of `edge` pixels: style loss first, with a weight (L,) a layer, and the mean square of pixels last."""
    judges = [
        Measure("style loss", partial(style_loss, vgg, layer_weights), False),
        Measure("DISTS", partial(texture.dists, vgg)),
        Measure("STSIM-2", texture.stsim2),
        Measure("chord lengths", graphite.chord_distance, False),
        Measure("two-point statistics", graphite.two_point_distance, False),
    ]
    if edge >= LEAST_WINDOWED:
        judges.append(Measure("STSIM-2 in windows", partial(texture.stsim2, window=texture.WINDOW)))
    return [*judges, Measure("pixels, mean square", texture.mean_squared, False)]


class Aid(NamedTuple):
    """What the law of grey values adds to the drawings of patches."""

    patches: float  # share of graphite of the patches
    unaided: float  # of drawings left to the style loss
    drawn: float  # of drawings with the law's grey values
    r2: float  # of the patches' quantiles of grey by the law


@torch.no_grad()
def grey_law(drawing: TextureDrawing, z: Tensor, patches: Tensor) -> Aid:
    """Of patches (N, n, n), as coarse as drawings, and their vectors (N, d), on the drawing's device."""
    edge, seeds = patches.shape[-1], (torch.Generator(z.device).manual_seed(0) for _ in range(2))
    images = patches, drawing(z, edge, next(seeds))[:, 0], drawing.draw(z, edge, next(seeds))
    observed, predicted = quantiles(patches.flatten(1)), drawing.greys + z @ drawing.grey_slopes
    r2 = 1 - (observed - predicted).square().sum() / (observed - observed.mean(0)).square().sum()
    return Aid(*(float(graphite.graphite(x.cpu().numpy()).mean()) for x in images), float(r2))


def style_loss(vgg: VGG19, layer_weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Weighted mean square difference (B,) of the Gram matrices of images (B, 1, h, w), as Gatys et al. have it."""
    x, y = vgg(x, STYLE_LAYERS), vgg(y, STYLE_LAYERS)
    return sum(w * (gram(x[n]) - gram(y[n])).square().mean((1, 2)) for w, n in zip(layer_weights, STYLE_LAYERS))
