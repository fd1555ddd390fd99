"""A turned square of a picture: cut it out for a network, and bring the network's points back.

unit square of the region        picture, pixels
(0,0)---x--->(1,0)
  |                              p = centre + side * R(angle) (q - 1/2)
  y                              angle in radians, from x right towards y down
  v
(0,1)        (1,1)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.detectors.pyramid import Pyramid

Picture: TypeAlias = Pyramid | Image.Image | NDArray[np.uint8]


@dataclass(frozen=True)
class Region:
    """A square with its centre and side in picture pixels, turned by `angle`."""

    x: float
    y: float
    side: float
    angle: float = 0.0

    def scale(self, factor: float) -> Region:
        """Return the same square in the picture scaled by `factor`."""
        return Region(self.x * factor, self.y * factor, self.side * factor, self.angle)

    def measure_move(self, before: Region) -> float:
        """Return how far the square moved, grew or turned, in shares of its side and radians, whichever is most."""
        turn = math.remainder(self.angle - before.angle, 2 * math.pi)
        way = math.hypot(self.x - before.x, self.y - before.y) / before.side
        return max(way, abs(math.log(self.side / before.side)), abs(turn))

    def to_picture(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map points of the unit square `(..., 2)` to the picture."""
        cos, sin = math.cos(self.angle) * self.side, math.sin(self.angle) * self.side
        matrix = np.array([[cos, sin], [-sin, cos]], np.float32)  # row vectors: q @ matrix
        centre = np.array([self.x, self.y], np.float32)
        return np.asarray((points - np.float32(0.5)) @ matrix + centre, np.float32)

    def to_unit(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map picture points `(..., 2)` to the unit square: the inverse of `to_picture`."""
        cos, sin = math.cos(self.angle) / self.side, math.sin(self.angle) / self.side
        matrix = np.array([[cos, -sin], [sin, cos]], np.float32)
        centre = np.array([self.x, self.y], np.float32)
        return np.asarray((points - centre) @ matrix + np.float32(0.5), np.float32)


def bound_points(points: NDArray[np.float32], angle: float, scale: float) -> Region:
    """Return the square at `angle` around picture points `(N, 2)`, its side `scale` times their longer extent."""
    level = Region(0.0, 0.0, 1.0, angle)
    turned = level.to_unit(points)
    low, high = turned.min(axis=0), turned.max(axis=0)
    centre = level.to_picture((low + high) / np.float32(2))
    side = max(float((high - low).max()) * scale, 1.0)
    return Region(float(centre[0]), float(centre[1]), side, angle)


def measure_angle(start: NDArray[np.float32], end: NDArray[np.float32]) -> float:
    """Return the angle in radians, from x right towards y down, of the line between two picture points."""
    return math.atan2(float(end[1] - start[1]), float(end[0] - start[0]))


def cut_region(picture: Picture, region: Region, size: int, extend: bool = False) -> NDArray[np.uint8]:
    """Resample a region of an RGB picture, or array `(H, W, 3)`, to `(size, size, 3)`.

    Where the region leaves the picture it is black, or continues the picture's border pixels with `extend`.
    A region much larger than `size` is averaged down by whole blocks first, or a bilinear cut would skip pixels.
    """
    if isinstance(picture, Pyramid):
        picture, reduction = picture.choose(region.side / size)
        region = region.scale(1 / reduction)
    corners = region.to_picture(np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32))
    factor = max(int(region.side / size), 1)
    x0, y0 = (int(low) for low in np.floor(corners.min(axis=0)) - factor)
    x1, y1 = (int(high) for high in np.ceil(corners.max(axis=0)) + factor)
    height, width = picture.shape[:2] if isinstance(picture, np.ndarray) else (picture.height, picture.width)
    inside = (max(x0, 0), max(y0, 0), min(x1, width), min(y1, height))
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        return np.zeros((size, size, 3), np.uint8)
    if isinstance(picture, np.ndarray):  # the whole of a large frame would take longer to convert than to look at
        part = Image.fromarray(np.ascontiguousarray(picture[inside[1] : inside[3], inside[0] : inside[2]]))
        part = part if factor == 1 else part.reduce(factor)
    else:
        part = picture.crop(inside) if factor == 1 else picture.reduce(factor, inside)
    left, top = inside[0], inside[1]
    if extend and inside != (x0, y0, x1, y1):
        before = [-(-(start - wanted) // factor) for start, wanted in zip(inside[:2], (x0, y0), strict=True)]
        after = [-(-(wanted - end) // factor) for end, wanted in zip(inside[2:], (x1, y1), strict=True)]
        around = ((before[1], after[1]), (before[0], after[0]), (0, 0))
        part = Image.fromarray(np.pad(np.asarray(part), around, mode="edge"))
        left, top = left - before[0] * factor, top - before[1] * factor
    step = region.side / size / factor  # Pillow samples at pixel centres on both sides, as the convention here is
    cos, sin = math.cos(region.angle) * step, math.sin(region.angle) * step
    x, y = (float(corners[0, 0]) - left) / factor, (float(corners[0, 1]) - top) / factor
    cut = part.transform((size, size), Image.Transform.AFFINE, (cos, -sin, x, sin, cos, y), Image.Resampling.BILINEAR)
    return np.asarray(cut)
