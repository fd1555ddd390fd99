"""Landmarks edited by rule: a head turned, a motion of the anatomy added, lids shut.

Faces are ``(N, 2)``, upright and looking into the camera; lengths are in distances between the eyes' centres, as in
shared/anatomy.py.
"""

from collections.abc import Sequence

import numpy as np

from shared.anatomy import describe
from shared.landmarks import Points, Scheme
from shared.pose import Pose, add_depth, compose_rotation, project

EYES = ("right_eye", "left_eye")


def measure_eyes(face: Points, scheme: Scheme) -> float:
    """The distance between the eyes' centres, in the face's unit."""
    corners = face[list(scheme.eye_corners)]
    return float(np.linalg.norm(corners[:2].mean(axis=0) - corners[2:].mean(axis=0)))


def express(face: Points, scheme: Scheme, **amounts: float) -> Points:
    """The face with motions of `shared.anatomy` added, each by an amount in distances between the eyes."""
    motions = {motion.name: motion.points for motion in describe(scheme).motions}
    moved = sum((amount * motions[name] for name, amount in amounts.items()), np.zeros_like(face, np.float64))
    edited: Points = (face + moved * measure_eyes(face, scheme)).astype(np.float32)
    return edited


def turn(face: Points, scheme: Scheme, yaw: float = 0.0, pitch: float = 0.0) -> Points:
    """The head turned by degrees about its rigid points' middle: the nose to the picture's right, and down."""
    centre = face[list(scheme.rigid)].mean(axis=0)
    rotation = compose_rotation(np.deg2rad([[yaw, pitch, 0.0]]))
    pose = Pose(rotation, np.ones(1), centre[None].astype(np.float64))
    turned: Points = project(add_depth((face - centre).astype(np.float32), scheme), pose)[0]
    return turned


def shut_eyes(face: Points, scheme: Scheme, share: float = 1.0, eyes: Sequence[str] = EYES) -> Points:
    """Lids drawn together: 0 leaves them, 1 shuts them on the lower third between them."""
    shut = face.astype(np.float64)
    for name in eyes:
        upper, lower = (list(rows) for rows in scheme.openings[name])
        meeting = face[upper] / 3 + face[lower] * 2 / 3
        shut[upper] += share * (meeting - face[upper])
        shut[lower] += share * (meeting - face[lower])
    edited: Points = shut.astype(np.float32)
    return edited
