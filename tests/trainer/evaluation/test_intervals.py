"""Figures and their intervals: the value by hand, blocks that stay whole, an interval that heeds them."""

import numpy as np
import pytest

from trainer.evaluation.intervals import (
    RESAMPLES,
    Estimate,
    Timeline,
    average,
    collect,
    correlate_ranks,
    estimate_mean,
    estimate_rank_correlation,
    subtract,
)


def make_timeline(*stretches: int, block: int) -> Timeline:
    return Timeline(np.repeat(np.arange(len(stretches)), stretches), block)


def test_resamples_are_made_of_whole_blocks_inside_a_stretch() -> None:
    timeline = make_timeline(40, 20, block=5)
    rows = timeline.resample()
    assert rows.shape == (RESAMPLES, 60)
    blocks = rows.reshape(RESAMPLES, -1, 5)
    stretch = timeline.stretch[blocks]
    assert (stretch == stretch[..., :1]).all()
    first, extent = np.array([0, 40])[stretch], np.array([40, 20])[stretch]
    np.testing.assert_array_equal(
        (np.diff(blocks) % extent[..., 1:]), 1
    )  # each frame is followed by its next, or wraps
    assert (blocks >= first).all()


def test_every_frame_is_drawn_equally_often() -> None:
    counts = np.bincount(make_timeline(30, 10, block=5).resample().ravel(), minlength=40)
    assert counts.mean() == RESAMPLES
    assert abs(counts - RESAMPLES).max() < 0.2 * RESAMPLES


def test_the_same_draws_in_every_run() -> None:
    timeline = make_timeline(50, block=3)
    np.testing.assert_array_equal(timeline.resample(), timeline.resample())


def test_a_short_series_is_cut_into_shorter_blocks() -> None:
    rows = make_timeline(16, block=25).resample()
    assert len(set(np.diff(rows[:, :2].astype(int)).ravel() % 16)) == 1  # blocks of two
    assert len(set(np.diff(rows[:, 1:3].astype(int)).ravel() % 16)) > 8


def test_a_mean_leaves_out_what_is_missing() -> None:
    estimate = estimate_mean(np.array([1.0, np.nan, 3.0, 5.0]), make_timeline(4, block=1))
    assert estimate is not None
    assert (estimate.value, estimate.frames) == (3.0, 3)
    low, high = estimate.interval
    assert 1 <= low < 3 < high <= 5
    assert estimate_mean(np.array([np.nan]), make_timeline(1, block=1)) is None


def test_what_does_not_vary_has_no_width() -> None:
    estimate = estimate_mean(np.full(20, 0.7), make_timeline(20, block=2))
    assert estimate is not None
    np.testing.assert_allclose(estimate.interval, (0.7, 0.7))


def test_neighbours_that_are_copies_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(1).normal(size=40), 10)
    wide, narrow = (estimate_mean(values, make_timeline(400, block=block)) for block in (10, 1))
    assert wide is not None
    assert narrow is not None
    assert np.ptp(wide.interval) > 2 * np.ptp(narrow.interval)
    assert np.ptp(wide.interval) == pytest.approx(2 * 1.96 * values.std() / np.sqrt(40), rel=0.25)


def test_rank_correlations_by_hand() -> None:
    given = np.array([[1.0, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [5, 5, 5, 5], [1, 2, 2, 3]])
    found = np.array([[10.0, 20, 30, 400], [4, 3, 2, 1], [2, 1, 4, 3], [1, 2, 3, 4], [1, 2, 2, 3]])
    # the third: 1 - 6 * 4 / (4 * 15)
    np.testing.assert_allclose(correlate_ranks(given, found), [1, -1, 0.6, 0, 1])


def test_a_rank_correlation_needs_frames() -> None:
    series = np.arange(20.0)
    timeline = make_timeline(20, block=2)
    estimate = estimate_rank_correlation(series, series**3, timeline)
    assert estimate is not None
    assert (estimate.value, estimate.frames) == (pytest.approx(1), 20)
    np.testing.assert_allclose(estimate.interval, (1, 1))
    holed = np.where(series < 13, np.nan, series)
    assert estimate_rank_correlation(series, holed, timeline) is None


def test_an_average_weighs_each_figure_the_same() -> None:
    mean = average([Estimate(1.0, np.array([0.0, 2.0]), 10), Estimate(3.0, np.array([2.0, 4.0]), 90)])
    assert (mean.value, mean.frames) == (2.0, 100)
    np.testing.assert_array_equal(mean.resampled, [1, 3])


def test_frames_without_a_value_are_collected_as_missing() -> None:
    series = collect([{"a": 1.0}, {"a": 2.0, "b": 5.0}])
    np.testing.assert_array_equal(series["a"], [1, 2])
    np.testing.assert_array_equal(series["b"], [np.nan, 5])


def test_a_difference_has_the_spread_of_the_difference() -> None:
    timeline = make_timeline(40, block=5)
    hard = np.repeat(np.random.default_rng(3).normal(size=8), 5)  # some seconds are hard for everybody
    ours, theirs = (estimate_mean(hard + more, timeline) for more in (0.3, 0.1))
    assert ours is not None
    assert theirs is not None
    assert ours.interval[0] < theirs.interval[1]  # apart they overlap
    difference = subtract(ours, theirs)
    assert difference.interval == pytest.approx((0.2, 0.2))
    assert difference.frames == 40
