"""Our own detector: BlazeFace, then Omega, the stacked hourglass that `make train-detector` trains.

BlazeFace's square is unsteady and not the one that Omega learned from. So Omega runs again on the crop that its own
points give by the manifest's rule, as its training's crops were cut. Heads are turned upright first: Omega saw few that
roll by more than 40 degrees.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.detectors.blazeface import (
    SAME_PLACE,
    BlazeFace,
    FaceCandidate,
    bound_region,
    measure_overlap,
    plan_redetection,
    search_faces,
)
from shared.detectors.manifest import HOURGLASS, read_manifest
from shared.detectors.mesh import open_session
from shared.detectors.protocol import DetectedFace
from shared.detectors.region import Picture, Region, cut_region, measure_angle
from shared.errors import LandmarksError
from shared.geometry import CropRule, find_crop
from shared.landmarks import get_scheme
from shared.pixels import to_network

# From BlazeFace's square to the rule's crop: its side, and how far down its centre lies. Measured on 24 still faces,
# whose crops have 0.5 (small faces in a group) to 1.04 (one face that fills the picture) of the square's side.
CROP_SCALE, CROP_DROP = 0.8, -0.03
CHECK_SCALE = 1.06  # the way back, to the square in which BlazeFace is surest of a face
PASSES, FOLLOW_PASSES = 8, 2  # at most: a good start needs three to settle, a poor one six
SETTLED = 0.01  # a crop that moves and grows by less than this share of its side looks no different to Omega
# The 22 of 29 still faces that it reads to within 20 % of the eyes' distance have a confidence of 0.49 and more, two of
# 84 places without a face more than 0.5. BlazeFace, which has to see a face just there, gives the score.
MIN_CONFIDENCE, MIN_SCORE = 0.45, 0.5


@dataclass(frozen=True)
class FoundFace:
    """Landmarks `(N, 2)` in picture pixels, the crop that they give, and BlazeFace's score for a face just there."""

    points: NDArray[np.float32]
    region: Region
    score: float


class HourglassDetector:
    """Finds faces with BlazeFace, and their points with the network of `models/hourglass`."""

    name = HOURGLASS

    def __init__(self, models_dir: Path, threads: int = 2, device: str = "cpu") -> None:
        """Load Omega from `models_dir / "hourglass"` and BlazeFace from `models_dir / "mesh"`.

        Raises DetectorUnavailableError where either is missing or damaged.
        """
        manifest = read_manifest(models_dir / HOURGLASS)
        self.faces = BlazeFace(open_session(models_dir / "mesh" / "face_detection.onnx", threads, device))
        self.omega = open_session(models_dir / HOURGLASS / manifest.network.file, threads, device)
        self.scheme = manifest.scheme
        self.corners = get_scheme(manifest.scheme).eye_corners
        self.rule = manifest.crop
        self.size = manifest.size

    def detect(self, image: NDArray[np.uint8]) -> list[DetectedFace]:
        """Return the faces of an RGB picture `(H, W, 3)`, the largest first; an empty list where there is none."""
        found = search_faces(self.faces, image, self.look, lambda face: face.region.side)
        return [DetectedFace(face.points, face.score, face.region) for face in found]

    def redetect(self, image: NDArray[np.uint8], near: Region | None, attempt: int) -> list[DetectedFace]:
        """Return the faces of an RGB picture `(H, W, 3)`, the largest first, of those that few views show.

        See `plan_redetection`; `attempt` counts the frames without a face.
        """
        found = search_faces(
            self.faces,
            image,
            self.look,
            lambda face: face.region.side,
            lambda width, height: plan_redetection(width, height, near, attempt),
        )
        return [DetectedFace(face.points, face.score, face.region) for face in found]

    def look(
        self, picture: Picture, candidate: FaceCandidate, found: list[FoundFace], turned: bool
    ) -> FoundFace | None:
        """Find the points of one candidate; None where it turns out to be no face, or one that was found before."""
        if overlaps(place_crop(candidate.region), found):
            return None
        face = self.trace_face(picture, candidate.region, turned)
        return None if face is not None and overlaps(face.region, found) else face

    def trace_face(self, picture: Picture, place: Region, turned: bool) -> FoundFace | None:
        """Find the points of the face in BlazeFace's square; None where it turns out to be no face.

        Some faces pass for a face either way up, and Omega follows the way it is given: BlazeFace looks at both. What
        looks more like a face upside down is one only where heads may be `turned`.
        """
        upside_down = replace(place, angle=place.angle + np.pi)
        score, turned_score = self.faces.score_regions(picture, place, upside_down)
        if turned_score > score:
            if not turned:
                return None
            place = upside_down
        return self.settle(picture, place_crop(place), PASSES)

    def follow(self, image: NDArray[np.uint8], region: Region, check: bool = True) -> DetectedFace | None:
        """Return the face of an RGB picture `(H, W, 3)` that was in the region a frame ago; None where it has gone.

        BlazeFace is asked with and without `check`: Omega's confidence alone does not tell.
        """
        face = self.settle(image, region, FOLLOW_PASSES)
        return None if face is None else DetectedFace(face.points, face.score, face.region)

    def settle(self, picture: Picture, region: Region, passes: int) -> FoundFace | None:
        """Run Omega, each pass on the crop that the last one's points give; None where that turns out to be no face.

        Omega has points for a cheek or an empty wall as well: its heatmaps' confidence tells, and BlazeFace.
        """
        for _ in range(passes):
            points, settled, confidence = self.read_points(picture, region)
            if settled is None:
                return None
            region, moved = settled, settled.measure_move(region)
            if moved < SETTLED:
                break
        score = self.score_crop(picture, region) if confidence >= MIN_CONFIDENCE else 0.0
        return FoundFace(points, region, score) if score >= MIN_SCORE else None

    def read_points(self, picture: Picture, region: Region) -> tuple[NDArray[np.float32], Region | None, float]:
        """Run Omega once, on one region of the picture.

        Its points `(N, 2)` in picture pixels, the crop that they give (None where they lie on one spot), and their
        confidence in [0, 1].
        """
        cut = to_network(cut_region(picture, region, self.size, extend=True))
        units, confidence = self.omega.run(["landmarks", "confidence"], {"picture": cut})
        points = region.to_picture(units[0])
        try:
            return points, find_region(points, self.rule, self.corners), float(confidence[0])
        except LandmarksError:
            return points, None, 0.0

    def score_crop(self, picture: Picture, region: Region) -> float:
        """Return BlazeFace's score for a face that fills this crop; 0 where there is none."""
        return self.faces.score_regions(picture, leave_crop(region))[0]


def place_crop(region: Region) -> Region:
    """Return about the crop that the face in BlazeFace's square will have."""
    x, y = region.to_picture(np.array([0.5, 0.5 + CROP_DROP], np.float32))
    return Region(float(x), float(y), region.side * CROP_SCALE, region.angle)


def leave_crop(region: Region) -> Region:
    """Return about BlazeFace's square of the face in a crop."""
    x, y = region.to_picture(np.array([0.5, 0.5 - CROP_DROP], np.float32))
    return Region(float(x), float(y), region.side * CHECK_SCALE, region.angle)


def find_region(points: NDArray[np.float32], rule: CropRule, corners: tuple[int, int, int, int]) -> Region:
    """Return the rule's crop of the face with these points `(N, 2)`, turned upright by its eye corners.

    Raises LandmarksError where the points that set the scale coincide.
    """
    right, left = points[list(corners[:2])].mean(axis=0), points[list(corners[2:])].mean(axis=0)
    level = Region(0.0, 0.0, 1.0, measure_angle(right, left))
    crop = find_crop(level.to_unit(points), rule)
    x, y = level.to_picture(np.array([crop.x, crop.y], np.float32))
    return Region(float(x), float(y), crop.side, level.angle)


def overlaps(region: Region, found: list[FoundFace]) -> bool:
    """Whether a face already found has its crop in the same place as a region."""
    boxes = np.array([bound_region(face.region) for face in found], np.float32).reshape(-1, 4)
    return bool((measure_overlap(bound_region(region), boxes) > SAME_PLACE).any())
