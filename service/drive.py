"""From anyone's landmarks to a batch of the target's faces: no queue, no picture format, no HTTP."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from service.bundles import Target
from shared.bundle import BundleManifest
from shared.errors import LandmarksError
from shared.geometry import Crop, find_crop
from shared.landmarks import Points, check_points, convert_scheme, get_scheme, guess_scheme
from shared.pixels import Image8

Units = Literal["any", "crop"]

CROP_UNITS = Crop(x=0.5, y=0.5, side=1.0)  # the crop that landmarks in crop units are cut by already
MAX_UNITS = 16.0  # a landmark so many crop sides away belongs to no face


@dataclass(frozen=True)
class Placed:
    """Landmarks ready for a network: ``(N, 2)`` in crop units, and the crop in the caller's units."""

    points: Points
    crop: Crop


@dataclass(frozen=True)
class Drive:
    """One item of a target's batch."""

    points: Points
    convert: bool


@dataclass(frozen=True)
class Face:
    """What the networks made of one drive; times in seconds, of the whole batch."""

    picture: Image8
    points: Points
    convert_seconds: float
    synthesize_seconds: float


def place_landmarks(landmarks: ArrayLike, scheme: str | None, manifest: BundleManifest, units: Units = "any") -> Placed:
    """Landmarks of any scheme that converts to the target's. Raises LandmarksError.

    `scheme` None: guessed from the count. `units` "any": of any scale and place, which the target's crop rule takes
    away; "crop": in the target's crop units, where scale and place are part of what is asked for.
    """
    count = len(landmarks) if isinstance(landmarks, Sequence | np.ndarray) else 0
    source = get_scheme(scheme) if scheme is not None else guess_scheme(count)
    points = convert_scheme(check_points(landmarks, source), source, get_scheme(manifest.scheme))
    crop = CROP_UNITS if units == "crop" else find_crop(points, manifest.crop)
    placed = crop.to_unit(points)
    if float(np.abs(placed - 0.5).max()) > MAX_UNITS:
        where = "the crop" if units == "crop" else "the face that eyes and nose give"
        raise LandmarksError(f"A landmark lies over {MAX_UNITS:g} crop sides off {where}.")
    return Placed(placed, crop)


def animate(target: Target, drives: Sequence[Drive]) -> list[Face]:
    """One batch through the converter, where asked for, and TL2F."""
    started = time.perf_counter()
    points = np.stack([drive.points for drive in drives])  # (B, N, 2)
    chosen = [row for row, drive in enumerate(drives) if drive.convert]
    if chosen:
        points[chosen] = target.convert(points[chosen])
    converted = time.perf_counter()
    pictures = target.synthesize(points)  # (B, S, S, 3)
    done = time.perf_counter()
    return [
        Face(picture, row, converted - started, done - converted) for picture, row in zip(pictures, points, strict=True)
    ]
