"""The benchmark of the mechanics, on tiny problems: it runs, and says what it should."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).parents[2] / "benchmarks" / "mechanics.py"
    spec = importlib.util.spec_from_file_location("benchmark_mechanics", path)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_quick_run(benchmark, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark.peers, "materialite_version", lambda: None)
    monkeypatch.setattr(benchmark.peers, "damask_solver", lambda: None)
    assert benchmark.main(["--quick", "--threads", "1", "--json", str(tmp_path / "results.json")]) == 0
    printed, written = capsys.readouterr().out, json.loads((tmp_path / "results.json").read_text())
    assert "materialite is not installed" in printed and "operations a voxel and CG iteration" in printed
    plastic = {"Mg, slip and twins", "Cu, slip only", "Al, slip only", "Au, slip only"}
    assert {r["problem"] for r in written["results"]} == plastic | {"composite, C11", "composite, all six"}
    assert all(r["wall"] > 0 and r["iterations"] > 0 for r in written["results"])
    assert written["machine"]["torch"] == torch.__version__


def test_times_elsewhere_are_told_apart(benchmark):
    rows = [
        benchmark.row("compiled law", "Mg, slip and twins", 16, 4, [(2.0, 8.0), (1.0, 3.0), (4.0, 9.0)]),
        benchmark.row("DAMASK", "Mg, slip and twins", 16, 1, [(5.0, 10.0)]),
    ]
    assert (rows[0].wall, rows[0].wall_range) == (0.5, (0.25, 1.0))
    lines = benchmark.ratios(rows)
    assert "10.0 times faster (CPU time: 5.0) than DAMASK in this run" in lines[0]
    assert "43 times faster than DAMASK 3.0.2, two threads, measured elsewhere" in lines[1]
