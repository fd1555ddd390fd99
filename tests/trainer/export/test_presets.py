"""Presets: frames that do one thing, near its extreme but not beyond all others, and only what was really done."""

import numpy as np

from shared.expression import measure_expression
from shared.landmarks import IBUG68, Points, flip_points
from tests.fixtures.acted import act, crop_units, stretch
from trainer.export.presets import PRESETS, choose_presets


def film(*acted: Points, calm: int = 60) -> Points:
    """Many calm frames that breathe a little, each different, and the acted ones after them."""
    rest = [
        act(mouth=0.002 * (number % 7), lids=0.004 * (number % 5), yaw=0.002 * (number % 3)) for number in range(calm)
    ]
    return crop_units(np.stack([*rest, *acted]))


def measure(points: Points, name: str) -> float:
    return float(measure_expression(points, IBUG68)[name])


def test_somebody_who_does_nothing_has_the_neutral_preset_alone() -> None:
    assert set(choose_presets(film(), IBUG68)) == {"neutral"}


def test_what_was_acted_is_found() -> None:
    mouth = ("outer_lips", "inner_lips")
    acted = {
        "open_mouth": act(mouth=0.8),
        "eyes_closed": act(lids=1),
        "brows_up": act(brows=1),
        "brows_down": act(brows=-1),
        "smile": stretch(act(), mouth, wide=1.3),
        "pout": stretch(act(), mouth, wide=0.7),
        "look_left": act(yaw=1),
        "look_right": act(yaw=-1),
    }
    frames = film(*acted.values())
    chosen = choose_presets(frames, IBUG68)
    assert chosen.keys() == {"neutral", *acted}
    assert {name: chosen[name] - 60 for name in acted} == {name: place for place, name in enumerate(acted)}
    assert measure(frames[chosen["look_left"]], "yaw") > 0.1  # to the person's left: the picture's right


def test_one_eye_shut_is_a_wink_and_no_blink() -> None:
    wink = stretch(act(), "left_eye", high=0)
    chosen = choose_presets(film(wink), IBUG68)
    assert chosen == {"neutral": chosen["neutral"], "wink_left": 60}
    mirrored = flip_points(film(wink), IBUG68, width=1.0)
    assert choose_presets(mirrored, IBUG68).keys() == {"neutral", "wink_right"}


def test_the_frame_that_does_nothing_else_is_taken() -> None:
    """Two mouths open alike, one with the head turned."""
    turned, straight = act(mouth=0.8, yaw=1), act(mouth=0.8)
    frames = film(turned, straight, turned)
    assert choose_presets(frames, IBUG68)["open_mouth"] == 61


def test_the_outermost_frame_of_many_is_not_taken() -> None:
    """One in a thousand with the mouth torn open is the detector's slip."""
    talking = [act(mouth=0.3 + 0.001 * number) for number in range(500)]
    slip = act(mouth=3)
    frames = film(slip, *talking, calm=499)
    chosen = choose_presets(frames, IBUG68)["open_mouth"]
    assert measure(frames[499], "mouth") > 2 * measure(frames[chosen], "mouth")
    assert measure(frames[chosen], "mouth") > measure(frames[500 + 450], "mouth")


def test_a_motion_under_the_margin_is_no_preset() -> None:
    little = act(mouth=0.4)
    frames = film(little)
    assert 0.01 < measure(frames[60], "mouth") - measure(frames[0], "mouth") < PRESETS["open_mouth"].margin
    assert "open_mouth" not in choose_presets(frames, IBUG68)
