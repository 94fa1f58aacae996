"""Walk between two volume elements of the latent space: with sliders where a person looks on, else as one picture."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from microprint.analysis.latent import PATHS, degrees_between
from microprint.errors import UserError
from microprint.machine import watched
from microprint.plots import show
from microprint.plots.latent import orientation_slice
from microprint.plots.microstructure import colour_key

End = tuple[str, int]  # name of a set, number in it
STEPS = 101  # on a path, ends included


class Explorer:
    """Volume elements decoded along paths between known fingerprints z, (N, d) of each set.

    `decode` gives the orientations (B, n, n, n, 4) of fingerprints (B, d), as `Fingerprint.decode` does.
    """

    def __init__(self, decode: Callable[[Tensor], Tensor], z: Mapping[str, Tensor], symmetry: str) -> None:
        self.decode, self.z, self.symmetry = decode, z, symmetry

    def picture(self, start: End, end: End, share: float = 0.5, path: str = "spherical", height: float = 0.5) -> Figure:
        """The section z = height of the decoded start, of what lies on the path, "linear" or "spherical", and of the end.

        The height is a share of the volume element's edge, `share` one of the way from start to end. Raises `UserError` if
        there is no such volume element or path.
        """
        ends = self._fingerprint(start), self._fingerprint(end)
        if path not in PATHS:
            raise UserError(f"no path is called {path!r}", "explorer", f"Use one of {', '.join(PATHS)}")
        between = PATHS[path](*ends, STEPS)[round(share * (STEPS - 1))]
        fields = self.decode(torch.stack([ends[0], between, ends[1]]))
        level = min(int(height * fields.shape[3]), fields.shape[3] - 1)
        away = [degrees_between(fields[1:2], fields[end], self.symmetry).item() for end in (0, 2)]
        # Not from pyplot, which would keep every picture of a slide.
        figure = Figure(figsize=(6.6, 2.2), layout="constrained")
        axes = figure.subplots(1, 4, width_ratios=(1, 1, 1, 0.8))
        titles = (f"{start[0]} {start[1]}", f"{path}, {share:.2f}", f"{end[0]} {end[1]}")
        for ax, field, title in zip(axes, fields, titles, strict=False):
            orientation_slice(ax, field[:, :, level : level + 1], self.symmetry)
            ax.set_title(title)
        axes[1].set_xlabel(f"{away[0]:.0f}° from the start, {away[1]:.0f}° from the end", fontsize=7)
        colour_key(axes[3], self.symmetry)
        return figure

    def widget(self, start: End, end: End):
        """The same with choices and sliders (ipywidgets)."""
        import ipywidgets as widgets

        names = list(self.z)
        controls = {
            "from_set": widgets.Dropdown(options=names, value=start[0], description="from"),
            "from_number": widgets.BoundedIntText(start[1], min=0, max=len(self.z[start[0]]) - 1, description="number"),
            "to_set": widgets.Dropdown(options=names, value=end[0], description="to"),
            "to_number": widgets.BoundedIntText(end[1], min=0, max=len(self.z[end[0]]) - 1, description="number"),
            "path": widgets.Dropdown(options=list(PATHS), value="spherical", description="path"),
            "share": widgets.FloatSlider(0.5, min=0, max=1, step=1 / (STEPS - 1), description="way"),
            "height": widgets.FloatSlider(0.5, min=0, max=1, step=0.05, description="section z"),
        }

        def picture() -> Figure:
            chosen = {name: control.value for name, control in controls.items()}
            for side in ("from", "to"):
                controls[f"{side}_number"].max = len(self.z[chosen[f"{side}_set"]]) - 1
            ends = [(chosen[f"{side}_set"], controls[f"{side}_number"].value) for side in ("from", "to")]
            return self.picture(*ends, chosen["share"], chosen["path"], chosen["height"])

        boxes = list(controls.values())
        rows = [widgets.HBox(boxes[:2]), widgets.HBox(boxes[2:4]), widgets.HBox(boxes[4:])]
        return widgets.VBox([*rows, redrawn(picture, boxes)])

    def show(self, start: End, end: End, caption: str):
        """The widget where a person looks on and ipywidgets is there; else the picture half way, with its caption."""
        widget = live(lambda: self.widget(start, end))
        return widget or show(self.picture(start, end), caption)

    def _fingerprint(self, end: End) -> Tensor:
        name, number = end
        if name not in self.z or not 0 <= number < len(self.z[name]):
            sizes = ", ".join(f"{known} 0 to {len(z) - 1}" for known, z in self.z.items())
            raise UserError(f"there is no volume element {name} {number}", "explorer", f"Use one of {sizes}")
        return self.z[name][number]


def live(widget: Callable[[], Any]) -> Any:
    """What a function makes with ipywidgets, where a person looks on and they are installed; else None."""
    if watched():
        try:
            return widget()
        except ModuleNotFoundError:
            pass
    return None


def redrawn(picture: Callable[[], Figure], controls: Iterable[Any]):
    """An image (ipywidgets) of a picture, drawn anew whenever one of the controls is moved."""
    import ipywidgets as widgets

    image = widgets.Image(format="png")

    def update(_=None) -> None:
        png = io.BytesIO()
        picture().savefig(png, format="png")
        image.value = png.getvalue()

    update()
    for control in controls:
        control.observe(update, "value")
    return image


def slider(picture: Callable[[float], Figure], low: float, high: float, label: str):
    """A picture of a number between two ends: with a slider where a person looks on, else the picture of their mean.

    A plain figure comes back where nobody looks on, or ipywidgets is not installed.
    """
    middle = (low + high) / 2

    def moving():
        import ipywidgets as widgets

        control = widgets.FloatSlider(middle, min=low, max=high, description=label, continuous_update=False)
        return widgets.interactive(picture, value=control)

    if widget := live(moving):
        return widget
    figure = picture(middle)
    plt.close(figure)  # else a notebook shows it twice, as a picture that is open and as what the cell returns
    return figure
