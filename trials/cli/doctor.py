"""Checks that a search would find what it needs: the lab, the record, MLflow, Ray and its nodes.

Every check tries the real thing: a study is created in the record and deleted, and every node looks
for a file in the lab. In a new lab it leaves the empty record and store that the first search would
make.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import mlflow
import optuna
import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from trials.lab import Lab
from trials.record.databases import without_password
from trials.record.storage import open_storage, readable
from trials.record.studies import study_names
from trials.runners.local_ray import home_fault, session_folder
from trials.runners.ray_runner import counted, has_room
from trials.runners.ray_session import TOKEN, last_line, ray_session
from trials.tracking.client import store_error, tracking_client

PACKAGES = ("ray", "torch", "numpy", "scipy", "optuna", "mlflow", "pydantic")
"""Packages that a worker needs; autonat itself is sent along with a search."""
LITTLE_SPACE = 2**30
"""Free bytes in the lab below which there is a warning."""
SLOW = 0.5
"""Seconds for creating a study above which there is a warning."""
ANSWER_SECONDS = 60.0
"""Seconds within which a node has to answer."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: what was checked.
        state: "failed" keeps a search from running, a "warning" does not.
        found: what was found, in one line.
        advice: what to do about it; empty where nothing is to be done.
    """

    what: str
    state: Literal["ok", "warning", "failed"]
    found: str
    advice: str = ""


@dataclass(frozen=True)
class NodeReport:
    """What a node reports about itself.

    Attributes:
        host: the name of the machine.
        versions: of Python and of PACKAGES; None for a missing package.
        gpus: the names of the GPUs that torch sees.
        lab: whether the node sees the file that the driver put into the lab.
    """

    host: str
    versions: dict[str, str | None]
    gpus: list[str]
    lab: bool


def examine(
    folder: Path,
    record_url: str | None,
    tracking_uri: str | None,
    address: str | None,
    gpus_per_trial: float,
) -> Iterator[Finding]:
    """Make all checks, and yield each finding as soon as it is known.

    Args:
        folder: the folder of the lab.
        record_url: the storage of the record; None for the one in the lab.
        tracking_uri: the store of MLflow; None for the one in the lab.
        address: of a Ray cluster; None checks what a Ray needs that is started on this machine.
        gpus_per_trial: GPUs that each evaluation of a search would use.
    """
    try:
        lab = Lab.open(folder, record_url, tracking_uri)
    except ValueError as error:
        yield Finding("lab", "failed", str(error), "give a writable folder with --lab")
        return
    yield _lab(lab)
    yield _record(lab.record_url)
    yield _tracking(lab)
    yield _speed()
    if address is None:
        yield _local_ray()
    else:
        yield from _cluster(lab, address, gpus_per_trial)


def report(lab: Path) -> NodeReport:
    """Report about this machine; `lab` is the file in the lab to look for."""
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # Ray hides GPUs from a task that asks for none
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return NodeReport(platform.node(), _versions(), gpus, lab.exists())


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _lab(lab: Lab) -> Finding:
    free = shutil.disk_usage(lab.folder).free
    found = f"{lab.folder}, {free / 2**30:.1f} GiB free"
    if free < LITTLE_SPACE:
        return Finding(
            "lab", "warning", found, "free some space, or give another folder with --lab"
        )
    return Finding("lab", "ok", found)


def _record(url: str) -> Finding:
    name = f"autonat-doctor-{uuid.uuid4().hex}"
    try:
        with readable(url):
            storage = open_storage(url)
            began = time.monotonic()
            optuna.create_study(study_name=name, storage=storage)
            seconds = time.monotonic() - began
            optuna.delete_study(study_name=name, storage=storage)
            storage.remove_session()
            studies = len(study_names(url))
    except ValueError as error:
        advice = "start its server, install autonat[postgres], or fix the permissions of its user"
        return Finding("record", "failed", str(error), advice)
    found = f"{without_password(url)}, {studies} studies, creating a study took {seconds:.2f} s"
    if seconds > SLOW:
        return Finding("record", "warning", found, "move the database closer to the driver")
    return Finding("record", "ok", found)


def _tracking(lab: Lab) -> Finding:
    uri = lab.tracking_uri
    try:
        server = _server_version(uri) if uri.startswith(("http:", "https:")) else None
        experiments = len(tracking_client(uri).search_experiments())
    except Exception as error:  # the stores of MLflow raise any error of their drivers
        advice = "searches run without it, and autonat sync completes it later; fix its server"
        return Finding("MLflow", "warning", store_error(uri, error), advice)
    found = f"{without_password(uri)}, {experiments} experiments"
    if server is None or server == mlflow.__version__:
        return Finding("MLflow", "ok", found)
    found += f", version {server} there, {mlflow.__version__} here"
    if server.split(".")[0] == mlflow.__version__.split(".")[0]:
        return Finding("MLflow", "ok", found)
    return Finding("MLflow", "warning", found, "install the same version of mlflow at both ends")


def _speed() -> Finding:
    """Measure matrix products, the ceiling of all networks; it takes a second."""
    import torch

    from models.ceiling import product_flops
    from models.precision import device, require_supported

    where = torch.cuda.get_device_name() if device() == "cuda" else "one CPU thread"
    found = []
    try:
        for precision in ("float32", "tf32", "bfloat16") if device() == "cuda" else ("float32",):
            require_supported(precision)
            found.append(f"{precision} {product_flops(precision) / 1e12:.3g}")
    except ValueError:  # an older GPU has only the first
        pass
    except torch.OutOfMemoryError:
        return Finding("speed", "warning", f"{where}: its memory is full", "end what fills it")
    return Finding("speed", "ok", f"{where}: matrix products in TFLOP/s: {', '.join(found)}")


def _server_version(uri: str) -> str | None:
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/version", timeout=10) as answer:
            return str(answer.read().decode().strip())
    except urllib.error.HTTPError:  # a proxy may hide it
        return None


def _local_ray() -> Finding:
    """Check what could keep Ray from starting here; starting it would take 15 seconds."""
    try:
        with session_folder() as own:
            notes = []
            if own is not None:
                notes.append(
                    f"its session will be in {Path(own).parent}, since TMPDIR cannot hold it"
                )
            fault = home_fault()
            if fault is not None:
                notes.append(
                    f"each search gets a token of its own, since ~/.ray cannot be used ({fault})"
                )
            return Finding("Ray", "ok", "; ".join(["a search starts Ray on this machine", *notes]))
    except ValueError as error:
        return Finding("Ray", "failed", str(error), "export TMPDIR=/a/short/folder")


def _cluster(lab: Lab, address: str, gpus_per_trial: float) -> Iterator[Finding]:
    try:
        with ray_session(address, 1):
            resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
            known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
            nodes = [node for node in known if node["Alive"]]
            many = f"{len(nodes)} node{'s' * (len(nodes) != 1)}"
            found = f"{address}, {many}, CPUs: {cpus:g}, GPUs: {gpus:g}"
            if not has_room(nodes, gpus_per_trial):
                needed = f"1 CPU and {counted(gpus_per_trial)}"
                advice = f"add a node that has {needed}, which each trial needs"
                yield Finding("Ray", "failed", found, advice)
            else:
                yield Finding("Ray", "ok", found)
            yield from _nodes(lab, nodes)
    except ValueError as error:
        advice = f"start the cluster, install its versions here, or copy {TOKEN}"
        yield Finding("Ray", "failed", str(error), advice)


def _nodes(lab: Lab, nodes: list[dict[str, Any]]) -> Iterator[Finding]:
    """Ask all nodes at once, each in a new process."""
    sign = lab.folder / f"autonat-doctor-{uuid.uuid4().hex}"
    sign.touch()
    look = ray.remote(num_cpus=0, max_calls=1)(report)
    try:
        asked = []
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked.append(look.options(scheduling_strategy=there).remote(sign))
        until = time.monotonic() + ANSWER_SECONDS
        hosts = Counter(node["NodeManagerAddress"] for node in nodes)
        for node, answer in zip(nodes, asked, strict=True):
            what = f"node {node['NodeManagerAddress']}"
            if hosts[node["NodeManagerAddress"]] > 1:
                what += f" {node['NodeID'][:6]}"
            try:
                told = ray.get(answer, timeout=max(0.1, until - time.monotonic()))
            except (GetTimeoutError, RayError) as error:
                yield Finding(
                    what,
                    "failed",
                    last_line(error)[:300],
                    "read its logs in /tmp/ray/session_latest",
                )
            else:
                yield _node(what, told, node["Resources"].get("GPU", 0))
    finally:
        sign.unlink(missing_ok=True)


def _node(what: str, told: NodeReport, declared: float) -> Finding:
    """The finding about a node that answered."""
    differing = [
        f"{name} {told.versions.get(name)}, {version} here"
        for name, version in _versions().items()
        if told.versions.get(name) != version
    ]
    seen = f"{len(told.gpus)} GPUs ({told.gpus[0]})" if told.gpus else "no GPU"
    found, advice = f"{told.host}, {seen}", []
    if differing:
        found += ", " + ", ".join(differing)
        advice.append("install the versions of constraints.txt on all nodes")
    if len(told.gpus) < declared:
        found += f", of {declared:g} declared"
        advice.append("fix its driver or its CUDA build of torch, or declare fewer GPUs")
    elif len(told.gpus) > declared:
        found += f", {declared:g} declared"
        advice.append("start its Ray with --num-gpus, or searches leave these GPUs idle")
    if not told.lab:
        found += ", does not see the lab"
        advice.append("searches that train models need a --lab on storage that all nodes share")
    missing = [name for name, version in told.versions.items() if version is None]
    if missing or len(told.gpus) < declared:
        return Finding(what, "failed", found, "; ".join(advice))
    return Finding(what, "warning" if advice else "ok", found, "; ".join(advice))
