"""A face to paste, and how it takes the shape of the face that it covers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from shared.landmarks import Points, guess_scheme
from shared.pixels import Image8

Places = NDArray[np.float64]

# What a patch is fitted by: the mouth is left out, for how far it is open is the patch's own.
FITTED = ("jaw", "right_brow", "left_brow", "nose_bridge", "nose_base", "right_eye", "left_eye")
STRETCHES = 0.5, 2.0  # beyond these no two faces differ: one of them is a detector's slip
FOREHEAD = 0.4  # brows are raised by this share of their distance from the nose's base: no seam runs through them
BEND_SIGMA = 0.12  # crop sides: how far from the outline a patch is bent
BEND_STIFFNESS = 0.05  # of the bend's least squares: points close to each other move together
MOST_BENT = 0.12  # crop sides: so much at most, and nothing folds
BOX_MARGIN = 0.04  # crop sides
MESH = 14  # quadrilaterals a side of the outline's box, each of which is bent in itself by straight lines alone


@dataclass(frozen=True)
class Patch:
    """A face to paste: its picture ``(S, S, 3)`` and landmarks ``(N, 2)``, and those of the face that it covers.

    Both landmarks are in units of the crop; of any scheme.
    """

    picture: Image8
    points: Points
    covered: Points


def fit_patch(patch: Patch) -> Patch:
    """The patch in the shape of the face below it: its outline is the other's, and its features lie on the other's.

    It is stretched, sheared and moved by the least squares of jaw, brows, eyes and nose. By what the outlines still
    differ it is bent, along them and less and less towards the features, which stay. Else a jaw that is wider would be
    seen beside it, or half an eye of a head that is turned less. Its picture is empty far outside the outline.
    """
    groups = guess_scheme(len(patch.points)).groups
    rows = [row for name in FITTED for row in groups[name]]
    here, there = patch.points[rows].astype(np.float64), patch.covered[rows].astype(np.float64)
    centre, moved = here.mean(axis=0), there.mean(axis=0)
    linear, *_ = np.linalg.lstsq(here - centre, there - moved, rcond=None)  # (2, 2): rows are vectors
    scales = np.linalg.svd(linear, compute_uv=False)
    if not (STRETCHES[0] < scales[1] and scales[0] < STRETCHES[1]):
        return patch
    points = ((patch.points - centre) @ linear + moved).astype(np.float32)
    outline, features = find_outline(patch.covered), list_features(points)
    moves = np.concatenate([find_outline(points) - outline, np.zeros_like(features)]).astype(np.float64)
    bend = _solve_bend(np.concatenate([outline, features]).astype(np.float64), moves)
    inverse = np.linalg.inv(linear)
    picture = _resample(patch.picture, outline, lambda places: (places + bend(places) - moved) @ inverse + centre)
    jaw = list(groups["jaw"])
    points[jaw] = patch.covered[jaw]
    return Patch(picture, points, patch.covered)


def find_outline(points: Points) -> Points:
    """Jaw, and brows raised by as much of the forehead as is skin in most pictures."""
    groups = guess_scheme(len(points)).groups
    brows = points[[*groups["right_brow"], *groups["left_brow"]]]
    return np.concatenate([points[list(groups["jaw"])], brows + np.float32(FOREHEAD) * find_up(points)])


def find_up(points: Points) -> Points:
    """The way (2,) from the nose's base to the brows."""
    groups = guess_scheme(len(points)).groups
    brows = points[[*groups["right_brow"], *groups["left_brow"]]]
    up: Points = brows.mean(axis=0) - points[list(groups["nose_base"])].mean(axis=0)
    return up


def list_features(points: Points) -> Points:
    """All landmarks but the jaw's."""
    return np.delete(points, list(guess_scheme(len(points)).groups["jaw"]), axis=0)


def fill_hull(points: Points, size: int) -> Image.Image:
    """The convex hull of points in crop units, 255 in a picture of this size."""
    inside = Image.new("L", (size, size), 0)
    corners = [(float(x) * size, float(y) * size) for x, y in _convex_hull(points)]
    ImageDraw.Draw(inside).polygon(corners, fill=255)
    return inside


def _solve_bend(ends: Places, moves: Places) -> Callable[[Places], Places]:
    """A smooth field that has these moves (M, 2) at these ends (M, 2): a sum of Gaussians, ridge regression."""
    lengths = np.linalg.norm(moves, axis=1, keepdims=True)
    moves = moves * np.minimum(1, MOST_BENT / np.maximum(lengths, 1e-9))
    weights = np.linalg.solve(_compare(ends, ends) + BEND_STIFFNESS * np.eye(len(ends)), moves)
    return lambda places: _compare(places, ends) @ weights


def _compare(here: Places, there: Places) -> Places:
    """(M, 2) and (N, 2) -> (M, N): 1 in one place, falling with the distance."""
    squares = np.square(here[:, None] - there).sum(axis=2)
    near: Places = np.exp(squares / (-2 * BEND_SIGMA**2))
    return near


def _resample(picture: Image8, outline: Points, find_source: Callable[[Places], Places]) -> Image8:
    """The picture within the outline's box, each place (M, 2) from where `find_source` says."""
    size = picture.shape[0]
    low = np.clip((outline.min(axis=0) - BOX_MARGIN) * size, 0, size)
    high = np.clip((outline.max(axis=0) + BOX_MARGIN) * size, 0, size)
    x, y = (np.unique(np.round(np.linspace(low[axis], high[axis], MESH + 1)).astype(int)) for axis in (0, 1))
    nodes = np.stack(np.meshgrid(x, y), axis=-1)
    sources = (find_source(nodes.reshape(-1, 2) / size) * size).reshape(nodes.shape)
    # Pillow's order of a quadrilateral's corners: upper left, lower left, lower right, upper right.
    corners = np.concatenate([sources[:-1, :-1], sources[1:, :-1], sources[1:, 1:], sources[:-1, 1:]], axis=2)
    mesh = [
        ((int(x[column]), int(y[row]), int(x[column + 1]), int(y[row + 1])), tuple(corners[row, column]))
        for row in range(len(y) - 1)
        for column in range(len(x) - 1)
    ]
    bent = Image.fromarray(picture).transform((size, size), Image.Transform.MESH, mesh, Image.Resampling.BICUBIC)
    return np.asarray(bent)


def _convex_hull(points: Points) -> list[tuple[float, float]]:
    """Andrew's monotone chain: the hull's corners in order."""
    ordered = sorted({(float(x), float(y)) for x, y in points})

    def chain(path: list[tuple[float, float]]) -> list[tuple[float, float]]:
        hull: list[tuple[float, float]] = []
        for point in path:
            while len(hull) >= 2:
                (ax, ay), (bx, by) = hull[-2], hull[-1]
                if (bx - ax) * (point[1] - ay) - (by - ay) * (point[0] - ax) > 0:
                    break
                hull.pop()
            hull.append(point)
        return hull[:-1]

    return chain(ordered) + chain(ordered[::-1])
