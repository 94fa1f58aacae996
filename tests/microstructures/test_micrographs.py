"""Micrographs: every kind of image read with the right grey values, or refused in one sentence."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from microprint.errors import UserError
from microprint.microstructures.micrographs import read_micrograph

GREY = np.random.default_rng(0).integers(0, 256, (24, 30)).astype(np.uint8)
GREY[0, :2] = 0, 255
OPAQUE = np.full_like(GREY, 255)
DEEP = GREY.astype(np.uint16)


def png(width, height, depth, kind, rows, *chunks, end=True):
    """A PNG from its raw rows and from chunks to put before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), *([(b"IEND", b"")] if end else [])]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts)


def ifd(**tags):
    """A TIFF from its tags alone, with 64 bytes of zeros behind them, from byte 8 + 2 + 12 n + 4."""
    numbers = dict(width=256, length=257, bits=258, compression=259, photometric=262, offset=273, rows=278, count=279)
    tags = {"width": 2, "length": 2, "bits": 8, "compression": 1, "photometric": 1, "rows": 2, "count": 4} | tags
    tags.setdefault("offset", 14 + 12 * (len(tags) + 1))
    entries = sorted((numbers[name], value) for name, value in tags.items() if value is not None)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", n, 4, 1, v) for n, v in entries) + bytes(68)


def written(path, content):
    path.write_bytes(content)
    return read_micrograph(path)


def refused(path, message):
    with pytest.raises(UserError) as error:
        read_micrograph(path)
    assert message in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


PILLOW = {
    "grey.png": Image.fromarray(GREY),
    "rgb.png": Image.fromarray(np.dstack([GREY] * 3)),
    "rgba.png": Image.fromarray(np.dstack([GREY] * 3 + [OPAQUE])),
    "grey with alpha.png": Image.fromarray(np.dstack([GREY, OPAQUE])),
    "palette.png": Image.fromarray(GREY).convert("P"),
    "16 bits.png": Image.fromarray(DEEP * 257),
    "cmyk.tif": Image.fromarray(np.dstack([255 - GREY] * 3 + [0 * GREY]), "CMYK"),
    "black ink.tif": Image.fromarray(np.dstack([0 * GREY] * 3 + [255 - GREY]), "CMYK"),
    "png.tif": Image.fromarray(GREY),
}


@pytest.mark.parametrize("name", PILLOW)
def test_images_of_pillow_are_read(tmp_path, name):
    PILLOW[name].save(tmp_path / name, format="PNG" if "png" in name else "TIFF")
    read = read_micrograph(tmp_path / name)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, GREY / 255, atol=1e-6)


TIFFS = {
    "grey": (GREY, {}),
    "16 bits, big-endian": (DEEP * 257, {"byteorder": ">"}),
    "32 bits": (GREY.astype(np.uint32) * 0x01010101, {}),
    "floats": ((GREY / 255).astype(np.float32), {}),
    "rgb": (np.dstack([GREY] * 3), {"photometric": "rgb"}),
    "rgb, plane by plane": (np.stack([GREY] * 3), {"photometric": "rgb", "planarconfig": "separate"}),
    "rgba": (np.dstack([GREY] * 3 + [OPAQUE]), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "grey with alpha": (np.dstack([GREY, OPAQUE]), {"photometric": "minisblack", "extrasamples": ["assocalpha"]}),
    "0 is white": (255 - GREY, {"photometric": "miniswhite"}),
    "palette": (GREY, {"photometric": "palette", "colormap": np.stack([np.arange(256, dtype=np.uint16) * 257] * 3)}),
    "palette of 8 bits": (GREY, {"photometric": "palette", "colormap": np.stack([np.arange(256, dtype=np.uint16)] * 3)}),
    "deflate": (GREY, {"compression": "zlib", "predictor": True}),
    "zstd": (GREY, {"compression": "zstd"}),
    "tiles": (GREY, {"tile": (16, 16)}),
    "BigTIFF": (GREY, {"bigtiff": True}),
    "OME": (GREY, {"ome": True}),
    "ImageJ": (GREY, {"imagej": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", TIFFS)
def test_tiff_images_are_read(tmp_path, name):
    array, options = TIFFS[name]
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    np.testing.assert_allclose(read_micrograph(tmp_path / "a.tif"), GREY / 255, atol=1e-6)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_compressed_tiff_is_read(tmp_path, compression):
    Image.fromarray(GREY).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_allclose(read_micrograph(tmp_path / "a.tif"), GREY / 255, atol=1e-6)


@pytest.mark.parametrize("name, options", [("a.png", {}), ("a.tif", {}), ("b.tif", {"compression": "group4"}), ("c.tif", {"compression": "group3"})])
def test_two_levels_are_black_and_white(tmp_path, name, options):
    Image.fromarray(GREY > 128).save(tmp_path / name, **options)
    np.testing.assert_array_equal(read_micrograph(tmp_path / name), GREY > 128)


def test_the_full_scale_is_that_of_the_bits_or_declared(tmp_path):
    tag = [(281, "H", 1, 4095, True)]
    tifffile.imwrite(tmp_path / "a.tif", DEEP * 16, bitspersample=12)
    tifffile.imwrite(tmp_path / "b.tif", DEEP * 16, extratags=tag)
    tifffile.imwrite(tmp_path / "c.tif", 4095 - DEEP * 16, extratags=tag, photometric="miniswhite")
    for name in ("a.tif", "b.tif", "c.tif"):
        np.testing.assert_allclose(read_micrograph(tmp_path / name), DEEP * 16 / 4095, atol=1e-6)
    np.testing.assert_allclose(written(tmp_path / "d.png", png(4, 1, 2, 0, b"\0\x1b")), [[0, 1 / 3, 2 / 3, 1]], atol=1e-6)
    tifffile.imwrite(tmp_path / "black.tif", 0 * GREY)
    assert not read_micrograph(tmp_path / "black.tif").any()
    for name, array in (("e.tif", DEEP * 16), ("f.tif", GREY.astype(np.uint32) * 16)):
        tifffile.imwrite(tmp_path / name, array)
        refused(tmp_path / name, f"uses values up to {array.max()} of {np.iinfo(array.dtype).max} only")
    (tmp_path / "g.png").write_bytes(png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 1, 2, 4095)))
    refused(tmp_path / "g.png", "uses values up to 4095 of 65535 only")
    tifffile.imwrite(tmp_path / "h.tif", GREY, extratags=[(281, "H", 1, 100, True)])
    refused(tmp_path / "h.tif", "holds 255, more than its MaxSampleValue 100")
    tifffile.imwrite(tmp_path / "i.tif", np.minimum(GREY, 200), extratags=[(281, "H", 1, 200, True)])
    refused(tmp_path / "i.tif", "may be its full scale or merely its largest value")


def test_colours_of_16_bits_keep_them(tmp_path):
    content = png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 1000, 2000, 3000, 4000, 5000, 60000))
    np.testing.assert_allclose(written(tmp_path / "a.png", content), [[2000 / 65535, 23000 / 65535]], rtol=1e-6)


@pytest.mark.parametrize("orientation, upright", [(0, GREY), (1, GREY), (2, GREY[:, ::-1]), (3, GREY[::-1, ::-1]), (4, GREY[::-1]), (5, GREY.T),
                                                  (6, GREY[::-1].T), (7, GREY[::-1, ::-1].T), (8, GREY.T[::-1])])  # fmt: skip
def test_images_are_brought_upright(tmp_path, orientation, upright):
    tifffile.imwrite(tmp_path / "a.tif", GREY, extratags=[(274, "H", 1, orientation, True)])
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(GREY).save(tmp_path / "a.png", exif=exif)
    for name in ("a.tif", "a.png"):
        np.testing.assert_allclose(read_micrograph(tmp_path / name), upright / 255, atol=1e-6)


def test_an_orientation_that_is_none_is_told(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, extratags=[(274, "H", 1, 9, True)])
    refused(tmp_path / "a.tif", "has an orientation 9")


def test_transparency_is_told_with_its_share(tmp_path):
    half = OPAQUE.copy()
    half[:12] = 254
    Image.fromarray(np.dstack([GREY] * 3 + [half])).save(tmp_path / "rgba.png")
    Image.fromarray(np.dstack([GREY, half])).save(tmp_path / "la.png")
    tifffile.imwrite(tmp_path / "rgba.tif", np.dstack([GREY] * 3 + [half]), photometric="rgb", extrasamples=["unassalpha"])
    palette = (b"PLTE", b"\1\2\3\xff\xff\xff")
    (tmp_path / "palette.png").write_bytes(png(2, 1, 8, 3, b"\0\0\1", palette, (b"tRNS", b"\xff\0")))
    (tmp_path / "one grey.png").write_bytes(png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 30000, 65535), (b"tRNS", struct.pack(">H", 30000))))
    for name in ("rgba.png", "la.png", "rgba.tif", "palette.png", "one grey.png"):
        refused(tmp_path / name, "makes 50 % of the pixels transparent")
    assert written(tmp_path / "opaque.png", png(2, 1, 8, 3, b"\0\0\1", palette, (b"tRNS", b"\xff"))).shape == (1, 2)


def test_stacks_are_told_with_their_number(tmp_path):
    stack = np.stack([GREY, GREY, 255 - GREY])
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    tifffile.imwrite(tmp_path / "b.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "c.ome.tif", stack, metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "d.tif", np.zeros((3, 16, 16), np.uint8), volumetric=True, tile=(1, 16, 16), photometric="minisblack")
    frames = [Image.fromarray(image) for image in stack]
    frames[0].save(tmp_path / "e.png", save_all=True, append_images=frames[1:])
    for name in ("a.tif", "b.tif", "c.ome.tif", "d.tif", "e.png"):
        refused(tmp_path / name, "holds 3 images")
    with tifffile.TiffWriter(tmp_path / "f.tif") as file:
        file.write(GREY)
        file.write(GREY[:20])
    refused(tmp_path / "f.tif", "holds 2 images")


def test_smaller_copies_beside_the_image_are_fine(tmp_path):
    with tifffile.TiffWriter(tmp_path / "thumbnail.tif") as file:
        file.write(GREY)
        file.write(GREY[::4, ::4])
    with tifffile.TiffWriter(tmp_path / "thumbnail first.tif") as file:
        file.write(GREY[:9, :9], subfiletype=1)
        file.write(GREY)
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        file.write(GREY, subifds=1)
        file.write(GREY[::2, ::2], subfiletype=1)
    with tifffile.TiffWriter(tmp_path / "image below its thumbnail.tif") as file:  # as DNG
        file.write(GREY[::4, ::4], subifds=1, subfiletype=1)
        file.write(GREY)
    for path in tmp_path.iterdir():
        np.testing.assert_allclose(read_micrograph(path), GREY / 255, atol=1e-6)


REFUSED_TIFFS = {
    "holds signed integers of 16 bits": (GREY.astype(np.int16), {}),
    "holds complex numbers": (GREY.astype(np.complex64), {}),
    "holds grey values from 0 to 255, which are no numbers in 0 to 1": (GREY.astype(np.float32), {}),
    "holds grey values from nan": (np.full((8, 8), np.nan, np.float32), {}),
    "colours of the kind CIELAB": (np.dstack([GREY] * 3), {"photometric": "cielab"}),
    "colours of the kind YCBCR": (np.dstack([GREY] * 3), {"photometric": "ycbcr"}),
    "colours of the kind CFA": (GREY, {"photometric": "cfa"}),
    "inks other than CMYK": (np.dstack([GREY] * 4), {"photometric": "separated", "extratags": [(332, "H", 1, 2, True)]}),
    "has 5 channels": (np.dstack([GREY] * 5), {"photometric": "minisblack", "planarconfig": "contig"}),
    "compressed by JPEG, which changes": (GREY, {"compression": "jpeg"}),
    "compressed by JPEG2000, which changes": (GREY, {"compression": "jpeg2000"}),
    "compressed by WEBP, which may change": (np.dstack([GREY] * 3), {"compression": "webp"}),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED_TIFFS)
def test_kinds_of_tiff_without_grey_values_are_told(tmp_path, message):
    array, options = REFUSED_TIFFS[message]
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    refused(tmp_path / "a.tif", message)


@pytest.mark.parametrize("kind, message", [("JPEG", "is a JPEG, which changes grey values"), ("GIF", "but GIF"), ("BMP", "but BMP"), ("WEBP", "but WebP")])
def test_other_formats_are_told_whatever_their_name(tmp_path, kind, message):
    for name in ("a.png", "a.tif"):
        Image.fromarray(GREY).save(tmp_path / name, format=kind)
        refused(tmp_path / name, message)


def test_giants_are_told_before_they_are_decoded(tmp_path):
    (tmp_path / "a.png").write_bytes(png(20000, 10000, 1, 0, b""))
    (tmp_path / "b.png").write_bytes(png(100000, 100000, 1, 0, b""))
    (tmp_path / "c.tif").write_bytes(ifd(width=20000, length=10000, rows=10000, count=200_000_000))
    for name, size in (("a.png", "200 megapixels"), ("b.png", "10,000 megapixels"), ("c.tif", "200 megapixels")):
        refused(tmp_path / name, size)


def damaged():
    tiff, whole = ifd(), png(30, 24, 8, 0, b"".join(b"\0" + row.tobytes() for row in GREY))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    return {
        "empty": (b"", "is an empty file"),
        "text": (b"no image", "of an unknown format"),
        "macOS": (b"\0\5\x16\7\0\2\0\0Mac OS X", "of an unknown format"),
        "one bit": (bytes(flipped), "cannot be read as an image"),
        "half a PNG": (whole[:300], "cannot be read as an image"),
        "without end": (whole[:-12], "cannot be read as an image"),
        "head of a PNG": (whole[:10], "cannot be read as an image"),
        "no pixels": (png(0, 2, 8, 0, b""), "has 0 x 2 pixels"),
        "too few rows": (png(8, 8, 8, 0, bytes(20)), "cannot be read as an image"),
        "no such colour": (png(2, 1, 8, 3, b"\0\0\7", (b"PLTE", b"\1\2\3")), "colours that its palette lacks"),
        "half a TIFF": (tiff[:-64], "1 of 1 strips or tiles are cut off or missing"),
        "head of a TIFF": (tiff[:4], "cannot be read as an image"),
        "no IFD": (b"II*\0 cut", "holds no image"),
        "a strip less": (ifd(length=4), "1 of 2 strips"),
        "no width": (ifd(width=0), "has 0 x 2 pixels"),
        "no photometric": (ifd(photometric=None), "does not say whether 0 is black"),
        "no palette": (ifd(photometric=3), "colours that its palette lacks"),
        "unknown compression": (ifd(compression=777), "compressed by 777"),
    }  # fmt: skip


@pytest.mark.parametrize("name", damaged())
def test_damaged_images_are_told(tmp_path, name):
    content, message = damaged()[name]
    (tmp_path / "a.png").write_bytes(content)
    refused(tmp_path / "a.png", message)


def test_an_absent_file_is_told(tmp_path):
    refused(tmp_path / "a.png", "cannot be read (No such file or directory)")
    refused(tmp_path, "cannot be read (Is a directory)")


def test_bytes_at_random_end_in_a_sentence_or_an_image(tmp_path, capfd):
    rng, path = np.random.default_rng(2), tmp_path / "a.tif"
    Image.fromarray(GREY).save(path, compression="tiff_lzw")
    whole = path.read_bytes()
    for _ in range(100):
        content = bytearray(whole)
        for position in rng.integers(len(content), size=3):
            content[position] = rng.integers(256)
        path.write_bytes(content[: rng.integers(1, len(content))] if rng.random() < 0.3 else content)
        try:
            assert read_micrograph(path).ndim == 2
        except UserError:
            pass
    assert capfd.readouterr() == ("", "")


def test_libraries_do_not_print(tmp_path, capfd, recwarn, monkeypatch):
    profile = (b"iCCP", b"x\0\0" + zlib.compress(b"no profile"))
    assert written(tmp_path / "a.png", png(2, 1, 8, 0, b"\0\0\7", profile)).shape == (1, 2)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # Pillow warns from here on, by default from 89 megapixels
    Image.fromarray(GREY).save(tmp_path / "b.png")
    assert read_micrograph(tmp_path / "b.png").shape == GREY.shape
    assert capfd.readouterr() == ("", "") and not recwarn.list
