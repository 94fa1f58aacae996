"""Training of any network. Lightning, which does it, takes seconds to import: that waits until there is something to fit."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from microprint.errors import UserError
from microprint.params import ComputeSettings
from microprint.training.logs import History, file_name
from microprint.training.samples import Samples, Setting
from microprint.training.schedule import Schedule

DEFAULTS = ComputeSettings()


def fit(
    model: nn.Module,
    training: Samples,
    validation: Samples,
    schedule: Schedule,
    *,
    seed: int,
    workdir: Path,
    device: torch.device,
    label: str,
    compute: ComputeSettings = DEFAULTS,
    logs: Path | None = None,
) -> History:
    """Train `model` in place; it ends with the weights of the best validation loss.

    `model.losses(batch, generator)` returns scalars by name; "loss" is minimised, the others are
    recorded. A model that has an attribute `progress` finds there the share of all steps done
    before each training step, from 0 up, and 1 in validation, so that the losses of epochs compare.

    The state after every epoch is kept in `workdir/last.ckpt`; a call that finds it goes on from
    there and ends with the same bits as an unbroken run on the same device.

    With `compute.devices` above one, each GPU (each process, on a machine without one) takes its
    share of every batch, with noise of its own. Model and samples then must be objects of
    importable modules; the losses should be means over the samples. `compute.precision` holds
    for the model's losses alone, the samples are made in their own.

    With `logs`, every epoch is a row of `logs/LABEL.csv`, readable while the training runs:
    the history and the seconds; `compute.tensorboard` writes it to `logs/tensorboard` as well.

    Returns
    -------
    One dict an epoch: epoch, learning_rate, and train_* and validation_* of every loss.

    Raises
    ------
    UserError
        If there is nothing to train on, the loss is no longer finite, there are fewer devices
        than `compute.devices`, or TensorBoard is wanted and not installed.
    """
    from microprint.training.loop import train
    from microprint.training.parallel import train_in_processes
    from microprint.training.task import Task

    for name, samples in (("training", training), ("validation", validation)):
        if len(samples) == 0:
            raise UserError(f"the {name} set is empty", where=label, remedy="ask for more samples")
    workdir.mkdir(parents=True, exist_ok=True)
    table = logs / f"{file_name(label)}.csv" if logs else None
    task = Task(model, training, validation, schedule, seed, label, table)
    setting = Setting(workdir / "last.ckpt", torch.device(device), compute, logs)
    if compute.devices == 1:
        train(task, setting)
    else:
        train_in_processes(task, setting, setting.device, compute.devices, workdir)
        done = torch.load(setting.checkpoint, map_location="cpu", weights_only=True)
        task.history, task.best = done["history"], done["best"]
    model.load_state_dict(task.best)
    if hasattr(model, "progress"):
        model.progress = 1.0
    model.to(device).eval()
    return task.history
