"""What a face is besides points: features to take hold of, the points' depth, and how an expression moves them.

All of it is in the frame of an upright face that looks into the camera: x to the picture's right, y down, z towards the
camera, lengths in distances between the eyes' centres. An editor turns flat faces and opens their mouths with it, and
`shared.pose` and `shared.neutral` tell a head's pose and a neutral face by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.landmarks import CONVERSIONS, IBUG68, IBUG70, Points, Scheme, get_scheme

# What a person would take hold of, from the groups that a scheme has.
FEATURES: Final[Mapping[str, tuple[str, ...]]] = {
    "jaw": ("jaw",),
    "right_brow": ("right_brow",),
    "left_brow": ("left_brow",),
    "right_eye": ("right_eye", "right_pupil"),
    "left_eye": ("left_eye", "left_pupil"),
    "nose": ("nose_bridge", "nose_base"),
    "mouth": ("outer_lips", "inner_lips"),
}

Half = Mapping[int, tuple[float, ...]]


@dataclass(frozen=True)
class Motion:
    """One expression: `points` ``(N, 2)`` is how far each point moves per unit.

    A unit is a change by one distance between the eyes' centres: of the gap between lips or lids, of the brows' height,
    of the mouth's width, of the pupils' place. A neutral face is at 0; `low` and `high` are how far faces go.
    `reading` ``(N, 2)`` tells how far a face has gone: the sum of its products with the points' offsets from neutral.
    It looks at the motion's own feature alone, and is 0 for every other motion.
    """

    name: str
    low: float
    high: float
    points: NDArray[np.float64]
    reading: NDArray[np.float64]


@dataclass(frozen=True)
class Anatomy:
    """A scheme's: each feature's points, an average neutral `face` ``(N, 2)``, `depth` ``(N,)``, and the motions."""

    features: Mapping[str, tuple[int, ...]]
    face: NDArray[np.float64]
    depth: NDArray[np.float64]
    motions: tuple[Motion, ...]


# The tables are of ibug70 and name the points of the right half and the middle; the left half mirrors them. 68 is
# the right pupil.

# The median of the face mesh's own depth over 180 frames of three people and 13 photos of others, each face turned onto
# their mean; a face differs from it by 0.02 in the mean. Zero is the mean of the points that no expression moves.
_DEPTH: Final[Half] = {
    **{0: (-1.17,), 1: (-1.21,), 2: (-1.15,), 3: (-1.05,), 4: (-0.89,), 5: (-0.53,), 6: (-0.33,), 7: (-0.16,)},
    **{8: (-0.09,), 17: (-0.37,), 18: (-0.26,), 19: (-0.17,), 20: (-0.09,), 21: (-0.05,), 27: (-0.02,), 28: (0.11,)},
    **{29: (0.32,), 30: (0.42,), 31: (0.03,), 32: (0.14,), 33: (0.16,), 36: (-0.37,), 37: (-0.27,), 38: (-0.24,)},
    **{39: (-0.29,), 40: (-0.25,), 41: (-0.28,), 48: (-0.12,), 49: (0.08,), 50: (0.17,), 51: (0.19,), 57: (0.12,)},
    **{58: (0.11,), 59: (0.04,), 60: (-0.09,), 61: (0.05,), 62: (0.10,), 66: (0.09,), 67: (0.04,), 68: (-0.26,)},
}

# The mean of ten people's neutral faces (three on video, seven on photos), facing the camera, their mouths shut. The
# origin is the mean of the eyes' corners.
_FACE: Final[Half] = {
    **{0: (-1.17, 0.12), 1: (-1.15, 0.35), 2: (-1.12, 0.71), 3: (-1.07, 0.96), 4: (-0.98, 1.18), 5: (-0.73, 1.47)},
    **{6: (-0.52, 1.61), 7: (-0.29, 1.7), 8: (0, 1.74), 17: (-0.92, -0.25), 18: (-0.82, -0.35), 19: (-0.67, -0.4)},
    **{20: (-0.47, -0.4), 21: (-0.23, -0.35), 27: (0, -0.13), 28: (0, 0.05), 29: (0, 0.25), 30: (0, 0.44)},
    **{31: (-0.29, 0.65), 32: (-0.13, 0.68), 33: (0, 0.68), 36: (-0.71, -0.01), 37: (-0.61, -0.08), 38: (-0.45, -0.09)},
    **{39: (-0.29, 0.01), 40: (-0.43, 0.03), 41: (-0.58, 0.04), 48: (-0.46, 1.03), 49: (-0.32, 0.94)},
    **{50: (-0.13, 0.89), 51: (0, 0.91), 57: (0, 1.19), 58: (-0.13, 1.18), 59: (-0.3, 1.13), 60: (-0.4, 1.02)},
    **{61: (-0.2, 1.01), 62: (0, 1.02), 66: (0, 1.04), 67: (-0.21, 1.03), 68: (-0.51, -0.03)},
}

# (dx, dy) of each point that moves. After regressions of the sample videos' frames, turned to face the camera, on the
# measures of `shared.expression`; rounded, and freed of one another: who smiles opens the mouth too, a slider does not.
_MOUTH_OPEN: Final[Half] = {
    **{2: (0.01, 0.03), 3: (0.02, 0.1), 4: (0.04, 0.25), 5: (0.05, 0.45), 6: (0.04, 0.62), 7: (0.02, 0.75)},
    **{8: (0, 0.8), 48: (0.03, 0.25), 49: (0.02, 0.02), 50: (0.01, -0.05), 51: (0, -0.06), 57: (0, 0.97)},
    **{58: (0.02, 0.92), 59: (0.03, 0.66), 60: (0.03, 0.28), 61: (0.03, -0.05), 62: (0, -0.06), 66: (0, 0.98)},
    **{67: (0.03, 0.93)},
}
_SMILE: Final[Half] = {
    **{1: (-0.05, -0.04), 2: (-0.09, -0.06), 3: (-0.12, -0.08), 4: (-0.12, -0.08), 5: (-0.08, -0.04), 40: (0, -0.05)},
    **{41: (0, -0.06), 31: (-0.08, -0.03), 32: (-0.03, -0.02), 48: (-0.5, -0.36), 49: (-0.33, -0.13)},
    **{50: (-0.13, 0.02), 51: (0, 0.05), 57: (0, 0.07), 58: (-0.1, 0.04), 59: (-0.27, -0.07), 60: (-0.47, -0.33)},
    **{61: (-0.25, -0.06), 62: (0, 0.04), 66: (0, 0.05), 67: (-0.22, -0.04)},
}
_POUT: Final[Half] = {
    **{48: (0.5, 0.04), 49: (0.34, -0.06), 50: (0.14, -0.14), 51: (0, -0.12), 57: (0, 0.16), 58: (0.11, 0.15)},
    **{59: (0.28, 0.1), 60: (0.47, 0.03), 61: (0.26, 0.01), 62: (0, 0.01), 66: (0, 0.01), 67: (0.23, 0.01)},
}
_BROWS_UP: Final[Half] = {
    **{17: (-0.04, -0.82), 18: (-0.03, -0.98), 19: (-0.01, -1.07), 20: (0.01, -1.09), 21: (0.02, -1.04)},
    **{37: (0, -0.05), 38: (0, -0.05)},
}
# A lid's share of a pupil: in the sample videos' frames it goes up by a quarter of what the gap grows.
_EYE_OPEN: Final[Half] = {37: (0, -0.77), 38: (0, -0.75), 40: (0, 0.24), 41: (0, 0.24), 68: (0, -0.25)}


def describe(scheme: Scheme) -> Anatomy:
    """The anatomy of a scheme: ibug70's tables, or their like on the scheme that converts to or from it.

    Raises KeyError for a scheme that has neither conversion. One without pupils has no gaze.
    """
    return _describe(scheme.name)


def change_measure(faces: Points, name: str, amount: NDArray[np.float32], scheme: Scheme) -> Points:
    """Faces (..., N, 2) that face the camera, in the anatomy's unit, with one measure of `shared.expression` changed.

    `amount` (...) is added to `mouth`, `mouth_width`, an eye or a brow. Raises KeyError for any other.
    """
    motions = {motion.name: motion.points for motion in describe(scheme).motions}
    amount = np.asarray(amount)[..., None, None]
    if name == "mouth_width":
        moves = motions["smile"] * np.maximum(amount, 0) + motions["pout"] * np.maximum(-amount, 0)
    elif name == "mouth":
        moves = motions["mouth_open"] * amount
    elif name.endswith("brow"):
        points = list(scheme.groups[name])
        moves = np.zeros((scheme.count, 2)) * amount
        moves[..., points, :] = motions["brows_up"][points] * amount
    else:
        moves = motions[f"{name}_open"] * amount
    changed: Points = (faces + moves).astype(np.float32)
    return changed


@cache
def _describe(name: str) -> Anatomy:
    scheme = get_scheme(name)
    right = np.zeros((IBUG70.count, 2))
    for point, shift in _EYE_OPEN.items():
        right[point] = shift
    left = right[list(IBUG70.flip)] * (-1, 1)
    across, down = np.zeros((2, IBUG70.count, 2))
    across[[68, 69]], down[[68, 69]] = (1, 0), (0, 1)
    rows = [
        ("mouth_open", -0.05, 0.35, _mirror(_MOUTH_OPEN, 2), _part(*IBUG70.openings["mouth"])),
        ("smile", -0.1, 0.25, _mirror(_SMILE, 2), _part((48, 54), (51, 62))),
        ("pout", -0.1, 0.2, _mirror(_POUT, 2), _part((48,), (54,))[:, ::-1]),
        ("brows_up", -0.06, 0.1, _mirror(_BROWS_UP, 2), _part((*range(17, 27),), ())),
        ("right_eye_open", -0.15, 0.05, right, _part(*IBUG70.openings["right_eye"])),
        ("left_eye_open", -0.15, 0.05, left, _part(*IBUG70.openings["left_eye"])),
    ]
    if scheme.pupils is not None:
        gaze = _part((*range(36, 48),), (68, 69))  # where the pupils are in their lids
        rows += [("gaze_across", -0.08, 0.08, across, gaze[:, ::-1]), ("gaze_down", -0.05, 0.05, down, gaze)]
    moves = np.array([row[3] for row in rows]).reshape(len(rows), -1)  # (K, 140)
    looks = np.array([row[4] for row in rows]).reshape(len(rows), -1)
    # Each look answers to several motions: solved for, so that each reading answers to its own.
    readings = np.linalg.solve(looks @ moves.T, looks)
    return Anatomy(
        features={
            name: tuple(point for group in groups for point in scheme.groups.get(group, ()))
            for name, groups in FEATURES.items()
        },
        face=_carry(_mirror(_FACE, 2), scheme),
        depth=_carry(_mirror(_DEPTH, 1), scheme)[:, 0],
        motions=tuple(
            Motion(name, low, high, _carry(points, scheme), _place(reading.reshape(-1, 2), scheme))
            for (name, low, high, points, _), reading in zip(rows, readings, strict=True)
        ),
    )


def _mirror(half: Half, width: int) -> NDArray[np.float64]:
    """A table of the right half and the middle -> ``(70, width)``; mirroring changes the sign of dx alone."""
    table = np.zeros((IBUG70.count, width))
    signs = (-1, 1) if width == 2 else (1,)
    for point, values in half.items():
        table[IBUG70.flip[point]] = np.multiply(values, signs)
        table[point] = values
    return table


def _part(upper: tuple[int, ...], lower: tuple[int, ...]) -> NDArray[np.float64]:
    """The weights ``(70, 2)`` whose sum over points is how far below the `upper` ones the `lower` ones lie."""
    weights = np.zeros((IBUG70.count, 2))
    for points, sign in ((upper, -1), (lower, 1)):
        if points:
            weights[list(points), 1] = sign / len(points)
    return weights


def _carry(table: NDArray[np.float64], scheme: Scheme) -> NDArray[np.float64]:
    """Rows of ibug70 -> rows of `scheme`: its own points where they are ibug70's, else between these on a stroke."""
    if scheme.name == IBUG68.name:
        return table[list(CONVERSIONS[IBUG70.name, IBUG68.name])]
    known = dict(zip(_find_rows(scheme), table, strict=True))
    carried = np.zeros((scheme.count, table.shape[1]))
    for stroke, closed in scheme.strokes:
        at = [place for place, point in enumerate(stroke) if point in known]
        rows = np.array([known[stroke[place]] for place in at])  # (k, width)
        period = len(stroke) if closed else None
        for column in range(table.shape[1]):
            carried[list(stroke), column] = np.interp(range(len(stroke)), at, rows[:, column], period=period)
    carried[list(known)] = table
    return carried


def _place(weights: NDArray[np.float64], scheme: Scheme) -> NDArray[np.float64]:
    """Weights of ibug70's points -> the same weights on `scheme`'s points in their places, and none on its others."""
    if scheme.name == IBUG68.name:
        return weights[list(CONVERSIONS[IBUG70.name, IBUG68.name])]
    placed = np.zeros((scheme.count, 2))
    placed[list(_find_rows(scheme))] = weights
    return placed


def _find_rows(scheme: Scheme) -> tuple[int, ...]:
    """Where each point of ibug70 is in a scheme that has all of them."""
    return tuple(range(IBUG70.count)) if scheme.name == IBUG70.name else CONVERSIONS[scheme.name, IBUG70.name]
