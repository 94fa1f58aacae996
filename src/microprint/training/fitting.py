"""The training loop: Lightning's, quiet, resumable, on one device or several."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from microprint import store
from microprint.errors import UserError
from microprint.params import Compute
from microprint.training.logs import History, file_name, tensorboard
from microprint.training.parallel import train_in_processes
from microprint.training.schedule import Schedule
from microprint.training.streams import seeded
from microprint.training.task import Samples, Task

DEFAULTS = Compute()


def fit(
    model: nn.Module,
    train: Samples,
    validation: Samples,
    schedule: Schedule,
    *,
    seed: int,
    workdir: Path,
    device: torch.device,
    label: str,
    compute: Compute = DEFAULTS,
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
    for name, samples in (("training", train), ("validation", validation)):
        if len(samples) == 0:
            raise UserError(f"the {name} set is empty", where=label, remedy="ask for more samples")
    workdir.mkdir(parents=True, exist_ok=True)
    table = logs / f"{file_name(label)}.csv" if logs else None
    task = Task(model, train, validation, schedule, seed, label, table)
    place = Place(workdir / "last.ckpt", torch.device(device), compute, logs)
    if compute.devices == 1:
        train_here(task, place)
    else:
        train_in_processes(task, place, place.device, compute.devices, workdir)
        done = torch.load(place.checkpoint, map_location="cpu", weights_only=True)
        task.history, task.best = done["history"], done["best"]
    model.load_state_dict(task.best)
    if hasattr(model, "progress"):
        model.progress = 1.0
    model.to(device).eval()
    return task.history


@dataclass(frozen=True)
class Place:
    """Where a training runs and what it leaves there."""

    checkpoint: Path
    device: torch.device
    compute: Compute
    logs: Path | None


def train_here(task: Task, place: Place) -> None:
    """Train in this process: all of the task, or one rank's share of it."""
    resume = place.checkpoint.exists()
    with _quiet(), seeded(task.seed, place.device):
        trainer = _trainer(task, place, resume)
        trainer.fit(task, ckpt_path=str(place.checkpoint) if resume else None, weights_only=True)
        if trainer.interrupted:
            raise KeyboardInterrupt


def precision_on(device: torch.device, precision: str) -> str:
    """Lightning's name of `compute.precision`: "auto" is bfloat16 on GPUs that compute in it, else single precision."""
    if precision != "auto":
        return precision
    suits = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if suits else "32-true"


def _trainer(task: Task, place: Place, resume: bool) -> Trainer:
    on_gpu, count = place.device.type == "cuda", place.compute.devices
    # Synchronised batch normalisation keeps the buffers equal on GPUs; the frozen VGG19, too, is made of buffers.
    several = DDPStrategy(cluster_environment=LightningEnvironment(), find_unused_parameters=True, broadcast_buffers=not on_gpu)
    wanted = place.compute.tensorboard and place.logs
    return Trainer(
        accelerator="cuda" if on_gpu else "cpu",
        devices=[place.device.index or 0] if on_gpu and count == 1 else count,
        strategy=several if count > 1 else "auto",
        use_distributed_sampler=False,
        sync_batchnorm=on_gpu and count > 1,
        precision=precision_on(place.device, place.compute.precision),
        max_epochs=task.schedule.epochs,
        gradient_clip_val=task.schedule.gradient_clip,
        callbacks=[_LastCheckpoint(place.checkpoint)],
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        logger=tensorboard(place.logs / "tensorboard", task.label, resume) if wanted else False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


class _LastCheckpoint(Checkpoint):
    """Writes the full state after every epoch, at once or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning writes in the first process; the others must call, too.
        with store.atomic(self.path) if trainer.is_global_zero else nullcontext(self.path) as temporary:
            trainer.save_checkpoint(temporary)


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's banner, tips and advice stay out of a published notebook."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
