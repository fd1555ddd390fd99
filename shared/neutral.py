"""A person's neutral shape, and expressions moved from one neutral shape to another.

One frame can't tell a narrow eye from a half-closed one; a neutral shape can. A frame is its person's neutral shape
plus an offset, which is expression, in the head's pose. Landmarks are in crop units, ``(..., N, 2) float32``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.anatomy import change_measure, describe
from shared.expression import measure_expression
from shared.landmarks import Points, Scheme, flip_points, pick
from shared.pose import Pose, add_depth, compose_rotation, face_camera, fit_pose, project

FEATURES = (("jaw",), ("right_brow",), ("left_brow",), ("nose_bridge", "nose_base"), ("right_eye",), ("left_eye",))
MOUTH = ("outer_lips", "inner_lips")
# Between two adults a feature's size differs by less than this; more is a bad neutral shape.
SCALE_LIMITS = (0.6, 1.7)
SMALLEST_EXTENT = 1e-3

# The head may be turned by so much, in radians, in a frame that tells the neutral shape; where all are turned further,
# the less turned half of them tells it.
FRONTAL = 0.14
SHUT_SHARE = 0.2  # of a talking person's frames have the mouth as good as shut
OPEN_EYES = (0.4, 0.85)  # quantiles of the lids' gap between which eyes are open as usual
SHUT_GAP = 0.03  # a gap between inner lips, in distances between the eyes, below which a detector sees noise


@dataclass(frozen=True)
class Trait:
    """A measure of `shared.expression` on people's neutral faces.

    Its `mean`, and its spread between people; and how far a person's `moments` lie from their own neutral face.
    """

    mean: float
    spread: float
    moments: float


# Of the ten people of `shared.anatomy`'s average face and their videos; those who smile count as moments.
TRAITS: Final[Mapping[str, Trait]] = {
    "mouth_width": Trait(0.89, 0.07, 0.1),
    "mouth": Trait(0.02, 0.012, 0.1),
    "right_eye": Trait(0.125, 0.02, 0.025),
    "left_eye": Trait(0.125, 0.02, 0.025),
    "right_brow": Trait(0.345, 0.035, 0.03),
    "left_brow": Trait(0.345, 0.035, 0.03),
}
WATCHED = 1.0  # `find_neutral`'s doubt of frames that nobody chose
FARTHEST = 2.0  # spreads: a neutral face beyond has its person smiling, frowning or talking in every frame


def find_neutral(landmarks: Points, scheme: Scheme, doubt: float = 0.0) -> Points:
    """A person's neutral shape ``(N, 2)`` from frames ``(n, N, 2)``: upright, mouth shut, eyes open.

    Each feature is the median over the frames that tell it: lips and jaw where the mouth is shut, lids where they are
    as open as they mostly are. It is alike left and right: a camera to one side of the head leaves no yaw in it. It
    nods as the person mostly does: a low brow looks like a head held down, and 2D points can't tell the two apart.

    `doubt` is how many moments unlike the person's neutral face the frames may all be of: each trait is drawn from what
    the frames show towards what is usual among people, the more, the fewer the frames are. 0 believes the frames.
    """
    average = add_depth(describe(scheme).face.astype(np.float32), scheme)
    pose = fit_pose(landmarks, average, scheme)
    turn_away = np.hypot(*(pose.angles[:, :2] - (0, np.median(pose.angles[:, 1]))).T)
    frontal = face_camera(landmarks, average, pose)[turn_away <= max(FRONTAL, float(np.median(turn_away)))]
    measured = measure_expression(frontal, scheme)
    gap, lids = measured["mouth"], (measured["right_eye"] + measured["left_eye"]) / 2
    shut = gap <= max(SHUT_GAP, float(np.quantile(gap, SHUT_SHARE, method="lower")))
    low, high = np.quantile(lids, OPEN_EYES[0], method="lower"), np.quantile(lids, OPEN_EYES[1], method="higher")
    face = np.median(frontal, axis=0)
    for names, telling in (
        (("jaw", "outer_lips", "inner_lips"), shut),
        (tuple(name for name in scheme.groups if name.endswith(("eye", "pupil"))), (lids >= low) & (lids <= high)),
    ):
        points = list(pick(scheme, names))
        face[points] = np.median(frontal[telling][:, points], axis=0)
    face = (face + flip_points(face, scheme, width=0.0)) / 2
    for name, trait in TRAITS.items() if doubt else ():
        seen = float(measure_expression(face, scheme)[name])
        belief = trait.spread**2 / (trait.spread**2 + doubt / len(landmarks) * trait.moments**2)
        reach = FARTHEST * trait.spread
        wanted = trait.mean + float(np.clip(belief * (seen - trait.mean), -reach, reach))
        face = change_measure(face, name, np.array(wanted - seen, np.float32), scheme)
    nod = np.array([[0.0, np.median(pose.angles[:, 1]), 0.0]])
    rest = Pose(compose_rotation(nod), pose.scale.mean(keepdims=True), pose.centre.mean(axis=0, keepdims=True))
    neutral: Points = project(add_depth(face, scheme), rest)[0]
    return neutral


def find_calm(landmarks: Points, scheme: Scheme) -> int:
    """Which of the frames ``(n, N, 2)`` is nearest to the person's neutral shape: a reference picture."""
    distance = np.linalg.norm(landmarks - find_neutral(landmarks, scheme), axis=2).mean(axis=1)
    return int(np.argmin(distance))


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
    no height to compare. A pupil moves against its eye's corners, by the eye's width.
    """

    def __init__(self, scheme: Scheme) -> None:
        self.scheme = scheme
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
        corners = self.scheme.eye_corners
        for pupil, first, last in zip(self.scheme.pupils or (), corners[::2], corners[1::2], strict=False):
            eye = [first, last]
            scale = _extent(onto[..., eye, :])[..., 0, :1] / _extent(neutral[..., eye, :])[..., 0, :1]
            against = offset[..., pupil, :] - offset[..., eye, :].mean(axis=-2)
            place = onto[..., pupil, :] - onto[..., eye, :].mean(axis=-2) + against * np.clip(scale, *SCALE_LIMITS)
            moved[..., pupil, :] = moved[..., eye, :].mean(axis=-2) + place
        return moved


def _extent(part: Points) -> Points:
    """Width and height of features (..., n, 2) -> (..., 1, 2)."""
    size: Points = np.maximum(np.ptp(part, axis=-2, keepdims=True), np.float32(SMALLEST_EXTENT))
    return size
