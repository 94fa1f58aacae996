"""DAMASK's grids and materials, read back; and each fault told with the name of the file that has it."""

import math

import numpy as np
import pytest
import torch
import yaml

from microprint import orientations
from microprint.errors import UserError
from microprint.microstructures import readers, writers

GRAINS = 5


@pytest.fixture
def ids():
    return np.random.default_rng(0).permutation(np.arange(64) % GRAINS).reshape(4, 4, 4)


@pytest.fixture
def quaternion():
    return orientations.random(GRAINS, torch.Generator().manual_seed(1), torch.float64).numpy()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.vti"


def write_grid(path, ids, size=None):
    import damask

    size = 1e-6 * np.array(ids.shape) if size is None else np.array(size)
    damask.GeomGrid(material=ids, size=size).save(path)


def material(q, phase="metal"):
    return {"constituents": [{"phase": phase, "O": [float(x) for x in q], "v": 1.0}], "homogenization": "direct"}


def config(quaternion, lattice="cF", **change):
    """Content of a YAML file."""
    content = {"homogenization": {"direct": {"N_constituents": 1}}, "phase": {"metal": {"lattice": lattice}},
               "material": [material(q) for q in quaternion]}  # fmt: skip
    return content | change


def save(path, content):
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))


def error_deg(element, ids, quaternion):
    """Without symmetry: equivalents count as different."""
    turn = orientations.multiply(element.orientations()[0], orientations.conjugate(torch.from_numpy(quaternion)[ids]))
    return math.degrees(orientations.rotation_angle(turn).max())


def test_what_damask_writes_is_read(path, ids, quaternion):
    writers.write_vti(path, ids, quaternion, 4e-6)
    element = readers.read_volume_element(path)
    assert (element.grain_id[0].numpy() == ids).all() and error_deg(element, ids, quaternion) < 1e-5


def test_composites_are_read_again_by_damask(path):
    """Grid, size, phases by name with their elastic constants, and a material for each phase in the ids' order."""
    import damask

    phase_ids = np.random.default_rng(0).integers(0, 2, (4, 4, 6)).astype(np.uint8)
    moduli = {"soft": {"C_11": 3.2e9, "C_12": 1.4e9, "C_44": 0.9e9}, "hard": {"C_11": 160e9, "C_12": 69e9, "C_44": 46e9}}
    writers.write_composite_vti(path, phase_ids, 4e-6, moduli)
    grid, made = damask.GeomGrid.load(path), damask.ConfigMaterial.load(path.with_suffix(".yaml"))
    assert (grid.material == phase_ids).all() and grid.size.tolist() == pytest.approx([4e-6, 4e-6, 6e-6])
    assert [m["constituents"][0]["phase"] for m in made["material"]] == ["soft", "hard"]
    for name, constants in moduli.items():
        elastic = made["phase"][name]["mechanical"]["elastic"]
        assert elastic == {"type": "Hooke", **constants}
    assert made.is_complete and made.is_valid


@pytest.mark.parametrize("lattice, symmetry", [("cF", "cubic"), ("cI", "cubic"), ("hP", "hexagonal")])
def test_the_lattice_gives_the_symmetry(path, ids, quaternion, lattice, symmetry):
    write_grid(path, ids)
    save(path.with_suffix(".yaml"), config(quaternion, lattice))
    assert readers.read_volume_element(path).symmetry == symmetry == readers.read_volume_element(path, symmetry).symmetry
    other = "hexagonal" if symmetry == "cubic" else "cubic"
    with pytest.raises(UserError, match=f"a.vti: its crystal is {symmetry}, but {other} was asked for"):
        readers.read_volume_element(path, other)


def test_without_a_lattice_the_caller_s_symmetry_counts(path, ids, quaternion):
    write_grid(path, ids)
    for phase in ({}, {"metal": {}}, None):
        save(path.with_suffix(".yaml"), config(quaternion, phase=phase))
        assert readers.read_volume_element(path, "hexagonal").symmetry == "hexagonal"


def test_only_the_materials_in_use_count(path, ids, quaternion):
    """A cropped grid with the whole list, further materials that could not be read, ids with gaps."""
    crop = np.where(ids == 2, 3, ids)[:2, :3, :4]
    write_grid(path, crop)
    content = config(quaternion)
    content["material"][2] = {"constituents": [{"phase": "void"}]}
    content["material"] += [material((0, 0, 0, 9), "other"), {}]
    save(path.with_name("material.yaml"), content)
    element = readers.read_volume_element(path)
    assert element.grains == len(np.unique(crop)) and error_deg(element, crop, quaternion) < 1e-5


def test_more_grids_are_read(path, ids, quaternion):
    """Cubic cells on a slab; constituents that say the same; numbers that YAML takes for texts; UTF-16."""
    slab = ids.reshape(8, 4, 2)
    write_grid(path, slab)
    content = config(quaternion)
    content["material"][1]["constituents"] *= 2
    content["material"][2]["constituents"].append({"phase": "metal", "O": [-float(x) for x in quaternion[2]]})
    quaternion[3] = (1, 0, 0, 1e-5)
    content["material"][3]["constituents"][0]["O"] = [1, 0, 0, "1e-5"]
    path.with_suffix(".yaml").write_bytes(yaml.safe_dump(content).encode("utf-16"))
    element = readers.read_volume_element(path)
    assert element.grain_id.shape == (1, 8, 4, 2) and error_deg(element, slab, quaternion) < 1e-5


def test_faults_of_a_grid_are_told(path, ids, quaternion):
    save(path.with_suffix(".yaml"), config(quaternion))
    for message, grid, size in (
        ("has the material ids 1 to 5, but a.yaml lists the materials 0 to 4", ids + 1, None),
        ("has the material ids -1 to 3", ids - 1, None),
        ("has cells of .* which are no cubes", ids, (1, 1, 3)),
    ):
        write_grid(path, grid, size)
        with pytest.raises(UserError, match=f"a.vti: {message}"):
            readers.read_volume_element(path)


def vtk_file(path, values, name="material", cells=True, axes=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
    """A .vti by VTK itself."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkIOXML import vtkXMLImageDataWriter

    image = vtkImageData()
    image.SetDimensions(5, 5, 5)
    image.SetDirectionMatrix(axes)
    array = numpy_to_vtk(values, deep=True)
    array.SetName(name)
    (image.GetCellData() if cells else image.GetPointData()).AddArray(array)
    writer = vtkXMLImageDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    writer.SetCompressorTypeToNone()
    writer.Write()


def test_arrays_of_another_kind_are_told(path, ids, quaternion):
    save(path.with_suffix(".yaml"), config(quaternion))
    flat = ids.ravel(order="F")
    vtk_file(path, flat.astype(np.uint8))
    assert error_deg(readers.read_volume_element(path), ids, quaternion) < 1e-5
    for message, values, options in (
        ("type float32", flat.astype(np.float32), {}),
        (r"shape \(64, 3\)", np.stack([flat] * 3, -1), {}),
        (r"has no numbers 'material' of its cells, only Spin \(cells\)", flat, {"name": "Spin"}),
        (r"only material \(points\)", np.zeros(125, int), {"cells": False}),
        ("has axes that are turned", flat, {"axes": (0, 1, 0, 1, 0, 0, 0, 0, 1)}),
    ):
        vtk_file(path, values, **options)
        with pytest.raises(UserError, match=f"a.vti: .*{message}"):
            readers.read_volume_element(path)


def test_damaged_grids_are_told_and_nothing_is_printed(path, ids, quaternion, capfd):
    """VTK itself reads the beginning of an uncompressed grid that is cut off, and prints what it minds."""
    save(path.with_suffix(".yaml"), config(quaternion))
    vtk_file(path, ids.ravel(order="F"))
    whole = path.read_bytes()
    other = b'<VTKFile type="RectilinearGrid"><RectilinearGrid WholeExtent="0 1 0 1 0 1"/></VTKFile>'
    for content in (b"", b"junk", b"<VTKFile type='ImageData'></VTKFile>", other, whole[: len(whole) // 2], whole[:-20]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="a.vti: is truncated|a.vti: cannot be read as VTK's image data"):
            readers.read_volume_element(path)
    assert capfd.readouterr() == ("", "")


def changed(quaternion, number=1, **constituent):
    content = config(quaternion)
    content["material"][number]["constituents"][0] |= constituent
    return content


def material_faults(q):
    two = config(q)
    two["material"][1]["constituents"].append(two["material"][2]["constituents"][0])
    return [
        ("is no YAML .*line 2", "material: [\n"),
        ("is no YAML", "material: !!python/object:os.system {}"),
        ("is a list, not a mapping", "- 1\n"),
        ("is a text, not a mapping", "material"),
        ("is empty, not a mapping", ""),
        ("is a material.config of DAMASK 2", "\n<homogenization>\n[direct]\n"),
        ("has no 'material', only homogenization", "homogenization: {direct: {N_constituents: 1}}"),
        ("'material' is no list of materials", "material: {}"),
        ("'phase' is a list", config(q, phase=[1])),
        ("material 0 has no list of constituents", config(q, material=[{}] * GRAINS)),
        ("material 1 has 2 constituents of several phases or orientations", two),
        ("material 1 has no orientation 'O'", changed(q, O=None)),
        (r"'O' of material 1 is \[1, 0, 0\], not four numbers", changed(q, O=[1, 0, 0])),
        ("'O' of material 1 is north, not four numbers", changed(q, O="north")),
        ("'O' of material 1 has length 2, not 1", changed(q, O=[2, 0, 0, 0])),
        ("'O' of material 1 has length nan, not 1", changed(q, O=[1, 0, 0, math.nan])),
        ("the grid's materials have the phases metal, oxide", changed(q, phase="oxide")),
        ("phase metal has the lattice tI", config(q, "tI")),
        ("phase metal has the lattice fcc", config(q, "fcc")),
    ]


def test_faults_of_the_materials_are_told(path, ids, quaternion):
    write_grid(path, ids)
    for message, content in material_faults(quaternion):
        save(path.with_suffix(".yaml"), content)
        with pytest.raises(UserError, match=f"a.yaml: {message}"):
            readers.read_volume_element(path)


def test_another_encoding_and_a_missing_list_are_told(path, ids):
    write_grid(path, ids)
    with pytest.raises(UserError, match="a.vti: has no orientations. Put a.yaml or material.yaml beside it"):
        readers.read_volume_element(path)
    path.with_name("material.config").write_text("<phase>")
    with pytest.raises(UserError, match="DAMASK 2's material.config is not read"):
        readers.read_volume_element(path)
    path.with_suffix(".yaml").write_bytes("# Körner\nmaterial: []\n".encode("latin-1"))
    with pytest.raises(UserError, match="a.yaml: is no UTF-8 text near its byte"):
        readers.read_volume_element(path)
