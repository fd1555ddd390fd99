"""Faces at moments, and the faces in between: eased from one to the next, with blinks where they are wanted."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.landmarks import Points, Scheme

FIRST_BLINK, BLINK_EVERY = 1.3, 3.7  # seconds
CLOSING, OPENING = 0.1, 0.2  # seconds: lids fall faster than they rise
UPPER_SHARE = 0.8  # of a blink's way is the upper lid's

Values = NDArray[np.floating[Any]]


def interpolate(moments: Sequence[float], values: Values, rate: float) -> Iterator[tuple[float, Values]]:
    """Times in seconds and values from the first moment to the last, `rate` a second.

    `moments` rise; `values` are ``(K, ...)``, such as faces. Between two all goes straight, slowly at both ends.
    """
    count = round((moments[-1] - moments[0]) * rate) + 1
    for number in range(count):
        passed = min(number / rate, moments[-1] - moments[0])
        at = moments[0] + passed
        row = min(int(np.searchsorted(moments, at, side="right")) - 1, len(moments) - 2)
        share = (at - moments[row]) / (moments[row + 1] - moments[row])
        eased = share * share * (3 - 2 * share)
        yield passed, values[row] + (values[row + 1] - values[row]) * eased


def find_blink(seconds: float) -> float:
    """How far lids are shut at a time of a film: 0 open, 1 shut."""
    since = (seconds - FIRST_BLINK) % BLINK_EVERY if seconds >= FIRST_BLINK else -1.0
    if 0 <= since < CLOSING:
        return since / CLOSING
    return max(0.0, 1 - (since - CLOSING) / OPENING) if since >= CLOSING else 0.0


def shut_eyes(face: Points, shut: float, scheme: Scheme) -> Points:
    """A face ``(N, 2)`` with both eyes shut by that share of their opening; pupils stay halfway between the lids."""
    closed = face.copy()
    for eye, pupil in zip(("right_eye", "left_eye"), scheme.pupils or (None, None), strict=True):
        upper, lower = (list(row) for row in scheme.openings[eye])
        gap: NDArray[np.float32] = face[lower] - face[upper]
        closed[upper] += UPPER_SHARE * shut * gap
        closed[lower] -= (1 - UPPER_SHARE) * shut * gap
        if pupil is not None:
            closed[pupil] += (UPPER_SHARE - 0.5) * shut * gap.mean(axis=0)
    return closed
