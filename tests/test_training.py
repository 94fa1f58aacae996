"""Training: the result does not depend on being killed, and the best weights are kept."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from microprint.errors import UserError
from microprint.training import Schedule, fit, generator_for, seeded


class Noisy(nn.Module):
    """Linear regression with dropout and noise: every source of randomness is in play."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.BatchNorm1d(8))
        self.out = nn.Linear(8, 1)

    def losses(self, batch, generator):
        noise = 0.1 * torch.randn(batch["x"].shape, generator=generator)
        error = ((self.out(self.layers(batch["x"] + noise)) - batch["y"]) ** 2).mean()
        return {"loss": error, "half": error / 2}


class Points:
    def __init__(self, count, seed, delay=0.0):
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(count, 4, generator=generator)
        self.y = self.x.sum(1, keepdim=True)
        self.delay = delay

    def __len__(self):
        return len(self.x)

    def batch(self, index, generator):
        time.sleep(self.delay)
        jitter = 0.01 * torch.randn(len(index), 1, generator=generator)
        return {"x": self.x[index], "y": self.y[index] + jitter}


def train(workdir, epochs=6, delay=0.0, **options):
    with seeded(1):
        model = Noisy()
    options = {"decay": "cosine", "learning_rate": 0.01, **options}
    schedule = Schedule(epochs=epochs, batch_size=16, **options)
    history = fit(
        model, Points(50, 1, delay), Points(20, 2), schedule,
        seed=3, workdir=workdir, device=torch.device("cpu"), label="points",
    )  # fmt: skip
    return model, history


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.values(), other.values(), strict=True))


def test_same_seed_same_bits_and_a_finished_run_is_not_repeated(tmp_path):
    model, history = train(tmp_path / "a")
    again, same = train(tmp_path / "b")
    finished, kept = train(tmp_path / "a")
    assert equal(model.state_dict(), again.state_dict()) and history == same
    assert equal(model.state_dict(), finished.state_dict()) and history == kept
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert history[0]["train_half"] == pytest.approx(history[0]["train_loss"] / 2)


def test_killed_run_resumes_to_the_same_bits(tmp_path):
    script = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[2])\n"
        "from test_training import train\n"
        "train(pathlib.Path(sys.argv[1]), delay=0.1)\n"
    )
    here = os.path.dirname(__file__)
    # The same bits need the same number of threads; a Dask cluster of another test leaves its own in the environment.
    threads = str(torch.get_num_threads())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    process = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / "killed", here],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    for line in process.stdout:
        if "epoch 3/" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    assert (tmp_path / "killed" / "last.ckpt").exists()
    resumed, history = train(tmp_path / "killed")
    unbroken, expected = train(tmp_path / "unbroken")
    assert history == expected
    assert equal(resumed.state_dict(), unbroken.state_dict())


def test_checkpoint_holds_plain_data(tmp_path):
    _, history = train(tmp_path, epochs=2)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["history"] == history


def test_best_weights_are_kept_and_patience_ends_the_run(tmp_path, capsys):
    model, history = train(tmp_path, epochs=40, learning_rate=0.5, decay="constant", patience=3)
    losses = [row["validation_loss"] for row in history]
    assert len(losses) < 40 and losses.index(min(losses)) == len(losses) - 4
    generator = generator_for(3, 0, 1)
    with torch.no_grad():
        points = Points(20, 2)
        parts = [torch.arange(0, 16), torch.arange(16, 20)]
        total = sum(
            len(part) * model.losses(points.batch(part, generator), generator)["loss"]
            for part in parts
        )
    assert float(total) / 20 == pytest.approx(min(losses), rel=1e-5)
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1].startswith(f"points: epoch {len(losses)}/40")
    assert len(printed) <= 2 + len(losses) // 4


def test_cosine_decay_ends_at_zero():
    schedule = Schedule(epochs=1, batch_size=1, learning_rate=2.0, decay="cosine")
    assert [schedule.rate(p) for p in (0, 0.5, 1)] == pytest.approx([2, 1, 0])
    rising = Schedule(epochs=1, batch_size=1, learning_rate=2.0, warmup=0.5)
    assert [rising.rate(p) for p in (0, 0.25, 1)] == pytest.approx([0, 1, 2])


def test_global_generator_is_left_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train(tmp_path, epochs=1)
    assert torch.rand(1) == expected


def test_empty_set_and_divergence_are_refused(tmp_path):
    with pytest.raises(UserError, match="training set is empty"):
        fit(Noisy(), Points(0, 1), Points(2, 1), Schedule(1, 1, 1.0), seed=1,
            workdir=tmp_path, device=torch.device("cpu"), label="x")  # fmt: skip
    with pytest.raises(UserError, match="no longer finite"):
        train(tmp_path, learning_rate=float("inf"), decay="constant")
