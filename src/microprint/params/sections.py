"""Parameters of the study: one frozen dataclass for each section of a parameter file.

The defaults are those of the quick profile. What a parameter means is said in the comment behind it, or in one above it
that begins with its name or, where several belong together, their names: `microprint.params.manual` copies these comments
into a parameter file. The classes need the standard library alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal


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
VGGLayer = Literal[
    "conv1_1", "conv1_2", "pool1", "conv2_1", "conv2_2", "pool2", "conv3_1", "conv3_2", "conv3_3", "conv3_4", "pool3",
    "conv4_1", "conv4_2", "conv4_3", "conv4_4", "pool4", "conv5_1", "conv5_2", "conv5_3", "conv5_4", "pool5",
]  # fmt: skip
StiffnessComponent = Literal["C11", "C22", "C33", "C12", "C13", "C23", "C44", "C55", "C66"]


@dataclass(frozen=True)
class RunSettings:
    """Name of the run, its folder and its seed."""

    name: str = "by-hand"  # folder below `root` that holds the run.
    root: str = "runs"  # folder of all runs; a relative one starts at the repository.
    seed: Count = 2026  # every random number of the study follows from it.


@dataclass(frozen=True)
class ComputeSettings:
    """Where the heavy steps run."""

    engine: Literal["local", "dask"] = "local"  # in this process, or on a Dask cluster.
    device: str = "auto"  # torch device; `auto` takes a GPU where there is one.
    # scheduler: address of a Dask scheduler, `local` (a cluster on this machine) or `slurm` (through dask-jobqueue).
    scheduler: str = "local"
    # workers: chunks of a data set computed at once in this process, workers of a local cluster, or jobs of SLURM; null: one
    # for each core of this machine, one if it has a GPU, one job.
    workers: Positive | None = None
    devices: Positive = 1  # GPUs that one training uses; processes on a machine without one.
    # precision: of trainings; `auto` is bf16-mixed on a GPU that computes in bfloat16, else 32-true.
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"] = "auto"
    tensorboard: bool = False  # write trainings to `logs/tensorboard` of the run's folder, too; the package has to be there.
    # kernels: notebooks executed at once, each with its share of the cores; null: two, one where there is a GPU.
    kernels: Positive | None = None


@dataclass(frozen=True)
class PolycrystalSettings:
    """Polycrystal volume elements, VEs (notebook 01)."""

    # source: ``synthetic``, or a folder with real VEs in subfolders ``<symmetry>/<set>/``, such as ``cubic/train``; what can
    # run with the sets that there are runs.
    source: str = "synthetic"
    # edge: voxels along each edge of a synthetic VE; 4, 8, 16, 32 or 64 suit the networks. Real ones have their own.
    edge: Annotated[int, Between(4, 256)] = 16
    # cubic_train, cubic_validation, cubic_test: number of cubic VEs with random texture.
    cubic_train: Positive = 512
    cubic_validation: Positive = 32
    cubic_test: Positive = 32
    cubic_mixed: Positive = 288  # number of cubic VEs in a training set of equiaxed, large, small and elongated grains in turn.
    # hexagonal_train, hexagonal_validation, hexagonal_test: the same, hexagonal.
    hexagonal_train: Positive = 64
    hexagonal_validation: Positive = 12
    hexagonal_test: Positive = 20
    # edge_cases: number of VEs in each edge case: large, small, elongated, columnar, wide (sizes), twinned and grown grains;
    # brass, copper, cube, Goss; basal.
    edge_cases: Positive = 16
    # texture_scatter_deg: standard deviation in degrees about each axis around brass, copper, cube and Goss.
    texture_scatter_deg: Annotated[float, Between(0.0, 60.0)] = 5.0
    # segmentation_deg: disorientation in degrees below which neighbours are one grain, in real VEs without grain ids.
    segmentation_deg: Annotated[float, Between(0.0, 60.0)] = 5.0


@dataclass(frozen=True)
class CompositeSettings:
    """Two-phase composites (notebook 01)."""

    source: str = "synthetic"  # ``synthetic``, or a folder of .npy/.npz files with phases 0 and 1.
    edge: Annotated[int, Between(4, 256)] = 27  # voxels along each edge.
    count: Annotated[int, Between(3)] = 240  # number of composites; the filters are used in turn.
    # widths: standard deviations in voxels of the Gaussian filters along each axis; all combinations make the filters.
    widths: tuple[Rate, ...] = (0.5, 1.0, 2.0, 3.5)
    # fraction_low, fraction_high: bounds of the stiff phase's volume fraction.
    fraction_low: Share = 0.25
    fraction_high: Share = 0.75


@dataclass(frozen=True)
class MicrographSettings:
    """Cast-iron micrographs (notebook 01): twelve castings, four cooling rates by three magnesium contents, and drawn ones."""

    source: str = "synthetic"  # ``synthetic``, or a folder of PNG/TIFF images, labels in labels.csv (notebook 01, part 4).
    castings: Count = 12  # castings whose causes are drawn at random, one image each, beside the twelve.
    # rows, columns: pixels of a synthetic image, two micrometres each.
    rows: Annotated[int, Between(32)] = 512
    columns: Annotated[int, Between(32)] = 512
    edge: Annotated[int, Between(16)] = 256  # pixels along each edge of a patch.
    stride: Positive = 256  # pixels from one patch to the next.
    # pixel_um: micrometres a pixel to which your own images are resampled where labels.csv states theirs; null: as wide as
    # those of the coarsest image, so that none is enlarged. Synthetic images have two micrometres.
    pixel_um: Annotated[float, Between(1e-4, 1e4)] | None = None
    footer: Count = 0  # rows that are cut off the lower edge of your own images, where an instrument wrote its caption.


@dataclass(frozen=True)
class PreprocessingSettings:
    """Orientations and splits (notebook 02)."""

    pairs: Positive = 20000  # orientation pairs for the test of continuity.
    angle_deg: Annotated[float, Between(0.01, 30.0)] = 1.0  # disorientation of a pair in degrees.
    # jump: change of one channel that counts as one; a face of the hexagonal zone changes an Euler channel by a sixth.
    jump: Share = 0.1
    # train_share, validation_share: shares of the composites; the test set is the rest.
    train_share: Share = 0.6
    validation_share: Share = 0.2


@dataclass(frozen=True)
class FingerprintSettings:
    """S1's VAE and ours (notebook 03)."""

    latent_dim: Positive = 256  # numbers from which a volume element is drawn (S1 chose 256).
    paper_depth: Literal["resnet12", "resnet18", "resnet34"] = "resnet12"  # residual blocks of S1's network (its Table 3).
    paper_width: Positive = 8  # channels of its first layer.
    paper_hidden: Positive = 256  # size of the dense layers beside the latent space.
    paper_alpha: Share = 0.999  # weight of the cross-entropy against the spectral term (S1, equation 1).
    paper_kl_weight: Rate = 0.0  # weight of the KL divergence, per number of the data; S1's loss has none.
    # paper_epochs, paper_batch_size: passes over the training set, volume elements a step.
    paper_epochs: Positive = 4
    paper_batch_size: Positive = 16
    # paper_learning_rate, paper_weight_decay: of Adam with AMSGrad. The second is S1's 1e-4 divided by 64: of 16 voxels an
    # edge, not 64, the spectral term sums up 64 times fewer.
    paper_learning_rate: Rate = 1e-3
    paper_weight_decay: Rate = 1.5625e-6
    ours_width: Positive = 32  # features of a seed in our network of the weights.
    ours_rounds: Positive = 3  # rounds of messages between neighbouring seeds.
    ours_calibration: Positive = 250  # steps of regression on weights that are known, before the training.
    ours_epochs: Positive = 1  # passes over the mixed tessellations.
    # ours_batch_size, ours_learning_rate: of AdamW with cosine decay.
    ours_batch_size: Positive = 16
    ours_learning_rate: Rate = 2e-4
    evaluated: Positive = 4  # volume elements of each set in the tables.


@dataclass(frozen=True)
class LatentSettings:
    """Latent space (notebook 04)."""

    path_steps: Annotated[int, Between(2)] = 7  # volume elements decoded along a path between two.
    components: Positive = 3  # principal components in which textures and morphologies are clustered (3 in S1).
    neighbours: Positive = 10  # nearest neighbours that link fingerprints in the graph of spectral clustering.
    fitted: Positive = 192  # training volume elements, at most, to which components and probes are fitted (20,000 in S1).


@dataclass(frozen=True)
class CrystalPlasticitySettings:
    """Deformation of the hexagonal volume elements by crystal plasticity (notebook 05); the labels of 06."""

    material: str = "Mg"  # ``Mg``, ``Cu``, ``Al``, ``Au``, ``Ti``, ``ferrite``, ``IN625``, or a DAMASK material file.
    # edge: voxels along each edge; volume elements of `polycrystals.edge` are sampled at regular distances.
    edge: Annotated[int, Between(2, 256)] = 16
    # load: ``tension``, ``compression``, ``shear`` (along `axis`, growing with the next one of x, y, z), ``unload`` (tension,
    # then back to no stress), ``cyclic`` (tension, compression, back to no strain), or a load file of DAMASK's, which stands
    # for the next four parameters, too.
    load: str = "tension"
    axis: Literal["x", "y", "z"] = "x"  # of the load.
    strain: Annotated[float, Between(-0.2, 0.2)] = 0.01  # F - 1 along it at the end; negative turns the load round.
    rate: Annotated[float, Between(1e-9, 1e3)] = 1e-3  # of F in 1/s.
    increments: Positive = 20  # equal time steps of each part of the load; a curve of tension has one point more.
    scheme: Literal["fourier", "rotated"] = "fourier"  # discretisation, ``fourier`` (as DAMASK) or ``rotated``.
    solver: Literal["spectral", "damask"] = "spectral"  # this package's, or DAMASK's grid solver where one is installed.
    chunk: Positive = 16  # volume elements simulated and saved at once.
    # families_train, families_test: number of synthetic VEs of the material, with the families of textures in turn, that are
    # simulated beside the VEs of the study.
    families_train: Positive = 21
    families_test: Positive = 14
    others: tuple[str, ...] = ("Al",)  # other materials that are simulated, named as `material` is.
    # others_train, others_test: number of VEs of each of them, the first with the families of its own symmetry.
    others_train: Positive = 6
    others_test: Positive = 12
    # paths: number of load paths of the material, each of twice `increments`: seven of fixed kinds, then random walks.
    paths: Positive = 12
    path_elements: Positive = 1  # VEs simulated under each path.


@dataclass(frozen=True)
class SurrogateSettings:
    """Volume element or fingerprint to stress (notebook 06)."""

    law_directions: Positive = 36  # in which a crystal may flow by its learnt law; some more than it has systems.
    law_members: Positive = 1  # laws of the first material, from other first weights; their spread is part of the error bar.
    law_crystals: Annotated[int, Between(40)] = 4000  # single crystals that a law is learnt from.
    # law_start: steps of regression with the crystals' true history at hand, before the training.
    law_start: Annotated[int, Between(20)] = 250
    # law_epochs, law_batch_size, law_learning_rate: passes over the crystals, crystals a step; Adam with cosine decay.
    law_epochs: Positive = 1
    law_batch_size: Positive = 32
    law_learning_rate: Rate = 1e-2
    iterations: Positive = 2  # of the equilibrium in each increment.
    finest: Annotated[int, Between(8, 128)] = 32  # voxels an edge of the finest grid on which its convergence is shown.
    modes: Positive = 4  # principal components of the curves that the Gaussian processes on a fingerprint predict.
    points: Positive = 1000  # inducing points of a Gaussian process; with as many training samples or fewer it is exact.
    paper_hidden: Positive = 512  # size of the hidden layer of S1's network.
    # paper_epochs, paper_batch_size: passes over the training set, samples a step.
    paper_epochs: Positive = 100
    paper_batch_size: Positive = 128
    # paper_learning_rate, paper_weight_decay: of Adam.
    paper_learning_rate: Rate = 1e-3
    paper_weight_decay: Rate = 1e-5


@dataclass(frozen=True)
class ElasticitySettings:
    """Effective stiffness of the composites, the labels of notebook 07."""

    # cases: mean strains that are simulated: the three normal ones, which give C11, C22, C33, C12, C13 and C23, or all six,
    # which give every component for twice the work.
    cases: Literal["normal", "all"] = "normal"
    # tolerance: of the out-of-balance forces, relative to those of a uniform strain.
    tolerance: Annotated[float, Between(1e-8, 0.1)] = 1e-3
    chunk_voxels: Positive = 400_000  # voxels of the composites simulated and saved at once.
    # estimate_iterations, surrogate_labels: iterations of the equilibrium from which our forward model expects the rest, and
    # the number of simulated composites, at most, that it learns from.
    estimate_iterations: Positive = 4
    surrogate_labels: Annotated[int, Between(10)] = 600


@dataclass(frozen=True)
class VAERegressionSettings:
    """S2's forward and inverse model (notebook 07)."""

    # properties: components of the stiffness that are learnt; designs are asked for by the first, one of the diagonal. C44, C55
    # and C66 need `elasticity.cases: all`.
    properties: tuple[StiffnessComponent, ...] = ("C11",)
    latent_dim: Positive = 16  # numbers in a latent vector.
    components: Positive = 2  # of the mixture prior.
    width: Positive = 4  # channels of the first convolution; S2: 16.
    hidden: Positive = 256  # size of the first dense layer; S2: 2048.
    reconstruction: Literal["style", "two_point"] = "style"  # style loss on slices, or two-point statistics of the volume.
    style_layers: tuple[VGGLayer, ...] = ("conv1_1", "pool1")  # of VGG19; S2 does not say which.
    slices_per_axis: Positive = 1  # slices of each volume in the style loss; S2 takes all.
    augment: bool = True  # turn, mirror and shift the training volumes.
    normalise_style: bool = True  # divide the reconstruction loss by its value for unrelated volumes.
    # regression_multiplier, kl_multiplier: bring the terms of the loss to one scale.
    regression_multiplier: Rate = 1.0
    kl_multiplier: Rate = 0.001
    # regression_weight, kl_weight: importance of the terms.
    regression_weight: Rate = 3.0
    kl_weight: Rate = 1.0
    # epochs, cnn_epochs: passes over the training set, of VAE-regression and of the forward-only CNN.
    epochs: Positive = 6
    cnn_epochs: Positive = 8
    # batch_size, learning_rate, decay: of Adam.
    batch_size: Positive = 8
    learning_rate: Rate = 4e-3
    decay: Literal["constant", "cosine"] = "cosine"
    patience: Positive | None = None  # epochs without a better validation loss before training stops; null: never.
    prior_steps: Count = 500  # training of the generator alone at the end; S2 has none.
    targets_gpa: tuple[Rate, ...] = (20.0, 30.0, 40.0, 60.0)  # wanted values of the first property, GPa.
    refine_steps: Count = 30  # of the search in latent space with the regressor.


@dataclass(frozen=True)
class CompositeDesignSettings:
    """Our VAE-regression, whose decoder gives the law of a random medium (notebook 07)."""

    latent_dim: Positive = 8  # numbers in a latent vector.
    hidden: Positive = 128  # units of the dense layers.
    # epochs, batch_size, learning_rate: passes over the training composites in all six orders of their axes; Adam.
    epochs: Positive = 28
    batch_size: Positive = 32
    learning_rate: Rate = 2e-3
    components: tuple[Positive, ...] = (2, 4, 8)  # of the mixture prior, among which validation chooses.
    prior_hidden: Positive = 32  # units of the prior's layer.
    prior_steps: Positive = 600  # of each conditional prior.
    # three_targets, six_targets: number of targets of three properties that no training composite meets, and of six that one
    # of the test set has.
    three_targets: Positive = 2
    six_targets: Positive = 3
    designs: Positive = 2  # for each target.
    drawings: Positive = 8  # of each law, of which the forward model takes the best.
    evaluations: Positive = 6  # simulations in the refinement of a design.
    annealing: Positive = 20  # evaluations of the forward model in S2's search, a design.


@dataclass(frozen=True)
class TextureVAESettings:
    """Textures of micrographs (notebook 08): ours, S3's TextureVAE, and its twin with a loss on pixels."""

    latent_dim: Positive = 32  # size of our latent vector.
    width: Annotated[int, Between(8)] = 96  # channels of our drawings' coarsest scales.
    drawings: Annotated[int, Between(2)] = 2  # drawings of each latent vector whose statistics are compared in training.
    # epochs, batch_size, learning_rate: training of our drawings with Adam, the rate decaying to zero.
    epochs: Positive = 6
    batch_size: Positive = 3
    learning_rate: Rate = 3e-3
    # paper_edge: pixels to which a patch's edge is reduced for S3's network; a multiple of 32.
    paper_edge: Annotated[int, Between(32, 512)] = 64
    paper_latent_dims: tuple[Positive, ...] = (32,)  # sizes of S3's latent vector; the largest is compared with pixels.
    paper_width: Literal[16, 32, 64, 128, 256, 512] = 128  # channels of its decoder's first block.
    paper_kl_weight: Rate = 0.01  # weight of its Kullback-Leibler term.
    # paper_epochs, paper_batch_size, paper_learning_rate: training of S3's network with Adam, the rate decaying to zero.
    paper_epochs: Positive = 10
    paper_batch_size: Positive = 4
    paper_learning_rate: Rate = 3e-3
    pairs: Positive = 16  # pairs of patches behind every mean similarity.
    seeds: Positive = 3  # splits by image over which properties are averaged.
    targets: Positive = 2  # wanted properties of each kind, for which micrographs are designed.
    designs: Positive = 2  # drawings of each.


@dataclass(frozen=True)
class PolycrystalDesignSettings:
    """Polycrystals with a wanted stress response (notebook 09)."""

    # aims: what is asked for: stress and hardening of volume elements without texture, `random`, or of any, `textured`; the
    # stresses along two axes, `anisotropy`.
    aims: tuple[Literal["random", "textured", "anisotropy"], ...] = ("random", "textured")
    # inside, between, beyond: number of targets of each aim that held-out volume elements have, of those in the widest gaps
    # between the training ones, and of those beyond all of these.
    inside: Positive = 1
    between: Count = 1
    beyond: Count = 0
    designs: Annotated[int, Between(2)] = 2  # volume elements for each target.
    rivals: Positive = 12  # new random volume elements among which the surrogate chooses, the rival of the same cost.


@dataclass(frozen=True)
class Params:
    """All sections of a parameter file."""

    run: RunSettings = RunSettings()
    compute: ComputeSettings = ComputeSettings()
    polycrystals: PolycrystalSettings = PolycrystalSettings()
    composites: CompositeSettings = CompositeSettings()
    micrographs: MicrographSettings = MicrographSettings()
    preprocessing: PreprocessingSettings = PreprocessingSettings()
    vae: FingerprintSettings = FingerprintSettings()
    latent: LatentSettings = LatentSettings()
    cp: CrystalPlasticitySettings = CrystalPlasticitySettings()
    surrogate: SurrogateSettings = SurrogateSettings()
    elasticity: ElasticitySettings = ElasticitySettings()
    vae_regression: VAERegressionSettings = VAERegressionSettings()
    composite_design: CompositeDesignSettings = CompositeDesignSettings()
    texture_vae: TextureVAESettings = TextureVAESettings()
    polycrystal_design: PolycrystalDesignSettings = PolycrystalDesignSettings()
