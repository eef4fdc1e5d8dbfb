"""Files of an objective: by name and hash in strategy files, by path in a lab."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from search.strategy import GenerationStrategy
from search.strategy_file import StrategyFile
from trials.lab import Lab
from trials.objectives.known_files import (
    comparable,
    protocol_without_folders,
    settings_here,
    without_folders,
)
from trials.record.record import Record


def described(**settings: Any) -> dict[str, Any]:
    return {
        "name": "images",
        "settings": settings,
        "dataset": "of nat.pth",
        "checkpoint": None,
        "tokens": 16,
        "flops": None,
    }


def file_of(objective: dict[str, Any]) -> StrategyFile:
    return StrategyFile(GenerationStrategy.maskgit(2), objective=objective)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "far" / "nat.pth"
    path.parent.mkdir()
    path.write_text("weights")
    return path


def test_a_file_is_named_with_its_hash_and_everything_else_stays(
    weights: Path, squares: Path
) -> None:
    plain = {"size": "S", "chunk": 5, "generator": "mine:make", "server": "http://a/b", "no": None}
    known = {"weights": str(weights), "features": f"inception:{weights}", "gone": "/no/such.npz"}
    found = without_folders(described(**plain, **known, data=str(squares / "tokens")))
    assert found["settings"] == plain | {
        "weights": "nat.pth",
        "features": "inception:nat.pth",
        "gone": "such.npz",
        "data": "tokens",
    }
    content = json.loads((squares / "tokens" / "settings.json").read_text())["hash"]
    digest = found["files"]["weights"]
    assert digest.startswith("sha256:")
    assert found["files"] == {
        "weights": digest,
        "features": digest,
        "gone": None,
        "data": content,
    }
    assert without_folders(found) == found
    assert StrategyFile.from_json(file_of(found).to_json()).objective == found


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (
            "random; real: folder /home/me/my-pictures at 256",
            "random; real: folder my-pictures at 256",
        ),
        ("folder /home/me/my pictures/of cats at 8 / 16", "folder of cats at 8 / 16"),
        ("COCO /data/all of COCO/2017, captions.json at 256", "COCO 2017, captions.json at 256"),
        ("surrogate inception:/home/me/net.pth", "surrogate inception:net.pth"),
        ("/a/b.npz; https://host/name and /c/d", "b.npz; https://host/name and d"),
        *((text, text) for text in ("8 / 16", "a/b", "https://host/name", "of 8 x 8", "s://a//b")),
    ],
)
def test_sentences_lose_folders_only(told: str, kept: str) -> None:
    protocol = {"metric": "fid", "x": None}
    found = protocol_without_folders(protocol | {"classes": told})
    assert found == protocol | {"classes": kept}
    assert protocol_without_folders(found) == found


def test_the_record_the_folder_of_the_file_and_the_working_directory_know_where_it_is(
    weights: Path, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {"weights": str(weights), "features": f"inception:{weights}"}
    file = file_of(without_folders(described(**paths, chunk=5)))
    here = {**paths, "chunk": 5}
    lacking = r"no file weights = 'nat.pth' .+ and none features = .+--set features=inception:PATH"
    with pytest.raises(ValueError, match=lacking):
        settings_here(file, lab.record_url)
    assert not (lab.folder / "record.db").exists()
    assert settings_here(file, lab.record_url, folder=weights.parent) == here
    with monkeypatch.context() as elsewhere:
        elsewhere.chdir(weights.parent)
        assert settings_here(file, lab.record_url) == here
    other = {"kind": "search", "search_name": "s", "objective": described(**paths)}
    Record.create(lab.record_url, "s-random", other)
    assert settings_here(file, lab.record_url) == here
    weights.write_text("other weights")
    with pytest.raises(ValueError, match=r"with the hash sha256:\w+… .+; give --set weights=PATH"):
        settings_here(file, lab.record_url)
    given = settings_here(file, lab.record_url, ["weights", "features"])
    assert given == {"weights": "nat.pth", "features": "inception:nat.pth", "chunk": 5}


def test_a_folder_with_a_model_is_known_by_the_content_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "amused-256"
    (folder / "transformer").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "transformer" / "weights").write_text("numbers")
    copied = shutil.copytree(folder, tmp_path / "elsewhere" / "amused-256")
    (copied / ".git").mkdir()
    (copied / ".git" / "HEAD").write_text("main")

    def digest(path: Path) -> Any:
        return without_folders(described(weights=f"amused:{path}"))["files"]["weights"]

    assert digest(folder) == digest(copied)
    assert digest(folder).startswith("sha256:")
    (copied / "transformer" / "weights").write_text("others")
    assert digest(folder) != digest(copied)
    (copied / "model_index.json").unlink()  # of any other folder, only token data are known
    assert digest(copied) is None


def test_the_same_file_elsewhere_is_no_difference_and_another_one_is(
    weights: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "copied.pth"
    shutil.copyfile(weights, copied)
    theirs = without_folders(described(weights=str(weights)))
    one, other = comparable(theirs, described(weights=str(copied)))
    assert one == other
    copied.write_text("changed")
    one, other = comparable(theirs, described(weights=str(copied)))
    assert one["files"] != other["files"]
    one, other = comparable(described(weights="/their/nat.pth"), described(weights=str(weights)))
    assert one == other
