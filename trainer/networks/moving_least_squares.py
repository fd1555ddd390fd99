"""Where each place of one face lies in another: moving least squares between two sets of landmarks.

Backward, as a picture is sampled: for each cell of a grid over the crop, its place in the other face. After Schaefer,
McPhail and Warren, *Image Deformation Using Moving Least Squares* (2006), affine, with two changes. The head's own
motion, an affine map through the `rigid` points, is taken out first and put back, so that what is interpolated is
small. And the local affine fit is damped by `STIFFNESS`: where points crowd it fades to a weighted mean, so that it
can't flip where a face is seen foreshortened. Every affine map is reproduced exactly. Closed form, and all that hangs
on both cells and points is one product of matrices: in ONNX it takes a millisecond.
"""

import torch
from torch import Tensor, nn

EDGE_POINTS = 5
"""Points along each side of the crop that are held in place; 16 in all."""

SOFTNESS = 1e-5
"""Squared crop units (under a pixel of 256): how near to a point it alone counts."""

DOUBT = 0.01
"""Squared crop units: softness of a point that is not trusted at all, which then pulls weakly and from afar."""

STIFFNESS = 1e-3
"""Squared crop units: added to the local variance of the points, which damps the local affine fit."""


class MovingLeastSquares(nn.Module):
    """Moving least squares on a `grid` x `grid` raster of cell centres over the crop."""

    cells: Tensor
    powers: Tensor
    edge: Tensor
    rigid: Tensor
    falloff: Tensor

    def __init__(self, grid: int, rigid: tuple[int, ...], reach: Tensor) -> None:
        """`rigid` are the points that move with the head; `reach` (N,) bounds each point's say, in crop units."""
        super().__init__()
        axis = (torch.arange(grid) + 0.5) / grid
        cells = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(-1, 2)  # (G*G, 2)
        squares = cells.square().sum(dim=1, keepdim=True) + SOFTNESS
        edge = _list_edge_points()
        weights = torch.zeros(len(reach) + len(edge), 1)
        weights[list(rigid)] = 1 / len(rigid)
        falloff = torch.cat([-reach.pow(-4), torch.zeros(len(edge))])  # of what lies at the edge, none
        parts = {"cells": cells, "powers": torch.cat([squares, cells, torch.ones_like(squares)], dim=1)}
        for name, value in (parts | {"edge": edge, "rigid": weights, "falloff": falloff}).items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, points: Tensor, trust: Tensor, others: Tensor) -> Tensor:
        """Where the cells of faces `points` (B, N, 2) lie in the faces `others` (B, K, 2): (B, G*G, 2), crop units.

        `trust` (B, N) in [0, 1] says how far each point counts; `others` have their points on the edge (`add_edge`).
        """
        knots = self.add_edge(points)  # (B, K, 2)
        x, y = knots[..., :1], knots[..., 1:]  # (B, K, 1)
        ones = torch.ones_like(x)
        trusted = torch.cat([trust.unsqueeze(2), ones[:, : len(self.edge)]], dim=1)  # (B, K, 1)

        # The head's own motion: the affine map through the rigid points that is nearest in squares.
        rigid = trusted * self.rigid
        rigid = rigid / rigid.sum(dim=1, keepdim=True)
        centre, other_centre = ((each * rigid).sum(dim=1, keepdim=True) for each in (knots, others))  # (B, 1, 2)
        weighed = ((knots - centre) * rigid).transpose(1, 2)  # (B, 2, K)
        head = invert_2x2(weighed @ (knots - centre)) @ (weighed @ (others - other_centre))  # (B, 2, 2)

        # Each point's say in each cell, and the weighed sums of all that the local fits are made of.
        squares = torch.cat([ones, -2 * x, -2 * y, x * x + y * y + DOUBT * (1 - trusted)], dim=2)  # (B, K, 4)
        near = self.powers @ squares.transpose(1, 2)  # (B, G*G, K): squared distances, softened
        weights = torch.exp(near * near * self.falloff) / (near * near.sqrt())
        sums = weights @ torch.cat([ones, knots, x * x, y * y, x * y, others, x * others, y * others], dim=2)
        sums = sums[..., 1:] / sums[..., :1]  # (B, G*G, 11)
        mean, other_mean = sums[..., 0:2], sums[..., 5:7]
        mean_x, mean_y = mean[..., :1], mean[..., 1:]

        # The local fit, damped: the points' covariance about each cell, inverted, times that with the other face's.
        xx = sums[..., 2:3] - mean_x * mean_x + STIFFNESS
        yy = sums[..., 3:4] - mean_y * mean_y + STIFFNESS
        xy = sums[..., 4:5] - mean_x * mean_y
        away = self.cells - mean
        away_x, away_y = away[..., :1], away[..., 1:]
        scale = 1 / (xx * yy - xy * xy)
        slope_x, slope_y = (yy * away_x - xy * away_y) * scale, (xx * away_y - xy * away_x) * scale
        across = sums[..., 7:9] - mean_x * other_mean  # (B, G*G, 2): covariance of x with the other face's points
        down = sums[..., 9:11] - mean_y * other_mean
        local = other_mean + slope_x * across + slope_y * down

        # The damped fit misses its own cell by this much, which the head's motion makes up for.
        missed_x = away_x - slope_x * (xx - STIFFNESS) - slope_y * xy
        missed_y = away_y - slope_x * xy - slope_y * (yy - STIFFNESS)
        return local + torch.cat([missed_x, missed_y], dim=2) @ head

    def add_edge(self, points: Tensor) -> Tensor:
        """Faces (B, N, 2) with the points on the crop's edge behind them, (B, K, 2): these stay where they are."""
        return torch.cat([points, self.edge.expand(points.shape[0], -1, -1)], dim=1)


def _list_edge_points() -> Tensor:
    along = torch.linspace(0, 1, EDGE_POINTS)
    points = torch.stack(torch.meshgrid(along, along, indexing="ij"), dim=-1).reshape(-1, 2)
    return points[((points == 0) | (points == 1)).any(dim=1)]  # (16, 2)


def invert_2x2(matrix: Tensor) -> Tensor:
    """The inverse of matrices (B, 2, 2): ONNX has no linear solver."""
    a, b, c, d = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1]
    adjugate = torch.stack([torch.stack([d, -b], dim=-1), torch.stack([-c, a], dim=-1)], dim=-2)
    return adjugate / (a * d - b * c)[:, None, None]
