"""What a face does, as numbers read off its landmarks: openings, brow height, and the head's turn.

Every measure is free of scale and place, and all but roll of roll. They order a face's own frames; between two people
they also carry the difference of their faces.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from shared.landmarks import Points, Scheme, get_scheme

GAZE = ("gaze_x", "gaze_y")
"""Measures of schemes that have pupils."""

LINEAR = ("mouth", "right_eye", "left_eye", "right_brow", "left_brow")
"""Measures that are the distance of two means of points, along one axis."""

MEASURES = (*LINEAR, "mouth_width", "yaw", "pitch", "roll")


def measure_expression(points: Points, scheme: Scheme) -> Mapping[str, NDArray[np.float32]]:
    """Each of `MEASURES` for landmarks ``(..., N, 2)`` in any unit; each value has the shape of the leading axes.

    With pupils, each of `GAZE` too.

    Lengths are in distances between the eyes' centres. `mouth` and the eyes are the gap between the inner lips and
    between the lids; a brow's height is over its eye's corners. `yaw` grows as the nose tip moves to the picture's
    right, `pitch` as it moves down, both against the eyes' corners; `roll` is the angle of the eyes' line in radians,
    clockwise. `gaze_x` and `gaze_y` are how far the pupils lie to the picture's right of the middle of their eyes'
    corners, and below it, in widths of these eyes; the mean of both. Of shut eyes they mean nothing.
    """
    means = _weigh_means(scheme.name) @ points[..., : scheme.count, :].astype(np.float64)  # (..., 8, 2)
    right, left, tip, *parts = np.moveaxis(means, -2, 0)  # each (..., 2)
    across = left - right
    length = np.linalg.norm(across, axis=-1)[..., None] + 1e-12  # (..., 1)
    across = across / length
    down = np.stack([-across[..., 1], across[..., 0]], axis=-1)  # (..., 2), a quarter turn clockwise in the picture

    def project(vector: NDArray[np.float64], axis: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = (vector * axis).sum(axis=-1) / length[..., 0]
        return scaled

    mouth_x = points[..., scheme.groups["outer_lips"], :] @ across[..., None]  # (..., len(outer_lips), 1)
    values = {name: project(part, down) for name, part in zip(LINEAR, parts, strict=True)}
    values |= {
        "mouth_width": np.ptp(mouth_x[..., 0], axis=-1) / length[..., 0],
        "yaw": project(tip, across),
        "pitch": project(tip, down),
        "roll": np.arctan2(across[..., 1], across[..., 0]),
    }
    if scheme.pupils is not None:
        corners = points[..., scheme.eye_corners, :].astype(np.float64)
        ends = corners.reshape(*corners.shape[:-2], 2, 2, 2)  # (..., eye, end, 2)
        width = np.linalg.norm(ends[..., 1, :] - ends[..., 0, :], axis=-1) + 1e-12  # (..., eye)
        pupils = (points[..., scheme.pupils, :] - ends.mean(axis=-2)) / width[..., None]
        values["gaze_x"] = (pupils * across[..., None, :]).sum(axis=-1).mean(axis=-1)
        values["gaze_y"] = (pupils * down[..., None, :]).sum(axis=-1).mean(axis=-1)
    return {name: value.astype(np.float32) for name, value in values.items()}


@cache
def _weigh_means(name: str) -> NDArray[np.float64]:
    """The weights ``(8, N)`` by which points make both eyes' centres, the nose tip from their middle, and `LINEAR`."""
    scheme = get_scheme(name)

    def mean(indices: Sequence[int]) -> NDArray[np.float64]:
        weights = np.zeros(scheme.count)
        np.add.at(weights, list(indices), 1 / len(indices))
        return weights

    right, left = mean(scheme.eye_corners[:2]), mean(scheme.eye_corners[2:])
    gaps = [mean(lower) - mean(upper) for upper, lower in (scheme.openings[part] for part in LINEAR[:3])]
    brows = [right - mean(scheme.groups["right_brow"]), left - mean(scheme.groups["left_brow"])]
    return np.stack([right, left, mean([scheme.nose_tip]) - (right + left) / 2, *gaps, *brows])
