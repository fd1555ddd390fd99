"""A region of the face in its canonical shape: its code, from its own landmarks, and the picture drawn from that."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.networks.initialisation import SLOPE, init_kaiming

QUANTILES = (0.005, 0.995)
"""Of each component over the training frames: the code is held between them."""

FINEST = 0.002
"""Crop units (half a pixel of 256): components that vary less than a detector errs are not blown up to full size."""

LARGEST_LOGIT = 30.0

KEY_SHARPNESS = 3.0
"""Where learning begins: how much likelier the texture of a like code is."""


class RegionCode(nn.Module):
    """Landmarks of a region -> its principal components, each of spread one, clamped to the training range.

    Beyond that range a region keeps its looks, and its shape alone goes on. `anchor` are points whose mean is
    taken off first: an eye that moves with the head is the same eye.
    """

    mean: Tensor
    directions: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, points: Sequence[int], components: int, anchor: Sequence[int] = (), noise: float = 0.0) -> None:
        """`noise` is the spread of what is added to each component in training: no frame is known by its code."""
        super().__init__()
        self.noise = noise
        self.points, self.anchor = list(points), list(anchor)
        self.components = components
        self.register_buffer("mean", torch.zeros(2 * len(self.points)))
        self.register_buffer("directions", torch.zeros(2 * len(self.points), components))
        self.register_buffer("low", torch.zeros(components))
        self.register_buffer("high", torch.zeros(components))

    def forward(self, landmarks: Tensor) -> Tensor:  # (B, N, 2) -> (B, components)
        values = (self._place(landmarks) - self.mean) @ self.directions
        values = torch.minimum(torch.maximum(values, self.low), self.high)
        return values + self.noise * torch.randn_like(values) if self.training else values

    @torch.no_grad()
    def fit(self, landmarks: Tensor) -> None:
        """Find the components in training landmarks (n, N, 2)."""
        flat = self._place(landmarks)
        self.mean.copy_(flat.mean(dim=0))
        _, singular, directions = torch.linalg.svd(flat - self.mean, full_matrices=False)
        spread = singular[: self.components] / math.sqrt(len(flat))
        self.directions.zero_()
        self.directions[:, : len(spread)] = directions[: len(spread)].T / (spread.square() + FINEST**2).sqrt()
        values = (flat - self.mean) @ self.directions
        for bound, share in zip((self.low, self.high), QUANTILES, strict=True):
            bound.copy_(values.quantile(share, dim=0))

    def _place(self, landmarks: Tensor) -> Tensor:
        points = landmarks[:, self.points]
        if self.anchor:
            points = points - landmarks[:, self.anchor].mean(dim=1, keepdim=True)
        return points.flatten(1)


class RegionPicture(nn.Module):
    """A code -> the region's picture (B, 3, h, w): a blend of textures, and what a few convolutions add.

    The blend begins as the textures whose own codes (`keys`) are nearest, the addition as nothing. Maps are a
    `stride`-th of the picture's size, from a seed a `2**doublings`-th of theirs. `own` is how many of the code's
    components come first and are the region's own.
    """

    textures: nn.Parameter
    keys: Tensor

    def __init__(
        self,
        code: int,
        own: int,
        textures: int,
        size: tuple[int, int],
        stride: int,
        doublings: int,
        hidden: int,
        channels: int,
    ) -> None:
        super().__init__()
        self.size, self.stride, self.channels = size, stride, channels
        self.seed = (size[0] // (stride << doublings), size[1] // (stride << doublings))
        self.textures = nn.Parameter(torch.zeros(textures, 3, *size))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(KEY_SHARPNESS)))
        self.register_buffer("keys", torch.zeros(textures, own))
        self.fc = nn.Sequential(
            nn.Linear(code, hidden),
            nn.LeakyReLU(SLOPE),
            nn.Linear(hidden, channels * self.seed[0] * self.seed[1]),
            nn.LeakyReLU(SLOPE),
        )
        widths = [*[channels] * doublings, channels // 2]
        self.upscale = nn.Sequential(
            *(
                layer
                for before, after in pairwise(widths)
                for layer in (
                    nn.Conv2d(before, 4 * after, kernel_size=3, padding=1),
                    nn.LeakyReLU(SLOPE),
                    nn.PixelShuffle(2),
                )
            )
        )
        self.masks = nn.Conv2d(channels // 2, textures, kernel_size=3, padding=1)
        self.residual = nn.Conv2d(channels // 2, 3 * stride**2, kernel_size=3, padding=1)
        init_kaiming(self)
        for last in (self.masks, self.residual):
            nn.init.zeros_(last.weight)

    def forward(self, code: Tensor) -> Tensor:  # (B, code) -> (B, 3, h, w)
        maps = self.upscale(self.fc(code).unflatten(1, (self.channels, *self.seed)))  # (B, C/2, h/stride, w/stride)
        away = code[:, None, : self.keys.shape[1]] - self.keys
        nearness = -(away * away).mean(dim=2) * self.log_sharpness.exp()  # (B, K)
        masks = (self.masks(maps) + nearness[:, :, None, None]).clamp(-LARGEST_LOGIT, LARGEST_LOGIT).exp()
        masks = masks / masks.sum(dim=1, keepdim=True)  # a softmax: ONNX Runtime's own is slow over channels
        picture = F.pixel_shuffle(self.residual(maps), self.stride) + self.textures[0]  # (B, 3, h, w)
        if len(self.textures) > 1:
            # At the maps' size, then upsampled, for a sixteenth of the work: they still sum to one, and the first's
            # share is what the others leave. One by one, since ONNX Runtime sums over an axis slowly.
            masks = F.interpolate(masks[:, 1:], size=self.size, mode="bilinear", align_corners=False)  # (B, K-1, h, w)
            for number in range(1, len(self.textures)):
                picture = picture + masks[:, number - 1 : number] * (self.textures[number] - self.textures[0])
        return picture
