"""The public class TextureFingerprint and the step that trains it."""

import numpy as np
import pytest
import torch
from random_vgg import random_tensors

from microprint import UserError, store
from microprint.networks.texture_vae import TextureVAE
from microprint.networks.vgg import VGG19
from microprint.params import validate
from microprint.steps import run_step
from microprint.systems import texture
from microprint.systems.texture import TextureFingerprint, split_patches, train_texture_vae

SIZES = {"layers": ["conv1_1", "pool1"], "readout": "channel_means", "edge": 32, "latent_dim": 3, "width": 16, "kl_weight": 0.01}


@pytest.fixture(scope="module")
def vgg():
    return VGG19(random_tensors())


@pytest.fixture
def fingerprint(vgg):
    torch.manual_seed(0)
    return TextureFingerprint(TextureVAE(vgg, **SIZES), {"kind": "texture_fingerprint", "model": SIZES, "pixels": 48})


def patches(count=3, pixels=48):
    return np.random.default_rng(0).random((count, pixels, pixels))


def test_numpy_in_numpy_out_and_torch_likewise(fingerprint):
    z = fingerprint.encode(patches())
    assert isinstance(z, np.ndarray) and z.shape == (3, 3)
    np.testing.assert_allclose(fingerprint.encode(torch.as_tensor(patches())), z, rtol=1e-6)
    images = fingerprint.decode(z)
    assert isinstance(images, np.ndarray) and images.shape == (3, 32, 32) and isinstance(fingerprint.decode(torch.as_tensor(z)), torch.Tensor)


def test_one_image_is_a_batch_of_one(fingerprint):
    np.testing.assert_allclose(fingerprint.encode(patches()[0]), fingerprint.encode(patches())[:1], rtol=1e-4, atol=1e-5)


def test_saved_and_loaded_it_says_the_same(fingerprint, vgg, tmp_path):
    path = tmp_path / "texture.safetensors"
    store.save_tensors(path, fingerprint.model.state_dict(), {"config": fingerprint.config})
    again = TextureFingerprint.load(path, vgg=vgg)
    z = fingerprint.encode(patches())
    np.testing.assert_array_equal(again.encode(patches()), z)
    np.testing.assert_array_equal(again.decode(z), fingerprint.decode(z))
    assert path.stat().st_size < 200_000  # VGG19 is not copied


def test_another_file_is_refused(vgg, tmp_path):
    store.save_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {"config": {"kind": "fingerprint"}})
    with pytest.raises(UserError, match="no texture fingerprint"):
        TextureFingerprint.load(tmp_path / "x.safetensors", vgg=vgg)


def spoilt(value):
    images = patches()
    images[0, 0, 0] = value
    return images


@pytest.mark.parametrize("images, message", [
    (spoilt(np.nan), r"images: holds nan at \[0, 0, 0\]"), (spoilt(np.inf), "holds inf"), (spoilt(-0.5), "from -0.5 to"), (255 * patches(), "from .* to 25"),
    (patches()[:0], "shape"), (patches()[:, :20], "shape"), (patches()[None], "shape"), (patches(2, 32), "32 pixels an edge, trained on 48"),
])
def test_bad_images_are_refused_by_name(fingerprint, images, message):
    with pytest.raises(UserError, match=message):
        fingerprint.encode(images)


@pytest.mark.parametrize("z", [np.zeros((2, 4)), np.zeros(3), np.full((1, 3), np.nan)])
def test_bad_latent_vectors_are_refused(fingerprint, z):
    with pytest.raises(UserError, match=r"z: .*numbers \(B, 3\)"):
        fingerprint.decode(z)


def test_a_split_keeps_test_images_whole():
    sample = np.repeat(np.arange(4), 10)
    split = split_patches(sample, (1,))
    assert set(sample[split["test"]]) == {1} and 1 not in sample[np.concatenate([split["train"], split["validation"]])]
    assert sorted(np.concatenate(list(split.values()))) == list(range(40)) and len(split["validation"]) == 3


def test_a_single_patch_cannot_both_train_and_validate():
    with pytest.raises(UserError, match="leaves a single patch to train on. Lower micrographs.edge, or add images"):
        split_patches(np.array([0, 0, 1]), (0,))


@pytest.mark.parametrize("test_samples", [(9,), (0, 1)])
def test_an_impossible_split_is_refused(test_samples):
    with pytest.raises(UserError, match="test_samples"):
        split_patches(np.array([0, 0, 1, 1]), test_samples)


def micrographs(folder, images):
    with store.create_hdf5(folder / "micrographs.h5", "micrographs", {"key": "toy"}) as file:
        file["image"], file["sample"] = images, np.arange(len(images)) % 3
    return folder


def settings(**values):
    return validate({"texture_vae": {"edge": 32, "width": 16, "latent_dim": 2, "epochs": 2, "test_samples": [1], "layers": ["conv1_1", "pool1"], **values},
                     "compute": {"device": "cpu"}})


@pytest.fixture
def random_vgg(monkeypatch, vgg):
    monkeypatch.setattr(texture.VGG19, "load", classmethod(lambda cls, path=None: vgg))


@pytest.mark.parametrize("choices", [{}, {"layer_weights": "equal", "readout": "last_maps", "edge": 48}])
def test_the_step_trains_a_fingerprint(tmp_path, random_vgg, choices):
    folder = micrographs(tmp_path, np.random.default_rng(0).random((12, 32, 32), np.float32))
    (path,) = run_step(train_texture_vae, settings(**choices), folder, {})
    fingerprint = TextureFingerprint.load(path)
    assert fingerprint.encode(patches(2, 32)).shape == (2, 2)
    assert [record["epoch"] for record in fingerprint.config["history"]] == [1, 2]
    assert fingerprint.config["split"]["test"] == [1, 4, 7, 10]


def test_the_same_seed_trains_the_same_fingerprint(tmp_path, random_vgg):
    images = np.random.default_rng(0).random((9, 32, 32), np.float32)
    states = []
    for name in "ab":
        (tmp_path / name).mkdir()
        (path,) = run_step(train_texture_vae, settings(), micrographs(tmp_path / name, images), {})
        states.append(store.load_tensors(path)[0])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("values, message", [({"edge": 40}, "multiple of 16"), ({"layers": ["pool9"]}, "texture_vae.layers.0 = 'pool9'"),
                                             ({"test_samples": [7]}, "test_samples")])
def test_bad_parameters_end_the_step(tmp_path, random_vgg, values, message):
    with pytest.raises(UserError, match=message):
        run_step(train_texture_vae, settings(**values), micrographs(tmp_path, np.full((3, 32, 32), 0.5, np.float32)), {})


def test_a_nan_in_the_micrographs_ends_the_step(tmp_path, random_vgg):
    with pytest.raises(UserError, match="micrographs.h5: holds nan"):
        run_step(train_texture_vae, settings(), micrographs(tmp_path, np.full((3, 32, 32), np.nan, np.float32)), {})
