"""Parameters of the study: one frozen dataclass for each section of a parameter file.

The defaults are those of `params/quick.yml`. The classes need nothing but the standard library, so that a
machine that only trains can import them; `load` and `validate` check what a user wrote with pydantic.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import yaml

from microprint.errors import UserError


@dataclass(frozen=True)
class Between:
    """Closed range of a number; pydantic asks it for its schema."""

    low: float | None = None
    high: float | None = None

    def __get_pydantic_core_schema__(self, source, handler):
        schema = handler(source)
        return schema | {k: v for k, v in (("ge", self.low), ("le", self.high)) if v is not None}


Count = Annotated[int, Between(0)]
Positive = Annotated[int, Between(1)]
Rate = Annotated[float, Between(0.0)]
Share = Annotated[float, Between(0.0, 1.0)]


@dataclass(frozen=True)
class RunSettings:
    """Name of the run, its folder and its seed.

    Attributes
    ----------
    name : folder below `root` that holds the run.
    root : folder of all runs; a relative one starts at the repository.
    seed : every random number of the study follows from it.
    """

    name: str = "by-hand"
    root: str = "runs"
    seed: Count = 2026


@dataclass(frozen=True)
class Compute:
    """Where the heavy steps run.

    Attributes
    ----------
    engine : in this process, or on a Dask cluster.
    device : torch device; `auto` takes a GPU where there is one.
    scheduler : address of a Dask scheduler, `local` (a cluster on this machine) or `slurm` (through dask-jobqueue).
    workers : chunks of a data set computed at once in this process, workers of a local cluster, or jobs of SLURM; null:
        one for each core of this machine, one if it has a GPU, one job.
    devices : GPUs that one training uses; processes on a machine without one.
    precision : of trainings; `auto` is bf16-mixed on a GPU that computes in bfloat16, else 32-true.
    tensorboard : write trainings to `logs/tensorboard` of the run's folder, too; the package has to be there.
    """

    engine: Literal["local", "dask"] = "local"
    device: str = "auto"
    scheduler: str = "local"
    workers: Positive | None = None
    devices: Positive = 1
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"] = "auto"
    tensorboard: bool = False


@dataclass(frozen=True)
class Polycrystals:
    """Polycrystal volume elements, VEs (notebook 01).

    Attributes
    ----------
    source : ``synthetic``, or a folder with real VEs in subfolders ``<symmetry>/<set>/``.
    edge : voxels along each edge of a VE; 4, 8, 16, 32 or 64 suit the networks.
    cubic_train, cubic_validation, cubic_test : number of cubic VEs with random texture.
    cubic_mixed : number of cubic VEs in a training set of equiaxed, large, small and elongated grains in turn.
    hexagonal_train, hexagonal_validation, hexagonal_test : the same, hexagonal.
    edge_cases : number of VEs in each edge case: large, small, elongated grains; brass, copper, cube, Goss; basal.
    texture_scatter_deg : standard deviation in degrees about each axis around brass, copper, cube and Goss.
    """

    source: str = "synthetic"
    edge: Annotated[int, Between(4, 256)] = 16
    cubic_train: Positive = 256
    cubic_validation: Positive = 32
    cubic_test: Positive = 32
    cubic_mixed: Positive = 256
    hexagonal_train: Positive = 64
    hexagonal_validation: Positive = 12
    hexagonal_test: Positive = 20
    edge_cases: Positive = 16
    texture_scatter_deg: Annotated[float, Between(0.0, 60.0)] = 5.0


@dataclass(frozen=True)
class Composites:
    """Two-phase composites (notebook 01).

    Attributes
    ----------
    source : ``synthetic``, or a folder of .npy/.npz files with phases 0 and 1.
    edge : voxels along each edge.
    count : number of composites; the filters are used in turn.
    widths : standard deviations in voxels of the Gaussian filters along each axis; all combinations make the filters.
    fraction_low, fraction_high : bounds of the stiff phase's volume fraction.
    """

    source: str = "synthetic"
    edge: Annotated[int, Between(3, 256)] = 27
    count: Annotated[int, Between(3)] = 120
    widths: tuple[Rate, ...] = (0.5, 1.0, 2.0, 3.5)
    fraction_low: Share = 0.25
    fraction_high: Share = 0.75


@dataclass(frozen=True)
class Micrographs:
    """Cast-iron micrographs (notebook 01): twelve samples, four cooling rates by three magnesium contents.

    Attributes
    ----------
    source : ``synthetic``, or a folder of PNG/TIFF images, with their labels in labels.csv.
    rows, columns : pixels of a synthetic image, one micrometre each.
    edge : pixels along each edge of a patch.
    stride : pixels from one patch to the next.
    """

    source: str = "synthetic"
    rows: Annotated[int, Between(32)] = 384
    columns: Annotated[int, Between(32)] = 512
    edge: Annotated[int, Between(16)] = 128
    stride: Positive = 128


@dataclass(frozen=True)
class Preprocessing:
    """Orientations and splits (notebook 02).

    Attributes
    ----------
    pairs : orientation pairs for the test of continuity.
    angle_deg : disorientation of a pair in degrees.
    jump : change of one normalised channel, or quaternion entry, that counts as a jump.
    train_share, validation_share : shares of composites and of images; the test set is the rest.
    """

    pairs: Positive = 20000
    angle_deg: Annotated[float, Between(0.01, 30.0)] = 1.0
    jump: Share = 0.25
    train_share: Share = 0.6
    validation_share: Share = 0.2


@dataclass(frozen=True)
class FingerprintVAE:
    """S1's VAE and ours (notebook 03).

    Attributes
    ----------
    latent_dim : numbers in a fingerprint (S1 chose 256).
    paper_depth : residual blocks of S1's network (its Table 3).
    paper_width : channels of its first layer.
    paper_hidden : size of the dense layers beside the latent space.
    paper_alpha : weight of the cross-entropy against the spectral term (S1, equation 1).
    paper_kl_weight : weight of the KL divergence, per number of the data; S1's loss has none.
    paper_epochs, paper_batch_size : passes over the training set, volume elements a step.
    paper_learning_rate, paper_weight_decay : of Adam with AMSGrad.
    ours_heads : heads of attention of our network, of 32 features each.
    ours_blocks : blocks of attention in its encoder, and in its decoder.
    ours_epochs, ours_epochs_hexagonal : passes over the cubic tessellations, for either symmetry.
    mixed_epochs : the same over the mixed ones, cubic.
    ours_batch_size, ours_learning_rate : of AdamW with cosine decay.
    evaluated : volume elements of each set in the tables.
    """

    latent_dim: Positive = 256
    paper_depth: Literal["resnet12", "resnet18", "resnet34"] = "resnet12"
    paper_width: Positive = 8
    paper_hidden: Positive = 256
    paper_alpha: Share = 0.999
    paper_kl_weight: Rate = 0.0
    paper_epochs: Positive = 8
    paper_batch_size: Positive = 8
    paper_learning_rate: Rate = 1e-3
    paper_weight_decay: Rate = 1e-4
    ours_heads: Positive = 4
    ours_blocks: Positive = 3
    ours_epochs: Positive = 24
    ours_epochs_hexagonal: Positive = 24
    mixed_epochs: Positive = 10
    ours_batch_size: Positive = 16
    ours_learning_rate: Rate = 2e-3
    evaluated: Positive = 6


@dataclass(frozen=True)
class LatentAnalysis:
    """Latent space (notebook 04).

    Attributes
    ----------
    path_steps : volume elements decoded along a path between two.
    components : principal components in which textures and morphologies are clustered (3 in S1).
    neighbours : nearest neighbours that link fingerprints in the graph of spectral clustering.
    fitted : training volume elements, at most, to which components and probes are fitted (20,000 in S1).
    """

    path_steps: Annotated[int, Between(2)] = 7
    components: Positive = 3
    neighbours: Positive = 10
    fitted: Positive = 2000


@dataclass(frozen=True)
class CrystalPlasticity:
    """Uniaxial tension of the hexagonal volume elements by crystal plasticity (notebook 05).

    Attributes
    ----------
    material : one of the package's (``Mg``, ``Cu``) or a DAMASK material file.
    edge : voxels along each edge; volume elements of `polycrystals.edge` are sampled at regular distances.
    axis : of the load.
    strain : F - 1 along it at the end; negative for compression.
    rate : of F in 1/s.
    increments : equal time steps; curves have one point more.
    scheme : discretisation, ``fourier`` (as DAMASK) or ``rotated``.
    solver : this package's, or DAMASK's grid solver where one is installed.
    chunk : volume elements simulated and saved at once.
    """

    material: str = "Mg"
    edge: Annotated[int, Between(2, 256)] = 8
    axis: Literal["x", "y", "z"] = "x"
    strain: Annotated[float, Between(-0.2, 0.2)] = 0.01
    rate: Annotated[float, Between(1e-9, 1e3)] = 1e-3
    increments: Positive = 20
    scheme: Literal["fourier", "rotated"] = "fourier"
    solver: Literal["spectral", "damask"] = "spectral"
    chunk: Positive = 16


@dataclass(frozen=True)
class Surrogate:
    """Fingerprint to stress-strain curve (notebook 06).

    Attributes
    ----------
    modes : principal components of the curves that our Gaussian processes predict.
    points : inducing points of a Gaussian process; with as many training samples or fewer it is exact.
    paper_hidden : size of the hidden layer of S1's network.
    paper_epochs, paper_batch_size : passes over the training set, samples a step.
    paper_learning_rate, paper_weight_decay : of Adam.
    """

    modes: Positive = 4
    points: Positive = 1000
    paper_hidden: Positive = 512
    paper_epochs: Positive = 200
    paper_batch_size: Positive = 128
    paper_learning_rate: Rate = 1e-3
    paper_weight_decay: Rate = 1e-5


@dataclass(frozen=True)
class Elasticity:
    """Effective stiffness of the composites, the labels of notebook 07.

    Attributes
    ----------
    cases : mean strains that are simulated: the three normal ones, which give C11, C22, C33, C12, C13 and C23, or all
        six, which give every component for twice the work.
    tolerance : of the out-of-balance forces, relative to those of a uniform strain.
    chunk_voxels : voxels of the composites simulated and saved at once.
    """

    cases: Literal["normal", "all"] = "normal"
    tolerance: Annotated[float, Between(1e-8, 0.1)] = 1e-3
    chunk_voxels: Positive = 400_000


@dataclass(frozen=True)
class VAERegression:
    """S2's forward and inverse model (notebook 07).

    Attributes
    ----------
    properties : components of the stiffness that are learnt; the last three need `elasticity.cases: all`.
    latent_dim : numbers in a latent vector.
    components : of the mixture prior.
    width : channels of the first convolution; S2: 16.
    hidden : size of the first dense layer; S2: 2048.
    reconstruction : style loss on slices, or two-point statistics of the volume.
    style_layers : of VGG19; S2 does not say which.
    slices_per_axis : slices of each volume in the style loss; S2 takes all.
    augment : turn, mirror and shift the training volumes.
    normalise_style : divide the reconstruction loss by its value for unrelated volumes.
    regression_multiplier, kl_multiplier : bring the terms of the loss to one scale.
    regression_weight, kl_weight : importance of the terms.
    epochs, cnn_epochs : passes over the training set, of VAE-regression and of the forward-only CNN.
    batch_size, learning_rate, decay : of Adam.
    patience : epochs without a better validation loss before training stops; null: never.
    prior_steps : training of the generator alone at the end; S2 has none.
    targets_gpa : wanted C11, GPa.
    refine_steps : of the search in latent space with the regressor.
    refine_evaluations : simulations a design in the search for its volume fraction.
    """

    properties: tuple[Literal["C11", "C22", "C33", "C12", "C13", "C23", "C44", "C55", "C66"], ...] = ("C11",)
    latent_dim: Positive = 16
    components: Positive = 2
    width: Positive = 4
    hidden: Positive = 256
    reconstruction: Literal["style", "two_point"] = "style"
    style_layers: tuple[str, ...] = ("conv1_1", "pool1")
    slices_per_axis: Positive = 1
    augment: bool = True
    normalise_style: bool = True
    regression_multiplier: Rate = 1.0
    kl_multiplier: Rate = 0.001
    regression_weight: Rate = 3.0
    kl_weight: Rate = 1.0
    epochs: Positive = 24
    cnn_epochs: Positive = 15
    batch_size: Positive = 8
    learning_rate: Rate = 4e-3
    decay: Literal["constant", "cosine"] = "cosine"
    patience: int | None = None
    prior_steps: Count = 1000
    targets_gpa: tuple[Rate, ...] = (10.0, 20.0, 30.0, 40.0, 60.0)
    refine_steps: Count = 30
    refine_evaluations: Positive = 3


@dataclass(frozen=True)
class TextureVAE:
    """S3's TextureVAE (notebook 08).

    Attributes
    ----------
    edge : pixels to which a patch's edge is reduced; a multiple of 16, 32 at least.
    readout : what the trained layers of the encoder see of VGG19: its last maps at every place, as S3, or the mean of
        each channel over the image.
    layers : VGG19 layers of the style loss.
    layer_weights : `equal`, as S3's equation stands, or by `variance`: each layer counts as much as it varies.
    latent_dim : size of the latent vector.
    width : channels of the decoder's first block.
    kl_weight : weight of the Kullback-Leibler term.
    test_samples : parent images of which training sees no patch.
    epochs, batch_size, learning_rate : training with Adam, the rate decaying to zero.
    pairs : pairs of patches behind every mean similarity.
    """

    edge: Annotated[int, Between(32, 512)] = 48
    readout: Literal["last_maps", "channel_means"] = "channel_means"
    layers: tuple[str, ...] = ("conv1_1", "pool1", "pool2", "pool3", "pool4")
    layer_weights: Literal["equal", "variance"] = "variance"
    latent_dim: Positive = 16
    width: Literal[16, 32, 64, 128, 256, 512] = 128
    kl_weight: Rate = 0.01
    test_samples: tuple[Count, ...] = (1, 10)
    epochs: Positive = 10
    batch_size: Positive = 4
    learning_rate: Rate = 3e-3
    pairs: Positive = 16


@dataclass(frozen=True)
class Params:
    """All sections of a parameter file."""

    run: RunSettings = field(default_factory=RunSettings)
    compute: Compute = field(default_factory=Compute)
    polycrystals: Polycrystals = field(default_factory=Polycrystals)
    composites: Composites = field(default_factory=Composites)
    micrographs: Micrographs = field(default_factory=Micrographs)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    vae: FingerprintVAE = field(default_factory=FingerprintVAE)
    latent: LatentAnalysis = field(default_factory=LatentAnalysis)
    cp: CrystalPlasticity = field(default_factory=CrystalPlasticity)
    surrogate: Surrogate = field(default_factory=Surrogate)
    elasticity: Elasticity = field(default_factory=Elasticity)
    vae_regression: VAERegression = field(default_factory=VAERegression)
    texture_vae: TextureVAE = field(default_factory=TextureVAE)


def load(path: str | Path, overrides: Mapping[str, Any] = {}) -> Params:
    """Read a YAML (or JSON) parameter file and check it.

    Parameters
    ----------
    path : file whose top level are the sections of `Params`; what it leaves out keeps its default.
    overrides : dotted keys to YAML values, e.g. ``{"vae.latent_dim": "128"}``.

    Raises
    ------
    UserError
        For a missing or unreadable file, an unknown key (with the nearest known one), a wrong type, a value out
        of range.
    """
    return validate(_override(_read(Path(path)), overrides), where=path)


def validate(sections: Mapping[str, Any], where: object = "parameters") -> Params:
    """Check nested sections (as a notebook or a file holds them) and return them typed.

    Raises `UserError` as `load` does.
    """
    _refuse_unknown(sections, Params, "", where)
    try:
        from pydantic import TypeAdapter, ValidationError
    except ModuleNotFoundError:
        # A machine that only trains gets sections that the runner has checked already.
        return _build(Params, sections)
    try:
        return TypeAdapter(Params).validate_python(sections, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{key} = {first['input']!r}: {first['msg'].lower()}", where, f"Correct {key}") from None


def as_dict(params: Params) -> dict[str, Any]:
    """Nested plain dictionary of the parameters, as YAML and JSON hold them."""
    return _plain(dataclasses.asdict(params))


def sections_from(params: Params, names: tuple[str, ...]) -> dict[str, Any]:
    """Plain dictionaries of some sections."""
    return {name: _plain(dataclasses.asdict(getattr(params, name))) for name in names}


def _plain(value: Any) -> Any:
    """Lists for tuples, as YAML, JSON and papermill write them."""
    return json.loads(json.dumps(value))


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except OSError as error:
        known = ", ".join(sorted(p.name for p in path.parent.glob("*.yml"))) or "none"
        raise UserError(f"cannot be read ({error.strerror})", path, f"Parameter files there: {known}") from None
    try:
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (yaml.YAMLError, json.JSONDecodeError) as error:
        raise UserError(f"is not valid {path.suffix[1:].upper()} ({' '.join(str(error).split())})", path) from None
    if not isinstance(content or {}, dict):
        raise UserError("holds no sections", path, "Start from params/quick.yml")
    return content or {}


def _override(sections: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in overrides.items():
        *parents, leaf = key.split(".")
        place = sections
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise UserError(f"{key} goes through {parent}, which is a value", "--set")
        place[leaf] = yaml.safe_load(value) if isinstance(value, str) else value
    return sections


def _refuse_unknown(sections: Mapping[str, Any], kind: type, prefix: str, where: object) -> None:
    hints = get_type_hints(kind)
    for key, value in sections.items():
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1, cutoff=0.0)
            raise UserError(f"unknown parameter {prefix}{key}", where, f"The nearest known one is {prefix}{near[0]}")
        if not dataclasses.is_dataclass(hints[key]):
            continue
        if not isinstance(value, Mapping):
            raise UserError(f"{prefix}{key} = {value!r} is not a section", where, f"Write keys below {prefix}{key}:")
        _refuse_unknown(value, hints[key], f"{prefix}{key}.", where)


def _build(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{key: _build(hints[key], item) for key, item in value.items()})
    if get_origin(kind) is tuple:
        inner = [a for a in get_args(kind) if a is not Ellipsis]
        return tuple(_build(inner[min(i, len(inner) - 1)], item) for i, item in enumerate(value))
    return value
