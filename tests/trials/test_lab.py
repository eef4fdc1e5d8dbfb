from __future__ import annotations

import os
from pathlib import Path

import pytest

from trials.lab import Lab


def test_to_look_makes_nothing(tmp_path: Path) -> None:
    lab = Lab.at(tmp_path / "lab")
    assert lab.results("a") == tmp_path / "lab" / "results" / "a"
    lab.require_results("a")
    assert list(tmp_path.iterdir()) == []
    assert lab.make_results("a").is_dir()


@pytest.mark.parametrize("name", ["..", "../../x", "/etc", "", ".hidden", "a/b", "a\n", "-x"])
def test_what_is_no_name_of_a_search(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is not a valid name of a search"):
        Lab.at(tmp_path).results(name)


def results_is_a_file(lab: Path) -> None:
    (lab / "results").write_text("")


def results_leads_nowhere(lab: Path) -> None:
    (lab / "results").symlink_to(lab / "gone")


def results_takes_no_files(lab: Path) -> None:
    (lab / "results").symlink_to("/proc/self")


def its_folder_is_a_file(lab: Path) -> None:
    (lab / "results").mkdir()
    (lab / "results" / "a").write_text("")


@pytest.mark.parametrize(
    "spoil",
    [results_is_a_file, results_leads_nowhere, results_takes_no_files, its_folder_is_a_file],
)
def test_results_that_could_not_be_written(lab: Lab, spoil: object) -> None:
    spoil(lab.folder)  # type: ignore[operator]
    for there in (lab.require_results, lab.make_results):
        with pytest.raises(ValueError, match="^results .*: cannot be written: "):
            there("a")


def test_a_path_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="its path is not UTF-8"):
        Lab.at(tmp_path / os.fsdecode(b"lab\xff"))
