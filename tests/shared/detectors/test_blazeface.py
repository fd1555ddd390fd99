"""Anchors, views and overlap of the face finder, by hand."""

import numpy as np
import pytest

from shared.detectors.blazeface import (
    FaceCandidate,
    keep_distinct,
    make_anchors,
    measure_overlap,
    place_tiles,
    plan_redetection,
    plan_views,
)
from shared.detectors.region import Region


def test_anchors_are_cell_centres_two_on_the_fine_grid_and_six_on_the_coarse() -> None:
    anchors = make_anchors(128)
    assert anchors.shape == (896, 2)
    np.testing.assert_allclose(anchors[:3], [[1 / 32, 1 / 32], [1 / 32, 1 / 32], [3 / 32, 1 / 32]])
    np.testing.assert_allclose(anchors[512], [1 / 16, 1 / 16])
    np.testing.assert_allclose(anchors[-1], [15 / 16, 15 / 16])


def test_overlap_of_boxes() -> None:
    box = np.array([0, 0, 2, 2], np.float32)
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6], [0, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(measure_overlap(box, others), [1, 1 / 3, 0, 0])


def test_tiles_cover_a_length_and_share_half() -> None:
    assert place_tiles(100, 100) == [50]
    assert place_tiles(60, 100) == [30]
    assert place_tiles(200, 100) == pytest.approx([50, 100, 150])
    tiles = place_tiles(210, 100)
    assert tiles[0] == 50
    assert tiles[-1] == 160
    assert max(np.diff(tiles)) <= 50


def test_views_go_from_the_whole_picture_to_tiles_and_stop_at_tiny_ones() -> None:
    groups = list(plan_views(400, 300))
    assert groups[0] == [Region(200, 150, 400)]
    assert [group[0].side for group in groups] == [400, 640, 400, 200, 100]
    assert len(list(plan_views(64, 64))) == 3


def test_one_face_found_twice_is_kept_once_by_its_best_score() -> None:
    near, same, far = (Region(x, 50, 40) for x in (50, 54, 120))
    kept = keep_distinct([FaceCandidate(near, 0.7), FaceCandidate(same, 0.9), FaceCandidate(far, 0.6)])
    assert kept == [FaceCandidate(same, 0.9), FaceCandidate(far, 0.6)]


def test_a_lost_face_is_searched_for_in_a_few_views_a_frame_and_all_of_them_in_a_row() -> None:
    every = {view for group in plan_views(640, 480) for view in group}
    seen = set()
    for attempt in range(6):
        usual, share = plan_redetection(640, 480, Region(100, 120, 50, 0.1), attempt)
        assert usual == [Region(320, 240, 640), Region(100, 120, 100, 0.1)]
        assert len(share) <= 8
        seen |= {*usual[:1], *share}
    assert seen == every
    assert next(plan_redetection(64, 64, None, 3)) == [Region(32, 32, 64)]
