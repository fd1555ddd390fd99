"""What the detector `mesh` sees in a picture, with a gradient: how bent frames get their landmarks, and what made faces
are compared by.

A spline moves the points it is given and the picture between them; where the lips end up, by a pixel, is to be seen
and not reckoned. And a distance of pixels says little of lids and lips: the mesh's own features do.
"""

from dataclasses import dataclass
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
    find_network,
)
from shared.landmarks import Scheme
from trainer.losses.face_regions import Squares, bound_points, measure_angle
from trainer.networks.onnx_graph import OnnxGraph

MESH_SIZE, EYE_SIZE = 192, 64
MAPS = 5  # of the mesh, from a half of its input's side to a 32nd
EYE_MAPS = 3
# The mesh reaches to the hair, and landmarks to the brows. With so much of their box's height added above, the square
# differs from the one that the mesh settles on by 0.6 % of its side and half a pixel (franck's training frames).
FOREHEAD = 0.225


@dataclass(frozen=True)
class Places:
    """Where the mesh looks on each picture, and the eye network on its left and right side."""

    face: Squares
    eyes: tuple[Squares, Squares]


@dataclass(frozen=True)
class MeshOutput:
    """What was seen of pictures: landmarks (B, 68, 2) in crop units, and the features on the way, the mesh's first."""

    landmarks: Tensor
    features: list[Tensor]
    places: Places


class LandmarkGuidance(nn.Module):
    """The mesh and its eye network, their weights held fixed."""

    vertices: Tensor

    def __init__(self, models: Path) -> None:
        """Read the networks from the folder `models`. Raises DetectorUnavailableError where they are not there."""
        super().__init__()
        self.mesh, self.eye = (
            OnnxGraph(find_network(models / name), start="input_1") for name in ("face_mesh.onnx", "eye.onnx")
        )
        first = torch.tensor([vertices[0] for vertices in MESH_TO_IBUG68])
        last = torch.tensor([vertices[-1] for vertices in MESH_TO_IBUG68])
        self.register_buffer("vertices", torch.stack([first, last]), persistent=False)

    @torch.no_grad()
    def find(self, pictures: Tensor, landmarks: Tensor, scheme: Scheme) -> Places:
        """Where the mesh and the eye network are to look on pictures whose landmarks are about these (B, N, 2)."""
        outer_right, _, _, outer_left = scheme.eye_corners
        angle = measure_angle(landmarks[:, outer_right], landmarks[:, outer_left])
        squares = bound_points(landmarks, angle, REGION_SCALE, FOREHEAD)
        points = self._trace(pictures, squares)[0]
        squares = bound_points(
            points, measure_angle(points[:, LEFT_EYE_CORNERS[0]], points[:, RIGHT_EYE_CORNERS[1]]), REGION_SCALE
        )
        eyes = [
            bound_points(points[:, [start, end]], measure_angle(points[:, start], points[:, end]), EYE_REGION_SCALE)
            for start, end in (LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS)
        ]
        return Places(squares, (eyes[0], eyes[1]))

    def forward(self, pictures: Tensor, places: Places) -> MeshOutput:
        """Look at these places (`find`) of pictures (B, 3, S, S) in [0, 1]."""
        squares, eyes = places.face, places.eyes
        points, maps = self._trace(pictures, squares)
        left, right = (each.cut(pictures, EYE_SIZE) for each in eyes)
        (contours, *_), eye_maps = self.eye(torch.cat([left, right.flip(3)]))  # the network knows one eye
        lids = contours[:, : len(LEFT_LIDS), :2] / EYE_SIZE
        lids_left, lids_right = lids.chunk(2)
        lids_right = torch.stack([1 - lids_right[..., 0], lids_right[..., 1]], dim=-1)
        points = points.index_copy(1, _index(LEFT_LIDS, points), eyes[0].to_picture(lids_left))
        points = points.index_copy(1, _index(RIGHT_LIDS, points), eyes[1].to_picture(lids_right))
        landmarks = (points[:, self.vertices[0]] + points[:, self.vertices[1]]) / 2
        return MeshOutput(landmarks, [*maps[:MAPS], *eye_maps[:EYE_MAPS]], places)

    def _trace(self, pictures: Tensor, squares: Squares) -> tuple[Tensor, list[Tensor]]:
        (points, *_), maps = self.mesh(squares.cut(pictures, MESH_SIZE))
        return squares.to_picture(points[..., :2] / MESH_SIZE), maps  # (B, 468, 2)


def _index(vertices: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.tensor(vertices, device=like.device)
