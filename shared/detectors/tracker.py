"""One face of a video, from frame to frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.detectors.protocol import DetectedFace, FollowingDetector, LandmarkDetector


class FaceTracker:
    """Follows the face that is number `index` by size, 0 the largest, when the video begins.

    A detector that can follow searches a whole frame only where the face has gone from its place. Then, as with any
    other detector, the face nearest to that place is taken; where none is near, the one of the number.
    """

    def __init__(self, detector: LandmarkDetector, index: int = 0) -> None:
        self.detector = detector
        self.index = index
        self._last: DetectedFace | None = None
        self._shape: tuple[int, ...] = ()

    def find(self, image: NDArray[np.uint8]) -> DetectedFace | None:
        """Return the face in the video's next frame, RGB `(H, W, 3)`; None where it is not to be seen."""
        if image.shape != self._shape:  # places in a picture of another size mean nothing here
            self._last, self._shape = None, image.shape
        face = self._follow(image) or self._choose(self.detector.detect(image))
        if face is not None:
            self._last = face
        elif self._last is not None:
            self._last = DetectedFace(self._last.landmarks, self._last.score)  # a place to prefer, and none to look at
        return face

    def _follow(self, image: NDArray[np.uint8]) -> DetectedFace | None:
        if self._last is None or self._last.region is None or not isinstance(self.detector, FollowingDetector):
            return None
        return self.detector.follow(image, self._last.region)

    def _choose(self, faces: list[DetectedFace]) -> DetectedFace | None:
        if self._last is not None and faces:
            last = self._last.landmarks
            away = [float(np.linalg.norm(face.landmarks.mean(axis=0) - last.mean(axis=0))) for face in faces]
            nearest = int(np.argmin(away))
            if away[nearest] < float(np.ptp(last, axis=0).max()) / 2:
                return faces[nearest]
        return faces[self.index] if self.index < len(faces) else None
