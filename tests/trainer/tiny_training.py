"""A training as small as it gets: painted frames, two people, narrow networks, an Omega that knows nothing."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shared.landmarks import IBUG68
from shared.neutral import find_neutral
from tests.fixtures.acted import MOUTH, RULE, film_units, paint, stretch
from tests.fixtures.painted import FACE
from trainer.config import ConverterTraining, TL2FTraining
from trainer.loops.checkpoint import load_checkpoint
from trainer.loops.converter import ConverterLosses, ConverterModel, Identity, make_identity
from trainer.loops.generator import train_tl2f
from trainer.losses.generator import GuidanceNetworks
from trainer.networks.converter import Converter, ConverterConfig
from trainer.networks.discriminator import DiscriminatorConfig
from trainer.networks.hourglass import Hourglass, HourglassConfig
from trainer.networks.tl2f import TL2F, TL2FConfig
from trainer.sampling.batches import TargetFrames

CPU = torch.device("cpu")
CONVERTER = ConverterTraining(network=ConverterConfig(hidden=8), steps=6, batch=4)
TL2F_TRAINING = TL2FTraining(
    network=TL2FConfig(hidden=8, seed_channels=4, block_channels=(4, 4, 4, 4, 4)),
    discriminator=DiscriminatorConfig(channels=(4, 4)),
    steps=6,
    batch=2,
    gan_start=0.5,
    i2l_start=0.34,
    i2l_pictures=2,
    gan_pictures=2,
    converted=1,
)
WITHOUT_MESH = TL2F_TRAINING.model_copy(
    update={"relabel": False, "perceptual": 0.0, "seen": 0.0, "opening": 0.0, "identity": 0.0, "likeness": 0.0}
)
"""Nothing that is learned from a network under models/."""
ONE_STEP = {
    "steps": 1,
    "l2i": 0.0,
    "around": 0.0,
    "i2l": 0.0,
    "perceptual": 0.0,
    "seen": 0.0,
    "opening": 0.0,
    "identity": 0.0,
    "likeness": 0.0,
    "l2i_gan": 0.0,
    "feature_matching": 0.0,
    "gan_start": 0.0,
    "ema": 0.0,
}
"""A single step to which no term counts."""
WIDE = stretch(stretch(FACE, "right_eye", 1.2, 1.3), "left_eye", 1.2, 1.3)
WIDE[MOUTH] += (0, 0.04)


def change(**changes: Any) -> TL2FTraining:
    """The tiny training with some of its settings changed."""
    return TL2F_TRAINING.model_copy(update=changes)


def make_people(count: int = 40) -> Mapping[str, Identity]:
    """Ada, who is the target, and bob."""
    faces = {"ada": film_units(count), "bob": film_units(count, WIDE, phase=1)}
    return {name: make_identity(torch.from_numpy(frames), IBUG68) for name, frames in faces.items()}


def make_lesson(people: Mapping[str, Identity], config: ConverterTraining = CONVERTER) -> ConverterLosses:
    return ConverterLosses(people, IBUG68, RULE, config)


def make_omega() -> Hourglass:
    """An Omega as `load_omega` gives it: its weights held fixed."""
    torch.manual_seed(1)
    omega = Hourglass(HourglassConfig(channels=4, depth=2))
    return omega.eval().requires_grad_(False)


def make_teachers(config: ConverterTraining = CONVERTER) -> GuidanceNetworks:
    return GuidanceNetworks(make_lesson(make_people(), config), make_omega())


def make_frames(size: int = 256, foreign: int = 5) -> TargetFrames:
    """Twelve painted frames of ada, of this size, and landmarks of bob, which pass for converted as they are."""
    landmarks = film_units(12)
    others = torch.from_numpy(film_units(max(foreign, 1), WIDE, phase=2))[:foreign]
    return TargetFrames(
        landmarks=torch.from_numpy(landmarks),
        crops=np.stack([paint(frame, size) for frame in landmarks]),
        neutral=torch.from_numpy(find_neutral(landmarks, IBUG68)),
        foreign=others,
        converted=others,
        scheme=IBUG68,
        rule=RULE,
        mesh_labelled=False,
    )


def train(
    frames: TargetFrames,
    folder: Path,
    config: TL2FTraining = TL2F_TRAINING,
    teachers: GuidanceNetworks | None = None,
    seed: int = 3,
) -> tuple[TL2F, Converter]:
    """Theta and the converter after a training that begins with the same converter each time."""
    teachers = teachers or make_teachers()
    torch.manual_seed(7)
    return train_tl2f("ada", frames, teachers.lesson.make_model(), teachers, config, seed, CPU, folder)


def make_model(lesson: ConverterLosses) -> ConverterModel:
    """The converter that `train` begins with."""
    torch.manual_seed(7)
    return lesson.make_model()


def read_log(folder: Path) -> EventAccumulator:
    """The event files in a run's folder, as TensorBoard shows them."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def read_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every curve of a run: its points, by step."""
    events = read_log(folder)
    return {name: [(each.step, each.value) for each in events.Scalars(name)] for name in events.Tags()["scalars"]}


def load(folder: Path, config: TL2FTraining = TL2F_TRAINING) -> dict[str, Any]:
    """The checkpoint that a training left."""
    saved = load_checkpoint(folder / "tl2f.pt", config)
    assert saved is not None
    return saved


class EveryOther:
    """A clock that lets every second step be saved."""

    def __init__(self) -> None:
        self.asked = 0

    def is_due(self) -> bool:
        self.asked += 1
        return self.asked % 2 == 0


def break_at(patch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """Let the training be interrupted when it calls `owner.name` the `call`-th time."""
    calls = 0
    original: Callable[..., Any] = getattr(owner, name)

    def count(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return original(*given, **named)

    patch.setattr(owner, name, count)


def assert_same(ours: Any, theirs: Any, where: str = "") -> None:
    """Tensors, numbers and what holds them are equal bit for bit."""
    if isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), where
    elif isinstance(ours, Mapping):
        assert ours.keys() == theirs.keys(), where
        for name, value in ours.items():
            assert_same(value, theirs[name], f"{where}.{name}")
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs), where
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(one, other, f"{where}[{number}]")
    else:
        assert ours == theirs, where
