"""What the heavy steps of a parameter file take on this machine: seconds, and the memory of the GPU.

    python benchmarks/steps.py --params FILE --run DIR [--device auto] [step[:argument=value] ...]

Runs the steps that are named, else those of STEPS, in the order of the notebooks; an artifact that is up to date is not made
again and takes no time. For a training the seconds of its last epoch are given too, which leave out how it starts.
A step that fails is reported, and what needs it with it.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import torch

from microprint.machine import choose_device
from microprint.params import load
from microprint.steps import run_step
from microprint.study.catalogue import find_step

# In the order of the notebooks; 09 designs with what 05 and 06 made.
STEPS = (
    "generate_polycrystals", "generate_composites", "generate_micrographs", "split_composites",
    "train_fingerprint:variant=paper", "train_fingerprint:variant=ours",
    "simulate_cp_dataset", "generate_textured_polycrystals", "simulate_campaign",
    "train_crystal_law:material=Mg", "correct_surrogate:material=Mg", "train_field_rival:variant=cnn",
    "label_stiffness", "estimate_composites", "train_forward_cnn", "train_inverse_design:prior=mixture",
    "fit_stiffness_surrogate", "train_composite_design",
    "simulate_micrographs", "measure_texture", "train_texture_fingerprint",
    "view_patches", "train_texture_vae:loss=style,latent=32",
    "design_polycrystals:aim=textured,material=Mg",
)  # fmt: skip


def measure(text: str, params, run: Path, device: torch.device) -> str:
    """Run a step, named as on the command line; its row of the table."""
    name, _, arguments = text.partition(":")
    pairs = dict(pair.split("=") for pair in arguments.split(",") if pair)
    gpu, begin, started = device.type == "cuda", time.perf_counter(), time.time()
    if gpu:
        torch.cuda.reset_peak_memory_stats(device)
    try:
        with redirect_stdout(sys.stderr):  # where progress goes
            run_step(find_step(name), params, run / "artifacts", pairs)
        outcome = ""
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"[:200]
    seconds = time.perf_counter() - begin
    peak = f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f}" if gpu else "-"
    return f"| {text} | {seconds:.1f} | {epochs_since(run / 'logs', started)} | {peak} | {outcome} |"


def epochs_since(logs: Path, started: float) -> str:
    """Number of epochs, and seconds of the last, of each training that has written since then."""
    said = []
    for path in sorted(logs.glob("*.csv")):
        if path.stat().st_mtime >= started:
            rows = list(csv.DictReader(path.open()))
            said.append(f"{len(rows)} × {float(rows[-1]['seconds']):.2f}")
    return ", ".join(said)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", help="steps to run", default=STEPS)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    params, device = load(options.params), choose_device(options.device)
    params = replace(params, compute=replace(params.compute, device=str(device)))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}\n", flush=True)
    print("| step | s | epochs × s | peak GPU memory, GiB | failure |\n| --- | --- | --- | --- | --- |", flush=True)
    for text in options.steps:
        print(measure(text, params, options.run, device), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
