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
from microprint.params import Params
from microprint.params.relations import CASTINGS
from microprint.systems.fingerprint import Fingerprint, configuration
from microprint.systems.stiffness import CASES

# Bytes that training with Adam holds for each parameter: weight, gradient, two moments, all in float32.
TRAINING_BYTES = 16
# Seconds that two cores take, one chunk each, start-up aside: measured for magnesium and the defaults of `cp` at 8, 16 and
# 32 voxels an edge, for those of `elasticity` at 27 and 51. Other loads, materials and machines have times of their own.
CP_SECONDS = 8e-6  # a voxel and increment
ELASTIC_SECONDS = 1.5e-6  # a voxel and load case


def requirements(params: Params) -> list[tuple[str, str]]:
    """Rows (what, how much) of a parameter file's data, simulations and networks."""
    return [*_data(params), *_simulations(params), *_networks(params)]


def _data(params: Params) -> Iterator[tuple[str, str]]:
    elements = sum(s.count for s in polycrystal_sets(params.polycrystals))
    edge = params.polycrystals.edge
    yield "polycrystal volume elements (01)", f"{elements:,} of {edge}³, {size(2 * elements * edge**3)} before compression"
    count, edge = params.composites.count, params.composites.edge
    yield "composites (01)", f"{count:,} of {edge}³, {size(count * edge**3)} before compression"
    m = params.micrographs
    patches = CASTINGS * len(patch_corners((m.rows, m.columns), m.edge, m.stride))
    yield "micrograph patches (01)", f"{patches:,} of {m.edge}², {size(4 * patches * m.edge**2)}"


def _simulations(params: Params) -> Iterator[tuple[str, str]]:
    cp = params.cp
    sets = {s.name: s.count for s in polycrystal_sets(params.polycrystals) if s.symmetry == "hexagonal"}
    elements = sum(sets[name] for name in SETS)
    updates = elements * cp.edge**3 * cp.increments
    time = f"about {duration(CP_SECONDS * updates)} on two cores"
    yield (
        "crystal-plasticity simulations (05)",
        (f"{elements:,} of {cp.edge}³ in {cp.increments} increments: {updates:.2g} voxel increments, {time}"),
    )
    cases, edge = len(CASES[params.elasticity.cases]) * params.composites.count, params.composites.edge
    time = f"about {duration(ELASTIC_SECONDS * cases * edge**3)} on two cores"
    yield "elastic load cases (07)", f"{cases:,} on {edge}³ voxels, {time}"


def _networks(params: Params) -> Iterator[tuple[str, str]]:
    # Tensors on the meta device have shapes and no bytes.
    with torch.device("meta"):
        for variant, symmetry in (("paper", "cubic"), ("ours", "cubic"), ("ours", "hexagonal")):
            config = configuration(params.vae, variant, symmetry, params.polycrystals.edge, MORPHOLOGIES["equiaxed"].grains)
            yield f"fingerprint, {variant}, {symmetry} (03)", weight(Fingerprint.build(config).network)
        s = params.vae_regression
        model = VAERegression(
            edge=params.composites.edge,
            properties=len(s.properties),
            prior="mixture",
            components=s.components,
            latent_dim=s.latent_dim,
            width=s.width,
            hidden=s.hidden,
        )
        yield "VAE-regression (07)", weight(model)


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
