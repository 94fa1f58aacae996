"""The index of the report: where the study stands, the claim and its curves, what did not reproduce, the papers' tables and figures."""

import re
from html import unescape
from pathlib import Path

import pytest
from browser import CHROMIUM, WIDTHS, Browser
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from toys import write_toys

from microprint import store
from microprint.notebook import Curve, Notebook, Standing
from microprint.params import validate
from microprint.plots import PALETTE
from microprint.plots.side_by_side import side_by_side
from microprint.report import write_report
from microprint.report.claim import caption, compare, figure, judgement, sentence
from microprint.report.counterparts import headings, linked_papers, papers
from microprint.report.index import commits, recorded, strongest, summarise
from microprint.rivals import RIVALS
from microprint.study.graph import REPOSITORY, load_notebooks
from microprint.study.run import Run

RESULTS = {"metrics": {}, "standings": [], "missed": [], "curve": None, "artifacts": {}, "steps_seconds": {}, "peak_mib": 1}


@pytest.fixture
def run(tmp_path):
    return Run(validate({"run": {"name": "t", "root": str(tmp_path / "runs")}}), write_toys(tmp_path / "n"))


def finish(run, number, **results):
    """A notebook as done, with what it recorded."""
    store.save_json(run.folder / "results" / f"{number}.json", RESULTS | results)
    run._mark(number, status="done", key=run.key(number), seconds=1.0)


def close(run, number, **results):
    """A notebook as done, closed by the notebook's own code."""
    Notebook(run.params, {}).close(number, metrics={}, **results)
    run._mark(number, status="done", key=run.key(number), seconds=1.0)


def text(html):
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def curve(cost="labels", error="mean error (MPa)", **lines):
    return {"cost": cost, "error": error, "lines": {name.replace("_", " "): line for name, line in lines.items()}}


# Standings


ROWS = {"lost": {"measure": "a", "unit": "%", "ours": 3.0, "rival": ["nearest", 0.1], "rebuilt": 2.0, "published": 1.0, "higher_is_better": False, "spread": 0.0, "verdict": "worse"},
        "won": {"measure": "b", "unit": "", "ours": 0.9, "rival": ["line", 0.5], "rebuilt": 0.6, "published": 0.55, "higher_is_better": True, "verdict": "better"},
        "level": {"measure": "c", "unit": "", "ours": 0.9, "rival": ["line", 0.9], "rebuilt": None, "published": 0.8, "higher_is_better": True, "spread": 0.1, "verdict": "equal"},
        "alone": {"measure": "d", "unit": "", "ours": 40.0, "rival": None, "rebuilt": None, "published": 41.0, "higher_is_better": False, "verdict": ""}}


def test_defeats_come_first_and_are_counted():
    entry = {"number": "03", **recorded({"standings": [ROWS["alone"], ROWS["won"], ROWS["level"], ROWS["lost"]]})}
    assert [row["measure"] for row in entry["standings"]] == ["a", "c", "b", "d"]
    summary = summarise([entry, {"number": "04", "standings": []}])
    assert (summary.judged, summary.ahead, summary.level, summary.scattered) == (3, 1, 1, 1)
    ((where, row),) = summary.behind
    assert where is entry and row["measure"] == "a" and row["best"] == ("nearest", 0.1)
    assert summary.crowded == () and summarise([{"number": "06", "standings": 10 * entry["standings"]}]).crowded == (("06", 30),)
    assert (summary.published, summary.reached) == (2, 1)  # 2.0 misses 1.0 where less is better, 0.6 reaches 0.55 where more is


def test_a_published_number_that_two_rows_share_counts_once():
    rows = [ROWS["lost"], ROWS["lost"] | {"measure": "the same, another rival"}]
    assert summarise([{"number": "07", "standings": rows}]).published == 1


def test_the_strongest_may_be_the_published_system():
    assert strongest(ROWS["won"]) == ("the published system, rebuilt", 0.6)
    assert strongest(ROWS["lost"] | {"rival": ["nearest", None]}) == ("the published system, rebuilt", 2.0)


def test_the_index_says_in_words_where_the_study_is_behind(run):
    finish(run, "03", standings=[ROWS["won"], ROWS["lost"]])
    index = write_report(run).read_text()
    assert "In 1 of 2 measures ours is ahead" in text(index) and "03 a / %: ours 3, nearest 0.1" in text(index)
    table = re.search(r'<table class="standings">.*?</table>', index, re.S)[0]
    assert table.index(">worse<") < table.index(">better<")
    assert table.count('<th scope="col">') == 6 and table.count('<th scope="row">') == 2
    assert "behind in 1" in text(index) and "nearest" in table
    assert "It was measured in 0 of 2 measures; in the others the word is the mere order." in text(index)
    assert "the system as rebuilt here reaches 1." in text(index)


def test_a_standing_may_have_no_number(run):
    finish(run, "01", standings=[{"measure": "x", "unit": "", "ours": None, "rival": ["r", 2.0], "rebuilt": None, "published": 8.02, "verdict": "worse"}])
    index = write_report(run).read_text()
    assert '<td class="ours" data-is="ours">–</td>' in index and "x : ours –, r 2" in text(index).replace("x:", "x :")


def test_what_the_index_explains_are_rivals_of_the_notebooks():
    sources = [path.read_text() for path in REPOSITORY.glob("notebooks/0[367]*.py")]
    assert [name for name in RIVALS if not any(f'"{name}"' in source for source in sources)] == []


def test_what_notebooks_close_with_is_what_the_index_shows(run):
    close(run, "06", standings=[Standing("error", 0.5, "MPa", ("line", 0.4), 3.0, float("nan"))], missed=["S1 has $R^2 < 1$, **not** 2."],
          curve=Curve("labels", "error (MPa)", {"ours": ([0, 100], [1.0, 0.5]), "line": ([100], [float("nan")]), "paper": ([100], [3.0]),
                                                    "graph network": ([100], [4.0])}),
          figure=Figure(figsize=(1, 1)), caption="paper: S1's network.")
    index = write_report(run).read_text()
    assert '<img src="06.png"' in index and "paper: S1's network." in text(index)
    assert f"Rivals: graph network , {RIVALS['graph network'].gloss}." in text(index)
    assert "06 error / MPa: ours 0.5, line 0.4" in text(index)
    missed = index[index.index('id="missed"'):index.index('id="notebooks"')]
    assert "<math" in missed and "<strong>not</strong>" in missed and "06 · Toy" in missed
    assert "ours is there with no labels (1\N{NO-BREAK SPACE}MPa)" in unescape(index)


def test_a_run_of_an_older_version_has_an_index_all_the_same(run):
    for number in ("03", "06"):
        store.save_json(run.folder / "results" / f"{number}.json", {"metrics": {}, "headline": {"label": "error", "value": 1.0, "unit": ""}, "peak_mib": 5})
        run._mark(number, status="done", key=run.key(number), seconds=1.0)
    index = text(write_report(run).read_text())
    assert index.count("An older version of the study executed it") == 2 and "No measure with a rival" in index
    assert "no learning curve" in index and not (run.folder / "report" / "learning_curves.png").exists()


# The claim


def test_the_claim_is_borne_out_by_a_hundredth_of_the_labels_or_none():
    none = compare("06", curve(ours=[[0, 60], [0.2, 0.1]], line=[[4, 60, 480], [3, 2, 0.7]], paper=[[480], [3.0]]))
    assert (none.rival, none.best, none.needed, none.verdict) == ("line", (480, 0.7), 0, "yes")
    assert sentence(none).startswith("by the mean error, line, the strongest rival, comes to")
    assert none.paper == (480, 3.0) and "0.7\N{NO-BREAK SPACE}MPa at best, with 480 labels" in sentence(none)
    assert "no rival reaches that in the range measured, up to 480 labels" in caption(none)
    hundredth = compare("07", curve(ours=[[30, 60], [0.3, 0.1]], process=[[30, 3000], [9, 0.3]]))
    assert hundredth.verdict == "yes" and "with 30 labels, the fewest tried (0.3\N{NO-BREAK SPACE}MPa), 100 times fewer" in sentence(hundredth)
    assert "the first rival to reach that is process, with 3,000 labels" in caption(hundredth)
    assert judgement([none, hundredth]) == "This run bears it out in 06 and 07."


@pytest.mark.parametrize("lines, verdict, words", [
    ({"ours": [[30, 60], [0.3, 0.1]], "process": [[30, 300], [9, 0.4]]}, "open", "the fewest tried (0.3\N{NO-BREAK SPACE}MPa), 10 times fewer"),
    ({"ours": [[30, 60], [0.5, 0.1]], "process": [[30, 300], [9, 0.4]]}, "no", "5 times fewer"),
    ({"ours": [[30, 60], [0.5, 0.4]], "process": [[30, 60], [0.6, 0.3]]}, "no", "ours does not reach that: 0.4\N{NO-BREAK SPACE}MPa with 60 labels. Ahead of ours: process at 60 labels"),
    ({"ours": [[30, 60], [0.5, 0.1]], "process": [[30, 60], [0.3, 0.2]]}, "no", "as many. Ahead of ours: process at 30 labels")])
def test_the_claim_is_denied_where_the_curves_deny_it(lines, verdict, words):
    comparison = compare("07", curve(**lines))
    assert comparison.verdict == verdict and words in sentence(comparison)
    assert judgement([comparison]) == {"open": "This run leaves it open in 07, where fewer labels were not tried.", "no": "This run does not bear it out in 07."}[verdict]


def test_the_published_system_can_be_the_strongest_rival():
    comparison = compare("07", curve(ours=[[30], [0.5]], paper=[[30], [0.4]], line=[[30], [0.6]]))
    assert "the published system, rebuilt, the strongest rival" in sentence(comparison) and comparison.paper is None


def test_the_claim_is_not_held_against_rivals_with_the_same_physics():
    lines = {"ours": [[30, 60], [0.3, 0.1]], "series": [[30, 3000], [0.2, 0.2]], "process": [[30, 3000], [9, 0.3]]}
    assert compare("07", curve(**lines)).verdict == "no"
    comparison = compare("07", curve(**lines) | {"physical": ["series", "not drawn"]})
    assert comparison.verdict == "yes" and comparison.rival == "process" and comparison.kin == ("series", (30, 0.2)) and comparison.cheap is None
    assert "With the same physics series comes to 0.2\N{NO-BREAK SPACE}MPa, with 30 labels. Ahead of ours: series at 30 labels." in sentence(comparison)
    assert "the first rival without the physics to reach that is process" in caption(comparison)
    assert compare("07", curve(ours=[[1], [1]], series=[[1], [2]]) | {"physical": ["series"]}) is None


def test_the_best_with_the_same_physics_and_the_fewest_labels_is_told_too():
    lines = {"ours": [[30, 60], [0.3, 0.1]], "process": [[30, 3000], [9, 0.5]], "line": [[30, 3000], [0.4, 0.2]], "series": [[0], [0.35]]}
    comparison = compare("07", curve(**lines) | {"physical": ["line", "series"], "note": "Medians over draws."})
    assert "With the same physics line comes to 0.2\N{NO-BREAK SPACE}MPa, with 3,000 labels; series to 0.35\N{NO-BREAK SPACE}MPa, with no labels." in sentence(comparison)
    assert caption(comparison).startswith("07: ours has 0.3") and caption(comparison).endswith(" Medians over draws.")
    assert sentence(comparison).endswith(". Medians over draws.")
    lines["line"] = [[0, 30, 3000], [0.5, 0.4, 0.2]]
    assert "series comes" not in (said := sentence(compare("07", curve(**lines) | {"physical": ["line"]})))
    assert "line comes to 0.2\N{NO-BREAK SPACE}MPa, with 3,000 labels, and to 0.5\N{NO-BREAK SPACE}MPa, with no labels." in said


def test_without_labels_a_corrected_simulation_is_an_uncorrected_one():
    lines = {"ours": [[30, 60], [0.3, 0.1]], "process": [[30, 3000], [9, 0.5]], "coarse, corrected": [[0, 60], [0.5, 0.4]]}
    said = sentence(compare("06", curve(**lines) | {"physical": ["coarse, corrected"]}))
    assert "with 60 labels, and to 0.5\N{NO-BREAK SPACE}MPa, uncorrected, with no labels." in said


def test_costs_need_not_be_the_same_to_see_who_is_ahead():
    comparison = compare("03", curve("numbers kept", ours=[[100, 400], [8.0, 2.0]], list=[[50, 200, 201, 500], [1.0, 3.9, 4.1, 0.1]]))
    assert comparison.ahead == {"list": [200]}  # ours has 4 there, on a power law between its points, and was not measured at 50 and 500


def test_numbers_kept_are_no_labels():
    comparison = compare("03", curve("numbers kept", "mean disorientation (°)", ours=[[256], [1.1]], fitted_list=[[256, 512], [3.7, 3.3]]))
    assert not comparison.of_labels and judgement([comparison]) == "This run has no learning curve over labels to hold it against."
    assert caption(comparison) == ""
    assert "3.3° at best, with 512 numbers kept; ours is there with 256 numbers kept (1.1°), 2 times fewer" in sentence(comparison)


def test_what_saves_no_numbers_says_so_first():
    lines = {"ours": [[100, 317, 500], [20.0, 0.05, 0.02]], "weighted": [[315, 400], [0.08, 0.09]], "fitted": [[126], [1.0]]}
    said = sentence(compare("03", curve("numbers kept", **lines)))
    assert said.startswith("no saving in numbers here (317 against 315), but ours is more exact from there on; by the mean error, weighted")
    lines["weighted"][1][1], lines["ours"][1][1:] = 0.08, [0.08, 0.09]  # now the rival is ahead again at 400
    assert sentence(compare("03", curve("numbers kept", **lines))).startswith("no saving in numbers here (317 against 315); by the mean error, weighted")


@pytest.mark.parametrize("lines", [{"ours": [[1], [0.2]]}, {"line": [[1], [0.2]]}, {"ours": [[1], [None]], "line": [[1], [1.0]]}])
def test_a_curve_without_ours_or_without_rival_is_no_comparison(lines):
    assert compare("06", curve(**lines)) is None and compare("06", None) is None


@pytest.mark.parametrize("value, written", [(None, "–"), (0.00345, "0.00345"), (480.0, "480"), (3600.0, "3,600"), (2.6e-14, "2.6e-14"), (0, "0")])
def test_numbers_are_written_for_people(value, written):
    assert figure(value) == written


def test_the_figure_has_a_panel_a_notebook_and_names_every_line():
    panels = {"06 · a": {"cost": "labels", "error": "error (MPa)", "lines": {"ours": [(0, 0.2), (60, 0.1)], "line": [(4, 3.0), (60, 0.9)], "graph": [(60, 0.9)], "alone": [(0, 0.5)]}, "physical": ["graph", "alone"]},
              "07 · b": {"cost": "labels", "error": "error (%)", "lines": {"line": [(30, 9.0), (3000, 2.0)], "ours": [(30, 0.2), (3000, 0.1)]}}}
    for columns in (2, 1):
        axes = side_by_side(panels, columns).axes
        assert [ax.get_title(loc="left") for ax in axes] == list(panels) and {ax.get_xscale() for ax in axes} == {"log"} == {ax.get_yscale() for ax in axes}
        colours = [{note.get_text(): note.get_color() for note in ax.texts} for ax in axes]
        assert colours[0].keys() == {"ours", "line", "graph", "alone"} and colours[0]["line"] == colours[1]["line"] != colours[0]["graph"]
        assert to_hex(colours[1]["ours"]) == PALETTE["ours"].lower()
        assert axes[0].get_xticklabels()[0].get_text() == "0" and axes[0].lines[0].get_xdata()[0] > 0
        assert [line.get_linestyle() for line in axes[0].lines] == ["-", "-", "--", "--"] and axes[0].lines[2].get_markerfacecolor() == "white"
        beside = {note.get_text(): note for note in axes[0].texts}
        assert beside.pop("alone").anncoords == "offset points"
        heights = sorted(note.xyann[1] for note in beside.values())
        assert min(b - a for a, b in zip(heights, heights[1:])) > 0.05  # two lines end at one point, their names do not


def test_the_index_shows_the_curves_at_both_widths_with_a_text(run):
    finish(run, "06", curve=curve(ours=[[0, 60], [0.2, 0.1]], line=[[4, 60], [3, 0.7]]))
    page = write_report(run)
    index = page.read_text()
    alternative = re.search(r'<img src="learning_curves.png" alt="([^"]+)"', index)[1]
    assert "no rival reaches that" in alternative and unescape(alternative) in unescape(index.replace(f'alt="{alternative}"', ""))
    assert (page.parent / "learning_curves.png").is_file() and (page.parent / "learning_curves_narrow.png").is_file()
    assert "bears it out in 06" in index and "Zero stands at the left end." in index and "Open circles" not in index


def test_the_index_tells_the_commits_of_its_pages(run):
    executed = [{"number": n, "commit": c, "executed": e} for n, c, e in (("01", "a", "x"), ("02", "a", "x"), ("03", None, "x"), ("04", "b", None), ("05", "b", "x"))]
    assert commits(executed) == {"a": ["01", "02"], "b": ["05"]}
    assert "this page written by commit" in text(write_report(run).read_text())


# The papers' tables and figures


def test_every_table_and_figure_of_the_papers_is_accounted_for():
    expected = {"S1": (6, 9), "S2": (10, 11), "S3": (3, 7)}  # as their texts number them
    for paper in papers():
        tables, figures = expected.pop(paper["key"])
        assert [item["item"] for item in paper["items"]] == [f"Table {n + 1}" for n in range(tables)] + [f"Figure {n + 1}" for n in range(figures)]
        for item in paper["items"]:
            assert item["state"] in ("here", "part", "none") and item["shows"] and item["here"] and item["at"]
    assert not expected


@pytest.mark.parametrize("paper", papers(), ids=lambda paper: paper["key"])
def test_the_sections_that_counterparts_name_are_in_the_notebooks(paper):
    scripts = {number: notebook.path.with_suffix(".py") for number, notebook in load_notebooks().items()}
    sections = {number: re.findall(r"^# #{2,4} (.+)$", script.read_text(), re.M) for number, script in scripts.items()}
    for item in paper["items"]:
        for number, section in item["at"].items():
            assert section in sections[number], f"{paper['key']} {item['item']}: notebook {number} has no section {section!r}; mend counterparts.yaml"


def test_a_counterpart_leads_to_its_section_or_to_the_page_or_nowhere(tmp_path):
    (tmp_path / "04_x.html").write_text('<h2 id="Paths">Paths<a class="anchor-link" href="#Paths">¶</a></h2>')
    (tmp_path / "03_x.html").write_text('<h2 id="Other">Other</h2>')
    entries = [{"number": n, "name": f"{n}_x", "executed": n in ("03", "04")} for n in ("03", "04", "05")]
    items = {item["item"]: item["links"] for item in linked_papers(entries, tmp_path)[0]["items"]}
    assert items["Figure 7"] == [("04_x.html#Paths", "04 · Paths")] and items["Table 5"] == [("03_x.html", "notebook 03")]
    assert items["Table 1"] == [(None, "notebook 01")]


def test_headings_are_found_whatever_stands_in_them():
    page = '<h2 class="a" id="what-s-new?">What <em>is</em> &amp; was<a href="#x">¶</a></h2><h3 id="b">B</h3><h4>no anchor</h4>'
    assert headings(page) == {"What is & was": "what-s-new?", "B": "b"}


# The frame


def test_the_index_leads_to_all_its_parts_and_to_the_citation(run):
    page = write_report(run)
    index = page.read_text()
    anchors = set(re.findall(r'id="([^"]+)"', index))
    assert set(re.findall(r'href="#([^"]+)"', index)) <= anchors and {"claim", "stands", "missed", "notebooks", "papers", "cite"} <= anchors
    assert (page.parent / "CITATION.cff").read_text() == (REPOSITORY / "CITATION.cff").read_text() and 'href="CITATION.cff"' in index
    assert all("alt=" in picture for picture in re.findall(r"<img[^>]*>", index))
    assert all("scope=" in head for head in re.findall(r"<th[ >][^>]*", index))
    assert isinstance(page, Path) and index.count("<article>") == len(run.notebooks)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_the_index_fits_a_screen_and_a_phone(run):
    """Long names, wide numbers and formulas included; no request, no complaint, no picture without a text."""
    rows = [ROWS["won"], ROWS["lost"], ROWS["level"] | {"measure": "normal stresses, paths: walk_with_a_very_long_name_of_its_kind", "rival": ["ridge on linear cells, averages beside them", 1.2345e-12]}]
    finish(run, "06", standings=rows, missed=["S1 has $\\mathbf{P} = \\mathbf{F}_\\mathrm{e} \\mathbf{S}$ " * 5],
           curve=curve(ours=[[0, 60], [0.2, 0.1]], line_in_two_coefficients=[[4, 60], [3, 0.7]]))
    page = write_report(run)
    with Browser() as browser:
        for width in WIDTHS:
            assert browser.open(page, width) == []
            shown = browser.run("document.querySelector('picture img').currentSrc")
            assert shown.endswith("learning_curves.png" if width > 800 else "learning_curves_narrow.png")
