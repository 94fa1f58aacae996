"""The training loop: Lightning's, quiet, resumable, on one device or several."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy

from microprint import store
from microprint.machine import fast_dtype
from microprint.training.logs import tensorboard
from microprint.training.samples import Setting
from microprint.training.streams import seeded
from microprint.training.task import Task


def train(task: Task, setting: Setting) -> None:
    """Train in this process: all of the task, or one rank's share of it."""
    resume = setting.checkpoint.exists()
    with _quiet(), seeded(task.seed, setting.device):
        trainer = _trainer(task, setting, resume)
        trainer.fit(task, ckpt_path=str(setting.checkpoint) if resume else None, weights_only=True)
        if trainer.interrupted:
            raise KeyboardInterrupt


def precision_on(device: torch.device, precision: str) -> str:
    """Lightning's name of `compute.precision`: "auto" is bfloat16 on GPUs that compute in it, else single precision."""
    if precision != "auto":
        return precision
    suits = device.type == "cuda" and fast_dtype(device) == torch.bfloat16
    return "bf16-mixed" if suits else "32-true"


def _trainer(task: Task, setting: Setting, resume: bool) -> Trainer:
    on_gpu, count = setting.device.type == "cuda", setting.compute.devices
    # Synchronised batch normalisation keeps the buffers equal on GPUs; the frozen VGG19, too, is made of buffers.
    several = DDPStrategy(cluster_environment=LightningEnvironment(), find_unused_parameters=True, broadcast_buffers=not on_gpu)
    return Trainer(
        accelerator="cuda" if on_gpu else "cpu",
        devices=[setting.device.index or 0] if on_gpu and count == 1 else count,
        strategy=several if count > 1 else "auto",
        use_distributed_sampler=False,
        sync_batchnorm=on_gpu and count > 1,
        precision=precision_on(setting.device, setting.compute.precision),
        max_epochs=task.schedule.epochs,
        gradient_clip_val=task.schedule.gradient_clip,
        callbacks=[_LastCheckpoint(setting.checkpoint)],
        num_sanity_val_steps=0,
        inference_mode=False,  # a model may need gradients to encode
        log_every_n_steps=1,
        logger=setting.compute.tensorboard and tensorboard(setting.logs / "tensorboard", task.label, resume),
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
