"""Fingerprints of polycrystal volume elements: a trained autoencoder as a user applies it, and the step that trains it.

Four variants share one face: `paper`, S1's ResNet VAE as written (White et al. 2025, arXiv 2503.17427); `coded`, the same
as the authors' public code runs; `ours`, the seeds of a power diagram with weights that a network expects, trained on grains
of several sizes and shapes; `equiaxed`, the same trained on equiaxed grains of one size alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from microprint import store
from microprint.arrays import Array, like, numbers, whole
from microprint.errors import MissingData, UserError
from microprint.machine import choose_device
from microprint.microstructures.periodic import voxel_centres
from microprint.microstructures.polycrystal import MORPHOLOGIES
from microprint.microstructures.sets import missing_sets
from microprint.microstructures.volume_elements import VOXELS_AT_ONCE, VolumeElements, read_volume_elements, stored_edges
from microprint.networks.fingerprint_net import METRIC_NUMBERS, NUMBERS_A_SEED, FingerprintNet
from microprint.networks.resnet_vae import ResNetVAE
from microprint.networks.seed_list import Seeds
from microprint.orientations import SYMMETRIES, euler_channels, expand, from_euler_channels, random, reduce
from microprint.params.relations import SYNTHETIC
from microprint.params.sections import FingerprintSettings, Params
from microprint.steps import Files, Job, step
from microprint.training import History, Schedule, fit, seeded

VARIANTS = ("paper", "coded", "ours", "equiaxed")
PAPERS = VARIANTS[:2]
SPARE = 1.1  # seeds for a grain of the mean training volume element, in training
SETS = ("train", "validation", "test")  # of a symmetry, without which it has no fingerprints


# --- samples of volume elements --------------------------------------------------------------------------------------


class EulerSamples:
    """What S1's network trains on: Euler channels (B, 3, n, n, n), made on the training device.

    `augment` as in `GrainSamples`: S1's training set is so large that its network, too, sees little twice.
    """

    def __init__(self, elements: VolumeElements, augment: bool = False) -> None:
        self.elements, self.augment = elements, augment

    def __len__(self) -> int:
        return len(self.elements)

    def batch(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """``channels`` of the volume elements `index`, on the generator's device."""
        grain_id, quaternion = _drawn(self.elements, index, generator, self.augment)
        return {"channels": expand(grain_id, euler_channels(reduce(quaternion, self.elements.symmetry)))}


class GrainSamples:
    """What our network trains on: grain ids (B, n, n, n), and orientations (B, G, 4) of the grains in the fundamental zone.

    `augment` leaves no more than the tessellation of the volume elements, which then may be of any symmetry: at every visit
    it draws a random periodic shift, a random order and direction of the axes, and random orientations.
    """

    def __init__(self, elements: VolumeElements, symmetry: str, augment: bool = False) -> None:
        self.elements, self.symmetry, self.augment = elements, symmetry, augment

    def __len__(self) -> int:
        return len(self.elements)

    def batch(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """``grain_id`` and ``quaternion`` of the volume elements `index`, on the generator's device."""
        grain_id, quaternion = _drawn(self.elements, index, generator, self.augment)
        return {"grain_id": grain_id, "quaternion": reduce(quaternion, self.symmetry)}


def _drawn(elements: VolumeElements, index: Tensor, generator: torch.Generator, augment: bool) -> tuple[Tensor, Tensor]:
    """Grain ids (B, n, n, n) and orientations (B, G, 4) of the volume elements `index`, on the generator's device."""
    chosen = elements[index]
    grain_id, quaternion = chosen.grain_id.to(generator.device), chosen.quaternion.to(generator.device)
    if not augment:
        return grain_id, quaternion
    return moved_at_random(grain_id, generator), random(quaternion.shape[:-1], generator)


def moved_at_random(grain_id: Tensor, generator: torch.Generator) -> Tensor:
    """Cubes (B, n, n, n) under random periodic shifts, one each, and a random symmetry of the cube, one for all."""

    def draw(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=generator, device=generator.device)

    edge = grain_id.shape[-1]
    shifts = draw(edge, len(grain_id), 3)
    order, flipped = torch.randperm(3, generator=generator, device=generator.device), draw(2, 3, 1).bool()
    along = torch.arange(edge, device=generator.device)
    along = torch.where(flipped, edge - 1 - along, along)  # (3, n)
    x, y, z = ((along - shifts[:, order, None]) % edge * edge ** (2 - order)[:, None]).unbind(1)
    source = x[:, :, None, None] + y[:, None, :, None] + z[:, None, None]
    return grain_id.flatten(1).gather(1, source.flatten(1)).reshape(grain_id.shape)


# --- the public face -------------------------------------------------------------------------------------------------


class Fingerprint:
    """Encoder and decoder between volume elements and a few hundred numbers.

    Make one with `Fingerprint.load`. Arrays may be of any kind that `microprint.arrays` reads; for a tensor a tensor comes
    back, on its device, without a gradient, and for all else a numpy array. `symmetry` is that of the crystals, `edge` the
    voxels along the edge of the volume elements that it was trained on, `history` holds the losses of every epoch of its
    training.
    """

    def __init__(self, network: nn.Module, config: dict[str, Any]) -> None:
        self.network, self.config = network.eval(), config
        self.symmetry, self.variant, self.edge = config["symmetry"], config["variant"], config["edge"]
        self.history: History = config.get("history", [])

    @classmethod
    def load(
        cls, path: str | Path, device: torch.device | str = "cpu", *, symmetry: str | None = None, latent_dim: int | None = None
    ) -> Fingerprint:
        """Read a fingerprint; `device` is ``"cpu"``, ``"cuda"``, or ``"auto"`` for a GPU where there is one.

        What ours has learnt knows neither symmetry nor size: `symmetry` ("cubic" or "hexagonal") and the size `latent_dim`
        may be others than those it was trained with. Raises `UserError` if the file is missing, damaged or of another model,
        for S1's network with another symmetry or size, and if there is no such device.
        """
        device = choose_device(device, "device")
        state, metadata = store.load_tensors(path)
        try:
            fingerprint = cls.build(_changed(metadata["config"], path, symmetry=symmetry, latent_dim=latent_dim))
            fingerprint.network.load_state_dict(state)
        except (KeyError, TypeError, RuntimeError):
            raise UserError("holds no fingerprint model", path, "Give a file that notebook 03 made") from None
        fingerprint.network.to(device)
        return fingerprint

    @classmethod
    def build(cls, config: dict[str, Any]) -> Fingerprint:
        """Fingerprint with initial weights, drawn from torch's global generator."""
        network = ResNetVAE if config["variant"] in PAPERS else FingerprintNet
        return cls(network(**config["network"]), config)

    def encode(self, grain_ids: Array, quaternions: Array) -> Array:
        """Fingerprints, the posterior means: (B, d), with the `size` d.

        Grain ids (B, n, n, n) are integers from 0 without gaps; ours takes any n, the paper's network the training edge only.
        Quaternions (B, G, 4) are the orientations of the grains, (w, x, y, z), DAMASK's convention (passive, P = -1).
        Raises `UserError` for what `VolumeElements.of` refuses, and for a grid that is no cube or not the one that the
        paper's network knows.
        """
        return self.posterior(grain_ids, quaternions)[0]

    def encode_set(self, elements: VolumeElements) -> Tensor:
        """Fingerprints (N, d) of a set, read part by part if it stays in its file; see `encode`."""
        self._check_grid(elements.grain_id.shape)
        return torch.cat([self._posterior(part)[0] for part in elements.parts()])

    def posterior(self, grain_ids: Array, quaternions: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the fingerprints' posterior, (B, d) each; see `encode`."""
        elements = VolumeElements.of(grain_ids, quaternions, self.symmetry)
        self._check_grid(elements.grain_id.shape)
        mean, deviation = (torch.cat(parts) for parts in zip(*map(self._posterior, elements.parts())))
        return like(mean, grain_ids), like(deviation, grain_ids)

    @torch.no_grad()
    def _posterior(self, elements: VolumeElements) -> tuple[Tensor, Tensor]:
        grain_id = elements.grain_id.long().to(self._device)
        quaternion = reduce(elements.quaternion.float().to(self._device), self.symmetry)
        if self.variant in PAPERS:
            mean, log_variance = self.network.encode(expand(grain_id, euler_channels(quaternion)))
        else:
            mean, log_variance = self.network.encode(grain_id, quaternion)
        return mean.cpu(), torch.exp(0.5 * log_variance).cpu()

    def decode(self, z: Array, n: int | None = None) -> Array:
        """Orientation of every voxel, (B, n, n, n, 4), in the fundamental zone, of fingerprints (B, d).

        Raises `UserError` if these have another size, are none or not finite, or the network cannot make an edge of `n`
        voxels (default: as trained).
        """
        n = self.edge if n is None else whole(n, "n")
        self._check_edge(n)
        parts = self._latent(z).split(max(VOXELS_AT_ONCE // n**3, 1))
        return like(torch.cat([self._decode_chunk(part, n) for part in parts]), z)

    @torch.no_grad()
    def _decode_chunk(self, z: Tensor, n: int) -> Tensor:
        z = z.to(self._device)
        if self.variant in PAPERS:
            quaternion = from_euler_channels(self.network.decode(z).movedim(1, -1))
        else:
            axes = voxel_centres(n, self._device).expand(3, -1)
            quaternion = self.network.decode(z, axes)
        return reduce(quaternion, self.symmetry).cpu()

    @torch.no_grad()
    def seeds(self, z: Array) -> Seeds:
        """The power diagram of fingerprints of ours; see `microprint.networks.seed_list.Seeds`."""
        return Seeds(*(part.cpu() for part in self.network.seeds(self._latent(z).to(self._device))))

    @property
    def size(self) -> int:
        """Numbers of a fingerprint: of ours the volume averages, and at most `latent_dim`, as many as whole seeds fill."""
        network = self.config["network"]
        return network["latent_dim"] if self.variant in PAPERS else sum(self.network.sizes)

    @property
    def parts(self) -> dict[str, slice]:
        """Where in a fingerprint its parts are; none in S1's.

        ``averages``: volume averages of the embedding, which are the texture, scaled; they follow from the others, and `decode`
        does not read them. ``metric``: how much shorter grains are along some axes than along others. ``seeds``: six or seven
        numbers for each seed, in the order of `anchors`.
        """
        if self.variant in PAPERS:
            return {}
        names, sizes = ("averages", "metric", "seeds"), self.network.sizes
        return {name: slice(end - size, end) for name, size, end in zip(names, sizes, itertools.accumulate(sizes))}

    @property
    def anchors(self) -> Tensor:
        """Places (M, 3), in edges of the volume element, about which the seeds of our fingerprints lie."""
        return self.network.seed_list.anchors.cpu()

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _latent(self, z: Array) -> Tensor:
        return numbers(z, "z", ("B", self.size), dtype=torch.float32)

    def _check_grid(self, shape: torch.Size) -> None:
        if len(set(shape[1:])) > 1:
            raise UserError(f"grain ids of shape {tuple(shape)}", "grain_ids", "Give cubes (B, n, n, n)")
        self._check_edge(shape[-1])

    def _check_edge(self, n: int) -> None:
        if self.variant in PAPERS and n != self.edge:
            remedy = f"S1's network takes the {self.edge} voxels it was trained on"
            raise UserError(f"a volume element of edge {n}", "n", remedy)


def _changed(config: dict[str, Any], path: str | Path, **wanted: str | int | None) -> dict[str, Any]:
    """The configuration of a fingerprint with another symmetry or size, where one is wanted."""
    network = config["network"] | {name: value for name, value in wanted.items() if value is not None}
    known = {"symmetry": config["symmetry"], "latent_dim": config["network"]["latent_dim"]}
    if config["variant"] in PAPERS:
        for name, value in wanted.items():
            if value not in (None, known[name]):
                raise UserError(f"is S1's network, of {name} {known[name]}, not {value}", path, "Load the model `ours`")
        return config
    if network["symmetry"] not in SYMMETRIES:
        raise UserError(f"no crystal symmetry {network['symmetry']!r}", "symmetry", f"Use one of {', '.join(SYMMETRIES)}")
    _check_size(network["latent_dim"], "latent_dim")
    return config | {"symmetry": network["symmetry"], "network": network}


# --- training --------------------------------------------------------------------------------------------------------


def fingerprint_files(params: Params) -> Files:
    """None; raises `MissingData` unless there are the sets of one symmetry, and `UserError` for sizes that do not suit."""
    missing = [missing_sets(params, {f"{symmetry}/{name}": 1 for name in SETS}) for symmetry in SYMMETRIES]
    if all(missing):
        raise MissingData(f"{', '.join(min(missing, key=len))} of polycrystals.source")
    edge = params.polycrystals.edge if params.polycrystals.source == SYNTHETIC else 4
    for variant in ("paper", "ours"):
        configuration(params.vae, variant, "cubic", edge, MORPHOLOGIES["equiaxed"].grains)
    return {}


@step(reads=("vae",), inputs=("polycrystals.h5",), outputs=("fingerprint_{variant}.safetensors",), files=fingerprint_files)
def train_fingerprint(job: Job, *, variant: str) -> None:
    """Train one variant; keep the weights of the best loss on the `validation` set.

    The sets are those of cubic crystals, or of hexagonal ones where there are no others. S1's networks train on the `train`
    set, ours on the `mixed` one if there is one, and `equiaxed` on as many volume elements of the `train` set. As what ours
    learns does not depend on the size of a fingerprint, it learns it with a seed for each grain, whatever `vae.latent_dim`.
    """
    settings = job.params.vae
    with job.open("polycrystals.h5") as file:
        symmetry = next(iter(trainable(stored_edges(file))), "cubic")
        train, validation = (read_volume_elements(file, f"{symmetry}/{name}") for name in ("train", "validation"))
        source = f"{symmetry}/mixed"
        mixture = read_volume_elements(file, source) if source in file else train
    grains = float(train.grains.float().mean())
    config = configuration(settings, variant, symmetry, train.edge, grains)
    with seeded(job.seed(f"initial weights of fingerprint {variant}")):
        network = Fingerprint.build(config if variant in PAPERS else _roomy(config)).network.to(job.device)
    if variant in PAPERS:
        samples = EulerSamples(train, augment=True), EulerSamples(validation)
    else:
        chosen = mixture if variant == "ours" else train[: len(mixture)]
        # The cells of a list that is too short are no grains, and would teach wrong weights.
        train, validation = (some[some.grains <= network.count] for some in (chosen, validation))
        generator = job.generator(f"calibration of fingerprint {variant}")
        parts = (part.grain_id.to(job.device).long() for part in train.parts())
        network.calibrate(parts, generator, settings.ours_calibration)
        samples = GrainSamples(train, symmetry, augment=True), GrainSamples(validation, symmetry)
    schedule, seed = schedule_of(settings, variant), job.seed(f"training of fingerprint {variant}")
    history = fit(job, network, *samples, schedule, seed=seed, label=f"fingerprint {variant}")
    job.save_model(f"fingerprint_{variant}.safetensors", network.state_dict(), config | {"history": history})


def _roomy(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration of ours with seeds for `SPARE` times the grains of a volume element of the training set."""
    network = config["network"]
    seeds = max(math.ceil(SPARE * network["grains"]), 2)
    return config | {"network": network | {"latent_dim": METRIC_NUMBERS + NUMBERS_A_SEED * seeds}}


def trainable(edges: Mapping[str, int]) -> dict[str, list[str]]:
    """Variants that sets suffice for, by the first symmetry of which there are all; nothing where there is none.

    The sets are given by their edges in voxels, as `stored_edges` reads them. S1's network halves the edge again and again,
    which has to be a power of two; `equiaxed` differs from `ours` where there is a `mixed` set.
    """
    for symmetry in SYMMETRIES:
        if all(f"{symmetry}/{name}" in edges for name in SETS):
            papers = PAPERS if _halves(edges[f"{symmetry}/train"]) else ()
            return {symmetry: [*papers, "ours", *(["equiaxed"] if f"{symmetry}/mixed" in edges else [])]}
    return {}


def _halves(edge: int) -> bool:
    return edge >= 4 and edge & (edge - 1) == 0


def configuration(settings: FingerprintSettings, variant: str, symmetry: str, edge: int, grains: float) -> dict[str, Any]:
    """What `Fingerprint.build` needs, from the parameters and the training set: its edge in voxels, its mean number of grains.

    Raises `UserError` for an unknown variant, an edge that S1's network cannot halve, or a fingerprint too small for two
    seeds of ours.
    """
    if variant not in VARIANTS:
        raise UserError(f"unknown variant {variant!r}", "train_fingerprint", f"Use one of {', '.join(VARIANTS)}")
    if variant in PAPERS and not _halves(edge):
        raise UserError(f"volume elements of edge {edge}", "polycrystals.edge", "Use a power of two, 4 or more")
    network = _papers(settings, variant, edge) if variant in PAPERS else _ours(settings, symmetry, grains)
    return {"variant": variant, "symmetry": symmetry, "edge": edge, "network": network}


def _papers(settings: FingerprintSettings, variant: str, edge: int) -> dict[str, Any]:
    coded = variant == "coded"
    return {
        "edge": edge,
        "depth": settings.paper_depth,
        "latent_dim": settings.latent_dim,
        "hidden": settings.paper_hidden,
        "width": settings.paper_width,
        "alpha": settings.paper_alpha,
        "kl_weight": 0.0 if coded else settings.paper_kl_weight,
        "coded": coded,
    }


def _ours(settings: FingerprintSettings, symmetry: str, grains: float) -> dict[str, Any]:
    _check_size(settings.latent_dim, "vae.latent_dim")
    return {
        "symmetry": symmetry,
        "latent_dim": settings.latent_dim,
        "width": settings.ours_width,
        "rounds": settings.ours_rounds,
        "grains": grains,
    }


def _check_size(latent_dim: int, name: str) -> None:
    least = METRIC_NUMBERS + 2 * NUMBERS_A_SEED
    if latent_dim < least:
        raise UserError(f"{latent_dim} numbers hold no two seeds", name, f"Use {least} or more")


def schedule_of(settings: FingerprintSettings, variant: str) -> Schedule:
    """Training schedule: AMSGrad, as S1 states, or AdamW for ours; both with warm-up, cosine decay and a clipped gradient."""
    falling = {"decay": "cosine", "warmup": 0.05, "gradient_clip": 1.0}
    if variant in PAPERS:
        basic = settings.paper_epochs, settings.paper_batch_size, settings.paper_learning_rate
        return Schedule(*basic, weight_decay=settings.paper_weight_decay, amsgrad=True, **falling)
    basic = settings.ours_epochs, settings.ours_batch_size, settings.ours_learning_rate
    return Schedule(*basic, optimizer="adamw", betas=(0.9, 0.95), weight_decay=0.01, **falling)
