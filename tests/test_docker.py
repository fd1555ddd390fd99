"""What the image files name is looked up, and what they run is run; `test_images.py` builds the images."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI

from service.server import configure_server
from service.settings import Settings

ROOT = Path(__file__).parents[1]
DOCKERFILES = ["Dockerfile", "docker/trainer.Dockerfile"]


def read_instructions(dockerfile: str) -> list[tuple[str, str]]:
    """The file as (INSTRUCTION, rest) pairs, continued lines joined and comments dropped."""
    text = (ROOT / dockerfile).read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    return [(name, rest.strip()) for name, rest in pairs]


def read_commands(dockerfile: str) -> list[list[str]]:
    """The argument lists of CMD, ENTRYPOINT and HEALTHCHECK; all are in exec form, so that signals arrive."""
    rests = [rest for name, rest in read_instructions(dockerfile) if name in ("CMD", "ENTRYPOINT", "HEALTHCHECK")]
    return [json.loads(rest[rest.index("[") :]) for rest in rests]


def read_copies(dockerfile: str) -> list[str]:
    """What comes from the repository, in any of the file's stages."""
    copies = [rest for name, rest in read_instructions(dockerfile) if name == "COPY" and not rest.startswith("--from")]
    return [path for rest in copies for path in rest.split()[:-1]]


def read_env(dockerfile: str) -> dict[str, str]:
    words = [word for name, rest in read_instructions(dockerfile) if name == "ENV" for word in rest.split()]
    return dict(word.split("=", 1) for word in words)


def reaches_engine(path: str) -> bool:
    """Whether .dockerignore lets a path's first folder through; as with Docker, the last rule that matches decides."""
    reaches, path = True, path.split("/")[0]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#") and fnmatch.fnmatch(path, line.removeprefix("!")):
            reaches = line.startswith("!")
    return reaches


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_copied_paths_exist_and_reach_the_engine(dockerfile: str) -> None:
    paths = read_copies(dockerfile)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [path for path in paths if not reaches_engine(path)] == []


def test_dockerignore_keeps_everything_else_back() -> None:
    assert [path for path in (".git", ".venv", "data", "runs", "tests") if reaches_engine(path)] == []


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_commands_name_modules_that_are_copied(dockerfile: str) -> None:
    modules = [command[2] for command in read_commands(dockerfile) if command[:2] == ["python", "-m"]]
    assert modules
    for module in modules:
        assert (ROOT / module / "__main__.py").is_file()
        assert module in read_copies(dockerfile)


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_what_is_installed_has_hashes(dockerfile: str) -> None:
    runs = " ".join(rest for name, rest in read_instructions(dockerfile) if name == "RUN")
    default = dict(rest.split("=", 1) for name, rest in read_instructions(dockerfile) if name == "ARG")["ONNXRUNTIME"]
    assert default == "cpu"
    installs = re.findall(r"requirements/install\.sh \S+ ([\w$ ]+?) *(?:&&|$)", runs)
    extras = [extra for words in installs for extra in words.replace("$ONNXRUNTIME", default).split()]
    assert {"cpu", "sbom"} < set(extras)
    assert all((ROOT / f"requirements/{extra}.txt").is_file() for extra in extras)
    assert all("-c constraints.txt torch" in rest for rest in re.findall(r"pip install (.*?)(?:&&|$)", runs))


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_images_do_not_run_as_root(dockerfile: str) -> None:
    users = [rest for name, rest in read_instructions(dockerfile) if name == "USER"]
    assert users
    assert not users[-1].startswith(("0", "root"))


def test_compose_builds_from_files_and_arguments_that_exist(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        build = service["build"]
        dockerfile = build.get("dockerfile", "Dockerfile")
        assert (ROOT / build["context"] / dockerfile).is_file(), name
        declared = {rest.split("=")[0] for word, rest in read_instructions(dockerfile) if word == "ARG"}
        assert set(build.get("args", {})) <= declared, name


def test_compose_has_a_default_service_a_gpu_and_a_train_profile(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert [name for name, service in services.items() if "profiles" not in service] == ["service"]
    assert {profile for service in services.values() for profile in service.get("profiles", [])} == {"gpu", "train"}
    for name, service in services.items():
        assert ("deploy" in service) == name.endswith("-gpu"), name
    assert services["service-gpu"]["build"]["args"] == {"ONNXRUNTIME": "gpu"}


def test_compose_mounts_are_folders_of_the_repository_or_remade_ones(compose: dict[str, Any]) -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for name, service in compose["services"].items():
        for volume in service["volumes"]:
            host, inside = volume.split(":")[:2]
            folder = inside.removeprefix("/app/")
            assert host == f"./{folder}" or (host.startswith(folder) and host in compose["volumes"]), name
            assert (ROOT / folder).is_dir() or f"/{folder}/" in ignored, name


def test_services_are_published_on_this_machine_alone_and_bounded(compose: dict[str, Any]) -> None:
    served = {name: service for name, service in compose["services"].items() if "ports" in service}
    assert set(served) == {"service", "service-gpu"}
    for name, service in served.items():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        assert service["mem_limit"], name
        grace = float(service["stop_grace_period"].removesuffix("s"))
        assert grace >= Settings().drain_seconds + configure_server(FastAPI(), Settings()).timeout_graceful_shutdown
        assert [volume for volume in service["volumes"] if volume.endswith(":/app/jobs")], name
        origins = json.loads(service["environment"]["LANDMARKGAN_ALLOWED_ORIGINS"])
        published = service["ports"][0].split(":")[1]
        assert {f"http://localhost:{published}", f"http://127.0.0.1:{published}"} <= set(origins)
    volumes = [volume for service in served.values() for volume in service["volumes"] if "jobs" in volume]
    assert len(set(volumes)) == len(volumes), "two services on one folder of jobs"


def test_ports_agree(compose: dict[str, Any]) -> None:
    exposed = [rest for name, rest in read_instructions("Dockerfile") if name == "EXPOSE"]
    assert exposed == [read_env("Dockerfile")["LANDMARKGAN_PORT"]]
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert {port.split(":")[2] for port in ports} == set(exposed)
    assert len({port.split(":")[1] for port in ports}) == len(ports), "two services would want one port of the host"


def test_environment_sets_settings_that_the_service_has(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    environments = [read_env("Dockerfile"), *(one.get("environment", {}) for one in compose["services"].values())]
    pairs = [pair for one in environments for pair in one.items() if pair[0].startswith("LANDMARKGAN_")]
    assert pairs
    for name, value in pairs:
        monkeypatch.setenv(name, value)
        assert name.removeprefix("LANDMARKGAN_").lower() in Settings().model_fields_set, name


class Answer(BaseHTTPRequestHandler):
    """Answers 200 to /livez and 503 to all else."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/livez" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_healthcheck_passes_on_livez_and_fails_otherwise(port: int) -> None:
    program, option, code = read_commands("Dockerfile")[0]
    assert (program, option) == ("python", "-c")
    assert "127.0.0.1:8000/livez" in code
    here = code.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    assert subprocess.run([sys.executable, "-c", here], check=False).returncode == 0
    unwell = subprocess.run([sys.executable, "-c", here.replace("/livez", "/gone")], capture_output=True, check=False)
    assert unwell.returncode == 1


def test_without_engine_and_buildah_the_way_is_said(tmp_path: Path) -> None:
    for name in ("bash", "dirname", "id"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    command = [str(tmp_path / "bash"), str(ROOT / "docker/images.sh")]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "apt-get install buildah debootstrap" in done.stderr
