"""S2 at its own scale: 8,900 composites of 51^3 voxels, its network and its rivals, forward and backward.

    python benchmarks/s2_learning.py FOLDER [--seconds 480] [--workers 4] [--vgg19 FILE] [--tiny] [--only TRAINING ...]

Composites of all 64 filters are made and labelled, 60/20/20 % of them train, validate and test; the trainings share what is
left of the time. S2's settings stand (tables 2 to 5, Adam 5e-4, batches of 8, an end after 10 epochs without a better
validation loss) but for an end when a training's time is over and the style loss, which sees a sample of the slices,
without bias. Rows are appended to tables in FOLDER as soon as they are known:

* ``s2_labels.csv``: how many composites were labelled, and in what time;
* ``s2_forward.csv``: errors on the test set of every model, a row a component of the stiffness;
* ``s2_history.csv``: losses of every training, a row an epoch;
* ``s2_inverse.csv``: designs for eight targets of C11, simulated, from the whole set and from two morphologies (table 6);
* ``s2_inverse_six.csv``: the same for ten test composites' six components (table 10);
* ``s2_reconstruction.csv``: stiffness of what the decoder makes of test composites' own codes, the floor of a design's error;
* ``s2_components.csv``: held-out likelihood of posteriors under priors of K components;
* ``s2_style.csv``, ``s2_elongation.csv``: what a sample of slices does to the style loss; why it takes three axes (figure 5).

S2's multipliers of the loss bring its terms to one order of magnitude. With the style loss of unrelated composites as unit,
the regression loss (about one nat at the start) has the factor 1 times S2's weight of 10, and the divergence S2's 20, for a
style loss as it is, times S2's weight of 1. Training is in bfloat16 as a CUDA graph where there is a GPU. With that weight
the posteriors of the first epochs collapse onto the prior, so some trainings have a tenth or a hundredth of it; ``--only``
gives all the time to trainings named as in ``s2_history.csv``, and makes no table that is not of a training.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor, nn

from microprint.analysis import forward_rivals, style_sampling
from microprint.analysis.composites import statistics, volume_fraction
from microprint.analysis.regression import r2, straight_line
from microprint.errors import UserError
from microprint.microstructures.composite import filters, generate
from microprint.networks.gaussian_process import GaussianProcess
from microprint.networks.vae_regression import (
    CNN3D,
    UNCONDITIONED,
    Objective,
    Posteriors,
    SliceStyle,
    VAERegression,
    Weights,
    fit_generator,
)
from microprint.networks.vgg import STYLE_LAYERS, VGG19
from microprint.systems.conditional_prior import held_out_likelihoods
from microprint.systems.designs import binarise
from microprint.systems.inverse_design import CompositeSamples, InverseDesign, LogScale
from microprint.systems.stiffness import CASES, components, simulate

SIX = ("C11", "C22", "C33", "C12", "C13", "C23")
TWO = ((6.5, 1.0, 1.0), (1.0, 6.5, 6.5))  # fibres along x, plates normal to x: one C11, two volume fractions
TARGETS = (20.0, 25.0, 30.0, 35.0, 40.0, 50.0, 60.0, 80.0)  # GPa, of C11
VECTORS = 10  # test composites whose six components are targets
SECONDS, TINY_SECONDS = 480.0, 60.0
RATE, BATCH, PATIENCE, EPOCHS = 5e-4, 8, 10, 1000
REGRESSION, DIVERGENCE = 10.0, 20.0  # factors, the latter for a style loss as it is
TESTED = 32  # volumes that go through a network together when none is trained
GPA = 1e9
TAIL = 0.03  # share of the time left at the end
LEAST = 2.0  # seconds of the shortest training


@dataclass(frozen=True)
class Scale:
    """How large everything is; S2's sizes unless said."""

    composites: int = 8900
    edge: int = 51
    widths: tuple[float, ...] = (1.0, 2.0, 4.0, 6.5)  # of the filters, voxels; S2's are lost
    width: int = 16
    hidden: int = 2048
    latent_dim: int = 16
    slices: int = 2  # an axis, of 51
    layers: tuple[str, ...] = STYLE_LAYERS
    draws: int = 24  # of the sampled style loss, to say what sampling does
    pairs: int = 8
    refit: int = 500  # steps of a generator on posteriors that stand
    overhead: float = 14.0  # seconds that a training's data, tests and designs take


TINY = Scale(192, 13, (1.0, 6.5), width=4, hidden=32, latent_dim=4, layers=("conv1_1", "pool1"), draws=6, pairs=4,
             refit=50, overhead=6.0)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One training; `share` of the time that is left to all of them."""

    name: str
    share: float
    prior: str | None = "mixture"  # None: the CNN
    names: tuple[str, ...] = ("C11",)
    two: bool = False  # of the two morphologies alone
    divergence: float = 1.0  # times S2's weight

    @property
    def label(self) -> str:
        return f"{self.name}, {'two morphologies' if self.two else 'all'}, {'six' if len(self.names) > 1 else 'C11'}"


RUNS = [
    Run("gaussian", 10, "gaussian"),
    Run("mixture", 10),
    Run("single", 9, "single"),
    Run("cnn", 5, None),
    Run("vae", 7, UNCONDITIONED),
    Run("mixture", 7, names=SIX),
    Run("gaussian", 7, "gaussian", names=SIX),
    Run("cnn", 4, None, names=SIX),
    *(Run(prior, 2, prior, two=True) for prior in ("gaussian", "single", "mixture")),
    *(Run(f"{prior}, a tenth of the divergence", 2, prior, two=True, divergence=0.1) for prior in ("gaussian", "mixture")),
    Run("mixture, a tenth of the divergence", 7, divergence=0.1),
    *(Run(f"{prior}, a hundredth of the divergence", 7, prior, divergence=0.01) for prior in ("mixture", "gaussian", "single")),
]


@dataclass
class Data:
    """Labelled composites: phase (N, n, n, n) uint8, stiffness (N, 6, 6) Pa, float32, filter widths (N, 3), and the parts."""

    phase: Tensor
    stiffness: Tensor
    widths: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)

    def two_morphologies(self) -> Data:
        """The same with parts of the two morphologies alone."""
        chosen = (self.widths[:, None] == torch.tensor(TWO)).all(2).any(1)
        return replace(self, parts={name: index[chosen[index]] for name, index in self.parts.items()})

    def of(self, part: str, names: tuple[str, ...]) -> Tensor:
        """Properties (M, p) of a part, Pa."""
        return components(self.stiffness[self.parts[part]], names)


# --- tables ----------------------------------------------------------------------------------------------------------


def append(folder: Path, table: str, rows: list[Mapping]) -> None:
    """Rows at the end of a table, with a header where it is new; numbers to five digits. Processes take turns."""
    rows = [{key: f"{v:.5g}" if isinstance(v, float) else v for key, v in row.items()} for row in rows]
    with (folder / f"s2_{table}.csv").open("a", newline="") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerows(rows)


def forward_rows(model: str, predicted: Tensor, data: Data, names: tuple[str, ...], **more) -> list[dict]:
    """Errors of predictions (M, p), Pa, for the test part."""
    measured = forward_rivals.errors(predicted.cpu(), data.of("test", names), names)
    count = {"properties": len(names), "trained_on": len(data.parts["train"])}
    return [{"model": model, "component": name, **errors, **count, "components": "", "epochs": "", "stopped": "",
             "seconds": "", **more}
            for name, errors in measured.items()]  # fmt: skip


# --- data ------------------------------------------------------------------------------------------------------------


def make(scale: Scale, device: torch.device, folder: Path, end: float, seed: int = 0) -> Data:
    """Make and label composites until the time is over; a chunk that does not converge is left out, volume by volume."""
    generator, begun = torch.Generator().manual_seed(seed), time.time()
    rows = filters(scale.widths)[torch.arange(scale.composites) % len(scale.widths) ** 3]
    made = [generate(part, scale.edge, generator, device=device) for part in rows.split(128)]
    phase, made_in = torch.cat([part.phase.cpu() for part in made]), time.time() - begun
    del made
    order = torch.randperm(len(phase), generator=generator)
    phase, rows, begun, labels = phase[order], rows[order], time.time(), []
    for part in phase.split(128):
        labels.append(label(part, device))
        if time.time() > end:
            break
    stiffness = torch.cat(labels)
    known = stiffness[:, 0, 0].isfinite()
    count = len(stiffness)
    data = Data(phase[:count][known], stiffness[known].float(), rows[:count][known])
    first = data.stiffness[:, 0, 0] / GPA
    append(folder, "labels", [{
        "made": len(phase), "made_seconds": made_in, "labelled": count, "labelled_seconds": time.time() - begun,
        "failed": int((~known).sum()), "edge": scale.edge, "c11_least_gpa": float(first.min()),
        "c11_most_gpa": float(first.max()), "device": device_name(device)}])  # fmt: skip
    total = len(data.phase)
    bounds = (0, int(0.6 * total), int(0.8 * total), total)
    data.parts = {name: torch.arange(*pair) for name, pair in zip(("train", "validation", "test"), zip(bounds, bounds[1:]))}
    return data


@cache
def load(folder: Path) -> Data:
    """What `make` left in a folder, once a process."""
    return torch.load(folder / "sets.pt", weights_only=False)


def label(phase: Tensor, device: torch.device) -> Tensor:
    """Stiffness (B, 6, 6), nan where there is no convergence."""
    try:
        return simulate(phase, device, CASES["normal"])
    except UserError:
        if len(phase) == 1:
            return torch.full((1, 6, 6), torch.nan, dtype=torch.float64)
    return torch.cat([label(half, device) for half in phase.split((len(phase) + 1) // 2)])


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else "CPU"


# --- training --------------------------------------------------------------------------------------------------------


def train(run: Run, scale: Scale, folder: Path, vgg19: Path | None, seconds: float) -> str:
    """Train and test one model; its rows go to the tables. Returns a line that says what was done."""
    device, begun = torch.device("cuda" if torch.cuda.is_available() else "cpu"), time.time()
    torch.set_num_threads(4 if device.type == "cuda" else 1)
    torch.backends.cudnn.benchmark = True
    data = load(folder)
    data = data.two_morphologies() if run.two else data
    stop = begun + seconds
    log_scale = LogScale.of(data.of("train", run.names))
    samples = {part: samples_of(data, part, run.names, log_scale, device) for part in ("train", "validation")}
    torch.manual_seed(0)
    sizes = {"edge": scale.edge, "properties": len(run.names), "width": scale.width, "hidden": scale.hidden}
    config = {"properties": run.names, "log_mean": log_scale.mean.tolist(), "log_std": log_scale.std.tolist()}
    if run.prior is None:
        model = objective = CNN3D(**sizes).to(device)
    else:
        sizes |= {"prior": run.prior, "components": 2, "latent_dim": scale.latent_dim}
        model = VAERegression(**sizes).to(device)
        objective = Objective(model, *reconstruction(run, scale, vgg19, samples["train"], device))
    epochs, why = fit(objective, samples, device, stop, lambda row: append(folder, "history", [{"training": run.label} | row]))
    model.eval()
    done = {"epochs": epochs, "stopped": why, "seconds": time.time() - begun}
    finish(run, model, config | {"model": sizes}, data, folder, scale, done)
    return f"{run.label}: {epochs:.1f} epochs, {time.time() - begun:.0f} s, stopped by {why}"


def samples_of(data: Data, part: str, names: tuple[str, ...], scale: LogScale, device: torch.device) -> CompositeSamples:
    index = data.parts[part]
    on_device = LogScale(scale.mean.tolist(), scale.std.tolist())
    on_device.mean, on_device.std = scale.mean.to(device), scale.std.to(device)
    return CompositeSamples(data.phase[index].to(device), data.stiffness[index].to(device), names, on_device, augment=False)


@torch.no_grad()
def reconstruction(
    run: Run, scale: Scale, vgg19: Path | None, samples: CompositeSamples, device: torch.device
) -> tuple[SliceStyle, Weights]:
    """Style loss, and factors with the style loss of unrelated volumes as unit."""
    style = SliceStyle(VGG19.load(vgg19), scale.layers, scale.slices).to(device)
    x = samples.phase[:TESTED, None].float()
    unrelated = style(x, x.roll(1, 0), torch.Generator(device).manual_seed(3)).mean().item()
    regression = 0.0 if run.prior == UNCONDITIONED else REGRESSION
    return style, Weights(1 / unrelated, regression, run.divergence * DIVERGENCE / unrelated)


def fit(
    objective: nn.Module,
    samples: Mapping[str, CompositeSamples],
    device: torch.device,
    stop: float,
    record: Callable[[dict], None],
) -> tuple[float, str]:
    """Train in place, to the weights of the best validation loss; returns the epochs and why it stopped."""
    begun, on_gpu, train_set = time.time(), device.type == "cuda", samples["train"]
    rate = torch.tensor(RATE, device=device)
    optimizer = torch.optim.Adam(objective.parameters(), rate, fused=on_gpu, capturable=on_gpu)
    order, noise = torch.Generator(device).manual_seed(1), torch.Generator(device).manual_seed(2)
    objective.train()
    size = min(BATCH, len(train_set))
    fixed = train_set.batch(torch.arange(size), order)
    totals: dict[str, Tensor] = {}

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu, cache_enabled=False):
            losses = objective.losses(fixed, noise)
        optimizer.zero_grad(set_to_none=False)
        losses["loss"].backward()
        optimizer.step()
        for key, value in losses.items():
            totals.setdefault(key, torch.zeros((), device=device)).add_(value.detach().float())

    rate.zero_()  # the steps before the graph leave the weights as they are
    replay = graphed(step, noise) if on_gpu else step
    rate.fill_(RATE)
    best, lowest, behind, epochs = {}, float("inf"), 0, 0.0
    steps = len(train_set) // size
    while True:
        for value in totals.values():
            value.zero_()
        made = 0
        for index in torch.randperm(len(train_set), generator=order, device=device).split(size)[:steps]:
            batch = train_set.batch(index, order)
            for key, value in batch.items():
                fixed[key].copy_(value)
            replay()
            made += 1
            if made % 16 == 0 and on_gpu:
                torch.cuda.synchronize()  # the clock is of finished steps
            if time.time() > stop:
                break
        epochs += made / steps
        row = {"epoch": epochs, "seconds": time.time() - begun}
        held_out = validated(objective, samples["validation"], device)
        for key in ("loss", "regression", "reconstruction", "kl"):
            row[f"train_{key}"] = float(totals[key] / made) if key in totals else ""
            row[f"validation_{key}"] = held_out.get(key, "")
        record(row)
        behind = 0 if held_out["loss"] < lowest else behind + 1
        if behind == 0:
            lowest, best = held_out["loss"], {key: value.clone() for key, value in objective.state_dict().items()}
        why = "patience" if behind >= PATIENCE else "time" if time.time() > stop else "epochs" if epochs >= EPOCHS else ""
        if why:
            objective.load_state_dict(best or objective.state_dict())
            return epochs, why


@torch.no_grad()
def validated(objective: nn.Module, samples: CompositeSamples, device: torch.device) -> dict[str, float]:
    """Mean losses of the validation part, with the same noise every time."""
    noise, sums = torch.Generator(device).manual_seed(4), {}
    for index in torch.arange(len(samples)).split(TESTED):
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            losses = objective.losses(samples.batch(index, noise), noise)
        for key, value in losses.items():
            sums[key] = sums.get(key, 0.0) + value.float() * len(index) / len(samples)
    return {key: float(value) for key, value in sums.items()}


def graphed(step: Callable[[], None], noise: torch.Generator) -> Callable[[], None]:
    """The step as a CUDA graph, one launch instead of a thousand; the step itself where it cannot be captured."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(noise)
    try:
        with torch.cuda.graph(graph):
            step()
    except RuntimeError as error:
        print(f"no CUDA graph: {error}", flush=True)
        torch.cuda.synchronize()
        return step
    return graph.replay


# --- what a training was good for ----------------------------------------------------------------------------------


def finish(run: Run, model: nn.Module, config: dict, data: Data, folder: Path, scale: Scale, done: dict) -> None:
    """Rows of a trained model: forward, backward, and how many components its posteriors ask for."""
    test, device = data.phase[data.parts["test"]], next(model.parameters()).device
    if run.prior is None:
        log_scale = LogScale(config["log_mean"], config["log_std"])
        with torch.no_grad():
            mean = torch.cat([model(x[:, None].to(device).float()) for x in test.split(TESTED)]).cpu()
        predicted = log_scale.inverse(mean, torch.zeros_like(mean))[0]
        return append(folder, "forward", forward_rows("3D CNN (Reg-Only)", predicted, data, run.names, **done))
    design = InverseDesign(model, config)
    if run.prior == UNCONDITIONED:
        return plain_vae(design, data, folder, done)
    name = f"VAE-Reg, {run.name}" + (", two morphologies" if run.two else "")
    append(folder, "forward", forward_rows(name, design.predict(test)[0], data, run.names, **done))
    reconstruct(run, design, data, folder)
    invert(run, design, data, folder, "as trained")
    parts = [(data.phase[data.parts[part]], data.of(part, run.names)) for part in ("train", "validation")]
    known, held = (Posteriors(*(value.to(device) for value in design.posteriors(*part))) for part in parts)
    fit_generator(model.generator, known, scale.refit)
    invert(run, design, data, folder, "refitted")
    if run.prior == "mixture" and len(run.names) == 1:
        likelihoods = held_out_likelihoods(known, held, steps=scale.refit, restarts=2)
        base = likelihoods[1]
        append(folder, "components", [
            {"training": run.label, "components": count or "1, linear", "nats": float(values.mean()),
             "over_one": float((values - base).mean()), "error": float((values - base).std() / len(base) ** 0.5)}
            for count, values in likelihoods.items()])  # fmt: skip


def plain_vae(design: InverseDesign, data: Data, folder: Path, done: dict) -> None:
    """Regressions on the codes of a network that has not seen properties."""
    codes = {part: design.encode(data.phase[data.parts[part]]).cpu() for part in ("train", "test")}
    for kind in forward_rivals.RIVALS:
        begun = time.time()
        predicted = forward_rivals.code_regression(codes["train"], data.of("train", SIX), codes["test"], kind)
        more = done | {"seconds": done["seconds"] + time.time() - begun}
        append(folder, "forward", forward_rows(f"VAE+{kind}", predicted, data, SIX, **more))


def reconstruct(run: Run, design: InverseDesign, data: Data, folder: Path) -> None:
    """Errors of the volume fraction and of C11 of decoded posterior means against the composites themselves."""
    phase = data.phase[data.parts["test"][:TESTED]]
    drawn = binarise(design.decode(design.encode(phase)))
    achieved = label(drawn, next(design.model.parameters()).device)[:, 0, 0]
    truth = data.of("test", ("C11",))[:TESTED, 0].double()
    difference = (volume_fraction(drawn) - volume_fraction(phase)).abs().mean()
    append(folder, "reconstruction", [{
        "training": run.label, "composites": len(phase), "volume_fraction_error": float(difference),
        "c11_error_pct": float(100 * (achieved / truth - 1).abs().mean()), "c11_r2_log": r2(achieved.log(), truth.log()),
    }])  # fmt: skip


@torch.no_grad()
def invert(run: Run, design: InverseDesign, data: Data, folder: Path, generator: str) -> None:
    """Designs from the means of the prior's components, simulated."""
    device, count = next(design.model.parameters()).device, 2 if run.prior == "mixture" else 1
    if len(run.names) == 1:
        wanted = [[target * GPA] for target in TARGETS]
    else:
        wanted = data.of("test", run.names)[:VECTORS].double().tolist()
    proposals = [design.latents(target, count) for target in wanted]
    phase = binarise(design.decode(torch.cat([z for z, _ in proposals])))
    weight = torch.cat([w for _, w in proposals]).tolist()
    achieved = components(label(phase, device), run.names)
    targets = torch.tensor(wanted, dtype=torch.float64).repeat_interleave(count, 0)
    error, fraction, expected = 100 * (achieved / targets - 1).abs(), volume_fraction(phase).tolist(), design.predict(phase)[0]
    known = {"set": "two morphologies" if run.two else "all", "prior": run.name, "generator": generator}
    rows = []
    for i, values in enumerate(error.tolist()):
        row = known | {"target": targets[i, 0].item() / GPA, "component": i % count, "weight": weight[i]}
        row["volume_fraction"] = fraction[i]
        if len(values) == 1:
            row |= {"achieved": achieved[i, 0].item() / GPA, "expected": expected[i, 0].item() / GPA, "error_pct": values[0]}
        else:
            row |= {f"{name}_error_pct": value for name, value in zip(run.names, values)}
        rows.append(row)
    append(folder, "inverse" if len(run.names) == 1 else "inverse_six", rows)


# --- models without a network of their own, and the loss -------------------------------------------------------------


def nearest(data: Data, folder: Path) -> None:
    """The training composite next to each target: what a look-up gives."""
    for name, some in (("all", data), ("two morphologies", data.two_morphologies())):
        index, rows = some.parts["train"], []
        known = some.stiffness[index, 0, 0].double() / GPA
        for target in TARGETS:
            i = int((known.log() - torch.tensor(target).log()).abs().argmin())
            fraction, value = float(volume_fraction(some.phase[index[i]][None])), float(known[i])
            rows.append({
                "set": name, "prior": "nearest training composite", "generator": "", "target": target, "component": 0,
                "weight": 1.0, "volume_fraction": fraction, "achieved": value, "expected": value,
                "error_pct": 100 * abs(value / target - 1)})  # fmt: skip
        append(folder, "inverse", rows)


def classical(folder: Path) -> str:
    """Bounds, a line and a Gaussian process on 13 numbers, principal components of all two-point statistics."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(6 if device.type == "cuda" else 1)
    data, started = load(folder), time.time()
    train, held, test = (data.phase[data.parts[part]] for part in ("train", "validation", "test"))
    known, begun = data.of("train", SIX), time.time()

    def row(name: str, predicted: Tensor, **more) -> None:
        nonlocal begun
        append(folder, "forward", forward_rows(name, predicted, data, SIX, seconds=time.time() - begun, **more))
        begun = time.time()

    row("mean of the training set", known.mean(0).expand(len(test), -1))
    row("V-R-H", forward_rivals.voigt_reuss_hill(test, SIX))
    numbers, asked = statistics(train), statistics(test)
    row("13 numbers, linear", straight_line(numbers, known.double().log(), asked).exp())
    processes = [GaussianProcess.fit(numbers, log, torch.Generator().manual_seed(0)) for log in known.double().log().unbind(1)]
    row("13 numbers, Gaussian process", torch.stack([process.predict(asked)[0].exp() for process in processes], 1))
    vectors = [forward_rivals.full_two_point(part, device) for part in (train, held, test)]
    held_out = (vectors[1], data.of("validation", SIX))
    for kind, counts in (("polynomial", forward_rivals.COMPONENTS), ("gaussian", (8, 16))):
        predicted, chosen = forward_rivals.principal_regression((vectors[0], known), held_out, vectors[2], kind, counts)
        row(f"two-point statistics, PCA, {kind}", predicted, components=max(chosen))
    return f"models without a network: {time.time() - started:.0f} s"


def style_tables(data: Data, scale: Scale, vgg19: Path | None, folder: Path, device: torch.device) -> None:
    """What sampling does to the style loss of unrelated composites, and what one axis does not see."""
    vgg, generator = VGG19.load(vgg19).to(device), torch.Generator(device).manual_seed(6)
    x = data.phase[: scale.pairs, None].to(device).float()
    counts = (1, 2, 4, 8, 16, 32)
    style_sampling.sampling(x, x.roll(1, 0), vgg, scale.layers, counts, 2, generator)  # a GPU's first call is slow
    rows = style_sampling.sampling(x, x.roll(1, 0), vgg, scale.layers, counts, scale.draws, generator)
    append(folder, "style", [{"pairs": "unrelated"} | row._asdict() for row in rows])
    longer = style_sampling.elongation(vgg, scale.layers, generator, edge=scale.edge, pairs=scale.pairs)
    append(folder, "elongation", [row._asdict() for row in longer])


def shared_out(
    pool: ProcessPoolExecutor, runs: list[Run], scale: Scale, folder: Path, vgg19: Path | None, end: float, workers: int
) -> Iterator[str]:
    """Run trainings, so many at once, each as long as its share of what is left; a line about each that has ended."""
    waiting, running = list(runs), {}
    while waiting or running:
        while waiting and len(running) < workers:
            now, run = time.time(), waiting.pop(0)
            left = workers * (end - now) - sum(max(stop - now, 0.0) + scale.overhead for stop in running.values())
            seconds = left * run.share / (run.share + sum(other.share for other in waiting)) - scale.overhead
            seconds = min(seconds, end - now - scale.overhead)
            running[pool.submit(train, run, scale, folder, vgg19, max(seconds, LEAST))] = now + max(seconds, LEAST)
        for job in wait(running, return_when=FIRST_COMPLETED).done:
            del running[job]
            yield repr(job.exception())[:300] if job.exception() else job.result()  # a failure costs its own rows alone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, help=f"of everything; default {SECONDS:g}, {TINY_SECONDS:g} with --tiny")
    parser.add_argument("--workers", type=int, default=4, help="trainings at once")
    parser.add_argument("--vgg19", type=Path, help="vgg19.safetensors; default: that of the cache")
    parser.add_argument("--slices", type=int, help="slices an axis in the style loss")
    parser.add_argument("--tiny", action="store_true", help="everything in two minutes on a CPU, to see that it runs")
    labels = [run.label for run in RUNS]
    parser.add_argument("--only", nargs="+", choices=labels, default=labels, metavar="TRAINING", help="; ".join(labels))
    arguments = parser.parse_args()
    runs = [run for run in RUNS if run.label in arguments.only]
    begun, folder = time.time(), arguments.folder
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    folder.mkdir(parents=True, exist_ok=True)
    scale = TINY if arguments.tiny else Scale()
    scale = replace(scale, slices=arguments.slices or scale.slices)
    seconds = arguments.seconds or (TINY_SECONDS if arguments.tiny else SECONDS)
    workers = 2 if device.type == "cpu" else arguments.workers
    end = begun + seconds
    data = make(scale, device, folder, begun + 0.35 * seconds)
    torch.save(data, folder / "sets.pt")
    if everything := len(runs) == len(RUNS):
        style_tables(data, scale, arguments.vgg19, folder, device)
        nearest(data, folder)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    print(f"data after {time.time() - begun:.0f} s", flush=True)
    with ProcessPoolExecutor(workers + 1, mp_context=get_context("spawn")) as pool:
        others = pool.submit(classical, folder) if everything else None
        for line in shared_out(pool, runs, scale, folder, arguments.vgg19, end - TAIL * seconds, workers):
            print(line, flush=True)
        if others:
            print(repr(others.exception()) if others.exception() else others.result(), flush=True)
    (folder / "sets.pt").unlink()
    print(f"all after {time.time() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
