"""A landmark scheme on the wire: all that an editor needs to know of it, so that it hard-codes no point."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from service.errors import UnknownSchemeError
from shared.anatomy import Motion, describe
from shared.landmarks import SCHEMES, Scheme

DIGITS = 4


class StrokeOut(BaseModel):
    """An outline to draw."""

    points: tuple[int, ...]
    closed: bool


class OpeningOut(BaseModel):
    """The points that part when a feature opens."""

    upper: tuple[int, ...]
    lower: tuple[int, ...]


class MotionOut(BaseModel):
    """One expression; lengths in distances between the eyes' centres of an upright face that looks into the camera."""

    name: str
    low: float
    high: float
    points: list[tuple[float, float]] = Field(description="How far each point moves per unit, x right and y down.")
    reading: list[tuple[float, float]] = Field(
        description="How far a face has gone: the sum of its products with the points' offsets from the neutral shape."
    )

    @classmethod
    def of(cls, motion: Motion) -> "MotionOut":
        """The same motion."""
        points, reading = (_round(each) for each in (motion.points, motion.reading))
        return cls(name=motion.name, low=motion.low, high=motion.high, points=points, reading=reading)


class SchemeOut(BaseModel):
    """One way to put points on a face. Left and right are the person's."""

    name: str
    count: int
    groups: dict[str, tuple[int, ...]]
    features: dict[str, tuple[int, ...]] = Field(description="Groups that belong together, such as both lips.")
    pupils: tuple[int, int] | None = Field(description="Right and left; null where the scheme has none.")
    flip: tuple[int, ...] = Field(description="The index that each point becomes in the mirrored picture.")
    strokes: list[StrokeOut]
    openings: dict[str, OpeningOut]
    eye_corners: tuple[int, int, int, int] = Field(description="From the right eye's outer to the left eye's outer.")
    nose_tip: int
    rigid: tuple[int, ...] = Field(description="What neither mouth nor lids nor brows move.")
    depth: list[float] = Field(description="Towards the camera, in distances between the eyes' centres.")
    motions: list[MotionOut]

    @classmethod
    def of(cls, scheme: Scheme) -> "SchemeOut":
        """The scheme and its anatomy."""
        anatomy = describe(scheme)
        return cls(
            name=scheme.name,
            count=scheme.count,
            groups=dict(scheme.groups),
            features=dict(anatomy.features),
            pupils=scheme.pupils,
            flip=scheme.flip,
            strokes=[StrokeOut(points=points, closed=closed) for points, closed in scheme.strokes],
            openings={name: OpeningOut(upper=upper, lower=lower) for name, (upper, lower) in scheme.openings.items()},
            eye_corners=scheme.eye_corners,
            nose_tip=scheme.nose_tip,
            rigid=scheme.rigid,
            depth=[round(float(value), DIGITS) for value in anatomy.depth],
            motions=[MotionOut.of(motion) for motion in anatomy.motions],
        )


def find_scheme(name: str) -> Scheme:
    """Raises UnknownSchemeError."""
    if name not in SCHEMES:
        raise UnknownSchemeError("There is no landmark scheme of this name.", f"One of: {', '.join(SCHEMES)}.")
    return SCHEMES[name]


def _round(points: NDArray[np.float64]) -> list[tuple[float, float]]:
    return [(round(float(x), DIGITS), round(float(y), DIGITS)) for x, y in points]
