"""Figures with 95 % intervals, by a bootstrap over blocks of neighbouring frames.

Neighbouring frames are near copies: drawn one by one they would count as independent, and the interval would come out
far too narrow. So whole blocks are drawn, circularly within a stretch, so that every frame is drawn equally often
(Politis and Romano 1992). The draws are the same in every run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

RESAMPLES = 1000
BLOCK_SECONDS = 1.0
LEAST_BLOCKS = 8  # short series are cut into shorter blocks: two of them would say nothing of the spread
LEAST_FRAMES = 8  # fewer give no rank correlation worth its name
INTERVAL = (2.5, 97.5)  # percentiles


@dataclass(frozen=True)
class Estimate:
    """A figure, what it comes out at in each resample (R,), and of how many frames it is."""

    value: float
    resampled: NDArray[np.float64]
    frames: int

    @property
    def interval(self) -> tuple[float, float]:
        """The bounds of the 95 % interval."""
        low, high = np.percentile(self.resampled, INTERVAL)
        return float(low), float(high)


@dataclass(frozen=True)
class Timeline:
    """Where frames lie in time: the stretch (n,) that each is of, ascending, and how many make a block."""

    stretch: NDArray[np.int64]
    block: int

    def keep(self, chosen: NDArray[np.bool_]) -> "Timeline":
        """The chosen frames alone."""
        return Timeline(self.stretch[chosen], self.block)

    def resample(self) -> NDArray[np.int64]:
        """Rows of frames (RESAMPLES, n), each made of blocks drawn at random."""
        count = len(self.stretch)
        length = max(1, min(self.block, count // LEAST_BLOCKS))
        first = np.searchsorted(self.stretch, self.stretch)  # (n,) where each frame's stretch begins
        extent = np.searchsorted(self.stretch, self.stretch, side="right") - first  # (n,) and how long it is
        starts = np.random.default_rng(0).integers(0, count, (RESAMPLES, -(-count // length)))  # (R, blocks)
        inside = (starts - first[starts])[..., None] + np.arange(length)
        rows = first[starts][..., None] + inside % extent[starts][..., None]  # (R, blocks, length)
        return rows.reshape(RESAMPLES, -1)[:, :count]


def estimate_mean(values: NDArray[np.float64], timeline: Timeline) -> Estimate | None:
    """The mean over frames (n,), those left out that are NaN; None where all are."""
    there = np.isfinite(values)
    if not there.any():
        return None
    kept = values[there]
    return Estimate(float(kept.mean()), kept[timeline.keep(there).resample()].mean(axis=1), len(kept))


def estimate_rank_correlation(
    given: NDArray[np.float64], found: NDArray[np.float64], timeline: Timeline
) -> Estimate | None:
    """Spearman's rank correlation of two series (n,), NaN left out; 0 where one of them does not move.

    None where fewer than LEAST_FRAMES frames are left.
    """
    there = np.isfinite(given) & np.isfinite(found)
    if there.sum() < LEAST_FRAMES:
        return None
    given, found = given[there], found[there]
    rows = timeline.keep(there).resample()
    value = correlate_ranks(given[None], found[None])[0]
    return Estimate(float(value), correlate_ranks(given[rows], found[rows]), len(given))


def correlate_ranks(given: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spearman's rank correlation of each pair of rows (R, n) -> (R,); 0 where a row does not move."""
    first, second = (rankdata(each, axis=1) for each in (given, found))
    first, second = (each - each.mean(axis=1, keepdims=True) for each in (first, second))
    spread = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    products = (first * second).sum(axis=1)
    correlations: NDArray[np.float64] = np.divide(products, spread, out=np.zeros_like(products), where=spread > 0)
    return correlations


def average(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of figures of different frames, each weighing the same."""
    return Estimate(
        float(np.mean([each.value for each in estimates])),
        np.mean([each.resampled for each in estimates], axis=0),
        sum(each.frames for each in estimates),
    )


def subtract(first: Estimate, second: Estimate) -> Estimate:
    """By how much the first is more, in each resample: both are of the same frames, which are drawn alike."""
    return Estimate(first.value - second.value, first.resampled - second.resampled, first.frames)


def collect(frames: Sequence[Mapping[str, float]]) -> dict[str, NDArray[np.float64]]:
    """One mapping a frame -> one series (n,) a name, NaN where a frame lacks it."""
    names = dict.fromkeys(name for frame in frames for name in frame)
    return {name: np.array([frame.get(name, np.nan) for frame in frames], np.float64) for name in names}
