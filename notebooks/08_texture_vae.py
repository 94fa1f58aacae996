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
# # 08 · TextureVAE
#
# **Question**: can a style loss learn what a metallographer sees? Two pieces of one casting never agree pixel by
# pixel, yet nobody takes them for different materials. Which numbers do they share, what can be told from these, and can
# one draw a casting that nobody has poured?
#
# **You will learn**
# - how to choose the size of a patch before any network: which share of a statistic's variance is the castings';
# - what a style loss compares, why a loss on pixels cannot learn a texture, and how to tell a measure that can judge from one that cannot;
# - when a variational autoencoder needs no training, and how one latent vector can have many drawings;
# - to hold a prediction against strong rivals, and to say where they win.
#
# **Prerequisites**: convolutional networks; notebook 01 (micrographs); principal components. Notebook 07 has the conditional prior that the
# last part borrows.
#
# **Inputs**: `micrographs.h5` of notebook 01 (castings with known causes, or your own images); the weights of VGG19
# (`python -m microprint fetch-vgg19`).
#
# **Outputs**: `micrograph_properties.h5`; `texture_statistics.h5` and `texture_views.h5` (what VGG19 sees of the patches);
# `texture_fingerprint.safetensors` (ours), `texture_vae_*.safetensors` (S3's and its twin with a loss on pixels).
#
# **Time**: about 6 minutes with the default parameters on two cores, no GPU needed. Opened alone,
# the micrographs are drawn and all networks trained here: none comes with the repository. A second start finds them in `runs/by-hand`.
#
# After Sardeshmukh, Reddy, Gautham & Bhattacharyya (2021), *TextureVAE*, here **S3**. Their twelve images are not public: every
# number below belongs to drawn ones, whose truth is known, and published numbers stand beside as orientation.

# %% tags=["parameters"]
run = {"name": "by-hand", "seed": 2026}
compute = {"engine": "local", "device": "auto"}
micrographs = {"edge": 256, "stride": 256}
texture_vae = {
    "latent_dim": 32, "width": 96, "drawings": 2, "epochs": 6, "batch_size": 3, "learning_rate": 3e-3,
    "paper_edge": 64, "paper_latent_dims": [32], "paper_width": 128, "paper_kl_weight": 0.01, "paper_epochs": 10,
    "paper_batch_size": 4, "paper_learning_rate": 3e-3, "pairs": 16, "seeds": 3, "targets": 2, "designs": 2,
}

# %%
from functools import partial
from time import perf_counter

import numpy as np
import torch
from IPython.display import display

from microprint.analysis import graphite as seen
from microprint.analysis import judging, texture, texture_designs, texture_measures, texture_probes, texture_properties
from microprint.analysis.field_of_view import extremes, field_of_view
from microprint.analysis.texture_findings import SOLVER_PCT, Told
from microprint.analysis.texture_properties import BESIDE_ROUGH, FULL, PHYSICS, ROUGH
from microprint.microstructures import cast_iron
from microprint.networks.texture_law import halved
from microprint.notebook import Standing, findings, open_notebook
from microprint.plots import show, style, table
from microprint.plots import texture as draw
from microprint.plots.learning import learning_curves
from microprint.systems import texture_rivals
from microprint.systems.micrograph_properties import METAL, PROPERTIES, SOFT, STRENGTHS, simulate_micrographs
from microprint.systems.texture import Statistics, TextureFingerprint, measure_texture, reduce, train_texture_fingerprint

style()
notebook = open_notebook(run=run, compute=compute, micrographs=micrographs, texture_vae=texture_vae)
settings, rng = notebook.params.texture_vae, np.random.default_rng(notebook.params.run.seed)

# %% [markdown]
# ## The material
#
# Castings of notebook 01: the twelve of S3 (three magnesium contents, four cooling rates), and others whose causes are drawn at
# random, so that a prediction can be judged. Of each image the map of phases is known, and the study's solver gives its modulus in plane
# strain, $E/(1-\nu^2)$ of a body without graphite, for short Young's modulus, and a *yield-like stress*: the mean stress at which, by
# linear-elastic fields, 5 % of the metal has reached its strength. S3's label is another quantity, the yield strength of real castings. The table says how much the labels scatter between
# images of *one* casting. Someone who knew all causes, but not the image, could do no better. (Errors below are mean
# absolute ones, some 0.8 of a standard deviation. For your own micrographs the labels come from `labels.csv`; parts that need unknown
# data are left out.)

# %%
notebook.do(simulate_micrographs)
with notebook.open("micrographs.h5") as file, notebook.open("micrograph_properties.h5") as simulated:
    patches, sample, pixel_m = file["image"][:], file["sample"][:], float(file.attrs["pixel_m"])
    known = {name: data[:] for name, data in file["samples"].items() if name not in ("image", "phase")}
    whole = [data[:] / 255.0 for data in file["samples/image"].values()]
    phases = [data[:] for data in file["samples/phase"].values()] if "phase" in file["samples"] else None
    values = {name: np.where(np.isfinite(simulated[name][:]), simulated[name][:], known[name]) for name in PROPERTIES}
synthetic, count, edge = phases is not None, len(whole), patches.shape[1]
by_image = partial(texture_probes.by_image, images=count)
values |= {name: known[name] for name in ("ultimate_strength",) if not synthetic}
labels = {name: v for name, v in values.items() if np.isfinite(v).sum() >= 6}
units = {name: (1e9, "GPa") if "modulus" in name else (1e6, "MPa") for name in labels}
above = [f"image {i}\n" + ", ".join(f"{labels[n][i] / unit:.0f} {symbol}" for n, (unit, symbol) in units.items()) for i in range(min(12, count))]
if synthetic:
    above = [f"{title}\n{mg:.3g} % Mg\n{rate:.2g} K/s" for title, mg, rate in zip(above, known["magnesium"], known["cooling_rate"])]
show(draw.image_grid([image[:edge, :edge] for image in whole[:12]], above),
     f"A patch of each of the first images, {edge} pixels wide, with the properties of the whole image, magnesium and cooling rate. Dark: "
     "graphite; bright: ferrite, with its boundaries as darker lines. Long thin flakes make iron far more compliant than as much graphite in round nodules does." + f" Simulated with iron of {METAL[0] / 1e9:.0f} GPa and strengths of {' and '.join(f'{s / 1e6:.0f}' for s in STRENGTHS.values())} MPa (ferrite and its boundaries), graphite of {SOFT[0] / 1e9:.0f} GPa." * synthetic)
if synthetic:
    named = {"flakes": 0.0, "compacted graphite": 0.025, "nodules": 0.045}  # magnesium of S3's castings, %
    scatter = {name: texture_properties.scatter_within(cast_iron.CASTINGS[24.0, mg], whole[0].shape, 5, notebook.params.run.seed) for name, mg in named.items()}
    between = [100 * np.nanstd(values[name]) / np.nanmean(values[name]) for name in PROPERTIES]
    display(table([(f"images of one casting: {name}", *(100 * x for x in row)) for name, row in scatter.items()] + [("all castings", *between)],
                  ["scatter between", "Young's modulus: scatter (%)", "yield-like stress: scatter (%)"],
                  f"Standard deviation over mean: of five images each of S3's castings of 24 mm radius (cylinders; a thin one cools faster), and of the {count} castings; images of {1e3 * pixel_m * whole[0].shape[0]:.2f} mm."))

# %% [markdown]
# ## What a patch sees
#
# A patch is a piece of a casting, and which particles happen to be in it is no property of the material. The figure asks, for each
# statistic, which share of its variance lies *between* castings rather than between patches of one. Only that share can be
# learnt as texture. (It includes what belongs to the picture: each casting has an exposure and a noise of its own.) As a rule, the smaller the patch, the smaller this share; the size is the first choice to make, before any network. The
# right axis says how many patches must be pooled until nine tenths of the variance is the castings'.
#
# > **Before you look**: a patch of S3 has 128 pixels. Which share of the variance of its Gram matrices, do you think, is the castings'?

# %%
notebook.do(measure_texture)
fingerprint = TextureFingerprint.load(notebook.do(train_texture_fingerprint)[0], device=str(notebook.device))
vgg, coarse = fingerprint.vgg, edge // 2
chosen = [i for i, image in enumerate(whole) if min(image.shape) >= 2 * edge][-24:]
if len(chosen) >= 3 and np.isfinite(pixel_m):
    shown = torch.from_numpy(np.stack([whole[i][: 2 * edge, : 2 * edge] for i in chosen])).float().to(notebook.device)
    fields = [edge * pixel_m / 4, edge * pixel_m / 2, edge * pixel_m]
    views = field_of_view(vgg, shown, pixel_m, fields, [coarse // 2, coarse], generator=rng)
    patch_of = {"S3's 128 pixels at our magnification": (128 * pixel_m, 128), "the chosen one": (edge * pixel_m, coarse)}
    shares = {name: extremes(views, *patch) for name, patch in patch_of.items()}
    answer = [f"{name}, {1e6 * patch_of[name][0]:.0f} µm, {low_high[0]:.2f} to {low_high[1]:.2f}" for name, low_high in shares.items() if low_high]
    show(draw.between_castings(views, chosen=patch_of["the chosen one"], published=patch_of["S3's 128 pixels at our magnification"]),
         f"Share of the variance between {len(chosen)} castings of the Gram matrices of each layer of VGG19 and of three descriptors, over what a patch "
         "sees, at two resolutions; bars are standard errors. What lies between castings can be learnt; the rest is which particles are in view. Free path: between particles, of lines through the ferrite. "
         f"The castings' share in Gram matrices, least and largest of the layers: {'; '.join(answer) or 'no such patch here'}.")

# %% [markdown]
# ## Why a pixel loss fails, and what takes its place
#
# A Gaussian decoder turns the reconstruction term of a variational autoencoder into the squared difference of pixels. Two pieces of one
# casting agree at no pixel, so the answer with the least expected squared difference is the mean of all pieces: flat grey. The table of
# measures below shows it: by pixels, flat grey is nearer to a patch than another piece of the same image. Gatys, Ecker & Bethge (2015)
# compare textures by how the maps of a network trained on photographs go together, wherever in the image that happens.
# With $C_l$ maps of $M_l$ pixels in layer $l$, flattened into $F^l$,
#
# $$\begin{aligned}
#   G^l_{ij} &= \sum_{k=1}^{M_l} F^l_{ik} F^l_{jk}, \\
#   \mathcal L_\text{style}(x, \hat x) &= \sum_l \frac{w_l}{4 C_l^2 M_l^2} \sum_{ij} \left(G^l_{ij} - \hat G^l_{ij}\right)^2 .
# \end{aligned}$$
#
# The sum over $k$ forgets places. Layers are `conv1_1` and `pool1` to `pool4` of VGG19, as in S3.
#
# **Which measure can judge?** One for which another piece of the *same* image (the ceiling) is clearly more alike than a piece of
# another casting (the floor). The gap is in standard deviations of pairs; below 1 a measure is left out of what follows. *DISTS*
# (Ding et al. 2020) compares means and covariances of VGG19's maps (its published weights belong to another network and are not used),
# *STSIM-2* (Zujovic et al. 2013) the bands of a steerable pyramid, over the whole image or in windows; chord lengths and two-point
# statistics read the segmented graphite; the mean square of pixels stands beside them. The style loss that judges has *our* weights of
# the layers, by which each layer has the same variance over the training patches, and is what our drawings are trained by; the others
# are independent of it, though DISTS reads VGG19, too. All compare images at the pixels that S3's network sees.
#
# ## TextureVAE, as S3 has it
#
# A frozen VGG19 reads the image; two trained linear layers turn its last maps into mean and log-variance of a latent
# vector; four blocks (nearest-neighbour upsampling, 3x3 convolution, leaky ReLU) draw an image from it. The objective
# is the evidence lower bound with the style loss where the pixels used to be:
#
# $$\begin{aligned}
#   \mathcal L = {} & \mathbb E_{z \sim q(z|x)}\, \mathcal L_\text{style}\big(x, \hat x(z)\big) \\
#   & + \beta\, D_\text{KL}\big(q(z|x) \,\|\, \mathcal N(0, I)\big) .
# \end{aligned}$$
#
# Beside it the same network with the squared difference of pixels. Departures: patches of the size chosen above, reduced to `paper_edge`
# pixels; features centred and divided by one
# number, group normalisation and periodic convolutions in the decoder. S3's weights are not published: here $w_l = 1$, and $\beta$ is
# the parameter `paper_kl_weight`. Training starts from a random projection of the features with log-variances of $-4$, a choice of ours.
# Every fourth image is kept from the training of all networks, ours included.

# %%
notebook.do(texture_rivals.view_patches)
dims, widest = settings.paper_latent_dims, max(settings.paper_latent_dims)
rivals = {f"S3, {d} numbers": texture_rivals.TextureAutoencoder.load(notebook.do(texture_rivals.train_texture_vae, loss="style", latent=str(d))[0], vgg) for d in dims}
twin = notebook.do(texture_rivals.train_texture_vae, loss="pixels", latent=str(widest))[0]
rivals |= {f"pixels, {widest} numbers": texture_rivals.TextureAutoencoder.load(twin, vgg)}
published_name, pixel_name = f"S3, {widest} numbers", f"pixels, {widest} numbers"
histories = {name: model.config["history"] for name, model in rivals.items()}
nats = {name: epochs[-1]["validation_kl"] for name, epochs in histories.items()}
each = [value / rivals[name].config["model"]["latent_dim"] for name, value in nats.items()]
still = {name: 100 * (1 - epochs[-1]["validation_reconstruction"] / epochs[-1 - len(epochs) // 3]["validation_reconstruction"]) for name, epochs in histories.items()}
of_s3 = [fall for name, fall in still.items() if name != pixel_name]
show(learning_curves(histories, {"reconstruction": "reconstruction loss", "kl": "KL divergence / nats"}),
     f"Training of S3's network, {settings.paper_epochs} epochs (ours below: {settings.epochs}), for each size of the latent vector, and of its twin with a loss on pixels, in units of its own. In the last third of the epochs the loss on unseen patches still falls by {min(of_s3):.0f} to {max(of_s3):.0f} % for S3's networks, where more epochs might bring more, and by {abs(still[pixel_name]):.0f} % for the twin. The divergence does not say how "
     f"much a latent vector tells: by the initial log-variance it starts near 2 nats a number, and it ends at {min(each):.1f} to {max(each):.1f}. The twin has "
     f"{nats[pixel_name]:.0f} nats, S3's network {nats[published_name]:.0f}; look at what they draw, below.")

at, split = settings.paper_edge, {name: np.array(index) for name, index in fingerprint.config["split"].items()}
pieces = torch.from_numpy(patches).float()
small = reduce(pieces, at).to(notebook.device)
with notebook.open("texture_statistics.h5") as file:
    viewed = Statistics.read(file, notebook.device)
z, z_of = fingerprint.law.posterior(viewed.means)[0].cpu(), {name: model.encode(pieces).cpu() for name, model in rivals.items()}
seen_in_training = ~np.isin(np.arange(count), sample[split["test"]])

# %% [markdown]
# ## A law in closed form, and many drawings
#
# Two ideas replace S3's network. **Means are nearly linear in their causes.** Some causes add to what a channel of VGG19 sees on
# average (more graphite), some multiply it (another exposure). Half way between, the square roots $r$ of the channels' means, at two
# magnifications of the patch, let the decoder of statistics be linear, $p(r|z)=\mathcal N(m+Wz,\,s^2I)$. (Roots were chosen among
# raw means, roots and logarithms in a sketch with castings of another seed.) For a linear autoencoder the evidence lower bound has
# one maximum, known in closed form: probabilistic principal components (Tipping & Bishop 1999). No training, no seed.
#
# **A texture has many drawings.** S3's decoder has one for each $z$, and a loss that compares it with one patch. Ours gets noise at
# every scale; $z$ sets mean and spread of each channel. And the loss must not ask for drawings that are all alike: with Gram matrices
# $G_k$ of $K$ drawings of one $z$, and $T$ those of the patch,
#
# $$\begin{aligned}
#   \mathbb E\,|G-T|^2 &= |\mathbb E\,G-T|^2+\operatorname{tr}\operatorname{Cov}G, \\
#   \mathcal L &= \frac1{K(K-1)}\sum_{k\neq l}\langle G_k-T,\,G_l-T\rangle .
# \end{aligned}$$
#
# The second line estimates the first term alone. It also allows training on small drawings: they scatter more, but without bias.
#
# **How dark, and how much?** The style loss gives this little weight: left to it, drawings have too little graphite (numbers below). But how
# often each grey value occurs is largely linear in $z$ (R² below), so a regression on the training patches
# has it in closed form: the network decides *where* a pixel is dark, the law *how* dark; the order of the pixels' values is the network's,
# their quantiles the law's (Heeger & Bergen 1995). The figure's last row has textures that never were: vectors from the prior, a
# standard normal distribution, with which our codes share mean and covariance by construction, not more.
#
# > **Before you look**: of two drawings of one vector with different noise, what should agree, and what should not?

# %%
show(learning_curves({"ours": fingerprint.config["history"]},
                     {"loss": "unbiased style loss\n(share of the variance)", "single": "S3's loss of\none drawing"}),
     "Training of the drawings. A loss of 1 is that of the mean texture; the unbiased one may come to 0, S3's stays above the scatter of drawings.")


def drawn(vectors, name="ours", seed=0, edge=coarse):
    """Images (B, n, n) of latent vectors, ours by noise; n is `edge` for ours, `at` for the others."""
    if name != "ours":
        return rivals[name].decode(vectors.to(notebook.device))
    generator = torch.Generator(notebook.device).manual_seed(seed)
    return torch.as_tensor(fingerprint.decode(vectors, generator, edge)).to(notebook.device)


first = [np.flatnonzero(sample == s)[0] for s in np.unique(sample[split["test"]])[:6]]
rows = [small[first, 0], drawn(z[first]), drawn(z[first], seed=1), drawn(z_of[published_name][first], published_name), drawn(z_of[pixel_name][first], pixel_name)]
rows.append(drawn(torch.randn((6, settings.latent_dim), generator=notebook.generator("texture samples"))))
figure = draw.rows([r.cpu() for r in rows], ["unseen image", "ours", "ours, other noise", published_name, pixel_name, "ours, of no image:\nz from N(0, I)"], [f"image {sample[i]}" for i in first])
show(figure, "Patches of castings that no network was trained on, and what the latent vectors of each model draw; the last row belongs to no image. Compare kind, "
     "size and amount of graphite, not its places: in ours they come from noise, and differ between the second row and the third. Standard deviation "
     f"of the grey values over that of the patches: ours {float(rows[1].std() / rows[0].std()):.2f}, S3 {float(rows[3].std() / rows[0].std()):.2f}, pixels {float(rows[4].std() / rows[0].std()):.2f}.")
some = split["test"][:24]
aid = texture_measures.grey_law(fingerprint.drawing, z[some].to(notebook.device), halved(pieces[some, None])[:, 0].to(notebook.device))
print(f"{settings.latent_dim} numbers keep {100 * fingerprint.law.explained():.1f} % of the variance of {fingerprint.law.centre.numel()} roots of channel means. "
      f"Graphite in {len(some)} unseen patches: {100 * aid.patches:.1f} % of the area; in drawings left to the style loss {100 * aid.unaided:.1f} %, by the law of "
      f"grey values {100 * aid.drawn:.1f} %. The law has the quantiles of their grey values with an R² of {aid.r2:.2f}.")

# %%
measures = texture_measures.measures(vgg, fingerprint.drawing.layer_weights, at)
test = rng.permutation(split["test"])[: settings.pairs]
x, material, several = small[test], sample[test], np.bincount(sample)[sample[test]] > 1
pairs = {"floor": judging.Pairs(x, small[texture.partners(sample, test, False, rng)], material),
         "ceiling": judging.Pairs(x[several], small[texture.partners(sample, test[several], True, rng)], material[several]),
         "trivial": judging.Pairs(x, x.mean((2, 3), keepdim=True).expand_as(x), material)}
images = {"ours": drawn(z[test])} | {name: drawn(z_of[name][test], name) for name in rivals}
candidates = {name: judging.Pairs(x, reduce(decoded.cpu(), at).to(notebook.device), material) for name, decoded in images.items()}
judgements = [judging.judge(m, pairs["floor"], pairs["ceiling"], pairs["trivial"], candidates) for m in measures]
kept, told = [j for j in judgements if j.keeps], Told()
told.likeness(kept, [j.measure.name for j in judgements if not j.keeps], published_name, histories[published_name], len(split["train"]))
s3_scores = "S3's own scores, DISTS 0.70 to 0.73 and STSIM-2 0.76, are not comparable: other weights, other images"
for some, what in ((kept, f"that can judge ({s3_scores})"), ([j for j in judgements if not j.keeps], "that cannot judge: floor and ceiling are less than one deviation of pairs apart")):
    if some:
        columns, lines = judging.rows(some)
        dagger = f"; {judging.BEYOND}: more alike than the ceiling" * (judging.BEYOND in str(lines))
        display(table(lines, columns, f"Measures {what}: unseen images, {len(x)} patches of {at} pixels; mean ± standard error over images. ↓: small is alike, ↑: large is alike{dagger}."))
display(table([(name, *(f"{100 * j.reached(name):.0f}" for j in kept)) for name in candidates], ["", *(f"{j.measure.name} (%)" for j in kept)],
              "The way from the floor, another casting (0 %), to the ceiling, another piece of the same image (100 %); below 0, farther than another casting."))
blobs = {name: judging.same_place(drawn(v[split["test"]][:24], name).cpu()) for name, v in {"ours": z, **z_of}.items()}
alike = judging.same_place(torch.cat([drawn(vector[None]) for vector in z[split["test"]][:24]]).cpu())
same = {"ours, noise of its own for each": blobs["ours"], "ours, one noise for all": alike, **dict(list(blobs.items())[1:]),
        "the patches themselves": judging.same_place(small[split["test"]][:24, 0].cpu())}
table([(name, f"{value:.3f}") for name, value in same.items()],
      ["", "correlation at the same places"], "Correlation, pixel by pixel, between images decoded for different patches: 0 if nothing is copied to the same place. S3's decoder has no noise.")


# %% [markdown]
# ## What the numbers mean
#
# The castings' causes are known. A **probe**, a ridge regression on the codes, is asked for each cause of castings that it has not
# seen (ours: principal components of its patches' roots, fitted again without it); the **ideal reader** has the patches and their true maps of phases: a strong reader, not a bound. Grain
# size and contrast of boundaries are faint; the thickness of flakes is no property of a casting that has none.
#
# Does a heavier **divergence** make single numbers stand for single causes, as is said of such autoencoders? For a linear one the answer is
# exact: with a weight $\beta$ only components whose variance exceeds $\beta s^2$ are used (Lucas et al. 2019), all others collapse. The table
# has the mutual information gap (MIG, Chen et al. 2018) and disentanglement, completeness and informativeness (DCI, Eastwood & Williams
# 2018) of what is left.

# %%
means, grams = viewed.means.cpu(), torch.cat([g[:, *torch.triu_indices(*g.shape[1:])] for g in viewed.grams.values()], 1).float()
roots = fingerprint.law.scaled(viewed.means).cpu()
if synthetic:
    causes = np.stack([np.log(known[n]) if n in cast_iron.LOGARITHMIC else known[n] for n in cast_iron.CONTROLS], 1)
    folds = texture_properties.folds_by_image(count, 5, notebook.params.run.seed)
    corner = cast_iron.patch_corners(whole[0].shape, edge, notebook.params.micrographs.stride)
    maps = np.stack([[p[r : r + edge, c : c + edge] for r, c in corner] for p in phases])
    probes = {"ours": texture_probes.probe(by_image(roots), causes, folds, True, settings.latent_dim)}
    probes |= {name: texture_probes.probe(by_image(z_of[name]), causes, folds, True) for name in (published_name, pixel_name)}
    probes["ideal reader"] = texture_probes.ideal_reader(maps, by_image(patches.reshape(len(patches), -1)).reshape(maps.shape), causes, folds, True)
    show(draw.matrix(np.stack(list(probes.values())), list(probes), draw.plain(cast_iron.CONTROLS), "R² of unseen castings"),
         "How well a ridge regression on the codes reads each cause of a casting that it has not seen (R², 1 at best). The last row is a strong reader, not a bound.")
    law, codes_of = fingerprint.law, {"ours": z, **{n: z_of[n] for n in (published_name, pixel_name)}}
    for weight in (100, 1000, 10_000):  # s² is small: it is what a single channel scatters by
        active = (law.variances > weight * law.residual).cpu()
        codes_of[f"ours, divergence weighed {weight:,} times: {int(active.sum())} numbers"] = z[:, active]
    apart = {name: (texture_probes.mutual_information_gap(by_image(v), causes, 0)[0], texture_probes.disentanglement(by_image(v).mean(1), causes, 0))
             for name, v in codes_of.items() if v.shape[1] > 1}
    weighed = [scores for name, scores in apart.items() if "divergence" in name]
    heavier = (f"With a heavier divergence the best MIG is {max(mig for mig, _ in weighed):.3f}, with that of the bound {apart['ours'][0]:.3f}; the best disentanglement, be it of another row, "
               f"{max(d.disentanglement for _, d in weighed):.2f} and {apart['ours'][1].disentanglement:.2f}; differences of MIG of this size say nothing.") if weighed else ""
    display(table([(name, f"{mig:.3f}", d.disentanglement, d.completeness, d.informativeness) for name, (mig, d) in apart.items()],
                  ["", "MIG", "DCI: disentanglement", "completeness", "informativeness"],
                  "Whether single components stand for single causes: 1 at best, 0 or little more by chance. The less informative codes are (R² of the causes, unseen castings, by a random forest, as DCI "
                  f"demands; the ridge regression above has {np.mean(probes['ours']):.2f} of ours in the mean), the less their disentanglement means. {heavier}"))

# %% [markdown]
# No model whose numbers tell the causes has components that each stand for one, and none needs to: a cause is a *direction*. We regress codes on all causes
# and walk along one with the others at their mean, so that a traversal is named by what it moves. On the drawings the cause is then
# **measured**: the first matrix says how far each descriptor goes along a walk, in units of its range over the castings, and in brackets how far it goes
# in the castings themselves, by the same regression. Not all beside the diagonal is the model's doing: what is nodular or large
# is thick in the castings, too, as the brackets say. The second matrix says how surely a descriptor follows, not how far. Grain size has no row, as no descriptor tells it from the contrast
# of boundaries. S3's own traversals change one component alone, from -4 to 4, in an image with nodules and in one with flakes (its figure 6). The last figure
# does the same: for each network the one component that correlates most with nodularity.

# %%
MEASURED = {"nodularity": "nodularity", "diameter_um": "diameter_px", "graphite_share": "graphite_share", "thickness_um": "thickness_px",
            "boundary_contrast": "boundary_shade", "exposure": "ferrite_grey", "noise": "noise"}
hand = [seen.measured_descriptors(halved(torch.from_numpy(image)[None, None].float())[0].numpy()) for image in whole]
hand = {name: np.concatenate([m[name] for m in hand]) for name in hand[0]}
hand = {name: np.where(np.isfinite(column), column, np.nanmean(column)) for name, column in hand.items()}
if synthetic:
    def drawn_and_measured(line):
        """Descriptors (V, 4, D) of four larger drawings of each vector (V, d)."""
        drawings = (drawn(torch.from_numpy(line).float(), seed=k, edge=2 * coarse).cpu().numpy() for k in range(4))
        return np.stack([[m[name] for name in MEASURED.values()] for m in map(seen.measured_descriptors, drawings)]).transpose(2, 0, 1)

    walked, descriptors = draw.plain(MEASURED), draw.plain(MEASURED.values())
    walks = texture_probes.walks(by_image(z).mean(1), causes, np.stack([hand[name] for name in MEASURED.values()], 1),
                                 [cast_iron.CONTROLS.index(name) for name in MEASURED], seen_in_training, drawn_and_measured)
    strips = {name: torch.cat([drawn(vector[None]) for vector in torch.from_numpy(line).float()]).cpu()  # in a batch each has noise of its own
              for name, line in zip(MEASURED, walks.lines)}
    enlarged = {name: strips[name][:, : coarse // 2, : coarse // 2] for name in ("boundary_contrast", "noise")}
    show(draw.rows(list((strips | enlarged).values()), [f"{n}\n(enlarged)" * (name in enlarged) or n for name, n in zip(strips, walked)], ["least", *[""] * 5, "most"]),
         "Drawings along one cause in each row, all others at their mean and the noise the same; of the two faint causes, boundary contrast and noise, only a quarter of the drawing, enlarged. Each row should change in its cause alone; the two faint ones hardly show, and the matrices measure them.")
    show(draw.matrix(walks.far, [f"along {n}" for n in walked], descriptors, "change along the walk\n(range of castings)", walks.castings),
         "How far each descriptor goes along a walk, from the 5 % to the 95 % quantile of the cause, over its range between these quantiles in the castings; in brackets "
         "the castings themselves. The two should be equal. Measured on larger drawings. Boundary shade is the measure of boundary contrast, ferrite grey that of exposure.")
    show(draw.matrix(walks.sure, [f"along {n}" for n in walked], descriptors, "R² of what is measured\n(sign: direction)"),
         "How surely: R² of a straight line in the wanted cause, with the sign of its slope: below zero the descriptor falls along the walk. A small shift can have a large R².")
    told.walks(walks, walked, descriptors)

# %%
if synthetic:
    ends = [np.flatnonzero(sample == int(i))[0] for i in (np.argmax(causes[:12, 0]), np.argmin(causes[:12, 0]))]
    grid = {}
    for name, codes in (("ours", z), (published_name, z_of[published_name])):
        best = int(np.abs(texture.correlations(by_image(codes).mean(1), {"nodularity": causes[:, 0]})).argmax())
        for start, what in zip(ends, ("nodules", "flakes")):
            grid[f"{name.split(',')[0]}, z{best}\n{what}"] = torch.cat(
                [drawn(vector[None], name) for vector in texture.traverse(codes[start], best, np.linspace(-4, 4, 7))]).cpu()
    show(draw.rows(list(grid.values()), list(grid), [f"{v:.1f}" for v in np.linspace(-4, 4, 7)]),
         "As in S3's figure 6, of these castings: one component of the latent vector (z and its number) from -4 to 4, in an image with nodules and in one with flakes; ours with the same noise throughout.")

# %% [markdown]
# ## From texture to property
#
# Images that no regression has seen, five parts, over several splits. The codes of an image's patches are averaged; descriptors (shares,
# sizes, shades, noise) are measured on the whole image. Ours is fitted again without the images asked for: principal components of the
# images' mean roots, as many as the latent vector has. S3's network and its twin have seen three quarters of the images, unlabelled. Rivals:
# the mean; castings with like magnesium; descriptors; two-point statistics; plain VGG19. S3's network and its twin see each patch at
# `paper_edge` pixels, ours and plain VGG19 at all its pixels and at half of them: part of their lead, above all in noise and boundaries,
# is resolution.
#
# > **Before you look**: the mean of the other castings costs nothing. By how much does a network beat it, and is it the network's doing?
#
# **With the physics in the form.** Segment the patches, solve their equilibrium *roughly* (relative residual 0.3 instead of 0.01), and let
# the code predict only the factor by which the result is wrong. Beside it: both equilibria without the code, with one factor for all images, and the full
# one with the code. These equilibria know the solver and the constants that the labels come from; with real castings they would not. A table below
# has their times. (Of your own images the phases are not known: this part is left out.)

# %%
def pool(codes):
    return np.stack([np.asarray(codes)[sample == i].mean(0) for i in np.flatnonzero(good)])


kinds, sources, written = list(labels), {}, {"ridge": "ridge", "svr": "support vectors", "gp": "Gaussian process"}
titles = [title.replace("yield strength", "yield-like stress") if synthetic else title for title in draw.plain(kinds)]
if labels:
    wanted = np.stack([values[n] for n in kinds], 1)
    good = np.isfinite(wanted).all(1)
    grey = halved(torch.from_numpy(patches).float()[:, None])[:, 0].numpy()
    read = np.stack(list(hand.values()), 1)[good]
    sources = {"mean of the others": ("mean", read)}
    if np.isfinite(known["magnesium"][good]).all():
        sources["castings with like magnesium"] = ("nearest", known["magnesium"][good, None])
    sources |= {f"descriptors, {written[k]}": (k, read) for k in ("ridge", "gp")}
    sources |= {f"two-point statistics, {written[k]}": (k, pool(seen.two_point(seen.graphite(grey))), 8) for k in ("ridge", "gp")}
    sources |= {f"VGG19 channel means, {written[k]}": (k, pool(means), None if k == "ridge" else settings.latent_dim) for k in ("ridge", "svr", "gp")}
    sources |= {"VGG19 Gram matrices, ridge": ("ridge", pool(grams), settings.latent_dim)}
    sources |= {f"{name}, {written[k]}": (k, pool(z_of[name])) for name in (pixel_name, published_name) for k in ("ridge", "svr", "gp")}
    sources |= {f"ours, {written[k]}": (k, pool(roots), settings.latent_dim) for k in ("ridge", "svr", "gp")}

# %%
compared, forms = {}, {}
if labels:
    sources = {name: texture_properties.Predictor(*source) for name, source in sources.items()}
    equilibria, seconds = texture_properties.beside_equilibrium(grey, pool, pool(roots), settings.latent_dim) if synthetic else ({}, {})
    foldings = [texture_properties.folds_by_image(int(good.sum()), 5, s) for s in range(settings.seeds)]
    compared = texture_properties.compare(sources | equilibria, wanted[good], foldings)
if synthetic:
    forms = texture_properties.compare(sources | equilibria, wanted[good], [texture_properties.folds_by_morphology(known["nodularity"][good])])
for k, (name, title) in enumerate(zip(kinds, titles)):
    of_vgg, of_s3 = (compared[f"{source}, {written['svr']}"].mape_pct[:, k].mean() for source in ("VGG19 channel means", published_name))
    order = " In S3 its code leads plain VGG19, here it trails it." if of_s3 > of_vgg else ""
    real = f" S3, yield strength of six real castings{', another quantity' * synthetic}, by support vectors: plain VGG19 18.22 %, its code 8.02 %.{order}" * (name == "yield_strength")
    display(table([(*row, *[f"{forms[row[0]].mape_pct[0, k]:.2f}"] * bool(forms)) for row in texture_properties.rows(compared, k)],
                  ["predictor", "unseen image (%)", "R²", *["unseen form (%)"] * bool(forms)],
                  f"{title.capitalize()}: mean absolute percentage error; {int(good.sum())} images in five parts, {settings.seeds} splits. ± is the deviation over splits of the same images, not over new castings; the best regressor of a code is chosen by this error." + " Unseen form: flaky, mixed and nodular castings held out in turn." * bool(forms) + real))
if synthetic:
    per_image, begun = len(patches) // count, perf_counter()
    fingerprint.encode(pieces[:per_image])
    taken = {"code": perf_counter() - begun, "rough": per_image * seconds[ROUGH], "full": per_image * seconds[FULL]}
    told.cost(taken)
    display(table([list(taken.values())], ["code (s)", "rough equilibrium (s)", "full simulation (s)"], f"What an image of {per_image} patches takes: the code timed on one image, the others over all."))
    careless = {name: texture_properties.split_by_patch("svr", by_image(v)[good], wanted[good], 5, 0) for name, v in (("ours", z), (published_name, z_of[published_name]))}
    display(table([(name, *(float(careless[name][how].mape_pct[k]) for k in range(len(kinds)) for how in ("images", "patches"))) for name in careless],
                  ["", *(f"{n}: {how} (%)" for n in titles for how in ("images held out", "patches at random"))],
                  "A warning: support-vector regression, patch by patch, with whole images held out, and with patches at random, whose neighbours have told the label."))

# %% [markdown]
# ## Micrographs on demand
#
# S3 ends with the wish to infer a structure from a wanted property. The conditional prior $p(z|c)$ of notebook 07 (there S2), with $c$ the
# logarithm of the wanted modulus, on our latent vector makes a start: a mixture of Gaussians whose number of components validation decides. What it
# proposes is drawn, segmented and simulated at the pixel of the labels; then the latent vector of each drawing is moved along one fixed direction,
# the slope of $z$ on the logarithm of the modulus by least squares, until the simulated modulus fits, or as often as the table says: by the secant rule, with the same noise. Where a shade of grey is read as graphite all at once, the modulus jumps, maybe
# across the target; a drawing that two corrections brought no nearer gives way to another proposal, with other noise. Targets lie *inside* what the training castings have, moduli of unseen images, and *beyond* it: a twentieth below
# the least modulus and above the largest. Rivals: the nearest training image by its label, which costs no simulation; a casting of the mean
# modulus, whatever is asked; S3's decoder with a prior of its own; and the
# best of as many proposals of our prior as the corrected drawings took simulations.
#
# > **Before you look**: the nearest of many images has nearly any modulus that one asks for. What is left for a model to do?

# %%
if synthetic:
    def drawn_by(vectors, noise, name):
        return torch.cat([drawn(vector[None], name, seed) for vector, seed in zip(vectors, noise)])
    modulus = torch.from_numpy(values["youngs_modulus"])
    inside = seen_in_training & good
    stiff = modulus[inside].numpy()
    corrections, made, designed = 8, {}, {}  # each correction is a simulation of every drawing
    proposals = settings.designs * (corrections + 1)
    NEAREST, MEAN, LISTED = "nearest training image", "mean casting, whatever is asked", f"ours, best of {proposals} proposals"
    unseen = modulus[~seen_in_training & good].numpy().clip(stiff.min(), stiff.max())
    aims = {"inside": np.quantile(unseen, (np.arange(settings.targets) + 0.5) / settings.targets, method="nearest"), "beyond": [0.95 * stiff.min(), 1.05 * stiff.max()]}
    for name, codes in (("ours", z), (published_name, z_of[published_name])):
        use = np.isin(sample, np.flatnonzero(inside))
        late = torch.from_numpy(np.isin(sample[use], np.flatnonzero(inside)[::5]))
        spread = fingerprint.law.posterior(means[:1].to(notebook.device))[1].cpu() if name == "ours" else torch.full((1, codes.shape[1]), -4.0)
        prior = texture_designs.TexturePrior.fit(codes[use], spread.expand(int(use.sum()), -1), modulus[sample[use]], late, 0)
        decode = partial(drawn_by, name=name)
        for kind, targets in aims.items():
            made[name, kind] = [texture_designs.design(prior, decode, "youngs_modulus", float(t), settings.designs, corrections, notebook.generator(f"designs {t}")) for t in targets]
            designed[name, kind] = [float(np.mean([x.error_pct(last) for x in made[name, kind]])) for last in (False, True)]
            if name == "ours":
                chosen_of = [texture_designs.shortlist(prior, decode, "youngs_modulus", float(t), settings.designs, proposals, notebook.generator(f"proposals {t}")) for t in targets]
                designed[LISTED, kind] = [np.nan, float(np.mean([x.error_pct() for x in chosen_of]))]
    for name, of in {NEAREST: stiff, MEAN: stiff.mean(keepdims=True)}.items():
        designed |= {(name, kind): [float(np.mean([100 * np.abs(of / t - 1).min() for t in targets]))] * 2 for kind, targets in aims.items()}

# %%
if synthetic:
    simulations = {NEAREST: 0, MEAN: 0}
    worst = max(100 * np.nanmax(np.abs(x.values / x.target - 1)) for kind in aims for x in made["ours", kind])
    display(table([(name, simulations.get(name, proposals), *(None if np.isnan(e) else f"{e:.2f}" if e >= SOLVER_PCT else f"< {SOLVER_PCT:g}" for kind in aims for e in designed[name, kind])) for name in dict.fromkeys(name for name, _ in designed)],
                  ["designs", "simulations a target", "inside, proposed (%)", "inside, at last (%)", "beyond, proposed (%)", "beyond, at last (%)"],
                  f"Error of Young's modulus in plane strain, simulated: {len(aims['inside'])} targets inside, 2 beyond, {settings.designs} drawings each. At last: the best of the "
                  f"proposal and its {corrections} corrections; of proposals the best {settings.designs}. What is below {SOLVER_PCT:g} % is below the solver's own error. The worst drawing of ours is {worst:.1f} % off at last. A drawing has its modulus, its vector "
                  "has not: with other noise it scatters again, as images of one casting do (first table)."))
    shown = [x for kind in ("beyond", "inside") for x in made["ours", kind]]
    shown = sorted(shown, key=lambda x: x.target)
    show(draw.rows([np.stack([x.images[min(k, settings.designs - 1)] for x in shown]) for k in range(min(3, settings.designs))],
                   [f"drawing {k + 1}" for k in range(min(3, settings.designs))], [f"asked {x.target / 1e9:.1f}\nhas {x.values[0] / 1e9:.1f} GPa" for x in shown]),
         "Micrographs for a wanted modulus, from the most compliant to the stiffest; the first and the last are beyond all training castings. Drawings of a row have the same "
         "noise to begin with, unless one gave way to another. Above each column what was asked for, and what the first drawing has.")

# %%
if compared:
    best_of = partial(texture_properties.strongest_of, compared)
    rival, alone = best_of(lambda name: name not in PHYSICS and not name.startswith("ours")), best_of(lambda name: name not in PHYSICS and name.startswith("ours"))
    for k, title in enumerate(titles):
        told.property(title, compared, k, alone[k][0], rival[k][0], published_name, (at, edge))
if synthetic:
    off = np.log(np.asarray(equilibria[FULL].base) / wanted[good])
    for k, title in enumerate(titles):
        told.equilibrium(title, compared, k, alone[k][0], float(np.corrcoef(known["boundary_m_per_m2"][good], off[:, k])[0, 1]))
    told.probes(draw.plain(cast_iron.CONTROLS), {name: values for name, values in probes.items() if name != "ideal reader"}, probes["ideal reader"])
    for kind, targets in aims.items():
        told.designs(designed, kind, len(targets), proposals, [NEAREST, MEAN])
    noisy, noisiest = float(seen.measured_descriptors(made["ours", "beyond"][1].images)["noise"].mean()), float(hand["noise"].max())
    if noisy > noisiest:
        told.say(f"The drawings for the largest modulus are speckled, with {noisy / noisiest:.1f} times the noise of the noisiest casting: they would pass for no micrograph.", True)
display(findings(*told.missed, *told.claims))

# %% [markdown]
# **Limits**
#
# - The images are drawn and simple: graphite, ferrite and its boundaries; properties are linear elastic and of two dimensions. They
#   test the method; they say nothing about iron.
# - The latent vector holds what a network trained on photographs sees on average; grain size behind noise it sees in part at best. Its
#   components stand for no single cause; directions do better, but a walk along one takes others along.
# - Drawings keep statistics, not shapes: long flakes come out bent or broken, nodules touch or have a speckled rim, and ferrite's boundaries
#   come out as scratches or not at all, even strong ones. So what follows "boundary contrast" in a walk is a shade, not a net of grains, and
#   the yield-like stress of a drawing is that of graphite in ferrite alone.
# - A design at an end of the data, or beyond, is moved along a straight line, which takes other causes along: such drawings can come out
#   like no casting, speckled, hatched or overexposed, whatever modulus they have. Look at them before you ask for one.
# - Who wants one image of a modulus that castings have needs no model: the nearest image is at hand. A model is for what nobody has
#   poured, and for many drawings that differ.
# - S3's networks ran with one seed each, on few patches. Its weights of the layers and of the divergence are not published.
#
# **Next**: your own micrographs, `--set micrographs.source=FOLDER` (with `pixel_um` in `labels.csv`); an image of any size through
# `TextureFingerprint.load(...).encode_image(image)`; the same thought in three dimensions is notebook 07.

# %%
metrics = {f"08.texture.{name.split(',')[0].replace(' ', '_').lower()}.{j.measure.name.replace(' ', '_').replace('-', '').lower()}": j.candidates[name].mean
           for j in kept for name in ("ours", published_name, pixel_name)}
metrics |= {f"08.same_place.{name.split(',')[0].lower()}": value for name, value in blobs.items()}
standings = []
for k, title in enumerate(titles):
    measure, strongest = f"{title} of an unseen image, mean error", best_of(lambda name: not name.startswith("ours"))[k]
    s3 = min(float(scores.mape_pct[:, k].mean()) for predictor, scores in compared.items() if predictor.startswith(published_name))
    mine = [(measure, BESIDE_ROUGH, strongest)] * synthetic + [(f"{measure}, by the latent vector alone", alone[k][0], rival[k])]
    standings += [Standing(name, float(compared[ours].mape_pct[:, k].mean()), "%", best, s3, spread=2 * texture_properties.spread(compared[ours], compared[best[0]], k))
                  for name, ours, best in mine]
    metrics |= {f"08.{kinds[k]}.{whose}.mape_pct": standing.ours for whose, standing in zip(("ours", "latent"), standings[-2:])} if synthetic else {}
    metrics |= {f"08.{kinds[k]}.strongest_rival.mape_pct": rival[k][1]} if synthetic else {}
if synthetic:
    metrics |= {"08.designs.ours.error_pct": designed["ours", "inside"][1], "08.designs.s3.error_pct": designed[published_name, "inside"][1],
                "08.designs.ours.beyond_error_pct": designed["ours", "beyond"][1]} | {f"08.follows.{name}.r2": walks.sure[i, i] for i, name in enumerate(MEASURED)}
    metrics |= {f"08.walk.{cause}.{what}.{whose}": far[i, k] for whose, far in (("ours", walks.far), ("castings", walks.castings))
                for i, cause in enumerate(MEASURED) for k, what in enumerate(MEASURED.values())}
    metrics |= {f"08.probe.{cause}.{whose}.r2": value for whose, name in (("ours", "ours"), ("s3", published_name), ("pixels", pixel_name), ("ideal", "ideal reader")) for cause, value in zip(cast_iron.CONTROLS, probes[name])}
    for kind, last, how in [(kind, *each) for kind in aims for each in ((1, f"after {corrections} corrections"), (0, "as proposed"))]:
        error = {name: max(designed[name, kind][last], SOLVER_PCT) for name in ("ours", published_name, NEAREST, MEAN, LISTED) if np.isfinite(designed[name, kind][last])}
        beside = min((item for item in error.items() if item[0] not in ("ours", published_name)), key=lambda item: item[1])
        standings.append(Standing(f"micrographs for a wanted modulus, {kind} the data, {how} (errors below the solver's own, {SOLVER_PCT:g} %, count as that)",
                                  error.get("ours", np.nan), "%", beside, error.get(published_name)))
metrics |= {f"08.{name}": value for name, value in told.numbers.items()}
notebook.close("08", metrics=metrics, standings=standings, missed=told.missed, figure=figure, caption="Unseen images and what is drawn for them: ours twice, of other noise; S3's network, and its twin with a loss on pixels; last, drawings of ours of no image.")

# %% [markdown]
# ## Exercises
#
# **1.** The Gram matrix forgets places. Shift a patch by a third of its edge, periodically, and compare by the style loss and by pixels: how
# far is the shifted patch from the original, in units of the distance to a patch of another image? `small` holds all patches at the size that
# is compared, `at` pixels wide, image by image; `measures[0].function` is the style loss, `texture.mean_squared` that on pixels. Both
# take two lots of images (B, 1, h, w) and return (B,).

# %% tags=["solution"]
original = small[:: len(small) // count]  # the first patch of each image
moved, other = original.roll((at // 3, at // 3), (2, 3)), original.roll(1, 0)
for name, measure in (("style loss", measures[0].function), ("mean square of pixels", texture.mean_squared)):
    print(f"{name}: shifted {float(measure(original, moved).mean() / measure(original, other).mean()):.2f} of the distance to another casting, mean of {count}")
print("The style loss knows the piece again, up to what the cut at its edge changes; pixels find it nearly as strange as another casting.")

# %% [markdown]
# **2.** How many numbers does a texture need? Refit the law with 1 to 32 numbers on the same channel means, and print the share of variance kept.
# `TextureLaw.fit(means, numbers)` of `microprint.networks.texture_law` has an `explained()`; `viewed.means` are all means, `split["train"]` those to fit to.

# %% tags=["solution"]
from microprint.networks.texture_law import TextureLaw

training = viewed.means[torch.from_numpy(split["train"]).to(notebook.device)].cpu()
keeps = {d: TextureLaw.fit(training, d).explained() for d in (1, 2, 4, 8, 16, 32) if d <= len(training) - 1}
display(table([(d, 100 * share) for d, share in keeps.items()], ["numbers", "variance kept (%)"], f"{len(training)} training patches."))
enough = next((d for d, share in keeps.items() if share > 0.9), None)
print(f"{enough} numbers keep nine tenths." if enough else "Not even the most of these keep nine tenths.")

# %% [markdown]
# **3.** A drawing may have any size, as all convolutions are periodic. Draw one vector at four times the area, and tile a small drawing: where
# would you see the seam, if there were one? `drawn(z[:1], seed=5, edge=...)` draws; a small drawing has the edge `coarse`.

# %% tags=["solution"]
small_drawing = drawn(z[:1], seed=5)[0].cpu()
large = drawn(z[:1], seed=5, edge=2 * coarse)[0].cpu()
show(draw.image_grid([small_drawing.repeat(2, 2), large], ["four copies of one drawing", "one drawing of four times the area"]),
     "Left, four copies side by side: particles go on across the seams, but everything repeats. Right, one larger drawing: nothing repeats.")
steps = (small_drawing - small_drawing.roll(1, 0)).abs().mean(1).numpy()  # from each row to the next; the first is the seam
seam, inner = steps[0] / steps[1:].mean(), steps[1:] / steps[1:].mean()
print(f"Grey steps across the seam are {seam:.2f} times those between inner rows on average, which have {inner.min():.2f} to {inner.max():.2f} times: "
      + ("the seam is a row like others." if seam <= inner.max() else "the seam shows."))

# %% [markdown]
# **In three lines**
#
# 1. Choose what a patch sees before you choose a network: what is not the castings' cannot be learnt.
# 2. A texture is a distribution: compare statistics, give a vector many drawings, and do not ask drawings to be alike.
# 3. What is linear needs no training. For the modulus an equilibrium solved roughly says more than features learnt; for the yield-like stress it need not.
