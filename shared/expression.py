"""What a face does, as numbers read off its landmarks: openings, brow height, and the head's turn.

Every measure is free of scale and place, and all but roll of roll. They order a face's own frames; between two people
they also carry the difference of their faces.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shared.landmarks import Points, Scheme

GAZE = ("gaze_x", "gaze_y")
"""Measures of schemes that have pupils."""

MEASURES = ("mouth", "right_eye", "left_eye", "right_brow", "left_brow", "mouth_width", "yaw", "pitch", "roll")


def measure_expression(points: Points, scheme: Scheme) -> Mapping[str, NDArray[np.float32]]:
    """Each of `MEASURES` for landmarks ``(..., N, 2)`` in any unit; each value has the shape of the leading axes.

    With pupils, each of `GAZE` too.

    Lengths are in distances between the eyes' centres. `mouth` and the eyes are the gap between the inner lips and
    between the lids; a brow's height is over its eye's corners. `yaw` grows as the nose tip moves to the picture's
    right, `pitch` as it moves down, both against the eyes' corners; `roll` is the angle of the eyes' line in radians,
    clockwise. `gaze_x` and `gaze_y` are how far the pupils lie to the picture's right of the middle of their eyes'
    corners, and below it, in widths of these eyes; the mean of both. Of shut eyes they mean nothing.
    """
    corners = points[..., scheme.eye_corners, :].astype(np.float64)  # (..., 4, 2)
    right, left = corners[..., :2, :].mean(axis=-2), corners[..., 2:, :].mean(axis=-2)  # (..., 2)
    across = left - right
    length = np.linalg.norm(across, axis=-1)[..., None] + 1e-12  # (..., 1)
    across = across / length
    down = np.stack([-across[..., 1], across[..., 0]], axis=-1)  # (..., 2), a quarter turn clockwise in the picture

    def project(vector: NDArray[np.float64], axis: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = (vector * axis).sum(axis=-1) / length[..., 0]
        return scaled

    def mean(indices: tuple[int, ...]) -> NDArray[np.float64]:
        average: NDArray[np.float64] = points[..., indices, :].astype(np.float64).mean(axis=-2)
        return average

    lips = scheme.groups["outer_lips"]
    mouth_x = (points[..., lips, :] * across[..., None, :]).sum(axis=-1)  # (..., len(lips))
    tip = points[..., scheme.nose_tip, :] - (right + left) / 2
    values = {
        "mouth": project(mean(scheme.openings["mouth"][1]) - mean(scheme.openings["mouth"][0]), down),
        "right_eye": project(mean(scheme.openings["right_eye"][1]) - mean(scheme.openings["right_eye"][0]), down),
        "left_eye": project(mean(scheme.openings["left_eye"][1]) - mean(scheme.openings["left_eye"][0]), down),
        "right_brow": project(right - mean(scheme.groups["right_brow"]), down),
        "left_brow": project(left - mean(scheme.groups["left_brow"]), down),
        "mouth_width": np.ptp(mouth_x, axis=-1) / length[..., 0],
        "yaw": project(tip, across),
        "pitch": project(tip, down),
        "roll": np.arctan2(across[..., 1], across[..., 0]),
    }
    if scheme.pupils is not None:
        ends = corners.reshape(*corners.shape[:-2], 2, 2, 2)  # (..., eye, end, 2)
        width = np.linalg.norm(ends[..., 1, :] - ends[..., 0, :], axis=-1) + 1e-12  # (..., eye)
        pupils = (points[..., scheme.pupils, :] - ends.mean(axis=-2)) / width[..., None]
        values["gaze_x"] = (pupils * across[..., None, :]).sum(axis=-1).mean(axis=-1)
        values["gaze_y"] = (pupils * down[..., None, :]).sum(axis=-1).mean(axis=-1)
    return {name: value.astype(np.float32) for name, value in values.items()}
