"""What S1's network learns from how many volume elements: the measurements behind notebooks 03 and 04.

    python benchmarks/s1_learning.py FOLDER [--seconds 520] [--workers 4]

At the scale of the laptop profile (cubic, 16^3 voxels, 6,000 tessellations that get new orientations, shifts and axes at
every visit) it writes to FOLDER, a row a training:

* ``s1_learning_curve.csv``: both variants, each training a schedule of its own, the longest as long as there is time;
* ``s1_matrix.csv``: sizes of the fingerprint by depths of the network (White et al. 2025, figures 2 and 3, table 4);
* ``s1_start.csv``: what the network's initial weights and its penalty on weights do;
* ``s1_linear.csv``, ``s1_channels.csv``: the best linear code of Euler channels, and errors of channels with noise on them;
* ``s1_edge_cases.csv`` and ``s1_clusters.csv``: of the longest training (the paper's tables 5 and 6, and section 3.3.3).

Errors are means over 40 test volume elements, see `ReconstructionError.summary`; `r2_*` is the explained share of the
variance of an Euler channel. Training runs in bfloat16 as a CUDA graph; without a GPU as it is in the study.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor, nn

from microprint.analysis import latent
from microprint.analysis.reconstruction import reconstruction_error
from microprint.microstructures.polycrystal import COMPONENTS, generate
from microprint.microstructures.volume_elements import VolumeElements
from microprint.networks.resnet_vae import BLOCKS, ResidualBlock
from microprint.networks.spectral_code import SpectralCode
from microprint.orientations import from_euler_channels, reduce
from microprint.systems.fingerprint import EulerSamples, Fingerprint
from microprint.training import Schedule

EDGE, TESSELLATIONS, TESTED, CASES, FITTED = 16, 6000, 40, 100, 2000
SECONDS = 520.0
MORPHOLOGIES = ("large", "small", "elongated")
# Normalised Euler angles far from the ends of their range and a small scatter, as for the paper's figure 8(d), whose own
# values are lost: four orientations of the fundamental zone.
AWAY = {"a": (0.25, 0.15, 0.75), "b": (0.45, 0.2, 0.55), "c": (0.6, 0.1, 0.4), "d": (0.75, 0.2, 0.2)}
AWAY_SCATTER = 0.01
SIZES = (64, 128, 256, 512)
# What of the initial weights each training has, each of these what the one before has, too; the last has all.
STARTS = {"torch's own": "torch", "variance kept": "he", "residual blocks from zero": "residual", "an open end": "open",
          "a narrow posterior": "ours"}  # fmt: skip
EXPLAINED = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)


@dataclass(frozen=True)
class Run:
    """One training; `ves` None: until the time is over."""

    table: str
    name: str = "paper"
    ves: int | None = None
    depth: str = "resnet12"
    latent_dim: int = 256
    width: int = 32
    hidden: int = 1024
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4 / 64  # the spectral term sums over 64 times fewer voxels than the paper's
    amsgrad: bool = True
    start: str = "ours"

    @property
    def columns(self) -> dict:
        names = ("name", "depth", "latent_dim", "width", "hidden", "batch", "learning_rate", "weight_decay")
        return {name: getattr(self, name) for name in names}


RUNS = [  # the longest first, which takes what the others leave
    Run("learning_curve"),
    *(Run("learning_curve", ves=ves) for ves in (30_000, 100_000, 300_000)),
    *(Run("matrix", "paper", 90_000, depth, size) for depth in BLOCKS for size in SIZES),
    *(Run("start", name, 40_000, start=start) for name, start in STARTS.items()),
    Run("start", "all, weight decay 1e-4", 40_000, weight_decay=1e-4),
    Run("start", "all, without AMSGrad", 40_000, amsgrad=False),
    Run("start", "laptop, width 8", 80_000, width=8, hidden=256, batch=16),
    Run("start", "laptop, width 16", 30_000, width=16, hidden=512, batch=16),
    Run("learning_curve", "coded", 200_000),
    Run("learning_curve", ves=800_000),
]


def begin(run: Run) -> Fingerprint:
    """The network before its first step, with initial weights of this repository, or less of what they do."""
    torch.manual_seed(0)
    network = {"edge": EDGE, "depth": run.depth, "latent_dim": run.latent_dim, "hidden": run.hidden, "width": run.width,
               "coded": run.name == "coded"}  # fmt: skip
    fingerprint = Fingerprint.build({"variant": "paper", "symmetry": "cubic", "edge": EDGE, "network": network})
    model = fingerprint.network
    if run.start == "torch":
        for layer in model.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
    if run.start == "he":
        for block in model.modules():
            if isinstance(block, ResidualBlock):
                nn.init.ones_(block.layers[-1].weight)
    if run.start in ("he", "residual"):
        lifted = [layer for layer in model.reconstruct if isinstance(layer, nn.ConvTranspose3d)][-1]
        nn.init.zeros_(lifted.bias)
        nn.init.zeros_(model.reconstruct[-1].bias)
    if run.start in ("he", "residual", "open"):
        nn.init.zeros_(model.to_log_variance.bias)
    return fingerprint


def train(run: Run, folder: Path, end: float) -> list[dict]:
    """Train and test; rows of its table, of further tables where it is the longest."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(4 if device.type == "cuda" else 1)
    train_set, test = torch.load(folder / "sets.pt", weights_only=False)
    parts = (part.to(device) for part in (train_set.grain_id, train_set.quaternion, train_set.grains))
    on_device = VolumeElements(*parts, "cubic")
    fingerprint, samples = begin(run), EulerSamples(on_device, augment=True)
    fingerprint.network.to(device).train()
    begun = time.time()
    ves = _steps(run, fingerprint.network, samples, device, begun, end)
    seconds = time.time() - begun
    fingerprint.network.eval()
    device_name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    row = {"table": run.table, **run.columns, "ves": ves, "seconds": round(seconds, 1), "device": device_name}
    rows = [row | tested(fingerprint, test)]
    if run.ves is None:
        rows += edge_cases(fingerprint, ves) + clusters(fingerprint, train_set[:FITTED], ves)
    return rows


def _steps(run: Run, network: nn.Module, samples: EulerSamples, device: torch.device, begun: float, end: float) -> int:
    """Train to the end of the schedule; returns how many volume elements were seen."""
    schedule = Schedule(1, run.batch, run.learning_rate, decay="cosine", warmup=0.05)
    rate = torch.tensor(run.learning_rate, device=device)
    on_gpu = device.type == "cuda"
    optimizer = torch.optim.Adam(network.parameters(), rate, weight_decay=run.weight_decay, amsgrad=run.amsgrad, fused=on_gpu,
                                 capturable=on_gpu)  # fmt: skip
    data, noise = (torch.Generator(device).manual_seed(seed) for seed in (1, 2))

    def batch() -> Tensor:
        return samples.batch(torch.randint(len(samples), (run.batch,), generator=data, device=device), data)["channels"]

    x = batch()

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu, cache_enabled=False):
            loss = network.losses({"channels": x}, noise)["loss"]
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    rate.zero_()  # the steps before the graph leave the weights as they are
    replay = _graph(step, noise) if on_gpu else step
    seen = 0
    while True:
        progress = seen / run.ves if run.ves else (time.time() - begun) / (end - begun)
        if progress >= 1:
            return seen
        rate.fill_(schedule.rate(progress))
        x.copy_(batch())
        replay()
        seen += run.batch
        if on_gpu and seen % (32 * run.batch) == 0:
            torch.cuda.synchronize()  # the clock is of finished steps


def _graph(step, noise: torch.Generator):
    """The step as a CUDA graph: one launch instead of a thousand."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(noise)
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def tested(fingerprint: Fingerprint, elements: VolumeElements) -> dict[str, float]:
    """What `judged` says of the reconstructions, the terms of the loss, and the size of fingerprints and of their noise."""
    device = next(fingerprint.network.parameters()).device
    x = channels_of(elements, device)
    with torch.no_grad():
        mean, log_variance = fingerprint.network.encode(x)
        logits = fingerprint.network.logits(mean)
    drawn = torch.sigmoid(logits)
    return judged(drawn, elements) | {
        "cross_entropy": float(nn.functional.binary_cross_entropy_with_logits(logits, x)),
        "spectral": float((drawn - x).square().sum((2, 3, 4)).mean()),  # by Parseval's theorem
        "spread": float(mean.std(0).mean()),
        "posterior_width": float((0.5 * log_variance).exp().mean()),
    }


def channels_of(elements: VolumeElements, device: torch.device | str = "cpu") -> Tensor:
    """Euler channels (N, 3, n, n, n)."""
    return EulerSamples(elements).batch(torch.arange(len(elements)), torch.Generator(device))["channels"]


def judged(drawn: Tensor, elements: VolumeElements) -> dict[str, float]:
    """Errors of channels (N, 3, n, n, n) drawn for volume elements, and the explained share of each channel's variance."""
    x = channels_of(elements, drawn.device)
    r2 = 1 - (drawn - x).square().mean((0, 2, 3, 4)) / x.var((0, 2, 3, 4))
    summary = reconstruction_error(reduce(from_euler_channels(drawn.movedim(1, -1)), "cubic").cpu(), elements).summary()
    errors = {key: summary[key] for key in ("disorientation_deg", "median_deg", "one_minus_abs_dot", "one_minus_abs_dot_raw")}
    return errors | {f"r2_{name}": float(value) for name, value in zip(("phi1", "Phi", "phi2"), r2, strict=True)}


def linear_codes(train_set: VolumeElements, test: VolumeElements) -> list[dict]:
    """The best linear code of the Euler channels, at every size of the fingerprint."""
    known, asked = channels_of(train_set[:FITTED]), channels_of(test)
    middle = known.mean((0, 2, 3, 4), keepdim=True)
    rows = []
    for size in SIZES:
        code = SpectralCode(size, 3).fit([known - middle])
        drawn = code.decode(code.encode(asked - middle), EDGE) + middle
        rows.append({"table": "linear", "latent_dim": size, **judged(drawn, test)})
    return rows


def noisy_channels(test: VolumeElements) -> list[dict]:
    """Errors of channels of which noise leaves a share explained: how well must Euler angles be known?"""
    x, generator = channels_of(test), torch.Generator().manual_seed(4)
    variance, noise = x.var((0, 2, 3, 4), keepdim=True), torch.randn(x.shape, generator=generator)
    return [{"table": "channels", "explained": share, **judged(x + noise * ((1 - share) * variance).sqrt(), test)}
            for share in EXPLAINED]  # fmt: skip


def cases(generator: torch.Generator) -> dict[str, VolumeElements]:
    """Edge cases by name: textures, morphologies, and the textures away from the ends of the Euler angles."""
    made = {name: generate(CASES, EDGE, "cubic", generator, texture=name) for name in COMPONENTS}
    made |= {name: generate(CASES, EDGE, "cubic", generator, morphology=name) for name in MORPHOLOGIES}
    for name, centre in AWAY.items():
        bare = generate(CASES, EDGE, "cubic", generator)
        noise = AWAY_SCATTER * torch.randn((*bare.quaternion.shape[:-1], 3), generator=generator)
        quaternion = reduce(from_euler_channels(torch.tensor(centre) + noise), "cubic")
        made[f"away {name}"] = VolumeElements(bare.grain_id, quaternion, bare.grains, "cubic")
    return made


def edge_cases(fingerprint: Fingerprint, ves: int) -> list[dict]:
    """Errors on every edge case."""
    sets = cases(torch.Generator().manual_seed(3))
    return [{"table": "edge_cases", "set": name, "ves": ves, **tested(fingerprint, some)} for name, some in sets.items()]


def clusters(fingerprint: Fingerprint, train_set: VolumeElements, ves: int) -> list[dict]:
    """Share of edge cases in the right cluster, by the paper's route and in components of their own."""
    z = {name: fingerprint.encode_set(some) for name, some in cases(torch.Generator().manual_seed(3)).items()}
    training = latent.PrincipalComponents.fit(fingerprint.encode_set(train_set))
    away = [name for name in z if name.startswith("away")]
    groups = {"textures": list(COMPONENTS), "textures away from zero": away, "morphologies": list(MORPHOLOGIES),
              "large or elongated": ["large", "elongated"]}  # fmt: skip
    groups["small or others"] = groups["morphologies"]
    rows = []
    for group, names in groups.items():
        by_set = {name: z[name] for name in names}
        points = {"training": [training.project(some, 3) for some in by_set.values()],
                  "own": latent.own_components(by_set, 3)}  # fmt: skip
        for components, sets in points.items():
            labels, found = latent.cluster_classes(sets, 10, seed=0)
            share = latent.clustering_accuracy(labels, found)
            if group == "small or others":
                table = latent.confusion(labels, found, len(names))
                share = float(table[1, 1] / table[1].sum())
            rows.append({"table": "clusters", "group": group, "components": components, "ves": ves, "accuracy": share})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="until the longest training ends")
    parser.add_argument("--workers", type=int, default=4, help="trainings at once")
    parser.add_argument("--share", type=float, default=1.0, help="of the volume elements of every other training")
    arguments = parser.parse_args()
    end, folder = time.time() + arguments.seconds, arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(5)
    sets = [generate(count, EDGE, "cubic", generator) for count in (max(int(TESSELLATIONS * arguments.share), 64), TESTED)]
    torch.save(sets, folder / "sets.pt")
    rows = linear_codes(*sets) + noisy_channels(sets[1])
    write(rows, folder)
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        runs = [Run(**(vars(run) | {"ves": run.ves and int(run.ves * arguments.share)})) for run in RUNS]
        for done in as_completed([pool.submit(train, run, folder, end) for run in runs]):
            if done.exception():
                print(repr(done.exception()), flush=True)  # costs its own row alone
                continue
            rows += done.result()
            print(done.result()[0], flush=True)
            write(rows, folder)
    (folder / "sets.pt").unlink()


def write(rows: list[dict], folder: Path) -> None:
    """A CSV a table; numbers to five digits."""
    for table, some in itertools.groupby(sorted(rows, key=lambda row: row["table"]), key=lambda row: row["table"]):
        some = [{key: f"{v:.5g}" if isinstance(v, float) else v for key, v in row.items() if key != "table"} for row in some]
        with (folder / f"s1_{table}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(some[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(some)


if __name__ == "__main__":
    main()
