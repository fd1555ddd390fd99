"""From datasets to a bundle: who teaches whom, what makes a run the same run, and a real kill in the middle."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from trainer.networks.tl2f import TL2F, TL2FConfig

from shared.bundle import read_bundle
from shared.errors import DetectorUnavailableError
from shared.landmarks import IBUG68
from tests.fixtures.acted import RULE, film_points, stretch, write_dataset
from tests.fixtures.painted import FACE
from trainer.config import ConverterTraining, DetectorTraining, TL2FTraining, TrainingConfig
from trainer.data.dataset import SPLITS, FrameDataset
from trainer.errors import TargetError
from trainer.export.bundle import round_weights
from trainer.export.omega import export_omega
from trainer.loops import generator as tl2f_module
from trainer.loops import target as train_module
from trainer.loops.checkpoint import load_checkpoint
from trainer.loops.converter import ConverterModel, make_identity
from trainer.loops.target import (
    convert,
    find_identities,
    fingerprint_converter,
    fit_to_scheme,
    gather_foreign,
    read_theta,
    train_target,
)
from trainer.networks.converter import Converter, ConverterConfig
from trainer.networks.discriminator import DiscriminatorConfig
from trainer.networks.hourglass import Hourglass, HourglassConfig
from trainer.sampling.batches import TargetFrames

REPOSITORY = Path(__file__).parents[3]
TINY = TrainingConfig(
    converter=ConverterTraining(network=ConverterConfig(hidden=8), steps=5, batch=4),
    tl2f=TL2FTraining(
        network=TL2FConfig(hidden=8, seed_channels=4, block_channels=(4, 4, 4, 4, 4)),
        discriminator=DiscriminatorConfig(channels=(4, 4)),
        steps=40,
        batch=2,
        gan_start=0.1,
        i2l_start=0.05,
        i2l_pictures=1,
        relabel=False,
        perceptual=0.0,
        seen=0.0,
        opening=0.0,
        identity=0.0,
        likeness=0.0,
    ),
)
OTHER = stretch(FACE, "right_eye", 1.2, 1.2)

# The same training with the brakes on: every step is saved, and takes a moment.
SLOW_TRAINING = """
import sys, time
from pathlib import Path
from trainer.loops import generator as train_tl2f
from trainer.config import TrainingConfig
from trainer.loops.target import train_target

class Clock:
    def is_due(self):
        time.sleep(0.05)
        return True

train_tl2f.CheckpointClock = Clock
folder = Path(sys.argv[1])
config = TrainingConfig.model_validate_json(sys.argv[2])
train_target("ada", config, "cpu", folder / "data", folder / "runs", folder / "models")
"""


def write_omega(dataset: FrameDataset, models_dir: Path) -> None:
    """A detector for I2L, with weights by chance."""
    config = DetectorTraining(network=HourglassConfig(channels=8, depth=1))
    torch.manual_seed(0)
    omega = Hourglass(config.network).eval()
    for parameter in omega.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    round_weights(omega)
    export_omega(omega, {"ada": dataset}, {}, config, models_dir)


def without_omega(config: TrainingConfig) -> TrainingConfig:
    return config.model_copy(update={"tl2f": config.tl2f.model_copy(update={"i2l": 0.0})})


def test_a_mesh_that_is_not_there_is_said_before_training(tmp_path: Path) -> None:
    ada = FrameDataset(write_dataset(tmp_path / "data", "ada", film_points(24)))
    write_omega(ada, tmp_path / "models")
    config = TINY.model_copy(update={"tl2f": TINY.tl2f.model_copy(update={"seen": 1.0})})
    with pytest.raises(DetectorUnavailableError, match=r"face_mesh\.onnx is not in"):
        train_target("ada", config, "cpu", tmp_path / "data", tmp_path / "runs", tmp_path / "models")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("detector", "mesh_labelled"), [("mesh", True), ("fan", False), ("given", False)])
def test_bent_frames_are_labelled_anew_where_the_mesh_labelled_the_filmed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, detector: str, mesh_labelled: bool
) -> None:
    write_dataset(tmp_path / "data", "ada", film_points(24), detector=detector)
    given: list[TargetFrames] = []

    def stop(target: str, frames: TargetFrames, *rest: object) -> None:
        given.append(frames)
        raise InterruptedError

    monkeypatch.setattr(train_module, "train_tl2f", stop)
    with pytest.raises(InterruptedError):
        train_target("ada", without_omega(TINY), "cpu", tmp_path / "data", tmp_path / "runs", tmp_path / "models")
    assert given[0].mesh_labelled is mesh_labelled


def test_a_refined_target_begins_as_its_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = FrameDataset(write_dataset(tmp_path / "data", "ada", film_points(24)))
    write_dataset(tmp_path / "data", "bob", film_points(24, OTHER, phase=1), size=16)
    write_omega(ada, tmp_path / "models")
    short = TINY.model_copy(update={"tl2f": TINY.tl2f.model_copy(update={"steps": 2})})

    def train(preset: str, **changes: object) -> Path:
        config = short.model_copy(update={"preset": preset, "tl2f": short.tl2f.model_copy(update=changes)})
        folders = tmp_path / "data", tmp_path / "runs", tmp_path / "models"
        bundle = train_target("ada", config, "cpu", *folders, begin_from="ada" if preset == "refine" else None)
        assert bundle is not None
        return bundle

    folder = train("default")
    first = read_bundle(folder)
    begun: list[object] = []
    original = train_module.train_tl2f

    def record(*given: object) -> object:
        begun.append(given[-1])
        return original(*given)

    monkeypatch.setattr(train_module, "train_tl2f", record)
    sha256, weights = read_theta(folder, short.tl2f.network)
    train("refine", gan_start=0.0)
    assert sha256 == first.tl2f.sha256
    assert isinstance(begun[0], dict)
    for name, value in weights.items():
        assert torch.equal(begun[0][name], value), name
    refined = read_bundle(folder)
    assert refined.config["begun_from"] == first.tl2f.sha256
    assert refined.tl2f.sha256 != first.tl2f.sha256
    with pytest.raises(TargetError, match="has other widths than the recipe's"):
        train("refine", network=TL2FConfig(hidden=4))


def test_a_target_may_begin_as_someone_else_and_whitens_its_own_landmarks(tmp_path: Path) -> None:
    ada = FrameDataset(write_dataset(tmp_path / "data", "ada", film_points(24)))
    eve = FrameDataset(write_dataset(tmp_path / "data", "eve", film_points(24, OTHER, phase=1)))
    write_omega(ada, tmp_path / "models")
    config = TINY.model_copy(update={"tl2f": TINY.tl2f.model_copy(update={"steps": 2, "learning_rate": 1e-5})})
    folders = tmp_path / "data", tmp_path / "runs", tmp_path / "models"
    first = train_target("ada", config, "cpu", *folders)
    second = train_target("eve", config, "cpu", *folders, begin_from="ada")
    assert first is not None
    assert second is not None
    assert read_bundle(second).config["begun_from"] == read_bundle(first).tl2f.sha256
    own = TL2F(config.tl2f.network)
    own.fit_whitening(torch.from_numpy(eve.landmarks("train")))
    (_, begun), (_, ended) = (read_theta(folder, config.tl2f.network) for folder in (first, second))
    expected = begun | {name: own.state_dict()[name] for name in TL2F.OF_LANDMARKS}
    for name, value in ended.items():  # after two steps next to nothing long
        torch.testing.assert_close(value, expected[name], atol=1e-3, rtol=1e-2, msg=name)


def test_a_killed_run_goes_on_and_ends_in_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = FrameDataset(write_dataset(tmp_path / "data", "ada", film_points(24)))
    write_dataset(tmp_path / "data", "bob", film_points(24, OTHER, phase=1), size=16)
    write_omega(ada, tmp_path / "models")
    command = [sys.executable, "-c", SLOW_TRAINING, str(tmp_path), TINY.model_dump_json()]
    child = subprocess.Popen(
        command, cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True
    )
    try:
        for _ in range(6000):
            if list((tmp_path / "runs").glob("*/tl2f.pt")) or child.poll() is not None:
                break
            time.sleep(0.01)
        time.sleep(0.2)  # a few steps on, wherever that is
    finally:
        child.kill()
        _, said = child.communicate()
    assert child.returncode == -signal.SIGKILL, said
    assert not (tmp_path / "models" / "ada").exists()
    (path,) = (tmp_path / "runs").glob("*/tl2f.pt")
    saved = load_checkpoint(path, TINY.tl2f)
    assert saved is not None
    assert 0 < saved["step"] < TINY.tl2f.steps
    (converter,) = (tmp_path / "runs").glob("converter-*/converter.pt")
    learned = converter.read_bytes()

    drawn = 0
    draw_batch = tl2f_module.draw_batch

    def count(*given: object) -> object:
        nonlocal drawn
        drawn += 1
        return draw_batch(*given)

    monkeypatch.setattr(tl2f_module, "draw_batch", count)
    folders = {"data_dir": tmp_path / "data", "runs_dir": tmp_path / "runs", "models_dir": tmp_path / "models"}
    bundle = train_target("ada", TINY, "cpu", **folders)
    assert drawn == TINY.tl2f.steps - saved["step"]  # only what was missing
    assert converter.read_bytes() == learned
    assert bundle == tmp_path / "models" / "ada"
    manifest = read_bundle(bundle)
    assert TrainingConfig.model_validate(manifest.config) == TINY
    assert not list(path.parent.glob(".*"))  # the killed write left nothing


def test_pictures_of_another_size_are_refused_before_any_training(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", "ada", film_points(24), size=128)
    with pytest.raises(TargetError, match=r"128 pixels wide.*--size 256"):
        train_target("ada", TINY, "cpu", tmp_path / "data", tmp_path / "runs", tmp_path / "models")
    assert not (tmp_path / "runs").exists()


def test_other_media_under_the_same_name_begin_a_new_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []
    theta = TL2F(TINY.tl2f.network)

    def note(target: str, frames: object, model: ConverterModel, *rest: object) -> tuple[TL2F, Converter]:
        (folder,) = (each for each in rest if isinstance(each, Path))
        folders.append(folder)
        return theta, model.of(target)

    monkeypatch.setattr(train_module, "train_tl2f", note)
    monkeypatch.setattr(train_module, "export_bundle", lambda *given: tmp_path)
    for fingerprint in ("a" * 64, "a" * 64, "b" * 64):
        write_dataset(tmp_path / "data", "ada", film_points(24), fingerprint=fingerprint)
        train_target("ada", without_omega(TINY), "cpu", tmp_path / "data", tmp_path / "runs", tmp_path / "models")
    assert folders[0] == folders[1]
    assert folders[0] != folders[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ada and four others, of whom only bob can teach her."""
    folder = tmp_path_factory.mktemp("data")
    points = film_points(24)
    write_dataset(folder, "bob", film_points(24, OTHER), size=16, fingerprint="b" * 64)
    write_dataset(folder, "ada", points, size=16)
    write_dataset(folder, "wflw", points, size=16)
    write_dataset(folder, "driver", points, size=16, split=np.full(24, SPLITS["test"], np.int8))
    write_dataset(folder, "wide", points, size=16, rule=RULE.model_copy(update={"factor": 6.0}))
    return folder


def test_datasets_that_mean_the_same_teach_each_other(data: Path) -> None:
    assert list(find_identities(FrameDataset(data / "ada"), data)) == ["ada", "bob"]
    assert list(find_identities(FrameDataset(data / "bob"), data)) == ["ada", "bob"]
    assert list(find_identities(FrameDataset(data / "wide"), data)) == ["wide"]


def test_targets_of_the_same_data_share_one_converter(data: Path) -> None:
    config = TINY
    ours, theirs = (find_identities(FrameDataset(data / name), data) for name in ("ada", "bob"))
    name = fingerprint_converter(ours, config)
    assert fingerprint_converter(theirs, config) == name
    assert fingerprint_converter(ours, config.model_copy(update={"tl2f": TL2FTraining()})) == name
    alone = {"ada": ours["ada"]}
    others = [
        fingerprint_converter(alone, config),
        fingerprint_converter({"ada": ours["bob"]}, config),
        fingerprint_converter(ours, config.model_copy(update={"seed": 1})),
        fingerprint_converter(ours, config.model_copy(update={"converter": ConverterTraining()})),
    ]
    assert len({name, *others}) == 5


def test_networks_are_made_for_the_schemes_points() -> None:
    fitted = fit_to_scheme(TINY, 98)
    assert fitted.converter.network.points == fitted.tl2f.network.points == 98
    assert fitted.converter.network.hidden == 8
    assert fit_to_scheme(fitted, 68) == TINY


def test_everybody_elses_frames_are_the_targets_to_answer(data: Path) -> None:
    people = {
        name: make_identity(torch.from_numpy(FrameDataset(data / name).landmarks("train")), IBUG68)
        for name in ("ada", "bob")
    }
    foreign = gather_foreign(people, "ada")
    assert torch.equal(foreign, people["bob"].landmarks)
    assert gather_foreign({"ada": people["ada"]}, "ada").shape == (0, 68, 2)
    torch.manual_seed(0)
    model = ConverterModel(TINY.converter, list(people))
    converted = convert(model, "ada", foreign)
    assert torch.equal(converted, model.of("ada")(foreign))
    assert not converted.requires_grad


def test_a_missing_omega_is_said_before_any_training(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", "ada", film_points(24))
    with pytest.raises(DetectorUnavailableError, match="no trained detector"):
        train_target("ada", TINY, "cpu", tmp_path / "data", tmp_path / "runs", tmp_path / "models")
    assert not (tmp_path / "runs").exists()
