"""Training: the result does not depend on being killed or on the number of devices, and the best weights are kept."""

import csv
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from microprint.errors import UserError
from microprint.networks.vae_regression import TwoPointLoss
from microprint.params.sections import ComputeSettings
from microprint.training import Schedule, fit, seeded
from microprint.training.loop import precision_on
from microprint.training.streams import generator_for


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


class Exact(nn.Module):
    """A loss without noise, beside a recorded number that is nothing else."""

    def __init__(self):
        super().__init__()
        self.layer, self.unused = nn.Linear(4, 1), nn.Linear(4, 1)

    def losses(self, batch, generator):
        error = (self.layer(batch["x"]) - batch["x"].sum(1, keepdim=True)) ** 2
        return {"loss": error.mean(), "draw": torch.randn((), generator=generator)}


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


def job(workdir, compute=None, logs=None):
    """What `fit` wants of a step's job."""
    workdir.mkdir(exist_ok=True)
    params = SimpleNamespace(compute=compute or ComputeSettings())
    return SimpleNamespace(workdir=workdir, logs=logs or workdir / "logs", device=torch.device("cpu"), params=params)


def train(workdir, epochs=6, delay=0.0, model=Noisy, compute=None, logs=None, **options):
    count = 49 if model is Exact else 50  # the last batch has one sample, or the two that batch normalisation needs
    with seeded(1):
        model = model()
    options = {"decay": "cosine", "learning_rate": 0.01, **options}
    schedule = Schedule(epochs=epochs, batch_size=16, **options)
    samples = Points(count, 1, delay), Points(20, 2)
    return model, fit(job(workdir, compute, logs), model, *samples, schedule, seed=3, label="points, few")


def kill_in_epoch(epoch, workdir, **options):
    """Output of a training after it was killed in an epoch, once no process of it is left."""
    script = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[2])\n"
        "from test_training import ComputeSettings, Exact, Noisy, train\n"
        f"train(pathlib.Path(sys.argv[1]), delay=0.1, {', '.join(f'{k}={v}' for k, v in options.items())})\n"
    )
    here = os.path.dirname(__file__)
    # The same bits need the same number of threads; a Dask cluster of another test leaves its own in the environment.
    threads = str(torch.get_num_threads())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    process = subprocess.Popen(
        [sys.executable, "-c", script, workdir, here], stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    for line in process.stdout:
        if f"epoch {epoch}/" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    with process.stdout:
        return process.stdout.read()


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.values(), other.values(), strict=True))


def test_same_seed_same_bits_and_a_finished_run_is_not_repeated(tmp_path):
    model, history = train(tmp_path / "a")
    again, same = train(tmp_path / "b")
    finished, kept = train(tmp_path / "a")
    assert equal(model.state_dict(), again.state_dict()) and history == same
    assert equal(model.state_dict(), finished.state_dict()) and history == kept
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert history[0]["validation_half"] == pytest.approx(history[0]["validation_loss"] / 2)


def test_killed_run_resumes_to_the_same_bits(tmp_path):
    kill_in_epoch(3, tmp_path / "killed")
    assert (tmp_path / "killed" / "last.ckpt").exists()
    resumed, history = train(tmp_path / "killed")
    unbroken, expected = train(tmp_path / "unbroken")
    assert history == expected
    assert equal(resumed.state_dict(), unbroken.state_dict())


@pytest.mark.skipif(os.cpu_count() < 2, reason="needs two cores")
def test_two_processes_train_as_one_also_after_a_kill(tmp_path):
    """The last batch has a single sample, so one of the processes gets none."""
    output = kill_in_epoch(2, tmp_path / "two", model="Exact", compute="ComputeSettings(devices=2)")
    assert "epoch 6" not in output  # the processes died with the one that had started them
    assert (tmp_path / "two" / "last.ckpt").exists()
    logs = tmp_path / "logs"
    two, history = train(tmp_path / "two", model=Exact, compute=ComputeSettings(devices=2), logs=logs)
    one, expected = train(tmp_path / "one", model=Exact)
    assert [row["train_loss"] for row in history] == pytest.approx([row["train_loss"] for row in expected], rel=1e-5)
    assert [row["validation_loss"] for row in history] == pytest.approx([row["validation_loss"] for row in expected], rel=1e-5)
    for a, b in zip(two.state_dict().values(), one.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    # The recorded number is the mean of what two different generators gave.
    draws = []
    for generator, counts in ((generator_for(3, 5, 0), (8, 8, 8, 1)), (generator_for(3, 5, 4), (8, 8, 8, 1))):
        draws.append([])
        for count in counts:
            torch.randn(count, 1, generator=generator)  # the jitter of the samples
            draws[-1].append(torch.randn((), generator=generator).item())
    shares = torch.tensor([[8, 8, 8, 1], [8, 8, 8, 0]])
    assert history[5]["train_draw"] == pytest.approx(float((torch.tensor(draws) * shares).sum() / 49), abs=1e-6)
    assert len((logs / "points-few.csv").read_text().splitlines()) == 7
    assert not (tmp_path / "two" / "task.pt").exists()


def test_faults_of_several_devices_are_named(tmp_path):
    with pytest.raises(UserError, match=r"compute.devices = 9999: there are \d+ processor cores. Set compute.devices to \d+ or less"):
        train(tmp_path, compute=ComputeSettings(devices=9999))
    if os.cpu_count() > 1:
        with pytest.raises(UserError, match="points, few: the loss is no longer finite in epoch 1. lower the learning rate"):
            train(tmp_path, model=Exact, compute=ComputeSettings(devices=2), learning_rate=float("inf"), decay="constant")


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
    assert printed[-1].startswith(f"points, few: epoch {len(losses)}/40")
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
        fit(job(tmp_path), Noisy(), Points(0, 1), Points(2, 1), Schedule(1, 1, 1.0), seed=1, label="x")
    with pytest.raises(UserError, match="no longer finite"):
        train(tmp_path, learning_rate=float("inf"), decay="constant")


def test_table_has_each_epoch_once_also_after_a_resume(tmp_path):
    """A training that ends after two epochs, and one with the same state that goes on to the fifth."""
    train(tmp_path, epochs=2, decay="constant", logs=tmp_path / "logs")
    _, history = train(tmp_path, epochs=5, decay="constant", logs=tmp_path / "logs")
    with open(tmp_path / "logs" / "points-few.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert all(float(row["seconds"]) >= 0 for row in rows)
    for name in ("learning_rate", "train_loss", "train_half", "validation_loss"):
        assert [float(row[name]) for row in rows] == [row[name] for row in history]


def test_tensorboard_is_asked_for_or_missed(tmp_path, monkeypatch):
    import lightning.pytorch.loggers as loggers

    written = []

    class Stand(loggers.logger.DummyLogger):
        def __init__(self, folder, name, version):
            super().__init__()
            self.place = folder / name / version

        def log_metrics(self, metrics, step):
            written.append((self.place, step, metrics))

    monkeypatch.setattr(loggers, "TensorBoardLogger", Stand)
    wanted = {"compute": ComputeSettings(tensorboard=True), "logs": tmp_path / "logs"}
    _, history = train(tmp_path / "a", epochs=2, **wanted)
    assert [(step, place) for place, step, _ in written] == [(n, tmp_path / "logs" / "tensorboard" / "points-few") for n in (1, 2)]
    assert [metrics["train_loss"] for *_, metrics in written] == [row["train_loss"] for row in history]

    def missing(*_, **__):
        raise ModuleNotFoundError("Neither `tensorboard` nor `tensorboardX` is available")

    monkeypatch.setattr(loggers, "TensorBoardLogger", missing)
    with pytest.raises(UserError, match="TensorBoard is not installed. Install it .*, or set compute.tensorboard=false"):
        train(tmp_path / "b", **wanted)


class Blurred(nn.Module):
    """Decodes volumes and compares their Fourier transforms; keeps the types that it met."""

    def __init__(self):
        super().__init__()
        self.layer, self.loss, self.seen = nn.Linear(4, 64), TwoPointLoss(), set()

    def losses(self, batch, generator):
        volume = self.layer(batch["x"])
        self.seen |= {batch["product"].dtype, volume.dtype}
        volume = volume.unflatten(1, (1, 4, 4, 4))
        return {"loss": self.loss(torch.zeros_like(volume), volume, generator).mean()}


class Products(Points):
    def batch(self, index, generator):
        return {"x": self.x[index], "product": self.x[index] @ self.x[index].T}


@pytest.mark.parametrize("precision, dtype", [("bf16-mixed", torch.bfloat16), ("auto", torch.float32)])
def test_precision_is_that_of_the_network_not_of_the_data(tmp_path, precision, dtype):
    model = Blurred()
    compute = ComputeSettings(precision=precision)
    history = fit(job(tmp_path, compute), model, Products(32, 1), Products(8, 2), Schedule(3, 16, 0.01), seed=1, label="x")
    assert model.seen == {torch.float32, dtype}
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_automatic_precision_follows_the_gpu(monkeypatch):
    for suits, expected in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, suits=suits: suits)
        assert precision_on(torch.device("cuda"), "auto") == expected
    assert precision_on(torch.device("cuda"), "32-true") == "32-true"


def test_adamw_decays_matrices_alone():
    """Without a gradient a step multiplies by 1 - rate * decay (Loshchilov & Hutter 2019, algorithm 2)."""
    model = nn.Linear(3, 3)
    before = [p.detach().clone() for p in (model.weight, model.bias)]
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    Schedule(1, 1, 0.1, weight_decay=0.5, optimizer="adamw", betas=(0.9, 0.95)).optimizer_for(model).step()
    assert torch.allclose(model.weight, before[0] * 0.95) and torch.equal(model.bias, before[1])
