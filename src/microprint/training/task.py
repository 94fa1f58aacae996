"""Model, data and schedule as Lightning wants them."""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from microprint.errors import UserError
from microprint.training.logs import History, Line, write_table
from microprint.training.samples import Samples
from microprint.training.schedule import Schedule
from microprint.training.streams import generator_for


class Task(LightningModule):
    """One training, as `fit` describes it, with a `table` (CSV) of all epochs.

    On each of several devices there is a copy, which takes its share of every batch.
    """

    TRAINING, VALIDATION, ORDER, DROPOUT = range(4)  # what a stream of random numbers is for

    def __init__(
        self, model: nn.Module, train: Samples, validation: Samples, schedule: Schedule, seed: int, label: str, table: Path
    ) -> None:
        super().__init__()
        self.model, self.train_samples, self.validation_samples = model, train, validation
        self.schedule, self.seed, self.label, self.table = schedule, seed, label, table
        self.history: History = []
        self.seconds: list[float] = []
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
        return self.schedule.optimizer_for(self.model)

    def on_train_start(self) -> None:
        if self.trainer.is_global_zero:
            self.line = Line(self.label, self.schedule.epochs, done=len(self.history))

    def on_train_epoch_start(self) -> None:
        self.begin = time.monotonic()
        # Dropout can only draw from the global generator, which `fit` keeps to itself.
        torch.manual_seed(self._stream(self.DROPOUT, self.current_epoch).initial_seed())
        self.generator = self._stream(self.TRAINING, self.current_epoch)
        # All processes go through the samples in one order.
        shuffle = generator_for(self.seed, self.current_epoch, self.ORDER)
        self.order = torch.randperm(len(self.train_samples), generator=shuffle)
        self.train_means = Means()

    def on_train_batch_start(self, batch: int, batch_idx: int) -> None:
        progress = self.global_step / self.trainer.estimated_stepping_batches
        for group in self.optimizers().param_groups:
            group["lr"] = self.schedule.rate(progress)

    def training_step(self, batch: int, batch_idx: int) -> Tensor:
        size = self.schedule.batch_size
        index = self.order[batch_idx * size : (batch_idx + 1) * size]
        return self._losses(self.train_samples, index, self.generator, self.train_means)

    def on_validation_epoch_start(self) -> None:
        # The same noise every time, so that epochs compare.
        self.noise = self._stream(self.VALIDATION, 0)
        self.validation_means = Means()

    def validation_step(self, batch: int, batch_idx: int) -> None:
        size, count = self.schedule.batch_size, len(self.validation_samples)
        index = torch.arange(batch_idx * size, min((batch_idx + 1) * size, count))
        self._losses(self.validation_samples, index, self.noise, self.validation_means)

    def on_train_epoch_end(self) -> None:
        total = self.trainer.strategy.reduce
        row = {
            "epoch": self.current_epoch + 1.0,
            "learning_rate": self.optimizers().param_groups[0]["lr"],
            **self.train_means.named("train_", total),
            **self.validation_means.named("validation_", total),
        }
        if not math.isfinite(row["train_loss"] + row["validation_loss"]):
            fault = f"the loss is no longer finite in epoch {self.current_epoch + 1}"
            raise UserError(fault, self.label, "lower the learning rate")
        losses = [past["validation_loss"] for past in self.history]
        if not losses or row["validation_loss"] < min(losses):
            self.best = copy.deepcopy(self.model.state_dict())
        self.history.append(row)
        self.seconds.append(time.monotonic() - self.begin)
        if self.trainer.is_global_zero:
            self._show(row)
        if self._exhausted():
            self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint |= {"history": self.history, "seconds": self.seconds, "best": self.best}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.history, self.seconds, self.best = (checkpoint[name] for name in ("history", "seconds", "best"))
        if self._exhausted():
            # Killed between the last epoch and the artifact: nothing is left to train.
            self.trainer.fit_loop.epoch_loop.max_steps = 0

    def _losses(self, samples: Samples, index: Tensor, generator: torch.Generator, means: Means) -> Tensor:
        """Loss of this process's share of a global batch, so weighted that the mean over the processes is the batch's."""
        share = index[self.global_rank :: self.trainer.world_size]
        count = len(share)
        if not count:
            share = index[:1]  # fewer samples than processes: one that counts for nothing keeps the processes in step
        with torch.autocast(self.device.type, enabled=False):  # data have the precision that they were given
            batch = samples.batch(share, generator)
        losses = self.model.losses(batch, generator)
        means.add(losses, count)
        return losses["loss"] * (count * self.trainer.world_size / len(index))

    def _stream(self, purpose: int, epoch: int) -> torch.Generator:
        """Generator on the device; each process has its own stream."""
        return generator_for(self.seed, epoch, purpose + 4 * self.global_rank, device=self.device)

    def _show(self, row: dict[str, float]) -> None:
        self.line.show(row, last=self._exhausted())
        write_table(self.table, self.history, self.seconds)
        if self.logger:
            self.logger.log_metrics({name: value for name, value in row.items() if name != "epoch"}, int(row["epoch"]))

    def _exhausted(self) -> bool:
        """Whether no more epochs should follow."""
        losses = [row["validation_loss"] for row in self.history]
        since_best = len(losses) - 1 - losses.index(min(losses))
        patience = self.schedule.patience
        impatient = patience is not None and since_best >= patience
        return impatient or len(losses) >= self.schedule.epochs


class Means:
    """Means of named scalars over samples, without waiting for the device."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, losses: dict[str, Tensor], count: int) -> None:
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach().double() * count
        self.count += count

    def named(self, prefix: str, total) -> dict[str, float]:
        """Means over all processes; `total` is the strategy's function that sums tensors over them."""
        sums = torch.stack([*self.sums.values()])
        count = total(torch.tensor(float(self.count), device=sums.device), reduce_op="sum")
        means = (total(sums, reduce_op="sum").cpu() / count.cpu()).tolist()
        return {prefix + name: mean for name, mean in zip(self.sums, means)}
