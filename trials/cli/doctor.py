"""Whether a search would find what it needs: lab, record, MLflow, Ray and its nodes.

Everything is really tried, and nothing stays behind: a study is made and deleted in the record, a
file in the lab is looked for from every node.
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
from trials.runners.ray_runner import has_room
from trials.runners.ray_session import TOKEN, last_line, ray_session
from trials.tracking.client import store_error, tracking_client

PACKAGES = ("ray", "torch", "numpy", "scipy", "optuna", "mlflow", "pydantic")
"""What a worker needs beside autonat itself, which a search sends along."""
LITTLE_SPACE = 2**30
"""Bytes free in the lab."""
SLOW = 0.5
"""Seconds to make a study."""
ANSWER_SECONDS = 60.0
"""In which a node has to answer."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: it is.
        state: "failed" keeps a search from running, a "warning" does not.
        found: in one line.
        advice: what to do about it.
    """

    what: str
    state: Literal["ok", "warning", "failed"]
    found: str
    advice: str = ""


@dataclass(frozen=True)
class NodeReport:
    """What a node says of itself.

    Attributes:
        host: its name.
        versions: of Python and of PACKAGES; a package that is missing has none.
        gpus: names of those that torch sees.
        lab: whether it sees the file that the driver has put into the lab.
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
    """Look at everything, one finding after the other.

    Args:
        folder: of the lab.
        record_url: None is the lab's own.
        tracking_uri: None is the lab's own.
        address: of a Ray cluster; None looks at what a Ray that is started here needs.
        gpus_per_trial: that a search would ask for.
    """
    try:
        lab = Lab.open(folder, record_url, tracking_uri)
    except ValueError as error:
        yield Finding("lab", "failed", str(error), "name a folder that can be written with --lab")
        return
    yield _lab(lab)
    yield _record(lab.record_url)
    yield _tracking(lab)
    if address is None:
        yield _local_ray()
    else:
        yield from _cluster(lab, address, gpus_per_trial)


def report(lab: Path) -> NodeReport:
    """What this machine says of itself, `lab` being the file to look for."""
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
        return Finding("lab", "warning", found, "make room, or name another folder with --lab")
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
        advice = "start its server, install autonat[postgres], or mend its user's rights"
        return Finding("record", "failed", str(error), advice)
    found = f"{without_password(url)}, {studies} studies, one made in {seconds:.2f} s"
    if seconds > SLOW:
        return Finding("record", "warning", found, "move the database nearer to the driver")
    return Finding("record", "ok", found)


def _tracking(lab: Lab) -> Finding:
    uri = lab.tracking_uri
    try:
        server = _server_version(uri) if uri.startswith(("http:", "https:")) else None
        experiments = len(tracking_client(uri).search_experiments())
    except Exception as error:  # MLflow's stores raise whatever their drivers do
        advice = "searches run without it, and autonat sync completes it later; mend its server"
        return Finding("MLflow", "warning", store_error(uri, error), advice)
    found = f"{without_password(uri)}, {experiments} experiments"
    if server is None or server == mlflow.__version__:
        return Finding("MLflow", "ok", found)
    found += f", version {server}, {mlflow.__version__} here"
    if server.split(".")[0] == mlflow.__version__.split(".")[0]:
        return Finding("MLflow", "ok", found)
    return Finding("MLflow", "warning", found, "install one version of mlflow at both ends")


def _server_version(uri: str) -> str | None:
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/version", timeout=10) as answer:
            return str(answer.read().decode().strip())
    except urllib.error.HTTPError:  # behind a proxy that hides it
        return None


def _local_ray() -> Finding:
    """Not started, for that takes a quarter of a minute: only what keeps it from starting."""
    try:
        with session_folder() as own:
            notes = []
            if own is not None:
                notes.append(f"its session will lie in {Path(own).parent}: TMPDIR cannot hold it")
            fault = home_fault()
            if fault is not None:
                notes.append(f"its token goes with each search: no ~/.ray here ({fault})")
            return Finding("Ray", "ok", "; ".join(["a search starts its own here", *notes]))
    except ValueError as error:
        return Finding("Ray", "failed", str(error), "export TMPDIR=/a/short/folder")


def _cluster(lab: Lab, address: str, gpus_per_trial: float) -> Iterator[Finding]:
    try:
        with ray_session(address, 1):
            resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
            known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
            nodes = [node for node in known if node["Alive"]]
            found = f"{address}, {len(nodes)} nodes, {cpus:g} CPUs, {gpus:g} GPUs"
            if not has_room(nodes, gpus_per_trial):
                advice = (
                    f"add a node that has 1 CPU and {gpus_per_trial:g} GPUs, as a trial asks for"
                )
                yield Finding("Ray", "failed", found, advice)
            else:
                yield Finding("Ray", "ok", found)
            yield from _nodes(lab, nodes)
    except ValueError as error:
        advice = f"start the cluster, install its versions here, or carry {TOKEN}"
        yield Finding("Ray", "failed", str(error), advice)


def _nodes(lab: Lab, nodes: list[dict[str, Any]]) -> Iterator[Finding]:
    """Ask all nodes at once, each in a process that ends with its answer."""
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
                    "look at its logs: /tmp/ray/session_latest",
                )
            else:
                yield _node(what, told, node["Resources"].get("GPU", 0))
    finally:
        sign.unlink(missing_ok=True)


def _node(what: str, told: NodeReport, declared: float) -> Finding:
    """What is wrong with a node that answered, if anything."""
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
        advice.append("mend its driver or its CUDA build of torch, or declare fewer")
    elif len(told.gpus) > declared:
        found += f", {declared:g} declared"
        advice.append("start its Ray with --num-gpus, or searches leave them idle")
    if not told.lab:
        found += ", does not see the lab"
        advice.append("searches that train need --lab on storage that all nodes share")
    missing = [name for name, version in told.versions.items() if version is None]
    if missing or len(told.gpus) < declared:
        return Finding(what, "failed", found, "; ".join(advice))
    return Finding(what, "warning" if advice else "ok", found, "; ".join(advice))
