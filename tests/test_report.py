"""The report can be read from disk, offline, at any state of a run."""

import re
import shutil

import nbformat
import pytest
import torch
from toys import write_toys

from microprint import store
from microprint.params import validate
from microprint.report import write_report
from microprint.report.formulas import Formulas
from microprint.study.graph import numbers
from microprint.study.run import Due, Run

NEEDS = numbers()


@pytest.fixture
def run(tmp_path):
    params = validate({"run": {"name": "t", "root": str(tmp_path / "runs")}})
    return Run(params, write_toys(tmp_path / "n"))


def test_report_of_a_partial_run(run):
    run.execute_all({"01": Due("asked for")}, print)
    page = write_report(run)
    index = page.read_text()
    assert index.count("<article>") == len(NEEDS) and index.count('class="status not-run"') == len(NEEDS) - 1
    assert "Does <math" in index
    notebook = (page.parent / "01_toy.html").read_text()
    assert "<math" in notebook and "Provenance" in notebook
    for text in (index, notebook):
        assert not re.search(r'src="(https?:)?//', text)
        for link in re.findall(r'href="([^"#]+)"', text):
            assert link.startswith(("https://arxiv.org/", "https://doi.org/")) or (page.parent / link).is_file() or link == "metrics.json"
    published = nbformat.read(page.parent / "01_toy.ipynb", as_version=4).metadata
    assert published.papermill.input_path == "01_toy.ipynb" and published.microprint.run == "t" and published.microprint.peak_mib > 0
    assert re.search(r"run <b>t</b> · <span title=.+>last executed in \d+\s+s</span> · peak memory \d+ MiB · commit \w+", notebook)
    assert store.load_json(page.parent / "params.json")["run"]["name"] == "t"


def test_a_page_does_not_outlive_its_notebook(run):
    run.executed("01").parent.mkdir(parents=True)
    shutil.copy2(run.notebooks["01"].path, run.executed("01"))
    folder = write_report(run).parent
    assert (folder / "01_toy.html").is_file()
    run.executed("01").unlink()
    assert "01_toy.html" not in write_report(run).read_text() and not list(folder.glob("01_toy.*"))


def test_prose_needs_no_execution(run):
    run.execute_all({"01": Due("asked for")}, print)
    source = nbformat.read(run.notebooks["01"].path, as_version=4)
    source.cells[0].source += "\n\nA word more."
    source.cells.append(nbformat.v4.new_markdown_cell("**Limits.** None."))
    nbformat.write(source, run.notebooks["01"].path)
    folder = write_report(run).parent
    published, executed = (nbformat.read(path, as_version=4).cells for path in (folder / "01_toy.ipynb", run.executed("01")))
    assert published[0].source.endswith("A word more.") and published[-1].source == "**Limits.** None."
    assert [cell for cell in published if cell.cell_type == "code"] == [cell for cell in executed if cell.cell_type == "code"]
    source.cells[-2].source += "\nprint(1)"  # the page is of other code than this prose
    nbformat.write(source, run.notebooks["01"].path)
    write_report(run)
    assert nbformat.read(folder / "01_toy.ipynb", as_version=4).cells == executed


def test_the_report_carries_the_trained_fingerprints(run):
    for variant in ("ours", "coded"):
        path = run.folder / "artifacts" / f"fingerprint_{variant}.safetensors"
        store.save_tensors(path, {"w": torch.tensor([0.1, 2.0]), "n": torch.tensor([3])}, {"config": {"edge": 16}})
    store.save_tensors(run.folder / "artifacts" / "texture_fingerprint.safetensors", {"w": torch.tensor([0.1])}, {})
    page = write_report(run)
    assert "models/fingerprint_ours.safetensors" in page.read_text() and "fingerprint_coded" not in page.read_text()
    assert torch.equal(store.load_tensors(page.parent / "models" / "texture_fingerprint.safetensors")[0]["w"], torch.tensor([0.1]))
    tensors, metadata = store.load_tensors(page.parent / "models" / "fingerprint_ours.safetensors")
    assert tensors["w"].dtype == torch.float16 and torch.allclose(tensors["w"].float(), torch.tensor([0.1, 2.0]), rtol=1e-3)
    assert int(tensors["n"]) == 3 and metadata["config"] == {"edge": 16}


@pytest.mark.parametrize("text, count", [
    ("energy $E = mc^2$ and $$\\sum_i x_i$$", 2), ("costs 5$ or 6$ a piece", 0), ("`$HOME/$USER`", 0),
    ("```\n$a$\n```", 0), ("where $a\n= b$ holds", 1), ("5$\n\nor $6", 0), ("$\\mathbf{P} = \\mathbf{F}_\\mathrm{e} \\mathbf{S}$", 1)])
def test_mathematics_becomes_mathml(text, count):
    formulas = Formulas()
    marked = formulas.take_out(text)
    assert len(formulas.mathml) == marked.count("@@math") == count
    assert formulas.put_back(marked).count("<math") == count and (count or marked == text)

