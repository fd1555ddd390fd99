"""One face of a video, from frame to frame."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shared.detectors.protocol import DetectedFace, FollowingDetector, LandmarkDetector
from shared.detectors.region import Region

CHECK_INTERVAL = 10  # frames followed between two that the detector checks for a face


class FaceTracker:
    """Follows the face that is number `index` by size, 0 the largest, when the video begins.

    A detector that can follow searches a frame only where the face has gone from its place: the first frame whole, the
    others in part, another one in each frame. Then, as with any other detector, the face nearest to that place is
    taken; where none is near, the one of the number.
    """

    def __init__(self, detector: LandmarkDetector, index: int = 0) -> None:
        self.detector = detector
        self.index = index
        self._last: DetectedFace | None = None
        self._shape: tuple[int, ...] = ()
        self._lost = 0  # frames since the face was seen, or since the beginning
        self._followed = 0  # frames since the last search or check

    def find(self, image: NDArray[np.uint8]) -> DetectedFace | None:
        """Return the face in the video's next frame, RGB `(H, W, 3)`; None where it is not to be seen."""
        if image.shape != self._shape:  # places in a picture of another size mean nothing here
            self._last, self._shape, self._lost = None, image.shape, 0
        face = self._follow(image) or self._choose(self._search(image))
        if face is not None:
            self._last, self._lost = face, 0
        else:
            self._lost += 1
        return face

    def _follow(self, image: NDArray[np.uint8]) -> DetectedFace | None:
        if self._last is None or self._last.region is None or not isinstance(self.detector, FollowingDetector):
            return None
        if self._lost:
            return None
        self._followed = (self._followed + 1) % CHECK_INTERVAL
        return self.detector.follow(image, self._last.region, check=self._followed == 0)

    def _search(self, image: NDArray[np.uint8]) -> list[DetectedFace]:
        self._followed = 0
        first = self._last is None and (self._lost == 0 or self.index > 0)  # numbers count among all the faces
        if first or not isinstance(self.detector, FollowingDetector):
            return self.detector.detect(image)
        near = None if self._last is None else self._last.region
        return self.detector.redetect(image, near, self._lost)

    def _choose(self, faces: list[DetectedFace]) -> DetectedFace | None:
        if self._last is not None and faces:
            last = self._last.landmarks
            if self._lost == 0:  # a face does not turn over between two frames
                faces = [face for face in faces if not turned_over(face.region, self._last.region)]
            away = [float(np.linalg.norm(face.landmarks.mean(axis=0) - last.mean(axis=0))) for face in faces]
            nearest = int(np.argmin(away)) if away else -1
            if away and away[nearest] < float(np.ptp(last, axis=0).max()) / 2:
                return faces[nearest]
        return faces[self.index] if self.index < len(faces) else None


def turned_over(region: Region | None, before: Region | None) -> bool:
    """Whether a face is nearer to upside down than to upright, seen from the way it was before."""
    return (
        region is not None
        and before is not None
        and abs(math.remainder(region.angle - before.angle, 2 * math.pi)) > math.pi / 2
    )
