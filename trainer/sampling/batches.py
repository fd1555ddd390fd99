"""What Theta learns from in a step: frames as filmed, and frames bent to landmarks that nobody filmed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from shared.expression import measure_expression
from shared.geometry import CropRule
from shared.landmarks import Scheme, pick
from shared.pixels import Image8, to_network
from trainer.config import TL2FTraining
from trainer.sampling.face_shapes import Retarget, exaggerate, part_lips, recrop, turn_roll
from trainer.sampling.warp import warp_pictures

OPENINGS = ("mouth", "right_eye", "left_eye")
OPENING_WEIGHT = 10.0
"""A warp moves a head, not a tongue into view: a frame's likeness to landmarks is that of mouth and eyes above all."""

LIPS = ("outer_lips", "inner_lips")
FEATURES = ("right_brow", "left_brow", "right_eye", "left_eye", *LIPS)

ALIKE = 5

CELLS = 32
"""Pictures are weighed, and D's windows placed, on a raster of so many cells a side: of 8 pixels at 256."""


@dataclass(frozen=True)
class TargetFrames:
    """The target's training frames, and other people's landmarks."""

    landmarks: Tensor  # (n, N, 2) crop units
    crops: Image8  # (n, H, W, 3), memory-mapped
    neutral: Tensor  # (N, 2)
    foreign: Tensor  # (m, N, 2) L_s of other people; m may be 0
    converted: Tensor  # (m, N, 2) Psi_t(Phi(L_s)) when training began
    scheme: Scheme
    rule: CropRule
    mesh_labelled: bool  # by the detector `mesh`, which can then label a bent frame too

    @cached_property
    def alike(self) -> Tensor:
        """For each of `foreign`, the target's own frames that are most like it, (m, k)."""
        ours, theirs = (self._describe(each) for each in (self.landmarks, self.converted))
        count = min(ALIKE, len(ours))
        parts = torch.split(theirs, 512)
        return torch.cat([torch.cdist(part, ours).topk(count, largest=False).indices for part in parts])

    @cached_property
    def rarity(self) -> Tensor:
        """How seldom the target had mouth and eyes open as in each frame: weights (n,) to draw by."""
        measured = measure_expression(self.landmarks.numpy(), self.scheme)
        weights = torch.zeros(len(self.landmarks))
        for name in OPENINGS:
            counts, edges = np.histogram(measured[name], bins=24)
            place = np.clip(np.digitize(measured[name], edges[1:-1]), 0, 23)
            weights += torch.from_numpy(1 / np.sqrt(counts[place])).float()
        return weights

    def _describe(self, landmarks: Tensor) -> Tensor:
        measured = measure_expression(landmarks.numpy(), self.scheme)
        openings = np.stack([measured[name] for name in OPENINGS], axis=1) * OPENING_WEIGHT
        return torch.cat([landmarks.flatten(1), torch.from_numpy(openings)], dim=1)

    def pictures(self, chosen: Tensor) -> Tensor:
        """The crops at these places, (B, 3, H, W) in [0, 1]."""
        return torch.from_numpy(to_network(np.stack([self.crops[index] for index in chosen.tolist()])))


@dataclass(frozen=True)
class Batch:
    """Landmarks asked for and the pictures that answer them; the first `len(sources)` are other people's, converted."""

    sources: Tensor  # (k, N, 2) L_s
    landmarks: Tensor  # (B, N, 2); of the first k, Psi_t(Phi(L_s))
    jitter: Tensor  # (B, N, 2), which is added to what Theta is asked for
    pictures: Tensor  # (P, 3, H, W) of the last P landmarks; P is B, or B - k where converted landmarks have none
    filmed: Tensor  # (P, 3, H, W) the same before any was bent
    bent: Tensor  # (P,) bool: which pictures were bent
    windows: Tensor  # (P, 2) where D's window on each begins, x and y in cells (`cut_windows`)


@dataclass(frozen=True)
class _Plan:
    """A batch before its pictures are loaded: where each picture comes from, and whether it is to be bent."""

    sources: Tensor
    landmarks: Tensor
    chosen: Tensor  # (P,)
    bent: Tensor  # (P,) bool


def draw_batch(
    frames: TargetFrames,
    config: TL2FTraining,
    retarget: Retarget,
    convert: Callable[[Tensor], Tensor],
    mine: slice = slice(None),
) -> Batch:
    """Other people's landmarks as `convert` has them with a like frame bent to them; then the target's own frames.

    A share of the own frames is bent too, to its own landmarks exaggerated and rolled. What a bent frame shows is real
    texture in a new place, so that D need not say what a face never seen looks like. `mine` are the rows of the whole
    batch that this process is to have: all is drawn, and only these are loaded and bent.
    """
    plan = _plan_batch(frames, config, retarget, convert)
    jitter = torch.randn_like(plan.landmarks) * config.noise
    windows = _place_windows(plan.landmarks[len(plan.landmarks) - len(plan.chosen) :], config.gan_window)
    landmarks, chosen, bent = plan.landmarks[mine], plan.chosen[mine], plan.bent[mine]
    filmed = frames.pictures(chosen)
    pictures = filmed.clone()
    if bent.any():
        wanted = landmarks[len(landmarks) - len(pictures) :]
        pictures[bent] = warp_pictures(filmed[bent], frames.landmarks[chosen[bent]], wanted[bent])
    return Batch(plan.sources[mine], landmarks, jitter[mine], pictures, filmed, bent, windows[mine])


@torch.no_grad()
def _plan_batch(
    frames: TargetFrames, config: TL2FTraining, retarget: Retarget, convert: Callable[[Tensor], Tensor]
) -> _Plan:
    chosen = torch.randint(len(frames.landmarks), (config.batch,))
    rare = torch.multinomial(frames.rarity, config.batch, replacement=True)
    chosen = torch.where(torch.rand(config.batch) < config.rare, rare, chosen)
    own = frames.landmarks[chosen]
    acted = part_lips(exaggerate(own, frames.neutral, retarget, spread=0.45), frames.scheme, spread=0.016)
    # No two features keep their filmed ratio: Theta is to draw each from its own points, not to know the frame by all.
    shapes = retarget.vary(frames.neutral.expand_as(own), size=0.08, shift=0.012)
    acted = turn_roll(retarget.move(acted, frames.neutral, shapes), spread=0.07)
    bent = torch.rand(config.batch) < config.warped
    own = torch.where(bent[:, None, None], recrop(acted, frames.rule), own)
    plan = _Plan(frames.foreign[:0], own, chosen, bent)
    if config.converted == 0 or len(frames.foreign) == 0:
        return plan

    others = torch.randint(len(frames.foreign), (config.converted,))
    sources = frames.foreign[others]
    # Whoever drives Theta will have another face than the few who taught it.
    nobody = recrop(turn_roll(retarget.vary(sources), spread=0.07), frames.rule)
    sources = torch.where(torch.rand(config.converted, 1, 1) < config.reshaped, nobody, sources)
    plan = replace(plan, sources=sources, landmarks=torch.cat([convert(sources), own]))
    if not config.paired:
        return plan
    alike = frames.alike[others, torch.randint(frames.alike.shape[1], (config.converted,))]
    return replace(
        plan,
        chosen=torch.cat([alike, chosen]),
        bent=torch.cat([torch.ones(config.converted, dtype=torch.bool), bent]),
    )


def _place_windows(landmarks: Tensor, side: int) -> Tensor:
    """Where square windows of `side` cells begin that lie somewhere about the middle of each face, (B, 2) cells."""
    middle = (landmarks.amin(dim=1) + landmarks.amax(dim=1)) / 2
    spread = (landmarks.amax(dim=1) - landmarks.amin(dim=1)) / 4
    centre = (middle + (2 * torch.rand(len(landmarks), 2) - 1) * spread) * CELLS
    # At any pixel: D strides by 16, and from windows on a raster it taught Theta one.
    return (centre - side / 2).clamp(0, CELLS - side)


def cut_windows(maps: Tensor, begin: Tensor, side: int) -> Tensor:
    """Windows of pictures or maps (B, C, S, S), `side` cells of S / CELLS wide, from `begin` (B, 2) on, in cells."""
    cell = maps.shape[-1] // CELLS
    corners = (begin * cell).long().tolist()
    return torch.stack(
        [each[:, y : y + side * cell, x : x + side * cell] for each, (x, y) in zip(maps, corners, strict=True)]
    )


def weigh_pixels(landmarks: Tensor, details: Sequence[int], weight: float, size: int = CELLS) -> Tensor:
    """Weights (B, 1, size, size) of a picture's parts: `weight` on the points `details` of `landmarks`, else one.

    Each point weighs a Gaussian of 0.03 crop units about it. Eyes and lips are a fiftieth of the pixels and most of
    what is looked at.
    """
    return 1 + (weight - 1) * _near(landmarks[:, details], 0.03, size)


def mark_features(landmarks: Tensor, scheme: Scheme, reach: float | None, size: int = 2 * CELLS) -> Tensor:
    """Weights (B, 1, size, size) of where eyes, brows and lips are, and `reach` about them; None: one everywhere."""
    if reach is None:
        return torch.ones(len(landmarks), 1, size, size, device=landmarks.device)
    return _near(landmarks[:, list(pick(scheme, FEATURES))], reach, size)


def spare_lips(landmarks: Tensor, scheme: Scheme, size: int = 2 * CELLS) -> Tensor:
    """Weights (B, 1, size, size) of all but the lips, what lies between and what lies about them."""
    upper, lower = (landmarks[:, list(each)] for each in scheme.openings["mouth"])
    between = torch.cat([upper.lerp(lower, share) for share in (0.25, 0.5, 0.75)], dim=1)
    return 1 - _near(torch.cat([landmarks[:, list(pick(scheme, LIPS))], between], dim=1), 0.035, size)


def trust_pixels(landmarks: Tensor, bent: Tensor, surround: float, size: int = CELLS) -> Tensor:
    """How far each picture's parts say what belongs to its landmarks, (B, 1, size, size): of filmed frames, one.

    A spline bends the face. Hair, shoulders and background stay where the filmed landmarks had them, which is not
    where the new ones would: off the face a bent frame counts for `surround`.
    """
    off_face = bent.view(-1, 1, 1, 1) * (1 - _near(landmarks, 0.05, size))
    return 1 - (1 - surround) * off_face


def focus_pixels(landmarks: Tensor, reach: float | None, size: int = CELLS) -> Tensor:
    """How much each picture's parts are for D and L2I, (B, 1, size, size): the face and `reach` about it; None: all."""
    if reach is None:
        return torch.ones(len(landmarks), 1, size, size, device=landmarks.device)
    return _near(landmarks, reach, size)


def _near(points: Tensor, reach: float, size: int) -> Tensor:
    """A Gaussian of this spread, in crop units, about the nearest of the points (B, n, 2): (B, 1, size, size)."""
    axis = (torch.arange(size, device=points.device) + 0.5) / size
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)  # (size, size, 2)
    distance = torch.cdist(grid.reshape(1, -1, 2), points).amin(dim=2)  # (B, size * size)
    return torch.exp(-distance.square() / (2 * reach**2)).view(-1, 1, size, size)
