"""What a phase of a DAMASK material file may hold at each level; anything else is refused by its name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

CONSTANTS = {"cF": ("C_11", "C_12", "C_44"), "cI": ("C_11", "C_12", "C_44"), "hP": ("C_11", "C_12", "C_13", "C_33", "C_44")}
TERMS = (",T", ",T^2", ",T^3", ",T^4")  # of a constant's polynomial in temperature, from the first order on

# Without effect on the mechanics: what is known about the phase, what DAMASK writes, and its tolerances.
_NOTES = {"references", "comment", "description", "output"}
_SLIP = {"N_sl", "xi_0_sl", "xi_inf_sl", "dot_gamma_0_sl", "n_sl", "a_sl", "h_0_sl-sl", "h_sl-sl", "h_sl-tw", "f_sat_sl-tw"}
_TWIN = {"N_tw", "xi_0_tw", "dot_gamma_0_tw", "n_tw", "h_0_tw-tw", "h_0_tw-sl", "h_tw-tw", "h_tw-sl"}
_KNOWN = {
    "phase": {"lattice", "c/a", "mechanical", "rho", "mu"} | _NOTES,
    "mechanical": {"elastic", "plastic"} | _NOTES,
    "elastic": {"type", "T_ref"} | _NOTES,
    "plastic": {"type", "c_1", "c_2", "c_3", "c_4", "atol_xi", "atol_gamma"} | _SLIP | _TWIN | _NOTES,
}
# What DAMASK knows and this package does not do.
_BEYOND = {"damage": "damage", "thermal": "heat", "eigen": "eigenstrains"}


def fault(level: str, section: Mapping[str, Any], lattice: str) -> tuple[str, str] | None:
    """What is wrong with the keys of a level, and its remedy; None if every one is known. Empty sections say nothing."""
    constants = {constant + term for constant in CONSTANTS[lattice] for term in ("", *TERMS)} if level == "elastic" else set()
    for key in section:
        if key in _KNOWN[level] | constants or key in _BEYOND and not section[key]:
            continue
        if key in _BEYOND:
            return f"{level}: {key} is not supported: the law knows no {_BEYOND[key]}", f"Delete {key}"
        if "".join(filter(str.isalpha, key)).lower().startswith("anonschmid"):
            return f"{level}: {key} is not supported: the law is Schmid's", f"Delete {key}"
        return f"{level}: unknown key {key}", _remedy(level, key, constants, lattice)
    return None


def _remedy(level: str, key: str, constants: set[str], lattice: str) -> str:
    elsewhere = [other for other, known in _KNOWN.items() if key in known and other != level]
    if level == "elastic" and key.partition(",")[0] in ("C_13", "C_33", "C_66"):
        return f"The constants of {lattice} are {', '.join(CONSTANTS[lattice])}: delete {key}"
    if elsewhere:
        return f"It belongs to {' or '.join(elsewhere)}"
    return f"The nearest known one is {nearest(key, _KNOWN[level] | constants)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Of the known names, that which is most like another."""
    return difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)[0]
