from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_cuda import fake_cuda

# A job that a shell runs in the background ignores Ctrl-C, and so would whatever is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)

_status = pytest.StashKey[int]()


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
