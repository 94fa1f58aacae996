"""Training of any network of the study, through Lightning.

A model says what its losses are, a data set says how a batch is made on the device; everything
else (order of the samples, optimiser, decay of the learning rate, checkpoints, early stopping,
resuming) is the same for all and lives here.
"""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from microprint import store
from microprint.compute import watched
from microprint.errors import UserError

History = list[dict[str, float]]


class Samples(Protocol):
    """A data set that makes its batches on the training device."""

    def __len__(self) -> int: ...

    def batch(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Samples `index` (CPU integers), on the training device; `generator` lives there too."""
        ...


@dataclass(frozen=True)
class Schedule:
    """How a network is trained with Adam.

    Attributes
    ----------
    epochs : largest number of passes over the training samples.
    batch_size : samples a step.
    learning_rate : rate of the first step.
    weight_decay : L2 penalty, as Adam adds it to the gradient.
    amsgrad : use the AMSGrad variant of Adam.
    decay : constant, or cosine (to zero at the last step).
    warmup : share of all steps over which the rate rises from zero.
    patience : stop after this many epochs without a better validation loss; None: never.
    gradient_clip : largest norm of the gradient; None: unlimited.
    precision : 32-true, or bf16-mixed on devices that have bfloat16.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    amsgrad: bool = False
    decay: Literal["constant", "cosine"] = "constant"
    warmup: float = 0.0
    patience: int | None = None
    gradient_clip: float | None = None
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    def rate(self, progress: float) -> float:
        """Learning rate after a share `progress` in [0, 1] of all steps."""
        rising = min(progress / self.warmup, 1.0) if self.warmup else 1.0
        falling = 0.5 * (1 + math.cos(math.pi * progress)) if self.decay == "cosine" else 1.0
        return self.learning_rate * rising * falling


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
) -> History:
    """Train `model` in place; it ends with the weights of the best validation loss.

    `model.losses(batch, generator)` returns scalars by name; "loss" is minimised, the others are
    recorded. The state after every epoch is kept in `workdir/last.ckpt`; a call that finds it goes
    on from there and ends with the same bits as an unbroken run on the same device.

    Returns
    -------
    One dict an epoch: epoch, learning_rate, and train_* and validation_* of every loss.

    Raises
    ------
    UserError
        If there is nothing to train on, or the loss is no longer finite.
    """
    device = torch.device(device)
    for name, samples in (("training", train), ("validation", validation)):
        if len(samples) == 0:
            raise UserError(f"the {name} set is empty", where=label, remedy="ask for more samples")
    workdir.mkdir(parents=True, exist_ok=True)
    checkpoint = workdir / "last.ckpt"
    task = _Task(model, train, validation, schedule, seed, label)
    with _quiet(), seeded(seed, device):
        trainer = _trainer(schedule, device, checkpoint)
        resume = str(checkpoint) if checkpoint.exists() else None
        trainer.fit(task, ckpt_path=resume, weights_only=True)
        if trainer.interrupted:
            raise KeyboardInterrupt
    model.load_state_dict(task.best)
    model.to(device).eval()
    return task.history


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Torch's global generator, seeded inside and untouched outside: for initial weights."""
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def generator_for(seed: int, *labels: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Generator whose stream is fixed by the seed and the labels (an epoch, a purpose)."""
    state = np.random.SeedSequence((seed, *labels)).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state[0] >> np.uint64(1)))


class _Task(LightningModule):
    """Model, data and schedule as Lightning wants them."""

    TRAINING, VALIDATION, ORDER = 0, 1, 2

    def __init__(self, model, train, validation, schedule: Schedule, seed: int, label: str) -> None:
        super().__init__()
        self.model, self.train_samples, self.validation_samples = model, train, validation
        self.schedule, self.seed, self.label = schedule, seed, label
        self.history: History = []
        self.best: dict[str, Tensor] = {}

    def train_dataloader(self) -> DataLoader:
        return self._batch_numbers(self.train_samples)

    def val_dataloader(self) -> DataLoader:
        return self._batch_numbers(self.validation_samples)

    def _batch_numbers(self, samples: Samples) -> DataLoader:
        count = math.ceil(len(samples) / self.schedule.batch_size)
        # A generator of its own: the loader must not draw from the one that dropout uses.
        return DataLoader(range(count), batch_size=None, generator=torch.Generator())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        return torch.optim.Adam(
            parameters,
            lr=self.schedule.learning_rate,
            weight_decay=self.schedule.weight_decay,
            amsgrad=self.schedule.amsgrad,
        )

    def on_train_start(self) -> None:
        self.line = _Line(self.label, self.schedule.epochs, done=len(self.history))

    def on_train_epoch_start(self) -> None:
        stream = (self.seed, self.current_epoch)
        # Dropout can only draw from the global generator, which `fit` keeps to itself.
        torch.manual_seed(generator_for(*stream).initial_seed())
        self.generator = generator_for(*stream, self.TRAINING, device=self.device)
        shuffle = generator_for(*stream, self.ORDER)
        self.order = torch.randperm(len(self.train_samples), generator=shuffle)
        self.train_means = _Means()

    def on_train_batch_start(self, batch: int, batch_idx: int) -> None:
        rate = self.schedule.rate(self.global_step / self.trainer.estimated_stepping_batches)
        for group in self.optimizers().param_groups:
            group["lr"] = rate

    def training_step(self, batch: int, batch_idx: int) -> Tensor:
        size = self.schedule.batch_size
        index = self.order[batch_idx * size : (batch_idx + 1) * size]
        losses = self.model.losses(self.train_samples.batch(index, self.generator), self.generator)
        self.train_means.add(losses, len(index))
        return losses["loss"]

    def on_validation_epoch_start(self) -> None:
        # The same noise every time, so that epochs compare.
        self.noise = generator_for(self.seed, 0, self.VALIDATION, device=self.device)
        self.validation_means = _Means()

    def validation_step(self, batch: int, batch_idx: int) -> None:
        size, count = self.schedule.batch_size, len(self.validation_samples)
        index = torch.arange(batch_idx * size, min((batch_idx + 1) * size, count))
        losses = self.model.losses(self.validation_samples.batch(index, self.noise), self.noise)
        self.validation_means.add(losses, len(index))

    def on_train_epoch_end(self) -> None:
        row = {
            "epoch": self.current_epoch + 1.0,
            "learning_rate": self.optimizers().param_groups[0]["lr"],
            **self.train_means.named("train_"),
            **self.validation_means.named("validation_"),
        }
        if not math.isfinite(row["train_loss"] + row["validation_loss"]):
            raise UserError(
                f"the loss is no longer finite in epoch {self.current_epoch + 1}",
                where=self.label,
                remedy="lower the learning rate",
            )
        losses = [past["validation_loss"] for past in self.history]
        if not losses or row["validation_loss"] < min(losses):
            self.best = copy.deepcopy(self.model.state_dict())
        self.history.append(row)
        self.line.show(row, last=self._exhausted())
        if self._exhausted():
            self.trainer.should_stop = True

    def _exhausted(self) -> bool:
        """Whether no more epochs should follow."""
        losses = [row["validation_loss"] for row in self.history]
        since_best = len(losses) - 1 - losses.index(min(losses))
        patience = self.schedule.patience
        impatient = patience is not None and since_best >= patience
        return impatient or len(losses) >= self.schedule.epochs

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["history"], checkpoint["best"] = self.history, self.best

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.history, self.best = checkpoint["history"], checkpoint["best"]
        if self._exhausted():
            # Killed between the last epoch and the artifact: nothing is left to train.
            self.trainer.fit_loop.epoch_loop.max_steps = 0


class _LastCheckpoint(Checkpoint):
    """Writes the full state after every epoch, at once or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        with store.atomic(self.path) as temporary:
            trainer.save_checkpoint(temporary)


class _Means:
    """Means of named scalars over samples, without waiting for the device."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, losses: dict[str, Tensor], count: int) -> None:
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach().double() * count
        self.count += count

    def named(self, prefix: str) -> dict[str, float]:
        return {prefix + name: float(total) / self.count for name, total in self.sums.items()}


class _Line:
    """A bar when a person watches; in a batch run a line an epoch, or about ten in all."""

    def __init__(self, label: str, epochs: int, done: int) -> None:
        self.label, self.epochs = label, epochs
        self.every = 1 if epochs <= 30 else math.ceil(epochs / 10)
        self.bar = tqdm(total=epochs, initial=done, desc=label) if watched() else None

    def show(self, row: dict[str, float], last: bool) -> None:
        losses = f"loss {row['train_loss']:.4g}, validation {row['validation_loss']:.4g}"
        epoch = int(row["epoch"])
        if self.bar is not None:
            self.bar.set_postfix_str(losses, refresh=False)
            self.bar.update()
            if last:
                self.bar.close()
        elif last or epoch % self.every == 0 or epoch == 1:
            print(f"{self.label}: epoch {epoch}/{self.epochs}, {losses}", flush=True)


def _trainer(schedule: Schedule, device: torch.device, checkpoint: Path) -> Trainer:
    on_gpu = device.type == "cuda"
    return Trainer(
        accelerator="cuda" if on_gpu else "cpu",
        devices=[device.index or 0] if on_gpu else 1,
        precision=schedule.precision,
        max_epochs=schedule.epochs,
        gradient_clip_val=schedule.gradient_clip,
        callbacks=[_LastCheckpoint(checkpoint)],
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


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
