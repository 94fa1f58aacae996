"""DREAM.3D's files of several versions, each read back; and each fault told in one sentence."""

import math

import h5py
import numpy as np
import pytest
import torch

from microprint import orientations
from microprint.errors import UserError
from microprint.microstructures import readers

GRAINS = 7
DEGREES = 180 / math.pi


@pytest.fixture
def ids():
    """(6, 6, 6), each id somewhere."""
    return np.random.default_rng(0).permutation(np.arange(216) % GRAINS).reshape(6, 6, 6)


@pytest.fixture
def angles():
    rng = np.random.default_rng(1)
    return np.stack([rng.random(GRAINS) * 2 * np.pi, np.arccos(rng.uniform(-1, 1, GRAINS)), rng.random(GRAINS) * 2 * np.pi], -1)


def quaternions(angles):
    """(x, y, z, w) of Bunge angles."""
    return np.roll(orientations.from_euler(torch.from_numpy(angles)).numpy(), -1, axis=-1)


def cells(values):
    """[x, y, z(, component)] as DREAM.3D keeps it."""
    values = values if values.ndim == 4 else values[..., None]
    kind = np.float32 if values.dtype.kind == "f" else np.int32
    return values.transpose(2, 1, 0, 3).astype(kind)


def rows(values):
    """Rows of features or ensembles, the first of them unused."""
    return np.concatenate([np.zeros_like(values[:1]), values]).astype(np.float32)


def write(path, ids, angles, version="6.5", spacing=(0.5,) * 3, structures=(999, 1), drop=(), name="SyntheticVolume", **change):
    """A file of any layout. ``change`` are cell arrays [x, y, z(, c)] by name, ``feature_NAME`` arrays of features (G, c)."""
    of_cells = {"FeatureIds": ids + 1, "EulerAngles": angles[ids], "Phases": np.ones(ids.shape, int)}
    features = {"EulerAngles" if version != "NX" else "AvgEulerAngles": angles, "AvgQuats": quaternions(angles)}
    features |= {key.removeprefix("feature_"): change.pop(key) for key in list(change) if key.startswith("feature_")}
    with h5py.File(path, "w") as file:
        file.attrs["FileVersion"] = np.bytes_("8.0" if version == "NX" else "7.0")
        if version == "NX":
            volume = file.create_group(f"DataStructure/{name}")
            volume.attrs.update(_DIMENSIONS=np.array(ids.shape, np.uint64), _SPACING=np.array(spacing, np.float32))
        else:
            volume = file.create_group(f"DataContainers/{name}")
            volume["_SIMPL_GEOMETRY/DIMENSIONS"] = np.array(ids.shape)
            volume[f"_SIMPL_GEOMETRY/{'RESOLUTION' if version == '6.4' else 'SPACING'}"] = np.array(spacing, np.float32)
        for key, values in (of_cells | change).items():
            if key not in drop:
                volume[f"Cell Data/{key}"] = cells(values)
        for key, values in features.items():
            if f"feature_{key}" not in drop:
                volume[f"Features/{key}"] = rows(values)
        volume["Ensembles/CrystalStructures"] = np.array(structures, np.uint32)[:, None]
        volume["Ensembles/PhaseName"] = np.array(["Unknown", "Nickel", "Titanium"], "S16")[: len(structures)]
        if "CrystalStructures" in drop:
            del volume["Ensembles/CrystalStructures"]


def error_deg(element, ids, angles, symmetry="cubic"):
    true = orientations.from_euler(torch.from_numpy(angles))[ids]
    return math.degrees(orientations.disorientation(element.orientations()[0], true, symmetry).max())


def scattered(ids, angles, degrees=0.7, symmetry="cubic"):
    """Angles of voxels that scatter around those of their grain, in any equivalent orientation."""
    generator = torch.Generator().manual_seed(0)
    turn = torch.randn(*ids.shape, 3, generator=generator, dtype=torch.float64) * math.radians(degrees)
    q = orientations.multiply(orientations.from_rotation_vector(turn), orientations.from_euler(torch.from_numpy(angles))[ids])
    operators = orientations.symmetry_operators(symmetry)
    q = orientations.multiply(operators[torch.randint(len(operators), ids.shape, generator=generator)], q)
    return orientations.to_euler(q).numpy()


@pytest.mark.parametrize("version", ["6.4", "6.5", "NX"])
@pytest.mark.parametrize("shape", [(6, 6, 6), (9, 6, 4)], ids=str)
def test_every_version_is_read(tmp_path, ids, angles, version, shape):
    ids = ids.ravel().reshape(shape)
    write(tmp_path / "a.dream3d", ids, angles, version, name="Any name")
    element = readers.read_volume_element(tmp_path / "a.dream3d")
    assert element.grains == GRAINS and element.symmetry == "cubic"
    assert (element.grain_id[0].numpy() == ids).all() and error_deg(element, ids, angles) < 1e-4


def remove_version(file):
    del file.attrs["FileVersion"]


def text_version(file):
    file.attrs["FileVersion"] = "7.0"


def other_container(file):
    file["DataContainers/StatsGenerator/CellEnsembleData/CrystalStructures"] = np.array([[999], [1]])
    file["DataContainers/Surface/_SIMPL_GEOMETRY/SharedVertexList"] = np.zeros((5, 3))


def empty_geometry(file):
    file["DataContainers/Empty/_SIMPL_GEOMETRY/DIMENSIONS"] = np.array([2, 2, 2])
    file["DataContainers/Empty/_SIMPL_GEOMETRY/SPACING"] = np.ones(3)


def without_component_axis(file):
    data = file["DataContainers/SyntheticVolume/Cell Data"]
    for name in ("FeatureIds", "Phases"):
        values = data[name][..., 0]
        del data[name]
        data[name] = values


@pytest.mark.parametrize("change", [remove_version, text_version, other_container, empty_geometry, without_component_axis])
def test_what_differs_between_files_makes_no_difference(tmp_path, ids, angles, change):
    write(tmp_path / "a.dream3d", ids, angles)
    with h5py.File(tmp_path / "a.dream3d", "a") as file:
        change(file)
    assert error_deg(readers.read_volume_element(tmp_path / "a.dream3d"), ids, angles) < 1e-4


def test_grains_are_averages_of_their_voxels(tmp_path, ids, angles):
    write(tmp_path / "a.dream3d", ids, angles, EulerAngles=scattered(ids, angles))
    element = readers.read_volume_element(tmp_path / "a.dream3d")
    assert element.grains == GRAINS and 0.01 < error_deg(element, ids, angles) < 0.7


def test_averages_of_the_file_may_be_other_equivalents(tmp_path, ids, angles):
    q = orientations.equivalents(orientations.from_euler(torch.from_numpy(angles)), "cubic")[:, 7].numpy()
    write(tmp_path / "a.dream3d", ids, angles, feature_AvgQuats=np.roll(q, -1, axis=-1))
    assert error_deg(readers.read_volume_element(tmp_path / "a.dream3d"), ids, angles) < 1e-4


@pytest.mark.parametrize("version, kept", [("6.5", "EulerAngles"), ("NX", "AvgEulerAngles")])
def test_orientations_of_features_alone_are_read(tmp_path, ids, angles, version, kept):
    write(tmp_path / "a.dream3d", ids, angles, version, drop=("EulerAngles", "Phases"))
    assert error_deg(readers.read_volume_element(tmp_path / "a.dream3d"), ids, angles) < 1e-4


def test_ids_may_have_gaps(tmp_path, ids, angles):
    write(tmp_path / "a.dream3d", 2 * ids, np.repeat(angles, 2, axis=0))
    element = readers.read_volume_element(tmp_path / "a.dream3d")
    assert element.grains == GRAINS and error_deg(element, ids, angles) < 1e-4


@pytest.mark.parametrize("clean", [True, False])
def test_a_map_without_feature_ids_is_segmented_where_it_scatters(tmp_path, angles, clean):
    ids = np.repeat(np.arange(6), 36).reshape(6, 6, 6)
    values = angles[ids] if clean else scattered(ids, angles)
    write(tmp_path / "a.dream3d", ids, angles, drop=("FeatureIds",), EulerAngles=values)
    element, note = readers.read_with_note(tmp_path / "a.dream3d", "cubic", 5.0)
    assert element.grains == 6 and error_deg(element, ids, angles) < (1e-4 if clean else 0.7)
    assert ("within 5 degrees" in note) is not clean


@pytest.mark.parametrize("drop", [(), ("EulerAngles",)], ids=["cells", "features"])
def test_degrees_are_told_from_radians(tmp_path, ids, angles, drop):
    """By their size, or by the quaternions where they are small, as in a cube texture."""
    small = np.radians([3.0, 2.0, 1.5]) + np.arange(GRAINS)[:, None] * 0.01
    for true in (angles, small):
        change = {"EulerAngles": DEGREES * true[ids], "feature_EulerAngles": DEGREES * true, "feature_AvgQuats": quaternions(true)}
        write(tmp_path / "a.dream3d", ids, true, drop=drop, **change)
        element, note = readers.read_with_note(tmp_path / "a.dream3d")
        assert error_deg(element, ids, true) < 1e-4 and note == "Euler angles in degrees were converted"
    write(tmp_path / "a.dream3d", ids, small, drop=drop)
    assert readers.read_with_note(tmp_path / "a.dream3d")[1] == ""


@pytest.mark.parametrize("sign", [1, -1])
def test_quaternions_of_cells_tell_the_unit_with_either_sign(tmp_path, ids, angles, sign):
    small = 0.01 * angles
    write(tmp_path / "a.dream3d", ids, small, drop=("FeatureIds", "feature_AvgQuats"), EulerAngles=DEGREES * small[ids],
          Quats=quaternions(small)[ids] * [sign, sign, sign, 1])  # fmt: skip
    assert error_deg(readers.read_volume_element(tmp_path / "a.dream3d"), ids, small) < 1e-4


@pytest.mark.parametrize("unset", [(0, 0, 0, 0), (0, 0, 0, 1), (np.nan,) * 4], ids=str)
def test_quaternions_that_were_never_set_say_nothing(tmp_path, ids, angles, unset):
    write(tmp_path / "a.dream3d", ids, angles, feature_AvgQuats=np.tile(np.array(unset, float), (GRAINS, 1)))
    assert error_deg(readers.read_volume_element(tmp_path / "a.dream3d"), ids, angles) < 1e-4


def test_angles_that_were_rounded_are_radians(tmp_path, ids, angles):
    angles[0], angles[1] = (2 * np.pi, 0.3, 0.0), (-1e-8, np.pi, -0.0)
    write(tmp_path / "a.dream3d", ids, angles)
    assert error_deg(readers.read_volume_element(tmp_path / "a.dream3d"), ids, angles) < 1e-4


def test_the_symmetry_is_that_of_the_file_or_else_the_caller_s(tmp_path, ids, angles):
    path = tmp_path / "a.dream3d"
    write(path, ids, angles, structures=(999, 0))
    assert readers.read_volume_element(path).symmetry == "hexagonal" == readers.read_volume_element(path, "hexagonal").symmetry
    with pytest.raises(UserError, match="a.dream3d: its crystal is hexagonal, but cubic was asked for"):
        readers.read_volume_element(path, "cubic")
    for change in ({"drop": ("CrystalStructures",)}, {"structures": (999, 999)}):
        write(path, ids, angles, **change)
        assert readers.read_volume_element(path, "cubic").symmetry == "cubic" and readers.read_volume_element(path).symmetry == ""
    write(path, ids, angles, structures=(999, 1, 8))  # a phase that is not in use does not count
    assert readers.read_volume_element(path).symmetry == "cubic"


def some(ids, share=0.25):
    return np.arange(ids.size).reshape(ids.shape) < share * ids.size


def faults(ids, angles):
    other = np.random.default_rng(5).permutation(ids.ravel()).reshape(ids.shape)
    nan, edax = angles[ids].copy(), angles[ids].copy()
    nan[0, 0, 0, 0], edax[some(ids)] = np.nan, 4 * np.pi
    phases = np.where(some(ids), 2, 1)
    return [
        ("has voxels of 0.5 x 0.5 x 1, which are no cubes", {"spacing": (0.5, 0.5, 1)}),
        ("has voxels of 0 x 0 x 0, which are no cubes", {"spacing": (0, 0, 0)}),
        ("25 % of the voxels have phase 0", {"Phases": np.where(some(ids), 0, 1)}),
        ("100 % of the voxels have FeatureId 0", {"FeatureIds": 0 * ids}),
        ("25 % of the voxels have FeatureId 0", {"FeatureIds": np.where(some(ids), 0, ids + 1)}),
        ("25 % of the voxels have Euler angles of 4 pi", {"EulerAngles": edax}),
        ("0.463 % of the voxels have Euler angles that are no numbers", {"EulerAngles": nan}),
        (r"feature \d scatter by \d\d degrees.* do not belong together", {"FeatureIds": other + 1}),
        ("differ by .* degrees on average, be the angles radians or degrees", {"feature_AvgQuats": quaternions(angles)[::-1]}),
        (r"has Euler angles from \(.*\) to \(.*\)\. Use Bunge's", {"EulerAngles": 1000 * angles[ids]}),
        (r"has 2 phases: 1 \(Nickel\) with 75 %, 2 \(Titanium\) with 25 %", {"Phases": phases, "structures": (999, 1, 0)}),
        (r"does not say which of its phases 1 \(Nickel\), 2 \(Titanium\)", {"structures": (999, 1, 0), "drop": ("Phases",)}),
        ("phase 1 .Nickel. is tetragonal 4/mmm", {"structures": (999, 8)}),
        ("phase 1 .Nickel. is trigonal -3m", {"structures": (999, 10)}),
        ("of the unknown crystal structure 77", {"structures": (999, 77)}),
        ("phase 3 has no row in its 2 CrystalStructures", {"Phases": np.full(ids.shape, 3)}),
        ("has quaternions but no Euler angles", {"drop": ("EulerAngles", "feature_EulerAngles")}),
        ("has quaternions but no Euler angles", {"drop": ("EulerAngles", "FeatureIds"), "Quats": quaternions(angles)[ids]}),
        ("has no orientations", {"drop": ("EulerAngles", "feature_EulerAngles", "feature_AvgQuats")}),
        ("has no orientations: neither Euler angles nor FeatureIds", {"drop": ("EulerAngles", "FeatureIds", "feature_AvgQuats")}),
        ("nor of features up to id 107", {"FeatureIds": ids + 101, "drop": ("EulerAngles", "feature_AvgQuats")}),
        ("EulerAngles has 4 components", {"EulerAngles": quaternions(angles)[ids]}),
        ("FeatureIds is of type float32", {"FeatureIds": ids + 1.5}),
    ]  # fmt: skip


def test_faults_are_told(tmp_path, ids, angles):
    for message, change in faults(ids, angles):
        write(tmp_path / "a.dream3d", ids, angles, **change)
        with pytest.raises(UserError, match=f"a.dream3d: .*{message}"):
            readers.read_volume_element(tmp_path / "a.dream3d")


def test_several_geometries_are_told_by_name(tmp_path, ids, angles):
    write(tmp_path / "a.dream3d", ids, angles, "NX", name="Coarse")
    with h5py.File(tmp_path / "a.dream3d", "a") as file:
        file.copy("DataStructure/Coarse", "DataStructure/Fine")
    with pytest.raises(UserError, match="has 2 geometries with cells: /DataStructure/Coarse, /DataStructure/Fine"):
        readers.read_volume_element(tmp_path / "a.dream3d")
    with h5py.File(tmp_path / "a.dream3d", "a") as file:  # an image of no orientations is no second one
        for name in ("FeatureIds", "EulerAngles"):
            del file[f"DataStructure/Fine/Cell Data/{name}"]
    assert error_deg(readers.read_volume_element(tmp_path / "a.dream3d"), ids, angles) < 1e-4


def test_two_arrays_of_one_kind_are_told(tmp_path, ids, angles):
    write(tmp_path / "a.dream3d", ids, angles)
    with h5py.File(tmp_path / "a.dream3d", "a") as file:
        file.copy("DataContainers/SyntheticVolume/Cell Data", "DataContainers/SyntheticVolume/Copy")
    with pytest.raises(UserError, match="has both .*FeatureIds and .*FeatureIds"):
        readers.read_volume_element(tmp_path / "a.dream3d")


def test_axes_in_another_order_are_told(tmp_path, ids, angles):
    ids = ids.ravel().reshape(9, 6, 4)
    write(tmp_path / "a.dream3d", ids, angles)
    with h5py.File(tmp_path / "a.dream3d", "a") as file:
        file["DataContainers/SyntheticVolume/_SIMPL_GEOMETRY/DIMENSIONS"][...] = (4, 6, 9)
    with pytest.raises(UserError, match=r"of 4 x 6 x 9 cells has no array \[z, y, x, component\], but .*\(4, 6, 9, 1\)"):
        readers.read_volume_element(tmp_path / "a.dream3d")


def test_other_and_damaged_files_are_told(tmp_path, ids, angles):
    path = tmp_path / "a.dream3d"
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(UserError, match="is HDF5, but holds no image geometry"):
        readers.read_volume_element(path)
    write(path, ids, angles)
    whole = path.read_bytes()
    for content in (b"", b"no HDF5", whole[: len(whole) // 2], whole[:-10]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="a.dream3d: cannot be read as DREAM.3D"):
            readers.read_volume_element(path)
