"""Fingerprints of micrographs: the public class, and the steps that measure patches, fit its law and train its drawings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from microprint import store
from microprint.arrays import Array, like, numbers, whole
from microprint.errors import MissingData, UserError
from microprint.keys import digest
from microprint.machine import choose_device
from microprint.microstructures.cast_iron import patch_corners
from microprint.microstructures.micrographs import IMAGE_SUFFIXES
from microprint.microstructures.readers import list_files
from microprint.networks.texture_drawing import TextureDrawing
from microprint.networks.texture_law import TextureLaw, channel_means, halved, mean_grams, tile_edge
from microprint.networks.vgg import STYLE_LAYERS, VGG19
from microprint.networks.vgg_weights import cached
from microprint.params.relations import SYNTHETIC
from microprint.params.sections import Params
from microprint.steps import Files, Job, step
from microprint.training import Schedule, fit, seeded

CHUNK = 16  # images that go through a network together


class ImageTexture(NamedTuple):
    """Latent vector of an image larger than a patch: mean and spread (d,) over its patches, and how many these are."""

    mean: Array
    spread: Array
    patches: int


class TextureFingerprint:
    """Latent vector of the texture in a grey micrograph, and drawings of a latent vector.

    `config` holds ``pixels`` (edge of the patches that it was made for), the networks' sizes, and what training left on
    record (``split``, ``history``). Drawings have half the pixels of a patch to the same length.

    >>> fingerprint = TextureFingerprint.load("texture_fingerprint.safetensors")  # doctest: +SKIP
    >>> z = fingerprint.encode(patches)                                           # doctest: +SKIP
    >>> images = fingerprint.decode(z)                                            # doctest: +SKIP
    """

    def __init__(self, law: TextureLaw, drawing: TextureDrawing, config: Mapping[str, Any]):
        self.law, self.drawing, self.config = law.eval(), drawing.eval(), dict(config)
        self.vgg, self.device = drawing.vgg, law.centre.device

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
        law = TextureLaw(config["drawing"]["latent_dim"])
        drawing = TextureDrawing(vgg or VGG19.load(), **config["drawing"])
        for name, network in (("law", law), ("drawing", drawing)):
            network.load_state_dict(
                {key.removeprefix(f"{name}."): x.float() for key, x in state.items() if key.startswith(name)}
            )
        drawing.vgg.to(device).quick()
        return cls(law.to(device), drawing.to(device), config)

    @torch.no_grad()
    def encode(self, images: Array) -> Array:
        """Latent vectors (B, d), posterior means, of patches (B, n, n) or (n, n) in [0, 1].

        They have as many pixels, of the same size, as those it was made for. For a tensor a tensor comes back, on its device,
        and for all else a numpy array. Raises `UserError` if they are of another shape, empty, out of range or not finite.
        """
        patches = check_images(images, "images")
        if (n := self.config["pixels"]) != patches.shape[-1]:
            remedy = f"Cut patches of {n} pixels at the magnification of the training images, or use encode_image"
            raise UserError(f"patches of {patches.shape[-1]} pixels an edge, trained on {n}", "images", remedy)
        return like(self.law.posterior(means_of(self.vgg, patches, self.device))[0], images)

    def encode_image(self, image: Array) -> ImageTexture:
        """Mean and spread of the latent vectors of the patches into which an image (h, w) is cut; see `encode`.

        Patches lie half an edge apart. Raises `UserError` for an image that is smaller than a patch, or no image.
        """
        edge, grey = self.config["pixels"], numbers(image, "image", ("h", "w"), dtype=torch.float32)
        corners = patch_corners(tuple(grey.shape), edge, edge // 2)
        if len(corners) == 0:
            what = f"{' x '.join(map(str, grey.shape))} pixels are less than a patch of {edge}"
            raise UserError(what, "image", "Give a larger image of the same magnification")
        z = self.encode(torch.stack([grey[r : r + edge, c : c + edge] for r, c in corners]))
        return ImageTexture(like(z.mean(0), image), like(z.std(0, correction=0), image), len(z))

    @torch.no_grad()
    def decode(self, z: Array, generator: torch.Generator | None = None, edge: int | None = None) -> Array:
        """A drawing (B, edge, edge) in [0, 1] of each latent vector (B, d), of the kind that went in; see `encode`.

        The same vector has as many drawings as the generator has states: without one, the same each time. The edge, a
        patch's at half its pixels unless given, is rounded up to a multiple of 16. Drawings are periodic. Raises `UserError`
        if the vectors are none, of another width or not finite, or the edge is no whole number, 1 or more.
        """
        vectors = numbers(z, "z", ("B", self.config["drawing"]["latent_dim"]), dtype=torch.float32).to(self.device)
        generator = generator or torch.Generator(self.device).manual_seed(0)
        edge = -(-(self.config["pixels"] // 2 if edge is None else whole(edge, "edge")) // 16) * 16
        return like(torch.cat([self.drawing.draw(chunk, edge, generator) for chunk in vectors.split(CHUNK)]), z)


def check_images(images: Array, where: str) -> Tensor:
    """Square grey patches (B, n, n), or (n, n), as float32 (B, n, n); raises `UserError` for anything else."""
    patches = numbers(images, where, ("B", "n", "n"), single=True, dtype=torch.float32)
    if patches.min() < 0 or patches.max() > 1:
        raise UserError(f"grey values from {patches.min():.3g} to {patches.max():.3g}", where, "Scale them to [0, 1]")
    return patches


@torch.no_grad()
def means_of(vgg: VGG19, patches: Tensor, device: torch.device) -> Tensor:
    """Channel means (N, k) of patches (N, n, n), on the device."""
    return torch.cat([channel_means(vgg, part.to(device)) for part in patches[:, None].split(CHUNK)])


@dataclass(frozen=True)
class Statistics:
    """What VGG19 says of patches: channel means (N, k), and Gram matrices (N, C, C) by layer of their halves."""

    means: Tensor
    grams: Mapping[str, Tensor]

    @classmethod
    @torch.no_grad()
    def of(cls, vgg: VGG19, patches: Tensor, device: torch.device) -> Statistics:
        """Of patches (N, n, n); the Gram matrices, 0.7 MB a patch, stay in main memory."""
        grams = [mean_grams(vgg, part.to(device)) for part in patches[:, None].split(CHUNK)]
        return cls(means_of(vgg, patches, device), {name: torch.cat([g[name] for g in grams]) for name in grams[0]})

    @classmethod
    def read(cls, file: h5py.File, device: torch.device, patches: np.ndarray | slice = slice(None)) -> Statistics:
        """Those that `measure_texture` wrote, of all patches or of some."""
        return cls(torch.from_numpy(file["means"][:][patches]).to(device), read_grams(file, patches))


def read_grams(file: h5py.File, patches: np.ndarray | slice) -> dict[str, Tensor]:
    """Gram matrices (N, C, C) by layer of some patches, half precision, as `measure_texture` and `view_patches` keep them."""
    return {name: torch.from_numpy(file[f"grams/{name}"][:][patches]) for name in STYLE_LAYERS}


class DrawingSamples:
    """Latent vectors of patches and the Gram matrices that their drawings are to have."""

    def __init__(self, law: TextureLaw, statistics: Statistics):
        self.mean, log_variance = law.posterior(statistics.means)
        self.deviation, self.grams = (log_variance / 2).exp(), statistics.grams

    def __len__(self) -> int:
        return len(self.mean)

    def batch(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """See `TextureDrawing.losses`; z is a sample of the posterior."""
        index, device = index.to(self.mean.device), self.mean.device
        noise = torch.randn((len(index), self.mean.shape[1]), generator=generator, device=device)
        targets = {name: g[index.cpu()].to(device).float() for name, g in self.grams.items()}
        return {"z": self.mean[index] + self.deviation[index] * noise, **targets}


def texture_files(params: Params) -> Files:
    """VGG19's weights. Raises `UserError` where they are missing, `MissingData` for a single image of a user's."""
    source = params.micrographs.source
    if source != SYNTHETIC and len(list_files(source, IMAGE_SUFFIXES)) < 2:
        raise MissingData("2 images or more in micrographs.source")
    return {"vgg19": cached()}


@step(inputs=("micrographs.h5",), outputs=("texture_statistics.h5",), files=texture_files)
def measure_texture(job: Job) -> None:
    """`Statistics` of all patches, which the training needs and what comes after it."""
    made = Statistics.of(VGG19.load().to(job.device).quick(), read_patches(job)[0], job.device)
    with job.create("texture_statistics.h5", "texture_statistics") as file:
        file["means"] = made.means.cpu()
        for name, grams in made.grams.items():
            file[f"grams/{name}"] = grams


@step(
    reads=("texture_vae",),
    inputs=("micrographs.h5", "texture_statistics.h5"),
    outputs=("texture_fingerprint.safetensors",),
    files=texture_files,
)
def train_texture_fingerprint(job: Job) -> None:
    """Fit the law of the training images' patches, and train the network that draws; a quarter of the images is unseen."""
    settings = job.params.texture_vae
    patches, split = read_patches(job)
    vgg = VGG19.load().to(job.device).quick()
    with seeded(job.seed("texture drawing")):
        sizes = {"latent_dim": settings.latent_dim, "width": settings.width, "drawings": settings.drawings}
        sizes["tile"] = tile_edge(patches.shape[-1] // 2)
        model = TextureDrawing(vgg, **sizes).to(job.device)
    with job.open("texture_statistics.h5", "texture_statistics") as file:
        known = {name: Statistics.read(file, job.device, split[name]) for name in ("train", "validation")}
    law = TextureLaw.fit(known["train"].means, settings.latent_dim).to(job.device)
    model.weigh_layers(known["train"].grams)
    samples = {name: DrawingSamples(law, statistics) for name, statistics in known.items()}
    model.learn_greys(samples["train"].mean, halved(patches[split["train"], None])[:, 0].to(job.device))
    rate = {"decay": "cosine", "warmup": 0.1, "gradient_clip": 1.0, "betas": (0.5, 0.99)}
    schedule = Schedule(settings.epochs, settings.batch_size, settings.learning_rate, **rate)
    seed = job.seed("texture drawings")
    history = fit(job, model, samples["train"], samples["validation"], schedule, seed=seed, label="texture drawing")
    config = {"kind": "texture_fingerprint", "drawing": sizes, "pixels": patches.shape[-1], "history": history}
    config["split"] = {name: index.tolist() for name, index in split.items()}
    networks = {"law": law, "drawing": model}
    state = {f"{name}.{key}": x for name, network in networks.items() for key, x in network.state_dict().items()}
    job.save_model("texture_fingerprint.safetensors", state, config | {"split_hash": digest(config["split"])})


def read_patches(job: Job) -> tuple[Tensor, dict[str, np.ndarray]]:
    """All patches (N, n, n) of the micrographs, and which are for training, validation and test; see `split_patches`."""
    with job.open("micrographs.h5") as file:
        patches, sample = check_images(file["image"][:], file.filename), file["sample"][:]
    return patches, split_patches(sample)


def split_patches(sample: np.ndarray, every: int = 4) -> dict[str, np.ndarray]:
    """Indices of training, validation and test patches, from the parent image of each patch (N,).

    ``test`` holds all patches of each fourth image, or of the last of fewer, ``validation`` every tenth of the others,
    ``train`` what is left. Raises `UserError` if a single patch or image is left to train on.
    """
    images = np.unique(sample)
    tested = images[every - 1 :: every] if len(images) >= every else images[-1:]
    others = np.flatnonzero(~np.isin(sample, tested))
    if len(others) < 2:
        what = f"a single patch is left to train on beside the unseen image {tested[0]}"
        raise UserError(what, "micrographs", "Lower micrographs.edge, or add images")
    validating = np.arange(len(others)) % 10 == 9 if len(others) >= 10 else np.arange(len(others)) == len(others) - 1
    return {"train": others[~validating], "validation": others[validating], "test": np.flatnonzero(np.isin(sample, tested))}


def reduce(patches: Tensor, edge: int) -> Tensor:
    """Patches (B, n, n) with their edge reduced by an antialiased filter: (B, 1, edge, edge)."""
    if patches.shape[-1] == edge:
        return patches[:, None]
    return F.interpolate(patches[:, None], size=(edge, edge), mode="bilinear", antialias=True).clamp(0, 1)
