"""Frames warped to landmarks that are in no footage, so that Omega reads faces of nobody.

A thin-plate spline takes the picture along with the points: an open mouth opens wider, a brow rises further. What lies
far from the face stays where it is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

GRID = 32
"""The displacement is smooth: it is computed on so many points a side and interpolated to the pixels."""

STIFFNESS = 1e-4
"""Of the spline, in squared crop units: what keeps points that jitter against each other from tearing the picture."""


def warp_pictures(pictures: Tensor, landmarks: Tensor, wanted: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) with the points `landmarks` (B, N, 2) moved to `wanted` (B, N, 2), all in crop units."""
    batch = len(pictures)
    frame = _edge_points().expand(batch, -1, -1)  # held fast
    knots = torch.cat([wanted, frame], dim=1)  # (B, K, 2)
    shifts = torch.cat([landmarks - wanted, torch.zeros_like(frame)], dim=1)
    axis = (torch.arange(GRID) + 0.5) / GRID
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)  # (G, G, 2)
    weights = torch.linalg.solve(_system(knots), F.pad(shifts, (0, 0, 0, 3)))  # (B, K + 3, 2)
    flat = grid.reshape(1, -1, 2).expand(batch, -1, -1)
    field = _kernel(torch.cdist(flat, knots)) @ weights[:, :-3] + _affine(flat) @ weights[:, -3:]  # (B, G*G, 2)
    field = field.view(batch, GRID, GRID, 2).permute(0, 3, 1, 2)
    size = pictures.shape[-1]
    smooth = F.interpolate(field, size=(size, size), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
    axis = (torch.arange(size) + 0.5) / size
    place = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1) + smooth  # (B, H, W, 2) in crop units
    # Bilinear samples would soften the picture.
    warped: Tensor = F.grid_sample(pictures, place * 2 - 1, mode="bicubic", padding_mode="border", align_corners=False)
    return warped.clamp(0, 1)


def _edge_points() -> Tensor:
    along = torch.linspace(0, 1, 5)
    points = torch.stack(torch.meshgrid(along, along, indexing="ij"), dim=-1).reshape(-1, 2)
    return points[((points == 0) | (points == 1)).any(dim=1)][None]  # (1, 16, 2)


def _kernel(distance: Tensor) -> Tensor:
    return distance.square() * torch.log(distance + 1e-6)


def _affine(points: Tensor) -> Tensor:
    return F.pad(points, (1, 0), value=1.0)  # (B, K, 3)


def _system(knots: Tensor) -> Tensor:
    """The spline's linear system (B, K + 3, K + 3)."""
    batch, count, _ = knots.shape
    affine = _affine(knots)
    kernel = _kernel(torch.cdist(knots, knots)) + STIFFNESS * torch.eye(count)
    upper = torch.cat([kernel, affine], dim=2)
    lower = torch.cat([affine.transpose(1, 2), torch.zeros(batch, 3, 3)], dim=2)
    return torch.cat([upper, lower], dim=1)
