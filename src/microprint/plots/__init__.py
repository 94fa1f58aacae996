"""Figures in one style: see the modules of this folder for each subject."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import math
import os
import re
from collections.abc import Sequence
from string import Template

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito's colours, which people with any colour vision can tell apart.
PALETTE = {
    "ours": "#0072B2",
    "paper": "#D55E00",
    "coded": "#E69F00",
    "linear": "#009E73",
    "constant": "#7F7F7F",
    "reference": "#000000",
    "accent": "#CC79A7",
    "light": "#56B4E9",
    "other": "#6A51A3",
}
# The attribute data-lm-suppress-shortcuts, known to JupyterLab, leaves the arrow keys to the slider.
EXPONENT = re.compile(r"(?<=\d)e(?=[-+]\d)")  # the letter of a number
FRAMES = Template("""\
<div class="frames" id="$name">
<img src="data:image/png;base64,$picture" alt="$alternative" style="max-width: 100%">
<div><input type="range" min="0" max="$last" value="$middle" aria-label="frame" aria-valuetext="$label"
data-lm-suppress-shortcuts="true" style="width: 30em; max-width: 100%">
<output>$label</output></div>
<script>{
const frames = document.getElementById("$name"), pictures = $pictures, labels = $labels;
const slider = frames.querySelector("input");
slider.addEventListener("input", () => {
  const label = labels[slider.value];
  frames.querySelector("img").src = "data:image/png;base64," + pictures[slider.value];
  frames.querySelector("output").textContent = label;
  slider.setAttribute("aria-valuetext", label);
});
}</script>
</div>""")


def style() -> None:
    """Set the one figure style of the study; called at the top of every notebook."""
    # Where it finds no such variable damask switches matplotlib, on import, to a backend that shows nothing in a notebook.
    os.environ.setdefault("DISPLAY", "")
    mpl.rcParams.update(
        {
            "figure.dpi": 96,
            "savefig.dpi": 110,
            "figure.constrained_layout.use": True,
            "figure.figsize": (7.0, 3.2),
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.titleweight": "bold",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "grid.linewidth": 0.6,
            "lines.linewidth": 1.5,
            "legend.frameon": False,
            "image.interpolation": "nearest",
            "image.cmap": "viridis",
            "axes.prop_cycle": mpl.cycler(color=list(PALETTE.values())),
        }
    )


def panels(count: int, columns: int, width: float, height: float, **options) -> tuple[Figure, np.ndarray]:
    """Figure with `count` panels of a width and height (in), row by row; its axes (rows, columns), the rest of them blank."""
    rows = -(-count // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False, **options)
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    return figure, axes


def show(figure: Figure, caption: str) -> None:
    """Show a figure with a caption below it, which says what is seen, in which units, and is the picture's alternative text.

    The figure is closed: the cell does not show it again.
    """
    _display({"image/png": _png(figure, bbox_inches="tight")}, caption)


def frames(figures: Sequence[Figure], labels: Sequence[str], caption: str) -> None:
    """Show figures of one size as frames that a slider turns over, each with its label, and one caption below them all.

    It works offline and without a kernel, by keys too. Where scripts are not run the frame in the middle stands still. The
    figures are closed.
    """
    if not figures or len(figures) != len(labels):
        raise ValueError(f"{len(figures)} figures have {len(labels)} labels")
    pictures, middle = [_png(figure) for figure in figures], len(figures) // 2  # uncropped, so that frames have one size
    values = {
        "name": "frames-" + hashlib.sha256("".join([*pictures, *labels]).encode()).hexdigest()[:12],
        "picture": pictures[middle],
        "last": len(figures) - 1,
        "middle": middle,
        "label": html.escape(labels[middle]),
        "alternative": html.escape(_plain(caption)),
        "pictures": json.dumps(pictures),
        "labels": json.dumps(list(labels)).replace("<", "\\u003c"),  # which could end the script
    }
    _display({"text/html": FRAMES.substitute(values), "image/png": pictures[middle]}, caption)


def _png(figure: Figure, **options) -> str:
    """A figure as a picture in base 64; it is closed."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", **options)
    plt.close(figure)
    return base64.b64encode(_compact(drawn)).decode()


def _compact(picture: io.BytesIO) -> bytes:
    """The same opaque picture in fewer bytes: micrographs and their axes are grey, of which one channel tells all."""
    image = Image.open(picture).convert("RGB")
    red, green, blue = image.split()
    compact = io.BytesIO()
    (red if red.tobytes() == green.tobytes() == blue.tobytes() else image).save(compact, "PNG", optimize=True)
    return compact.getvalue()


def _display(picture: dict[str, str], caption: str) -> None:
    from IPython.display import Markdown, display

    display(picture | {"text/plain": caption}, metadata={"image/png": {"alt": _plain(caption)}}, raw=True)
    display(Markdown(f"*{_without_tags(caption)}*"))


def _plain(caption: str) -> str:
    return caption.replace("$", "")


def table(rows: Sequence[Sequence], columns: Sequence[str], caption: str = ""):
    """Table for a notebook, a caption above it; None and what is no number are a dash. Columns of words are set left.

    The numbers of a column have the same decimals: as many as the least needs for three digits and their differences for two,
    but four digits in the largest at most. What that leaves with a single digit would hide, so such a column has numbers of
    three digits each, whole from 1000 on. What is less than the largest's fifth digit is said to be so.
    """
    from IPython.display import Markdown

    if any(len(row) != len(columns) for row in rows):
        raise ValueError("every row needs one entry a column")
    values = list(zip(*rows)) or [()] * len(columns)
    sides = ["---", *("---" if _are_words(column) else "---:" for column in values[1:])]
    lines = [map(_text, columns), sides, *zip(*map(_column, values))]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return Markdown(f"{_without_tags(caption)}\n\n{text}" if caption else text)


def _are_words(values: Sequence) -> bool:
    texts = [value for value in values if value is not None]
    return bool(texts) and all(isinstance(text, str) and any(map(str.isalpha, EXPONENT.sub("", text))) for text in texts)


def _column(values: Sequence) -> list[str]:
    numbers = [float(value) for value in values if _is_number(value) and value]
    least = _digit(max(map(abs, numbers)), 5) if numbers else 0.0
    decimals = _decimals([number for number in numbers if abs(number) >= least]) if numbers else None
    return [_number(value, decimals, least) if _is_number(value) else _text(value) for value in values]


def _is_number(value) -> bool:
    return value is not None and not isinstance(value, str | int) and math.isfinite(value)


def _digit(number: float, count: int) -> float:
    """What the last of so many digits of a number counts: of 40.6 the fifth counts 0.001."""
    return 10.0 ** (math.floor(math.log10(number)) + 1 - count)


def _decimals(numbers: Sequence[float]) -> int | None:
    """Decimals of a column of numbers that are not zero; None where each has digits of its own."""
    sizes = [abs(number) for number in numbers]
    least, most, between = min(sizes), max(sizes), max(numbers) - min(numbers)
    if least < 1e-4 or most >= 1e6:
        return None
    finest = max(_digit(most, 4), min(_digit(least, 3), _digit(between, 2) if between else math.inf))
    if finest > _digit(least, 2):
        return None
    decimals = max(0, -round(math.log10(finest)))
    while decimals and all(f"{number:.{decimals}f}".endswith("0") for number in numbers):
        decimals -= 1
    return decimals


def _number(value: float, decimals: int | None, least: float) -> str:
    if 0 < abs(value) < least:
        return f"{'> -' if value < 0 else '< '}{least:g}"
    if decimals is not None:
        return f"{value:.{decimals}f}"
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e6 or not value else f"{value:#.3g}".rstrip(".")


def _text(value) -> str:
    return _without_tags(str(value).replace("|", "\\|")) if isinstance(value, str | int) else "–"


def _without_tags(text: str) -> str:
    """Markdown in which what looks like a tag of HTML, as the slip direction <a>, is text."""
    return re.sub(r"<(?=[a-zA-Z/!?])", r"\\<", text)
