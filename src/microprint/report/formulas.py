"""TeX formulas of Markdown as MathML, which browsers draw without a script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import cycle
from xml.etree import ElementTree

import latex2mathml.converter

MATH = re.compile(
    r"(?P<code>```.*?```|`[^`\n]+`)"  # set apart so that dollar signs in it are not taken for mathematics
    r"|\$\$(?P<block>.+?)\$\$|(?<![\\$\w])\$(?P<inline>(?:[^$\n]|\n(?!\s*\n))+?)\$(?![\w$])",  # in a line, maybe a broken one
    re.S,
)
MARK = re.compile(r"@@math(\d+)@@")
FOLLOWED = re.compile(MARK.pattern + r"([.,;:!?)]+)")  # by signs that must not begin a line
# What the converter does not know, as what it does; lines of equations are ``split`` to it.
COMMANDS = {r"\arg": r"\operatorname{arg}", r"\begin{aligned": r"\begin{split", r"\end{aligned": r"\end{split"}
DELIMITERS = {r"\|": "‖", r"\Vert": "‖", r"\{": "{", r"\}": "}", r"\langle": "⟨", r"\rangle": "⟩"}  # which it leaves after \big
BRACES = {"munder": "⏟", "mover": "⏞"}


class Formulas:
    """TeX formulas on their way round the Markdown renderer, to come back as MathML."""

    def __init__(self):
        self.mathml: list[str] = []

    def take_out(self, markdown: str) -> str:
        """Markdown with a mark in the place of each formula."""
        return MATH.sub(self._mark, markdown)

    def put_back(self, page: str) -> str:
        """HTML with MathML in the place of each mark."""
        page = FOLLOWED.sub(self._together, page)
        return MARK.sub(lambda match: self.mathml[int(match[1])], page)

    def _together(self, match: re.Match) -> str:
        inline = self.mathml[int(match[1])].startswith("<math")
        return f'<span class="together">{match[0]}</span>' if inline else match[0]

    def _mark(self, match: re.Match) -> str:
        if match["code"]:
            return match["code"]
        self.mathml.append(to_mathml(match["block"] or match["inline"], bool(match["block"])))
        return f"@@math{len(self.mathml) - 1}@@"


def to_mathml(tex: str, block: bool = False) -> str:
    """MathML of a formula, a `block` of its own or in a line, for what browsers draw of it: W3C's MathML Core.

    That has no bold or script letters but those of Unicode (its section 2.1.4), and a brace grows in some fonts alone: here
    it is a class, ``munder`` or ``mover``, of what it spans, for the style sheet to draw.
    """
    for command, known in COMMANDS.items():
        tex = re.sub(re.escape(command) + r"(?![a-zA-Z])", lambda _, known=known: known, tex)
    display = "block" if block else "inline"
    math = ElementTree.fromstring(latex2mathml.converter.convert(" ".join(tex.split()), display=display, xmlns=""))
    for element in list(math.iter()):
        if element.tag in BRACES and element[1].text == BRACES[element.tag]:
            element.set("class", f"brace {element.tag}")
            element.tag = "mrow"
            del element[1]
        elif element.tag == "mo" and element.text in DELIMITERS:
            element.text = DELIMITERS[element.text]
        elif element.tag == "mo" and (element.text or "").isalpha() and len(element.text) > 1:  # a function, no relation
            element.attrib |= {"lspace": "0.167em", "rspace": "0.167em"}
        elif element.get("mathvariant", "normal") != "normal" and element.text:
            element.text = "".join(_styled(letter, element.attrib["mathvariant"]) for letter in element.text)
            del element.attrib["mathvariant"]
    for bars in _bars(math):
        if len(bars) % 2 == 0:  # of a size; a single one is the sign of a condition
            for bar, form in zip(bars, cycle(("prefix", "postfix"))):
                bar.attrib |= {"form": form, "stretchy": "false", "lspace": "0", "rspace": "0"}
    mathml = ElementTree.tostring(math, encoding="unicode")
    return f'<span class="formula">{mathml}</span>' if block else mathml


def _bars(math: ElementTree.Element) -> Iterator[list[ElementTree.Element]]:
    """Upright bars of a formula, in lists of those in the same brackets, without those of \\left and \\right."""
    groups: list[list[ElementTree.Element]] = [[]]
    for sign in math.iter("mo"):
        if sign.text in ("(", "["):
            groups.append([])
        elif sign.text in (")", "]") and len(groups) > 1:
            yield groups.pop()
        elif sign.text == "|" and "form" not in sign.attrib:
            groups[-1].append(sign)
    yield from groups


def _styled(letter: str, variant: str) -> str:
    """A letter or digit of one of Unicode's mathematical alphabets, or itself if it is in none."""
    style = {"bold-italic": "BOLD ITALIC", "fraktur": "FRAKTUR"}.get(variant, variant.upper())
    name = re.sub(r"^(LATIN|GREEK) | LETTER", "", unicodedata.name(letter, ""))
    for known in (f"MATHEMATICAL {style} {name}", f"{style} {name}", f"BLACK-LETTER {name}"):
        try:
            return unicodedata.lookup(known)
        except KeyError:
            continue
    return letter
