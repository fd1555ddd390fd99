"""MobileNet v1 (Howard et al. 2017) up to its pooled features, batch normalisation folded into the convolutions."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

FIRST = 32
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""Channels and stride of each depthwise-separable block."""


class MobileNet(nn.Module):
    """Pictures (B, 3, S, S) -> features (B, 1024), and the maps on the way, from a half of S to a 16th."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, FIRST, 3, 2)]
        widths = [FIRST, *(channels for channels, _ in BLOCKS)]
        for (before, after), (_, stride) in zip(pairwise(widths), BLOCKS, strict=True):
            layers += [nn.Conv2d(before, before, 3, stride, groups=before), nn.Conv2d(before, after, 1)]
        self.layers = nn.ModuleList(layers)

    def forward(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The features, each at least 0 and at most 6; of each size the last map."""
        value, maps = pictures, []
        for layer in self.layers:
            if layer.stride == (2, 2):
                maps.append(value)
            if layer.kernel_size == (3, 3):  # TensorFlow's SAME: where a side is even and halved, it pads its end alone
                value = F.pad(value, (1, 1, 1, 1) if layer.stride == (1, 1) else (0, 1, 0, 1))
            value = F.relu6(layer(value))
        return value.mean(dim=(2, 3)), maps[1:]  # the first is the picture
