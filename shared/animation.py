"""The one way from landmarks to a target's face: level the head, convert, draw, tilt the picture.

The networks are handed in as functions of batches, so that ONNX Runtime and torch go the same way.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.bundle import BundleManifest
from shared.calibration import Calibration
from shared.landmarks import Points
from shared.pixels import Image8, from_network
from shared.tilt import TiltRange


@dataclass(frozen=True)
class DrivingFace:
    """One item of a target's batch, in crop units.

    `neutral` is the neutral shape ``(N, 2)`` of who drives, where it is known; the conversion then goes by it.
    """

    points: Points
    convert: bool
    neutral: Points | None = None


@dataclass(frozen=True)
class Face:
    """What the networks made of one driving face; times in seconds, of the whole batch."""

    picture: Image8
    points: Points
    convert_seconds: float
    synthesize_seconds: float


class Animator:
    """One target, from a bundle's manifest and its networks."""

    def __init__(
        self,
        manifest: BundleManifest,
        converter: Callable[[Points], Points],
        generator: Callable[[Points], NDArray[np.float32]],
    ) -> None:
        """`converter` takes anyone's landmarks (B, N, 2) to the target's; `generator` those to (B, 3, S, S)."""
        self.manifest = manifest
        self.calibration, self.tilt = Calibration(manifest), TiltRange(manifest)
        self.converter, self.generator = converter, generator

    def animate(self, faces: Sequence[DrivingFace]) -> list[Face]:
        """One batch, each head's tilt within the target's range while the networks answer."""
        started = time.perf_counter()
        points = np.stack([face.points for face in faces])  # (B, N, 2)
        excess = self.tilt.find_excess(points)  # (B,)
        points = self.tilt.turn(points, -excess)
        unknown = [row for row, face in enumerate(faces) if face.convert and face.neutral is None]
        if unknown:
            points[unknown] = self.converter(points[unknown])
        for row, face in enumerate(faces):
            if face.convert and face.neutral is not None:
                points[row] = self.calibration.convert(points[row, None], face.neutral)[0]
        converted = time.perf_counter()
        level = from_network(self.generator(points))  # (B, S, S, 3)
        pictures = [self.tilt.turn_picture(*each) for each in zip(level, excess, strict=True)]
        points = self.tilt.turn(points, excess)
        done = time.perf_counter()
        return [
            Face(picture, row, converted - started, done - converted)
            for picture, row in zip(pictures, points, strict=True)
        ]
