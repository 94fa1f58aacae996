"""Fingerprints of micrographs by TextureVAE: the public class, and the step that trains it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from microprint import store
from microprint.arrays import Array, like, numbers
from microprint.errors import MissingData, UserError
from microprint.keys import digest
from microprint.machine import choose_device
from microprint.microstructures.micrographs import IMAGE_SUFFIXES
from microprint.microstructures.readers import list_files
from microprint.networks.texture_vae import READOUT_LAYERS, TextureVAE, read_out
from microprint.networks.vgg import VGG19, gram
from microprint.networks.vgg_weights import cached
from microprint.params.relations import SYNTHETIC, sample_faults
from microprint.params.sections import Params
from microprint.steps import Files, Job, step
from microprint.training import Schedule, fit, seeded

CHUNK = 16  # images that go through VGG19 together
MODEL_KEYS = ("layers", "readout", "edge", "latent_dim", "width", "kl_weight")


class TextureFingerprint:
    """Latent vector of the texture in a grey micrograph, and images of a latent vector.

    `config` holds ``model`` (the network's sizes), ``pixels`` (edge of the patches that it was trained on), and what
    training left on record (``split``, ``history``).

    >>> fingerprint = TextureFingerprint.load("texture_fingerprint.safetensors")  # doctest: +SKIP
    >>> z = fingerprint.encode(patches)                                           # doctest: +SKIP
    """

    def __init__(self, model: TextureVAE, config: Mapping[str, Any]):
        self.model, self.config = model.eval(), dict(config)

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu", vgg: VGG19 | None = None) -> TextureFingerprint:
        """Read a trained fingerprint; VGG19 comes from the cache unless it is given.

        `device` is ``"cpu"``, ``"cuda"``, or ``"auto"`` for a GPU where there is one. Raises `UserError` if the file is
        missing, damaged or another model, VGG19's weights are missing, or there is no such device.
        """
        device = choose_device(device, "device")
        state, metadata = store.load_tensors(path)
        config = metadata.get("config", {})
        if config.get("kind") != "texture_fingerprint":
            raise UserError("is no texture fingerprint", path, "Train one in notebook 08")
        model = TextureVAE(vgg or VGG19.load(), **config["model"])
        model.load_state_dict(state)
        return cls(model.to(device), config)

    def prepare(self, images: Array) -> Tensor:
        """Images as the network sees them: (B, 1, edge, edge) float32 on its device.

        What goes in are patches (B, n, n) or (n, n) in [0, 1] with as many pixels, of the same size, as those trained on.
        Raises `UserError` if they are of another shape, empty, out of range or not finite.
        """
        patches = check_images(images, "images")
        if (n := self.config["pixels"]) != patches.shape[-1]:
            remedy = f"Cut patches of {n} pixels at the magnification of the training images"
            raise UserError(f"patches of {patches.shape[-1]} pixels an edge, trained on {n}", "images", remedy)
        return reduce(patches, self.config["model"]["edge"]).to(self.model.mean.weight.device)

    @torch.no_grad()
    def encode(self, images: Array) -> Array:
        """Latent vectors (B, d), posterior means, of patches as `prepare` takes them.

        For a tensor a tensor comes back, on its device, and for all else a numpy array.
        """
        return like(torch.cat([self.model.encode(chunk) for chunk in self.prepare(images).split(CHUNK)]), images)

    @torch.no_grad()
    def decode(self, z: Array) -> Array:
        """Images (B, edge, edge) in [0, 1] of latent vectors (B, d), of the kind that went in; see `encode`.

        Raises `UserError` if the vectors are none, of another width or not finite.
        """
        vectors = numbers(z, "z", ("B", self.config["model"]["latent_dim"]), dtype=torch.float32)
        return like(self.model.decode(vectors.to(self.model.mean.weight.device))[:, 0], z)


def check_images(images: Array, where: str) -> Tensor:
    """Square grey patches (B, n, n), or (n, n), as float32 (B, n, n); raises `UserError` for anything else."""
    patches = numbers(images, where, ("B", "n", "n"), single=True, dtype=torch.float32)
    if patches.min() < 0 or patches.max() > 1:
        raise UserError(f"grey values from {patches.min():.3g} to {patches.max():.3g}", where, "Scale them to [0, 1]")
    return patches


def reduce(patches: Tensor, edge: int) -> Tensor:
    """Patches (B, n, n) with their edge reduced by an antialiased filter: (B, 1, edge, edge)."""
    if patches.shape[-1] == edge:
        return patches[:, None]
    return F.interpolate(patches[:, None], size=(edge, edge), mode="bilinear", antialias=True).clamp(0, 1)


class FrozenViews:
    """What frozen VGG19 makes of patches (N, 1, edge, edge), computed once: readout and Gram matrices.

    The Gram matrices stay in main memory, in half precision: 0.7 MB a patch with all five layers.
    """

    @torch.no_grad()
    def __init__(self, model: TextureVAE, patches: Tensor, device: torch.device):
        self.device = device
        layers = {*READOUT_LAYERS[model.readout], *model.layers}
        features, targets = [], []
        for chunk in patches.split(CHUNK):
            maps = model.vgg(chunk.to(device), layers)
            features.append(read_out(maps, model.readout))
            targets.append([gram(maps[name]).half().cpu() for name in model.layers])
        self.features = torch.cat(features)
        self.grams = {name: torch.cat(g) for name, g in zip(model.layers, zip(*targets))}

    def __len__(self) -> int:
        return len(self.features)

    def batch(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Features and Gram matrices of some patches, on the device."""
        targets = {name: g[index].to(self.device).float() for name, g in self.grams.items()}
        return {"features": self.features[index.to(self.device)], **targets}


def texture_files(params: Params) -> Files:
    """VGG19's weights.

    Raises `UserError` where they are missing, and for a test image that is not among a user's; `MissingData` for a single one.
    """
    source = params.micrographs.source
    if source != SYNTHETIC:
        images = list_files(source, IMAGE_SUFFIXES)
        if len(images) < 2:
            raise MissingData("2 images or more in micrographs.source")
        for fault, remedy in sample_faults(params.texture_vae.test_samples, len(images)):
            raise UserError(fault, source, remedy)
    return {"vgg19": cached()}


@step(reads=("texture_vae",), inputs=("micrographs.h5",), outputs=("texture_fingerprint.safetensors",), files=texture_files)
def train_texture_vae(job: Job) -> None:
    """Train TextureVAE on the micrographs; the test images are left out, a tenth of the other patches validates."""
    settings = job.params.texture_vae
    with job.open("micrographs.h5") as file:
        images, sample = check_images(file["image"][:], file.filename), file["sample"][:]
    split = split_patches(sample, settings.test_samples)
    patches = reduce(images, settings.edge)
    sizes = {key: asdict(settings)[key] for key in MODEL_KEYS}
    with seeded(job.seed("texture_vae")):
        model = TextureVAE(VGG19.load(), **sizes).to(job.device)
    train, validation = (FrozenViews(model, patches[split[name]], job.device) for name in ("train", "validation"))
    model.standardise(train.features, patches[split["train"]].mean().item())
    if settings.layer_weights == "variance":
        model.weigh_layers(train.grams)
    schedule = Schedule(settings.epochs, settings.batch_size, settings.learning_rate, decay="cosine", gradient_clip=1.0)
    history = fit(job, model, train, validation, schedule, seed=job.seed("texture_vae training"), label="TextureVAE")
    numbers = {name: index.tolist() for name, index in split.items()}
    config = {"kind": "texture_fingerprint", "model": sizes, "pixels": images.shape[-1], "split": numbers, "history": history}
    job.save_model("texture_fingerprint.safetensors", model.state_dict(), config | {"split_hash": digest(numbers)})


def split_patches(sample: np.ndarray, test_samples: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Indices of training, validation and test patches, from the parent image of each patch (N,).

    ``test`` holds all patches of the test images, ``validation`` every tenth of the others, ``train`` what is left. Raises
    `UserError` if no image is left to train on, or a single patch, or a test image does not exist.
    """
    known, tested = set(sample.tolist()), set(test_samples)
    if tested - known or known <= tested:
        fault = f"texture_vae.test_samples = {list(test_samples)}; the micrographs are of samples {sorted(known)}"
        raise UserError(fault, remedy="Name some of them, not all")
    test = np.isin(sample, test_samples)
    others = np.flatnonzero(~test)
    if len(others) < 2:
        what = f"texture_vae.test_samples = {list(test_samples)} leaves a single patch to train on"
        raise UserError(what, remedy="Lower micrographs.edge, or add images")
    validating = np.arange(len(others)) % 10 == 9 if len(others) >= 10 else np.arange(len(others)) == len(others) - 1
    return {"train": others[~validating], "validation": others[validating], "test": np.flatnonzero(test)}
