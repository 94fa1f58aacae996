"""Steps that make the study's microstructures, or read real ones, and that split them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import torch
from torch.nn.functional import pad

from microprint import orientations, store
from microprint.compute import Job, digest, step
from microprint.errors import UserError
from microprint.microstructures import cast_iron, composite, polycrystal, readers
from microprint.params import Polycrystals

SYNTHETIC = "synthetic"
CONVENTION = "unit quaternion (w,x,y,z), passive (DAMASK, P = -1), v_crystal = M(q) v_sample, fundamental zone"
BASAL_SCATTER_DEG = 15.0
MIXED = ("equiaxed", "large", "small", "elongated")  # in turn, so that any slice of the set holds all of them
_CHUNK_VOXELS = 1 << 20
_STORED_TOGETHER = 1 << 15  # numbers in a chunk of HDF5, compressed and read as a whole: one VE, or a few small ones
_PADDING = {"f": np.nan, "i": 0, "u": 0}


class PolycrystalSet(NamedTuple):
    """A set of polycrystals: its place in the artifact, its size and what it is made of, morphologies in turn."""

    symmetry: str
    name: str
    count: int
    morphologies: tuple[str, ...] = ("equiaxed",)
    texture: str = "random"

    @property
    def path(self) -> str:
        """Group of the artifact, and folder of real files below `polycrystals.source`."""
        return f"{self.symmetry}/{self.name}"


def polycrystal_sets(settings: Polycrystals) -> list[PolycrystalSet]:
    """All sets of the study: random ones to train and test on, and the edge cases of White et al. 2025, 2.1.2."""
    cubic = [("train", settings.cubic_train), ("validation", settings.cubic_validation), ("test", settings.cubic_test)]
    hexagonal = [
        ("train", settings.hexagonal_train),
        ("validation", settings.hexagonal_validation),
        ("test", settings.hexagonal_test),
    ]
    few = settings.edge_cases
    return [
        *(PolycrystalSet("cubic", name, count) for name, count in cubic),
        PolycrystalSet("cubic", "mixed", settings.cubic_mixed, MIXED),
        *(PolycrystalSet("cubic", name, few, (name,)) for name in ("large", "small", "elongated")),
        *(PolycrystalSet("cubic", name, few, texture=name) for name in polycrystal.COMPONENTS),
        *(PolycrystalSet("hexagonal", name, count) for name, count in hexagonal),
        PolycrystalSet("hexagonal", "basal", few, texture="basal"),
    ]


@step(reads=("polycrystals",), outputs=("polycrystals.h5",))
def generate_polycrystals(job: Job) -> None:
    """Polycrystals of all sets, grown or read from ``<source>/<symmetry>/<set>/``; resumes at the first missing chunk."""
    settings = job.params.polycrystals
    sets = polycrystal_sets(settings)
    if settings.source != SYNTHETIC:
        sets = [s for s in sets if (Path(settings.source) / s.path).is_dir()]
        if not sets:
            raise UserError("holds no folder such as cubic/train", settings.source, "Arrange the files by symmetry and set")
    with job.create("polycrystals.h5", kind="polycrystals") as file:
        file.attrs.update(convention=CONVENTION, axes="[x, y, z]", source=settings.source)
        for s in job.progress(sets, "polycrystals"):
            group = file.create_group(s.path)
            group.attrs.update(symmetry=s.symmetry, edge_m=polycrystal.EDGE_M, convention=CONVENTION)
            if settings.source == SYNTHETIC:
                group.attrs.update(morphology=", ".join(s.morphologies), texture=s.texture)
                chunks = _grown(job, s, settings)
            else:
                chunks = _read_polycrystals(Path(settings.source) / s.path, s.symmetry)
            _append_all(group, chunks)


def _grown(job: Job, s: PolycrystalSet, settings: Polycrystals) -> Iterator[dict[str, np.ndarray]]:
    scatter = BASAL_SCATTER_DEG if s.texture == "basal" else settings.texture_scatter_deg

    def make(index: range, label: str) -> dict[str, np.ndarray]:
        kinds = [s.morphologies[element % len(s.morphologies)] for element in index]
        generator, places, batches = job.generator(label), [], []
        for morphology in dict.fromkeys(kinds):
            places += [place for place, kind in enumerate(kinds) if kind == morphology]
            batch = polycrystal.generate(kinds.count(morphology), settings.edge, s.symmetry, generator, morphology=morphology,
                                         texture=s.texture, scatter_deg=scatter, device=job.device)  # fmt: skip
            batches.append(batch)
        return _polycrystal_arrays(*(array.cpu().numpy() for array in _joined(batches, places)))

    return _chunks(job, s.path.replace("/", "_"), s.count, settings.edge**3, make)


def _joined(batches: list[polycrystal.VolumeElements], places: list[int]) -> polycrystal.VolumeElements:
    """One batch of several, whose VEs go to these places, one after the other."""
    most = max(batch.quaternion.shape[1] for batch in batches)
    padded = [pad(batch.quaternion, (0, 0, 0, most - batch.quaternion.shape[1]), value=torch.nan) for batch in batches]
    arrays = [batch.grain_id for batch in batches], padded, [batch.grains for batch in batches]
    order = torch.tensor(places, device=padded[0].device).argsort()
    return polycrystal.VolumeElements(*(torch.cat(array)[order] for array in arrays))


def _read_polycrystals(folder: Path, symmetry: str) -> Iterator[dict[str, np.ndarray]]:
    edge = None
    for path in readers.list_files(folder, readers.VOLUME_SUFFIXES):
        element = readers.read_volume_element(path)
        edge = edge or len(element.grain_id)
        if len(element.grain_id) != edge:
            raise UserError(f"has an edge of {len(element.grain_id)} voxels, unlike {edge} before it", path, "Use one size")
        if len(element.quaternion) > np.iinfo(np.uint16).max:
            raise UserError(f"has {len(element.quaternion)} grains", path, "65535 is the most; cut it into smaller ones")
        reduced = orientations.reduce(torch.from_numpy(element.quaternion), symmetry).numpy()
        yield _polycrystal_arrays(element.grain_id[None], reduced[None], np.array([len(reduced)]))


def _polycrystal_arrays(grain_id: np.ndarray, quaternion: np.ndarray, grains: np.ndarray) -> dict[str, np.ndarray]:
    kinds = {"grain_id": np.uint16, "quaternion": np.float32, "grains": np.int32}
    return {name: array.astype(kind) for (name, kind), array in zip(kinds.items(), (grain_id, quaternion, grains))}


def load_set(file: h5py.File, path: str, most: int | None = None) -> polycrystal.VolumeElements:
    """The first `most` VEs (or all) of the set ``symmetry/name`` of polycrystals.h5; raises `UserError` if it has none."""
    if path not in file:
        raise UserError(f"has no set {path}", file.filename, "Run notebook 01 again")
    arrays = (file[path][name][:most] for name in ("grain_id", "quaternion", "grains"))
    return polycrystal.VolumeElements(*(torch.from_numpy(array.astype(kind)) for array, kind in zip(arrays, "ifi")))


@step(reads=("composites",), outputs=("composites.h5",))
def generate_composites(job: Job) -> None:
    """Two-phase composites, filtered from noise with all filters in turn, or read from a folder of numpy files."""
    settings = job.params.composites
    with job.create("composites.h5", kind="composites") as file:
        file.attrs.update(axes="[x, y, z]", phase="1 is the stiff phase", source=settings.source)
        if settings.source == SYNTHETIC:
            total = len(_chunk_ranges(settings.count, settings.edge**3))
            _append_all(file, job.progress(_filtered(job), "composites", total=total))
        else:
            paths = readers.list_files(settings.source, (".npy", ".npz"))
            _append_all(file, job.progress(_read_composites(paths), "composites", total=len(paths)))
        file["widths"].attrs["unit"] = "voxel"


def _filtered(job: Job) -> Iterator[dict[str, np.ndarray]]:
    settings = job.params.composites
    filters = composite.filters(settings.widths)
    turn = torch.randperm(settings.count, generator=job.generator("filters")) % len(filters)

    def make(index: range, label: str) -> dict[str, np.ndarray]:
        made = composite.generate(filters[turn[index.start : index.stop]], settings.edge, job.generator(label),
                                  fractions=(settings.fraction_low, settings.fraction_high), device=job.device)  # fmt: skip
        return {name: array.cpu().numpy() for name, array in made._asdict().items()}

    return _chunks(job, "composites", settings.count, settings.edge**3, make)


def _read_composites(paths: list[Path]) -> Iterator[dict[str, np.ndarray]]:
    edge = None
    for path in paths:
        phase = readers.read_composite(path)
        edge = edge or len(phase)
        if len(phase) != edge:
            raise UserError(f"has an edge of {len(phase)} voxels, unlike {edge} before it", path, "Use one size")
        fraction = np.array([phase.mean()], np.float32)
        yield {"phase": phase[None], "widths": np.full((1, 3), np.nan, np.float32), "volume_fraction": fraction}


class Image(NamedTuple):
    """A micrograph with its labels in SI units (magnesium in per cent by weight) and descriptors, NaN where unknown."""

    name: str
    pixels: np.ndarray
    labels: dict[str, float]
    descriptors: dict[str, float]
    tested: bool


LABELS = {"cooling_rate": "K/s", "magnesium": "wt%", "yield_strength": "Pa", "ultimate_strength": "Pa"}


@step(reads=("micrographs",), outputs=("micrographs.h5",))
def generate_micrographs(job: Job) -> None:
    """Patches of twelve cast-iron-like micrographs with their labels, or of the PNG and TIFF images of a folder.

    ``samples/`` holds what belongs to an image: labels, descriptors, ``tested`` (whether the paper's study measured its
    strength) and, under ``samples/image``, the image itself in 8 bits.
    """
    settings = job.params.micrographs
    if settings.source == SYNTHETIC:
        images, total = _drawn(job), len(cast_iron.CASTINGS)
    else:
        paths = readers.list_files(settings.source, readers.IMAGE_SUFFIXES)
        images, total = _read_images(paths), len(paths)
    with job.create("micrographs.h5", kind="micrographs") as file:
        file.attrs.update(pixel_m=cast_iron.PIXEL_M, source=settings.source, image="grey values in 0 to 1, [row, column]")
        samples = file.create_group("samples/image")
        for number, image in enumerate(job.progress(images, "micrographs", total=total)):
            _append(file, _patches(image, number, settings.edge, settings.stride))
            samples.create_dataset(f"{number:03d}", data=np.round(255 * image.pixels).astype(np.uint8), compression="gzip")
            values = {name: image.labels[name] for name in LABELS} | image.descriptors | {"tested": image.tested}
            _append(file["samples"], {name: np.array([value]) for name, value in values.items()})
        for name, unit in LABELS.items():
            file[name].attrs["unit"] = file[f"samples/{name}"].attrs["unit"] = unit


def _patches(image: Image, number: int, edge: int, stride: int) -> dict[str, np.ndarray]:
    corners = cast_iron.patch_corners(image.pixels.shape, edge, stride)
    if len(corners) == 0:
        size = " x ".join(map(str, image.pixels.shape))
        raise UserError(f"{size} pixels are less than a patch of {edge}", image.name, "Lower micrographs.edge")
    patches = np.stack([image.pixels[r : r + edge, c : c + edge] for r, c in corners]).astype(np.float32)
    labels = {name: np.full(len(corners), image.labels[name]) for name in LABELS}
    return {"image": patches, "sample": np.full(len(corners), number), "position": corners, **labels}


def _drawn(job: Job) -> Iterator[Image]:
    settings = job.params.micrographs
    for casting in cast_iron.CASTINGS:
        name = f"{casting.radius_mm:g} mm, {casting.magnesium_pct:g} % Mg"
        made = cast_iron.generate(casting, (settings.rows, settings.columns), np.random.default_rng(job.seed(name)))
        strengths = cast_iron.strengths(made.descriptors)
        labels = {"cooling_rate": casting.cooling_rate, "magnesium": casting.magnesium_pct}
        yield Image(name, made.image, labels | strengths, made.descriptors, casting.tested)


def _read_images(paths: list[Path]) -> Iterator[Image]:
    labels = readers.read_labels(paths[0].parent)
    for path in paths:
        known = dict(zip(LABELS, labels.get(path.name, dict.fromkeys(readers.LABEL_UNITS, np.nan)).values()))
        yield Image(str(path), readers.read_micrograph(path), known, {}, not np.isnan(known["yield_strength"]))


@step(reads=("preprocessing",), inputs=("composites.h5", "micrographs.h5"), outputs=("splits.json",))
def split_sets(job: Job) -> None:
    """Train, validation and test sets of composites, by microstructure, and of micrographs, by image; with their hash."""
    with job.open("composites.h5", "composites") as file:
        composites = _split(job, len(file["phase"]), "composites")
    with job.open("micrographs.h5", "micrographs") as file:
        sample = file["sample"][:]
    images = _split(job, int(sample.max()) + 1, "micrographs")
    patches = {name: np.flatnonzero(np.isin(sample, chosen)).tolist() for name, chosen in images.items()}
    content = {"composites": composites, "micrographs": patches, "micrograph_samples": images}
    job.save_json("splits.json", {**content, "hash": {name: digest(part) for name, part in content.items()}})


def _split(job: Job, count: int, label: str) -> dict[str, list[int]]:
    """Sorted indices of the three sets; each gets one at least."""
    settings = job.params.preprocessing
    if count < 3:
        raise UserError(f"{count} {label} cannot be split in three", label, "Make at least 3")
    order = torch.randperm(count, generator=job.generator(f"split {label}"))
    train = min(max(round(settings.train_share * count), 1), count - 2)
    validation = min(max(round(settings.validation_share * count), 1), count - train - 1)
    parts = order.split([train, validation, count - train - validation])
    return {name: sorted(part.tolist()) for name, part in zip(("train", "validation", "test"), parts)}


# --- chunks -----------------------------------------------------------------------------------------------------------


def _chunk_ranges(count: int, voxels: int) -> list[range]:
    most = min(max(_CHUNK_VOXELS // voxels, 1), 64)
    return [range(start, min(start + most, count)) for start in range(0, count, most)]


def _chunks(
    job: Job, label: str, count: int, voxels: int, make: Callable[[range, str], dict[str, np.ndarray]]
) -> Iterator[dict[str, np.ndarray]]:
    """Arrays of one chunk after another; each is kept in the step's folder, so that a killed step goes on from it.

    Memory holds one chunk; the disk, until the step ends, the compressed chunks beside the artifact that they go into.
    """
    for number, index in enumerate(_chunk_ranges(count, voxels)):
        path = job.workdir / f"{label}_{number:05d}.npz"
        if not path.is_file():
            arrays = make(index, path.stem)
            with store.atomic(path) as temporary, open(temporary, "wb") as file:
                np.savez_compressed(file, **arrays)
        with np.load(path, allow_pickle=False) as content:
            yield dict(content)


def _append_all(group: h5py.Group, chunks: Iterator[dict[str, np.ndarray]]) -> None:
    for arrays in chunks:
        _append(group, arrays)


def _append(group: h5py.Group, arrays: dict[str, np.ndarray]) -> None:
    """Lengthen the datasets of a group; where a second axis differs, the shorter is padded (NaN, or 0 for integers).

    Rows are compressed a few at a time, so that any few of them are read without the others.
    """
    for name, array in arrays.items():
        if name not in group:
            maxshape = (None, None, *array.shape[2:]) if array.ndim > 1 else (None,)
            together = min(max(_STORED_TOGETHER // math.prod(array.shape[1:]), 1), 1024)
            group.create_dataset(name, data=array, maxshape=maxshape, chunks=(together, *array.shape[1:]), compression="gzip",
                                 compression_opts=1, shuffle=True, fillvalue=_PADDING.get(array.dtype.kind))  # fmt: skip
            continue
        data, start = group[name], len(group[name])
        if array.ndim > 1 and array.shape[1] > data.shape[1]:
            data.resize(array.shape[1], axis=1)
        data.resize(start + len(array), axis=0)
        data[(slice(start, None), *(slice(0, n) for n in array.shape[1:]))] = array
