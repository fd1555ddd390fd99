"""Where frames come from: video files or a folder of photos. (CelebV has its own file.)

A source is opened, and its traps found, before any long work; then it can be read any number of times, and gives the
same entries in the same order each time. `scan_source` is the first pass over it: where the faces are.
"""

import hashlib
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import av.error
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tqdm import tqdm

from shared.bundle import hash_file
from shared.detectors import LandmarkDetector
from shared.detectors.region import Region, cut_region, measure_angle
from shared.landmarks import Points, Scheme, get_scheme
from shared.pixels import Image8
from trainer.errors import SourceError

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
SCAN_VERSION = 3
THUMB_SIZE = 32
THUMB_SIDE = 5.0  # in RMS distances of the rigid points: brows to chin


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


@dataclass(frozen=True)
class Scan:
    """What the first pass saw: E entries of the source, C faces in them.

    `number` is -1 for an entry that could not be read; `reasons` counts those. `landmarks` are in pixels of the frame,
    `thumbs` upright and aligned by them; a frame's faces stand together, the largest first.
    """

    source: NDArray[np.int32]  # (E,)
    number: NDArray[np.int32]  # (E,)
    time: NDArray[np.float64]  # (E,) seconds
    entry: NDArray[np.int32]  # (C,)
    score: NDArray[np.float32]  # (C,)
    landmarks: NDArray[np.float32]  # (C, K, 2)
    thumbs: NDArray[np.uint8]  # (C, 32, 32, 3)
    reasons: dict[str, int]


def scan_source(source: Source, detector: LandmarkDetector | None, title: str, every: int = 1) -> Scan:
    """The first pass over one entry in `every`.

    Landmarks that came with the frames are taken; else `detector` looks for faces.
    """
    entries: list[tuple[int, int, float]] = []
    owners, scores, landmarks, thumbs = [], [], [], []
    reasons: Counter[str] = Counter()
    scheme = get_scheme(source.scheme or (detector.scheme if detector else "ibug68"))
    total = None if source.expected is None else -(-source.expected // every)
    for item in tqdm(source.read(every), total=total, desc=f"{title}: landmarks", unit="frame", mininterval=0.5):
        if isinstance(item, Skipped):
            reasons[item.reason] += 1
            entries.append((-1, -1, 0.0))
            continue
        picture = Image.fromarray(item.image)
        faces = [(item.landmarks, 1.0)] if item.landmarks is not None else []
        if item.landmarks is None and detector is not None:
            faces = [(face.landmarks, face.score) for face in detector.detect(item.image)]
        for points, score in faces:
            owners.append(len(entries))
            scores.append(score)
            landmarks.append(points)
            thumbs.append(cut_thumb(picture, points, scheme))
        entries.append((item.source, item.number, item.time))
    table = np.array(entries, np.float64).reshape(-1, 3)
    return Scan(
        source=table[:, 0].astype(np.int32),
        number=table[:, 1].astype(np.int32),
        time=table[:, 2],
        entry=np.array(owners, np.int32),
        score=np.array(scores, np.float32),
        landmarks=np.array(landmarks, np.float32).reshape(-1, scheme.count, 2),
        thumbs=np.array(thumbs, np.uint8).reshape(-1, THUMB_SIZE, THUMB_SIZE, 3),
        reasons=dict(reasons),
    )


def cut_thumb(picture: Image.Image, points: Points, scheme: Scheme) -> Image8:
    """The face at 32x32, turned upright and scaled by eyes and nose alone, so that it hardly moves in speech."""
    right, left = (points[list(scheme.groups[name])].mean(axis=0) for name in ("right_eye", "left_eye"))
    rigid = points[list(scheme.rigid)]
    centre = rigid.mean(axis=0)
    spread = float(np.sqrt(((rigid - centre) ** 2).sum(axis=1).mean()))
    side = max(THUMB_SIDE * spread, 1.0)
    return cut_region(picture, Region(float(centre[0]), float(centre[1]), side, measure_angle(right, left)), THUMB_SIZE)


def describe_thumbs(thumbs: Image8) -> NDArray[np.float32]:
    """Thumbnails ``(C, 32, 32, 3)`` as unit vectors ``(C, D)``: half colours, half edges, inside an ellipse.

    Two vectors' product is the mean of two correlations, so brightness and contrast count for nothing.
    """
    half = THUMB_SIZE // 2
    small = thumbs.reshape(-1, half, 2, half, 2, 3).mean(axis=(2, 4), dtype=np.float32)
    down, across = np.gradient(small.mean(axis=3), axis=(1, 2))
    y, x = (np.mgrid[:half, :half] + 0.5) / half * 2 - 1
    inside = x**2 + y**2 <= 1
    parts = [small[:, inside].reshape(len(small), -1), np.concatenate([across[:, inside], down[:, inside]], axis=1)]
    parts = [part - part.mean(axis=1, keepdims=True) for part in parts]
    parts = [part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-6) for part in parts]
    return np.asarray(np.concatenate(parts, axis=1) / np.sqrt(2), np.float32)


def save_scan(scan: Scan, path: Path) -> None:
    """Write a scan whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part.npz")
    fields = {name: value for name, value in vars(scan).items() if name != "reasons"}
    reasons = np.array([f"{count} {reason}" for reason, count in scan.reasons.items()], dtype=np.str_)
    np.savez(part, reasons=reasons, **fields)
    part.replace(path)


def load_scan(path: Path) -> Scan | None:
    """A scan that an earlier run left; None where there is none, or it is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            fields = {name: archive[name] for name in archive.files}
        split = [str(line).split(" ", 1) for line in fields.pop("reasons")]
        return Scan(**fields, reasons={reason: int(count) for count, reason in split})
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
