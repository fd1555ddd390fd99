"""What one edit of the landmarks changes in the face, and what it leaves: the generator by itself, nothing converted.

leak                       lips opened by 6 pixels of 256: mean change beyond 96 pixels from the mouth, in grey levels
right_eye_falls, left_     one eye shut by its landmarks: the share by which its opening, as found again, falls
right_eye_other, left_     and the share by which the other eye's changes
gaze                       both pupils led from side to side: rank correlation with where they are found again
"""

from collections.abc import Callable, Mapping

import numpy as np

from shared.anatomy import describe
from shared.animation import Animator, DrivingFace
from shared.expression import measure_expression
from shared.landmarks import Points, Scheme, get_scheme
from shared.pixels import Image8
from trainer.evaluation.drivers import Clip
from trainer.evaluation.face_analyzer import FaceAnalyzer
from trainer.evaluation.figures import place_points
from trainer.evaluation.intervals import collect, correlate_ranks, estimate_mean
from trainer.evaluation.landmark_edits import EYES, express, shut_eyes
from trainer.evaluation.protocols import Estimates

Draw = Callable[[Points], Image8]
"""Landmarks (B, N, 2) in crop units -> pictures (B, S, S, 3)."""

OPENED, FAR = 6 / 256, 96 / 256
"""Crop units."""

LOOKS = 7
"""Places that the pupils are led to, from one end of the anatomy's motion to the other."""

MOST_FACES = 24


def measure_edits(animator: Animator, clip: Clip, analyzer: FaceAnalyzer) -> Estimates:
    """Each figure over test frames of the target's own clip, `MOST_FACES` at most; of eyes, where both are open."""
    manifest = animator.manifest
    faces, scheme = place_points(clip.points, clip.scheme, manifest), get_scheme(manifest.scheme)

    def draw(landmarks: Points) -> Image8:
        return np.stack([each.picture for each in animator.animate([DrivingFace(face, False) for face in landmarks])])

    chosen = np.unique(np.linspace(0, len(faces) - 1, min(MOST_FACES, len(faces))).astype(int))
    measured = measure_expression(faces, scheme)
    eyes = np.minimum(measured["right_eye"], measured["left_eye"])
    is_open = eyes >= np.median(eyes)
    rows = []
    for index in chosen:
        row = {"leak": measure_leak(draw, faces[index], scheme)}
        if is_open[index]:
            row |= measure_winks(draw, faces[index], scheme, analyzer)
            if scheme.pupils is not None:
                row["gaze"] = measure_gaze(draw, faces[index], scheme, analyzer)
        rows.append(row)
    keep = np.isin(np.arange(len(faces)), chosen)
    series = collect(rows)
    estimates = {name: estimate_mean(values, clip.timeline.keep(keep)) for name, values in series.items()}
    return {name: each for name, each in estimates.items() if each is not None}


def measure_leak(draw: Draw, face: Points, scheme: Scheme) -> float:
    """`leak` of one face (N, 2)."""
    lips = scheme.groups["outer_lips"]
    opened = face.copy()
    opened[[*scheme.openings["mouth"][1], *lips[len(lips) // 2 + 1 :]], 1] += OPENED
    before, after = draw(np.stack([face, opened])).astype(np.float64)
    axis = (np.arange(len(before)) + 0.5) / len(before)
    middle = face[list(lips)].mean(axis=0)
    far = np.hypot(axis[None, :] - middle[0], axis[:, None] - middle[1]) > FAR
    return float(np.abs(after - before)[far].mean())


def measure_winks(draw: Draw, face: Points, scheme: Scheme, analyzer: FaceAnalyzer) -> dict[str, float]:
    """The shares of one face's openings (N, 2) that a wink takes, where all its eyes are found again."""
    edited = [face, *(shut_eyes(face, scheme, eyes=(eye,)) for eye in EYES)]
    found = [_find(picture, analyzer) for picture in draw(np.stack(edited))]
    if any(each is None for each in found):
        return {}
    before, *after = [each for each in found if each is not None]
    row = {}
    for eye, other, shut in zip(EYES, EYES[::-1], after, strict=True):
        row[f"{eye}_falls"] = 1 - shut[eye] / before[eye]
        row[f"{eye}_other"] = abs(1 - shut[other] / before[other])
    return row


def measure_gaze(draw: Draw, face: Points, scheme: Scheme, analyzer: FaceAnalyzer) -> float:
    """Rank correlation of where the pupils of one face (N, 2) are led to and where they are found, NaN without."""
    (motion,) = (each for each in describe(scheme).motions if each.name == "gaze_across")
    looks = np.linspace(motion.low, motion.high, LOOKS)
    pictures = draw(np.stack([express(face, scheme, gaze_across=look) for look in looks]))
    found = [_find(picture, analyzer) for picture in pictures]
    places = np.array([np.nan if each is None else each["gaze_x"] for each in found])
    there = np.isfinite(places)
    return float(correlate_ranks(looks[None, there], places[None, there])[0]) if there.sum() > 2 else np.nan


def _find(picture: Image8, analyzer: FaceAnalyzer) -> Mapping[str, float] | None:
    landmarks = analyzer.look(picture).landmarks
    if landmarks is None:
        return None
    return {name: float(value) for name, value in measure_expression(landmarks, get_scheme(analyzer.scheme)).items()}
