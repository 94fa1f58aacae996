"""Pixels of one size, against means over areas by brute force; footers seen where there is one, and nowhere else."""

import math

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from microprint.errors import UserError
from microprint.microstructures import cast_iron
from microprint.microstructures.magnification import common_pixel, cut_footer, footer_rows, resample

RNG = np.random.default_rng(3)
NOISE = RNG.random((300, 400)).astype(np.float32)


def mean_over_areas(image, factor):
    """Each new pixel as the sum of all old ones by the area that they share with it."""
    shape = [math.floor(length / factor + 1e-6) for length in image.shape]
    out = np.zeros(shape)
    for row, column in np.ndindex(*shape):
        for r, c in np.ndindex(*image.shape):
            high = min((row + 1) * factor, r + 1) - max(row * factor, r)
            wide = min((column + 1) * factor, c + 1) - max(column * factor, c)
            out[row, column] += max(high, 0) * max(wide, 0) * image[r, c]
    return out / factor**2


@pytest.mark.parametrize("factor", [2, 3.7, 1.25, 4 / 3, 0.8, 1 / 1.5, 11])
def test_resampled_pixels_are_means_over_their_areas(factor):
    image = NOISE[:11, :13]
    made, expected = resample(image, factor), mean_over_areas(image, factor)
    assert made.dtype == np.float32 and made.shape == expected.shape and made.flags.c_contiguous
    np.testing.assert_allclose(made, expected, atol=1e-6)


@pytest.mark.parametrize("factor", [2, 2.5, 1.25, 0.8, 100])
def test_resampling_keeps_the_mean_and_what_is_flat(factor):
    assert resample(NOISE, factor).mean() == pytest.approx(NOISE.mean(), abs=1e-6)  # whole pixels: nothing is cut off
    np.testing.assert_allclose(resample(np.full((77, 50), 0.3, np.float32), factor * 0.99), 0.3, atol=1e-6)


def test_finer_than_a_pixel_becomes_grey_not_stripes():
    stripes = np.tile(np.arange(300) % 2, (300, 1)).astype(np.float32)
    assert resample(stripes, 7.3).std() < 0.08  # 0.5 where pixels are picked


def test_the_same_size_is_left_alone():
    assert resample(NOISE, 1.0) is NOISE and resample(NOISE, 2e-6 / 1.99e-6) is NOISE


NAN = math.nan
SIZES = {"a.png": 1e-6, "b.png": 0.25e-6}


def test_one_pixel_for_all_images():
    assert common_pixel(SIZES, None, "x") == 1e-6 and common_pixel(SIZES, 2.0, "x") == 2e-6
    assert common_pixel(SIZES, 1 / 1.5, "x") == pytest.approx(1e-6 / 1.5)
    assert math.isnan(common_pixel({"a.png": NAN}, None, "x"))


@pytest.mark.parametrize("sizes, pixel_um, message", [
    (SIZES | {"c.png": NAN}, None, "the pixel size of some images, but not of c.png. State it for all images"),
    (SIZES | {f"{n}.png": NAN for n in range(7)}, 2.0, "but not of 0.png, 1.png, 2.png, 3.png, 4.png and 2 others"),
    ({"a.png": NAN}, 2.0, "has no pixel size of any image, but micrographs.pixel_um = 2 asks"),
    (SIZES, 0.5, "a pixel of a.png is up to 1 µm wide, more than 1.5 times micrographs.pixel_um = 0.5: enlarging would invent detail. "
                 "Raise micrographs.pixel_um to 1"),
])  # fmt: skip
def test_pixels_that_cannot_be_of_one_size_are_told(sizes, pixel_um, message):
    with pytest.raises(UserError) as error:
        common_pixel(sizes, pixel_um, "folder")
    assert message in str(error.value) and str(error.value).startswith("folder: ")


# --- footers ----------------------------------------------------------------------------------------------------------


def footer(width, rows, ground=0, ink=255, frame=0):
    """A caption as of a scanning electron microscope: numbers, a scale bar and, for some, a frame."""
    band = Image.new("L", (width, rows), ground)
    draw, font = ImageDraw.Draw(band), ImageFont.load_default(size=max(rows // 2.5, 9))
    draw.text((8, rows // 4), "15.0 kV  x2,500  WD 9.8", fill=ink, font=font)
    bar = int(0.85 * rows)
    draw.line((0.7 * width, bar, 0.95 * width, bar), fill=ink, width=2)
    draw.text((0.75 * width, rows // 5), "10 µm", fill=ink, font=font)
    if frame:
        draw.rectangle((0, 0, width - 1, rows - 1), outline=ink, width=frame)
    return np.asarray(band) / np.float32(255)


def iron(rows=256, columns=300):
    made = cast_iron.generate(cast_iron.CASTINGS[12.0, 0.0], (rows, columns), np.random.default_rng(0))
    return np.round(255 * made.image).astype(np.float32) / 255


IRON = iron()
DARK_EDGE = np.concatenate([IRON, 0 * IRON[:40]])
SATURATED = np.clip(2 * NOISE - 0.8, 0, 1)
BINARY = (IRON > np.median(IRON)).astype(np.float32)  # about half of the pixels black
IMAGES = {"iron": IRON, "noise": np.round(255 * NOISE) / 255, "saturated": SATURATED}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("kind", [{}, {"ground": 255, "ink": 0}, {"ground": 30, "ink": 220}, {"frame": 2}, {"ground": 0, "ink": 200, "frame": 1}])
@pytest.mark.parametrize("rows", [20, 33, 64])
def test_footers_are_seen(name, kind, rows):
    image = IMAGES[name]
    assert footer_rows(np.concatenate([image, footer(image.shape[1], rows, **kind)])) == rows


def gradient(rows=300, columns=400):
    """Brightness that falls to saturated black below."""
    return np.clip(NOISE[:rows, :columns] * 0.3 + np.linspace(0.8, -0.6, rows)[:, None], 0, 1).astype(np.float32)


def specks(image, count, first):
    """Bright pixels at random below a row."""
    image = image.copy()
    image[RNG.integers(first, len(image), count), RNG.integers(0, image.shape[1], count)] = 1
    return image


def sloping(image, rows, slope):
    """The image with a black lower edge, not parallel to its rows, and bright specks in it."""
    r, c = np.indices(image.shape)
    return specks(np.where(r > len(image) - rows + slope * c, 0, image), 300, len(image) - rows // 2)


ORDINARY = {
    **IMAGES, "binary": BINARY, "dark edge": DARK_EDGE, "white edge": 1 - DARK_EDGE, "dark edge with dust": specks(DARK_EDGE, 20, 260),
    "gradient": gradient(), "gradient with specks": specks(gradient(), 500, 250), "bright gradient": 1 - gradient(),
    "flat": np.full((300, 400), 0.5, np.float32), "black": np.zeros((300, 400), np.float32), "black with specks": specks(np.zeros((300, 400), np.float32), 900, 0),
    "sloping edge": sloping(IRON, 40, 0.05), "sloping edge of a binary image": sloping(BINARY, 60, 0.02), "inverse binary": 1 - BINARY,
    "graphite, black and white": (IRON > 0.3).astype(np.float32), "tiny": NOISE[:2, :3], "one pixel": NOISE[:1, :1], "one row": NOISE[:1], "narrow": NOISE[:, :1],
    "one flat row": np.zeros((1, 50), np.float32), "layers": np.repeat(NOISE[:30, :1] > 0.5, 10, 0) * np.ones((1, 400), np.float32),
    "blocks": np.kron(NOISE[:20, :20] > 0.5, np.ones((16, 16))).astype(np.float32),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_images_have_no_footer(name):
    image = ORDINARY[name]
    for turned in (image, image[::-1], image.T, image.T[::-1]):
        assert footer_rows(np.ascontiguousarray(turned)) == 0


def test_no_synthetic_iron_has_a_footer():
    rng = np.random.default_rng(1)
    for casting in [*cast_iron.CASTINGS.values(), *(cast_iron.drawn(rng) for _ in range(8))]:
        image = cast_iron.generate(casting, (128, 128), rng).image
        assert footer_rows(image) == 0 and footer_rows(np.round(255 * image) / 255) == 0


def test_a_footer_is_refused_until_all_of_it_is_cut_off():
    image = np.concatenate([IRON, footer(300, 40)])
    with pytest.raises(UserError, match="a.png: its lowest 40 rows are an instrument's footer.*Set micrographs.footer to 40"):
        cut_footer(image, 0, "a.png")
    with pytest.raises(UserError, match="its lowest 36 rows above the 4 that are cut off are.*Set micrographs.footer to 40"):
        cut_footer(image, 4, "a.png")
    np.testing.assert_array_equal(cut_footer(image, 40, "a.png"), IRON)
    with pytest.raises(UserError, match="micrographs.footer = 296 leaves none of its 296 rows"):
        cut_footer(image, 296, "a.png")
