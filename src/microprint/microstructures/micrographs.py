"""One micrograph from its file: the content says what it is, never the name; what would change grey values is refused."""

from __future__ import annotations

import logging
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from microprint.errors import UserError, one_line

IMAGE_SUFFIXES = (".png", ".tif", ".tiff")
OTHER_SUFFIXES = (".bmp", ".gif", ".heic", ".jp2", ".jpeg", ".jpg", ".webp")
MOST_PIXELS = 100_000_000

PNG = b"\x89PNG\r\n\x1a\n"
SIGNATURES = {
    PNG: "PNG", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF", b"\xff\xd8\xff": "JPEG",
    b"\0\0\0\x0cjP  ": "JPEG 2000", b"\xff\x4f\xff\x51": "JPEG 2000", b"\xff\x0a": "JPEG XL", b"\0\0\0\x0cJXL ": "JPEG XL",
    b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP", b"8BPS": "Photoshop", b"%PDF": "PDF", b"\x8aMNG": "MNG",
}  # fmt: skip
# Chunks of a PNG that say what its samples are; of the others the decoder would only print that it does not like them.
SAMPLE_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
# Numbers of the TIFF compressions that keep every value: none, fax, LZW, deflate, PackBits, LZMA, PNG and Zstandard.
LOSSLESS = (1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 34926, 34933, 50000)
# TIFF's photometric interpretations, and how many channels their colours take; what follows them is alpha.
COLOURS = {"MINISBLACK": 1, "MINISWHITE": 1, "PALETTE": 1, "RGB": 3, "SEPARATED": 4}
# What brings an image upright, by its orientation in EXIF or TIFF.
UPRIGHT = {
    0: lambda a: a, 1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
    5: np.transpose, 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).T, 8: np.rot90,
}  # fmt: skip

_ALONE = threading.Lock()  # filters of warnings belong to the process, not to the thread


class Samples(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    values : (h, w, channels), unsigned integers, truth values or floats.
    colours : a key of `COLOURS`.
    full : the value of full brightness.
    declared : whether the file says so, beyond the size of its numbers.
    orientation : a key of `UPRIGHT`.
    palette : brightness in [0, 1] of each value, for a palette.
    """

    values: np.ndarray
    colours: str
    full: int
    declared: bool = False
    orientation: int = 1
    palette: np.ndarray | None = None


def read_micrograph(path: str | Path) -> np.ndarray:
    """Grey image in [0, 1], (h, w) float32, upright, from PNG or TIFF; colours are averaged.

    Raises
    ------
    UserError
        For another format, loss by JPEG, damage, a stack, transparency, more than 100 megapixels, and numbers whose full
        scale is not known.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "JPEG":
        raise UserError("is a JPEG, which changes grey values", path, "Save the original without loss, as PNG or TIFF")
    if kind not in ("PNG", "TIFF"):
        raise UserError(f"is no PNG or TIFF, but {kind}", path, "Save it as PNG or TIFF")
    with _decoding(path):
        samples = _read_png(path) if kind == "PNG" else _read_tiff(path)
    if samples.orientation not in UPRIGHT:
        raise UserError(f"has an orientation {samples.orientation}", path, "TIFF and EXIF know 1 to 8: save it upright")
    return np.ascontiguousarray(UPRIGHT[samples.orientation](_grey(samples, path)), np.float32)


def _kind(path: Path) -> str:
    """Format that the first bytes of a file are of."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", path, "Name an image that exists and may be read") from None
    if not head:
        raise UserError("is an empty file", path, "Save it again")
    if head[4:8] == b"ftyp":
        return "HEIC or AVIF"
    return next((kind for signature, kind in SIGNATURES.items() if head.startswith(signature)), "of an unknown format")


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """The libraries raise many kinds of errors, each of which becomes a `UserError`; what they would print is left out."""
    log = logging.getLogger("tifffile")
    with _ALONE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.disabled = True
        try:
            yield
        except (UserError, ImportError):
            raise
        except Exception as error:
            reason = one_line(error, 120) or type(error).__name__
            remedy = "It is damaged or unusual: save it again as PNG or TIFF"
            raise UserError(f"cannot be read as an image ({reason})", path, remedy) from None
        finally:
            log.disabled = False


def _check_size(width: int, height: int, path: Path) -> None:
    if width * height == 0:
        raise UserError(f"has {width} x {height} pixels", path, "Save it again")
    if width * height > MOST_PIXELS:
        what = f"has {width} x {height} pixels, {width * height / 1e6:,.0f} megapixels, more than {MOST_PIXELS / 1e6:.0f}"
        raise UserError(what, path, "Crop it into parts")


def _refuse_stack(count: int, path: Path) -> None:
    if count > 1:
        raise UserError(f"holds {count} images, a stack", path, "Save each image as a file of its own")


# --- PNG --------------------------------------------------------------------------------------------------------------


def _read_png(path: Path) -> Samples:
    import imagecodecs
    from PIL import Image

    content = path.read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    _check_size(width, height, path)
    with Image.open(path, formats=("PNG",)) as image:
        _refuse_stack(image.n_frames, path)
        image.verify()  # checksums: one wrong bit is told
    with Image.open(path, formats=("PNG",)) as image:
        orientation = image.getexif().get(274, 1)
        if image.mode == "P" and np.asarray(image).max() >= len(image.palette.palette) // len(image.palette.mode):
            raise UserError("uses colours that its palette lacks", path, "Save it again")
    # Pillow would keep 8 bits of 16 in each colour.
    values = imagecodecs.png_decode(PNG + b"".join(_sample_chunks(content))).reshape(height, width, -1)
    colours = "RGB" if values.shape[-1] > 2 else "MINISBLACK"
    return Samples(values, colours, np.iinfo(values.dtype).max, orientation=orientation)


def _sample_chunks(content: bytes) -> Iterator[bytes]:
    start = len(PNG)
    while start < len(content):
        stop = start + 12 + int.from_bytes(content[start : start + 4])
        if content[start + 4 : start + 8] in SAMPLE_CHUNKS:
            yield content[start:stop]
        start = stop


# --- TIFF -------------------------------------------------------------------------------------------------------------


def _read_tiff(path: Path) -> Samples:
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = _only_image(file, path)
        colours = _check_kind(page, path)
        _check_data(page, file.filehandle.size, path)
        values = page.asarray(squeeze=False)[:, 0]  # (planes, h, w, channels): one of the two is 1
    values = np.moveaxis(values, 0, -2).reshape(page.imagelength, page.imagewidth, -1)
    full, declared = _full_scale(page, values[..., : COLOURS[colours]], path)
    palette = _palette(page, values, path) if colours == "PALETTE" else None
    return Samples(values, colours, full, declared, int(page.tags.valueof(274, 1)), palette)


def _only_image(file: Any, path: Path) -> Any:
    """The page that is the image; thumbnails and the levels of a pyramid may be beside it, other images not."""
    pages = [level for page in file.pages for level in (page, *(page.pages or ()))]
    if not pages:
        raise UserError("holds no image", path, "Save or copy it again")
    image = max(pages, key=lambda page: page.imagewidth * page.imagelength)
    _check_size(image.imagewidth, image.imagelength, path)
    count = sum(not _is_copy(page, image) for page in pages)
    if count == 1 and not file.is_ome:  # OME's series may go on in other files
        series = file.series[0]  # ImageJ and others keep a stack behind a single page
        count = max(image.imagedepth, int(np.prod(series.shape) // np.prod(series.keyframe.shape)))
    _refuse_stack(count, path)
    return image


def _is_copy(page: Any, image: Any) -> bool:
    """Whether a page is a smaller copy of the image: marked so, or at most half as wide with the same proportions."""
    width, height, w, h = image.imagewidth, image.imagelength, page.imagewidth, page.imagelength
    if w * h >= width * height:
        return False
    return bool(page.subfiletype & 1) or (2 * w <= width + 1 and abs(w * height - h * width) <= max(width, height))


def _check_kind(page: Any, path: Path) -> str:
    """Key of `COLOURS`; raises `UserError` for colours, compressions and numbers that cannot be taken for grey values."""
    if page.compression not in LOSSLESS:
        name = getattr(page.compression, "name", page.compression)
        lossy = "changes" if "JPEG" in str(name) else "may change"
        remedy = "Save the original without loss: uncompressed, LZW or deflate"
        raise UserError(f"is compressed by {name}, which {lossy} grey values", path, remedy)
    if 262 not in page.tags:
        raise UserError("does not say whether 0 is black or white", path, "Save it again, with PhotometricInterpretation")
    colours = getattr(page.photometric, "name", str(page.photometric))
    if colours not in COLOURS or (colours == "SEPARATED" and page.tags.valueof(332, 1) != 1):
        name = "inks other than CMYK" if colours == "SEPARATED" else colours
        raise UserError(f"has colours of the kind {name}", path, "Save it as grey values or RGB")
    if page.samplesperpixel - COLOURS[colours] not in (0, 1):
        what = f"has {page.samplesperpixel} channels, not {COLOURS[colours]} ({colours}) and perhaps an alpha channel"
        raise UserError(what, path, "Save the channel to be studied as a grey image")
    if isinstance(page.bitspersample, tuple):
        raise UserError(f"has channels of {page.bitspersample} bits", path, "Save all channels with 8 or 16 bits")
    if page.dtype is None or page.dtype.kind not in "buf":
        kinds = {2: "signed integers", 5: "complex integers", 6: "complex numbers"}
        kind = kinds.get(page.sampleformat, "numbers of an unknown kind")
        remedy = "Use unsigned integers, or floats in 0 to 1"
        raise UserError(f"holds {kind} of {page.bitspersample} bits, whose full scale is not known", path, remedy)
    return colours


def _check_data(page: Any, size: int, path: Path) -> None:
    """Raise `UserError` for missing strips or tiles, which tifffile would fill up."""
    parts, expected = list(zip(page.dataoffsets, page.databytecounts)), int(np.prod(page.chunked))
    missing = expected - sum(offset > 0 and count > 0 and offset + count <= size for offset, count in parts)
    if missing > 0:
        raise UserError(
            f"is truncated: {missing} of {expected} strips or tiles are cut off or missing", path, "Save or copy it again"
        )


def _full_scale(page: Any, colours: np.ndarray, path: Path) -> tuple[int, bool]:
    """Value of full brightness, and whether the file declares another than the largest that its numbers can have."""
    largest = 1 if page.dtype.kind == "f" else 2**page.bitspersample - 1
    declared = int(np.max(page.tags.valueof(281) or 0))  # MaxSampleValue
    if page.dtype.kind == "f" or declared in (0, largest):
        return largest, False
    # Some programs write the image's own largest value there; a power of 2, less 1, is a camera's full scale.
    if declared == colours.max() and (declared + 1) & declared:
        what = f"has MaxSampleValue {declared}, which may be its full scale or merely its largest value"
        raise UserError(what, path, f"Scale its values to 0 to {largest} and leave that tag out")
    return declared, True


def _palette(page: Any, values: np.ndarray, path: Path) -> np.ndarray:
    colours = page.colormap
    if colours is None or values[..., 0].max() >= colours.shape[1]:
        raise UserError("uses colours that its palette lacks", path, "Save it again")
    return colours.mean(0) / (255 if colours.max() < 256 else 65535)  # some programs write 8 bits where 16 are meant


# --- grey values ------------------------------------------------------------------------------------------------------


def _grey(samples: Samples, path: Path) -> np.ndarray:
    """Brightness in [0, 1], (h, w)."""
    colours, alpha = np.split(samples.values, [COLOURS[samples.colours]], axis=-1)
    transparent = (~(alpha >= samples.full)).any(-1).mean()
    if transparent > 0:
        what = f"its last channel, alpha, makes {100 * transparent:.3g} % of the pixels transparent"
        raise UserError(what, path, "Save it without transparency, or crop it to its opaque part")
    if samples.palette is not None:
        return samples.palette[colours[..., 0]]
    _check_values(colours, samples, path)
    if samples.colours == "MINISWHITE":
        return 1 - colours[..., 0] / samples.full
    if samples.colours == "SEPARATED":  # cyan, magenta, yellow and black take light away
        return (1 - colours[..., :3].mean(-1) / samples.full) * (1 - colours[..., 3] / samples.full)
    return (colours[..., 0] if colours.shape[-1] == 1 else colours.mean(-1)) / samples.full


def _check_values(colours: np.ndarray, samples: Samples, path: Path) -> None:
    """Raise `UserError` where the grey values exceed the full scale, or use so little of it that it must be another."""
    low, high = colours.min(), colours.max()
    if not (low >= 0 and high <= samples.full):  # NaN fails both
        if colours.dtype.kind != "f":
            what = f"holds {high}, more than its MaxSampleValue {samples.full}"
            raise UserError(what, path, "Set that tag to the full scale")
        what = f"holds grey values from {low:.6g} to {high:.6g}, which are no numbers in 0 to 1"
        raise UserError(what, path, "Use unsigned integers, or floats in 0 to 1")
    if colours.dtype.kind == "u" and samples.full >= 65535 and not samples.declared and 16 * int(high) <= samples.full:
        what = f"uses values up to {high} of {samples.full} only, as cameras of 12 bits do: its full scale is not known"
        raise UserError(what, path, f"Scale its values to 0 to {samples.full}, or declare it in the TIFF tag MaxSampleValue")
