"""The detector `mesh` with a gradient: the landmarks that it finds on generated pictures, for I2L (eq. 3).

Its networks tell a small opening of lips or lids from none, which an hourglass of this size does not.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from shared.detectors.mesh import (
    EYE_REGION_SCALE,
    LEFT_EYE_CORNERS,
    LEFT_LIDS,
    MESH_TO_IBUG68,
    REGION_SCALE,
    RIGHT_EYE_CORNERS,
    RIGHT_LIDS,
    MeshDetector,
    find_network,
)
from shared.landmarks import CONVERSIONS, Scheme
from trainer.losses.face_regions import RegionBatch, bound_points, measure_angle
from trainer.networks.onnx_graph import OnnxGraph

MESH_SIZE, EYE_SIZE = 192, 64
START = "input_1"
"""The value of the ONNX files that holds pictures in [0, 1]."""

FOREHEAD = 0.225
"""The mesh reaches to the hair, and landmarks to the brows. With so much of their box's height added above, the square
differs from the one that the mesh settles on by 0.6 % of its side and half a pixel (franck's training frames)."""


class LandmarkGuidance(nn.Module):
    """The mesh and its eye network, frozen. `points` are those of the target's scheme that they find, in the order in
    which `forward` gives them."""

    vertices: Tensor

    def __init__(self, models: Path, scheme: Scheme) -> None:
        """Read the networks from the folder `models`. Raises DetectorUnavailableError where they are not there."""
        super().__init__()
        self.scheme = scheme
        self.mesh, self.eye = (OnnxGraph(find_network(models / name), START) for name in ("face_mesh.onnx", "eye.onnx"))
        ends = [[vertices[end] for vertices in MESH_TO_IBUG68] for end in (0, -1)]
        self.register_buffer("vertices", torch.tensor(ends), persistent=False)
        if scheme.pupils is None:
            self.points = list(range(len(MESH_TO_IBUG68)))
        else:
            self.points = list(CONVERSIONS.get((scheme.name, MeshDetector.scheme), range(scheme.count)))

    def forward(self, pictures: Tensor, landmarks: Tensor) -> Tensor:
        """Landmarks (B, n, 2) in crop units of pictures (B, 3, S, S) in [0, 1], which lie about `landmarks` (B, N, 2).

        The places that are looked at have no gradient: only what is seen there.
        """
        with torch.no_grad():
            face, eyes = self._find_places(pictures, landmarks)
        points = self._trace(pictures, face)
        left, right = (place.cut(pictures, EYE_SIZE) for place in eyes)
        found = self.eye(torch.cat([left, right.flip(3)]))  # the network knows one eye
        seen = torch.cat([found["contour"][:, : len(LEFT_LIDS), :2], found["iris"][:, :1, :2]], dim=1) / EYE_SIZE
        seen_left, mirrored = seen.chunk(2)
        seen_right = torch.stack([1 - mirrored[..., 0], mirrored[..., 1]], dim=-1)
        placed = [eye.to_picture(each) for eye, each in zip(eyes, (seen_left, seen_right), strict=True)]
        for lids, each in zip((LEFT_LIDS, RIGHT_LIDS), placed, strict=True):
            points = points.index_copy(1, torch.tensor(lids, device=points.device), each[:, :-1])
        reduced = (points[:, self.vertices[0]] + points[:, self.vertices[1]]) / 2
        pupils = [] if self.scheme.pupils is None else [each[:, -1:] for each in placed]
        return torch.cat([reduced, *pupils], dim=1)

    def _find_places(self, pictures: Tensor, landmarks: Tensor) -> tuple[RegionBatch, tuple[RegionBatch, RegionBatch]]:
        """Where the mesh and the eye network, on its left and right side, look."""
        outer_right, _, _, outer_left = self.scheme.eye_corners
        angle = measure_angle(landmarks[:, outer_right], landmarks[:, outer_left])
        face = bound_points(landmarks, angle, REGION_SCALE, FOREHEAD)
        points = self._trace(pictures, face)
        angle = measure_angle(points[:, LEFT_EYE_CORNERS[0]], points[:, RIGHT_EYE_CORNERS[1]])
        left, right = (
            bound_points(points[:, list(ends)], measure_angle(*(points[:, end] for end in ends)), EYE_REGION_SCALE)
            for ends in (LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS)
        )
        return bound_points(points, angle, REGION_SCALE), (left, right)

    def _trace(self, pictures: Tensor, place: RegionBatch) -> Tensor:
        points = self.mesh(place.cut(pictures, MESH_SIZE))["points"]
        return place.to_picture(points[..., :2] / MESH_SIZE)  # (B, 468, 2)
