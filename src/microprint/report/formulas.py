"""TeX formulas of Markdown as MathML, which browsers draw without a script."""

from __future__ import annotations

import html
import re
import unicodedata

import latex2mathml.converter

# Code is set apart so that dollar signs in it are not taken for mathematics.
MATH = re.compile(r"(?P<code>```.*?```|`[^`\n]+`)|\$\$(?P<block>.+?)\$\$|(?<![\\$\w])\$(?P<inline>[^$\n]+?)\$(?![\w$])", re.S)
MARK = re.compile(r"@@math(\d+)@@")
COMMANDS = {r"\arg": r"\operatorname{arg}"}  # which the converter does not know
DELIMITERS = {r"\|": "‖", r"\Vert": "‖", r"\{": "{", r"\}": "}", r"\langle": "⟨", r"\rangle": "⟩"}  # which it leaves after \big
STYLED = re.compile(r'<(m[in]) mathvariant="(bold|bold-italic|script|double-struck|fraktur|sans-serif)">([^<]+)</m[in]>')


class Formulas:
    """TeX formulas on their way round the Markdown renderer, to come back as MathML."""

    def __init__(self):
        self.mathml: list[str] = []

    def take_out(self, markdown: str) -> str:
        """Markdown with a mark in the place of each formula."""
        return MATH.sub(self._mark, markdown)

    def put_back(self, page: str) -> str:
        """HTML with MathML in the place of each mark, but for the anchors of headings, which lose theirs."""
        page = re.sub(r'(?<=id=")[^"]*(?=")|(?<=href="#)[^"]*(?=")', lambda match: MARK.sub("", match[0]), page)
        return MARK.sub(lambda match: self.mathml[int(match[1])], page)

    def _mark(self, match: re.Match) -> str:
        if match["code"]:
            return match["code"]
        self.mathml.append(to_mathml(match["block"] or match["inline"], bool(match["block"])))
        return f"@@math{len(self.mathml) - 1}@@"


def to_mathml(tex: str, block: bool = False) -> str:
    """MathML of a formula, a `block` of its own or in a line; letters in bold, script and the like as Unicode has them.

    MathML Core, which is what browsers draw, has no such styles of letters but those (W3C, MathML Core, section 2.1.4).
    """
    for command, known in COMMANDS.items():
        tex = re.sub(re.escape(command) + r"(?![a-zA-Z])", lambda _, known=known: known, tex)
    mathml = latex2mathml.converter.convert(" ".join(tex.split()), display="block" if block else "inline")
    mathml = re.sub(r"(?<=>)\\(?:\W|[a-zA-Z]+)(?=</mo>)", lambda match: DELIMITERS.get(match[0], match[0]), mathml)
    mathml = STYLED.sub(lambda match: f"<{match[1]}>{_styled(html.unescape(match[3]), match[2])}</{match[1]}>", mathml)
    return f'<span class="formula">{mathml}</span>' if block else mathml


def _styled(letters: str, variant: str) -> str:
    """Letters and digits in one of Unicode's mathematical alphabets, if it has them."""
    return "".join(_styled_letter(letter, variant.upper().replace("-I", " I")) for letter in letters)


def _styled_letter(letter: str, style: str) -> str:
    name = re.sub(r"^(LATIN|GREEK) | LETTER", "", unicodedata.name(letter, ""))
    for known in (f"MATHEMATICAL {style} {name}", f"{style} {name}", f"BLACK-LETTER {name}" if style == "FRAKTUR" else ""):
        try:
            return unicodedata.lookup(known)
        except KeyError:
            continue
    return letter
