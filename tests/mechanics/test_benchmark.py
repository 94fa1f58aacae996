"""The benchmark of the mechanics, on tiny problems: it runs, and says what it should."""

import importlib.util
import json
import sys
from argparse import Namespace
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
    monkeypatch.setattr(benchmark.peers, "damask_version", lambda: None)
    assert benchmark.main(["--quick", "--threads", "1", "--json", str(tmp_path / "results.json")]) == 0
    printed, written = capsys.readouterr().out, json.loads((tmp_path / "results.json").read_text())
    assert "materialite is not installed" in printed and "operations a voxel and CG iteration" in printed
    plastic = {"Mg, slip and twins", "Cu, slip only", "Al, slip only", "Au, slip only"}
    assert {r["problem"] for r in written["results"]} == plastic | {"composite, C11", "composite, all six"}
    assert all(r["wall"] > 0 and r["iterations"] > 0 for r in written["results"])
    assert written["machine"]["torch"] == torch.__version__


def test_times_elsewhere_are_told_where_the_peer_is_not_in_this_run(benchmark):
    ours = benchmark.row("compiled law", "Mg, slip and twins", 16, 4, [(2.0, 8.0), (1.0, 3.0), (4.0, 9.0)])
    damask = benchmark.row("DAMASK", "Mg, slip and twins", 16, 1, [(5.0, 10.0)])
    assert (ours.wall, ours.wall_range) == (0.5, (0.25, 1.0))
    [line] = benchmark.ratios([ours, damask])
    assert "10.0 times faster (CPU time: 5.0) than DAMASK in this run" in line
    [line] = benchmark.ratios([ours])
    assert "43 times faster than DAMASK 3.0.2, two threads, measured elsewhere" in line


def test_damask_is_timed_on_files_that_lie_ready_and_not_for_ever(benchmark, monkeypatch, tmp_path):
    solver = tmp_path / "DAMASK_grid"
    solver.write_text("#!/bin/sh\necho ' Version: v3.0.2\n Compiler options: -cpp -march=znver3 -O3 -fopenmp -flto'\n"
                      "[ $1 = --help ] || (echo $OMP_NUM_THREADS $(ls) >> \"$(dirname $0)/runs\" && touch run.hdf5)")
    solver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(benchmark, "PATIENCE", 0.001)
    assert benchmark.peers.damask_version() == "3.0.2 -O3 -flto -march=znver3"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    [row] = benchmark.measure_damask("Cu", 4, Namespace(threads=2, repeats=3))
    assert (row.solver, row.problem, row.edge, row.batch) == ("DAMASK", "Cu, slip only", 4, 1) and row.wall > 0
    assert (tmp_path / "runs").read_text().splitlines() == ["2 grid.vti grid.yaml load.yaml"]
    monkeypatch.setattr(benchmark, "PATIENCE", 60.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    benchmark.measure_damask("Mg", 4, Namespace(threads=1, repeats=2))
    assert (tmp_path / "runs").read_text().splitlines()[1:] == ["1 grid.vti grid.yaml load.yaml"] * 2
