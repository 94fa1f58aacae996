"""Run the study: the notebooks as a graph, executed by papermill with a parameter file.

python run_all.py                                     the default profile, params/quick.yml
python run_all.py --params params/laptop.yml          another profile
python run_all.py --set vae.latent_dim=128            with a parameter changed
python run_all.py --list                              what is up to date, and why not
python run_all.py --sweep vae.latent_dim=64,128,256   one run for each value
"""

import argparse
import csv
import dataclasses
import os
import signal
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from microprint import store
from microprint.errors import UserError
from microprint.params import load
from microprint.requirements import requirements
from microprint.study.graph import numbers
from microprint.study.run import FINGERPRINTS, Due, Run
from microprint.study.sweep import branch, literal, sweep_points

console = Console()


def main() -> int:
    options = parse_arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ["MICROPRINT_BATCH"] = "1"
    try:
        if options.sweep:
            return sweep(options)
        run = checked_run(options, pairs(options.set))
        if options.list:
            show_states(run, options)
            return 0
        if options.dry_run:
            show_plan(run, options)
            return 0
        with run.alone():
            return execute(run, options)
    except UserError as error:
        console.print(f"[bold red]error:[/] {error}", highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print("interrupted; the same command resumes where it stopped")
        return 130


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path(__file__).parent / "params" / "quick.yml", metavar="FILE")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change parameters")
    parser.add_argument("--name", help="name of the run; default: the parameter file's")
    parser.add_argument("--only", nargs="+", default=[], choices=numbers(), metavar="NN", help="these notebooks alone")
    parser.add_argument("--from", dest="start", choices=numbers(), metavar="NN", help="this notebook and all after it")
    parser.add_argument("--force", action="store_true", help="run even what is up to date")
    parser.add_argument("--models", type=Path, metavar="DIR", help="trained fingerprints of a report, in place of notebook 03")
    parser.add_argument("--list", action="store_true", help="show each notebook's state and why it would run")
    parser.add_argument("--dry-run", action="store_true", help="check everything and say what would run and what it needs")
    parser.add_argument("--sweep", nargs="+", default=[], metavar="KEY=A,B,C", help="one run for each value")
    return parser.parse_args()


def pairs(settings: list[str]) -> dict[str, str]:
    """``key=value`` texts as a dictionary."""
    for setting in settings:
        if "=" not in setting:
            raise UserError(f"{setting!r} is not of the form key=value", "--set")
    return dict(setting.split("=", 1) for setting in settings)


def checked_run(options: argparse.Namespace, overrides: dict[str, str], name: str | None = None) -> Run:
    """Checked run; its name is the given one, the option's or the file's own `run.name`."""
    checked = load(options.params, overrides)
    if name := name or options.name:
        checked = dataclasses.replace(checked, run=dataclasses.replace(checked.run, name=name))
    return Run(checked)


def execute(run: Run, options: argparse.Namespace) -> int:
    """Run what is not up to date, write the report, print the closing table."""
    from microprint.report import write_report  # which takes a second to load, and is not always needed

    if options.models:
        run.adopt(options.models)
    plan = make_plan(run, options)
    say_unable(run, options)
    say_stale(run, plan, options)
    counts = f"{len(plan)} of {len(run.notebooks)} notebooks to execute"
    console.print(f"run [bold]{run.params.run.name}[/]: {counts}", highlight=False)
    failure = run.execute_all(plan, lambda line: console.print(line, style="bold", highlight=False))
    run.collect_metrics()
    page = write_report(run)
    show_times(run, plan)
    console.print(f"report: {page}", soft_wrap=True, highlight=False)
    if failure:
        hints = f"\n  parameters: {run.folder / 'params.json'}\n  resume with: {command()}"
        console.print(f"[bold red]error:[/] {failure}{hints}", highlight=False, soft_wrap=True)
    return 1 if failure else 0


def make_plan(run: Run, options: argparse.Namespace) -> dict[str, Due]:
    """Notebooks to execute; with trained fingerprints at hand never the one that trains them."""
    return run.plan(options.only, options.start, options.force, given(options))


def given(options: argparse.Namespace) -> list[str]:
    """Notebooks that never run, as what they make is given."""
    return [FINGERPRINTS] if options.models else []


def say_unable(run: Run, options: argparse.Namespace) -> None:
    """A line for each notebook that would be run, and cannot be on the user's own data."""
    for number in run.unable:
        if not options.only and number >= (options.start or ""):
            console.print(run.cannot_run(number), style="yellow", highlight=False, soft_wrap=True, markup=False)


def say_stale(run: Run, plan: dict[str, Due], options: argparse.Namespace) -> None:
    """A line for each notebook that is left out although what is run builds on it and it would be run."""
    for number, reason in run.stale(plan, given(options)).items():
        line = f"{run.notebooks[number].name} is left out and not up to date ({reason}): what it made before is read as it is"
        console.print(line, style="yellow", highlight=False, soft_wrap=True, markup=False)


def command() -> str:
    """The command line that resumes this run."""
    return " ".join(["python", *(arg for arg in sys.argv if arg != "--force")])


def show_states(run: Run, options: argparse.Namespace) -> None:
    run.unable = run.missing(given(options))
    table = Table("notebook", "state", "seconds", "why it would run", title=f"run {run.params.run.name} in {run.folder}")
    for number, notebook in run.notebooks.items():
        last, reason = run.state.get(number, {}), run.why(number)
        state = "up to date" if reason is None else last.get("status", "new")
        state = "cannot run" if number in run.unable else state
        table.add_row(notebook.name, state, str(last.get("seconds", "")), reason or "")
    console.print(table)


def show_plan(run: Run, options: argparse.Namespace) -> None:
    plan = make_plan(run, options)
    table = Table("what", "how much", title=f"{options.params.name} would need")
    for what, amount in requirements(run.params):
        table.add_row(what, amount)
    console.print(table)
    for number, due in plan.items():
        console.print(f"would run {run.notebooks[number].name}: {due.reason}", highlight=False)
    say_unable(run, options)
    say_stale(run, plan, options)


def show_times(run: Run, plan: dict[str, Due]) -> None:
    table = Table("notebook", "status", "seconds", "peak memory / MiB", title="times and peak memory")
    for number, notebook in run.notebooks.items():
        last = run.state.get(number, {})
        status = last.get("status", "not run") if number in plan else ("up to date" if last else "not run")
        status = "cannot run" if number in run.unable else status
        table.add_row(notebook.name, status, str(last.get("seconds", "")), str(run.results(number).get("peak_mib", "")))
    console.print(table)


def sweep(options: argparse.Namespace) -> int:
    """One run for each combination of values, then a table of their headlines and a file of all their metrics."""
    if options.list or options.dry_run:
        raise UserError("goes with neither --list nor --dry-run", "--sweep", "Ask for one run: --name NAME --set KEY=VALUE")
    base = checked_run(options, pairs(options.set))
    runs = []
    for point in sweep_points({key: values.split(",") for key, values in pairs(options.sweep).items()}):
        suffix = "-".join(f"{key}-{literal(value)}" for key, value in point.items())
        name = f"{base.params.run.name}-{suffix}"
        runs.append((point, checked_run(options, pairs(options.set) | point, name)))
    start = base if base.folder.is_dir() else runs[0][1]
    codes = []
    for _, run in runs:
        branch(start.folder, run.folder)
        with run.alone():
            codes.append(execute(run, options))
    show_sweep(runs, [n for n in numbers() if (not options.only or n in options.only) and n >= (options.start or "")])
    path = save_sweep(runs, base.folder.with_name(f"{base.folder.name}-sweep.csv"))
    console.print(f"all metrics: {path}", soft_wrap=True, highlight=False)
    return max(codes)


def show_sweep(runs: list[tuple[dict[str, str], Run]], columns: list[str]) -> None:
    """Table of the points' headlines, of those notebooks that are up to date."""
    table, labels = Table(*runs[0][0], *columns, title="sweep"), {}
    for point, run in runs:
        standings = {number: run.results(number).get("standings") for number in columns if run.why(number) is None}
        headlines = {number: rows[0] for number, rows in standings.items() if rows}
        values = {number: headline["ours"] for number, headline in headlines.items()}
        table.add_row(*point.values(), *("" if (value := values.get(n)) is None else f"{value:.4g}" for n in columns))
        labels |= {number: " / ".join(filter(None, (h["measure"], h["unit"]))) for number, h in headlines.items()}
    console.print(table)
    for number, label in sorted(labels.items()):
        console.print(f"{number}: {label}", highlight=False, markup=False)


def save_sweep(runs: list[tuple[dict[str, str], Run]], path: Path) -> Path:
    """Write a row for each point: its run, its values, and the metrics of all notebooks that are up to date in it."""
    rows = []
    for point, run in runs:
        row = {"run": run.params.run.name, **point}
        for number in run.notebooks:
            row |= run.results(number)["metrics"] if run.why(number) is None else {}
        rows.append(row)
    with store.atomic(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, dict.fromkeys(name for row in rows for name in row))
        writer.writeheader()
        writer.writerows(rows)
    return path


if __name__ == "__main__":
    sys.exit(main())
