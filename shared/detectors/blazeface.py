"""BlazeFace, short range: rough places of the faces in a picture.

The network sees a 128-pixel square and misses faces below about a tenth of it, faces that its frame cuts, and faces
turned by more than about 45 degrees; `plan_views` lists the squares of a picture that show it those too.
Source: Bazarevsky et al., BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs (2019), and MediaPipe.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from shared.detectors.pyramid import Pyramid
from shared.detectors.region import Picture, Region, cut_region, measure_angle

Found = TypeVar("Found")

SMALL_FACE = 0.2  # of a view's side: where the smallest face found is below it, still smaller ones may have been missed
MIN_SCORE = 0.5
SAME_FACE = 0.3  # intersection over union from which two boxes are one face
REGION_SCALE = 1.5  # the mesh wants forehead and chin, and some room around
SAME_PLACE = 0.4  # the same, for two finds of one face by different means
GRID_STRIDES = (8, 16, 16, 16)
ANCHORS_PER_CELL = 2
BATCH = 16
INPUT_SIZE = 128
SMALLEST_TILE = 4  # in the picture's longer side
LEVEL = math.pi / 3  # a head that is turned by more passes for turned over: on its side or upside down
NEAR_SCALE = 2.0  # of the square that a lost face was followed in
VIEWS_PER_ATTEMPT = 8


@dataclass(frozen=True)
class FaceCandidate:
    """The level square that should hold a face, and how sure the detector is, in [0, 1]."""

    region: Region
    score: float


def make_anchors(size: int) -> NDArray[np.float32]:
    """Return the anchors' centres `(896, 2)` for a 128-pixel input, in unit coordinates of the input."""
    centres = []
    for stride in GRID_STRIDES:
        cells = size // stride
        centres += [
            ((x + 0.5) / cells, (y + 0.5) / cells)
            for y, x in product(range(cells), repeat=2)
            for _ in range(ANCHORS_PER_CELL)
        ]
    return np.array(centres, np.float32)


def plan_views(width: int, height: int) -> Iterator[list[Region]]:
    """Yield groups of squares to search, from the usual one to the costly ones, as (W, H) pixels demand."""
    x, y, long = width / 2, height / 2, float(max(width, height))
    yield [Region(x, y, long)]
    yield [Region(x, y, long * 1.6)]
    yield [Region(x, y, long, turn * math.pi / 2) for turn in (1, -1, 2)]
    for side in (long / 2, long / SMALLEST_TILE):
        if side < 48:  # a face found in there would be a few pixels wide
            return
        yield [Region(cx, cy, side) for cy in place_tiles(height, side) for cx in place_tiles(width, side)]


def plan_redetection(width: int, height: int, near: Region | None, attempt: int) -> Iterator[list[Region]]:
    """Yield the squares that one frame of a video without a face is searched in.

    The usual one and the surroundings of the place where the face was last; then a few of all others, in turn from one
    attempt to the next.
    """
    usual, *others = plan_views(width, height)
    yield usual if near is None else [*usual, Region(near.x, near.y, NEAR_SCALE * near.side, near.angle)]
    rest = [view for views in others for view in views]
    rounds = math.ceil(len(rest) / VIEWS_PER_ATTEMPT)
    yield rest[attempt % rounds :: rounds]  # of every group a share


def place_tiles(length: int, side: float) -> list[float]:
    """Return centres of tiles that cover `[0, length]` with half of each shared with the next."""
    if length <= side:
        return [length / 2]
    count = math.ceil((length - side) / (side / 2)) + 1
    return [float(centre) for centre in np.linspace(side / 2, length - side / 2, count)]


def measure_overlap(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return intersection over union of one box with boxes `(N, 4)`, each x0, y0, x1, y1."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    union = np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) - shared
    overlap: NDArray[np.float32] = shared / np.maximum(union, np.float32(1e-12))
    return overlap


def bound_region(region: Region) -> NDArray[np.float32]:
    """Return the region as a box x0, y0, x1, y1 of the picture, its turn left out."""
    half = region.side / 2
    return np.array([region.x - half, region.y - half, region.x + half, region.y + half], np.float32)


def keep_distinct(candidates: list[FaceCandidate]) -> list[FaceCandidate]:
    """Return the surest candidate of each face, surest first."""
    kept: list[FaceCandidate] = []
    for candidate in sorted(candidates, key=lambda each: -each.score):
        boxes = np.array([bound_region(each.region) for each in kept], np.float32).reshape(-1, 4)
        if not (measure_overlap(bound_region(candidate.region), boxes) > SAME_FACE).any():
            kept.append(candidate)
    return kept


def same_place(region: Region, other: Region) -> bool:
    """Whether two regions hold one face."""
    return bool(measure_overlap(bound_region(region), bound_region(other)[None])[0] > SAME_PLACE)


def is_turned(region: Region) -> bool:
    """Whether the head in this region lies on its side or is upside down."""
    return abs(math.remainder(region.angle, 2 * math.pi)) > LEVEL


class BlazeFace:
    """Holds the detector's session."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.session = session
        self.size = int(session.get_inputs()[0].shape[1])
        self.anchors = make_anchors(self.size)

    def find_candidates(self, picture: Picture, views: list[Region]) -> list[FaceCandidate]:
        """Return the faces of an RGB picture seen in any of the views, surest first, each once."""
        return keep_distinct([candidate for group in self.look(picture, views) for candidate in group])

    def look(self, picture: Picture, views: list[Region]) -> Iterator[list[FaceCandidate]]:
        """Yield the faces of an RGB picture seen in each of the views."""
        for start in range(0, len(views), BATCH):
            group = views[start : start + BATCH]
            cuts = [cut_region(picture, view, self.size) for view in group]
            images = np.stack(cuts)  # (B, 128, 128, 3)
            boxes, scores = self.session.run(["boxes", "scores"], {"image": images})
            for view, raw, logits in zip(group, boxes, scores, strict=True):
                yield self.read_view(view, raw, logits[:, 0])

    def score_regions(self, picture: Picture, *regions: Region) -> list[float]:
        """Return the score of the face that fills each region as a candidate's would; 0 where there is none."""
        return [
            max((each.score for each in seen if same_place(region, each.region)), default=0.0)
            for region, seen in zip(regions, self.look(picture, list(regions)), strict=True)
        ]

    def read_view(self, view: Region, raw: NDArray[np.float32], logits: NDArray[np.float32]) -> list[FaceCandidate]:
        """Decode one view's outputs, `(896, 16)` and `(896,)`; overlapping boxes are averaged by their scores."""
        scores = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
        rows = np.flatnonzero(scores >= MIN_SCORE)
        rows = rows[np.argsort(-scores[rows])]
        scores = scores[rows]
        points = raw[rows].reshape(-1, 8, 2) / self.size  # centre, extent, then six points: the eyes first
        points[:, 0] += self.anchors[rows]
        points[:, 2:] += self.anchors[rows, None]
        boxes = np.concatenate([points[:, 0] - points[:, 1] / 2, points[:, 0] + points[:, 1] / 2], axis=1)
        found = []
        while len(rows):
            same = measure_overlap(boxes[0], boxes) > SAME_FACE
            same[0] = True
            mean = np.average(points[same], axis=0, weights=scores[same]).astype(np.float32)
            centre, extent, eyes = view.to_picture(mean[0]), mean[1].max(), view.to_picture(mean[2:4])
            side = max(float(extent) * view.side * REGION_SCALE, 1.0)
            region = Region(float(centre[0]), float(centre[1]), side, measure_angle(eyes[0], eyes[1]))
            found.append(FaceCandidate(region, float(scores[0])))
            rows, scores, points, boxes = rows[~same], scores[~same], points[~same], boxes[~same]
        return found


def search_faces(
    blazeface: BlazeFace,
    image: NDArray[np.uint8],
    trace: Callable[[Pyramid, FaceCandidate, list[Found], bool], Found | None],
    measure: Callable[[Found], float],
    plan: Callable[[int, int], Iterator[list[Region]]] = plan_views,
) -> list[Found]:
    """Return what `trace` makes of the candidates in an RGB picture `(H, W, 3)`, the largest by `measure` first.

    `trace` is given the picture, the candidate, the faces found before and whether the head may be turned over; it
    answers None for no face or one of these. Turned heads are looked for only where no level one was found: a level
    face seen askew may pass for one upside down. `measure` gives a face's side in pixels. `plan` gives the views of a
    picture, from the whole of it to small parts.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"expected a uint8 RGB picture (H, W, 3), got {image.dtype} {image.shape}")
    picture = Pyramid(image)
    found: list[Found] = []
    for views in plan(picture.width, picture.height):
        candidates = [
            candidate
            for candidate in blazeface.find_candidates(picture, views)
            # beyond the border lies half a face at most, and mostly none: BlazeFace sees one above most frames
            if 0 <= candidate.region.x <= picture.width and 0 <= candidate.region.y <= picture.height
        ]
        for turned in (False, True):
            if turned and found:
                break
            for candidate in candidates:
                if turned or not is_turned(candidate.region):
                    face = trace(picture, candidate, found, turned)
                    if face is not None:
                        found.append(face)
        if found and min(map(measure, found)) > SMALL_FACE * max(view.side for view in views):
            break
    return sorted(found, key=measure, reverse=True)
