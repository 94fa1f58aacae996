"""A parameter file with all parameters, their defaults and what they mean, made of the sections themselves."""

from __future__ import annotations

import dataclasses
import re
import textwrap

import yaml

from microprint.params.sections import Params
from microprint.params.validation import as_dict

WIDTH = 116


def manual() -> str:
    """YAML of every default; each parameter's comment is its entry in the docstring of its section."""
    parts = ["# All parameters and their defaults. A file need only hold what differs."]
    for section in dataclasses.fields(Params):
        kind = type(getattr(Params(), section.name))
        title, meanings = (kind.__doc__ or "").strip().split("\n", 1)[0], meanings_of(kind)
        parts.append(f"\n{_comment(title, 0)}\n{section.name}:")
        described = ""
        for name, value in as_dict(Params())[section.name].items():
            if meanings[name] != described:
                described = meanings[name]
                parts.append(_comment(described, 2))
            text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
            parts.append(f"  {name}: {text}")
    return "\n".join(parts) + "\n"


def meanings_of(kind: type) -> dict[str, str]:
    """What the docstring of a section says of each of its parameters."""
    _, _, attributes = (kind.__doc__ or "").partition("----------\n")
    entries = re.split(r"\n(?=    \w[\w, ]* : )", "\n" + attributes)
    named = [entry.strip().split(" : ", 1) for entry in entries if " : " in entry]
    return {name: " ".join(f"{names}: {meaning}".split()) for names, meaning in named for name in names.split(", ")}


def _comment(text: str, indent: int) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=" " * indent + "# ", subsequent_indent=" " * indent + "# ")
