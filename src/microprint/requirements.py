"""What a parameter file would need, said before anything is run: data, bytes, simulations and their time, networks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from microprint.machine import duration
from microprint.mechanics.datasets import SETS
from microprint.microstructures.cast_iron import patch_corners
from microprint.microstructures.datasets import polycrystal_sets
from microprint.microstructures.polycrystal import MORPHOLOGIES
from microprint.networks.vae_regression import VAERegression
from microprint.params.relations import CASTINGS
from microprint.params.sections import Params
from microprint.systems.fingerprint import Fingerprint, configuration
from microprint.systems.stiffness import CASES

# Bytes that training with Adam holds for each parameter: weight, gradient, two moments, all in float32.
TRAINING_BYTES = 16
# Seconds that two cores take, one chunk each, start-up aside: measured for magnesium and the defaults of `cp` at 8, 16 and
# 32 voxels an edge, for those of `elasticity` at 27 and 51. Other loads, materials and machines have times of their own.
CP_SECONDS = 8e-6  # a voxel and increment
ELASTIC_SECONDS = 1.5e-6  # a voxel and load case


def requirements(params: Params) -> Iterator[tuple[str, str]]:
    """Rows (what, how much) of a parameter file's data, simulations and networks."""
    polycrystals, composites, micrographs, cp = params.polycrystals, params.composites, params.micrographs, params.cp
    sets = polycrystal_sets(polycrystals)
    count, edge = sum(s.count for s in sets), polycrystals.edge
    yield "polycrystal volume elements (01)", f"{count:,} of {edge}³, {size(2 * count * edge**3)} before compression"
    count, edge = composites.count, composites.edge
    yield "composites (01)", f"{count:,} of {edge}³, {size(count * edge**3)} before compression"
    corners = patch_corners((micrographs.rows, micrographs.columns), micrographs.edge, micrographs.stride)
    count, edge = CASTINGS * len(corners), micrographs.edge
    yield "micrograph patches (01)", f"{count:,} of {edge}², {size(4 * count * edge**2)}"

    count = sum(s.count for s in sets if s.symmetry == "hexagonal" and s.name in SETS)
    updates = count * cp.edge**3 * cp.increments
    work = f"{count:,} of {cp.edge}³ in {cp.increments} increments: {updates:.2g} voxel increments"
    yield "crystal-plasticity simulations (05)", f"{work}, about {duration(CP_SECONDS * updates)} on two cores"
    cases, edge = len(CASES[params.elasticity.cases]) * composites.count, composites.edge
    time = duration(ELASTIC_SECONDS * cases * edge**3)
    yield "elastic load cases (07)", f"{cases:,} on {edge}³ voxels, about {time} on two cores"

    s, networks = params.vae_regression, {}
    with torch.device("meta"):  # tensors on it have shapes and no bytes
        for variant, symmetry in (("paper", "cubic"), ("ours", "cubic"), ("ours", "hexagonal")):
            config = configuration(params.vae, variant, symmetry, polycrystals.edge, MORPHOLOGIES["equiaxed"].grains)
            networks[f"fingerprint, {variant}, {symmetry} (03)"] = Fingerprint.build(config).network
        sizes = {"components": s.components, "latent_dim": s.latent_dim, "width": s.width, "hidden": s.hidden}
        model = VAERegression(edge=composites.edge, properties=len(s.properties), prior="mixture", **sizes)
        networks["VAE-regression (07)"] = model
    yield from ((name, weight(network)) for name, network in networks.items())


def weight(network: nn.Module) -> str:
    """Number of a network's parameters and the memory that training them takes, activations aside."""
    count = sum(p.numel() for p in network.parameters())
    return f"{count:,} parameters, {size(TRAINING_BYTES * count)} to train"


def size(count: float) -> str:
    """Bytes in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"
