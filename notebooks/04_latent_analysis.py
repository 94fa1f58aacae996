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
# # 04 · Latent space: what do the 256 numbers know?
#
# **Question**: are volume elements (VEs) with neighbouring fingerprints alike, do textures and grain shapes form groups of
# their own, what does each part of a fingerprint hold, and what can be read off it by a straight line?
#
# **Inputs**: `polycrystals.h5` (01), `fingerprint_paper` and `fingerprint_ours` (03).
# **Outputs**: metrics and pictures.
#
# **Hardware and run time**: processor alone.
#
# | profile | training VEs | VEs in each edge case | time on 2 cores |
# | --- | ---: | ---: | ---: |
# | quick | 512 | 16 | 1.5 min |
# | laptop | 2000 | 40 | 5 min |
#
# After White et al. 2025, arXiv:2503.17427, section 3.3, here **S1**.

# %% tags=["parameters"]
run = {"name": "by-hand", "seed": 2026}
compute = {"engine": "local", "device": "auto"}
latent = {"path_steps": 7, "components": 3, "neighbours": 10, "fitted": 2000}

# %%
import matplotlib.pyplot as plt
import torch

from microprint.analysis import descriptors
from microprint.analysis import latent as space
from microprint.analysis.measured import measured
from microprint.microstructures.polycrystal import COMPONENTS, generate
from microprint.microstructures.volume_elements import VolumeElements, stored_edges
from microprint.notebook import Standing, open_notebook
from microprint.orientations import from_euler, reduce
from microprint.plots import latent as draw
from microprint.plots import style, table
from microprint.plots.explorer import Explorer
from microprint.systems.fingerprint import PAPERS, Fingerprint, trainable

style()
notebook = open_notebook(run=run, compute=compute, latent=latent)
settings = notebook.params.latent

# %% [markdown]
# ## Fingerprints of all sets
# A fingerprint is the mean of the posterior, without noise. *paper* is S1's network. *ours* (03) is made of three parts: two
# numbers for the *metric* in which grains are as wide as long; six numbers for each of its *seeds*, which the decoder draws as
# grains about fixed anchors; and, following from these, the volume averages of the symmetric embedding (02).

# %%
TEXTURES, MORPHOLOGIES = ("brass", "copper", "cube", "goss"), ("large", "small", "elongated")
sets = notebook.read_sets("cubic", "train", least=3)
sets |= notebook.read_sets("cubic", "validation")
sets |= notebook.read_sets("cubic", "test", "brass", "copper", "cube", "goss", "large", "small", "elongated", least=3)
sets["train"] = sets["train"][:settings.fitted]
edge = sets["train"].edge
with notebook.open("polycrystals.h5") as file:
    names = [name for name in ("paper", "ours") if name in trainable(stored_edges(file))["cubic"]]
models = {name: Fingerprint.load(notebook.path(f"fingerprint_{name}.safetensors")) for name in names}
models = {name: model for name, model in models.items() if name not in PAPERS or model.edge == edge}
if "paper" not in models:
    print(f"paper is left out: S1's network needs an edge that is a power of two and the one it was trained on, not {edge} voxels")
parts, anchors = {name: fingerprint.parts for name, fingerprint in models.items()}, models["ours"].anchors
z = {model: {name: fingerprint.encode_set(elements) for name, elements in sets.items()} for model, fingerprint in models.items()}

# %% [markdown]
# ## Paths
# Between two fingerprints $z_0$ and $z_1$ S1 draws the straight line $z_t = (1 - t) z_0 + t z_1$ and decodes along it. In 256
# dimensions draws from a normal distribution lie near a sphere, and the middle of a straight line between two of them lies
# well inside it, where there are no VEs. The great circle
#
# $$ z_t = \frac{\sin((1-t)\theta)\, \hat z_0 + \sin(t\theta)\, \hat z_1}{\sin\theta} \left( (1-t) |z_0| + t |z_1| \right) $$
#
# keeps to the sphere. Sections $z$ = const through the middle of the decoded VEs, coloured by the crystal direction along
# $x$; edge of a VE as in 01.
#
# **What to look at**: grains of one VE give way to those of the other, without a jump. Whether what lies between is a
# polycrystal is a question for numbers: the mean disorientation from the start; the share of neighbouring voxels that differ
# by 2° to 15°, which real grains hardly ever do and a blend of two does; and the length of the fingerprint. Dashed: real VEs,
# those of the test set.

# %%
start, end = z["ours"]["test"][:2]
paths = {name: path(start, end, settings.path_steps) for name, path in space.PATHS.items()}
decoded = {name: models["ours"].decode(path) for name, path in paths.items()}
shares = [f"{share:.2f}" for share in torch.linspace(0, 1, settings.path_steps).tolist()]
draw.rows_of_slices({name: (fields, shares) for name, fields in decoded.items()}, "cubic")
curves = {
    "distance": {name: space.degrees_between(fields, decoded["linear"][0], "cubic") for name, fields in decoded.items()},
    "blur": {name: space.blur(fields, "cubic") for name, fields in decoded.items()},
    "length": {name: path.norm(dim=1) for name, path in paths.items()}}
real = {"blur": space.blur(sets["test"][:4].orientations(), "cubic").mean(), "length": z["ours"]["test"].norm(dim=1).mean()}
labels = {"distance": "from the start / °", "blur": "voxel pairs 2° to 15° apart", "length": "length of the fingerprint"}
draw.along_path(curves, labels, levels=real);

# %% [markdown]
# ## Principal components
# How many directions does the space use? A code without redundancy needs nearly all of its numbers. Left: the share of the
# variance over all training VEs in the first components. Right: the variance of each number; those below the line hold
# nothing.

# %%
components = {model: space.PrincipalComponents.fit(by_set["train"]) for model, by_set in z.items()}
figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 2.8))
draw.explained_variance(left, {model: fitted.explained for model, fitted in components.items()})
for model, by_set in z.items():
    variance = by_set["train"].var(0).sort(descending=True).values
    right.semilogy(range(1, len(variance) + 1), variance.clamp_min(1e-8), color=draw.PALETTE[model], label=model)
right.axhline(space.ACTIVE_VARIANCE, color="0.5", lw=0.8)
right.set(xlabel="latent number, by variance", ylabel="variance of the posterior mean")
rows = [[model, space.active_units(z[model]["train"]), components[model].needed(0.95)] for model in models]
table([*rows, ["published, S1", None, "about 200 (all of the variance)"]],
      ["model", "active numbers", "components for 95 % of the variance"],
      f"{len(sets['train'])} training VEs. No more components can show than there are VEs. A number counts as active when its "
      f"posterior mean varies by more than {space.ACTIVE_VARIANCE} (the line in the right panel); the others have collapsed.")

# %% [markdown]
# ## Edge cases on the first two components
# **What to look at**: whether sets of one colour keep together and apart from the others; grey are the training VEs, which
# have random orientations and equiaxed grains.

# %%
flat = {model: {name: components[model].project(by_set, 2) for name, by_set in z[model].items()} for model in models}
scatter, panels = plt.subplots(len(models), 2, figsize=(7.5, 2.7 * len(models)), squeeze=False)
for row, model in zip(panels, models, strict=True):
    for panel, names in zip(row, (TEXTURES, MORPHOLOGIES), strict=True):
        draw.scatter_sets(panel, {name: flat[model][name] for name in names}, flat[model]["train"])
        panel.set_title(f"{model}: {'textures' if names is TEXTURES else 'morphologies'}")

# %% [markdown]
# ## Do textures and morphologies form clusters?
# Spectral clustering joins VEs to their nearest neighbours and cuts the graph where it is thinnest (S1). Clusters have no
# names, so they are matched to the classes in the way that agrees best. Chance is 1 over the number of classes. As in S1 it
# is done in three principal components. S1 takes those of the training set; but in a code that uses all of its numbers alike,
# three directions hold a hundredth of what there is. So we also take the components of the
# clustered VEs, which needs no classes either; the rows *in training components* are S1's way. The same is done with a part
# of the fingerprint alone: which of them knows it?
#
# A morphology has no place in a space of orientations: with random orientations every number is as often positive as
# negative, whatever the grains' size or shape. What a morphology does set is how *large* a number tends to be and how fast
# the seeds change from place to place. So it is done with $\ln z^2$, for the seeds with their power spectrum over the lattice
# of their anchors, too.

# %%
seed = notebook.generator("clustering").initial_seed()
groups = {"textures": TEXTURES, "morphologies": MORPHOLOGIES, "large_or_elongated": ("large", "elongated")}
power = {model: {name: space.log_power(some, parts[model], len(anchors)) for name, some in by_set.items()}
         for model, by_set in z.items()}
points = {}
for model, by_set in z.items():
    for group, names in groups.items():
        points[group, model] = space.own_components({name: by_set[name] for name in names}, settings.components)
        points[f"{group}_in_training_components", model] = [
            components[model].project(by_set[name], settings.components) for name in names]
        if group != "textures":
            own = {name: power[model][name] for name in names}
            points[f"{group}_by_power", model] = space.own_components(own, settings.components)
    for part, numbers in parts[model].items():
        own = {name: by_set[name][:, numbers] for name in TEXTURES}
        points[f"textures_by_{part}", model] = space.own_components(own, settings.components)
clusters = {key: space.cluster_classes(sets_of_points, settings.neighbours, seed) for key, sets_of_points in points.items()}
accuracy = {key: space.clustering_accuracy(*pair) for key, pair in clusters.items()}

# %%
figure, panels = plt.subplots(1, 2, figsize=(6.4, 3))
for panel, group, names in zip(panels, ("textures", "morphologies_by_power"), (TEXTURES, MORPHOLOGIES), strict=True):
    counts = space.confusion(*clusters[group, "ours"], len(names))
    draw.confusion_matrix(panel, counts, names, f"ours: {group.replace('_', ' ')}")
published = {"textures_in_training_components": 0.965, "large_or_elongated_in_training_components": 0.53}
rows = [[group.replace("_", " "), 1 / len(points[group, "ours"]), *(accuracy.get((group, model)) for model in models),
         published.get(group)]
        for group in sorted({group for group, _ in points}, key=lambda name: (name[0] != "t", name))]
table(rows, ["classes", "chance", *models, "published, S1"], "Share of VEs in the right cluster; S1 at 64³ voxels.")

# %% [markdown]
# ### Texture by S1's own route
# S1 sorts four textures to 96.5 % by three components of its training set. Its textures are not ours: S1 adds normal noise to the
# *Euler angles*, and where the mean is zero only upwards, "to avoid periodicity effects". Cube and Goss orientations that
# scatter to both sides, as real ones do, have $\varphi_1$ and $\varphi_2$ near 0 in one grain and near $2\pi$ in the next: for a network
# that reads Euler channels a sharp texture then looks like a random one. Both kinds through both networks:
#
# **What to look at**: S1's clusters are there where the noise goes one way, or the angles stay away from zero (figure 8d), and gone where
# it goes both. They are clusters of the Euler angles' description, not of texture. Ours sorts both
# kinds, because its averages know no zero, and because they are scaled so that of all directions in which VEs differ theirs come
# first (03). Small grains are told apart by the long-trained network, as in the paper; large and elongated ones are not.

# %%
def one_sided(name, count, generator, scatter_deg=5.0):
    """S1's textured VEs: noise on the Euler angles of a component, upwards alone where the angle is zero."""
    bare, mean = generate(count, edge, "cubic", generator), torch.tensor(COMPONENTS[name])
    noise = scatter_deg * torch.randn((*bare.quaternion.shape[:-1], 3), generator=generator)
    angles = torch.deg2rad(mean + torch.where(mean == 0, noise.abs(), noise))
    return VolumeElements(bare.grain_id, reduce(from_euler(angles), "cubic"), bare.grains, "cubic")


# %%
generator = notebook.generator("textures of S1")
upwards = {name: one_sided(name, len(sets[name]), generator) for name in TEXTURES}
route = {}
for model, fingerprint in models.items():
    kinds = {"both_sides": {name: z[model][name] for name in TEXTURES},
             "one_side": {name: fingerprint.encode_set(some) for name, some in upwards.items()}}
    for kind, by_set in kinds.items():
        ways = {"training": [components[model].project(some, settings.components) for some in by_set.values()],
                "own": space.own_components(by_set, settings.components)}
        for way, sets_of_points in ways.items():
            pair = space.cluster_classes(sets_of_points, settings.neighbours, seed)
            route[f"textures_{kind}_in_{way}_components", model] = space.clustering_accuracy(*pair)
small = {model: space.confusion(*clusters["morphologies_in_training_components", model], 3) for model in models}
rows = [[name.replace("_", " "), *(route[name, model] for model in models)] for name in dict.fromkeys(name for name, _ in route)]
rows.append(["small grains, among three morphologies", *(float(t[1, 1] / t[1].sum()) for t in small.values())])
table(rows, ["", *models], "Share in the right cluster. S1: 0.965 (one side, training components), small grains 1.")
long = measured("s1_clusters")
table([[row["group"], row["components"], row["accuracy"]] for row in long], ["classes", "components", "S1's network"],
      f"The same for S1's network after {long[0]['ves'] / 1e6:.2g} million VEs (03), 100 VEs a class, textures to both sides. Away from zero: four "
      "sharp textures whose Euler angles are far from the ends of their range, as in S1's figure 8d, our choice. Small: "
      "share of the small-grained VEs in their cluster.")

# %% [markdown]
# ## Neighbours
# Retrieval asks for less than clusters: is the VE with the nearest fingerprint of the same class? Each VE of the edge cases
# in turn looks for its nearest among all others of its group, by all numbers or by their power. Below, one VE of three sets
# with the nearest of its group (of the training VEs for a random one), ours.

# %%
retrieved = {(f"{group}{suffix}", model): space.retrieved([values[model][name] for name in names]) for model in models
             for group, names in list(groups.items())[:2] for suffix, values in (("", z), ("_by_power", power))}
rows = [[key.replace("_", " "), space.retrieved_by_chance([sets[name] for name in groups[key.removesuffix("_by_power")]]),
         *(retrieved[key, model] for model in models)] for key in dict.fromkeys(group for group, _ in retrieved)]
table(rows, ["classes", "chance", *models], "Share of VEs whose nearest neighbour is of their own class.")

# %%
shown = {}
for name, names, values in (("test", ("train",), z), ("goss", TEXTURES, z), ("elongated", MORPHOLOGIES, power)):
    pool = [(other, number) for other in names for number in range(len(sets[other])) if (other, number) != (name, 0)]
    known = torch.cat([values["ours"][other][number:number + 1] for other, number in pool])
    nearest = [pool[i] for i in space.nearest_neighbours(values["ours"][name][:1], known, min(4, len(pool)))[0]]
    fields = torch.cat([sets[other][number:number + 1].orientations() for other, number in ((name, 0), *nearest)])
    shown[name] = fields, [f"{name} 0", *(f"{other} {number}" for other, number in nearest)]
draw.rows_of_slices(shown, "cubic");

# %% [markdown]
# ## What does each part hold?
# A decoder can be asked: exchange some numbers of a fingerprint for those of another VE, decode both, and see which voxels
# turn, and how far. If a seed is a grain in its place, exchanging the six numbers of one of them turns the voxels about its
# anchor, and no others. (The cross marks the anchor; sections through it. Third panel and curve: means over VEs and seeds, in
# degrees; distances in those between neighbouring anchors.)

# %%
ours, decode, z_test = parts["ours"], models["ours"].decode, z["ours"]["test"][:4]
mean_response = space.seed_response(decode, z_test, ours["seeds"], anchors, "cubic", range(0, len(anchors), 5))
curve = space.by_distance(mean_response, len(anchors) ** (-1 / 3))
changed = space.exchange(z_test, space.seed_numbers(ours["seeds"], 0, len(anchors)))
example = [decode(some[:1], space.RESPONSE_EDGE)[0] for some in (z_test, changed)]
draw.seed_exchange(*example, mean_response, curve, "cubic");

# %% [markdown]
# A straight line (ridge regression) can be asked how much each part knows alone. First of whole VEs: their texture, here the
# volume averages of the embedding, of random VEs not fitted to; and size descriptors of a mixture of random VEs and all
# morphologies, every fifth VE predicted from all others. These are asked of the *moments*, what a shift of the VE leaves as
# it is up to second order: means over the seeds of their numbers, of products of two, and of products with the nearest seeds;
# of the other parts the numbers and their squares. *Turned* is the mean disorientation by which an exchange of the whole part
# between two VEs turns the decoded voxels.

# %%
mixture, fitted = ("test", *MORPHOLOGIES), ("train", "validation")
sizes = {"grain size": descriptors.mean_grain_size, "boundary share": descriptors.boundary_share,
         "largest grain": descriptors.largest_share}
texture = {name: descriptors.mean_embedding(sets[name]) for name in (*fitted, "test")}
size = {what: torch.cat([measure(sets[name]) for name in mixture]) for what, measure in sizes.items()}
pieces = {**{part: (numbers, {part: slice(None)}) for part, numbers in ours.items()}, "all": (slice(None), ours)}
turned = space.responses(decode, z_test, [numbers for numbers, _ in pieces.values()], "cubic")
part_r2 = {}
for part, (numbers, inside) in pieces.items():
    by_set = {name: some[:, numbers] for name, some in z["ours"].items()}
    known, truth = (torch.cat([values[name] for name in fitted]) for values in (by_set, texture))
    part_r2[part, "texture"] = space.linear_probe(known, truth, by_set["test"], texture["test"])
    features = space.moments(torch.cat([by_set[name] for name in mixture]), inside, anchors)
    part_r2 |= {(part, what): space.held_out_r2(features, target) for what, target in size.items()}
table([[part, z_test[:, numbers].shape[1], float(field.mean()), *(part_r2[part, what] for what in ("texture", *sizes))]
       for (part, (numbers, _)), field in zip(pieces.items(), turned, strict=True)],
      ["part of ours", "numbers", "turned / °", *(f"R² {what}" for what in ("texture", *sizes))], "R² on VEs not fitted to.")

# %% [markdown]
# ## What can be read off by a straight line?
# The same question to both models, for what one would want to know of a VE. The *texture* as above. The *Schmid factor*:
# volume average of the largest of {111}<110> slip under a load along $x$. The *texture index*, the mean square of the
# orientation density over all rotations (Bunge), up to degree 4: 1 + 9 times the square of the mean embedding, so 1 without
# texture and 10 for a single crystal. *Grain size* and *aspect ratio* (length along $x$ over width), means over the grains.
# Random VEs are predicted by a probe fitted to training and validation VEs, mixtures (random VEs with all textures, or with
# all morphologies) by leaving out every fifth VE. Each from the numbers $z$ and from the moments; those of S1's network,
# which has no seeds, are $z$ and $z^2$.

# %%
textured = ("test", *TEXTURES)
targets = {  # name: descriptor, volume elements, what the metric is read from
    "texture": (descriptors.mean_embedding, "random", "z"),
    "schmid_factor_random": (descriptors.mean_schmid_factor, "random", "moments"),
    "grain_size_random": (descriptors.mean_grain_size, "random", "moments"),
    "schmid_factor": (descriptors.mean_schmid_factor, textured, "moments"),
    "texture_index": (descriptors.texture_index, textured, "moments"),
    "grain_size": (descriptors.mean_grain_size, mixture, "moments"),
    "aspect_ratio": (descriptors.mean_aspect_ratio, mixture, "moments")}
second = {model: {name: space.moments(some, parts[model], anchors) for name, some in by_set.items()}
          for model, by_set in z.items()}
probes = {}
for target, (measure, names, _) in targets.items():
    value = {name: measure(sets[name]) for name in ((*fitted, "test") if names == "random" else names)}
    for model, source in ((model, source) for model in models for source in ("z", "moments")):
        by_set = (z if source == "z" else second)[model]
        known, truth = (torch.cat([of[name] for name in (fitted if names == "random" else names)]) for of in (by_set, value))
        probes[target, model, source] = (space.linear_probe(known, truth, by_set["test"], value["test"]) if names == "random"
                                         else space.held_out_r2(known, truth))
columns = [(model, source) for model in models for source in ("z", "moments")]
table([[target.replace("_", " "), "random" if names == "random" else "mixture", 0.0,
        *(probes[target, *column] for column in columns)]
       for target, (_, names, _) in targets.items()],
      ["target", "VEs", "mean", *(", ".join(column) for column in columns)],
      "R² on VEs not fitted to. With fewer VEs to fit to than numbers a probe is hardly determined.")

# %% [markdown]
# ## Explore
# Choose two VEs by set and number, and slide along the path between them; the sections follow. (In JupyterLab this is a panel
# with sliders; a report shows the same picture, half way.) **What to look at**: a texture gives way to random grains.

# %%
explorer = Explorer(models["ours"].decode, z["ours"], "cubic")
explorer.show(("cube", 0), ("test", 1))

# %%
metrics = {f"04.{group}.{model}.clustering_accuracy": value for (group, model), value in accuracy.items()}
metrics |= {f"04.{group}.{model}.retrieved": value for (group, model), value in retrieved.items()}
metrics |= {f"04.{target}.{model}.probe_r2": probes[target, model, source]
            for target, (_, _, source) in targets.items() for model in models}
metrics |= {f"04.train.{model}.active_units": space.active_units(z[model]["train"]) for model in models}
metrics |= {f"04.{name}.{model}.clustering_accuracy": value for (name, model), value in route.items()}
metrics |= {f"04.{path}_path.ours.{what}": values[path][settings.path_steps // 2]
            for what, values in curves.items() for path in values}
metrics |= {f"04.{part}.ours.{what}_r2": value for (part, what), value in part_r2.items()}
metrics |= {"04.seed.ours.turned_at_the_anchor_deg": curve[1][0], "04.seed.ours.turned_far_deg": curve[1][-1]}
metrics = {name.replace(" ", "_"): value for name, value in metrics.items()}
standing = Standing("textures in the right cluster", accuracy["textures", "ours"], published=0.965, higher_is_better=True)
notebook.close("04", metrics=metrics, standings=[standing], figure=scatter)

# %% [markdown]
# **Findings**
# - Textures form clusters in the fingerprints, as S1 found; compare the two models with chance and with each other. In ours the
#   averages alone sort them. They are scaled (03) so that they come first among the components of the training set, S1's way.
# - Half way along a path there is a polycrystal, too: the grains of both VEs move and turn. The blur of the decoded VEs is
#   the share of neighbours whose orientations are close by chance: the decoder draws sharp cells, also in between.
# - Our fingerprint hands over the volume average of the embedding by a linear map. The surrogate of notebook 06 lives on it.
# - S1 found grain shape at random in its latent space (53 % is chance). It is there, but in how large the numbers are:
#   compare the rows with and without "by power", of clusters, of neighbours and of probes.
# - A seed is a grain: it holds that grain's orientation and centre and decides over the voxels about its anchor. How large
#   the grain is lies between the seeds; the averages hold the texture.
#
# **Limits**
# - The size of grains within one morphology is read off poorly: the seeds hold it, but not on a straight line.
# - Components of a set of VEs cannot outnumber the VEs; at a small profile the explained-variance curve ends early.
# - Three principal components are S1's choice; those of the training set hold a small share of the variance.
# - In a mixture most of the spread lies between the sets, which makes a probe's task easier; the rows of random VEs are the
#   hard ones.
#
# **Next**: 05 simulates the stress response that 06 predicts from fingerprints.
