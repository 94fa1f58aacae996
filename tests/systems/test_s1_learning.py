"""The benchmark of S1's network: its trainings are those of the tables kept, and one of them runs."""

import importlib.util
import sys
import time
from pathlib import Path

import pytest
import torch

from microprint.analysis.measured import measured


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).parents[2] / "benchmarks" / "s1_learning.py"
    spec = importlib.util.spec_from_file_location("s1_learning", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "s1_learning", module)  # dataclasses look their module up
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("table", ["start", "matrix", "learning_curve"])
def test_the_tables_are_of_these_trainings(benchmark, table):
    stated = [run.columns for run in benchmark.RUNS if run.table == table]
    kept = [{column: row[column] for column in stated[0]} for row in measured(f"s1_{table}")]
    assert len(kept) == len(stated) and all(row in stated for row in kept)


def test_a_training_makes_a_row(benchmark, tmp_path):
    sets = [benchmark.generate(count, 16, "cubic", torch.Generator().manual_seed(1)) for count in (8, 2)]
    torch.save(sets, tmp_path / "sets.pt")
    run = benchmark.Run("start", ves=8, width=2, hidden=8, batch=4, start="torch")
    (row,) = benchmark.train(run, tmp_path, time.time() + 60)
    benchmark.write([row], tmp_path)
    assert row["ves"] == 8 and 20 < row["disorientation_deg"] < 62.8
    assert (tmp_path / "s1_start.csv").read_text().startswith("name,depth,latent_dim")
