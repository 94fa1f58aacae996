"""labels.csv: every way to write it read with the right values, or refused in one sentence."""

import math

import pytest

from microprint.errors import UserError
from microprint.microstructures.labels import COLUMNS, PIXEL, labels_file, read_labels

IMAGES = ("a.png", "b.png", "Körper 1.tif")
PLAIN = "file,yield_strength_MPa\na.png,250\nb.png,300\n"


def read(folder, content, encoding="utf-8", images=IMAGES):
    """What the file says and the notices: labels without those that are not known."""
    (folder / "labels.csv").write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    notices = []
    labels = read_labels(folder, [folder / image for image in images], notices.append)
    assert set(labels) == set(images) and all(set(values) == set(COLUMNS) for values in labels.values())
    return {image: {label: v for label, v in values.items() if not math.isnan(v)} for image, values in labels.items()}, notices


def strengths(folder, content, encoding="utf-8"):
    labels, _ = read(folder, content, encoding)
    return [labels[image].get("yield_strength") for image in ("a.png", "b.png")]


@pytest.mark.parametrize("content, encoding", [
    (PLAIN, "utf-8"), (PLAIN, "utf-8-sig"), (PLAIN, "utf-16"), (PLAIN.replace(",", "\t"), "utf-16"), (PLAIN.replace(",", ";"), "cp1252"),
    (PLAIN.replace("\n", "\r\n"), "utf-8"), (PLAIN.replace("\n", "\r"), "utf-8"), (PLAIN.replace(",", " , "), "utf-8"),
    ('"file","yield_strength_MPa"\n"a.png","250"\n"b.png","300"\n', "utf-8"),
    ("sep=;\nfile;yield_strength_MPa\na.png;250,0\nb.png;300,0\n", "utf-8"), (f"\n,\n{PLAIN}\n,,\n", "utf-8"),
    ("file,yield_strength_MPa,,\na.png,250,,\nb.png,300,\n", "utf-8"),
    ("file,yield_strength_MPa\n,MPa\na.png,250\nb.png,300\n", "utf-8"), ("file,yield_strength\n[-],[MPa]\na.png,250\nb.png,300\n", "utf-8"),
    ("file,yield_strength\na.png,250 MPa\nb.png,0.3GPa\n", "utf-8"), ("file,yield_strength,yield_strength_unit\na.png,250,MPa\nb.png,0.3,GPa\n", "utf-8"),
    ('"Yield strength\n(MPa)",file\n250,a.png\n300,b.png\n', "utf-8"), ("FILE NAME,Yield Strength [GPa]\na.png,0.25\nb.png,3e-1\n", "utf-8"),
])  # fmt: skip
def test_ways_to_write_a_table(tmp_path, content, encoding):
    assert strengths(tmp_path, content, encoding) == pytest.approx([250e6, 300e6])


@pytest.mark.parametrize("header, value", [
    ("yield_strength_Pa", 2.0), ("yield_strength_kPa", 2e3), ("Yield strength (MPa)", 2e6), ("yield_strength [GPa]", 2e9), ("YIELD STRENGTH / MPa", 2e6),
    ("Yield strength, N/mm2", 2e6), ("yield-strength N mm⁻²", 2e6), ("YieldStrength(N/mm²)", 2e6), ("yield strength in ksi", 2 * 6894757),
    ("youngs_modulus_GPa", 2e9), ("Young's modulus (GPa)", 2e9), ("Young’s modulus [MPa]", 2e6),
    ("cooling_rate_K_per_s", 2.0), ("Cooling rate [°C/s]", 2.0), ("cooling rate K·s^-1", 2.0), ("cooling_rate K/min", 2 / 60), ("cooling_rate_C_per_h", 2 / 3600),
    ("magnesium_wt_pct", 2.0), ("Magnesium (wt.-%)", 2.0), ("magnesium wt%", 2.0), ("magnesium %", 2.0), ("magnesium_ppm", 2e-4),
])  # fmt: skip
def test_units_in_the_header(tmp_path, header, value):
    labels, notices = read(tmp_path, f'file,"{header}"\na.png,2\n')
    assert list(labels["a.png"].values()) == [pytest.approx(value)] and not notices


@pytest.mark.parametrize("header, metres", [
    ("pixel_um", 2e-6), ("pixel_nm", 2e-9), ("pixel size (µm)", 2e-6), ("Pixel size [μm]", 2e-6), ("PixelSize / nm", 2e-9), ("pixel_size_mm", 2e-3), ("pixel width, m", 2.0),
    ("um/px", 2e-6), ("µm per pixel", 2e-6), ("nm per pixel", 2e-9), ("nm_per_px", 2e-9), ("Scale (µm/px)", 2e-6), ("pixel size (mm/pixel)", 2e-3), ("pixel size in microns", 2e-6),
    ("px/µm", 0.5e-6), ("pixels per µm", 0.5e-6), ("pixels/nm", 0.5e-9), ("scale (px/mm)", 0.5e-3), ("pixel_size_px_per_um", 0.5e-6), ("pixels per micron", 0.5e-6),
])  # fmt: skip
def test_sizes_of_pixels(tmp_path, header, metres):
    labels, notices = read(tmp_path, f'file,"{header}"\na.png,2\n')
    assert labels["a.png"] == {PIXEL: pytest.approx(metres)} and not notices


def test_units_of_pixels_in_cells(tmp_path):
    labels, _ = read(tmp_path, "file;pixel size\na.png;0,5 µm\nb;250 nm/px\nKörper 1;4 px/µm\n")
    assert [labels[image][PIXEL] for image in IMAGES] == pytest.approx([0.5e-6, 0.25e-6, 0.25e-6])


def test_decimal_commas(tmp_path):
    assert strengths(tmp_path, "file;yield_strength_MPa\na.png;250,5\nb.png;1,250\n") == [250.5e6, 1.25e6]
    assert strengths(tmp_path, 'file,yield_strength_MPa\na.png,"250,5"\nb.png,300\n') == [250.5e6, 300e6]
    assert strengths(tmp_path, "file\tyield_strength_MPa\na.png\t250.125\n") == [250.125e6, None]
    assert strengths(tmp_path, "file;yield_strength_MPa\na.png;250.5\nb.png;1.250\n") == [250.5e6, 1.25e6]


def test_what_is_not_known_is_nan(tmp_path):
    assert read_labels(tmp_path, ["a.png"])["a.png"].keys() == COLUMNS.keys()
    assert all(math.isnan(value) for value in read_labels(tmp_path, ["a.png"])["a.png"].values())
    for missing in ("", " ", "n/a", "NA", "nan", "NaN", "-", "–", "#N/A"):
        assert strengths(tmp_path, f"file,yield_strength_MPa,magnesium_wt_pct\na.png,{missing},0.04\n") == [None, None]
    assert strengths(tmp_path, "file,yield_strength_MPa,magnesium_wt_pct\na.png,250\nb.png\n") == [250e6, None]


@pytest.mark.parametrize("name, image", [
    ("a.png", "a.png"), (" a.png ", "a.png"), ("A.PNG", "a.png"), ("a", "a.png"), ("images/a.png", "a.png"), (r"C:\images\A.png", "a.png"), ("a.jpg", "a.png"),
    ("Körper 1.tif", "Körper 1.tif"), ("Ko\u0308rper 1.tif", "Körper 1.tif"), ("körper 1", "Körper 1.tif"),
])  # fmt: skip
def test_names_of_images(tmp_path, name, image):
    labels, _ = read(tmp_path, f"file,magnesium_wt_pct\n{name},0.04\n")
    assert labels[image] == {"magnesium": 0.04}


def test_names_in_windows_1252(tmp_path):
    labels, _ = read(tmp_path, "file;cooling_rate °C/s\nKörper 1.tif;5,5\n", "cp1252")
    assert labels["Körper 1.tif"] == {"cooling_rate": 5.5}


def test_an_exact_name_goes_before_a_similar_one(tmp_path):
    labels, _ = read(tmp_path, "file,magnesium_wt_pct\na.png,1\na.tif,2\n", images=("a.png", "a.tif"))
    assert labels == {"a.png": {"magnesium": 1}, "a.tif": {"magnesium": 2}}
    for name in ("a", "A.bmp"):
        with pytest.raises(UserError, match=f"row 2: '{name}' may be a.png or a.tif"):
            read(tmp_path, f"file,magnesium_wt_pct\n{name},1\n", images=("a.png", "a.tif"))


def test_notices_say_what_is_left_out_and_assumed(tmp_path):
    _, notices = read(tmp_path, ",file,notes,operator,manganese_wt_pct,yield_strength_MPa\n0,a.png,etched,\"5\",0.1,250\n")
    assert notices == [f"{tmp_path / 'labels.csv'}: left out, as they are no labels: column 1, without a name, notes, operator, manganese_wt_pct"]
    labels, notices = read(tmp_path, "file,magnesium,cooling_rate\na.png,0.04,60 K/min\n")
    assert labels["a.png"] == pytest.approx({"magnesium": 0.04, "cooling_rate": 1})
    assert [notice.split(": ")[1] for notice in notices] == ["magnesium has no unit, and is taken for wt%"]


FAULTS = {
    # the file
    "": "is empty", "\n \n": "is empty", "file,yield_strength_MPa\n": "has a header, but no rows", "file,yield_strength_MPa\n,MPa\n": "no rows",
    b"PK\x03\x04": "is a spreadsheet, not text", "file,notes\na.png," + 200000 * "x": "cannot be read as CSV", b"file,magnesium\na.png,\x000.04\n": "holds NUL bytes", PLAIN.encode("utf-16-le"): "holds NUL bytes",
    b"file,magnesium\n\x81,1\n": "is no text in", 'file,magnesium_wt_pct,notes\na.png,1,"etched\nb.png,2,\n': "cannot be read as CSV",
    # columns
    "image,yield_strength_MPa\na.png,250\n": "has no column 'file'", "file|yield_strength_MPa\na.png|250\n": "has no column 'file'",
    "file,notes\na.png,etched\n": "has no column of a label", "file,File,magnesium_wt_pct\na.png,a.png,1\n": "has the column 'File' twice",
    "file,yield_strength_MPa,Yield strength (Pa)\na.png,1,1\n": "has yield_strength twice: 'yield_strength_MPa' and 'Yield strength (Pa)'",
    "file,yeild_strength_MPa\na.png,1\n": "'yeild_strength_MPa', which resembles 'yield_strength'", "file,magnesuim\na.png,1\n": "resembles 'magnesium'",
    "file,strength_MPa\na.png,1\n": "resembles", "file,ultimate tensile strength (MPa)\na.png,1\n": "resembles 'ultimate_strength'",
    "file,yield\na.png,1\n": "resembles 'yield_strength'", "file,magnesium at%\na.png,1\n": "a column 'magnesium at%', whose unit is not known",
    "file,yield_strength_K/s\na.png,1\n": "whose unit is not known", "file,yield_strength_std\na.png,1\n": "whose unit is not known",
    # rows
    "file,yield_strength_MPa\na.png,250,5\n": "row 2 has 3 cells, the header 2", "file,yield_strength_MPa\n,250\n": "row 2 names no file",
    "file,yield_strength_MPa\n\na.png,1\nbb.png,300\n": "row 4: the folder has no image 'bb.png'. Write the name of an image of the folder, such as b.png",
    "file,yield_strength_MPa\na.png,250\nA,250\n": "rows 2 and 3 are both of a.png",
    # numbers
    "file,yield_strength\na.png,250\n": "row 2: the yield_strength '250' has no unit", "file,ultimate_strength\na.png,1 MPa\nb.png,2\n": "row 3: the ultimate_strength '2' has no unit",
    "file,yield_strength_MPa\na.png,high\n": "row 2: the yield_strength 'high' is no number", "file,yield_strength_MPa\na.png,1.2.3\n": "'1.2.3' is no number",
    "file,yield_strength_MPa\na.png,250 ± 5\n": "is no number, or its unit", "file,yield_strength_MPa\na.png,1 250\n": "is no number, or its unit",
    "file,yield_strength_MPa\na.png,<250\n": "'<250' is no number", "file,yield_strength_MPa\na.png,0.25 GPa\n": "has the units mpa and gpa",
    "file,yield_strength_MPa\n,GPa\na.png,1\n": "has the units mpa and gpa", "file,yield_strength_MPa\na.png,-250\n": "'-250' is negative",
    "file,yield_strength_MPa\na.png,−250\n": "'−250' is negative", "file,yield_strength_MPa\na.png,0\n": "'0' is zero", "file,yield_strength_MPa\na.png,inf\n": "'inf' is infinite",
    "file,yield_strength_MPa\na.png,1e999\n": "'1e999' is infinite", "file,magnesium_wt_pct\na.png,-0.1\n": "the magnesium '-0.1' is negative",
    "file,magnesium_wt_pct\na.png,101\n": "'101' is more than 100 %", "file,cooling_rate_K_per_s\na.png,-1\n": "the cooling_rate '-1' is negative",
    # sizes of pixels
    "file,pixel\na.png,2\n": "row 2: the pixel_size '2' has no unit. Name the column pixel_size_um", "file,pixel_um\na.png,0\n": "the pixel_size '0' is zero",
    "file,px/um\na.png,0\n": "the pixel_size '0' is zero", "file,pixel_um,um/px\na.png,2,2\n": "has pixel_size twice: 'pixel_um' and 'um/px'",
    "file,pixel_um\na.png,2 px/um\n": "has the units um and px/um", "file,pixel_inch\na.png,2\n": "a column 'pixel_inch', whose unit is not known", "file,pixel / um\na.png,2\n": "resembles 'pixel_size'",
    "file,pixel/µm\na.png,2\n": "resembles 'pixel_size'", "file,pixel per µm\na.png,2\n": "resembles 'pixel_size'", "file,pixle_size_um\na.png,2\n": "resembles 'pixel_size'", "file,pixel_um\na.png,-2\n": "is negative",
    # decimal marks
    "file;yield_strength_MPa\na.png;250,5\nb.png;250.5\n": "numbers have commas (row 2: '250,5') and dots (row 3: '250.5')",
    'file,yield_strength_MPa\na.png,"1,250"\n': "row 2: the yield_strength '1,250' may be a thousand or have decimals. Write 1250, or mark decimals by '.'",
    'file,yield_strength_MPa\na.png,"250,5"\nb.png,"1,250"\n': "row 3: the yield_strength '1,250' may be a thousand",
    "file\tyield_strength_MPa\na.png\t1,250\n": "may be a thousand", "file;yield_strength_MPa\na.png;1.250\nb.png;850\n": "may be a thousand or have decimals. Write 1250",
    'file,yield_strength_MPa\na.png,"1,250.5"\n': "commas (row 2: '1,250.5') and dots", 'file,yield_strength_Pa\na.png,"250,000,000"\n': "Write 250000000",
}  # fmt: skip


@pytest.mark.parametrize("content", FAULTS, ids=lambda content: FAULTS[content][:50])
def test_faults_are_told(tmp_path, content):
    with pytest.raises(UserError) as error:
        read(tmp_path, content)
    message = str(error.value)
    assert FAULTS[content] in message and "labels.csv" in message and "\n" not in message and error.value.remedy


def test_zero_magnesium_is_a_value(tmp_path):
    assert read(tmp_path, "file,magnesium_wt_pct\na.png,0\n")[0]["a.png"] == {"magnesium": 0}


def test_the_file_has_its_name_in_any_case(tmp_path):
    assert labels_file(tmp_path) is None
    for name in ("Results.csv", "~$labels.xlsx", ".labels.csv", "labels.png"):
        (tmp_path / name).write_text("")
    assert labels_file(tmp_path) is None
    for name in ("labels.xlsx", "lables.csv", "label.csv", "labels.csv.txt"):
        (tmp_path / name).write_text("")
        with pytest.raises(UserError, match=f"{name}: resembles labels.csv"):
            labels_file(tmp_path)
        (tmp_path / name).unlink()
    (tmp_path / "Labels.CSV").write_text("")
    assert labels_file(tmp_path) == tmp_path / "Labels.CSV"
    (tmp_path / "LABELS.csv").write_text("")
    if len(list(tmp_path.glob("[lL]*"))) == 3:  # where case makes two files
        with pytest.raises(UserError, match="holds LABELS.csv and Labels.CSV"):
            labels_file(tmp_path)
