"""An executed notebook as the body of a page: code and solutions folded, captions and references where HTML has them."""

from __future__ import annotations

import html
import re
from itertools import groupby
from typing import NamedTuple

import nbformat
from bs4 import BeautifulSoup, Tag
from nbconvert import HTMLExporter

from microprint.report.formulas import MARK, Formulas

# A pair of brackets may be part of a DOI; the full stop or the bracket behind one is not.
REFERENCE = re.compile(
    r"\b(?:arXiv:(?P<arxiv>\d{4}\.\d{4,5}(?:v\d+)?)|doi:(?P<doi>10\.\d{4,9}/(?:[^\s,;()]|\([^\s()]*\))*[^\s,;.():]))"
)

PROGRESS = re.compile(r"[^:]+: (epoch )?\d+/\d+ ?.*(loss |/s)")  # lines of `microprint.machine` and of trainings
FOLDED = 2  # lines of progress on end
NUMBER = re.compile(r"^[-<>\d.,e+±/%–\s]+$")  # or two: no hyphen or space in it is for a line to break at
UNIT_BEHIND = re.compile(r"(?<=\d) (?=(?:[%‰°]|°C|[kMG]?Pa|ms|min|s|h|[nµm]m|[kM]B|[KMG]iB|K|px)(?![\w/]))")
UNIT_OF_HEAD = re.compile(r" / (?=\S+$)")  # of what stands in a column or a row


class Heading(NamedTuple):
    """A line of a page's contents list: level 2 or 3, where it leads, and its text as HTML."""

    level: int
    anchor: str
    text: str


class Page(NamedTuple):
    """What a page's template needs of a notebook: its body as HTML and its contents list."""

    body: str
    contents: list[Heading]


def page_of(notebook: nbformat.NotebookNode) -> Page:
    """Page of an executed notebook. It needs nothing but itself: pictures are in it, formulas are MathML."""
    formulas = Formulas()
    soup = BeautifulSoup(_exported(notebook, formulas), "html.parser")
    for change in (_set_tables, _set_figures, _fold_progress, _fold_code, _fold_solutions, _bind_units, _link_references):
        change(soup)
    contents = [line._replace(text=formulas.put_back(line.text)) for line in _contents(soup)]
    return Page(formulas.put_back(str(soup)), contents)


def _exported(notebook: nbformat.NotebookNode, formulas: Formulas) -> str:
    """HTML of a notebook as nbconvert has it, with marks in the places of formulas."""
    notebook = nbformat.from_dict(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = formulas.take_out(cell.source)
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            if "text/markdown" in data:
                data["text/markdown"] = formulas.take_out(data["text/markdown"])
    exporter = HTMLExporter(template_name="basic", embed_images=True, exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.register_preprocessor("nbconvert.preprocessors.CoalesceStreamsPreprocessor", enabled=True)
    return exporter.from_notebook_node(notebook)[0]


def _set_tables(soup: BeautifulSoup) -> None:
    """Tables scroll in a box of their own and say what heads what; the paragraph above one in an output is its caption."""
    for table in soup.find_all("table"):
        above = table.find_previous_sibling()
        if above is not None and above.name == "p" and table.find_parent(class_="output_markdown"):
            text = _tag(soup, "span", list(above.contents))  # stays in sight where a wide table is scrolled
            table.insert(0, _tag(soup, "caption", [text]))
            above.decompose()
        for head in table.select("thead th"):
            head["scope"] = "col"
        for first in table.select("tbody td:first-child"):
            first.name, first["scope"] = "th", "row"
        for cell in table.find_all("td", string=NUMBER):
            cell["class"] = "number"
        table.wrap(_tag(soup, "div", class_="scroll"))


def _set_figures(soup: BeautifulSoup) -> None:
    """What `microprint.plots.show` and `frames` displayed becomes a figure, with the paragraph below it as its caption.

    Its picture scrolls in a box of its own where the screen is too narrow for it.
    """
    for picture in soup.select(".output_png, .output_html:has(.frames)"):
        picture.name = "figure"
        image = picture.img
        del image["style"]  # which keeps it within a notebook's cell
        image.wrap(_tag(soup, "div", class_="scroll"))
        below = picture.find_parent(class_="output_area").find_next_sibling()
        caption = below and below.select_one(".output_markdown > p:only-child > em:only-child")
        if caption and caption.get_text() == caption.parent.get_text():
            picture.append(_tag(soup, "figcaption", list(caption.contents)))
            below.decompose()


def _fold_progress(soup: BeautifulSoup) -> None:
    """Many lines that only tell how far some work has come are folded away; what else was printed may be an answer."""
    for printed in soup.select(".output_stdout pre"):
        parts: list[Tag] = []
        for progress, group in groupby(printed.get_text().strip("\n").split("\n"), lambda line: bool(PROGRESS.match(line))):
            lines = list(group)
            text = "\n".join(lines)
            if progress and len(lines) >= FOLDED:
                summary = _tag(soup, "summary", [f"Progress, {len(lines)} lines"])
                parts.append(_tag(soup, "details", [summary, _tag(soup, "pre", [text])], class_="progress"))
            elif parts and parts[-1].name == "pre":
                parts[-1].append(f"\n{text}")
            else:
                parts.append(_tag(soup, "pre", [text]))
        printed.replace_with(*parts)


def _fold_code(soup: BeautifulSoup) -> None:
    """Code is folded below its first line; that of a solution is folded away with all of it."""
    for code in soup.select(".code_cell:not(.celltag_solution) > .input"):
        first = code.get_text().strip().partition("\n")[0]
        summary = _tag(soup, "summary", ["Code ", _tag(soup, "code", [first])])
        code.wrap(_tag(soup, "details", class_="code")).insert(0, summary)


def _fold_solutions(soup: BeautifulSoup) -> None:
    """Cells tagged as solution, with their outputs, are folded away, those next to each other in one."""
    for cell in soup.select(".celltag_solution"):
        before = cell.find_previous_sibling()
        if before is not None and before.get("class") == ["solution"]:
            before.append(cell.extract())
        else:
            cell.wrap(_tag(soup, "details", class_="solution")).insert(0, _tag(soup, "summary", ["Solution"]))


def bound(text: str) -> str:
    """Text in which no line breaks between a number and its unit."""
    return UNIT_BEHIND.sub("\N{NO-BREAK SPACE}", text)


def _bind_units(soup: BeautifulSoup) -> None:
    """Numbers and units of prose and captions, and units in the heads of tables, stay in one line with what they are of."""
    for text in soup.find_all(string=UNIT_BEHIND):
        if not text.find_parent(["a", "code", "pre", "script", "style", "h1", "h2", "h3", "h4"]):
            text.replace_with(bound(text))
    for text in soup.find_all(string=UNIT_OF_HEAD):
        if text.find_parent("th"):
            text.replace_with(UNIT_OF_HEAD.sub("\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}", text))


def _link_references(soup: BeautifulSoup) -> None:
    """``arXiv:`` and ``doi:`` in prose lead there."""
    for text in soup.find_all(string=REFERENCE):
        if not text.find_parent(["a", "code", "pre", "script"]):
            linked = REFERENCE.sub(_link, html.escape(text, quote=False))
            text.replace_with(*list(BeautifulSoup(linked, "html.parser").contents))


def _link(match: re.Match) -> str:
    target = f"arxiv.org/abs/{match['arxiv']}" if match["arxiv"] else f"doi.org/{match['doi']}"
    return f'<a href="https://{target}">{match[0]}</a>'


def _contents(soup: BeautifulSoup) -> list[Heading]:
    """Headings below the page's own, but for those in solutions. Anchors lose formulas, headings the links to themselves."""
    for sign in soup.select(".anchor-link"):
        sign.decompose()
    for heading in soup.find_all(id=MARK):
        heading["id"] = MARK.sub("", heading["id"])
    headings = soup.select("h2:not(details *), h3:not(details *)")
    return [Heading(int(heading.name[1]), heading["id"], heading.decode_contents()) for heading in headings]


def _tag(soup: BeautifulSoup, name: str, contents: list[Tag | str] = (), class_: str | None = None) -> Tag:
    tag = soup.new_tag(name, attrs={"class": class_} if class_ else {})
    tag.extend(contents)
    return tag
