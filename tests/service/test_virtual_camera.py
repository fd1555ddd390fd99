"""The virtual camera's client, as it stands in docs/, before the real service and a camera of ours."""

import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from running_service import run_service

from service.provenance.watermark import read_watermark
from service.settings import Settings
from shared.detectors import load_detector

ROOT = Path(__file__).parents[2]
CLIENT, CLIP = ROOT / "docs" / "virtual_camera.py", ROOT / "service" / "web" / "live" / "sample.webm"


class FakeCamera:
    """pyvirtualcam's Camera, as far as the client knows it; refuses what that refuses."""

    opened: ClassVar[list["FakeCamera"]] = []
    device = "/dev/video-of-nobody"

    def __init__(self, width: int, height: int, fps: float) -> None:
        self.shape = (height, width, 3)
        self.frames: list[NDArray[np.uint8]] = []
        FakeCamera.opened.append(self)

    def __enter__(self) -> "FakeCamera":
        return self

    def __exit__(self, *error: object) -> None:
        self.device = "closed"

    def send(self, frame: NDArray[np.uint8]) -> None:
        assert (frame.shape, frame.dtype) == (self.shape, np.uint8)
        self.frames.append(frame)


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> list[FakeCamera]:
    module = ModuleType("pyvirtualcam")
    vars(module)["Camera"] = FakeCamera
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    monkeypatch.setattr(FakeCamera, "opened", [])
    return FakeCamera.opened


def run_client(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [str(CLIENT), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(CLIENT), run_name="__main__")
    assert ended.value.code == 0


def test_the_target_follows_a_clip_into_the_camera(
    monkeypatch: pytest.MonkeyPatch, camera: list[FakeCamera], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with run_service(Settings(models_dir=ROOT / "models", threads=2, jobs_dir=tmp_path)) as service:
        run_client(monkeypatch, "--camera", str(CLIP), "--address", f"ws://{service.address}", "--size", "256")
    (opened,) = camera
    assert opened.device == "closed"
    assert len(opened.frames) >= 2
    assert '"target": "franck"' in capsys.readouterr().out
    face = opened.frames[-1]
    assert len(load_detector("mesh", ROOT / "models", 1).detect(face)) == 1
    mark = read_watermark(face)
    assert mark is not None
    assert mark.kind == "generated"


def test_frames_without_a_face_leave_the_camera_as_it_is(
    monkeypatch: pytest.MonkeyPatch, camera: list[FakeCamera], tmp_path: Path
) -> None:
    with run_service(Settings(models_dir=ROOT / "models", threads=2, jobs_dir=tmp_path)) as service:
        run_client(
            monkeypatch, "--camera", str(make_wall(tmp_path)), "--address", f"ws://{service.address}", "--size", "64"
        )
    assert [each.frames for each in camera] == [[]]


def test_a_camera_that_is_not_there_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, camera: list[FakeCamera], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with run_service(Settings(models_dir=ROOT / "models", threads=2, jobs_dir=tmp_path)) as service:
        run_client(monkeypatch, "--camera", "/dev/none", "--address", f"ws://{service.address}")
    assert "/dev/none can't be read" in capsys.readouterr().err


def make_wall(folder: Path) -> Path:
    """A clip of a grey wall, ten frames long."""
    path = folder / "wall.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((240, 320, 3), 120, np.uint8), "rgb24")))
        container.mux(stream.encode())
    return path
