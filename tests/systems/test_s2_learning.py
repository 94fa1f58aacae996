"""The benchmark of S2's network: data, a training, a CNN and the rivals make rows."""

import csv
import importlib.util
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_vgg import random_tensors

from microprint.store import save_tensors


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).parents[2] / "benchmarks" / "s2_learning.py"
    spec = importlib.util.spec_from_file_location("s2_learning", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "s2_learning", module)  # dataclasses look their module up
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def made(benchmark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("s2")
    save_tensors(folder / "vgg19.safetensors", random_tensors(), {})
    scale = replace(benchmark.TINY, composites=64, edge=8, width=2, hidden=8, layers=("conv1_1",), draws=2, pairs=2, refit=2)
    data = benchmark.make(scale, torch.device("cpu"), folder, time.time() + 60)
    torch.save(data, folder / "sets.pt")
    return folder, scale, data


def rows(folder, table):
    with (folder / f"s2_{table}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_data_are_split_and_labelled(made, benchmark):
    folder, _, data = made
    assert [len(data.parts[part]) for part in ("train", "validation", "test")] == [38, 13, 13]
    assert rows(folder, "labels")[0]["labelled"] == "64" and data.of("train", benchmark.SIX).isfinite().all()
    two = data.two_morphologies()
    assert 0 < sum(len(index) for index in two.parts.values()) < 64


@pytest.mark.parametrize("prior", ["gaussian", "mixture", None, "standard"])
def test_a_training_makes_rows(made, benchmark, monkeypatch, prior):
    folder, scale, _ = made
    for name, value in {"EPOCHS": 1, "TARGETS": (20.0, 40.0)}.items():
        monkeypatch.setattr(benchmark, name, value)
    names = benchmark.SIX if prior == "gaussian" else ("C11",)
    run = benchmark.Run(str(prior), 1, prior, names)
    line = benchmark.train(run, scale, folder, folder / "vgg19.safetensors", 60.0)
    assert "1.0 epochs" in line and "stopped by epochs" in line
    assert float(rows(folder, "history")[-1]["train_loss"]) == float(rows(folder, "history")[-1]["train_loss"])
    models = {row["model"] for row in rows(folder, "forward")}
    if prior == "mixture":
        designs = [row for row in rows(folder, "inverse") if row["prior"] == "mixture"]
        assert len(designs) == 8 and {row["component"] for row in designs} == {"0", "1"}
        assert len(rows(folder, "components")) == 5 and float(rows(folder, "reconstruction")[-1]["c11_error_pct"]) > 0
    if prior == "gaussian":
        assert len(rows(folder, "inverse_six")) == 20
    if prior == "standard":
        assert {"VAE+LIN", "VAE+GPR", "VAE+SVR", "VAE+NN"} <= models


def test_loss_and_look_up_make_rows(made, benchmark):
    folder, scale, data = made
    benchmark.nearest(data, folder)
    benchmark.style_tables(data, scale, folder / "vgg19.safetensors", folder, torch.device("cpu"))
    assert rows(folder, "style")[-1]["slices"] == "8" and len(rows(folder, "elongation")) == 3
