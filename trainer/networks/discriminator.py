"""D, the PatchGAN discriminator (paper, section 2.2, after its reference [25])."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from trainer.networks.initialisation import init_kaiming

DETAIL_GAIN = 2.0
"""Of the picture's detail, which spectral norm would keep D from blowing up."""


class DiscriminatorConfig(BaseModel):
    """Widths of D, and what it is shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: tuple[int, ...] = Field(default=(48, 96, 160), min_length=1)
    spectral_norm: bool = True
    detail: bool = Field(default=True, description="Show D what a blur of 5x5 takes from the picture beside it.")
    conditioned: bool = Field(default=True, description="Show D maps of the conditioning landmarks (`losses.masks`).")
    window: int = Field(default=128, ge=16, le=256, description="Pixels: side of the window on the face that D sees.")


class PatchDiscriminator(nn.Module):
    """D_t: a picture, and maps of the conditioning landmarks -> a real-or-generated logit per patch.

    Stride-2 convolutions: with three of them logits are an eighth of the picture's size, each of a patch of 38 pixels.
    """

    def __init__(self, config: DiscriminatorConfig, maps: int) -> None:
        """`maps` is how many maps of landmarks there are, of which D sees none where it is not `conditioned`."""
        super().__init__()
        self.config = config
        given = 3 * (2 if config.detail else 1) + (maps if config.conditioned else 0)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1)
            for before, after in pairwise((given, *config.channels))
        )
        self.logits = nn.Conv2d(config.channels[-1], 1, kernel_size=3, padding=1)
        self.activate = nn.LeakyReLU(0.2)
        init_kaiming(self)
        if config.spectral_norm:
            for layer in (*self.layers, self.logits):
                spectral_norm(layer)

    def forward(self, pictures: Tensor, maps: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] and maps (B, M, H, W) -> logits (B, 1, h, w)."""
        pictures = pictures * 2 - 1
        given = [pictures]
        if self.config.detail:
            blurred = F.avg_pool2d(F.pad(pictures, (2, 2, 2, 2), mode="reflect"), kernel_size=5, stride=1)
            given.append(DETAIL_GAIN * (pictures - blurred))
        if self.config.conditioned:
            given.append(maps)
        features = torch.cat(given, dim=1)
        for layer in self.layers:
            features = self.activate(layer(features))
        logits: Tensor = self.logits(features)
        return logits
