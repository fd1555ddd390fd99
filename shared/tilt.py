"""Heads tilted further than the target's ever was: the networks answer within its range, the picture turns the rest.

A rotation in the picture plane is the one motion that needs no learning, and the one that breaks Theta first.
"""

import numpy as np
from numpy.typing import NDArray

from shared.bundle import BundleManifest
from shared.expression import measure_expression
from shared.geometry import turn_picture
from shared.landmarks import Points, get_scheme
from shared.neutral import turn
from shared.pixels import Image8

SMALLEST_REACH = 0.1  # radians: of a target that never tilted its head
FINEST = 1e-3  # radians: a corner of a 256-pixel picture moves by less than a fifth of a pixel


class TiltRange:
    """One target's, from its manifest: the rolls of its presets, in radians, clockwise."""

    def __init__(self, manifest: BundleManifest) -> None:
        self.scheme = get_scheme(manifest.scheme)
        filmed = np.array([manifest.neutral, *manifest.presets.values()], np.float32)  # (presets + 1, N, 2)
        rolls = measure_expression(filmed, self.scheme)["roll"]
        middle = float(rolls.max() + rolls.min()) / 2
        reach = max(float(np.ptp(rolls)) / 2, SMALLEST_REACH)
        self.low, self.high = middle - reach, middle + reach
        # Where the crop rule's points have their mean: turned about it, a face gives the same crop as before.
        self.pivot = (0.5, 0.5 - manifest.crop.drop)

    def find_excess(self, landmarks: Points) -> NDArray[np.float32]:
        """By how much faces (B, N, 2) in crop units are tilted beyond the range, (B,); 0 within it."""
        roll = measure_expression(landmarks, self.scheme)["roll"]
        excess: NDArray[np.float32] = roll - np.clip(roll, self.low, self.high)
        return excess

    def turn(self, landmarks: Points, angles: NDArray[np.float32]) -> Points:
        """Faces (B, N, 2) turned clockwise by angles (B,)."""
        return turn(landmarks, angles, self.pivot) if angles.any() else landmarks

    def turn_picture(self, picture: Image8, angle: float) -> Image8:
        """A face's picture turned as `turn` turns its landmarks."""
        return turn_picture(picture, angle, self.pivot) if abs(angle) > FINEST else picture
