"""The public fingerprint: shapes, kinds of array, save and load, bad input, and the step that trains it."""

import numpy as np
import pytest
import torch

from microprint import orientations
from microprint.compute import open_run
from microprint.errors import UserError
from microprint.params import FingerprintVAE
from microprint.store import create_hdf5
from microprint.systems.fingerprint import (
    VARIANTS,
    ChannelSamples,
    Fingerprint,
    VolumeSet,
    configuration,
    fit_linear_code,
    moved_at_random,
    read_volume_elements,
    train_fingerprint,
)

SETTINGS = FingerprintVAE(latent_dim=32, paper_width=2, paper_hidden=16, ours_width=4, paper_epochs=1, ours_epochs=2)


def elements(count=3, edge=8, grains=6, symmetry="cubic", seed=0):
    generator = torch.Generator().manual_seed(seed)
    grain_id = torch.randint(grains, (count, edge, edge, edge), generator=generator)
    return VolumeSet(grain_id, orientations.random((count, grains), generator), torch.full((count,), grains), symmetry)


def fingerprint(variant, symmetry="cubic"):
    torch.manual_seed(0)
    made = Fingerprint.build(configuration(SETTINGS, variant, symmetry, edge=8))
    if variant == "ours":
        fit_linear_code(made.network, elements(symmetry=symmetry))
    return made


@pytest.mark.parametrize("symmetry", orientations.SYMMETRIES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_encode_decode_save_load(variant, symmetry, tmp_path):
    made, e = fingerprint(variant, symmetry), elements(symmetry=symmetry)
    z = made.encode(e.grain_id.numpy(), e.quaternion.numpy())
    assert isinstance(z, np.ndarray) and z.shape == (3, 32)
    q = made.decode(z)
    assert q.shape == (3, 8, 8, 8, 4) and np.allclose(np.linalg.norm(q, axis=-1), 1, atol=1e-5)
    inside = orientations.reduce(torch.from_numpy(q), symmetry)
    assert torch.allclose(orientations.one_minus_abs_dot(inside, torch.from_numpy(q)), torch.zeros(3, 8, 8, 8), atol=1e-5)
    made.save(tmp_path / "f.safetensors")
    again = Fingerprint.load(tmp_path / "f.safetensors")
    assert torch.equal(again.encode(e.grain_id, e.quaternion), torch.from_numpy(z))
    assert again.symmetry == symmetry and again.variant == variant


def test_equivalent_orientations_have_the_same_fingerprint():
    made, e = fingerprint("ours"), elements()
    operators = orientations.symmetry_operators("cubic").float()
    turned = orientations.multiply(operators[torch.arange(6)], e.quaternion)
    assert torch.allclose(made.encode(e.grain_id, turned), made.encode(e.grain_id, e.quaternion), atol=1e-4)


def test_ours_takes_other_edges_and_the_paper_s_network_does_not():
    e = elements(edge=16)
    z = fingerprint("ours").encode(e.grain_id, e.quaternion)
    assert z.shape == (3, 32) and fingerprint("ours").decode(z, 16).shape == (3, 16, 16, 16, 4)
    with pytest.raises(UserError, match="takes 8 voxels"):
        fingerprint("paper").encode(e.grain_id, e.quaternion)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda i, q: (i[0], q), "grain ids of shape"),
        (lambda i, q: (i[:, :4], q), "grain ids of shape"),
        (lambda i, q: (i.float(), q), "grain ids of shape"),
        (lambda i, q: (i[:, :3, :3, :3], q), "edge 3"),
        (lambda i, q: (i, q[..., :3]), "orientations of shape"),
        (lambda i, q: (i, q[:2]), "orientations of shape"),
        (lambda i, q: (i + 1, q), "ids run from 1 to 6"),
        (lambda i, q: (i, torch.full_like(q, torch.nan)), "missing or no unit quaternion"),
        (lambda i, q: (i, 2 * q), "missing or no unit quaternion"),
    ],
)
def test_bad_elements_are_refused(change, message):
    e = elements()
    with pytest.raises(UserError, match=message):
        fingerprint("ours").encode(*change(e.grain_id, e.quaternion))


def test_bad_fingerprints_files_and_settings_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"Give \(B, 32\)"):
        fingerprint("ours").decode(torch.zeros(2, 31))
    with pytest.raises(UserError, match="is missing"):
        Fingerprint.load(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="unknown variant 'own'"):
        configuration(SETTINGS, "own", "cubic", 8)
    with pytest.raises(UserError, match="power of two"):
        configuration(SETTINGS, "ours", "cubic", 12)


def test_padding_does_not_reach_the_network():
    e = elements()
    padded = torch.cat([e.quaternion, torch.full((3, 2, 4), torch.nan)], 1)
    made = fingerprint("ours")
    assert torch.allclose(made.encode(e.grain_id, padded), made.encode(e.grain_id, e.quaternion), atol=1e-6)


def test_moves_keep_the_grains():
    e, generator = elements(), torch.Generator().manual_seed(1)
    moved = moved_at_random(e.grain_id, generator)
    assert moved.shape == e.grain_id.shape and not torch.equal(moved, e.grain_id)
    for before, after in zip(e.grain_id, moved, strict=True):
        assert torch.equal(before.flatten().bincount(), after.flatten().bincount())


def test_batches_are_the_expanded_elements():
    e = elements()
    batch = ChannelSamples(e, "ours", torch.device("cpu")).batch(torch.tensor([2, 0]), torch.Generator())
    expected = orientations.embed(e.orientations()[[2, 0]], "cubic").movedim(-1, 1)
    assert torch.allclose(batch["channels"], expected, atol=1e-6)


@pytest.mark.parametrize("variant", ["coded", "ours"])
def test_training_step(variant, tmp_path):
    study = open_run(run={"root": str(tmp_path)}, vae=vars(SETTINGS))
    with create_hdf5(study.path("polycrystals.h5"), "polycrystals", {"key": "x"}) as file:
        for name, count in (("train", 6), ("validation", 4)):
            e = elements(count, seed=count)
            group = file.create_group(f"cubic/{name}")
            group["grain_id"], group["quaternion"], group["grains"] = e.grain_id.numpy(), e.quaternion.numpy(), e.grains.numpy()
    (path,) = study.do(train_fingerprint, variant=variant, symmetry="cubic")
    made = Fingerprint.load(path)
    assert len(made.history) == (1 if variant == "coded" else 2)
    with study.open("polycrystals.h5") as file:
        read = read_volume_elements(file, "cubic", "validation")
        with pytest.raises(UserError, match="no set hexagonal/train"):
            read_volume_elements(file, "hexagonal", "train")
    assert made.encode(read.grain_id, read.quaternion).shape == (4, 32)


def test_averages_are_the_texture():
    """Before training, the numbers of infinite wavelength are the volume averages of the embedding, scaled."""
    made, e = fingerprint("ours"), elements()
    code, places = made.network.code, made.averages
    texture = orientations.embed(e.orientations(), "cubic").mean((1, 2, 3))
    expected = texture[:, code.channel[places]] / code.scale[places]
    assert len(places) > 0 and torch.allclose(made.encode(e.grain_id, e.quaternion)[:, places], expected, atol=1e-4)
    assert fingerprint("paper").averages == []
