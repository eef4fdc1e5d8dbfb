"""The server of the live page: who may ask it, and for what."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from dashboards.live.app import live_server
from dashboards.live.input import Elsewhere
from trials.lab import Lab

OURS = {"Host": "127.0.0.1:8050"}


@dataclass(frozen=True)
class Nothing:
    searches: list[Any] = field(default_factory=list)
    problems: tuple[str, ...] = ()
    at: datetime = datetime(2026, 1, 1)


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    lab = Lab.open(tmp_path / "lab")
    results = lab.make_results("first")
    for name in ("report.html", "best.json", "tpe.json"):
        (results / name).write_text("{}")
    (tmp_path / "secret").write_text("secret")
    linked = lab.make_results("linked")
    (linked / "best.json").symlink_to(tmp_path / "secret")
    elsewhere = Elsewhere("http://127.0.0.1:5000", "http://127.0.0.1:8080", results=lab.results)
    return live_server(Nothing, "lab", elsewhere).test_client()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8050", "10.0.0.1"])
def test_a_page_of_the_web_under_another_name_gets_nothing(client: FlaskClient, host: str) -> None:
    for path in ("/", "/_dash-layout", "/results/first/best.json"):
        assert client.get(path, headers=OURS).status_code == 200
        assert client.get(path, headers={"Host": host}).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        *("first/tpe.json", "first/../../record.db", "..%2f..%2fsecret/best.json"),
        *("linked/best.json", "absent/report.html", "first/", "../best.json"),
    ],
)
def test_no_other_file_is_served(client: FlaskClient, path: str) -> None:
    answer = client.get(f"/results/{path}", headers=OURS)
    the_page = b"react-entry-point" in answer.data  # which Dash gives for any other address
    assert answer.status_code == 404 or the_page
    assert b"secret" not in answer.data


def test_the_files_of_a_search_are_only_read(client: FlaskClient) -> None:
    answer = client.get("/results/first/report.html", headers=OURS)
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    for method in (client.put, client.post, client.delete):
        assert method("/results/first/report.html", headers=OURS).status_code == 405


def test_it_has_no_debug_mode_no_other_service_and_names_nobody_else(client: FlaskClient) -> None:
    page = client.get("/", headers=OURS).text
    assert "http://" not in page
    assert "https://" not in page
    assert not client.application.debug
    asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}
    assert client.post("/_mcp", json=asked, headers=OURS).status_code == 405
