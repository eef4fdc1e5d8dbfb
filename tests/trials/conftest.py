from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from mlflow.tracking import MlflowClient
from PIL import Image
from ray.cluster_utils import Cluster
from sklearn.datasets import load_sample_images

from benchmarks.servers import PostgreSQL, postgresql
from models.threads import one_thread
from search.optimiser import Budget
from search.registry import make_optimiser
from search.space import Space
from search.strategy import GenerationStrategy
from trials import entry
from trials.databases import sqlite_url
from trials.digits import DigitsObjective
from trials.image_sources import open_source
from trials.images import ImagesObjective
from trials.lab import Lab
from trials.local_runner import run_local
from trials.objective import describe
from trials.real_statistics import real_statistics
from trials.record import Record
from trials.simulated import SimulatedObjective
from trials.study import Study
from trials.tabulated import tabulate
from trials.tokenize import Tokenizing, tokenize


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> DigitsObjective:
    """The digits objective as the demo trains it, once for all processes of a test run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    objective = DigitsObjective()
    with FileLock(folder / "digits.lock"):
        objective.prepare(folder / "digits", lambda *_: None)
    return objective


@pytest.fixture(scope="session")
def small_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 150 simulated evaluations at T = 4."""
    folder = tmp_path_factory.mktemp("table")
    lab = Lab.open(folder)
    objective, space = SimulatedObjective(), Space(GenerationStrategy.maskgit(4))
    settings = {**describe("simulated", {}, objective), "space": space.to_json(), "kind": "search"}
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
    drivers, and clients on port 23571."""
    head = {"num_cpus": 1, "ray_client_server_port": 23571}
    found = Cluster(initialize_head=True, head_node_args=head)
    found.add_node(num_cpus=1, num_gpus=1)
    try:
        yield found
    finally:
        found.shutdown()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.open(tmp_path / "lab")


@pytest.fixture(scope="session")
def mlflow_schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's empty database, made once: it takes seconds."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(sqlite_url(file)).search_experiments()
    return file


@pytest.fixture
def with_mlflow(lab: Lab, mlflow_schema: Path) -> Lab:
    """The lab with MLflow's database in it."""
    shutil.copyfile(mlflow_schema, lab.folder / "mlflow.db")
    return lab


@pytest.fixture
def autonat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process from an empty folder: exit code, stdout, stderr."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*words: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["autonat", *map(str, words)])
        code = 0
        try:
            entry.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """A real picture, 90 x 72."""
    return Image.fromarray(load_sample_images().images[0]).resize((90, 72))


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 120 pieces of two photographs (pictures/CLASS/*.png), a caption of each
    (captions.tsv), their tokens (tokens/, texts/) and their statistics (real.npz)."""
    root = tmp_path_factory.mktemp("squares")
    rng = np.random.default_rng(0)
    lines = []
    for index in range(120):
        name = ("china", "flower")[index % 2]
        photo = load_sample_images().images[index % 2]
        y, x = rng.integers(0, 300, 2)
        file = root / "pictures" / name / f"{index:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo[y : y + 40, x : x + 40]).save(file)
        lines.append(f"a piece of a photograph of a {name}\t{name}/{file.name}\n")
    (root / "captions.tsv").write_text("".join(lines))
    with one_thread():
        for folder, captions in (("tokens", None), ("texts", root / "captions.tsv")):
            source = open_source(root / "pictures", captions)
            run = Tokenizing(source, "patches", 16, root / folder, 4, 32, workers=0)
            tokenize(run, lambda _: lambda *_: None)
        real_statistics(
            open_source(root / "pictures"),
            "pixels",
            16,
            root / "real.npz",
            side=2,
            batch=32,
            workers=0,
            report=lambda _: lambda *_: None,
        )
    return root


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
