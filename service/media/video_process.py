"""A video read and written by FFmpeg in a process of its own, which has limits and can be killed at any moment.

Requests go to its standard input and answers come back by its standard output, one after the other: lengths of a JSON
head and of the bytes behind it, the head, the bytes. Nothing but numbers and pictures comes back, and no answer is
believed to be larger than was agreed.
"""

import json
import math
import os
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import numpy as np

import service
from service import errors
from service.errors import ServiceError, VideoDamagedError, VideoTooLargeError
from shared.pixels import Image8

NOTHING = memoryview(b"")
LENGTHS = struct.Struct(">II")
MAX_HEAD = 65_536
MAX_SIDE = 8192  # pixels; what no camera reaches, and H.264 decoders need not take
TOLD_ERRORS = ("UnsupportedVideoError", "VideoTooLargeError", "VideoDamagedError", "StorageError")
SMALLER = "A video of fewer pixels, or a whole one."


@dataclass(frozen=True)
class VideoLimits:
    """The most that is taken: seconds, and pixels of a frame."""

    seconds: float
    pixels: int


@dataclass(frozen=True)
class Stretch:
    """What of a video is wanted, in seconds since its first moment: from `start` on, and what comes before `end`."""

    start: float = 0.0
    end: float = math.inf

    def cap(self, seconds: float) -> float:
        """How long it is in a video of so many seconds."""
        return max(0.0, min(seconds, self.end) - self.start)


WHOLE = Stretch()


@dataclass(frozen=True)
class VideoFacts:
    """What a file says of its video. `clock` is the length of its tick, and `start` its first moment, in seconds.

    `end` is the last time, in seconds from the start, at which a frame or a sound is believed to be. `frames` are those
    of the stretch.
    """

    rate: Fraction
    clock: Fraction
    start: Fraction
    end: float
    frames: int | None
    sound: bool


@dataclass(frozen=True)
class Shot:
    """One upright frame ``(H, W, 3)``, and its time since the stretch's start in ticks and in seconds."""

    image: Image8
    ticks: int
    seconds: float


class VideoProcess:
    """One source and, from `begin` on, one result. All calls but `kill` come from one thread, and block.

    The process ends with that thread at the latest, and with this one however it ends.
    """

    def __init__(self, source: Path, limits: VideoLimits, stretch: Stretch = WHOLE) -> None:
        self.source, self.limits, self.stretch = source.absolute(), limits, stretch
        # Of the service's own environment, keys and all, it gets nothing but what Python itself may need.
        environment = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        environment |= {"PYTHONPATH": str(Path(service.__file__).parents[1])}
        environment |= {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}  # room that would only be reserved
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "service.media.video_child", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def open(self) -> VideoFacts:
        """Raises UnsupportedVideoError, VideoTooLargeError and VideoDamagedError, as each of the calls below does."""
        limits, stretch = asdict(self.limits), asdict(self.stretch)
        head = self._ask("open", source=str(self.source), **limits, **stretch)
        told = {name: Fraction(str(head[name])) for name in ("rate", "clock", "start")}
        frames = None if head["frames"] is None else int(head["frames"])
        return VideoFacts(**told, end=float(head["end"]), frames=frames, sound=bool(head["sound"]))

    def read(self, step: int = 1) -> Shot | None:
        """The next frame, or the one so many steps further; None after the last."""
        head = self._ask("read", step=step)
        if "ticks" not in head:
            return None
        height, width = int(head["height"]), int(head["width"])
        if not 0 < height * width <= self.limits.pixels:
            raise self._fail("the process told of a frame that is too large")
        image = np.empty((height, width, 3), np.uint8)
        if self._output.readinto(image.data.cast("B")) != image.nbytes:
            raise self._explain_end()
        return Shot(image, int(head["ticks"]), float(head["seconds"]))

    def begin(self, result: Path, width: int, height: int) -> None:
        """Begin an MP4 of such pictures, with the source's sound. Raises StorageError, as the two calls below do."""
        self._ask("begin", result=str(result.absolute()), width=width, height=height)

    def write(self, picture: Image8, ticks: int) -> None:
        """Add the frame ``(H, W, 3)`` of this time."""
        self._ask("write", np.ascontiguousarray(picture).data.cast("B"), ticks=ticks)

    def finish(self) -> None:
        """The result is whole."""
        self._ask("finish")

    def kill(self) -> None:
        """End the process at once, whatever it does: a call that waits for it raises. From any thread."""
        self._process.kill()

    def close(self) -> None:
        """As `kill`, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        self._output.close()
        with suppress(BrokenPipeError):  # what was not yet sent
            self._input.close()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _output(self) -> BufferedReader:
        assert isinstance(self._process.stdout, BufferedReader)
        return self._process.stdout

    def _ask(self, wanted: str, payload: memoryview = NOTHING, **options: Any) -> dict[str, Any]:
        try:
            send_message(self._input, {"do": wanted, **options}, payload)
            head, _ = receive_head(self._output)
        except (BrokenPipeError, EOFError) as error:
            raise self._explain_end() from error
        except ValueError as error:
            raise self._fail("the process spoke in riddles") from error
        if "error" not in head:
            return head
        if head["error"] not in TOLD_ERRORS:
            raise self._fail(str(head["detail"]))
        kind: type[ServiceError] = getattr(errors, head["error"])
        raise kind(str(head["detail"]), None if head["expected"] is None else str(head["expected"]))

    def _explain_end(self) -> Exception:
        ended = self._process.wait()
        if ended == -signal.SIGXCPU:
            return VideoTooLargeError("Decoding the video takes too much processor time.", SMALLER)
        if ended == -signal.SIGKILL:
            return VideoTooLargeError("Decoding the video was stopped, most likely for want of memory.", SMALLER)
        return VideoDamagedError("The video is damaged such that decoding it breaks off.", SMALLER)

    def _fail(self, why: str) -> RuntimeError:
        self.kill()
        return RuntimeError(f"video process: {why}")


def send_message(stream: IO[bytes], head: dict[str, Any], payload: memoryview = NOTHING) -> None:
    """Raises BrokenPipeError where nobody reads."""
    encoded = json.dumps(head).encode("ascii")
    stream.write(LENGTHS.pack(len(encoded), len(payload)) + encoded)
    stream.write(payload)
    stream.flush()


def receive_head(stream: IO[bytes]) -> tuple[dict[str, Any], int]:
    """The head of the next message, and how many bytes follow. Raises EOFError at the end, and ValueError."""
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        raise EOFError
    size, following = LENGTHS.unpack(lengths)
    if size > MAX_HEAD:
        raise ValueError("the head is too long")
    head = json.loads(stream.read(size))
    if not isinstance(head, dict):
        raise ValueError("the head is no object")
    return head, following
