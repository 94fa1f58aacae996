"""Labels of micrographs from ``labels.csv``, as spreadsheets and programs write it, in SI units."""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from microprint.errors import UserError
from microprint.microstructures.micrographs import IMAGE_SUFFIXES, OTHER_SUFFIXES

LABELS = {"cooling_rate": "K/s", "magnesium": "wt%", "youngs_modulus": "Pa", "yield_strength": "Pa", "ultimate_strength": "Pa"}
PIXEL = "pixel_size"  # of an image's file: no label, but as a label in a column
COLUMNS = LABELS | {PIXEL: "m"}

# Units by their spelling without spaces, brackets, dots, underscores and signs of powers, in lower case.
_STRESS = {
    "pa": 1.0, "n/m2": 1.0, "kpa": 1e3, "mpa": 1e6, "n/mm2": 1e6, "nmm2": 1e6, "mn/m2": 1e6, "mnm2": 1e6, "gpa": 1e9,
    "kn/mm2": 1e9, "kgf/mm2": 9.80665e6, "psi": 6894.757, "ksi": 6894757.0,
}  # fmt: skip
_SECONDS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
_KELVIN = ("k", "kelvin", "c", "°c", "oc", "degc", "°k")
_RATE = {f"{k}{over}{time}": 1 / s for k in _KELVIN for time, s in _SECONDS.items() for over in ("/", "")}
_RATE |= {f"{k}{time}1": 1 / s for k in _KELVIN for time, s in _SECONDS.items()}  # K s^-1
_MASS = {f"{what}{sign}": 1.0 for what in ("", "wt", "weight", "m", "ma", "mass") for sign in ("%", "pct", "percent")}
_MASS |= {"ppm": 1e-4, "wtppm": 1e-4}
_LENGTH = {"nm": 1e-9, "mm": 1e-3, "m": 1.0} | dict.fromkeys(("um", "μm", "micron", "microns"), 1e-6)
_WIDTHS = {f"{length}/{pixel}": metres for length, metres in _LENGTH.items() for pixel in ("px", "pixel")}
# Without "pixel/µm", which may also be a heading: the pixel's size, in µm.
_DENSITIES = {f"{pixels}/{length}": 1 / metres for length, metres in _LENGTH.items() for pixels in ("px", "pixels")}
_PIXEL = _LENGTH | _WIDTHS | _DENSITIES
UNITS = {label: {"K/s": _RATE, "wt%": _MASS, "Pa": _STRESS, "m": _PIXEL}[unit] for label, unit in COLUMNS.items()}
USUAL = dict(zip(COLUMNS, ("K/s or K/min", "wt%", "GPa", "MPa", "MPa", "um")))

MISSING = {"", "-", "--", "–", "—", "n/a", "#n/a", "n.a.", "na", "nan", "none", "null"}
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".xls", ".xlsx", ".ods")
FILE_COLUMN = ("file", "filename")
DELIMITERS = {"\t": ".", ";": ",", ",": "."}  # with the decimal mark that is usual beside each
REMEDY_COLUMNS = (
    "The columns are 'file' and any of cooling_rate_K_per_s, magnesium_wt_pct, youngs_modulus_GPa, yield_strength_MPa, "
    "ultimate_strength_MPa, pixel_size_um"
)
_QUANTITY = re.compile(
    r"([-+]?(?:\d[\d.,]*|[.,]\d+)(?:e[-+]?\d+)?|[-+]?inf(?:inity)?(?![a-z]))\s*(.*)", re.IGNORECASE | re.DOTALL
)
_PIXEL_NAME = re.compile(
    r"(?:pixel|px)(?:[\s_-]*(?:size|width|spacing)(?![a-z])|(?![a-z]|[\s_-]*(?:/|per(?![a-z]))))(.*)", re.IGNORECASE | re.DOTALL
)
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}([.,]\d{3})+")


class Row(NamedTuple):
    """A row of the file: its number, from 1, and its cells."""

    number: int
    cells: list[str]


class Column(NamedTuple):
    """Where a label is: its column, the unit in its header (None without), and the column of its units (None without)."""

    label: str
    index: int
    unit: str | None
    unit_index: int | None


class Quantity(NamedTuple):
    """A cell of a label: its row, image and label, all that is written in it, its number, and the units said of it."""

    row: int
    image: str
    label: str
    written: str
    number: str
    units: list[str]


def read_labels(
    folder: str | Path, images: Iterable[str | Path], notice: Callable[[str], object] = lambda text: None
) -> dict[str, dict[str, float]]:
    """Labels of the images of a folder and the size of their pixels, from its ``labels.csv``, in the units of `COLUMNS`.

    Parameters
    ----------
    images : all of the folder's; only their names count.
    notice : told, in a sentence each, which columns are left out and which unit is assumed.

    Returns
    -------
    ``{file name: {label: value}}`` of all images; NaN for what the file does not give, and for all without the file.

    Raises
    ------
    UserError
        For a file, column, row or number that is wrong or has two meanings.
    """
    labels = {Path(image).name: dict.fromkeys(COLUMNS, math.nan) for image in images}
    path = labels_file(folder)
    if path is None:
        return labels
    delimiter, header, rows = _table(_text(path), path)
    file_index, columns, ignored = _columns(header.cells, path)
    if ignored:
        notice(f"{path}: left out, as they are no labels: {', '.join(ignored)}")
    rows, units = _split_units(rows, file_index, columns)
    if not rows:
        raise UserError("has a header, but no rows", path, "Give each image a row")
    quantities = _quantities(rows, file_index, columns, units, list(labels), path)
    _refuse_thousands(quantities, delimiter, path)
    for label in ("cooling_rate", "magnesium"):
        if any(q.label == label and not q.units for q in quantities):
            notice(f"{path}: {label} has no unit, and is taken for {LABELS[label]}")
    for quantity in quantities:
        labels[quantity.image][quantity.label] = _value(quantity, path)
    return labels


def labels_file(folder: str | Path) -> Path | None:
    """``labels.csv`` of a folder, in any case; None without. Raises `UserError` for a name that resembles it."""
    files = [path for path in sorted(Path(folder).iterdir()) if path.name[0] not in ".~"]
    named = [path for path in files if path.name.lower() == "labels.csv"]
    exact = [path for path in named if path.name == "labels.csv"] or named
    if len(exact) > 1:
        raise UserError(f"holds {exact[0].name} and {exact[1].name}", folder, "Keep labels.csv alone")
    if exact:
        return exact[0]
    for path in files:
        near = get_close_matches(path.name.lower().split(".")[0], ["labels"], cutoff=0.8)
        if near and path.suffix.lower() in TABLE_SUFFIXES:
            raise UserError("resembles labels.csv, but is not named so", path, "Save it as labels.csv")
    return None


# --- from bytes to cells ----------------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    """Content as text: UTF-16 with its mark, UTF-8, or else Windows-1252."""
    remedy = "Save it as CSV in UTF-8"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", path, remedy) from None
    if content.startswith((b"PK\3\4", b"\xd0\xcf\x11\xe0")):
        raise UserError("is a spreadsheet, not text", path, remedy)
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            raise UserError("holds NUL bytes, so it is no text or damaged", path, remedy)
        return text
    raise UserError("is no text in UTF-8, UTF-16 or Windows-1252", path, remedy)


def _table(text: str, path: Path) -> tuple[str, Row, list[Row]]:
    """Delimiter, header and the rows that are not empty, as long as the header."""
    delimiter = _delimiter(text, path)
    header, *body = _rows(text, delimiter, path)
    width = max(number for number, cell in enumerate(header.cells, 1) if cell)
    for row in body:
        if any(row.cells[width:]):
            what = f"row {row.number} has {len(row.cells)} cells, the header {width}: {delimiter.join(row.cells)!r}"
            raise UserError(what, path, "Quote a cell that holds the delimiter, as a decimal comma")
        row.cells[:] = [*row.cells, *[""] * width][:width]
    return delimiter, Row(header.number, header.cells[:width]), body


def _delimiter(text: str, path: Path) -> str:
    """The delimiter with which the header has a column 'file'."""
    if not text.strip(' "\r\n' + "".join(DELIMITERS)):
        raise UserError("is empty", path, REMEDY_COLUMNS)
    for delimiter in DELIMITERS:
        header = next(_rows(text, delimiter, path, strict=False), None)
        if header and any(_squeezed(cell) in FILE_COLUMN for cell in header.cells):
            return delimiter
    raise UserError(f"has no column 'file', but begins with {text.strip().splitlines()[0][:120]!r}", path, REMEDY_COLUMNS)


def _rows(text: str, delimiter: str, path: Path, strict: bool = True) -> Iterator[Row]:
    """Rows that are not empty, cells stripped; a first line ``sep=;``, meant for Excel, is left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=strict)
    try:
        for number, cells in enumerate(reader, 1):
            row = Row(number, [cell.strip() for cell in cells])
            if any(row.cells) and not row.cells[0].lower().startswith("sep="):
                yield row
    except csv.Error as error:
        raise UserError(f"cannot be read as CSV: {error}, line {reader.line_num}", path, "Mend its quotation marks") from None


# --- columns and units ------------------------------------------------------------------------------------------------


def _squeezed(text: str) -> str:
    """Text without case, spaces and signs: the same for 'Yield strength' and 'yield_strength'."""
    return re.sub(r"[\W_]", "", text.lower())


def _unit(text: str) -> str:
    """A unit as `UNITS` spells it: 'wt.-%' as 'wt%', 'N mm⁻²' as 'nmm2', 'K_per_s' as 'k/s'."""
    text = re.sub(r"(?<![a-z])per(?![a-z])", "/", unicodedata.normalize("NFKC", text).lower())
    return re.sub(r"^in(?=[\s_])|[\s_.,;:−^*·⋅()\[\]{}<>-]", "", text.strip(" \n,;:_-/"))


def _columns(header: list[str], path: Path) -> tuple[int, list[Column], list[str]]:
    """Number of the column 'file', the columns of labels, and the names of those that are none."""
    labels: dict[str, Column] = {}
    files, unit_columns, ignored = [], {}, []
    for index, cell in enumerate(header):
        label, unit = _label(cell)
        if _squeezed(cell) in FILE_COLUMN:
            files.append(index)
        elif label is None:
            _refuse_resembling(cell, path)
            ignored.append(cell or f"column {index + 1}, without a name")
        elif unit in ("unit", "units"):
            unit_columns[label] = index
        elif label in labels:
            raise UserError(f"has {label} twice: {header[labels[label].index]!r} and {cell!r}", path, "Keep one of the columns")
        elif unit and unit not in UNITS[label]:
            raise UserError(f"has a column {cell!r}, whose unit is not known", path, f"Write {label} in {USUAL[label]}")
        else:
            labels[label] = Column(label, index, unit or None, None)
    if len(files) > 1:
        raise UserError(f"has the column {header[files[1]]!r} twice", path, "Keep one of the columns")
    if not labels:
        raise UserError(f"has no column of a label, only {', '.join(header)}", path, REMEDY_COLUMNS)
    return files[0], [column._replace(unit_index=unit_columns.get(label)) for label, column in labels.items()], ignored


def _label(cell: str) -> tuple[str | None, str]:
    """Label and unit of a column's name; no label where it begins with none, and is no unit of pixels."""
    unit = _unit(re.sub(r"^(scale|resolution)(?![a-z])", "", cell.strip(), flags=re.IGNORECASE))
    if unit in _WIDTHS | _DENSITIES:
        return PIXEL, unit
    if match := _PIXEL_NAME.match(cell.strip()):
        return PIXEL, _unit(match[1])
    for label in LABELS:
        name = label.replace("_", r"[\s_-]*").replace("youngs", "young['’]?s")
        if match := re.match(rf"{name}(?![a-z])(.*)", cell.strip(), re.IGNORECASE | re.DOTALL):
            return label, _unit(match[1])
    return None, ""


def _refuse_resembling(cell: str, path: Path) -> None:
    """Raise `UserError` for a name that is nearly, or a part of, that of a label."""
    names = {_squeezed(label): label for label in (*COLUMNS, "file")} | {"pixel": PIXEL}
    words = [word for word in re.split(r"[\s_\-()\[\],;:]+", cell) if word]
    stem = words and _squeezed("".join(words[:-1] if len(words) > 1 and _is_unit(words[-1]) else words))
    near = get_close_matches(stem, names, 1, 0.75) if stem else []
    near = near or [name for name in names if stem and len(stem) > 3 and (stem in name or name in stem) and name != "file"]
    if near:
        remedy = f"Write {names[near[0]]!r}, with the unit behind it, or take the column out"
        raise UserError(f"has a column {cell!r}, which resembles {names[near[0]]!r}", path, remedy)


def _is_unit(text: str) -> bool:
    return any(_unit(text) in units for units in UNITS.values())


def _split_units(rows: list[Row], file_index: int, columns: list[Column]) -> tuple[list[Row], dict[str, str]]:
    """The rows behind a row of units, which names no file and may come first, and these units by label."""
    first = rows[0].cells if rows else []
    units = {column.label: _unit(first[column.index]) for column in columns if first and first[column.index]}
    no_file = bool(first) and first[file_index].lower().strip("[]()") in ("", "-", "unit", "units")
    if no_file and units and all(unit in UNITS[label] for label, unit in units.items()):
        return rows[1:], units
    return rows, {}


# --- rows -------------------------------------------------------------------------------------------------------------


def _quantities(
    rows: list[Row], file_index: int, columns: list[Column], units: dict[str, str], images: list[str], path: Path
) -> list[Quantity]:
    """All cells that hold something, with the image that each is of."""
    quantities, row_of = [], {}
    for number, cells in rows:
        image = _image(cells[file_index], images, number, path)
        if image in row_of:
            raise UserError(f"rows {row_of[image]} and {number} are both of {image}", path, "Keep one of them")
        row_of[image] = number
        for label, index, unit, unit_index in columns:
            if cells[index].lower() not in MISSING:
                beside = cells[unit_index] if unit_index is not None else ""
                written, units_around = cells[index], [unit or "", units.get(label, ""), _unit(beside)]
                quantities.append(_quantity(number, image, label, written, units_around, path))
    return quantities


def _quantity(number: int, image: str, label: str, written: str, units: list[str], path: Path) -> Quantity:
    """What a cell says, with the units around it, empty where there is none."""
    match = _QUANTITY.fullmatch(unicodedata.normalize("NFKC", written).replace("−", "-"))
    if not match:
        raise UserError(f"row {number}: the {label} {written!r} is no number", path, "Leave it empty if unknown")
    said = [unit for unit in (*units, _unit(match[2])) if unit]
    for unit in said:
        if unit not in UNITS[label]:
            what = f"row {number}: the {label} {written!r} is no number, or its unit {unit!r} is not known"
            raise UserError(what, path, f"Write a number in {USUAL[label]}")
    return Quantity(number, image, label, written, match[1], said)


def _image(name: str, images: list[str], number: int, path: Path) -> str:
    """The image that a row names: exactly, or else without folder, case or suffix."""
    if not name:
        raise UserError(f"row {number} names no file", path, "Give the image's name in the column 'file'")
    for form in (_composed, _base, _folded, _stem):
        same = [image for image in images if form(image) == form(name)]
        if len(same) > 1:
            raise UserError(f"row {number}: {name!r} may be {' or '.join(same)}", path, "Write the whole name")
        if same:
            return same[0]
    near = get_close_matches(_folded(name), map(_folded, images), 1)
    remedy = f"Write the name of an image of the folder{f', such as {near[0]}' if near else ''}, or take the row out"
    raise UserError(f"row {number}: the folder has no image {name!r}", path, remedy)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)  # macOS takes accents apart


def _base(name: str) -> str:
    return PurePosixPath(_composed(name).replace("\\", "/")).name


def _folded(name: str) -> str:
    return _base(name).casefold()


def _stem(name: str) -> str:
    suffix = next((suffix for suffix in (*IMAGE_SUFFIXES, *OTHER_SUFFIXES) if _folded(name).endswith(suffix)), "")
    return _folded(name).removesuffix(suffix)


def _refuse_thousands(quantities: list[Quantity], delimiter: str, path: Path) -> None:
    """Raise `UserError` if a comma or a dot may mark decimals or thousands."""
    commas, dots = ([quantity for quantity in quantities if mark in quantity.number] for mark in ",.")
    if commas and dots:
        what = (
            f"numbers have commas (row {commas[0].row}: {commas[0].number!r}) and dots (row {dots[0].row}: {dots[0].number!r})"
        )
        raise UserError(what, path, "Mark decimals alike everywhere, and thousands not at all")
    usual, marked = DELIMITERS[delimiter], commas or dots
    thousands = [quantity for quantity in marked if _THOUSANDS.fullmatch(quantity.number)]
    # A comma may always have been a thousand's; a dot beside semicolons only where all of them may.
    if thousands and usual not in thousands[0].number and (commas or len(thousands) == len(marked)):
        number = thousands[0].number
        remedy = f"Write {re.sub('[.,]', '', number)}, or mark decimals by {usual!r}"
        what = f"row {thousands[0].row}: the {thousands[0].label} {number!r} may be a thousand or have decimals"
        raise UserError(what, path, remedy)


def _value(quantity: Quantity, path: Path) -> float:
    """Value in the unit of `COLUMNS`."""
    label, what = quantity.label, f"row {quantity.row}: the {quantity.label} {quantity.written!r}"
    factors = {UNITS[label][unit] for unit in quantity.units}
    if not factors and COLUMNS[label] in ("Pa", "m"):
        raise UserError(f"{what} has no unit", path, f"Name the column {label}_{USUAL[label]}, if that is its unit")
    if len(factors) > 1:
        raise UserError(f"{what} has the units {' and '.join(dict.fromkeys(quantity.units))}", path, "Keep one of them")
    try:
        value = float(quantity.number.replace(",", ".")) * (factors.pop() if factors else 1)
    except ValueError:
        raise UserError(f"{what} is no number", path, "Mark decimals once, and thousands not at all") from None
    faults = {
        "infinite": math.isinf(value),
        "negative": value < 0,
        "zero": value == 0 and label != "magnesium",
        "more than 100 %": value > 100 and label == "magnesium",
    }
    for fault in (name for name, is_so in faults.items() if is_so):
        raise UserError(f"{what} is {fault}", path, "Leave it empty if unknown")
    return 1 / value if _DENSITIES.keys() & set(quantity.units) else value
