"""S3's TextureVAE, and the same network with a loss on pixels: the class, and the steps that view patches and train either."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from microprint import store
from microprint.errors import UserError
from microprint.networks.texture_vae import READOUT, TextureVAE, last_maps
from microprint.networks.vgg import STYLE_LAYERS, VGG19, gram
from microprint.steps import Job, step
from microprint.systems.texture import CHUNK, read_grams, read_patches, reduce, texture_files
from microprint.training import Schedule, fit, seeded

LOSSES = ("style", "pixels")


class TextureAutoencoder:
    """A trained TextureVAE: latent vectors of patches (N, n, n) of the training's size, and one image of each vector."""

    def __init__(self, model: TextureVAE, config: Mapping[str, Any]):
        self.model, self.config = model.eval(), dict(config)

    @classmethod
    def load(cls, path: str | Path, vgg: VGG19) -> TextureAutoencoder:
        """Read a model that `train_texture_vae` made; VGG19 lies on the device that it is to work on."""
        state, metadata = store.load_tensors(path)
        model = TextureVAE(vgg, **metadata["config"]["model"])
        model.load_state_dict(state)
        return cls(model.to(vgg.mean.device), metadata["config"])

    @torch.no_grad()
    def encode(self, patches: Tensor) -> Tensor:
        """Posterior means (N, d)."""
        seen = reduce(patches, self.config["model"]["edge"]).to(self.model.mean.weight.device)
        return torch.cat([self.model.encode(chunk) for chunk in seen.split(CHUNK)])

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Images (N, edge, edge) in [0, 1]."""
        return torch.cat([self.model.decode(chunk)[:, 0] for chunk in z.split(CHUNK)])


class FrozenViews:
    """What frozen VGG19 makes of patches, for training: its last maps (N, k) on the device, and what is compared.

    These targets are Gram matrices by layer or, for the loss on pixels, the patches; they stay in main memory.
    """

    def __init__(self, features: Tensor, targets: Mapping[str, Tensor]):
        self.features, self.targets = features, targets

    @classmethod
    def read(cls, file: h5py.File, device: torch.device, index: np.ndarray, patches: Tensor | None) -> FrozenViews:
        """Those of some patches that `view_patches` wrote; with all patches (N, 1, edge, edge) these are the targets."""
        targets = read_grams(file, index) if patches is None else {"image": patches[index]}
        return cls(torch.from_numpy(file["features"][:][index]).to(device), targets)

    def __len__(self) -> int:
        return len(self.features)

    def batch(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Features and targets of some patches, on the device."""
        device = self.features.device
        targets = {name: x[index].to(device).float() for name, x in self.targets.items()}
        return {"features": self.features[index.to(device)], **targets}


@step(reads=("texture_vae.paper_edge",), inputs=("micrographs.h5",), outputs=("texture_views.h5",), files=texture_files)
def view_patches(job: Job) -> None:
    """VGG19's last maps (N, k) of all patches as S3's network sees them, and their Gram matrices (N, C, C) by layer.

    VGG19 is frozen and no patch is augmented: seen once, they serve the trainings of all sizes. The Gram matrices are in half
    precision, 0.7 MB a patch.
    """
    vgg, views = VGG19.load().to(job.device).quick(), []
    for chunk in reduce(read_patches(job)[0], job.params.texture_vae.paper_edge).split(CHUNK):
        with torch.no_grad():
            maps = vgg(chunk.to(job.device), (*STYLE_LAYERS, READOUT))
        views.append({"features": last_maps(maps).cpu(), **{f"grams/{n}": gram(maps[n]).half().cpu() for n in STYLE_LAYERS}})
    with job.create("texture_views.h5", "texture_views") as file:
        for name in views[0]:
            file[name] = torch.cat([view[name] for view in views])


@step(
    reads=("texture_vae",),
    inputs=("micrographs.h5", "texture_views.h5"),
    outputs=("texture_vae_{loss}_{latent}.safetensors",),
    files=texture_files,
)
def train_texture_vae(job: Job, *, loss: str, latent: str) -> None:
    """Train S3's TextureVAE, or its twin with a loss on "pixels", with so many latent numbers; see `split_patches`."""
    if loss not in LOSSES or not latent.isdigit() or int(latent) < 1:
        raise UserError(
            f"loss={loss} latent={latent} is no TextureVAE", remedy=f"loss: {' or '.join(LOSSES)}; latent: its numbers"
        )
    settings = job.params.texture_vae
    images, split = read_patches(job)
    patches = reduce(images, settings.paper_edge)
    sizes = {"loss": loss, "edge": settings.paper_edge, "latent_dim": int(latent), "width": settings.paper_width}
    sizes["kl_weight"] = settings.paper_kl_weight
    label = f"TextureVAE, {loss}, {latent} numbers"
    with seeded(job.seed(label)):
        model = TextureVAE(VGG19.load().to(job.device).quick(), **sizes).to(job.device)
    with job.open("texture_views.h5", "texture_views") as file:
        compared = patches if loss == "pixels" else None
        train, validation = (FrozenViews.read(file, job.device, split[part], compared) for part in ("train", "validation"))
    model.standardise(train.features, patches[split["train"]].mean().item())
    rate = {"decay": "cosine", "gradient_clip": 1.0}
    schedule = Schedule(settings.paper_epochs, settings.paper_batch_size, settings.paper_learning_rate, **rate)
    history = fit(job, model, train, validation, schedule, seed=job.seed(f"{label} training"), label=label)
    config = {"kind": "texture_vae", "model": sizes, "history": history}
    job.save_model(f"texture_vae_{loss}_{latent}.safetensors", model.state_dict(), config)
