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
# **Inputs**: parameters alone, or folders of your own volume elements and micrographs (`source`).
# **Outputs**: `polycrystals.h5`, `composites.h5`, `micrographs.h5`.
#
# **Hardware and run time**: processor alone; a GPU is used where there is one.
#
# | profile | polycrystals | composites | image patches | time on 2 cores |
# | --- | ---: | ---: | ---: | ---: |
# | quick | 1376 of 16³ | 240 of 27³ | 144 | 30 s |
# | laptop | 10288 of 16³ | 6000 of 27³ | 336 | 2 min |
#
# Three papers, three kinds of material: **S1** White et al. 2025 (polycrystals, arXiv:2503.17427), **S2** Sardeshmukh et
# al. 2024 (two-phase composites, arXiv:2402.17806), **S3** Sardeshmukh et al. 2021 (cast iron, TextureVAE).
# None of their data can be had from here, so all of it is made anew, by rules that are written down below.

# %% tags=["parameters"]
run = {"name": "by-hand", "seed": 2026}
compute = {"engine": "local", "device": "auto"}
polycrystals = {
    "source": "synthetic",
    "edge": 16,
    "cubic_train": 512,
    "cubic_validation": 32,
    "cubic_test": 32,
    "cubic_mixed": 512,
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
micrographs = {"source": "synthetic", "castings": 24, "rows": 512, "columns": 512, "edge": 256, "stride": 256,
               "pixel_um": None, "footer": 0}

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from microprint import UserError, orientations
from microprint.microstructures import cast_iron, datasets, polycrystal, readers, writers
from microprint.microstructures.volume_elements import read_volume_elements
from microprint.notebook import Standing, open_notebook
from microprint.params.relations import SYNTHETIC
from microprint.plots import microstructure as draw
from microprint.plots import style, table

style()
notebook = open_notebook(run=run, compute=compute, polycrystals=polycrystals, composites=composites, micrographs=micrographs)

# %% [markdown]
# ## 1 Polycrystals
#
# A *volume element* (VE) is a periodic cube of grains, each with one crystal orientation. S1 had DREAM.3D pack grains
# whose equivalent-sphere diameters (ESD) have a mean of 5.78 in a cube with an edge of 16, with a narrow log-normal
# spread, $\sigma_{\ln d} = 0.1$. Such a cube holds
#
# $$ N = \frac{6}{\pi}\left(\frac{16}{5.78}\right)^3 \approx 40 \text{ grains.} $$
#
# Here grains are the cells of a periodic *Laguerre tessellation*: voxel $\mathbf x$ belongs to the seed
# $\mathbf s_i$ with the least power $|\mathbf x - \mathbf s_i|^2 - w_i$. Volumes are drawn first; then a few sweeps move
# every seed to the centroid of its cell (Lloyd) and every weight $w_i$ to where the cell has the volume it should have.
# Stretching the metric along an axis makes elongated grains. A VE is stored as grain numbers and one quaternion a grain.

# %%
notebook.do(datasets.generate_polycrystals)
with notebook.open("polycrystals.h5", "polycrystals") as file:
    names = [f"{symmetry}/{name}" for symmetry in file for name in file[symmetry]]
    most = min(200, max(2**23 // file[names[0]]["grain_id"][0].size, 1))
    sets = {name: read_volume_elements(file, name, slice(most)) for name in names}
    counts = {name: len(file[name]["grains"]) for name in names}
    edge_m = file[names[0]].attrs["edge_m"]
f"{sum(counts.values())} volume elements, {notebook.path('polycrystals.h5').stat().st_size / 1e6:.1f} MB"

# %% [markdown]
# The edge cases of S1 differ in one thing each from the training set: larger, smaller or elongated (2:1:1) grains, or a
# texture. S1 advises to train on mixed morphologies: `cubic/mixed` has equiaxed, large, small and elongated grains in turn.
#
# Fingerprints should be judged on grains that neither they nor their decoder have met, too. Four more sets, with as many
# grains or nearly so and random texture, are for tests alone:
#
# - *columnar*: three times as long along $z$ as wide;
# - *wide*: sizes that vary more, $\sigma_{\ln d} = 0.4$;
# - *twinned*: most of some 15 parents hold one or two plane-parallel lamellae, a fifth to a third of the parent's ESD thick
#   and grains of their own: the mirror image of the parent in a {111} plane, which is a turn by 60° about $\langle111\rangle$
#   (Σ3). What is left of a parent on both sides is one grain;
# - *grown*: Monte Carlo grain growth of the Potts model at zero temperature (Anderson, Srolovitz, Grest & Sahni 1984; 26
#   neighbours, Holm & Battaile 2001). Every voxel begins as a grain; it takes the grain of a neighbour, drawn at random, unless
#   more of its neighbours would then be in other grains. It ends where 40 grains are left. Last, a voxel without a face in
#   common with its own grain joins the one beside it that has most of the voxels around.
#
# The last two are cells of no tessellation.
#
# The table holds what was measured on up to 200 VEs of each set against what was asked for. ESDs are in micrometres, for a
# cube of 27.7 µm. Volumes vary, and the mean of $d^3$ is $e^{9\sigma^2/2}$ times the cube of the median: so a VE is expected to
# hold $N e^{-9\sigma^2/2}$ grains, where $N$ is that of the median. Aspect is the length along the axis of elongation over
# the width across it.

# %%
own, rows, diameter = notebook.params.polycrystals.source != SYNTHETIC, [], {}
for name, elements in sets.items():
    m = polycrystal.MORPHOLOGIES.get(name.split("/")[1], polycrystal.MORPHOLOGIES["equiaxed"])
    has_law = name not in ("cubic/mixed", "cubic/twinned", "cubic/grown")
    wanted = [m.expected_grains, edge_m * 1e6 / m.edges, m.spread, m.aspect] if has_law else [None] * 4
    diameter[name] = polycrystal.diameters(elements.grain_id, elements.grains, edge_m * 1e6).numpy()
    aspect = polycrystal.aspect_ratios(elements.grain_id, elements.grains, m.axis).median().item()
    measured = [elements.grains.double().mean().item(), np.median(diameter[name]), np.log(diameter[name]).std(), aspect]
    rows.append([name, counts[name], *(measured if own else (value for pair in zip(measured, wanted) for value in pair))])
columns = ["grains a VE", "median ESD / µm", "spread of ln ESD", "aspect"]
table(rows, ["set", "VEs", *(columns if own else (title for column in columns for title in (column, "asked for")))],
      "Sizes and shapes of the grains" + (f", as if the edge of every VE was {1e6 * edge_m:.1f} µm." if own else "."))

# %%
asked = {name: edge_m * 1e6 / polycrystal.MORPHOLOGIES[key].edges
         for name, key in (("cubic/train", "equiaxed"), ("cubic/small", "small"), ("cubic/elongated", "elongated")) if name in sets}
if own:
    print("Nothing was asked for of your own volume elements: the table has what was measured.")
else:
    draw.size_distribution({name: diameter[name] / mean for name, mean in asked.items()}, polycrystal.SPREAD)

# %% [markdown]
# The dashed line is the law that the volumes were drawn from; histograms follow it, within what voxels can resolve: a
# small grain has but a few of them. The next pictures show the middle section of one VE of each set. Colours are those of
# the *inverse pole figure*: they tell which crystal direction lies along sample $x$ (key at the right).

# %%
shown = [n for n in ("cubic/train", "cubic/large", "cubic/small", "cubic/elongated", "cubic/brass", "cubic/goss") if n in sets]
symmetry = (shown or names)[0].split("/")[0]
shown = shown or [name for name in names if name.startswith(symmetry)][:6]
fields = [sets[name][:1].orientations()[0].numpy() for name in shown]
overview = draw.slices(fields, [name.split("/")[1] for name in shown], symmetry, edge_m=edge_m)

# %%
solid = [f"cubic/{n}" for n in ("train", "elongated", "columnar", "wide", "twinned", "grown") if f"cubic/{n}" in sets] or shown[:2]
columns = min(len(solid), 3)
lines = -(-len(solid) // columns)
figure = plt.figure(figsize=(3.2 * columns, 3.1 * lines))
for number, name in enumerate(solid):
    ax = figure.add_subplot(lines, columns, number + 1, projection="3d")
    draw.cube(ax, sets[name][:1].orientations()[0].numpy(), symmetry, edge_m=edge_m)
    ax.set_title(name)

# %% [markdown]
# ### Textures
#
# Rolled and recrystallised cubic metals prefer a few orientations; S1 takes brass, copper, cube and Goss. Its angles and
# variances are lost, so the usual ideal angles are used, $(35°,45°,0°)$, $(90°,35°,45°)$, $(0°,0°,0°)$ and
# $(0°,45°,0°)$, and each grain is turned from the ideal by a normal rotation vector. Scatter is put on *rotations*, not
# on Euler angles: that way it is the same for every component, and there is no need to cut it off at zero.

# %%
components = [n for n in ("train", *polycrystal.COMPONENTS) if f"cubic/{n}" in sets] or [name.split("/")[1] for name in shown[:1]]
pole, title = ((1, 0, 0), "{100}") if symmetry == "cubic" else ((0, 0, 1), "{0001}")
figure, axes = plt.subplots(1, len(components), figsize=(1.9 * len(components), 2.2), squeeze=False)
for ax, name in zip(axes[0], components):
    few = sets[f"{symmetry}/{name}"][:16]
    grains = torch.cat([quaternion[:count] for quaternion, count in zip(few.quaternion, few.grains)])
    draw.pole_figure(ax, grains.numpy(), symmetry, pole, f"{name} {title}")

# %% [markdown]
# Hexagonal VEs (magnesium) have the same grains and other symmetry: they feed the crystal-plasticity data set of
# notebook 05. The basal set has its c-axes about sample $z$ and is red where colours are taken along $z$.

# %%
hexagonal = [n for n in ("hexagonal/train", "hexagonal/basal") if n in sets] or [n for n in names if n.startswith("hexagonal")][:2]
if hexagonal:
    draw.slices([sets[n][:1].orientations()[0].numpy() for n in hexagonal], hexagonal, "hexagonal", edge_m=edge_m, axis="z")
else:
    print("There are no hexagonal sets: notebooks 05 and 06 need them.")

# %% [markdown]
# ## 2 Composites
#
# S2's recipe: convolve uniform noise with a Gaussian of standard deviations $(w_x, w_y, w_z)$ and cut the result at a
# level, so that a share $f$ of the voxels becomes the stiff phase (black). Four widths for each of three axes make 64
# filters: fine or coarse, equiaxed, fibrous or layered. S2's widths are lost. Here the filters are periodic.

# %%
notebook.do(datasets.generate_composites)
with notebook.open("composites.h5", "composites") as file:
    widths, fraction = file["widths"][:], file["volume_fraction"][:]
    phase = file["phase"][:6]
filtered = np.isfinite(widths).all()
draw.phases(phase, [(f"({w[0]:g}, {w[1]:g}, {w[2]:g})\n" if filtered else "") + f"f = {f:.2f}" for w, f in zip(widths, fraction)]);

# %%
table([["volume fraction of the stiff phase", fraction.min(), fraction.mean(), fraction.max(), "0.26 to 0.75 in its figures"],
       *([["different filters", None, len(np.unique(widths, axis=0)), None, "64"]] if filtered else []),
       ["composites", None, len(fraction), None, "8900"]],
      ["quantity", "least", "mean or number", "most", "S2"], "The composites of this run.")

# %% [markdown]
# ## 3 Cast iron
#
# S3 has twelve micrographs: castings of four radii (hence cooling rates) with three magnesium contents. Magnesium makes
# graphite grow as nodules, its absence as flakes; slow cooling makes particles few and large; ferrite grain boundaries
# are faint lines. The images below are **drawn** by these rules. Twelve are few to judge a prediction for an image not seen
# before, so others stand beside them: castings whose *causes*, five of the material and three of the picture, are drawn at
# random, each by itself. Whatever a property goes with can then be told from what only happens to come along.
#
# No strength is put in by hand. Each image comes with its map of phases, from which notebook 08 **simulates** a stiffness and
# a yield-like stress (`microprint.systems.micrograph_properties`). The picture's three causes cannot matter for these.

# %%
notebook.do(datasets.generate_micrographs)
with notebook.open("micrographs.h5", "micrographs") as file:
    samples = {name: data[:] for name, data in file["samples"].items() if name not in ("image", "phase")}
    images = [data[:] for data in list(file["samples/image"].values())[:20]]
    patches, pixel_m = len(file["image"]), file.attrs["pixel_m"]
synthetic = "named" in samples
labels = zip(samples["cooling_rate"], samples["magnesium"])
titles = [f"{rate:.2g} K/s, {mg:.3f} % Mg" for rate, mg in labels] if synthetic else [name.decode() for name in samples["name"]]
draw.micrographs([image[:512, :512] for image in images], titles, pixel_m);

# %% [markdown]
# The first three rows are the twelve, the others some of those that were drawn; an image is a part of a larger piece, and
# its opposite edges do not fit. Size and share of the graphite give the number of particles an area, and with it the
# cooling rate; the nodularity gives the magnesium content; the length of flakes follows from thickness and area.

# %%
twelve = samples.get("named", samples["tested"])
rows = [(name, "logarithm" if name in cast_iron.LOGARITHMIC else "value", *cast_iron.RANGES[name],
         *(part(samples[name][which]) if which.any() else None for which in (~twelve, twelve) for part in (np.min, np.max)))
        for name in cast_iron.CONTROLS if synthetic]
table(rows, ["cause", "even in its", "from", "to", "least drawn", "most drawn", "least of the twelve", "most of the twelve"],
      f"Causes of {len(twelve)} castings, {(~twelve).sum()} of them drawn. Shares and grey values lie between 0 and 1.") if rows else None

# %%
shown = {"graphite": "measured_graphite_share", "particles / mm²": "particles_per_mm2", "nodularity": "measured_nodularity",
         "aspect": "aspect_ratio"}
known = {"Mg / wt%": samples["magnesium"], "cooling / K/s": samples["cooling_rate"],
         **{title: samples[name] for title, name in shown.items() if name in samples},
         "modulus / GPa": samples["youngs_modulus"] / 1e9,
         "yield / MPa": samples["yield_strength"] / 1e6, "ultimate / MPa": samples["ultimate_strength"] / 1e6}
known = {column: values for column, values in known.items() if np.isfinite(values).any()}
if synthetic:
    known = {column: values[twelve] for column, values in known.items()}
    known["tested in S3"] = np.where(samples["tested"][twelve], "yes", "no")
    caption = "the twelve as measured in their images. S3 tested the slowest and the fastest cooling only."
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
# PNG or TIFF images with `labels.csv`. Grains are those of the file, with their average orientation; a measured map without
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
# A source need not have all sets. What can run with those that there are runs; `python run_all.py --dry-run` says which
# notebooks cannot, and which sets each of them needs. Without a `validation` set a tenth of `train` becomes one. The volume
# elements of a symmetry have one edge, their own: `polycrystals.edge` is that of synthetic ones.
#
# To see it work, one VE is written in two formats and read back; the angle is the largest disorientation of any voxel.

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
table(rows, ["file", "grains", "error / °"], "Real file formats, written and read.")

# %% [markdown]
# What cannot be used is refused with one sentence that names the file, the fault and the remedy:

# %%
np.savez(folder / "hole.npz", grain_id=np.where(grain_id == 1, -1, grain_id), quaternion=quaternion)
np.save(folder / "degrees.npy", np.full((3, 4, 4, 4), 90.0))
for name in ("hole.npz", "degrees.npy", "absent.vti"):
    try:
        readers.read_volume_element(folder / name)
    except UserError as error:
        print(str(error).replace(f"{folder}/", ""))

# %% [markdown]
# **Findings**
#
# - The table of sizes compares every set with what was asked for: number of grains, mean diameter, spread and aspect
#   ratio agree within what the voxels resolve.
# - The pole figures show each texture at its ideal orientation; the random set fills the sphere.
# - A VE takes a few kilobytes, because orientations are stored by grain and spread over voxels only where needed.
#
# **Limits**
#
# - Laguerre cells are convex and have straight faces; grains of a real metal need not. Twins and subgrains are absent.
# - Cast-iron images are drawn, and their properties will be simulated from them. They test the method; they say nothing
#   about iron.
# - Textures have one variant each, as in S1; a rolled sheet has all that its symmetry makes equivalent.
#
# **Next**: notebook 02 turns orientations into something a network can learn from.

# %%
train = sets.get(f"{symmetry}/train", some)
metrics = {f"01.{name.replace('/', '.')}.grains_per_ve": e.grains.double().mean().item() for name, e in sets.items()}
metrics |= {f"01.{name.replace('/', '.')}.ln_esd_spread": float(np.log(d).std()) for name, d in diameter.items()}
metrics |= {f"01.{symmetry}.grains_per_ve": train.grains.double().mean().item(), "01.composites.count": len(fraction),
            "01.composites.volume_fraction_min": fraction.min(), "01.composites.volume_fraction_max": fraction.max(),
            "01.micrographs.patches": patches, "01.readers.error_deg": max(row[2] for row in rows)}
standing = Standing("mean number of grains in a training VE", metrics[f"01.{symmetry}.grains_per_ve"], published=40.0)
notebook.close("01", metrics=metrics, standings=[standing], figure=overview)
