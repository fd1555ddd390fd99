"""What every landmark detector gives, whatever finds the points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from shared.detectors.region import Region


@dataclass(frozen=True)
class DetectedFace:
    """One face in a picture.

    `landmarks` is float32 `(N, 2)`: x right, y down, in pixels of the picture. A pixel's centre lies at its index
    + 0.5, so the picture spans `[0, W] x [0, H]`; points may lie outside where the picture cuts the face.
    `score` is in [0, 1]. `region` is where a `FollowingDetector` looks for the face in a video's next frame.
    """

    landmarks: NDArray[np.float32]
    score: float
    region: Region | None = None


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


@runtime_checkable
class FollowingDetector(LandmarkDetector, Protocol):
    """A detector that finds a face of the last frame again for less than it takes to search a picture."""

    def follow(self, image: NDArray[np.uint8], region: Region, check: bool = True) -> DetectedFace | None:
        """Return the face of an RGB picture `(H, W, 3)` that was in the region a frame ago; None where it has gone.

        Without `check` a detector may take its landmark network's word for it that a face is there.
        """

    def redetect(self, image: NDArray[np.uint8], near: Region | None, attempt: int) -> list[DetectedFace]:
        """Return the faces of an RGB picture `(H, W, 3)`, the largest first, of those that a quick search shows.

        `near` is where a face was followed last. The search covers another part of the picture for each number
        `attempt`; about ten numbers in a row cover all of it.
        """
