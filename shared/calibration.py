"""The conversion to a target where the source's neutral shape is known: docs/calibration.md has the figures behind it.

The source's motions are carried over to the target's neutral shape: expression and pose are kept whole, and may be what
the target was never filmed doing, which the generator can't draw. The target's converter answers inside of that, and
loses what is small. So features do what the source's do, and lie where the converter puts them; the head goes halfway.
All landmarks are in the target's crop units, ``(B, N, 2) float32``.
"""

from collections.abc import Callable

import numpy as np

from shared.bundle import BundleManifest
from shared.landmarks import Points, get_scheme, pick
from shared.neutral import Retarget, turn, turn_upright


class Calibration:
    """One target's, built once from its manifest."""

    def __init__(self, manifest: BundleManifest) -> None:
        self.scheme = get_scheme(manifest.scheme)
        self.retarget = Retarget(self.scheme)
        self.shape = np.array(manifest.shape, np.float32)

    def convert(self, landmarks: Points, neutral: Points, converter: Callable[[Points], Points]) -> Points:
        """Landmarks of the faces whose neutral shapes `neutral` are, (N, 2) or (B, N, 2), as the target shows them.

        `converter` is the target's own, Psi_t after Phi.
        """
        level, roll = turn_upright(landmarks, self.scheme)
        acted = self.retarget.move(level, neutral, self.shape)
        filmed, _ = turn_upright(converter(turn(acted, roll)), self.scheme)
        between = ((self.join(acted, filmed) + fit_affine(acted, filmed)) / 2).astype(np.float32)
        return turn(turn_upright(between, self.scheme)[0], roll)

    def join(self, acted: Points, filmed: Points) -> Points:
        """The features of upright faces `acted` where those of `filmed` lie; a brow keeps its height over its eye."""
        joined = filmed.copy()
        for anchor, names in (
            (("right_eye",), ("right_eye", "right_brow")),
            (("left_eye",), ("left_eye", "left_brow")),
            (("outer_lips", "inner_lips"), ("outer_lips", "inner_lips")),
        ):
            place, moved = list(pick(self.scheme, anchor)), list(pick(self.scheme, names))
            shift = (filmed[:, place] - acted[:, place]).mean(axis=1, keepdims=True)  # (B, 1, 2)
            joined[:, moved] = acted[:, moved] + shift
        return joined


def fit_affine(points: Points, onto: Points) -> Points:
    """Each of the faces `points`, sheared, sized and moved as a whole to lie as near to that of `onto` as can be."""
    ones = np.ones_like(points[..., :1])
    augmented = np.concatenate([points, ones], axis=-1).astype(np.float64)  # (B, N, 3)
    fitted: Points = (augmented @ (np.linalg.pinv(augmented) @ onto)).astype(np.float32)
    return fitted
