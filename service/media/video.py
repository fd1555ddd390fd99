"""Video files, frame by frame: a reader of whatever FFmpeg reads, and a writer of MP4 that keeps the source's times.

Neither ever holds more than a few frames. Files that strangers sent are for `service.media.video_child` alone to open.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from service.errors import StorageError, UnsupportedVideoError, VideoDamagedError, VideoTooLargeError
from service.media.sound import SoundTrack
from service.media.timeline import Timeline
from service.media.video_process import MAX_SIDE, WHOLE, Shot, Stretch, VideoFacts, VideoLimits
from shared.pixels import Image8

# A playlist is a video to FFmpeg too, and would have it open other files and hosts: only containers are read.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,ogg,flv,asf"
OPEN_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
THREADS = 2  # of FFmpeg, each way: a further one is a few more frames in memory, and the networks are what takes time
FASTEST = 120  # frames a second; a file that has more on average is not what it says
FINEST_CLOCK = 1_000_000  # ticks a second: MP4 counts them in 32 bits
MP4_OPTIONS = {"movflags": "+faststart"}  # the index first, so that a browser plays what has arrived
# Colours are kept more finely than H.264 does by default: the watermark is in them, and outlives it in every frame.
KEPT_COLOURS = "chroma-qp-offset=-6"
ENCODING = {"preset": "veryfast", "crf": "20", "x264-params": KEPT_COLOURS}
# x264 looks ten frames ahead, each of some 5 bytes a pixel: 0.75 GB at 3840x2160. Larger than this it does not look.
LOOK_AHEAD_PIXELS = 2_100_000
WITHOUT_LOOK_AHEAD = {"x264-params": f"{KEPT_COLOURS}:rc-lookahead=0:bframes=0"}
LATEST = 1.1, 1.0  # times the stated length, and seconds more, at which a time is still believed
EXPECTED = "A video file such as MP4, WebM, MKV, MOV or AVI."


class VideoReader:
    """The frames of one video, or of a stretch of it, in order."""

    def __init__(self, path: Path, limits: VideoLimits, stretch: Stretch = WHOLE) -> None:
        """Raises UnsupportedVideoError, VideoTooLargeError and VideoDamagedError. The length is limited once cut."""
        self.limits, self.path, self.stretch = limits, path, stretch
        self._container = open_video(path)
        try:
            if not self._container.streams.video:
                raise UnsupportedVideoError("The file holds no video.", EXPECTED)
            self._stream = self._container.streams.video[0]
            self.facts = _read_facts(self._container, self._stream, limits, stretch)
            self._check_size(self._stream.width, self._stream.height)
            seconds = self._container.duration / av.time_base if self._container.duration else 0.0
            if seconds and stretch.start >= seconds:
                raise UnsupportedVideoError(
                    f"The video is {seconds:.1f} seconds long: nothing is left of it from second {stretch.start:g} on.",
                    "A start before its end.",
                )
            if (wanted := stretch.cap(seconds)) > limits.seconds:
                raise VideoTooLargeError(f"The video is {wanted:.0f} seconds long.", self._expect_length())
        except BaseException:
            self._container.close()
            raise
        self._stream.thread_type, self._stream.codec_context.thread_count = "AUTO", THREADS
        self._size: tuple[int, int] | None = None
        self._timeline, self._count = Timeline(self.facts.end / float(self.facts.clock)), 0
        self._frames = self._decode()
        self._coming: av.VideoFrame | None = None

    def read(self) -> Shot | None:
        """The next frame, None after the last. Raises VideoTooLargeError where it is longer or larger than it said."""
        clock, longest = self.facts.clock, self.limits.seconds
        first = math.ceil(self.stretch.start / clock)
        while (placed := self._place_next()) is not None:
            frame, ticks = placed
            seconds = float((ticks - first) * clock)
            if ticks < first:
                continue
            if ticks * clock >= self.stretch.end:
                return None
            if seconds > longest or self._count > FASTEST * (self.stretch.start + longest):
                raise VideoTooLargeError("The video is longer than it says.", self._expect_length())
            return Shot(self._show(frame), ticks - first, seconds)
        return None

    def _place_next(self) -> tuple[av.VideoFrame, int] | None:
        """The next frame of the file, and its time since the file's first moment in ticks."""
        frame = self._coming if self._coming is not None else next(self._frames, None)
        if frame is None:
            if not self._count:
                raise VideoDamagedError("No frame of the video can be decoded.", EXPECTED)
            return None
        self._check_size(frame.width, frame.height)  # it may change with each
        self._coming = next(self._frames, None)
        self._count += 1
        facts = self.facts
        step = max(1, round(1 / (facts.rate * facts.clock)))
        return frame, self._timeline.place(self._find_ticks(frame), step, self._find_ticks(self._coming))

    def _show(self, frame: av.VideoFrame) -> Image8:
        """A frame's pixels, upright."""
        width, height = self._size = self._size or (frame.width, frame.height)  # a size that changes is scaled back
        image = frame.to_ndarray(format="rgb24", width=width, height=height)
        turns = round(frame.rotation / 90) % 4  # against the clock, as np.rot90 turns
        return np.ascontiguousarray(np.rot90(image, turns))

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Every frame that can be decoded; what is damaged is stepped over."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except av.error.EOFError:
                return
            except MemoryError:
                raise
            except av.error.FFmpegError:
                continue
            yield from frames

    def _find_ticks(self, frame: av.VideoFrame | None) -> int | None:
        if frame is None or frame.pts is None or frame.time_base is None:
            return None
        return round((frame.pts * frame.time_base - self.facts.start) / self.facts.clock)

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self.limits.pixels or max(width, height) > MAX_SIDE:
            raise VideoTooLargeError(
                f"The video has frames of {width} x {height} pixels.",
                f"At most {self.limits.pixels} pixels in all, and {MAX_SIDE} a side.",
            )

    def _expect_length(self) -> str:
        return f"At most {self.limits.seconds:g} seconds."


class VideoWriter:
    """An MP4 with H.264 and the source's sound."""

    def __init__(self, path: Path, width: int, height: int, source: VideoReader) -> None:
        """Odd sizes grow by a pixel, as H.264 wants it. Raises StorageError, as all of it does."""
        facts = self._facts = source.facts
        self._size = (width + width % 2, height + height % 2)
        self._sound: SoundTrack | None = None
        try:
            self._container: OutputContainer = av.open(path, "w", format="mp4", options=MP4_OPTIONS)
        except OSError as error:
            raise StorageError.of(error) from error
        options = ENCODING | (WITHOUT_LOOK_AHEAD if width * height > LOOK_AHEAD_PIXELS else {})
        self._stream = self._container.add_stream("libx264", rate=facts.rate, options=options)
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base, self._stream.codec_context.thread_count = facts.clock, THREADS
        if facts.sound:
            self._sound = SoundTrack(open_video(source.path), self._container, facts, source.stretch)

    def write(self, picture: Image8, ticks: int) -> None:
        """The frame ``(H, W, 3)`` of this time."""
        height, width = picture.shape[:2]
        padded = np.pad(picture, ((0, self._size[1] - height), (0, self._size[0] - width), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        frame.pts, frame.time_base = ticks, self._facts.clock
        try:
            self._container.mux(self._stream.encode(frame))
            if self._sound is not None:
                self._sound.copy_until(float(ticks * self._facts.clock))
        except OSError as error:
            raise StorageError.of(error) from error

    def finish(self) -> None:
        """Write the rest."""
        try:
            self._container.mux(self._stream.encode())
            if self._sound is not None:
                self._sound.copy_until(math.inf)
            self._container.close()
        except OSError as error:
            raise StorageError.of(error) from error


def open_video(path: Path) -> InputContainer:
    """A file of the formats that are read. Raises UnsupportedVideoError."""
    try:
        return av.open(path, options=OPEN_OPTIONS)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UnsupportedVideoError("This file can't be read as a video.", EXPECTED) from error


def _read_facts(container: InputContainer, stream: VideoStream, limits: VideoLimits, stretch: Stretch) -> VideoFacts:
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    rate = rate if 0 < rate <= FASTEST else Fraction(25)
    clock = stream.time_base or 1 / rate
    if clock.denominator > FINEST_CLOCK:
        clock = Fraction(1, 90_000)
    start = Fraction(container.start_time or 0, av.time_base)
    frames = stream.frames or None
    if frames is None and container.duration:
        frames = round(Fraction(container.duration, av.time_base) * rate) or None
    if frames is not None:
        frames = min(frames, math.ceil(stretch.cap(float(frames / rate)) * rate)) or None
    end = stretch.start + limits.seconds
    if container.duration:
        end = min(end, LATEST[0] * container.duration / av.time_base + LATEST[1])
    return VideoFacts(Fraction(rate), Fraction(clock), start, end, frames, bool(container.streams.audio))
