"""The embedded detector: BlazeFace, then MediaPipe's face mesh, then its eye network for lids and pupils.

The mesh runs twice a face at least: BlazeFace's box is unsteady, so the second pass looks at the square that the first
pass's own points give. A head turned far needs further passes, until that square settles. `detect` takes each picture
alone; `follow` starts from the last frame's square, as MediaPipe does in video.
Sources: Kartynnik et al., Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs (2019); Ablavatski et
al., Real-time Pupil Tracking from Monocular Video (2020).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from shared.detectors.blazeface import (
    SAME_PLACE,
    BlazeFace,
    FaceCandidate,
    bound_region,
    measure_overlap,
    plan_redetection,
    search_faces,
)
from shared.detectors.protocol import DetectedFace
from shared.detectors.region import Picture, Region, bound_points, cut_region, measure_angle
from shared.devices import list_providers
from shared.errors import DetectorUnavailableError

MIN_SCORE = 0.5
# An upright face seen askew may pass for one upside down by a little more than half; a face that is scores about 0.9.
MIN_TURNED_SCORE = 0.75
REGION_SCALE = 1.5
EYE_REGION_SCALE = 2.3
# From BlazeFace's square to the one that the mesh settles on: its side, and how far down its centre lies. Medians of 55
# pictures of 8 people, most of them frames of the sample videos.
PLACE_SCALE, PLACE_DROP = 1.11, -0.047
# Each pass looks at the square that the last one's points give, until it moves, grows or turns by less than this share
# of its side. On 72 frames of the sample videos that takes 3.9 passes; points then lie 0.3 pixels (of 256) from where
# they settle, 0.64 at most. A head turned on its side may need all passes.
PASSES, SETTLED = 8, 0.005
# A video's last frame is a better start: 0.41 pixels after one pass, 0.25 after two, 0.31 with a second one only where
# the square has moved, grown or turned by more than this share of its side, which is so in every fifth frame.
FOLLOW_PASSES, FOLLOW_MOVED = 2, 0.01
# The mesh's logit for a face is 37 and more on the sample videos, and below 0 on 92 places beside these faces.
SURE_PRESENCE = 20.0
SAME_FACE = 0.3

# Vertices of MediaPipe's canonical face mesh. Left and right are those of the picture of a person who faces it.
LEFT_EYE_CORNERS = (33, 133)  # outer, inner
RIGHT_EYE_CORNERS = (362, 263)  # inner, outer
# The eye network's first 16 points: the lower lid from outer to inner corner, then the upper lid between the corners.
LEFT_LIDS = (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173)
RIGHT_LIDS = (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398)

# Each of the 68 points is one vertex, or the middle of two where no vertex lies in the right place.
MESH_TO_IBUG68: tuple[tuple[int, ...], ...] = (
    *((127,), (234,), (93, 132), (132, 58), (58, 172), (136, 150), (149,), (176, 148)),  # jaw, from the left ear
    (152,),  # chin
    *((400, 377), (378,), (365, 379), (288, 397), (361, 288), (323, 361), (454,), (356,)),  # jaw, to the right ear
    *((70, 46), (63, 53), (105, 52), (66, 65), (107, 55)),  # middle of the left brow, outer end first
    *((336, 285), (296, 295), (334, 282), (293, 283), (300, 276)),  # middle of the right brow, inner end first
    *((168,), (6, 197), (195, 5), (4,)),  # bridge of the nose down to its tip
    *((98,), (97,), (2,), (326,), (327,)),  # under the nose
    *((33,), (160,), (158,), (133,), (153,), (144,)),  # left eye: outer corner, upper lid, inner corner, lower lid
    *((362,), (385,), (387,), (263,), (373,), (380,)),  # right eye: inner corner, upper lid, outer corner, lower lid
    *((61,), (40, 39), (37,), (0,), (267,), (270, 269), (291,)),  # upper edge of the upper lip
    *((321, 405), (314,), (17,), (84,), (91, 181)),  # lower edge of the lower lip, back to the left
    *((78,), (81,), (13,), (311,), (308,)),  # lower edge of the upper lip
    *((402,), (14,), (178,)),  # upper edge of the lower lip, back to the left
)


@dataclass(frozen=True)
class MeshFace:
    """All 468 points `(468, 2)` and both pupils `(2, 2)`, the person's right one first, in picture pixels.

    `score` in [0, 1] is BlazeFace's for a face just there, or the mesh's own where BlazeFace was not asked.
    """

    points: NDArray[np.float32]
    pupils: NDArray[np.float32]
    score: float

    def reduce(self) -> DetectedFace:
        """Return the face with the 70 points that these give."""
        landmarks = np.concatenate([reduce_mesh(self.points), self.pupils])
        return DetectedFace(landmarks, self.score, bound_mesh(self.points))


def find_network(path: Path) -> Path:
    """The path of one ONNX file. Raises DetectorUnavailableError where it is not there."""
    if not path.is_file():
        raise DetectorUnavailableError(
            f"{path.name} is not in {path.parent}; `python -m trainer.convert.mesh` makes models/mesh again"
        )
    return path


def open_session(path: Path, threads: int, device: str = "cpu") -> ort.InferenceSession:
    """Open one ONNX file; idle threads sleep, since a service has other work for the cores."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(find_network(path), options, providers=list_providers(device))


class MeshDetector:
    """Finds faces and their 70 points with the networks of `models/mesh`."""

    name = "mesh"
    scheme = "ibug70"

    def __init__(self, models: Path, threads: int = 1, device: str = "cpu") -> None:
        """Load the networks from the folder `models`, each with `threads` CPU threads.

        They take one to three milliseconds: with a second thread a tracked frame takes longer, and a fifth more CPU.
        """
        self.faces = BlazeFace(open_session(models / "face_detection.onnx", threads, device))
        self.mesh = open_session(models / "face_mesh.onnx", threads, device)
        self.eye = open_session(models / "eye.onnx", threads, device)
        self.mesh_size = int(self.mesh.get_inputs()[0].shape[1])
        self.eye_size = int(self.eye.get_inputs()[0].shape[1])

    def detect(self, image: NDArray[np.uint8]) -> list[DetectedFace]:
        """Return the faces of an RGB picture `(H, W, 3)`, the largest first; an empty list where there is none."""
        return [face.reduce() for face in self.find_meshes(image)]

    def follow(self, image: NDArray[np.uint8], region: Region, check: bool = True) -> DetectedFace | None:
        """Return the face of an RGB picture `(H, W, 3)` that was in the region a frame ago; None where it has gone.

        With `check`, or where the mesh doubts, BlazeFace has to see the face where the mesh put it: the mesh follows a
        cheek or an empty wall as well.
        """
        traced = self.settle_mesh(image, region, FOLLOW_PASSES, FOLLOW_MOVED)
        if traced is None:
            return None
        points, presence = traced
        score = 1 / (1 + math.exp(-presence))
        if check or presence < SURE_PRESENCE:
            (score,) = self.faces.score_regions(image, bound_mesh(points))
        return self.refine_eyes(image, points, score).reduce() if score >= MIN_SCORE else None

    def redetect(self, image: NDArray[np.uint8], near: Region | None, attempt: int) -> list[DetectedFace]:
        """Return the faces of an RGB picture `(H, W, 3)`, the largest first, of those that few views show.

        See `plan_redetection`; `attempt` counts the frames without a face.
        """
        found = search_faces(
            self.faces,
            image,
            self.look,
            measure_face,
            lambda width, height: plan_redetection(width, height, near, attempt),
        )
        return [face.reduce() for face in found]

    def find_meshes(self, image: NDArray[np.uint8]) -> list[MeshFace]:
        """Return all mesh points of every face of an RGB picture `(H, W, 3)`, the largest face first."""
        return search_faces(self.faces, image, self.look, measure_face)

    def look(self, picture: Picture, candidate: FaceCandidate, found: list[MeshFace], turned: bool) -> MeshFace | None:
        """Find the mesh of one candidate; None where it turns out to be no face, or one that was found before."""
        if overlaps(candidate.region, found, REGION_SCALE, SAME_PLACE):
            return None
        face = self.trace_face(picture, candidate, turned)
        again = face is not None and overlaps(bound_points(face.points, 0.0, 1.0), found, 1.0, SAME_FACE)
        return None if again else face

    def trace_face(self, picture: Picture, candidate: FaceCandidate, turned: bool) -> MeshFace | None:
        """Find the mesh of one candidate; None where it turns out to be no face.

        The mesh's own logit is of little use against half faces: it says yes to a cheek. So BlazeFace looks again, at
        the place where the mesh put its points, and has to find the face there. It looks at that place upside down too:
        some faces pass for a face either way up, and the mesh follows the way it is given. Such a face is found only
        where heads may be `turned`.
        """
        traced = self.fit_mesh(picture, place_mesh(candidate.region))
        if traced is None:
            return None
        region = bound_mesh(traced[0])
        upside_down = replace(region, angle=region.angle + np.pi)
        score, turned_score = self.faces.score_regions(picture, region, upside_down)
        if turned_score > max(score, MIN_TURNED_SCORE):
            region, score = upside_down, turned_score if turned else 0.0
        if score < MIN_SCORE:
            return None
        traced = self.settle_mesh(picture, region, PASSES - 1, SETTLED)
        return None if traced is None else self.refine_eyes(picture, traced[0], score)

    def settle_mesh(
        self, picture: Picture, region: Region, passes: int, moved: float
    ) -> tuple[NDArray[np.float32], float] | None:
        """Run the mesh as `fit_mesh` does, each pass on the square that the last one's points give.

        It ends early where a pass moves, grows or turns that square by less than the share `moved`.
        """
        for _ in range(passes):
            traced = self.fit_mesh(picture, region)
            if traced is None:
                return None
            before, region = region, bound_mesh(traced[0])
            if region.measure_move(before) < moved:
                break
        return traced

    def fit_mesh(self, picture: Picture, region: Region) -> tuple[NDArray[np.float32], float] | None:
        """Run the mesh once, on one region of the picture.

        Its points `(468, 2)` in picture pixels and its logit for a face; None where that is below 0.
        """
        cut = cut_region(picture, region, self.mesh_size, extend=True)
        points, logit = self.mesh.run(["points", "presence"], {"image": cut[None]})
        if logit[0, 0] < 0:
            return None
        return region.to_picture(points[0, :, :2] / self.mesh_size), float(logit[0, 0])

    def refine_eyes(self, picture: Picture, points: NDArray[np.float32], score: float) -> MeshFace:
        """Return the mesh `(468, 2)` with the lids where the eye network sees them, and the pupils.

        The mesh alone hardly sees a blink. In the sample videos its eye opening never fell by more than
        about a fifth; with this network it falls by 40 to 90 percent in a blink.
        """
        regions = [
            bound_points(points[[start, end]], measure_angle(points[start], points[end]), EYE_REGION_SCALE)
            for start, end in (LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS)
        ]
        left, right = (cut_region(picture, region, self.eye_size, extend=True) for region in regions)
        pair = np.stack([left, right[:, ::-1]])  # the network knows one eye; the other is shown to it mirrored
        contours, irises = self.eye.run(["contour", "iris"], {"image": pair})  # (2, 71, 3), (2, 5, 3)
        seen = np.concatenate([contours[:, : len(LEFT_LIDS), :2], irises[:, :1, :2]], axis=1) / self.eye_size
        seen[1, :, 0] = 1 - seen[1, :, 0]
        refined = points.copy()
        pupils = np.empty((2, 2), np.float32)
        for eye, (region, lids) in enumerate(zip(regions, (LEFT_LIDS, RIGHT_LIDS), strict=True)):
            placed = region.to_picture(seen[eye])
            refined[list(lids)], pupils[eye] = placed[:-1], placed[-1]
        return MeshFace(refined, pupils, score)


def reduce_mesh(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the 68 points `(68, 2)` that mesh points `(468, 2)` give."""
    first = np.array([vertices[0] for vertices in MESH_TO_IBUG68])
    last = np.array([vertices[-1] for vertices in MESH_TO_IBUG68])
    reduced: NDArray[np.float32] = (points[first] + points[last]) / np.float32(2)
    return reduced


def measure_face(face: MeshFace) -> float:
    """Return the side in pixels of the square with the area of the points' bounding box."""
    return float(np.sqrt(np.prod(np.ptp(face.points, axis=0))))


def place_mesh(region: Region) -> Region:
    """Return about the square that the mesh settles on for the face in BlazeFace's square."""
    x, y = region.to_picture(np.array([0.5, 0.5 + PLACE_DROP], np.float32))
    return Region(float(x), float(y), region.side * PLACE_SCALE, region.angle)


def bound_mesh(points: NDArray[np.float32]) -> Region:
    """Return the square, turned with the eyes, that the mesh wants to see to find these points `(468, 2)` again."""
    angle = measure_angle(points[LEFT_EYE_CORNERS[0]], points[RIGHT_EYE_CORNERS[1]])
    return bound_points(points, angle, REGION_SCALE)


def overlaps(region: Region, found: list[MeshFace], scale: float, limit: float) -> bool:
    """Whether a face already found, the square around its points scaled, lies in the same place as a region."""
    boxes = [bound_region(bound_points(face.points, 0.0, scale)) for face in found]
    overlap = measure_overlap(bound_region(region), np.array(boxes, np.float32).reshape(-1, 4))
    return bool((overlap > limit).any())
