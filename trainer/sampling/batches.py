"""The target's frames, and the batches that Theta learns from, loaded while the last one is learned from."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from shared.expression import measure_expression
from shared.landmarks import Scheme
from shared.pixels import Image8, to_network
from trainer.sampling.acted import act

RARE_MEASURES = ("mouth", "mouth_width", "right_eye", "left_eye", "yaw", "pitch")
BINS = 24
"""Of each measure's histogram."""


@dataclass(frozen=True)
class TargetFrames:
    """The target's training frames, and other people's landmarks."""

    landmarks: Tensor  # (n, N, 2) crop units
    crops: Image8  # (n, H, W, 3), memory-mapped
    foreign: Tensor  # (m, N, 2) L_s of other people; m may be 0
    scheme: Scheme

    @cached_property
    def rarity(self) -> Tensor:
        """How seldom the target looked as in each frame: weights (n,) to draw by, from each measure's histogram."""
        measured = measure_expression(self.landmarks.numpy(), self.scheme)
        weights = torch.zeros(len(self.landmarks))
        for name in RARE_MEASURES:
            values = measured[name].astype(np.float64)  # of somebody who keeps still, bins are finer than float32
            counts, edges = np.histogram(values, bins=BINS)
            place = np.clip(np.digitize(values, edges[1:-1]), 0, BINS - 1)
            weights += torch.from_numpy(1 / np.sqrt(counts[place])).float()
        return weights

    def pictures(self, chosen: Tensor) -> Tensor:
        """The crops at these places, (B, 3, H, W) in [0, 1]."""
        return torch.from_numpy(to_network(np.stack([self.crops[index] for index in chosen.tolist()])))


@dataclass(frozen=True)
class TrainingBatch:
    """Real frames and their landmarks; and what else a step draws, so that a resumed run draws the same."""

    landmarks: Tensor  # (B, N, 2) crop units
    jitter: Tensor  # (B, N, 2), added to what Theta is given
    pictures: Tensor  # (B, 3, H, W)
    acted: Tensor  # (a, N, 2) expressions that were never filmed, on the first rows' landmarks
    windows: Tensor  # (B, 2) long: where D's window on each begins, x and y in pixels
    sources: Tensor  # (k, N, 2) other people's landmarks, which the converter is to convert (eq. 6)


@dataclass(frozen=True)
class BatchPlan:
    """How batches are drawn: rows, the share of them drawn by rarity, how many of them are acted on, other people's
    landmarks, jitter in crop units, and the side of D's windows in pixels. `pinned` pictures lie in memory that a GPU
    copies from while it computes."""

    rows: int
    rare: float
    acted: int
    foreign: int
    noise: float
    window: int
    pinned: bool = False


def draw_batch(frames: TargetFrames, plan: BatchPlan, seed: int, step: int, mine: slice = slice(None)) -> TrainingBatch:
    """The batch of one step, which hangs on `seed` and `step` alone.

    `mine` are the rows of this process: all are drawn, and only these are loaded.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    chosen = torch.randint(len(frames.landmarks), (plan.rows,), generator=generator)
    rare = torch.multinomial(frames.rarity, plan.rows, replacement=True, generator=generator)
    chosen = torch.where(torch.rand(plan.rows, generator=generator) < plan.rare, rare, chosen)
    landmarks = frames.landmarks[chosen]  # (B, N, 2)
    jitter = torch.randn(landmarks.shape, generator=generator) * plan.noise
    windows = place_windows(landmarks, frames.crops.shape[1], plan.window, generator)
    foreign = plan.foreign if len(frames.foreign) else 0
    others = torch.randint(max(len(frames.foreign), 1), (foreign,), generator=generator)
    acted = act(landmarks[: plan.acted], frames.scheme, generator)
    pictures = frames.pictures(chosen[mine])
    pictures = pictures.pin_memory() if plan.pinned else pictures
    sources = frames.foreign[others][mine]
    return TrainingBatch(landmarks[mine], jitter[mine], pictures, acted[mine], windows[mine], sources)


def place_windows(landmarks: Tensor, size: int, side: int, generator: torch.Generator) -> Tensor:
    """Where square windows of `side` pixels begin that lie somewhere about the middle of each face: (B, 2) pixels."""
    low, high = landmarks.amin(dim=1) * size, landmarks.amax(dim=1) * size  # (B, 2)
    shift = (2 * torch.rand(len(landmarks), 2, generator=generator) - 1) * (high - low) / 4
    return ((low + high) / 2 + shift - side / 2).round().clamp(0, size - side).long()


def cut_windows(pictures: Tensor, begin: Tensor, side: int) -> Tensor:
    """Windows (B, C, side, side) of pictures (B, C, S, S), which begin at pixels `begin` (B, 2)."""
    corners = begin.tolist()
    return torch.stack([each[:, y : y + side, x : x + side] for each, (x, y) in zip(pictures, corners, strict=True)])


def prefetch_batches(
    frames: TargetFrames, plan: BatchPlan, seed: int, steps: range, mine: slice = slice(None)
) -> Iterator[tuple[int, TrainingBatch]]:
    """Each step's number and batch; the next is drawn in a thread while the last is learned from."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        coming = None
        for step in steps:
            ready = coming or pool.submit(draw_batch, frames, plan, seed, step, mine)
            coming = pool.submit(draw_batch, frames, plan, seed, step + 1, mine) if step + 1 in steps else None
            yield step, ready.result()
