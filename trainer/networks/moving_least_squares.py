"""Where each place of one face lies in another: moving least squares between two sets of landmarks.

Backward, as a picture is sampled: for each cell of a grid over the crop, its place in the other face is a linear
combination of the other face's points, whose coefficients hang on this face's points alone. After Schaefer, McPhail and
Warren, *Image Deformation Using Moving Least Squares* (2006), with two changes. The head's own motion, an affine map
through the `rigid` points, is taken out first and put back, so that what is interpolated is small. And the local affine
fit is damped by `STIFFNESS`: where points crowd it fades to a weighted mean, so that it can't flip where a face is seen
foreshortened. Every affine map is reproduced exactly. Closed form: in ONNX, a few products of matrices.
"""

import torch
from torch import Tensor, nn

EDGE_POINTS = 5
"""Points along each side of the crop that are held in place; 16 in all."""

SOFTNESS = 1e-5
"""Squared crop units (under a pixel of 256): how near to a point it alone counts."""

STIFFNESS = 1e-3
"""Squared crop units: added to the local variance of the points, which damps the local affine fit."""


class MovingLeastSquares(nn.Module):
    """Coefficients of moving least squares on a `grid` x `grid` raster of cell centres over the crop."""

    cells: Tensor
    edge: Tensor
    rigid: Tensor
    falloff: Tensor

    def __init__(self, grid: int, rigid: tuple[int, ...], reach: Tensor) -> None:
        """`rigid` are the points that move with the head; `reach` (N,) bounds each point's say, in crop units."""
        super().__init__()
        axis = (torch.arange(grid) + 0.5) / grid
        cells = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(-1, 2)
        edge = _list_edge_points()
        weights = torch.zeros(len(reach) + len(edge), 1)
        weights[list(rigid)] = 1 / len(rigid)
        falloff = torch.cat([reach.pow(-4), torch.zeros(len(edge))])  # of what lies at the edge, none
        for name, value in (("cells", cells), ("edge", edge), ("rigid", weights), ("falloff", falloff)):
            self.register_buffer(name, value, persistent=False)

    def forward(self, points: Tensor) -> Tensor:
        """Coefficients (B, G*G, K) for faces (B, N, 2); their product with `add_edge` of others is where cells lie."""
        knots = self.add_edge(points)  # (B, K, 2)
        squared = (self.cells * self.cells).sum(dim=1)[:, None] + (knots * knots).sum(dim=2)[:, None]
        squared = (squared - 2 * self.cells @ knots.transpose(1, 2)).clamp_min(0.0)  # (B, G*G, K)
        near = squared + SOFTNESS
        weights = torch.exp(-squared * squared * self.falloff) / (near * near.sqrt())
        weights = weights / weights.sum(dim=2, keepdim=True)

        # The head's own motion: the affine map through the rigid points that is nearest in squares.
        centre = (knots * self.rigid).sum(dim=1, keepdim=True)  # (B, 1, 2)
        centred = knots - centre
        weighed = (centred * self.rigid).transpose(1, 2)  # (B, 2, K)
        head = _invert_2x2(weighed @ centred) @ weighed  # (B, 2, K)

        # The local fit, damped: from the weighed mean of the points and their covariance about each cell.
        mean = weights @ knots  # (B, G*G, 2)
        products = torch.cat([knots * knots, knots[..., :1] * knots[..., 1:]], dim=2)
        moments = weights @ products - torch.cat([mean * mean, mean[..., :1] * mean[..., 1:]], dim=2)  # (B, G*G, 3)
        xx, yy, xy = moments[..., 0] + STIFFNESS, moments[..., 1] + STIFFNESS, moments[..., 2]
        x, y = (self.cells - mean).unbind(dim=-1)
        slope = torch.stack([yy * x - xy * y, xx * y - xy * x], dim=-1) / (xx * yy - xy * xy).unsqueeze(-1)
        offset = 1 - (slope * mean).sum(dim=2, keepdim=True)
        local = weights * (slope @ knots.transpose(1, 2) + offset)  # (B, G*G, K)

        # The damped fit misses its own cell by this much, which the head's motion makes up for.
        missed = self.cells - local @ knots  # (B, G*G, 2)
        return local + missed @ head

    def add_edge(self, points: Tensor) -> Tensor:
        """Faces (B, N, 2) with the points on the crop's edge behind them, (B, K, 2)."""
        return torch.cat([points, self.edge.expand(points.shape[0], -1, -1)], dim=1)


def _list_edge_points() -> Tensor:
    along = torch.linspace(0, 1, EDGE_POINTS)
    points = torch.stack(torch.meshgrid(along, along, indexing="ij"), dim=-1).reshape(-1, 2)
    return points[((points == 0) | (points == 1)).any(dim=1)]  # (16, 2)


def _invert_2x2(matrix: Tensor) -> Tensor:
    """The inverse of matrices (B, 2, 2): ONNX has no linear solver."""
    a, b, c, d = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1]
    adjugate = torch.stack([torch.stack([d, -b], dim=-1), torch.stack([-c, a], dim=-1)], dim=-2)
    return adjugate / (a * d - b * c)[:, None, None]
