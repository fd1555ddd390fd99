"""Turned square regions of pictures, batched and with a gradient: where a frozen network looks."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class RegionBatch:
    """`shared.detectors.region.Region`, batched: turned squares of pictures, (B,) each, in crop units and radians."""

    x: Tensor
    y: Tensor
    side: Tensor
    angle: Tensor

    def to_picture(self, points: Tensor) -> Tensor:
        """Points (B, n, 2) of the unit square -> crop units."""
        turned = _turn((points - 0.5) * self.side[:, None, None], self.angle)
        return turned + torch.stack([self.x, self.y], dim=1)[:, None]

    def cut(self, pictures: Tensor, size: int) -> Tensor:
        """The regions of pictures (B, 3, H, W), resampled to (B, 3, size, size); the border goes on outside."""
        axis = (torch.arange(size, device=pictures.device) + 0.5) / size
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).view(1, -1, 2)
        place = self.to_picture(grid.expand(len(pictures), -1, -1)).view(-1, size, size, 2)
        return F.grid_sample(pictures, place * 2 - 1, padding_mode="border", align_corners=False)


def measure_angle(start: Tensor, end: Tensor) -> Tensor:
    """Angles (B,) of the way from points (B, 2) to others, in radians from x right towards y down."""
    across = end - start
    return torch.atan2(across[:, 1], across[:, 0])


def bound_points(points: Tensor, angle: Tensor, scale: float, above: float = 0.0) -> RegionBatch:
    """Regions at these angles about points (B, n, 2), `scale` times their longer extent; `above` adds to the height."""
    turned = _turn(points, -angle)
    low, high = turned.amin(dim=1), turned.amax(dim=1)  # (B, 2)
    low = torch.stack([low[:, 0], low[:, 1] - above * (high - low)[:, 1]], dim=1)
    centre = _turn(((low + high) / 2)[:, None], angle)[:, 0]
    return RegionBatch(centre[:, 0], centre[:, 1], (high - low).amax(dim=1) * scale, angle)


def _turn(vectors: Tensor, angle: Tensor) -> Tensor:
    """Vectors (B, n, 2) turned by angles (B,), from x right towards y down."""
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    x, y = vectors.unbind(dim=-1)
    return torch.stack([x * cos - y * sin, x * sin + y * cos], dim=-1)
