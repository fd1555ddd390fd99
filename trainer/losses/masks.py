"""Where in a picture an error counts, and what D is shown of landmarks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from shared.landmarks import Scheme, pick

FACE_MARGIN = 0.02
"""Crop units about the points of a face or a feature that still belong to it."""

OFF_FACE = 0.5
"""Weight of what lies off the face, where weights are not even."""

MAP_SPREAD = 0.008
"""Crop units (two pixels of 256): spread of a point in D's maps."""

FEATURES = ("right_eye", "left_eye", "outer_lips")
MAPS = (("outer_lips",), ("inner_lips",), ("right_eye", "left_eye", "right_pupil", "left_pupil"))
"""Groups of points with a map of their own; the others share the last."""

COUNT = len(MAPS) + 1


def weigh_pixels(landmarks: Tensor, scheme: Scheme, face: float, features: float, size: int) -> Tensor:
    """Weights (B, 1, size, size): `features` about eyes and lips, `face` in the box of the landmarks, else half.

    With both at one, every pixel weighs one, as in the paper.
    """
    off_face = OFF_FACE if (face, features) != (1.0, 1.0) else 1.0
    weights = torch.full((len(landmarks), 1, size, size), off_face, device=landmarks.device)
    boxes = [(tuple(range(scheme.count)), face), *((scheme.groups[name], features) for name in FEATURES)]
    for points, weight in boxes:
        weights = torch.where(_fill_boxes(landmarks[:, list(points)], size), weight, weights)
    return weights


def weigh_points(scheme: Scheme, details: float) -> Tensor:
    """Weights (N,) of a scheme's points: `details` those of lips, lids, pupils and brows, one all others."""
    weights = torch.ones(scheme.count)
    names = ("right_brow", "left_brow", *(name for group in MAPS for name in group))
    weights[list(pick(scheme, [name for name in names if name in scheme.groups]))] = details
    return weights


def _fill_boxes(points: Tensor, size: int) -> Tensor:
    """Which pixels lie in the bounding box of points (B, n, 2) and its margin: (B, 1, size, size) bool."""
    centre = (torch.arange(size, device=points.device) + 0.5) / size
    low, high = points.amin(dim=1) - FACE_MARGIN, points.amax(dim=1) + FACE_MARGIN  # (B, 2)
    inside = (centre > low[..., None]) & (centre < high[..., None])  # (B, 2, size): columns, rows
    return (inside[:, 1, :, None] & inside[:, 0, None, :]).unsqueeze(1)


def draw_landmark_maps(landmarks: Tensor, scheme: Scheme, begin: Tensor, side: int, size: int) -> Tensor:
    """The conditioning landmarks as D sees them: Gaussians about the points, (B, COUNT, side, side).

    Of windows of `side` pixels on pictures of `size`, which begin at pixels `begin` (B, 2).
    """
    along = torch.arange(side, device=landmarks.device) + 0.5
    places = (begin[..., None] + along) / size  # (B, 2, side)
    distance = landmarks[..., None] - places[:, None]  # (B, N, 2, side)
    x, y = torch.exp(-distance.square() / (2 * MAP_SPREAD**2)).unbind(dim=2)  # (B, N, side)
    maps = [(y[:, group, :, None] * x[:, group, None, :]).amax(dim=1) for group in list_map_groups(scheme)]
    return torch.stack(maps, dim=1)


def list_map_groups(scheme: Scheme) -> Sequence[list[int]]:
    """The points of each of D's maps; those that no map names are in the last."""
    named = [list(pick(scheme, [name for name in names if name in scheme.groups])) for names in MAPS]
    taken = {point for group in named for point in group}
    return [*named, [point for point in range(scheme.count) if point not in taken]]
