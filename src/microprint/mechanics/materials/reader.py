"""DAMASK's material YAML to arrays per slip and twin system; every unusable value is refused by its name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from microprint.errors import UserError
from microprint.mechanics import elasticity, slip_systems
from microprint.mechanics.slip_systems import interactions

_ELASTIC = {"cF": ("C_11", "C_12", "C_44"), "cI": ("C_11", "C_12", "C_44"), "hP": ("C_11", "C_12", "C_13", "C_33", "C_44")}


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
    h_0_tw_tw: Tensor  # (twins,) hardening by twins
    h_0_tw_sl: Tensor  # (twins,) hardening by slip
    gamma_char: Tensor  # (twins,) twinning shear
    h_sl_sl: Tensor  # this and the next: interaction matrices, the first index hardens
    h_sl_tw: Tensor
    h_tw_sl: Tensor
    h_tw_tw: Tensor
    source: Mapping[str, Any]  # the phase as DAMASK's file holds it

    def to(self, device: torch.device | str) -> Material:
        """The same material with its arrays on a device."""
        arrays = {f.name: getattr(self, f.name).to(device) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        return replace(self, **arrays)


def load_material(source: str | Path | Mapping[str, Any] | Material) -> Material:
    """A material that comes with the package (``"Mg"``, ``"Cu"``), or a DAMASK YAML file's first phase.

    Raises `UserError` for an unknown name, an unreadable file, and a missing or unusable parameter.
    """
    if isinstance(source, Material):
        return source
    if isinstance(source, Mapping):
        return parse_material(source, "material")
    path = material_file(source)
    try:
        return parse_material(yaml.safe_load(path.read_text()), path.name)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"is not valid YAML ({' '.join(str(error).split())})", path) from None


def material_file(source: str | Path) -> Path:
    """File of a material that comes with the package, or the user's own; raises `UserError` where there is neither."""
    shipped = {path.stem: path for path in Path(__file__).parent.glob("*.yaml")}
    path = shipped.get(str(source), Path(source))
    if not path.is_file():
        raise UserError(
            f"no material is called {str(source)!r} and no such file can be read",
            remedy=f"Give a DAMASK material file, or one of {', '.join(sorted(shipped))}",
        )
    return path


def parse_material(content: Mapping[str, Any], where: object) -> Material:
    """Material of a mapping ``{name: phase}`` or a whole DAMASK material file with a ``phase`` section."""
    phases = content.get("phase", content) if isinstance(content, Mapping) else None
    if not isinstance(phases, Mapping) or not phases or not isinstance(next(iter(phases.values())), Mapping):
        raise UserError("holds no phase", where, "Write NAME: {lattice: ..., mechanical: {elastic: ..., plastic: ...}}")
    name, phase = next(iter(phases.items()))
    return _Reader(name, phase, where).material()


class _Reader:
    def __init__(self, name: str, phase: Mapping[str, Any], where: object):
        self.name, self.phase, self.where = name, phase, where
        mechanical = phase.get("mechanical") or {}
        self.elastic, self.plastic = mechanical.get("elastic") or {}, mechanical.get("plastic") or {}
        self.lattice = phase.get("lattice")
        if self.lattice not in _ELASTIC:
            raise self.refuse(f"lattice = {self.lattice!r} is not supported", f"Use one of {', '.join(_ELASTIC)}")
        self.c_over_a = self.number(phase, "c/a") if self.lattice == "hP" else 1.0
        if self.plastic and self.plastic.get("type") != "phenopowerlaw":
            raise self.refuse(f"plastic law {self.plastic.get('type')!r} is not supported", "Use phenopowerlaw")
        self.counts = {mode: self.families(mode) for mode in ("slip", "twin")}

    def refuse(self, what: str, remedy: str | None = None) -> UserError:
        return UserError(f"{self.name}: {what}", self.where, remedy)

    def material(self) -> Material:
        slips, twins = (sum(counts) for counts in self.counts.values())
        slip, twin = (lambda key, **k: self.per_system(key, "slip", **k)), (lambda key, **k: self.per_system(key, "twin", **k))
        schmid = [slip_systems.schmid_tensors(self.lattice, mode, self.counts[mode], self.c_over_a) for mode in self.counts]
        return Material(
            name=str(self.name),
            lattice=self.lattice,
            c_over_a=self.c_over_a,
            stiffness=self.stiffness(),
            slips=slips,
            twins=twins,
            schmid=torch.cat(schmid),
            xi_0=torch.cat([slip("xi_0_sl"), twin("xi_0_tw")]),
            rate_0=torch.cat([slip("dot_gamma_0_sl"), twin("dot_gamma_0_tw")]),
            exponent=torch.cat([slip("n_sl"), twin("n_tw")]),
            xi_inf=slip("xi_inf_sl"),
            hardening_exponent=slip("a_sl"),
            h_0=slip("h_0_sl-sl", zero=True),
            f_sat=slip("f_sat_sl-tw", zero=True) if twins else torch.zeros(slips, dtype=torch.float64),
            h_0_tw_tw=twin("h_0_tw-tw", zero=True),
            h_0_tw_sl=twin("h_0_tw-sl", zero=True),
            gamma_char=slip_systems.twinning_shear(self.counts["twin"], self.c_over_a),
            h_sl_sl=self.interaction("h_sl-sl", "slip", "slip"),
            h_sl_tw=self.interaction("h_sl-tw", "slip", "twin"),
            h_tw_sl=self.interaction("h_tw-sl", "twin", "slip"),
            h_tw_tw=self.interaction("h_tw-tw", "twin", "twin"),
            source={self.name: self.phase},
        )

    def stiffness(self) -> Tensor:
        constants = [self.number(self.elastic, key) for key in _ELASTIC[self.lattice]]
        stiffness = (elasticity.hexagonal if self.lattice == "hP" else elasticity.cubic)(*constants)
        if torch.linalg.eigvalsh(stiffness)[0] <= 0:
            raise self.refuse("its elastic constants are not positive definite", "Check C_11, C_12, ...")
        return stiffness

    def families(self, mode: str) -> list[int]:
        key = "N_sl" if mode == "slip" else "N_tw"
        counts, limits = self.plastic.get(key, []), slip_systems.sizes(self.lattice, mode)
        fits = isinstance(counts, list) and len(counts) <= len(limits)
        if not fits or any(not isinstance(n, int) or not 0 <= n <= most for n, most in zip(counts, limits)):
            raise self.refuse(f"{key} = {counts} is out of range", f"{self.lattice} has {limits} {mode} systems by families")
        return counts

    def per_system(self, key: str, mode: str, zero: bool = False) -> Tensor:
        counts = self.counts[mode]
        values = self.plastic.get(key)
        if values is None and sum(counts):
            raise self.refuse(f"{key} is missing")
        values = values if isinstance(values, list) else [values]
        if sum(counts) and len(values) != len(counts):
            raise self.refuse(f"{key} has {len(values)} values", f"Give one for each of the {len(counts)} families")
        used = slip_systems.families_of(counts)
        for family in used:
            self.check(f"{key}[{family}]", values[family], zero)
        return torch.tensor([float(values[family]) for family in used], dtype=torch.float64)

    def number(self, section: Mapping[str, Any], key: str) -> float:
        if key not in section:
            raise self.refuse(f"{key} is missing")
        self.check(key, section[key], zero=False)
        return float(section[key])

    def check(self, key: str, value: Any, zero: bool) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.refuse(f"{key} = {value!r} is not a number", "YAML wants a dot and a sign with an exponent: 1.0e+6")
        if value < 0 or (value == 0 and not zero):
            raise self.refuse(f"{key} = {value} is not {'zero or ' if zero else ''}positive")

    def interaction(self, key: str, hardened: str, acting: str) -> Tensor:
        rows, columns = self.active(hardened), self.active(acting)
        if not rows or not columns:
            return torch.zeros(len(rows), len(columns), dtype=torch.float64)
        values = self.plastic.get(key)
        if not isinstance(values, list) or not values:
            raise self.refuse(f"{key} is missing")
        kinds = interactions.kinds(self.lattice, hardened, acting)[rows][:, columns]
        if kinds.max() > len(values):
            raise self.refuse(f"{key} has {len(values)} values", f"{self.lattice} with these families needs {int(kinds.max())}")
        matrix = torch.zeros(kinds.shape, dtype=torch.float64)
        for kind in kinds.unique().tolist():
            self.check(f"{key}[{kind - 1}]", values[kind - 1], zero=True)
            matrix[kinds == kind] = float(values[kind - 1])
        return matrix

    def active(self, mode: str) -> list[int]:
        """Places of the systems in use among all of the lattice."""
        sizes = slip_systems.sizes(self.lattice, mode)
        return [sum(sizes[:family]) + i for family, count in enumerate(self.counts[mode]) for i in range(count)]
