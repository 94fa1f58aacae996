"""The step that learns a crystal's law from single crystals under random strains; not one polycrystal is needed."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch
from torch import Tensor

from microprint.errors import UserError
from microprint.mechanics.campaign import campaign_files, campaign_load, campaign_materials
from microprint.mechanics.load import plain
from microprint.mechanics.single_crystals import moduli, strained_at_random
from microprint.networks.crystal_law import CrystalEnsemble
from microprint.steps import Job, step
from microprint.training import Schedule, fit, seeded

VALIDATION = 0.05  # share of the crystals that choose the best epoch
STRAIN_UNIT = 0.002  # of the law's insides: about the elastic strain of a metal that flows
STRAIN = 1.2  # Frobenius norm of a crystal's strain over the strain of the load, sqrt(3/2) in a uniform isochoric tension
LONGER = 2  # paths of the training over the increments of the load


@dataclass(frozen=True)
class CrystalSamples:
    """Single crystals (N, T + 1, 5), in the law's units, for `microprint.training.fit`."""

    strain: Tensor
    stress: Tensor

    def __len__(self) -> int:
        return len(self.strain)

    def batch(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """``strain`` and ``stress`` (B, T + 1, 5)."""
        rows = index.to(self.strain.device)
        return {"strain": self.strain[rows], "stress": self.stress[rows]}


LAW = ("law_directions", "law_members", "law_crystals", "law_start", "law_epochs", "law_batch_size",
       "law_learning_rate", "iterations")  # fmt: skip


@step(
    reads=(
        *(f"cp.{name}" for name in ("material", "others", "load", "axis", "strain", "rate", "increments")),
        *(f"surrogate.{name}" for name in LAW),
    ),
    outputs=("crystal_law_{material}.safetensors",),
    files=campaign_files,
)
def train_crystal_law(job: Job, *, material: str) -> None:
    """Learn the law of one of the study's materials, a few times over."""
    known = campaign_materials(job.params.cp)
    if material not in known:
        raise UserError(f"{material} is no material of this study", remedy=f"Choose among {', '.join(known)}")
    settings, cp, seed = job.params.surrogate, job.params.cp, job.seed(f"crystal law of {material}")
    members = settings.law_members if material == next(iter(known)) else 1
    dt, size = abs(cp.strain) / cp.rate / cp.increments, STRAIN * abs(cp.strain) / cp.increments
    generator = torch.Generator().manual_seed(seed)
    crystals = strained_at_random(known[material], settings.law_crystals, LONGER * cp.increments, size, dt, generator)
    sizes = {"members": members, "directions": settings.law_directions}
    with seeded(seed):
        laws = CrystalEnsemble(**sizes)
    units = STRAIN_UNIT, crystals.stress.norm(dim=-1).mean().item()
    bulk, shear = moduli(known[material])
    laws.scale(*units, shear, bulk)
    strain, stress = ((x / unit).to(job.device) for x, unit in zip((crystals.strain, crystals.stress), units))
    cut = max(1, int(VALIDATION * len(strain)))
    laws.to(job.device).start(strain[cut:], stress[cut:], settings.law_start, generator)
    schedule = Schedule(
        settings.law_epochs, settings.law_batch_size, settings.law_learning_rate,
        decay="cosine", warmup=0.05, gradient_clip=1.0,
    )  # fmt: skip
    samples = CrystalSamples(strain[cut:], stress[cut:]), CrystalSamples(strain[:cut], stress[:cut])
    history = fit(job, laws, *samples, schedule, seed=seed, label=f"crystal law of {material}")
    sizes["directions"] = laws.cpu().prune(strain.cpu())
    config = {
        "kind": "surrogate",
        "material": material,
        "network": sizes,
        "load": json.dumps(plain(campaign_load(cp))),
        "iterations": settings.iterations,
        "dt": dt,
        "increments": LONGER * cp.increments,
        "crystals": len(strain),
        "history": history,
    }
    job.save_model(f"crystal_law_{material}.safetensors", laws.state_dict(), config)
