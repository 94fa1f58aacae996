"""The check of sentences finds numbers that stand nowhere else."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from sentences import rounds_to, unfounded

PROGRAM = "LIMIT = 2.5\nfindings(f'S2 has 3.5 %, ours {error:.2f} %.')"


def page(*texts: str):
    outputs = [new_output("display_data", {"text/markdown": text}) for text in texts]
    return new_notebook(cells=[new_code_cell(PROGRAM, outputs=outputs)])


@pytest.mark.parametrize("finding, strange", [
    ("S2 has 3.5 %, ours 1.66 %.", []),  # typed, and in the table
    ("In 3 of 40 sets 12.3 % are kept, by 1,230 numbers at 2.5°.", []),  # a count, a parameter, metrics, a constant
    ("It is 256 MPa, at best 42.0.", []),  # metrics in Pa, and in a name
    ("S2 has 3.5 %, ours 1.67 %.", ["1.67"]),
    ("From 41 labels −12.4 %.", ["41", "−12.4"]),
])
def test_numbers_are_found_again_or_reported(tmp_path, finding, strange):
    for folder in ("notebooks", "results"):
        (tmp_path / folder).mkdir()
    (tmp_path / "params.json").write_text(json.dumps({"settings": {"sets": 40}}))
    record = {"metrics": {"01.kept": 0.1234, "01.numbers": 1232, "01.at_42.stress": 2.56e8}}
    (tmp_path / "results" / "01.json").write_text(json.dumps(record))
    table = "Errors.\n\n| model | error (%) |\n| --- | ---: |\n| ours | 1.661 |"
    nbformat.write(page(table, f"**Findings**\n\n- {finding}"), tmp_path / "notebooks" / "01_toy.ipynb")
    faults = unfounded(tmp_path)
    assert [fault.split(": ")[1].split(" in “")[0] for fault in faults] == strange


def test_numbers_are_rounded_as_they_are_printed():
    assert rounds_to(0.16649, "16.6", 16.6) and not rounds_to(0.1664, "16.7", 16.7)
    assert rounds_to(1234567, "1,230,000", 1230000.0) and rounds_to(2.96e-5, "3e-05", 3e-5) and not rounds_to(2.3e-5, "3e-05", 3e-5)
