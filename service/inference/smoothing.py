"""A face over time: landmarks and crop without the detector's jitter, so that a still face is still.

The One-Euro filter: a low-pass whose cutoff grows with speed, strong where nothing moves and nearly absent where
something does. Each point has its own cutoff, from the speed of both its coordinates; and it grows with the speed's
square, which tells slow noise from quick speech better than the paper's straight line. The constants were chosen on the
curve that `python -m benchmarks.smoothing` prints; docs/stream.md has the figures.
Source: Casiez, Roussel and Vogel, 1 € Filter: A Simple Speed-based Low-pass Filter for Noisy Input (2012).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.inference.synthesis import Placed
from shared.geometry import Crop

LONGEST_GAP = 0.5  # seconds: after that the face is another moment's, and nothing of the old one stays


@dataclass(frozen=True)
class Response:
    """How a filter answers a speed, in crop sides a second: its cutoff is `rest` + (`gain` * speed) ** 2, in Hz.

    The speed itself is low-passed at `speed_cutoff` Hz.
    """

    rest: float
    gain: float
    speed_cutoff: float


LANDMARKS = Response(rest=1.0, gain=40.0, speed_cutoff=2.0)
PLACE = Response(rest=1.0, gain=40.0, speed_cutoff=2.0)
SIDE = Response(rest=1.0, gain=30.0, speed_cutoff=2.0)


class OneEuro:
    """Filters points ``(N, D)`` one moment after another, each of the N with a cutoff of its own."""

    def __init__(self, response: Response) -> None:
        self.response = response
        self._raw: NDArray[np.float64] | None = None

    def smooth(self, values: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
        """The values ``(N, D)`` so many seconds after the last ones. The first come back as they are."""
        if self._raw is None:
            self._raw, self._smooth = values, values
            self._velocity = np.zeros_like(values)
            return values
        moved = (values - self._raw) / seconds
        self._velocity = self._velocity + _weigh(self.response.speed_cutoff, seconds) * (moved - self._velocity)
        speed = np.linalg.norm(self._velocity, axis=1, keepdims=True)  # (N, 1)
        weight = _weigh(self.response.rest + (self.response.gain * speed) ** 2, seconds)
        self._raw, self._smooth = values, self._smooth + weight * (values - self._smooth)
        return self._smooth


class FaceSmoother:
    """Steadies one face's landmarks, in crop units, and the crop itself. A gap in time begins anew."""

    def __init__(self) -> None:
        self._last: float | None = None

    def smooth(self, placed: Placed, seconds: float) -> Placed:
        """The face at this time. Times may be from any clock that runs forward; one that does not begins anew."""
        passed = math.inf if self._last is None else seconds - self._last
        if not 0 < passed <= LONGEST_GAP:
            self._points, self._place, self._side = OneEuro(LANDMARKS), OneEuro(PLACE), OneEuro(SIDE)
            self._unit = placed.crop.side  # the crop's filters count in sides, as the landmarks' do
        self._last = seconds
        crop, unit = placed.crop, self._unit
        points = self._points.smooth(placed.points.astype(np.float64), passed)
        ((x, y),) = self._place.smooth(np.array([[crop.x, crop.y]]) / unit, passed).tolist()
        ((side,),) = self._side.smooth(np.array([[math.log(crop.side / unit)]]), passed).tolist()
        return Placed(points.astype(np.float32), Crop(x * unit, y * unit, unit * math.exp(side)))


def _weigh(cutoff: NDArray[np.float64] | float, seconds: float) -> NDArray[np.float64] | float:
    """What a new value counts in a first-order low-pass of this cutoff in Hz, so many seconds after the last."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * seconds))
