"""Identities as shapes: a person's neutral landmarks, one person's expression on another's face, people who never were.

The converter learns from these. A frame is its person's neutral shape plus an offset, which is expression and pose;
moving the offset to another neutral shape gives the answer that Psi and Phi are to find from a single frame.
All landmarks are in crop units, ``(B, N, 2)`` torch tensors unless said otherwise.
"""

import numpy as np
import torch
from torch import Tensor

from shared.expression import measure_expression
from shared.geometry import CropRule
from shared.landmarks import Points, Scheme, flip_points, pick

FEATURES = (("jaw",), ("right_brow",), ("left_brow",), ("nose_bridge", "nose_base"), ("right_eye",), ("left_eye",))
MOUTH = ("outer_lips", "inner_lips")
# Between two adults a feature's size differs by less than this; more is a bad neutral shape.
SCALE_LIMITS = (0.6, 1.7)


def find_neutral(landmarks: Points, scheme: Scheme) -> Points:
    """A person's neutral shape ``(N, 2)`` from frames ``(n, N, 2)``: mouth shut, eyes as open as they mostly are.

    The mean over such frames and their mirror images: a camera to one side of the head leaves no yaw or roll in it.
    """
    measured = measure_expression(landmarks, scheme)
    calm = measured["mouth"] <= np.quantile(measured["mouth"], 0.35)
    for eye in ("right_eye", "left_eye"):
        low, high = np.quantile(measured[eye], (0.3, 0.8))
        calm &= (measured[eye] >= low) & (measured[eye] <= high)
    mean = landmarks[calm if calm.any() else slice(None)].mean(axis=0)
    neutral: Points = ((mean + flip_points(mean, scheme, width=1.0)) / 2).astype(np.float32)
    return neutral


class Retarget:
    """Moves expressions between neutral shapes, feature by feature.

    A feature's own motion is scaled by the ratio of the two features' sizes, so that a closed eye stays closed on a
    larger eye; its displacement as a whole is kept. Lips are scaled by the mouth's width both ways: a shut mouth has
    no height to compare.
    """

    def __init__(self, scheme: Scheme) -> None:
        self.groups = [pick(scheme, names) for names in (*FEATURES, MOUTH)]
        self.by_width = [False] * len(FEATURES) + [True]

    def move(self, landmarks: Tensor, neutral: Tensor, onto: Tensor) -> Tensor:
        """`landmarks` (B, N, 2) of the face `neutral` (N, 2) or (B, N, 2), as the face `onto` would show them."""
        offset = landmarks - neutral
        moved = torch.empty_like(offset)
        neutral, onto = neutral.expand_as(landmarks), onto.expand_as(landmarks)
        for indices, by_width in zip(self.groups, self.by_width, strict=True):
            index = list(indices)
            scale = _extent(onto[:, index]) / _extent(neutral[:, index])  # (B, 1, 2)
            if by_width:
                scale = scale[..., :1].expand_as(scale)
            part = offset[:, index]  # (B, n, 2)
            whole = part.mean(dim=1, keepdim=True)
            moved[:, index] = whole + (part - whole) * scale.clamp(*SCALE_LIMITS)
        return onto + moved

    def vary(self, neutral: Tensor, generator: torch.Generator, size: float = 0.14, shift: float = 0.02) -> Tensor:
        """Neutral shapes of people who never were, from neutral shapes (B, N, 2): each feature resized and moved.

        Both eyes, and both brows, change alike. `size` is the spread of a feature's log size, `shift` that of its
        place in crop units.
        """
        batch = len(neutral)
        noise = torch.randn(batch, len(self.groups), 4, generator=generator)
        noise[:, 2], noise[:, 5] = noise[:, 1], noise[:, 4]
        varied = neutral.clone()
        for position, indices in enumerate(self.groups):
            index = list(indices)
            part = neutral[:, index]
            centre = part.mean(dim=1, keepdim=True)
            scale = torch.exp(noise[:, position, None, :2] * size)  # (B, 1, 2)
            move = noise[:, position, None, 2:] * shift
            if position in (0, 3, 6):
                move = move * torch.tensor([0.0, 1.0])  # Jaw, nose and mouth stay in the middle of the face.
            elif position in (2, 5):
                move = move * torch.tensor([-1.0, 1.0])
            varied[:, index] = centre + move + (part - centre) * scale
        return varied


def recrop(landmarks: Tensor, rule: CropRule) -> Tensor:
    """Landmarks (B, N, 2) in the unit of the crop that they themselves give: `find_crop` and `Crop.to_unit`, batched."""
    anchor = landmarks[:, list(rule.scale_points)]
    spread = (anchor - anchor.mean(dim=1, keepdim=True)).square().sum(dim=2).mean(dim=1).sqrt()  # (B,)
    side = rule.factor * spread[:, None, None]
    centre = landmarks[:, list(rule.centre_points)].mean(dim=1, keepdim=True)  # (B, 1, 2)
    centre = centre + torch.tensor([0.0, rule.drop]) * side
    return (landmarks - centre) / side + 0.5


class ShapeRange:
    """The shapes that a person was seen to make: principal components of the training landmarks, and their range.

    `limit` keeps a shape inside: each component bends smoothly towards a little past the extreme that was seen. It is
    monotone, so a wider mouth never comes out as a narrower one.
    """

    def __init__(self, landmarks: Tensor, kept: float = 0.999, margin: float = 0.15) -> None:
        flat = landmarks.flatten(1)
        self.mean = flat.mean(dim=0)
        _, singular, directions = torch.linalg.svd(flat - self.mean, full_matrices=False)
        share = singular.square().cumsum(0) / singular.square().sum()
        count = int((share < kept).sum()) + 1
        self.directions = directions[:count]  # (k, 2N)
        values = (flat - self.mean) @ self.directions.T  # (n, k)
        low, high = torch.quantile(values[:: max(1, len(values) // 5000)], torch.tensor([0.002, 0.998]), dim=0)
        self.centre = (low + high) / 2
        self.reach = (high - low) / 2 * (1 + margin)

    def limit(self, landmarks: Tensor) -> Tensor:
        """The nearest shapes (B, N, 2) of this person's range, softly."""
        values = (landmarks.flatten(1) - self.mean) @ self.directions.T
        inside = soft_clip((values - self.centre) / self.reach) * self.reach + self.centre
        return (self.mean + inside @ self.directions).view_as(landmarks)


def soft_clip(values: Tensor, knee: float = 0.8) -> Tensor:
    """The identity up to `knee`, then bending smoothly towards one; odd, monotone, without bound on its input."""
    size = values.abs()
    bent = knee + (1 - knee) * torch.tanh((size - knee) / (1 - knee))
    return torch.where(size <= knee, values, bent * values.sign())


def _extent(part: Tensor) -> Tensor:
    """Width and height of features (B, n, 2) -> (B, 1, 2)."""
    size = part.amax(dim=1, keepdim=True) - part.amin(dim=1, keepdim=True)
    return size.clamp_min(1e-3)
