"""Steps that make the study's microstructures, or read real ones, and that split them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from microprint import orientations
from microprint.chunks import Arrays, Chunk, compute_chunks, split, write
from microprint.errors import MissingData, UserError
from microprint.keys import digest
from microprint.machine import choose_device
from microprint.microstructures import cast_iron, composite, polycrystal, readers
from microprint.microstructures.labels import LABELS, PIXEL, labels_file, read_labels
from microprint.microstructures.magnification import common_pixel, cut_footer, resample
from microprint.microstructures.micrographs import IMAGE_SUFFIXES, OTHER_SUFFIXES, read_micrograph
from microprint.microstructures.sets import own_sets, polycrystal_files, polycrystal_sets
from microprint.params.relations import SYNTHETIC
from microprint.params.sections import CompositeSettings, MicrographSettings, Params, PolycrystalSettings
from microprint.steps import Files, Job, files_below, step, stream_seed

CONVENTION = "unit quaternion (w,x,y,z), passive (DAMASK, P = -1), v_crystal = M(q) v_sample, fundamental zone"
BASAL_SCATTER_DEG = 15.0
COMPOSITE_SUFFIXES = (".npy", ".npz")
_CHUNK_VOXELS = 1 << 20


def elements_at_once(voxels: int) -> int:
    """Elements of so many voxels that are made and saved at once."""
    return min(max(_CHUNK_VOXELS // voxels, 1), 64)


def _generator(seed: int, chunk: Chunk) -> torch.Generator:
    return torch.Generator().manual_seed(stream_seed(seed, f"{chunk.group.replace('/', '_')}_{chunk.number:05d}"))


# --- polycrystals ----------------------------------------------------------------------------------------------------


@step(reads=("polycrystals",), outputs=("polycrystals.h5",), files=polycrystal_files, chunked=True)
def generate_polycrystals(job: Job) -> None:
    """Polycrystals of all sets, grown or read from ``<source>/<symmetry>/<set>/``, chunk by chunk."""
    settings = job.params.polycrystals
    real, sets = settings.source != SYNTHETIC, {s.path: s for s in polycrystal_sets(settings)}
    if real:
        files = own_sets(settings, job.run_seed)
        make = partial(read_chunk, files=files, tolerance_deg=settings.segmentation_deg)
        chunks = [chunk for path in files for chunk in split(path, len(files[path]), 1)]
    else:
        make = partial(grow_chunk, settings=settings, seed=job.run_seed, device=job.params.compute.device)
        chunks = [chunk for path, s in sets.items() for chunk in split(path, s.count, elements_at_once(settings.edge**3))]
    made = compute_chunks(job, make, chunks, "polycrystals", "VEs")
    with job.create("polycrystals.h5", kind="polycrystals") as file:
        file.attrs.update(convention=CONVENTION, axes="[x, y, z]", source=settings.source)
        notes: Counter[tuple[str, str]] = Counter()
        shapes: dict[str, tuple[int, ...]] = {}
        for chunk, arrays in made:
            s, group = sets[chunk.group], file.require_group(chunk.group)
            if real:
                notes.update((chunk.group, note) for note in arrays.pop("note").tolist() if note)
            kind = {} if real else {"morphology": ", ".join(s.morphologies), "texture": s.texture}
            group.attrs.update(symmetry=s.symmetry, edge_m=polycrystal.EDGE_M, convention=CONVENTION, **kind)
            if real:
                shape = arrays["grain_id"].shape[1:]
                _same_size(shape, shapes.setdefault(s.symmetry, shape), files[chunk.group][chunk.start])
            write(group, chunk, arrays)
    for path in files if real else ():
        if not (Path(settings.source) / path).is_dir():
            train = path.replace("validation", "train")
            count, total = len(files[path]), len(files[path]) + len(files[train])
            print(f"{path}: there is none, so {count} of the {total} volume elements of {train} are taken for it", flush=True)
    for (path, note), count in notes.items():
        print(f"{path}: {count} of {len(files[path])} files: {note}", flush=True)


def grow_chunk(chunk: Chunk, settings: PolycrystalSettings, seed: int, device: str) -> Arrays:
    """Some synthetic VEs of a set; morphologies take turns, also from chunk to chunk."""
    s = next(s for s in polycrystal_sets(settings) if s.path == chunk.group)
    scatter = BASAL_SCATTER_DEG if s.texture == "basal" else settings.texture_scatter_deg
    kinds = [s.morphologies[element % len(s.morphologies)] for element in range(chunk.start, chunk.stop)]
    generator, order, batches = _generator(seed, chunk), [], []
    for morphology in dict.fromkeys(kinds):
        order += [number for number, kind in enumerate(kinds) if kind == morphology]
        batches.append(
            polycrystal.generate(
                kinds.count(morphology), settings.edge, s.symmetry, generator,
                morphology=morphology, texture=s.texture, scatter_deg=scatter, device=choose_device(device),
            )
        )  # fmt: skip
    most = max(batch.quaternion.shape[1] for batch in batches)
    padded = [pad(batch.quaternion, (0, 0, 0, most - batch.quaternion.shape[1])) for batch in batches]
    arrays = [batch.grain_id for batch in batches], padded, [batch.grains for batch in batches]
    in_turn = torch.tensor(order).argsort()
    return polycrystal_arrays(*(torch.cat(array).cpu()[in_turn] for array in arrays))


def read_chunk(chunk: Chunk, files: dict[str, list[Path]], tolerance_deg: float) -> Arrays:
    """One VE of a set from its file, and a ``note`` on how it was read."""
    path, symmetry = files[chunk.group][chunk.start], chunk.group.split("/")[0]
    element, note = readers.read_with_note(path, symmetry, tolerance_deg)
    shape = element.grain_id.shape[1:]
    if len(set(shape)) > 1:
        size = " x ".join(map(str, shape))
        raise UserError(f"has {size} voxels, and fingerprints need a cube", path, "Cut or resample it to n x n x n voxels")
    if len(element.quaternion[0]) > np.iinfo(np.uint16).max:
        raise UserError(f"has {len(element.quaternion[0])} grains", path, "65535 is the most; cut it into smaller ones")
    reduced = orientations.reduce(element.quaternion, symmetry)
    return {**polycrystal_arrays(element.grain_id, reduced, element.grains), "note": np.array([note])}


def polycrystal_arrays(grain_id: Tensor, quaternion: Tensor, grains: Tensor) -> Arrays:
    """Grain ids (N, n, n, n), quaternions (N, G, 4) and numbers of grains (N,) as a set of polycrystals.h5 holds them."""
    kinds = {"grain_id": np.uint16, "quaternion": np.float32, "grains": np.int32}
    return {name: array.numpy().astype(kind) for (name, kind), array in zip(kinds.items(), (grain_id, quaternion, grains))}


def _same_size(shape: tuple[int, ...], before: tuple[int, ...], path: Path) -> None:
    """Raise `UserError` unless a real microstructure, a cube, has the size of those before it."""
    if shape != before:
        size, first = (" x ".join(map(str, edges)) for edges in (shape, before))
        what = f"has {size} voxels, but those before it have {first}"
        raise UserError(what, path, "Fingerprints and networks need cubes of one edge: cut or resample them")


# --- composites ------------------------------------------------------------------------------------------------------


def composite_files(params: Params) -> Files:
    """Real composites."""
    source = params.composites.source
    return {} if source == SYNTHETIC else files_below(source)


@step(reads=("composites",), outputs=("composites.h5",), files=composite_files, chunked=True)
def generate_composites(job: Job) -> None:
    """Two-phase composites, filtered from noise with all filters in turn, or read from a folder of numpy files."""
    settings = job.params.composites
    if settings.source == SYNTHETIC:
        filters = composite.filters(settings.widths)
        widths = filters[torch.randperm(settings.count, generator=job.generator("filters")) % len(filters)]
        make = partial(filter_chunk, widths=widths, settings=settings, seed=job.run_seed, device=job.params.compute.device)
        chunks, paths = split("composites", settings.count, elements_at_once(settings.edge**3)), []
    else:
        paths = readers.list_files(settings.source, COMPOSITE_SUFFIXES)
        make, chunks = partial(read_composite_chunk, paths=paths), split("composites", len(paths), 1)
    made = compute_chunks(job, make, chunks, "composites", "composites")
    with job.create("composites.h5", kind="composites") as file:
        file.attrs.update(axes="[x, y, z]", phase="1 is the stiff phase", source=settings.source)
        for chunk, arrays in made:
            if paths and chunk.start:
                _same_size(arrays["phase"].shape[1:], file["phase"].shape[1:], paths[chunk.start])
            write(file, chunk, arrays)
        file["widths"].attrs["unit"] = "voxel"


def filter_chunk(chunk: Chunk, widths: Tensor, settings: CompositeSettings, seed: int, device: str) -> Arrays:
    """Some synthetic composites, of filter widths (N, 3) of all of them."""
    some, fractions = widths[chunk.start : chunk.stop], (settings.fraction_low, settings.fraction_high)
    made = composite.generate(some, settings.edge, _generator(seed, chunk), fractions=fractions, device=choose_device(device))
    return {name: array.cpu().numpy() for name, array in made._asdict().items()}


def enough_composites(params: Params) -> Files:
    """None; raises `MissingData` for a user's source with fewer composites than parts to split them in."""
    source = params.composites.source
    if source != SYNTHETIC and len(readers.list_files(source, COMPOSITE_SUFFIXES)) < 3:
        raise MissingData("3 composites or more in composites.source")
    return {}


def read_composite_chunk(chunk: Chunk, paths: list[Path]) -> Arrays:
    """One composite from its file; its filter is not known."""
    phase = readers.read_composite(paths[chunk.start])
    fraction = np.array([phase.mean()], np.float32)
    return {"phase": phase[None], "widths": np.full((1, 3), np.nan, np.float32), "volume_fraction": fraction}


@step(
    reads=("preprocessing.train_share", "preprocessing.validation_share"),
    inputs=("composites.h5",),
    outputs=("splits.json",),
    files=enough_composites,
)
def split_composites(job: Job) -> None:
    """Train, validation and test sets of the composites, sorted numbers of each, with their hash; each gets one at least."""
    shares = job.params.preprocessing
    with job.open("composites.h5", "composites") as file:
        count, where = len(file["phase"]), file.filename
    if count < 3:
        raise UserError(f"{count} composites cannot be split in three", where, "Make at least 3")
    order = torch.randperm(count, generator=job.generator("split composites"))
    train = min(max(round(shares.train_share * count), 1), count - 2)
    validation = min(max(round(shares.validation_share * count), 1), count - train - 1)
    parts = order.split([train, validation, count - train - validation])
    sets = {name: sorted(part.tolist()) for name, part in zip(("train", "validation", "test"), parts)}
    job.save_json("splits.json", {"composites": sets, "hash": {"composites": digest(sets)}})


# --- micrographs -----------------------------------------------------------------------------------------------------


def micrograph_files(params: Params) -> Files:
    """Real micrographs and their labels.

    Raises `UserError` for a folder without images, for labels that are wrong, and for pixels that cannot be of one size.
    """
    settings = params.micrographs
    if settings.source == SYNTHETIC:
        return {}
    images, _, _ = _labelled_images(settings)
    return {path.name: path for path in (*images, labels_file(settings.source)) if path}


def _labelled_images(
    settings: MicrographSettings, notice: Callable[[str], object] = lambda text: None
) -> tuple[list[Path], dict[str, dict[str, float]], float]:
    """A user's images, their labels, and the pixel size in metres that they are brought to; NaN where none is stated."""
    source = settings.source
    paths = readers.list_files(source, IMAGE_SUFFIXES)
    labels = read_labels(source, paths, notice)
    sizes = {name: values[PIXEL] for name, values in labels.items()}
    pixel_m = common_pixel(sizes, settings.pixel_um, source)
    if np.isnan(pixel_m):
        notice(f"{source}: no pixel size in labels.csv, so the images are taken as they are, as if of one magnification")
    else:
        notice(f"{source}: a pixel is {1e6 * pixel_m:g} µm wide; images of other pixel sizes are resampled to it")
    return paths, labels, pixel_m


@step(reads=("micrographs",), outputs=("micrographs.h5",), files=micrograph_files, chunked=True)
def generate_micrographs(job: Job) -> None:
    """Patches of cast-iron-like micrographs with their labels, or of the PNG and TIFF images of a folder.

    ``samples/`` holds what belongs to an image: labels, the ``name`` of a real one's file, ``tested`` (whether the paper's
    study measured its strength) and, under ``samples/image``, the image itself in 8 bits. Synthetic images, the twelve
    ``named`` ones first, have their causes (`cast_iron.CONTROLS`), descriptors and a map ``samples/phase`` there, too. The
    attribute ``pixel_m`` is the size of a pixel in metres, NaN where it is not known; of real images, ``samples/pixel_size``
    is that of the file, which was resampled.
    """
    settings, pixel_m = job.params.micrographs, cast_iron.PIXEL_M
    notice = partial(print, flush=True)
    if settings.source == SYNTHETIC:
        names = [f"{radius:g} mm, {magnesium:g} % Mg" for radius, magnesium in cast_iron.CASTINGS]
        names += [f"drawn casting {number}" for number in range(settings.castings)]
        make = partial(draw_chunk, settings=settings, seeds=[job.seed(name) for name in names])
    else:
        if others := [path.name for path in readers.visible_files(settings.source) if path.suffix.lower() in OTHER_SUFFIXES]:
            notice(f"{settings.source}: left out, as they are not named {', '.join(IMAGE_SUFFIXES)}: {', '.join(others)}")
        paths, labels, pixel_m = _labelled_images(settings, notice)
        names = list(map(str, paths))
        make = partial(read_image_chunk, paths=paths, labels=labels, footer=settings.footer, pixel_m=pixel_m)
    made = compute_chunks(job, make, split("micrographs", len(names), 1), "micrographs", "images")
    with job.create("micrographs.h5", kind="micrographs") as file:
        file.attrs.update(pixel_m=pixel_m, source=settings.source, image="grey values in 0 to 1, [row, column]")
        file.attrs["phase"] = "0 ferrite, 1 graphite, 2 grain boundary, [row, column]"
        first = 0
        for chunk, arrays in made:
            pixels = arrays.pop("pixels")[0]
            maps = {"image": np.round(255 * pixels).astype(np.uint8)}
            maps |= {"phase": arrays.pop("phase")[0]} if "phase" in arrays else {}
            patches = _patches(pixels, names[chunk.number], settings, pixel_m)
            count = len(patches["image"])
            patches["sample"] = np.full(count, chunk.number)
            patches |= {name: np.full(count, arrays[name][0]) for name in LABELS}
            write(file, Chunk("", 0, first, first + count, first + count), patches)
            first += count
            for name, values in maps.items():
                file.create_dataset(f"samples/{name}/{chunk.number:03d}", data=values, compression="gzip")
            write(file["samples"], chunk, arrays)
        for name, unit in LABELS.items():
            file[name].attrs["unit"] = file[f"samples/{name}"].attrs["unit"] = unit
        if PIXEL in file["samples"]:
            file[f"samples/{PIXEL}"].attrs["unit"] = "m"


def draw_chunk(chunk: Chunk, settings: MicrographSettings, seeds: list[int]) -> Arrays:
    """The micrograph of one casting: pixels and phase (1, h, w); its causes, labels and descriptors (1,)."""
    number, rng, named = chunk.number, np.random.default_rng(seeds[chunk.number]), list(cast_iron.CASTINGS)
    casting = cast_iron.CASTINGS[named[number]] if number < len(named) else cast_iron.drawn(rng)
    made = cast_iron.generate(casting, (settings.rows, settings.columns), rng)
    labels = dict.fromkeys(LABELS, np.nan) | {"cooling_rate": casting.cooling_rate, "magnesium": casting.magnesium_pct}
    causes = asdict(casting) | {"density_per_mm2": casting.density_per_mm2}
    tested = number < len(named) and named[number][0] in cast_iron.TESTED_RADII_MM
    values = {**labels, **causes, **made.descriptors, "named": number < len(named), "tested": tested}
    maps = {"pixels": made.image[None], "phase": made.phase[None]}
    return maps | {name: np.array([value]) for name, value in values.items()}


def read_image_chunk(
    chunk: Chunk, paths: list[Path], labels: dict[str, dict[str, float]], footer: int, pixel_m: float
) -> Arrays:
    """A real micrograph without its footer and with pixels of one size, and its labels, NaN for those that are not known."""
    path = paths[chunk.number]
    known = labels[path.name]
    pixels = cut_footer(read_micrograph(path), footer, path)
    if not np.isnan(pixel_m):
        pixels = resample(pixels, pixel_m / known[PIXEL])
    values = {**known, "tested": not np.isnan(known["yield_strength"]), "name": path.name}
    return {"pixels": pixels[None]} | {name: np.array([value]) for name, value in values.items()}


def _patches(pixels: np.ndarray, name: str, settings: MicrographSettings, pixel_m: float) -> Arrays:
    edge, corners = settings.edge, cast_iron.patch_corners(pixels.shape, settings.edge, settings.stride)
    if len(corners) == 0:
        known = not np.isnan(pixel_m)
        size = " x ".join(map(str, pixels.shape)) + " pixels" + (f" of {1e6 * pixel_m:g} µm" if known else "")
        remedy = "Lower micrographs.edge" + (" or micrographs.pixel_um" if known else "")
        raise UserError(f"{size} are less than a patch of {edge}", name, remedy)
    patches = np.stack([pixels[r : r + edge, c : c + edge] for r, c in corners]).astype(np.float32)
    return {"image": patches, "position": corners}
