"""What TensorBoard shows of a run: every term, the rates, the samples; and of a run that was broken off, no more."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.tiny_training import (
    CONVERTER,
    GENERATOR,
    EveryOther,
    break_at,
    make_frames,
    make_losses,
    make_people,
    read_curves,
    read_log,
    train,
)
from trainer.loops import converter as converter_module
from trainer.loops import generator as module
from trainer.loops.converter import train_converter
from trainer.loops.log import TrainingLog

RATES = {"loss", "learning_rate", "samples_per_second"}
CONVERTER_TERMS = {"l2l", "x_l2l", "transfer"}


@pytest.fixture(autouse=True)
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step is a point of the curves."""
    monkeypatch.setattr(module, "LOG_STEPS", 1)
    monkeypatch.setattr(converter_module, "LOG_STEPS", 1)
    monkeypatch.setattr("trainer.loops.device.has_bfloat16", lambda device: False)


def test_samples_are_shown_as_they_lie_in_the_runs_folder(tmp_path: Path) -> None:
    train(make_frames(), tmp_path, GENERATOR.model_copy(update={"steps": 1, "i2l": 0.0}))
    (shown,) = read_log(tmp_path).Images("samples")
    assert shown.step == 1
    (tmp_path / "shown.png").write_bytes(shown.encoded_image_string)
    with Image.open(tmp_path / "shown.png") as ours, Image.open(tmp_path / "samples" / "step_000001.jpg") as theirs:
        assert ours.size == theirs.size == (6 * 256, 3 * 256)
        difference = np.abs(np.asarray(ours).astype(int) - np.asarray(theirs))
    assert difference.mean() < 3  # of JPEG


def test_the_converters_curves_of_a_broken_run_have_no_point_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = make_losses(make_people())
    train_converter(losses, 3, tmp_path / "whole")
    with monkeypatch.context() as patch:
        break_at(patch, type(losses), "loss", call=4)
        patch.setattr(converter_module, "CheckpointClock", EveryOther)
        with pytest.raises(KeyboardInterrupt):
            train_converter(losses, 3, tmp_path / "broken")
    train_converter(losses, 3, tmp_path / "broken")
    curves, again = read_curves(tmp_path / "whole"), read_curves(tmp_path / "broken")
    assert set(curves) == set(again) == RATES | CONVERTER_TERMS
    for name in CONVERTER_TERMS | {"loss", "learning_rate"}:
        assert curves[name] == again[name], name
        assert [step for step, _ in curves[name]] == list(range(6))
    values = {name: dict(points) for name, points in curves.items()}
    total = sum(values[name][5] for name in CONVERTER_TERMS)  # each of weight 1
    assert values["loss"][5] == pytest.approx(total, rel=1e-4)
    assert values["learning_rate"][0] == pytest.approx(CONVERTER.learning_rate)


def test_a_process_that_does_not_lead_writes_nothing(tmp_path: Path) -> None:
    with module.open_log(tmp_path / "run", 0, writes=False) as log:
        assert isinstance(log, TrainingLog)
        log.add_scalars(0, {"loss": 1.0})
        log.add_picture(0, "samples", np.zeros((4, 4, 3), np.uint8))
        log.flush()
    assert not (tmp_path / "run").exists()
