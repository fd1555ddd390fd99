"""The square face crop: from one picture's landmarks alone, and its warp. `shared.pasting` is the way back.

Pixel coordinates are continuous: a picture covers [0, W] x [0, H] and the centre of its first pixel is (0.5, 0.5). In
crop units the crop covers [0, 1] x [0, 1]. The crop never rotates: roll stays in the landmarks.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from shared.errors import LandmarksError
from shared.landmarks import Points
from shared.pixels import Image8

BICUBIC_REACH = 2.0  # pixels of the result, beyond its edge: as far as Pillow's bicubic filter looks


class CropRule(BaseModel):
    """How the crop follows from the landmarks.

    The crop's centre is the mean of `centre_points` moved down by `drop` sides; its side is `factor` times the RMS
    distance of `scale_points` from their own mean. Both lists name points that speech does not move, so that the head
    does not breathe when the mouth opens.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    centre_points: tuple[int, ...] = Field(min_length=1)
    scale_points: tuple[int, ...] = Field(min_length=2)
    factor: float = Field(gt=0, le=100)
    drop: float = Field(ge=-1, le=1)


@dataclass(frozen=True)
class Crop:
    """An upright square of a picture: its centre (x, y) and its side, in pixels of the picture."""

    x: float
    y: float
    side: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in pixels of the picture; may reach beyond it."""
        half = self.side / 2
        return self.x - half, self.y - half, self.x + half, self.y + half

    def to_unit(self, points: Points) -> Points:
        """Pixels of the picture -> crop units."""
        left, top, _, _ = self.box
        units: Points = ((points - np.array([left, top])) / self.side).astype(np.float32)
        return units

    def from_unit(self, points: Points) -> Points:
        """Crop units -> pixels of the picture."""
        left, top, _, _ = self.box
        pixels: Points = (points * self.side + np.array([left, top])).astype(np.float32)
        return pixels


def find_crop(points: Points, rule: CropRule) -> Crop:
    """The crop of one face, from its landmarks alone. Raises LandmarksError where the scale points coincide."""
    anchor = points[list(rule.scale_points)].astype(np.float64)
    spread = float(np.sqrt(((anchor - anchor.mean(axis=0)) ** 2).sum(axis=1).mean()))
    if spread <= 1e-6 * max(1.0, float(np.abs(points).max())):
        raise LandmarksError("The points that set the crop's scale all lie on one spot; eyes and nose must differ.")
    side = rule.factor * spread
    x, y = points[list(rule.centre_points)].astype(np.float64).mean(axis=0)
    return Crop(x=float(x), y=float(y) + rule.drop * side, side=side)


def cut_crop(image: Image8, crop: Crop, size: int) -> Image8:
    """The crop of a picture at ``(size, size, 3)``, low-passed where it shrinks; edge pixels go on beyond the edge."""
    reach = int(np.ceil(BICUBIC_REACH * max(1.0, crop.side / size))) + 1
    image, crop = _cut_around(image, crop, reach)
    height, width = image.shape[:2]
    left, top, right, bottom = crop.box
    pad = max(0, int(np.ceil(max(-left, -top, right - width, bottom - height))) + 1)
    # A crop far beyond the picture would pad without end; what lies further out than one crop side is cut off by it.
    pad = min(pad, int(np.ceil(crop.side)) + 1)
    if pad:
        image = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    limit_x, limit_y = image.shape[1], image.shape[0]
    box = (
        min(max(left + pad, 0), limit_x - 1),
        min(max(top + pad, 0), limit_y - 1),
        max(min(right + pad, limit_x), 1),
        max(min(bottom + pad, limit_y), 1),
    )
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC, box=box))


def _cut_around(image: Image8, crop: Crop, reach: int) -> tuple[Image8, Crop]:
    """The part of a picture that a crop is made of, and the crop in it: Pillow would hold the whole of a large one."""
    height, width = image.shape[:2]
    left, top, right, bottom = crop.box
    x0, y0 = (min(max(0, int(np.floor(low)) - reach), limit - 1) for low, limit in ((left, width), (top, height)))
    x1, y1 = (max(1, min(limit, int(np.ceil(high)) + reach)) for high, limit in ((right, width), (bottom, height)))
    x1, y1 = max(x0 + 1, x1), max(y0 + 1, y1)
    return image[y0:y1, x0:x1], Crop(crop.x - x0, crop.y - y0, crop.side)


def turn_picture(picture: Image8, angle: float, pivot: tuple[float, float]) -> Image8:
    """A square picture turned clockwise by `angle` radians about a point in crop units; its edge is drawn out.

    Bilinear: from bicubic it differs by less than half a level in a generated face, and takes a third of the time.
    """
    size = picture.shape[0]
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    x, y = pivot[0] * size, pivot[1] * size
    # Where each pixel of the result comes from: the turn undone.
    back = np.array([[cos, sin, x - cos * x - sin * y], [-sin, cos, y + sin * x - cos * y]])
    corners = back @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]])  # (2, 4)
    pad = int(np.ceil(max(-corners.min(), corners.max() - size, 0))) + 1
    back[:, 2] += pad
    padded = Image.fromarray(np.pad(picture, ((pad, pad), (pad, pad), (0, 0)), mode="edge"))
    turned = padded.transform((size, size), Image.Transform.AFFINE, tuple(back.ravel()), Image.Resampling.BILINEAR)
    return np.asarray(turned)
