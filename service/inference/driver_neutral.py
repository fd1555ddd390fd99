"""The neutral face of who drives a video, found by watching: a clip's before it is made, a stream's as it goes.

Or taken from a moment for which the person says that it is theirs."""

import math

import numpy as np

from shared.landmarks import Points, Scheme
from shared.neutral import WATCHED, find_neutral

MOST_MOMENTS = 64
FIRST_SPACING = 0.25  # seconds between two moments of a stream; frames nearer to each other are near copies
TAKEN_SECONDS = 0.7  # for which a face is watched that is said to be neutral: longer than a blink
BLEND_SECONDS = 2.0  # in which a stream goes 63 % of the way to what it now takes for neutral


class NeutralEstimator:
    """One face's, from moments spread over all that was seen of it."""

    def __init__(self, scheme: Scheme) -> None:
        self.scheme = scheme
        self._moments: list[Points] = []
        self._spacing, self._taken, self._last = FIRST_SPACING, -math.inf, 0.0
        self._found: Points | None = None
        self._neutral: Points | None = None

    def watch(self, points: Points, seconds: float) -> Points:
        """The neutral shape (N, 2) to convert a frame (N, 2) of this time by, both in crop units.

        It never jumps: from what is usual among people it wanders to the person's own. A clock that runs back begins
        anew, but forgets nothing.
        """
        passed = max(seconds - self._last, 0.0)
        if self._found is None or seconds < self._last or seconds - self._taken >= self._spacing:
            self._taken = seconds
            self._moments.append(points)
            if len(self._moments) > MOST_MOMENTS:
                self._moments, self._spacing = self._moments[::2], 2 * self._spacing
            self._found = find_neutral(np.stack(self._moments), self.scheme, WATCHED)
        self._last = seconds
        if self._neutral is None:
            self._neutral = self._found
        share = np.float32(1 - math.exp(-passed / BLEND_SECONDS))
        self._neutral = self._neutral + share * (self._found - self._neutral)
        return self._neutral


class NeutralTaker:
    """A face that is said to be neutral, watched for a moment."""

    def __init__(self) -> None:
        self._seen: list[Points] = []
        self._begun = math.nan

    def watch(self, points: Points, seconds: float) -> Points | None:
        """The face (N, 2), in the units that it came in, once TAKEN_SECONDS were seen; None before."""
        if not self._seen:
            self._begun = seconds
        self._seen.append(points)
        if seconds - self._begun < TAKEN_SECONDS:
            return None
        median: Points = np.median(np.stack(self._seen), axis=0).astype(np.float32)  # a blink is no part of it
        return median
