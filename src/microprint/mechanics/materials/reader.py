"""One phase in DAMASK's terms to arrays per slip and twin system; what is unusable, unknown or implausible is refused."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from microprint.errors import UserError
from microprint.mechanics import elasticity, slip_systems
from microprint.mechanics.materials.keys import CONSTANTS, TERMS, fault
from microprint.mechanics.materials.material import Material
from microprint.mechanics.slip_systems import interactions

ROOM = 293.15  # K, at which DAMASK evaluates elastic constants where no temperature is simulated


@dataclass(frozen=True)
class Limits:
    """Between which sizes a positive number is plausible, and what else to think of."""

    low: float = 0.0
    high: float = math.inf
    unit: str = ""
    remedy: str = "Mend the value"
    zero: bool = False  # whether nil is allowed, too


_STIFF = Limits(1e6, 1e13, " Pa", "Did you write GPa or MPa? DAMASK wants Pa")  # from gels to eight times diamond
_RATE = Limits(1e-20, 1e10, " /s")  # from the Earth's mantle to shock waves
_EXPONENT = Limits(1.0, 1e3)
_POWER, _POWER_OR_NONE, _FACTOR = Limits(high=100.0), Limits(high=100.0, zero=True), Limits(high=1e6, zero=True)
_ADDED = Limits(high=1e13, unit=" Pa", zero=True)
_AXES = Limits(1.0, 2.0)  # as in DAMASK
_TEMPERATURE = Limits(0.0, 1e4, " K", zero=True)


class Reader:
    """Reads a phase of plain values. What is meant, but DAMASK would not take as it was written, is put right in the phase."""

    def __init__(self, name: str, phase: dict[str, Any], where: object, temperature: float):
        self.name, self.phase, self.where, self.temperature = name, phase, where, temperature
        self.lattice = phase.get("lattice")
        if not isinstance(self.lattice, str) or self.lattice not in CONSTANTS:
            raise self.refuse(f"lattice = {self.lattice!r} is not supported", "Use one of cF (fcc), cI (bcc), hP (hcp)")
        self.refuse_unknown("phase", phase)
        self.c_over_a = self.axes_ratio()
        mechanical = self.section(phase, "mechanical")
        self.refuse_unknown("mechanical", mechanical)
        self.elastic, self.plastic = self.section(mechanical, "elastic"), self.power_law(mechanical)
        self.counts = {mode: self.families(key, mode) for key, mode in (("N_sl", "slip"), ("N_tw", "twin"))}
        if self.plastic and not sum(self.counts["slip"]):
            raise self.refuse("plastic: N_sl activates no slip system", "Give N_sl, or type: none for an elastic material")

    def refuse(self, what: str, remedy: str | None = None) -> UserError:
        return UserError(f"{self.name}: {what}", self.where, remedy)

    def material(self) -> Material:
        slip, twin = partial(self.per_system, "slip"), partial(self.per_system, "twin")
        stiffness = self.stiffness()
        shear = float(elasticity.isotropic_part(elasticity.mandel_from_voigt(stiffness))[1])
        # The purest metals glide at 1e-6 of the shear modulus; what is smaller yet may be MPa.
        resistance = Limits(1e-7 * shear, shear, " Pa", "Did you write MPa? DAMASK wants Pa, less than the shear modulus")
        hardening = Limits(1e-7 * shear, 1e13, " Pa", "Did you write MPa? DAMASK wants Pa, or 0 for none", zero=True)
        schmid = [slip_systems.schmid_tensors(self.lattice, mode, n, self.c_over_a) for mode, n in self.counts.items()]
        return Material(
            name=self.name,
            lattice=self.lattice,
            c_over_a=self.c_over_a,
            stiffness=stiffness,
            slips=sum(self.counts["slip"]),
            twins=sum(self.counts["twin"]),
            schmid=torch.cat(schmid),
            xi_0=torch.cat([slip("xi_0_sl", resistance, each=True), twin("xi_0_tw", resistance)]),
            rate_0=torch.cat([slip("dot_gamma_0_sl", _RATE), twin("dot_gamma_0_tw", _RATE)]),
            exponent=torch.cat([slip("n_sl", _EXPONENT), twin("n_tw", _EXPONENT)]),
            xi_inf=slip("xi_inf_sl", resistance, each=True),
            hardening_exponent=slip("a_sl", _POWER),
            h_0=slip("h_0_sl-sl", hardening),
            f_sat=slip("f_sat_sl-tw", _ADDED, default=0.0),
            c_1=slip("c_1", _FACTOR, default=0.0),
            c_2=slip("c_2", _POWER_OR_NONE, default=1.0),
            h_0_tw_tw=twin("h_0_tw-tw", hardening),
            h_0_tw_sl=twin("h_0_tw-sl", hardening),
            c_3=twin("c_3", _POWER_OR_NONE, default=1.0),
            c_4=twin("c_4", _POWER_OR_NONE, default=0.0),
            gamma_char=self.twinning_shear(),
            h_sl_sl=self.interaction("h_sl-sl", "slip", "slip"),
            h_sl_tw=self.interaction("h_sl-tw", "slip", "twin", _ADDED),
            h_tw_sl=self.interaction("h_tw-sl", "twin", "slip"),
            h_tw_tw=self.interaction("h_tw-tw", "twin", "twin"),
            source={self.name: self.phase},
        )

    def section(self, parent: Mapping[str, Any], key: str) -> dict[str, Any]:
        value = parent.get(key)
        if not isinstance(value, dict):
            what = "is missing" if value is None else f"= {value!r} is no section"
            raise self.refuse(f"{key} {what}", f"Write keys below {key}:")
        return value

    def refuse_unknown(self, level: str, section: Mapping[str, Any]) -> None:
        wrong = fault(level, section, self.lattice)
        if wrong:
            raise self.refuse(*wrong)

    def axes_ratio(self) -> float:
        if self.lattice == "hP":
            return self.checked("c/a", self.phase.get("c/a"), _AXES)
        if self.phase.get("c/a") not in (None, 1):
            raise self.refuse(
                f"c/a = {self.phase['c/a']!r} has no meaning for {self.lattice}", "Delete it, or write lattice: hP"
            )
        return 1.0

    def power_law(self, mechanical: Mapping[str, Any]) -> dict[str, Any]:
        """The section of the power law, empty for an elastic material."""
        plastic = {"type": "none"} if mechanical.get("plastic") is None else self.section(mechanical, "plastic")
        law = plastic.get("type")
        if law == "none":
            return {}
        if law != "phenopowerlaw":
            what = "plastic: type is missing" if law is None else f"plastic law {law!r} is not supported"
            raise self.refuse(what, "Write type: phenopowerlaw, or type: none for an elastic material")
        self.refuse_unknown("plastic", plastic)
        return plastic

    def families(self, key: str, mode: str) -> list[int]:
        """Number of active systems by families."""
        if self.plastic.get(key) is None:
            return []
        counts, limits = self.plastic[key], slip_systems.sizes(self.lattice, mode)
        counts = counts if isinstance(counts, list) else [counts]
        whole = all(_is_number(n) and float(n).is_integer() for n in counts)
        if not whole or len(counts) > len(limits) or not all(0 <= n <= most for n, most in zip(counts, limits)):
            raise self.refuse(f"{key} = {counts} is out of range", f"{self.lattice} has {limits} {mode} systems by families")
        self.plastic[key] = [int(n) for n in counts]
        return self.plastic[key]

    def stiffness(self) -> Tensor:
        """Stiffness (6, 6) at the temperature."""
        elastic = self.elastic
        elastic["type"] = "Hooke" if elastic.get("type") is None else elastic["type"]  # DAMASK's only law
        if elastic["type"] != "Hooke":
            raise self.refuse(f"elastic law {elastic['type']!r} is not supported", "Use Hooke")
        self.refuse_unknown("elastic", elastic)
        constants = {key: self.elastic_constant(key) for key in CONSTANTS[self.lattice]}
        stiffness = (elasticity.hexagonal if self.lattice == "hP" else elasticity.cubic)(*constants.values())
        if torch.linalg.eigvalsh(stiffness)[0] <= 0:
            raise self.refuse("its elastic constants are not positive definite", "Check C_11, C_12, ...")
        if self.temperature != ROOM:  # the material is to be the same when it is read from its source
            kept = {key: value for key, value in elastic.items() if not key.endswith(TERMS)}
            if kept.keys() == elastic.keys():
                raise self.refuse(
                    f"temperature = {self.temperature}, but no elastic constant has a term in it", "Give C_11,T, ..."
                )
            self.phase["mechanical"]["elastic"] = kept | constants
        return stiffness

    def elastic_constant(self, key: str) -> float:
        """A constant that may be a polynomial in the temperature about T_ref."""
        value = self.number(key, self.elastic.get(key))
        terms = {key + term: order for order, term in enumerate(TERMS, 1) if key + term in self.elastic}
        if terms:
            shift = self.temperature - self.checked("T_ref", self.elastic.get("T_ref"), _TEMPERATURE)
            value += sum(self.number(term, self.elastic[term]) * shift**order for term, order in terms.items())
        title = f"{key} at {self.temperature} K" if terms else key
        if key in ("C_12", "C_13"):  # may be nil or negative
            self.checked(title, abs(value), replace(_STIFF, zero=True))
            return value
        return self.checked(title, value, _STIFF)

    def twinning_shear(self) -> Tensor:
        shear = slip_systems.twinning_shear(self.lattice, self.counts["twin"], self.c_over_a)
        for family, value in zip(slip_systems.families_of(self.counts["twin"]), shear.tolist()):
            if value <= 0:
                what = (
                    f"N_tw[{family}]: these twins shear by {value:.3g} at c/a = {self.c_over_a}, against the sense of the law"
                )
                raise self.refuse(what, "Give 0 for this family")
        return shear

    def per_system(self, mode: str, key: str, limits: Limits, default: float | None = None, each: bool = False) -> Tensor:
        """Values (systems,) of a list by families, or of a number for all; with `each`, a family may have a list of its own."""
        counts = self.counts[mode]
        if not sum(counts):
            return torch.zeros(0, dtype=torch.float64)
        values = self.plastic.get(key, default)
        if values is None:
            raise self.refuse(f"{key} is missing")
        values = values if isinstance(values, list) else [values] * len(counts)
        if len(values) != len(counts):
            raise self.refuse(f"{key} has {len(values)} values", f"Give one for each of the {len(counts)} families")
        result = []
        for family, (value, count) in enumerate(zip(values, counts)):
            title = f"{key}[{family}]"
            if isinstance(value, list) and not (each and len(value) == count):
                remedy = f"Give a number, or one for each of the {count} systems" if each else "Give a number"
                raise self.refuse(f"{title} = {value}", remedy)
            own = value if isinstance(value, list) else [value] * count
            result += [self.checked(title, number, limits) for number in own]
        return torch.tensor(result, dtype=torch.float64)

    def number(self, key: str, value: Any) -> float:
        if value is None:
            raise self.refuse(f"{key} is missing")
        if not _is_number(value):
            raise self.refuse(f"{key} = {value!r} is not a number", "YAML wants a dot and a sign with an exponent: 1.0e+6")
        return float(value)

    def checked(self, key: str, value: Any, limits: Limits) -> float:
        number = self.number(key, value)
        if number < 0 or (number == 0 and not limits.zero):
            raise self.refuse(f"{key} = {value} is not {'zero or ' if limits.zero else ''}positive")
        if number and not limits.low <= number <= limits.high:
            between = f"between {limits.low:.3g} and {limits.high:.3g}{limits.unit}"
            raise self.refuse(f"{key} = {value}{limits.unit} is not plausible, which is {between}", limits.remedy)
        return number

    def interaction(self, key: str, hardened: str, acting: str, limits: Limits = _FACTOR) -> Tensor:
        """Matrix (hardened systems, acting systems) from a list by kinds of interaction."""
        rows, columns = self.active(hardened), self.active(acting)
        if not rows or not columns:
            return torch.zeros(len(rows), len(columns), dtype=torch.float64)
        values = self.plastic.get(key)
        kinds = interactions.kinds(self.lattice, hardened, acting)[rows][:, columns]
        needed = f"{self.lattice} with these families needs {int(kinds.max())}"
        if values is None:
            raise self.refuse(f"{key} is missing", needed)
        if not isinstance(values, list):
            raise self.refuse(f"{key} = {values!r} is not a list", needed)
        if kinds.max() > len(values):
            raise self.refuse(f"{key} has {len(values)} values", needed)
        matrix = torch.zeros(kinds.shape, dtype=torch.float64)
        for kind in kinds.unique().tolist():
            matrix[kinds == kind] = self.checked(f"{key}[{kind - 1}]", values[kind - 1], limits)
        return matrix

    def active(self, mode: str) -> list[int]:
        """Places of the systems in use among all of the lattice."""
        sizes = slip_systems.sizes(self.lattice, mode)
        return [sum(sizes[:family]) + i for family, count in enumerate(self.counts[mode]) for i in range(count)]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
