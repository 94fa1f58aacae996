"""The labelled composites as one documented file, to be used without this package: a benchmark of its own."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from microprint.steps import Job, step
from microprint.systems.composite_laws import two_morphologies
from microprint.systems.stiffness import POISSONS_RATIO, YOUNGS_MODULI

ABOUT = """Two-phase composites and their effective stiffness, after Sardeshmukh et al. 2024 (arXiv:2402.17806), section 4:
uniform noise, filtered by an anisotropic Gaussian on a periodic grid and cut at a level. Both phases are isotropic; the
stiffness is that of the periodic cell, by a spectral solver on the rotated grid."""
# What each array is, with its unit.
ARRAYS = {
    "phase": "(N, n, n, n) uint8, indexed [x, y, z]; 1 is the hard phase",
    "stiffness": "(N, 6, 6) effective stiffness in Pa, Voigt: xx, yy, zz, yz, xz, xy; nan where it was not simulated",
    "widths": "(N, 3) standard deviations of the filter along x, y, z in voxels; nan where it is not known",
    "volume_fraction": "(N,) share of the hard phase",
    "part": "(N,) 0 training, 1 validation, 2 test",
    "two_morphologies": "(N,) whether it is a fibre along x or a plate normal to x: two families, one range of C11",
}


@step(inputs=("composites.h5", "stiffness.h5", "splits.json"), outputs=("composite_set.h5",))
def write_composite_set(job: Job) -> None:
    """Write the composites that have a label to ``composite_set.h5``: arrays as `ARRAYS` says, each with its SHA-256."""
    with job.open("composites.h5") as composites, job.open("stiffness.h5", "stiffness") as labels:
        kept = labels["converged"][:]
        arrays = {name: composites[name][:][kept] for name in ("phase", "widths", "volume_fraction")}
        arrays["stiffness"] = labels["stiffness"][:][kept]
    part = np.zeros(len(kept), np.uint8)
    for number, name in enumerate(("train", "validation", "test")):
        part[job.load_json("splits.json")["composites"][name]] = number
    arrays |= {"part": part[kept], "two_morphologies": two_morphologies(torch.from_numpy(arrays["widths"])).numpy()}
    with job.create("composite_set.h5", kind="composite_set") as file:
        file.attrs.update(about=ABOUT, youngs_moduli_pa=YOUNGS_MODULI, poissons_ratio=POISSONS_RATIO)
        for name, text in ARRAYS.items():
            data = file.create_dataset(name, data=arrays[name], compression="gzip")
            data.attrs.update(about=text, sha256=hashlib.sha256(np.ascontiguousarray(arrays[name]).tobytes()).hexdigest())
