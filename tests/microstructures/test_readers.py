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


def damaged(element, **change):
    return {"grain_id": element[0], "quaternion": element[1]} | change


def faults(element):
    grain_id, q = element
    nan = q.copy()
    nan[1] = np.nan
    return {
        "has voxels of shape (6, 6, 5)": damaged(element, grain_id=grain_id[:, :, :5]),
        "has voxels of shape (36, 6)": damaged(element, grain_id=grain_id.reshape(36, 6)),
        "has no orientations": {"grain_id": grain_id},
        "has no array 'grain_id'": {"quaternion": q},
        "grain ids skip 3": damaged(element, grain_id=np.where(grain_id == 3, 4, grain_id)),
        "grain ids start at 1": damaged(element, grain_id=grain_id + 1),
        "grain ids start at -1": damaged(element, grain_id=grain_id - 1),
        "grain ids are of type float32": damaged(element, grain_id=grain_id.astype(np.float32)),
        f"{len(q)} grains but {len(q) - 1} orientations": damaged(element, quaternion=q[:-1]),
        f"orientations of shape ({len(q)}, 3)": damaged(element, quaternion=q[:, :3]),
        "the orientation of grain 1 is not finite": damaged(element, quaternion=nan),
        "has length 2, not 1": damaged(element, quaternion=2 * q),
        "cannot be read as numpy arrays": damaged(element, quaternion=np.array([{}], dtype=object)),
    }


def test_faults_of_a_volume_element_are_told(tmp_path, element):
    for message, arrays in faults(element).items():
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(UserError) as error:
            readers.read_volume_element(tmp_path / "a.npz")
        assert message in str(error.value) and "a.npz" in str(error.value)


@pytest.mark.parametrize("name, content, message", [
    ("a.npz", b"PK\x03\x04 cut off", "truncated or no .npz"),
    ("a.npz", b"", "cannot be read"),
    ("a.npy", b"\x93NUMPY", "cannot be read"),
    ("a.dream3d", b"no HDF5", "cannot be read as DREAM.3D"),
    ("a.pt", b"", "is a pickle"),
    ("a.stl", b"", "format .stl"),
    ("a.vti", b"<VTKFile>", "has no orientations"),
])  # fmt: skip
def test_damaged_files_are_told(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        readers.read_volume_element(tmp_path / name)


def test_more_faults_of_files_of_other_programs(tmp_path, element):
    import h5py

    writers.write_vti(tmp_path / "a.vti", *element, edge_m=1e-5)
    (tmp_path / "a.yaml").write_text("material: [{}]\nphase: {}\nhomogenization: {}\n")
    with pytest.raises(UserError, match="has no orientation for every material"):
        readers.read_volume_element(tmp_path / "a.vti")
    writers.write_dream3d(tmp_path / "a.dream3d", *element, edge_m=1e-5)
    with h5py.File(tmp_path / "a.dream3d", "a") as file:
        del file["DataContainers/VolumeElement/CellData/EulerAngles"]
    with pytest.raises(UserError, match="has no orientations"):
        readers.read_volume_element(tmp_path / "a.dream3d")


def test_missing_file_and_nan_voxels(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        readers.read_volume_element(tmp_path / "absent.npz")
    np.save(tmp_path / "a.npy", np.full((4, 4, 4, 4), np.nan))
    with pytest.raises(UserError, match="NaN"):
        readers.read_volume_element(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.zeros((4, 4, 4)))
    with pytest.raises(UserError, match=r"has shape \(4, 4, 4\)"):
        readers.read_volume_element(tmp_path / "a.npy")


def test_composites_are_read_and_checked(tmp_path):
    phase = np.random.default_rng(0).integers(0, 2, (5, 5, 5))
    np.save(tmp_path / "a.npy", phase)
    np.savez(tmp_path / "b.npz", phase=phase.astype(bool))
    for name in ("a.npy", "b.npz"):
        assert (readers.read_composite(tmp_path / name) == phase).all()
    np.save(tmp_path / "a.npy", phase + 1)
    with pytest.raises(UserError, match="phases other than 0 and 1"):
        readers.read_composite(tmp_path / "a.npy")


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
