# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 · Data: polycrystals, composites, cast iron
#
# **Question**: which microstructures does the study learn from, and do they have the sizes, shapes and textures that
# were asked for?
#
# **You will learn**
#
# - how a polycrystal with given grain sizes is packed, and what weights add to plain Voronoi cells;
# - how to read orientation maps and pole figures;
# - how a composite is made by filtering noise, and a micrograph by rules whose causes are known;
# - how to bring volume elements and images of your own.
#
# **Prerequisites**: no other notebook. Means, standard deviations, logarithms; what a grain and its orientation are.
#
# **Inputs**: parameters alone, or folders of your own volume elements and micrographs (`source`).
#
# **Outputs**: `polycrystals.h5`, `composites.h5`, `micrographs.h5`.
#
# **Time**: about 2 minutes with the default parameters (`params/quick.yml`) on two cores, no GPU needed.
#
# Three papers, three kinds of material: **S1** White et al. 2025 (polycrystals, arXiv:2503.17427), **S2** Sardeshmukh et
# al. 2024 (two-phase composites, arXiv:2402.17806), **S3** Sardeshmukh et al. 2021 (cast iron, TextureVAE). Their data were
# not at hand, so all of it is made anew, by rules that are written down below.

# %% tags=["parameters"]
run = {"name": "by-hand", "seed": 2026}
compute = {"engine": "local", "device": "auto"}
polycrystals = {
    "source": "synthetic",
    "edge": 16,
    "cubic_train": 512,
    "cubic_validation": 32,
    "cubic_test": 32,
    "cubic_mixed": 288,
    "hexagonal_train": 64,
    "hexagonal_validation": 12,
    "hexagonal_test": 20,
    "edge_cases": 16,
    "texture_scatter_deg": 5.0,
}
composites = {
    "source": "synthetic",
    "edge": 27,
    "count": 240,
    "widths": [0.5, 1.0, 2.0, 3.5],
    "fraction_low": 0.25,
    "fraction_high": 0.75,
}
micrographs = {"source": "synthetic", "castings": 12, "rows": 512, "columns": 512, "edge": 256, "stride": 256,
               "pixel_um": None, "footer": 0}

# %%
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from microprint import UserError, orientations
from microprint.analysis import grain_sizes
from microprint.microstructures import cast_iron, composite, datasets, polycrystal, readers, writers
from microprint.microstructures.volume_elements import read_volume_elements
from microprint.notebook import Standing, findings, open_notebook
from microprint.params.relations import SYNTHETIC
from microprint.plots import microstructure as draw
from microprint.plots import show, style, table
from microprint.plots.design import cubes

style()
notebook = open_notebook(run=run, compute=compute, polycrystals=polycrystals, composites=composites, micrographs=micrographs)

# %% [markdown]
# ## 1 Polycrystals
#
# A *volume element* (VE) is a periodic cube of grains, each with one crystal orientation. The size of a grain is its
# *equivalent-sphere diameter* (ESD), that of a ball of the same volume. S1 had DREAM.3D pack grains with a mean ESD of 5.78 in
# a cube with an edge of 16 units of length, with a narrow log-normal spread, $\sigma_{\ln d} = 0.1$; with 16 voxels an edge, as by
# default, a unit is a voxel. Of grains with that ESD such a cube holds
#
# $$ N = \frac{6}{\pi}\left(\frac{16}{5.78}\right)^3 \approx 40.5. $$
#
# The cells of a *Voronoi* tessellation, all points nearer to one seed than to any other, have sizes that nobody asked for.
# Here grains are the cells of a periodic *Laguerre* tessellation: a voxel $\mathbf x$ belongs to the seed $\mathbf s_i$ with
# the least power $|\mathbf x - \mathbf s_i|^2 - w_i$, so that a larger weight $w_i$ makes a larger cell. Volumes are drawn
# first; then a few sweeps move every seed to the centroid of its cell (Lloyd) and every weight to where the cell has the
# volume it should have. Stretching the metric along an axis makes elongated grains. A VE is stored as grain numbers and one
# quaternion a grain.

# %%
notebook.do(datasets.generate_polycrystals)
with notebook.open("polycrystals.h5", "polycrystals") as file:
    names = [f"{symmetry}/{name}" for symmetry in file for name in file[symmetry]]
    most = min(200, max(2**23 // file[names[0]]["grain_id"][0].size, 1))
    sets = {name: read_volume_elements(file, name, slice(most)) for name in names}
    counts = {name: len(file[name]["grains"]) for name in names}
    edge_m = file[names[0]].attrs["edge_m"]
kilobytes = notebook.path("polycrystals.h5").stat().st_size / sum(counts.values()) / 1e3
print(f"{sum(counts.values())} volume elements, {kilobytes:.1f} kB each")

# %% [markdown]
# The edge cases of S1 differ from the training set in size (*large*, *small*), in shape and size (*elongated*, 2:1:1) or in
# texture. S1 advises to train on mixed morphologies: `cubic/mixed` has equiaxed, large, small and elongated grains in turn.
#
# Fingerprints should also be judged on grains that neither they nor their decoder have met. Four more sets, with about as
# many grains as the training set and random texture, are for tests alone:
#
# - *columnar*: three times as long along $z$ as wide;
# - *wide*: sizes that vary more, $\sigma_{\ln d} = 0.4$;
# - *twinned*: most of some 15 parents hold one or two plane-parallel lamellae, a fifth to a third of the parent's ESD thick
#   and grains of their own: the mirror image of the parent in a {111} plane, which is a turn by 60° about $\langle111\rangle$
#   (Σ3). What is left of a parent on both sides is one grain;
# - *grown*: Monte Carlo grain growth of the Potts model at zero temperature (Anderson, Srolovitz, Grest & Sahni 1984; 26
#   neighbours, Holm & Battaile 2001). Every voxel begins as a grain; it takes the grain of a neighbour, drawn at random, unless
#   more of its neighbours would then be in other grains. It ends as soon as 40 or fewer are left. Last, a voxel without a face in
#   common with its own grain joins the one beside it that has most of the voxels around.
#
# The last two are cells neither of a Voronoi nor of a Laguerre tessellation.
#
# The table holds what was measured on up to 200 VEs of each set beside what was asked for, in micrometres for a cube of
# 27.7 µm, in which S1's training grains measure 10 µm. Volumes vary, and the mean of $d^3$ is $e^{9\sigma^2/2}$ times the cube of
# the median: so a VE is expected to hold $N e^{-9\sigma^2/2}$ grains, where $N$ is that of the median. Aspect is the length along
# the axis of elongation over the width across it.
#
# > **Before you look**: all sets but *mixed*, *twinned* and *grown* were drawn from a law of sizes. Which of them will miss
# > its spread by most, in per cent, and why?

# %%
own, rows, diameter, sizes = notebook.params.polycrystals.source != SYNTHETIC, [], {}, {}
for name, elements in sets.items():
    m = polycrystal.MORPHOLOGIES.get(name.split("/")[1], polycrystal.MORPHOLOGIES["equiaxed"])
    has_law = not own and name not in ("cubic/mixed", "cubic/twinned", "cubic/grown")
    wanted = [m.spread, m.expected_grains, edge_m * 1e6 / m.edges, m.aspect]
    diameter[name] = polycrystal.diameters(elements.grain_id, elements.grains, edge_m * 1e6).numpy()
    aspect = polycrystal.aspect_ratios(elements.grain_id, elements.grains, m.axis).median().item()
    measured = [np.log(diameter[name]).std(), elements.grains.double().mean().item(), np.median(diameter[name]), aspect]
    sizes |= {name: np.array([measured, wanted])} if has_law else {}
    shown = measured if own else (value for pair in zip(measured, wanted if has_law else [None] * 4) for value in pair)
    rows.append([name, counts[name], *shown])
off = {name: 100 * (measured / wanted - 1) for name, (measured, wanted) in sizes.items()}
chance = {name: 100 / (2 * len(diameter[name])) ** 0.5 for name in off}  # standard error of a standard deviation
wider = sorted((name for name in off if abs(off[name][0]) > 2 * chance[name]), key=lambda name: -abs(off[name][0]))
told = [f"{name} {off[name][0]:+.1f} % (chance {chance[name]:.1f} %)" for name in wider]
chanced = max(set(off) - set(wider), key=lambda name: abs(off[name][0]), default="")
rows.sort(key=lambda row: not row[0].endswith("/train"))
columns = {"spread of ln ESD": "spread asked", "grains a VE": "grains asked", "median ESD / µm": "ESD asked / µm",
           "aspect": "aspect asked"}
table(rows, ["set", "VEs", *(columns if own else (title for pair in columns.items() for title in pair))],
      "Sizes and shapes of the grains" + (f", as if the edge of every VE was {1e6 * edge_m:.1f} µm." if own else "."))

# %%
law, distance, rivals, inside, packed = polycrystal.MORPHOLOGIES["equiaxed"], {}, {}, {}, {}
if own:
    print("Nothing was asked for of your own volume elements: the table has what was measured.")
else:
    asked = {name: sizes[name][1, 2] for name in ("cubic/train", "cubic/small", "cubic/elongated")}
    ratios, like = {name: diameter[name] / median for name, median in asked.items()}, sets["cubic/train"]
    for sweeps in (0, 0.25, 0.5, 0.75, 1, 2, 8):
        cells = grain_sizes.voronoi(len(like), like.grain_id.shape[1], round(law.expected_grains), sweeps,
                                    notebook.generator(f"Voronoi {sweeps}"))
        name = f"Voronoi, {sweeps} sweep{'s' * (sweeps != 1)}"
        rivals[name], inside[name] = polycrystal.diameters(*cells, law.edges).numpy(), cells[1]
    distance = {name: 100 * grain_sizes.distance_from_law(values, 1.0, law.spread)
                for name, values in (ratios | rivals).items()}
    strongest, rng = min(rivals, key=distance.get), np.random.default_rng(notebook.params.run.seed)
    scatters = [100 * grain_sizes.error_of_distance(np.split(values, grains.cumsum(0)[:-1].numpy()), 1.0, law.spread, rng)
                for values, grains in ((ratios["cubic/train"], like.grains), (rivals[strongest], inside[strongest]))]
    best = {name: rivals[name] for name in dict.fromkeys(("Voronoi, 0 sweeps", strongest))}
    show(draw.size_distribution(ratios | best, law.spread, dashed=best),
         "Above, the share of grains smaller than a size, over the median asked for; lines on the broad grey one have the sizes asked for. Below, by how many points "
         "the share differs from the law's: the largest such distance is the measure. The steps of the small grains are whole voxels. Dashed: Voronoi cells of random seeds, and after that part of Lloyd's sweeps "
         "which, of those tried, brings them nearest.")
    for name, edge, count in (("columnar", 16, 20), ("small", 16, 5), ("small", 32, 3)):
        with mock.patch.object(polycrystal, "_RELAXATIONS", 2 * polycrystal._RELAXATIONS):  # sweeps of the packing
            made = polycrystal.generate(count, edge, "cubic", notebook.generator(f"packing {name} {edge}"), morphology=name)
        packed[name, edge] = np.log(polycrystal.diameters(made.grain_id, made.grains).numpy())

# %% [markdown]
# Without weights the sizes are too varied at first, and soon too even as sweeps move the seeds; in between they come near this law,
# but no other can be chosen. The largest vertical distance from the grey line (Kolmogorov and Smirnov's), in
# points of the share, is the measure of this notebook.
#
# The next pictures show VEs themselves. Colours are those of the *inverse pole figure*: they tell which crystal direction lies
# along sample $x$ (key at the right). Grains of one colour may still differ by a turn about $x$.

# %%
shown = [n for n in ("cubic/train", "cubic/large", "cubic/small", "cubic/elongated", "cubic/brass", "cubic/goss") if n in sets]
symmetry = (shown or names)[0].split("/")[0]
shown = shown or [name for name in names if name.startswith(symmetry)][:6]
first = {name: elements[:1].orientations()[0].numpy() for name, elements in sets.items()}
overview = draw.slices([first[n] for n in shown], [n.split("/")[1] for n in shown], symmetry, edge_m=edge_m)
show(overview, "Middle sections z = const of one volume element each, coloured by the crystal direction along sample x."
     + ("" if own else " In a texture such as brass or Goss all grains have neighbouring colours of the key."))
solid = [f"cubic/{n}" for n in ("train", "elongated", "columnar", "wide", "twinned", "grown") if f"cubic/{n}" in sets] or shown[:2]
show(draw.cubes([first[n] for n in solid], [n.split("/")[1] for n in solid], symmetry, edge_m=edge_m),
     "Three faces of one volume element each, coloured in the same way; opposite faces of a periodic cube fit."
     + ("" if own else " Elongated grains lie along x, columnar ones stand along z, twins are the thin plates."))

# %% [markdown]
# ### Textures
#
# Rolled and recrystallised cubic metals prefer a few orientations; S1 takes brass, copper, cube and Goss. Its angles and
# variances are not known, so the usual ideal Bunge Euler angles are used, $(35°,45°,0°)$, $(90°,35°,45°)$, $(0°,0°,0°)$ and
# $(0°,45°,0°)$, and each grain is turned from the ideal by a normal rotation vector. Scatter is put on *rotations*, not
# on Euler angles: that way it is the same for every component.
#
# A *pole figure* shows where one kind of crystal direction points in the sample: for each grain all of its equivalent
# directions, as points of the upper hemisphere. Hexagonal VEs (magnesium) feed the crystal-plasticity data set of notebook
# 05: the same grains with another symmetry, at random or *basal*, c-axes about sample $z$.

# %%
components = [n for n in ("train", *polycrystal.COMPONENTS) if f"cubic/{n}" in sets] or [name.split("/")[1] for name in shown[:1]]
pole, title = ((1, 0, 0), "{100}") if symmetry == "cubic" else ((0, 0, 1), "{0001}")
few = {name: sets[f"{symmetry}/{name}"][:16] for name in components}
grains = {name: torch.cat([q[:count] for q, count in zip(e.quaternion, e.grains)]) for name, e in few.items()}
show(draw.pole_figures({f"{name} {title}": q.numpy() for name, q in grains.items()}, symmetry, pole),
     f"Pole figures {title} of the grains of up to 16 volume elements, equal-area projection: sample x to the right, y upwards, z "
     "towards you. What is random is even over the disc; a texture is a few clouds.")
scatter = {name: torch.rad2deg(orientations.disorientation(
    grains[name], orientations.from_euler(torch.deg2rad(torch.tensor(polycrystal.COMPONENTS[name]))), "cubic")).mean().item()
    for name in components if symmetry == "cubic" and name in polycrystal.COMPONENTS}
hexagonal = [n for n in ("hexagonal/train", "hexagonal/basal") if n in sets] or [n for n in names if n.startswith("hexagonal")][:2]
if hexagonal:
    show(draw.slices([first[n] for n in hexagonal], hexagonal, "hexagonal", edge_m=edge_m, axis="z"),
         "Middle sections of hexagonal volume elements, coloured by the crystal direction along sample z: where the c-axis is near "
         "it, as in a basal texture, the grain is red, orange or pink.")
else:
    print("There are no hexagonal sets: notebooks 05 and 06 need them.")

# %% [markdown]
# ## 2 Composites
#
# S2's recipe: convolve uniform noise with a Gaussian of standard deviations $(w_x, w_y, w_z)$ and cut the result at a
# level, so that a share $f$ of the voxels becomes the stiff phase. Four widths for each of three axes make 64 filters: fine
# or coarse, equiaxed, fibrous or layered. S2 made 8900 composites, with 0.26 to 0.75 of the volume stiff in its figures; its
# widths are not known. Here the filters are periodic.

# %%
notebook.do(datasets.generate_composites)
with notebook.open("composites.h5", "composites") as file:
    widths, fraction = file["widths"][:], file["volume_fraction"][:]
    filtered, kinds = np.isfinite(widths).all(), {}
    if filtered:
        low, high = widths.min(), widths.max()
        kinds = {"fine": (low, low, low), "coarse": (high, high, high), "fibres along x": (high, low, low),
                 "fibres along z": (low, low, high), "layers across z": (high, high, low), "layers across x": (low, high, high)}
    chosen = [int(np.abs(np.log(widths / kind)).sum(1).argmin()) for kind in kinds.values()] or range(min(6, len(fraction)))
    phase = [file["phase"][number] for number in chosen]
titles = [f"{kind}\n({', '.join(f'{w:g}' for w in widths[i])})\nf = {fraction[i]:.2f}" for kind, i in zip(kinds, chosen)]
figure = cubes(phase, titles or [f"f = {fraction[i]:.2f}" for i in chosen], columns=3)
figure.set_size_inches(7.0, 5.8)
for ax in figure.axes:
    ax.title.set_fontsize(9)
show(figure,
     "Three faces of composites, the stiff phase dark: x points to the lower left, y to the lower right, z up."
     + (" Above each the widths of its filter in voxels, and the stiff share f." if filtered else " Above each the stiff share f."))

# %% [markdown]
# ## 3 Cast iron
#
# S3 has twelve micrographs: castings of four radii (hence cooling rates) with three magnesium contents. Without magnesium
# graphite grows as flakes, with enough of it as round *nodules*, with a little as short worms beside nodules; slow cooling
# makes particles few and large; grain boundaries of the ferrite are lines too faint to see at this size. The images below are **drawn** by these rules.
#
# Twelve are few to judge a prediction for an image not seen before, and much in them changes together. So others stand beside
# them: castings whose *causes*, five of the material and three of the picture, are drawn at random, each by itself. Whatever
# a property goes with can then be told from what only happens to come along.

# %%
notebook.do(datasets.generate_micrographs)
with notebook.open("micrographs.h5", "micrographs") as file:
    samples = {name: data[:] for name, data in file["samples"].items() if name not in ("image", "phase")}
    images = [data[:] for data in list(file["samples/image"].values())[:12]]
    patches, pixel_m = len(file["image"]), file.attrs["pixel_m"]
synthetic = "named" in samples
labels = zip(samples["cooling_rate"], samples["magnesium"])
titles = [f"{rate:.3g} K/s, {mg:.3f} % Mg" for rate, mg in labels] if synthetic else [name.decode() for name in samples["name"]]
show(draw.micrographs([image[:512, :512] for image in images], titles, pixel_m),
     "The twelve castings: magnesium grows from row to row, cooling slows from left to right. Graphite is dark: flakes, worms and "
     "nodules, fewer and larger to the right." if synthetic else "The first of your images, upper left corners.")

# %% [markdown]
# An image is a part of a larger piece: opposite edges do not fit. Next the causes one by one, at the least and the greatest
# value that is drawn, with all others in the middle. No property is put in by hand: each image comes with its map of phases,
# from which notebook 08 **simulates** a stiffness and a yield-like stress. That map does not hold the boundaries' contrast,
# the exposure and the noise, so these three cannot matter for a property, and a good fingerprint should say so.

# %%
readable = {n: n.replace("_", " ") for n in cast_iron.CONTROLS} | {
    "diameter_um": "particle size / µm", "thickness_um": "flake thickness / µm", "grain_um": "grain size / µm"}
if synthetic:
    middle = {n: np.exp(np.log(r).mean()) if n in cast_iron.LOGARITHMIC else np.mean(r) for n, r in cast_iron.RANGES.items()}
    pairs = [(name, end) for part in (cast_iron.CONTROLS[:4], cast_iron.CONTROLS[4:]) for end in (0, 1) for name in part]
    castings = [cast_iron.Casting(**middle | {name: cast_iron.RANGES[name][end]}) for name, end in pairs]
    crops = [cast_iron.generate(casting, (160, 160), np.random.default_rng(1)).image for casting in castings]
    titles = [f"{readable[name]}: {cast_iron.RANGES[name][end]:g}" for name, end in pairs]
    show(draw.micrographs(crops, titles, cast_iron.PIXEL_M),
         "One cause changes from a picture to the one below it, in the upper two rows and in the lower two, and no other. Where it "
         "changes the graphite, all particles are drawn anew.")
twelve = samples.get("named", samples["tested"])
rows = [(readable[name], "logarithm" if name in cast_iron.LOGARITHMIC else "value",
         *(f"{v:.3g}" for v in (*cast_iron.RANGES[name], samples[name][twelve].min(), samples[name][twelve].max()))) for name in cast_iron.CONTROLS if synthetic]
table(rows, ["cause", "drawn evenly in its", "from", "to", "least of the twelve", "most of the twelve"],
      f"Causes of {len(twelve)} castings, {(~twelve).sum()} of them drawn. Exposure is a factor on the "
      "grey values, which lie between 0 and 1, as do shares.") if rows else None

# %% [markdown]
# For the twelve, cooling rate and magnesium set the causes; for the drawn castings both are computed from the causes: the cooling
# rate from the number of particles an area, which size and share of the graphite make, the magnesium content from the nodularity.
# These are labels for a reader, in known units, not further causes.

# %%
shown = {"graphite share": "measured_graphite_share", "particles / mm²": "particles_per_mm2", "nodularity": "measured_nodularity",
         "aspect": "aspect_ratio"}
known = {"Mg / wt%": samples["magnesium"], "cooling / K/s": samples["cooling_rate"],
         **{title: samples[name] for title, name in shown.items() if name in samples},
         "modulus / GPa": samples["youngs_modulus"] / 1e9,
         "yield / MPa": samples["yield_strength"] / 1e6, "ultimate / MPa": samples["ultimate_strength"] / 1e6}
known = {column: values for column, values in known.items() if np.isfinite(values).any()}
if synthetic:
    known = {column: values[twelve] for column, values in known.items()}
    known["tested in S3"] = np.where(samples["tested"][twelve], "yes", "no")
    caption = ("the twelve: graphite share as in the image; number, nodularity and aspect of the particles drawn. S3 tested the slowest "
               "and the fastest cooling only.")
else:
    known = {"image": titles} | known
    width = "of unknown width" if np.isnan(pixel_m) else f"{1e6 * pixel_m:g} µm wide"
    caption = f"labels from labels.csv, as far as it has them; a pixel is {width}."
table(list(zip(*known.values())), list(known), f"{len(samples['tested'])} samples, cut into {patches} patches; {caption}")

# %% [markdown]
# ## 4 Your own data
#
# `polycrystals.source` may name a folder `cubic/train/…` with DREAM.3D files, DAMASK's `.vti` (its `.yaml` beside it),
# `.npz` (`grain_id`, `quaternion`) or `.npy` files; `composites.source` one of `.npy` phases; `micrographs.source` one of
# PNG or TIFF images with `labels.csv`. Grains are read from the file, each with its mean orientation; a measured map without
# grain ids is segmented at `polycrystals.segmentation_deg`. Pickles (`.pt`) are refused: opening one runs whatever it holds.
#
# Images are single ones, saved without loss (no JPEG), opaque, of at most 100 megapixels. `labels.csv` has a column `file`
# and any of `cooling_rate_K_per_s`, `magnesium_wt_pct`, `youngs_modulus_GPa`, `yield_strength_MPa` and
# `ultimate_strength_MPa`, as spreadsheets write it: semicolons or tabs, decimal commas and other units
# (`Yield strength (GPa)`) are understood, an empty cell is a value that is not known, and other columns are left out.
# A column `pixel_size_um` (or nm, or px/µm) says how wide the pixels of each image are: all images are then resampled, by means
# over areas, to the coarsest pixel or to `micrographs.pixel_um`; without it they are taken as they are. An instrument's footer
# below an image is refused until `micrographs.footer` cuts off its rows; a scale bar within the picture is not noticed.
#
# A source need not have all sets. Notebooks whose sets are there will run; `python run_all.py --dry-run` says which
# cannot, and which sets each of them needs. Without a `validation` set a tenth of `train` becomes one. The volume
# elements of a symmetry have one edge, their own: `polycrystals.edge` is that of synthetic ones.
#
# To see it work, one VE is written in two formats and read back; the error is the largest disorientation of any voxel. Then
# three files that cannot be used are refused, each in a few words that name the file, the fault and the remedy.

# %%
some = sets[names[0]]
grain_id, quaternion = some.grain_id[0].numpy(), some.quaternion[0, : some.grains[0]].numpy()
folder, rows = Path(tempfile.mkdtemp()), []
writers.write_vti(folder / "element.vti", grain_id, quaternion, edge_m)
writers.write_dream3d(folder / "element.dream3d", grain_id, quaternion, edge_m)
for path in readers.list_files(folder, readers.VOLUME_SUFFIXES):
    element = readers.read_volume_element(path)
    angle = orientations.disorientation(element.orientations()[0].double(), some[:1].orientations()[0].double(), some.symmetry)
    rows.append([path.name, element.grains.item(), torch.rad2deg(angle).max().item()])
np.savez(folder / "hole.npz", grain_id=np.where(grain_id == 1, -1, grain_id), quaternion=quaternion)
np.save(folder / "degrees.npy", np.full((3, 4, 4, 4), 90.0))
for name in ("hole.npz", "degrees.npy", "absent.vti"):
    try:
        readers.read_volume_element(folder / name)
    except UserError as error:
        print(str(error).replace(f"{folder}/", ""))
round_trip = max(row[2] for row in rows)
table(rows, ["file", "grains", "error / °"], "Two file formats, written and read.")

# %%
said, missed, standings = [], [], [Standing("grains in a volume element, mean", sets[names[0]].grains.double().mean().item())]
if sizes:
    shape = max(off, key=lambda name: abs(off[name][3]))
    again = {pair: values.std() for pair, values in packed.items()}
    error = {pair: again[pair] / (2 * len(values)) ** 0.5 for pair, values in packed.items()}
    narrow = ", now too narrow," if again["columnar", 16] < law.spread - 2 * error["columnar", 16] else ""
    better = again["small", 16] - again["small", 32] > 2 * np.hypot(error["small", 16], error["small", 32])
    before = {name: f"from {sizes[f'cubic/{name}'][0, 0]:.3f} " if sets[f"cubic/{name}"].edge == 16 else "" for name in ("columnar", "small")}
    missed = [f"The spread of sizes differs from the law by more than twice what chance would make in {len(wider)} of {len(off)} sets, most in "
              + ", ".join(told[:3]) + "".join(f"; {text}" for text in told[3:] if text.startswith("cubic/train"))
              + (f". {chanced} is off by {off[chanced][0]:+.1f} %, but within twice its chance of {chance[chanced]:.1f} %" if chanced and abs(off[chanced][0]) > abs(off[wider[:3][-1]][0]) else "")
              + f". Twice the sweeps of the packing, with 16 voxels an edge, bring columnar {before['columnar']}to {again['columnar', 16]:.3f}{narrow} and small "
              f"{before['small']}to {again['small', 16]:.3f}; as many sweeps with 32 voxels an edge bring small to {again['small', 32]:.3f}"
              + (": whole voxels are part of the cause." if better else ".")] if wider else []
    missed.append(f"The aspect of {shape} is {sizes[shape][0, 3]:.2f} instead of {sizes[shape][1, 3]:g}.")
    ours, theirs, uncertain, bound = distance["cubic/train"], distance[strongest], np.hypot(*scatters), 136 / len(diameter["cubic/train"]) ** 0.5
    whole = 100 * grain_sizes.distance_of_whole_voxels(sets["cubic/small"].grain_id.shape[1] / polycrystal.MORPHOLOGIES["small"].edges, law.spread)
    standings = [Standing("grain sizes: largest distance from the law asked for", ours, "%", rival=(strongest, theirs), spread=2 * uncertain)]
    judged = {"equal": "not to be told apart from ours", "better": "behind ours", "worse": "ahead of ours"}[standings[0].verdict]
    said = [*missed, "Over {} sets, numbers of grains are within {:.1f} %, median sizes within {:.1f} % of what was asked for.".format(
                len(off), *(max(abs(o[column]) for o in off.values()) for column in (1, 2))),
            f"The shares of grains below a size differ from the law by at most {ours:.1f} points in the training set (95 % of samples of the "
            f"law itself stay below {bound:.1f}), {distance['cubic/elongated']:.1f} in elongated, {distance['cubic/small']:.1f} in small grains, where whole "
            f"voxels alone make {whole:.1f}. In the nearest Voronoi cells of those tried ({strongest}) it is {theirs:.1f}: {judged} (the difference has a standard error of {uncertain:.1f})."]

# %%
if scatter and not own:
    deg = notebook.params.polycrystals.texture_scatter_deg
    said.append(f"Grains of a texture lie {min(scatter.values()):.1f} to {max(scatter.values()):.1f}° from its ideal orientation on "
                f"average; a normal scatter of {deg:g}° about three axes makes {deg * (8 / np.pi) ** 0.5:.1f}°.")
by_voxel = 16e-3 * sets[names[0]].grain_id[0].numel()
said += [f"A VE takes {kilobytes:.1f} kB on the disc" + (", as orientations are stored by grain; a quaternion for each of its voxels "
         f"would take {by_voxel:.0f} kB." if by_voxel > kilobytes else "."),
         f"The {len(fraction)} composites have {100 * fraction.min():.0f} to {100 * fraction.max():.0f} % of the stiff phase"
         + (f" and {len(np.unique(widths, axis=0))} filters." if filtered else ".")]
outside = [f"{readable[n].split(' / ')[0]} ({samples[n][twelve].min():.3g} to {samples[n][twelve].max():.3g}, drawn {low:g} to {high:g} {readable[n].partition(' / ')[2]}".rstrip() + ")"
           for n, (low, high) in cast_iron.RANGES.items() if synthetic
           and not (low - 1e-9 <= samples[n][twelve].min() and samples[n][twelve].max() <= high + 1e-9)]
if outside:
    said.append(f"The twelve castings reach beyond what is drawn in {', '.join(outside)}.")
if synthetic and (~twelve).sum() >= 10:
    of_material = ("nodularity", "diameter_um", "thickness_um", "grain_um")  # the twelve have one share of graphite
    values = np.array([np.log(samples[n]) if n in cast_iron.LOGARITHMIC else samples[n] for n in of_material])
    together, apart = (np.abs(np.triu(np.corrcoef(values[:, which]), 1)).max() for which in (twelve, ~twelve))
    said.append(f"Two causes of the twelve castings correlate by up to {together:.2f}, so nobody can tell them apart; among the "
                f"{(~twelve).sum()} drawn ones none by more than {apart:.2f} (chance: up to {2 / (~twelve).sum() ** 0.5:.2f}).")
findings(*said)

# %% [markdown]
# **What did not work**: the papers' volume elements, composites and micrographs were not at hand: what stands here are their
# recipes, not their data. DREAM.3D was not run, so its packing is not compared.
#
# **Limits**
#
# - Laguerre cells are convex and have straight faces; grains of a real metal need not. Of the sets above only *twinned* and
#   *grown* differ, and subgrains are absent from all.
# - Cast-iron images are drawn, and their properties will be simulated from them. They test the method; they say nothing
#   about iron.
# - Textures have one variant each, as in S1; a rolled sheet has all that its symmetry makes equivalent.
#
# **Next**: notebook 02 turns orientations into something a network can learn from.

# %%
metrics = {f"01.{name.replace('/', '.')}.grains_per_ve": e.grains.double().mean().item() for name, e in sets.items()}
metrics |= {f"01.{name.replace('/', '.')}.ln_esd_spread": float(np.log(d).std()) for name, d in diameter.items()}
metrics |= {f"01.sizes.{name.replace('/', '.').replace(', ', '.').replace(' ', '_').lower()}.distance_pct": value
            for name, value in distance.items()}
train = sets.get(f"{symmetry}/train", some)
metrics |= {f"01.{symmetry}.grains_per_ve": train.grains.double().mean().item(), "01.composites.count": len(fraction),
            "01.composites.volume_fraction_min": fraction.min(), "01.composites.volume_fraction_max": fraction.max(),
            "01.micrographs.patches": patches, "01.readers.error_deg": round_trip, "01.disc.by_grain_kb": kilobytes, "01.disc.by_voxel_kb": by_voxel}
metrics |= {f"01.{name.replace('/', '.')}.texture_scatter_deg": angle for name, angle in scatter.items()}
if sizes:
    metrics |= {f"01.{name.replace('/', '.')}.{what}_off_pct": value
                for name, values in off.items() for what, value in zip(("spread", "grains", "median", "aspect"), values, strict=True)}
    metrics |= {f"01.{name.replace('/', '.')}.spread_chance_pct": value for name, value in chance.items()}
    metrics |= {f"01.packed.{name}.{edge}.ln_esd_spread": value for (name, edge), value in again.items()}
    metrics["01.sizes.whole_voxels.distance_pct"] = whole
if not own:
    missed.append("The papers' volume elements, composites and micrographs were not at hand: their recipes were followed instead.")
notebook.close("01", metrics=metrics, standings=standings, missed=missed, figure=overview, caption="Sections of volume elements, coloured by the crystal direction along x.")

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** How many voxels must a grain be across for its size to be right? Make `small` and `equiaxed` volume elements
# (`polycrystal.generate`) with 8, 16, 24 and 32 voxels an edge, and compare median and spread of the sizes with the law. The
# grains are 2.73 and 5.78 voxels across in an edge of 16.

# %% tags=["solution"]
rows = []
for name, count in (("small", 4), ("equiaxed", 40)):
    kind = polycrystal.MORPHOLOGIES[name]
    for edge in (8, 16, 24, 32):
        made = polycrystal.generate(count, edge, "cubic", notebook.generator(f"exercise {name} {edge}"), morphology=name)
        d = polycrystal.diameters(made.grain_id, made.grains).numpy() * kind.edges
        rows.append([name, edge, edge / kind.edges, np.median(d), np.log(d).std()])
rows.sort(key=lambda row: row[2])
off = [(number, row) for number, row in enumerate(rows) if abs(row[3] - 1) > 0.02]
enough, few = rows[off[-1][0] + 1], off[-1][1]  # all from the first on have their median
alike = [next(row for row in rows if row[:2] == pair) for pair in (["small", 32], ["equiaxed", 16])]
table(rows, ["set", "voxels an edge", "voxels a grain", "median ESD / asked", "spread (asked: 0.1)"],
      f"From {enough[2]:.1f} voxels a grain on the median is right to 2 % ({enough[3]:.3f} of what was asked for; {few[3]:.3f} at "
      f"{few[2]:.1f}). The spread needs more: with {alike[0][2]:.1f} and {alike[1][2]:.1f} voxels a grain it is {alike[0][4]:.3f} for small and "
      f"{alike[1][4]:.3f} for equiaxed grains. What voxels leave is a matter of sweeps (see the findings).")

# %% [markdown]
# **Exercise 2.** Noise smoothed by a Gaussian of width $w$ is nearly a Gaussian field whose values at a distance $r$ correlate
# by $\rho = e^{-r^2 / 4w^2}$. Cut at its median, it has phases ±1 that correlate by $\frac{2}{\pi} \arcsin \rho$. Make
# composites with widths (1, 1, 3.5) and $f = 0.5$ (`composite.generate`) and compare along $x$ and along $z$.

# %% tags=["solution"]
wide = torch.tensor([[1.0, 1.0, 3.5]]).repeat(32, 1)
signs = 2 * composite.generate(wide, 27, notebook.generator("exercise composites"), fractions=(0.5, 0.5)).phase.double() - 1
rows = [[axis, r, (signs * signs.roll(r, dim)).mean().item(), 2 / np.pi * np.arcsin(np.exp(-(r**2) / (4 * width**2)))]
        for axis, dim, width in (("x", 1, 1.0), ("z", 3, 3.5)) for r in (1, 2, 3, 4, 6)]
table(rows, ["axis", "distance / voxel", "measured", "formula"],
      f"The formula is off by {max(abs(row[2] - row[3]) for row in rows):.3f} at most: the recipe is one number an axis.")

# %% [markdown]
# **Exercise 3.** A strength is measured on the twelve castings, and found to grow as graphite particles get smaller. What else
# gets smaller with them? Correlate the logarithms of the size of particles, the thickness of flakes and the size of grains
# over `cast_iron.CASTINGS`, then over 200 castings from `cast_iron.drawn`.

# %% tags=["solution"]
generator, lengths = np.random.default_rng(2026), ("diameter_um", "thickness_um", "grain_um")
groups = {"the twelve": list(cast_iron.CASTINGS.values()), "200 drawn": [cast_iron.drawn(generator) for _ in range(200)]}
correlation = {name: np.corrcoef([[np.log(getattr(c, length)) for c in group] for length in lengths])
               for name, group in groups.items()}
table([[name, c[0, 1], c[0, 2], c[1, 2]] for name, c in correlation.items()],
      ["castings", "particles and thickness", "particles and grains", "thickness and grains"],
      f"Grains follow particles by {correlation['the twelve'][0, 2]:.2f} in the twelve: whether particles or grains make the strength "
      f"cannot be known from these. Drawn castings ({correlation['200 drawn'][0, 2]:.2f}) can tell.")

# %% [markdown]
# **In three lines**
#
# - Weights in a tessellation give grains nearly the sizes that were asked for, where they have voxels enough; plain Voronoi cells come
#   near this one law at best, after the right part of a sweep (how near: see the findings).
# - Composites are filtered noise, described by three widths and a share; micrographs are drawn from eight causes, independent
#   but in the twelve castings of S3.
# - Your own volume elements and images go the same way, and are refused with the fault and the remedy where they cannot.
