"""The converter's training: what its terms are, that they fall, and that a broken run goes on as if it had not been."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.expression import measure_expression
from shared.landmarks import IBUG68
from tests.fixtures.acted import film_units, stretch
from tests.fixtures.painted import FACE
from tests.trainer.tiny_training import CONVERTER as TINY
from tests.trainer.tiny_training import EveryOther, break_at, make_losses, make_people
from trainer.config import ConverterTraining
from trainer.errors import CheckpointError
from trainer.loops import converter as module
from trainer.loops.checkpoint import load_checkpoint
from trainer.loops.converter import ConverterLosses, ConverterModel, Identity, train_converter
from trainer.losses.terms import l2l
from trainer.networks.converter import ConverterConfig, normalise_l2
from trainer.sampling.face_shapes import Retarget

RETARGET = Retarget(IBUG68)


@pytest.fixture(scope="module")
def people() -> Mapping[str, Identity]:
    """Two people of forty frames each."""
    return make_people()


def train(
    people: Mapping[str, Identity], folder: Path, config: ConverterTraining = TINY, seed: int = 3
) -> ConverterModel:
    return train_converter(make_losses(people, config), seed, folder)


def test_a_broken_run_goes_on_as_if_it_had_not_been(
    people: Mapping[str, Identity], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(people, tmp_path / "whole")
    with monkeypatch.context() as patch:
        break_at(patch, ConverterLosses, "_loss_of", call=2 * 3 + 2)  # in the fourth step, between the two people
        patch.setattr(module, "CheckpointClock", EveryOther)
        with pytest.raises(KeyboardInterrupt):
            train(people, tmp_path / "broken")
    saved = load_checkpoint(tmp_path / "broken" / "converter.pt", TINY)
    assert saved is not None
    assert saved["step"] == 2  # the third step is lost and done again
    resumed = train(people, tmp_path / "broken")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    begun = train(people, tmp_path / "other", seed=4)
    assert not torch.equal(begun.phi.layers[0].weight, whole.phi.layers[0].weight)


def test_a_finished_run_is_not_trained_again(
    people: Mapping[str, Identity], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(people, tmp_path)
    written = (tmp_path / "converter.pt").stat().st_mtime_ns
    break_at(monkeypatch, ConverterLosses, "loss", call=1)
    again = train(people, tmp_path)
    assert torch.equal(first.phi.layers[0].weight, again.phi.layers[0].weight)
    assert (tmp_path / "converter.pt").stat().st_mtime_ns == written
    assert not again.training


def test_other_settings_do_not_go_on_from_a_checkpoint(people: Mapping[str, Identity], tmp_path: Path) -> None:
    train(people, tmp_path)
    with pytest.raises(CheckpointError, match="another configuration"):
        train(people, tmp_path, TINY.model_copy(update={"learning_rate": 0.1}))


def test_training_gives_the_threads_back(people: Mapping[str, Identity], tmp_path: Path) -> None:
    before = torch.get_num_threads()
    train(people, tmp_path, TINY.model_copy(update={"steps": 1}))
    assert torch.get_num_threads() == before


def make_model(people: Mapping[str, Identity]) -> ConverterModel:
    torch.manual_seed(0)
    return make_losses(people).make_model()


def test_statistics_whiten_what_goes_in_and_out(people: Mapping[str, Identity]) -> None:
    model = make_model(people)
    torch.testing.assert_close(model.average, (people["ada"].neutral + people["bob"].neutral) / 2)
    for name, person in people.items():
        decoder = model.of(name).decoder
        latent = normalise_l2(RETARGET.move(person.landmarks, person.neutral, model.average))
        whitened = (latent - decoder.latent_centre) / decoder.latent_spread
        assert whitened.mean(dim=0).abs().max() < 1e-3
        assert whitened.std().item() == pytest.approx(1, rel=0.02)
        torch.testing.assert_close(decoder.target_centre, person.landmarks.mean(dim=0))
        # Psi begins as the change of statistics, and is then right about the person's own frames but for their crop.
        with torch.no_grad():
            assert (decoder(latent) - person.landmarks).norm(dim=2).mean() < 0.02


def test_the_papers_terms_are_as_in_the_paper(people: Mapping[str, Identity]) -> None:
    model = make_model(people)
    plain = {"transfer": 0.0, "noise": 0.0, "x_l2l": 0.0, "feature_weight": 1.0, "jaw_weight": 1.0}

    def measure(**changes: float) -> float:
        losses = make_losses(people, TINY.model_copy(update=plain | changes))
        torch.manual_seed(5)
        return float(losses.loss(model, TINY.batch)[0].detach())

    torch.manual_seed(5)
    expected, there_and_back = 0.0, 0.0
    for name, other in (("ada", "bob"), ("bob", "ada")):
        person = people[name]
        frames = person.landmarks[torch.randint(40, (TINY.batch,))]
        torch.randn_like(frames)  # the jitter, of no size here
        latent = model.phi(frames)
        neutral = normalise_l2(RETARGET.move(frames, person.neutral, model.average))
        expected += l2l(model.psi[name](latent), frames, latent, neutral).item() / 2
        cycled = model.psi[name](model.phi(model.psi[other](latent)))
        there_and_back += (cycled - frames).flatten(1).norm(dim=1).mean().item() / 2
    assert measure() == pytest.approx(expected, rel=1e-5)
    assert measure(l2l=2.0) == pytest.approx(2 * expected, rel=1e-5)
    assert measure(x_l2l=3.0) == pytest.approx(expected + 3 * there_and_back, rel=1e-5)
    assert measure(transfer=1.0) > expected


def test_one_identity_alone_can_be_learned(people: Mapping[str, Identity], tmp_path: Path) -> None:
    model = train({"ada": people["ada"]}, tmp_path)
    assert list(model.psi) == ["ada"]


def test_learning_lowers_the_terms_and_serves_a_face_it_never_saw(
    people: Mapping[str, Identity], tmp_path: Path
) -> None:
    config = ConverterTraining(network=ConverterConfig(hidden=32), steps=120, batch=16)
    losses = make_losses(people, config)
    start, trained = losses.make_model(), train(people, tmp_path, config)

    def measure(model: ConverterModel) -> float:
        torch.manual_seed(11)
        with torch.no_grad():
            return float(losses.loss(model, 16)[0])

    assert measure(trained) < 0.7 * measure(start)

    # A stranger with narrow eyes and a small mouth, who opens it: so does ada.
    stranger = stretch(stretch(FACE, "right_eye", 0.9, 0.8), "left_eye", 0.9, 0.8)
    stranger = stretch(stranger, ("outer_lips", "inner_lips"), 0.85, 0.9)
    frames = torch.from_numpy(film_units(40, stranger, phase=2))
    with torch.no_grad():
        converted = trained.of("ada")(frames).numpy()
    given, made = (measure_expression(each, IBUG68) for each in (frames.numpy(), converted))
    for name in ("mouth", "right_eye", "left_eye", "yaw"):
        assert np.corrcoef(given[name], made[name])[0, 1] > 0.9, name
