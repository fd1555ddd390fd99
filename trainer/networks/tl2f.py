"""Theta, the landmark-to-face generator: two FC layers and six upscale blocks (paper, section 2.1)."""

from itertools import pairwise
from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

SLOPE = 0.1
"""Of the LeakyReLU after every layer but the last."""

SEED_SIZE = 4
UPSCALE_BLOCKS = 6
PICTURE_SIZE = SEED_SIZE * 2**UPSCALE_BLOCKS


class TL2FConfig(BaseModel):
    """Widths of Theta. The picture is 4 * 2**6 = 256 pixels wide."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: int = Field(default=68, ge=1)
    hidden: int = Field(default=256, ge=1, description="Width of the first FC layer.")
    seed_channels: int = Field(default=128, ge=1, description="Channels of the 4x4 map that the second FC layer makes.")
    block_channels: tuple[int, int, int, int, int] = Field(
        default=(160, 128, 96, 48, 24), description="Channels after each of the first five upscale blocks."
    )
    head_channels: int | None = Field(
        default=None,
        description="Channels after the sixth block, then a convolution to RGB (the authors' shape). None: the sixth "
        "block's PixelShuffle gives RGB itself, which spares the costliest convolution.",
    )


class UpscaleBlock(nn.Module):
    """A 3x3 convolution to four times the channels, then PixelShuffle: twice the width and height."""

    def __init__(self, channels: int, out_channels: int, activate: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * out_channels, kernel_size=3, padding=1)
        self.activate = nn.LeakyReLU(SLOPE) if activate else nn.Identity()
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, features: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C', 2H, 2W)
        shuffled: Tensor = self.shuffle(self.activate(self.conv(features)))
        return shuffled


class TL2F(nn.Module):
    """Theta_t: landmarks in crop units -> the target's face, RGB in [0, 1].

    The landmarks are whitened by `centre` and `whitening`, from the target's training landmarks (`fit_whitening`),
    which are part of the weights.
    """

    OF_LANDMARKS: ClassVar = ("centre", "whitening")
    """Of the weights: those that `fit_whitening` sets."""

    centre: Tensor
    whitening: Tensor

    def __init__(self, config: TL2FConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("centre", torch.full((config.points, 2), 0.5))
        self.register_buffer("whitening", torch.eye(2 * config.points))
        seed = config.seed_channels * SEED_SIZE**2
        self.fc = nn.Sequential(
            nn.Linear(2 * config.points, config.hidden),
            nn.LeakyReLU(SLOPE),
            nn.Linear(config.hidden, seed),
            nn.LeakyReLU(SLOPE),
        )
        widths = (config.seed_channels, *config.block_channels)
        blocks = [UpscaleBlock(before, after) for before, after in pairwise(widths)]
        if config.head_channels is None:
            self.head: nn.Module = UpscaleBlock(widths[-1], 3, activate=False)
        else:
            self.head = nn.Sequential(
                UpscaleBlock(widths[-1], config.head_channels),
                nn.Conv2d(config.head_channels, 3, kernel_size=3, padding=1),
            )
        self.blocks = nn.Sequential(*blocks)
        init_kaiming(self)

    def forward(self, landmarks: Tensor) -> Tensor:  # (B, N, 2) -> (B, 3, 256, 256)
        whitened = (landmarks - self.centre).flatten(1) @ self.whitening  # (B, 2N)
        seed = self.fc(whitened).unflatten(1, (self.config.seed_channels, SEED_SIZE, SEED_SIZE))  # (B, C, 4, 4)
        return torch.sigmoid(self.head(self.blocks(seed)))

    @torch.no_grad()
    def fit_whitening(self, landmarks: Tensor, floor: float = 0.016) -> None:
        """Give every direction in which these landmarks (n, N, 2) vary about the same say.

        A head moves by tens of pixels and the lips by one: coordinates scaled one by one would show the first layer
        little but the head. Directions that vary by less than `floor`, in crop units (four pixels), are not blown up:
        that is where a detector's noise and other people's shapes lie, and what a frame is known by heart from.
        """
        self.centre.copy_(landmarks.mean(dim=0))
        deviation = (landmarks - self.centre).flatten(1)
        variance, directions = torch.linalg.eigh(deviation.T @ deviation / len(deviation))
        self.whitening.copy_(directions @ torch.diag((variance.clamp_min(0) + floor**2).rsqrt()) @ directions.T)


def init_kaiming(module: nn.Module) -> None:
    """Kaiming initialisation of every convolution and FC layer (paper, section 3.1), for LeakyReLU(0.1)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE, nonlinearity="leaky_relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
