"""The head's pose apart from what the face does: a rigid fit of a 3D head to 2D landmarks.

Scaled orthographic projection: a landmark is ``scale * (rotation @ point)[:2] + centre``. Axes are those of
`shared.anatomy`: x to the picture's right, y down, z towards the camera. Angles are in radians: yaw grows as the nose
moves to the picture's right, pitch as it moves down, roll clockwise, as in `shared.expression`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.anatomy import describe
from shared.landmarks import Points, Scheme

Array = NDArray[np.float64]

# After these the rotation of a head turned by 45 degrees changes by less than 0.001 radians.
REFINEMENTS = 8
# A head turned further shows too little of its breadth to tell how broad it is.
SMALLEST_FORESHORTENING = 0.4
TINY = 1e-9  # the size of a head whose points coincide


@dataclass(frozen=True)
class Pose:
    """Of B heads: `rotation` (B, 3, 3), and `scale` (B,) and `centre` (B, 2) in the landmarks' unit."""

    rotation: Array
    scale: Array
    centre: Array

    @property
    def angles(self) -> Array:
        """Yaw, pitch and roll (B, 3): the inverse of `compose_rotation`."""
        depth = self.rotation[:, 2]
        yaw, pitch = np.arctan2(-depth[:, 0], depth[:, 2]), np.arcsin(np.clip(-depth[:, 1], -1, 1))
        return np.stack([yaw, pitch, np.arctan2(-self.rotation[:, 0, 1], self.rotation[:, 1, 1])], axis=-1)


def compose_rotation(angles: Array) -> Array:
    """Rotations (B, 3, 3) from yaw, pitch and roll (B, 3): the head turns, then nods, then tilts."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(angles.T), np.sin(angles.T)
    zero, one = np.zeros_like(cy), np.ones_like(cy)

    def stack(*rows: tuple[Array, Array, Array]) -> Array:
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)

    yaw = stack((cy, zero, sy), (zero, one, zero), (-sy, zero, cy))
    pitch = stack((one, zero, zero), (zero, cp, sp), (zero, -sp, cp))
    roll = stack((cr, -sr, zero), (sr, cr, zero), (zero, zero, one))
    rotation: Array = roll @ pitch @ yaw
    return rotation


def find_rigid(scheme: Scheme) -> list[int]:
    """The points that move with the skull alone: eye corners, nose, and the jaw's ends before the ears."""
    jaw = scheme.groups["jaw"]
    end = 3 * len(jaw) // 17
    return [*scheme.rigid, *jaw[:end], *jaw[-end:]]


def add_depth(face: Points, scheme: Scheme) -> Array:
    """The head (N, 3) of a face (N, 2) that looks into the camera, as deep as an average head."""
    corners = face[list(scheme.eye_corners)].astype(np.float64)
    length = np.linalg.norm(corners[2:].mean(axis=0) - corners[:2].mean(axis=0))
    return np.concatenate([face.astype(np.float64), describe(scheme).depth[:, None] * length], axis=1)


def fit_pose(landmarks: Points, head: Array, scheme: Scheme) -> Pose:
    """The poses in which a head (N, 3) lies nearest to landmarks (B, N, 2), by its rigid points."""
    rigid = find_rigid(scheme)
    points, shape = landmarks[:, rigid].astype(np.float64), head[rigid]
    middle, origin = points.mean(axis=1), shape.mean(axis=0)
    points, shape = points - middle[:, None], shape - origin
    affine = np.swapaxes(points, 1, 2) @ np.linalg.pinv(shape).T  # (B, 2, 3)
    left, size, right = np.linalg.svd(affine, full_matrices=False)
    rows, scale = left @ right, size.mean(axis=1)
    rotation = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], axis=1)
    for _ in range(REFINEMENTS):  # orthogonal Procrustes, with the depth that the last pose gives
        deep = scale[:, None, None] * (shape @ np.swapaxes(rotation[:, 2:], 1, 2))  # (B, n, 1)
        left, _, right = np.linalg.svd(np.swapaxes(np.concatenate([points, deep], axis=2), 1, 2) @ shape)
        left[:, :, 2] *= np.linalg.det(left @ right)[:, None]  # no mirror image
        rotation = left @ right
        flat = shape @ np.swapaxes(rotation[:, :2], 1, 2)  # (B, n, 2)
        scale = np.maximum((points * flat).sum(axis=(1, 2)) / np.maximum((flat**2).sum(axis=(1, 2)), TINY), TINY)
    return Pose(rotation, scale, middle - scale[:, None] * (rotation[:, :2] @ origin))


def project(heads: Array, pose: Pose) -> Points:
    """Heads (N, 3) or (B, N, 3) in these poses, as landmarks (B, N, 2)."""
    flat = heads @ np.swapaxes(pose.rotation[:, :2], 1, 2)
    landmarks: Points = (pose.scale[:, None, None] * flat + pose.centre[:, None]).astype(np.float32)
    return landmarks


def face_camera(landmarks: Points, head: Array, pose: Pose) -> Points:
    """Landmarks (B, N, 2) as if the heads looked into the camera, in the unit of the `head` (N, 3).

    What sets them apart from that head in its pose is taken to lie in the plane of the face.
    """
    offset = (landmarks - project(head, pose)) / pose.scale[:, None, None]
    left, size, right = np.linalg.svd(pose.rotation[:, :2, :2])  # what the turn leaves of that plane
    size = np.maximum(size, SMALLEST_FORESHORTENING)[:, None]
    inverse = np.swapaxes(right, 1, 2) / size @ np.swapaxes(left, 1, 2)
    frontal: Points = (head[:, :2] + offset @ np.swapaxes(inverse, 1, 2)).astype(np.float32)
    return frontal
