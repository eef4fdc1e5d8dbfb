from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from trials.runners import local_ray
from trials.runners.local_ray import ensure_token, home_fault, session_folder

START = """
import ray
from trials.runners.ray_session import ray_session
with ray_session(None, 1):
    print(ray.get(ray.remote(lambda: 41 + 1).remote()))
"""


def test_ray_starts_where_its_sockets_do_not_fit_and_there_is_no_home(tmp_path: Path) -> None:
    long = tmp_path / ("long" * 30)
    long.mkdir()
    environment = os.environ | {"TMPDIR": str(long), "HOME": "/proc/1"}
    ran = subprocess.run(
        [sys.executable, "-c", START],
        env={k: v for k, v in environment.items() if not k.startswith("RAY_")},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (ran.returncode, ran.stdout) == (0, "42\n"), ran.stderr


def test_a_folder_that_fits_is_rays_own_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.delenv("TMPDIR", raising=False)
    with session_folder() as folder:
        assert folder is None
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setenv("TMPDIR", short)
        with session_folder() as folder:
            assert folder is None


@pytest.mark.parametrize("bad", ["l" * 100, "missing"])
def test_a_folder_that_does_not_is_replaced_or_named(
    bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bad != "missing":
        (tmp_path / bad).mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path / bad))
    with session_folder() as folder:
        assert folder is not None
        assert Path(folder).is_dir()
    assert not Path(folder).exists()
    monkeypatch.setattr(local_ray, "SHORT_FOLDERS", (str(tmp_path / "missing"),))
    with pytest.raises(ValueError, match=f"^TMPDIR .*{bad}: .*; set TMPDIR to a writable folder"):
        session_folder().__enter__()


def test_a_token_of_its_own_where_home_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "is put back afterwards")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    ensure_token()
    assert "RAY_AUTH_TOKEN" not in os.environ
    monkeypatch.setenv("HOME", "/proc/1")
    assert home_fault() == "No such file or directory"
    ensure_token()
    assert os.environ["RAY_AUTH_TOKEN"]
    assert home_fault() is None
