"""``python -m service.media.video_child PARENT``: what `VideoProcess` starts. FFmpeg runs here and nowhere else.

It limits itself before it opens anything: memory, by what the pixels allowed need; processor time, which each frame
adds to; no core file. Where memory runs short on the machine, it is the first to be ended, and it ends with its parent.
"""

import ctypes
import math
import os
import resource
import signal
import sys
import traceback
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from service.errors import ServiceError, VideoTooLargeError
from service.media.video import VideoReader, VideoWriter
from service.media.video_process import NOTHING, SMALLER, Stretch, VideoLimits, receive_head, send_message

MIB = 1024 * 1024
# Bytes in all, and for each pixel: of a frame that is read, of which ten-bit HEVC keeps many, and of one written.
READING, PIXEL_READ = 128 * MIB, 48
WRITING, PIXEL_WRITTEN = 64 * MIB, 56
START_SECONDS, FRAME_SECONDS = 20, 1  # of processor time: at first, and for each frame that came of it
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
NICENESS = 10  # who waits for an answer of the service goes before a video


class Limits:
    """What this process may take. Both only ever grow, by what was agreed."""

    def __init__(self, parent: int) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.nice(NICENESS)
        self._seconds, self._bytes = float(START_SECONDS), 0
        self.add_seconds(0)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
            if os.getppid() != parent:
                sys.exit(1)
            with suppress(OSError):
                Path("/proc/self/oom_score_adj").write_text("1000")
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            self._bytes = pages * resource.getpagesize()  # the libraries' own

    def add_seconds(self, seconds: float) -> None:
        """Of processor time; over it, SIGXCPU ends the process."""
        self._seconds += seconds
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(self._seconds), resource.RLIM_INFINITY))

    def add_bytes(self, count: int) -> None:
        """Of address space; over it, allocations fail."""
        self._bytes += count
        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_AS, (self._bytes, resource.RLIM_INFINITY))


class Servant:
    """The source and the result, and what may be asked of them."""

    def __init__(self, parent: int) -> None:
        self.limits = Limits(parent)
        self.reader: VideoReader | None = None
        self.writer: VideoWriter | None = None
        self.size = (0, 0)

    def open(self, source: str, seconds: float, pixels: int, start: float, end: float) -> dict[str, Any]:
        """The facts."""
        self.limits.add_bytes(READING + PIXEL_READ * pixels)
        self.reader = VideoReader(Path(source), VideoLimits(seconds, pixels), Stretch(start, end))
        facts = self.reader.facts
        self.limits.add_seconds(FRAME_SECONDS * start * float(facts.rate))  # for the frames that are stepped over
        told = {name: str(getattr(facts, name)) for name in ("rate", "clock", "start")}
        return told | {"end": facts.end, "frames": facts.frames, "sound": facts.sound}

    def read(self, step: int) -> tuple[dict[str, Any], memoryview]:
        """The next frame, or a later one; an empty answer after the last."""
        assert self.reader is not None
        shot = None
        for _ in range(step):
            shot = self.reader.read()
            if shot is None:
                return {}, NOTHING
            self.limits.add_seconds(FRAME_SECONDS)
        assert shot is not None
        height, width = shot.image.shape[:2]
        head = {"ticks": shot.ticks, "seconds": shot.seconds, "height": height, "width": width}
        return head, shot.image.data.cast("B")

    def begin(self, result: str, width: int, height: int) -> None:
        """The result's size is known."""
        assert self.reader is not None
        self.limits.add_bytes(WRITING + PIXEL_WRITTEN * width * height)
        self.writer, self.size = VideoWriter(Path(result), width, height, self.reader), (height, width)

    def write(self, payload: bytearray, ticks: int) -> None:
        """One picture of that size."""
        assert self.writer is not None
        self.writer.write(np.frombuffer(payload, np.uint8).reshape(*self.size, 3), ticks)

    def finish(self) -> None:
        """No picture follows."""
        assert self.writer is not None
        self.writer.finish()


def answer(servant: Servant, head: dict[str, Any], payload: bytearray) -> tuple[dict[str, Any], memoryview]:
    """What becomes of one request: an error is an answer too."""
    wanted = head.pop("do")
    try:
        if wanted == "read":
            return servant.read(**head)
        if wanted == "open":
            return servant.open(**head), NOTHING
        if wanted == "begin":
            servant.begin(**head)
        elif wanted == "write":
            servant.write(payload, **head)
        else:
            servant.finish()
        return {}, NOTHING
    except MemoryError:
        error: ServiceError = VideoTooLargeError("Decoding the video takes more memory than a video may.", SMALLER)
    except ServiceError as refused:
        error = refused
    except Exception:
        return {"error": "fault", "detail": traceback.format_exc()[-8000:], "expected": None}, NOTHING
    return {"error": type(error).__name__, "detail": str(error), "expected": error.expected}, NOTHING


def main() -> None:
    """Answer until nobody asks."""
    servant, requests = Servant(int(sys.argv[1])), sys.stdin.buffer
    assert isinstance(requests, BufferedReader)
    while True:
        try:
            head, following = receive_head(requests)
        except EOFError:
            return
        payload = bytearray(following)
        if requests.readinto(payload) != following:
            return
        send_message(sys.stdout.buffer, *answer(servant, head, payload))


if __name__ == "__main__":
    main()
