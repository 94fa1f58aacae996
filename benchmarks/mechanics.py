"""How fast the mechanics is, on this machine: crystal plasticity, elasticity, and other solvers beside them.

    python benchmarks/mechanics.py [--quick] [--device cpu] [--threads 2] [--repeats 3] [--json FILE]

Crystal plasticity: random Mg with slip and twinning, and the soft metals Cu, Al and Au, tension along x to 0.01 in 20
increments. Elasticity: two-phase composites with a contrast of 50. Every problem is solved once before it is timed,
which leaves out start-up and compilation. Wall time is what a user waits for; on a shared machine CPU time says more.
materialite takes part where the Python named by MATERIALITE_PYTHON (or this one) has it, DAMASK where its grid solver
is on the PATH.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import peers

from microprint import UserError, simulate_cp
from microprint.mechanics import CPResult, effective, simulate
from microprint.mechanics.damask_backend import run_solver, write_inputs
from microprint.mechanics.load import uniaxial_tension
from microprint.mechanics.materials import Material, load_material
from microprint.mechanics.phenopowerlaw import Law
from microprint.mechanics.slip_systems import directions_and_normals
from microprint.microstructures import composite, polycrystal
from microprint.orientations import to_matrix
from microprint.systems import stiffness

# Wall seconds of one VE by DAMASK 3.0.2 (basic scheme, default numerics, two threads) on another machine of two cores.
DAMASK_ELSEWHERE = {8: 2.9, 16: 21.4, 32: 174.0}
ELSEWHERE = "DAMASK 3.0.2, two threads, measured elsewhere (2-core AMD EPYC)"
# Batches of volume elements by edge; elements of 51^3 are the composites of the labels.
CP_BATCHES, ELASTIC_BATCHES = {8: 32, 16: 8, 32: 2}, {27: 16, 51: 4}
QUICK_CP, QUICK_ELASTIC = {4: 2}, {7: 2}
# What a GPU is given at once.
GPU_VOXELS = 2**20
# Metals that yield at a small share of the first increment, and the largest edge at which they are measured.
SOFT, SOFT_EDGE = ("Cu", "Al", "Au"), 16
# Seconds after which DAMASK, minutes for one element, is not run again.
PATIENCE = 120
CASES = {"C11": (0,), "all six": (0, 1, 2, 3, 4, 5)}
SEED = 2026


@dataclass(frozen=True)
class Row:
    """One problem. Times are of one volume element, in s: the median of all repeats, and their range.

    Attributes
    ----------
    evaluations, iterations : of the law, or of conjugate gradients, for one element (all load cases); None if not counted.
    """

    solver: str
    problem: str
    edge: int
    batch: int
    wall: float
    wall_range: tuple[float, float]
    cpu: float
    cpu_range: tuple[float, float]
    evaluations: float | None = None
    iterations: float | None = None

    @property
    def microseconds(self) -> float | None:
        """CPU time of one voxel and evaluation."""
        return self.cpu / self.evaluations / self.edge**3 * 1e6 if self.evaluations else None


def row(solver: str, problem: str, edge: int, batch: int, seconds: Sequence[tuple[float, float]], **counts: float) -> Row:
    """A row of repeated (wall, CPU) times of a batch."""
    wall, cpu = (sorted(time / batch for time in times) for times in zip(*seconds))
    return Row(solver, problem, edge, batch, median(wall), (wall[0], wall[-1]), median(cpu), (cpu[0], cpu[-1]), **counts)


def repeat(solve: Callable[[], Any], repeats: int, patience: float = inf) -> tuple[list[tuple[float, float]], Any]:
    """(wall, CPU) seconds of every repeat, and the last result; results lie on the CPU, so a GPU has finished by then.

    No other repeat is begun after `patience` seconds.
    """
    seconds: list[tuple[float, float]] = []
    while len(seconds) < repeats and sum(wall for wall, _ in seconds) < patience:
        wall, cpu = time.perf_counter(), cpu_seconds()
        result = solve()
        seconds.append((time.perf_counter() - wall, cpu_seconds() - cpu))
    return seconds, result


def cpu_seconds() -> float:
    """Of this process and of the children that it has waited for."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


# ---------------------------------------------------------------------------------------------- crystal plasticity


def elements(batch: int, edge: int) -> polycrystal.VolumeElements:
    """Random polycrystals, the same in every run."""
    return polycrystal.generate(batch, edge, "hexagonal", torch.Generator().manual_seed(SEED))


def slip_only() -> Material:
    """Mg without twinning and with all interactions 1: what materialite can simulate too."""
    phase = copy.deepcopy(dict(load_material("Mg").source["Mg"]))
    plastic = phase["mechanical"]["plastic"]
    for key in [key for key in plastic if "tw" in key]:
        del plastic[key]
    plastic["h_sl-sl"] = [1.0] * len(plastic["h_sl-sl"])
    plastic["output"] = phase["mechanical"]["output"] = []
    return load_material({"Mg": phase})


@contextmanager
def eager():
    """Within this, the law is the one of tensor operations, with nothing compiled."""

    def law(material: Material, device: str, numerics: simulate.Numerics = simulate.DEFAULT) -> Law:
        return Law(material.to(device), simulate.LAW_TOLERANCE * numerics.equilibrium)

    with patch.object(simulate, "law_for", law):
        yield


def measure_cp(name: str, material: Material, edge: int, batch: int, options: argparse.Namespace) -> tuple[Row, CPResult]:
    """Simulate a batch again and again."""
    ves = elements(batch, edge)
    solve = lambda: simulate_cp(ves.grain_id, ves.quaternion, material, device=options.device)  # noqa: E731
    short = uniaxial_tension(strain=0.0005, increments=1)
    simulate_cp(ves.grain_id, ves.quaternion, material, short, device=options.device)
    seconds, result = repeat(solve, options.repeats)
    if not result.converged.all():
        raise UserError(f"{int((~result.converged).sum())} of {batch} elements did not converge", f"{edge}^3")
    counts = {"evaluations": float(result.evaluations.double().mean()), "iterations": float(result.linear.double().mean())}
    return row(name, problem_of(material), edge, batch, seconds, **counts), result


def problem_of(material: Material) -> str:
    """By which rows of different solvers are held against each other."""
    return f"{material.name}, slip {'and twins' if material.twins else 'only'}"


def laws(device: str) -> dict[str, Callable[[], Any]]:
    """The forms of the law: a context for each, within which it is the one that is used."""
    compiled = type(simulate.law_for(load_material("Mg"), device)) is not Law
    return ({"compiled law": ExitStack} if compiled else {}) | {"eager law": eager}


def measure_materialite(edge: int, options: argparse.Namespace) -> list[Row]:
    """Times for one slip-only element on one thread, materialite's and ours; nothing without materialite."""
    material, ves = slip_only(), elements(1, edge)
    phase, plastic = material.source["Mg"], material.source["Mg"]["mechanical"]["plastic"]
    systems = directions_and_normals("hP", "slip", plastic["N_sl"], material.c_over_a)
    arrays = (ves.grain_id[0].numpy(), to_matrix(ves.quaternion[0].double()).numpy(), phase, *(s.numpy() for s in systems))
    runs = [run for _ in range(options.repeats) if (run := peers.materialite_slip_only(*arrays))]
    if not runs:
        return []
    torch.set_num_threads(1)
    ours, result = measure_cp("ours, one thread", material, edge, 1, options)
    torch.set_num_threads(options.threads)
    difference = abs(runs[0].stress[-1] / float(result.cauchy[0, -1, 0, 0]) - 1)
    print(f"materialite {peers.materialite_version()} and ours, slip only, {edge}^3: final stress differs by {difference:.1%}")
    return [row("materialite, one thread", ours.problem, edge, 1, [(run.wall, run.cpu) for run in runs]), ours]


def measure_damask(name: str, edge: int, options: argparse.Namespace) -> list[Row]:
    """Time of DAMASK's solver for one element, half a second of start-up included, files made before; nothing without it."""
    if (solver := peers.damask_solver()) is None:
        return []
    ves, material = elements(1, edge), load_material(name)
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        write_inputs(folder, ves.grain_id[0], ves.quaternion[0], material, uniaxial_tension())

        def solve() -> None:
            done = run_solver(solver, folder)
            if done.returncode:
                raise UserError(f"DAMASK ended with code {done.returncode}: {done.stderr[-500:]}", f"{name}, {edge}^3")
            for result in folder.glob("*.hdf5"):
                result.unlink()

        seconds, _ = repeat(solve, options.repeats, PATIENCE)
    return [row("DAMASK", problem_of(material), edge, 1, seconds)]


# ---------------------------------------------------------------------------------------------- elasticity


def measure_elasticity(edge: int, batch: int, cases: str, options: argparse.Namespace) -> Row:
    """Label a batch of composites again and again, as notebook 07 does."""
    filters = composite.filters((0.5, 1.0, 2.0, 3.5))
    widths = filters[torch.arange(batch) * 5 % len(filters)]
    phase = composite.generate(widths, edge, torch.Generator().manual_seed(SEED)).phase
    used, strain = [], effective._Problem._strain

    def counted(*arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        field, freed = strain(*arguments)
        used.append((freed > 0).sum().item())
        return field, freed

    solve = lambda: stiffness.simulate(phase, options.device, CASES[cases])  # noqa: E731
    with patch.object(effective._Problem, "_strain", counted):
        solve()
    seconds, _ = repeat(solve, options.repeats)
    count = sum(used) / batch
    return row("rotated scheme", f"composite, {cases}", edge, batch, seconds, evaluations=count, iterations=count)


# ---------------------------------------------------------------------------------------------- what bounds it


def law_bytes(material: Material) -> int:
    """Bytes of one voxel and evaluation of the compiled law, each array passed once: doubles but for the tangent.

    Read: F, F_p^-1, S, and xi at both ends of the step and gamma of every system. Written: P, F_p^-1, S, xi, gamma and
    the tangent (36 float32); three marks.
    """
    systems = material.slips + material.twins
    return 8 * (9 + 9 + 6 + 3 * systems) + 8 * (9 + 9 + 6 + 2 * systems) + 4 * 36 + 3


def law_operations(material: Material, iterations: float) -> float:
    """Floating-point operations of one voxel and evaluation.

    In an iteration each system takes 12 to resolve the stress, 18 for the flow, 42 for its dyad and 12 for its part of the
    right-hand side, 100 for power law, hardening and damping, and 2 d to give and 14 d + 12 to take from the d drivers of
    the hardening; these are eliminated from d + 6 equations, whose other six are inverted (432) and solved (72). Once, the
    products of small tensors (600), the tangent's turn (700) and the flow again.
    """
    systems, d = material.slips + material.twins, len(Law(material).drivers)
    elimination = sum(2 * (k + 5) * (k + 6) for k in range(1, d + 1))
    iteration = systems * (12 + 18 + 42 + 12 + 100 + 16 * d + 12) + elimination + 432 + 72
    return iterations * iteration + systems * (12 + 18) + 600 + 700


def law_iterations(material: Material, edge: int) -> float:
    """Mean number of the law's own iterations for one voxel and evaluation, counted on one element with the eager law."""
    voxels = {"_iterate": 0, "respond": 0}

    def counted(name: str) -> Callable[..., Any]:
        method = getattr(Law, name)

        def call(law: Law, first: torch.Tensor, *rest: Any) -> Any:
            voxels[name] += first.shape[-1]
            return method(law, first, *rest)

        return call

    ves = elements(1, edge)
    with eager(), patch.multiple(Law, **{name: counted(name) for name in voxels}):
        simulate_cp(ves.grain_id, ves.quaternion, material)
    return voxels["_iterate"] / voxels["respond"]


def law_seconds(material: Material, edge: int, batch: int, device: str) -> float:
    """CPU time of one voxel and evaluation in the law alone, in s; all on one thread, whose time is taken."""
    ves, seconds = elements(batch, edge), []
    law = type(simulate.law_for(material, device))
    respond, threads = law.respond, torch.get_num_threads()

    def timed(*arguments: Any) -> Any:
        start = time.thread_time()
        result = respond(*arguments)
        seconds.append((time.thread_time() - start) / arguments[1].shape[-1])
        return result

    torch.set_num_threads(1)
    try:
        with patch.object(law, "respond", timed):
            simulate_cp(ves.grain_id, ves.quaternion, material, device=device)
    finally:
        torch.set_num_threads(threads)
    return median(seconds)


def linear_bytes() -> int:
    """Bytes of one voxel and iteration of the Newton equations' conjugate gradients, read from and written to a core's cache.

    Numbers read and written: tangent 21 (float32), twelve transforms of three passes each 72, strain 9, stress 12, mean 6,
    force 12, Green operator 6, and 33 of conjugate gradients (float64).
    """
    return 4 * 21 + 8 * (72 + 9 + 12 + 6 + 12 + 6 + 33)


def linear_operations(edge: int) -> float:
    """Operations likewise: twelve transforms along three axes, 2 n each; tangent 72; wave vectors 30; the rest 80."""
    return 12 * 3 * 2 * edge + 72 + 30 + 80


def elastic_bytes() -> int:
    """Bytes of one voxel and iteration of the compiled rotated scheme in float32, each pass over memory counted.

    Numbers read and written: Lame's constants 2, displacement 3 and force 6 around it, three passes of the Green operator 18,
    conjugate gradients 51.
    """
    return 4 * (2 + 3 + 6 + 18 + 51)


def elastic_operations(edge: int) -> int:
    """Operations likewise: two transforms of three components along three axes, n each after folding, which takes 2; strain
    57, stress of isotropic phases 13, force 45, Green operator 40, conjugate gradients 30."""
    return 2 * 3 * 3 * (edge + 2) + 57 + 13 + 45 + 40 + 30


def bounds(rows: Sequence[Row], options: argparse.Namespace) -> list[str]:
    """What bounds the speed on a CPU: bytes and operations as counted above, and the rates at which a core did them."""
    if options.device != "cpu":
        return []
    edge, batch = next(iter(batches(options)[0].items()))
    lines, seconds = [capacity()], {}
    for name in ("Mg", *SOFT):
        material = load_material(name)
        iterations, seconds[name] = law_iterations(material, edge), law_seconds(material, edge, batch, options.device)
        size, operations = law_bytes(material), law_operations(material, iterations)
        lines.append(rates(f"law of {name}, {iterations:.1f} iterations", "evaluation", size, operations, seconds[name]))
    for r in rows:
        if r.solver == next(iter(laws(options.device))):
            name = r.problem.partition(",")[0]
            rest = (r.cpu / r.edge**3 - seconds[name] * r.evaluations) / r.iterations
            what = f"equilibrium of {name}, {r.edge}^3"
            lines.append(rates(what, "CG iteration", linear_bytes(), linear_operations(r.edge), rest))
            lines[-1] += f"; the law takes {seconds[name] * 1e6 / r.microseconds:.0%} of the time"
        if r.solver == "rotated scheme":
            used = r.cpu / r.edge**3 / r.iterations
            lines.append(rates(f"{r.problem}, {r.edge}^3", "CG iteration", elastic_bytes(), elastic_operations(r.edge), used))
    return lines


def capacity() -> str:
    """What a core could do at most: a product of large matrices, and a copy of memory beyond its caches."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    matrix, memory = torch.ones(1024, 1024), torch.ones(2**25)
    products, _ = repeat(lambda: matrix @ matrix, 4)
    copies, _ = repeat(memory.clone, 4)
    torch.set_num_threads(threads)
    flops, moved = (amount / min(cpu for _, cpu in times) / 1e9 for amount, times in ((2**31, products), (2**28, copies)))
    return f"one core, float32: {flops:.0f} Gflop/s in a product of matrices, {moved:.0f} GB/s in a copy of memory"


def rates(what: str, unit: str, size: float, operations: float, seconds: float) -> str:
    """One line: bytes and operations of a voxel in some unit of work, the time, and the rates."""
    return (
        f"{what}: {size:.0f} B and {operations:.0f} operations a voxel and {unit}, {seconds * 1e6:.3f} us: "
        f"{size / seconds / 1e9:.1f} GB/s, {operations / seconds / 1e9:.1f} Gflop/s a core"
    )


# ---------------------------------------------------------------------------------------------- report


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """The machine by its parts."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    device = torch.device(options.device)
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": len(models) or torch.get_num_threads(),
        "threads": options.threads,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def table(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    head = "solver | problem | grid | batch | VE/s | wall s/VE (range) | CPU s/VE (range) | us/voxel/eval. | evaluations | CG"
    number = lambda value, digits: "" if value is None else f"{value:.{digits}f}"  # noqa: E731
    lines = [f"| {head} |", "|" + " --- |" * len(head.split("|"))]
    for r in rows:
        spread = [f"{m:.3g} ({low:.3g}-{high:.3g})" for m, (low, high) in ((r.wall, r.wall_range), (r.cpu, r.cpu_range))]
        cells = (r.solver, r.problem, f"{r.edge}^3", r.batch, f"{1 / r.wall:.3g}", *spread)
        counts = (number(r.microseconds, 3), number(r.evaluations, 1), number(r.iterations, 1))
        lines.append("| " + " | ".join(str(cell) for cell in (*cells, *counts)) + " |")
    return "\n".join(lines)


def ratios(rows: Sequence[Row]) -> list[str]:
    """Our speed over that of the others: of the same run, and of times published before."""
    lines, times = [], {(r.solver, r.problem, r.edge): r for r in rows}
    for r in rows:
        for other in ("materialite, one thread", "DAMASK"):
            peer = times.get((other, r.problem, r.edge))
            if peer and r.solver not in ("DAMASK", peer.solver):
                text = f"{peer.wall / r.wall:.1f} times faster (CPU time: {peer.cpu / r.cpu:.1f}) than {other} in this run"
                lines.append(f"{r.problem}, {r.edge}^3, {r.solver}: {text}")
        hard = times.get((r.solver, "Mg, slip and twins", r.edge))
        if hard and r.solver != "DAMASK" and r.problem.partition(",")[0] in SOFT:
            lines.append(f"{r.problem}, {r.edge}^3, {r.solver}: takes {r.wall / hard.wall:.1f} times as long as Mg in this run")
        elsewhere = DAMASK_ELSEWHERE.get(r.edge)
        if elsewhere and hard and r.problem == hard.problem and ("DAMASK", r.problem, r.edge) not in times:
            text = f"{elsewhere / r.wall:.0f} times faster than {ELSEWHERE}: {elsewhere} s a VE"
            lines.append(f"{r.problem}, {r.edge}^3, {r.solver}: {text}")
    return lines


def batches(options: argparse.Namespace) -> tuple[dict[int, int], dict[int, int]]:
    """Volume elements by edge, of crystal plasticity and of elasticity."""
    if options.quick:
        return QUICK_CP, QUICK_ELASTIC
    if options.device == "cpu":
        return CP_BATCHES, ELASTIC_BATCHES
    return tuple({edge: GPU_VOXELS // edge**3 for edge in sizes} for sizes in (CP_BATCHES, ELASTIC_BATCHES))


def run(options: argparse.Namespace) -> list[Row]:
    """All problems, printed one by one as they are done."""
    cp, elastic = batches(options)
    rows: list[Row] = []

    def add(*new: Row) -> None:
        rows.extend(new)
        for r in new:
            print(f"{r.solver}, {r.problem}, {r.edge}^3: {r.wall:.3g} s a VE ({r.cpu:.3g} of CPU)", file=sys.stderr, flush=True)

    for edge, batch in cp.items():
        for name, context in laws(options.device).items():
            with context():
                add(measure_cp(name, load_material("Mg"), edge, batch, options)[0])
        add(*measure_damask("Mg", edge, options))
        fastest = next(iter(laws(options.device)))
        for name in SOFT if edge <= SOFT_EDGE else ():
            add(measure_cp(fastest, load_material(name), edge, batch, options)[0], *measure_damask(name, edge, options))
        if edge <= 16:
            add(*measure_materialite(edge, options))
    for edge, batch in elastic.items():
        for cases in CASES:
            add(measure_elasticity(edge, batch, cases, options))
    return rows


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny problems once: does it run?")
    parser.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, ...")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here, too")
    options = parser.parse_args(arguments)
    options.repeats = 1 if options.quick else options.repeats
    if options.threads < 1 or options.repeats < 1:
        parser.error("--threads and --repeats are positive")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        rows = run(options)
        notes: Mapping[str, Any] = {"ratios": ratios(rows), "bounds": bounds(rows, options)}
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        torch.set_num_threads(before)
    parts = machine(options)
    print("\n" + ", ".join(f"{name} {value}" for name, value in parts.items()))
    print(f"Start-up and compilation are excluded; {options.repeats} repeats: median and range.\n\n{table(rows)}\n")
    print("\n".join([*notes["ratios"], "", *notes["bounds"]]))
    for peer, found in (("materialite", peers.materialite_version()), ("DAMASK", peers.damask_version())):
        print(f"{peer} is not installed: not in this run" if found is None else f"{peer} {found}: in this run")
    if options.json:
        results = [asdict(r) | {"microseconds": r.microseconds} for r in rows]
        options.json.write_text(json.dumps({"machine": parts, "results": results, **notes}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
