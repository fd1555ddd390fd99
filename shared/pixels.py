"""Pictures as arrays: uint8 HWC RGB outside the networks, float32 NCHW in [0, 1] inside, each with its inverse."""

import numpy as np
from numpy.typing import NDArray

Image8 = NDArray[np.uint8]
"""``(H, W, 3)`` RGB, 0 to 255."""

PIXEL_RANGE = (0.0, 1.0)
"""What the networks see for black and white; also written in every bundle."""


def to_network(images: Image8) -> NDArray[np.float32]:
    """``(B, H, W, 3)`` or ``(H, W, 3)`` uint8 -> ``(B, 3, H, W)`` float32 in [0, 1]."""
    batch = images[None] if images.ndim == 3 else images
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)


def from_network(batch: NDArray[np.float32]) -> Image8:
    """``(B, 3, H, W)`` float32 in [0, 1] -> ``(B, H, W, 3)`` uint8; values outside are clipped."""
    scaled = batch * np.float32(255)
    scaled += np.float32(0.5)
    np.clip(scaled, 0, 255, out=scaled)
    levels = scaled.astype(np.uint8)
    images = np.empty((*levels.shape[:1], *levels.shape[2:], levels.shape[1]), np.uint8)
    for channel in range(levels.shape[1]):  # three times as fast as the copy of a transposed array
        images[..., channel] = levels[:, channel]
    return images
