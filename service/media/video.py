"""Video files, frame by frame: a reader of whatever FFmpeg reads, and a writer of MP4 that keeps the source's times.

Neither ever holds more than a few frames. Their methods block.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from service.errors import StorageError, UnsupportedVideoError, VideoDamagedError, VideoTooLargeError
from shared.pixels import Image8

# A playlist is a video to FFmpeg too, and would have it open other files and hosts: only containers are read.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,ogg,flv,asf"
OPEN_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
KEPT_SOUND = frozenset({"aac", "mp3"})  # what MP4 players everywhere play; other sound is encoded anew, as AAC
FASTEST = 120  # frames a second; a file that has more on average is not what it says
FINEST_CLOCK = 1_000_000  # ticks a second: MP4 counts them in 32 bits
MP4_OPTIONS = {"movflags": "+faststart"}  # the index first, so that a browser plays what has arrived
ENCODING = {"preset": "veryfast", "crf": "20"}
EXPECTED = "A video file such as MP4, WebM, MKV, MOV or AVI."


@dataclass(frozen=True)
class VideoLimits:
    """The most that is taken: seconds, and pixels of a frame."""

    seconds: float
    pixels: int


@dataclass(frozen=True)
class VideoFacts:
    """What a file says of its video. `clock` is the length of its tick, and `start` its first moment, in seconds."""

    rate: Fraction
    clock: Fraction
    start: Fraction
    frames: int | None
    sound: bool


@dataclass(frozen=True)
class Shot:
    """One upright frame ``(H, W, 3)``, and its time since the file's first moment in ticks and in seconds."""

    image: Image8
    ticks: int
    seconds: float


class VideoReader:
    """One video's frames in order."""

    def __init__(self, path: Path, limits: VideoLimits) -> None:
        """Raises UnsupportedVideoError, VideoTooLargeError and VideoDamagedError."""
        self.limits = limits
        self._container = _open(path)
        try:
            if not self._container.streams.video:
                raise UnsupportedVideoError("The file holds no video.", EXPECTED)
            self._stream = self._container.streams.video[0]
            self.facts = _read_facts(self._container, self._stream)
            self._check()
        except BaseException:
            self._container.close()
            raise
        self._stream.thread_type = "AUTO"
        self._size: tuple[int, int] | None = None
        self._last, self._count = -1, 0
        self._frames = self._decode()

    def read(self) -> Shot | None:
        """The next frame, None after the last. Raises VideoTooLargeError where it is longer than it said."""
        frame = next(self._frames, None)
        if frame is None:
            if not self._count:
                raise VideoDamagedError("No frame of the video can be decoded.", EXPECTED)
            return None
        self._count += 1
        facts = self.facts
        step = max(1, round(1 / (facts.rate * facts.clock)))
        ticks = self._last + step
        if frame.pts is not None and frame.time_base is not None:
            ticks = round((frame.pts * frame.time_base - facts.start) / facts.clock)
        self._last = ticks = max(ticks, self._last + 1)  # times that stand still or run back are none
        seconds = float(ticks * facts.clock)
        if seconds > self.limits.seconds or self._count > FASTEST * self.limits.seconds:
            raise VideoTooLargeError("The video is longer than it says.", self._expect_length())
        width, height = self._size = self._size or (frame.width, frame.height)  # a size that changes is scaled back
        image = frame.to_ndarray(format="rgb24", width=width, height=height)
        turns = round(frame.rotation / 90) % 4  # against the clock, as np.rot90 turns
        return Shot(np.ascontiguousarray(np.rot90(image, turns)), ticks, seconds)

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
            except av.error.FFmpegError:
                continue
            yield from frames

    def _check(self) -> None:
        width, height = self._stream.width, self._stream.height
        if width * height > self.limits.pixels:
            raise VideoTooLargeError(
                f"The video has frames of {width} x {height} pixels.", f"At most {self.limits.pixels} pixels in all."
            )
        seconds = self._container.duration / av.time_base if self._container.duration else 0.0
        if seconds > self.limits.seconds:
            raise VideoTooLargeError(f"The video is {seconds:.0f} seconds long.", self._expect_length())

    def _expect_length(self) -> str:
        return f"At most {self.limits.seconds:g} seconds."


class VideoWriter:
    """An MP4 with H.264 and, on ask, the source's sound. Written beside its place, and moved there by `finish`."""

    def __init__(self, path: Path, width: int, height: int, facts: VideoFacts, sound: Path | None = None) -> None:
        """Odd sizes grow by a pixel, as H.264 wants it. `sound` is the source whose sound is taken over."""
        self.path, self.part = path, path.with_name(f".{path.name}.part")
        self._facts, self._size = facts, (width + width % 2, height + height % 2)
        self._sound: SoundTrack | None = None
        try:
            self._container: OutputContainer = av.open(self.part, "w", format="mp4", options=MP4_OPTIONS)
        except OSError as error:
            raise explain_storage(error) from error
        try:
            self._stream = self._container.add_stream("libx264", rate=facts.rate, options=ENCODING)
            self._stream.width, self._stream.height = self._size
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = facts.clock
            if sound is not None and facts.sound:
                self._sound = SoundTrack(sound, self._container, facts.start)
        except BaseException:
            self.discard()
            raise

    def write(self, picture: Image8, ticks: int) -> None:
        """The frame ``(H, W, 3)`` of this time. Raises StorageError."""
        height, width = picture.shape[:2]
        padded = np.pad(picture, ((0, self._size[1] - height), (0, self._size[0] - width), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        frame.pts, frame.time_base = ticks, self._facts.clock
        try:
            self._container.mux(self._stream.encode(frame))
            if self._sound is not None:
                self._sound.copy_until(float(ticks * self._facts.clock))
        except OSError as error:
            raise explain_storage(error) from error

    def finish(self, seal: Callable[[Path], None]) -> None:
        """Write the rest, let `seal` add to the whole file, and move it to its place. Raises StorageError."""
        try:
            self._container.mux(self._stream.encode())
            if self._sound is not None:
                self._sound.copy_until(float("inf"))
            self._container.close()
            seal(self.part)
            os.replace(self.part, self.path)
        except OSError as error:
            raise explain_storage(error) from error

    def discard(self) -> None:
        """Leave nothing, where `finish` was not reached."""
        try:
            if self._sound is not None:
                self._sound.close()
            self._container.close()
        except OSError:  # a full disk, once more
            pass
        finally:
            self.part.unlink(missing_ok=True)


class SoundTrack:
    """A source's first sound, taken over into an MP4 little by little, so that neither runs ahead of the pictures."""

    def __init__(self, source: Path, target: OutputContainer, start: Fraction) -> None:
        self._container, self._target, self._start = _open(source), target, start
        self._source = self._container.streams.audio[0]
        self._copies = self._source.codec_context.name in KEPT_SOUND
        if self._copies:
            self._stream: AudioStream = target.add_stream_from_template(self._source)
        else:
            self._stream = target.add_stream("aac", rate=self._source.rate or 48_000)
            self._resampler = AudioResampler("fltp", self._source.layout, self._stream.rate)
        self._packets = self._container.demux(self._source)
        self._next: av.Packet[AudioStream] | None = None

    def copy_until(self, seconds: float) -> None:
        """PlayedFrame over what is heard up to this time since the file's first moment."""
        while True:
            packet = self._next or next(self._packets, None)
            if packet is None:
                return
            base = packet.time_base or Fraction(1, av.time_base)
            if packet.pts is not None and float(packet.pts * base - self._start) > seconds:
                self._next = packet
                return
            self._next = None
            self._take(packet, base)

    def close(self) -> None:
        """Close the source."""
        self._container.close()

    def _take(self, packet: av.Packet[AudioStream], base: Fraction) -> None:
        shift = round(self._start / base)
        if self._copies:
            if packet.dts is not None and packet.pts is not None:  # the last one is empty
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, self._stream
                self._target.mux(packet)
            return
        try:
            frames = self._source.codec_context.decode(packet)
        except av.error.FFmpegError:  # damaged: a gap is heard
            return
        for frame in frames:
            frame.pts = None if frame.pts is None else frame.pts - shift
            for resampled in self._resampler.resample(frame):
                self._target.mux(self._stream.encode(resampled))
        if packet.size == 0:
            self._target.mux(self._stream.encode(None))


def explain_storage(error: OSError) -> StorageError:
    """A failed write, in words that name no path."""
    return StorageError(f"A file can't be written: {os.strerror(error.errno or 0)}.", "Room on the service's disk.")


def _open(path: Path) -> InputContainer:
    try:
        return av.open(path, options=OPEN_OPTIONS)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UnsupportedVideoError("This file is no video we read.", EXPECTED) from error


def _read_facts(container: InputContainer, stream: VideoStream) -> VideoFacts:
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    clock = stream.time_base or 1 / rate
    if clock.denominator > FINEST_CLOCK:
        clock = Fraction(1, 90_000)
    start = Fraction(container.start_time or 0, av.time_base)
    frames = stream.frames or None
    if frames is None and container.duration:
        frames = round(Fraction(container.duration, av.time_base) * rate) or None
    return VideoFacts(Fraction(rate), Fraction(clock), start, frames, bool(container.streams.audio))
