"""One phase as the solvers take it: arrays per slip and twin system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Material:
    """One phase: elasticity and power law. Slip systems stand before twin systems; stresses in Pa, rates in 1/s."""

    name: str
    lattice: str
    c_over_a: float  # 1 for cubic lattices
    stiffness: Tensor  # (6, 6) Voigt, crystal axes
    slips: int
    twins: int
    schmid: Tensor  # (slips + twins, 3, 3) direction (x) normal, crystal axes
    xi_0: Tensor  # (slips + twins,) initial resistance
    rate_0: Tensor  # (slips + twins,) reference rate
    exponent: Tensor  # (slips + twins,) of the stress
    xi_inf: Tensor  # (slips,) saturation resistance
    hardening_exponent: Tensor  # (slips,) a
    h_0: Tensor  # (slips,) h_0_sl-sl
    f_sat: Tensor  # (slips,) f_sat_sl-tw
    c_1: Tensor  # (slips,) factor and
    c_2: Tensor  # (slips,) power by which twins raise h_0
    h_0_tw_tw: Tensor  # (twins,) hardening by twins
    h_0_tw_sl: Tensor  # (twins,) hardening by slip
    c_3: Tensor  # (twins,) power of all slip in the hardening by slip
    c_4: Tensor  # (twins,) power of the twinned fraction in the hardening by twins
    gamma_char: Tensor  # (twins,) twinning shear
    h_sl_sl: Tensor  # this and the next: interaction matrices, the first index hardens
    h_sl_tw: Tensor
    h_tw_sl: Tensor
    h_tw_tw: Tensor
    source: Mapping[str, Any]  # {name: phase}, plain values from which DAMASK and `load_material` read the same material

    def to(self, device: torch.device | str) -> Material:
        """The same material with its arrays on a device."""
        arrays = {f.name: getattr(self, f.name).to(device) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        return replace(self, **arrays)
