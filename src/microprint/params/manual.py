"""A parameter file with all parameters, their defaults and what they mean, made of the sections themselves."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap

import yaml

from microprint.params import as_dict
from microprint.params.sections import Params

WIDTH = 116


def manual() -> str:
    """YAML of every default, below the comment that its section has for it."""
    parts = ["# All parameters and their defaults. A file need only hold what differs."]
    for section in dataclasses.fields(Params):
        kind = type(section.default)
        meanings = meanings_of(kind)
        parts.append(f"\n{_comment(kind.__doc__, 0)}\n{section.name}:")
        described = ""
        for name, value in as_dict(Params())[section.name].items():
            if meanings[name] != described:
                described = meanings[name]
                parts.append(_comment(described, 2))
            text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
            parts.append(f"  {name}: {text}")
    return "\n".join(parts) + "\n"


def meanings_of(kind: type) -> dict[str, str]:
    """What the comments of a section say of each of its parameters, beginning with its name or those of its group."""
    above = re.sub(r"^    ((\w+): .*)  # (.*)$", r"    # \2: \3\n    \1", inspect.getsource(kind), flags=re.MULTILINE)
    comments = (" ".join(lines.replace("    # ", "").split()) for lines in re.findall(r"(?:^    # .*\n)+", above, re.MULTILINE))
    return {name: comment for comment in comments for name in comment.split(": ")[0].split(", ")}


def _comment(text: str, indent: int) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=" " * indent + "# ", subsequent_indent=" " * indent + "# ")
