from __future__ import annotations

import functools
import socket

import pytest
import ray
from ray._private import services
from ray.cluster_utils import Cluster

from search.optimisers.replicates import Replicates
from search.strategy import GenerationStrategy
from trials.lab import Lab
from trials.objectives.simulated import SimulatedObjective
from trials.record.record import Record
from trials.runners.ray_runner import RaySettings, ray_workers, run_ray
from trials.runners.ray_session import ray_session
from trials.runners.study import Study


@pytest.mark.parametrize("client", [False, True], ids=["HOST:PORT", "ray://"])
def test_a_search_on_a_cluster_keeps_its_record_here(
    cluster: Cluster, lab: Lab, client: bool
) -> None:
    port = cluster.head_node._ray_params.ray_client_server_port
    address = f"ray://127.0.0.1:{port}" if client else cluster.address
    record = Record.create(lab.record_url, "study", {})
    asked = Replicates({"start": GenerationStrategy.maskgit(2)}, 100, range(10))
    source = Study(asked, record, None, 10, lambda _: None)
    spread = RaySettings(2, 0, address)
    with ray_workers(spread):
        run_ray(source, SimulatedObjective(latency=0.1), spread)
    assert source.finished
    found = [evaluation.state for evaluation in Record.open(lab.record_url, "study").evaluations]
    assert found == ["COMPLETE"] * 10
    assert not ray.is_initialized()


def test_another_version_than_the_clusters_is_one_line(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "__version__", "2.59.0")
    with (
        pytest.raises(ValueError, match="^ray address .*Version mismatch: .*Ray: 2.59.0") as caught,
        ray_session(cluster.address, 1),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert not ray.is_initialized()


def test_a_server_that_hangs_is_asked_again_and_its_own_reason_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[int] = []

    def hang(**_: object) -> None:
        tries.append(1)
        raise ConnectionAbortedError(
            "Initialization failure from server:\nTraceback (most recent call last):\n"
            '  File "proxier.py", line 765, in Datapath\n    ^^^^\nTimeoutError: no agent\n'
        )

    monkeypatch.setattr(ray, "init", hang)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"ray://127.0.0.1:{server.getsockname()[1]}"
        line = f"^ray address {address}: TimeoutError: no agent; something answers there: is it Ray"
        with pytest.raises(ValueError, match=line), ray_session(address, 1):
            pass
    assert len(tries) == 3


def test_an_address_auto_without_ray_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    # Tests beside this one start Rays of their own.
    monkeypatch.setattr(services, "find_gcs_addresses", functools.cache(lambda: set()))
    monkeypatch.setattr(services, "find_bootstrap_address", lambda _: None)
    with (
        pytest.raises(ValueError, match="^ray address auto: no Ray runs on this machine: ray st"),
        ray_session("auto", 1),
    ):
        pass
    assert not ray.is_initialized()
