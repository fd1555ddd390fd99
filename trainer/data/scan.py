"""The first pass over a source: where the faces are, and what each looks like in small."""

import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from shared.detectors import DetectedFace, LandmarkDetector
from shared.detectors.protocol import FollowingDetector
from shared.detectors.region import Region, cut_region, measure_angle
from shared.landmarks import Points, Scheme, get_scheme
from shared.pixels import Image8
from trainer.data.sources import Frame, Skipped, Source

SCAN_VERSION = 4
THUMB_SIZE = 32
THUMB_SIDE = 5.0  # in RMS distances of the rigid points: brows to chin
SEARCH_INTERVAL = 10  # frames of a video between two that are searched whole, for faces that came


class FrameSearch:
    """Every face of each frame of a source.

    A video's frames are searched whole now and then, and where a face was lost; in between each face is followed.
    """

    def __init__(self, detector: LandmarkDetector) -> None:
        self.detector = detector
        self._faces: list[DetectedFace] = []
        self._before: tuple[int, int, tuple[int, ...]] | None = None  # file, number and shape of the last frame

    def find(self, frame: Frame) -> list[DetectedFace]:
        """The faces of the source's next frame, the largest first."""
        shape = frame.image.shape
        follows = self._before == (frame.source, frame.number - 1, shape) and frame.number % SEARCH_INTERVAL > 0
        self._before = (frame.source, frame.number, shape)
        faces = self._follow(frame.image) if follows and self._faces else None
        self._faces = self.detector.detect(frame.image) if faces is None else faces
        return self._faces

    def _follow(self, image: Image8) -> list[DetectedFace] | None:
        """The last frame's faces in this one; None where one of them is not found again."""
        if not isinstance(self.detector, FollowingDetector):
            return None
        found = []
        for face in self._faces:
            again = None if face.region is None else self.detector.follow(image, face.region, check=False)
            if again is None:
                return None
            found.append(again)
        return found


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
    search = None if detector is None else FrameSearch(detector)
    scheme = get_scheme(source.scheme or (detector.scheme if detector else "ibug68"))
    total = None if source.expected is None else -(-source.expected // every)
    for item in tqdm(source.read(every), total=total, desc=f"{title}: landmarks", unit="frame", mininterval=0.5):
        if isinstance(item, Skipped):
            reasons[item.reason] += 1
            entries.append((-1, -1, 0.0))
            continue
        picture = Image.fromarray(item.image)
        faces = [(item.landmarks, 1.0)] if item.landmarks is not None else []
        if item.landmarks is None and search is not None:
            faces = [(face.landmarks, face.score) for face in search.find(item)]
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
