from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config
from setuptools import find_packages  # type: ignore[import-untyped]
from setuptools.command.build_py import build_py  # type: ignore[import-untyped]
from setuptools.dist import Distribution  # type: ignore[import-untyped]

from trials.cli.main import app

ROOT = Path(__file__).parents[3]
CLUSTERS = ROOT / "trials" / "runners" / "clusters"
LAUNCHERS = ["aws", "gcp", "on-premise"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
GPUS_OF = {"g5.xlarge": 1, "m6i.xlarge": 0}
"""Of AWS's machines; Google's say it in guestAccelerators."""


def written(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((CLUSTERS / f"{name}.yaml").read_text())
    return content


def launcher(name: str) -> dict[str, Any]:
    """As `ray up` completes it before it calls a cloud."""
    config: dict[str, Any] = prepare_config(written(name))
    return config


def starts(config: dict[str, Any]) -> list[str]:
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    return [command for command in commands if "ray start" in command]


def autonat_commands(text: str) -> Iterator[list[str]]:
    """The words behind every `autonat` of a text's shell commands."""
    for line in text.replace("\\\n", " ").splitlines():
        for command in re.findall(r"(?:^\s*|-- )autonat ([^#|;&`]+)", line):
            yield shlex.split(command)


COMMANDS: dict[str, Any] = vars(typer.main.get_command(app))["commands"]


def parse(words: list[str]) -> None:
    """Fails for a command or a flag that does not exist."""
    name, *flags = words
    COMMANDS[name].make_context(name, flags)


@pytest.mark.parametrize("name", LAUNCHERS)
def test_ray_accepts_the_launcher(name: str) -> None:
    validate_config(launcher(name))
    with pytest.raises(ValidationError):
        validate_config(launcher(name) | {"nonsense": 1})


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launcher_has_workers_at_once_and_never_less_than_its_least(name: str) -> None:
    config = launcher(name)
    most = [kind["max_workers"] for kind in config["available_node_types"].values()]
    for kind in config["available_node_types"].values():
        assert 0 <= kind["min_workers"] <= kind["max_workers"] <= config["max_workers"]
    assert sum(kind["min_workers"] for kind in config["available_node_types"].values()) >= 1
    assert max(most) == config["max_workers"]


def test_the_list_of_machines_and_the_numbers_agree() -> None:
    config = written("on-premise")
    count = len(config["provider"]["worker_ips"])
    assert config["min_workers"] == config["max_workers"] == count


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_machines_declare_the_gpus_they_have(name: str) -> None:
    for kind in written(name)["available_node_types"].values():
        node = kind["node_config"]
        if name == "aws":
            has = GPUS_OF[node["InstanceType"]]
        else:
            has = sum(gpu["acceleratorCount"] for gpu in node.get("guestAccelerators", []))
        assert kind["resources"].get("GPU", 0) == has


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_the_workers_may_be_taken_away_and_the_head_may_not(name: str) -> None:
    config = written(name)
    for kind, settings in config["available_node_types"].items():
        node = settings["node_config"]
        spot = node.get("InstanceMarketOptions") == {"MarketType": "spot"} or {
            "preemptible": True
        } in node.get("scheduling", [])
        assert spot == (kind != config["head_node_type"])


@pytest.mark.parametrize("name", LAUNCHERS)
def test_every_node_has_the_token_and_asks_for_it(name: str) -> None:
    config = launcher(name)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert len(starts(config)) == 2
    assert all("RAY_AUTH_MODE=token ray start" in command for command in starts(config))
    for setup in (config["head_setup_commands"], config["worker_setup_commands"]):
        assert any("RAY_AUTH_MODE=token" in command and ".bashrc" in command for command in setup)


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_dashboard_listens_on_loopback(name: str) -> None:
    assert "--dashboard-host=127.0.0.1" in starts(launcher(name))[0]
    assert "0.0.0.0" not in (CLUSTERS / f"{name}.yaml").read_text()


@pytest.mark.parametrize("name", LAUNCHERS)
def test_every_node_installs_the_wheel_of_this_version(name: str) -> None:
    config = launcher(name)
    wheel = f"autonat-{PROJECT['project']['version']}-py3-none-any.whl"
    assert config["file_mounts"]["~/dist"] == "dist"
    for setup in (config["head_setup_commands"], config["worker_setup_commands"]):
        installs = [command for command in setup if f"/dist/{wheel}[postgres]" in command]
        assert len(installs) == 1
        assert "-c ~/dist/constraints.txt" in installs[0]


@pytest.mark.parametrize("name", [*LAUNCHERS, "lab", "rayjob"])
def test_no_file_holds_a_secret(name: str) -> None:
    text = (CLUSTERS / f"{name}.yaml").read_text()
    assert not re.search(r"://[^/\s@:]+:[^/\s@]+@", text)  # a password in a URL
    assert not re.search(r"\b[0-9a-f]{32,}\b|AKIA|PRIVATE KEY", text)


@pytest.mark.parametrize("name", [*LAUNCHERS, "lab", "rayjob"])
def test_a_file_says_what_to_change(name: str) -> None:
    lines = (CLUSTERS / f"{name}.yaml").read_text().splitlines()
    assert any("# change:" in line for line in lines)
    for line, following in pairwise([*lines, ""]):
        if re.search(r"0{12}|example\.com|my-project|10\.0\.0\.2|192\.168\.1\.10\b", line):
            assert "# change:" in line + lines[lines.index(line) - 1] + following


def rayjob() -> dict[str, Any]:
    spec: dict[str, Any] = written("rayjob")["spec"]
    return spec


def pods() -> list[dict[str, Any]]:
    cluster = rayjob()["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def test_the_manifest_is_a_rayjob() -> None:
    content = written("rayjob")
    assert (content["apiVersion"], content["kind"]) == ("ray.io/v1", "RayJob")
    assert content["spec"]["submissionMode"] == "K8sJobMode"
    assert content["spec"]["shutdownAfterJobFinishes"]


def test_every_mount_has_a_volume_and_every_volume_a_mount() -> None:
    for pod in pods():
        mounted = {mount["name"] for box in pod["containers"] for mount in box["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_every_pod_mounts_the_lab() -> None:
    claim = written("lab")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in pods():
        claims = {
            volume["name"]: volume["persistentVolumeClaim"]["claimName"]
            for volume in pod["volumes"]
            if "persistentVolumeClaim" in volume
        }
        paths = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
        assert claims == {"lab": claim["metadata"]["name"]}
        assert rayjob()["entrypoint"].split("--lab ")[1].startswith(f"{paths['lab']}/")


def test_all_pods_have_one_image_and_the_ray_of_the_constraints() -> None:
    images = {box["image"] for pod in pods() for box in pod["containers"]}
    assert len(images) == 1
    assert images.pop().endswith(f":{PROJECT['project']['version']}")
    ray = rayjob()["rayClusterSpec"]["rayVersion"]
    assert f"\nray=={ray}\n" in (ROOT / "constraints.txt").read_text()


def test_the_token_and_the_password_come_from_secrets() -> None:
    auth = rayjob()["rayClusterSpec"]["authOptions"]
    assert auth == {"mode": "token", "secretName": "autonat-token"}
    head = pods()[0]["containers"][0]
    assert [sorted(variable) for variable in head["env"]] == [["name", "valueFrom"]]
    assert "secretKeyRef" in head["env"][0]["valueFrom"]


def test_only_the_workers_ask_for_a_gpu_and_for_spot_nodes() -> None:
    head, worker = pods()
    assert "nvidia.com/gpu" not in head["containers"][0]["resources"]["limits"]
    assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nodeSelector" not in head
    assert worker["nodeSelector"]
    assert worker["tolerations"]


def test_the_workers_of_the_manifest_agree() -> None:
    (group,) = rayjob()["rayClusterSpec"]["workerGroupSpecs"]
    assert 1 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    words = shlex.split(rayjob()["entrypoint"])
    assert int(words[words.index("--workers") + 1]) <= group["maxReplicas"]


def test_the_entrypoint_is_a_command_of_autonat_without_variables() -> None:
    # KubeRay puts it into a shell command of the submitting pod as it is.
    assert not re.search(r"[$;&|<>*'\"\\`]", rayjob()["entrypoint"])
    (words,) = autonat_commands(rayjob()["entrypoint"])
    parse(words)


def test_the_commands_of_the_page_exist() -> None:
    text = (ROOT / "docs" / "cluster.md").read_text()
    commands = list(autonat_commands(text))
    assert {"search", "doctor"} <= {words[0] for words in commands}
    for words in commands:
        parse(words)


def test_a_flag_that_does_not_exist_is_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(["search", "--no-such-flag"])


def test_the_page_names_every_file() -> None:
    text = (ROOT / "docs" / "cluster.md").read_text()
    for file in CLUSTERS.glob("*.yaml"):
        assert file.name in text


def test_the_wheel_has_every_file_of_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = find_packages(str(ROOT), include=found)
    shipped = PROJECT["tool"]["setuptools"]["package-data"]
    command = build_py(Distribution({"packages": packages, "package_data": {"": shipped["*"]}}))
    command.finalize_options()
    packed = {
        (Path(folder) / name).resolve()
        for _, folder, _, names in command.data_files
        for name in names
    }
    there = {
        file.resolve()
        for folder in ("search", "models", "trials", "dashboards")
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    assert there <= packed
