"""The report of a run: an index page and every executed notebook as HTML, readable from disk and offline."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from markupsafe import Markup
from nbconvert.filters import markdown2html
from pygments.formatters import HtmlFormatter

from microprint import store
from microprint.errors import UserError, one_line
from microprint.keys import digest, source_digest
from microprint.report.claim import figure
from microprint.report.formulas import Formulas
from microprint.report.index import index_facts, recorded
from microprint.report.pages import bound, page_of
from microprint.study.graph import REPOSITORY, parameters_cell
from microprint.study.run import Run

FOLDER = Path(__file__).parent
INJECTED = "injected-parameters"  # tag of the cell that papermill adds
LIBRARIES = ("nbconvert", "beautifulsoup4", "latex2mathml", "pygments", "jinja2")  # that make pages


def write_report(run: Run) -> Path:
    """Write `report/` of a run: index, pages, executed notebooks, pictures, metrics; return the index page."""
    target = run.folder / "report"
    target.mkdir(parents=True, exist_ok=True)
    entries = list(_entries(run))
    for entry in entries:
        if entry["executed"]:
            executed, source = (nbformat.read(path, as_version=4) for path in (entry["executed"], entry["source"]))
            notebook = _to_publish(_with_prose(executed, source), entry)
            _save(target / entry["executed"].name, nbformat.writes(notebook) + "\n")
        else:  # a page may be left of what the run was before
            for kind in ("ipynb", "html"):
                (target / f"{entry['name']}.{kind}").unlink(missing_ok=True)
        if entry["picture"]:
            shutil.copy2(entry["picture"], target / f"{entry['number']}.png")
    if any(entry["executed"] for entry in entries):
        render_pages(target, anew=False)
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
            "source": notebook.path,
            "run": run.params.run.name,
            "title": first.splitlines()[0].lstrip("# "),
            "question": _question(first),
            "status": last.get("status", "not run"),
            "needs": run.unable.get(number),
            "seconds": last.get("seconds"),
            "steps_seconds": sum(results.get("steps_seconds", {}).values()),
            **recorded(results if done else {}),
            "peak_mib": results.get("peak_mib"),
            "commit": results.get("commit"),
            "executed": executed if able and executed.is_file() else None,
            "picture": picture if done and picture.is_file() else None,
        }


def _question(markdown: str) -> str:
    match = re.search(r"\*\*Question\*\*\W*(.+?)(?=\n\s*\n|\n\*\*|\Z)", markdown, re.S)
    text = " ".join(match[1].split()) if match else ""
    return text[:1].upper() + text[1:]


def _with_prose(executed: nbformat.NotebookNode, source: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Executed notebook with the prose of its source, which needs no execution, where its code is still that of the source."""
    own, given = [], []
    for cell in (cell for cell in executed.cells if cell.cell_type == "code"):
        (given if INJECTED in cell.metadata.get("tags", []) else own).append(cell)
    if [cell.source for cell in own] == [cell.source for cell in source.cells if cell.cell_type == "code"]:
        following = iter(own)
        executed.cells = [next(following) if cell.cell_type == "code" else cell for cell in source.cells]
        behind = parameters_cell(executed) + 1
        executed.cells[behind:behind] = given
    return executed


def _to_publish(notebook: nbformat.NotebookNode, entry: dict[str, Any]) -> nbformat.NotebookNode:
    """Executed notebook with the facts of its run, without the folders of the machine that papermill noted in it."""
    noted = notebook.metadata.get("papermill", {})
    noted.update({key: Path(noted[key]).name for key in ("input_path", "output_path") if noted.get(key)})
    notebook.metadata["microprint"] = {key: entry[key] for key in ("run", "seconds", "steps_seconds", "peak_mib", "commit")}
    return notebook


def render_pages(folder: Path, anew: bool = True) -> list[Path]:
    """Write the page of each executed notebook of a report's folder beside it; return the pages.

    All that a page says is in its notebook, so a published report can be rendered anew. If that is not asked for, a page that
    would be made of what it says that it was made of stays, for each takes seconds. Raises `UserError` if there is no notebook.
    """
    notebooks = {path: _read(path) for path in sorted(folder.glob("*.ipynb"))}
    if not notebooks:
        raise UserError("there is no executed notebook", folder, "Give the folder of a report")
    titles = {path.stem: _title(notebook) for path, notebook in notebooks.items()}
    makers = [source_digest([__name__]), *map(version, LIBRARIES)]
    for path, notebook in notebooks.items():
        made_of, target = digest(nbformat.writes(notebook), titles, makers), path.with_suffix(".html")
        if not anew and target.is_file() and f'content="{made_of}"'.encode() in target.read_bytes():
            continue
        page, facts = page_of(notebook), notebook.metadata.get("microprint", {})
        context = {"made_of": made_of, "page": page, "facts": facts, "highlighting": _highlighting()}
        _save(target, _render("page.html.j2", name=path.stem, titles=titles, **context))
    return [path.with_suffix(".html") for path in notebooks]


def _read(path: Path) -> nbformat.NotebookNode:
    try:
        return nbformat.read(path, as_version=4)
    except (nbformat.ValidationError, nbformat.reader.NotJSONError, UnicodeDecodeError) as error:
        raise UserError(f"it is no notebook: {one_line(error, 200)}", path, "Execute it again, or remove it") from None


def _title(notebook: nbformat.NotebookNode) -> str:
    return notebook.cells[0].source.splitlines()[0].lstrip("# ")


def _highlighting() -> str:
    """Style sheet of code, for light screens and for dark ones."""
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("default", "github-dark"))
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}"


def _inline(markdown: str) -> Markup:
    """A sentence of Markdown as HTML, its formulas as MathML."""
    formulas = Formulas()
    html = markdown2html(formulas.take_out(bound(" ".join(markdown.split())))).strip()
    return Markup(formulas.put_back(html.removeprefix("<p>").removesuffix("</p>")))


def _seconds(value: float) -> str:
    return f"{value:.0f}\N{NO-BREAK SPACE}s" if value < 120 else f"{value / 60:.0f}\N{NO-BREAK SPACE}min"


def _render(template: str, **context: Any) -> str:
    loader = jinja2.FileSystemLoader(FOLDER)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"figure": figure, "inline": _inline, "seconds": _seconds}
    return environment.get_template(template).render(css=(FOLDER / "style.css").read_text(), **context)


def _save(path: Path, text: str) -> Path:
    with store.atomic(path) as temporary:
        temporary.write_text(text)
    return path
