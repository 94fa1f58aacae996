"""The public fingerprint: shapes, kinds of array, save and load, bad input, and the step that trains it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from microprint import orientations
from microprint.errors import UserError
from microprint.microstructures.volume_elements import VolumeElements, read_volume_elements
from microprint.notebook import open_notebook
from microprint.params.sections import FingerprintSettings
from microprint.store import create_hdf5, save_tensors
from microprint.systems.fingerprint import (
    VARIANTS,
    EulerSamples,
    Fingerprint,
    GrainSamples,
    configuration,
    moved_at_random,
    schedule_of,
    train_fingerprint,
    trainable,
)

SETTINGS = FingerprintSettings(latent_dim=64, paper_width=2, paper_hidden=16, ours_width=8, ours_rounds=1, paper_epochs=1, ours_epochs=2,
                               ours_calibration=3)


def elements(count=3, edge=8, grains=6, symmetry="cubic", seed=0):
    generator = torch.Generator().manual_seed(seed)
    grain_id = torch.randint(grains, (count, edge, edge, edge), generator=generator)
    return VolumeElements(grain_id, orientations.random((count, grains), generator), torch.full((count,), grains), symmetry)


def fingerprint(variant, symmetry="cubic"):
    torch.manual_seed(0)
    return Fingerprint.build(configuration(SETTINGS, variant, symmetry, edge=8, grains=6.0))


@pytest.mark.parametrize("symmetry", orientations.SYMMETRIES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_encode_decode_save_load(variant, symmetry, tmp_path):
    made, e = fingerprint(variant, symmetry), elements(symmetry=symmetry)
    z = made.encode(e.grain_id.numpy(), e.quaternion.numpy())
    assert isinstance(z, np.ndarray) and z.shape == (3, made.size)
    q = made.decode(z)
    assert q.shape == (3, 8, 8, 8, 4) and np.allclose(np.linalg.norm(q, axis=-1), 1, atol=1e-5)
    inside = orientations.reduce(torch.from_numpy(q), symmetry)
    assert torch.allclose(orientations.one_minus_abs_dot(inside, torch.from_numpy(q)), torch.zeros(3, 8, 8, 8), atol=1e-5)
    save_tensors(tmp_path / "f.safetensors", made.network.state_dict(), {"config": made.config})
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
    assert z.shape == (3, 67) and fingerprint("ours").decode(z, 16).shape == (3, 16, 16, 16, 4)
    with pytest.raises(UserError, match="takes the 8 voxels"):
        fingerprint("paper").encode(e.grain_id, e.quaternion)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda i, q: (i[0], q), "do not fit"),
        (lambda i, q: (i[:, :4], q), "grain ids of shape"),
        (lambda i, q: (i + 0.5, q), "no exact whole number, in type float32"),
        (lambda i, q: (i, q[..., :3]), r"quaternions: is of shape \(3, 6, 3\)"),
        (lambda i, q: (i, q[:2]), "do not fit"),
        (lambda i, q: (i + 1, q), "grain ids start at 1"),
        (lambda i, q: (i, torch.full_like(q, torch.nan)), "grain 0 is not finite"),
        (lambda i, q: (i, 2 * q), "length 2, not 1"),
    ],
)
def test_bad_elements_are_refused(change, message):
    e = elements()
    with pytest.raises(UserError, match=message):
        fingerprint("ours").encode(*change(e.grain_id, e.quaternion))


def test_bad_fingerprints_files_and_settings_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"Give finite numbers \(B, 67\)"):
        fingerprint("ours").decode(torch.zeros(2, 31))
    with pytest.raises(UserError, match="is missing"):
        Fingerprint.load(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="unknown variant 'own'"):
        configuration(SETTINGS, "own", "cubic", 8, 6.0)
    with pytest.raises(UserError, match="power of two"):
        configuration(SETTINGS, "paper", "cubic", 12, 6.0)
    with pytest.raises(UserError, match="13 numbers hold no two seeds.*Use 14 or more"):
        configuration(replace(SETTINGS, latent_dim=13), "ours", "hexagonal", 8, 6.0)


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


def test_samples_are_the_volume_elements():
    e, index, unused = elements(), torch.tensor([2, 0]), torch.Generator()
    channels = EulerSamples(e).batch(index, unused)["channels"]
    back = orientations.from_euler_channels(channels.movedim(1, -1))
    angle = orientations.disorientation(back, e.orientations()[index], "cubic")
    assert float(angle.max()) < 1e-3
    batch = GrainSamples(e, "cubic").batch(index, unused)
    assert torch.equal(batch["grain_id"], e.grain_id[index])
    assert torch.equal(batch["quaternion"], orientations.reduce(e.quaternion[index], "cubic"))


def test_s1_sees_new_orientations_of_the_same_tessellations():
    e, generator = elements(), torch.Generator().manual_seed(1)
    samples = EulerSamples(e, augment=True)
    first, again = (samples.batch(torch.arange(3), generator)["channels"] for _ in range(2))
    assert first.shape == again.shape == (3, 3, 8, 8, 8) and not torch.equal(first, again)
    for ids, channels in zip(e.grain_id, first, strict=True):
        sizes = channels.flatten(1).unique(dim=1, return_counts=True)[1]
        assert sorted(sizes.tolist()) == sorted(ids.flatten().bincount().tolist())
    q = orientations.standardize(orientations.from_euler_channels(first.movedim(1, -1)))
    assert torch.allclose(q, orientations.reduce(q, "cubic"), atol=1e-4)


def test_s1_trains_with_amsgrad_at_a_falling_rate():
    schedule = schedule_of(replace(SETTINGS, paper_learning_rate=0.5, paper_weight_decay=0.1), "paper")
    optimizer = schedule.optimizer_for(torch.nn.Linear(2, 2))
    assert type(optimizer) is torch.optim.Adam and optimizer.defaults["amsgrad"] and optimizer.defaults["weight_decay"] == 0.1
    assert schedule.rate(0.02) < 0.25 < schedule.rate(0.1) and schedule.rate(1.0) == pytest.approx(0, abs=1e-9)


def test_what_ours_has_learnt_serves_other_symmetries_and_sizes(tmp_path):
    made, path = fingerprint("ours"), tmp_path / "f.safetensors"
    save_tensors(path, made.network.state_dict(), {"config": made.config})
    other = Fingerprint.load(path, symmetry="hexagonal", latent_dim=100)
    e = elements(symmetry="hexagonal")
    z = other.encode(e.grain_id, e.quaternion)
    assert other.symmetry == "hexagonal" and z.shape == (3, other.size) and 94 < other.size - 27 <= 100
    weights = (model.network.weigh.start.detach() for model in (made, other))
    assert torch.equal(*weights)
    with pytest.raises(UserError, match="no crystal symmetry 'triclinic'"):
        Fingerprint.load(path, symmetry="triclinic")
    with pytest.raises(UserError, match="12 numbers hold no two seeds"):
        Fingerprint.load(path, latent_dim=12)
    paper = fingerprint("paper")
    save_tensors(path, paper.network.state_dict(), {"config": paper.config})
    assert Fingerprint.load(path, symmetry="cubic").symmetry == "cubic"
    with pytest.raises(UserError, match="is S1's network, of symmetry cubic, not hexagonal"):
        Fingerprint.load(path, symmetry="hexagonal")


def write_sets(study, sets):
    with create_hdf5(study.folder / "artifacts" / "polycrystals.h5", "polycrystals", {"key": "x"}) as file:
        for name, count in sets.items():
            e = elements(count, seed=count, symmetry=name.split("/")[0])
            group = file.create_group(name)
            group["grain_id"], group["quaternion"], group["grains"] = e.grain_id.numpy(), e.quaternion.numpy(), e.grains.numpy()


@pytest.mark.parametrize("variant", ["coded", "ours", "equiaxed"])
def test_training_step(variant, tmp_path):
    study = open_notebook(run={"root": str(tmp_path)}, vae=vars(SETTINGS))
    write_sets(study, {"cubic/train": 6, "cubic/mixed": 5, "cubic/validation": 4, "cubic/test": 1})
    (path,) = study.do(train_fingerprint, variant=variant)
    made = Fingerprint.load(path)
    assert len(made.history) == (1 if variant == "coded" else 2)
    with study.open("polycrystals.h5") as file:
        read = read_volume_elements(file, "cubic/validation")
        with pytest.raises(UserError, match="no set hexagonal/train"):
            read_volume_elements(file, "hexagonal/train")
    assert made.encode_set(read).shape == (4, made.size)
    assert (tmp_path / "by-hand" / "logs" / f"fingerprint-{variant}.csv").is_file()


def test_a_short_fingerprint_learns_with_a_seed_for_each_grain(tmp_path):
    states = []
    for number, latent_dim in enumerate((14, 64)):
        study = open_notebook(run={"root": str(tmp_path / str(number))}, vae=vars(replace(SETTINGS, latent_dim=latent_dim)))
        write_sets(study, {"cubic/train": 6, "cubic/validation": 4, "cubic/test": 1})
        (path,) = study.do(train_fingerprint, variant="ours")
        states.append(Fingerprint.load(path).network.state_dict())
        assert Fingerprint.load(path).size <= 9 + latent_dim
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_hexagonal_sets_alone_train_on_their_own_tessellations(tmp_path):
    study = open_notebook(run={"name": "t", "root": str(tmp_path)}, vae=vars(SETTINGS))
    write_sets(study, {f"hexagonal/{name}": 3 for name in ("train", "validation", "test")})
    (path,) = study.do(train_fingerprint, variant="ours")
    assert Fingerprint.load(path).symmetry == "hexagonal"


@pytest.mark.parametrize("sets, variants", [
    ({"cubic": ("train", "validation", "test", "mixed"), "hexagonal": ("train", "validation", "test")},
     {"cubic": ["paper", "coded", "ours", "equiaxed"]}),
    ({"cubic": ("train", "validation", "test", "goss")}, {"cubic": ["paper", "coded", "ours"]}),
    ({"cubic": ("train", "test", "mixed"), "hexagonal": ("train", "validation", "test")}, {"hexagonal": ["paper", "coded", "ours"]}),
    ({"cubic": ("train", "validation")}, {}),
])
def test_what_can_be_trained_follows_from_the_sets(sets, variants):
    edges = {f"{symmetry}/{name}": 8 for symmetry, names in sets.items() for name in names}
    assert trainable(edges) == variants
    odd = {symmetry: [name for name in names if name not in ("paper", "coded")] for symmetry, names in variants.items()}
    assert trainable(dict.fromkeys(edges, 10)) == odd  # S1's network cannot halve it


def test_parts_of_a_fingerprint():
    """The averages are the texture of what is drawn; the parts cover the whole; S1's fingerprint has none."""
    made, e = fingerprint("ours"), elements()
    parts = made.parts
    z = made.encode_set(e)
    texture = orientations.embed(made.decode(z, 16), "cubic").mean((1, 2, 3))
    assert torch.allclose(z[:, parts["averages"]] / made.network.average_scale, texture, atol=1e-3)
    assert torch.equal(torch.cat([z[:, part] for part in parts.values()], 1), z)
    assert len(made.anchors) * made.network.numbers == z[:, parts["seeds"]].shape[1]
    assert fingerprint("paper").parts == {}
