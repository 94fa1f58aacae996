"""Hold a study's metrics to recorded ranges: `compare.py METRICS.json RANGES.json`; exit code 1 if one is outside."""

import json
import sys
from pathlib import Path


def main(metrics: Path, ranges: Path) -> int:
    measured = json.loads(metrics.read_text())
    outside = 0
    for name, (low, high) in json.loads(ranges.read_text()).items():
        value = measured.get(name)
        if value is None or not low <= value <= high:
            outside += 1
            print(f"{name} = {value}, recorded: {low} to {high}")
    print(f"{outside} metrics outside of their recorded ranges")
    return int(outside > 0)


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:3])))
