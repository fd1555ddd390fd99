"""The generator's training: its phases, what each term's gradient reaches, and that a broken run goes on unharmed."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from shared.landmarks import IBUG70
from tests.trainer.tiny_training import (
    CONVERTER,
    CPU,
    GENERATOR,
    JOINT,
    TEXTURES,
    UPSCALE,
    EveryOther,
    assert_same,
    break_at,
    find_changed,
    load,
    make_detector,
    make_frames,
    make_losses,
    make_model,
    make_people,
    read_curves,
    train,
)
from trainer.config import PRESETS, GeneratorTraining
from trainer.errors import CheckpointError
from trainer.loops import generator as module
from trainer.loops.generator import start_generator, update_average
from trainer.networks.converter import Encoder
from trainer.networks.paper_generator import PaperGenerator
from trainer.sampling import batches
from trainer.sampling.batches import TargetFrames

PAPER = PRESETS["paper"].generator.model_copy(
    update={"network": UPSCALE, "discriminator": GENERATOR.discriminator.model_copy(update={"window": 256}), "steps": 2}
)
NO_TERM = {"l2i": 0.0, "gradient": 0.0, "sharpness": 0.0, "i2l": 0.0, "l2i_gan": 0.0, "weight_decay": 0.0}


@pytest.fixture(scope="module")
def frames() -> TargetFrames:
    return make_frames()


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers on every processor."""
    monkeypatch.setattr("trainer.loops.device.has_bfloat16", lambda device: False)


def change(config: GeneratorTraining = GENERATOR, **changes: Any) -> GeneratorTraining:
    return config.model_copy(update=changes)


# Broken and finished runs


@pytest.mark.parametrize(("config", "broken_in"), [(GENERATOR, 4), (JOINT, 4), (PAPER, 2)])
def test_a_broken_run_goes_on_as_if_it_had_not_been(
    frames: TargetFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: GeneratorTraining, broken_in: int
) -> None:
    whole = train(frames, tmp_path / "whole", config)
    with monkeypatch.context() as patch:
        break_at(patch, module.GeneratorLosses, "reconstruction", broken_in)
        patch.setattr(module, "CheckpointClock", EveryOther if broken_in > 2 else EveryOne)
        with pytest.raises(KeyboardInterrupt):
            train(frames, tmp_path / "broken", config)
    assert load(tmp_path / "broken", config)["step"] == 2 * ((broken_in - 1) // 2) + (broken_in == 2)
    again = train(frames, tmp_path / "broken", config)
    assert again.steps == whole.steps == config.steps
    assert_same(whole.theta.state_dict(), again.theta.state_dict())
    assert_same(whole.converter.state_dict(), again.converter.state_dict())
    saved = [load(tmp_path / name, config) for name in ("whole", "broken")]
    for state in saved:
        assert state.pop("seconds") > 0
    assert {"averaged", "discriminator", "converter", "converter_optimiser", "d_optimiser"} < set(saved[0])
    assert_same(*saved)


class EveryOne:
    """A clock that lets every step be saved."""

    def is_due(self) -> bool:
        return True


def test_a_finished_run_is_not_trained_again(
    frames: TargetFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = change(steps=1)
    first = train(frames, tmp_path, config)
    break_at(monkeypatch, batches, "draw_batch", 1)
    again = train(frames, tmp_path, config)
    assert_same(first.theta.state_dict(), again.theta.state_dict())
    assert again[2:] == (1, load(tmp_path, config)["seconds"])
    assert not again.theta.training
    assert not again.converter.training
    with pytest.raises(CheckpointError, match="another configuration"):
        train(frames, tmp_path, change(steps=1, l2i=5.0))


def test_no_steps_leave_the_textures_as_they_were_taken(frames: TargetFrames, tmp_path: Path) -> None:
    learned = train(frames, tmp_path, change(steps=0))
    assert learned.steps == 0
    assert_same(learned.theta.state_dict(), start_generator(change(steps=0), frames, 3).state_dict())


def test_a_run_ends_when_its_seconds_are_over(frames: TargetFrames, tmp_path: Path) -> None:
    config = change(steps=1000)
    learned = train(frames, tmp_path, config, seconds=0.0)
    assert learned.steps == load(tmp_path, config)["step"] == 1
    assert learned.seconds > 0


# Phases


def test_d_learns_when_its_phase_has_come(frames: TargetFrames, tmp_path: Path) -> None:
    states = {}
    for name, gan_start, steps in (("begun", 1.0, 1), ("without", 1.0, 2), ("with", 0.5, 2)):
        config = change(gan_start=gan_start, steps=steps, i2l=0.0)
        train(frames, tmp_path / name, config)
        states[name] = load(tmp_path / name, config)["discriminator"]
    assert_same(states["begun"], states["without"])
    assert find_changed(states["begun"], states["with"])


def test_every_term_has_its_curve_and_the_loss_is_their_sum(
    frames: TargetFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_STEPS", 1)
    monkeypatch.setattr("trainer.losses.generator.RAMP_STEPS", 1)
    train(frames, tmp_path)
    curves = read_curves(tmp_path)
    steps = {name: [step for step, _ in points] for name, points in curves.items()}
    whole, late = [0, 1, 2, 3], [2, 3]
    expected = dict.fromkeys(("l2i", "gradient", "sharpness", "loss", "learning_rate", "samples_per_second"), whole)
    assert steps == expected | dict.fromkeys(("i2l", "d", "l2i_gan"), late)
    values = {name: dict(points) for name, points in curves.items()}
    own = ("l2i", "gradient", "sharpness")
    for step, names in ((0, own), (3, (*own, "i2l", "l2i_gan"))):
        total = sum(getattr(GENERATOR, name) * values[name][step] for name in names)
        assert values["loss"][step] == pytest.approx(total, rel=1e-4)


def test_previews_are_of_the_average_so_far(frames: TargetFrames, tmp_path: Path) -> None:
    published: list[tuple[Mapping[str, Tensor], int]] = []

    def publish(theta: torch.nn.Module, converter: torch.nn.Module, steps: int, seconds: float) -> None:
        published.append(({name: value.clone() for name, value in theta.state_dict().items()}, steps))
        assert seconds > 0

    learned = train(frames, tmp_path, change(steps=2, i2l=0.0), publish=publish)
    assert [steps for _, steps in published] == [1, 2]
    assert find_changed(published[0][0], published[1][0])
    assert_same(published[1][0], learned.theta.state_dict())


# Who learns, and who does not


def learn_from(term: dict[str, float], frames: TargetFrames, folder: Path, **changes: Any) -> dict[str, bool]:
    """Which networks a single step of one term changes."""
    config = change(JOINT, **NO_TERM | {"steps": 1, "ema": 0.0, "noise": 0.0} | term | changes)
    losses = make_losses(make_people(), CONVERTER.model_copy(update={"l2l": 0.0, "x_l2l": 0.0, "transfer": 0.0}))
    model = make_model(losses)
    data = module.GeneratorData("ada", frames, model, losses, make_detector() if config.i2l else None)
    module.train_generator(data, config, 3, CPU, folder)
    saved = load(folder, config)
    changed = find_changed(make_model(losses).state_dict(), saved["converter"])
    parts = {part: any(name.startswith(part) for name in changed) for part in ("phi", "psi.ada", "psi.bob")}
    begun = start_generator(config, frames, 3).state_dict()
    return parts | {"theta": bool(find_changed(begun, saved["theta"]))}


def test_no_term_moves_nothing(frames: TargetFrames, tmp_path: Path) -> None:
    assert not any(learn_from({}, frames, tmp_path).values())


@pytest.mark.parametrize("network", [TEXTURES, UPSCALE])
def test_eq_6_reaches_phi_and_psi_through_theta(frames: TargetFrames, tmp_path: Path, network: Any) -> None:
    reached = {"phi": True, "psi.ada": True, "psi.bob": False, "theta": True}
    assert learn_from({"l2i_gan": 1.0}, frames, tmp_path / "joint", network=network) == reached
    fixed = learn_from({"l2i_gan": 1.0}, frames, tmp_path / "fixed", network=network, converter_learning_rate=0.0)
    assert fixed == dict.fromkeys(reached, False) | {"theta": True}


@pytest.mark.parametrize("term", [{"l2i": 1.0}, {"gradient": 1.0}, {"sharpness": 1.0}, {"i2l": 1.0}])
def test_terms_of_own_pictures_move_theta_alone(frames: TargetFrames, tmp_path: Path, term: dict[str, float]) -> None:
    changed = learn_from(term, frames, tmp_path, converted=0)
    assert changed == {"phi": False, "psi.ada": False, "psi.bob": False, "theta": True}


def test_the_converters_own_terms_move_every_psi_and_not_theta(frames: TargetFrames, tmp_path: Path) -> None:
    config = change(JOINT, **NO_TERM, steps=1, ema=0.0)
    train(frames, tmp_path, config)
    before, after = make_model(make_losses(make_people())).state_dict(), load(tmp_path, config)["converter"]
    changed = find_changed(before, after)
    for part in ("phi", "psi.ada", "psi.bob"):
        assert any(name.startswith(part) for name in changed), part
    assert "average" not in changed


def test_omega_is_never_trained(frames: TargetFrames, tmp_path: Path) -> None:
    detector = make_detector()
    train(frames, tmp_path, change(gan_start=0.0, steps=2), detector=detector)
    assert_same(detector.omega.state_dict(), make_detector().omega.state_dict())


def test_without_anybody_else_d_sees_own_pictures_alone(tmp_path: Path) -> None:
    learned = train(make_frames(foreign=0), tmp_path, change(converted=1, gan_start=0.0, steps=1, i2l=0.0))
    assert learned.steps == 1


# What comes out


def test_theta_learns_the_pictures(frames: TargetFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = change(steps=25, gan_start=1.0, i2l=0.0, ema=0.5)
    begun = start_generator(config, frames, 3)
    monkeypatch.setattr(module, "start_generator", lambda *given: copy.deepcopy(begun))
    darker = replace(frames, crops=frames.crops // 2)
    learned = train(darker, tmp_path, config)
    wanted = darker.pictures(torch.arange(12))
    with torch.no_grad():
        before, after = ((theta(frames.landmarks) - wanted).abs().mean() for theta in (begun.eval(), learned.theta))
    assert after < 0.8 * before


def test_samples_show_frames_answers_and_strangers(frames: TargetFrames, tmp_path: Path) -> None:
    config = change(steps=1, i2l=0.0)
    train(frames, tmp_path / "with", config)
    train(make_frames(foreign=0), tmp_path / "alone", config)
    for name, rows in (("with", 3), ("alone", 2)):
        (path,) = (tmp_path / name / "samples").iterdir()
        assert path.name == "step_000001.jpg"
        with Image.open(path) as picture:
            assert picture.size == (6 * 256, rows * 256)
            shown = np.asarray(picture)[:256, :256].astype(int)
        assert np.abs(shown - frames.crops[0]).mean() < 6


def test_targets_of_seventy_points_learn_too(tmp_path: Path) -> None:
    network = TEXTURES.model_copy(update={"scheme": "ibug70"})
    learned = train(make_frames(scheme=IBUG70), tmp_path, change(JOINT, network=network, steps=1))
    assert learned.theta(make_frames(2, scheme=IBUG70).landmarks).shape == (2, 3, 256, 256)


def test_the_average_moves_by_what_the_decay_leaves() -> None:
    mean, new = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    for layer, value in ((mean, 1.0), (new, 3.0)):
        torch.nn.init.constant_(layer.weight, value)
        torch.nn.init.constant_(layer.bias, -value)
    update_average(mean, new, decay=0.75)
    assert (mean.weight.item(), mean.bias.item()) == (1.5, -1.5)
    update_average(mean, new, decay=0.0)
    assert mean.weight.item() == 3.0


# The paper's recipe


def test_the_numbers_of_section_3_1() -> None:
    converter, generator = PRESETS["paper"].converter, PRESETS["paper"].generator
    assert (converter.optimiser, converter.batch, converter.learning_rate, converter.steps) == (
        "rmsprop",
        4,
        1e-5,
        45_000,
    )
    assert (generator.optimiser, generator.batch, generator.learning_rate) == ("rmsprop", 1, 6e-5)
    assert (generator.steps, generator.schedule) == (400_000, "steps")
    assert {converter.l2l, converter.x_l2l, generator.l2i, generator.i2l, generator.l2i_gan} == {1}  # eq. 1 weighs none
    assert (generator.gradient, generator.sharpness, converter.transfer) == (0, 0, 0)


def test_the_sizes_of_the_authors_networks() -> None:
    paper = PRESETS["paper"]
    with torch.device("meta"):
        theta = PaperGenerator(paper.generator.network.model_copy(update={"points": 98}))
        phi = Encoder(paper.converter.network.model_copy(update={"points": 98}))
    widths = (1024, 512, 256, 128, 128, 128, 64)
    convolutions = sum(9 * before * 4 * after + 4 * after for before, after in pairwise(widths))
    expected = (196 * 1024 + 1024) + (1024 * 16_384 + 16_384) + convolutions + (9 * 64 * 3 + 3)
    assert sum(each.numel() for each in theta.parameters()) == expected
    layers = (196 * 512 + 512) + 3 * (512 * 512 + 512) + (512 * 196 + 196)
    assert sum(each.numel() for each in phi.parameters()) == layers


def test_the_paper_trains_all_its_networks_together(
    frames: TargetFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_STEPS", 1)
    monkeypatch.setattr("trainer.losses.generator.RAMP_STEPS", 1)
    config = change(PAPER, learning_rate=1e-3, converter_learning_rate=1e-3)
    train(frames, tmp_path, config)
    saved = load(tmp_path, config)
    values = {name: dict(points) for name, points in read_curves(tmp_path).items()}
    terms = ("l2i", "i2l", "l2i_gan", "l2l", "x_l2l")
    own = values["transfer"][1] if "transfer" in values else 0.0
    assert values["loss"][1] == pytest.approx(sum(values[name][1] for name in terms) + own, rel=1e-4)  # eq. 1
    assert "square_avg" in saved["theta_optimiser"]["state"][0]
    assert_same(saved["theta"], saved["averaged"])  # nothing is averaged
    changed = find_changed(make_model(make_losses(make_people())).state_dict(), saved["converter"])
    for part in ("phi", "psi.ada", "psi.bob"):
        assert any(name.startswith(part) for name in changed), part


def test_a_detector_is_needed_only_for_i2l(frames: TargetFrames, tmp_path: Path) -> None:
    losses = make_losses(make_people())
    data = module.GeneratorData("ada", frames, make_model(losses), losses, None)
    learned = module.train_generator(data, change(i2l=0.0, steps=1, gan_start=1.0), 3, CPU, tmp_path)
    with_detector = replace(data, model=make_model(losses), detector=make_detector())
    assert learned.steps == 1
    other = module.train_generator(with_detector, change(i2l=0.02, steps=1, gan_start=1.0), 3, CPU, tmp_path / "other")
    assert_same(learned.theta.state_dict(), other.theta.state_dict())  # before its phase it says nothing
