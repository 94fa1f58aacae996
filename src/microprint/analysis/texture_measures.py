"""The measures of likeness between micrographs that notebook 08 puts to the test."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from microprint.analysis import graphite, texture
from microprint.analysis.judging import Measure
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


def style_loss(vgg: VGG19, layer_weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Weighted mean square difference (B,) of the Gram matrices of images (B, 1, h, w), as Gatys et al. have it."""
    x, y = vgg(x, STYLE_LAYERS), vgg(y, STYLE_LAYERS)
    return sum(w * (gram(x[n]) - gram(y[n])).square().mean((1, 2)) for w, n in zip(layer_weights, STYLE_LAYERS))
