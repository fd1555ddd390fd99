"""A picture and its reductions: each region is cut from the one that shows it with few pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SMALLEST = 256  # pixels of the longer side; a network sees a picture whole in no fewer than half of them
STRIP = 512  # rows of a large picture that are in Pillow's memory at once; even


class Pyramid:
    """Holds an RGB picture `(H, W, 3)` and its reductions by 2, 4, 8 and so on, each averaged from the one before.

    Whatever its size, the picture is read whole once: a search looks at it, and at the faces in it, dozens of times.
    """

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self.height, self.width = image.shape[:2]
        self.levels: list[NDArray[np.uint8] | Image.Image] = [image]
        reduced: Image.Image | None = None
        while max(self.height, self.width) >> len(self.levels) >= SMALLEST:
            reduced = halve_array(image) if reduced is None else reduced.reduce(2)
            self.levels.append(reduced)

    def choose(self, pixels: float) -> tuple[NDArray[np.uint8] | Image.Image, int]:
        """Return the smallest picture that has a pixel for every `pixels` in a row, and by how many it is reduced."""
        level = min(max(int(pixels), 1).bit_length(), len(self.levels)) - 1
        return self.levels[level], 1 << level


def halve_array(image: NDArray[np.uint8]) -> Image.Image:
    """Return an RGB picture `(H, W, 3)` averaged by blocks of two by two, the last ones as large as they may be."""
    height, width = image.shape[:2]
    half = Image.new("RGB", ((width + 1) // 2, (height + 1) // 2))
    for top in range(0, height, STRIP):
        strip = np.ascontiguousarray(image[top : top + STRIP])
        half.paste(Image.fromarray(strip).reduce(2), (0, top // 2))
    return half
