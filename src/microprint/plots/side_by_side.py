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
from microprint.plots.learning import plain_ticks
from microprint.rivals import RIVALS

OWN = {"ours": "ours", "the published system, rebuilt": "paper"}
OTHERS = ("linear", "other", "constant", "accent", "reference", "coded", "light")
APART = 0.052  # least distance of two lines of text, as a share of an axis's height


def side_by_side(curves: Mapping[str, Mapping[str, Any]], columns: int) -> Figure:
    """Learning curves by their titles, a panel each, so many in a row, both axes logarithmic; a name has one colour in all.

    A curve has the axis labels `cost` and `error`, and `lines`: points (cost, error) by name, in order of cost, errors above
    zero; lines that are named in `physical` are dashed, their circles open. A cost of zero stands at the left end.
    """
    colours = OWN | {name: rival.colour for name, rival in RIVALS.items()}
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
    ax: Axes, lines: Mapping[str, Sequence[tuple[float, float]]], colours: Mapping[str, str], physical: Sequence[str]
) -> None:
    costs = sorted({x for points in lines.values() for x, _ in points})
    least = min((x for x in costs if x), default=1.0)
    ends, alone = {}, {}
    for name, points in lines.items():
        x, y = np.array(points).T
        x = np.where(x > 0, x, least / 2.5)
        look = {"linestyle": "--", "markerfacecolor": "white"} if name in physical else {"linestyle": "-"}
        width, order = (2.2, 3) if name in OWN else (1.3, 2)
        ax.plot(x, y, marker="o", ms=4, lw=width, color=colours[name], zorder=order, **look)
        (ends if len(points) > 1 or points[-1][0] == costs[-1] else alone)[name] = x[-1], y[-1]
    ax.set(xscale="log", yscale="log")
    steps = (1, 2, 5) if costs[-1] / least < 50 else (1, 3)
    ticks = [tick * 10.0**power for power in range(8) for tick in steps if least <= tick * 10**power <= costs[-1]] or [least]
    zero = [least / 2.5] if costs[0] == 0 else []
    names = [f"{tick:g}" if tick < 1000 else f"{tick / 1000:g}k" for tick in ticks]
    ax.set_xticks([*zero, *ticks], ["0"] * len(zero) + names)
    ax.xaxis.set_minor_locator(NullLocator())
    plain_ticks(ax.yaxis)
    _name_ends(ax, ends, colours)
    for name, point in alone.items():  # no line of it leads to a name at the right
        ax.annotate("\n".join(textwrap.wrap(name, 17)), point, (7, 0), textcoords="offset points", **_look(name, colours))


def _name_ends(ax: Axes, ends: Mapping[str, tuple[float, float]], colours: Mapping[str, str]) -> None:
    """The lines' names to the right of their last points, moved apart where they would overlap; a thin line leads to each."""
    low, high = np.log(ax.get_ylim())
    texts = {name: textwrap.wrap(name, 17) for name in ends}
    names = sorted(ends, key=lambda name: ends[name][1])
    sizes = np.array([len(texts[name]) * APART for name in names])
    centres = np.array([(np.log(ends[name][1]) - low) / (high - low) for name in names])
    for _ in range(200):
        for lower in range(len(names) - 1):
            overlap = (sizes[lower] + sizes[lower + 1]) / 2 - (centres[lower + 1] - centres[lower])
            if overlap > 0:
                centres[lower] -= overlap / 2
                centres[lower + 1] += overlap / 2
    for name, centre in zip(names, centres, strict=True):
        ax.annotate(
            "\n".join(texts[name]),
            ends[name],
            (1.05, centre),
            textcoords="axes fraction",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colours[name], "lw": 0.6, "shrinkA": 1, "shrinkB": 3, "relpos": (0, 0.5)},
            **_look(name, colours),
        )


def _look(name: str, colours: Mapping[str, str]) -> dict[str, Any]:
    weight = "bold" if name in OWN else "normal"
    return {"color": colours[name], "fontsize": 8, "fontweight": weight, "va": "center", "linespacing": 1.05}
