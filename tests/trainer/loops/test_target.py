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

from shared.bundle import BundleManifest, read_bundle
from shared.errors import DetectorUnavailableError
from shared.landmarks import IBUG68, IBUG70, WFLW98
from tests.fixtures.acted import RULE, film_points, stretch, write_dataset
from tests.fixtures.painted import FACE
from tests.trainer.tiny_training import CONVERTER, GENERATOR, TEXTURES, UPSCALE, break_at
from trainer.config import PRESETS, ConverterTraining, DetectorTraining, GeneratorTraining, TrainingConfig
from trainer.data.dataset import SPLITS, FrameDataset
from trainer.errors import TargetError
from trainer.export.bundle import round_weights
from trainer.export.omega import export_omega
from trainer.loops import target as module
from trainer.loops.checkpoint import load_checkpoint
from trainer.loops.converter import make_identity
from trainer.loops.generator import CHECKPOINT
from trainer.loops.target import (
    find_identities,
    fingerprint_converter,
    fit_to_scheme,
    gather_foreign,
    learn_target,
    train_target,
)
from trainer.losses.generator import GeneratorLosses
from trainer.networks.generator import GeneratorConfig
from trainer.networks.hourglass import Hourglass, HourglassConfig
from trainer.networks.paper_generator import PaperGeneratorConfig

REPOSITORY = Path(__file__).parents[3]
TINY = TrainingConfig(converter=CONVERTER, generator=GENERATOR.model_copy(update={"i2l": 0.0, "steps": 3}))
OTHER = stretch(FACE, "right_eye", 1.2, 1.2)

# The same training with the brakes on: every step is saved, and takes a moment.
SLOW_TRAINING = """
import sys, time
from pathlib import Path
from trainer.loops import generator
from trainer.config import TrainingConfig
from trainer.loops.target import train_target

class Clock:
    def is_due(self):
        time.sleep(0.05)
        return True

generator.CheckpointClock = Clock
folder = Path(sys.argv[1])
config = TrainingConfig.model_validate_json(sys.argv[2])
train_target("ada", config, "cpu", folder / "data", folder / "runs", folder / "models")
"""


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers on every processor."""
    monkeypatch.setattr("trainer.loops.device.has_bfloat16", lambda device: False)


def train(folder: Path, config: TrainingConfig = TINY) -> BundleManifest:
    bundle = train_target("ada", config, "cpu", folder / "data", folder / "runs", folder / "models")
    assert bundle == folder / "models" / ("ada-quick" if config.preset == "quick" else "ada")
    return read_bundle(bundle)


def note_exports(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """After how many steps each bundle is published from now on."""
    steps: list[int] = []
    original = module.export_bundle

    def note(*given: object) -> Path:
        steps.append(given[-1].steps)
        return original(*given)

    monkeypatch.setattr(module, "export_bundle", note)
    return steps


def test_previews_come_first_and_replace_no_finished_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path / "data", "ada", film_points(24))
    monkeypatch.setattr(module, "PREVIEWS", (0.0, 0.4))
    published = note_exports(monkeypatch)
    manifest = train(tmp_path)
    assert published == [0, 1, 3]
    assert manifest.run is not None
    assert (manifest.run.steps, manifest.run.planned, manifest.run.seed) == (3, 3, 0)
    assert manifest.run.seconds > 0
    del published[:]
    again = train(tmp_path, TINY.model_copy(update={"seed": 1}))
    assert published == [3]  # a finished bundle serves until a finished one takes its place
    assert again.config["seed"] == 1


def test_a_preview_is_replaced_by_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path / "data", "ada", film_points(24))
    with monkeypatch.context() as patch:
        break_at(patch, GeneratorLosses, "reconstruction", 1)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path)
    preview = read_bundle(tmp_path / "models" / "ada").run
    assert preview is not None
    assert (preview.steps, preview.planned) == (0, 3)
    published = note_exports(monkeypatch)
    train(tmp_path, TINY.model_copy(update={"seed": 1}))
    assert published[0] == 0


def test_the_papers_network_has_no_previews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path / "data", "ada", film_points(24))
    published = note_exports(monkeypatch)
    train(tmp_path, TINY.model_copy(update={"generator": TINY.generator.model_copy(update={"network": UPSCALE})}))
    assert published == [3]


@pytest.mark.parametrize("count", [1, 3])
def test_a_few_photos_make_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    published = note_exports(monkeypatch)
    write_dataset(tmp_path / "data", "ada", film_points(count), split=np.zeros(count, np.int8))
    few = PRESETS["photos"].generator.model_copy(update={"network": TEXTURES})
    manifest = train(tmp_path, TrainingConfig(preset="photos", converter=CONVERTER, generator=few))
    assert manifest.run is not None
    assert published == [manifest.run.steps] == [manifest.run.planned] == [few.steps]
    assert manifest.data.frames == {"train": count, "validation": 0, "test": 0, "gap": 0}
    assert manifest.metrics == {}
    assert "neutral" in manifest.presets


def test_a_killed_run_goes_on_and_ends_in_a_bundle(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", "ada", film_points(24))
    write_dataset(tmp_path / "data", "bob", film_points(24, OTHER, phase=1), size=16)
    config = TINY.model_copy(update={"generator": TINY.generator.model_copy(update={"steps": 12})})
    command = [sys.executable, "-c", SLOW_TRAINING, str(tmp_path), config.model_dump_json()]
    child = subprocess.Popen(
        command, cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True
    )
    try:
        while child.poll() is None and not list((tmp_path / "runs").glob(f"*/{CHECKPOINT}")):
            time.sleep(0.01)
    finally:
        child.kill()
        _, said = child.communicate()
    assert child.returncode == -signal.SIGKILL, said
    (path,) = (tmp_path / "runs").glob(f"*/{CHECKPOINT}")
    saved = load_checkpoint(path, fit_to_scheme(config, IBUG68).generator)
    assert saved is not None
    assert 0 < saved["step"] < 12
    (converter,) = (tmp_path / "runs").glob("converter-*/converter.pt")
    learned = converter.read_bytes()
    manifest = train(tmp_path, config)
    assert manifest.run is not None
    assert manifest.run.steps == 12
    assert manifest.run.seconds > saved["seconds"]
    assert converter.read_bytes() == learned
    assert TrainingConfig.model_validate(manifest.config) == config
    assert not list(path.parent.glob(".*"))  # the killed write left nothing


def test_omega_guides_where_i2l_counts(tmp_path: Path) -> None:
    ada = FrameDataset(write_dataset(tmp_path / "data", "ada", film_points(24)))
    config = TINY.model_copy(update={"generator": TINY.generator.model_copy(update={"i2l": 0.1, "gan_start": 0.0})})
    with pytest.raises(DetectorUnavailableError, match="no trained detector"):
        learn_target("ada", config, tmp_path / "data", tmp_path / "runs", tmp_path / "models")
    omega = Hourglass(HourglassConfig(channels=8, depth=1)).eval()
    round_weights(omega)
    export_omega(omega, {"ada": ada}, {}, DetectorTraining(network=omega.config), tmp_path / "models")
    theta, steps, seconds = learn_target("ada", config, tmp_path / "data", tmp_path / "runs", tmp_path / "models")
    assert (steps, theta.training) == (3, False)
    assert seconds > 0
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["hourglass"]  # nothing is exported


def test_pictures_of_another_size_are_refused_before_any_training(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", "ada", film_points(24), size=128)
    with pytest.raises(TargetError, match=r"128 pixels wide.*--size 256"):
        train(tmp_path)
    assert not (tmp_path / "runs").exists()


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
    ours, theirs = (find_identities(FrameDataset(data / name), data) for name in ("ada", "bob"))
    name = fingerprint_converter(ours, TINY)
    assert fingerprint_converter(theirs, TINY) == name
    assert fingerprint_converter(ours, TINY.model_copy(update={"generator": GeneratorTraining()})) == name
    others = [
        fingerprint_converter({"ada": ours["ada"]}, TINY),
        fingerprint_converter({"ada": ours["bob"]}, TINY),
        fingerprint_converter(ours, TINY.model_copy(update={"seed": 1})),
        fingerprint_converter(ours, TINY.model_copy(update={"converter": ConverterTraining()})),
    ]
    assert len({name, *others}) == 5


def test_networks_are_made_for_the_schemes_points() -> None:
    fitted = fit_to_scheme(TINY, IBUG70)
    assert fitted.converter.network.points == 70
    assert isinstance(fitted.generator.network, GeneratorConfig)
    assert fitted.generator.network.scheme == "ibug70"
    assert fit_to_scheme(fitted, IBUG68).generator == TINY.generator
    paper = fit_to_scheme(PRESETS["paper"], WFLW98).generator.network
    assert isinstance(paper, PaperGeneratorConfig)
    assert paper.points == 98


def test_everybody_elses_frames_are_foreign(data: Path) -> None:
    people = {
        name: make_identity(torch.from_numpy(FrameDataset(data / name).landmarks("train")), IBUG68)
        for name in ("ada", "bob")
    }
    assert torch.equal(gather_foreign(people, "ada"), people["bob"].landmarks)
    assert gather_foreign({"ada": people["ada"]}, "ada").shape == (0, 68, 2)
