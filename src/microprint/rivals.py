"""The rivals of ours that several pages show: the colour that each has in every figure, and what the index says of it."""

from __future__ import annotations

from typing import NamedTuple


class Rival(NamedTuple):
    """Its `colour` is a name of `microprint.plots.PALETTE`; `gloss` says what it is, and may lean on those before it."""

    colour: str
    gloss: str


RIVALS = {
    "line in two coefficients": Rival("linear", "a straight line in two averages of the texture"),
    "ridge on linear cells": Rival(
        "constant", "ridge regression on the texture and on the moduli of the same cell, made elastic"
    ),
    "graph network": Rival("other", "on the grains and their contacts"),
    "coarse simulation, corrected": Rival(
        "reference", "the simulation with half the voxels an edge, and what labels say of its error"
    ),
    "Gaussian process on 13 numbers, three axes": Rival(
        "linear", "on volume fraction and two-point statistics, one function for three axes"
    ),
    "line in the iterations": Rival("other", "a straight line in the logarithms of the solver's first iterations"),
    "iterations as a geometric series": Rival("constant", "the same iterations, carried on without any label"),
    "linear": Rival("linear", "the strongest Fourier coefficients of the orientations"),
    "fitted list": Rival("accent", "positions and orientations of the largest grains"),
    "weighted list": Rival("reference", "the same and a weight, which tells a grain's size"),
}
