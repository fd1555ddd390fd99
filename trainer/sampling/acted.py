"""Expressions that the target was never filmed with, put on the landmarks of frames."""

import torch
from torch import Tensor

from shared.anatomy import describe
from shared.landmarks import Scheme

PROBABILITY = 0.5
"""Of each motion, to be acted."""


def act(landmarks: Tensor, scheme: Scheme, generator: torch.Generator) -> Tensor:
    """Landmarks (B, N, 2) with motions of the anatomy added, each by an amount between its bounds.

    Along the eyes' line and across it, in distances of the eyes' centres. Edges that cross meet halfway.
    """
    motions = describe(scheme).motions
    corners = landmarks[:, list(scheme.eye_corners)]  # (B, 4, 2)
    right = corners[:, 2:].mean(dim=1) - corners[:, :2].mean(dim=1)  # (B, 2), as long as the eyes are apart
    down = torch.stack([-right[:, 1], right[:, 0]], dim=1)
    drawn = torch.rand(2, len(landmarks), len(motions), generator=generator)
    low, high = (torch.tensor([getattr(each, end) for each in motions]) for end in ("low", "high"))
    amounts = (low + drawn[0] * (high - low)) * (drawn[1] < PROBABILITY)  # (B, M)
    points = torch.stack([torch.from_numpy(each.points).float() for each in motions])  # (M, N, 2)
    moved = torch.einsum("bm,mnd->bnd", amounts, points)
    acted = landmarks + moved[..., :1] * right[:, None] + moved[..., 1:] * down[:, None]
    for uppers, lowers in scheme.openings.values():
        upper, lower = acted[:, list(uppers)], acted[:, list(lowers)]
        gap = ((lower - upper) * down[:, None]).sum(dim=2, keepdim=True) / down.square().sum(dim=1)[:, None, None]
        crossed = gap.clamp(max=0) / 2 * down[:, None]
        acted[:, list(uppers)], acted[:, list(lowers)] = upper + crossed, lower - crossed
    return acted
