"""What a person sees of a training: a line of progress, a table (CSV) of all epochs, TensorBoard."""

from __future__ import annotations

import csv
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from tqdm.auto import tqdm

from microprint import store
from microprint.errors import UserError
from microprint.machine import watched

History = list[dict[str, float]]


class Line:
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


def file_name(label: str) -> str:
    """Label of a training as the name of its logs: ``fingerprint ours, cubic`` -> ``fingerprint-ours-cubic``."""
    return re.sub(r"[^\w.]+", "-", label).strip("-")


def write_table(path: Path, history: History, seconds: Sequence[float]) -> None:
    """Write all epochs, a row each, with the seconds they took.

    The whole table is written anew every time: a resumed training then neither loses nor repeats a row.
    """
    with store.atomic(path) as temporary, open(temporary, "w", newline="") as file:
        table = csv.DictWriter(file, [*history[0], "seconds"])
        table.writeheader()
        table.writerows({**row, "epoch": int(row["epoch"]), "seconds": f"{s:.3f}"} for row, s in zip(history, seconds))


def tensorboard(folder: Path, label: str, resumed: bool):
    """Lightning's TensorBoard logger; raises `UserError` if TensorBoard is not installed."""
    from lightning.pytorch.loggers import TensorBoardLogger

    if not resumed:
        shutil.rmtree(folder / file_name(label), ignore_errors=True)
    try:
        return TensorBoardLogger(folder, name=file_name(label), version="")
    except ModuleNotFoundError:
        remedy = "Install it (pip install tensorboard), or set compute.tensorboard=false"
        raise UserError("TensorBoard is not installed", "compute.tensorboard = true", remedy) from None
