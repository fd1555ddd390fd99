"""The face-alignment package as a detector, behind the extra `fan`.

Source: Bulat and Tzimiropoulos, How far are we from solving the 2D & 3D face alignment problem? (2017). The package
brings its weights itself, from its author's site, when it is first used; nothing of it is in this repository.
"""

from __future__ import annotations

import importlib
from pickle import UnpicklingError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.detectors.protocol import DetectedFace
from shared.errors import DetectorUnavailableError


def load_alignment(device: str) -> Any:
    """Return the package's FaceAlignment for 2D points; raise `DetectorUnavailableError` where that cannot be had."""
    try:
        package = importlib.import_module("face_alignment")
    except ImportError as error:
        raise DetectorUnavailableError(
            f"detector 'fan' needs the package face-alignment: install the extra `fan` ({error})"
        ) from error
    try:  # compiling takes minutes at the first start and pays off on long videos only
        return package.FaceAlignment(package.LandmarksType.TWO_D, device=device, compile=False)
    except (OSError, RuntimeError, UnpicklingError) as error:
        raise DetectorUnavailableError(
            "detector 'fan' could not load its weights, which face-alignment downloads at first use into torch's hub "
            f"folder (TORCH_HOME): {error}"
        ) from error


class FanDetector:
    """Finds faces with S3FD and their 68 points with FAN, to whole pixels."""

    name = "fan"
    scheme = "ibug68"

    def __init__(self, device: str = "cpu") -> None:
        """Load the networks on a torch device."""
        self.alignment = load_alignment(device)

    def detect(self, image: NDArray[np.uint8]) -> list[DetectedFace]:
        """Return the faces of an RGB picture `(H, W, 3)`, the largest first; an empty list where there is none."""
        boxes = self.alignment.face_detector.detect_from_image(image.copy())  # each x0, y0, x1, y1, score
        if len(boxes) == 0:
            return []
        boxes = sorted(boxes, key=lambda box: float((box[2] - box[0]) * (box[3] - box[1])), reverse=True)
        landmarks = self.alignment.get_landmarks_from_image(image, detected_faces=boxes)
        return [
            # the package rounds down to pixel indices; a pixel's centre is at its index + 0.5
            DetectedFace(np.asarray(points, np.float32) + np.float32(0.5), float(np.clip(box[4], 0.0, 1.0)))
            for points, box in zip(landmarks, boxes, strict=True)
        ]
