"""The shell command in its own process, with the committed bundles and a clip of a real face."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from service.reenact_video import main
from tests.fixtures.painted import write_video

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two clips of a face that moves: short.mp4 and long.mp4."""
    folder = tmp_path_factory.mktemp("clips")
    with Image.open(ROOT / "models" / "cap" / "reference.jpg") as picture:
        face = picture.convert("RGB").resize((160, 160))
    frames = []
    for step in range(8):
        frame = Image.new("RGB", (240, 180), (120, 124, 118))
        frame.paste(face, (30 + 2 * step, 10))
        frames.append(np.asarray(frame))
    write_video(folder / "short.mp4", frames)
    write_video(folder / "long.mp4", frames * 100)
    return folder


def run(*arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
    """Start the command."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LANDMARKGAN_")}
    command = [sys.executable, "-m", "service.reenact_video", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def list_files(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()} - {"short.mp4", "long.mp4"}


def test_a_clip_becomes_a_video_and_is_not_overwritten_unasked(folder: Path) -> None:
    output = folder / "out.mp4"
    process = run(folder / "short.mp4", "--target", "franck", "-o", output, "--layout", "side-by-side")
    told, log = process.communicate(timeout=120)
    assert (process.returncode, log.count("Traceback")) == (0, 0)
    assert "8 frames, 0 of them without a face" in told
    assert "8/8" in log  # the progress bar
    with av.open(str(output)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 8
    before = output.read_bytes()
    again = run(folder / "short.mp4", "--target", "franck", "-o", output)
    _, log = again.communicate(timeout=60)
    assert again.returncode == 2
    assert "--overwrite" in log
    assert output.read_bytes() == before
    replaced = run(folder / "short.mp4", "-o", output, "--overwrite", LANDMARKGAN_DEFAULT_TARGET="cap")
    replaced.communicate(timeout=120)
    assert replaced.returncode == 0
    assert output.read_bytes() != before
    output.unlink()
    assert list_files(folder) == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing(folder: Path, number: signal.Signals) -> None:
    process = run(folder / "long.mp4", "--target", "franck", "-o", folder / "out.mp4")
    end = time.monotonic() + 60
    while list_files(folder) != {".out.mp4.part"}:
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert number.name in log
    assert "Traceback" not in log
    assert list_files(folder) == set()


def test_what_is_wrong_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LANDMARKGAN_MODELS_DIR", str(ROOT / "models"))
    text = folder.parent / "text.mp4"
    text.write_text("just text")
    for arguments, status, words in (
        ((folder / "none.mp4", "--target", "franck", "-o", folder / "out.mp4"), 2, "There is no file"),
        ((folder / "short.mp4", "--target", "franck", "-o", folder / "none" / "out.mp4"), 2, "There is no folder"),
        ((folder / "short.mp4", "--target", "franck", "-o", folder / "short.mp4", "--overwrite"), 2, "another output"),
        ((folder / "short.mp4", "--target", "franck", "--face", "-1", "-o", folder / "out.mp4"), 2, "face"),
        ((folder / "short.mp4", "--target", "eve", "-o", folder / "out.mp4"), 1, "no target of this name"),
        ((text, "--target", "franck", "-o", folder / "out.mp4"), 1, "be read as a video"),
    ):
        assert main([str(each) for each in arguments]) == status
        assert words in capsys.readouterr().err
    assert list_files(folder) == set()
