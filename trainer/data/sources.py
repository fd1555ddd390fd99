"""Where frames come from: video files or a folder of photos. (CelebV has its own file.)

A source is opened, and its traps found, before any long work; then it can be read any number of times, and gives the
same entries in the same order each time.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import av.error
import numpy as np
from PIL import Image, ImageOps

from shared.bundle import hash_file
from shared.landmarks import Points
from shared.pixels import Image8
from trainer.errors import SourceError

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class SourceFile:
    """What is known of a source before it is read. `fps` and `seconds` are None for photos, which have no time."""

    name: str
    sha256: str
    fps: float | None
    seconds: float | None


@dataclass(frozen=True)
class Frame:
    """One picture of a source: its file's number, its own number in that file, its time in seconds (0 for photos).

    `landmarks` are those that came with it, in pixels of `image` and in the source's scheme, or None.
    """

    image: Image8  # (H, W, 3)
    source: int
    number: int
    time: float
    landmarks: Points | None = None


@dataclass(frozen=True)
class Skipped:
    """An entry that could not be read: which one, and a reason that is counted by its wording."""

    name: str
    reason: str


class Source(Protocol):
    """Media that show a person."""

    @property
    def files(self) -> Sequence[SourceFile]:
        """The files, in reading order; `Frame.source` counts them."""

    @property
    def scheme(self) -> str | None:
        """The scheme of the landmarks that come with every frame, or None where a detector must find them."""

    @property
    def expected(self) -> int | None:
        """About how many entries `read` gives, for a progress bar; None where nobody knows."""

    def read(self, every: int = 1) -> Iterator[Frame | Skipped]:
        """The entries in order: all, or the first of each `every`."""


class VideoSource:
    """Video files, read one after another with PyAV. Rotation that the file asks for is applied."""

    scheme: str | None = None

    def __init__(self, paths: Sequence[Path]) -> None:
        """Open each file and decode its first frame. Raises SourceError for one that is missing or no video."""
        if not paths:
            raise SourceError("No video was named.")
        self.paths = tuple(paths)
        found = [_inspect_video(path) for path in self.paths]
        self.files = tuple(file for file, _ in found)
        counts = [count for _, count in found]
        self.expected = None if None in counts else sum(count for count in counts if count is not None)

    def read(self, every: int = 1) -> Iterator[Frame | Skipped]:
        """The frames of every file; stretches that can't be decoded come as `Skipped`."""
        for source, (path, file) in enumerate(zip(self.paths, self.files, strict=True)):
            yield from _read_video(path, source, file.fps or 25.0, every)


class PhotoSource:
    """The pictures of a folder, by sorted name. EXIF orientation is applied."""

    scheme: str | None = None

    def __init__(self, folder: Path) -> None:
        """List the folder. Raises SourceError where it does not exist or holds no picture."""
        if not folder.is_dir():
            raise SourceError(f"There is no folder {folder}. --photos names a folder of pictures.")
        self.paths = tuple(sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES))
        if not self.paths:
            suffixes = ", ".join(sorted(PHOTO_SUFFIXES))
            raise SourceError(f"The folder {folder} holds no pictures ({suffixes}).")
        digest = hashlib.sha256()
        for path in self.paths:
            digest.update(f"{path.name}\0{hash_file(path)}\n".encode())
        self.files = (SourceFile(folder.resolve().name, digest.hexdigest(), fps=None, seconds=None),)
        self.expected = len(self.paths)

    def read(self, every: int = 1) -> Iterator[Frame | Skipped]:
        """The photos; those that can't be read come as `Skipped`."""
        for number, path in list(enumerate(self.paths))[::every]:
            image = read_photo(path)
            if image is None:
                yield Skipped(path.name, "broken picture")
            else:
                yield Frame(image, source=0, number=number, time=0.0)


def read_photo(path: Path) -> Image8 | None:
    """A picture file, upright, as ``(H, W, 3)``; None where its bytes are broken or it is absurdly large."""
    try:
        with Image.open(path) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def _inspect_video(path: Path) -> tuple[SourceFile, int | None]:
    """Facts of one video, and its count of frames where the file tells it or its length lets us estimate it."""
    if not path.is_file():
        raise SourceError(f"There is no video {path}.")
    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise SourceError(f"{path} holds no video.")
            stream = container.streams.video[0]
            if next(container.decode(stream), None) is None:
                raise SourceError(f"{path} holds no frame that can be decoded.")
            fps = float(stream.average_rate or stream.guessed_rate or 25)
            seconds = None
            if stream.duration is not None and stream.time_base is not None:
                seconds = float(stream.duration * stream.time_base)
            elif container.duration is not None:
                seconds = container.duration / av.time_base
            count = stream.frames or (None if seconds is None else round(seconds * fps))
    except (av.error.FFmpegError, OSError) as error:
        raise SourceError(f"{path} can't be read as a video: {error.strerror or error}.") from error
    return SourceFile(path.name, hash_file(path), fps, seconds), count


def _read_video(path: Path, source: int, fps: float, every: int) -> Iterator[Frame | Skipped]:
    number = 0
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                yield Skipped(path.name, "damaged video data")
                continue
            for frame in frames:
                number += 1
                if (number - 1) % every:  # decoded all the same: the frames after it are made from it
                    continue
                turns = round(frame.rotation / 90) % 4  # against the clock, as np.rot90 turns
                image = np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns), np.uint8)
                time = (number - 1) / fps if frame.time is None else float(frame.time)
                yield Frame(image, source, number - 1, time)
