"""What is refused before a search starts, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from tests.options import laid_over
from trials.lab import Lab
from trials.record.studies import study_names
from trials.runners import ray_runner
from trials.searches.settings import USUAL

Autonat = Callable[..., tuple[int, str, str]]
SEARCH = [
    *("search", "--steps", "2", "--budget", "800", "--images", "100"),
    *("--test-images", "100", "--test-seeds", "1,2", "--name", "x"),
]
SIMULATED = [*SEARCH, "--objective", "simulated"]
LOCAL = [*SIMULATED, "--runner", "local"]

MINE = """
import threading
from search.measurement import Measurement

class Generator:
    tokens = 16
    def __init__(self, *, locked=False, prepared=False):
        if locked:
            self.lock = threading.Lock()
        self.prepared = prepared
    def describe(self):
        return {"dataset": "mine"}
    def prepare(self, lab, report):
        if self.prepared:
            self.made = {"lock": threading.Lock()}
    def evaluate(self, strategy, images, seed):
        return Measurement(1.0, None, images, strategy.forward_passes(), 0.0)

class Nothing(Generator):
    def describe(self):
        return None
"""


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray must not be started."""

    def started(*_: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray_runner, "ray_workers", started)


def refused(code: int, out: str, err: str) -> str:
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    return err.splitlines()[-1]  # after what is being waited for


@pytest.mark.usefixtures("no_ray")
def test_the_name_of_a_search_is_taken_whatever_its_optimisers(autonat: Autonat) -> None:
    assert autonat(*LOCAL, "--optimiser", "tpe")[0] == 0
    line = "search x exists already, with the studies x-tpe, x-test: --resume x continues it"
    assert line in refused(*autonat(*SIMULATED, "--optimiser", "cmaes"))
    assert line in refused(*autonat("search", "--what", "both", "--name", "x", "--steps", "2"))
    assert study_names(Lab.open(Path("autonat-lab")).record_url) == ["x-test", "x-tpe"]
    assert autonat("search", "--resume", "x", "--runner", "local")[0] == 0


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize("kind", ["with a trial", "with an attribute", "maximised"])
def test_a_study_of_somebody_else_s_is_left_alone(autonat: Autonat, kind: str) -> None:
    url = Lab.open(Path("autonat-lab")).record_url
    direction = "maximize" if kind == "maximised" else "minimize"
    theirs = optuna.create_study(study_name="x-tpe", storage=url, direction=direction)
    if kind == "with a trial":
        theirs.add_trial(optuna.trial.create_trial(value=1.0))
    elif kind == "with an attribute":
        theirs.set_user_attr("of", "mine")
    before = dict(theirs.user_attrs)
    said = refused(*autonat(*SIMULATED, "--optimiser", "tpe"))
    assert "study x-tpe in sqlite:///" in said
    assert "was not created by autonat, which leaves it alone: give another --name" in said
    assert optuna.load_study(study_name="x-tpe", storage=url).user_attrs == before


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "--optimiser random --record-url sqlite:///x.db --tracking-uri sqlite:///x.db",
            "would hold both the record",
        ),
        (
            "--record-url sqlite:///x.db --optimiser coarse-to-fine",
            "small for coarse-to-fine:",
        ),
        ("--record-url sqlite:///x.db --bounds mask_ratio=0.8:0.9", "is outside its bounds"),
    ],
)
def test_what_is_refused_makes_no_database(autonat: Autonat, words: str, line: str) -> None:
    small = [word.replace("800", "400") for word in LOCAL]
    assert line in refused(*autonat(*small, *words.split()))
    assert not Path("x.db").exists()


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--objective launched:Generator --set locked=true", "its attribute lock cannot be sent"),
        ("--objective launched:Nothing --runner local", "describe(): expected a dict, got None"),
        (
            "--objective launched:Generator --set x=1",
            "has no setting x",
        ),
        ("--objective launched:Absent", "launched has no class 'Absent'"),
    ],
)
def test_an_objective_that_cannot_work_leaves_nothing_behind(
    autonat: Autonat, words: str, line: str
) -> None:
    Path("launched.py").write_text(MINE)
    assert line in refused(*autonat(*SEARCH, "--optimiser", "random", *words.split()))
    assert study_names(Lab.open(Path("autonat-lab")).record_url) == []


def test_what_prepare_made_must_travel_too(
    autonat: Autonat, monkeypatch: pytest.MonkeyPatch
) -> None:
    import contextlib

    monkeypatch.setattr(ray_runner, "ray_workers", lambda *_: contextlib.nullcontext())
    Path("launched.py").write_text(MINE)
    words = "--optimiser random --objective launched:Generator --set prepared=true"
    said = refused(*autonat(*SEARCH, *words.split()))
    assert "its attribute made cannot be sent to the workers: TypeError: cannot pickle" in said
    assert study_names(Lab.open(Path("autonat-lab")).record_url) == []


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize(
    ("more", "line"),
    [
        (
            "--objective simulated",
            "objective simulated lacks the method evaluate_together, which evaluations_together",
        ),
        (
            "--objective simulated --scheduler asha --optimiser tpe",
            "expected 1 with scheduler asha, which stops single",
        ),
        (
            f"--what joint --objective digits --budget {USUAL['budget']}",
            "expected 1 for a search that trains a model an eval",
        ),
    ],
)
def test_evaluations_that_cannot_be_measured_at_once(
    autonat: Autonat, more: str, line: str
) -> None:
    words = laid_over(SEARCH[1:], "--evaluations-together", "4", *more.split())
    assert line in refused(*autonat(SEARCH[0], *words))


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (
            "--objective simulated",
            "objective simulated lacks the method evaluate_with_gradient, which gradients need",
        ),
        (
            "--objective digits --set metric=kid",
            "gradients: expected one of the metrics fid, fid-infinity, fid-leading, got kid",
        ),
        (
            "--objective digits --evaluations-together 4",
            "evaluations_together = 4: expected 1 with gradients",
        ),
    ],
)
def test_gradients_that_cannot_be_measured(autonat: Autonat, more: str, line: str) -> None:
    words = f"--optimiser-set coarse-to-fine.gradients=true {more}"
    assert line in refused(*autonat(*SEARCH, *words.split()))


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize("gpus", ["1", "0.25"])
def test_gpus_that_this_machine_lacks_are_refused_before_ray_starts(
    autonat: Autonat, monkeypatch: pytest.MonkeyPatch, gpus: str
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    said = refused(*autonat(*SIMULATED, "--optimiser", "tpe", "--gpus-per-trial", gpus))
    assert f"gpus_per_trial = {gpus}: PyTorch sees 0 GPUs on this machine" in said
    assert "ray_address names a cluster with GPUs" in said
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(AssertionError, match="Ray was started"):
        autonat(*SIMULATED, "--optimiser", "tpe", "--gpus-per-trial", gpus)
