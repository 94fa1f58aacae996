"""Figures in one style: see the modules of this folder for each subject."""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

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


def show(figure: Figure, caption: str) -> None:
    """Show a figure with a caption below it, which says what is seen, in which units, and is the picture's alternative text.

    The figure is closed: the cell does not show it again.
    """
    from IPython.display import Markdown, display

    png = io.BytesIO()
    figure.savefig(png, format="png", bbox_inches="tight")
    plt.close(figure)
    alternative = {"image/png": {"alt": caption.replace("$", "")}}
    picture = {"image/png": base64.b64encode(png.getvalue()).decode(), "text/plain": caption}
    display(picture, metadata=alternative, raw=True)
    display(Markdown(f"*{caption}*"))


def table(rows: Sequence[Sequence], columns: Sequence[str], caption: str = ""):
    """Table for a notebook: numbers to three significant digits, None and what is no number as a dash; a caption above it."""
    from IPython.display import Markdown

    if any(len(row) != len(columns) for row in rows):
        raise ValueError("every row needs one entry a column")
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *rows]
    text = "\n".join("| " + " | ".join(_entry(value) for value in line) + " |" for line in lines)
    return Markdown(f"{caption}\n\n{text}" if caption else text)


def _entry(value) -> str:
    if isinstance(value, str | int):
        return str(value).replace("|", "\\|")
    return f"{value:.3g}" if value is not None and math.isfinite(value) else "–"
