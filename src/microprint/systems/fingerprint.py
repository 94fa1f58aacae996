"""Fingerprints of polycrystal volume elements: a trained autoencoder as a user applies it, and the step that trains it.

Three variants share one face: `paper`, S1's ResNet VAE as written (White et al. 2025, arXiv 2503.17427); `coded`, the same
as the authors' public code runs; `ours`, a periodic network on a symmetric embedding of orientations.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from microprint import store
from microprint.compute import Job, step
from microprint.errors import UserError
from microprint.networks.fingerprint_net import FingerprintNet
from microprint.networks.resnet_vae import ResNetVAE
from microprint.orientations import (
    EMBEDDING_SIZE,
    embed,
    euler_channels,
    expand,
    from_euler_channels,
    project,
    random,
    reduce,
)
from microprint.params import FingerprintVAE
from microprint.training import History, Schedule, fit, seeded

Array = np.ndarray | Tensor
VARIANTS = ("paper", "coded", "ours")
VOXELS_AT_ONCE = 1 << 18  # bounds the memory of encoding and decoding


@dataclass(frozen=True)
class VolumeSet:
    """A set of volume elements of one size and symmetry.

    Attributes
    ----------
    grain_id : (N, n, n, n) integers, 0-based.
    quaternion : (N, G, 4); rows beyond a volume element's grains are the identity.
    grains : (N,) count of grains.
    symmetry : "cubic" or "hexagonal".
    """

    grain_id: Tensor
    quaternion: Tensor
    grains: Tensor
    symmetry: str

    def __len__(self) -> int:
        return len(self.grain_id)

    def __getitem__(self, index: slice | Tensor) -> VolumeSet:
        return VolumeSet(self.grain_id[index], self.quaternion[index], self.grains[index], self.symmetry)

    def orientations(self) -> Tensor:
        """Quaternion of every voxel, (N, n, n, n, 4)."""
        return expand(self.grain_id, self.quaternion).movedim(1, -1)


def read_volume_elements(file: h5py.File, symmetry: str, name: str) -> VolumeSet:
    """A set of `polycrystals.h5`; raises `UserError` where the file has no such set."""
    if f"{symmetry}/{name}" not in file:
        raise UserError(f"has no set {symmetry}/{name}", file.filename, "Run notebook 01 again")
    group = file[f"{symmetry}/{name}"]
    quaternion = torch.from_numpy(group["quaternion"][:])
    padding = quaternion.isnan().any(-1, keepdim=True)
    identity = quaternion.new_tensor([1.0, 0.0, 0.0, 0.0])
    grain_id = torch.from_numpy(group["grain_id"][:].astype(np.int16))
    grains = torch.from_numpy(group["grains"][:].astype(np.int64))
    return VolumeSet(grain_id, torch.where(padding, identity, quaternion), grains, symmetry)


# --- representations of orientation ----------------------------------------------------------------------------------

def channels_of(quaternion: Tensor, symmetry: str, variant: str) -> Tensor:
    """What a variant's network sees of orientations (..., 4): S1's Euler channels (..., 3), or our embedding (..., k)."""
    if variant == "ours":
        return embed(quaternion, symmetry)
    return euler_channels(reduce(quaternion, symmetry))


def orientations_of(channels: Tensor, symmetry: str, variant: str) -> Tensor:
    """Quaternions (..., 4) in the fundamental zone from a network's output: the inverse of `channels_of`."""
    quaternion = project(channels, symmetry) if variant == "ours" else from_euler_channels(channels)
    return reduce(quaternion, symmetry)


class ChannelSamples:
    """Volume elements expanded on the training device, as `microprint.training` wants them.

    Parameters
    ----------
    elements : what is held: grain ids and one quaternion a grain.
    variant : decides the representation, see `channels_of`.
    augment : at every visit draw a random periodic shift, a random order and direction of the axes, and new random
        orientations. All three leave the distribution of equiaxed, randomly textured volume elements as it is.
    """

    def __init__(self, elements: VolumeSet, variant: str, device: torch.device, augment: bool = False) -> None:
        self.grain_id = elements.grain_id.to(device)
        self.quaternion = elements.quaternion.to(device)
        self.symmetry, self.variant, self.augment = elements.symmetry, variant, augment

    def __len__(self) -> int:
        return len(self.grain_id)

    def batch(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Channels (B, k, n, n, n) of the volume elements `index`."""
        index = index.to(self.grain_id.device)
        grain_id, quaternion = self.grain_id[index], self.quaternion[index]
        if self.augment:
            grain_id = moved_at_random(grain_id, generator)
            quaternion = random(quaternion.shape[:-1], generator, quaternion.dtype)
        return {"channels": expand(grain_id, channels_of(quaternion, self.symmetry, self.variant))}


def moved_at_random(grain_id: Tensor, generator: torch.Generator) -> Tensor:
    """Cubes (B, n, n, n) under random periodic shifts, one each, and a random symmetry of the cube, one for all."""
    def draw(high: int, *shape: int) -> list:
        return torch.randint(high, shape, generator=generator, device=generator.device).tolist()

    edge = grain_id.shape[-1]
    shifts = draw(edge, len(grain_id), 3)
    shifted = torch.stack([cube.roll(shift, (0, 1, 2)) for cube, shift in zip(grain_id, shifts, strict=True)])
    order = torch.randperm(3, generator=generator, device=generator.device).tolist()
    reversed_axes = [axis + 1 for axis, flip in enumerate(draw(2, 3)) if flip]
    return shifted.permute(0, *(axis + 1 for axis in order)).flip(reversed_axes)


# --- the public face -------------------------------------------------------------------------------------------------

class Fingerprint:
    """Encoder and decoder between volume elements and a few hundred numbers.

    Make one with `Fingerprint.load`. Arrays may be numpy or torch; what comes back is of the kind that went in.

    Attributes
    ----------
    symmetry : crystal symmetry it was trained for, "cubic" or "hexagonal".
    variant : "paper", "coded" or "ours".
    edge : voxels along the edge of the volume elements it was trained on.
    history : losses of every epoch of its training.
    """

    def __init__(self, network: nn.Module, config: dict[str, Any]) -> None:
        self.network, self.config = network.eval(), config
        self.symmetry, self.variant, self.edge = config["symmetry"], config["variant"], config["edge"]
        self.history: History = config.get("history", [])

    @classmethod
    def load(cls, path: str | Path) -> Fingerprint:
        """Read a fingerprint; raises `UserError` if the file is missing, damaged or of another model."""
        state, metadata = store.load_tensors(path)
        try:
            fingerprint = cls.build(metadata["config"])
            fingerprint.network.load_state_dict(state)
        except (KeyError, TypeError, RuntimeError):
            raise UserError("holds no fingerprint model", path, "Give a file that notebook 03 made") from None
        return fingerprint

    @classmethod
    def build(cls, config: dict[str, Any]) -> Fingerprint:
        """Fingerprint with initial weights, drawn from torch's global generator."""
        network = FingerprintNet if config["variant"] == "ours" else ResNetVAE
        return cls(network(**config["network"]), config)

    def save(self, path: str | Path) -> None:
        """Write weights and configuration (safetensors)."""
        store.save_tensors(path, self.network.state_dict(), {"config": self.config})

    def to(self, device: torch.device | str) -> Fingerprint:
        """The same fingerprint, computing on `device` from now on."""
        self.network.to(device)
        return self

    def encode(self, grain_ids: Array, quaternions: Array) -> Array:
        """Fingerprints, the posterior means: (B, d), d = 256 unless another size was trained.

        Parameters
        ----------
        grain_ids : (B, n, n, n) integers, 0-based. `ours` takes any n that its halvings divide; the paper's network takes
            the training edge only.
        quaternions : (B, G, 4) orientation of each grain, (w, x, y, z), DAMASK's convention (passive, P = -1).

        Raises
        ------
        UserError
            For a wrong shape, a grain id without orientation, or quaternions that are not unit vectors.
        """
        return self.posterior(grain_ids, quaternions)[0]

    def posterior(self, grain_ids: Array, quaternions: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the fingerprints' posterior, (B, d) each; see `encode`."""
        ids, q = torch.as_tensor(grain_ids), torch.as_tensor(quaternions)
        self._check_elements(ids, q)
        parts = [self._encode_chunk(i, p) for i, p in zip(*(x.split(_chunk(ids.shape[-1])) for x in (ids, q)), strict=True)]
        mean, deviation = (torch.cat(part) for part in zip(*parts, strict=True))
        return _like(mean, grain_ids), _like(deviation, grain_ids)

    @torch.no_grad()
    def _encode_chunk(self, grain_id: Tensor, quaternion: Tensor) -> tuple[Tensor, Tensor]:
        device = next(self.network.parameters()).device
        channels = channels_of(quaternion.float().to(device), self.symmetry, self.variant)
        mean, log_variance = self.network.encode(expand(grain_id.long().to(device), channels.nan_to_num()))
        return mean.flatten(1).cpu(), torch.exp(0.5 * log_variance).flatten(1).cpu()

    def decode(self, z: Array, n: int | None = None) -> Array:
        """Orientation of every voxel, (B, n, n, n, 4), in the fundamental zone, of fingerprints (B, d).

        Raises
        ------
        UserError
            If the fingerprints have another size, or the network cannot make an edge of `n` voxels (default: as trained).
        """
        latent, n = torch.as_tensor(z), n or self.edge
        self._check_edge(n)
        if latent.ndim != 2 or latent.shape[1] != self.latent_dim:
            raise UserError(f"fingerprints of shape {tuple(latent.shape)}", "z", f"Give (B, {self.latent_dim})")
        return _like(torch.cat([self._decode_chunk(part, n) for part in latent.split(_chunk(n))]), z)

    @torch.no_grad()
    def _decode_chunk(self, z: Tensor, n: int) -> Tensor:
        z = z.float().to(next(self.network.parameters()).device)
        channels = self.network.decode(z, n) if self.variant == "ours" else self.network.decode(z)
        return orientations_of(channels.movedim(1, -1), self.symmetry, self.variant).cpu()

    @property
    def averages(self) -> list[int]:
        """Places in a fingerprint that hold volume averages of the embedding, which are the texture; none in S1's."""
        if not isinstance(self.network, FingerprintNet):
            return []
        return (self.network.code.frequency == 0).all(1).nonzero()[:, 0].tolist()

    @property
    def latent_dim(self) -> int:
        """Numbers in a fingerprint."""
        return self.config["network"]["latent_dim"]

    def _check_elements(self, grain_id: Tensor, quaternion: Tensor) -> None:
        n = grain_id.shape[-1]
        if grain_id.ndim != 4 or grain_id.shape[1:] != (n, n, n) or grain_id.is_floating_point():
            raise UserError(f"grain ids of shape {tuple(grain_id.shape)} and type {grain_id.dtype}", "grain_ids",
                            "Give integers (B, n, n, n)")
        self._check_edge(n)
        if quaternion.ndim != 3 or quaternion.shape[::2] != (len(grain_id), 4):
            raise UserError(f"orientations of shape {tuple(quaternion.shape)}", "quaternions",
                            f"Give ({len(grain_id)}, grains, 4)")
        if grain_id.min() < 0 or grain_id.max() >= quaternion.shape[1]:
            raise UserError(f"ids run from {grain_id.min()} to {grain_id.max()}, orientations from 0 to "
                            f"{quaternion.shape[1] - 1}", "grain_ids", "Number the grains of each volume element from 0")
        norms = expand(grain_id, quaternion.norm(dim=-1, keepdim=True))
        if not torch.allclose(norms, torch.ones_like(norms), atol=1e-3):
            raise UserError("a grain's orientation is missing or no unit quaternion", "quaternions")

    def _check_edge(self, n: int) -> None:
        factor = 2 ** self.config["network"]["levels"] if self.variant == "ours" else self.edge
        fits = n % factor == 0 if self.variant == "ours" else n == self.edge
        if not fits:
            wanted = f"a multiple of {factor}" if self.variant == "ours" else f"{factor}"
            raise UserError(f"a volume element of edge {n}", "n", f"This fingerprint takes {wanted} voxels")


def _chunk(edge: int) -> int:
    return max(VOXELS_AT_ONCE // edge**3, 1)


def _like(result: Tensor, given: Array) -> Array:
    return result.numpy() if isinstance(given, np.ndarray) else result.to(given.device)


# --- training --------------------------------------------------------------------------------------------------------

@step(reads=("vae",), inputs=("polycrystals.h5",), outputs=("fingerprint_{variant}_{symmetry}.safetensors",))
def train_fingerprint(job: Job, *, variant: str, symmetry: str) -> None:
    """Train one variant on the `train` set of a symmetry; keep the weights of the best loss on `validation`."""
    settings = job.params.vae
    with job.open("polycrystals.h5") as file:
        train, validation = (read_volume_elements(file, symmetry, name) for name in ("train", "validation"))
    config = configuration(settings, variant, symmetry, edge=train.grain_id.shape[-1])
    with seeded(job.seed(f"initial weights of fingerprint {variant} {symmetry}")):
        fingerprint = Fingerprint.build(config)
    if variant == "ours":
        fit_linear_code(fingerprint.network, train)
    history = fit(
        fingerprint.network,
        ChannelSamples(train, variant, job.device, augment=variant == "ours"),
        ChannelSamples(validation, variant, job.device),
        schedule_of(settings, variant, symmetry),
        seed=job.seed(f"training of fingerprint {variant} {symmetry}"),
        workdir=job.workdir,
        device=job.device,
        label=f"fingerprint {variant}, {symmetry}",
    )
    name = f"fingerprint_{variant}_{symmetry}.safetensors"
    job.save_model(name, fingerprint.network.state_dict(), config | {"history": history})


def fit_linear_code(network: FingerprintNet, train: VolumeSet) -> None:
    """Let the network begin as the best linear code of the training set."""
    samples = ChannelSamples(train, "ours", torch.device("cpu"))
    unused = torch.Generator()
    network.code.fit(samples.batch(index, unused)["channels"] for index in torch.arange(len(train)).split(32))


def configuration(settings: FingerprintVAE, variant: str, symmetry: str, edge: int) -> dict[str, Any]:
    """What `Fingerprint.build` needs, from the parameters and the data's edge length in voxels.

    Raises
    ------
    UserError
        For an unknown variant, or an edge that cannot be halved.
    """
    if variant not in VARIANTS:
        raise UserError(f"unknown variant {variant!r}", "train_fingerprint", f"Use one of {', '.join(VARIANTS)}")
    if edge < 4 or edge & (edge - 1):
        raise UserError(f"volume elements of edge {edge}", "polycrystals.edge", "Use a power of two, 4 or more")
    network = _ours(settings, symmetry, edge) if variant == "ours" else _papers(settings, variant, edge)
    return {"variant": variant, "symmetry": symmetry, "edge": edge, "network": network}


def _papers(settings: FingerprintVAE, variant: str, edge: int) -> dict[str, Any]:
    coded = variant == "coded"
    return {"edge": edge, "depth": settings.paper_depth, "latent_dim": settings.latent_dim, "hidden": settings.paper_hidden,
            "width": settings.paper_width, "alpha": settings.paper_alpha,
            "kl_weight": 0.0 if coded else settings.paper_kl_weight, "coded": coded}


def _ours(settings: FingerprintVAE, symmetry: str, edge: int) -> dict[str, Any]:
    return {"channels": EMBEDDING_SIZE[symmetry], "latent_dim": settings.latent_dim,
            "levels": (edge // 4).bit_length() - 1, "width": settings.ours_width, "blocks": settings.ours_blocks,
            "widest": settings.ours_widest}


def schedule_of(settings: FingerprintVAE, variant: str, symmetry: str) -> Schedule:
    """S1's training schedule (Adam with AMSGrad, constant rate), or ours (cosine decay)."""
    if variant == "ours":
        epochs = settings.ours_epochs if symmetry == "cubic" else settings.ours_epochs_hexagonal
        return Schedule(epochs, settings.ours_batch_size, settings.ours_learning_rate, decay="cosine", warmup=0.1,
                        gradient_clip=1.0)
    return Schedule(settings.paper_epochs, settings.paper_batch_size, settings.paper_learning_rate,
                    weight_decay=settings.paper_weight_decay, amsgrad=True)
