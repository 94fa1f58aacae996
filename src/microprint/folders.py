"""Where the repository lies, and the folder of a run in it."""

from pathlib import Path

from microprint.params.sections import Params

REPOSITORY = Path(__file__).parents[2]


def run_folder(params: Params) -> Path:
    """Folder of the run: absolute, or below the repository that the working directory lies in."""
    here = Path.cwd()
    repository = next((p for p in (here, *here.parents) if (p / "run_all.py").is_file()), here)
    return repository / params.run.root / params.run.name
