"""Presets: real frames in which a target does one thing and little else, to start an edit or a pose from.

A preset is one training frame. Among the frames in which a measure lies near its extreme (not at it, where a detector's
slips lie), it is the frame that is otherwise nearest to neutral. What the target never did by a margin has no preset.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.expression import MEASURES, measure_expression
from shared.landmarks import Points, Scheme
from shared.neutral import find_calm, find_neutral

Measured = Mapping[str, NDArray[np.float32]]

# Of the frames by how far they go: those beyond the second quantile may be the detector's slips.
NEAR_EXTREME = (0.98, 0.998)
SHUT, OPEN = 0.35, 0.75  # of the neutral opening: a shut lid, and an open one


@dataclass(frozen=True)
class Preset:
    """`signs` of the measures that grow (1) or fall (-1); all of them by `margin` from neutral, in a measure's unit.

    What goes along with them on a face is `free`; every other measure is to stay near neutral.
    """

    signs: Mapping[str, int]
    margin: float
    free: tuple[str, ...] = ()


EYES, BROWS = ("right_eye", "left_eye"), ("right_brow", "left_brow")
TURNED = (*EYES, *BROWS, "mouth_width")  # the picture of a turned head shows these otherwise

# Left and right are the person's, as in the schemes: a look to the left moves the nose to the picture's right.
PRESETS: Mapping[str, Preset] = {
    "smile": Preset({"mouth_width": 1}, 0.07, free=EYES),
    "open_mouth": Preset({"mouth": 1}, 0.12),
    "pout": Preset({"mouth_width": -1}, 0.03),
    "brows_up": Preset({"right_brow": 1, "left_brow": 1}, 0.025),
    "brows_down": Preset({"right_brow": -1, "left_brow": -1}, 0.015),
    "look_left": Preset({"yaw": 1}, 0.08, free=TURNED),
    "look_right": Preset({"yaw": -1}, 0.08, free=TURNED),
    "look_up": Preset({"pitch": -1}, 0.08, free=TURNED),
    "look_down": Preset({"pitch": 1}, 0.06, free=TURNED),
    "tilt_left": Preset({"roll": 1}, 0.08),
    "tilt_right": Preset({"roll": -1}, 0.08),
}


def choose_presets(landmarks: Points, scheme: Scheme) -> Mapping[str, int]:
    """Name -> which of the target's frames ``(n, N, 2)``, in crop units; `neutral` is always there."""
    measured = measure_expression(landmarks, scheme)
    shape = {name: float(value) for name, value in measure_expression(find_neutral(landmarks, scheme), scheme).items()}
    chosen = {"neutral": find_calm(landmarks, scheme)}
    for name, preset in PRESETS.items():
        reach = np.min([(measured[key] - shape[key]) * sign for key, sign in preset.signs.items()], axis=0)  # (n,)
        _keep(chosen, name, _pick_frame(reach, preset.margin, _stray(measured, shape, {*preset.signs, *preset.free})))
    lids = {eye: measured[eye] / shape[eye] for eye in EYES}
    stray = _stray(measured, shape, set(EYES))
    _keep(chosen, "eyes_closed", _pick_frame(-np.max(list(lids.values()), axis=0), -SHUT, stray))
    for name, shut, other in (("wink_left", *EYES[::-1]), ("wink_right", *EYES)):
        winks = np.where(lids[other] >= OPEN, -lids[shut], -np.inf)
        _keep(chosen, name, _pick_frame(winks, -SHUT, stray))
    return chosen


def _pick_frame(reach: NDArray[np.float32], margin: float, stray: NDArray[np.float64]) -> int | None:
    """Of the frames near the extreme of `reach` (n,), and past the margin, that with the least `stray`; None: none."""
    first, last = NEAR_EXTREME  # rounded outwards: of a few frames none is left out
    low, high = float(np.quantile(reach, first, method="lower")), float(np.quantile(reach, last, method="higher"))
    near = np.flatnonzero((reach >= max(low, margin)) & (reach <= high))
    return int(near[np.argmin(stray[near])]) if len(near) else None


def _stray(measured: Measured, shape: Mapping[str, float], free: set[str]) -> NDArray[np.float64]:
    """How far each frame (n,) is from neutral in all that is not free: squares of spreads, summed."""
    kept = [name for name in MEASURES if name not in free]
    parts = [((measured[name] - shape[name]) / (measured[name].std() + 1e-6)) ** 2 for name in kept]
    total: NDArray[np.float64] = np.sum(parts, axis=0, dtype=np.float64)
    return total


def _keep(chosen: dict[str, int], name: str, index: int | None) -> None:
    if index is not None:
        chosen[name] = index
