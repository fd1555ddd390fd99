"""Identities as shapes: one person's expression on another's face, people who never were, a person's range.

The converter learns from these: moving an expression to another neutral shape (`shared.neutral`) gives the answer that
Psi and Phi are to find from a single frame. All landmarks are in crop units, ``(B, N, 2)`` torch tensors.
"""

import torch
from torch import Tensor

from shared import neutral as shapes
from shared.geometry import CropRule
from shared.landmarks import Scheme, pick

# Of the groups of `Retarget`: those with an expression of their own; jaw and nose turn with the head.
MOVING = (1, 2, 4, 5, 6)
DETAIL_WEIGHT = 4.0


class Retarget:
    """`shared.neutral.Retarget` on tensors, and faces of people who never were."""

    def __init__(self, scheme: Scheme) -> None:
        self.shapes = shapes.Retarget(scheme)
        self.groups = self.shapes.groups
        self.flip = scheme.flip
        self.moving = [self.groups[position] for position in MOVING]

    def move(self, landmarks: Tensor, neutral: Tensor, onto: Tensor) -> Tensor:
        """`landmarks` (B, N, 2) of the face `neutral` (N, 2) or (B, N, 2), as the face `onto` would show them.

        The result is data: no gradient runs through it.
        """
        return torch.from_numpy(self.shapes.move(landmarks.numpy(), neutral.numpy(), onto.numpy()))

    def vary(self, neutral: Tensor, size: float = 0.14, shift: float = 0.02) -> Tensor:
        """Neutral shapes of people who never were, from neutral shapes (B, N, 2): each feature resized and moved.

        Both eyes, and both brows, change alike. `size` is the spread of a feature's log size, `shift` that of its
        place in crop units.
        """
        batch = len(neutral)
        noise = torch.randn(batch, len(self.groups), 4)
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


def exaggerate(landmarks: Tensor, neutral: Tensor, retarget: Retarget, spread: float) -> Tensor:
    """Landmarks (B, N, 2) with each feature's own motion away from `neutral` (N, 2) made larger or smaller.

    The gain's logarithm has the standard deviation `spread`; jaw and nose, which are pose, stay.
    """
    offset = landmarks - neutral
    result = landmarks.clone()
    for indices in retarget.moving:
        index = list(indices)
        gain = torch.exp(torch.randn(len(landmarks), 1, 1) * spread)
        part = offset[:, index]
        whole = part.mean(dim=1, keepdim=True)
        result[:, index] = neutral[index] + whole + (part - whole) * gain
    return result


def part_lips(landmarks: Tensor, scheme: Scheme, spread: float) -> Tensor:
    """Landmarks (B, N, 2) with the lips further apart, or nearer, by a gap of this standard deviation in crop units.

    A shut mouth has no motion of its own to exaggerate. The lips' middle moves most, the corners not at all.
    """
    upper, lower = (list(each) for each in scheme.openings["mouth"])
    lips = list(pick(scheme, ("outer_lips", "inner_lips")))
    middle = (landmarks[:, upper].mean(dim=1) + landmarks[:, lower].mean(dim=1)) / 2  # (B, 2)
    x, y = (landmarks[:, lips] - middle[:, None]).unbind(dim=-1)  # (B, n)
    side = y.sign()
    side[:, [lips.index(point) for point in upper]] = -1.0  # also where the lips touch, or cross by noise
    side[:, [lips.index(point) for point in lower]] = 1.0
    taper = 1 - (x / x.abs().amax(dim=1, keepdim=True).clamp_min(1e-6)).square()
    gap = torch.randn(len(landmarks), 1) * spread
    parted = landmarks.clone()
    parted[:, lips, 1] += side * taper * gap / 2
    return parted


def turn_roll(landmarks: Tensor, spread: float) -> Tensor:
    """Landmarks (B, N, 2) turned about the crop's centre by angles of this standard deviation, in radians."""
    angle = torch.randn(len(landmarks)) * spread
    cos, sin = angle.cos(), angle.sin()
    matrix = torch.stack([torch.stack([cos, sin], dim=-1), torch.stack([-sin, cos], dim=-1)], dim=-2)  # (B, 2, 2)
    return (landmarks - 0.5) @ matrix + 0.5


def recrop(landmarks: Tensor, rule: CropRule) -> Tensor:
    """Landmarks (B, N, 2) in the unit of the crop that they give themselves: `find_crop`, `Crop.to_unit`, batched."""
    anchor = landmarks[:, list(rule.scale_points)]
    spread = (anchor - anchor.mean(dim=1, keepdim=True)).square().sum(dim=2).mean(dim=1).sqrt()  # (B,)
    side = rule.factor * spread[:, None, None]
    centre = landmarks[:, list(rule.centre_points)].mean(dim=1, keepdim=True)  # (B, 1, 2)
    centre = centre + torch.tensor([0.0, rule.drop]) * side
    return (landmarks - centre) / side + 0.5


class ShapeRange:
    """The shapes that a person was seen to make: principal components of the training landmarks, and their range.

    `limit` draws a shape towards it: what lies off the components is dropped, and along each of them the distance
    beyond what was seen is compressed. It is monotone and never flat, so that a wider mouth comes out wider.
    """

    def __init__(self, landmarks: Tensor, scheme: Scheme, kept: float = 0.9995) -> None:
        # Lids and lips move by a few pixels where the head moves by tens: without weight their components are lost.
        self.weights = torch.ones(scheme.count, 1)
        self.weights[list(detail_points(scheme))] = DETAIL_WEIGHT
        flat = (landmarks * self.weights).flatten(1)
        self.mean = flat.mean(dim=0)
        _, singular, directions = torch.linalg.svd(flat - self.mean, full_matrices=False)
        share = singular.square().cumsum(0) / singular.square().sum()
        self.directions = directions[: int((share < kept).sum()) + 1]  # (k, 2N)
        values = (flat - self.mean) @ self.directions.T  # (n, k)
        low, high = torch.quantile(values, torch.tensor([0.002, 0.998]), dim=0)
        self.centre = (low + high) / 2
        self.reach = ((high - low) / 2).clamp_min(1e-6)  # somebody who never moved has no range

    def limit(self, landmarks: Tensor) -> Tensor:
        """The like of shapes (B, N, 2) in this person's range."""
        values = ((landmarks * self.weights).flatten(1) - self.mean) @ self.directions.T
        inside = compress((values - self.centre) / self.reach) * self.reach + self.centre
        limited: Tensor = (self.mean + inside @ self.directions).view_as(landmarks) / self.weights
        return limited


def compress(values: Tensor, knee: float = 0.8, give: float = 0.3) -> Tensor:
    """The identity up to `knee`, then growing like a logarithm; odd, smooth and strictly monotone."""
    beyond = (values.abs() - knee).clamp_min(0)
    return values.clamp(-knee, knee) + values.sign() * give * torch.log1p(beyond / give)


def weigh_points(scheme: Scheme, details: float, jaw: float = 0.5) -> Tensor:
    """The weight of every point (N,): `details` for lids and inner lips, `jaw` for the jaw, else one."""
    weights = torch.ones(scheme.count)
    weights[list(detail_points(scheme))] = details
    weights[list(scheme.groups["jaw"])] = jaw
    return weights


def detail_points(scheme: Scheme) -> tuple[int, ...]:
    """The points of small motions and large meaning: lids and inner lips."""
    return pick(scheme, ("right_eye", "left_eye", "inner_lips"))
