"""The study: its notebooks as a graph, what of it is up to date, running it, sweeps over parameters."""

from microprint.study.graph import NotebookSource, load_notebooks
from microprint.study.run import Run

__all__ = ["NotebookSource", "Run", "load_notebooks"]
