"""The generator's training: its batches, its two phases, that it learns, and that a broken run goes on unharmed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from shared.landmarks import IBUG68
from shared.neutral import find_neutral
from shared.pixels import to_network
from tests.fixtures.acted import RULE, film_units, paint
from trainer import train_tl2f as module
from trainer.checkpoint import load_checkpoint
from trainer.config import TL2FTraining
from trainer.errors import CheckpointError
from trainer.identities import Retarget, detail_points
from trainer.networks.discriminator import DiscriminatorConfig
from trainer.networks.tl2f import TL2F, TL2FConfig
from trainer.train_tl2f import TargetFrames, draw_batch, train_tl2f, update_average, weigh_pixels
from trainer.warp import warp_pictures

CPU = torch.device("cpu")
TINY = TL2FTraining(
    network=TL2FConfig(hidden=8, seed_channels=4, block_channels=(4, 4, 4, 4, 4)),
    discriminator=DiscriminatorConfig(channels=(4, 4)),
    steps=6,
    batch=2,
    gan_start=0.5,
    converted=1,
)


def make_frames(size: int, foreign: int = 5) -> TargetFrames:
    """Twelve painted frames of this size."""
    landmarks = film_units(12)
    return TargetFrames(
        landmarks=torch.from_numpy(landmarks),
        crops=np.stack([paint(frame, size) for frame in landmarks]),
        neutral=torch.from_numpy(find_neutral(landmarks, IBUG68)),
        foreign=torch.from_numpy(film_units(max(foreign, 1), phase=2))[:foreign],
        scheme=IBUG68,
        rule=RULE,
    )


@pytest.fixture(scope="module")
def frames() -> TargetFrames:
    """Frames as large as Theta's pictures, and foreign landmarks."""
    return make_frames(256)


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers on every processor."""
    monkeypatch.setattr("trainer.device.has_bfloat16", lambda device: False)


def train(frames: TargetFrames, folder: Path, config: TL2FTraining = TINY, seed: int = 3) -> TL2F:
    return train_tl2f(frames, config, seed, CPU, folder)


def load(folder: Path, config: TL2FTraining = TINY) -> dict[str, Any]:
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


def break_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the training be interrupted when it draws the batch of this step, counted from one."""
    drawn = 0

    def count(*given: Any) -> Any:
        nonlocal drawn
        drawn += 1
        if drawn == step:
            raise KeyboardInterrupt
        return draw_batch(*given)

    monkeypatch.setattr(module, "draw_batch", count)
    monkeypatch.setattr(module, "CheckpointClock", EveryOther)


@pytest.mark.parametrize("broken_in", [4, 6])  # before and after D came in
def test_a_broken_run_goes_on_as_if_it_had_not_been(
    frames: TargetFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken_in: int
) -> None:
    whole = train(frames, tmp_path / "whole")
    with monkeypatch.context() as patch:
        break_at(patch, broken_in)
        with pytest.raises(KeyboardInterrupt):
            train(frames, tmp_path / "broken")
    assert load(tmp_path / "broken")["step"] == broken_in - 2  # one step is lost and done again
    resumed = train(frames, tmp_path / "broken")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    ours, theirs = load(tmp_path / "whole"), load(tmp_path / "broken")
    for part in ("theta", "discriminator"):
        for name, value in ours[part].items():
            assert torch.equal(value, theirs[part][name]), (part, name)


def test_a_finished_run_is_not_trained_again(
    frames: TargetFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TINY.model_copy(update={"steps": 2})
    first = train(frames, tmp_path, config)
    break_at(monkeypatch, 1)
    again = train(frames, tmp_path, config)
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    with pytest.raises(CheckpointError, match="another configuration"):
        train(frames, tmp_path, config.model_copy(update={"l2i": 5.0}))


def test_d_learns_in_the_second_phase_only(frames: TargetFrames, tmp_path: Path) -> None:
    states = {}
    for name, gan_start, steps in (("begun", 1.0, 1), ("without", 1.0, 3), ("with", 0.5, 3)):
        config = TINY.model_copy(update={"gan_start": gan_start, "steps": steps})
        train(frames, tmp_path / name, config)
        states[name] = load(tmp_path / name, config)["discriminator"]
    for name, value in states["begun"].items():
        assert torch.equal(value, states["without"][name]), name
    assert any(not torch.equal(value, states["with"][name]) for name, value in states["begun"].items())


def test_other_peoples_landmarks_are_in_every_batch_with_a_picture(
    frames: TargetFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: dict[str, set[int]] = {"judged": set(), "matched": set(), "rebuilt": set()}

    def spy(name: str, function: str, pick: Any) -> None:
        original = getattr(module, function)

        def record(*given: Any) -> Any:
            sizes[name].add(len(pick(given)))
            return original(*given)

        monkeypatch.setattr(module, function, record)

    spy("judged", "l2i_gan_generator", lambda given: given[0])
    spy("matched", "feature_matching", lambda given: given[0][0])
    spy("rebuilt", "l2i", lambda given: given[0])
    train(frames, tmp_path / "with", TINY.model_copy(update={"gan_start": 0.0, "steps": 2}))
    assert sizes == {"judged": {3}, "matched": {3}, "rebuilt": {3}}
    alone = make_frames(256, foreign=0)
    train(alone, tmp_path / "alone", TINY.model_copy(update={"gan_start": 0.0, "steps": 1}))
    assert sizes["judged"] == {2, 3}


def test_theta_learns_the_pictures(frames: TargetFrames, tmp_path: Path) -> None:
    network = TL2FConfig(hidden=32, seed_channels=16, block_channels=(16, 16, 16, 16, 8))
    settings = {"network": network, "steps": 50, "gan_start": 1.0, "ema": 0.5, "learning_rate": 5e-3}
    config = TINY.model_copy(update=settings)
    theta = train(frames, tmp_path, config)
    assert not theta.training
    torch.manual_seed(3)
    begun = TL2F(config.network)
    begun.fit_whitening(frames.landmarks)
    wanted = frames.pictures([0, 5, 11])
    with torch.no_grad():
        before, after = ((net(frames.landmarks[[0, 5, 11]]) - wanted).abs().mean() for net in (begun, theta))
    assert after < 0.6 * before
    assert torch.equal(theta.centre, begun.centre)  # the average of the weights carries the statistics along


def test_samples_show_frames_answers_and_strangers(frames: TargetFrames, tmp_path: Path) -> None:
    train(frames, tmp_path / "with", TINY.model_copy(update={"steps": 1}))
    train(make_frames(256, foreign=0), tmp_path / "alone", TINY.model_copy(update={"steps": 1}))
    for name, rows in (("with", 3), ("alone", 2)):
        (path,) = (tmp_path / name / "samples").iterdir()
        assert path.name == "step_000001.jpg"
        with Image.open(path) as picture:
            assert picture.format == "JPEG"
            assert picture.size == (6 * 256, rows * 256)
            shown = np.asarray(picture)[:256, :256].astype(int)
        assert np.abs(shown - frames.crops[0]).mean() < 6


def test_a_batch_is_of_frames_and_their_own_landmarks() -> None:
    small = make_frames(32)
    torch.manual_seed(0)
    landmarks, pictures = draw_batch(
        small, TINY.model_copy(update={"warped": 0.0, "converted": 0, "batch": 8}), Retarget(IBUG68)
    )
    assert pictures.shape == (8, 3, 32, 32)
    for points, picture in zip(landmarks, pictures, strict=True):
        (index,) = torch.nonzero((small.landmarks == points).all(dim=2).all(dim=1)).flatten().tolist()
        assert torch.equal(picture, torch.from_numpy(to_network(small.crops[index]))[0])


def test_a_warped_frame_looks_like_its_new_landmarks() -> None:
    small = make_frames(96)
    config = TINY.model_copy(update={"warped": 1.0, "converted": 0, "batch": 24})
    torch.manual_seed(0)
    landmarks, pictures = draw_batch(small, config, Retarget(IBUG68))
    torch.manual_seed(0)
    chosen = torch.randint(12, (24,))
    filmed = small.pictures(chosen.tolist())
    painted = torch.stack([torch.from_numpy(to_network(paint(points.numpy(), 96)))[0] for points in landmarks])
    assert (landmarks - small.landmarks[chosen]).norm(dim=2).mean() > 0.005
    before, after = (filmed - painted).abs().mean(), (pictures - painted).abs().mean()
    assert after < 0.8 * before


def test_other_peoples_landmarks_come_with_the_nearest_frame_warped_to_them() -> None:
    small = make_frames(96)
    config = TINY.model_copy(update={"warped": 0.0, "converted": 16, "batch": 1})
    landmarks, pictures = draw_batch(small, config, Retarget(IBUG68))
    others = landmarks[:16]
    assert all((small.foreign == points).all(dim=2).all(dim=1).any() for points in others)
    nearest = torch.cdist(others.flatten(1), small.landmarks.flatten(1)).argmin(dim=1)
    filmed = small.pictures(nearest.tolist())
    torch.testing.assert_close(pictures[:16], warp_pictures(filmed, small.landmarks[nearest], others))
    assert not torch.equal(pictures[:16], filmed)


def test_pixels_of_eyes_and_lips_weigh_more() -> None:
    landmarks = make_frames(16).landmarks[:2]
    weights = weigh_pixels(landmarks, list(detail_points(IBUG68)), weight=3.0)
    assert weights.shape == (2, 1, 32, 32)
    assert weights.min() >= 1
    assert weights.max() <= 3
    assert weights[:, 0, 0, 0].tolist() == pytest.approx([1, 1])
    for row, face in enumerate(landmarks):
        x, y = (face[62] * 32).long().tolist()
        assert weights[row, 0, y, x] > 2.5
    assert torch.equal(weigh_pixels(landmarks, [36], weight=1.0), torch.ones(2, 1, 32, 32))


def test_the_average_moves_by_what_the_decay_leaves() -> None:
    mean, new = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    for layer, value in ((mean, 1.0), (new, 3.0)):
        torch.nn.init.constant_(layer.weight, value)
        torch.nn.init.constant_(layer.bias, -value)
    update_average(mean, new, decay=0.75)
    assert (mean.weight.item(), mean.bias.item()) == (1.5, -1.5)
    update_average(mean, new, decay=0.0)
    assert mean.weight.item() == 3.0
    assert new.weight.item() == 3.0
