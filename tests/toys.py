"""Small notebooks for the tests of the runner."""

from pathlib import Path

import jupytext

from microprint.study.graph import NotebookSource, load_notebooks, numbers

HEADER = "# ---\n# jupyter:\n#   jupytext:\n#     formats: ipynb,py:percent\n#   kernelspec: {display_name: Python 3, language: python, name: python3}\n# ---\n"
TOY = '''
# %% [markdown]
# # {number} · Toy
#
# **Question**: does $x^2$ run?

# %% tags=["parameters"]
run = {{"name": "by-hand", "seed": 1}}
latent = {{"path_steps": 3}}

# %%
from microprint import store
from microprint.notebook import Standing, open_notebook
notebook = open_notebook(run=run, latent=latent)
{body}

# %%
notebook.close("{number}", metrics={{"{number}.x": run["seed"]}}, standings=[Standing("x", run["seed"])])
'''


def write_toys(folder: Path, bodies: dict[str, str] | None = None) -> dict[str, NotebookSource]:
    folder.mkdir(exist_ok=True)
    for number in numbers():
        script = folder / f"{number}_toy.py"
        script.write_text(HEADER + TOY.format(number=number, body=(bodies or {}).get(number, "")))
        jupytext.write(jupytext.read(script), script.with_suffix(".ipynb"))
    return load_notebooks(folder)
