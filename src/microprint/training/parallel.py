"""One training on several devices: a process for each, and Lightning's distributed data parallel between them.

Lightning's own launchers start again the script that was started, fork a process that may not be forked once it has
used a GPU, or need a terminal. Plain subprocesses work from a notebook's kernel and from a Dask worker alike.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import torch
from lightning.fabric.plugins.environments.lightning import find_free_network_port

from microprint import store
from microprint.errors import UserError
from microprint.training.samples import Setting
from microprint.training.task import Task

FAILURE = "failure.json"


def train_in_processes(task: Task, setting: Setting) -> None:
    """Train on several devices; what they learn is in the checkpoint.

    Raises `UserError` if there are fewer devices, and what the processes raise; `RuntimeError` if one ends otherwise: its
    traceback is on stderr.
    """
    count, device, workdir = setting.compute.devices, setting.device, setting.checkpoint.parent
    _require(count, device)
    (workdir / FAILURE).unlink(missing_ok=True)
    file = workdir / "task.pt"
    torch.save((task, setting), file)
    environment = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(find_free_network_port()),
        "OMP_NUM_THREADS": str(max(torch.get_num_threads() // count, 1)),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "TORCH_CPP_LOG_LEVEL": "ERROR",  # else a warning wherever all weights have a gradient
    }
    command = [sys.executable, "-m", "microprint.training", str(file), str(device.index or 0)]
    # A session of their own: an interrupt is for this process, which then ends them.
    ranks = [
        subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, env=environment | {"LOCAL_RANK": str(rank)})
        for rank in range(count)
    ]
    try:
        while None in (codes := [rank.poll() for rank in ranks]) and not any(codes):
            time.sleep(0.1)
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
        file.unlink()
    if (workdir / FAILURE).exists():
        raise UserError(**store.load_json(workdir / FAILURE))
    if any(codes):
        raise RuntimeError(f"training on {count} devices ended with exit codes {codes}; see the traceback above")


def _require(count: int, device: torch.device) -> None:
    """Raise `UserError` unless there are `count` GPUs, or cores where there is no GPU."""
    kind, there = ("GPUs", torch.cuda.device_count()) if device.type == "cuda" else ("processor cores", os.cpu_count() or 1)
    if count > there:
        raise UserError(f"there are {there} {kind}", f"compute.devices = {count}", f"Set compute.devices to {there} or less")
