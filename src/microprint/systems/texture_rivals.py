"""S3's TextureVAE, and the same network with a loss on pixels: the class, and the step that trains either."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from microprint import store
from microprint.errors import UserError
from microprint.networks.texture_vae import READOUT, TextureVAE, last_maps
from microprint.networks.vgg import STYLE_LAYERS, VGG19, gram
from microprint.steps import Job, step
from microprint.systems.texture import CHUNK, read_patches, reduce, texture_files
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
    """What frozen VGG19 makes of patches (N, 1, edge, edge), computed once: its last maps, and their Gram matrices.

    The Gram matrices stay in main memory, in half precision: 0.7 MB a patch. For the loss on pixels there are the patches.
    """

    @torch.no_grad()
    def __init__(self, model: TextureVAE, patches: Tensor, device: torch.device):
        self.device, features, targets = device, [], []
        layers = STYLE_LAYERS if model.loss == "style" else ()
        for chunk in patches.split(CHUNK):
            maps = model.vgg(chunk.to(device), (*layers, READOUT))
            features.append(last_maps(maps))
            targets.append({name: gram(maps[name]).half().cpu() for name in layers} or {"image": chunk})
        self.features = torch.cat(features)
        self.targets = {name: torch.cat([t[name] for t in targets]) for name in targets[0]}

    def __len__(self) -> int:
        return len(self.features)

    def batch(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Features and targets of some patches, on the device."""
        targets = {name: x[index].to(self.device).float() for name, x in self.targets.items()}
        return {"features": self.features[index.to(self.device)], **targets}


@step(
    reads=("texture_vae",),
    inputs=("micrographs.h5",),
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
    train, validation = (FrozenViews(model, patches[split[name]], job.device) for name in ("train", "validation"))
    model.standardise(train.features, patches[split["train"]].mean().item())
    rate = {"decay": "cosine", "gradient_clip": 1.0}
    schedule = Schedule(settings.paper_epochs, settings.paper_batch_size, settings.paper_learning_rate, **rate)
    history = fit(job, model, train, validation, schedule, seed=job.seed(f"{label} training"), label=label)
    config = {"kind": "texture_vae", "model": sizes, "history": history}
    job.save_model(f"texture_vae_{loss}_{latent}.safetensors", model.state_dict(), config)
