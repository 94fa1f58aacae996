"""A single crystal in the hand: its stress-strain curve by load and orientation, with sliders or as one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from torch import Tensor

from microprint import orientations
from microprint.analysis.slip import shear_by_family
from microprint.errors import UserError
from microprint.mechanics.load import LoadStep, driven_component, standard_load
from microprint.mechanics.materials import Material
from microprint.mechanics.simulate import CPResult, simulate_cp
from microprint.plots import PALETTE, show
from microprint.plots.explorer import live, redrawn

LOADS = ("tension", "compression", "shear")  # along x
TILTS_DEG = (0, 30, 45, 60, 90)  # of the c axis from the load, in the curves for comparison
LABEL_SHARE = 0.06  # of the greatest stress, between the labels of two curves
Angles = Sequence[float]  # Bunge's phi1, Phi, phi2 in degrees


def tilted(angle_deg: float) -> tuple[float, float, float]:
    """Bunge angles in degrees of a crystal whose z axis (c, in a hexagonal one) lies so far from x, towards z."""
    return 90.0, 90.0 - angle_deg, 0.0


def pull(
    material: Material, angles_deg: Sequence[Angles], load: str | Sequence[LoadStep] = "tension", strain: float = 0.01
) -> CPResult:
    """Response of single crystals of Bunge angles (N, 3) in degrees to a load along x that `standard_load` names, or to steps.

    A crystal alone is a cell of one voxel: its law and the mixed boundary conditions, no neighbours. Raises `UserError` for
    what `standard_load` and `orientations.from_euler` refuse.
    """
    q = orientations.from_euler(torch.deg2rad(torch.as_tensor(angles_deg, dtype=torch.float64)))
    steps = standard_load(load, strain=strain) if isinstance(load, str) else load
    return simulate_cp(torch.zeros(len(q), 1, 1, 1, dtype=torch.int64), q[:, None], material, steps)


class CrystalExplorer:
    """Stress-strain curves of a material's single crystal, as fast as a hand turns it."""

    def __init__(self, material: Material) -> None:
        self.material = material
        self._compared: dict[str, CPResult] = {}

    def picture(self, load: str = "tension", angles_deg: Angles = (0.0, 0.0, 0.0)) -> Figure:
        """The crystal among the sample's axes, its curve among those of other tilts, and which systems shear.

        Raises `UserError` for a load that is none of `LOADS`.
        """
        if load not in LOADS:
            raise UserError(f"no load is called {load!r}", "explorer", f"Use one of {', '.join(LOADS)}")
        result = pull(self.material, [angles_deg], load)
        if load not in self._compared:
            self._compared[load] = pull(self.material, [tilted(angle) for angle in TILTS_DEG], load)
        # Not from pyplot, which would keep every picture of a slide. A place for everything is quicker than one that is sought.
        # As narrow as a telephone.
        figure = Figure(figsize=(3.0, 4.5), layout="none")
        left, right, below = (0.0, 0.67, 0.37, 0.27), (0.71, 0.7, 0.26, 0.25), (0.24, 0.1, 0.74, 0.45)
        matrix = orientations.to_matrix(orientations.from_euler(torch.deg2rad(torch.tensor(angles_deg).double())))
        _crystal(figure.add_axes(left, projection="3d"), matrix.T.numpy(), self.material)
        self._curves(figure.add_axes(below), load, result, matrix)
        ax = figure.add_axes(right)
        others, shear = self._compared[load], shear_by_family(self.material, result.gamma_sl[0, -1], result.gamma_tw[0, -1])
        names = [name.split(",")[0].replace("pyramidal", "pyram.").replace("compression", "compr.") for name in shear]
        ax.barh(names, [100 * float(value) for value in shear.values()], color=PALETTE["ours"])
        compared = shear_by_family(self.material, others.gamma_sl[:, -1], others.gamma_tw[:, -1]).values()
        most = 100 * max(float(values.max()) for values in (*compared, *shear.values()))
        ax.set(xlabel="shear (%)", title="who shears", xlim=(0, 1.05 * most))
        ax.tick_params(axis="y", labelsize=8)
        ax.invert_yaxis()
        return figure

    def _curves(self, ax, load: str, result: CPResult, matrix: Tensor) -> None:
        i, j = driven_component(standard_load(load))
        others = self._compared[load]
        strains, curves = [_strain(F, i, j) for F in others.F], others.P[:, :, i, j] / 1e6
        ends = [int(strain.abs().argmax()) for strain in strains]
        heights = _apart([float(curve[end]) for curve, end in zip(curves, ends)], LABEL_SHARE * float(curves.abs().max()))
        for strain, curve, end, height, angle in zip(strains, curves, ends, heights, TILTS_DEG):
            ax.plot(strain, curve, color=PALETTE["constant"], lw=0.8)
            side = "left" if strain[end] > 0 else "right"  # of the point, beyond the end of the curve
            ax.annotate(f" {angle}° ", (float(strain[end]), height), fontsize=8, va="center", ha=side)
        ax.margins(x=0.25)  # room for the labels
        ax.plot(_strain(result.F[0], i, j), result.P[0, :, i, j] / 1e6, color=PALETTE["paper"], lw=2)
        away = math.degrees(math.acos(min(1.0, abs(float(matrix[2, 0])))))
        axis = "c" if self.material.lattice == "hP" else "[001]"
        ax.set(
            title=f"{load}, {axis} at {away:.0f}° to x",
            xlabel="strain (%)",
            ylabel=f"stress $P_{{{'xyz'[i]}{'xyz'[j]}}}$ (MPa)",
        )

    def widget(self, load: str, angles_deg: Angles):
        """The same with a choice and sliders (ipywidgets)."""
        import ipywidgets as widgets

        ends = zip(("phi1", "Phi", "phi2"), angles_deg, (360, 180, 360))
        options = {"min": 0, "step": 5, "continuous_update": False}
        slide = [widgets.FloatSlider(value, max=end, description=f"{name} (°)", **options) for name, value, end in ends]
        choice = widgets.Dropdown(options=LOADS, value=load, description="load")
        image = redrawn(lambda: self.picture(choice.value, [control.value for control in slide]), (choice, *slide))
        return widgets.VBox([choice, widgets.HBox(slide), image])

    def show(self, load: str, angles_deg: Angles, caption: str) -> None:
        """Show the widget where a person looks on and ipywidgets is there, else the picture with its caption."""
        if widget := live(lambda: self.widget(load, angles_deg)):
            from IPython.display import display

            display(widget)
        else:
            show(self.picture(load, angles_deg), caption)


def _apart(heights: Sequence[float], distance: float) -> list[float]:
    """The heights, in their order, moved up where one is nearer than a distance to the next below it."""
    moved = list(heights)
    order = sorted(range(len(moved)), key=moved.__getitem__)
    for below, above in pairwise(order):
        moved[above] = max(moved[above], moved[below] + distance)
    return moved


def _strain(F: Tensor, i: int, j: int) -> Tensor:
    """A component of the engineering strain (T,), per cent, of deformation gradients (T, 3, 3)."""
    return 100 * (F[:, i, j] - float(i == j))


def _crystal(ax: Axes3D, to_sample: np.ndarray, material: Material) -> None:
    """A hexagonal prism, or a cube, turned by a matrix from crystal to sample axes, and the load along x."""
    hexagonal = material.lattice == "hP"
    corners = 6 if hexagonal else 4
    angle = 2 * math.pi * (np.arange(corners) + (0.0 if hexagonal else 0.5)) / corners
    half = 0.5 * material.c_over_a if hexagonal else 0.5**0.5
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(corners)], -1)
    top, bottom = ((ring + [0, 0, side * half]) @ to_sample.T for side in (1, -1))
    sides = [np.stack([top[k - 1], top[k], bottom[k], bottom[k - 1]]) for k in range(corners)]
    colours = [PALETTE["light"]] * corners + [PALETTE["coded"]] * 2
    ax.add_collection3d(Poly3DCollection([*sides, top, bottom], facecolors=colours, edgecolor="k", alpha=0.85, lw=0.8))
    for axis, name in zip(np.eye(3), "xyz"):
        reach = 1.5 if name == "z" else 1.9  # beyond the crystal, and below the title
        ax.plot(*zip(-reach * axis, reach * axis), color=PALETTE["reference"], lw=2.5 if name == "x" else 0.6)
        ax.text(*((reach + 0.25) * axis), name, ha="center", va="center")
    ax.set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), zlim=(-1.2, 1.2), box_aspect=(1, 1, 1), title="load along x")
    ax.view_init(elev=22, azim=-48)
    ax.set_axis_off()


def over_tilt(stress: dict[str, np.ndarray], angle_deg: np.ndarray) -> Figure:
    """Stress at the end (T,), MPa, of each load by its name, over the tilt (T,) of the c axis from the load."""
    figure, ax = plt.subplots(figsize=(6.4, 3.0))
    for (name, values), marker in zip(stress.items(), "osD"):
        ax.plot(angle_deg, values, marker=marker, ms=4, label=name)
    ax.set(xlabel="angle between c axis and load (°)", ylabel="size of the stress at the end (MPa)", ylim=(0, None))
    ax.legend()
    return figure
