"""FFmpeg in its own process: limits that hold on every frame, and an end at any moment."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from service.errors import VideoDamagedError, VideoTooLargeError
from service.inference.face_player import BESIDE_SIDE, compose
from service.media.video_process import MAX_SIDE, VideoLimits, VideoProcess
from shared.animation import Face
from tests.fixtures.bombs import write_boastful_mp4, write_growing_clip, write_thin_clip
from tests.fixtures.painted import film, write_video

ROOT = Path(__file__).parents[3]
LIMITS = VideoLimits(seconds=60, pixels=1_000_000)


@contextmanager
def start(source: Path, limits: VideoLimits = LIMITS) -> Iterator[VideoProcess]:
    process = VideoProcess(source, limits)
    try:
        yield process
    finally:
        process.close()


def read_all(process: VideoProcess) -> None:
    while process.read() is not None:
        pass


def read_peak(process: VideoProcess) -> int:
    """Peak memory in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twelve frames."""
    return write_video(tmp_path / "clip.mp4", film(1, 12))


def test_a_clip_far_higher_than_wide_is_refused(tmp_path: Path) -> None:
    source = write_thin_clip(tmp_path / "thin.mp4", height=MAX_SIDE + 2)
    with start(source) as process, pytest.raises(VideoTooLargeError, match="16 x 8194"):
        process.open()


def test_a_face_beside_a_high_clip_does_not_outgrow_it() -> None:
    face = Face(np.full((64, 64, 3), 200, np.uint8), np.zeros((68, 2), np.float32), 0, 0)
    picture = compose("side-by-side", np.full((MAX_SIDE, 16, 3), 100, np.uint8), face, None)
    assert picture.shape == (MAX_SIDE, 16 + BESIDE_SIDE, 3)
    assert (picture[MAX_SIDE // 2, 16:] == 200).all()
    assert (picture[0, 16:] == 0).all()


def test_every_frame_is_checked(tmp_path: Path) -> None:
    with start(write_growing_clip(tmp_path / "clip.mov", side=1100)) as process:
        process.open()
        assert process.read() is not None
        assert process.read() is not None
        with pytest.raises(VideoTooLargeError, match="1100 x 1100"):
            process.read()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux alone")
def test_memory_is_limited(tmp_path: Path) -> None:
    """A frame that needs more than is allowed, and a table of sixty million samples."""
    with start(write_growing_clip(tmp_path / "clip.mov", side=9000), VideoLimits(60, 100_000)) as process:
        process.open()
        with pytest.raises(VideoTooLargeError):
            read_all(process)
        assert read_peak(process) < 400
    with start(write_boastful_mp4(tmp_path / "clip.mp4")) as process:
        process.open()  # its tables are too large for the limit, and stay empty
        with pytest.raises(VideoDamagedError):
            read_all(process)
        assert read_peak(process) < 400


def test_who_waits_for_an_answer_goes_before_a_video(clip: Path) -> None:
    with start(clip) as process:
        process.open()
        assert os.getpriority(os.PRIO_PROCESS, process.pid) > os.getpriority(os.PRIO_PROCESS, 0)


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        (signal.SIGKILL, VideoTooLargeError, "memory"),
        (signal.SIGXCPU, VideoTooLargeError, "processor time"),
        (signal.SIGSEGV, VideoDamagedError, "breaks off"),
    ],
)
def test_a_process_that_is_ended_says_why(
    clip: Path, number: signal.Signals, error: type[Exception], words: str
) -> None:
    with start(clip) as process:
        process.open()
        os.kill(process.pid, number)
        with pytest.raises(error, match=words):
            read_all(process)


def test_a_kill_ends_a_call_that_waits(tmp_path: Path) -> None:
    """Opening a pipe that nobody writes to takes for ever."""
    os.mkfifo(tmp_path / "clip.mp4")
    with start(tmp_path / "clip.mp4") as process:
        timer = threading.Timer(1, process.kill)
        timer.start()
        with pytest.raises(VideoTooLargeError):
            process.open()
        timer.join()


@pytest.mark.skipif(sys.platform != "linux", reason="on Linux alone a process ends with its parent")
def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "clip.mp4")
    code = (
        "import sys, threading; from pathlib import Path\n"
        "from service.media.video_process import VideoLimits, VideoProcess\n"
        "process = VideoProcess(Path(sys.argv[1]), VideoLimits(60, 1000))\n"
        "print(process.pid, flush=True); process.open()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "clip.mp4")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_service_itself_has_no_reader_of_videos() -> None:
    modules = "service.app, service.__main__, service.reenact_video"
    code = f"import sys, {modules}; sys.exit('service.media.video' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
