"""Both images, built and run without a Docker engine. It takes minutes: TEST_IMAGES=1 asks for it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import httpx
import pytest
from running_service import run_service

from service import __version__
from service.settings import Settings
from shared.bundle import load_bundle

ROOT = Path(__file__).parents[1]
TOOLS = ("buildah", "debootstrap", "unshare", "chroot")
MISSING = ", ".join(tool for tool in TOOLS if shutil.which(tool) is None)
BUILDAH = ["buildah", "--storage-driver", "vfs"]
MOST_BYTES = {"landmarkgan": 400e6, "landmarkgan-trainer": 2000e6}

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"building images without an engine wants what is not here: {MISSING}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="building images without an engine wants root"),
    pytest.mark.skipif("TEST_IMAGES" not in os.environ, reason="building images takes minutes: TEST_IMAGES=1 wants it"),
]


@dataclass(frozen=True)
class Image:
    """An image as files: its root's folder, the environment and the command that its configuration names."""

    root: Path
    env: dict[str, str]
    command: list[str]
    user: str

    def start(self, arguments: list[str], mounts: dict[str, str], env: dict[str, str]) -> subprocess.Popen[str]:
        """The command as a container runs it: on a read-only root, as the image's user, its own mounts alone.

        `mounts`: path inside -> folder outside, or `tmpfs`.
        """
        root = self.root
        lines = ["set -e", f"mount --bind {root} {root}", f"mount -o remount,bind,ro {root}"]
        lines += [f"mount --rbind /{name} {root}/{name}" for name in ("dev", "proc", "sys")]
        for inside, outside in mounts.items():
            source = "-t tmpfs -o mode=1777 tmpfs" if outside == "tmpfs" else f"--bind {outside}"
            lines.append(f"mount {source} {root}{inside}")
        lines.append(f'exec chroot --userspec={self.user} {root} env -i -C /app "$@"')
        pairs = [f"{name}={value}" for name, value in (self.env | env).items()]
        shell = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(lines), "sh"]
        return subprocess.Popen([*shell, *pairs, *self.command, *arguments], text=True, stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def built() -> None:
    subprocess.run([ROOT / "docker/images.sh"], check=True, stdout=subprocess.DEVNULL)


def run_buildah(*words: str) -> str:
    return subprocess.run([*BUILDAH, *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def image(request: pytest.FixtureRequest, built: None) -> Iterator[Image]:
    container = run_buildah("from", "--pull-never", f"localhost/{request.param}")
    try:
        config = json.loads(run_buildah("inspect", container))["OCIv1"]["config"]
        env = dict(pair.split("=", 1) for pair in config["Env"])
        command = config["Entrypoint"] if "Entrypoint" in config else config["Cmd"]
        yield Image(Path(run_buildah("mount", container)), env, command, config["User"])
    finally:
        run_buildah("rm", container)


def find_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def count_bytes(root: Path) -> int:
    return sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())


@pytest.mark.parametrize("image", ["landmarkgan"], indirect=True)
def test_the_service_runs_read_only_and_unprivileged(image: Image, tmp_path: Path) -> None:
    assert image.user == "65534:65534"
    port = find_port()
    mounts = {"/tmp": "tmpfs", "/app/jobs": "tmpfs"}
    process = image.start([], mounts, {"LANDMARKGAN_HOST": "127.0.0.1", "LANDMARKGAN_PORT": str(port)})
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not answers(address):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "not ready within a minute"
            time.sleep(0.1)
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "\nUid:\t65534\t65534" in status
        points = load_bundle(ROOT / "models/franck").manifest.neutral
        order = {"target": "franck", "landmarks": points, "format": "png"}
        inside = httpx.post(f"{address}/synthesize", json=order)
        with run_service(Settings(models_dir=ROOT / "models", jobs_dir=tmp_path / "jobs")) as outside:
            assert inside.content == httpx.post(f"http://{outside.address}/synthesize", json=order).content
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("image", ["landmarkgan-trainer"], indirect=True)
def test_the_trainer_makes_a_bundle(image: Image, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("data", "runs", "models")}
    shutil.copytree(ROOT / "models", folders["models"])
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    shutil.copy(ROOT / "service/web/live/sample.webm", folders["data"])
    subprocess.run(["chown", "-R", image.user, tmp_path], check=True)
    for parent in [tmp_path, *tmp_path.parents][:-2]:
        parent.chmod(parent.stat().st_mode | 0o011)
    for name in ("data", "runs"):
        (image.root / "app" / name).mkdir()
    mounts = {"/tmp": "tmpfs"} | {f"/app/{name}": str(folder) for name, folder in folders.items()}
    words = ["train", "--target", "me", "--video", "data/sample.webm", "--quick", "--steps", "20"]
    process = image.start(words, mounts, {})
    errors = process.communicate(timeout=900)[1]
    assert process.returncode == 0, errors[-3000:]
    run = load_bundle(folders["models"] / "me-quick").manifest.run
    assert run is not None
    assert run.steps == run.planned == 20


@pytest.mark.parametrize("image", MOST_BYTES, indirect=True)
def test_the_sbom_beside_it_names_what_is_installed(image: Image, request: pytest.FixtureRequest) -> None:
    beside = ROOT / f"dist/{request.node.callspec.params['image']}.cdx.json"
    bom = json.loads(beside.read_text())
    assert (bom["bomFormat"], bom["metadata"]["component"]["version"]) == ("CycloneDX", __version__)
    (site,) = image.root.glob("opt/venv/lib/python3*/site-packages")
    installed = {found.metadata["Name"]: found.version for found in distributions(path=[str(site)])}
    assert {each["name"]: each["version"] for each in bom["components"]} == installed


@pytest.mark.parametrize("image", MOST_BYTES, indirect=True)
def test_no_compiler_pip_cache_or_package_list_is_left(image: Image, request: pytest.FixtureRequest) -> None:
    left = [name for name in ("gcc", "cc", "g++", "make") if (image.root / "usr/bin" / name).exists()]
    caches = [path for path in ("root/.cache", "tmp") for _ in (image.root / path).glob("*")]
    lists = list((image.root / "var/lib/apt/lists").glob("*_Packages*"))
    assert (left, caches, lists) == ([], [], [])
    name = request.node.callspec.params["image"]
    assert count_bytes(image.root) <= MOST_BYTES[name]
