"""The conversion to a target where the source's neutral shape is known.

The head's pose and what the face does are taken apart: the head turns as the source's does, and each feature moves away
from the target's neutral shape as the source's moves away from its own. Both are held, softly and in their order, to a
little more than the target was filmed doing: beyond that a generator guesses. docs/calibration.md has the figures.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.anatomy import change_measure
from shared.bundle import BundleManifest
from shared.expression import measure_expression
from shared.geometry import find_crop
from shared.landmarks import Points, Scheme, get_scheme
from shared.neutral import Retarget
from shared.pose import TINY, Pose, add_depth, compose_rotation, face_camera, fit_pose, project

# How far every face goes at least, whatever it was filmed doing: distances between the eyes' centres. Lids shut always.
LEAST_REACH: Final[Mapping[str, float]] = {
    "mouth_width": 0.12,
    "mouth": 0.15,
    "right_brow": 0.05,
    "left_brow": 0.05,
    "right_eye": 0.04,
    "left_eye": 0.04,
}
LEAST_TURN = 0.2  # radians, of yaw and of pitch
GIVE = 0.5  # reaches: how gently what lies beyond is held back


class Calibration:
    """One target's, built once from its manifest."""

    def __init__(self, manifest: BundleManifest) -> None:
        self.scheme, self.crop = get_scheme(manifest.scheme), manifest.crop
        self.retarget = Retarget(self.scheme)
        self.neutral = normalise(np.array(manifest.shape, np.float32), self.scheme)
        self.head = add_depth(self.neutral, self.scheme)
        filmed = np.array([manifest.neutral, *manifest.presets.values()], np.float32)  # (presets + 1, N, 2)
        pose = fit_pose(filmed, self.head, self.scheme)
        measured = measure_expression(face_camera(filmed, self.head, pose), self.scheme)
        self.rest = {name: float(value) for name, value in measure_expression(self.neutral, self.scheme).items()}
        self.reach = {
            name: (
                max(self.rest[name] - measured[name].min(), least),
                max(measured[name].max() - self.rest[name], least),
            )
            for name, least in LEAST_REACH.items()
        }
        angles = pose.angles[:, :2]  # yaw and pitch
        self.middle = (angles.max(axis=0) + angles.min(axis=0)) / 2
        self.turn = np.maximum(np.ptp(angles, axis=0) / 2, LEAST_TURN)

    def convert(self, landmarks: Points, neutral: Points) -> Points:
        """Landmarks (B, N, 2) of a face whose neutral shape is (N, 2), in crop units, as the target shows them."""
        neutral = normalise(neutral, self.scheme)
        head = add_depth(neutral, self.scheme)
        pose = fit_pose(landmarks, head, self.scheme)
        acted = self.hold(self.retarget.move(face_camera(landmarks, head, pose), neutral, self.neutral))
        angles = pose.angles
        angles[:, :2] = self.middle + self.turn * soften((angles[:, :2] - self.middle) / self.turn)
        depth = np.broadcast_to(self.head[:, 2:], (*acted.shape[:2], 1))
        posed = Pose(compose_rotation(angles), pose.scale, pose.centre)
        shown = project(np.concatenate([acted, depth], axis=2), posed)
        return np.stack([self._place(*each) for each in zip(shown, landmarks, strict=True)])

    def hold(self, faces: Points) -> Points:
        """Faces (B, N, 2) that face the camera, each measure held to a little more than the target was filmed doing."""
        measured = measure_expression(faces, self.scheme)
        for name, (below, above) in self.reach.items():
            moved = measured[name] - self.rest[name]
            reach = np.where(moved < 0, below, above)
            beyond = moved if name.endswith("eye") else np.abs(moved)  # every lid can shut
            if (beyond > reach).any():
                held = soften(moved / reach) * reach
                held = np.where(beyond > reach, held, moved)
                faces = change_measure(faces, name, held - moved, self.scheme)
                measured = measure_expression(faces, self.scheme)
        return faces

    def _place(self, shown: Points, asked: Points) -> Points:
        """The target's face (N, 2) of any scale and place, cut by its own crop rule, where the one `asked` for lies."""
        return find_crop(asked, self.crop).from_unit(find_crop(shown, self.crop).to_unit(shown))


def normalise(face: Points, scheme: Scheme) -> Points:
    """A face (N, 2) in the unit of `shared.anatomy`: its eyes' centres are one apart, the origin between them."""
    corners = face[list(scheme.eye_corners)]  # (4, 2)
    length = np.linalg.norm(corners[2:].mean(axis=0) - corners[:2].mean(axis=0))
    unit: Points = (face - corners.mean(axis=0)) / np.maximum(length, np.float32(TINY))
    return unit


def soften(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """The identity within [-1, 1], growing like a logarithm beyond: odd, smooth and strictly monotone."""
    beyond = np.maximum(np.abs(values) - 1, 0)
    softened: NDArray[np.floating] = np.clip(values, -1, 1) + np.sign(values) * GIVE * np.log1p(beyond / GIVE)
    return softened
