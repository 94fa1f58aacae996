"""Pages of the report: their form, for all that notebooks show, and how a browser shows them on a screen and on a phone."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from browser import CHROMIUM, WIDTHS, Browser
from bs4 import BeautifulSoup
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from microprint.__main__ import main
from microprint.errors import UserError
from microprint.plots import frames, table
from microprint.report import render_pages
from microprint.report.formulas import to_mathml
from microprint.report.pages import page_of

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
# What Markdown makes of prose, and what the page makes of that.
TAGS = set("a blockquote br button caption code details div em figcaption figure h1 h2 h3 h4 hr img input li ol output p pre script span strong"
           " summary table tbody td th thead tr ul annotation math mfrac mi mn mo mover mrow mspace msqrt mroot mstyle msub msubsup msup"
           " mtable mtd mtext mtr munder munderover mpadded".split())
WIDE = " + ".join(f"x_{{{i}}}" for i in range(60))
CELLS = [
    new_markdown_cell("# 01 · Toy: a page\n\n**Question**: does it fit? See arXiv:2503.17427v2 and (doi:10.1016/0001-6160(86)90145-4).\n\n"
                      f"$$\\underbrace{{{WIDE}}}_\\text{{long}}$$\n\n> **Before you look**: how wide is\n> a table?"),
    new_markdown_cell("## What $C_{11}$ says\n\nA prose paragraph.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n### Below\n\n`arXiv:2503.17427`"),
    new_code_cell("# a comment\nimport matplotlib\nmatplotlib.use('agg')\nimport matplotlib.pyplot as plt\nfrom microprint.plots import frames, show, table"),
    new_code_cell("table([['pyramidal <a> slip', *range(100000, 100030), 2.2e-16]], ['mode | kind', *(f'column {i}' for i in range(31))], 'A $\\\\sigma$ table.')"),
    new_code_cell("def draw(i):\n    figure, ax = plt.subplots()\n    ax.plot([0, i])\n    return figure\nshow(draw(1), 'A line over $x$, <b> & \"c\".')"),
    new_code_cell("frames([draw(i) for i in range(5)], [f'</script> {i}' for i in range(5)], 'Five lines.')\nprint(plt.get_fignums())"),
    new_code_cell("print('x' * 900)"),
    new_code_cell("print('begun')\nfor i in range(6):\n    print(f'law of Mg: epoch {i}/6, loss 0.1, validation 0.2')\nprint('so: 3/4')\nprint('sets: 1/2 VEs, 1 s, 2 VEs/s')"),
    new_markdown_cell("## Solutions\n\n**1.** What is 1 + 1?"),
    new_markdown_cell("### Its answer\n\nIt is 2.", metadata={"tags": ["solution"]}),
    new_code_cell("print('two')", metadata={"tags": ["solution"]}),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """Folder of a report of two executed notebooks."""
    folder = tmp_path_factory.mktemp("report")
    notebook = new_notebook(cells=CELLS, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    NotebookClient(notebook, timeout=120).execute()
    notebook.metadata["microprint"] = {"run": "toy", "seconds": 33.2, "steps_seconds": 1260.0, "peak_mib": 512, "commit": "0123456789"}
    nbformat.write(notebook, folder / "01_toy.ipynb")
    nbformat.write(new_notebook(cells=[new_markdown_cell("# 02 · Other: none")]), folder / "02_other.ipynb")
    assert [page.name for page in render_pages(folder)] == ["01_toy.html", "02_other.html"]
    return folder


@pytest.fixture(scope="module")
def page(report) -> BeautifulSoup:
    return BeautifulSoup((report / "01_toy.html").read_text(), "html.parser")


def test_a_page_says_where_it_comes_from(page):
    facts = page.select_one(".facts")
    assert " ".join(facts.text.split()) == "run toy · last executed in 33 s · its data and models, made then or before, took 21 min · peak memory 512 MiB · commit 0123456789 · notebook source"
    assert facts.a["href"] == "01_toy.ipynb"
    assert [a["href"] for a in page.select(".pages a")] == ["index.html", "01_toy.html", "02_other.html"]


def test_contents_lead_to_the_headings(page):
    lines = page.select(".contents li")
    assert [line["class"] for line in lines] == [["level2"], ["level3"], ["level2"]]
    assert lines[0].math and [line.text.split()[-1] for line in lines] == ["says", "Below", "Solutions"]
    for line in lines:
        assert page.find(id=line.a["href"][1:]).name in ("h2", "h3")


def test_code_and_solutions_are_folded(page):
    codes = page.select("details.code")
    assert len(codes) == 6 and codes[0].summary.text == "Code # a comment" and not any(code.has_attr("open") for code in codes)
    (solution,) = page.select("details.solution")
    assert "It is 2." in solution.text and solution.select_one(".output_stdout").text.strip() == "two" and not solution.details


def test_progress_is_folded_and_what_else_is_printed_is_not(page):
    (progress,) = page.select("details.progress")
    assert progress.summary.text == "Progress, 6 lines" and progress.pre.text.count("epoch") == 6
    assert [pre.text for pre in progress.parent.select(":scope > pre")] == ["begun", "so: 3/4\nsets: 1/2 VEs, 1 s, 2 VEs/s"]


def test_units_and_commas_stay_with_what_they_belong_to():
    cells = [new_markdown_cell("# 01 · Units\n\n21 MPa of 5 % and 3 samples, `21 MPa`, $w = 1$, so.\n\n| mean / ° | 2 |\n| --- | --- |\n| 5 | 6 |")]
    page = BeautifulSoup(page_of(new_notebook(cells=cells)).body, "html.parser")
    assert "21\N{NO-BREAK SPACE}MPa of 5\N{NO-BREAK SPACE}% and 3 samples" in page.p.text and page.code.text == "21 MPa"
    assert page.select_one(".together").text.endswith("1,") and page.select_one(".together > math")
    assert page.th.text == "mean\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}°"


def test_tables_have_captions_and_heads(page):
    prose, output = page.select("table")
    assert prose.caption is None and output.caption.text == "A σ table." and output.find_parent(class_="scroll")
    assert all(head["scope"] == "col" for head in output.select("thead th"))
    assert output.select_one("thead th").text == "mode | kind"
    assert output.select_one("tbody th[scope=row]").text == "pyramidal <a> slip" and output.select("td.number")[-1].text == "2.20e-16"


def test_figures_have_captions_and_alternative_texts(page):
    still, moving = page.select("figure")
    assert still.img["alt"] == 'A line over x, <b> & "c".' and still.figcaption.text == 'A line over x, <b> & "c".'
    assert still.figcaption.math
    assert moving.img["alt"] == moving.figcaption.text == "Five lines." and moving.select_one("input[type=range]")["value"] == "2"
    assert "[]" in page.text  # they are closed


def test_references_are_links_but_in_code(page):
    links = {a["href"]: a.text for a in page.select(".notebook a[href^=https]")}
    assert links == {"https://arxiv.org/abs/2503.17427v2": "arXiv:2503.17427v2",
                     "https://doi.org/10.1016/0001-6160(86)90145-4": "doi:10.1016/0001-6160(86)90145-4"}


def test_nothing_is_loaded_and_pages_are_reproducible(report, page):
    assert not page.select("link, iframe, script[src]") and all(image["src"].startswith("data:") for image in page.select("img"))
    before = (report / "01_toy.html").read_bytes()
    (report / "01_toy.html").write_bytes(before.replace(b"<main", b"<p>by hand<main"))
    assert main(["render", str(report)]) == 0 and (report / "01_toy.html").read_bytes() == before


def test_a_page_that_would_be_the_same_is_not_made_again(report, tmp_path):
    folder = shutil.copytree(report, tmp_path / "report")
    made = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.html")}
    notebook = nbformat.read(folder / "02_other.ipynb", as_version=4)
    notebook.cells.append(new_markdown_cell("And more."))
    nbformat.write(notebook, folder / "02_other.ipynb")
    render_pages(folder, anew=False)
    assert {name for name, at in made.items() if (folder / name).stat().st_mtime_ns != at} == {"02_other.html"}
    assert "And more." in (folder / "02_other.html").read_text()


def test_what_is_no_report_is_refused(tmp_path, capsys):
    assert main(["render"]) == 2 and "needs one folder" in capsys.readouterr().err
    with pytest.raises(UserError, match="no executed notebook.*folder of a report"):
        render_pages(tmp_path)
    (tmp_path / "01.ipynb").write_text("{")
    with pytest.raises(UserError, match="01.ipynb: it is no notebook"):
        render_pages(tmp_path)


def test_frames_need_a_label_each():
    with pytest.raises(ValueError, match="0 figures have 1 labels"):
        frames([], ["a"], "none")


def test_a_table_s_entries_are_neither_columns_nor_tags():
    assert "| \\<a> | a\\|b | 1 < 2 |" in table([["<a>", "a|b", "1 < 2"]], ["x", "y", "z"]).data


@pytest.mark.parametrize("tex, text", [
    (r"\arg\max_q x", "argmaxqx"), (r"\mathbf v\mathbf{P}\boldsymbol{\tau}\mathbf 1", "𝐯𝐏𝝉𝟏"), (r"\mathcal{LH}\mathbb{ER}\mathfrak{gC}", "ℒℋ𝔼ℝ𝔤ℭ"),
    (r"\Big\|\,\big\{x\big\}", "‖{x}"), (r"\underbrace{a+b}_\text{c}\overbrace{d}^e", "a+bcde")])
def test_formulas_are_what_browsers_draw(tex, text):
    math = BeautifulSoup(to_mathml(tex), "html.parser")
    assert math.text == text and not math.select("[mathvariant]")
    assert len(math.select("munder > .brace.munder, mover > .brace.mover")) == tex.count("brace")


@pytest.mark.parametrize("tex, forms", [
    (r"1-|q_1\cdot q_2|", ["prefix", "postfix"]), (r"\exp\Big(-\frac{|c_k-c|^2}{2b^2}\Big)", ["prefix", "postfix"]), (r"p(x|z)", [None]),
    (r"D(q(z|x)\,|\,p(z|c))", [None] * 3), (r"D_\text{KL}(q \mid p)\,\|\,x", []), (r"\left|x\right|", ["prefix", "postfix"])])
def test_bars_of_a_size_lean_on_it_and_those_of_conditions_do_not(tex, forms):
    bars = [sign for sign in BeautifulSoup(to_mathml(tex), "html.parser").select("mo") if sign.text == "|"]
    assert [bar.get("form") for bar in bars] == forms


def test_equations_stand_one_a_line_at_their_signs():
    lines = BeautifulSoup(to_mathml(r"\begin{aligned}a &= b, \\ c &= d\end{aligned}", True), "html.parser").select("mtr")
    assert [line.text for line in lines] == ["a=b,", "c=d"]
    assert [[cell["columnalign"] for cell in line.select("mtd")] for line in lines] == [["right", "left"]] * 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_prose_has_no_stray_tags_and_no_raw_tex(path):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    page = BeautifulSoup(page_of(notebook).body, "html.parser")
    assert {tag.name for tag in page.find_all()} <= TAGS
    assert [a for a in page.find_all("a") if not a.get("href")] == []
    for code in page.select("code, pre"):
        code.decompose()
    assert re.findall(r"\\[a-zA-Z]+|@@math|\$\\", page.text) == [] and not page.select("[mathvariant]:not([mathvariant=normal])")


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("there is no chromium in PATH: apt-get install chromium")
    with Browser() as window:
        yield window


@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_fits_the_screen(report, browser, width):
    assert browser.open(report / "01_toy.html", width) == []
    assert browser.run("document.querySelector('.contents').open") == (width == 1200)
    wider = "[...document.querySelectorAll('{}')].filter(e => e.scrollWidth > e.clientWidth).length"
    assert browser.run(wider.format(".scroll:has(table), .formula")) == 2
    assert browser.run(wider.format("figure .scroll")) == (0 if width == 1200 else 2)
    assert browser.run("Math.min(...[...document.querySelectorAll('figure img')].map(e => e.width / Math.min(e.naturalWidth, 600)))") == 1


def test_what_is_printed_is_shown_whole(report, browser):
    browser.open(report / "01_toy.html", 390)
    assert browser.run("[...document.querySelectorAll('.output_stdout pre')].every(e => e.scrollHeight <= e.clientHeight + 1)")


def test_the_slider_turns_over_frames_by_keys(report, browser):
    browser.open(report / "01_toy.html", 1200)
    state = "[document.querySelector('.frames output').textContent.trim(), document.querySelector('.frames img').src]"
    before = browser.run(state)
    browser.run("document.querySelector('.frames input').focus()")
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight", windowsVirtualKeyCode=39)
    after = browser.run(state)
    assert [before[0], after[0]] == ["</script> 2", "</script> 3"] and before[1] != after[1]
    assert browser.run("document.querySelector('.frames input').getAttribute('aria-valuetext')") == after[0]


def test_one_button_opens_all_code(report, browser):
    browser.open(report / "01_toy.html", 1200)
    count = "document.querySelectorAll('details.code[open]').length"
    for expected, text in ((6, "Hide all code"), (0, "Show all code")):
        browser.run("document.querySelector('#all-code').click()")
        assert browser.run(count) == expected and browser.run("document.querySelector('#all-code').textContent") == text


def test_dark_screens_and_paper(report, browser):
    browser.open(report / "01_toy.html", 1200)
    colour = "getComputedStyle(document.querySelector('{}')).backgroundColor"
    try:
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        assert browser.run(colour.format("body")) == "rgb(15, 19, 24)" and browser.run(colour.format("figure img")) == "rgb(255, 255, 255)"
        browser.call("Emulation.setEmulatedMedia", media="print", features=[])
        browser.run("dispatchEvent(new Event('beforeprint'))")
        assert browser.run("getComputedStyle(document.querySelector('.pages')).display") == "none"
        assert browser.run("[...document.querySelectorAll('details')].every(e => e.open != e.matches('.progress'))")
    finally:
        browser.call("Emulation.setEmulatedMedia", media="", features=[])


@pytest.mark.parametrize("body, fault", [
    ("<div style='width: 500px'>x</div>", "500 px wide: <div"), ("<script>console.error(1)</script>", "console: "),
    ("<script>throw 1</script>", "exception: "), ("<img src='http://127.0.0.1:9/x.png' alt='x'>", "request: http://127.0.0.1:9/x.png"),
    ("<p>pyramidal <a> slip</a></p>", "no tag of HTML: <a>"), ("<p>by <q-c>x</q-c></p><p>\\arg</p>", "raw TeX: \\arg"),
    ("<img src='data:,' alt=''>", "picture without alternative text")])
def test_the_browser_finds_faults(tmp_path, browser, body, fault):
    (tmp_path / "x.html").write_text(f"<!DOCTYPE html><body style='margin: 0'>{body}")
    assert any(found.startswith(fault) for found in browser.open(tmp_path / "x.html", 390))
