"""Causes real faults during a search, and reports what the search lost.

    python -m benchmarks.faults                    # all faults, on Ray; a quarter of an hour
    python -m benchmarks.faults driver node        # some of them

A search of two deterministic optimisers and its final test runs on a simulated objective that logs
the start and end of each evaluation (benchmarks/faulty/counted.py). In the end its evaluations and
winners are compared with those of a search without faults.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from mlflow.tracking import MlflowClient
from ray.cluster_utils import Cluster

from benchmarks.servers import MLflowServer, mlflow_server, postgresql
from benchmarks.watched_search import Outcome, Search, finish, marks, scratch, until


def driver_killed(
    folder: Path,
    tries: int = 20,
    runner: str = "ray",
    life: float = 24.0,
    evaluations: int = 150,
    latency: float = 0.6,
) -> Outcome:
    """Kill the driver with SIGKILL at random moments of one search, from its first second on."""
    rng = np.random.default_rng(0)
    search = Search(folder, evaluations, latency, runner)
    recovery: list[float] = []
    killed = 0
    while killed < tries:
        began = time.time()
        process = search.start(resume=search.begun())
        process.join(float(rng.uniform(0, life)))
        if not process.is_alive():
            finish(process)  # the search is complete, with less to do than for so many tries
            break
        process.kill()
        process.join()
        killed += 1
        recovery += search.begins_after(began)[:1]
        if search.begun():
            search.look()
    finish(search.start(resume=search.begun()))
    return search.outcome(f"driver, SIGKILL ({runner})", killed, recovery)


def driver_stopped(
    folder: Path, runner: str = "ray", by: int = signal.SIGTERM, evaluations: int = 40
) -> Outcome:
    """Stop the driver with SIGTERM, as a scheduler does at preemption, or SIGINT, like Ctrl-C."""
    search = Search(folder, evaluations, runner=runner)
    process = search.start()
    search.wait_for(evaluations)
    os.kill(process.pid or 0, by)
    finish(process, 130)
    search.look()
    began = time.time()
    finish(search.start(resume=True))
    recovery = search.begins_after(began)[:1]
    return search.outcome(f"driver, {signal.Signals(by).name}", 1, recovery)


def two_drivers(folder: Path, evaluations: int = 40) -> tuple[Outcome, str]:
    """Start a second driver of a running search.

    Returns:
        The outcome, and the line that the second driver printed.
    """
    search = Search(folder, evaluations, runner="local")
    process = search.start()
    search.wait_for(5)
    finish(search.start(resume=True), 2)
    said = (folder / "log").read_text().splitlines()[-1]
    finish(process)
    return search.outcome("a second driver", 1, []), said


def worker_killed(folder: Path, tries: int = 5, evaluations: int = 60) -> Outcome:
    """Kill workers with SIGKILL, while they measure or wait for the next probe."""
    rng = np.random.default_rng(0)
    search = Search(folder, evaluations)
    process, faults = search.start(), []
    search.wait_for(5)
    for _ in range(tries):
        time.sleep(float(rng.uniform(1, 3)))
        workers = _workers(process)
        os.kill(workers[int(rng.integers(len(workers)))], signal.SIGKILL)
        faults.append(time.time())
    finish(process)
    return search.outcome("worker, SIGKILL", tries, _restart_times(search, faults))


def node_lost(folder: Path, evaluations: int = 40) -> tuple[Outcome, int]:
    """Kill one node of two, raylet and workers, and add another.

    Returns:
        The outcome, and how many evaluations ran on the added node.
    """
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        cluster.add_node(num_cpus=1)
        second = cluster.add_node(num_cpus=1)
        search = Search(folder, evaluations, 0.5, more=("--ray-address", cluster.address))
        process = search.start()
        until(lambda: len({node for *_, node in marks(search)}) == 2)
        cluster.remove_node(second, allow_graceful=False)
        fault = time.time()
        search.wait_for(len(search.look()) + 5)
        gate = Path(f"{search.marks}.gate")
        gate.touch()  # however slowly the node starts, there is work left for it
        third = cluster.add_node(num_cpus=1)
        until(lambda: third.node_id in {node for *_, node in marks(search)})
        gate.unlink()
        finish(process)
        added = sum(kind == "end" and node == third.node_id for _, kind, _, node in marks(search))
        return search.outcome("node of two lost", 1, _restart_times(search, [fault])), added
    finally:
        cluster.shutdown()


def mlflow_away(folder: Path) -> tuple[Outcome, int]:
    """Kill the MLflow server and start it again; the recovery is that of the mirror.

    Returns:
        The outcome, and how many child runs are either only in MLflow or only in the record.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with mlflow_server(folder) as server:
        # Long enough that the search still runs when the server is back.
        search = Search(folder, 60, 1.0, more=("--tracking-uri", server.uri))
        process = search.start()
        until(lambda: bool(_mirrored(server)))
        server.stop()
        search.wait_for(len(search.look()) + 10)
        server.start()
        back = time.time()
        held = len(_mirrored(server))
        until(lambda: len(_mirrored(server)) > held)
        recovery = [time.time() - back]
        finish(process)
        ours = Counter(search.look().keys())
        outcome = search.outcome("MLflow server away", 1, recovery)
        return outcome, (_mirrored(server) - ours).total() + (ours - _mirrored(server)).total()


def postgresql_restarted(
    folder: Path,
    tries: int = 3,
    runner: str = "ray",
    away: float = 3.0,
    evaluations: int = 40,
) -> Outcome:
    """Stop the database server of the record during a search, and start it again."""
    with postgresql() as server:
        server.execute("create database record")
        search = Search(folder, evaluations, runner=runner, record_url=server.url("record"))
        process, recovery = search.start(), []
        for _ in range(tries):
            search.wait_for(len(search.seen) + 10)
            server.stop()
            time.sleep(away)
            server.start()
            back, held = time.time(), len(search.look())
            search.wait_for(held + 1)
            recovery.append(time.time() - back)
        finish(process)
        return search.outcome("PostgreSQL restarted", tries, recovery)


def disk_full(folder: Path, evaluations: int = 40) -> tuple[Outcome, str]:
    """Prevent the file of the record from growing, and later allow it.

    Returns:
        The outcome, and the line with which the driver ended.
    """
    search = Search(folder, evaluations, 0.0, "local")
    process = search.start(most=200_000)
    finish(process, 2)
    said = (folder / "log").read_text().splitlines()[-1]
    if not search.look():
        raise RuntimeError("the disk was full before the first evaluation")
    began = time.time()
    finish(search.start(resume=True))
    recovery = search.begins_after(began)[:1]
    return search.outcome("disk full at the record", 1, recovery), said


def hanging(folder: Path) -> Outcome:
    """Let evaluations hang until a time limit ends them."""
    search = Search(folder, settings={"hang": 2}, more=("--time-limit", "3"))
    finish(search.start())
    faults = [at for at, kind, *_ in marks(search) if kind == "hang"]
    return search.outcome("hangs, time limit 3 s", len(faults), _restart_times(search, faults))


def out_of_memory(folder: Path, gigabytes: float = 6.0, evaluations: int = 40) -> Outcome:
    """Let evaluations use twice the memory that Ray's monitor allows."""
    memory = psutil.virtual_memory()
    allowed = 1 - (memory.available - gigabytes / 2 * 2**30) / memory.total
    ray = {"memory_usage_threshold": f"{allowed:.4f}", "memory_monitor_refresh_ms": "100"}
    search = Search(folder, evaluations, settings={"gigabytes": gigabytes, "greedy": 2})
    finish(search.start(environment={f"RAY_{name}": value for name, value in ray.items()}))
    faults = [at for at, kind, *_ in marks(search) if kind == "greedy"]
    return search.outcome("out of memory", len(faults), _restart_times(search, faults))


FAULTS: dict[str, Callable[[Path], Any]] = {
    "driver": driver_killed,
    "preemption": driver_stopped,
    "second": two_drivers,
    "worker": worker_killed,
    "node": node_lost,
    "mlflow": mlflow_away,
    "postgresql": postgresql_restarted,
    "disk": disk_full,
    "hang": hanging,
    "memory": out_of_memory,
}


def _workers(driver: ForkServerProcess) -> list[int]:
    """Return the processes of a driver's local Ray that hold an objective, busy or idle."""
    found: list[int] = []

    def there() -> bool:
        for process in psutil.Process(driver.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error, IndexError):
                if process.cmdline()[0].startswith(("ray::EvaluationTrial", "ray::_Inner")):
                    found.append(process.pid)
        return bool(found)

    until(there)
    return found


def _restart_times(search: Search, faults: list[float]) -> list[float]:
    """Return the seconds from each fault until the evaluation that it ended was restarted."""
    begun: dict[str, list[float]] = {}
    for at, kind, key, _ in marks(search):
        if kind == "begin":
            begun.setdefault(key, []).append(at)
    found = []
    for times in begun.values():
        for before, again in pairwise(times):
            ended_by = [fault for fault in faults if before < fault < again]
            found += [again - max(ended_by)] if ended_by else []
    return found


def _mirrored(server: MLflowServer) -> Counter[tuple[str, int]]:
    """Return the finished child runs in MLflow."""
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("autonat evaluations")
    if experiment is None:
        return Counter()
    runs = client.search_runs([experiment.experiment_id], max_results=5000)
    return Counter(
        (str(run.info.run_name).split()[0], int(run.data.tags["autonat.probe"]))
        for run in runs
        if "mlflow.parentRunId" in run.data.tags and run.info.status == "FINISHED"
    )


def main() -> None:
    """Cause the named faults, by default all, and print the outcomes."""
    rows = []
    for name in sys.argv[1:] or list(FAULTS):
        with scratch() as folder:
            found = FAULTS[name](Path(folder))
        outcome, note = found if isinstance(found, tuple) else (found, "")
        seconds = outcome.recovery
        recovery = f"{np.median(seconds):.1f} (to {max(seconds):.1f})" if seconds else ""
        rows.append({**vars(outcome), "recovery": recovery, "note": note})
        print(pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
