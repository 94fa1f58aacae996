"""Steps on Dask workers: on this machine, behind a scheduler's address, or through SLURM."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from microprint.compute import find_step, run_step
from microprint.errors import UserError
from microprint.params import Params, as_dict, validate


def submit(name: str, params: Params, folder: Path, arguments: Mapping[str, str]) -> list[Path]:
    """Run a step on a worker that shares the file system; return the paths of its artifacts.

    A worker that offers the resource ``GPU`` is asked for where the cluster has one. Raises what the step raises.
    """
    client = connect(params.compute.scheduler)
    workers = client.scheduler_info()["workers"].values()
    resources = {"GPU": 1} if any("GPU" in worker.get("resources", {}) for worker in workers) else None
    plain = as_dict(params)
    future = client.submit(_work, name, plain, str(folder), dict(arguments), resources=resources, pure=False)
    return [Path(path) for path in future.result()]


@cache
def connect(scheduler: str):
    """Client of a Dask cluster: ``local``, ``slurm`` or the address of a scheduler; raises `UserError` if none answers."""
    from dask.distributed import Client, LocalCluster
    if scheduler == "local":
        return Client(LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None))
    if scheduler == "slurm":
        from dask_jobqueue import SLURMCluster
        cluster = SLURMCluster()  # queue, cores and memory as the user's Dask configuration states them
        cluster.scale(jobs=1)
        return Client(cluster)
    try:
        return Client(scheduler, timeout="10s")
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(f"no Dask scheduler answers ({error})", f"compute.scheduler = {scheduler}",
                        "Start one with `dask scheduler`, or use local") from None


def _work(name: str, params: dict, folder: str, arguments: dict[str, str]) -> list[str]:
    return [str(path) for path in run_step(find_step(name), validate(params), Path(folder), arguments)]
