"""The study's one claim, that a form that is the physics needs a hundredth of the labels, held against the learning curves."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CLAIM = "A form that is the physics needs a hundredth of the labels."
FACTOR = 100
UNIT = re.compile(r"\(([^()]+)\)\s*$|\s/\s*(\S+)\s*$")  # at the end of an axis label
Point = tuple[float, float]  # cost and error
Line = list[Point]


def figure(value: float | None) -> str:
    """Number to three significant digits, thousands in full; a dash for none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def lines_of(curve: Mapping[str, Any]) -> dict[str, Line]:
    """Points (cost, error) of each line of a learning curve, by cost; what has no error above zero is left out."""
    lines = {name: sorted((x, y) for x, y in zip(*pair) if x is not None and y) for name, pair in curve["lines"].items()}
    return {name: points for name, points in lines.items() if points}


@dataclass(frozen=True)
class Comparison:
    """What a learning curve says of ours against the rivals, the published system as rebuilt among them; costs as measured.

    `rival` is the strongest of those without the physics. `needed` is the least cost at which ours is as good as it is at its
    `best` (None: at none); `reached` the first of them to be as good as ours is at its least cost, and its cost (None: none).
    Of the rivals with the same physics `kin` is the strongest at its best, `cheap` the best at a cost below that of `kin`.
    """

    number: str
    noun: str  # what is counted: labels
    measure: str  # what the error is of
    unit: str  # of the error
    rival: str
    best: Point
    ours: tuple[Point, ...]
    needed: float | None
    reached: tuple[str, float] | None
    most: float  # the highest cost of a rival without the physics
    paper: Point | None  # best point of the published system, if that is not the strongest rival
    kin: tuple[str, Point] | None
    cheap: tuple[str, Point] | None
    ahead: dict[str, list[float]]  # costs at which a rival is ahead of ours, by the rival's name
    note: str  # what else has to be known of the lines

    @property
    def of_labels(self) -> bool:
        """Whether the cost is one of labels, as the claim has it, and not of numbers that a fingerprint keeps."""
        return "kept" not in self.noun

    @property
    def verdict(self) -> str:
        """Whether the curve bears the claim out: yes, no, or open where ours was not measured with few enough labels."""
        if self.needed is None:
            return "no"
        if FACTOR * self.needed <= self.best[0]:
            return "yes"
        return "open" if self.needed == self.ours[0][0] else "no"


def compare(number: str, curve: Mapping[str, Any] | None) -> Comparison | None:
    """Comparison of a notebook's learning curve, as `Notebook.close` recorded it; None without ours or without a rival."""
    lines = lines_of(curve) if curve else {}
    ours = lines.pop("ours", None)
    physical = {name: lines[name] for name in curve.get("physical", ()) if name in lines} if curve else {}
    plain = {name: points for name, points in lines.items() if name not in physical}
    if not ours or not plain:
        return None
    rival, best = _strongest(plain)
    kin = _strongest(physical) if physical else None
    fewest = min((x for points in physical.values() for x, _ in points), default=0.0)
    cheaper = {name: [point for point in points if point[0] == fewest] for name, points in physical.items()}
    reaching = [(x, name) for name, points in plain.items() for x, y in points if y <= ours[0][1]]
    ahead = {name: [x for x, y in points if (mine := _at(ours, x)) is not None and y < mine] for name, points in lines.items()}
    return Comparison(
        number=number,
        noun=re.split(r"[(/,]", curve["cost"])[0].strip().lower(),
        measure=UNIT.sub("", curve["error"]).strip(),
        unit=next((a or b for a, b in UNIT.findall(curve["error"])), ""),
        rival=rival,
        best=best,
        ours=tuple(ours),
        needed=next((x for x, y in ours if y <= best[1]), None),
        reached=min(reaching)[::-1] if reaching else None,
        most=max(x for points in plain.values() for x, _ in points),
        paper=_strongest({"paper": plain["paper"]})[1] if "paper" in plain and rival != "paper" else None,
        kin=kin,
        cheap=_strongest(cheaper) if kin and fewest < kin[1][0] else None,
        ahead={name: costs for name, costs in ahead.items() if costs},
        note=curve.get("note", ""),
    )


def _strongest(lines: Mapping[str, Line]) -> tuple[str, Point]:
    """The line with the least error, and the least cost at which it has it."""
    error, cost, name = min((y, x, name) for name, points in lines.items() for x, y in points)
    return name, (cost, error)


def _at(line: Line, cost: float) -> float | None:
    """Error of a line at a cost: measured, or on a power law between its neighbours; None beyond what was measured."""
    if cost in dict(line):
        return dict(line)[cost]
    for (x0, y0), (x1, y1) in zip(line, line[1:]):
        if 0 < x0 < cost < x1:
            return y0 * (y1 / y0) ** (math.log(cost / x0) / math.log(x1 / x0))
    return None


def named(line: str) -> str:
    """A line's name in a sentence or a legend."""
    return {"ours": "ours", "paper": "the published system, rebuilt"}.get(line, line)


def sentence(c: Comparison) -> str:
    """What a curve says: the cost of the best rival's error for the rival and for ours, and where a rival is ahead."""
    which = "the strongest rival without the physics" if c.kin else "the strongest rival"
    best = f"{_error(c, c.best[1])} at best, with {_count(c, c.best[0])}"
    text = f"by the {c.measure}, {named(c.rival)}, {which}, comes to {best}; "
    if c.needed is None:
        x, y = min(c.ours, key=lambda point: point[1])
        text += f"ours does not reach that: {_error(c, y)} with {_count(c, x)}"
    else:
        saving = _saving(c)
        fewest = ", the fewest tried" * bool(c.of_labels and 0 < c.needed == c.ours[0][0])
        text += f"ours is there with {_count(c, c.needed)}{fewest} ({_error(c, dict(c.ours)[c.needed])})"
        text = f"{saving}{text}" if saving else text + _share(c.best[0], c.needed)
    if c.kin:
        text += f". With the same physics {c.kin[0]} comes to {_error(c, c.kin[1][1])}, with {_count(c, c.kin[1][0])}"
        if c.cheap:
            name, (cost, error) = c.cheap
            also = ", and to " if name == c.kin[0] else f"; {name} to "
            bare = ", uncorrected" * (not cost and name.endswith(", corrected"))
            text += f"{also}{_error(c, error)}{bare}, with {_count(c, cost)}"
    if c.ahead:
        costs = [f"{named(name)} at {_and([figure(x) for x in at])}" for name, at in c.ahead.items()]
        text += f". Ahead of ours: {'; '.join(costs)} {c.noun}"
    if c.paper:
        text += f". The published system, rebuilt, comes to {_error(c, c.paper[1])} with {_count(c, c.paper[0])}"
    return f"{text}. {c.note}" if c.note else f"{text}."


def _saving(c: Comparison) -> str:
    """Of numbers kept, which the claim does not count: that ours saves none, where that is so."""
    if c.of_labels or c.needed is None or c.needed < c.best[0]:
        return ""
    last = all(x < c.needed for costs in c.ahead.values() for x in costs)
    return (
        f"no saving in numbers here ({figure(c.needed)} against {figure(c.best[0])})"
        f"{', but ours is more exact from there on' if last else ''}; "
    )


def caption(c: Comparison) -> str:
    """For the figure: what it costs a rival to be as good as ours is with the fewest labels, and the note on the lines."""
    said = [_reached(c)] * c.of_labels + [c.note] * bool(c.note)
    return f"{c.number}: {' '.join(said)}" if said else ""


def _reached(c: Comparison) -> str:
    x, y = c.ours[0]
    start, rival = f"ours has {_error(c, y)} with {_count(c, x)}; ", "rival without the physics" if c.kin else "rival"
    if c.reached is None:
        return f"{start}no {rival} reaches that in the range measured, up to {_count(c, c.most)}."
    return f"{start}the first {rival} to reach that is {named(c.reached[0])}, with {_count(c, c.reached[1])}."


def judgement(comparisons: list[Comparison]) -> str:
    """Whether the run bears the claim out, in a sentence that follows from the curves over labels."""
    by_verdict = {
        verdict: _and([c.number for c in comparisons if c.of_labels and c.verdict == verdict])
        for verdict in ("yes", "no", "open")
    }
    texts = {
        "yes": "bears it out in {}",
        "no": "does not bear it out in {}",
        "open": "leaves it open in {}, where fewer labels were not tried",
    }
    said = [texts[verdict].format(numbers) for verdict, numbers in by_verdict.items() if numbers]
    return f"This run {_and(said)}." if said else "This run has no learning curve over labels to hold it against."


def _share(theirs: float, ours: float) -> str:
    if not ours or not theirs:
        return ""
    ratio = theirs / ours
    return (
        f", {figure(ratio)} times fewer" if ratio > 1 else ", as many" if ratio == 1 else f", {figure(1 / ratio)} times as many"
    )


def _error(c: Comparison, value: float) -> str:
    return figure(value) + ("" if c.unit in ("", "°") else "\N{NO-BREAK SPACE}") + c.unit


def _count(c: Comparison, cost: float) -> str:
    return f"{figure(cost) if cost else 'no'} {c.noun}"


def _and(parts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))
