"""Landmark schemes as data: which points there are, what they belong to, and how one scheme becomes another.

Points are ``(N, 2) float32``, x right and y down. Left and right are the person's, as in the data sets' papers: the
right eye lies on the picture's left. A new scheme is one more entry in `SCHEMES`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared.errors import LandmarksError

Points = NDArray[np.float32]

# Pictures are at most tens of thousands of pixels wide; beyond this float32 has no sub-pixel digits left.
MAX_COORDINATE = 1e6
# A face smaller than this share of its coordinates' magnitude is lost in rounding: its points count as equal.
MIN_RELATIVE_SPREAD = 1e-5
# Distance from the median point, in medians of that distance: a face's farthest point has up to 2.
MAX_SPREADS = 12.0
# The second singular value to the first: filmed faces have 0.8 to 0.9.
MIN_FLATNESS = 0.01


@dataclass(frozen=True)
class Scheme:
    """One way to put points on a face.

    `groups` covers every index once. `flip[i]` is the index that point i becomes in the mirrored picture. `strokes` are
    the outlines to draw: (indices, closed). `openings` are the (upper, lower) index rows that part when a feature
    opens: ``mouth``, ``right_eye``, ``left_eye``. `rigid` are the points that neither mouth nor lids nor brows move;
    `eye_corners` run from the right eye's outer corner to the left eye's outer corner; `pupils` are the right
    and the left, where there are any.
    """

    name: str
    count: int
    groups: Mapping[str, tuple[int, ...]]
    flip: tuple[int, ...]
    strokes: tuple[tuple[tuple[int, ...], bool], ...]
    openings: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    rigid: tuple[int, ...]
    eye_corners: tuple[int, int, int, int]
    nose_tip: int
    pupils: tuple[int, int] | None = None


def _span(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


IBUG68 = Scheme(
    name="ibug68",
    count=68,
    groups={
        "jaw": _span(0, 16),
        "right_brow": _span(17, 21),
        "left_brow": _span(22, 26),
        "nose_bridge": _span(27, 30),
        "nose_base": _span(31, 35),
        "right_eye": _span(36, 41),
        "left_eye": _span(42, 47),
        "outer_lips": _span(48, 59),
        "inner_lips": _span(60, 67),
    },
    flip=(
        *range(16, -1, -1),
        *range(26, 16, -1),
        *range(27, 31),
        *range(35, 30, -1),
        *(45, 44, 43, 42, 47, 46),
        *(39, 38, 37, 36, 41, 40),
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
        *(64, 63, 62, 61, 60, 67, 66, 65),
    ),
    strokes=(
        (_span(0, 16), False),
        (_span(17, 21), False),
        (_span(22, 26), False),
        (_span(27, 30), False),
        (_span(31, 35), False),
        (_span(36, 41), True),
        (_span(42, 47), True),
        (_span(48, 59), True),
        (_span(60, 67), True),
    ),
    openings={
        "mouth": ((61, 62, 63), (67, 66, 65)),
        "right_eye": ((37, 38), (41, 40)),
        "left_eye": ((43, 44), (47, 46)),
    },
    rigid=(*range(27, 36), 36, 39, 42, 45),
    eye_corners=(36, 39, 42, 45),
    nose_tip=30,
)

WFLW98 = Scheme(
    name="wflw98",
    count=98,
    groups={
        "jaw": _span(0, 32),
        "right_brow": _span(33, 41),
        "left_brow": _span(42, 50),
        "nose_bridge": _span(51, 54),
        "nose_base": _span(55, 59),
        "right_eye": (*range(60, 68), 96),
        "left_eye": (*range(68, 76), 97),
        "outer_lips": _span(76, 87),
        "inner_lips": _span(88, 95),
    },
    flip=(
        *range(32, -1, -1),
        *(46, 45, 44, 43, 42, 50, 49, 48, 47),
        *(37, 36, 35, 34, 33, 41, 40, 39, 38),
        *range(51, 55),
        *range(59, 54, -1),
        *(72, 71, 70, 69, 68, 75, 74, 73),
        *(64, 63, 62, 61, 60, 67, 66, 65),
        *(82, 81, 80, 79, 78, 77, 76, 87, 86, 85, 84, 83),
        *(92, 91, 90, 89, 88, 95, 94, 93),
        *(97, 96),
    ),
    strokes=(
        (_span(0, 32), False),
        (_span(33, 41), True),
        (_span(42, 50), True),
        (_span(51, 54), False),
        (_span(55, 59), False),
        (_span(60, 67), True),
        (_span(68, 75), True),
        (_span(76, 87), True),
        (_span(88, 95), True),
    ),
    openings={
        "mouth": ((89, 90, 91), (95, 94, 93)),
        "right_eye": ((61, 62, 63), (67, 66, 65)),
        "left_eye": ((69, 70, 71), (75, 74, 73)),
    },
    rigid=(*range(51, 60), 60, 64, 68, 72),
    eye_corners=(60, 64, 68, 72),
    nose_tip=54,
    pupils=(96, 97),
)

# The pupils lie on no stroke, as in WFLW98. Groups of their own: the eyes' groups stay the lids.
IBUG70 = replace(
    IBUG68,
    name="ibug70",
    count=70,
    groups={**IBUG68.groups, "right_pupil": (68,), "left_pupil": (69,)},
    flip=(*IBUG68.flip, 69, 68),
    pupils=(68, 69),
)

SCHEMES: Mapping[str, Scheme] = {scheme.name: scheme for scheme in (IBUG68, IBUG70, WFLW98)}

# (from, to) -> for each point of the new scheme, the index of the old scheme's point in its place.
_WFLW98_TO_IBUG68 = (
    *range(0, 33, 2),
    *range(33, 38),
    *range(42, 47),
    *range(51, 60),
    *(60, 61, 63, 64, 65, 67),
    *(68, 69, 71, 72, 73, 75),
    *range(76, 96),
)
CONVERSIONS: Mapping[tuple[str, str], tuple[int, ...]] = {
    ("wflw98", "ibug68"): _WFLW98_TO_IBUG68,
    ("wflw98", "ibug70"): (*_WFLW98_TO_IBUG68, 96, 97),
    ("ibug70", "ibug68"): _span(0, 67),
}

# (from, to) -> for each point that the new scheme adds after the old scheme's own, the indices that it is the mean of.
ADDITIONS: Mapping[tuple[str, str], tuple[tuple[int, ...], ...]] = {
    ("ibug68", "ibug70"): ((36, 39), (42, 45)),  # the pupils then rest between the lids' corners
}


def get_scheme(name: str) -> Scheme:
    """Look a scheme up by name. Raises LandmarksError, naming the known ones."""
    if name not in SCHEMES:
        raise LandmarksError(f"There is no landmark scheme '{name}'. Known schemes: {', '.join(sorted(SCHEMES))}.")
    return SCHEMES[name]


def guess_scheme(count: int) -> Scheme:
    """The scheme with this many points. Raises LandmarksError where there is none."""
    for scheme in SCHEMES.values():
        if scheme.count == count:
            return scheme
    known = ", ".join(f"{scheme.name} ({scheme.count} points)" for scheme in SCHEMES.values())
    raise LandmarksError(f"No landmark scheme has {count} points. Known schemes: {known}.")


def check_points(points: ArrayLike, scheme: Scheme) -> Points:
    """Points as a checked ``(count, 2) float32`` array, in the units they came in.

    Raises LandmarksError for another count or shape, values that are not finite or beyond ±1e6, and points that no face
    has: on one spot, on one line, or one of them far off. Spread is measured by medians, which a point far off, unlike
    a mean or an extent, does not move.
    """
    try:
        array = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise LandmarksError("Landmarks must be a list of [x, y] pairs of numbers.") from error
    if array.ndim != 2 or array.shape[1] != 2:
        raise LandmarksError(f"Landmarks must be a list of [x, y] pairs; this one has the shape {array.shape}.")
    if len(array) != scheme.count:
        raise LandmarksError(f"Scheme '{scheme.name}' has {scheme.count} points; {len(array)} were given.")
    if not np.isfinite(array).all():
        raise LandmarksError("Landmarks must be finite numbers; at least one is NaN or infinite.")
    largest = float(np.abs(array).max())
    if largest > MAX_COORDINATE:
        raise LandmarksError(f"Landmark coordinates must lie within ±{MAX_COORDINATE:g}; one is {largest:g}.")
    middle = _find_median(array)
    distance = np.linalg.norm(array - middle, axis=1)
    spread = float(_find_median(distance))
    if spread <= MIN_RELATIVE_SPREAD * float(np.abs(middle).max()):
        raise LandmarksError("Most landmarks lie on one spot; a face needs points that differ.")
    if float(distance.max()) > MAX_SPREADS * spread:
        far = int(distance.argmax())
        raise LandmarksError(
            f"Landmark {far} lies {distance[far] / spread:.3g} times as far off as most; it is no face's."
        )
    first, second = np.linalg.svd(array - array.mean(axis=0), compute_uv=False)
    if second <= MIN_FLATNESS * first:
        raise LandmarksError("All landmarks lie on one line; a face has width and height.")
    return array.astype(np.float32)


def _find_median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The medians over the first axis: numpy's own takes five times as long for so few."""
    half = len(values) // 2
    median: NDArray[np.float64] = np.sort(values, axis=0)[[-1 - half, half]].mean(axis=0)
    return median


def converts(source: Scheme, wanted: Scheme) -> bool:
    """Whether `convert_scheme` takes points from one scheme to the other."""
    pair = source.name, wanted.name
    return source.name == wanted.name or pair in CONVERSIONS or pair in ADDITIONS


def convert_scheme(points: Points, source: Scheme, wanted: Scheme) -> Points:
    """Points of one scheme as points of another. Raises LandmarksError where no conversion exists."""
    if source.name == wanted.name:
        return points
    pair = source.name, wanted.name
    if pair in CONVERSIONS:
        return points[..., CONVERSIONS[pair], :]
    if pair in ADDITIONS:
        means = [points[..., indices, :].mean(axis=-2, keepdims=True) for indices in ADDITIONS[pair]]
        return np.concatenate([points, *means], axis=-2)
    raise LandmarksError(f"Landmarks of scheme '{source.name}' can't be converted to '{wanted.name}'.")


def flip_points(points: Points, scheme: Scheme, width: float) -> Points:
    """The points of the picture mirrored left to right; `width` is the picture's, in the points' unit."""
    mirrored = points[..., scheme.flip, :].copy()
    mirrored[..., 0] = width - mirrored[..., 0]
    return mirrored


def pick(scheme: Scheme, groups: Sequence[str]) -> tuple[int, ...]:
    """The indices of several groups, in order."""
    return tuple(index for group in groups for index in scheme.groups[group])
