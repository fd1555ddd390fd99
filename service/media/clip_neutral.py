"""A first pass over a clip: the neutral face of who drives, before the first frame is made."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from service.inference.driver_neutral import MOST_MOMENTS
from service.inference.face_player import FacePlayer
from service.inference.face_service import Stopwatch
from service.media.video_process import Shot, Stretch, VideoLimits, VideoProcess
from service.threads import run_in
from shared.landmarks import Points, get_scheme
from shared.neutral import WATCHED, find_neutral

UNKNOWN_LENGTH_STEP = 12  # frames, where a file does not say how many it has


async def find_clip_neutral(player: FacePlayer, source: Path, limits: VideoLimits, stretch: Stretch) -> Points | None:
    """The neutral shape (N, 2) of the face that `player` follows, in the target's crop units; None where it is nowhere.

    From frames spread over that stretch of the clip. Raises what VideoProcess raises.
    """
    hand = ThreadPoolExecutor(1, thread_name_prefix="watch")
    sampler = Sampler(source, limits, stretch)
    found, watch = [], Stopwatch()
    reading = run_in(hand, sampler.next)
    try:
        while (shot := await reading) is not None:
            reading = run_in(hand, sampler.next)  # while the detector is at work on this one
            placed = await player.find(shot.image, watch)
            if placed is not None:
                found.append(placed.points)
    finally:
        sampler.kill()
        await asyncio.shield(asyncio.gather(reading, return_exceptions=True))
        await asyncio.shield(run_in(hand, sampler.close))
        hand.shutdown(wait=False)
    if not found:
        return None
    points = np.stack(found)
    scheme = get_scheme(player.target.manifest.scheme)
    return await player.face_service.in_pool(lambda: find_neutral(points, scheme, WATCHED))


class Sampler:
    """Frames spread evenly over a clip, about MOST_MOMENTS of them."""

    def __init__(self, source: Path, limits: VideoLimits, stretch: Stretch) -> None:
        self.source, self.limits, self.stretch = source, limits, stretch
        self._process: VideoProcess | None = None
        self._killed, self._step = False, 1

    def next(self) -> Shot | None:
        """The next of them, None after the last. Raises what VideoProcess raises."""
        if self._process is not None:
            return self._process.read(self._step)
        self._process = VideoProcess(self.source, self.limits, self.stretch)
        if self._killed:
            self._process.kill()
        frames = self._process.open().frames
        self._step = UNKNOWN_LENGTH_STEP if frames is None else max(1, frames // MOST_MOMENTS)
        return self._process.read()

    def kill(self) -> None:
        """Whatever goes on ends at once. From any thread."""
        self._killed = True
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Nothing runs any more."""
        if self._process is not None:
            self._process.close()
