"""A person's neutral shape, and expressions moved from one neutral shape to another.

One frame can't tell a narrow eye from a half-closed one; a neutral shape can. A frame is its person's neutral shape
plus an offset, which is expression and pose. All landmarks are in crop units, ``(..., N, 2) float32``.
"""

import numpy as np
from numpy.typing import NDArray

from shared.expression import measure_expression
from shared.landmarks import Points, Scheme, flip_points, pick

FEATURES = (("jaw",), ("right_brow",), ("left_brow",), ("nose_bridge", "nose_base"), ("right_eye",), ("left_eye",))
MOUTH = ("outer_lips", "inner_lips")
# Between two adults a feature's size differs by less than this; more is a bad neutral shape.
SCALE_LIMITS = (0.6, 1.7)
SMALLEST_EXTENT = 1e-3


def find_neutral(landmarks: Points, scheme: Scheme) -> Points:
    """A person's neutral shape ``(N, 2)`` from frames ``(n, N, 2)``: mouth shut, eyes as open as they mostly are.

    The mean over such frames, turned upright, and their mirror images: a camera to one side of the head leaves no yaw
    in it. One frame gives that frame's own shape, upright and alike left and right, whatever it does.
    """
    upright, _ = turn_upright(landmarks, scheme)
    mean = upright[_are_calm(landmarks, scheme)].mean(axis=0)
    neutral: Points = ((mean + flip_points(mean, scheme, width=1.0)) / 2).astype(np.float32)
    return neutral


def find_calm(landmarks: Points, scheme: Scheme) -> int:
    """Which of the frames ``(n, N, 2)`` is nearest to the person's neutral shape: a reference picture."""
    distance = np.linalg.norm(landmarks - find_neutral(landmarks, scheme), axis=2).mean(axis=1)
    return int(np.argmin(distance))


def _are_calm(landmarks: Points, scheme: Scheme) -> NDArray[np.bool_]:
    """Which frames ``(n,)`` have the mouth shut and the eyes as open as usual; where none has, those with it shut."""
    measured = measure_expression(landmarks, scheme)
    shut = calm = measured["mouth"] <= np.quantile(measured["mouth"], 0.35)
    for eye in ("right_eye", "left_eye"):
        low, high = np.quantile(measured[eye], (0.3, 0.8))
        calm = calm & (measured[eye] >= low) & (measured[eye] <= high)
    return calm if calm.any() else shut


def turn(landmarks: Points, angles: NDArray[np.float32], centre: tuple[float, float] = (0.5, 0.5)) -> Points:
    """Landmarks (B, N, 2) turned clockwise about a point of the crop by angles (B,) in radians."""
    cos, sin = np.cos(angles), np.sin(angles)
    matrix = np.stack([np.stack([cos, sin], axis=-1), np.stack([-sin, cos], axis=-1)], axis=-2)  # (B, 2, 2)
    turned: Points = ((landmarks - np.array(centre)) @ matrix + np.array(centre)).astype(np.float32)
    return turned


def turn_upright(landmarks: Points, scheme: Scheme) -> tuple[Points, NDArray[np.float32]]:
    """Landmarks (B, N, 2) with the eyes level, and the roll (B,) that was taken out: `turn` by it brings it back."""
    roll = measure_expression(landmarks, scheme)["roll"]
    return turn(landmarks, -roll), roll


class Retarget:
    """Moves expressions between neutral shapes, feature by feature.

    A feature's own motion is scaled by the ratio of the two features' sizes, so that a closed eye stays closed on a
    larger eye; its displacement as a whole is kept. Lips are scaled by the mouth's width both ways: a shut mouth has
    no height to compare.
    """

    def __init__(self, scheme: Scheme) -> None:
        self.groups = [pick(scheme, names) for names in (*FEATURES, MOUTH)]

    def move(self, landmarks: Points, neutral: Points, onto: Points) -> Points:
        """`landmarks` (B, N, 2) of the face `neutral`, as the face `onto` would show them.

        Both neutral shapes are (N, 2), or (B, N, 2) where each frame has its own.
        """
        offset = landmarks - neutral
        moved = np.empty(np.broadcast_shapes(offset.shape, onto.shape), np.float32)
        for indices in self.groups:
            index = list(indices)
            scale = _extent(onto[..., index, :]) / _extent(neutral[..., index, :])  # (1 or B, 1, 2)
            if indices is self.groups[-1]:
                scale = scale[..., :1]
            part = offset[..., index, :]  # (B, n, 2)
            whole = part.mean(axis=-2, keepdims=True)
            moved[..., index, :] = onto[..., index, :] + whole + (part - whole) * np.clip(scale, *SCALE_LIMITS)
        return moved


def _extent(part: Points) -> Points:
    """Width and height of features (..., n, 2) -> (..., 1, 2)."""
    size: Points = np.maximum(np.ptp(part, axis=-2, keepdims=True), np.float32(SMALLEST_EXTENT))
    return size
