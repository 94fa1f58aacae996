"""The steps: artifacts of synthetic and of real microstructures, resuming, splits."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from microprint import orientations, store
from microprint.errors import MissingData, UserError
from microprint.microstructures import cast_iron, datasets, polycrystal, sets, writers
from microprint.microstructures.volume_elements import read_volume_elements
from microprint.params.sections import CompositeSettings, ComputeSettings, MicrographSettings, Params, PolycrystalSettings
from microprint.steps import run_step

POLYCRYSTALS = PolycrystalSettings(edge=6, cubic_train=5, cubic_validation=2, cubic_test=2, cubic_mixed=10, hexagonal_train=2,
                            hexagonal_validation=1, hexagonal_test=1, edge_cases=2)  # fmt: skip
SMALL = Params(polycrystals=POLYCRYSTALS, composites=CompositeSettings(edge=7, count=10, widths=(0.5, 1.0)),
               micrographs=MicrographSettings(castings=2, rows=96, columns=128, edge=64, stride=32))  # fmt: skip


def run(step, folder, **sections):
    (path,) = run_step(step, dataclasses.replace(SMALL, **sections), folder, {})
    return path


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    for step in (datasets.generate_polycrystals, datasets.generate_composites, datasets.generate_micrographs, datasets.split_composites):
        run(step, folder)
    return folder


def test_polycrystals_hold_all_sets(artifacts):
    with store.open_hdf5(artifacts / "polycrystals.h5", "polycrystals") as file:
        assert set(file["cubic"]) == {"train", "validation", "test", "mixed", "large", "small", "elongated", "columnar", "wide", "twinned",
                                      "grown", "brass", "copper", "cube", "goss"}  # fmt: skip
        assert set(file["hexagonal"]) == {"train", "validation", "test", "basal"}
        group = file["cubic/train"]
        assert group["grain_id"].shape == (5, 6, 6, 6) and group["grain_id"].dtype == np.uint16
        assert group.attrs["symmetry"] == "cubic" and group.attrs["edge_m"] == pytest.approx(2.77e-5) and "DAMASK" in group.attrs["convention"]
        elements = read_volume_elements(file, "cubic/train", slice(3))
        assert len(elements.grains) == 3
        with pytest.raises(UserError, match="has no set cubic/fine"):
            read_volume_elements(file, "cubic/fine")
    for ids, q, grains in zip(elements.grain_id, elements.quaternion, elements.grains):
        assert ids.max() + 1 == grains and q[:grains].isfinite().all() and (q[grains:] == torch.eye(4)[0]).all()
        torch.testing.assert_close(orientations.reduce(q[:grains], "cubic"), q[:grains])


@pytest.mark.parametrize("together", [64, 3])
def test_morphologies_of_the_mixed_set_take_turns(tmp_path, monkeypatch, together):
    """Equiaxed, large, small, elongated: also across the chunks in which they are made."""
    monkeypatch.setattr(datasets, "_CHUNK_VOXELS", together * 16**3)
    few = dataclasses.replace(POLYCRYSTALS, edge=16, cubic_train=1, cubic_mixed=8)
    with store.open_hdf5(run(datasets.generate_polycrystals, tmp_path, polycrystals=few)) as file:
        elements = read_volume_elements(file, "cubic/mixed")
        ids, grains = elements.grain_id.long(), elements.grains
        assert file["cubic/mixed"].attrs["morphology"] == "equiaxed, large, small, elongated"
    for morphology, found in zip(sets.MIXED, grains.reshape(2, 4).T, strict=True):
        assert found.double().mean() == pytest.approx(polycrystal.MORPHOLOGIES[morphology].grains, rel=0.25)
    aspect = [polycrystal.aspect_ratios(ids[k : k + 1], grains[k : k + 1]).median() for k in range(8)]
    assert min(aspect[3], aspect[7]) > 1.5 and max(aspect[0], aspect[2], aspect[4], aspect[6]) < 1.3
    for element in range(8):
        own = (elements.quaternion[element] != torch.eye(4)[0]).any(-1).sum()
        assert len(ids[element].unique()) == grains[element] == own


def test_a_few_volume_elements_are_compressed_together(artifacts):
    with store.open_hdf5(artifacts / "polycrystals.h5") as file:
        assert file["cubic/train/grain_id"].chunks == (2**15 // 6**3, 6, 6, 6)


def test_composites_and_micrographs_have_their_shapes_and_units(artifacts):
    with store.open_hdf5(artifacts / "composites.h5", "composites") as file:
        assert file["phase"].shape == (10, 7, 7, 7) and file["widths"].shape == (10, 3) and file["volume_fraction"].shape == (10,)
        assert np.allclose(file["phase"][:].mean((1, 2, 3)), file["volume_fraction"][:])
        assert len(np.unique(file["widths"][:8], axis=0)) >= 5
    with store.open_hdf5(artifacts / "micrographs.h5", "micrographs") as file:
        assert file["image"].shape == (14 * 6, 64, 64) and file["yield_strength"].attrs["unit"] == "Pa"
        row, column = file["position"][7]
        whole = file["samples/image"][f"{file['sample'][7]:03d}"][:]
        np.testing.assert_allclose(file["image"][7], whole[row : row + 64, column : column + 64] / 255, atol=0.003)
        assert file["samples/tested"][:].sum() == 6 and file["samples/named"][:].tolist() == [True] * 12 + [False] * 2
        causes = np.stack([file[f"samples/{name}"][:] for name in cast_iron.CONTROLS], 1)
        assert np.allclose(causes[0], dataclasses.astuple(cast_iron.CASTINGS[12.0, 0.0])) and (causes[12] != causes[13]).all()
        assert file["samples/magnesium"][:4].tolist() == [0.0] * 4 and np.isnan(file["samples/yield_strength"][:]).all()
        phase = file["samples/phase/013"][:]
        assert phase.shape == (96, 128) and (phase == cast_iron.GRAPHITE).mean() == file["samples/measured_graphite_share"][13]


def test_a_drawn_casting_does_not_depend_on_how_many_there_are(tmp_path, artifacts):
    fewer = dataclasses.replace(SMALL.micrographs, castings=1)
    path = run(datasets.generate_micrographs, tmp_path, micrographs=fewer)
    with store.open_hdf5(path) as few, store.open_hdf5(artifacts / "micrographs.h5") as more:
        np.testing.assert_array_equal(few["samples/image/012"][:], more["samples/image/012"][:])


def test_splits_are_disjoint_and_complete(artifacts):
    splits = store.load_json(artifacts / "splits.json")
    sets = splits["composites"]
    assert {name: len(index) for name, index in sets.items()} == {"train": 6, "validation": 2, "test": 2}
    assert sorted(sum(sets.values(), [])) == list(range(10))
    assert set(splits["hash"]) == {"composites"}


def test_a_killed_step_goes_on_from_its_chunks_to_the_same_result(tmp_path, artifacts, monkeypatch):
    calls, generate = [], datasets.polycrystal.generate

    def breaking(*args, **kwargs):
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError
        return generate(*args, **kwargs)

    alone = {"compute": ComputeSettings(device="cpu", workers=1)}
    monkeypatch.setattr(datasets.polycrystal, "generate", breaking)
    with pytest.raises(RuntimeError):
        run(datasets.generate_polycrystals, tmp_path, **alone)
    assert not (tmp_path / "polycrystals.h5").exists()
    saved = len(list((tmp_path / ".work").glob("*/*.npz")))
    calls[:] = [0] * 4  # what is called from here on raises no more
    path = run(datasets.generate_polycrystals, tmp_path, **alone)
    missing = 18 - saved + 4  # the mixed set takes four
    assert saved >= 3 and len(calls) - 4 in (missing, missing + 1)  # the killed step's thread may still make one
    with store.open_hdf5(path) as resumed, store.open_hdf5(artifacts / "polycrystals.h5") as unbroken:
        for name in ("cubic/train", "hexagonal/basal"):
            for key in ("grain_id", "quaternion", "grains"):
                np.testing.assert_array_equal(resumed[name][key][:], unbroken[name][key][:])


def test_chunks_of_different_widths_are_padded(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "_CHUNK_VOXELS", 6**3)
    with store.open_hdf5(run(datasets.generate_polycrystals, tmp_path)) as file:
        group = file["cubic/train"]
        finite = group["quaternion"][:].any(-1).sum(1)
        assert (finite == group["grains"][:]).all() and group["quaternion"].shape[1] == finite.max()


def test_real_microstructures_are_read_from_folders(tmp_path, capsys):
    rng = np.random.default_rng(0)
    elements, phases, images = (tmp_path / name for name in ("ve/cubic/test", "phases", "images"))
    for folder in (elements, phases, images):
        folder.mkdir(parents=True)
    for number in range(3):
        q = rng.normal(size=(2 + number, 4))
        ids = np.concatenate([np.arange(2 + number), rng.integers(0, 2 + number, 64 - 2 - number)]).reshape(4, 4, 4)
        np.savez(elements / f"{number}.npz", grain_id=ids, quaternion=q / np.linalg.norm(q, axis=1, keepdims=True))
        np.save(phases / f"{number}.npy", rng.integers(0, 2, (4, 4, 4)))
        Image.fromarray(rng.integers(0, 256, (40, 40 + number), np.uint8)).save(images / f"{number}.png")
    (images / "labels.csv").write_text("file;Yield strength (GPa);notes\n1;0,3;etched\n")
    Image.new("L", (40, 40)).save(images / "preview.jpg")
    with store.open_hdf5(run(datasets.generate_polycrystals, tmp_path, polycrystals=PolycrystalSettings(source=str(tmp_path / "ve")))) as file:
        assert list(file) == ["cubic"] and file["cubic/test/grains"][:].tolist() == [2, 3, 4]
    with store.open_hdf5(run(datasets.generate_composites, tmp_path, composites=CompositeSettings(source=str(phases)))) as file:
        assert file["phase"].shape == (3, 4, 4, 4) and np.isnan(file["widths"][:]).all()
    micrographs = MicrographSettings(source=str(images), edge=32, stride=8)
    with store.open_hdf5(run(datasets.generate_micrographs, tmp_path, micrographs=micrographs)) as file:
        assert file["samples/tested"][:].tolist() == [False, True, False] and file["image"].shape == (12, 32, 32)
        assert np.nanmax(file["yield_strength"][:]) == 300e6
        assert file["samples/name"].asstr()[:].tolist() == ["0.png", "1.png", "2.png"]
    said = capsys.readouterr().out
    assert said.count("left out, as they are no labels: notes") == 1 and "left out, as they are not named .png, .tif, .tiff: preview.jpg" in said


@pytest.fixture
def images(tmp_path):
    """A folder of two images, the second of the same piece at half the magnification, and what makes their set."""
    folder, fine = tmp_path / "images", np.random.default_rng(0).integers(0, 256, (80, 96)).astype(np.uint8)
    folder.mkdir()
    Image.fromarray(fine).save(folder / "fine.png")
    Image.fromarray(fine.reshape(40, 2, 48, 2).mean((1, 3)).round().astype(np.uint8)).save(folder / "coarse.png")

    def make(labels="file,pixel_um\nfine,0.5\ncoarse,1\n", **settings):
        (folder / "labels.csv").write_text(labels)
        given = {"source": str(folder), "edge": 24, "stride": 8} | settings
        return run(datasets.generate_micrographs, tmp_path, micrographs=MicrographSettings(**given))

    return make


def test_images_are_brought_to_one_pixel(images, capsys):
    with store.open_hdf5(images()) as file:
        coarse, fine = (file[f"samples/image/{number:03d}"][:].astype(int) for number in range(2))
        assert file.attrs["pixel_m"] == 1e-6 and abs(coarse - fine).max() <= 1 and file["image"].shape == (24, 24, 24)
        assert file["samples/pixel_size"][:].tolist() == [1e-6, 0.5e-6] and file["samples/pixel_size"].attrs["unit"] == "m"
    assert capsys.readouterr().out.count("images: a pixel is 1 µm wide; images of other pixel sizes are resampled to it") == 1


def test_images_of_unknown_pixels_are_taken_as_they_are(images, capsys):
    with store.open_hdf5(images("file,magnesium_wt_pct\nfine,0.04\n")) as file:
        assert file["samples/image/000"].shape == (40, 48) and file["samples/image/001"].shape == (80, 96)
        assert np.isnan(file.attrs["pixel_m"]) and np.isnan(file["samples/pixel_size"][:]).all()
    assert capsys.readouterr().out.count("no pixel size in labels.csv, so the images are taken as they are") == 1


def test_images_keep_their_labels_and_lose_their_footers(images):
    with store.open_hdf5(images("file,pixel_um,magnesium_wt_pct\nfine,0.5,0.04\ncoarse,1,0\n", footer=10, pixel_um=1.25)) as file:
        assert file["samples/image/000"].shape == (24, 38) and file["samples/image/001"].shape == (28, 38)
        assert file["samples/magnesium"][:].tolist() == [0, 0.04] and file.attrs["pixel_m"] == pytest.approx(1.25e-6)


def test_faults_of_pixels_and_footers_are_told(images, tmp_path):
    with pytest.raises(UserError, match="20 x 24 pixels of 2 µm are less than a patch of 24. Lower micrographs.edge or micrographs.pixel_um"):
        images(pixel_um=2.0)
    with pytest.raises(UserError, match="coarse.png is up to 1 µm wide, more than 1.5 times micrographs.pixel_um = 0.5"):
        images(pixel_um=0.5)
    with pytest.raises(UserError, match="coarse.png: micrographs.footer = 50 leaves none of its 40 rows"):
        images(footer=50)
    footer = np.zeros((10, 96), np.uint8)
    footer[5:8, 40:80:2] = 255
    fine = np.asarray(Image.open(tmp_path / "images" / "fine.png"))
    Image.fromarray(np.concatenate([fine, footer])).save(tmp_path / "images" / "fine.png")
    with pytest.raises(UserError, match="fine.png: its lowest 10 rows are an instrument's footer"):
        images()
    with pytest.raises(UserError, match="but not of coarse.png"):
        images("file,pixel_um\nfine,0.5\n")
    with pytest.raises(UserError, match="but not of coarse.png"):  # before anything starts
        datasets.micrograph_files(Params(micrographs=MicrographSettings(source=str(tmp_path / "images"))))


def test_faults_of_real_folders_are_told(tmp_path):
    with pytest.raises(UserError, match="holds no folder such as cubic/train"):
        run(datasets.generate_polycrystals, tmp_path, polycrystals=PolycrystalSettings(source=str(tmp_path)))
    train = tmp_path / "cubic" / "train"
    train.mkdir(parents=True)
    with pytest.raises(UserError, match="holds no file of format"):
        run(datasets.generate_polycrystals, tmp_path, polycrystals=PolycrystalSettings(source=str(tmp_path)))
    for number, edge in enumerate((3, 3, 4)):
        np.savez(train / f"{number}.npz", grain_id=np.zeros((edge,) * 3, int), quaternion=np.eye(4)[:1])
    with pytest.raises(UserError, match="2.npz: has 4 x 4 x 4 voxels, but those before it have 3 x 3 x 3. Fingerprints"):
        run(datasets.generate_polycrystals, tmp_path, polycrystals=PolycrystalSettings(source=str(tmp_path)))
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="20 x 20 pixels are less than a patch of 256"):
        run(datasets.generate_micrographs, tmp_path, micrographs=MicrographSettings(source=str(tmp_path)))
    (tmp_path / "labels.csv").write_text("file,yield_strength\na.png,300\n")
    with pytest.raises(UserError, match="yield_strength '300' has no unit"):  # before anything starts
        datasets.micrograph_files(Params(micrographs=MicrographSettings(source=str(tmp_path))))


def save_element(path, shape=(4, 4, 4), first=0):
    """Two grains."""
    np.savez(path, grain_id=np.arange(np.prod(shape)).reshape(shape) % 2 + first, quaternion=np.eye(4)[:2])


@pytest.fixture
def train(tmp_path):
    """The one set of a source: ``ve/cubic/train`` with one volume element."""
    folder = tmp_path / "ve" / "cubic" / "train"
    folder.mkdir(parents=True)
    save_element(folder / "a.npz")
    return folder


def save_validation(train):
    folder = train.parent / "validation"
    folder.mkdir()
    save_element(folder / "a.npz")


def test_a_tenth_of_the_training_set_validates_where_no_other_does(train, capsys):
    """Drawn by the seed, of the run alone; with a set of its own, or a single volume element, nothing is divided."""
    with store.open_hdf5(read_sets(train)) as file:
        assert list(file["cubic"]) == ["train"]
    for number in range(29):
        save_element(train / f"{number:02d}.npz")
    given = PolycrystalSettings(source=str(train.parents[1]))
    drawn = [sets.own_sets(given, seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2] and list(drawn[0]) == ["cubic/train", "cubic/validation"]
    assert sorted(drawn[0]["cubic/train"] + drawn[0]["cubic/validation"]) == sorted(train.iterdir())
    with store.open_hdf5(read_sets(train)) as file:
        assert {name: len(group["grains"]) for name, group in file["cubic"].items()} == {"train": 27, "validation": 3}
    assert "cubic/validation: there is none, so 3 of the 30 volume elements of cubic/train are taken for it" in capsys.readouterr().out
    save_validation(train)
    assert {path: len(files) for path, files in sets.own_sets(given, 1).items()} == {"cubic/train": 30, "cubic/validation": 1}


def test_the_sets_of_a_symmetry_have_one_edge(train):
    """Whatever `polycrystals.edge` says; the other symmetry may have another."""
    for path, edge in (("hexagonal/train", 6), ("cubic/goss", 5)):
        folder = train.parents[1] / path
        folder.mkdir(parents=True)
        save_element(folder / "b.npz", (edge,) * 3)
        if path == "hexagonal/train":
            with store.open_hdf5(read_sets(train)) as file:
                assert file["hexagonal/train/grain_id"].shape[-1] == 6 and file["cubic/train/grain_id"].shape[-1] == 4
    with pytest.raises(UserError, match="b.npz: has 5 x 5 x 5 voxels, but those before it have 4 x 4 x 4"):
        read_sets(train)


def read_sets(train, **settings):
    given = PolycrystalSettings(source=str(train.parents[1]), **settings)
    return run(datasets.generate_polycrystals, train.parents[2] / "run", polycrystals=given)


def test_what_lies_in_no_set_is_told_with_the_nearest_set(train):
    source = train.parents[1]
    for name, near in (("cubic/trian", "cubic/train"), ("Cubic", "cubic"), ("hexagonl", "hexagonal"), ("cubic/train/more", "cubic/train")):
        (source / name).mkdir()
        with pytest.raises(UserError, match=f"{name}: is no set of the study. Is {near} meant"):
            read_sets(train)
        (source / name).rmdir()
    save_element(source / "cubic" / "b.npz")
    with pytest.raises(UserError, match="cubic/b.npz: lies in no set of the study"):
        read_sets(train)


def test_hidden_files_and_folders_are_skipped(train):
    source = train.parents[1]
    for name in (".DS_Store", "._a.npz", "cubic/train/._a.npz", "cubic/.ipynb_checkpoints/b.npz", ".git/config"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(b"?")
    assert list(datasets.polycrystal_files(Params(polycrystals=PolycrystalSettings(source=str(source))))) == ["cubic/train/a.npz"]
    with store.open_hdf5(read_sets(train)) as file:
        assert len(file["cubic/train/grain_id"]) == 1


def test_a_set_holds_cubes_of_its_symmetry(train):
    save_element(train / "b.npz", (8, 6, 4))
    with pytest.raises(UserError, match="b.npz: has 8 x 6 x 4 voxels, and fingerprints need a cube"):
        read_sets(train)
    (train / "b.npz").unlink()
    writers.write_vti(train / "b.vti", np.arange(64).reshape(4, 4, 4) % 2, np.eye(4)[:2], 1e-5, {"grain": {"lattice": "hP"}})
    with pytest.raises(UserError, match="b.vti: its crystal is hexagonal, but cubic was asked for"):
        read_sets(train)


def test_what_was_done_to_files_is_said_once_for_each_set(train, capsys):
    for number in range(3):
        save_element(train / f"{number}.npz", first=7)
    save_validation(train)
    read_sets(train)
    assert capsys.readouterr().out.count("cubic/train: 3 of 4 files: grain ids that have gaps or do not begin at 0 were renumbered") == 1


def test_the_tolerance_of_a_study_segments_its_maps(train):
    """Two layers 4 degrees apart, whose voxels scatter by hundredths of a degree."""
    turn = 1e-3 * torch.rand(4, 4, 4, 3, generator=torch.Generator().manual_seed(0))
    turn[2:, :, :, 0] += np.radians(4.0)
    np.save(train / "b.npy", orientations.from_rotation_vector(turn).numpy())
    save_validation(train)
    for tolerance, grains in ((5.0, 1), (3.0, 2)):
        with store.open_hdf5(read_sets(train, segmentation_deg=tolerance)) as file:
            assert file["cubic/train/grains"][:].tolist() == [2, grains]


def test_too_few_cannot_be_split(tmp_path):
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", np.zeros((3, 3, 3), int))
    run(datasets.generate_composites, tmp_path, composites=CompositeSettings(source=str(tmp_path)))
    with pytest.raises(UserError, match="2 composites cannot be split in three"):
        run(datasets.split_composites, tmp_path)
    with pytest.raises(MissingData, match="it needs 3 composites or more in composites.source"):  # before any is read
        run(datasets.split_composites, tmp_path, composites=CompositeSettings(source=str(tmp_path)))
