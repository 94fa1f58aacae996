"""The study's one claim, that a form that is the physics needs a hundredth of the labels, held against the learning curves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CLAIM = "A form that is the physics needs a hundredth of the labels."
FACTOR = 100
UNIT = re.compile(r"\(([^()]+)\)\s*$|\s/\s*(\S+)\s*$")  # at the end of an axis label
Line = list[tuple[float, float]]


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

    `needed` is the least cost at which ours is as good as `best`, the best point of all rivals' (None: at none); `reached` the
    rival and the least cost at which a rival is as good as ours is at its least cost (None: no rival is).
    """

    number: str
    noun: str  # what is counted: labels
    unit: str  # of the error
    rival: str
    best: tuple[float, float]
    ours: tuple[tuple[float, float], ...]
    needed: float | None
    reached: tuple[str, float] | None
    most: float  # the highest cost of a rival
    ahead: tuple[float, ...]  # costs at which a rival is ahead of ours
    paper: tuple[float, float] | None  # best point of the published system, if that is not the strongest rival

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
        return "open" if self.needed == self.ours[0][0] and not self.ahead else "no"


def compare(number: str, curve: Mapping[str, Any] | None) -> Comparison | None:
    """Comparison of a notebook's learning curve, as `Notebook.close` recorded it; None without ours or without a rival."""
    lines = lines_of(curve) if curve else {}
    ours = lines.pop("ours", None)
    if not ours or not lines:
        return None
    rival = min(lines, key=lambda name: min(y for _, y in lines[name]))
    best = min(lines[rival], key=lambda point: point[::-1])
    reaching = [(x, name) for name, points in lines.items() for x, y in points if y <= ours[0][1]]
    at = dict(ours)
    return Comparison(
        number=number,
        noun=re.split(r"[(/,]", curve["cost"])[0].strip().lower(),
        unit=next((a or b for a, b in UNIT.findall(curve["error"])), ""),
        rival=rival,
        best=best,
        ours=tuple(ours),
        needed=next((x for x, y in ours if y <= best[1]), None),
        reached=min(reaching)[::-1] if reaching else None,
        most=max(x for points in lines.values() for x, _ in points),
        ahead=tuple(sorted({x for points in lines.values() for x, y in points if x in at and y < at[x]})),
        paper=min(lines["paper"], key=lambda point: point[::-1]) if "paper" in lines and rival != "paper" else None,
    )


def named(line: str) -> str:
    """A line's name in a sentence or a legend."""
    return {"ours": "ours", "paper": "the published system, rebuilt"}.get(line, line)


def sentence(c: Comparison) -> str:
    """What a curve says: the cost of the best rival's error for the rival and for ours, and where a rival is ahead."""
    theirs = f"{named(c.rival)}, the strongest rival, comes to {_error(c, c.best[1])} at best, with {_count(c, c.best[0])}"
    if c.needed is None:
        x, y = min(c.ours, key=lambda point: point[1])
        text = f"{theirs}; ours does not reach that: {_error(c, y)} with {_count(c, x)}"
    else:
        text = f"{theirs}; ours is there with {_count(c, c.needed)} ({_error(c, dict(c.ours)[c.needed])})"
        text += _share(c.best[0], c.needed, c.needed == c.ours[0][0])
    if c.ahead:
        text += f". A rival is ahead of ours at {_and([figure(x) for x in c.ahead])} {c.noun}"
    if c.paper:
        text += f". The published system, rebuilt, comes to {_error(c, c.paper[1])} with {_count(c, c.paper[0])}"
    return text + "."


def caption(c: Comparison) -> str:
    """What it costs a rival to be as good as ours is at its least cost, for the figure's caption."""
    x, y = c.ours[0]
    start = f"{c.number}: ours has {_error(c, y)} with {_count(c, x)}; "
    if c.reached is None:
        return f"{start}no rival reaches that in the range measured, up to {_count(c, c.most)}."
    return f"{start}of the rivals {named(c.reached[0])} reaches that first, with {_count(c, c.reached[1])}."


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


def _share(theirs: float, ours: float, least: bool) -> str:
    if not ours or not theirs:
        return ""
    ratio = theirs / ours
    text = (
        f", {figure(ratio)} times fewer" if ratio > 1 else ", as many" if ratio == 1 else f", {figure(1 / ratio)} times as many"
    )
    return text + (", the fewest tried" if least else "")


def _error(c: Comparison, value: float) -> str:
    return figure(value) + ("" if c.unit in ("", "°") else "\N{NO-BREAK SPACE}") + c.unit


def _count(c: Comparison, cost: float) -> str:
    return f"{figure(cost) if cost else 'no'} {c.noun}"


def _and(parts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))
