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
# # 02 · Preprocessing: what a network should see of an orientation
#
# **Question**: an orientation can be written as Euler angles, as a quaternion in the fundamental zone, as two axes of the
# crystal or by an embedding that its symmetry leaves alone. Which of these gives two nearly equal crystals nearly equal numbers?
#
# **You will learn**
#
# - what crystal symmetry does to an orientation: equivalents, fundamental zone, disorientation;
# - why a small error says little until one knows what no model at all would make;
# - why most ways to write an orientation jump, and how a symmetric embedding does not;
# - how to read an orientation back from numbers with errors.
#
# **Prerequisites**: what an orientation map is (notebook 01); rotations as matrices. Quaternions are introduced.
#
# **Inputs**: `polycrystals.h5`, `composites.h5` of notebook 01.
#
# **Outputs**: `splits.json`.
#
# **Time**: about 1 minute with the default parameters (`params/quick.yml`) on two cores, no GPU needed.
#
# After White et al. 2025, arXiv:2503.17427, here **S1**. Its fingerprints see Euler angles in the fundamental zone.

# %% tags=["parameters"]
run = {"name": "by-hand", "seed": 2026}
compute = {"engine": "local", "device": "auto"}
preprocessing = {
    "pairs": 20000,
    "angle_deg": 1.0,
    "jump": 0.1,
    "train_share": 0.6,
    "validation_share": 0.2,
}

# %%
import damask
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display

from microprint import orientations
from microprint.analysis import representation
from microprint.microstructures import datasets, polycrystal
from microprint.microstructures.volume_elements import read_volume_elements
from microprint.notebook import Standing, findings, open_notebook
from microprint.plots import microstructure as draw
from microprint.plots import show, style, table

style()
notebook = open_notebook(run=run, compute=compute, preprocessing=preprocessing)
settings, representations = notebook.params.preprocessing, representation.REPRESENTATIONS
titles = {name: entry.title for name, entry in representations.items()}

# %% [markdown]
# ## 1 Conventions
#
# A rotation by an angle $\omega$ about a unit axis $\mathbf n$ is the unit *quaternion*
# $q = (w, x, y, z) = (\cos\frac{\omega}{2}, \mathbf n \sin\frac{\omega}{2})$; $q$ and $-q$ are the same rotation. An
# orientation is the rotation whose matrix turns *sample* components into *crystal* components,
# $\mathbf v_\text{crystal} = \mathbf M(q)\,\mathbf v_\text{sample}$ (passive, as in DAMASK).
#
# A crystal looks the same after a rotation $s$ of its point group, 24 for a cubic and 12 for a hexagonal one, so $q$ and
# $s\,q$ are the same material. The *fundamental zone* (FZ) keeps one of them: that with the smallest angle of rotation. The
# angle between two crystals is their *disorientation*, the least over all equivalents,
#
# $$ \theta(p, q) = \min_{s} 2 \arccos \left| \left( s\,p\,q^{-1} \right)_w \right| . $$
#
# Both are checked against the `damask` library on random orientations.

# %%
generator = notebook.generator("check")
rows = []
for symmetry in orientations.SYMMETRIES:
    p, q = orientations.random((2, 500), generator, torch.float64)
    theirs = [damask.Orientation(rotation=r.numpy(), family=symmetry) for r in (p, q)]
    zone = np.abs(orientations.reduce(p, symmetry).numpy() - theirs[0].reduced.quaternion).max()
    angle = np.degrees(theirs[0].disorientation_angle(theirs[1]))
    ours = torch.rad2deg(orientations.disorientation(p, q, symmetry)).numpy()
    rows.append([symmetry, len(orientations.symmetry_operators(symmetry)), zone, np.abs(ours - angle).max(), angle.mean(), angle.max()])
checks = {row[0]: row for row in rows}
table(rows, ["symmetry", "rotations", "largest difference of an FZ quaternion", "largest difference of θ / °", "mean θ / °", "largest θ / °"],
      "Ours against damask: 500 random pairs.")

# %% [markdown]
# ## 2 A baseline to remember
#
# S1 measures reconstructions by $1 - \lvert q \cdot \hat q \rvert$ between the true and the rebuilt quaternion of every voxel,
# averaged. For a small angle $\omega$ it is $\frac12 (\frac{\omega}{2})^2$, a small number even for large errors (40°: 0.06).
# Saying *identity* everywhere, without looking at anything, already scores well, because the FZ is small. So section 5 and the
# tables of notebook 03 show this baseline beside errors in degrees. S1 gives 0.030 in the third version of its paper and 0.009
# in the first, for cubic crystals.

# %%
baselines = {s: representation.constant_baseline(s, 100_000, notebook.generator(f"baseline {s}")) for s in orientations.SYMMETRIES}
table([[s, *baselines[s]] for s in baselines],
      ["symmetry", "S1's measure", "mean disorientation / °"], "What a model scores that always says 'identity'.")

# %% [markdown]
# ## 3 Four representations
#
# **Euler channels** (S1): the Bunge angles $(\varphi_1, \Phi, \varphi_2)$ of the FZ's orientation, divided by
# $(2\pi, \pi, 2\pi)$. $\varphi_1$ runs from 1 back to 0, and where $\Phi = 0$ only $\varphi_1 + \varphi_2$ means anything.
#
# **FZ quaternions**: no poles, but the zone has faces. A crystal that leaves through one comes back through another.
#
# **Two axes**: the first two rows of $\mathbf M$ of the FZ's orientation, six numbers. Over all *rotations* this is
# continuous, which fewer than five numbers cannot be (Zhou et al. 2019, arXiv:1812.07035); it is much used for networks.
#
# **Symmetric embedding**: a polynomial that the point group leaves alone, turned with the crystal. With the crystal axes
# $\mathbf a_i$ (rows of $\mathbf M$), a cubic crystal becomes the harmonic part of
#
# $$ H(\mathbf s) = \sum_{i=1}^{3} (\mathbf a_i \cdot \mathbf s)^4 , $$
#
# nine numbers in an orthonormal basis; a hexagonal one the parts of degree 2 and 4 of its c-axis and
# $\operatorname{Re}\,[(\mathbf a_1 + i \mathbf a_2) \cdot \mathbf s]^6$, 27 numbers. It is continuous, of unit length, zero
# on average over all rotations, and a small turn moves it equally far about any axis (Arnold, Jupp & Schaeben 2018;
# Hielscher & Lippert 2021, arXiv:2007.09664).
#
# A cubic crystal that turns steadily shows the difference:

# %%
turned = torch.linspace(0, 120, 481, dtype=torch.float64)
axis = torch.nn.functional.normalize(torch.tensor([0.4, 0.5, 0.76], dtype=torch.float64), dim=0)
path = orientations.multiply(orientations.from_rotation_vector(torch.deg2rad(turned)[:, None] * axis),
                             orientations.from_euler(torch.tensor([0.5, 0.4, 0.2], dtype=torch.float64)))
names = {"euler": ["φ₁ / 2π", "Φ / π", "φ₂ / 2π"], "quaternion": list("wxyz"), "axes": [f"M{i}{j}" for i in "12" for j in "123"]}
channels = {titles[r]: (entry.encode(path, "cubic").numpy(), names.get(r, ())) for r, entry in representations.items()}
overview = draw.jumps(channels, turned.numpy())
show(overview, "The channels of one cubic crystal that turns steadily by 120° about an axis, in four representations. Vertical lines "
     "are jumps: the crystal has hardly moved, its numbers have. The nine channels of the embedding have none.")

# %% [markdown]
# ### A volume element in these numbers
#
# One section as inverse-pole-figure colours, as its first Euler channel, and as one channel of the embedding. The volume
# average of the embedding is a measure of the *texture*, its lowest harmonics; notebook 06 lives on it (exercise 3).

# %%
with notebook.open("polycrystals.h5", "polycrystals") as file:
    name = next(f"{symmetry}/{name}" for symmetry in file for name in ("train", *file[symmetry]) if name in file[symmetry])
    elements, edge_m = read_volume_elements(file, name, slice(1)), file[name].attrs["edge_m"]
symmetry, section = elements.symmetry, elements.orientations()[0, :, :, 0]
figure, axes = plt.subplots(2, 2, figsize=(6.2, 5.0))
draw.show_section(axes[0, 0], draw.ipf_colours(section.numpy(), symmetry), edge_m * 1e6)
axes[0, 0].set_title(f"{name}, colours along x")
draw.colour_key(axes[0, 1], symmetry)
for ax, values, title in ((axes[1, 0], orientations.euler_channels(section)[..., 0], "Euler channel φ₁ / 2π"),
                          (axes[1, 1], orientations.embed(section, symmetry)[..., 0], "embedding, channel 1")):
    image = ax.imshow(values.numpy().T, origin="lower", extent=(0, edge_m * 1e6, 0, edge_m * 1e6))
    figure.colorbar(image, ax=ax, shrink=0.8)
    ax.set(title=title, xlabel="x / µm", ylabel="y / µm")
    ax.grid(False)
show(figure, "One section z = 0 of a volume element: its colours of the inverse pole figure with their key, what S1's network sees of it "
     "in one channel, and one channel of the embedding. Within a grain all are constant.")

# %% [markdown]
# ## 4 How often does it jump?
#
# Now random pairs, one of each turned by a small angle about a random axis. What share of them has a channel that changes
# by more than a threshold? A network is a smooth function: it can only smear a jump. The threshold is 0.1: above what a turn of
# 1° does to the embedding, below the smallest jump, 60°/360° in an Euler channel at a face of a sixfold axis.
#
# > **Before you look**: two axes change steadily with every rotation, quaternions (with $w \ge 0$) do not. Will two axes jump
# > less often?

# %%
changes = {}
for symmetry in orientations.SYMMETRIES:
    pairs = representation.near_pairs(settings.pairs, settings.angle_deg, notebook.generator(f"pairs {symmetry}"))
    changes |= {(symmetry, r): representation.largest_change(pairs, r, symmetry) for r in titles}
share = {key: 100 * (change > settings.jump).double().mean().item() for key, change in changes.items()}
width = {key: representations[key[1]].encode(pairs[0][:1], key[0]).shape[-1] for key in changes}
largest = {key: change.max().item() for key, change in changes.items()}
both = orientations.SYMMETRIES
table([[titles[r], *(share[s, r] for s in both), *(largest[s, r] for s in both), *(width[s, r] for s in both)] for r in titles],
      ["representation", *(f"{s} pairs that jump / %" for s in both), *(f"largest change, {s}" for s in both), *(f"channels, {s}" for s in both)],
      f"{settings.pairs} pairs {settings.angle_deg:g}° apart; a jump is a change above {settings.jump:g}.")

# %%
thresholds = np.geomspace(0.01, 2.0, 80)
curves = {s: {titles[r]: np.array([100 * (changes[s, r].numpy() > t).mean() for t in thresholds]) for r in titles} for s in both}
ends = ", ".join(f"{titles[r]} {max(largest[s, r] for s in both):.3f}" for r in titles)
show(draw.shares(curves, thresholds, settings.jump),
     f"Share of pairs {settings.angle_deg:g}° apart whose channels change by more than a threshold; axes are logarithmic, the upright one "
     "down to 0.1 %. A line that stays flat to the right means jumps: changes that have nothing to do with the angle. The largest "
     f"changes, of the symmetry where they are larger: {ends}.")

# %% [markdown]
# The embedding's curve falls to nothing at the change that the angle itself causes, at most $\sqrt{20/3}\,\theta$ (in radians)
# for cubic symmetry. The others keep a tail far beyond it, whatever the angle: these are the pairs on two sides of a
# face. Which side of a face a grain falls on does not matter by itself: all its voxels fall on the same one. But the least noise
# makes a grain near a face change sides.
#
# ## 5 And back: from numbers to a rotation
#
# A decoder's output is no exact embedding. It is read as the nearest rotation, $\operatorname{argmax}_q \langle e, E(q) \rangle$
# for an output $e$ and the embedding $E(q)$, by a look-up over the FZ and a few Newton steps. Quaternions are scaled to length
# one; two axes are read as the rotation that fits both best (Davenport's method); Euler channels are read as the angles that they say.
#
# To be fair, every channel gets normal noise of the same share of its own standard deviation: 3, 10, 30 or 60 %. A decoder that
# explains 99 % of the variance of each channel has a noise of 10 %. Notebook 03 defines it likewise.

# %%
error = {(s, r, noise): representation.noise_error(r, s, noise, 4000, notebook.generator(f"noise {s} {r} {noise}"))
         for s in orientations.SYMMETRIES for r in titles for noise in (0.0, 0.03, 0.1, 0.3, 0.6)}
mean_error = {key: angle.mean().item() for key, angle in error.items()}
round_trip = {s: error[s, "embedding", 0.0].max().item() for s in orientations.SYMMETRIES}
shown = list(titles)[::-1]  # the embedding first, which a narrow page would cut off
for s, (_, constant) in baselines.items():
    rows = [[f"{100 * noise:g} %", *(mean_error[s, r, noise] for r in shown)] for noise in dict.fromkeys(n for *_, n in error if n)]
    display(table([*rows, ["always 'identity'", *[constant] * len(shown)]], ["noise", *(titles[r] for r in shown)],
                  f"{s.capitalize()} crystals: mean disorientation in degrees of what is read from channels with noise, and of saying "
                  f"'identity' whatever they are. Without noise it is below {max(mean_error[s, r, 0.0] for r in shown):.0e}°."))

# %% [markdown]
# ## 6 Splits
#
# Composites are split by microstructure; a hash pins the split, and the test set is read once. Polycrystals come as separate
# sets already. Micrographs are split by *image*, in notebook 08: patches of one image look alike, and must not lie on both
# sides.

# %%
notebook.do(datasets.split_composites)
splits = notebook.load_json("splits.json")
parts = ("train", "validation", "test")
table([[kind, *(len(splits[kind][part]) for part in parts)] for kind in splits["hash"]], ["set", *parts],
      f"Numbers of composites in each part; hash: {', '.join(splits['hash'].values())}.")

# %%
free = [r for r in titles if r not in ("euler", "embedding")]  # the page's rivals: neither S1's nor ours
least = {s: min(free, key=lambda r: share[s, r]) for s in orientations.SYMMETRIES}
as_good = {s: " and ".join(titles[r] for r in free if f"{share[s, r]:.2f}" == f"{share[s, least[s]]:.2f}") for s in least}
sharpest = {s: min(free, key=lambda r: mean_error[s, r, 0.1]) for s in orientations.SYMMETRIES}
alike = abs(share["cubic", "axes"] - share["cubic", "quaternion"]) < 0.1
missed = [f"The embedding costs {width['cubic', 'embedding']} numbers for a cubic and {width['hexagonal', 'embedding']} for a hexagonal "
          f"crystal (a quaternion: {width['cubic', 'quaternion']}), and reading an orientation back from it takes a search."]
findings(
    *missed,
    "Two axes jump " + ("as often as quaternions" if alike else "not as often as quaternions") + f" ({share['cubic', 'axes']:.2f} and "
    f"{share['cubic', 'quaternion']:.2f} % of cubic pairs): what jumps is the choice of an equivalent, not the way to write it.",
    *(f"Of {s} pairs {settings.angle_deg:g}° apart, {share[s, 'euler']:.2f} % jump in Euler channels, {share[s, least[s]]:.2f} % in the best "
      f"of the others ({as_good[s]}), {share[s, 'embedding']:.2f} % in the embedding, which changes by "
      f"{largest[s, 'embedding']:.3f} at most." for s in least),
    *(f"Noise of 10 % of every channel's spread turns {s} crystals by {mean_error[s, 'embedding', 0.1]:.1f}° on average when read from the "
      f"embedding, by {mean_error[s, sharpest[s], 0.1]:.1f}° from {titles[sharpest[s]]}, by {mean_error[s, 'euler', 0.1]:.1f}° from Euler "
      "channels." for s in sharpest),
    "A model that has learnt nothing scores " + " and ".join(f"{score:.3f} ({s})" for s, (score, _) in baselines.items())
    + f" in S1's measure; the 0.030 that S1 gives for cubic crystals is {100 * 0.03 / baselines['cubic'][0]:.0f} % of that.",
    f"FZ quaternions agree with damask's to {max(row[2] for row in checks.values()):.0e}, disorientations to {max(row[3] for row in checks.values()):.0e}°.")

# %% [markdown]
# So S1's claim, that respecting symmetry makes the loss discontinuous, holds for its representation and for every other that
# chooses one equivalent. It does not hold for all.
#
# **Limits**
#
# - Noise was drawn for each channel by itself. More channels average it better; errors of a real decoder come together.
# - Jumps are counted over uniform orientations. A texture away from the faces has none, one on a face has many.
# - All channels are compared on their own scales; a training loss may weigh them otherwise.
#
# **Next**: notebook 03 trains S1's network on Euler channels, and ours on the seeds of grains; the embedding serves there as volume
# averages, for the linear code, and to find grains of like orientation.

# %%
metrics = {f"02.{s}.{r}.jump_pct": value for (s, r), value in share.items()}
metrics |= {f"02.{s}.{r}.noise_0.1_deg": mean_error[s, r, 0.1] for s, r in share}
metrics |= {f"02.{s}.embedding.round_trip_deg": value for s, value in round_trip.items()}
for s, (one_minus, angle) in baselines.items():
    metrics |= {f"02.{s}.constant.one_minus_abs_dot": one_minus, f"02.{s}.constant.disorientation_deg": angle,
                f"02.{s}.damask.disorientation_difference_deg": checks[s][3]}
metrics["02.cubic.paper.share_of_constant_pct"] = 100 * 0.03 / baselines["cubic"][0]
standings = [Standing("cubic pairs of like orientation that jump", share["cubic", "embedding"], "%",
                      rival=(as_good["cubic"], share["cubic", least["cubic"]]), rebuilt=share["cubic", "euler"]),
             Standing("cubic error of reading numbers with 10 % noise", mean_error["cubic", "embedding", 0.1], "°",
                      rival=(titles[sharpest["cubic"]], mean_error["cubic", sharpest["cubic"], 0.1]),
                      rebuilt=mean_error["cubic", "euler", 0.1])]
notebook.close("02", metrics=metrics, standings=standings, missed=missed, figure=overview, caption="What channels do as a crystal turns through a face of its fundamental zone.")

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** No two cubic crystals are further apart than $2 \arccos\frac{2 + \sqrt 2}{4}$. Find the largest
# disorientation of 300,000 random pairs, and the mean that Mackenzie (1958) gives as 40.7°. Why is
# the mean well above half of the largest?

# %% tags=["solution"]
p, q = orientations.random((2, 300_000), notebook.generator("exercise pairs"), torch.float64)
angle = torch.rad2deg(orientations.disorientation(p, q, "cubic"))
bound = np.degrees(2 * np.arccos((2 + 2**0.5) / 4))
print(f"largest {angle.max():.2f}°, the bound is {bound:.2f}°; mean {angle.mean():.2f}°. Rotations by up to an angle fill "
      f"a volume that grows like its cube, so small angles are rare: {100 * (angle < 20).double().mean():.1f} % of the pairs are below 20°. The corners of the "
      f"zone are thin: {100 * (angle > 55).double().mean():.1f} % are above 55°.")

# %% [markdown]
# **Exercise 2.** A network that is smooth on the scale of 1° gives about the mean for both of two orientations 1° apart. Take cubic
# pairs, average their channels, and read the mean as an orientation (`representations[r].decode(channels, "cubic")`). How far is it from the first of the pair?

# %% tags=["solution"]
pairs, rows = representation.near_pairs(5000, 1.0, notebook.generator("exercise means")), []
for entry in representations.values():
    mean = sum(entry.encode(q, "cubic") for q in pairs) / 2
    angle = torch.rad2deg(orientations.disorientation(entry.decode(mean, "cubic"), pairs[0], "cubic"))
    rows.append([entry.title, angle.mean().item(), angle.max().item(), 100 * (angle > 1).double().mean().item()])
table(rows, ["representation", "mean / °", "largest / °", "further than 1° / %"],
      "The mean lies half a degree from both, but where the two are on two sides of a jump it is another crystal altogether: "
      f"up to {max(row[2] for row in rows):.0f}° away, and {rows[-1][2]:.2f}° with the {rows[-1][0]}.")

# %% [markdown]
# **Exercise 3.** The mean embedding of a texture gets shorter as it scatters: by $e^{-10 \sigma^2}$ for cubic crystals turned by
# normal angles of $\sigma$ radians about each axis (degree 4 of the harmonics, $4 \cdot 5 / 2 = 10$). Make 4000 orientations of
# Goss with $\sigma$ = 5°, 10° and 20° (`polycrystal.sample_orientations(shape, texture, symmetry, generator, scatter_deg)`) and
# read $\sigma$ back. What is left of random ones?

# %% tags=["solution"]
generator, rows = notebook.generator("exercise texture"), []
for texture, sigma in (("goss", 5.0), ("goss", 10.0), ("goss", 20.0), ("random", 5.0)):
    q = polycrystal.sample_orientations((4000,), texture, "cubic", generator, sigma)
    length = orientations.embed(q, "cubic").mean(0).norm().item()
    read = np.degrees(np.sqrt(-np.log(length) / 10))
    rows.append([texture, None if texture == "random" else sigma, length, None if texture == "random" else read])
table(rows, ["texture", "scatter / °", "length of the mean", "scatter read from it / °"],
      f"One length tells the scatter to {max(abs(row[3] - row[1]) for row in rows[:3]):.1f}°. Random crystals leave {rows[3][2]:.3f}, of the "
      f"order of one over the root of their number, {4000**-0.5:.3f}.")

# %% [markdown]
# **In three lines**
#
# - Whatever chooses one of the equivalent orientations jumps at the faces of its zone; a symmetric embedding chooses none.
# - At the same share of variance explained, its numbers also give the orientation more exactly.
# - Compare every score with that of a model that has learnt nothing, in degrees.
