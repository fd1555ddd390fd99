"""Times of which some are damaged."""

from collections.abc import Sequence
from itertools import pairwise

import pytest

from service.media.timeline import Timeline


def place(told: Sequence[int | None], end: float = 1000, step: int = 10) -> list[int]:
    timeline = Timeline(end)
    return [timeline.place(each, step, after) for each, after in zip(told, [*told[1:], None], strict=True)]


@pytest.mark.parametrize(
    ("told", "placed"),
    [
        ([0, 10, 25, 70], [0, 10, 25, 70]),
        ([0, 10, 900, 30, 40], [0, 10, 20, 30, 40]),  # one far ahead
        ([0, 10, 2, 30, 40], [0, 10, 20, 30, 40]),  # one behind
        ([0, 10, 10, 30], [0, 10, 20, 30]),
        ([0, 10, None, 30], [0, 10, 20, 30]),
        ([0, 10, 5000, 5010, 40], [0, 10, 20, 30, 40]),  # past the end
        ([0, 3, 900, 9, 12], [0, 3, 6, 9, 12]),  # a guess leaves room for what follows
        ([5000, 10], [0, 10]),
        ([None, None], [0, 10]),
    ],
)
def test_one_damaged_time_moves_nothing_else(told: list[int | None], placed: list[int]) -> None:
    assert place(told) == placed


def test_times_always_rise() -> None:
    for told in ([50, 40, 30, 20, 10, 0], [0, 0, 0, 0], [0, 500, 20, 500, 40], [0, 10, 20, 0, 10, 20]):
        placed = place(told)
        assert all(before < after for before, after in pairwise(placed))


def test_after_a_slip_the_file_is_believed_again() -> None:
    assert place([0, 10, 25, 30, 40, 50, 60])[-3:] == [40, 50, 60]
