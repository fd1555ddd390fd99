"""What every landmark detector gives, whatever finds the points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class DetectedFace:
    """One face in a picture.

    `landmarks` is float32 `(N, 2)`: x right, y down, in pixels of the picture. A pixel's centre lies at its index
    + 0.5, so the picture spans `[0, W] x [0, H]`; points may lie outside where the picture cuts the face.
    `score` is in [0, 1].
    """

    landmarks: NDArray[np.float32]
    score: float


class LandmarkDetector(Protocol):
    """Finds faces and their landmarks."""

    @property
    def name(self) -> str:
        """What `load_detector` knows it by."""

    @property
    def scheme(self) -> str:
        """The landmark scheme of the points, as `shared.landmarks` names it."""

    def detect(self, image: NDArray[np.uint8]) -> list[DetectedFace]:
        """Return the faces of an RGB picture `(H, W, 3)`, the largest first; an empty list where there is none."""
