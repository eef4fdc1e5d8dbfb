"""How little a command imports, and how soon it ends: what it does not need costs seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from search.public_yaml import write_public
from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from trials.lab import Lab
from trials.record.record import Record

HEAVY = {
    *("torch", "torchmetrics", "transformers", "sklearn", "scipy", "pandas", "pyarrow"),
    *("ray", "mlflow", "optuna", "sqlalchemy", "plotly"),
}
CODE = """
import sys
from trials.cli import entry
try:
    entry.main()
except SystemExit as ended:
    assert not ended.code, ended.code
print(" ".join(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["search", "--help"],
        ["tokenize", "--help"],
        ["show", "made.json"],
        ["import", "public.yaml", "there.json"],
        ["export", "done", "there.yaml"],
        ["objectives"],
    ],
    ids=" ".join,
)
def test_a_light_command_imports_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    file = StrategyFile(GenerationStrategy.maskgit(4))
    file.write(tmp_path / "made.json")
    results = tmp_path / "autonat-lab" / "results" / "done"
    results.mkdir(parents=True)
    file.write(results / "best.json")
    write_public(tmp_path / "public.yaml", file.generation)
    ran = subprocess.run(
        [sys.executable, "-c", CODE, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ran.stdout
    assert HEAVY.isdisjoint(ran.stderr.split())


def test_list_reads_the_record_without_optuna(lab: Lab) -> None:
    Record.create(lab.record_url, "study", {})
    words = [sys.executable, "-c", CODE, "list", "--json", "--lab", str(lab.folder)]
    ran = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout
    assert HEAVY.intersection(ran.stderr.split()) == {"sqlalchemy"}


def test_a_command_ends_without_a_search_for_garbage() -> None:
    seen = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 0))"
    run = "from trials.cli import entry; entry.main()"
    words = [sys.executable, "-c", f"{seen}; {run}", "objectives"]
    ran = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.splitlines()[-1] == "True"
