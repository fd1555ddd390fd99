"""A release, and its wheel as somebody installs it who has no checkout: commands, pages, bundle, in an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from service import __version__
from shared.bundle import load_bundle

ROOT = Path(__file__).parents[1]
FILES = ("pyproject.toml", "LICENSE", "NOTICE")
FOLDERS = ("docker", "shared", "service", "trainer", "models/franck", "models/mesh")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make release` leaves of a checkout with the sources alone: its dist/, with a key beside it."""
    folder = tmp_path_factory.mktemp("release")
    sources = folder / "sources"
    for name in FOLDERS:
        shutil.copytree(ROOT / name, sources / name, symlinks=True)
    for name in FILES:
        shutil.copy(ROOT / name, sources)
    git = ["git", "-C", sources, "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "release"]):
        subprocess.run([*git, *words], check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    environment = os.environ | {"KEY": str(folder / "key"), "IMAGES": "no"}
    subprocess.run([sources / "docker/release.sh", sys.executable], env=environment, check=True)
    return sources / "dist"


@pytest.fixture(scope="module")
def site(release: Path) -> Path:
    """The wheel, installed without what it depends on."""
    (wheel,) = release.glob("*.whl")
    site = release.parents[1] / "site"
    pip = [sys.executable, "-m", "pip", "-q", "install", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, "--target", site, wheel], check=True)
    return site


def test_a_release_is_hashed_and_signed(release: Path) -> None:
    names = {f"landmarkgan-{__version__}-py3-none-any.whl", f"landmarkgan-{__version__}.tar.gz"}
    assert {path.name for path in release.iterdir()} == names | {"SHA256SUMS", "SHA256SUMS.sig"}
    subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=release, check=True)
    sums = (release / "SHA256SUMS").read_bytes()
    assert {line.split()[1] for line in sums.decode().splitlines()} == names
    allowed = release.parents[1] / "allowed_signers"
    allowed.write_text(f"release {(release.parents[1] / 'key.pub').read_text()}")
    words = ["-Y", "verify", "-f", allowed, "-I", "release", "-n", "landmarkgan", "-s", release / "SHA256SUMS.sig"]
    for text, status in ((sums, 0), (sums.replace(b"a", b"b"), 255)):
        verify = subprocess.run(["ssh-keygen", *words], input=text, capture_output=True, check=False)
        assert verify.returncode == status


def test_a_release_is_of_what_is_committed(release: Path) -> None:
    with (release.parent / "NOTICE").open("a") as file:
        file.write("changed\n")
    script = [release.parent / "docker/release.sh", sys.executable]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "what is committed" in done.stderr
    assert (release / "SHA256SUMS").is_file()


def start(site: Path, folder: Path, *words: str) -> subprocess.Popen[str]:
    """`landmarkgan …` in `folder`, which is no checkout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LANDMARKGAN_")}
    environment["PYTHONPATH"] = str(site)
    command = [sys.executable, str(site / "bin/landmarkgan"), *words]
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run(site: Path, folder: Path, *words: str) -> tuple[int, str, str]:
    process = start(site, folder, *words)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_the_command_tells_its_version_and_its_commands(site: Path, tmp_path: Path) -> None:
    assert run(site, tmp_path, "--version") == (0, f"{__version__}\n", "")
    status, out, _ = run(site, tmp_path)
    assert status == 0
    assert "serve" in out
    assert "train" in out
    status, _, err = run(site, tmp_path, "sing")
    assert status == 2
    assert "no command 'sing'" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["serve", "reenact", "train", "train-many"])
def test_help_names_the_command_as_it_was_called(site: Path, tmp_path: Path, command: str) -> None:
    status, out, err = run(site, tmp_path, command, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: landmarkgan {command} ")


def test_a_clip_is_reenacted_offline(site: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "service/web/live/sample.webm", tmp_path / "clip.webm")
    status, out, err = run(site, tmp_path, "reenact", "clip.webm", "--end", "0.3")
    assert status == 0, err
    assert "models/ is laid here" in err
    assert out.startswith("clip-reenacted.mp4: ")
    assert ", 0 of them without a face" in out
    assert (tmp_path / "clip-reenacted.mp4").stat().st_size > 1000
    assert load_bundle(tmp_path / "models/franck").sha256 == load_bundle(ROOT / "models/franck").sha256


def test_it_serves_pages_and_one_version(site: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start(site, tmp_path, "serve", "--port", str(port))
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert process.poll() is None, process.communicate()[1]
            try:
                urlopen(f"{address}/readyz").close()
                break
            except URLError:
                time.sleep(0.1)
        told = json.loads(read(f"{address}/version"))
        assert told["version"] == json.loads(read(f"{address}/openapi.json"))["info"]["version"] == __version__
        assert told["detector"] == "mesh"
        assert list(told["providers"]) == ["franck"]
        assert read(f"{address}/") == (ROOT / "service/web/index.html").read_bytes()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def read(url: str) -> bytes:
    with urlopen(url) as answer:
        found: bytes = answer.read()
        return found


def test_a_training_that_can_not_be_is_refused_in_words(site: Path, tmp_path: Path) -> None:
    status, _, err = run(site, tmp_path, "train", "--target", "nobody")
    assert status == 2
    assert "There are no media of the target 'nobody'" in err
