"""What the index says of a run as a whole: how often ours is ahead, what did not reproduce, and the claim beside its curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microprint import store
from microprint.report.claim import CLAIM, Comparison, caption, compare, judgement, lines_of, named, sentence
from microprint.report.counterparts import linked_papers
from microprint.rivals import RIVALS

Entry = Mapping[str, Any]
CROWDED = 10  # measures of a notebook that are many
DEFEATS_FIRST = ("worse", "equal", "better", "")
UNKNOWN = {
    "unit": "",
    "ours": None,
    "rival": None,
    "rebuilt": None,
    "published": None,
    "higher_is_better": False,
    "spread": 0.0,
    "verdict": "",
}
CURVES, NARROW = "learning_curves.png", "learning_curves_narrow.png"  # side by side, and one below the other


def recorded(results: Mapping[str, Any]) -> dict[str, Any]:
    """What a notebook recorded for the index: standings, defeats first; missed; curve; caption of its picture.

    A notebook that an older version executed has no standings: `outdated`.
    """
    standings = [UNKNOWN | row for row in results.get("standings", [])]
    return {
        "standings": sorted(standings, key=lambda row: DEFEATS_FIRST.index(row["verdict"])),
        "missed": results.get("missed", []),
        "curve": results.get("curve"),
        "caption": results.get("caption", ""),
        "outdated": "headline" in results and not standings,
    }


@dataclass(frozen=True)
class Summary:
    """How the measures of all notebooks come out."""

    judged: int  # measures with a rival or a published system beside them
    ahead: int
    level: int
    scattered: int  # those of them whose scatter was measured: the others are in mere order
    behind: tuple[tuple[Entry, dict[str, Any]], ...]  # notebook and row of each defeat
    published: int  # numbers of the papers that have the same system, rebuilt, beside them
    reached: int  # by that system
    crowded: tuple[tuple[str, int], ...]  # notebooks with many of the measures, and how many


def summarise(entries: Iterable[Entry]) -> Summary:
    """Count the verdicts of all notebooks' standings, and how many published numbers the rebuilt systems reach."""
    rows = [(entry, row) for entry in entries for row in entry["standings"]]
    verdicts = [row["verdict"] for _, row in rows]
    counts = Counter(entry["number"] for entry, row in rows if row["verdict"])
    pairs = {(entry["number"], row["rebuilt"], row["published"], row["higher_is_better"]) for entry, row in rows}
    known = [
        (rebuilt - published) * (1 if higher else -1)
        for _, rebuilt, published, higher in pairs
        if None not in (rebuilt, published)
    ]
    return Summary(
        judged=sum(map(bool, verdicts)),
        ahead=verdicts.count("better"),
        level=verdicts.count("equal"),
        scattered=sum(bool(row["verdict"] and row["spread"]) for _, row in rows),
        behind=tuple((entry, row | {"best": strongest(row)}) for entry, row in rows if row["verdict"] == "worse"),
        published=len(known),
        reached=sum(lead >= 0 for lead in known),
        crowded=tuple((number, count) for number, count in counts.items() if count >= CROWDED),
    )


def strongest(row: Mapping[str, Any]) -> tuple[str, float]:
    """The best that stands beside ours in a row: its name and value."""
    beside = [tuple(row["rival"] or ("", None)), (named("paper"), row["rebuilt"])]
    best = max if row["higher_is_better"] else min
    return best(((name, value) for name, value in beside if value is not None), key=lambda pair: pair[1])


def index_facts(entries: Sequence[Entry], target: Path) -> dict[str, Any]:
    """What the index template needs beside the entries; writes the figure of the learning curves to the folder `target`."""
    by_number = {entry["number"]: entry for entry in entries}
    judged = [compare(entry["number"], entry["curve"]) for entry in entries]
    comparisons = sorted(filter(None, judged), key=lambda comparison: not comparison.of_labels)  # the claim's own come first
    drawn = [by_number[comparison.number] for comparison in comparisons]
    if drawn:
        _draw(drawn, target)
    studied = linked_papers(entries, target)
    states = [item["state"] for paper in studied for item in paper["items"]]
    return {
        "summary": summarise(entries),
        "claim": CLAIM,
        "judgement": judgement(comparisons),
        "comparisons": [(comparison, sentence(comparison)) for comparison in comparisons],
        "caption": _caption(comparisons, drawn),
        "glosses": {name: RIVALS[name].gloss for name in RIVALS if any(name in lines_of(entry["curve"]) for entry in drawn)},
        "commits": commits(entries),
        "papers": studied,
        "states": {state: states.count(state) for state in ("here", "part", "none")},
    }


def commits(entries: Iterable[Entry]) -> dict[str, list[str]]:
    """Numbers of the notebooks by the commit that executed them."""
    numbers: dict[str, list[str]] = {}
    for entry in entries:
        if entry["executed"] and entry["commit"]:
            numbers.setdefault(entry["commit"], []).append(entry["number"])
    return numbers


def _caption(comparisons: Sequence[Comparison], entries: Sequence[Entry]) -> str:
    said = ["Error over what it costs, both on logarithmic scales; below and left is better."]
    costs = {x for entry in entries for points in lines_of(entry["curve"]).values() for x, _ in points}
    if 0 in costs:
        said.append("Zero stands at the left end.")
    if any(comparison.kin for comparison in comparisons):
        said.append("Open circles: rivals with the same physics.")
    return " ".join(filter(None, [*said, *map(caption, comparisons)]))


def _draw(entries: Sequence[Entry], target: Path) -> None:
    from microprint.plots.side_by_side import side_by_side

    panels = {entry["title"].split(":")[0]: _panel(entry["curve"]) for entry in entries}
    for name, columns in ((CURVES, len(panels)), (NARROW, 1)):
        with store.atomic(target / name) as temporary:
            side_by_side(panels, columns).savefig(temporary, format="png", dpi=200)


def _panel(curve: Mapping[str, Any]) -> dict[str, Any]:
    return {**curve, "lines": {named(name): points for name, points in lines_of(curve).items()}}
