"""`autonat dashboard`: the live page of a lab, the MLflow UI and optuna-dashboard."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from trials.cli.flags import App, LabFlag, RecordFlag, TrackingFlag
from trials.cli.printing import note
from trials.lab import DEFAULT_LAB, Lab
from trials.progress import say

if TYPE_CHECKING:
    import flask
    from _typeshed.wsgi import WSGIApplication

RUNS_SECONDS = 10.0
"""For how long the addresses of MLflow's runs are taken as they were read."""

app = App()


@app.command()
def dashboard(
    port: Annotated[
        int,
        typer.Option(
            metavar="PORT",
            min=1,
            max=65535,
            help="Port of the live page. MLflow has 5000 and optuna-dashboard 8080. Where a port "
            "is taken, a free one is used and named.",
        ),
    ] = 8050,
    lab: LabFlag = DEFAULT_LAB,
    record_url: RecordFlag = None,
    tracking_uri: TrackingFlag = None,
) -> None:
    """Serve a live page of all searches, the MLflow UI and optuna-dashboard, until Ctrl-C.

    The live page shows the searches that run and those that are done: how far they are, the best
    value with its error beside the rule of thumb and the best control, the best value over the
    images generated, the speed, failures and the time left, with links to MLflow, Optuna's
    dashboard, the report and best.json. It refreshes by itself and changes nothing. All three are
    served to this machine only.
    """
    from dashboards.servers import Ports, open_dashboards
    from trials.record.databases import one_line
    from trials.tracking.client import EXPERIMENT, anchor
    from trials.tracking.views import searches_view

    where = Lab.at(lab, record_url, tracking_uri)
    if not (record_url and tracking_uri):
        where.existing()
    with one_line("tracking", where.tracking_uri):
        unmoved = anchor(where)
        view = searches_view(where, EXPERIMENT)
    if unmoved is not None:
        note(unmoved)
    say("starting the live page, optuna-dashboard and MLflow, which takes about ten seconds …")
    open_dashboards(
        lambda: optuna_dashboard(where),
        where.tracking_uri,
        where.artifacts,
        view=view,
        ports=Ports(live=port),
        live=lambda mlflow, optuna: live_page(where, mlflow, optuna),
    )


def optuna_dashboard(lab: Lab) -> WSGIApplication:
    """optuna-dashboard on the record of a lab, with the pictures of its studies.

    Raises:
        ValueError: the record cannot be opened.
    """
    from optuna.artifacts import FileSystemArtifactStore
    from optuna.exceptions import StorageInternalError
    from optuna_dashboard import wsgi

    from trials.record.databases import one_line

    with one_line("record", lab.record_url, StorageInternalError):
        page: WSGIApplication = wsgi(lab.record_url, FileSystemArtifactStore(lab.optuna_artifacts))
        return page


def live_page(lab: Lab, mlflow: str, optuna: str) -> flask.Flask:
    """The live page of a lab.

    Args:
        lab: the lab.
        mlflow: the address at which MLflow shows its searches.
        optuna: the address of optuna-dashboard.
    """
    from dashboards.live.app import live_server
    from dashboards.live.input import Elsewhere
    from trials.results.watch import Watch

    runs = _Runs(lab, mlflow.partition("#")[0])
    elsewhere = Elsewhere(mlflow, optuna, runs.addresses, lab.results)
    watch = Watch(lab)
    threading.Thread(target=watch.catch_up, daemon=True).start()
    return live_server(watch.look, str(lab.folder), elsewhere)


class _Runs:
    """The addresses of MLflow's runs, read again after a while."""

    def __init__(self, lab: Lab, mlflow: str) -> None:
        self._lab, self._mlflow, self._lock = lab, mlflow, threading.Lock()
        self._found: dict[str, str] = {}
        self._read = float("-inf")

    def addresses(self) -> Mapping[str, str]:
        """By the name of the study; where a database cannot be read, those known before."""
        from sqlalchemy.exc import SQLAlchemyError

        from trials.record.studies import study_ids
        from trials.tracking.views import run_views

        with self._lock:
            if time.monotonic() - self._read > RUNS_SECONDS:
                self._read = time.monotonic()
                try:
                    views = run_views(self._lab)
                    ids = study_ids(self._lab.record_url)
                except (SQLAlchemyError, ImportError, ValueError):
                    return self._found
                self._found = {
                    name: self._mlflow + views[study]
                    for name, study in ids.items()
                    if study in views
                }
            return self._found
