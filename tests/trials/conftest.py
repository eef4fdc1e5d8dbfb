from __future__ import annotations

import contextlib
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from benchmarks.servers import PostgreSQL, postgresql
from search.optimiser import Budget
from search.registry import make_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.objectives.description import describe
from trials.objectives.digits import DigitsObjective
from trials.objectives.images import ImagesObjective
from trials.objectives.simulated import SimulatedObjective
from trials.objectives.tabulated import tabulate
from trials.record.record import Record
from trials.runners.local_runner import run_local
from trials.runners.study import Study

FILES = Path(__file__).parent / "files"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> DigitsObjective:
    """The digits objective with the weights that `autonat train digits` gives, kept in a file
    because training takes minutes. Settings that differ from the file's are trained anew."""
    lab = tmp_path_factory.mktemp("digits") / "lab"
    shutil.copytree(FILES / "digits", lab)
    objective = DigitsObjective()
    objective.prepare(lab, lambda *_: None)
    return objective


@pytest.fixture(scope="session")
def small_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 150 simulated evaluations at T = 4."""
    folder = tmp_path_factory.mktemp("table")
    lab = Lab.open(folder)
    objective, space = SimulatedObjective(), Space(GenerationStrategy.maskgit(4))
    settings = {**describe("simulated", {}, objective), "space": space.to_json(), "kind": "search"}
    settings |= {"search_name": "small", "optimiser": "qmc"}
    record = Record.create(lab.record_url, "small-qmc", settings)
    optimiser = make_optimiser("qmc", space, Budget(150 * 200, 200), 0)
    run_local(Study(optimiser, record, space, 150, lambda _: None), objective)
    tabulate([record], folder / "small.parquet")
    return folder / "small.parquet"


@pytest.fixture(scope="module")
def database() -> Iterator[PostgreSQL]:
    """A PostgreSQL server."""
    with postgresql() as server:
        yield server


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A Ray cluster of two nodes on this machine, that says of one that it has a GPU; it takes
    drivers, and clients on the port of its head node."""
    # A port of its own: another test process may have a cluster too.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    head = {"num_cpus": 1, "ray_client_server_port": port}
    found = Cluster(initialize_head=True, head_node_args=head)
    found.add_node(num_cpus=1, num_gpus=1)
    try:
        _wait_for(port)
        yield found
    finally:
        found.shutdown()


def _wait_for(port: int) -> None:
    """Wait until the process for clients, which starts beside the head node, answers."""
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"no answer on port {port} in a minute")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.open(tmp_path / "lab")


@pytest.fixture
def with_mlflow(lab: Lab, mlflow_schema: Path) -> Lab:
    """The lab with MLflow's database in it."""
    shutil.copyfile(mlflow_schema, lab.folder / "mlflow.db")
    return lab


@pytest.fixture(scope="session")
def image_settings(squares: Path) -> dict[str, Any]:
    """Of an images objective that trains in a second."""
    return {
        "data": str(squares / "tokens"),
        "features": f"pixels:{squares / 'real.pixels.safetensors'}",
        "reference": str(squares / "real.npz"),
        "width": 16,
        "depth": 2,
        "num_heads": 2,
        "training_steps": 40,
        "batch_size": 16,
        "learning_rate": 0.004,
        "warmup_steps": 5,
        "ema_decay": 0.9,
        "chunk": 50,
    }


@pytest.fixture(scope="session")
def trained_images(
    image_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> ImagesObjective:
    """The images objective on pieces of photographs."""
    objective = ImagesObjective(**image_settings)
    objective.prepare(tmp_path_factory.mktemp("images"), lambda *_: None)
    return objective
