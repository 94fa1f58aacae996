"""Training of any network. Lightning, which does it, takes seconds to import: that waits until there is something to fit."""

from __future__ import annotations

import torch
from torch import nn

from microprint.errors import UserError
from microprint.steps import Job
from microprint.training.logs import History, file_name
from microprint.training.samples import Samples, Setting
from microprint.training.schedule import Schedule


def fit(
    job: Job, model: nn.Module, training: Samples, validation: Samples, schedule: Schedule, *, seed: int, label: str
) -> History:
    """Train `model` in place; it ends with the weights of the best validation loss.

    `model.losses(batch, generator)` returns scalars by name; "loss" is minimised, the others are recorded. The job says
    where: on its device, by `compute` of its parameters, in its folders.

    The state after every epoch is kept in `job.workdir/last.ckpt`; a call that finds it goes on from
    there and ends with the same bits as an unbroken run on the same device.

    With `compute.devices` above one, each GPU (each process, on a machine without one) takes its
    share of every batch, with noise of its own. Model and samples then must be objects of
    importable modules; the losses should be means over the samples. `compute.precision` holds
    for the model's losses alone, the samples are made in their own.

    Every epoch is a row of `job.logs/LABEL.csv`, readable while the training runs: the history and
    the seconds; `compute.tensorboard` writes it to `job.logs/tensorboard` as well.

    Returns one dict an epoch: epoch, learning_rate, and train_* and validation_* of every loss. Raises `UserError` if there
    is nothing to train on, the loss is no longer finite, there are fewer devices than `compute.devices`, or TensorBoard is
    wanted and not installed.
    """
    from microprint.training.loop import train
    from microprint.training.parallel import train_in_processes
    from microprint.training.task import Task

    for name, samples in (("training", training), ("validation", validation)):
        if len(samples) == 0:
            raise UserError(f"the {name} set is empty", where=label, remedy="ask for more samples")
    task = Task(model, training, validation, schedule, seed, label, job.logs / f"{file_name(label)}.csv")
    setting = Setting(job.workdir / "last.ckpt", job.device, job.params.compute, job.logs)
    if setting.compute.devices == 1:
        train(task, setting)
    else:
        train_in_processes(task, setting)
        done = torch.load(setting.checkpoint, map_location="cpu", weights_only=True)
        task.history, task.best = done["history"], done["best"]
    model.load_state_dict(task.best)
    model.to(job.device).eval()
    return task.history
