"""What must hold between parameters, beyond the type and range of each: checked before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from microprint.errors import UserError
from microprint.params.sections import Params

SYNTHETIC = "synthetic"
SMALLEST_PATCH = 64  # pixels an edge, of which VGG19 still sees something at half of them
CASTINGS = 12  # micrographs of named castings, which the study draws itself, beside those of `micrographs.castings`
Faults = Iterator[tuple[str, str]]  # what is wrong, and the remedy


def check_relations(params: Params, where: object, sections: Collection[str]) -> None:
    """Raise `UserError` for the first relation between these sections that does not hold."""
    for names, faults in RELATIONS.items():
        if set(names) <= set(sections):
            for what, remedy in faults(*(getattr(params, name) for name in names)):
                raise UserError(what, where, remedy)


def _composites(composites) -> Faults:
    low, high = composites.fraction_low, composites.fraction_high
    if low >= high:
        yield f"composites.fraction_low = {low} is not below fraction_high = {high}", "Give the smaller volume fraction first"
    if not composites.widths:
        yield "composites.widths is empty", "Give one filter width at least"


def _shares(shares) -> Faults:
    if shares.train_share + shares.validation_share >= 1:
        given = f"preprocessing.train_share = {shares.train_share}, validation_share = {shares.validation_share}"
        yield f"{given} leave no test set", "Lower one of them"


def _load(cp) -> Faults:
    if cp.strain == 0:
        yield "cp.strain = 0 is no load", "Give the strain at the end, negative for compression"


def _grid(polycrystals, cp) -> Faults:
    edge = polycrystals.edge
    if polycrystals.source == SYNTHETIC and cp.edge < edge and edge % cp.edge:
        remedy = "Choose a divisor, or polycrystals.edge itself"
        yield f"cp.edge = {cp.edge} does not divide polycrystals.edge = {edge}", remedy


def _images(images) -> Faults:
    if images.source == SYNTHETIC and images.edge > min(images.rows, images.columns):
        pixels = f"{images.rows} x {images.columns} pixels of an image"
        yield f"micrographs.edge = {images.edge} is more than the {pixels}", "Lower micrographs.edge"


def _style(texture) -> Faults:
    if texture.paper_edge % 32:
        yield f"texture_vae.paper_edge = {texture.paper_edge} is no multiple of 32", "Choose 32, 64, 96, 128 or more"
    if not texture.paper_latent_dims:
        yield "texture_vae.paper_latent_dims is empty", "Name one size of S3's latent vector at least"


def _patches(images, texture) -> Faults:
    if texture.paper_edge > images.edge:
        pixels = f"micrographs.edge = {images.edge} pixels of a patch"
        yield f"texture_vae.paper_edge = {texture.paper_edge} is more than the {pixels}", "Lower texture_vae.paper_edge"
    if images.edge < SMALLEST_PATCH or images.edge % 2:
        what = f"micrographs.edge = {images.edge} is no patch that notebook 08 can read"
        yield what, f"Choose an even number of pixels, {SMALLEST_PATCH} at least"


def _regression(regression) -> Faults:
    names = regression.properties
    if not names or len(set(names)) < len(names):
        yield f"vae_regression.properties = {list(names)}", "Name each property once, and one at least"
    elif names[0][1] != names[0][2]:
        remedy = "Put one of the diagonal first: C11, C22, C33, C44, C55 or C66"
        yield f"vae_regression.properties begins with {names[0]}, by which no design can be asked for", remedy
    if not regression.style_layers:
        yield "vae_regression.style_layers is empty", "Name one layer of VGG19 at least"
    if not regression.targets_gpa:
        yield "vae_regression.targets_gpa is empty", "Give one wanted value at least"


def _slices(composites, regression) -> Faults:
    halved = max((int(name[4]) - name.startswith("conv") for name in regression.style_layers), default=0)
    if composites.source == SYNTHETIC and regression.reconstruction == "style" and composites.edge < 2**halved:
        slices = f"slices of composites.edge = {composites.edge} voxels"
        remedy = f"Choose layers of earlier blocks, or {2**halved} voxels at least"
        yield f"vae_regression.style_layers: VGG19 halves {slices} {halved} times", remedy


def _cases(elasticity, regression) -> Faults:
    shears = [name for name in regression.properties if name in ("C44", "C55", "C66")]
    if shears and elasticity.cases != "all":
        yield f"vae_regression.properties: {shears[0]} is not simulated", "Set elasticity.cases to all"


RELATIONS: dict[tuple[str, ...], Callable[..., Faults]] = {
    ("composites",): _composites,
    ("preprocessing",): _shares,
    ("cp",): _load,
    ("polycrystals", "cp"): _grid,
    ("micrographs",): _images,
    ("texture_vae",): _style,
    ("micrographs", "texture_vae"): _patches,
    ("vae_regression",): _regression,
    ("composites", "vae_regression"): _slices,
    ("elasticity", "vae_regression"): _cases,
}
