"""The public class TextureFingerprint, the split of micrographs, and the step that trains the fingerprint."""

from pathlib import Path

import numpy as np
import pytest
import torch
from random_vgg import random_tensors

from microprint import UserError, store
from microprint.networks.texture_drawing import TextureDrawing
from microprint.networks.texture_law import TextureLaw
from microprint.networks.vgg import VGG19
from microprint.params import validate
from microprint.params.sections import Params
from microprint.steps import run_step
from microprint.systems import texture
from microprint.systems.texture import (
    Statistics,
    TextureFingerprint,
    means_of,
    measure_texture,
    reduce,
    split_patches,
    train_texture_fingerprint,
)

SIZES = {"latent_dim": 3, "width": 8, "drawings": 2, "tile": 32}
EDGE = 64  # of a patch


@pytest.fixture(scope="module")
def vgg():
    return VGG19(random_tensors()).quick()


def patches(count=3, pixels=EDGE):
    """Noise of several exposures."""
    grey = np.linspace(0.2, 1, count)[:, None, None]
    return grey * np.random.default_rng(0).random((count, pixels, pixels))


@pytest.fixture(scope="module")
def fingerprint(vgg):
    torch.manual_seed(0)
    law = TextureLaw.fit(means_of(vgg, torch.as_tensor(patches(8)).float(), "cpu"), SIZES["latent_dim"])
    return TextureFingerprint(law, TextureDrawing(vgg, **SIZES), {"kind": "texture_fingerprint", "drawing": SIZES, "pixels": EDGE})


# --- encode and decode ------------------------------------------------------------------------------------------------


def test_numpy_in_numpy_out_and_torch_likewise(fingerprint):
    z = fingerprint.encode(patches())
    assert isinstance(z, np.ndarray) and z.shape == (3, 3)
    np.testing.assert_array_equal(fingerprint.encode(torch.as_tensor(patches())), z)
    images = fingerprint.decode(z)
    assert isinstance(images, np.ndarray) and images.shape == (3, 32, 32) and 0 <= images.min() <= images.max() <= 1
    assert isinstance(fingerprint.decode(torch.as_tensor(z)), torch.Tensor)
    assert isinstance(fingerprint.encode_image(torch.as_tensor(patches()[0])).mean, torch.Tensor)


def test_one_image_is_a_batch_of_one(fingerprint):
    np.testing.assert_allclose(fingerprint.encode(patches()[0]), fingerprint.encode(patches())[:1], rtol=0, atol=0.02)


def test_many_images_are_as_each_alone(fingerprint):
    """They go through the networks in parts."""
    several = fingerprint.encode(patches(20))
    np.testing.assert_allclose(several[17:], fingerprint.encode(patches(20)[17:]), rtol=0, atol=0.02)
    assert fingerprint.decode(several).shape == (20, 32, 32)


def test_the_same_state_draws_the_same_and_another_one_differently(fingerprint):
    z = fingerprint.encode(patches())
    one = fingerprint.decode(z)
    np.testing.assert_array_equal(fingerprint.decode(z), one)
    seven, eight = (fingerprint.decode(z, torch.Generator().manual_seed(seed)) for seed in (7, 8))
    np.testing.assert_array_equal(fingerprint.decode(z, torch.Generator().manual_seed(7)), seven)
    assert np.abs(seven - eight).max() > 0.01 and np.abs(seven - one).max() > 0.01


@pytest.mark.parametrize("edge, drawn", [(None, 32), (1, 16), (16, 16), (50, 64), (96, 96)])
def test_any_edge_is_rounded_up(fingerprint, edge, drawn):
    assert fingerprint.decode(np.zeros((1, 3)), edge=edge).shape == (1, drawn, drawn)


def test_an_image_is_the_mean_and_spread_of_its_patches(fingerprint):
    image = patches(1, 130)[0, :96]
    seen = fingerprint.encode_image(image)
    parts = np.stack([image[r : r + EDGE, c : c + EDGE] for r in (0, 32) for c in (0, 32, 64)])
    z = fingerprint.encode(parts)
    assert seen.patches == 6 and isinstance(seen.mean, np.ndarray) and isinstance(seen.spread, np.ndarray)
    np.testing.assert_allclose(seen.mean, z.mean(0), rtol=0, atol=1e-5)
    np.testing.assert_allclose(seen.spread, z.std(0), rtol=0, atol=1e-5)


def test_of_a_single_patch_there_is_no_spread(fingerprint):
    seen = fingerprint.encode_image(patches()[0])
    assert seen.patches == 1 and (seen.spread == 0).all()
    np.testing.assert_allclose(seen.mean, fingerprint.encode(patches()[0])[0], rtol=0, atol=1e-6)


# --- what is refused --------------------------------------------------------------------------------------------------


def spoilt(value):
    images = patches()
    images[0, 0, 0] = value
    return images


@pytest.mark.parametrize("images, message", [
    (spoilt(np.nan), r"images: holds nan at \[0, 0, 0\]"), (spoilt(np.inf), "holds inf"), (spoilt(-0.5), "from -0.5 to"), (255 * patches(), "from .* to 25"),
    (patches()[:0], "shape"), (patches()[:, :20], "shape"), (patches()[None], "shape"), (patches(2, 32), "32 pixels an edge, trained on 64"),
])
def test_bad_images_are_refused_by_name(fingerprint, images, message):
    with pytest.raises(UserError, match=message):
        fingerprint.encode(images)


@pytest.mark.parametrize("image, message", [
    (patches(1, 80)[0, :60], "image: 60 x 80 pixels are less than a patch of 64"), (patches(), "image: .*shape"),
    (spoilt(np.nan)[0], r"image: holds nan at \[0, 0\]"), (300 * patches()[0], "grey values from"),
])
def test_bad_large_images_are_refused(fingerprint, image, message):
    with pytest.raises(UserError, match=message):
        fingerprint.encode_image(image)


@pytest.mark.parametrize("z", [np.zeros((2, 4)), np.zeros(3), np.zeros((0, 3)), np.full((1, 3), np.nan)])
def test_bad_latent_vectors_are_refused(fingerprint, z):
    with pytest.raises(UserError, match=r"z: .*numbers \(B, 3\)"):
        fingerprint.decode(z)


# --- files ------------------------------------------------------------------------------------------------------------


def test_saved_and_loaded_it_says_the_same(fingerprint, vgg, tmp_path):
    path, networks = tmp_path / "texture.safetensors", {"law": fingerprint.law, "drawing": fingerprint.drawing}
    state = {f"{name}.{key}": x for name, network in networks.items() for key, x in network.state_dict().items()}
    store.save_tensors(path, state, {"config": fingerprint.config})
    again = TextureFingerprint.load(path, vgg=vgg)
    z = fingerprint.encode(patches())
    np.testing.assert_array_equal(again.encode(patches()), z)
    np.testing.assert_array_equal(again.decode(z), fingerprint.decode(z))
    assert path.stat().st_size < 500_000  # VGG19 is not copied


def test_another_file_is_refused(vgg, tmp_path):
    store.save_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {"config": {"kind": "texture_vae"}})
    with pytest.raises(UserError, match="no texture fingerprint"):
        TextureFingerprint.load(tmp_path / "x.safetensors", vgg=vgg)


# --- patches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("images, tested", [(2, [1]), (3, [2]), (4, [3]), (9, [3, 7])])
def test_a_split_keeps_test_images_whole(images, tested):
    sample = np.repeat(np.arange(images), 10)
    split = split_patches(sample)
    assert np.unique(sample[split["test"]]).tolist() == tested
    assert not np.isin(sample[np.concatenate([split["train"], split["validation"]])], tested).any()
    assert sorted(np.concatenate(list(split.values()))) == list(range(10 * images)) and len(split["validation"]) == images - len(tested)


def test_few_patches_leave_one_to_validate():
    split = split_patches(np.array([0, 0, 1, 2]))
    assert {name: index.tolist() for name, index in split.items()} == {"train": [0, 1], "validation": [2], "test": [3]}


@pytest.mark.parametrize("sample", [[0, 1], [0, 1, 1], [0, 0]])
def test_a_single_patch_cannot_both_train_and_validate(sample):
    with pytest.raises(UserError, match="a single patch is left to train on"):
        split_patches(np.array(sample))


def test_patches_are_reduced_without_aliases():
    stripes = torch.arange(64).remainder(2).float().expand(1, 64, 64)
    torch.testing.assert_close(reduce(stripes, 64)[:, 0], stripes)
    reduced = reduce(stripes, 16)
    assert reduced.shape == (1, 1, 16, 16) and (reduced[..., 2:-2] - 0.5).abs().max() < 0.05


# --- the step ---------------------------------------------------------------------------------------------------------


def micrographs(folder, images):
    with store.create_hdf5(folder / "micrographs.h5", "micrographs", {"key": "toy"}) as file:
        file["image"], file["sample"] = images, np.arange(len(images)) % 4
    return folder


def settings(**values):
    sizes = {"latent_dim": 2, "width": 8, "drawings": 2, "epochs": 2, "batch_size": 4, "paper_edge": 32}
    return validate({"micrographs": {"edge": EDGE}, "texture_vae": {**sizes, **values}, "compute": {"device": "cpu"}})


@pytest.fixture
def random_vgg(monkeypatch, vgg):
    monkeypatch.setattr(texture.VGG19, "load", classmethod(lambda cls, path=None: vgg))
    monkeypatch.setattr(texture, "cached", lambda: Path(__file__))


def measured(folder, images):
    run_step(measure_texture, settings(), micrographs(folder, images), {})
    return folder


def test_statistics_are_those_of_the_patches_all_or_some(tmp_path, random_vgg, vgg):
    images = patches(6).astype(np.float32)
    with store.open_hdf5(measured(tmp_path, images) / "texture_statistics.h5", "texture_statistics") as file:
        every, some = Statistics.read(file, "cpu"), Statistics.read(file, "cpu", np.array([4, 1]))
    torch.testing.assert_close(every.means, means_of(vgg, torch.from_numpy(images), "cpu"))
    made = Statistics.of(vgg, torch.from_numpy(images), torch.device("cpu"))
    for name, grams in every.grams.items():
        assert torch.equal(grams, made.grams[name]) and torch.equal(some.grams[name], grams[[4, 1]])
    assert torch.equal(some.means, every.means[[4, 1]])


def test_the_step_trains_a_fingerprint(tmp_path, random_vgg):
    folder = measured(tmp_path, patches(12).astype(np.float32))
    (path,) = run_step(train_texture_fingerprint, settings(), folder, {})
    fingerprint = TextureFingerprint.load(path)
    z = fingerprint.encode(patches(2))
    assert z.shape == (2, 2) and np.abs(z[0] - z[1]).max() > 0.1 and fingerprint.decode(z).shape == (2, 32, 32)
    history = fingerprint.config["history"]
    assert [record["epoch"] for record in history] == [1, 2]
    assert all(np.isfinite(record[f"{part}_{term}"]) for record in history for part in ("train", "validation") for term in ("loss", "single"))
    assert fingerprint.config["split"]["test"] == [3, 7, 11] and fingerprint.config["pixels"] == EDGE


def test_the_same_seed_trains_the_same_fingerprint(tmp_path, random_vgg):
    states = []
    for name in "ab":
        (tmp_path / name).mkdir()
        folder = measured(tmp_path / name, patches(8).astype(np.float32))
        states.append(store.load_tensors(run_step(train_texture_fingerprint, settings(epochs=1), folder, {})[0])[0])
    assert states[0].keys() == states[1].keys() and all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_nan_in_the_micrographs_ends_the_step(tmp_path, random_vgg):
    folder = micrographs(tmp_path, np.full((3, EDGE, EDGE), np.nan, np.float32))
    with pytest.raises(UserError, match="micrographs.h5: holds nan"):
        run_step(measure_texture, settings(), folder, {})


def test_one_image_of_a_user_s_is_too_few(tmp_path, random_vgg):
    from PIL import Image

    Image.fromarray(np.zeros((EDGE, EDGE), np.uint8)).save(tmp_path / "only.png")
    with pytest.raises(UserError, match="2 images or more in micrographs.source"):
        texture.texture_files(validate({"micrographs": {"source": str(tmp_path)}}))
    assert texture.texture_files(Params())["vgg19"] == Path(__file__)
