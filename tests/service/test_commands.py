"""What README and docs tell a shell to send works as pasted, and leaves nothing in the checkout but in `runs/`."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from running_service import Running, run_service

from service.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/api.md", "docs/provenance.md", "docs/animate.md")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = Settings(models_dir=ROOT / "models", threads=2, jobs_dir=tmp_path_factory.mktemp("jobs"))
    with run_service(settings) as running:
        yield running


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what commands use of a checkout, and a clip where `make data` puts one."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    clip = tmp_path / "data" / "media" / "carphone_pristine.mp4"
    clip.parent.mkdir(parents=True)
    clip.symlink_to(ROOT / "service" / "web" / "live" / "sample.webm")
    return tmp_path


def list_blocks(page: str) -> list[str]:
    """The page's blocks for a shell that ask a service."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    return [block for block in blocks if "curl" in block or block == "mkdir -p runs\n"]


def run_blocks(blocks: list[str], checkout: Path, service: Running) -> None:
    """One after another in one shell, any command's failure being one."""
    script = "\n".join(blocks).replace("127.0.0.1:8000", service.address)
    script = script.replace(".venv/bin/python", sys.executable)
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=checkout, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_every_command_works_and_writes_to_runs_alone(checkout: Path, service: Running) -> None:
    before = {path.name for path in checkout.iterdir()}
    blocks = [list_blocks(page) for page in PAGES]
    assert [len(each) for each in blocks] >= [1, 12, 1, 1]
    for each in blocks:
        run_blocks(each, checkout, service)
    assert {path.name for path in checkout.iterdir()} - before == {"runs"}
    runs = checkout / "runs"
    for name in ("face.jpg", "reenacted.jpg", "reference.jpg", "film.gif"):
        with Image.open(runs / name) as picture:
            assert picture.size == (256, 256), name
    assert json.loads((runs / "landmarks.json").read_text())["faces"]
    assert (runs / "video.mp4").read_bytes()[4:8] == b"ftyp"


def test_without_the_sample_media_the_commands_end_too(checkout: Path, service: Running) -> None:
    (checkout / "data" / "media" / "carphone_pristine.mp4").unlink()
    (block,) = [block for block in list_blocks("docs/api.md") if "/reenact/video" in block]
    (checkout / "runs").mkdir()
    script = block.replace("127.0.0.1:8000", service.address)
    done = subprocess.run(["bash", "-c", script], cwd=checkout, capture_output=True, text=True, timeout=60, check=False)
    assert "Failed to open" in done.stderr
    assert not (checkout / "runs" / "video.mp4").exists()
