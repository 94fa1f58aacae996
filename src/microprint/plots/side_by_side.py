"""Learning curves of several notebooks in one figure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from microprint.plots import PALETTE, style

OWN = {"ours": "ours", "the published system, rebuilt": "paper"}
OTHERS = ("linear", "other", "constant", "accent", "reference", "coded", "light")
APART = 0.052  # least distance of two lines of text, as a share of an axis's height


def side_by_side(curves: Mapping[str, Mapping[str, Any]], columns: int) -> Figure:
    """Learning curves by their titles, a panel each, so many in a row, both axes logarithmic; a name has one colour in all.

    A curve has the axis labels `cost` and `error`, and `lines`: points (cost, error) by name, in order of cost, errors above
    zero; lines that are named in `physical` are dashed. A cost of zero stands at the left end.
    """
    colours = dict(OWN)
    for curve in curves.values():
        for name in curve["lines"]:
            used = {colours.get(other) for other in curve["lines"]}
            colours.setdefault(name, next((key for key in OTHERS if key not in used), OTHERS[-1]))
    colours = {name: PALETTE[key] for name, key in colours.items()}
    rows = -(-len(curves) // columns)
    with mpl.rc_context():
        style()
        figure = Figure(figsize=(3.66 * columns, 3.3 * rows))
        for ax, (title, curve) in zip(figure.subplots(rows, columns, squeeze=False).flat, curves.items(), strict=False):
            _draw(ax, curve["lines"], colours, curve.get("physical", ()))
            ax.set_title(title, loc="left")
            ax.set(xlabel=curve["cost"], ylabel="\n".join(textwrap.wrap(curve["error"], 34)))
    return figure


def _draw(
    ax: Axes, lines: Mapping[str, Sequence[tuple[float, float]]], colours: Mapping[str, str], dashed: Sequence[str]
) -> None:
    costs = sorted({x for points in lines.values() for x, _ in points})
    least = min((x for x in costs if x), default=1.0)
    ends = {}
    for name, points in lines.items():
        x, y = np.array(points).T
        line, width, order = "o--" if name in dashed else "o-", 2.2 if name in OWN else 1.3, 3 if name in OWN else 2
        ax.plot(np.where(x > 0, x, least / 2.5), y, line, ms=4, lw=width, color=colours[name], zorder=order)
        ends[name] = y[-1]
    ax.set(xscale="log", yscale="log")
    steps = (1, 2, 5) if costs[-1] / least < 50 else (1, 3)
    ticks = [tick * 10.0**power for power in range(8) for tick in steps if least <= tick * 10**power <= costs[-1]] or [least]
    zero = [least / 2.5] if costs[0] == 0 else []
    names = [f"{tick:g}" if tick < 1000 else f"{tick / 1000:g}k" for tick in ticks]
    ax.set_xticks([*zero, *ticks], ["0"] * len(zero) + names)
    ax.xaxis.set_minor_locator(NullLocator())
    _plain_ticks(ax)
    _name_ends(ax, ends, colours)


def _plain_ticks(ax: Axes) -> None:
    """Numbers in full on the error axis: one, and three where the range is short."""
    low, high = ax.get_ylim()
    steps = (1, 3) if high / low < 1e4 else (1,)
    ticks = [step * 10.0**power for power in range(-6, 7) for step in steps if low <= step * 10.0**power <= high]
    if len(ticks) > 1:
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.yaxis.set_minor_locator(NullLocator())


def _name_ends(ax: Axes, ends: Mapping[str, float], colours: Mapping[str, str]) -> None:
    """The lines' names at their right ends, moved apart where they would overlap."""
    low, high = np.log(ax.get_ylim())
    texts = {name: textwrap.wrap(name, 17) for name in ends}
    names = sorted(ends, key=ends.__getitem__)
    sizes = np.array([len(texts[name]) * APART for name in names])
    centres = np.array([(np.log(ends[name]) - low) / (high - low) for name in names])
    for _ in range(200):
        for lower in range(len(names) - 1):
            overlap = (sizes[lower] + sizes[lower + 1]) / 2 - (centres[lower + 1] - centres[lower])
            if overlap > 0:
                centres[lower] -= overlap / 2
                centres[lower + 1] += overlap / 2
    for name, centre in zip(names, centres, strict=True):
        ax.annotate(
            "\n".join(texts[name]),
            (1.03, centre),
            xycoords="axes fraction",
            va="center",
            fontsize=8,
            linespacing=1.05,
            color=colours[name],
            fontweight="bold" if name in OWN else "normal",
            annotation_clip=False,
        )
