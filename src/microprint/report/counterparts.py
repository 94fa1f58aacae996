"""The papers' tables and figures, and where this study has their counterparts: a data file and links into the pages."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("counterparts.yaml")
HEADING = re.compile(r'<h([1-6])[^>]*\bid="([^"]*)"[^>]*>(.*?)</h\1>', re.S)


def papers() -> list[dict[str, Any]]:
    """The papers, each with `key`, `reference` and `items`: their tables and figures.

    An item has `shows`, `state` (here, part or none), `here` (what is here, or why not) and `at` (section by notebook number).
    """
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def linked_papers(entries: Sequence[Mapping[str, Any]], target: Path) -> list[dict[str, Any]]:
    """The papers with `links`, (address or None, text) of each item, to the pages that were written to the folder `target`.

    A link names the section and leads to it where the page has it, and to the page where not.
    """
    pages = {entry["number"]: f"{entry['name']}.html" for entry in entries if entry["executed"]}
    sections = {number: headings((target / page).read_text(encoding="utf-8")) for number, page in pages.items()}

    def link(number: str, section: str) -> tuple[str | None, str]:
        if anchor := sections.get(number, {}).get(section):
            return f"{pages[number]}#{anchor}", f"{number} · {section}"
        return pages.get(number), f"notebook {number}"

    return [
        paper | {"items": [item | {"links": [link(*pair) for pair in item["at"].items()]} for item in paper["items"]]}
        for paper in papers()
    ]


def headings(page: str) -> dict[str, str]:
    """Anchors of a page's headings by their texts."""
    return {_text(inner): html.unescape(anchor) for _, anchor, inner in HEADING.findall(page)}


def _text(inner: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", inner)).replace("¶", "").strip()
