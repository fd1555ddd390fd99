"""Omega, the differentiable landmark detector: one stacked hourglass, and DSNT in place of argmax (section 2.2).

The hourglass (Newell et al. 2016) makes a heatmap for each landmark; the differentiable spatial to numerical transform
(Nibali et al. 2018) reads a heatmap's landmark as its centre of mass, so that a landmark's error has a gradient.
"""

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from trainer.networks.initialisation import init_kaiming


class HourglassConfig(BaseModel):
    """Widths of Omega. Heatmaps have a quarter of the picture's side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: int = Field(default=68, ge=1)
    channels: int = Field(default=64, ge=2, multiple_of=2)
    depth: int = Field(default=4, ge=1, description="Times that the hourglass halves the map before it grows again.")


def _conv(channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out_channels, kernel, stride, padding=kernel // 2)


class _Residual(nn.Module):
    """A bottleneck: half the channels, 3x3, all the channels, and the input added.

    No batch normalisation, which is half of a CPU's time here: each block begins as the identity instead.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.narrow = _conv(channels, half, kernel=1)
        self.conv = _conv(half, half, kernel=3)
        self.widen = _conv(half, channels, kernel=1)

    def forward(self, features: Tensor) -> Tensor:  # (B, C, h, w) -> the same
        inner = F.relu(self.conv(F.relu(self.narrow(features))))
        return F.relu(features + self.widen(inner))


class _Level(nn.Module):
    """One halving: half the size with the next level inside, back to the size, beside a branch that keeps it."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.keep = _Residual(channels)
        self.before = _Residual(channels)
        self.inner: nn.Module = _Level(channels, depth - 1) if depth > 1 else _Residual(channels)
        self.after = _Residual(channels)

    def forward(self, features: Tensor) -> Tensor:  # (B, C, h, w) -> the same
        small = self.after(self.inner(self.before(F.max_pool2d(features, 2))))
        return self.keep(features) + F.interpolate(small, scale_factor=2.0, mode="nearest")


class Hourglass(nn.Module):
    """Omega: pictures (B, 3, S, S) in [0, 1] -> landmarks (B, N, 2) in crop units, and heatmaps (B, N, S/4, S/4).

    S is a multiple of ``4 * 2**depth``. Each heatmap is a distribution: it is nowhere negative, and sums to one.
    """

    def __init__(self, config: HourglassConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Sequential(
            _conv(3, config.channels // 2, kernel=5, stride=2),
            nn.ReLU(),
            _conv(config.channels // 2, config.channels, kernel=3, stride=2),
            nn.ReLU(),
            _Residual(config.channels),
        )
        self.hourglass = _Level(config.channels, config.depth)
        self.head = nn.Sequential(_Residual(config.channels), nn.Conv2d(config.channels, config.points, kernel_size=1))
        init_kaiming(self)
        for module in self.modules():
            if isinstance(module, _Residual):
                nn.init.zeros_(module.widen.weight)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.head(self.hourglass(self.stem(pictures * 2 - 1)))  # (B, N, h, w)
        heatmaps = logits.float().flatten(2).softmax(dim=2).view(logits.shape)
        return read_heatmaps(heatmaps), heatmaps


def read_heatmaps(heatmaps: Tensor) -> Tensor:
    """DSNT: the centre of mass of each heatmap (B, N, h, w), as (B, N, 2) in crop units.

    A pixel's place is its centre: of four pixels a side the centres lie at 1/8, 3/8, 5/8 and 7/8.
    """
    height, width = heatmaps.shape[-2:]
    x = (torch.arange(width, device=heatmaps.device) + 0.5) / width
    y = (torch.arange(height, device=heatmaps.device) + 0.5) / height
    return torch.stack([heatmaps.sum(dim=2) @ x, heatmaps.sum(dim=3) @ y], dim=-1)
