"""D, the PatchGAN discriminator (paper, section 2.2, after its reference [25])."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from trainer.networks.tl2f import init_kaiming


class DiscriminatorConfig(BaseModel):
    """Widths of D."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: tuple[int, ...] = Field(default=(32, 64, 128, 256), min_length=1)
    spectral_norm: bool = True
    detail: float = Field(default=2.0, ge=0, description="Gain of the picture's detail, seen beside it. 0: it alone.")


class PatchDiscriminator(nn.Module):
    """D_t: a picture -> one real-or-made logit for every overlapping patch, and the features on the way.

    Four stride-2 convolutions by default: at 256x256 the logits are 16x16, each of a patch of 82 pixels. Beside the
    picture D sees what a blur of 5x5 takes from it: a made picture lacks little else, and spectral norm keeps D from
    blowing up what is small.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.detail = config.detail
        widths = (3 if config.detail == 0 else 6, *config.channels)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1) for before, after in pairwise(widths)
        )
        self.logits = nn.Conv2d(widths[-1], 1, kernel_size=3, padding=1)
        self.activate = nn.LeakyReLU(0.2)
        init_kaiming(self)
        if config.spectral_norm:
            for layer in (*self.layers, self.logits):
                spectral_norm(layer)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:  # (B, 3, H, W) -> (B, 1, h, w), features
        images = images * 2 - 1
        if self.detail > 0:
            blurred = F.avg_pool2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel_size=5, stride=1)
            images = torch.cat([images, self.detail * (images - blurred)], dim=1)
        features: list[Tensor] = []
        for layer in self.layers:
            images = self.activate(layer(images))
            features.append(images)
        return self.logits(images), features
