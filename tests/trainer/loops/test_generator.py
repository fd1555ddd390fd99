"""The generator's training: its phases, what each term's gradient reaches, and that a broken run goes on unharmed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.trainer.tiny_training import (
    ONE_STEP,
    TL2F_TRAINING,
    EveryOther,
    assert_same,
    break_at,
    change,
    load,
    make_frames,
    make_model,
    make_omega,
    make_teachers,
    train,
)
from trainer.errors import CheckpointError
from trainer.loops import generator as module
from trainer.loops.generator import update_average
from trainer.losses import generator as tl2f_lesson
from trainer.losses.generator import GuidanceNetworks
from trainer.networks.tl2f import TL2F, TL2FConfig
from trainer.sampling.batches import TargetFrames

MODELS = Path(__file__).parents[3] / "models"


@pytest.fixture(scope="module")
def frames() -> TargetFrames:
    """Frames as large as Theta's pictures, and foreign landmarks."""
    return make_frames()


@pytest.fixture(scope="module")
def teachers() -> GuidanceNetworks:
    return make_teachers()


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers on every processor."""
    monkeypatch.setattr("trainer.loops.device.has_bfloat16", lambda device: False)


# Broken and finished runs


@pytest.mark.parametrize("broken_in", [4, 6])  # before and after D came in
def test_a_broken_run_goes_on_as_if_it_had_not_been(
    frames: TargetFrames, teachers: GuidanceNetworks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken_in: int
) -> None:
    theta, converter = train(frames, tmp_path / "whole", teachers=teachers)
    with monkeypatch.context() as patch:
        break_at(patch, module, "draw_batch", broken_in)
        patch.setattr(module, "CheckpointClock", EveryOther)
        with pytest.raises(KeyboardInterrupt):
            train(frames, tmp_path / "broken", teachers=teachers)
    assert load(tmp_path / "broken")["step"] == broken_in - 2  # one step is lost and done again
    again, converter_again = train(frames, tmp_path / "broken", teachers=teachers)
    assert_same(theta.state_dict(), again.state_dict())
    assert_same(converter.state_dict(), converter_again.state_dict())
    whole = load(tmp_path / "whole")
    assert {"averaged", "discriminator", "converter", "converter_optimiser", "d_optimiser"} < set(whole)
    assert whole["converter_optimiser"]["state"]  # the converter did learn
    assert_same(whole, load(tmp_path / "broken"))


def test_a_finished_run_is_not_trained_again(
    frames: TargetFrames, teachers: GuidanceNetworks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = change(steps=2)
    first = train(frames, tmp_path, config, teachers)
    break_at(monkeypatch, module, "draw_batch", 1)
    again = train(frames, tmp_path, config, teachers)
    for one, other in zip(first, again, strict=True):
        assert_same(one.state_dict(), other.state_dict())
        assert not other.training
    with pytest.raises(CheckpointError, match="another configuration"):
        train(frames, tmp_path, change(steps=2, l2i=5.0), teachers)


# Phases


def test_d_learns_when_its_phase_has_come(frames: TargetFrames, teachers: GuidanceNetworks, tmp_path: Path) -> None:
    states = {}
    for name, gan_start, steps in (("begun", 1.0, 1), ("without", 1.0, 3), ("with", 0.5, 3)):
        config = change(gan_start=gan_start, steps=steps)
        train(frames, tmp_path / name, config, teachers)
        states[name] = load(tmp_path / name, config)["discriminator"]
    assert_same(states["begun"], states["without"])
    assert any(not torch.equal(value, states["with"][name]) for name, value in states["begun"].items())


def test_where_d_leads_it_learns_alone(frames: TargetFrames, teachers: GuidanceNetworks, tmp_path: Path) -> None:
    states = {}
    for name, steps, lead in (("begun", 1, 1), ("led", 3, 3), ("after", 3, 2)):
        config = change(gan_start=0.0, steps=steps, gan_lead=lead)
        train(frames, tmp_path / name, config, teachers)
        states[name] = load(tmp_path / name, config)
    for part in ("theta", "averaged", "converter"):
        assert_same(states["begun"][part], states["led"][part])
        assert any(not torch.equal(value, states["after"][part][name]) for name, value in states["led"][part].items())
    d = states["begun"]["discriminator"]
    assert any(not torch.equal(value, states["led"]["discriminator"][name]) for name, value in d.items())


def test_d_learns_at_a_pace_of_its_own(frames: TargetFrames, teachers: GuidanceNetworks, tmp_path: Path) -> None:
    config = change(steps=4, gan_pace=3.0)
    train(frames, tmp_path, config, teachers)
    saved = load(tmp_path, config)
    theirs, ds = (saved[name]["param_groups"][0]["lr"] for name in ("theta_optimiser", "d_optimiser"))
    assert ds == pytest.approx(3 * theirs)


def test_every_term_begins_in_its_phase_and_is_of_its_share_of_the_pictures(
    frames: TargetFrames, teachers: GuidanceNetworks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[int]] = {}

    def spy(function: str, pick: Any) -> None:
        original = getattr(tl2f_lesson, function)

        def record(*given: Any) -> Any:
            seen.setdefault(function, []).append(len(pick(given)))
            return original(*given)

        monkeypatch.setattr(tl2f_lesson, function, record)

    for function in ("l2i", "i2l", "l2i_gan_discriminator", "l2i_gan_generator"):
        spy(function, lambda given: given[0])
    spy("feature_matching", lambda given: given[0][0])
    train(frames, tmp_path / "with", teachers=teachers)
    of_d = ("l2i_gan_discriminator", "l2i_gan_generator", "feature_matching")
    # Six steps of three pictures: Omega is asked of two from the third, D of two from the fourth.
    assert seen == {"l2i": [3] * 6, "i2l": [2] * 4} | {name: [2] * 3 for name in of_d}
    seen.clear()
    train(make_frames(foreign=0), tmp_path / "alone", change(gan_start=0.0, i2l=0.0, gan_pictures=9, steps=1), teachers)
    assert seen == {"l2i": [2]} | {name: [2] for name in of_d}  # no more than there are


def test_without_i2l_no_omega_is_needed(frames: TargetFrames, teachers: GuidanceNetworks, tmp_path: Path) -> None:
    config = change(steps=2, i2l=0.0, i2l_start=0.0)
    theta, _ = train(frames, tmp_path / "without", config, replace(teachers, omega=None))
    other, _ = train(frames, tmp_path / "with", config, teachers)
    assert_same(theta.state_dict(), other.state_dict())


# Who learns, and who does not


def test_theta_may_begin_with_given_weights(frames: TargetFrames, teachers: GuidanceNetworks, tmp_path: Path) -> None:
    torch.manual_seed(11)
    given = TL2F(TL2F_TRAINING.network)
    given.centre += 0.1
    config = change(**ONE_STEP, weight_decay=0.0)
    torch.manual_seed(7)
    model = teachers.lesson.make_model()
    theta, _ = module.train_tl2f(
        "ada", frames, model, teachers, config, 3, torch.device("cpu"), tmp_path, weights=given.state_dict()
    )
    assert_same(theta.state_dict(), given.state_dict())


def test_the_converters_own_terms_move_every_psi_and_not_theta(frames: TargetFrames, tmp_path: Path) -> None:
    teachers = make_teachers()
    config = change(**ONE_STEP)
    train(frames, tmp_path, config, teachers)
    before, after = make_model(teachers.lesson).state_dict(), load(tmp_path, config)["converter"]
    for part in ("phi", "psi.ada", "psi.bob"):
        assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith(part)), part
    assert torch.equal(before["average"], after["average"])


def test_before_the_gan_phase_the_converter_stays_as_it_is(
    frames: TargetFrames, teachers: GuidanceNetworks, tmp_path: Path
) -> None:
    config = change(gan_start=1.0, steps=2)
    train(frames, tmp_path, config, teachers)
    assert_same(make_model(teachers.lesson).state_dict(), load(tmp_path, config)["converter"])


def test_omega_is_never_trained(frames: TargetFrames, teachers: GuidanceNetworks, tmp_path: Path) -> None:
    train(frames, tmp_path, change(i2l_start=0.0), teachers)
    assert teachers.omega is not None
    assert_same(teachers.omega.state_dict(), make_omega().state_dict())
    assert all(parameter.grad is None for parameter in teachers.omega.parameters())


# What comes out


def test_theta_learns_the_pictures(frames: TargetFrames, teachers: GuidanceNetworks, tmp_path: Path) -> None:
    network = TL2FConfig(hidden=32, seed_channels=16, block_channels=(16, 16, 16, 16, 8))
    config = change(network=network, steps=50, gan_start=1.0, i2l=0.0, ema=0.5, learning_rate=5e-3, surround=1.0)
    theta, _ = train(frames, tmp_path, config, teachers)
    assert not theta.training
    torch.manual_seed(3)
    begun = TL2F(config.network)
    begun.fit_whitening(frames.landmarks)
    chosen = torch.tensor([0, 5, 11])
    wanted = frames.pictures(chosen)
    with torch.no_grad():
        before, after = ((net(frames.landmarks[chosen]) - wanted).abs().mean() for net in (begun, theta))
    assert after < 0.6 * before
    assert torch.equal(theta.centre, begun.centre)  # the average of the weights carries the statistics along


def test_samples_show_frames_answers_and_strangers(
    frames: TargetFrames, teachers: GuidanceNetworks, tmp_path: Path
) -> None:
    train(frames, tmp_path / "with", change(steps=1), teachers)
    train(make_frames(foreign=0), tmp_path / "alone", change(steps=1), teachers)
    for name, rows in (("with", 3), ("alone", 2)):
        (path,) = (tmp_path / name / "samples").iterdir()
        assert path.name == "step_000001.jpg"
        with Image.open(path) as picture:
            assert picture.format == "JPEG"
            assert picture.size == (6 * 256, rows * 256)
            shown = np.asarray(picture)[:256, :256].astype(int)
        assert np.abs(shown - frames.crops[0]).mean() < 6


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
