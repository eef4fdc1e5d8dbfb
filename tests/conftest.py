from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from models.data.image_sources import open_source
from models.data.letters import CHARACTERS, decode
from models.data.real_statistics import real_statistics
from models.data.tokenize import Tokenizing, tokenize
from models.threads import one_thread
from tests.fake_cuda import fake_cuda
from tests.mlflow_tables import copied_tables, make_tables
from trials.cli import entry
from trials.objectives.letters.files import FOLDER, read_size

# A job that a shell runs in the background ignores Ctrl-C, and so would whatever is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)

_status = pytest.StashKey[int]()


LONGEST = (
    *("test_faults.py", "test_alternation.py", "test_ray_runner.py"),
    *("test_distributed_training.py", "test_training.py", "test_entry.py", "test_transfer.py"),
    *("test_old_labs.py", "test_doctor.py", "test_ray_session.py"),
)
"""Files that take minutes, because they start Ray or train networks again and again."""
COSTLY_SECONDS = 10


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: of two processes, none is left alone with one at the end."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what each test file costs, so that a suite that grows slow shows where."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    costly = [(file, spent) for file, spent in seconds.most_common() if spent >= COSTLY_SECONDS]
    if costly:
        terminalreporter.section(f"test files of {COSTLY_SECONDS} seconds and more")
        for file, spent in costly:
            terminalreporter.line(f"{spent:5.0f} s  {file}")
        terminalreporter.line(f"{sum(seconds.values()):5.0f} s  all {len(seconds)} files")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_status] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave with the tests' verdict: Ray's and torch's native code, torn down in one process with
    MLflow's, can abort ("double free") after the last test has passed."""
    if _status in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_status])


@pytest.fixture(autouse=True)
def _path_and_modules_of_a_test_alone(tmp_path: Path) -> Iterator[None]:
    """A test's own modules, which lie in its folder, are forgotten after it; so is that folder."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        known = getattr(module, "__dict__", {})  # a lazy module's attributes may be anything
        places = [known.get("__file__"), *known.get("__path__", ())]
        if any(str(place).startswith(str(tmp_path)) for place in places):
            del sys.modules[name]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A card that is not there (see tests.fake_cuda)."""
    with fake_cuda(monkeypatch):
        yield


@pytest.fixture(scope="session")
def mlflow_schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's empty database (see tests.mlflow_tables)."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    make_tables(file)
    return file


@pytest.fixture(scope="session")
def mlflow_tables(mlflow_schema: Path) -> Iterator[None]:
    """New MLflow databases are copies of the empty one."""
    with copied_tables(mlflow_schema):
        yield


@pytest.fixture(scope="session", autouse=True)
def _where_tests_use_mlflow(request: pytest.FixtureRequest) -> None:
    """Importing MLflow takes seconds, which tests without it need not wait."""
    if "mlflow" in sys.modules:
        request.getfixturevalue("mlflow_tables")


@pytest.fixture
def autonat(
    mlflow_tables: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
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
def letter_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as benchmarks.render_letters makes it, of real pictures as they are decoded."""
    file = read_size(FOLDER / "large.safetensors")
    images = (decode(file.examples, file.codes, 16) * 255).byte().numpy()
    path = tmp_path_factory.mktemp("pictures") / "letters.npz"
    classes = np.arange(len(images), dtype=np.uint8) % len(CHARACTERS)
    np.savez(path, x=images, y=classes, font=np.full(len(images), "some font"))
    return path


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
