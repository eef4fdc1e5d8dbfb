"""What is refused before PyTorch is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from search.registry import OPTIMISERS, SAMPLERS, TRAINING_OPTIMISERS
from trials.searches.first_look import first_look
from trials.searches.reading import read_settings

HEAVY = {"torch", "ray", "mlflow", "transformers", "sklearn"}
CODE = """
import sys
from trials.cli import entry
try:
    entry.main()
finally:
    print(" ".join(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--budget 100", "budget = 100 images is less than one evaluation of 500 images"),
        ("--budget 2000", "too small for coarse-to-fine: 8 evaluations of 500 images need 4000"),
        ("--bounds remask_temperature=5:1", "bounds of remask_temperature: "),
        ("--bounds guidance=1:2", "unknown schedule 'guidance'"),
        ("--frozen noise", "unknown schedule 'noise'"),
        ("--choices token_order=foo", "token_order = 'foo' is unknown"),
        ("imagenet265.yaml", "no such file (did you mean imagenet256.yaml?); presets: cc3m.yaml, "),
        ("--objective digts", "objective = 'digts' is unknown (did you mean digits?)"),
        ("--optimisers tpe --optimiser-set tpe.seeds=3", "optimiser tpe has no setting 'seeds'"),
    ],
)
def test_a_line_and_no_heavy_import(words: str, line: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CODE, "search", *words.split(), "--lab", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 2
    *said, modules = ran.stderr.splitlines()
    assert said[-1].startswith("autonat: ")
    assert line in said[-1]
    assert len(said) <= 2  # the other one says what is searched
    assert HEAVY.isdisjoint(modules.split())


@pytest.mark.parametrize(
    ("what", "name"),
    [
        *(("generation", name) for name in OPTIMISERS),
        *(("training", name) for name in TRAINING_OPTIMISERS),
        *(("joint", name) for name in SAMPLERS),
        ("both", "coarse-to-fine"),
    ],
)
def test_every_optimiser_passes(what: str, name: str) -> None:
    first_look(read_settings({"what": what, "optimisers": [name]}))
