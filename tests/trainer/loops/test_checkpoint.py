"""Checkpoints: whole or not there, of one configuration, and readable only as data."""

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trainer.config import ConverterTraining
from trainer.errors import CheckpointError
from trainer.loops import checkpoint
from trainer.loops.checkpoint import CheckpointClock, load_checkpoint, save_checkpoint

CONFIG = ConverterTraining(steps=7)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "new" / "some.pt"
    assert load_checkpoint(path, CONFIG) is None
    layer = torch.nn.Linear(3, 2)
    save_checkpoint(path, CONFIG, {"step": 4, "model": layer.state_dict()})
    state = load_checkpoint(path, CONFIG)
    assert state is not None
    assert set(state) == {"step", "model"}
    assert state["step"] == 4
    assert torch.equal(state["model"]["weight"], layer.weight)
    assert [each.name for each in path.parent.iterdir()] == ["some.pt"]


def test_the_newest_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "some.pt"
    for step in (1, 2):
        save_checkpoint(path, CONFIG, {"step": step})
    assert load_checkpoint(path, CONFIG) == {"step": 2}


def test_a_kill_while_writing_leaves_the_last_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "some.pt"
    save_checkpoint(path, CONFIG, {"step": 1})

    def write_half(state: dict[str, Any], file: Any) -> None:
        file.write(path.read_bytes()[:100])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", write_half)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(path, CONFIG, {"step": 2})
    assert len(list(tmp_path.iterdir())) == 2  # the half lies beside it,
    assert load_checkpoint(path, CONFIG) == {"step": 1}
    save_checkpoint(path, CONFIG, {"step": 3})  # and the next one goes over it
    assert load_checkpoint(path, CONFIG) == {"step": 3}
    assert [each.name for each in tmp_path.iterdir()] == ["some.pt"]


def test_a_half_written_file_alone_is_no_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "some.pt", CONFIG, {"step": 1})
    half = (tmp_path / "some.pt").read_bytes()[:200]
    (tmp_path / "some.pt").unlink()
    (tmp_path / ".some.pt.part").write_bytes(half)
    assert load_checkpoint(tmp_path / "some.pt", CONFIG) is None


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.pt"
    save_checkpoint(path, CONFIG, {"step": 1})
    with pytest.raises(CheckpointError, match=r"some\.pt belongs to a run with another configuration"):
        load_checkpoint(path, CONFIG.model_copy(update={"learning_rate": 0.5}))
    assert load_checkpoint(path, ConverterTraining(steps=7)) == {"step": 1}


def test_tensors_that_say_nothing_of_their_configuration_are_refused(tmp_path: Path) -> None:
    torch.save({"step": 1}, tmp_path / "some.pt")
    with pytest.raises(CheckpointError, match="another configuration"):
        load_checkpoint(tmp_path / "some.pt", CONFIG)


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_a_damaged_file_is_refused(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "some.pt"
    save_checkpoint(path, CONFIG, {"step": 1, "weight": torch.rand(100)})
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    with pytest.raises(CheckpointError, match=r"some\.pt can't be read .* Remove it to begin again"):
        load_checkpoint(path, CONFIG)


class Bomb:
    """What a foreign file could carry: unpickling it runs a function."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    path, trace = tmp_path / "some.pt", tmp_path / "trace"
    torch.save({"config": CONFIG.model_dump(mode="json"), "step": Bomb(trace)}, path, pickle_module=pickle)
    with pytest.raises(CheckpointError, match="can't be read"):
        load_checkpoint(path, CONFIG)
    assert not trace.exists()


def test_the_clock_is_due_each_time_its_seconds_have_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    wall = SimpleNamespace(now=100.0)
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: wall.now))
    clock = CheckpointClock(seconds=10)
    answers = []
    for now in (101, 109.9, 110, 111, 119.9, 120.5, 125):
        wall.now = now
        answers.append(clock.is_due())
    assert answers == [False, False, True, False, False, True, False]
