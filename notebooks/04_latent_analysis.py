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
# # 04 · Latent space: what do the numbers of a fingerprint know?
#
# **Question**: are volume elements (VEs) with neighbouring fingerprints alike, do textures and grain shapes form groups of
# their own, what does each part of a fingerprint hold, and what can be read off it by a straight line?
#
# **You will learn**
# - to ask a latent space questions that have numbers for an answer: paths, components, clusters, neighbours, probes;
# - to find a published result's condition: S1's clusters of textures depend on how its textures were made;
# - to look for a quantity where symmetry lets it be: grain shape in the size of the seeds' numbers, not in their sign;
# - to hold all of this against the few numbers that a person would have measured.
#
# **Prerequisites**: textures, morphologies and sets (01); Euler angles, the embedding (02); what a fingerprint is (03); principal
# components and linear regression.
#
# **Inputs**: `polycrystals.h5` (01), `fingerprint_paper` and `fingerprint_ours` (03).
#
# **Outputs**: metrics and pictures.
#
# **Time**: about 2 minutes with the default parameters on two cores, no GPU needed.
#
# After White et al. 2025, [arXiv:2503.17427](https://arxiv.org/abs/2503.17427), section 3.3, here **S1**.

# %% tags=["parameters"]
run = {"name": "by-hand", "seed": 2026}
compute = {"engine": "local", "device": "auto"}
latent = {"path_steps": 7, "components": 3, "neighbours": 10, "fitted": 192}

# %%
import matplotlib.pyplot as plt
import torch
from IPython.display import display

from microprint.analysis import descriptors
from microprint.analysis import latent as space
from microprint.analysis.measured import measured
from microprint.analysis.reconstruction import boundary_faces
from microprint.machine import Progress
from microprint.microstructures.volume_elements import stored_edges
from microprint.notebook import Standing, findings, open_notebook
from microprint.plots import frames, show, style, table
from microprint.plots import latent as draw
from microprint.plots.explorer import Explorer
from microprint.systems.fingerprint import PAPERS, Fingerprint, trainable

style()
notebook = open_notebook(run=run, compute=compute, latent=latent)
settings = notebook.params.latent

# %% [markdown]
# ## Fingerprints of all sets
# A fingerprint is the mean of the posterior, without noise. *paper* is S1's network. *ours* (03) has three parts: two numbers for the
# *metric*, the stretch that makes grains as wide as long; six for each *seed*, three for its place relative to a fixed anchor and three, a
# rotation vector, for its orientation; and, following from these, the volume *averages* of the symmetric embedding (02). The limit on the numbers
# of a fingerprint (256 in S1) is one on the metric and the seeds; the averages, which the decoder does not read, come on top of it.
# Ours searches the seeds of each VE; that takes most of this page's time.

# %%
TEXTURES, MORPHOLOGIES = ("brass", "copper", "cube", "goss"), ("large", "small", "elongated")
sets = notebook.read_sets("cubic", "train", least=3)
sets |= notebook.read_sets("cubic", "validation")
sets |= notebook.read_sets("cubic", "test", "brass", "copper", "cube", "goss", "large", "small", "elongated", least=3)
sets["train"] = sets["train"][:settings.fitted]
edge = sets["train"].edge
with notebook.open("polycrystals.h5") as file:
    names = [name for name in ("ours", "paper") if name in trainable(stored_edges(file))["cubic"]]
models = {name: Fingerprint.load(notebook.path(f"fingerprint_{name}.safetensors")) for name in names}
models = {name: model for name, model in models.items() if name not in PAPERS or model.edge == edge}
named = {"ours": "ours", "paper": "S1's network"}
if "paper" not in models:
    print(f"paper is left out: S1's network needs an edge that is a power of two and the one it was trained on, not {edge} voxels")
parts, anchors = {name: fingerprint.parts for name, fingerprint in models.items()}, models["ours"].anchors
z = {}
for model, fingerprint in models.items():
    with Progress(f"fingerprints, {model}", sum(map(len, sets.values())), "VEs", 0) as progress:
        for name, elements in sets.items():
            z.setdefault(model, {})[name] = fingerprint.encode_set(elements)
            progress.add(len(elements))
own_parts = {part: z["ours"]["test"][:, numbers].shape[1] for part, numbers in parts["ours"].items()}
table([[name, models[name].size, models[name].size - (own_parts["averages"] if name == "ours" else 0)] for name in models],
      ["model", "numbers", "read by the decoder"], f"Parts of ours: {', '.join(f'{part} {size}' for part, size in own_parts.items())}.")

# %% [markdown]
# ## Paths
# Between two fingerprints $z_0$ and $z_1$ S1 draws the straight line $z_t = (1 - t) z_0 + t z_1$ and decodes along it. In so many
# dimensions draws from a normal distribution lie near a sphere, and the middle of a straight line between two of them lies
# well inside it, where there are no VEs. The *spherical* path
#
# $$ \begin{aligned}
#   \hat z_t &= \frac{\sin((1-t)\theta)\, \hat z_0 + \sin(t\theta)\, \hat z_1}{\sin\theta}, \\
#   z_t &= \left( (1-t) \Vert z_0 \Vert + t \Vert z_1 \Vert \right) \hat z_t
# \end{aligned} $$
#
# goes along a great circle and keeps to the sphere; $\hat z = z / \Vert z \Vert$, and $\theta$ is the angle between $\hat z_0$ and $\hat z_1$. Grains of one VE give way to those of the other, without a jump. Whether what lies
# between is a polycrystal is a question for numbers: the mean disorientation from the start; the share of neighbouring voxels that
# differ by 2° to 15°, which real grains hardly ever do and a blend of two does; and the length of the fingerprint. Smaller numbers mean
# smaller rotations: all crystals come nearer to the cube orientation, and to each other. Length and angle $\theta$ are of the numbers
# that the decoder reads; the averages are left out.

# %%
PAIRS = 20
read = z["ours"]["test"].clone()
read[:, parts["ours"]["averages"]] = 0
start, end = read[:2]
ends = list(zip(read[:2 * PAIRS:2], read[1:2 * PAIRS:2]))  # no fingerprint serves twice
paths = {name: torch.stack([path(*pair, settings.path_steps) for pair in ends]) for name, path in space.PATHS.items()}
decoded = {name: models["ours"].decode(path.flatten(0, 1)).unflatten(0, path.shape[:2]) for name, path in paths.items()}
curves = {
    "distance": {name: torch.stack([space.degrees_between(fields, fields[0], "cubic") for fields in pairs]) for name, pairs in decoded.items()},
    "blur": {name: torch.stack([space.blur(fields, "cubic") for fields in pairs]) for name, pairs in decoded.items()},
    "length": {name: path.norm(dim=-1) for name, path in paths.items()}}
real = {"blur": space.blur(sets["test"][:PAIRS].orientations(), "cubic").mean(), "length": read.norm(dim=1).mean()}
middle, shares = settings.path_steps // 2, [f"{share:.2f}" for share in torch.linspace(0, 1, settings.path_steps).tolist()]
half = {name: values[:, middle] for name, values in curves["blur"].items()}
most_alike = {name: 100 * float(values.mean(0).max()) for name, values in curves["blur"].items()}
show(draw.rows_of_slices({name: (pairs[0], shares) for name, pairs in decoded.items()}, "cubic"),
     "Decoded VEs along both paths between the same two fingerprints, ours: middle sections, coloured by the crystal direction along x, with the share of the "
     "way above.")
labels = {"distance": "from the start / °", "blur": "share 2° to 15° apart", "length": "length of the fingerprint"}
show(draw.along_path(curves, labels, levels=real),
     f"Along both paths, over {len(ends)} pairs of VEs: mean disorientation from the start in degrees, share of neighbouring voxels that are nearly alike, and "
     "length of the fingerprint. Lines are means, bands hold the middle 80 % of the pairs. Dashed, what real VEs of the test set have.")

# %% [markdown]
# ## Principal components
# How many directions does the space use? A code without redundancy needs nearly all of its numbers. A number counts as active when its
# posterior mean varies over the training VEs. Where a loss holds the posterior near the prior, a network's others have collapsed onto it (S1's has no such loss, 03); in ours they are the metric, which is
# the same for all of these VEs, as their grains are equiaxed. Then the edge cases on the first two components: do sets of one colour keep
# together and apart from the others?

# %%
components = {model: space.PrincipalComponents.fit(by_set["train"]) for model, by_set in z.items()}
held = {model: [100 * float(fitted.explained[:count].sum()) for count in (settings.components, own_parts["averages"])] for model, fitted in components.items()}
figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 2.8))
draw.explained_variance(left, {model: fitted.explained for model, fitted in components.items()})
for model, by_set in z.items():
    variance = by_set["train"].var(0).sort(descending=True).values
    right.semilogy(range(1, len(variance) + 1), variance.clamp_min(1e-8), color=draw.PALETTE[model], label=model)
right.axhline(space.ACTIVE_VARIANCE, color="0.5", lw=0.8)
right.set(xlabel="latent number, by variance", ylabel="variance of the posterior mean")
show(figure, "Left, the share of the variance over all training VEs in the first principal components. Right, the variance of each number, the largest "
     f"first; those below the grey line, at {space.ACTIVE_VARIANCE}, are not active. The largest of ours are its averages, scaled to come first. "
     f"The first {settings.components} and the first {own_parts['averages']} components hold " + "; ".join(f"{few:.2g} % and {more:.2g} % of the variance of {model}" for model, (few, more) in held.items()) + ".")
rows = [[model, f"{space.active_units(z[model]['train'])} of {models[model].size}", *(components[model].needed(share) for share in (0.95, 0.999))] for model in models]
display(table([*rows, ["published, S1", None, None, "about 200"]], ["model", "active", "95 %", "99.9 %"],
              f"Active numbers, and how many principal components hold 95 % and 99.9 % of the variance of {len(sets['train'])} training VEs; there can be no more components than VEs. S1 says that its 200 hold all of it."))
flat = {model: {name: components[model].project(by_set, 2) for name, by_set in z[model].items()} for model in models}
scatter, panels = plt.subplots(len(models), 2, figsize=(7.5, 2.7 * len(models) + 0.4), squeeze=False)
for row, model in zip(panels, models, strict=True):
    for panel, names in zip(row, (TEXTURES, MORPHOLOGIES), strict=True):
        draw.scatter_sets(panel, {name: flat[model][name] for name in names}, flat[model]["train"])
        panel.set_title(f"{named[model]}: {'textures' if names is TEXTURES else 'morphologies'}")
for panel, side in zip(panels[0], ("left", "right"), strict=True):
    scatter.legend(*panel.get_legend_handles_labels(), loc=f"outside lower {side}", ncols=3, markerscale=2)
show(scatter, "VEs on the first two principal components of the training set, a dot each: grey the training VEs, with random orientations and "
     "equiaxed grains, in colour the textures (left) and the morphologies (right). The axes have no unit. Groups that one can see here need no method.")

# %% [markdown]
# ## Do textures and morphologies form clusters?
# Spectral clustering joins VEs to their nearest neighbours and cuts the graph where it is thinnest (S1). Clusters have no
# names, so they are matched to the classes in the way that agrees best. That agrees in part with any classes: what 95 of 100 shuffles of
# the classes do not exceed is *chance* in the tables. As in S1 it is done in three principal components. S1 takes those of the training
# set; but these three hold a small share of the variance (the figure above says how much), and in ours they are mostly averages, which tell
# of texture, and of grain size only by how large they are. So we also take the components of the clustered VEs, which needs no classes
# either; the rows *training* are S1's way. The same is done with a part of the fingerprint
# alone: which of them knows it?
#
# A morphology has no place in a space of orientations: with random orientations every number of the seeds and averages is as often positive as
# negative (the two numbers of the metric are not), whatever the grains' size or shape. What a morphology does set is how *large* a number tends to be and how fast
# the seeds change from place to place. So we also cluster by $\ln z^2$, the *power*; for the seeds, by the logarithm of their power spectrum
# over the lattice of anchors.
#
# No network is needed to tell these VEs apart. Whoever has their grains can average the embedding over the volume, or
# measure the grains: *measured* is clustered by these few numbers.

# %%
seed = notebook.generator("clustering").initial_seed()
groups = {"textures": TEXTURES, "morphologies": MORPHOLOGIES, "large_or_elongated": ("large", "elongated")}
power = {model: {name: space.log_power(some, parts[model], len(anchors)) for name, some in by_set.items()}
         for model, by_set in z.items()}
shape = {name: torch.stack([descriptors.mean_grain_size(sets[name]), descriptors.mean_aspect_ratio(sets[name])], 1).log() for name in MORPHOLOGIES}
points = {}
for group, names in groups.items():
    own = {name: descriptors.mean_embedding(sets[name]) if group == "textures" else shape[name] for name in names}
    points[group, "measured"] = space.own_components(own, settings.components)
for model, by_set in z.items():
    for group, names in groups.items():
        points[group, model] = space.own_components({name: by_set[name] for name in names}, settings.components)
        points[f"{group}_in_training_components", model] = [
            components[model].project(by_set[name], settings.components) for name in names]
        if group != "textures":
            own = {name: power[model][name] for name in names}
            points[f"{group}_by_power", model] = space.own_components(own, settings.components)
    for part, numbers in parts[model].items():
        own, other = ({name: by_set[name][:, numbers] for name in names} for names in (TEXTURES, MORPHOLOGIES))
        points[f"textures_by_{part}", model] = space.own_components(own, settings.components)
        other = {name: space.log_power(some, {part: slice(None)}, len(anchors)) for name, some in other.items()}
        points[f"morphologies_by_power_of_{part}", model] = space.own_components(other, settings.components)
clusters = {key: space.cluster_classes(sets_of_points, settings.neighbours, seed) for key, sets_of_points in points.items()}
accuracy = {key: space.clustering_accuracy(*pair) for key, pair in clusters.items()}

# %%
def by_chance(labels, joined):
    return space.accuracy_by_chance(labels, joined, notebook.generator("shuffled classes"))  # the same shuffles for all


def thousandths(*shares):
    return [None if share is None else f"{share:.3f}" for share in shares]


figure, panels = plt.subplots(2, len(models), figsize=(3.2 * len(models), 5.6), squeeze=False)
for row, group, names in zip(panels, ("textures", "morphologies_by_power"), (TEXTURES, MORPHOLOGIES), strict=True):
    for panel, model in zip(row, models, strict=True):
        draw.confusion_matrix(panel, space.confusion(*clusters[group, model], len(names)), names, f"{named[model]}: {group.replace('_', ' ')}")
show(figure, "How many VEs of each class (row) went into which cluster (column): textures by all numbers, morphologies by their power. On the "
     "diagonal are those in the right cluster.")
chance = {key: by_chance(*pair) for key, pair in clusters.items()}
largest = {group: max(chance[key] for key in clusters if key[0] == group) for group, _ in clusters}
published = {"large_or_elongated_in_training_components": 0.53}
hidden = "textures_in_training_components"  # shown below, by S1's own route
rows = [[group.replace("_in_training_components", ", training").replace("_", " "), *thousandths(*(accuracy.get((group, model)) for model in models),
         largest[group], published.get(group), accuracy.get((group, "measured")))]
        for group in sorted({group for group, _ in points} - {hidden}, key=lambda name: (name[0] != "t", name))]
table(rows, ["classes", *models, "chance", "S1", "measured"], "Share of VEs in the right cluster, in components of these VEs or of the *training* "
      "set. Chance: what 95 of 100 shuffles of the classes do not exceed, the largest of the row. S1: published, at 64³ voxels.")

# %% [markdown]
# ### Texture by S1's own route
# S1 sorts four textures to 96.5 % by three components of its training set. Its textures are not ours: S1 adds normal noise to the
# *Euler angles*, and where the mean is zero only upwards, "to avoid periodicity effects" (here 5° about each angle; ours: 5° about each
# axis). One-sided noise also makes the grains of cube, Goss and brass more alike and moves their mean; copper, with no angle at zero, it
# leaves as it was. Ours scatter to both sides, as real ones do, and Goss orientations then have $\varphi_1$ and $\varphi_2$ near 0, $\pi$ or $2\pi$, grain by grain, and cube ones, with $\Phi$ near 0, any: only their sum is settled. One-sided noise does not
# remove all jumps: brass, copper and Goss lie on faces of the fundamental zone, and many of their grains come back through another
# face, whichever way the noise goes. Both kinds go through both models; the last table is of S1's network after a much longer
# training (03), to which noise to one side was not given. There *away from zero* are four sharp textures with angles far from the ends of
# their range (S1's figure 8d), our choice; they scatter less, too, by 0.01 of the range of each angle: 3.6°, 1.8° and 3.6°.
#
# > **Before you look**: if S1's clusters are clusters of *texture*, the side to which the noise goes is no matter. If they are clusters of
# > the Euler angles' *description*, what do you expect of noise to both sides, and of textures whose angles are far from zero?

# %%
generator = notebook.generator("textures of S1")
upwards = {name: space.textured_as_s1(name, len(sets[name]), edge, generator) for name in TEXTURES}
averages = {"both_sides": {name: descriptors.mean_embedding(sets[name]) for name in TEXTURES},
            "one_side": {name: descriptors.mean_embedding(some) for name, some in upwards.items()}}
averaged = space.PrincipalComponents.fit(descriptors.mean_embedding(sets["train"]))
route, bases, kinds, route_chance = {}, {**components, "measured": averaged}, {}, {}
for model, fingerprint in models.items():
    kinds[model] = {"both_sides": {name: z[model][name] for name in TEXTURES},
                    "one_side": {name: fingerprint.encode_set(some) for name, some in upwards.items()}}
kinds["measured"] = averages
for model, kind in ((model, kind) for model in kinds for kind in averages):
    ways = {"training": [bases[model].project(some, settings.components) for some in kinds[model][kind].values()],
            "own": space.own_components(kinds[model][kind], settings.components)}
    for way, sets_of_points in ways.items():
        pair, key = space.cluster_classes(sets_of_points, settings.neighbours, seed), (f"textures_{kind}_in_{way}_components", model)
        route[key], route_chance[key] = space.clustering_accuracy(*pair), by_chance(*pair)

# %%
rows = [[name.removeprefix("textures_").replace("_in_", ", ").removesuffix("_components").replace("_", " "), *thousandths(*(route[name, model] for model in models),
         max(route_chance[name, model] for model in kinds), 0.965 if "one_side_in_training" in name else None, route[name, "measured"])]
        for name in dict.fromkeys(name for name, _ in route)]
display(table(rows, ["noise, components", *models, "chance", "S1", "measured"], "Share of textures in the right cluster, columns as above. The textures with noise to both sides are those of above."))
long = {(row["group"], row["components"]): row for row in measured("s1_clusters")}
sizes_of = {"textures": 4, "textures away from zero": 4, "morphologies": 3, "large or elongated": 2}
even = {group: torch.arange(count).repeat_interleave(100) for group, count in sizes_of.items()}
display(table([[{"small or others": "small, found"}.get(group, group), *thousandths(*(long[group, way]["accuracy"] for way in ("training", "own")), by_chance(even[group], even[group]) if group in even else None)]
       for group in dict.fromkeys(group for group, _ in long)], ["classes", "training components", "own components", "chance"],
      f"S1's network after {next(iter(long.values()))['ves'] / 1e6:.2g} million VEs, 100 VEs a class, textures to both sides. Small, found: the share of small-grained VEs in the cluster "
      "matched to small; wrong members of that cluster are not counted. Chance: for clusters of equal size."))

# %% [markdown]
# ## Neighbours
# Retrieval asks for less than clusters: is the VE with the nearest fingerprint of the same class? Each VE of the edge cases
# in turn looks for its nearest among all others of its group, by all numbers, by their power, or by what was *measured*.

# %%
values = {"": z, "_by_power": power}
texture = {name: descriptors.mean_embedding(sets[name]) for name in ("train", "validation", "test", *TEXTURES)}
retrieved = {(f"{group}{suffix}", model): space.retrieved([values[suffix][model][name] for name in names]) for model in models
             for group, names in list(groups.items())[:2] for suffix in values}
retrieved |= {(group, "measured"): space.retrieved([known[name] for name in groups[group]])
              for group, known in (("textures", texture), ("morphologies", shape))}
rows = [[key.replace("_", " "), *thousandths(*(retrieved.get((key, model)) for model in models), space.retrieved_by_chance([sets[name] for name in groups[key.removesuffix("_by_power")]]),
         retrieved.get((key, "measured")))] for key in dict.fromkeys(group for group, _ in retrieved)]
shown, hits = {}, {}
for name, names, suffix in (("test", ("train",), ""), ("goss", TEXTURES, ""), ("elongated", MORPHOLOGIES, "_by_power")):
    of = values[suffix]["ours"]
    pool = [(other, number) for other in names for number in range(len(sets[other])) if (other, number) != (name, 0)]
    known = torch.cat([of[other][number:number + 1] for other, number in pool])
    nearest = [pool[i] for i in space.nearest_neighbours(of[name][:1], known, min(4, len(pool)))[0]]
    fields = torch.cat([sets[other][number:number + 1].orientations() for other, number in ((name, 0), *nearest)])
    shown[name] = fields, [f"{name} 0", *(f"{other} {number}" for other, number in nearest)]
    own = [other == name for other, _ in nearest]
    hits[name] = f"{name} 0: {sum(own)} of {len(own)}" + ("" if own[0] else f", and even the nearest is of another class ({nearest[0][0]} {nearest[0][1]})")
near, any_four = space.apart_from_nearest(sets["test"], sets["train"], z["ours"]["test"], z["ours"]["train"])
show(draw.rows_of_slices(shown, "cubic"),
     "One VE of three sets (left) and the four whose fingerprints of ours are nearest: of a random VE among the training VEs, of a Goss texture among "
     "the textures, of elongated grains among the morphologies, by power. Middle sections, colours as above. "
     f"Neighbours of the same class: {'; '.join(hits[name] for name in ('goss', 'elongated'))}.")
table(rows, ["classes", *models, "chance", "measured"], "Share of VEs whose nearest neighbour is of their own class; chance is here the mean share of a neighbour drawn at random.")

# %% [markdown]
# ## What does each part hold?
# A decoder can be asked: exchange some numbers of a fingerprint for those of another VE, decode both, and see which voxels
# turn, and how far. If a seed is a grain in its place, exchanging the six numbers of one of them turns the voxels about its
# anchor, and no others.
#
# A straight line (ridge regression) can be asked how much each part knows alone. The *texture*, here the volume averages of the embedding,
# is predicted for random VEs from the numbers. Sizes (*grain size*, the edge of a cube with the mean grain volume; *boundary share*, the
# share of neighbouring voxels that belong to two grains; *largest grain*, its share of the volume) are predicted for a mixture of random VEs and all morphologies, five-fold, from
# *moments*: averages over the seeds of their numbers, of products of two numbers, and of each number with its like in a neighbouring seed,
# which a shift along the lattice of anchors leaves unchanged; for the other parts, the numbers and their squares.

# %%
ours, decode, z_test = parts["ours"], models["ours"].decode, z["ours"]["test"][:4]
mean_response = space.seed_response(decode, z_test, ours["seeds"], anchors, "cubic", range(0, len(anchors), 5))
curve = space.by_distance(mean_response, len(anchors) ** (-1 / 3))
changed = space.exchange(z_test, space.seed_numbers(ours["seeds"], 0, len(anchors)))
example = [decode(some[:1], space.RESPONSE_EDGE)[0] for some in (z_test, changed)]
show(draw.seed_exchange(*example, mean_response, curve, "cubic"),
     "A VE decoded before and after one seed is exchanged for another VE's; sections through its anchor, the cross, coloured as above: what changes is the grain of that seed, next to the cross, and what it gains from its neighbours or leaves to them. Then the mean angle by which voxels turn, "
     "over VEs and seeds, as a section and by distance from the anchor, in units of the distance between neighbouring anchors.")

# %%
columns = [(model, source) for model in models for source in ("z", "moments")]
mixture, textured, fitted = ("test", *MORPHOLOGIES), ("test", *TEXTURES), ("train", "validation")
sizes = {"grain size": descriptors.mean_grain_size, "boundary share": descriptors.boundary_share,
         "largest grain": descriptors.largest_share}
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
rows = {"numbers": [str(z_test[:, numbers].shape[1]) for numbers, _ in pieces.values()],
        "turned / °": [f"{float(field.mean()):.1f}" for field in turned],
        **{f"R² {what}": [f"{part_r2[part, what]:.3f}" for part in pieces] for what in ("texture", *sizes)}}
lengths = torch.cat([z["ours"][name][:, ours["averages"]].norm(dim=1) for name in mixture])
fewer = float(torch.corrcoef(torch.stack([lengths, size["grain size"]]))[0, 1])
display(table([[what, *values] for what, values in rows.items()], ["ours", *pieces],
      "R² on VEs that the fit has not seen. Turned: how far the exchange of the whole part between two VEs turns the decoded voxels, on average. The averages know of the grain size, too: the "
      f"fewer the grains, the larger the averages of random orientations; their length and the grain size correlate by {fewer:.2f}."))

# %% [markdown]
# ## What can be read off by a straight line?
# The same question to both models, for what one would want to know of a VE. The *texture* as above. The *Schmid factor*:
# volume average of the largest of {111}<110> slip under a load along $x$. The *texture index*, the mean square of the
# orientation density over all rotations (Bunge), up to degree 4: 1 + 9 times the square of the mean embedding, so 1 without
# texture and 10 for a single crystal. *Grain size* as above; *aspect ratio*, length along $x$ over width, the mean over the grains.
# Random VEs are predicted by a probe fitted to training and validation VEs, mixtures (random VEs with all textures, or with
# all morphologies) by leaving out every fifth VE; ± is the standard deviation over folds drawn anew. Each from the numbers $z$ and from
# the moments; those of S1's network, which has no seeds, are $z$ and $z^2$.

# %%
targets = {  # name: descriptor, volume elements, what the metric is read from
    "texture": (descriptors.mean_embedding, "random", "z"),
    "schmid_factor_random": (descriptors.mean_schmid_factor, "random", "moments"),
    "grain_size_random": (descriptors.mean_grain_size, "random", "moments"),
    "schmid_factor": (descriptors.mean_schmid_factor, textured, "moments"),
    "texture_index": (descriptors.texture_index, textured, "moments"),
    "grain_size": (descriptors.mean_grain_size, mixture, "moments"),
    "aspect_ratio": (descriptors.mean_aspect_ratio, mixture, "moments")}
second = {model: {name: space.moments(some, parts[model], anchors) for name, some in by_set.items()} for model, by_set in z.items()}
probes, wide, fits, folds = {}, {}, {}, notebook.generator("folds")
for target, (measure, names, _) in targets.items():
    known_sets = fitted if names == "random" else names
    value = {name: measure(sets[name]) for name in {*known_sets, "test"}}
    for model, source in columns:
        by_set = (z if source == "z" else second)[model]
        known, truth = (torch.cat([of[name] for name in known_sets]) for of in (by_set, value))
        fits[names] = len(known) if names == "random" else len(known) * (space.FOLDS - 1) // space.FOLDS
        probes[target, model, source] = space.linear_probe(known, truth, by_set["test"], value["test"]) if names == "random" else space.held_out_r2(known, truth)
        wide[target, model, source] = 0.0 if names == "random" else space.held_out_spread(known, truth, folds)
features = [str((z if source == "z" else second)[model]["test"].shape[1]) for model, source in columns]
rows = [[target.removesuffix("_random").replace("_", " ").replace("schmid", "Schmid") + (", random" if names == "random" else ", mixture"), str(fits[names]), *(f"{probes[target, *column]:.3f}" + (
            f" ± {wide[target, *column]:.3f}" if names != "random" else "") for column in columns)] for target, (_, names, _) in targets.items()]
table([["features", None, *features], *rows], ["target", "VEs", *(", ".join(column) for column in columns)],
      "R² on VEs that the fit has not seen; predicting the mean gives 0. Features: how many numbers a probe reads; VEs: how many it is fitted to. The texture index is a sum of squares that the moments of "
      "ours contain, so what these say of it is no finding. Where there are more features than VEs, the result depends on the penalty; more VEs might give more.")

# %% [markdown]
# ## Explore
# A walk from a sharp texture to random grains. The frames are made beforehand and move in any page; in JupyterLab the panel below
# has a kernel behind it: choose two VEs by set and number, a path, and a section, and slide.

# %%
explorer = Explorer(models["ours"].decode, z["ours"], "cubic")
stops = torch.linspace(0, 1, 2 * settings.path_steps - 1).tolist()
frames([explorer.picture(("cube", 0), ("test", 1), share) for share in stops], [f"{share:.2f}" for share in stops],
       "From a VE of cube texture (left) along the spherical path to a random one (right): what is decoded at each share of the way stands between. Watch "
       "grains move, turn and change places; below, the mean disorientation from both ends in degrees.")
explorer.show(("brass", 0), ("elongated", 0), "Half way from a brass texture to elongated grains; with a kernel, a panel of choices and sliders.")
s1_route, s1_own, own_route = (f"textures_{way}_components" for way in ("one_side_in_training", "one_side_in_own", "both_sides_in_own"))
averages_alone, grains_alone = "averages alone", "size and aspect ratio alone"
standings = [
    Standing("S1's textures in the right cluster, S1's route (training components)", route[s1_route, "ours"], "",
             (averages_alone, route[s1_route, "measured"]), route.get((s1_route, "paper")), 0.965, True),
    Standing("S1's textures in the right cluster, own components", route[s1_own, "ours"], "", (averages_alone, route[s1_own, "measured"]),
             route.get((s1_own, "paper")), None, True),
    Standing("textures to both sides in the right cluster, own components", route[own_route, "ours"], "", (averages_alone, route[own_route, "measured"]),
             route.get((own_route, "paper")), None, True),
    Standing("morphologies in the right cluster, by power", accuracy["morphologies_by_power", "ours"], "",
             (grains_alone, accuracy["morphologies", "measured"]), accuracy.get(("morphologies_by_power", "paper")), None, True),
    Standing("nearest neighbour of the same morphology, all numbers", retrieved["morphologies", "ours"], "",
             (grains_alone, retrieved["morphologies", "measured"]), retrieved.get(("morphologies", "paper")), None, True),
    Standing("grain size by a straight line from moments, R², mixture", probes["grain_size", "ours", "moments"], "",
             (averages_alone, part_r2["averages", "grain size"]), probes.get(("grain_size", "paper", "moments")), None, True,
             2 * max(wide["grain_size", model, "moments"] for model in models)),
    Standing("grain size by a straight line from the numbers, R², mixture", probes["grain_size", "ours", "z"], "", None,
             probes.get(("grain_size", "paper", "z")), None, True, 2 * max(wide["grain_size", model, "z"] for model in models))]

# %%
metrics = {f"04.{group}.{model}.clustering_accuracy": value for (group, model), value in accuracy.items()}
metrics |= {f"04.{group}.{model}.retrieved": value for (group, model), value in retrieved.items()}
metrics |= {f"04.{target}.{model}.probe_r2": probes[target, model, source]
            for target, (_, _, source) in targets.items() for model in models}
metrics |= {f"04.train.{model}.active_units": space.active_units(z[model]["train"]) for model in models}
metrics |= {f"04.{name}.{model}.clustering_accuracy": value for (name, model), value in route.items()}
metrics |= {f"04.{path}_path.ours.{what}": values[path][:, middle].mean() for what, values in curves.items() for path in values}
metrics |= {f"04.{part}.ours.{what}_r2": value for (part, what), value in part_r2.items()}
metrics |= {"04.seed.ours.turned_at_the_anchor_deg": curve[1][0], "04.seed.ours.turned_half_a_spacing_away_deg": curve[1][1], "04.seed.ours.turned_far_deg": curve[1][-1]}
metrics |= {f"04.{piece}.ours.turned_deg": field.mean() for piece, field in zip(pieces, turned)} | {"04.real.nearly_alike_pct": 100 * real["blur"].mean(), "04.nearest_of_test.ours.disorientation_deg": near.mean(), "04.any_of_test.disorientation_deg": any_four.mean()}
metrics = {name.replace(" ", "_"): value for name, value in metrics.items()}
missed = [f"Texture needs no fingerprint: the volume averages alone bring {100 * route[own_route, 'measured']:.3g} % into the right cluster, ours {100 * route[own_route, 'ours']:.3g} %. "
          "Ours holds these averages among its numbers, scaled to come first; its clusters are no discovery."]
probe = {(model, source): probes["grain_size", model, source] for model in models for source in ("z", "moments")}
if "paper" in models:
    sides, own_sides = ([route[f"textures_{side}_in_{way}_components", "paper"] for side in ("one_side", "both_sides")] for way in ("training", "own"))
    long_sides = [long["textures", way]["accuracy"] for way in ("training", "own")]
    missed += [f"S1's 96.5 % for textures: its network, as rebuilt, comes to {100 * sides[0]:.3g} % by S1's route (three components of the training set) and S1's noise. In three "
               f"components of the textures themselves it comes to {100 * own_sides[0]:.3g} %{', so they are there, but not in the first directions of all VEs' if own_sides[0] > sides[0] else ''}.",
               f"With noise to both sides S1's network comes to {100 * sides[1]:.3g} % in training components and to {100 * own_sides[1]:.3g} % in own components; after the long training of "
               f"03 to {100 * long_sides[0]:.3g} % and {100 * long_sides[1]:.3g} %. With angles away from zero, and less scatter, it then comes to "
               f"{100 * long['textures away from zero', 'training']['accuracy']:.3g} % in training components. Noise to one side was not tried there.",
               f"Grain size, by a straight line from the numbers themselves: R² {probe['ours', 'z']:.3g} for ours, {probe['paper', 'z']:.3g} for S1's network, of {fits[mixture]} VEs to fit to. From moments, "
               f"which have products of two numbers, it is {probe['ours', 'moments']:.3g} and {probe['paper', 'moments']:.3g}.",
               f"S1's 200 components for all of the variance: its network, as rebuilt, needs {components['paper'].needed(0.999)} for 99.9 % of it; how many the network of the long training needs was not counted."]

# %%
best = {target: {model: max(probes[target, model, source] for source in ("z", "moments")) for model in models} for target in targets}
metrics |= {f"04.{target}.{model}.best_probe_r2": value for target, row in best.items() for model, value in row.items()}
lead, gain = 100 * (half["linear"] - half["spherical"]), (any_four - near).mean()
blurred = {name: 100 * float(values.mean()) for name, values in (*half.items(), ("real", real["blur"]))}
alone = ", ".join(f"{part} alone {100 * accuracy[f'morphologies_by_power_of_{part}', 'ours']:.3g}" for part in ours)
display(findings(
    *missed,
    f"The nearest fingerprint of ours is of the same texture for {100 * retrieved['textures', 'ours']:.3g} % of the VEs, of the same morphology for {100 * retrieved['morphologies', 'ours']:.3g} % (by power "
    f"{100 * retrieved['morphologies_by_power', 'ours']:.3g} %, chance {100 * space.retrieved_by_chance([sets[name] for name in MORPHOLOGIES]):.3g} %)" + (f"; of S1's network for {100 * retrieved['textures', 'paper']:.3g} % and "
    f"{100 * retrieved['morphologies', 'paper']:.3g} %" if "paper" in models else "") + f". Voxel by voxel neighbours are {'hardly ' * (gain < 0.1 * any_four.mean())}more alike than others: the four nearest training VEs of a random one differ from it by {near.mean():.3g}°, any four by {any_four.mean():.3g}° (difference {gain:.2g} ± {2 * float((any_four - near).std()) / len(near) ** 0.5:.1g}°, twice the standard error of {len(near)} VEs).",
    f"Grain shape is in how large the numbers of ours are: by their power {100 * accuracy['morphologies_by_power', 'ours']:.3g} % of the morphologies are in the right cluster ("
    f"{alone} %), by the numbers {100 * accuracy['morphologies', 'ours']:.3g} %" + (f" (S1's network {100 * accuracy['morphologies', 'paper']:.3g} %)" if "paper" in models else "") + f", where shuffled classes reach {100 * largest['morphologies']:.3g} %. "
    + (f"By the power of S1's network it is {100 * accuracy['morphologies_by_power', 'paper']:.3g} %, and large told from elongated {100 * accuracy['large_or_elongated_by_power', 'paper']:.3g} %, where chance reaches "
       f"{100 * largest['large_or_elongated_by_power']:.3g} %. " if "paper" in models else "") + f"Size and aspect ratio, measured, give {100 * accuracy['morphologies', 'measured']:.3g} %.",
    f"Along a path grains move and turn, and few fade into one another: of neighbouring voxels at most {most_alike['spherical']:.2g} % are nearly alike along the spherical path, {most_alike['linear']:.2g} % along the "
    f"linear one, half way {blurred['spherical']:.2g} and {blurred['linear']:.2g} % (the difference is {float(lead.mean()):.2g} percentage points ± {2 * float(lead.std()) / len(lead) ** 0.5:.1g}, twice the standard error of {len(lead)} pairs), {blurred['real']:.2g} % in real VEs. Half way "
    f"along the linear path a fingerprint has the length {float(curves['length']['linear'][:, middle].mean()):.3g}, real ones have {float(real['length']):.3g}: shorter rotation vectors are more alike.",
    f"In VEs of some {float(sets['test'].grains.float().mean()):.0f} grains a seed is about a grain: the exchange of one turns the voxels at its anchor by {curve[1][0]:.1f}°, where that of all turns them by "
    f"{turned[list(pieces).index('seeds')].mean():.1f}°; half a spacing of anchors away by {curve[1][1]:.0f}°, a whole one away by {curve[1][2]:.0f}°, and far away by {curve[1][-1]:.1f}°. The metric turns voxels by "
    f"{turned[list(pieces).index('metric')].mean():.2f}°, as equiaxed VEs hardly differ in it; the averages turn none, as the decoder does not read them.",
    f"A straight line, from numbers or moments, reads the texture off ours with R² {best['texture']['ours']:.3g}, which ours holds as {own_parts['averages']} of its numbers; from its seeds alone it is {part_r2['seeds', 'texture']:.2g}"
    + (f", from S1's network {best['texture']['paper']:.2g}" if "paper" in models else "")
    + f". What the averages up to degree 4 do not fix is harder: the mean Schmid factor of random VEs {best['schmid_factor_random']['ours']:.2g}, their grain size {best['grain_size_random']['ours']:.2g}."))
notebook.close("04", metrics=metrics, standings=standings, missed=missed, figure=scatter,
               caption="VEs on the first two principal components of the training set, a dot each: grey the training VEs, in colour textures (left) and morphologies (right). No unit.")

# %% [markdown]
# **Limits**
# - The size of grains within one morphology is read off poorly: the seeds hold it, but not on a straight line.
# - Components of a set of VEs cannot outnumber the VEs; at a small profile the explained-variance curve ends early.
# - Three principal components are S1's choice; those of the training set hold a small share of the variance.
# - In a mixture most of the spread lies between the sets, which makes a probe's task easier; the rows of random VEs are the
#   hard ones.
# - S1's network is that of 03: 16³ voxels, trained for minutes.
# - What S1's clusters owe to the jumps of Euler angles, to the size of the scatter, and to which textures they are, is not told apart; the long training had no
#   noise to one side.
#
# **Next**: 05 simulates the stress response. 06 learns the law of the crystal from single crystals, corrects and judges it by 05's
# curves, and holds it against regressions on fingerprints.
#
# ## Exercises
# **1 · Beyond the end.** A straight path has no reason to stop at its end. Go on to $t = 2$ and decode. What happens to the length of the
# fingerprint, and what to the VE?

# %% tags=["solution"]
shares = torch.linspace(0, 2, 5)
beyond = start + shares[:, None] * (end - start)
fields = models["ours"].decode(beyond)
show(draw.rows_of_slices({"beyond": (fields, [f"t = {share:.1f}" for share in shares])}, "cubic"),
     "A straight path that goes on beyond its end at t = 1: middle sections. What is decoded still looks like a polycrystal; the table says how many neighbouring voxels are nearly alike.")
table([[f"{share:.1f}", float(length), float(alike)] for share, length, alike in zip(shares, beyond.norm(dim=1), space.blur(fields, "cubic"), strict=True)],
      ["t", "length", "pairs 2° to 15° apart"], f"Real VEs are {float(real['length']):.3g} long, and {float(real['blur']):.2g} of their pairs are so nearly alike. A decoder that draws cells draws cells from any numbers: that a VE looks "
      "right does not show that its fingerprint is a likely one; its length does.")

# %% [markdown]
# **2 · How exactly must a fingerprint be known?** Add normal noise of growing width to test fingerprints and decode. From which width on does
# the VE suffer? Compare with the width of the posterior in 03, some thousandths.

# %% tags=["solution"]
clean, generator = models["ours"].decode(z_test), notebook.generator("noise")
widths = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
noise = torch.randn(z_test.shape, generator=generator)
off = [float(space.degrees_between(models["ours"].decode(z_test + width * noise), clean, "cubic").mean()) for width in widths]
figure, panel = plt.subplots(figsize=(4.5, 2.8))
panel.loglog(widths, off, "o-", color=draw.PALETTE["ours"])
panel.set(xlabel="width of the noise on every number", ylabel="mean disorientation / °")
show(figure, "Mean disorientation between VEs decoded with and without noise on their fingerprints, over the width of the noise; both logarithmic.")
print(f"Noise of {widths[1]}, about the posterior's width, costs {off[1]:.2g}°, of {widths[4]} {off[4]:.2g}°, and of {widths[-1]:.0f}, not quite as much as the "
      f"fingerprints of two VEs differ, {off[-1]:.2g}°, nearly what two random crystals have (02). There is no threshold: up to a width of {widths[4]} the error grows with it, by "
      f"{off[2] / widths[2] / 100:.1f}° for each hundredth. Training made the posterior so narrow that it costs little, and no narrower, for bits are paid for.")

# %% [markdown]
# **3 · Arithmetic.** Give a random VE the *metric* of an elongated one, two numbers of its fingerprint, and leave all else. Are its grains
# elongated then? Count boundaries along each axis: `boundary_faces` says which voxel faces are boundaries.

# %% tags=["solution"]
donor = z["ours"]["elongated"][: len(z_test)].mean(0)
lent = z_test.clone()
lent[:, ours["metric"]] = donor[ours["metric"]]
rows = []
for name, some in (("random VEs", z_test), ("with the metric of elongated ones", lent), ("elongated VEs", z["ours"]["elongated"][:4])):
    faces = boundary_faces(models["ours"].decode(some), "cubic").float().flatten(1).mean(1)
    rows.append([name, float(faces[1:].mean() / faces[0])])
display(table(rows, ["decoded", "length along x over width"], "Boundaries met across x over those along it: how long grains are for their width."))
print(f"Two numbers out of {z_test.shape[1]} change the aspect ratio from {rows[0][1]:.2f} to {rows[1][1]:.2f}, where elongated VEs have {rows[2][1]:.2f} by this count: the cells take on the "
      "metric, but their sites still stand as equiaxed grains do.")

# %% [markdown]
# **In three lines**
# 1. Ask for a number beside each picture of a latent space, and for the number that plain measurement gives.
# 2. S1's network sorts textures best where their Euler angles keep from the ends of their range and scatter least; these are also
#    other textures, and which of the three matters is open. Averages of a symmetric embedding sort them without a network.
# 3. Ours is made of parts with a meaning: a seed is about a grain, the metric is a part of their shape, the averages are the texture.
