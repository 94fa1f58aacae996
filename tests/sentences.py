"""Numbers in the findings of executed notebooks, and where a reader finds them again.

    python tests/sentences.py RUN

A number in a finding is typed there (a published one, say), a parameter, a constant of the analysis, or it was computed. Then it
has to be in a table of the page, or in what the notebook left for the report (metrics, standings, learning curve), from which the
index and its tables are made: rounded as it is printed, as a share or in per cent, in Pa or in MPa.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

NUMBER = re.compile(r"(?<![\w.^-])[-+−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")
ANALYSIS = sorted((Path(__file__).parents[1] / "src/microprint/analysis").glob("*.py"))
SCALES = (1, 100, 1e-6)
SMALL = 12  # counts up to this one are words


def numbers_of(text: str) -> list[tuple[str, float]]:
    """Numbers of a text: as they stand, and their sizes; signs are a matter of the sentence."""
    return [(token, abs(float(token.replace(",", "").replace("−", "-")))) for token in NUMBER.findall(text)]


def leaves(record: Any) -> Iterator[float]:
    """Numbers of a JSON record, those within its names and texts included."""
    if isinstance(record, dict):
        for name, value in record.items():
            yield from (*leaves(re.sub("[._]", " ", name)), *leaves(value))
    elif isinstance(record, list):
        for value in record:
            yield from leaves(value)
    elif isinstance(record, str):
        yield from (value for _, value in numbers_of(record))
    elif isinstance(record, (int, float)) and not isinstance(record, bool):
        yield abs(float(record))


def typed(source: str) -> Iterator[float]:
    """Numbers in the strings of a program, and those that it gives to names in capitals."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (value for _, value in numbers_of(node.value))
        if isinstance(node, ast.Assign) and any(ast.unparse(target).isupper() for target in node.targets):
            yield from (abs(x.value) for x in ast.walk(node.value) if isinstance(x, ast.Constant) and type(x.value) in (int, float))


def rounds_to(value: float, token: str, printed: float) -> bool:
    """Whether a value is printed as this token: to its last digit, or, of long whole numbers, to three digits."""
    mantissa, _, exponent = token.lstrip("+-−").replace(",", "").partition("e")
    whole, _, digits = mantissa.partition(".")
    last = int(exponent or 0) - len(digits) if digits or exponent else max(len(whole) - 3, 0)
    return any(abs(value * scale - printed) <= 0.500001 * 10.0**last for scale in SCALES)


def unfounded(run: Path) -> list[str]:
    """Each number in a finding of a run's notebooks that a reader finds nowhere else, with its surroundings."""
    settings = [*leaves(json.loads((run / "params.json").read_text())), *(x for path in ANALYSIS for x in typed(path.read_text()))]
    return [fault for path in sorted((run / "notebooks").glob("*.ipynb")) for fault in _unfounded(run, path, settings)]


def _unfounded(run: Path, path: Path, settings: list[float]) -> Iterator[str]:
    cells = nbformat.read(path, as_version=4).cells
    code = "\n".join(re.sub(r"^[%!].*", "", cell.source, flags=re.M) for cell in cells if cell.cell_type == "code")
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    shown = [data.get("text/markdown", "") for data in outputs]
    tables = [text for text in shown if "**Findings**" not in text]
    record = json.loads((run / "results" / f"{path.name[:2]}.json").read_text())
    left = {key: record[key] for key in ("metrics", "standings", "curve") if key in record}
    known = {*settings, *typed(code), *leaves(left), *(x for text in tables for _, x in numbers_of(text))}
    for sentence in (sentence for text in shown for sentence in text.partition("**Findings**")[2].split("\n- ")):
        for match in NUMBER.finditer(sentence):
            ((token, value),) = numbers_of(match.group())
            count = value <= SMALL and value == int(value) and "." not in token
            if not count and not any(rounds_to(x, token, value) or rounds_to(1 - x, token, value) for x in known):
                yield f"{path.name}: {token} in “… {sentence[max(0, match.start() - 60) : match.end() + 20].strip()} …”"


if __name__ == "__main__":
    faults = unfounded(Path(sys.argv[1]))
    print("\n".join([*faults, f"{len(faults)} numbers are nowhere else"]))
    sys.exit(bool(faults))
