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
# # 09 · Polycrystals on demand
#
# **Question**: which polycrystals answer a strain with the stress, the hardening and the anisotropy that I want, and how many
# different ones are there? Notebook 07 asks this of composites. Here the unknown is a volume element with its grains, the
# property is a stress far beyond yield, and the simulation that has to confirm it is the one of 05.
#
# **Inputs**: `polycrystals.h5` of notebook 01, `fingerprint_ours.safetensors` of 03, `cp.h5`, `textured.h5` and `campaign.h5`
# of 05, `surrogate_MATERIAL.safetensors` of 06.
# **Outputs**: `polycrystal_designs_AIM.h5` of each aim: `random`, `textured`, `anisotropy`.
#
# **Hardware and run time**: processor alone; a GPU is used where there is one.
#
# | profile | designs | time on 2 cores |
# | --- | ---: | ---: |
# | quick | 8 | 1.5 min |
# | laptop | 36 | 8 min |
#
# None of the papers that this study follows does it: S1 stops at the surrogate, S2 designs elastic composites.

# %% tags=["parameters"]
run = {"name": "by-hand", "seed": 2026}
compute = {"engine": "local", "device": "auto"}
cp = {"material": "Mg", "edge": 16, "load": "tension", "axis": "x", "strain": 0.01, "rate": 1e-3, "increments": 20,
      "scheme": "fourier", "solver": "spectral", "chunk": 16, "families_train": 21, "families_test": 14, "others": ["Al", "Ti"],
      "others_train": 6, "others_test": 12, "paths": 12, "path_elements": 1}
polycrystal_design = {"aims": ["random", "textured"], "inside": 1, "between": 1, "beyond": 0, "designs": 2, "rivals": 12}

# %%
import time

import torch
from IPython.display import display

from microprint import orientations
from microprint.analysis import polycrystal_designs as analysis
from microprint.mechanics.campaign import campaign_materials, read_campaign
from microprint.mechanics.datasets import SYMMETRY, read_curves
from microprint.microstructures.polycrystal import EDGE_M
from microprint.microstructures.volume_elements import read_volume_elements
from microprint.notebook import Standing, open_notebook
from microprint.plots import polycrystal_design as plot
from microprint.plots import style, table
from microprint.plots.microstructure import slices
from microprint.systems.fingerprint import Fingerprint
from microprint.systems.polycrystal_design import PolycrystalDesign, least_turn, root_mean_square_deg
from microprint.systems.polycrystal_targets import aim_properties, design_polycrystals, read_designs
from microprint.systems.surrogate import StressSurrogate

style()
notebook = open_notebook(run=run, compute=compute, cp=cp, polycrystal_design=polycrystal_design)
settings, MPA = notebook.params.polycrystal_design, 1e6

# %% [markdown]
# ## The unknown
#
# A fingerprint of notebook 03 is a list of seeds: site, weight, orientation. Sites and weights draw the cells, and cells of
# one kind hardly matter to the mean stress; orientations decide. So the search keeps the cells that it begins with and turns grains: three
# numbers for each. With forty grains and two wanted properties there are far more unknowns than equations, which is why there
# are many designs for one target, and why one has to say which of them one wants.
#
# Properties are differences of the stress along the load between two increments of the simulation: the stress at the end, and
# the hardening, how much it grows in the second half. For anisotropy the sample is turned under the load.

# %%
material = next(iter(campaign_materials(notebook.params.cp)))
surrogate = StressSurrogate.load(notebook.path(f"surrogate_{material}.safetensors"), notebook.device)
with notebook.open("textured.h5") as textured, notebook.open("campaign.h5") as campaign:
    training = read_campaign(textured, campaign, material, "train")
fingerprint = Fingerprint.load(notebook.path("fingerprint_ours.safetensors"), symmetry=training.elements.symmetry)
at = int(training.P[(..., *surrogate.component)].mean(0).abs().argmax())
properties = aim_properties("textured", at, surrogate.component[0])
names = [p.name for p in properties]
known = torch.stack([p.of(training.P[(..., *surrogate.component)]) for p in properties], 1)
design = PolycrystalDesign(surrogate, fingerprint, training.elements, properties, known)
for name, values in zip(names, known.T / MPA):
    print(f"{name}: {values.min():.1f} to {values.max():.1f} MPa in {len(values)} simulated volume elements of {material}")
print(f"a fingerprint: {len(fingerprint.anchors)} seeds, {fingerprint.size} numbers")

# %% [markdown]
# ## A prior that knows the target
#
# S2 conditions its prior $p(z\,|\,c)$ on the property $c$ and takes Gaussians for it. A Gaussian over raw seeds draws nothing:
# orientations are no vector space, and the order of seeds means nothing. But we know how a texture makes a property: to first
# order a mixture of two textures has the mixture of their properties. So cells come from any training element, and orientations
# from two training elements, in the shares $s$ and $1-s$ that bring the mixture nearest to the target:
#
# $$p(\text{cells},R\,|\,c)=p(\text{cells})\sum_{kl}w_{kl}(c)\prod_g\big(s f_k+(1-s)f_l\big)(R_g),\qquad
# w_{kl}\propto\exp\Big(-\frac{|s\,c_k+(1-s)\,c_l-c|^2}{2b^2}\Big).$$
#
# $f_k$ is the texture of element $k$: its grains by their volumes, each scattered by a few degrees. It is a mixture with a
# component for each pair of training elements, nothing is trained, and no pair is taken twice for one target. Most pairs are unlike each
# other, so that designs are, and a gap between the data is no gap between pairs. Some pairs that the prior draws:

# %%
target = known.mean(0) + torch.tensor([0.8, 0.4]).double() * known.std(0)
drawn = design.mixtures(target, 8, notebook.generator("mixtures"))
print("target:", ", ".join(f"{name} {value / MPA:.2f} MPa" for name, value in zip(names, target)))
plot.mixtures(known.numpy() / MPA, drawn.pair.numpy(), drawn.share.numpy(), target.numpy() / MPA, names);

# %%
generator = notebook.generator("a design step by step")
z = design.draw(target, settings.designs, generator)
begun = design.refine(target, z, steps=0)  # no step: what was drawn
table([[f"draw {k + 1}", int(begun.elements.grains[k]), *(row / MPA).tolist()] for k, row in enumerate(begun.predicted)]
      + [["target", "", *(target / MPA).tolist()]], ["", "grains", *(f"{name} (MPa)" for name in names)], "What the prior draws, by the surrogate.")

# %% [markdown]
# ## Which grains decide?
#
# What happens to the properties if grain $g$ turns by a small rotation vector $\omega_g$? The surrogate is a march of small
# steps: strain, the learnt crystal, Fourier transforms. Each is differentiable, so the march is, from its last stress back to
# the first increment. One pass backwards for each property gives all slopes
# $J_g=\partial c/\partial\omega_g$ at once; differences would take three simulations for each grain.
#
# Below, the length of $J_g$ for one degree, over the angle between the grain's c axis and the load. Dividing by the volume
# share compares grains: what they would do if each filled the whole.

# %%
begin = time.perf_counter()
element = begun.elements[:1]
slopes = design.sensitivity(element.grain_id.long(), element.quaternion)[0]
seconds = time.perf_counter() - begin
volume = torch.bincount(element.grain_id.flatten().long(), minlength=slopes.shape[1]) / element.grain_id.numel()
c_axis = orientations.to_matrix(element.quaternion[0])[:, 2, surrogate.component[0]].abs().clamp(max=1)
own = volume > 0
unit = torch.deg2rad(torch.tensor(1.0)) / MPA / volume[own]
print(f"{slopes[0].numel()} slopes of {len(names)} properties in {seconds:.1f} s")
plot.slopes(torch.rad2deg(c_axis.acos())[own].numpy(), (slopes[:, own].norm(dim=-1) * unit).numpy(), names);

# %% [markdown]
# ## The least turn
#
# Of all turns that do what is wanted to first order, we take the one that changes the volume element the least,
#
# $$\min_\omega\sum_g v_g|\omega_g|^2\ \text{ with }\ \sum_gJ_g\omega_g=c-c(R)\quad\Rightarrow\quad
# \omega_g=\tfrac1{v_g}J_g^\top\lambda,\qquad \Big(\sum_g\tfrac1{v_g}J_gJ_g^\top\Big)\lambda=c-c(R):$$
#
# a system of as many equations as there are properties. The step is cut where it would turn grains by more than twelve degrees, the surrogate says
# what it did, and the slopes learn from that (Broyden's rule) where the step was whole; else they are computed anew. A grain whose
# c axis lies along the load has no slope at all, as the picture shows: a texture of such grains is a dead end, and what ends in one
# is drawn anew, once. First by hand, one step:

# %%
residual = target - begun.predicted[0]
step = least_turn(residual / design.scale, slopes / design.scale[:, None, None], volume.double())
moved = orientations.multiply(element.quaternion.double(), orientations.from_rotation_vector(step)[None])
after, _ = surrogate.predict(element.grain_id, moved)
rows = [["drawn", *(begun.predicted[0] / MPA).tolist()], ["after one full step", *(float(p.of(after)[0] / MPA) for p in properties)],
        ["target", *(target / MPA).tolist()]]
table(rows, ["", *(f"{name} (MPa)" for name in names)],
      f"One Gauss-Newton step; the grains turn by {root_mean_square_deg(step, volume.double()):.1f}° (root mean square).")

# %%
begin = time.perf_counter()
made = design.refine(target, z)
print(f"{(time.perf_counter() - begin) / len(z):.1f} s a design")
rows = [[f"design {k + 1}", *(made.predicted[k] / MPA).tolist(), float(made.turned_deg[k])] for k in range(len(z))]
display(table(rows, ["", *(f"{name} (MPa)" for name in names), "turned by (°)"], "The whole search, by the surrogate."))
fields = torch.stack([begun.elements.orientations()[:2], made.elements.orientations()[:2]], 1).flatten(0, 1)
slices(fields.numpy(), [f"{what} {k + 1}" for k in range(2) for what in ("draw", "design")], fingerprint.symmetry, edge_m=EDGE_M);

# %% [markdown]
# ## Three aims, and rivals
#
# - *random*: stress and hardening of volume elements without texture, where little is to be had but by chance;
# - *textured*: the same, from all families of textures of 05;
# - *anisotropy*: stresses of tension along two axes of the *same* volume element.
#
# Targets are of three kinds: **inside**, what a held-out volume element has; **between**, in the widest gaps between the training
# elements (means of two of them, which suits a prior of pairs); **beyond**, a tenth farther from their mean than the farthest. For
# each there are several designs, of five methods:
#
# - *nearest*: the training elements whose simulated properties come nearest. Costs nothing, and is nothing new;
# - *best of many*: new random volume elements, of which the surrogate takes the best;
# - *drawn*: the prior alone;
# - *ours*: drawn and turned; *ours, a simulation more*: turned once more, told by a simulation what the surrogate got wrong.
#
# Every design is simulated, and its error is that of the simulation. The quick profile leaves `anisotropy` and *beyond* out.

# %%
studies, elements_of = {}, {}
for aim in settings.aims:
    notebook.do(design_polycrystals, aim=aim, material=material)
    with notebook.open(f"polycrystal_designs_{aim}.h5", "polycrystal designs") as file:
        studies[aim] = read_designs(file)
with notebook.open("polycrystals.h5") as polycrystals, notebook.open("cp.h5") as cp_file:
    elements_of["random"] = read_curves(polycrystals, cp_file, "train").elements
elements_of |= {aim: training.elements for aim in settings.aims if aim != "random"}
labels = {"nearest": "nearest training element", "best_of_n": f"best of {settings.rivals} random ones", "drawn": "prior alone",
          "ours": "ours", "corrected": "ours, a simulation more"}
colours = {"nearest training element": "linear", "ours": "ours", "prior alone": "light"}

# %%
panels = {aim: (study.properties, study.known.numpy() / MPA, study.targets.numpy() / MPA,
                {labels[m]: study.made[m].simulated.numpy() / MPA for m in ("drawn", "nearest", "ours")}) for aim, study in studies.items()}
figure = plot.property_planes(panels, colours)

# %%
results = {}
for aim, study in studies.items():
    errors = {"a training element at random": analysis.errors_at_random_mpa(study)} | {m: analysis.errors_mpa(study, m) for m in labels}
    apart = {m: (analysis.variety(made.elements, settings.designs, elements_of[aim]), analysis.novelty(made.elements, elements_of[aim]))
             for m, made in study.made.items()}
    results[aim], kinds = (errors, apart), [kind for kind in next(iter(errors.values())) if kind != "all"]
    rows = [[labels.get(m, m), error["all"][0], *(error[kind][0] for kind in kinds), error["all"][1], *apart.get(m, (None, None))]
            for m, error in errors.items()]
    display(table(rows, ["design", f"error of {study.properties[0]} (MPa)", *kinds, f"error of {study.properties[1]} (MPa)", "variety", "novelty"],
          f"{aim}: {len(study.targets)} targets, {settings.designs} designs each, by simulation; half of the training elements' "
          f"spread is {study.known[:, 0].std() / 2 / MPA:.2f} and {study.known[:, 1].std() / 2 / MPA:.2f} MPa."))

# %% [markdown]
# *Variety* is how far apart the textures of the designs for one target lie (1: as far as two training elements of that aim), *novelty* how
# far they lie from the nearest training element (1: as far as that lies from its own nearest neighbour). A texture is here the
# volume average of the embedding, the lowest coefficients of the orientation distribution.
#
# Retrieval is hard to beat where data are dense, but it has no variety to offer beyond the few elements that happen to be near, and
# nothing between and beyond the data. The prior alone has all of these and misses. The least turn costs little of them.
#
# ## What cannot be had
#
# A target beyond all data may be beyond the crystal. Does the method tell? The surrogate's own answer for the finished design
# does: where it stops short of the target, so does the simulation.

# %%
rows = []
for aim, study in studies.items():
    predicted, simulated = (getattr(study.made["ours"], name).unflatten(0, (len(study.targets), -1)) for name in ("predicted", "simulated"))
    for t in (t for t, kind in enumerate(study.kinds) if kind == "beyond"):
        best = int((predicted[t] - study.targets[t]).norm(dim=1).argmin())
        rows.append([aim, *(" / ".join(f"{v / MPA:.1f}" for v in values) for values in (study.targets[t], predicted[t, best], simulated[t, best]))])
table(rows or [["none asked for", "", "", ""]], ["aim", "target (MPa)", "best design, surrogate", "the same, simulated"],
      "Targets beyond the training elements: first / second property.")

# %% [markdown]
# ## Different microstructures, one response
#
# All designs for one target of the last aim, one in a gap of the data: their simulated stresses agree, their sections do not.

# %%
study = list(studies.values())[-1]
row = study.kinds.index("between") if "between" in study.kinds else 0
some = slice(row * settings.designs, (row + 1) * settings.designs)
same = study.made["corrected"]
titles = [" / ".join(f"{v / MPA:.2f}" for v in values) + " MPa" for values in same.simulated[some]]
print("target:", " / ".join(f"{v / MPA:.2f}" for v in study.targets[row]), "MPa")
slices(same.elements[some].orientations().numpy(), titles, fingerprint.symmetry, edge_m=EDGE_M);

# %% [markdown]
# ## On your own material
#
# `propose` takes a target in pascal and gives fingerprints and volume elements. `refine` starts from fingerprints of your own:
# the least change of a volume element that you have, which gives it the property that you want.

# %%
with notebook.open("polycrystals.h5") as file:
    mine = read_volume_elements(file, f"{SYMMETRY}/test", slice(0, 1)).sampled(design.edge)
code = torch.as_tensor(fingerprint.encode(mine.grain_id, mine.quaternion))
before = design.refine(target, code, steps=0).predicted[0]
wanted = before + torch.tensor([3e6, 0.0]).double()  # stronger, with the same hardening
own = design.refine(wanted, code)
print(f"{before[0] / MPA:.1f} to {own.predicted[0, 0] / MPA:.1f} MPa by turning its grains by {own.turned_deg[0]:.1f}° (root mean square)")

# %% [markdown]
# **Findings** are printed below, computed.
#
# **Limits**. Grains turn, cells stay: what grain size or shape could do is not asked, as the law of the crystal knows no length.
# Forty grains can be turned to almost any stress, a real sheet's texture cannot; a prior over textures that can be
# *processed* would be the next restriction. The slopes are those of one learnt law; where the surrogate is wrong, so is the design, until
# a simulation corrects it. A target beyond the data is met as far as turning can: the search is local, and may stop before
# the crystal's own bound. The march is held in memory for its way back: some hundred megabytes at 16³ voxels, eight times as many
# at twice the edge.
#
# **Next**: this is the last notebook. The way back is to 05: designs with a wanted response are the simulations that teach a
# surrogate most where data are thin.

# %%
share = {aim: analysis.within_half_spread(study, "ours", ("inside", "between")) for aim, study in studies.items()}
for aim, (errors, apart) in results.items():
    study = studies[aim]
    print(f"- {aim}: error of {study.properties[0]} {errors['ours']['all'][0]:.3f} MPa, after a simulation more {errors['corrected']['all'][0]:.3f}; nearest "
          f"{errors['nearest']['all'][0]:.3f}, best of {settings.rivals} {errors['best_of_n']['all'][0]:.3f} MPa. Inside and between, "
          f"{100 * share[aim]:.0f} % of the designs lie within half the spread; variety {apart['ours'][0]:.2f}, novelty {apart['ours'][1]:.2f}")
metrics = {f"09.{aim}.{m}.error_mpa": error["all"][0] for aim, (errors, _) in results.items() for m, error in errors.items() if m in labels}
metrics |= {f"09.{aim}.{m}.second_error_mpa": error["all"][1] for aim, (errors, _) in results.items() for m, error in errors.items() if m in labels}
metrics |= {f"09.{aim}.{m}.{kind}.error_mpa": error[kind][0] for aim, (errors, _) in results.items() for m, error in errors.items() for kind in error
            if m in labels and kind != "all"}
metrics |= {f"09.{aim}.ours.{name}": value for aim, (_, apart) in results.items() for name, value in zip(("variety", "novelty"), apart["ours"])}
metrics |= {f"09.{aim}.ours.within_half_spread_pct": 100 * value for aim, value in share.items()}
last = "textured" if "textured" in results else settings.aims[0]
trivial, (errors, _) = "a training element at random", results[last]
notebook.close("09", metrics=metrics, figure=figure, standings=[Standing(
    f"error of a design's {studies[last].properties[0]}, {last}", errors["ours"]["all"][0], "MPa", ("at random", errors[trivial]["all"][0]))])
