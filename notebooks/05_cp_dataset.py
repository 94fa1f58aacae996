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
# # 05 · Crystal-plasticity data set
#
# **Question**: which stress-strain curve does each polycrystal have, and may we trust the solver that says so? A
# surrogate can be no better than its labels. So before simulating a data set we hold the solver to DAMASK, whose
# results for a few crystals and volume elements (VEs) come with the package.
#
# **You will learn**
#
# - how slip and twinning make the stress of a crystal depend on its orientation, by turning one in your hand;
# - how a solver is verified: law, boundary conditions and equilibrium one after another, at every increment;
# - which spread of labels is there to be learnt, and why a surrogate's error is to be held against it;
# - how a data set is simulated in pieces that survive a crash, and what becomes of simulations that fail.
#
# **Prerequisites**: polycrystals and orientations as in notebooks 01 and 02; stress and strain tensors; Newton's method.
#
# **Inputs**: `polycrystals.h5` of notebook 01 (hexagonal sets).
#
# **Outputs**: `cp.h5`, the response of every VE: mean deformation gradient, stresses, slip and twinning; `textured.h5` and
# `campaign.h5`, VEs of many textures, and their response as several materials and under many load paths.
#
# **Time**: about 2 minutes with the default parameters on two cores, no GPU needed.
#
# White et al. (2025), here **S1**, simulated 50,000 VEs of magnesium with DAMASK; 48,401 converged.

# %% tags=["parameters"]
run = {"name": "by-hand", "seed": 2026}
compute = {"engine": "local", "device": "auto"}
cp = {
    "material": "Mg",
    "edge": 16,
    "load": "tension",
    "axis": "x",
    "strain": 0.01,
    "rate": 1e-3,
    "increments": 20,
    "scheme": "fourier",
    "solver": "spectral",
    "chunk": 16,
    "families_train": 21,
    "families_test": 14,
    "others": ["Al"],
    "others_train": 6,
    "others_test": 12,
    "paths": 12,
    "path_elements": 1,
}

# %%
import time
from collections import Counter
from itertools import groupby

import numpy as np
import torch
from IPython.display import display

from microprint import orientations, simulate_cp
from microprint.analysis.slip import shear_by_family
from microprint.analysis.stress import texture_coefficients
from microprint.machine import cores
from microprint.mechanics import campaign as campaigns
from microprint.mechanics.datasets import SETS, read_curves, simulate_cp_dataset
from microprint.mechanics.load import LoadStep, uniaxial_tension
from microprint.mechanics.materials import load_material
from microprint.mechanics.reference import open_reference
from microprint.notebook import Standing, findings, open_notebook
from microprint.plots import frames, show, style, table
from microprint.plots import mechanics as draw
from microprint.plots.crystals import CrystalExplorer, over_tilt, pull, tilted

style()
notebook = open_notebook(run=run, compute=compute, cp=cp)
settings, MPA = notebook.params.cp, 1e6

# %% [markdown]
# ## The law
#
# The deformation gradient splits into an elastic and a plastic part, $F = F_e F_p$; only the elastic one makes stress,
#
# $$S = \mathbb{C} : \tfrac12 (F_e^T F_e - I), \qquad P = F_e\, S\, F_p^{-T}.$$
#
# Plastic flow is shear on slip and twin systems with direction $d_s$ and plane normal $n_s$. The resolved stress
# $\tau_s = S : d_s \otimes n_s$ drives it against a resistance $\xi_s$,
#
# $$\begin{aligned}
#   \dot\gamma_s &= \dot\gamma_0 \left|\frac{\tau_s}{\xi_s}\right|^{n}, \\
#   \dot\gamma_t &= \dot\gamma_0 \left\langle\frac{\tau_t}{\xi_t}\right\rangle^{n} (1 - f), \\
#   \dot F_p F_p^{-1} &= \sum_s \operatorname{sgn}(\tau_s)\,\dot\gamma_s\, d_s \otimes n_s + \sum_t \dot\gamma_t\, d_t \otimes n_t .
# \end{aligned}$$
#
# Here $\dot\gamma_0$ is a reference rate and $n$ the stress exponent, large where the rate matters little. Slip acts in both
# senses, twinning in one: $\langle x\rangle$ is $x$ where it is positive, else zero. The twinned volume fraction
# $f = \sum_t \gamma_t/\gamma_\text{tw}$ is the shear of each twin system over that of a finished twin, summed. Slip hardens slip:
#
# $$\dot\xi_s = h_0 \left(1 - \frac{\xi_s}{\xi_\infty + f_\text{sat} \sqrt f}\right)^{a} \sum_r h_{sr} \dot\gamma_r,$$
#
# summed over the slip systems $r$, with a factor $h_{sr}$ for what system $r$ does to system $s$, and a modulus $h_0$ that fades by the
# exponent $a$ as the saturation resistance $\xi_\infty$ comes near. Twinning raises the saturation by $f_\text{sat} \sqrt f$. Twins harden by
# terms of their own: by the slip and by the twinning that have been, each with its modulus.
# All rates are taken at the end of a time step (backward Euler), the way DAMASK does it. Magnesium slips easily on its
# basal plane and hardly elsewhere: that is what makes its grains so unequal, and the orientation so important.

# %%
material = load_material(settings.material)
resistance = shear_by_family(material, material.xi_0[: material.slips], material.xi_0[material.slips :])  # summed over systems
count = shear_by_family(material, torch.ones(material.slips), torch.ones(material.twins))
table([[name, "one sense" if "twin" in name else "both senses", int(count[name]), f"{sum_ / count[name] / MPA:.1f}"]
       for name, sum_ in resistance.items()],
      ["family", "shears in", "systems", "$ξ_0$ (MPa)"], f"The slip and twin systems of {material.name}, with their initial resistances $ξ_0$.")

# %% [markdown]
# ## Is the law right? Single crystals
#
# Pull single crystals along x and compare with DAMASK's results at the same 20 time steps. A crystal has no
# neighbours: law and boundary conditions alone are on trial. The lateral normal stresses vanish; mean shear deformation is held at
# zero, so a tilted crystal also carries shear stress.
#
# How close is close? VEs of one texture differ in stress by some per cent (below), and that is what a surrogate has to learn. An error
# of $5\cdot10^{-4}$ is a hundredth of it: the tolerance here, as in the tests of the engine, and the dash-dotted line below. The first call
# compiles the law, for half a minute.

# %%
TOLERANCE = 5e-4
with open_reference() as reference:
    case = reference["single_crystals/Mg/tension"]
    quaternions, P_damask = case["quaternion"][:], case["P"][:, :, 0, 0]
ids = np.zeros((len(quaternions), 2, 2, 2), dtype=int)
crystals = simulate_cp(ids, quaternions[:, None], "Mg")
P_ours = crystals.P[:, :, 0, 0].numpy()
strain = 100 * (crystals.F[0, :, 0, 0].numpy() - 1)
c_deg = np.degrees(np.arccos(orientations.to_matrix(quaternions)[:, 2, 0].abs().clamp(max=1).numpy()))
curves = {f"c at {c_deg[k]:.0f}° to the load": (P_ours[k] / MPA, P_damask[k] / MPA) for k in c_deg.argsort()}
crystal_error = np.abs(P_ours[:, 1:] / P_damask[:, 1:] - 1).max()
hard, soft = P_ours[:, -1].argmax(), P_ours[:, -1].argmin()
hardness = P_ours[hard, -1] / P_ours[soft, -1]
show(draw.against_reference(strain, curves, TOLERANCE, "Single crystals of Mg, pulled along x"),
     f"Stress of {len(curves)} single crystals: lines are ours, circles DAMASK's. The hardest of these has its c axis at {c_deg[hard]:.0f}° to the load and "
     f"carries {hardness:.1f} times as much as the softest, at {c_deg[soft]:.0f}°; they are turned differently about c, too. Below, the relative difference of the two codes: "
     f"{crystal_error:.1e} at worst.")

# %% [markdown]
# ## A crystal in your hand
#
# Why so unequal? Turn one. Bunge's angles turn the crystal about z by $\varphi_1$, about its new x axis by $\Phi$, and about its
# new z axis by $\varphi_2$. Its c axis then points along $(\sin\varphi_1\sin\Phi,\,-\cos\varphi_1\sin\Phi,\,\cos\Phi)$ in the sample, so that
# $\varphi_1=\Phi=90°$ lays it along the load. With c along the load or straight across it the basal planes feel no shear stress at all; between,
# they feel shear stress, most at 45°. The load forbids shear of the crystal as a whole. At 45° basal slip needs none; at other angles it
# does, and this constraint, not Schmid's factor, makes the stress rise so fast (exercise 1 takes it away). The slider tilts the c axis
# from the load towards z. In JupyterLab there is a panel below it, for other loads and all three angles.

# %%
explorer, tilts = CrystalExplorer(material), range(0, 91, 10)
crystal = pull(material, [tilted(a) for a in tilts])
shears = shear_by_family(material, crystal.gamma_sl[:, -1], crystal.gamma_tw[:, -1])
runs = [(name, [tilts[k] for k in group]) for name, group in groupby(range(len(tilts)), lambda k: max(shears, key=lambda n: float(shears[n][k])))]
frames([explorer.picture("tension", tilted(a)) for a in tilts], [f"{a}°" for a in tilts],
       f"A crystal of {material.name} whose third axis (c) is turned from the load towards z. Above: its place, its basal faces yellow; and "
       "the shear that each family of systems has made at the end. Below: its curve in orange, in grey those of other angles. Most shear is that of "
       + ", then ".join(f"{name} ({' to '.join(f'{a}°' for a in dict.fromkeys((angles[0], angles[-1])))})" for name, angles in runs) + ".")
pressed = pull(material, [tilted(0.0)], "compression")
explorer.show("compression", tilted(0.0), "The same crystal pressed with c along the load: at the end its stress is "
              f"{-float(pressed.P[0, -1, 0, 0] / crystal.P[0, -1, 0, 0]):.1f} times that of tension (exercise 1 tells why).")

# %% [markdown]
# ## Is the mean stress right? Volume elements
#
# In a polycrystal every grain deforms as its neighbours allow: $\nabla\cdot P = 0$ in a periodic cell. The solver
# holds displacements as Fourier coefficients and corrects them by Newton's method; each linear problem is solved by
# conjugate gradients (CG) with the Green operator of an isotropic medium as preconditioner. Where the first increment of a step of the
# load goes far beyond yield, as in soft metals, it is divided into *substeps*. An increment that does not converge is halved: a
# *cutback*. The result counts both.
# DAMASK takes another way to the same equations, so agreement is a test of both. Compared here is the mean stress; the field itself, of
# two VEs, is compared by the tests of the engine (`tests/mechanics/test_verify.py`).

# %%
with open_reference() as reference:
    cases = {name: (g["grain_id"][:].astype(int), g["quaternion"][:], g["P"][:, 0, 0]) for name, g in reference["volume_elements"].items()
             if g.attrs["material"] == "Mg"}
begin = time.perf_counter()
elements = simulate_cp(*(np.stack([case[i] for case in cases.values()]) for i in (0, 1)), "Mg", device=notebook.device)
seconds = time.perf_counter() - begin
curves = {name: (ours / MPA, case[2] / MPA) for (name, case), ours in zip(cases.items(), elements.P[:, :, 0, 0].numpy())}
errors = {name: np.abs(ours[1:] / theirs[1:] - 1).max() for name, (ours, theirs) in curves.items()}
show(draw.against_reference(strain, curves, TOLERANCE, "Volume elements of Mg, $8^3$ voxels and 40 grains"),
     f"Mean stress of {len(curves)} VEs of magnesium, named by texture and seed. In basal ones c axes are scattered about z, across the load. "
     f"Below, the relative difference of the two codes: {max(errors.values()):.1e} at worst.")

# %%
rows = [[name, curves[name][1][-1], curves[name][0][-1], f"{error:.1e}"] for name, error in errors.items()]
display(table([*rows, [f"{len(quaternions)} single crystals", None, None, f"{crystal_error:.1e}"]],
    ["case", "DAMASK $P_{xx}$ at 0.01 (MPa)", "ours (MPa)", "worst relative error of any increment"],
    "DAMASK 3.0.2 against ours at equal grid and time steps."))
per_evaluation = 1e6 * seconds / (next(iter(cases.values()))[0].size * float(elements.evaluations.sum()))
table([["this run", cores(), len(cases) / seconds, f"{per_evaluation:.1f}"],
       ["DAMASK 3.0.2, one thread", 1, 1 / 4.9, "87"], ["DAMASK 3.0.2, two threads", 2, 1 / 2.9, None]],
      ["solver", "threads", "VEs per s", "µs per voxel and evaluation"],
      "Speed at $8^3$ voxels and 20 increments, start-up excluded. DAMASK was timed on another two-core machine: for orientation only.")

# %% [markdown]
# ## The data set
#
# One call simulates all hexagonal sets, in chunks of `chunk` VEs. Each chunk is saved when it is finished; if the call is killed
# midway, the next one does only the chunks that are missing. A VE that does not converge is kept with its reason,
# left out of training, and counted in the table.
#
# As many chunks are computed at once as the machine has cores, one on each: `compute: {engine: local}`. With
# `engine: dask` they go to the workers of a cluster instead, and this cell collects what comes back:
#
# | `scheduler` | workers |
# | --- | --- |
# | `local` | processes on this machine, `workers` of them |
# | `tcp://host:8786` | whatever has joined that scheduler by `dask worker tcp://host:8786`, one with `--resources GPU=1` for each GPU |
# | `slurm` | `workers` jobs, replaced when they end; queue, cores, memory and time as in `~/.config/dask/jobqueue.yaml` |
#
# Workers need this package and see the run's folder under the same path. When one dies, another takes its chunk over.
# A chunk is computed on one thread wherever it runs, so the results agree to the last bit between the engines.
# `python run_all.py --dry-run` estimates the time beforehand.

# %%
notebook.do(simulate_cp_dataset)
KEYS = ("converged", "evaluations", "linear", "cutbacks", "gamma_sl", "gamma_tw")
with notebook.open("polycrystals.h5") as polycrystals, notebook.open("cp.h5", kind="cp") as file:
    sets = {name: {key: file[name][key][:] for key in KEYS} for name in SETS}
    reasons, notes = (Counter(text for name in SETS for text in file[name][key].asstr()[:] if text) for key in ("reason", "note"))
    curves = {name: read_curves(polycrystals, file, name) for name in SETS}
    edge_um = 1e6 * float(polycrystals["hexagonal/train"].attrs["edge_m"])

# %%
def number(count: int) -> str:
    return f"{count} VE{'s' * (count != 1)}"


everything = {key: np.concatenate([sets[name][key] for name in SETS]) for key in KEYS}
good = everything["converged"]
stress = torch.cat([c.stress for c in curves.values()]).numpy() / MPA
strain = 100 * curves["train"].strain.numpy()
display(table([[name, len(s["converged"]), int(s["converged"].sum()), int((~s["converged"]).sum()), int(s["cutbacks"].sum()),
                s["evaluations"].mean(), s["linear"].mean()] for name, s in sets.items()],
      ["set", "VEs", "converged", "failed", "cutbacks", "law evaluations per VE", "CG iterations per VE"],
      f"Convergence. Reasons of failure: {'; '.join(f'{number(n)}: {r}' for r, n in reasons.most_common()) or 'none failed'}. "
      + "".join(f"Of {number(n)} {note}. " for note, n in notes.most_common(3)) +
      "S1: 48,401 of 50,000 converged (96.8 %), of other VEs and on 64³ voxels."))
show(draw.work({name: (s["evaluations"], s["linear"]) for name, s in sets.items()}),
     f"The solver's work for each VE, all {settings.increments} increments together; bars of the three sets are stacked. The law is evaluated "
     f"{everything['evaluations'].mean() / settings.increments:.1f} times an increment on average: Newton's method goes few steps beyond its start.")

# %% [markdown]
# ## What makes one VE stronger than another?
#
# All VEs are drawn from the same random texture, yet forty grains leave much to chance. We colour each curve by the
# volume average of $c^2$, where $c$ is the cosine between a grain's c axis and the load: a first guess at the cause.
#
# > **Before you look**: how much of the difference between VEs of one texture does $c^2$ alone explain, at the first step and well beyond yield? And is a VE
# > stronger with its c axes along the load, or across it?

# %%
c_squared = torch.cat([texture_coefficients(c.elements, c.component[0])[:, 0] for c in curves.values()]).numpy()
sign = np.corrcoef(c_squared, stress[:, -1])[0, 1]
curves_figure = draw.curve_family(strain, stress, c_squared, "volume mean of $c^2$", "train, validation and test")
show(curves_figure, f"Stress-strain curves of all VEs of the three sets, coloured by their mean $c^2$: 0 is all c axes across the load, 1 all along it, "
     f"1/3 the mean of a random texture. Where $c^2$ is high, the stress tends to be {'low' if sign < 0 else 'high'}.")

# %%
steps = [max(1, round(share * (len(strain) - 1))) for share in (0.05, 0.1, 0.5, 1.0)]
r_squared = {i: np.corrcoef(c_squared, stress[:, i])[0, 1] ** 2 for i in steps}
table([[f"{strain[i] / 100:.4f}", r_squared[i], stress[:, i].mean(), stress[:, i].std(ddof=1), 100 * stress[:, i].std(ddof=1) / stress[:, i].mean(),
        stress[:, i].min(), stress[:, i].max()] for i in r_squared],
      ["strain", "$R^2$ of a line in $c^2$", "mean (MPa)", "sd (MPa)", "sd/mean (%)", "least (MPa)", "greatest (MPa)"],
      f"Spread over {number(len(stress))}. The standard deviation (sd) is the error of the trivial baseline: a surrogate that always says the mean.")

# %% [markdown]
# The spread is what notebook 06 has to explain, and it is small: quoting a surrogate's error relative to the *stress*
# flatters it; relative to this *spread* is honest. The second column shows how far one texture coefficient gets: nowhere at the first
# step, which is elastic but for grains whose basal planes feel the most shear. There magnesium is nearly isotropic and hardly any VE differs from another; and what little
# anisotropy it has is no matter of $c^2$ alone, for a crystal is softest with c between along and across the load.
#
# ## Many textures, crystals and paths
#
# One texture, one metal and one load make a narrow test. So we also simulate VEs whose textures come from families, each with a
# sharpness (standard deviation of 5° to 30° about each axis) that is drawn for every VE anew. For hexagonal metals:
#
# - `random`: no texture; `mixed`: one of those below, with random grains among its own;
# - `basal`: c along z, across the load, as in a rolled sheet;
# - `split`: as `basal`, but half of the c axes tilted towards the load, half against it, by 15° to 40°, one angle for each VE;
# - `extruded`: an a axis along the load, c anywhere across it;
# - `axial`: c along the load; `prismatic`: c along y and an a axis along the load.
#
# For cubic metals: random and mixed, cube, Goss, and fibres with ⟨100⟩ or ⟨111⟩ along the load. Further hexagonal metals are pulled in the
# same VEs, cubic ones in VEs of their own. And the first metal goes through load paths: `tension` along x, `compression` along y, `shear` xy; tension along x
# that turns back a little (`unload`), ends in compression (`reversal`), goes on along y (`turn`) or ends where it began (`cyclic`);
# and a `walk` at random.

# %%
notebook.do(campaigns.generate_textured_polycrystals)
notebook.do(campaigns.simulate_campaign)
materials = campaigns.campaign_materials(settings)
with notebook.open("textured.h5") as textured, notebook.open("campaign.h5") as campaign:
    groups = {(name, part): campaigns.read_campaign(textured, campaign, name, part) for name in materials for part in ("train", "test")}
    loads = campaigns.read_paths(textured, campaign)
    why = Counter(text for text in campaign["paths/reason"].asstr()[:] if text)
i, j = curves["train"].component
ends = {key: c.P[:, -1, i, j].numpy() / MPA for key, c in groups.items()}
LATTICES = {"hP": "hexagonal", "cF": "cubic", "cI": "cubic"}
display(table([[f"{name}, {part}", LATTICES[materials[name].lattice], len(x) + groups[name, part].left_out, groups[name, part].left_out, x.mean(), x.min(), x.max()]
               for (name, part), x in ends.items()],
              ["set", "crystal", "VEs", "failed", "mean (MPa)", "least (MPa)", "greatest (MPa)"],
              "Stress at the end of the one load, all families of textures together."))
kinds = {kind: [c for c in loads if c.kind == kind] for kind in dict.fromkeys(c.kind for c in loads)}
lost = {kind: sum(c.left_out for c in some) for kind, some in kinds.items()}
simulated = sum(len(c.P) + c.left_out for c in loads)
table([[kind, len(some), sum(len(c.P) + c.left_out for c in some), lost[kind]] for kind, some in kinds.items()], ["load path", "paths", "VEs", "failed"],
      f"Load paths of {next(iter(materials))}: the fixed kinds once each, then random walks. "
      f"Reasons of failure: {'; '.join(f'{number(n)}: {text}' for text, n in why.most_common()) or 'none failed'}.")

# %%
tables = {}
for part in ("train", "test"):
    group = groups[next(iter(materials)), part]
    own, along = np.array(group.families), group.P[..., i, j].numpy() / MPA
    tables[part] = {name: along[own == name] for name in dict.fromkeys(group.families)}
means = {name: np.concatenate([part[name] for part in tables.values() if name in part])[:, -1].mean() for name in tables["train"]}
weak, *_, second, strong = sorted(means, key=means.get)
show(draw.families(strain, tables),
     f"Families of textures of {next(iter(materials))}. Left: their mean curves. Right: the stress at the end of every VE, those for "
     f"training above those for testing. At the end the weakest family is {weak} ({means[weak]:.0f} MPa), the strongest are {strong} ({means[strong]:.0f}) and {second} ({means[second]:.0f}).")

# %% [markdown]
# ## Inside one VE
#
# The mean hides a lively field: stress differs from grain to grain and within grains. And it hides who does the work: the shear of each family of
# systems, beside the share of all systems that the family has.

# %%
first, component = curves["train"].elements[:1], curves["train"].component
inside = simulate_cp(first.grain_id, first.quaternion, material, curves["train"].load,
                     scheme=settings.scheme, fields=True, device=notebook.device)
field = inside.cauchy_field[(0, ..., *component)].numpy() / MPA
symbol = rf"$\sigma_{{{''.join('xyz'[i] for i in component)}}}$"
show(draw.stress_slice(first.grain_id[0].numpy(), field, f"Cauchy stress {symbol}", edge_um),
     f"Cauchy stress along the load in the first training VE, at the end. Left: a section, white lines between grains. Right: all {field.size} voxels; "
     f"their standard deviation is {field.std():.1f} MPa, {100 * field.std() / field.mean():.0f} % of the mean.")
shear = shear_by_family(material, *(torch.from_numpy(everything[key][good][:, -1]) for key in ("gamma_sl", "gamma_tw")))
total = sum(values.mean() for values in shear.values())
shares = {name: 100 * float(values.mean() / total) for name, values in shear.items()}
table([[name, share, 100 * int(count[name]) / sum(map(int, count.values()))] for name, share in shares.items()],
      ["family", "share of all shear (%)", "share of all systems (%)"], f"Who shears, mean of {len(stress)} VEs, at the end: the summed shear of a family over that of all.")

# %%
grains = float(torch.cat([c.elements.grains for c in curves.values()]).double().mean())
last, spread = stress[:, -1], 100 * stress[:, -1].std(ddof=1) / stress[:, -1].mean()
c_along = 100 * P_ours[c_deg.argmin(), -1] / P_ours[hard, -1]
worst, failures, most = max(crystal_error, *errors.values()), sum(lost.values()), max(shares, key=shares.get)
metrics = {"05.reference.ours.max_relative_error": worst, "05.random.ours.converged_pct": 100 * good.mean(), "05.random.ours.failed": (~good).sum(),
           f"05.random.ours.mean_mpa_at_{settings.strain:g}": last.mean(), f"05.random.ours.sd_mpa_at_{settings.strain:g}": last.std(ddof=1),
           "05.random.ours.spread_over_tolerance": spread / 100 / TOLERANCE, "05.crystals.hardest_over_softest": hardness, "05.crystals.c_along_over_hardest_pct": c_along,
           "05.paths.simulated": simulated, "05.voxels_per_grain": settings.edge**3 / grains} | {f"05.families.{name}.mean_mpa": mean for name, mean in means.items()}
unfinished = (f"{failures} of {simulated} simulations along load paths did not converge ({', '.join(f'{k}: {n}' for k, n in lost.items() if n)}); "
              "they are left out, so that a test on paths is a test on those that the solver masters.") if failures else ""
findings(
    unfinished,
    f"**DAMASK**: the worst relative error of any mean stress, of {len(errors)} polycrystals and {len(quaternions)} single crystals at every increment, is "
    f"{worst:.1e}, {'within' if worst < TOLERANCE else 'beyond'} the tolerance of {TOLERANCE:g}; the standard deviation over VEs of one texture is {metrics['05.random.ours.spread_over_tolerance']:.0f} times the tolerance.",
    f"**Crystals**: of these {len(quaternions)} crystals of magnesium, turned differently about c, too, the hardest has its c axis at {c_deg[hard]:.0f}° to the load, the softest at {c_deg[soft]:.0f}°; they differ by a factor of {hardness:.1f}. "
    f"With c along the load it carries {c_along:.0f} % of the hardest, as tension along c opens twins.",
    f"**The data set**: {100 * good.mean():.1f} % of {len(good)} VEs of random texture converged, {(~good).sum()} failed.",
    f"**The spread**: VEs of one texture differ by {spread:.1f} % (standard deviation) in flow stress, from {last.min():.0f} to {last.max():.0f} MPa. "
    "That, not the stress, is the yardstick for every surrogate of notebook 06.",
    f"**The cause**: VEs with c axes nearer to the load are {'weaker' if sign < 0 else 'stronger'}. A line in $c^2$ alone explains {100 * r_squared[steps[-1]]:.0f} % of the variance "
    f"at the end, and {100 * r_squared[steps[0]]:.0f} % at a strain of {strain[steps[0]] / 100:g}. Over families, means go from {means[weak]:.0f} ({weak}) to {means[second]:.0f} ({second}) and {means[strong]:.0f} MPa ({strong}).",
    f"**Who shears**: {most}, with {shares[most]:.0f} % of all shear.",
    f"**The grid**: {settings.edge}³ voxels, {metrics['05.voxels_per_grain']:.0f} for a grain.")

# %% [markdown]
# **Limits**
#
# - The grid is that of the fingerprint, and coarse: the last finding tells how many voxels a grain has. 06 has finer ones.
# - Time steps are finite: exercise 2 shows by how much the knee of the curve is off. That is more than the error which 06 reports of a
#   corrected surrogate; the error of the grid is about as large as the surrogate's. So 06 is true to this solver at this grid and step,
#   not to the material.
# - DAMASK is met on this page with magnesium in tension, at 8³ voxels. Other metals, finer grids, small steps, shear, biaxial and reversed loads and unloading are held to it by
#   the tests of the engine (`tests/data/damask_*.h5`), random walks by none.
# - Whether S1 used these very parameters of magnesium is not known: its reference for them could not be read.
#
# **Next**: notebook 06 learns the law of the crystal from single crystals, corrects and judges it by these curves, and holds it against
# regressions on fingerprints.

# %%
notebook.close("05", metrics=metrics, figure=curves_figure, caption="Stress over strain, a line a volume element, coloured by how near its c axes are to the load (volume mean of c²).", missed=[unfinished] if unfinished else [], standings=[
    Standing(f"worst relative error of the mean stress against DAMASK (tolerance {TOLERANCE:g})", worst),
    Standing("VEs of random texture that converge (S1's: others, at 64³ voxels)", 100 * good.mean(), "%", published=96.8, higher_is_better=True)])

# %% [markdown]
# ## Exercises
#
# **1. The hardest crystal.** Turn a crystal of magnesium from c along the load to c across it, in steps of 5°, in tension and in
# compression. Where is it hardest, where softest? Why do the two loads part ways at the ends? And how much of the stress between is due to
# the shear that the load forbids? `pull` takes Bunge angles in degrees, `tilted(angle)` gives them, and its load may be a list of `LoadStep`.

# %% tags=["solution"]
angle, x = np.arange(0, 91, 5.0), float("nan")
shearing = LoadStep(dot_F=[[1e-3, x, x], [0, x, x], [0, 0, x]], P=[[x, 0, 0], [x, 0, 0], [x, x, 0]])  # every other stress is nil
ways = {"tension": "tension", "compression": "compression", "tension, free to shear": [shearing]}
ends = {name: np.abs(pull(load_material("Mg"), [tilted(a) for a in angle], load).P[:, -1, 0, 0].numpy()) / MPA for name, load in ways.items()}
show(over_tilt(ends, angle), "Stress of a crystal of magnesium at a strain of 0.01, in tension and in compression, over the angle of its c axis; and in "
     "tension where it may shear as it likes.")
pulled, pushed, free = ends.values()
top = " and ".join(f"{ends[load].max():.0f} MPa at {angle[ends[load].argmax()]:.0f}° in {load}" for load in ("tension", "compression"))
print(f"Hardest with {top}: pulled across c prismatic planes have to slip, pressed along c pyramidal ones. Softest at {angle[pulled.argmin()]:.0f}° in tension and "
      f"{angle[pushed.argmin()]:.0f}° in compression, where basal planes feel the most shear stress, and basal slip needs no shear of the whole crystal. "
      f"Off 45° it does, which the load forbids: at {angle[12]:.0f}° tension takes {pulled[12]:.0f} MPa, and {free[12]:.0f} MPa where the crystal is free to shear. "
      f"Compression takes {pushed[0] / pulled[0]:.1f} times the stress of tension with c along the load, and "
      f"{pushed[-1] / pulled[-1]:.1f} times with c across it: tension twins stretch the crystal along c, and never shrink it.")

# %% [markdown]
# **2. How small a time step?** Simulate a random VE of the reference with 10 to 160 increments and compare the stress at strains of 0.003, about the knee,
# and 0.01. By which factor does the error shrink where the step is halved? `cases` has the VEs of the reference by their names, each its grain ids,
# its quaternions and its stresses; `uniaxial_tension` takes `increments`.

# %% tags=["solution"]
ids, quaternion, _ = next(case for name, case in cases.items() if "random" in name)
counts = (10, 20, 40, 80, 160)
answers = [simulate_cp(ids[None], quaternion[None], "Mg", uniaxial_tension(increments=n)).P[0, :, 0, 0].numpy() / MPA for n in counts]
knee, end = np.array([P[3 * n // 10] for n, P in zip(counts, answers)]), np.array([P[-1] for P in answers])
off = [100 * (values / (2 * values[-1] - values[-2]) - 1) for values in (knee, end)]  # from the limit of a first-order method
display(table([[str(n), k, o, e, p] for n, k, o, e, p in zip(counts, knee, off[0], end, off[1])],
              ["increments", "at 0.003 (MPa)", "off (%)", "at 0.01 (MPa)", "off, at the end (%)"], "One VE; off from what the last two runs lead to, if halving a step halves the error."))
print(f"With 20 increments the knee is {off[0][1]:.2f} % off, the end {off[1][1]:.2f} %. From 20 to 40 increments the knee's error shrinks by a factor of "
      f"{off[0][1] / off[0][2]:.1f}: about two, as befits a first-order method such as backward Euler.")

# %% [markdown]
# **3. How many VEs make a material?** How many VEs of random texture need to be averaged for the mean stress at the end to be within 1 MPa of the truth, in
# 95 of 100 cases? Estimate it from the spread, then try it: draw so many of the simulated VEs a thousand times,
# with replacement. `last` has their stresses at the end, in MPa.

# %% tags=["solution"]
needed = int(np.ceil((1.96 * last.std(ddof=1) / 1.0) ** 2))
drawn = np.random.default_rng(0).choice(last, (1000, needed)).mean(1)
print(f"The mean of n VEs scatters by sd/sqrt(n). With sd = {last.std(ddof=1):.2f} MPa that makes n = {needed} VEs of forty grains. "
      f"Of 1,000 draws of so many, {100 * (np.abs(drawn - last.mean()) < 1).mean():.0f} % lie within 1 MPa of their own mean, which "
      f"stands for the truth, and is known to {1.96 * last.std(ddof=1) / len(last) ** 0.5:.1f} MPa itself: one VE is not a material, it is one sample of it.")

# %% [markdown]
# **In three lines**
#
# - A crystal's strength is a matter of its c axis and of which systems that lets work; a polycrystal's is what forty of them make of each other.
# - The solver is trusted because it was compared with another one, increment by increment, from one crystal to the mean stress of forty,
#   as far as it was: here for magnesium in tension, in the tests for more.
# - Labels differ by a few per cent within a texture: whoever learns them has to be measured by that.
