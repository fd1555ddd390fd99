"""Pictures as other cameras, rooms and heads would have given them: what Omega learns to see through.

Pictures are ``(B, 3, H, W)`` in [0, 1], landmarks ``(B, N, 2)`` in crop units; every picture of a batch draws its own.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def mirror(pictures: Tensor, landmarks: Tensor, flip: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Half of them seen in a mirror; `flip` is the scheme's."""
    chosen = torch.rand(len(pictures)) < 0.5
    swapped = torch.stack([1 - landmarks[..., 0], landmarks[..., 1]], dim=-1)[:, list(flip)]
    flipped = torch.where(chosen[:, None, None, None], pictures.flip(3), pictures)
    return flipped, torch.where(chosen[:, None, None], swapped, landmarks)


def move_heads(
    pictures: Tensor, landmarks: Tensor, roll: float = 0.35, zoom: float = 0.2, shift: float = 0.05
) -> tuple[Tensor, Tensor]:
    """Turned, nearer or further, and off the middle: spreads in radians, of the log size, and in crop units."""
    batch = len(pictures)
    angle, size = torch.randn(batch) * roll, torch.exp(torch.randn(batch) * zoom)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(-1, 2, 2)
    matrix = turn * size[:, None, None]  # (B, 2, 2): where a point goes, about the middle
    move = torch.randn(batch, 1, 2) * shift
    moved = (landmarks - 0.5) @ matrix.transpose(1, 2) + 0.5 + move
    back = torch.linalg.inv(matrix)
    # grid_sample asks where each pixel comes from, in [-1, 1]: twice the crop unit about the middle.
    theta = torch.cat([back, -2 * back @ move.transpose(1, 2)], dim=2)  # (B, 2, 3)
    grid = F.affine_grid(theta, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False), moved


def change_light(pictures: Tensor) -> Tensor:
    """Other exposure, contrast, colour of light and gamma; one in six without colour."""
    batch = (len(pictures), 1, 1, 1)
    grey = pictures.mean(dim=1, keepdim=True)
    colour = torch.where(torch.rand(batch) < 0.17, torch.zeros(()), 1 + 0.3 * torch.randn(batch)).clamp_min(0)
    lit = grey + (pictures - grey) * colour
    lit = lit * torch.exp(0.12 * torch.randn(len(pictures), 3, 1, 1))
    mean = lit.mean(dim=(1, 2, 3), keepdim=True)
    lit = mean + (lit - mean) * torch.exp(0.25 * torch.randn(batch)) + 0.12 * torch.randn(batch)
    return lit.clamp(1e-4, 1) ** torch.exp(0.25 * torch.randn(batch))


def degrade(pictures: Tensor) -> Tensor:
    """A third of them blurred as if filmed small, all with sensor noise, half with something in front of them."""
    size = pictures.shape[-1]
    small = F.interpolate(pictures, scale_factor=0.35, mode="bilinear", antialias=True)
    blurred = F.interpolate(small, (size, size), mode="bilinear", align_corners=False)
    pictures = torch.where(torch.rand(len(pictures), 1, 1, 1) < 0.33, blurred, pictures)
    pictures = pictures + 0.04 * torch.rand(len(pictures), 1, 1, 1) * torch.randn_like(pictures)
    place, extent = torch.rand(len(pictures), 2, 1), 0.04 + 0.12 * torch.rand(len(pictures), 2, 1)
    axis = (torch.arange(size) + 0.5) / size
    inside = (axis - place).abs() < extent  # (B, 2, S): columns and rows that the thing covers
    covered = inside[:, 0, None, None, :] & inside[:, 1, None, :, None] & (torch.rand(len(pictures), 1, 1, 1) < 0.5)
    return torch.where(covered, torch.rand(len(pictures), 3, 1, 1), pictures).clamp(0, 1)
