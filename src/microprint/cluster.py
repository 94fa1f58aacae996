"""Work on Dask workers: on this machine, behind a scheduler's address, or through SLURM.

The workers need this package and a file system on which they find the run's folder under the same path. A call goes to
one worker as a whole (`submit`); the items of a list are spread over all of them (`map_on_workers`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from functools import partial
from typing import Any, TypeVar

import torch

from microprint.errors import UserError
from microprint.machine import choose_device, one_thread
from microprint.params.sections import ComputeSettings

Item, Result = TypeVar("Item"), TypeVar("Result")
# How often an item that raises is tried again, for faults that pass; Dask counts workers that die on its own.
RETRIES = 2
# Seconds until a scheduler must have answered, and until it must have a worker.
PATIENCE_S = 20
_clients: dict[tuple[str, int], Any] = {}
RESUME = "The same command goes on where this one stopped"


def submit(settings: ComputeSettings, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function on one worker; raises what it raises."""
    client = connect(settings)
    return client.submit(function, *arguments, resources=_resources(client, settings.devices), pure=False).result()


def map_on_workers(
    function: Callable[[Item], Result], items: Sequence[Item], settings: ComputeSettings
) -> Iterator[tuple[Item, Result]]:
    """Items and what the function makes of them, on one thread each, as the workers finish them.

    What a dying worker had in hand goes to another one; results that nobody waits for any more are given up. Raises
    `UserError` if an item brings down one worker after the other, or the cluster is lost; and what the function raises.
    """
    from dask.distributed import KilledWorker, as_completed

    client = connect(settings)
    futures = client.map(partial(_on_one_thread, function), items, pure=False, retries=RETRIES, resources=_resources(client))
    waiting = dict(zip(futures, items))
    del futures  # each would keep its result in the cluster's memory
    try:
        for future, result in as_completed(waiting, with_results=True):
            yield waiting.pop(future), result
    except KilledWorker as error:
        what = f"{error.allowed_failures + 1} workers died of the same chunk"
        remedy = f"Give them more memory, or make the chunks smaller. {RESUME}"
        raise UserError(what, f"scheduler {settings.scheduler}", remedy) from None
    except CancelledError as error:
        raise UserError(f"the cluster was lost ({error})", f"scheduler {settings.scheduler}", RESUME) from None
    finally:
        client.cancel(list(waiting))


def connect(settings: ComputeSettings):
    """Client of the cluster; raises `UserError` if no scheduler answers, or one that has no workers."""
    wanted = settings.scheduler, settings.workers or _workers_here(settings)
    client = _clients.get(wanted)
    if client is None or client.status != "running":  # one that is lost is no reason not to start another
        client = _clients[wanted] = _new_client(*wanted)
    try:
        client.wait_for_workers(1, timeout=None if settings.scheduler == "slurm" else PATIENCE_S)
    except TimeoutError:
        what, remedy = f"has had no worker for {PATIENCE_S} s", "Start some with `dask worker ADDRESS`"
        raise UserError(what, f"scheduler {settings.scheduler}", remedy) from None
    return client


def disconnect() -> None:
    """Close all clients of this process, and the clusters that it started."""
    while _clients:
        _, client = _clients.popitem()
        if client.cluster is not None:
            client.cluster.close()
        client.close()


def _new_client(scheduler: str, workers: int):
    from dask.distributed import Client, LocalCluster

    if scheduler == "local":
        environment = {"OMP_WAIT_POLICY": os.environ["OMP_WAIT_POLICY"]}
        return Client(LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0", env=environment))
    if scheduler == "slurm":
        return Client(_slurm(workers))
    try:
        return Client(scheduler, timeout=PATIENCE_S)
    except (OSError, ValueError, TimeoutError) as error:
        what, remedy = f"no Dask scheduler answers ({error})", "Start one with `dask scheduler`, or use local"
        raise UserError(what, f"compute.scheduler = {scheduler}", remedy) from None


def _slurm(jobs: int):
    """Cluster whose workers are jobs of SLURM; one that ends, at its time limit say, is followed by another."""
    from dask_jobqueue import SLURMCluster

    try:
        cluster = SLURMCluster()
    except ValueError:
        remedy = "Write queue, cores, memory and walltime into ~/.config/dask/jobqueue.yaml"
        what = "Dask's configuration does not say how large a job is"
        raise UserError(what, "compute.scheduler = slurm", remedy) from None
    cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
    print(f"waiting for SLURM to start the first of {jobs} jobs", flush=True)
    return cluster


def _workers_here(settings: ComputeSettings) -> int:
    """One for each core of this machine, one for its GPU; one job of SLURM."""
    if settings.scheduler == "local" and choose_device(settings.device).type == "cpu":
        return torch.get_num_threads()
    return 1


def _resources(client, devices: int = 1) -> dict[str, int] | None:
    """GPUs, where workers offer the resource ``GPU``."""
    workers = client.scheduler_info()["workers"].values()
    return {"GPU": devices} if any("GPU" in worker.get("resources", {}) for worker in workers) else None


def _on_one_thread(function: Callable[[Item], Result], item: Item) -> Result:
    with one_thread():
        return function(item)
