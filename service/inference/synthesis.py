"""Landmarks and neutral faces as clients and detectors give them, placed for a target's networks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from shared.bundle import BundleManifest
from shared.errors import LandmarksError
from shared.geometry import Crop, CropRule, find_crop
from shared.landmarks import Points, Scheme, check_points, convert_scheme, get_scheme, guess_scheme
from shared.neutral import find_neutral
from shared.pixels import Image8

Units = Literal["any", "crop"]

CROP_UNITS = Crop(x=0.5, y=0.5, side=1.0)  # the crop that landmarks in crop units are cut by already
RIGID_FACTOR = 6.0  # sides of a crop to the spread of eyes and nose: about that of the targets' own rules
MAX_UNITS = 16.0  # a landmark so many crop sides away belongs to no face


class View(BaseModel):
    """What of the target's crop a picture shows: an upright square, its centre and its side in crop units."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    x: float = Field(default=0.5, ge=-0.5, le=1.5, description="The centre; a smaller one moves the face to the right.")
    y: float = Field(default=0.5, ge=-0.5, le=1.5, description="The centre; a smaller one moves the face down.")
    side: float = Field(default=1.0, ge=0.25, le=4, description="Under 1 the face is larger, over 1 smaller.")

    def cut(self, picture: Image8) -> Image8:
        """The view ``(S, S, 3)`` of the crop's whole picture of that size; beyond it, the colour of its sides."""
        if self == WHOLE:
            return picture
        size = picture.shape[0]
        ground = np.median(picture[:, [0, -1]].reshape(-1, 3), axis=0)
        canvas = Image.new("RGB", (size, size), tuple(round(float(each)) for each in ground))
        left, top = (self.x - self.side / 2) * size, (self.y - self.side / 2) * size
        x0, y0 = (max(0, math.ceil(-edge / self.side)) for edge in (left, top))
        x1, y1 = (min(size, math.floor((size - edge) / self.side)) for edge in (left, top))
        if x0 < x1 and y0 < y1:
            box = (left + x0 * self.side, top + y0 * self.side, left + x1 * self.side, top + y1 * self.side)
            shown = Image.fromarray(picture).resize((x1 - x0, y1 - y0), Image.Resampling.BICUBIC, box=box)
            canvas.paste(shown, (x0, y0))
        return np.asarray(canvas)


WHOLE = View()


@dataclass(frozen=True)
class Placed:
    """Landmarks ready for a network: ``(N, 2)`` in crop units, and the crop in the caller's units."""

    points: Points
    crop: Crop


def place_landmarks(landmarks: ArrayLike, scheme: str | None, manifest: BundleManifest, units: Units = "any") -> Placed:
    """Landmarks of any scheme that converts to the target's. Raises LandmarksError.

    `scheme` None: guessed from the count. `units` "any": of any scale and place, which the target's crop rule takes
    away; "crop": in the target's crop units, where scale and place count.
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


def find_source_neutral(faces: Sequence[Points], scheme: Scheme) -> Points:
    """A person's neutral shape ``(N, 2)`` from faces ``(N, 2)`` of any scale and place, in units of its own crop.

    Raises LandmarksError for points that no face can have.
    """
    rule = CropRule(centre_points=scheme.rigid, scale_points=scheme.rigid, factor=RIGID_FACTOR, drop=0.0)
    return find_neutral(np.stack([find_crop(face, rule).to_unit(face) for face in faces]), scheme)


def place_neutral(faces: Sequence[ArrayLike], manifest: BundleManifest) -> Points:
    """A source's neutral shape ``(N, 2)`` in the target's crop units, from landmarks of one or more of its faces.

    Each of any scale and place, and of any scheme that converts to the target's. Raises LandmarksError.
    """
    placed = []
    for number, face in enumerate(faces):
        try:
            placed.append(place_landmarks(face, None, manifest).points)
        except LandmarksError as error:
            raise LandmarksError(f"source_neutral.{number}: {error}") from error
    neutral = find_source_neutral(placed, get_scheme(manifest.scheme))
    return place_landmarks(neutral, manifest.scheme, manifest).points
