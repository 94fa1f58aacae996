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
# # 07 · VAE-regression and inverse design
#
# **Question**: how stiff is this composite, and which composite is as stiff as I want? The first question has one answer, the
# second has many. One model is to answer both: a variational autoencoder whose prior is conditioned on the property.
#
# **You will learn**
#
# - what a volume fraction, bounds and two-point statistics say of a stiffness, and what they leave open;
# - why a few iterations of the solver are worth thousands of labels;
# - how a conditional prior turns a regression round, and when a decoder should draw a law and not a picture;
# - how the solver's own gradient refines a design, and how to tell whether a model was needed at all.
#
# **Prerequisites**: notebook 03 (variational autoencoders), Hooke's law for anisotropic solids, Gaussian mixtures and what a Gaussian
# process is.
#
# **Inputs**: `composites.h5` of notebook 01, `splits.json` of notebook 02.
#
# **Outputs**: `stiffness.h5`, `estimates.h5`, `stiffness_surrogate.safetensors`, `composite_design.safetensors` (ours);
# `inverse_design_*.safetensors`, `forward_cnn.safetensors`, `vae.safetensors` (S2's and its rivals); designs for ParaView and DAMASK.
#
# **Time**: about 4 minutes with the default parameters on two cores, no GPU needed.
#
# After Sardeshmukh et al. (2024), *Material microstructure design using VAE-regression with multimodal prior*, here **S2**: 8,900
# composites of 51³ voxels, labelled by finite elements, of which 5,340 are trained on. At that scale each setting of our S2 was trained
# once, on a GPU; the tables stand at the end.

# %% tags=["parameters"]
run = {"name": "by-hand", "seed": 2026}
compute = {"engine": "local", "device": "auto"}
composites = {"widths": [0.5, 1.0, 2.0, 3.5]}
elasticity = {"cases": "normal", "tolerance": 1e-3, "chunk_voxels": 400000, "estimate_iterations": 4, "surrogate_labels": 600}
vae_regression = {
    "properties": ["C11"], "latent_dim": 16, "components": 2, "width": 4, "hidden": 256, "reconstruction": "style",
    "style_layers": ["conv1_1", "pool1"], "slices_per_axis": 1, "augment": True, "normalise_style": True,
    "regression_multiplier": 1.0, "kl_multiplier": 0.001, "regression_weight": 3.0, "kl_weight": 1.0,
    "epochs": 6, "cnn_epochs": 8, "batch_size": 8, "learning_rate": 4e-3, "decay": "cosine", "patience": None,
    "prior_steps": 500, "targets_gpa": [20.0, 30.0, 40.0, 60.0], "refine_steps": 30,
}
composite_design = {
    "latent_dim": 8, "hidden": 128, "epochs": 28, "batch_size": 32, "learning_rate": 2e-3, "components": [2, 4, 8],
    "prior_hidden": 32, "prior_steps": 600, "three_targets": 2, "six_targets": 3, "designs": 2, "drawings": 8, "evaluations": 6,
    "annealing": 20,
}

# %%
from collections import Counter
from functools import partial

import numpy as np
import torch
from IPython.display import Markdown, display
from matplotlib import pyplot as plt

from microprint.analysis import composites as facts
from microprint.analysis import forward_rivals, regression, s2_at_scale, style_sampling
from microprint.microstructures.writers import write_composite_vti
from microprint.networks.vgg import VGG19
from microprint.notebook import Curve, Standing, findings, open_notebook
from microprint.plots import design as draw
from microprint.plots import explorer, frames, learning, show, style, table
from microprint.systems import composite_laws, design_targets, designs, inverse_design, stiffness_surrogate
from microprint.systems.composite_design import CompositeDesign
from microprint.systems.stiffness import components, entry, label_stiffness, labelled, phase_stiffnesses

style()
notebook = open_notebook(run=run, compute=compute, composites=composites, elasticity=elasticity, vae_regression=vae_regression,
                         composite_design=composite_design)
settings, ours, GPA, COMPONENTS = notebook.params.vae_regression, notebook.params.composite_design, 1e9, stiffness_surrogate.COMPONENTS

# %% [markdown]
# ## Labels, and what the volume fraction says of them
#
# Both phases are isotropic with Poisson's ratio 0.3; the hard one (dark in the pictures) has a Young's modulus of 120 GPa, the
# soft one 2.4 GPa. For a mean strain $E$ the local strain follows from equilibrium of the periodic cell,
#
# $$\operatorname{div}\,\mathbb C(x):\big(E+\nabla^s u(x)\big)=0,\qquad \langle\sigma\rangle=\mathbb C^\text{eff}:E ,$$
#
# solved with fast Fourier transforms; three mean strains give $C_{11},C_{22},C_{33},C_{12},C_{13},C_{23}$. A composite that does
# not converge is recorded with its reason, and left out of everything below. The share of the hard phase alone only bounds
# the stiffness: Voigt (equal strain) and Reuss (equal stress) hold for any composite, Hashin and Shtrikman's bounds for
# isotropic ones. At a contrast of 50 these bounds lie far apart, and elongated composites lie outside of the isotropic ones.

# %%
notebook.do(label_stiffness)
notebook.do(stiffness_surrogate.estimate_composites)
with (notebook.open("composites.h5") as file, notebook.open("stiffness.h5", "stiffness") as labels,
      notebook.open("estimates.h5") as estimates):
    phase, stiffness, split = labelled(file, labels, notebook.load_json("splits.json")["composites"])
    estimate, reasons = stiffness_surrogate.labelled_estimates(estimates, labels), Counter(r for r in labels["reason"].asstr()[:] if r)
train, held, test, failed = *(split[part] for part in ("train", "validation", "test")), reasons.total()
values, fraction = components(stiffness, COMPONENTS), facts.volume_fraction(phase)
print(f"{len(phase) + failed} composites of {phase.shape[1]}³ voxels, of which {failed} did not converge", *reasons, sep="; ")
print(f"{len(train)} to train on, {len(test)} to test on; C11 from {values[:, 0].min() / GPA:.1f} to {values[:, 0].max() / GPA:.1f} GPa")
share = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
limits = {name: value / GPA for name, value in facts.bounds(share, phase_stiffnesses(), entry("C11")).items()}
show(draw.bounds(fraction, values[:, 0] / GPA, share, limits, "C11"),
     "Simulated C11 (GPa) over the share of the hard phase, a point a composite, between the bounds that the share alone gives. At one "
     "share the stiffness varies severalfold: the arrangement decides, and some elongated composites lie outside of the isotropic bounds (lines).")

# %% [markdown]
# ## Forward
#
# **Without the equilibrium.** *Voigt-Reuss-Hill*: the mean of Voigt's and Reuss's bounds, which learns nothing. *Two-point statistics*
# ask how likely two points a vector $r$ apart both lie in the hard phase, $P(r)=\langle x(s)\,x(s+r)\rangle$: once for all vectors,
# reduced to principal components, with a polynomial of second order; and once as thirteen numbers (the volume fraction and $r$ = 1, 2,
# 4, 8 voxels along each axis) with a Gaussian process. *A plain VAE*'s latent vectors, trained without any property, with a line
# (LIN), a Gaussian process (GPR), support vectors (SVR) or a network (NN), S2's names. *S2's 3D CNN*: convolutions and pooling down to
# one voxel, two dense layers. All that is trained is trained on $\ln C$.
#
# **With the equilibrium.** Equilibrium is the minimum of an energy, and conjugate gradients go down to it step by step: the energy after
# $n$ iterations gives an upper bound of the stiffness, which falls,
#
# $$C_{11}^{(0)}=C_{11}^\text{Voigt}\;\ge\;C_{11}^{(1)}\;\ge\;\dots\;\ge\;C_{11}^\text{eff},\qquad
# C_{11}^{(n+1)}=C_{11}^{(n)}-\frac{(r_n\!\cdot z_n)^2}{p_n\!\cdot A\,p_n},$$
#
# with the residual $r_n$, the preconditioned residual $z_n$, the search direction $p_n$ and the operator of equilibrium $A$, for a unit
# mean strain and volume; and how it falls says where it will end. We stop after a few iterations, and a Gaussian process on these few numbers and the
# volume fraction learns the logarithm of what is left. $C_{11},C_{22},C_{33}$ are kept between Reuss's bound and the last iteration.
# $C_{12},C_{13},C_{23}$ have no such bounds: a second process starts from the last iteration's value and sees how the two axes' bounds
# fell. No picture is seen, and the process knows its own error; its bars are widened or narrowed once, by one factor, to fit the simulated composites of
# the validation set, which the means do not see. One function serves the three axes, so that a composite gives three
# samples of each kind. Two plain rivals have the same iterations: one goes on with them as a *geometric series*, without any label; the
# other is a *straight line* in their logarithms.
#
# What is a label worth? Below the table, the data are split five times anew, and more and more of the training set is shown to each
# model. There the Gaussian process on 13 numbers, too, learns one function of three axes, from three samples a composite.
#
# > **Before you look**: how much of the error is left if the iterations are merely extrapolated, with no label at all? Write down a
# > guess beside what S2 has from its 5,340 labels, 3.5 %.

# %%
notebook.do(inverse_design.train_forward_cnn)
notebook.do(inverse_design.train_vae)
notebook.do(stiffness_surrogate.fit_stiffness_surrogate)
models = {}
for prior in ("gaussian", "single", "mixture"):
    notebook.do(inverse_design.train_inverse_design, prior=prior)
    models[prior] = inverse_design.InverseDesign.load(notebook.path(f"inverse_design_{prior}.safetensors"))
surrogate = stiffness_surrogate.StiffnessSurrogate.load(notebook.path("stiffness_surrogate.safetensors"))
known, asked, logs, numbers, history = values[train], values[test], values.log(), facts.statistics(phase), estimate.history
ours_name, axes_name = "iterations, completed (ours)", "Gaussian process on 13 numbers, three axes"
codes = [inverse_design.vae_features(notebook.path("vae.safetensors"), phase[part]) for part in (train, test)]
forward = forward_rivals.without_physics(phase, values, split, COMPONENTS)
forward |= {f"plain VAE + {kind}": forward_rivals.code_regression(codes[0], known, codes[1], kind) for kind in forward_rivals.RIVALS}
forward |= {"3D CNN (S2's rival)": inverse_design.predict_cnn(notebook.path("forward_cnn.safetensors"), phase[test]),
            "VAE-regression, mixture (S2)": models["mixture"].predict(phase[test])[0],
            axes_name: forward_rivals.process_on_axes(numbers[train], known[:, :3], numbers[test]), "iterations as a geometric series": forward_rivals.extrapolated(history[test]),
            "line in the iterations": forward_rivals.line_of_iterations(history[train], known[:, :3], history[test])}
forward[ours_name], deviation = surrogate.complete(stiffness_surrogate.take(estimate, test), fraction[test])
published = {"Voigt-Reuss-Hill": 46.66, "two-point statistics, principal components": 6.79, "plain VAE + GPR": 7.23, "3D CNN (S2's rival)": 3.69, "VAE-regression, mixture (S2)": 3.50}
errors = {name: [[m(x, y) for m in forward_rivals.MEASURES.values()] for x, y in zip(predicted.T, asked.T)] for name, predicted in forward.items()}
ranked = sorted(errors, key=lambda name: errors[name][0][0])
table([[name, 0 if "series" in name or "Hill" in name else min(len(train), elasticity["surrogate_labels"]) if name == ours_name else len(train),
        *(errors[name][i][0] if i < len(errors[name]) else None for i in range(6)), *errors[name][0][1:], published.get(name)] for name in ranked],
      ["model", "labels", *(f"{name} (%)" for name in COMPONENTS), "MAPE (%)", "R²", "S2 (%)"], f"Mean error over mean value, which S2 calls MAPE, of {len(test)} unseen composites of {phase.shape[1]}³ voxels, by C11. The columns MAPE, with each error over "
      "its own value (mean absolute percentage error), R² and S2 are of C11; S2 has 5,340 labels of 51³.")

# %%
def split_error(count, seed, fit):
    order = torch.randperm(len(phase), generator=torch.Generator().manual_seed(seed))
    some, unseen = order[:count], order[-len(test):]
    return regression.mean_normalised_mape(fit(some, unseen), values[unseen, 0])


def completed(some, unseen):
    fitted = stiffness_surrogate.StiffnessSurrogate.fit(stiffness_surrogate.take(estimate, some), fraction[some], stiffness[some], notebook.generator("labels"), surrogate.iterations)
    return fitted.complete(stiffness_surrogate.take(estimate, unseen), fraction[unseen])[0][:, 0]


fits = {ours_name: completed, axes_name: lambda some, unseen: forward_rivals.process_on_axes(numbers[some], values[some, :3], numbers[unseen])[:, 0],
        "line in the iterations": lambda some, unseen: forward_rivals.line_of_iterations(history[some], values[some, :3], history[unseen])[:, 0]}
counts = [n for n in (30, 60, 120, 300, 600, 1200, 3000) if n <= len(train)] or [len(train)]
curves = {name: np.array([[split_error(n, seed, fit) for seed in range(5)] for n in counts]) for name, fit in fits.items()}
spread = {name: curve.std(1)[-1] for name, curve in curves.items()}
figure, ax = plt.subplots(figsize=(5.4, 4.2))
series = errors["iterations as a geometric series"][0][0]
draw.falling({name: (counts, curve) for name, curve in curves.items()}, "labels", "error of C11 over its mean (%)", ax,
             {"S2, published, 5,340 labels": 3.5, "geometric series, no label": series})
show(figure, "Mean error of C11 over its mean (%) by the number of simulated composites that a model has seen: mean of five splits, and their range as a "
     "band. Dotted: what S2 states, and the iterations extrapolated without a label. Both axes are logarithmic.")
inside = [regression.coverage(forward[ours_name][:, i], deviation[:, i], asked[:, i]) for i in range(len(COMPONENTS))]
saved = np.array([converged / few for few, converged in (design_targets.seconds(phase[test[:16]], surrogate) for _ in range(3))])
table([[surrogate.iterations, saved.mean(), saved.std(), ours.drawings, ours.drawings / saved.mean()]], ["iterations of the solver", "time of a simulation over the model's", "its deviation in three runs", "drawings a proposal", "cost of a proposal (simulations)"], "What time the forward model saves, for 16 test composites at once.")

# %% [markdown]
# ## VAE-regression, as S2 has it
#
# S2 puts an encoder $q(z\mid x)$ and a regressor $q(c\mid x)$ on the same convolutions, a decoder behind $z$, and links the two by a
# *generator*: a prior $p(z\mid c)$ that depends on the property. The loss has three terms, for the regression, the reconstruction and
# the prior:
#
# $$\mathcal L=-w_r\ln q(c\mid x)+\mathcal L_\text{rec}(x,\hat x)+w_k\,\mathbb E_{q(c\mid x)}D_\text{KL}\big(q(z\mid x)\,\|\,p(z\mid c)\big),$$
#
# and the divergence from a mixture is bounded by those from its components,
#
# $$D_\text{KL}\Big(q\,\Big\|\,\sum_k\pi_k p_k\Big)\le-\ln\sum_k\pi_k\,e^{-D_\text{KL}(q\|p_k)} .$$
#
# S2 has two generators: *gaussian*, one Gaussian whose mean is linear in $c$, with one variance for all of $z$; and *mixture*, a
# network with one hidden layer that gives several Gaussians. Between them we put *single*, the mixture's network with one Gaussian:
# beside *gaussian* it shows what a mean that is not linear in $c$ brings, beside *mixture* what further Gaussians bring.
#
# As no two composites agree voxel by voxel, $\mathcal L_\text{rec}$ compares statistics: S2 the Gram matrices of VGG19 on all slices
# along three axes. A random sample of slices estimates that in a fraction of the time, with no bias that the table could show; and three axes are
# needed, since slices across an elongation hardly see it (S2's figure 5). The tables show both. The laptop profile passes over the
# data too few times for that loss: its $\mathcal L_\text{rec}$ compares two-point statistics instead (`reconstruction` in its parameters).

# %%
show(learning.learning_curves({name: model.config["history"] for name, model in models.items()},
                {"regression": "−ln q(c|x) + const / nats", "reconstruction": "reconstruction loss", "kl": "divergence / nats"}),
     "The three terms of the loss of VAE-regression over epochs (passes of the training set), for three priors: training dashed, validation solid. "
     "Where they still fall at the end, the profile has stopped before S2 would.")
vgg, some = VGG19.load(), phase[train[:4], None].float()
sampled = style_sampling.sampling(some, some.roll(1, 0), vgg, settings.style_layers, (1, 3, 9), 8, notebook.generator("style"))
display(table([[s.slices, *(100 * x if s.slices < phase.shape[1] else 0 for x in (s.bias, s.bias_error, s.deviation)), 100 * s.share] for s in sampled],
              ["slices an axis", "bias (%)", "standard error of it (%)", "scatter of one sample (%)", "time, relative to all slices (%)"],
              "The style loss between unrelated composites on some slices, against that on all."))
longer = style_sampling.elongation(vgg, settings.style_layers, notebook.generator("elongation"), edge=phase.shape[1], pairs=4,
                                   widths=(0.5, 1.0, 1.0), stretched=(1.0, 2.0, 3.5))
table([[row.width, row.one_axis, row.three_axes] for row in longer],
      ["width of the second filter along x (voxels)", "slices across x alone", "slices across all axes"],
      "Style loss between composites of width 0.5 along x and others, over that between two of the first kind: 1 sees nothing.")

# %% [markdown]
# ## A decoder that gives a law, not a picture
#
# A random medium has many realisations, here *drawings*. So our decoder makes of $z$ the *law* of a random medium: a Gaussian field whose log-spectrum
# is a polynomial of the wave vector with coefficients $a(z)$, cut at a level $t(z)$. Noise then makes a drawing, of any size
# and in any number, and the two-point statistics of the law are known without one, with $p$ the share of the hard phase
# and $\rho=\sin\theta$ the field's correlation:
#
# $$P(r)=p^2+\frac1{2\pi}\int_0^{\theta(r)}\exp\Big(\!-\frac{t^2}{1+\sin s}\Big)ds .$$
#
# The rest is S2's loss: $q(z\mid x)$ reads the statistics of the whole volume, the likelihood compares them with the law's, $p(c\mid z)$
# predicts the six components, and $p(z\mid c)$ is a mixture of Gaussians, one network for each set of properties that designs can be
# asked for by. The table judges both decoders by what is lost, against a second drawing of the generator's own filter.

# %%
notebook.do(composite_laws.train_composite_design)
design = CompositeDesign.load(notebook.path("composite_design.safetensors"), notebook.path("stiffness_surrogate.safetensors"))
seen = test[:60]
z = design.encode(phase[seen])[0]
decoded = {"S2's decoder": designs.binarise(models["mixture"].decode(models["mixture"].encode(phase[seen]))),
           "ours": design.draw(z, notebook.generator("drawings")).phase_ids,
           "ours, another drawing": design.draw(z, notebook.generator("other drawings")).phase_ids,
           "the generator's own filter": design_targets.drawn_again(notebook.path("composites.h5"), notebook.path("stiffness.h5"), seen, notebook.generator("filters"))}
redrawn, truth = {name: design_targets.simulated(ids) for name, ids in decoded.items()}, values[seen]
reconstruction = {name: facts.likeness(ids, phase[seen], redrawn[name], truth) for name, ids in decoded.items()}
scatter = {name: 100 * ((made - truth)[:, 0].abs().std() / truth[:, 0].mean() / len(seen) ** 0.5).item() for name, made in redrawn.items()}
display(table([[name, *reconstruction[name][:4], scatter[name], reconstruction[name][4]] for name in sorted(reconstruction, key=lambda n: reconstruction[n][3])],
      ["decoder", "volume fraction (points)", "two-point probability, rms (‰)", "chord lengths (%)", "simulated C11 (%)", "its standard error (%)", "worst of six (%)"],
      f"What is decoded against what was encoded: {len(seen)} test composites, by the error of C11. S2's decoder after {settings.epochs} epochs, ours after {ours.epochs}. The generator's "
      "own filter is the yardstick, what two samples of one law differ by; an encoder that reads the sample itself can be nearer."))
pick = [int(i) for i in truth[:, 0].argsort()[torch.tensor([0.05, 0.35, 0.65, 0.95]).mul(len(seen) - 1).long()]]
show(draw.latent_maps({"plain VAE": codes[1], "VAE-regression (S2)": models["mixture"].encode(phase[test]), "ours": design.encode(phase[test])[0]},
                      values[test, 0] / GPA, "C11 (GPa)"),
     "Latent vectors of the test composites, a point each: their two largest principal components (no unit), coloured by C11 (GPa). Above, what "
     "a line in all latent numbers, fitted to the same points, explains of ln C11.")
panels = [(name, i) for name in ("encoded", "S2's decoder", "ours", "ours, another drawing") for i in pick]
show(draw.cubes([(phase[seen] if name == "encoded" else decoded[name])[i].numpy() for name, i in panels],
                [f"{name.replace('another drawing', 'again')}\nC11 = {(truth if name == 'encoded' else redrawn[name])[i, 0] / GPA:.0f} GPa" for name, i in panels], columns=4),
     "Four test composites, soft to stiff from left to right, and what the decoders make of their latent vectors; hard phase dark, C11 simulated "
     "(GPa). x points to the lower left, y to the lower right, z up. A drawing of ours should have the look and the stiffness, not the voxels.")

# %% [markdown]
# ## Backward: one property
#
# For a wanted $C_{11}$, S2 decodes the mean of each component of $p(z\mid c)$; a decoded field is cut so that its mean becomes the share
# of the hard phase. S2's latent vectors are also moved along the gradient of S2's own regressor, without a simulation. We do the same with
# our decoder, with one Gaussian (as *single* has it) and with a mixture, on one network. And we go on:
# latent vectors drawn from the prior are resampled with the weights $p(c^*\mid z)$, each is drawn, and of several drawings
# (`drawings` in the parameters) the one is taken whose stiffness the forward model expects nearest to the target. No simulation is run
# to its end for this, but each drawing costs a few iterations; the findings say what that comes to in simulations. Each design is then
# *simulated*. Plain rivals: the nearest training composite, and the generator's noise with a random filter, whose level is searched with
# the solver.
#
# > **Before you look**: the training set has thousands of composites, and a volume fraction moves the stiffness as one wishes. Which of the
# > rows below will be nearest to a wanted C11?

# %%
taken = {key: design.config["priors"][key.replace("C11", "mixture C11", 1)]["components"] for key in design.config["likelihood"]}
display(table([["C11, fibres and plates alone" if key == "two C11" else key, *likelihood.values(), taken[key]] for key, likelihood in design.config["likelihood"].items()],
              ["prior for", *(f"K = {count}" for count in next(iter(design.config["likelihood"].values()))), "taken"],
              "Mean log-likelihood (nats) of held-out composites' latent vectors under p(z|c) with K Gaussians; the mixture is the smallest K within 0.1 nats, "
              "or one standard error, of the best. All are fitted to the latent vectors of one trained model. Fibres and plates: S2's two morphologies, below."))
targets = torch.tensor(settings.targets_gpa, dtype=torch.float64) * GPA
simulated = partial(design_targets.simulated, tolerance=notebook.params.elasticity.tolerance)
first = partial(design_targets.first_property, values=values[train], names=settings.properties)
asked_of_s2 = [first(float(t)) for t in targets]
count = {"gaussian": 1, "single": 1, "mixture": settings.components}
made = {f"S2: {name}, means": [designs.binarise(model.decode(model.latents(w, count[name])[0])) for w in asked_of_s2]
        for name, model in models.items()}
made["S2: mixture, gradient through its regressor"] = [designs.binarise(models["mixture"].decode(models["mixture"].refine(
    models["mixture"].latents(w, settings.components)[0], w, settings.refine_steps))) for w in asked_of_s2]
rng = notebook.generator("designs")
kinds = {"single": "gaussian", "mixture": "mixture"}  # S2's name of a prior, and how the model stores ours
for name, kind in kinds.items():
    made[f"ours: {name}, means"] = [design.means({"C11": float(t)}, kind, rng).phase_ids for t in targets]
proposed = [design.propose({"C11": float(t)}, ours.designs, drawings=ours.drawings, generator=rng) for t in targets]
made["ours: mixture, proposed"] = [p.phase_ids for p in proposed]
made["nearest training composite"] = [phase[train][(logs[train, 0] - t.log()).abs().argsort()[:ours.designs]] for t in targets]
search_level = partial(design_targets.bisected, widths=composites["widths"], edge=phase.shape[1], count=ours.designs, generator=rng)
for evaluations in (1, ours.evaluations):
    made[f"random filter, level searched, {evaluations} simulation{'s' * (evaluations > 1)}"] = [search_level(float(t), evaluations) for t in targets]

# %%
achieved = {name: [simulated(ids)[:, 0] for ids in some] for name, some in made.items()}
refined = [design.refine(p, {"C11": float(t)}, ours.evaluations) for p, t in zip(proposed, targets)]
made["ours: refined by the solver's gradient"] = [best.phase_ids for best, _ in refined]
achieved["ours: refined by the solver's gradient"] = [best.expected[:, 0] for best, _ in refined]
gaps = {name: np.array([((a - t).abs() / t).numpy() for a, t in zip(some, targets)]) for name, some in achieved.items()}
inverse = {name: 100 * gap.mean() for name, gap in gaps.items()}
by_target = {("one", name): 100 * gap.mean(1) for name, gap in gaps.items()}  # error (%) of each target's designs
first_one = {name: 100 * gap[:, 0].mean() for name, gap in gaps.items()}
described = {name: [facts.statistics(ids) for ids in some] for name, some in made.items()}
diverse = {name: np.mean([facts.diversity(x, numbers[train]) for x in some]) for name, some in described.items()}
novel = {name: np.mean([facts.novelty(x, numbers[train]).mean().item() for x in some]) for name, some in described.items()}
display(table([[name, len(made[name][0]), first_one[name], inverse[name], diverse[name] if len(made[name][0]) > 1 else None, novel[name], {"S2: mixture, means": 16.0}.get(name)]
               for name in sorted(inverse, key=inverse.get)],
              ["design", "designs a target", "C11: error of the first (%)", "of all (%)", "diversity", "novelty", "S2, published (%)"],
              f"{len(targets)} targets, by simulation and by the error of all designs; the first of a prior's means is the likeliest. Diversity: distance of a target's "
              "designs, 1 as of any two training composites; novelty: distance from the nearest of these, 1 as between neighbours."))
shown = {"S2: mixture, means": "paper", "ours: mixture, proposed": "linear", "ours: refined by the solver's gradient": "ours"}
show(draw.targets(targets.numpy() / GPA, {name: np.stack([a.numpy() for a in achieved[name]]) / GPA for name in shown}, "C11", "GPa", shown),
     "How far the simulated C11 of the designs lies from the wanted one (%), a point a design, over the wanted C11 (GPa); methods side by side. On the line a design "
     "is what was asked for, and the band is 10 % about it.")

# %% [markdown]
# ## Backward: several properties at once
#
# For one property a look-up in the training set is hard to beat. For several it has nothing to offer where the data are thin.
# *Six components*: of test composites, as S2 asks. *Three components that no training composite meets within 10 %*, whatever the order of
# its axes: those of simulated media with filters up to twice as long as in the data and 15 to 85 % of the hard phase, so that such media
# exist. Of forty media for each target those are kept that the data miss by most; this choice is hard on the look-up. The error of a
# design is the mean of its wanted components' errors; the worst component stands beside it. What the gradient (next section) adds is held
# against the best of as many proposals as it has simulations, and what the prior adds against the same gradient from random laws of the
# same decoder, $z\sim\mathcal N(0,I)$.
#
# ## Refinement: the solver's own gradient
#
# S2 anneals in latent space with a forward model. A simulation, however, says more than a number: the strain fields $e_k$ that it has
# computed give what *every voxel* does for the stiffness. Where voxels change from the soft to the hard phase,
#
# $$\Delta C_{kl}=\frac1V\sum_{v\,\text{changed}}e_k(v):(\mathbb C_1-\mathbb C_0):e_l'(v)$$
#
# exactly, with the strain $e'$ after the change; we take it from the voxel's new neighbours. With the chain rule through the cut and
# the field this is a Jacobian $J$ for law and noise together, and the least change that meets the target to first order is
# $\delta=J^\top(JJ^\top)^{-1}\,\ln(c^*/c)$. One simulation a step, and no regressor that its own decoder could fool.
# *How sure is a design* before it is simulated? The forward model's error bar says how probable it is that it meets its target; the
# last table of this section has that probability beside the share that did.

# %%
wide = design_targets.beyond(phase.shape[1], composites["widths"], stiffness[train], ours.three_targets, notebook.generator("beyond"))
tasks = {"six, of test composites": [dict(zip(COMPONENTS, values[i].tolist())) for i in test[:ours.six_targets]],
         "three, beyond the data": [dict(zip(COMPONENTS[:3], row.tolist())) for row in wide]}
several, histories, drawn, laws = {}, {}, {}, notebook.generator("random laws")
for task, wanted in tasks.items():
    offers = [design.propose(w, ours.designs, drawings=ours.drawings, generator=rng) for w in wanted]
    means = {name: [design.means(w, kind, rng).phase_ids for w in wanted] for name, kind in kinds.items()}
    better = [design.refine(p, w, ours.evaluations) for p, w in zip(offers, wanted)]
    many = [simulated(design.propose(w, ours.evaluations, drawings=ours.drawings, generator=rng).phase_ids) for w in wanted]
    unled = [design.refine(design.draw(torch.randn(2, ours.latent_dim, generator=laws), laws), w, ours.evaluations) for w in wanted]
    histories |= {f"{task}, gradient": better, f"{task}, gradient from random laws": unled}
    drawn[task] = [best for best, _ in better]
    given = {"nearest training composite": [design_targets.nearest(stiffness[train], w) for w in wanted],
             **{f"ours: {name}, means": [simulated(ids) for ids in some] for name, some in means.items()},
             "ours: mixture, proposed": [simulated(p.phase_ids) for p in offers],
             "ours: best proposal": [c[design_targets.errors(c, w).amax(1).argmin()][None] for c, w in zip(many, wanted)],
             "ours: refined": [best.expected for best, _ in better], "random laws, refined": [best.expected for best, _ in unled]}
    for name, results in given.items():
        gap = [100 * design_targets.errors(r, w) for r, w in zip(results, wanted)]
        by_target[task, name] = np.array([g.mean().item() for g in gap])
        several[task, name] = by_target[task, name].mean(), np.mean([g.amax(1).mean().item() for g in gap])
table([[task, name, *several[task, name], 12.0 if "six" in task and name == "ours: mixture, means" else None]
       for task, name in sorted(several, key=lambda pair: (pair[0], several[pair][0]))],
      ["wanted", "design", "mean error (%)", "worst component (%)", "S2, published (%)"], f"By simulation; of a target's designs the mean. The best proposal is the best of "
      f"{ours.evaluations}, each simulated; refined is after {ours.evaluations} simulations. S2 states 33 % for six by its one Gaussian; trained by us, both of S2's priors stand in the section on S2 at its own scale.")

# %%
histories = {"one property, gradient": refined, **histories}
search = {name: 100 * torch.cat([history for _, history in pairs], 1).mean(1) for name, pairs in histories.items()}
fixed = torch.Generator()
off_by = lambda c11: (c11 / targets).log().abs().expm1()  # noqa: E731  # as the gradient's search counts
forward_error = lambda z: off_by(design.draw(z, fixed.manual_seed(1)).expected[:, 0])  # noqa: E731
starts = {"one property, annealing from random laws": torch.randn(len(targets), ours.latent_dim, generator=rng),
          "one property, annealing from the prior": torch.cat([p.z[:1] for p in proposed])}
ends = {name: curve[-1].item() for name, curve in search.items()}  # by simulation
for name, start in starts.items():
    coolest, curve = designs.anneal(start, forward_error, ours.annealing, rng)
    search[name], ends[name] = 100 * curve.mean(1), 100 * off_by(simulated(design.draw(coolest, fixed.manual_seed(1)).phase_ids)[:, 0]).mean().item()
looks = {name: {"color": ("ours", "linear", "accent")[("one", "six", "thr").index(name[:3])], "ls": "--" if "random" in name else "-", "marker": "o" * ("gradient" in name)} for name in search}
falling_figure, ax = plt.subplots(figsize=(5.4, 4.3))
looks[s2_search := "S2, published: one property"] = {"color": "reference", "ls": "", "marker": "*", "ms": 10}
draw.falling({name: (np.arange(1, len(curve) + 1), np.maximum(curve.numpy(), 1e-3)) for name, curve in search.items()} | {s2_search: ([10], [10.0])},
             "evaluations (annealing: of the forward model)", "worst component: factor off, less 1 (%)", ax, looks=looks)
show(falling_figure, "Error of the worst wanted component of the best design so far, over evaluations: simulations for the gradient (with markers), mean over targets and "
     "designs; for annealing, as S2 does it, what the forward model expects, mean over targets. A colour for each task; dashed: from random laws. The error is the factor between "
     "a component and the wanted one, either way, less 1. Star: S2's search from inferred designs, 10 % after 10 evaluations (its figure 4). Both axes are logarithmic.")
met_at = {name: next((n for n, error in enumerate(curve.tolist(), 1) if error <= 1), None) for name, curve in search.items()}
table([[name, len(curve), curve[min(9, len(curve) - 1)].item(), curve[-1].item(), ends[name], met_at[name]] for name, curve in search.items()],
      ["search", "evaluations", "after 10 or all (%)", "at the end (%)", "at the end, simulated (%)", "evaluations to 1 %"],
      "Error of the worst wanted component, counted as in the figure; the other tables have the difference over the wanted value, which is no larger. Gradient: by simulation throughout. Annealing: by the forward model, but for the last error.")

# %%
cost = ours.drawings / saved.mean()
left = max(1, int(ours.evaluations - cost))  # simulations for what the search from random laws has, less a proposal
at_cost = {task: [np.array([100 * history[min(n, len(history)) - 1].mean().item() for _, history in histories[f"{task}, gradient{start}"]])
                  for start, n in (("", left), (" from random laws", ours.evaluations))] for task in tasks}
equal = {task: (regression.compared(*pair), *(x.mean() for x in pair)) for task, pair in at_cost.items()}
sets = {"S2": "S2: mixture, means", "ours": "ours: refined by the solver's gradient"}
frames([draw.cubes([made[name][i][k].numpy() for name in sets.values() for k in range(min(len(made[name][i]), 4))],
                   [f"{who}: {achieved[name][i][k] / GPA:.1f} GPa" for who, name in sets.items() for k in range(min(len(made[name][i]), 4))])
        for i in range(len(targets))], [f"C11 = {t / GPA:.0f} GPa wanted" for t in targets],
       "Move the slider to a wanted C11: designs of S2 (means of its mixture's components) and of ours (refined), hard phase dark, with their simulated C11 (GPa). "
       "One target has many designs.")
task, wanted = "six, of test composites", tasks["six, of test composites"][:6]
show(draw.cubes([phase[test[i]].numpy() for i in range(len(wanted))] + [drawn[task][i].phase_ids[0].numpy() for i in range(len(wanted))],
                [f"wanted: that of\ntest composite {i + 1}" for i in range(len(wanted))]
                + [f"ours: worst of six\n{100 * design_targets.errors(drawn[task][i].expected[:1], w).max():.1f} % off" for i, w in enumerate(wanted)],
                columns=len(wanted)),
     "Above, test composites whose six components are the target; below, a design of ours for each, refined, with the error (%) of its worst component.")
checked = [design.propose({"C11": float(t)}, 4 * ours.designs, drawings=ours.drawings, generator=rng) for t in targets]
off = torch.cat([simulated(p.phase_ids)[:, 0] / t - 1 for p, t in zip(checked, targets)]).abs()
rows, within = [], (0.005, 0.01, 0.02, 0.05)
for share in within:
    stated, met = torch.cat([p.probability({"C11": float(t)}, share) for p, t in zip(checked, targets)]).mean().item(), (off <= share).double()
    rows.append([f"{100 * share:g} %", 100 * stated, 100 * met.mean().item(), 100 * (met.std() / len(met) ** 0.5).item()])
calibration = {share: abs(row[1] - row[2]) / 100 for share, row in zip(within, rows)}
table(rows, ["within", "stated probability (%)", "share that met the target (%)", "its standard error (%)"], f"{len(off)} proposals for {len(targets)} targets, C11 alone: how probable it is, by the forward model, that one lies so near its target, and the share that does.")

# %% [markdown]
# ## S2 at its own scale, and its two morphologies
#
# `benchmarks/s2_learning.py` trains S2's networks with S2's settings on 5,340 of 8,900 composites of 51³, on one GPU. S2 trains until
# ten passes over the data bring nothing. Here the clock ended every training of the full set, after the passes that the table gives: what
# these networks could come to, the tables do not say. With a hundredth of S2's weight of the divergence, and ten passes instead of six,
# the designs of *mixture*'s likeliest component follow the targets up to 40 GPa, and all fall short above (third table); the other component's are farther off, as the mean over both
# in the second table says. Passes and weight changed together, so the tables do not say which of the two did it. A generator *as trained* is the one that was trained with the encoder;
# *refitted*, it was trained once more, on the finished encoder's latent vectors.
#
# On S2's second set, fibres along x and plates normal to x, a mixture should keep the two morphologies apart where one Gaussian mixes
# them. For one stiffness fibres take little of the hard phase and plates much, which tells them apart, where one Gaussian can only give
# one design, which may be neither: the last table has our priors for these two, the means of their components drawn and simulated.
#
# The report's index says where each of S2's tables and figures has its counterpart here.

# %%
at_scale, cut = s2_at_scale.forward()
at_scale_back, six_back = s2_at_scale.backward(cut), s2_at_scale.six()
display(table([[row["model"], row["set"], row["properties"], row["epochs"] or None, {"time": "clock"}.get(row["stopped"], row["stopped"]) or None,
                row["mape_mean"], row["mape"], row["r2"]] for row in at_scale],
              ["model, forward", "set", "properties", "passes", "stopped by", "C11: error / mean (%)", "MAPE (%)", "R²"],
              "S2's networks and rivals on composites of 51³, sorted by set and error; "
              f"{' or '.join(f'{int(n):,} training composites ({part})' for part, n in dict((row['set'], row['trained_on']) for row in at_scale).items())}. Each set has its own test composites, and each network was trained once, for minutes of one H100. Patience: ten passes without a better "
              f"validation loss. Left out here and below: {'; '.join(f'{name} ({part}), ended by the clock after {passes:.1f} passes' for (part, name), passes in cut.items())}."))
display(table([[*(part or None for part in key), *gap] for key, gap in at_scale_back.items()], ["set", "prior, backward", "generator", "likeliest component (%)", "all components (%)"], "Error of C11 by set and error: means of the components, decoded and simulated, eight targets from 20 to 80 GPa; S2 has 16 %."))
lighter = s2_at_scale.by_target("a hundredth of the divergence")
display(table([[name, *(f"{gap:+.1f}" for gap in gaps.values())] for name, gaps in lighter.items()], ["prior", *(f"{t:g} GPa (%)" for t in next(iter(lighter.values())))],
              "Of these, with a hundredth of the divergence and as trained: deviation of C11 of the likeliest component's design from each target."))
display(table([[*key, *gap, {"mixture": 12.0, "gaussian": 33.0}[key[0]]] for key, gap in six_back.items()],
              ["prior, six properties", "generator", "mean error (%)", "worst component (%)", "S2, published (%)"], "The same for the six components of ten test composites."))
two = {}
for name, kind in (pair for pair in (("one Gaussian", "two gaussian"), ("mixture", "two mixture")) if f"{pair[1]} C11" in design.priors):
    parts = [design.means({"C11": float(t)}, kind, rng).phase_ids[:2] for t in targets]
    two[name] = facts.by_hard_phase(parts, [simulated(ids)[:, 0] / GPA for ids in parts])
if two:
    gaussian, fibres, plates = two["one Gaussian"][:, 0], *two["mixture"][:, [0, -1]].unbind(1)
    way = (100 * (gaussian - fibres) / (plates - fibres).clamp(min=1e-9))[:, 0].tolist()
    long, flat, worst_two = *two["mixture"][..., 2].mean(0)[[0, -1]].tolist(), 100 * float((two["mixture"][..., 1] * GPA / targets[:, None] - 1).abs().max())
    display(table([[f"{t / GPA:.0f}", *g[:2].tolist(), *f[:2].tolist(), *p[:2].tolist(), f"{round(w)}"] for t, g, f, p, w in zip(targets, gaussian, fibres, plates, way)],
                  ["target (GPa)", *(f"{name}: {what}" for name in ("one Gaussian", "fibres", "plates") for what in ("hard (%)", "C11 (GPa)")), "one Gaussian, from fibres (0) to plates (100)"],
                  "Ours, of fibres and plates alone: means of the components, drawn and simulated; the mixture's design with less of the hard phase is called fibres. Last column: how far one Gaussian's share of the hard phase lies on the way from that of fibres to that of plates."))

# %% [markdown]
# ## On your own material
#
# `CompositeDesign` takes targets in pascal and draws designs of any size; each can be written as a grid for ParaView and DAMASK. What does
# it do with a medium of another law than its own? Overlapping spheres are encoded and drawn anew. In JupyterLab the last cell has a
# slider for the target, and every move draws anew.

# %%
middle, folder = len(targets) // 2, notebook.folder / "designs"
folder.mkdir(exist_ok=True)
large = design.draw(proposed[middle].z, notebook.generator("large"), edge=48)
moduli = {name: {"C_11": C[0, 0].item(), "C_12": C[0, 1].item(), "C_44": C[3, 3].item()} for name, C in zip(("soft", "hard"), phase_stiffnesses())}
for i, (best, _) in enumerate(refined):
    for k, ids in enumerate(best.phase_ids):
        write_composite_vti(folder / f"c11_{targets[i] / GPA:.0f}_gpa_{k + 1}.vti", ids.numpy(), 1e-6 * len(ids), moduli)
balls = design_targets.overlapping_spheres(len(seen), phase.shape[1], notebook.generator("spheres"))
again = design.draw(design.encode(balls)[0], notebook.generator("spheres again")).phase_ids
before, after = (simulated(ids)[:, 0] for ids in (balls, again))
gap = 100 * (after / before - 1)
balls_off = gap.abs().mean().item()
print(f"overlapping spheres, a law never seen: drawn anew, C11 is off by {balls_off:.0f} % on average (bias {gap.mean():+.0f} %), the hard phase by {100 * (facts.volume_fraction(again) - facts.volume_fraction(balls)).abs().mean():.1f} points")
print(f"{len(list(folder.glob('*.vti')))} designs in {folder.name}/; a drawing of {large.phase_ids.shape[1]}³ voxels for a target of {targets[middle] / GPA:.0f} GPa, "
      f"not chosen among others: {large.expected[0, 0] / GPA:.1f} GPa expected")


def picture(gpa):
    offered = design.propose({"C11": gpa * GPA}, 4, drawings=ours.drawings)
    return draw.cubes(offered.phase_ids.numpy(), [f"{100 * ids.double().mean():.0f} % hard\n{c / GPA:.1f} GPa expected" for ids, c in zip(offered.phase_ids, offered.expected[:, 0])])


moved = explorer.slider(picture, settings.targets_gpa[0], settings.targets_gpa[-1], "C11 (GPa)")  # a figure where nobody looks on
caption = f"Four designs that the prior proposes for a C11 of {(settings.targets_gpa[0] + settings.targets_gpa[-1]) / 2:g} GPa, with what the forward model expects."
show(moved, caption) if isinstance(moved, plt.Figure) else display(moved)

# %%
refined_name, searched, near = "ours: refined by the solver's gradient", f"random filter, level searched, {ours.evaluations} simulations", "nearest training composite"
simple = [name for name in ranked if "(" not in name]  # neither S2's nor ours
strongest, plain = simple[0], next(name for name in simple if "iterations" not in name)
best_forward, rival, s2_forward = (errors[name][0][0] for name in (ours_name, strongest, "VAE-regression, mixture (S2)"))
s2_best = min((name for name in inverse if name.startswith("S2:") and name.endswith("means")), key=inverse.get)
proposal, mixture, single, unled_name = "ours: mixture, proposed", "ours: mixture, means", "ours: single, means", "random laws, refined"
sure = {"as near as": "as near, as far as these targets tell", "nearer than": "nearer", "farther off than": "farther off"}
(six_task, three_task), (six, three) = tasks, ({name: several[pair][0] for pair in several for name in [pair[1]] if pair[0] == task} for task in tasks)
beside = {pair: regression.compared(by_target[pair[0], pair[1]], by_target[pair[0], pair[2]]) for pair in (
    ("one", refined_name, searched), ("one", mixture, single), *((task, *names) for task in tasks for names in (("ours: refined", unled_name), (proposal, near), (mixture, single))))}
to_one = {task: " and ".join(str(met_at[f"{task}, gradient{start}"] or f"more than {ours.evaluations}") for start in ("", " from random laws")) for task in tasks}
display(findings(
    f"**No model is needed for one property**: noise of any filter, its level searched by {ours.evaluations} simulations, meets C11 to {inverse[searched]:.2g} %, the nearest training composite to "
    f"{inverse[near]:.2g} %; ours, refined by as many simulations, to {inverse[refined_name]:.2g} % ({sure[beside['one', refined_name, searched]]}), proposed without any, by {ours.drawings} short solves that cost as much as {cost:.1f}, to {inverse[proposal]:.2g} %.",
    f"Several properties, {ours.evaluations} simulations: **from random laws the solver's gradient comes to {six[unled_name]:.2g} % of six, and to {three[unled_name]:.2g} % of three beyond the data**; from our proposals to "
    f"{six['ours: refined']:.2g} % ({sure[beside[six_task, 'ours: refined', unled_name]]}) and {three['ours: refined']:.2g} % ({sure[beside[three_task, 'ours: refined', unled_name]]}). But a proposal costs as much as {cost:.1f} simulations. **At equal cost**, {left} simulations from proposals against {ours.evaluations} from random laws, the worst component is off by {equal[six_task][1]:.2g} against {equal[six_task][2]:.2g} % for six ({sure[equal[six_task][0]]}), by {equal[three_task][1]:.2g} against {equal[three_task][2]:.2g} % for three ({sure[equal[three_task][0]]}). Until it is "
    f"within 1 % it takes, from proposals and from random laws, {to_one[six_task]} simulations for six, {to_one[three_task]} for three, a proposal's own cost not counted. Chance: a difference smaller than twice its standard error ({len(tasks[six_task])} targets for six components, {len(tasks[three_task])} for three).", f"Without a simulation, ours is {beside[six_task, proposal, near]} the nearest training composite for six properties ({six[proposal]:.3g} and {six[near]:.3g} %), {beside[three_task, proposal, near]} it for three beyond "
    f"the data ({three[proposal]:.2g} and {three[near]:.2g} %). The best of {ours.evaluations}, all simulated, has {six['ours: best proposal']:.2g} and {three['ours: best proposal']:.2g} %.",
    f"Means of the mixture against that of one Gaussian on the same network: one property {inverse[mixture]:.3g} against {inverse[single]:.3g} % (the mixture is {sure[beside['one', mixture, single]]}); six {six[mixture]:.3g} against {six[single]:.3g} % (the mixture is {sure[beside[six_task, mixture, single]]}); three {three[mixture]:.3g} against {three[single]:.3g} % (it is {sure[beside[three_task, mixture, single]]}).",
    f"Forward, ours has {best_forward:.2g} % of C11, the worst of six components {max(e[0] for e in errors[ours_name]):.2g} %. Most of it is the equilibrium: as a geometric series, without a label, the same iterations come to {series:.2g} %, a line in them to {errors['line in the iterations'][0][0]:.2g} %. The strongest model without it ({plain}) has {errors[plain][0][0]:.3g} % from {len(train)} labels.",
    f"Labels: from {counts[0]} ours has {curves[ours_name][0].mean():.2f} ± {curves[ours_name][0].std():.2f} %, from {counts[-1]} {curves[ours_name][-1].mean():.2f} ± {spread[ours_name]:.2f} %; the Gaussian "
    f"process on 13 numbers, with three samples a composite as ours, {curves[axes_name][0].mean():.3g} and {curves[axes_name][-1].mean():.3g} %.",
    f"S2 as trained here: forward {s2_forward:.3g} % (published 3.5), backward {inverse['S2: mixture, means']:.3g} % (its likeliest component {first_one['S2: mixture, means']:.3g} %; published 16).",
    f"A simulation takes {saved.mean():.2f} ± {saved.std():.2f} times as long as {surrogate.iterations} iterations and the process; {100 * min(inside):.0f} to {100 * max(inside):.0f} % of the test composites lie in the 90 % intervals.",
    *([f"Of fibres and plates: {facts.sides(targets / GPA, way)} The mixture gives one design with little of the hard phase, whose runs along x are {long:.1f} times as long as across it, and one with much ({flat:.1f} times), the worst of them {worst_two:.0f} % off its target."] if two else [])))

# %%
own, freed = next(row for row in at_scale if (row["set"], row["model"], row["properties"]) == ("all", "VAE-Reg, mixture", 1)), at_scale_back["all", "mixture, a hundredth of the divergence", "as trained"]
loss = {"style": "a style loss", "two_point": "two-point statistics"}[settings.reconstruction]
better_s2 = "" if s2_best == "S2: mixture, means" else f" (the best of its priors, {s2_best.removeprefix('S2: ').removesuffix(', means')}, {inverse[s2_best]:.3g} %)"
followed = errors["plain VAE + LIN"][0][2]
missed = [text for text in (
    beside["one", refined_name, searched] == "farther off than" and f"One property needs no model: a random filter whose level is searched comes to {inverse[searched]:.2g} % where our refined designs have {inverse[refined_name]:.2g} %.",
    *(equal[task][0] != "nearer than" and f"{label} properties{extra}: at equal cost the solver's gradient comes to {equal[task][2]:.2g} % from random laws and to {equal[task][1]:.2g} % from our proposals: "
      f"{'the prior and the forward model cost more than they save' if equal[task][0] == 'farther off than' else f'no gain by the prior and the forward model that {len(tasks[task])} targets could show'}." for label, extra, task in (("Six", "", six_task), ("Three", " beyond the data", three_task))),
    inverse[near] < inverse[proposal] and f"One property, without a simulation: the nearest training composite has {inverse[near]:.2g} %, our proposals {inverse[proposal]:.2g} %.",
    beside[six_task, proposal, near] == "farther off than" and f"Six properties, without a simulation: the nearest training composite has {six[near]:.3g} %, our proposals {six[proposal]:.3g} %.",
    *(beside[task, mixture, single] == "farther off than" and f"{label} properties: the means of a mixture ({x[mixture]:.3g} %) are worse designs than the mean of one Gaussian "
      f"({x[single]:.3g} %), though the mixture is likelier on held-out data: the mean of a component need not be a typical design." for label, task, x in (("Six", six_task, six), ("Three", three_task, three))),
    f"Overlapping spheres, encoded and drawn anew, miss C11 by {balls_off:.0f} %: the decoder knows Gaussian fields alone, and keeps the volume fraction, not who is connected with whom.",
    f"Means of S2's mixture miss C11 by {inverse['S2: mixture, means']:.3g} % here{better_s2} and, on a GPU at its own scale with S2's networks and settings, by {at_scale_back['all', 'mixture', 'as trained'][1]:.3g} % "
    f"(published 16): the clock ended that training after {own['epochs']:.0f} passes. With a hundredth of S2's weight of the divergence, and more passes, its likeliest component is off by {freed[0]:.3g} %, the mean over both by {freed[1]:.3g} %.",
    f"S2's six properties at its own scale: {six_back['mixture', 'as trained'][0]:.3g} % by the mixture, {six_back['gaussian', 'as trained'][0]:.3g} % by one Gaussian (published 12 and 33).",
    f"Fibres and plates at that scale: S2's mixture misses C11 by {at_scale_back[s2_at_scale.TWO, 'mixture', 'as trained'][1]:.3g} %, its one Gaussian by {at_scale_back[s2_at_scale.TWO, 'gaussian', 'as trained'][1]:.3g} %.",
    f"S2's regression has {s2_forward:.3g} % of C11 from {len(train)} composites of {phase.shape[1]}³ after {settings.epochs} passes, its decoder judged by {loss}; at S2's own scale, by a style loss, "
    f"{own['mape_mean']:.3g} % after {own['epochs']:.0f} passes; published 3.5.",
    f"The plain VAE with a Gaussian process has {errors['plain VAE + GPR'][0][0]:.3g} %, published 7.23: its latent vector follows the property {'hardly' if followed < 0.3 else 'only in part'} (R² of C11 by a line in it, unseen composites: {followed:.2f}).",
    f"The forward model saves labels; of time only a factor of {saved.mean():.1f}.") if text]
display(Markdown("**What did not work**\n\n" + "\n".join(f"- {text}" for text in missed)))

# %%
luck = lambda task, *names: regression.chance(*(by_target[task, name] for name in names))  # noqa: E731
line = {name: (counts, curve.mean(1).tolist()) for name, curve in curves.items()}
line = {"ours": line.pop(ours_name), "paper": ([len(train)], [s2_forward]), **line, "iterations as a geometric series": ([0], [series])}
standings = [
    Standing("error of C11, forward", best_forward, "%", (strongest, rival), s2_forward, 3.5, spread=spread[ours_name]),
    Standing("one property, means of the prior", inverse[mixture], "%", (near, inverse[near]), inverse["S2: mixture, means"], 16.0, spread=luck("one", mixture, near)),
    Standing("one property, proposed without a simulation", inverse[proposal], "%", (near, inverse[near]), inverse[s2_best], spread=luck("one", proposal, near)),
    Standing(f"one property, {ours.evaluations} simulations (rebuilt: S2's regressor and its gradient, none)", inverse[refined_name], "%", (searched, inverse[searched]), inverse["S2: mixture, gradient through its regressor"], spread=luck("one", refined_name, searched)),
    Standing("six properties, means of the prior (S2's on a GPU, 51³)", six[mixture], "%", (near, six[near]), six_back["mixture", "as trained"][0], 12.0, spread=luck(six_task, mixture, near)),
    Standing("six properties, proposed without a simulation", six[proposal], "%", (near, six[near]), spread=luck(six_task, proposal, near)),
    *(Standing(f"{label}, the solver's gradient from a proposal, {left} simulations and the proposal's cost", equal[task][1], "%", (f"from random laws, {ours.evaluations} simulations", equal[task][2]),
               spread=regression.chance(*at_cost[task])) for label, task in (("six properties", six_task), ("three properties beyond the data", three_task)))]
key = {"mean of the training set": "mean", "Voigt-Reuss-Hill": "bounds", "Gaussian process on 13 numbers": "two_point", axes_name: "two_point_axes",
       "two-point statistics, principal components": "principal", "3D CNN (S2's rival)": "cnn", "VAE-regression, mixture (S2)": "vae_regression", ours_name: "ours"}
metrics = {f"07.{name.lower()}.{key.get(model, model.lower().replace(' + ', '_').replace(' ', '_'))}.mape_pct": e[i][0]
           for model, e in errors.items() if "iterations" not in model or model == ours_name for i, name in zip(range(len(e)), COMPONENTS)}
metrics |= {f"07.c11.{key[model]}.r2": errors[model][0][2] for model in ("Gaussian process on 13 numbers", "VAE-regression, mixture (S2)", ours_name)} | {f"07.{name.lower()}.ours.coverage_90": value for name, value in zip(COMPONENTS, inside)}
metrics |= {f"07.inverse.{name}.error_pct": inverse[label] for name, label in (
    ("gaussian", "S2: gaussian, means"), ("mixture", "S2: mixture, means"), ("ours_gaussian", single), ("ours_mixture", mixture), ("proposed", proposal), ("nearest", near))}
metrics |= {"07.refined.ours.error_pct": inverse[refined_name], "07.labels.ours.failed": failed, "07.decoded.ours.c11_error_pct": reconstruction["ours"][3], "07.decoded.s2.c11_error_pct": reconstruction["S2's decoder"][3], "07.proposed.ours.calibration": calibration[0.01]}
metrics |= {f"07.{task.split(',')[0]}.{short}.error_pct": several[task, name][0] for task in tasks for short, name in (
    ("nearest", near), ("gaussian", single), ("mixture", mixture), ("proposed", proposal), ("refined", "ours: refined"), ("random_start", unled_name))}
notebook.close("07", metrics=metrics, figure=figure, caption="Mean of five splits, and their range as a band. Dotted: without a label, and what S2 states.", standings=standings, missed=missed, curve=Curve(
    "labels", "error of C11 over its mean (%)", line, ("line in the iterations", "iterations as a geometric series"), note="These errors are means over five splits; the table is of one."))

# %% [markdown]
# **Limits**. The generator of the data *is* a filtered noise cut at a level, and so is our decoder: it has the right form by
# construction, as a power diagram has for polycrystals. A medium with another law, grains in a matrix or a foam, is matched in its
# volume fraction and two-point statistics alone. What the forward model is for are its error bar and the labels that it does not
# need: it saves some of a simulation's time, not all. S2's networks are trained here on what minutes of two cores allow, and at S2's
# own scale on minutes of a GPU, where S2 trained until nothing improved; the composites are ours and not S2's.
#
# **Next**: 08 turns from volumes to micrographs, where the microstructure has first to be read out of a picture.
#
# ## Exercises
#
# **1 · What does the volume fraction leave open?** Take the composites with 48 to 52 % of the hard phase. By what factor do the stiffest
# and the softest of them differ in C11, and how wide are Voigt's and Reuss's bounds there? What do the elongations of the stiffest have
# in common?

# %% tags=["solution"]
alike = ((fraction - 0.5).abs() < 0.02).nonzero()[:, 0]
ordered = alike[values[alike, 0].argsort()]
limits_half = facts.bounds(torch.tensor([0.5]).double(), phase_stiffnesses(), entry("C11"))
chord = facts.mean_chord(phase[ordered])
print(f"{len(alike)} composites: C11 from {values[ordered[0], 0] / GPA:.1f} to {values[ordered[-1], 0] / GPA:.1f} GPa, a factor of "
      f"{values[ordered[-1], 0] / values[ordered[0], 0]:.1f}; Reuss to Voigt {limits_half['reuss'].item() / GPA:.1f} to {limits_half['voigt'].item() / GPA:.1f} GPa")
few = max(1, len(alike) // 5)
table([[name, *part.mean(0).tolist()] for name, part in (("softest fifth", chord[:few]), ("stiffest fifth", chord[-few:]))],
      ["", "along x", "along y", "along z"], "Mean length of the hard phase's runs (voxels): what is stiff along x is long along x.")

# %% [markdown]
# **2 · Iterations instead of labels.** Cut the history of the iterations after 1, 2, 3 and so on. How far off is C11 as it stands there, and
# how far if the iterations are extrapolated by `forward_rivals.extrapolated`? How many labels does the Gaussian process on 13 numbers need to
# match that, by its learning curve?

# %% tags=["solution"]
rows, process = [], curves[axes_name].mean(1)
for n in range(1, history.shape[1]):
    cut = history[test][:, :n + 1]
    now, ahead = (regression.mean_normalised_mape(x[:, 0], values[test, 0]) for x in (cut[:, -1], forward_rivals.extrapolated(cut)))
    enough = float(np.exp(np.interp(-np.log(ahead), -np.log(process), np.log(counts))))  # between the counts, on logarithmic axes
    rows.append([n, now, ahead, f"fewer than {counts[0]}" if ahead > process[0] else f"more than {counts[-1]}" if ahead < process[-1] else f"about {enough:.2g}"])
print(f"Each iteration divides the bound's error by about {(rows[0][1] / rows[-1][1]) ** (1 / max(1, len(rows) - 1)):.1f}. With {counts[-1]} labels the process has {process[-1]:.2f} %.")
table(rows, ["iterations", "as they stand (%)", "extrapolated (%)", "labels that the process needs for the latter"], f"Error of C11 over its mean, {len(test)} test composites, no label.")

# %% [markdown]
# **3 · An anisotropic wish.** Ask for C11 = 40 GPa and C22 = C33 = 20 GPa: `propose` four designs, `refine` them with five simulations, and
# draw them. What do they look like, and does the nearest training composite come as near?

# %% tags=["solution"]
wish = {"C11": 40e9, "C22": 20e9, "C33": 20e9}
offered = design.propose(wish, 4, drawings=ours.drawings, generator=notebook.generator("wish"))
answered, _ = design.refine(offered, wish, 5)
off = 100 * design_targets.errors(answered.expected, wish).amax(1)
nearest_off = 100 * design_targets.errors(design_targets.nearest(stiffness[train], wish), wish).max().item()
runs = facts.mean_chord(answered.phase_ids).mean(0)
print(f"worst component {off.min():.2g} to {off.max():.2g} % off, of the nearest training composite {nearest_off:.2g} %; the hard phase's runs are "
      f"{runs[0]:.1f}, {runs[1]:.1f} and {runs[2]:.1f} voxels long along x, y and z: fibres along the stiff axis.")
show(draw.cubes(answered.phase_ids.numpy(), [f"{c[0] / GPA:.1f}, {c[1] / GPA:.1f}, {c[2] / GPA:.1f} GPa" for c in answered.expected]),
     "Four designs for C11 = 40, C22 = C33 = 20 GPa, hard phase dark, with the three components as simulated (GPa). x points to the lower left.")

# %% [markdown]
# **In three lines**
#
# 1. A few iterations of the solver carry nearly all of the answer; labels only finish it, and a few are enough.
# 2. One property needs no model. For several, and beyond the data, the solver's gradient finds the design, from a random law as well; a
#    conditional prior and a forward model start it nearer, at a cost of their own.
# 3. Hold every design against the nearest in the data and a search without a model, and simulate it before you believe it.
