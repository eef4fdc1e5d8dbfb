"""The GPU check as a bare machine without a card runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
QUICK = ["distance", "images", "memory", "Ray"]
"""The others train networks first, which takes as long as all of these (see test_devices)."""
BARE = """
import sys
from importlib.machinery import PathFinder

ABSENT = {"optuna", "ray", "mlflow", "pydantic", "rich", "typer", "sqlalchemy", "plotly"}
find = PathFinder.find_spec

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else find(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Bare
from benchmarks.gpu_check import main
sys.exit(main())
"""


@pytest.mark.timeout(900)
def test_the_checks_pass_without_a_card_optuna_ray_or_mlflow(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    run = [sys.executable, "-c", BARE, "--only", ",".join(QUICK), "--out", str(out)]
    said = subprocess.run(run, cwd=REPOSITORY, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
    told = json.loads(out.read_text())
    verdicts = {row["name"]: row["verdict"] for row in told["checks"]}
    assert verdicts == dict.fromkeys(QUICK, "ok") | {"Ray": "skipped"}
    assert "3 ok, 0 failed, 1 skipped" in said.stdout
