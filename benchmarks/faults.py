"""What a search loses when something dies under it: every fault is really made.

python -m benchmarks.faults                    # a quarter of an hour: all of them, on Ray
python -m benchmarks.faults driver node        # some of them

A search of two deterministic optimisers and its final test runs on a simulated objective that
writes down whatever it begins (benchmarks/faulty/counted.py). When all is over, its evaluations
and its winners are compared with those of a search that nothing happened to.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from mlflow.tracking import MlflowClient
from ray.cluster_utils import Cluster

from benchmarks.servers import MLflowServer, mlflow_server, postgresql
from trials import cli
from trials.record import Record, study_names

NAME = "faults"
HERE = Path(__file__).parent / "faulty"
OPTIMISERS = ("cmaes", "coarse-to-fine")
IMAGES = 100
SECONDS = 300.0
"""After which something that is waited for does not come any more."""

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["benchmarks.faults"])


@dataclass(frozen=True)
class Outcome:
    """What a fault did.

    Attributes:
        fault: in words.
        tries: how often it was made.
        evaluations: in the record at the end.
        lost: that the record held once, and does not any more.
        twice: that it holds more than once.
        again: that were begun more often than once, every further time.
        same: whether evaluations and winners are those of a search without faults.
        recovery: seconds until it went on, each time that it was seen.
    """

    fault: str
    tries: int
    evaluations: int
    lost: int
    twice: int
    again: int
    same: bool
    recovery: tuple[float, ...]


@dataclass
class Search:
    """A search from the command line, in a folder of its own.

    Attributes:
        folder: made if it is missing.
        evaluations: of each optimiser.
        latency: seconds that each of them sleeps.
        runner: ray or local.
        workers: with ray.
        record_url: of another record than the lab's own.
        more: words for the command line.
        settings: of the objective.
    """

    folder: Path
    evaluations: int = 40
    latency: float = 0.2
    runner: str = "ray"
    workers: int = 2
    record_url: str | None = None
    more: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    seen: dict[tuple[str, int], float] = field(default_factory=dict)
    lost: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.marks.touch()

    @property
    def marks(self) -> Path:
        """What the objective wrote down."""
        return self.folder / "marks"

    @property
    def url(self) -> str:
        """Of the record."""
        return self.record_url or f"sqlite:///{self.folder / 'lab' / 'record.db'}"

    def start(
        self,
        *,
        resume: bool = False,
        most: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> ForkServerProcess:
        """A driver; with `most`, one that cannot write files of more bytes."""
        words = ["search", "--lab", str(self.folder / "lab"), "--runner", self.runner, *self.more]
        if self.record_url is not None:
            words += ["--record-url", self.record_url]
        if self.runner == "ray":
            words += ["--workers", str(self.workers)]
        if resume:
            words += ["--resume", NAME]
        else:
            words += ["--name", NAME, "--steps", "2", "--objective", "counted:Counted"]
            given = {"marks": str(self.marks), "latency": self.latency, **self.settings}
            words += [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
            words += [word for name in OPTIMISERS for word in ("--optimiser", name)]
            words += ["--budget", str(self.evaluations * IMAGES), "--images", str(IMAGES)]
            words += ["--test-images", str(IMAGES)]
        more = (self.folder / "log", most, dict(environment or {}))
        process = _forks.Process(target=_drive, args=(words, *more))
        process.start()
        return process

    def look(self) -> dict[tuple[str, int], float]:
        """The FID of every evaluation in the record; what it held before and not now is lost."""
        rows = [
            ((name, evaluation.probe.number), evaluation.measurement.fid)
            for name in study_names(self.url)
            for evaluation in Record.open(self.url, name).evaluations
            if evaluation.measurement
        ]
        now = dict(rows)
        self.lost += sum(now.get(key) != fid for key, fid in self.seen.items())
        self.seen = now
        return now

    def wait_for(self, evaluations: int) -> None:
        """Until the record holds so many."""
        _until(lambda: self.begun() and len(self.look()) >= evaluations)

    def outcome(self, fault: str, tries: int, recovery: list[float]) -> Outcome:
        """When the search is over."""
        found = self.look()
        recorded = [
            (name, evaluation.probe.number)
            for name in study_names(self.url)
            for evaluation in Record.open(self.url, name).evaluations
        ]
        begun = sum(kind == "begin" for _, kind, *_ in marks(self))
        asked = _uninterrupted(self.evaluations)
        return Outcome(
            fault,
            tries,
            len(recorded),
            self.lost,
            len(recorded) - len(set(recorded)),
            begun - len(recorded),
            (found, self.winners()) == asked,
            tuple(recovery),
        )

    def winners(self) -> dict[str, str]:
        """The best strategies that were published, by method."""
        files = (self.folder / "lab" / "results" / NAME).glob("*.json")
        return {f.stem: json.dumps(json.loads(f.read_text())["generation"]) for f in files}

    def begun(self) -> bool:
        """Whether there is something to resume."""
        if self.record_url is None and not (self.folder / "lab" / "record.db").exists():
            return False
        with contextlib.suppress(ValueError):  # its tables are being made
            return any(name.startswith(NAME) for name in study_names(self.url))
        return False

    def begins_after(self, moment: float) -> list[float]:
        """Seconds until evaluations began that began after a moment."""
        return [at - moment for at, kind, *_ in marks(self) if kind == "begin" and at > moment]


def marks(search: Search) -> list[tuple[float, str, str, str]]:
    """Time, kind, evaluation and node of all that the objective wrote down."""
    lines = [line.split() for line in search.marks.read_text().splitlines()]
    return [(float(at), kind, key, node) for at, kind, key, node in lines]


def driver_killed(
    folder: Path,
    tries: int = 20,
    runner: str = "ray",
    life: float = 12.0,
    evaluations: int = 150,
) -> Outcome:
    """SIGKILL at random moments of one search, from its first second on."""
    rng = np.random.default_rng(0)
    search = Search(folder, evaluations, 0.2, runner)
    recovery: list[float] = []
    killed = 0
    while killed < tries:
        began = time.time()
        process = search.start(resume=search.begun())
        process.join(float(rng.uniform(0, life)))
        if not process.is_alive():
            break
        process.kill()
        process.join()
        killed += 1
        recovery += search.begins_after(began)[:1]
        if search.begun():
            search.look()
    _finish(search.start(resume=search.begun()))
    return search.outcome(f"driver, SIGKILL ({runner})", killed, recovery)


def driver_stopped(
    folder: Path, runner: str = "ray", by: int = signal.SIGTERM, evaluations: int = 40
) -> Outcome:
    """SIGTERM, as a scheduler's preemption gives it, or SIGINT, which is Ctrl-C."""
    search = Search(folder, evaluations, runner=runner)
    process = search.start()
    search.wait_for(evaluations)
    os.kill(process.pid or 0, by)
    _finish(process, 130)
    search.look()
    began = time.time()
    _finish(search.start(resume=True))
    recovery = search.begins_after(began)[:1]
    return search.outcome(f"driver, {signal.Signals(by).name}", 1, recovery)


def two_drivers(folder: Path, evaluations: int = 40) -> tuple[Outcome, str]:
    """A second driver of a search that runs.

    Returns:
        What it did, and what the second was told.
    """
    search = Search(folder, evaluations, runner="local")
    process = search.start()
    search.wait_for(5)
    _finish(search.start(resume=True), 2)
    said = (folder / "log").read_text().splitlines()[-1]
    _finish(process)
    return search.outcome("a second driver", 1, []), said


def worker_killed(folder: Path, tries: int = 5, evaluations: int = 60) -> Outcome:
    """SIGKILL of a worker, that measures or waits for the next probe."""
    rng = np.random.default_rng(0)
    search = Search(folder, evaluations)
    process, faults = search.start(), []
    search.wait_for(5)
    for _ in range(tries):
        time.sleep(float(rng.uniform(1, 3)))
        workers = _workers(process)
        os.kill(workers[int(rng.integers(len(workers)))], signal.SIGKILL)
        faults.append(time.time())
    _finish(process)
    return search.outcome("worker, SIGKILL", tries, _begun_again(search, faults))


def node_lost(folder: Path, evaluations: int = 40) -> tuple[Outcome, int]:
    """One node of two dies, raylet and workers; another is added.

    Returns:
        What it did, and how many evaluations ran on the node that was added.
    """
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        cluster.add_node(num_cpus=1)
        second = cluster.add_node(num_cpus=1)
        search = Search(folder, evaluations, 0.6, more=("--ray-address", cluster.address))
        process = search.start()
        _until(lambda: len({node for *_, node in marks(search)}) == 2)
        cluster.remove_node(second, allow_graceful=False)
        fault = time.time()
        search.wait_for(len(search.look()) + 5)
        third = cluster.add_node(num_cpus=1)
        _finish(process)
        added = sum(kind == "end" and node == third.node_id for _, kind, _, node in marks(search))
        return search.outcome("node of two lost", 1, _begun_again(search, [fault])), added
    finally:
        cluster.shutdown()


def mlflow_away(folder: Path) -> tuple[Outcome, int]:
    """The MLflow server dies and comes back; what recovers is the mirror.

    Returns:
        What it did, and how many child runs MLflow has that the record does not, or the reverse.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with mlflow_server(folder) as server:
        # Long enough that it still runs when the server is back.
        search = Search(folder, 60, 1.0, more=("--tracking-uri", server.uri))
        process = search.start()
        _until(lambda: bool(_mirrored(server)))
        server.stop()
        search.wait_for(len(search.look()) + 10)
        server.start()
        back = time.time()
        held = len(_mirrored(server))
        _until(lambda: len(_mirrored(server)) > held)
        recovery = [time.time() - back]
        _finish(process)
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
    """The record's server dies under the search, and is started again."""
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
        _finish(process)
        return search.outcome("PostgreSQL restarted", tries, recovery)


def disk_full(folder: Path, evaluations: int = 40) -> tuple[Outcome, str]:
    """The record's file cannot grow; later it can.

    Returns:
        What it did, and the line that the driver ended with.
    """
    search = Search(folder, evaluations, 0.0, "local")
    process = search.start(most=200_000)
    _finish(process, 2)
    said = (folder / "log").read_text().splitlines()[-1]
    search.look()
    began = time.time()
    _finish(search.start(resume=True))
    recovery = search.begins_after(began)[:1]
    return search.outcome("disk full at the record", 1, recovery), said


def hanging(folder: Path) -> Outcome:
    """Evaluations that hang, ended by a time limit."""
    search = Search(folder, settings={"hang": 2}, more=("--time-limit", "3"))
    _finish(search.start())
    faults = [at for at, kind, *_ in marks(search) if kind == "hang"]
    return search.outcome("hangs, time limit 3 s", len(faults), _begun_again(search, faults))


def out_of_memory(folder: Path, gigabytes: float = 6.0, evaluations: int = 40) -> Outcome:
    """Evaluations that take more memory than Ray's monitor allows, which is half of it."""
    memory = psutil.virtual_memory()
    allowed = 1 - (memory.available - gigabytes / 2 * 2**30) / memory.total
    ray = {"memory_usage_threshold": f"{allowed:.4f}", "memory_monitor_refresh_ms": "100"}
    search = Search(folder, evaluations, settings={"gigabytes": gigabytes, "greedy": 2})
    _finish(search.start(environment={f"RAY_{name}": value for name, value in ray.items()}))
    faults = [at for at, kind, *_ in marks(search) if kind == "greedy"]
    return search.outcome("out of memory", len(faults), _begun_again(search, faults))


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


def _drive(words: list[str], log: Path, most: int | None, environment: dict[str, str]) -> None:
    """The command line, in this process."""
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(HERE)
    if most is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    sys.argv = ["autonat", *words]
    cli.main()


def _finish(process: ForkServerProcess, code: int = 0) -> None:
    process.join(SECONDS)
    if process.exitcode != code:
        raise RuntimeError(f"the driver ended with {process.exitcode}, not {code}")


def _until(there: Callable[[], bool]) -> None:
    until = time.monotonic() + SECONDS
    while not there():
        if time.monotonic() > until:
            raise TimeoutError(f"waited for {SECONDS:.0f} s")
        time.sleep(0.1)


def _workers(driver: ForkServerProcess) -> list[int]:
    """Processes of the local Ray of a driver that hold an objective, busy or not."""
    found: list[int] = []

    def there() -> bool:
        for process in psutil.Process(driver.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error, IndexError):
                if process.cmdline()[0].startswith(("ray::EvaluationTrial", "ray::_Inner")):
                    found.append(process.pid)
        return bool(found)

    _until(there)
    return found


def _begun_again(search: Search, faults: list[float]) -> list[float]:
    """Seconds from each fault until what it ended was begun once more."""
    begun: dict[str, list[float]] = {}
    for at, kind, key, _ in marks(search):
        if kind == "begin":
            begun.setdefault(key, []).append(at)
    later = [times[1] for times in begun.values() if len(times) > 1]
    waits = [[at - fault for at in later if at > fault] for fault in faults]
    return [min(wait) for wait in waits if wait]


def _mirrored(server: MLflowServer) -> Counter[tuple[str, int]]:
    """Finished child runs."""
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("autonat")
    if experiment is None:
        return Counter()
    runs = client.search_runs([experiment.experiment_id], max_results=5000)
    return Counter(
        (str(run.info.run_name).split()[0], int(run.data.tags["autonat.probe"]))
        for run in runs
        if "mlflow.parentRunId" in run.data.tags and run.info.status == "FINISHED"
    )


_whole: dict[int, tuple[dict[tuple[str, int], float], dict[str, str]]] = {}


def _uninterrupted(evaluations: int) -> tuple[dict[tuple[str, int], float], dict[str, str]]:
    """Evaluations and winners of a search that nothing happens to."""
    if evaluations not in _whole:
        with _folder() as folder:
            search = Search(folder, evaluations, 0.0, "local")
            _finish(search.start())
            _whole[evaluations] = search.look(), search.winners()
    return _whole[evaluations]


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="autonat-faults-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Make the faults that are named, all by default, and print what they did."""
    rows = []
    for name in sys.argv[1:] or list(FAULTS):
        with _folder() as folder:
            found = FAULTS[name](folder)
        outcome, note = found if isinstance(found, tuple) else (found, "")
        seconds = outcome.recovery
        told = f"{np.median(seconds):.1f} (to {max(seconds):.1f})" if seconds else ""
        rows.append({**vars(outcome), "recovery": told, "note": note})
        print(pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
