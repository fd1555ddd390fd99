"""Landmarks edited by hand's rule: a head turned, a mouth opened, lids shut by degrees, features where none should be.

Faces are ``(N, 2)`` in crop units of an upright face near to looking into the camera; lengths are in distances between
the eyes' centres, as in shared/anatomy.py.
"""

import numpy as np
from numpy.typing import NDArray

from shared.anatomy import describe
from shared.landmarks import Points, Scheme, pick

MOUTH = ("outer_lips", "inner_lips")


def measure_eyes(face: Points, scheme: Scheme) -> float:
    """The distance between the eyes' centres, in the face's unit."""
    corners = face[list(scheme.eye_corners)]
    return float(np.linalg.norm(corners[:2].mean(axis=0) - corners[2:].mean(axis=0)))


def express(face: Points, scheme: Scheme, **amounts: float) -> Points:
    """The face with motions of `shared.anatomy` added, each by an amount in distances between the eyes."""
    motions = {motion.name: motion.points for motion in describe(scheme).motions}
    moved = sum((amount * motions[name] for name, amount in amounts.items()), np.zeros_like(face, np.float64))
    return _as_points(face + moved * measure_eyes(face, scheme))


def turn(face: Points, scheme: Scheme, degrees: float) -> Points:
    """The head turned about its upright axis, positive to the picture's right, seen from far away."""
    length = measure_eyes(face, scheme)
    centre = face[list(scheme.rigid)].mean(axis=0)
    depth = describe(scheme).depth * length
    across = face[:, 0] - centre[0]
    angle = np.deg2rad(degrees)
    turned = face.astype(np.float64)
    turned[:, 0] = centre[0] + across * np.cos(angle) + depth * np.sin(angle)
    return _as_points(turned)


def shut_eyes(face: Points, scheme: Scheme, share: float) -> Points:
    """Both pairs of lids drawn together: 0 leaves them, 1 shuts them on the lower third between them."""
    shut = face.astype(np.float64)
    for name in ("right_eye", "left_eye"):
        upper, lower = (list(rows) for rows in scheme.openings[name])
        meeting = face[upper] / 3 + face[lower] * 2 / 3
        shut[upper] += share * (meeting - face[upper])
        shut[lower] += share * (meeting - face[lower])
    return _as_points(shut)


def shift_mouth(face: Points, scheme: Scheme, right: float, down: float) -> Points:
    """The mouth moved as a whole."""
    moved = face.astype(np.float64)
    moved[list(pick(scheme, MOUTH))] += np.array([right, down]) * measure_eyes(face, scheme)
    return _as_points(moved)


def widen_contour(face: Points, scheme: Scheme, factor: float) -> Points:
    """The face's outline `factor` times as wide, about the middle of its ends."""
    jaw = list(scheme.groups["jaw"])
    scaled = face.astype(np.float64)
    middle = (face[jaw[0], 0] + face[jaw[-1], 0]) / 2
    scaled[jaw, 0] = middle + (face[jaw, 0] - middle) * factor
    return _as_points(scaled)


def shrink_contour(face: Points, scheme: Scheme, factor: float) -> Points:
    """The face's outline `factor` times as large, about its own middle."""
    jaw = list(scheme.groups["jaw"])
    scaled = face.astype(np.float64)
    middle = face[jaw].mean(axis=0)
    scaled[jaw] = middle + (face[jaw] - middle) * factor
    return _as_points(scaled)


def _as_points(values: NDArray[np.float64]) -> Points:
    return values.astype(np.float32)
