"""A label that people can see, for those who ask for one."""

from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from shared.pixels import Image8

Label = Literal["none", "visible"]

TEXTS = ("AI-generated", "AI")  # the first that fits
PARTS = 18  # of the shorter side: the letters' height
MIN_HEIGHT = 10  # pixels


def draw_label(picture: Image8) -> Image8:
    """The picture ``(H, W, 3)`` with a label in its lower left corner."""
    height, width = picture.shape[:2]
    letters = max(MIN_HEIGHT, min(height, width) // PARTS)
    image, font, margin = Image.fromarray(picture), _load_font(letters), letters // 3
    boxes = [font.getbbox(text) for text in TEXTS]
    index = next((index for index, box in enumerate(boxes) if box[2] + 4 * margin <= width), -1)
    right, bottom = boxes[index][2] + 2 * margin, boxes[index][3] + 2 * margin
    plate = Image.new("RGB", (round(right), round(bottom)))
    ImageDraw.Draw(plate).text((margin, margin), TEXTS[index], fill="white", font=font)
    image.paste(plate, (margin, height - plate.height - margin))
    return np.asarray(image)


@lru_cache(maxsize=8)
def _load_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
