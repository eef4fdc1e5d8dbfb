"""Which studies belong to which search: their attributes say it, and nothing their names."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from trials.lab import Lab
from trials.record.record import Record
from trials.record.searches import (
    alternation_names,
    halves_of,
    has_begun,
    recorded_settings,
    refuse_taken,
    search_names,
    search_records,
    unknown_search,
)
from trials.record.storage import open_storage
from trials.record.studies import ATTRIBUTES, StudyOf, studies_of


def settings(search: str, kind: str = "search", method: str | None = "tpe", **asked: Any) -> Any:
    told = {"search_name": search, "kind": kind, "search": {"steps": 2, **asked}}
    return told | ({} if method is None else {"optimiser": method})


@pytest.fixture
def url(lab: Lab) -> str:
    """A record of three searches, one of them of an alternation, whose names mislead."""
    url = lab.record_url
    Record.create(url, "demo-1-old-test", settings("demo-1-old", "test", None))
    Record.create(url, "demo-1-old-tpe", settings("demo-1-old"))
    Record.create(url, "demo-1-old-mine:Own", settings("demo-1-old", method="mine:Own"))
    Record.create(url, "both-alternation", settings("both", "alternation", None, steps=3))
    Record.create(url, "both-r1-training-tpe", settings("both-r1-training", alternation="both"))
    Record.create(url, "both-r9-training-tpe", settings("both-r9-training"))
    theirs = optuna.create_study(study_name="theirs-tpe", storage=open_storage(url))
    theirs.set_user_attr("owner", "somebody else")
    return url


def test_studies_are_found_by_what_they_are(url: str) -> None:
    assert search_names(url) == ["both-r1-training", "both-r9-training", "demo-1-old"]
    assert alternation_names(url) == ["both"]
    assert halves_of(url, "both") == ["both-r1-training"]
    names = [record.name for record in search_records(url, "demo-1-old")]
    assert names == ["demo-1-old-tpe", "demo-1-old-mine:Own", "demo-1-old-test"]
    begun = {n for n in ("demo-1", "demo-1-old", "both", "theirs") if has_begun(url, n)}
    assert begun == {"demo-1-old", "both"}
    assert recorded_settings(url, "both") == {"steps": 3}
    with pytest.raises(ValueError, match="no search 'theirs' in .*; known: both, both-r1-training"):
        search_records(url, "theirs")
    with pytest.raises(ValueError, match="both is an alternation; give one of its searches: both-"):
        search_records(url, "both")


def test_an_unknown_name_is_said_with_the_nearest_and_not_with_hundreds() -> None:
    many = [f"search-{number}" for number in range(25)]
    said = str(unknown_search("sqlite:///r.db", "serch-7", many))
    assert said.startswith(
        "no search 'serch-7' in sqlite:///r.db (did you mean search-7?); known: search-0, "
    )
    assert said.endswith(", search-19 and 5 more, which autonat list prints")
    assert str(unknown_search("sqlite:///r.db", "a", [])) == (
        "no search 'a' in sqlite:///r.db, which has no searches yet; autonat search starts one"
    )


def test_they_say_it_in_attributes_of_their_own(url: str) -> None:
    told = open_storage(url).get_study_user_attrs(
        open_storage(url).get_study_id_from_name("both-r1-training-tpe")
    )
    assert {name: told[name] for name in ATTRIBUTES} == {
        "kind": "search",
        "search": "both-r1-training",
        "method": "tpe",
        "alternation": "both",
    }


def test_old_records_say_it_in_their_settings(url: str) -> None:
    attributes = {"format": "autonat-record/1", "settings": settings("old", alternation="both")}
    assert StudyOf.of_attributes(attributes) == StudyOf("search", "old", "tpe", "both")
    assert StudyOf.of_attributes({"settings": settings("old")}) is None
    assert StudyOf.of_attributes({"format": "autonat-record/1", "settings": {}}) is None


def test_another_of_a_taken_name_is_refused(url: str) -> None:
    before = studies_of(url)
    with pytest.raises(ValueError, match="search demo-1-old exists already, with the studies demo"):
        refuse_taken(url, "demo-1-old", ["random"])
    with pytest.raises(ValueError, match="with the study both-r9-training-tpe: --resume"):
        refuse_taken(url, "both-r9-training", ["tpe"])
    with pytest.raises(ValueError, match="study theirs-tpe in .* was not created by autonat"):
        refuse_taken(url, "theirs", ["tpe"])
    refuse_taken(url, "theirs", ["random"])
    refuse_taken(url, "demo-1", ["tpe"])
    assert studies_of(url) == before
