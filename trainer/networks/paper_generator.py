"""Theta as the paper has it: two FC layers and six upscale blocks (section 2.1). `--preset paper` trains it."""

from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from trainer.networks.initialisation import SLOPE, init_kaiming

SEED_SIZE = 4


class PaperGeneratorConfig(BaseModel):
    """Widths of Theta; the authors' by default, 43 M parameters. The picture is 4 * 2**6 = 256 pixels wide."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["upscale"] = "upscale"
    points: int = Field(default=70, ge=1)
    hidden: int = Field(default=1024, ge=1, description="Width of the first FC layer.")
    seed_channels: int = Field(
        default=1024, ge=1, description="Channels of the 4x4 map that the second FC layer makes."
    )
    block_channels: tuple[int, int, int, int, int, int] = Field(
        default=(512, 256, 128, 128, 128, 64), description="Channels after each of the six upscale blocks."
    )


class UpscaleBlock(nn.Module):
    """A 3x3 convolution to four times the channels, then PixelShuffle: twice the width and height."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * out_channels, kernel_size=3, padding=1)
        self.activate = nn.LeakyReLU(SLOPE)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, features: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C', 2H, 2W)
        shuffled: Tensor = self.shuffle(self.activate(self.conv(features)))
        return shuffled


class PaperGenerator(nn.Module):
    """Theta_t: landmarks in crop units -> the target's face, RGB in [0, 1]."""

    MIXED_PRECISION: ClassVar = True

    def __init__(self, config: PaperGeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.fc = nn.Sequential(
            nn.Linear(2 * config.points, config.hidden),
            nn.LeakyReLU(SLOPE),
            nn.Linear(config.hidden, config.seed_channels * SEED_SIZE**2),
            nn.LeakyReLU(SLOPE),
        )
        widths = (config.seed_channels, *config.block_channels)
        self.blocks = nn.Sequential(*(UpscaleBlock(before, after) for before, after in pairwise(widths)))
        self.head = nn.Conv2d(widths[-1], 3, kernel_size=3, padding=1)
        init_kaiming(self)

    def forward(self, landmarks: Tensor) -> Tensor:  # (B, N, 2) -> (B, 3, 256, 256)
        seed = self.fc((landmarks - 0.5).flatten(1))
        seed = seed.unflatten(1, (self.config.seed_channels, SEED_SIZE, SEED_SIZE))  # (B, C, 4, 4)
        return torch.sigmoid(self.head(self.blocks(seed)))
