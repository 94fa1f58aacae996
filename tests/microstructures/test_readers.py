"""Readers: every format read back, and each fault of a file told in one sentence."""

import math

import numpy as np
import pytest
import torch

from microprint import orientations
from microprint.errors import UserError
from microprint.microstructures import polycrystal, readers, writers


@pytest.fixture(scope="module")
def element():
    made = polycrystal.generate(1, 6, "cubic", torch.Generator().manual_seed(0))
    return made.grain_id[0].numpy(), made.quaternion[0].numpy()


def largest_error(read, element):
    """Largest disorientation of a voxel, degrees; 'triclinic', that is without symmetry."""
    grain_id, quaternion = element
    ours, theirs = read.orientations()[0].double(), torch.from_numpy(quaternion[grain_id]).double()
    angle = orientations.rotation_angle(orientations.multiply(ours, orientations.conjugate(theirs)))
    return math.degrees(angle.max())


def test_vti_with_its_materials_is_read(tmp_path, element):
    writers.write_vti(tmp_path / "a.vti", *element, edge_m=1e-5)
    assert largest_error(readers.read_volume_element(tmp_path / "a.vti"), element) < 1e-4


def test_dream3d_is_read(tmp_path, element):
    writers.write_dream3d(tmp_path / "a.dream3d", *element, edge_m=1e-5)
    assert largest_error(readers.read_volume_element(tmp_path / "a.dream3d"), element) < 1e-3


def test_npz_and_npy_are_read(tmp_path, element):
    grain_id, quaternion = element
    np.savez(tmp_path / "a.npz", grain_id=grain_id, quaternion=quaternion)
    np.save(tmp_path / "b.npy", quaternion[grain_id])
    channels = orientations.euler_channels(torch.from_numpy(quaternion).double()).numpy()
    np.save(tmp_path / "c.npy", np.moveaxis(channels[grain_id], -1, 0))
    for name in ("a.npz", "b.npy", "c.npy"):
        read = readers.read_volume_element(tmp_path / name)
        assert read.grains == len(quaternion) and largest_error(read, element) < 1e-3


def test_ids_of_an_npz_may_have_gaps_and_begin_anywhere(tmp_path, element):
    """Orientations are taken by id where there are rows enough, else in the order of the ids."""
    ids, q = element
    spread = 3 * ids + 5
    by_id = np.full((spread.max() + 1, 4), np.nan, np.float32)  # rows of no grain may hold anything
    by_id[5::3] = q
    huge = np.where(ids == 0, 20_000_000_000_000, ids)
    for grain_id, quaternion, renumbered in (
        (spread, q, True), (spread, by_id, True), (ids + 1, q, True), (ids + 1, np.concatenate([q[:1], q]), True),
        (huge, np.roll(q, -1, axis=0), True), (ids.astype(np.uint64), q, False), (ids.astype(np.float32), q, False),
        (ids, np.concatenate([q, q]), False),
    ):  # fmt: skip
        np.savez(tmp_path / "a.npz", grain_id=grain_id, quaternion=quaternion)
        read, note = readers.read_with_note(tmp_path / "a.npz")
        assert largest_error(read, element) < 1e-4 and ("were renumbered" in note) is renumbered
    np.savez(tmp_path / "a.npz", grain_id=ids[:, :3, :4], quaternion=q)
    assert largest_error(readers.read_volume_element(tmp_path / "a.npz"), (ids[:, :3, :4], q)) < 1e-4


def damaged(element, **change):
    return {"grain_id": element[0], "quaternion": element[1]} | change


def faults(element):
    grain_id, q = element
    nan = q.copy()
    nan[1] = np.nan
    return {
        "has grain ids of shape (36, 6)": damaged(element, grain_id=grain_id.reshape(36, 6)),
        "has grain ids of shape (0, 6, 6)": damaged(element, grain_id=grain_id[:0]),
        "has grain ids of shape (1, 6, 6, 6), not (nx, ny, nz)": damaged(element, grain_id=grain_id[None]),
        "has no orientations, only grain_id": {"grain_id": grain_id},
        "has no array 'grain_id', only ids, quaternion": {"ids": grain_id, "quaternion": q},
        "of the voxels have a negative grain id (-1)": damaged(element, grain_id=grain_id - 1),
        "grain ids are of type float32 and hold 26.5": damaged(element, grain_id=(grain_id + 0.5).astype(np.float32)),
        "grain ids are of type float64 and hold nan": damaged(element, grain_id=np.where(grain_id == 1, np.nan, grain_id)),
        "grain ids are of type float32 and hold 19999999655936.0": damaged(element, grain_id=np.full((4, 4, 4), 2e13, np.float32)),
        "grain ids are of type <U": damaged(element, grain_id=grain_id.astype(str)),
        f"{len(q)} grains with ids from 0 to {len(q) - 1}, but {len(q) - 1} orientations": damaged(element, quaternion=q[:-1]),
        f"orientations of shape ({len(q)}, 3)": damaged(element, quaternion=q[:, :3]),
        "the orientation of grain 1 is not finite": damaged(element, quaternion=nan),
        "has length 2, not 1": damaged(element, quaternion=2 * q),
        "holds Python objects": damaged(element, quaternion=np.array([{}], dtype=object)),
    }


def test_faults_of_a_volume_element_are_told(tmp_path, element):
    for message, arrays in faults(element).items():
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(UserError) as error:
            readers.read_volume_element(tmp_path / "a.npz")
        assert message in str(error.value) and "a.npz" in str(error.value)


@pytest.mark.parametrize("name, content, message", [
    ("a.npz", b"PK\x03\x04 cut off", "truncated or damaged"),
    ("a.npz", b"", "is empty"),
    ("a.npy", b"\x93NUMPY", "truncated or damaged"),
    ("a.npy", b"\x80\x04N.", "no numpy arrays, maybe a pickle"),
    ("a.npy", b"0.5 0.5", "no numpy arrays"),
    ("a.dream3d", b"no HDF5", "cannot be read as DREAM.3D"),
    ("a.pt", b"", "is a pickle"),
    ("a.stl", b"", "format .stl"),
    ("a.vti", b"<VTKFile>", "has no orientations"),
])  # fmt: skip
def test_damaged_files_are_told(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        readers.read_volume_element(tmp_path / name)


def test_files_cut_off_are_told(tmp_path, element):
    np.savez(tmp_path / "a.npz", **damaged(element))
    np.save(tmp_path / "a.npy", element[1][element[0]])
    for name in ("a.npz", "a.npy"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match="truncated or damaged"):
            readers.read_volume_element(tmp_path / name)


def test_the_content_of_a_numpy_file_decides_not_its_name(tmp_path, element):
    np.savez(tmp_path / "a.npz", **damaged(element))
    np.save(tmp_path / "b.npy", element[1][element[0]])
    (tmp_path / "a.npz").rename(tmp_path / "A.NPY")
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    for name in ("A.NPY", "b.npz"):
        assert largest_error(readers.read_volume_element(tmp_path / name), element) < 1e-4


def test_missing_files_and_unknown_symmetries_are_told(tmp_path):
    for name in ("absent.npz", "absent.vti", "absent.dream3d"):
        with pytest.raises(UserError, match=f"{name}: is no file"):
            readers.read_volume_element(tmp_path / name)
    with pytest.raises(UserError, match="unknown crystal symmetry 'fcc'"):
        readers.read_volume_element(tmp_path / "absent.npz", "fcc")


@pytest.mark.parametrize("shape", [(4, 4, 4), (3, 4, 4), (8, 6, 4), (3, 3, 3), (1, 2, 4), (5, 5, 3)], ids=str)
def test_fields_of_any_shape_are_read(tmp_path, element, shape):
    """Also those whose shape fits quaternions and Euler channels."""
    q = element[1][:2].astype(np.float64)
    ids = np.arange(math.prod(shape)).reshape(shape) % 2
    channels = orientations.euler_channels(torch.from_numpy(q)).numpy()
    np.save(tmp_path / "q.npy", q[ids])
    np.save(tmp_path / "e.npy", np.moveaxis(channels[ids], -1, 0))
    for name in ("q.npy", "e.npy"):
        assert largest_error(readers.read_volume_element(tmp_path / name), (ids, q)) < 1e-4


def test_a_scattered_field_is_segmented(tmp_path):
    """Layers of two orientations, in which each voxel is off by up to half a degree."""
    generator = torch.Generator().manual_seed(0)
    ids = np.repeat([0, 1], 256).reshape(8, 8, 8)
    true = orientations.random(2, generator, torch.float64)
    turn = 0.01 * torch.rand(8, 8, 8, 3, generator=generator, dtype=torch.float64) - 0.005
    field = orientations.multiply(orientations.from_rotation_vector(turn), true[ids])
    np.save(tmp_path / "a.npy", field.numpy())
    element, note = readers.read_with_note(tmp_path / "a.npy", "cubic", 5.0)
    assert element.grains == 2 and "within 5 degrees" in note and largest_error(element, (ids, true.numpy())) < 0.1
    assert readers.read_volume_element(tmp_path / "a.npy", "cubic", 0.0).grains == 512


def test_faults_of_fields_are_told(tmp_path, element):
    q = element[1][element[0]].astype(np.float64)
    radians = np.moveaxis(orientations.to_euler(torch.from_numpy(q)).numpy(), -1, 0)
    nan = q.copy()
    nan[0, 0, 0] = np.nan
    for message, field in (
        (r"to [56]\.\d+, but Euler channels lie in 0 to 1\. Divide radians by", radians),
        (r"to 3\d\d.*degrees by \(360, 180, 360\)", np.rad2deg(radians)),
        ("values from -0.25 to", np.full((3, 4, 4, 4), -0.25)),
        (r"has shape \(6, 6, 6, 3\), channels last", np.moveaxis(radians, 0, -1)),
        (r"has shape \(4, 6, 6, 6\), components first", np.moveaxis(q, -1, 0)),
        (r"has shape \(4, 4, 4, 4\), components first", np.moveaxis(q[:4, :4, :4], -1, 0)),
        ("has a quaternion of length 2, not 1", 2 * q),
        ("lie in 0 to 1, and quaternions have length 1", 2 * q[:3]),
        ("has a quaternion of length 0, not 1", np.where(element[0][..., None] == 1, 0, q)),
        ("0.463 % of its numbers are NaN", nan),
        (r"has shape \(6, 6, 6\)", element[0]),
        (r"has shape \(5, 5, 5, 5\)", np.zeros((5, 5, 5, 5))),
        (r"has shape \(0, 6, 6, 4\)", q[:0]),
        ("type complex128", q.astype(complex)),
        ("holds Python objects", np.full((4, 4, 4, 4), None)),
    ):
        np.save(tmp_path / "a.npy", field)
        with pytest.raises(UserError, match=f"a.npy: .*{message}"):
            readers.read_volume_element(tmp_path / "a.npy")


def test_composites_are_read_and_checked(tmp_path):
    phase = np.random.default_rng(0).integers(0, 2, (5, 5, 5))
    for kind in (int, bool, np.uint8, np.float32):
        np.save(tmp_path / "a.npy", phase.astype(kind))
        np.savez(tmp_path / "b.npz", phase=phase.astype(kind))
        for name in ("a.npy", "b.npz"):
            read = readers.read_composite(tmp_path / name)
            assert (read == phase).all() and read.dtype == np.uint8
    for message, values in (
        (r"phases other than 0 and 1 \(2\)", phase + 1),
        (r"phases other than 0 and 1 \(255\)", 255 * phase),
        (r"phases other than 0 and 1 \(0.5\)", phase / 2),
        (r"phases other than 0 and 1 \(nan\)", np.where(phase == 1, np.nan, 0.0)),
        (r"has phases of shape \(5, 5, 4\)", phase[..., :4]),
        ("of type <U1", phase.astype("U1")),
    ):
        np.save(tmp_path / "a.npy", values)
        with pytest.raises(UserError, match=f"a.npy: .*{message}"):
            readers.read_composite(tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", x=phase)
    with pytest.raises(UserError, match="has no array 'phase', only x"):
        readers.read_composite(tmp_path / "b.npz")


@pytest.mark.parametrize("phase", [0, 1])
def test_a_composite_of_one_phase_is_one(tmp_path, phase):
    """Its stiffness is that of the phase."""
    from microprint.systems import stiffness

    np.save(tmp_path / "a.npy", np.full((5, 5, 5), phase))
    effective = stiffness.simulate_component(torch.from_numpy(readers.read_composite(tmp_path / "a.npy"))[None], "C11")
    torch.testing.assert_close(effective.double(), stiffness.phase_stiffnesses()[phase, 0, 0].double()[None], rtol=1e-5, atol=0)


def test_folders_are_checked(tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        readers.list_files(tmp_path / "absent", (".png",))
    with pytest.raises(UserError, match="holds no file of format .png, .tif"):
        readers.list_files(tmp_path, (".png", ".tif"))
    for name in (".DS_Store", "._a.png", "b.jpg", "c.BMP"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match=r"holds no file of format .png, .tif, but .BMP, .jpg, folders"):
        readers.list_files(tmp_path, (".png", ".tif"))
    (tmp_path / "a.PNG").write_bytes(b"")
    (tmp_path / "d.png").mkdir()
    assert readers.list_files(tmp_path, (".png", ".tif")) == [tmp_path / "a.PNG"]
    (tmp_path / "e.png").symlink_to(tmp_path / "absent")
    with pytest.raises(UserError, match="e.png: is a link to nothing"):
        readers.list_files(tmp_path, (".png", ".tif"))
    (tmp_path / "e.png").unlink()
    (tmp_path / "weights.pt").write_bytes(b"")
    with pytest.raises(UserError, match="is a pickle"):
        readers.list_files(tmp_path, (".png", ".tif"))
