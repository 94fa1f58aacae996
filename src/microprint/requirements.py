"""What a parameter file would need, said before anything is run: data, bytes, simulations and their time, networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch
from torch import nn

from microprint.machine import duration
from microprint.mechanics.campaign import PATHS, campaign_groups
from microprint.mechanics.datasets import LEAST
from microprint.microstructures.cast_iron import patch_corners
from microprint.microstructures.datasets import COMPOSITE_SUFFIXES
from microprint.microstructures.micrographs import IMAGE_SUFFIXES
from microprint.microstructures.polycrystal import MORPHOLOGIES
from microprint.microstructures.readers import list_files, read_composite
from microprint.microstructures.sets import set_edges, set_sizes
from microprint.networks.texture_drawing import TextureDrawing
from microprint.networks.texture_law import tile_edge
from microprint.networks.texture_vae import TextureVAE
from microprint.networks.vae_regression import VAERegression
from microprint.networks.vgg import CHANNELS, STYLE_LAYERS
from microprint.params.relations import CASTINGS, SYNTHETIC
from microprint.params.sections import CompositeSettings, Params
from microprint.systems.fingerprint import Fingerprint, configuration, trainable
from microprint.systems.stiffness import CASES

# Bytes that training with Adam holds for each parameter: weight, gradient, two moments, all in float32.
TRAINING_BYTES = 16
# Seconds that two cores take, one chunk each, start-up aside: measured for magnesium and the defaults of `cp` at 8, 16 and
# 32 voxels an edge, for those of `elasticity` at 27 and 51. Other loads, materials and machines have times of their own.
CP_SECONDS = 8e-6  # a voxel and increment
ELASTIC_SECONDS = 1.5e-6  # a voxel and load case
MICROGRAPH_SECONDS = 1e-5  # a pixel of a simulated micrograph
GRAM_BYTES = 2 * sum(CHANNELS[name] ** 2 for name in STYLE_LAYERS)  # of a patch, half precision


def requirements(params: Params) -> Iterator[tuple[str, str]]:
    """Rows (what, how much) of the data, a user's own included, the simulations and the networks of a study."""
    micrographs, cp, counted, edges = params.micrographs, params.cp, set_sizes(params), set_edges(params)
    elements = Counter()
    for path, count in counted.items():
        elements[edges[path]] += count
    voxels = sum(count * edge**3 for edge, count in elements.items())
    counts = " and ".join(f"{count:,} of {edge}³" for edge, count in elements.items())
    yield "polycrystal volume elements (01)", f"{counts}, {size(2 * voxels)} before compression"
    composites, composite_edge = _composites(params.composites)
    yield "composites (01)", f"{composites:,} of {composite_edge}³, {size(composites * composite_edge**3)} before compression"
    if micrographs.source == SYNTHETIC:
        corners = patch_corners((micrographs.rows, micrographs.columns), micrographs.edge, micrographs.stride)
        castings, edge = CASTINGS + micrographs.castings, micrographs.edge
        count = castings * len(corners)
        yield "micrograph patches (01)", f"{count:,} of {edge}², {size(4 * count * edge**2)}"
        rows, columns = micrographs.rows // 2, micrographs.columns // 2
        work, time = f"{castings:,} of {rows} x {columns} pixels", duration(MICROGRAPH_SECONDS * castings * rows * columns)
        yield "simulations of micrographs (08)", f"{work}, about {time} on two cores"
        yield "Gram matrices of patches (08)", f"{size(GRAM_BYTES * count)} of main memory, twice that on disk"
    else:
        yield "micrographs (01)", f"{len(list_files(micrographs.source, IMAGE_SUFFIXES)):,}"

    if count := sum(counted.get(path, 0) for path in LEAST):
        updates = count * cp.edge**3 * cp.increments
        work = f"{count:,} of {cp.edge}³ in {cp.increments} increments: {updates:.2g} voxel increments"
        yield "crystal-plasticity simulations (05)", f"{work}, about {duration(CP_SECONDS * updates)} on two cores"
        groups = campaign_groups(cp)
        elements = {name: group.count for name, group in groups.items()}
        steps = (sum(elements.values()) + elements[PATHS]) * cp.increments  # a path has twice as many
        more, time = sum(elements.values()), duration(CP_SECONDS * steps * cp.edge**3)
        yield "the same of textures, materials and paths (05)", f"{more:,} of {cp.edge}³, about {time} on two cores"
        yield "the same of designs (09)", _designs(params)
    edge, cases = composite_edge, len(CASES[params.elasticity.cases]) * composites
    time = duration(ELASTIC_SECONDS * cases * edge**3)
    yield "elastic load cases (07)", f"{cases:,} on {edge}³ voxels, about {time} on two cores"

    s, networks, grains = params.vae_regression, {}, MORPHOLOGIES["equiaxed"].grains
    with torch.device("meta"):  # tensors on it have shapes and no bytes
        for symmetry, variants in trainable(edges).items():
            for variant in (name for name in ("paper", "ours") if name in variants):
                config = configuration(params.vae, variant, symmetry, edges[f"{symmetry}/train"], grains)
                networks[f"fingerprint, {variant} (03)"] = Fingerprint.build(config).network
        sizes = {"components": s.components, "latent_dim": s.latent_dim, "width": s.width, "hidden": s.hidden}
        model = VAERegression(edge=edge, properties=len(s.properties), prior="mixture", **sizes)
        networks["VAE-regression (07)"] = model
        t, frozen = params.texture_vae, nn.Identity()  # VGG19 is not trained
        sizes = {"latent_dim": t.latent_dim, "width": t.width, "drawings": t.drawings, "tile": tile_edge(micrographs.edge // 2)}
        networks["texture drawings (08)"] = TextureDrawing(frozen, **sizes)
        sizes = {"edge": t.paper_edge, "latent_dim": max(t.paper_latent_dims), "width": t.paper_width, "kl_weight": 0.0}
        networks["TextureVAE (08)"] = TextureVAE(frozen, loss="style", **sizes)
    yield from ((name, weight(network)) for name, network in networks.items())


def _designs(params: Params) -> str:
    """Simulations of what is asked for: four an aim and design, ten where there are two directions of the load."""
    cp, asked = params.cp, params.polycrystal_design
    each = (asked.inside + asked.between + asked.beyond) * asked.designs
    count = each * sum(10 if aim == "anisotropy" else 4 for aim in asked.aims)
    return f"{count:,} of {cp.edge}³, about {duration(CP_SECONDS * count * cp.edge**3 * cp.increments)} on two cores"


def _composites(settings: CompositeSettings) -> tuple[int, int]:
    """Their number and their edge in voxels, that of the first of a user's."""
    if settings.source == SYNTHETIC:
        return settings.count, settings.edge
    files = list_files(settings.source, COMPOSITE_SUFFIXES)
    return len(files), len(read_composite(files[0]))


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
