"""A training as small as it gets: painted frames, two people, narrow networks, an Omega that knows nothing."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shared.landmarks import IBUG68, Points, Scheme, convert_scheme
from tests.fixtures.acted import MOUTH, RULE, film_units, paint, stretch
from tests.fixtures.painted import FACE
from trainer.config import ConverterTraining, GeneratorTraining
from trainer.loops.checkpoint import load_checkpoint
from trainer.loops.converter import ConverterLosses, ConverterModel, Identity, make_identity
from trainer.loops.generator import CHECKPOINT, GeneratorData, Learned, train_generator
from trainer.losses.generator import GuidanceDetector
from trainer.networks.converter import ConverterConfig
from trainer.networks.discriminator import DiscriminatorConfig
from trainer.networks.generator import GeneratorConfig
from trainer.networks.hourglass import Hourglass, HourglassConfig
from trainer.networks.paper_generator import PaperGeneratorConfig
from trainer.sampling.batches import TargetFrames

CPU = torch.device("cpu")
CONVERTER = ConverterTraining(network=ConverterConfig(hidden=8), steps=6, batch=4)
TEXTURES = GeneratorConfig(scheme="ibug68", textures=(2, 2, 2), behind=(2, 2), hidden=8, channels=(4, 4, 4, 4))
GENERATOR = GeneratorTraining(
    network=TEXTURES,
    discriminator=DiscriminatorConfig(channels=(4, 4), window=64),
    steps=4,
    batch=2,
    gan_start=0.5,
    detector="hourglass",
)
JOINT = GENERATOR.model_copy(update={"gan_start": 0.0, "converted": 1, "converter_learning_rate": 1e-3})
"""As in the paper Phi and Psi learn on, and D judges pictures of other people's landmarks."""
UPSCALE = PaperGeneratorConfig(points=68, hidden=8, seed_channels=4, block_channels=(4, 4, 4, 4, 4, 4))
WIDE = stretch(stretch(FACE, "right_eye", 1.2, 1.3), "left_eye", 1.2, 1.3)
WIDE[MOUTH] += (0, 0.04)


def film(count: int, face: Points = FACE, phase: float = 0, scheme: Scheme = IBUG68) -> Points:
    """`film_units` in another scheme, (count, N, 2)."""
    return convert_scheme(film_units(count, face, phase), IBUG68, scheme)


def make_people(count: int = 40, scheme: Scheme = IBUG68) -> Mapping[str, Identity]:
    """Ada, who is the target, and bob."""
    faces = {"ada": film(count, scheme=scheme), "bob": film(count, WIDE, phase=1, scheme=scheme)}
    return {name: make_identity(torch.from_numpy(frames), scheme) for name, frames in faces.items()}


def make_losses(
    people: Mapping[str, Identity], config: ConverterTraining = CONVERTER, scheme: Scheme = IBUG68
) -> ConverterLosses:
    """The converter's losses on these people."""
    return ConverterLosses(people, scheme, RULE, config)


def make_detector() -> GuidanceDetector:
    """An Omega as `load_guidance` gives it: its weights held fixed."""
    torch.manual_seed(1)
    omega = Hourglass(HourglassConfig(channels=4, depth=2)).eval().requires_grad_(False)
    return GuidanceDetector(omega, list(range(68)))


def make_frames(count: int = 12, foreign: int = 5, scheme: Scheme = IBUG68) -> TargetFrames:
    """Painted frames of ada, and landmarks of bob."""
    landmarks = film(count, scheme=scheme)
    others = film(max(foreign, 1), WIDE, phase=2, scheme=scheme)[:foreign]
    crops = np.stack([paint(frame, 256) for frame in landmarks])
    return TargetFrames(torch.from_numpy(landmarks), crops, torch.from_numpy(others), scheme)


def train(
    frames: TargetFrames,
    folder: Path,
    config: GeneratorTraining = GENERATOR,
    seed: int = 3,
    detector: GuidanceDetector | None = None,
    **rest: Any,
) -> Learned:
    """What a training leaves that begins with the same converter each time. `detector`: a new one where I2L counts."""
    if detector is None and config.i2l > 0:
        detector = make_detector()
    losses = make_losses(make_people(scheme=frames.scheme), fit_converter(frames.scheme), frames.scheme)
    data = GeneratorData("ada", frames, make_model(losses), losses, detector)
    return train_generator(data, config, seed, CPU, folder, **rest)


def fit_converter(scheme: Scheme) -> ConverterTraining:
    """`CONVERTER` for this scheme's points."""
    network = CONVERTER.network.model_copy(update={"points": scheme.count})
    return CONVERTER.model_copy(update={"network": network})


def make_model(losses: ConverterLosses) -> ConverterModel:
    """The converter that `train` begins with."""
    torch.manual_seed(7)
    return losses.make_model()


def read_log(folder: Path) -> EventAccumulator:
    """The event files in a run's folder, as TensorBoard shows them."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def read_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every curve of a run: its points, by step."""
    events = read_log(folder)
    return {name: [(each.step, each.value) for each in events.Scalars(name)] for name in events.Tags()["scalars"]}


def load(folder: Path, config: GeneratorTraining = GENERATOR) -> dict[str, Any]:
    """The checkpoint that a training left."""
    saved = load_checkpoint(folder / CHECKPOINT, config)
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


def find_changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Names of the tensors of two state dicts that differ."""
    return {name for name, value in before.items() if not torch.equal(value, after[name])}
