"""The report of a run: an index page and every executed notebook as HTML, readable from disk and offline."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import latex2mathml.converter
import nbformat
from markupsafe import Markup
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html
from pygments.formatters import HtmlFormatter

from microprint import store
from microprint.report.claim import figure
from microprint.report.index import index_facts, recorded
from microprint.study.graph import REPOSITORY
from microprint.study.run import Run

FOLDER = Path(__file__).parent
# Code is set apart so that dollar signs in it are not taken for mathematics.
MATH = re.compile(r"(?P<code>```.*?```|`[^`\n]+`)|\$\$(?P<block>.+?)\$\$|(?<![\\$\w])\$(?P<inline>[^$\n]+?)\$(?![\w$])", re.S)
MARK = re.compile(r"@@math(\d+)@@")


def write_report(run: Run) -> Path:
    """Write `report/` of a run: index, pages, executed notebooks, pictures, metrics; return the index page."""
    target = run.folder / "report"
    target.mkdir(parents=True, exist_ok=True)
    entries = list(_entries(run))
    for entry in entries:
        if entry["executed"]:
            notebook = _without_paths(nbformat.read(entry["executed"], as_version=4))
            _save(target / entry["executed"].name, nbformat.writes(notebook) + "\n")
            _write_page(notebook, entry, entries, target)
        if entry["picture"]:
            shutil.copy2(entry["picture"], target / f"{entry['number']}.png")
    for name in ("metrics.json", "params.json"):
        if (run.folder / name).is_file():
            shutil.copy2(run.folder / name, target)
    citation = REPOSITORY / "CITATION.cff"
    if citation.is_file():
        shutil.copy2(citation, target)
    facts = {
        "run": run.params.run,
        "environment": store.environment(),
        "at": store.now(),
        "models": _save_models(run.folder / "artifacts", target / "models"),
        "citation": citation.name if citation.is_file() else None,
    }
    return _save(target / "index.html", _render("index.html.j2", entries=entries, **facts, **index_facts(entries, target)))


def _save_models(artifacts: Path, target: Path) -> list[str]:
    """Trained models, to use elsewhere; their names. Fingerprints in half precision, which is plenty, have half the size."""
    fingerprints = [path for path in sorted(artifacts.glob("fingerprint_*.safetensors")) if path.stem != "fingerprint_coded"]
    others = ("surrogate_*", "composite_design", "stiffness_surrogate", "texture_fingerprint")
    surrogates = [path for name in others for path in sorted(artifacts.glob(f"{name}.safetensors"))]
    for path in fingerprints + surrogates:
        tensors, metadata = store.load_tensors(path)
        target.mkdir(exist_ok=True)
        if path in fingerprints:
            tensors = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
        store.save_tensors(target / path.name, tensors, metadata)
    return [path.name for path in fingerprints + surrogates]


def _entries(run: Run) -> Iterator[dict[str, Any]]:
    """What the index says of each notebook."""
    for number, notebook in run.notebooks.items():
        first = nbformat.read(notebook.path, as_version=4).cells[0].source
        able = number not in run.unable  # what it may have made of other data is not of this run
        results, last = (run.results(number), run.state.get(number, {})) if able else ({}, {})
        executed, picture = run.executed(number), run.folder / "results" / f"{number}.png"
        done = last.get("status") == "done"
        yield {
            "number": number,
            "name": notebook.name,
            "title": first.splitlines()[0].lstrip("# "),
            "question": _question(first),
            "status": last.get("status", "not run"),
            "needs": run.unable.get(number),
            "seconds": last.get("seconds"),
            "steps_seconds": sum(results.get("steps_seconds", {}).values()),
            **recorded(results if done else {}),
            "peak_mib": results.get("peak_mib"),
            "executed": executed if able and executed.is_file() else None,
            "picture": picture if done and picture.is_file() else None,
        }


def _question(markdown: str) -> str:
    match = re.search(r"\*\*Question\*\*\W*(.+?)(?=\n\s*\n|\n\*\*|\Z)", markdown, re.S)
    text = " ".join(match[1].split()) if match else ""
    return text[:1].upper() + text[1:]


def _without_paths(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Executed notebook without the folders of the machine that papermill noted in it: it is for others to read."""
    facts = notebook.metadata.get("papermill", {})
    facts.update({key: Path(facts[key]).name for key in ("input_path", "output_path") if facts.get(key)})
    return notebook


def _write_page(notebook: nbformat.NotebookNode, entry: dict[str, Any], entries: list[dict[str, Any]], target: Path) -> None:
    formulas = Formulas()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = formulas.take_out(cell.source)
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            if "text/markdown" in data:
                data["text/markdown"] = formulas.take_out(data["text/markdown"])
    exporter = HTMLExporter(template_name="basic", embed_images=True, exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.register_preprocessor("nbconvert.preprocessors.CoalesceStreamsPreprocessor", enabled=True)
    body, _ = exporter.from_notebook_node(notebook)
    style = HtmlFormatter().get_style_defs(".highlight")
    page = _render("page.html.j2", entry=entry, entries=entries, body=formulas.put_back(body), highlighting=style)
    _save(target / f"{entry['name']}.html", page)


class Formulas:
    """TeX formulas on their way round the Markdown renderer, to come back as MathML, which browsers draw without a script."""

    def __init__(self):
        self.mathml: list[str] = []

    def take_out(self, markdown: str) -> str:
        """Markdown with a mark in the place of each formula."""
        return MATH.sub(self._mark, markdown)

    def put_back(self, html: str) -> str:
        """HTML with MathML in the place of each mark, but for the anchors of headings, which lose theirs."""
        html = re.sub(r'(?<=id=")[^"]*(?=")|(?<=href="#)[^"]*(?=")', lambda match: MARK.sub("", match[0]), html)
        return MARK.sub(lambda match: self.mathml[int(match[1])], html)

    def _mark(self, match: re.Match) -> str:
        if match["code"]:
            return match["code"]
        tex, display = (match["block"], "block") if match["block"] else (match["inline"], "inline")
        self.mathml.append(latex2mathml.converter.convert(" ".join(tex.split()), display=display))
        return f"@@math{len(self.mathml) - 1}@@"


def _inline(markdown: str) -> Markup:
    """A sentence of Markdown as HTML, its formulas as MathML."""
    formulas = Formulas()
    html = markdown2html(formulas.take_out(" ".join(markdown.split()))).strip()
    return Markup(formulas.put_back(html.removeprefix("<p>").removesuffix("</p>")))


def _render(template: str, **context: Any) -> str:
    loader = jinja2.FileSystemLoader(FOLDER)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"figure": figure, "inline": _inline}
    return environment.get_template(template).render(css=(FOLDER / "style.css").read_text(), **context)


def _save(path: Path, text: str) -> Path:
    with store.atomic(path) as temporary:
        temporary.write_text(text)
    return path
