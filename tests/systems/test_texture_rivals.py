"""S3's TextureVAE and its twin on pixels: the step that trains either, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from random_vgg import random_tensors

from microprint import UserError, store
from microprint.networks.texture_vae import READOUT, last_maps
from microprint.networks.vgg import STYLE_LAYERS, VGG19, gram
from microprint.params import validate
from microprint.steps import run_step
from microprint.systems import texture
from microprint.systems.texture_rivals import FrozenViews, TextureAutoencoder, train_texture_vae, view_patches

EDGE = 64  # of a patch


@pytest.fixture(scope="module")
def vgg():
    return VGG19(random_tensors()).quick()


@pytest.fixture
def random_vgg(monkeypatch, vgg):
    monkeypatch.setattr(VGG19, "load", classmethod(lambda cls, path=None: vgg))
    monkeypatch.setattr(texture, "cached", lambda: Path(__file__))


def viewed(folder, images):
    with store.create_hdf5(folder / "micrographs.h5", "micrographs", {"key": "toy"}) as file:
        file["image"], file["sample"] = images, np.arange(len(images)) % 4
    run_step(view_patches, PARAMS, folder, {})
    return folder


def patches(count=8):
    return np.linspace(0.2, 1, count, dtype=np.float32)[:, None, None] * np.random.default_rng(0).random((count, EDGE, EDGE), np.float32)


SETTINGS = {"paper_edge": 32, "paper_width": 16, "paper_epochs": 2, "paper_batch_size": 4}
PARAMS = validate({"micrographs": {"edge": EDGE}, "texture_vae": SETTINGS, "compute": {"device": "cpu"}})


@pytest.mark.parametrize("loss", ["style", "pixels"])
def test_the_step_trains_either(tmp_path, random_vgg, vgg, loss):
    (path,) = run_step(train_texture_vae, PARAMS, viewed(tmp_path, patches()), {"loss": loss, "latent": "3"})
    assert path.name == f"texture_vae_{loss}_3.safetensors"
    model = TextureAutoencoder.load(path, vgg)
    z = model.encode(torch.from_numpy(patches()))
    images = model.decode(z)
    assert z.shape == (8, 3) and images.shape == (8, 32, 32) and 0 <= images.min() <= images.max() <= 1
    history = model.config["history"]
    assert [record["epoch"] for record in history] == [1, 2] and all(np.isfinite(record["validation_loss"]) for record in history)


@pytest.mark.parametrize("loss, latent", [("l1", "3"), ("style", "0"), ("style", "many"), ("style", "-1")])
def test_what_is_no_texture_vae_is_refused(tmp_path, random_vgg, loss, latent):
    with pytest.raises(UserError, match=f"loss={loss} latent={latent} is no TextureVAE. loss: style or pixels; latent: its numbers"):
        run_step(train_texture_vae, PARAMS, viewed(tmp_path, patches()), {"loss": loss, "latent": latent})


def test_a_nan_in_the_micrographs_ends_the_step(tmp_path, random_vgg):
    with pytest.raises(UserError, match="micrographs.h5: holds nan"):
        viewed(tmp_path, np.full((3, EDGE, EDGE), np.nan, np.float32))


def test_views_are_those_of_the_patches_at_the_network_s_size(tmp_path, random_vgg, vgg):
    images = torch.from_numpy(patches(20))
    with store.open_hdf5(viewed(tmp_path, images.numpy()) / "texture_views.h5", "texture_views") as file:
        some, cpu = np.array([17, 3, 5]), torch.device("cpu")
        views, twins = FrozenViews.read(file, cpu, some, None), FrozenViews.read(file, cpu, some, images[:, None])
    index = torch.tensor([17, 3])
    maps = vgg(texture.reduce(images[index], 32), (*STYLE_LAYERS, READOUT))
    batch, twin = (x.batch(torch.tensor([0, 1]), torch.Generator()) for x in (views, twins))
    assert len(views) == 3 and batch["features"].shape == (2, 512) and twin.keys() == {"features", "image"}
    assert torch.equal(twin["image"][:, 0], images[index])
    torch.testing.assert_close(batch["features"], last_maps(maps))
    for name in STYLE_LAYERS:
        wanted = gram(maps[name])
        torch.testing.assert_close(batch[name], wanted, rtol=0, atol=0.02 * float(wanted.abs().max()))
