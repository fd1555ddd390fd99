"""A first pass over a clip: the neutral face of who drives, before the first frame is made."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from service.inference.driver_neutral import MOST_MOMENTS
from service.inference.face_player import FacePlayer
from service.inference.face_service import Stopwatch
from service.media.video import Shot, VideoLimits, VideoReader
from shared.landmarks import Points, get_scheme
from shared.neutral import WATCHED, find_neutral

UNKNOWN_LENGTH_STEP = 12  # frames, where a file does not say how many it has


async def find_clip_neutral(player: FacePlayer, source: Path, limits: VideoLimits) -> Points | None:
    """The neutral shape (N, 2) of the face that `player` follows, in the target's crop units; None where it is nowhere.

    From frames spread over the clip. Raises what VideoReader raises.
    """
    hand = ThreadPoolExecutor(1, thread_name_prefix="watch")
    call = asyncio.get_running_loop().run_in_executor
    sampler = Sampler(source, limits)
    found, watch = [], Stopwatch()
    reading = call(hand, sampler.next)
    try:
        while (shot := await reading) is not None:
            reading = call(hand, sampler.next)  # while the detector is at work on this one
            placed = await player.find(shot.image, watch)
            if placed is not None:
                found.append(placed.points)
    finally:
        await asyncio.shield(asyncio.gather(reading, return_exceptions=True))
        await asyncio.shield(call(hand, sampler.close))
        hand.shutdown(wait=False)
    if not found:
        return None
    points = np.stack(found)
    scheme = get_scheme(player.target.manifest.scheme)
    return await player.face_service.in_pool(lambda: find_neutral(points, scheme, WATCHED))


class Sampler:
    """Frames spread evenly over a clip, about MOST_MOMENTS of them."""

    def __init__(self, source: Path, limits: VideoLimits) -> None:
        self.source, self.limits = source, limits
        self._reader: VideoReader | None = None

    def next(self) -> Shot | None:
        """The next of them, None after the last. Raises what VideoReader raises."""
        if self._reader is None:
            self._reader = VideoReader(self.source, self.limits)
            frames = self._reader.facts.frames
            self._step = UNKNOWN_LENGTH_STEP if frames is None else max(1, frames // MOST_MOMENTS)
            return self._reader.read()
        shot = None
        for _ in range(self._step):
            shot = self._reader.read()
            if shot is None:
                return None
        return shot

    def close(self) -> None:
        """Close the file."""
        if self._reader is not None:
            self._reader.close()
